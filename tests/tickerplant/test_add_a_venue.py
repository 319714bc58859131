"""The venue of docs/add-a-venue.md works as it is written there."""

import importlib.util
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import processors.venues
import producers.venues
import schemas.venues
from processors.pipeline import Pipeline
from producers.dialogue import Talk, Verb
from producers.plan import connections, streams, wanted_instruments
from producers.wire import Limits, Request, Stream, Wire
from schemas.listing import Listing
from schemas.records import DeadLetter, Frame, Instrument, QualityEvent, RawFrames, Source, Tick
from schemas.symbology import Symbology
from tickerplant.check_venue import check_venue
from tickerplant.errors import UserError
from tickerplant.settings import Venue

PAGE = Path(__file__).parents[2] / "docs" / "add-a-venue.md"
BLOCK = re.compile(r"```python\n# (\S+)\n(.*?)```", re.DOTALL)
LIST = b'[{"id":"BTC-USD"},{"id":"ETH-USD","online":false},{"id":"odd"}]'
TRADE = (
    b'{"stream":"BTC-USD@trades","data":{"product":"BTC-USD","id":7,"price":"100.5","size":"2","taker":"sell",'
    b'"time":1723161255000}}'
)
NOW_US = 1_723_161_255_001_000
ENTRY = Venue(venue="example", market="spot", symbols=("*",), channels=("trade",))


LIMITLESS = Limits(streams_per_connection=1, streams_per_request=1, messages_per_s=0.0, weight_per_window=1, life_s=1.0)


class Deaf(Talk):
    """Knows no message of a stream."""

    def request(self, verb: Verb, number: int, streams: Sequence[Stream]) -> bytes:
        return f"{verb} {number} {streams}".encode()

    def answer(self, payload: bytes) -> None:
        del payload


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, ModuleType]:
    """The three files, loaded and registered, by their paths."""
    found = {}
    for path, text in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        name = path.removesuffix(".py").replace("/", ".")
        file = tmp_path / f"{name}.py"
        file.write_text(text, encoding="utf-8")
        spec = importlib.util.spec_from_file_location(name, file)
        assert spec is not None
        assert spec.loader is not None
        found[path] = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, found[path])
        spec.loader.exec_module(found[path])
    registries: list[Any] = [schemas.venues.SYMBOLOGIES, producers.venues.VENUES, processors.venues.VENUES]
    for registry, module in zip(registries, found.values(), strict=True):
        monkeypatch.setitem(registry, "EXAMPLE", module)
    producers.venues._check(producers.venues.VENUES)
    assert processors.venues._registered(*processors.venues.VENUES.values()) == processors.venues.VENUES
    return found


def members(protocol: type) -> set[str]:
    return {name for name in {*vars(protocol), *protocol.__annotations__} if not name.startswith("_")}


def frame(number: int, payload: bytes, kind: Any = "MESSAGE") -> Frame:
    return Frame(source=0, number=number, kind=kind, recv_time_us=NOW_US, payload=payload)


def test_each_file_offers_what_its_protocol_asks_for(example: dict[str, ModuleType]) -> None:
    protocols = [schemas.venues.SymbologyModule, Wire, processors.venues.VenueModule]

    for protocol, module in zip(protocols, example.values(), strict=True):
        assert members(protocol) <= set(vars(module))


MESSAGES = {"spot": {"trade": json.loads(TRADE)}}


@pytest.mark.usefixtures("example")
def test_the_check_of_venues_finds_nothing_in_it() -> None:
    findings = check_venue("example", MESSAGES)

    assert [(each.check, each.problems) for each in findings if each.problems] == []
    assert len(findings) == 11


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        (("schemas/venues/example.py", "read_list", lambda *_: Listing([None], [])), "instrument lists and names"),
        (("producers/venues/example.py", "full_channel", lambda *_: "trades"), "every channel"),
        (("producers/venues/example.py", "stream_url", lambda *_: "wss://elsewhere"), "every channel"),
        (("producers/venues/example.py", "QUIET_CHANNELS", frozenset({"trades"})), "every channel"),
        (("producers/venues/example.py", "list_requests", lambda *_: [Request(url="https://x", weight=1)]), "REST"),
        (("producers/venues/example.py", "LIMITS", {"spot": LIMITLESS}), "1,000 symbols"),
        (("producers/venues/example.py", "dialogue", lambda *_: Deaf(LIMITLESS)), "messages are told to belong"),
        (("processors/venues/example.py", "parse", lambda *_: {}["x"]), "a parser gives items"),
        (("processors/venues/example.py", "parse", lambda *_: []), "every market has messages"),
    ],
)
def test_the_check_of_venues_finds_what_is_broken(
    example: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch, broken: tuple[str, str, Any], check: str
) -> None:
    file, name, member = broken
    monkeypatch.setattr(example[file], name, member)
    failed = [each.check for each in check_venue("example", MESSAGES) if each.problems]

    assert any(each.startswith(check) for each in failed), failed


def test_the_check_of_venues_names_what_a_file_lacks(
    example: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(example["producers/venues/example.py"], "next_trades")

    assert check_venue("example", MESSAGES)[0].problems == ("producers/venues/example.py has no next_trades",)


def test_a_venue_that_is_not_registered_is_a_users_error() -> None:
    with pytest.raises(UserError, match="not in all registries"):
        check_venue("nowhere", {})


def test_a_producer_plans_its_connections(example: dict[str, ModuleType]) -> None:
    listed = Symbology(example["schemas/venues/example.py"].read_list("spot", LIST, 1).instruments)

    plans = connections(ENTRY, streams(ENTRY, wanted_instruments(ENTRY, listed), 4))

    assert [(plan.url, [each.name for each in plan.streams]) for plan in plans] == [
        ("wss://stream.example.com/ws", ["BTC-USD@trades"])
    ]


def test_a_processor_turns_its_frames_into_records(example: dict[str, ModuleType]) -> None:
    payloads = [frame(0, LIST, "INSTRUMENTS"), frame(1, b'{"id":1}'), frame(2, TRADE), frame(3, TRADE[:-9])]
    raw = RawFrames(
        venue="EXAMPLE", event_time_us=NOW_US, sources=[Source(market="spot", connection="c")], frames=payloads
    )

    records = Pipeline("EXAMPLE", "raw.example", 0).process(0, raw).records

    ticks = [each for each in records if isinstance(each, Tick)]
    assert [(each.symbol, each.price, each.quantity, each.side, each.trade_id) for each in ticks] == [
        ("BTC/USD", 100.5, 2.0, "SELL", "7")
    ]
    assert [each.symbol for each in records if isinstance(each, Instrument)] == ["BTC/USD", "ETH/USD"]
    assert [each.payload for each in records if isinstance(each, DeadLetter)] == [TRADE[:-9]]
    assert {each.kind for each in records if isinstance(each, QualityEvent)} == {"DEAD_LETTER"}

"""Frames and instrument lists of every registered venue: what makes sense, or the documented error."""

import json
from collections.abc import Iterator
from contextlib import suppress
from itertools import product
from math import isfinite
from typing import Any, Final

import msgspec

from fuzz.seeds import SNAPSHOT, lists, payloads, whole_messages
from fuzz.target import Target
from processors.errors import FrameError
from processors.items import ConnectionGap, Notice, Texts, UnknownField
from processors.memory import Memory
from processors.pipeline import ON_ITEM
from processors.venues import VENUES, VenueModule
from producers.venues import VENUES as WIRES
from producers.wire import Answer, Stream, Wire
from schemas.codec import Encoder
from schemas.records import Frame, FrameKind, Instrument
from schemas.symbology import SymbolError, Symbology
from schemas.venues import SYMBOLOGIES, SymbologyModule

NOW_US: Final = 1_700_000_000_000_000
MOST_INT: Final = 2**63 - 1
YEAR_2100_US: Final = 4_102_444_800_000_000
KINDS: Final[tuple[FrameKind, ...]] = ("MESSAGE", "HTTP")
REQUEST: Final = b"https://api.example/api/v3/depth?symbol=BTCUSDT&limit=1000"


def targets() -> Iterator[Target]:
    """List the targets of this module: three for each venue."""
    for name, venue in VENUES.items():
        yield Target(name=f"parse-{name.lower()}", run=_parser(name, venue), seeds=list(_frames(name, venue)))
    for name, names in SYMBOLOGIES.items():
        seeds = [bytes((number,)) + each for number, market in enumerate(names.MARKETS) for each in lists(name, market)]
        yield Target(name=f"instruments-{name.lower()}", run=_lister(names), seeds=seeds)
    for name, wire in WIRES.items():
        seeds = [
            bytes((number,)) + payload
            for number, market in enumerate(wire.MARKETS)
            for payload in (*payloads(name, market), *ANSWERS)
        ]
        yield Target(name=f"wire-{name.lower()}", run=_answerer(wire), seeds=seeds)


ANSWERS: Final = (
    b'{"result":null,"id":1}',
    b'{"error":{"code":2,"msg":"Invalid request"},"id":3}',
    b'{"code":-1121,"msg":"Invalid symbol."}',
    b'{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1770000000000}}',
)


def cases(venue: VenueModule) -> list[tuple[str, FrameKind]]:
    """List what the first byte of an input chooses from: market and kind of frame."""
    return list(product(venue.MARKETS, KINDS))


def _frames(name: str, venue: VenueModule) -> Iterator[bytes]:
    for number, (market, kind) in enumerate(cases(venue)):
        bodies = (*payloads(name, market), *ANSWERS) if kind == "MESSAGE" else (REQUEST + b"\n" + SNAPSHOT,)
        yield from (bytes((number,)) + body for body in bodies)


def _remembered(name: str, venue: VenueModule, market: str) -> Memory:
    """Remember what a connection has to have said before: messages named `before...`."""
    memory = Memory()
    for called, message in whole_messages(name, market).items():
        if called.startswith("before"):
            payload = json.dumps(message).encode()
            venue.parse(market, Frame(source=0, number=0, kind="MESSAGE", recv_time_us=NOW_US, payload=payload), memory)
    return memory


def _parser(name: str, venue: VenueModule) -> Any:
    chosen = cases(venue)
    memories = {market: msgspec.msgpack.encode(_remembered(name, venue, market)) for market in venue.MARKETS}
    decode = msgspec.msgpack.Decoder(Memory).decode

    def run(data: bytes) -> None:
        market, kind = chosen[(data[0] if data else 0) % len(chosen)]
        request, _, payload = data[1:].partition(b"\n") if kind == "HTTP" else (b"", b"", data[1:])
        frame = Frame(
            source=0,
            number=0,
            kind=kind,
            request=request.decode(errors="replace"),
            recv_time_us=NOW_US,
            payload=payload,
        )
        with suppress(FrameError):
            for item in venue.parse(market, frame, decode(memories[market])):
                check_item(item)

    return run


def check_item(item: Any) -> None:
    """Assert that an item is one that records can be made of."""
    if isinstance(item, UnknownField | Notice | ConnectionGap):
        return
    assert type(item) in ON_ITEM
    for name in item.__struct_fields__:
        check_value(name, getattr(item, name))


SIGNED: Final = frozenset({"funding_rate", "value", "mid_returns", "signed_volumes"})


def check_value(name: str, value: Any) -> None:
    """Assert that a value of an item, or of a record, is in the range that its name promises."""
    if isinstance(value, list):
        for each in value:
            check_value(name, each)
    elif isinstance(value, float):
        assert isfinite(value), f"{name} is {value}"
        assert value >= 0 or name in SIGNED or "imbalance" in name, f"{name} is {value}"
        assert value > 0 or not name.endswith("prices"), f"{name} is {value}"
    elif isinstance(value, bool | Texts) or value is None:
        return
    elif name.endswith("_time_us"):
        assert 0 <= value < YEAR_2100_US, f"{name} is {value}"
    elif isinstance(value, int):
        assert 0 <= value <= MOST_INT, f"{name} is {value}"
    elif isinstance(value, str):
        value.encode()


def _lister(names: SymbologyModule) -> Any:
    encoder = Encoder(Instrument, 1)

    def run(data: bytes) -> None:
        market = names.MARKETS[(data[0] if data else 0) % len(names.MARKETS)]
        with suppress(ValueError):
            found = names.read_list(market, data[1:], NOW_US).instruments
            for each in found:
                check_instrument(each)
                encoder.encode(each)
            Symbology(found)
        with suppress(SymbolError):
            check_instrument(names.assumed_instrument(market, data[1:].decode(errors="replace"), NOW_US))

    return run


def check_instrument(instrument: Instrument) -> None:
    """Assert that an instrument can be computed with."""
    fields = msgspec.structs.asdict(instrument)
    for name, value in fields.items():
        check_value(name, value)
    assert instrument.contract_multiplier > 0
    assert instrument.tick_size != 0
    assert instrument.lot_size != 0
    assert instrument.symbol
    assert instrument.venue_symbol


def _answerer(wire: Wire) -> Any:
    def run(data: bytes) -> None:
        market = wire.MARKETS[(data[0] if data else 0) % len(wire.MARKETS)]
        channel = wire.full_channel(market, wire.CHANNELS[market][0])
        assert channel is not None
        name = wire.stream_name("BTCUSDT", channel)
        stream = Stream(name=name, channel=channel, venue_symbol="BTCUSDT", partition=0, url="")
        dialogue = wire.dialogue(market, b"")
        dialogue.subscribe([stream])
        for _ in range(2):  # the first may change what the second means
            assert isinstance(dialogue.stream_of(data[1:]), bytes)
            answer = dialogue.answer(data[1:])
            assert answer is None or isinstance(answer, Answer)
        dialogue.unsubscribe([stream])

    return run

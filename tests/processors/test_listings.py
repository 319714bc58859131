"""Instrument lists that come whole: what they name no more does not trade; what expired long ago is forgotten."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from msgspec import structs

from processors.pipeline import FEW, RELEASE_US
from schemas.records import Instrument, QualityEvent, Tick

URL = "https://www.okx.com/api/v5/public/instruments?instType=FUTURES"
DAY_MS = 86_400_000
EXPIRY_MS = 1_723_190_400_000  # 2024-08-09 08:00
NAMES = ("BTC-USD-240809", "ETH-USD-240809", "SOL-USD-261225")


@pytest.fixture
def run(new_run: Callable[..., Any]) -> Any:
    return new_run("futures", "OKX", assume_instruments=False)


def entry(name: str, **changes: Any) -> dict[str, Any]:
    day = name.split("-")[2]
    expiry_ms = EXPIRY_MS if day == "240809" else 1_798_185_600_000
    underlying = "-".join(name.split("-")[:2])
    known = {"instId": name, "instType": "FUTURES", "uly": underlying, "settleCcy": "BTC",
             "ctVal": "100", "ctType": "inverse", "expTime": str(expiry_ms), "state": "live"}  # fmt: skip
    return known | changes


def take_list(run: Any, *entries: dict[str, Any], note: str = "#page=1/1", after_ms: int = 0) -> None:
    body = json.dumps({"code": "0", "msg": "", "data": entries}).encode()
    record = run.feed.record(run.feed.frame(body, "INSTRUMENTS", request=URL + note))
    run.take_record(structs.replace(record, event_time_us=record.event_time_us + after_ms * 1000))


def trade(run: Any, name: str, number: int) -> None:
    row = {"instId": name, "tradeId": str(number), "px": "60000", "sz": "1", "side": "buy",
           "ts": str(run.feed.recv_time_us // 1000)}  # fmt: skip
    run.say({"arg": {"channel": "trades-all", "instId": name}, "data": [row]})


def not_trading(run: Any) -> list[str]:
    return [each.venue_symbol for each in run.of(Instrument, is_trading=False)]


def resume(run: Any, new_run: Callable[..., Any], kept: dict[str, list[bytes]]) -> None:
    run.capture(kept)
    run.resume(kept, new_run("futures", "OKX", assume_instruments=False).pipeline)


def test_what_a_whole_list_names_no_more_does_not_trade(run: Any) -> None:
    take_list(run, *map(entry, NAMES))
    take_list(run, entry(NAMES[0]), entry(NAMES[2]))
    take_list(run, entry(NAMES[0]), entry(NAMES[2]))

    assert not_trading(run) == [NAMES[1]]
    take_list(run, *map(entry, NAMES))
    assert run.of(Instrument)[-1].is_trading


def test_a_list_that_is_not_known_to_be_whole_tells_of_no_delisting(run: Any) -> None:
    take_list(run, *map(entry, NAMES))
    take_list(run, entry(NAMES[0]), note="")

    assert not not_trading(run)


def test_the_last_of_all_pages_decides_also_in_another_process(run: Any, new_run: Callable[..., Any]) -> None:
    kept: dict[str, list[bytes]] = {}
    take_list(run, *map(entry, NAMES))
    take_list(run, entry(NAMES[0]), note="#page=1/2")
    assert not not_trading(run)

    resume(run, new_run, kept)
    take_list(run, entry(NAMES[2]), note="#page=2/2")
    assert not_trading(run) == [NAMES[1]]


def test_a_list_with_an_empty_page_tells_nothing(run: Any) -> None:
    take_list(run, *map(entry, NAMES))
    take_list(run)
    take_list(run, entry(NAMES[0]), note="#page=1/2")
    take_list(run, note="#page=2/2")

    assert not not_trading(run)


@pytest.mark.parametrize("notes", [("#page=2/2",), ("#page=1/3", "#page=3/3"), ("#page=1/2",)])
def test_a_list_of_which_a_page_is_missing_tells_nothing(run: Any, notes: tuple[str, ...]) -> None:
    take_list(run, *map(entry, NAMES))
    for note in notes:
        take_list(run, entry(NAMES[0]), note=note)

    assert not not_trading(run)


def test_an_entry_that_cannot_be_read_is_not_delisted(run: Any) -> None:
    take_list(run, *map(entry, NAMES))
    take_list(run, entry(NAMES[0]), entry(NAMES[1], ctVal="nan"))

    assert not_trading(run) == [NAMES[2]]


def test_a_list_that_lacks_most_of_a_market_is_doubted(run: Any) -> None:
    many = [entry(f"C{number}-USD-261225") for number in range(FEW + 2)]
    take_list(run, *many)
    take_list(run, many[0])

    assert not not_trading(run)
    assert len(run.of(QualityEvent, kind="VENUE_NOTICE")) == 1


def test_a_contract_that_expired_long_ago_is_forgotten_for_good(run: Any, new_run: Callable[..., Any]) -> None:
    kept: dict[str, list[bytes]] = {}
    take_list(run, *map(entry, NAMES))
    for name in NAMES:
        trade(run, name, 7)
    run.capture(kept)
    take_list(run, entry(NAMES[2]), after_ms=3 * DAY_MS)
    assert [each.instrument.venue_symbol for each in run.pipeline.states()] == list(NAMES)

    take_list(run, entry(NAMES[2]), after_ms=RELEASE_US // 1000 + 3 * DAY_MS)
    assert [each.instrument.venue_symbol for each in run.pipeline.states()] == [NAMES[2]]
    resume(run, new_run, kept)
    assert [each.instrument.venue_symbol for each in run.pipeline.states()] == [NAMES[2]]


def test_a_contract_that_was_forgotten_is_kept_again_where_it_comes(run: Any, new_run: Callable[..., Any]) -> None:
    kept: dict[str, list[bytes]] = {}
    take_list(run, *map(entry, NAMES))
    trade(run, NAMES[0], 7)
    run.capture(kept)
    take_list(run, entry(NAMES[2]), after_ms=RELEASE_US // 1000 + 3 * DAY_MS)
    trade(run, NAMES[0], 8)
    resume(run, new_run, kept)
    trade(run, NAMES[0], 8)

    assert [each.trade_id for each in run.of(Tick)] == ["7", "8"]
    assert len(run.of(QualityEvent, kind="DUPLICATE")) == 1

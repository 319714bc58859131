"""Trades that were missed come by REST: each is there once in the end, as it was made, and the GAP is healed."""

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import SecretStr

from processors import healing
from schemas.records import Tick
from tickerplant.local.venue.faults import Disconnect, HttpError, HttpGarbage, Lose, Refuse
from tickerplant.settings import Keys

Capturing = Callable[..., Any]


@pytest.fixture(autouse=True)
def quick_healing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask for trades sooner than in earnest."""
    monkeypatch.setattr(healing, "ASK_AFTER_US", 100_000)
    monkeypatch.setattr(healing, "AGAIN_US", (500_000, 500_000, 60_000_000))


def holes(it: Any, kind: str) -> set[tuple[str, int, int]]:
    return {(each.symbol, each.from_sequence, each.to_sequence) for each in it.events(kind, "trade")}


def assert_nothing_is_missing(it: Any) -> None:
    """Each trade between the first and the last stored one of its symbol is stored once, as it was made."""
    it.assert_all_is_right()
    assert it.within(set(it.made())) <= set(it.trades())
    assert holes(it, "HEALED") == holes(it, "GAP")
    assert not it.events("NOT_HEALED")


async def test_after_a_cut_every_trade_is_there_once(capturing: Capturing) -> None:
    async with capturing(symbols=3) as it:
        it.start(Refuse(for_s=1.5))
        it.start(Disconnect(how="abort"))
        await it.until(lambda: holes(it, "GAP"))
        await it.more(20)
        await it.until(lambda: holes(it, "HEALED") == holes(it, "GAP"))
        await it.finish()

    assert_nothing_is_missing(it)
    restored = [each for each in it.of(Tick) if "BACKFILL" in each.flags]
    assert len(restored) == sum(each.count for each in it.events("HEALED")) > 20
    assert all(each.event_time_us == each.exchange_time_us for each in restored)
    again = it.replayed()
    assert [(each.symbol, each.trade_id) for each in again.records if isinstance(each, Tick)] == [
        (each.symbol, each.trade_id) for each in it.of(Tick)
    ]


async def test_with_a_key_futures_heal_from_any_id_on(capturing: Capturing) -> None:
    async with capturing(markets=("usdm",), symbols=3, keys=Keys(binance=SecretStr("any-key"))) as it:
        lost = it.start(Lose(match="*@trade", count=1))
        await it.until(lambda: lost.is_over and holes(it, "HEALED"))
        await it.finish()

    assert_nothing_is_missing(it)
    assert any("historicalTrades?" in each.request for each in it.flow.frames("HTTP"))
    assert not any("any-key" in each.request for each in it.flow.frames("HTTP"))


async def test_single_trades_that_are_lost_are_fetched(capturing: Capturing) -> None:
    async with capturing() as it:
        lost = it.start(Lose(match="*@trade", probability=0.2, count=20))
        await it.until(lambda: lost.is_over)
        await it.more(20)
        await it.until(lambda: holes(it, "HEALED") == holes(it, "GAP") != set())
        await it.finish()

    assert_nothing_is_missing(it)
    assert it.restored() == it.within(it.struck(lost))


@pytest.mark.parametrize(
    "fault",
    [HttpError(match="*historicalTrades*", count=2), HttpGarbage(match="*historicalTrades*", count=1, kind="html")],
    ids=["errors", "garbage"],
)
async def test_answers_of_no_use_are_asked_for_again(capturing: Capturing, fault: Any) -> None:
    async with capturing(symbols=3) as it:
        it.start(fault)
        lost = it.start(Lose(match="*@trade", count=1))
        await it.until(lambda: lost.is_over)
        await it.until(lambda: holes(it, "HEALED"))
        await it.finish()

    assert_nothing_is_missing(it)
    assert len(it.letters()) == isinstance(fault, HttpGarbage)

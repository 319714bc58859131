"""Connections are renewed under load, from the venue's socket to the records: each item once, no hole, no reset."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from producers.venues import binance
from schemas.records import Tick
from tickerplant.local.venue.faults import Disconnect, Silence

Capturing = Callable[..., Any]
CHANNELS = ("trade", "aggTrade", "bookTicker", "depth", "kline_1m", "ticker")
DATA_EVENTS = ("GAP", "BOOK_RESET", "DUPLICATE", "OUT_OF_ORDER", "FRAME_LOSS", "DEAD_LETTER", "STALE")
MARKETS = pytest.mark.parametrize("market", ["spot", "usdm", "coinm"])


@pytest.fixture
def short_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    for market, limits in list(binance.LIMITS.items()):
        monkeypatch.setitem(binance.LIMITS, market, replace(limits, life_s=0.8, messages_per_s=50.0))


@MARKETS
@pytest.mark.usefixtures("short_lives")
async def test_renewals_lose_nothing_double_nothing_and_reset_no_book(
    capturing: Capturing, metric: Callable[..., float], market: str
) -> None:
    renewals = metric("connector_renewals_total")
    async with capturing(markets=(market,), channels=CHANNELS, overlap_s=0.2) as it:
        snapshots = len(it.flow.frames("HTTP"))
        await it.until(lambda: metric("connector_renewals_total") >= renewals + 3)
        assert len(it.flow.frames("HTTP")) == snapshots
        await it.finish()
    it.flow.records += it.flow.pipeline.finish()  # counts that wait for their second

    assert {kind: it.events(kind) for kind in DATA_EVENTS} == {kind: [] for kind in DATA_EVENTS}
    assert all(b"replaced: end of life" in frame.payload for frame in it.flow.frames("DISCONNECT")[:3])
    ticks = [(each.kind, each.symbol, each.trade_id, each.venue_sequence, each.price) for each in it.of(Tick)]
    assert len(ticks) == len(set(ticks))
    bodies = [frame.payload for frame in it.flow.frames("MESSAGE")]
    assert len(bodies) > len(set(bodies)) + 50, "connections did not overlap"
    it.assert_all_is_right()


async def test_one_silent_channel_costs_the_others_nothing(capturing: Capturing) -> None:
    async with capturing(channels=("trade", "bookTicker", "depth"), stale_after_s=0.6, overlap_s=0.2) as it:
        it.start(Silence(match="*@bookTicker", for_s=60.0))
        await it.until(lambda: it.events("STALE"))
        await it.finish()

    assert it.events("STALE")[0].channel == "bookTicker"
    assert not it.events("GAP")
    assert not it.events("BOOK_RESET")
    it.assert_all_is_right()


@pytest.mark.usefixtures("short_lives")
async def test_venue_that_cuts_connections_in_the_overlap_leaves_the_data_right(capturing: Capturing) -> None:
    async with capturing(overlap_s=1.0) as it:
        opened = len(it.flow.frames("CONNECT"))
        await it.until(lambda: len(it.flow.frames("CONNECT")) > opened)
        it.start(Disconnect(count=1))
        await it.until(lambda: b"1001" in b"".join(each.payload for each in it.flow.frames("DISCONNECT")))
        await it.more(50)
        await it.finish()

    it.assert_all_is_right()

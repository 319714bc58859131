"""Connections cut, silent, slow, refused, announced to end: what is seen, and that the data is right afterwards."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from producers import websocket
from schemas.records import Depth, QualityEvent, Tick
from tickerplant.local.venue.faults import ClockStep, Disconnect, Maintenance, Refuse, Silence, Slow

Capturing = Callable[..., Any]
Metric = Callable[..., float]


@pytest.mark.parametrize("market", ["spot", "usdm", "coinm"])
@pytest.mark.parametrize("how", ["close", "abort", "mid_frame"])
async def test_lost_connection_is_told_and_made_good(
    capturing: Capturing, metric: Metric, how: Any, market: str
) -> None:
    reconnects = metric("websocket_reconnects_total")
    async with capturing(markets=(market,)) as it:
        books, ready = len(it._kept()), len(it.events("BOOK_READY"))
        cut = it.start(Disconnect(how=how))
        await it.until(lambda: len(it.events("BOOK_READY")) >= ready + books)
        await it.finish()

    assert metric("websocket_reconnects_total") > reconnects
    assert len(it.events("DISCONNECT")) == cut.hits > 0
    assert len(it.events("BOOK_RESET")) == books
    it.assert_all_is_right()


async def test_repeated_disconnects_cost_only_what_gaps_tell(capturing: Capturing) -> None:
    async with capturing() as it:
        cuts = it.start(Disconnect(every_s=0.3, count=4, how="abort"))
        await it.until(lambda: cuts.is_over)
        await it.finish()

    assert len(it.events("DISCONNECT")) >= 4
    it.assert_all_is_right()


async def test_silent_channel_is_stale_and_its_connection_is_opened_again(capturing: Capturing, metric: Metric) -> None:
    stale = metric("connector_errors_total", error_type="stale")
    async with capturing(stale_after_s=0.8) as it:
        silent = it.start(Silence(match="*@trade", for_s=60))
        await it.until(lambda: it.events("STALE"))
        await it.finish()

    assert {each.channel for each in it.events("STALE")} == {"trade"}
    assert metric("connector_errors_total", error_type="stale") > stale
    assert it.struck(silent) <= it.gaps("trade")
    it.assert_all_is_right()


async def test_silent_depth_is_a_gap_and_the_book_comes_back(capturing: Capturing) -> None:
    async with capturing() as it:
        silent = it.start(Silence(match="*@depth*", for_s=0.3))
        await it.until(lambda: silent.is_over and it.events("BOOK_RESET"))
        await it.finish()

    assert silent.hits
    assert it.events("GAP", "depth")
    it.assert_all_is_right()


async def test_venue_that_does_not_answer_subscriptions_is_met_with_a_new_connection(
    capturing: Capturing, metric: Metric, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "ANSWER_TIMEOUT_S", 0.2)
    failures = metric("connector_errors_total", error_type="subscription_unanswered")
    async with capturing(stale_after_s=1.0) as it:
        quiet = it.start(Silence(for_s=60, answers=True))
        it.start(Disconnect())
        await it.until(lambda: metric("connector_errors_total", error_type="subscription_unanswered") > failures)
        await it.venue.faults.end(quiet)
        await it.finish()

    it.assert_all_is_right()


async def test_slow_socket_delays_records_and_loses_none(capturing: Capturing) -> None:
    async with capturing() as it:
        it.start(Slow(bytes_per_s=15_000))
        await it.more(100)
        await it.finish()

    assert {each.kind for each in it.of(QualityEvent)} <= {"CONNECT", "BOOK_READY"}
    assert len(it.trades()) == len(it.published)
    it.assert_all_is_right()


async def test_full_kafka_holds_the_venue_back_and_nothing_is_lost(capturing: Capturing) -> None:
    async with capturing(rate=4000, queue_frames=50) as it:
        it.flow.is_stuck = True
        await it.until(lambda: not it.producer.intakes["BINANCE"].gate.is_open)
        it.flow.is_stuck = False
        await it.finish()

    assert len(it.trades()) == len(it.published)
    it.assert_all_is_right()


async def test_refused_handshakes_are_tried_again(capturing: Capturing, metric: Metric) -> None:
    refused = metric("connector_errors_total", error_type="handshake_5xx")
    async with capturing() as it:
        refusal = it.start(Refuse(status=503, count=3))
        it.start(Disconnect())
        await it.until(lambda: refusal.is_over)
        await it.finish()

    assert metric("connector_errors_total", error_type="handshake_5xx") >= refused + 3
    it.assert_all_is_right()


async def test_slow_handshake_is_waited_for(capturing: Capturing) -> None:
    async with capturing() as it:
        slow = it.start(Slow(handshake_s=0.3))
        it.start(Disconnect())
        await it.until(lambda: it.events("DISCONNECT"))
        await it.until(lambda: len(it.events("CONNECT")) >= 2)
        await it.venue.faults.end(slow)
        await it.finish()

    it.assert_all_is_right()


@pytest.mark.parametrize("market", ["spot", "coinm"])
async def test_maintenance_is_noticed_and_connections_are_replaced_in_time(
    capturing: Capturing, metric: Metric, market: str
) -> None:
    renewals = metric("connector_renewals_total")
    async with capturing(markets=(market,)) as it:
        sessions = set(it.venue.hub.sessions)
        it.start(Maintenance(notice_s=3))
        await it.until(lambda: it.events("VENUE_NOTICE"))
        await it.until(lambda: it.venue.hub.sessions and not sessions & set(it.venue.hub.sessions))
        await it.finish()

    assert [each.detail for each in it.events("VENUE_NOTICE")] == ["serverShutdown"]
    assert metric("connector_renewals_total") > renewals
    assert not it.letters() + it.events("GAP") + it.events("BOOK_RESET")
    assert len(it.trades()) == len(it.published)
    it.assert_all_is_right()


async def test_maintenance_that_lasts_is_waited_out(capturing: Capturing) -> None:
    async with capturing() as it:
        it.start(Maintenance(notice_s=0.05, down_s=0.6))
        await it.until(lambda: len(it.venue.faults.plan.faults) == 2)  # a refusal follows
        refusal = it.venue.faults.plan.faults[2]
        await it.until(lambda: refusal.is_over)
        await it.finish()

    assert it.events("VENUE_NOTICE")
    it.assert_all_is_right()


@pytest.mark.parametrize("step_ms", [-60_000, 60_000])
async def test_clock_step_touches_neither_ids_nor_books(capturing: Capturing, step_ms: int) -> None:
    async with capturing(channels=("trade", "depth", "kline_1m")) as it:
        step = it.start(ClockStep(step_ms=step_ms))
        await it.more(30)
        await it.venue.faults.end(step)
        await it.finish()
    late = [each for each in it.flow.records if isinstance(each, Tick | Depth) and "LATE" in each.flags]

    assert late
    assert not it.events("GAP")
    assert not it.letters()
    assert len(it.trades()) == len(it.published)
    it.assert_all_is_right()


async def test_times_of_a_stepped_clock_are_stored_as_the_venue_wrote_them(capturing: Capturing) -> None:
    async with capturing() as it:
        it.start(ClockStep(step_ms=-3_600_000))
        await it.until(lambda: it.of(Tick)[-1].exchange_time_us < it.of(Tick)[-1].recv_time_us - 3_500_000_000)
        await it.finish()

    assert all(each.recv_time_us <= each.event_time_us for each in it.of(Tick))


async def test_producer_that_stops_during_faults_ends_at_once(capturing: Capturing) -> None:
    async with asyncio.timeout(10), capturing() as it:
        it.start(Refuse(for_s=60))
        it.start(Disconnect())
        await it.until(lambda: it.events("DISCONNECT"))

"""REST errors, silence, garbage, wrong snapshots: what is seen, and that the data is right afterwards."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from processors import book_keeper
from schemas.records import DeadLetter
from tickerplant.local.venue.faults import (
    Disconnect,
    HttpError,
    HttpGarbage,
    HttpHang,
    Lose,
    WrongSnapshotFault,
)

Capturing = Callable[..., Any]
Metric = Callable[..., float]
LIST_ERRORS = ("instruments", "http_status", "http_transport")
LOSE_DEPTH = Lose(match="*@depth*", count=1)


@pytest.mark.parametrize(
    ("status", "error_type"), [(503, "http_status"), (500, "http_status"), (429, "http_rate_limit")]
)
async def test_refused_snapshot_is_asked_for_again(
    capturing: Capturing, metric: Metric, status: int, error_type: str
) -> None:
    errors = metric("connector_errors_total", error_type=error_type)
    async with capturing() as it:
        refused = it.start(HttpError(match="*/depth*", status=status, retry_after_s=1, count=1))
        it.start(LOSE_DEPTH)
        await it.until(lambda: refused.is_over)
        await it.finish()

    assert metric("connector_errors_total", error_type=error_type) > errors
    it.assert_all_is_right()


@pytest.mark.parametrize("status", [418, 429])
async def test_rate_limit_is_honoured_for_as_long_as_it_says(capturing: Capturing, status: int) -> None:
    async with capturing() as it:
        ready = len(it.events("BOOK_READY"))
        refused = it.start(HttpError(match="*/depth*", status=status, retry_after_s=2, count=1))
        it.start(LOSE_DEPTH)
        await it.until(lambda: refused.is_over)
        loop = asyncio.get_running_loop()
        begin_s = loop.time()
        await it.until(lambda: len(it.events("BOOK_READY")) > ready)
        waited_s = loop.time() - begin_s
        await it.finish()

    assert waited_s >= 1.9
    it.assert_all_is_right()


async def test_request_that_hangs_is_given_up_and_asked_again(capturing: Capturing, metric: Metric) -> None:
    errors = metric("connector_errors_total", error_type="http_transport")
    async with capturing(http_timeout_s=0.3) as it:
        hung = it.start(HttpHang(match="*/depth*", hang_s=60, count=1))
        it.start(LOSE_DEPTH)
        await it.until(lambda: hung.is_over)
        await it.finish()

    assert metric("connector_errors_total", error_type="http_transport") > errors
    it.assert_all_is_right()


@pytest.mark.parametrize("kind", ["truncated", "html", "empty"])
async def test_snapshot_that_cannot_be_read_is_a_dead_letter_and_asked_for_again(
    capturing: Capturing, kind: Any
) -> None:
    async with capturing() as it:
        spoilt = it.start(HttpGarbage(match="*/depth*", kind=kind, count=1))
        it.start(LOSE_DEPTH)
        await it.until(lambda: spoilt.is_over)
        await it.finish()
    [letter] = it.of(DeadLetter)

    assert (letter.frame_kind, "/depth?symbol=" in letter.request) == ("HTTP", True)
    assert letter.payload in [frame.payload for frame in it.flow.frames("HTTP")]
    it.assert_all_is_right()


async def test_snapshot_that_breaks_off_is_an_error_and_asked_for_again(capturing: Capturing, metric: Metric) -> None:
    errors = metric("connector_errors_total", error_type="http_transport")
    async with capturing() as it:
        spoilt = it.start(HttpGarbage(match="*/depth*", kind="cut", count=1))
        it.start(LOSE_DEPTH)
        await it.until(lambda: spoilt.is_over)
        await it.finish()

    assert metric("connector_errors_total", error_type="http_transport") > errors
    assert not it.letters()
    it.assert_all_is_right()


@pytest.mark.parametrize(
    "fault",
    [
        HttpError(match="*/exchangeInfo*", count=2),
        HttpGarbage(match="*/exchangeInfo*", kind="truncated", count=1),
        HttpGarbage(match="*/exchangeInfo*", kind="html", count=1),
        HttpGarbage(match="*/exchangeInfo*", kind="empty", count=1),
        HttpGarbage(match="*/exchangeInfo*", kind="cut", count=1),
    ],
    ids=lambda fault: getattr(fault, "kind", "error"),
)
async def test_instrument_list_is_asked_for_until_it_is_one(capturing: Capturing, metric: Metric, fault: Any) -> None:
    before = sum(metric("connector_errors_total", error_type=each) for each in LIST_ERRORS)
    async with capturing(before=(fault,)) as it:
        await it.finish()

    assert sum(metric("connector_errors_total", error_type=each) for each in LIST_ERRORS) > before
    assert not it.letters()
    it.assert_all_is_right()


@pytest.mark.parametrize(
    ("market", "cause"),
    [
        ("spot", Lose(match="*/ethusd*@depth*", count=1)),
        ("usdm", Lose(match="*/ethusd*@depth*", count=1)),
        ("coinm", Lose(match="*/ethusd*@depth*", count=1)),
        ("spot", Disconnect()),
    ],
    ids=["spot", "usdm", "coinm", "disconnect"],
)
@pytest.mark.parametrize("kind", ["old", "other_symbol", "crossed", "empty"])
async def test_wrong_snapshot_is_seen_and_replaced_by_a_right_one(
    capturing: Capturing, market: str, kind: Any, cause: Any
) -> None:
    async with capturing(markets=(market,), symbols=12) as it:
        wrong = it.start(WrongSnapshotFault(match="*symbol=ETHUSD*", kind=kind, count=2))
        it.start(cause)
        await it.until(lambda: wrong.is_over)
        await it.until_keyframes()
        await it.finish()

    it.assert_all_is_right()


@pytest.mark.parametrize("kind", ["old", "crossed", "empty"])
async def test_book_never_stands_on_a_snapshot_that_is_seen_to_be_wrong(capturing: Capturing, kind: Any) -> None:
    async with capturing() as it:
        ready = len(it.events("BOOK_READY"))
        wrong = it.start(WrongSnapshotFault(kind=kind, count=1))
        it.start(LOSE_DEPTH)
        await it.until(lambda: wrong.is_over)
        await it.finish()

    assert len(it.events("BOOK_READY")) == ready + 1
    assert sum(each.command == "resnapshot" for each in it.flow.commands) >= 2
    it.assert_all_is_right()


async def test_snapshot_that_came_and_was_of_no_use_is_asked_for_again_at_once(
    capturing: Capturing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(book_keeper, "PATIENCE_US", 600_000_000)
    async with capturing() as it:
        ready = len(it.events("BOOK_READY"))
        wrong = it.start(WrongSnapshotFault(kind="old", count=1))
        it.start(Disconnect())
        await it.until(lambda: wrong.is_over)
        await it.until(lambda: len(it.events("BOOK_READY")) > ready + 2)
        await it.finish()

    it.assert_all_is_right()

"""Depth snapshots: urgent first, each symbol once, into the right partition."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import httpx
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from producers.connection import Backoff
from producers.http import Fetcher
from producers.intake import Intake
from producers.limiter import Address
from producers.snapshots import ROUTINE, URGENT, Snapshots, Waiting
from producers.venues import binance
from tickerplant.clock import now_us
from tickerplant.settings import Producer


def drained(waiting: Waiting) -> list[str]:
    return list(iter(waiting.pop, None))


def test_urgent_symbols_go_first_then_in_the_order_they_came() -> None:
    waiting = Waiting()
    for name, priority in [
        ("A", ROUTINE),
        ("B", ROUTINE),
        ("C", URGENT),
        ("B", URGENT),
        ("A", ROUTINE),
        ("D", ROUTINE),
    ]:
        waiting.add(name, priority)

    assert len(waiting) == 4
    assert drained(waiting) == ["C", "B", "A", "D"]


@given(st.lists(st.tuples(st.sampled_from("ABCDE"), st.sampled_from([URGENT, ROUTINE]))))
def test_each_symbol_waits_once(asked: list[tuple[str, int]]) -> None:
    waiting = Waiting()
    for name, priority in asked:
        waiting.add(name, priority)
    out = drained(waiting)
    urgent = {name for name, priority in asked if priority == URGENT}

    assert sorted(out) == sorted({name for name, _ in asked})
    assert set(out[: len(urgent)]) == urgent


@pytest.fixture
async def snapshots(
    client: httpx.AsyncClient, venue: Any, make_intake: Callable[..., Intake]
) -> AsyncIterator[Snapshots]:
    intake = make_intake(Producer(linger_ms=1.0))
    fetcher = Fetcher(client, "BINANCE", Address(6000, 300), now_us=now_us)
    made = Snapshots(fetcher, intake.gate, backoff=Backoff(0.01, 0.02), now_us=now_us)
    for partition, name in enumerate(["BTCUSDT", "ETHUSDT"]):
        lane = intake.lane("spot", f"http{partition}", partition)
        made.serve(name, binance.depth_request("spot", name, venue.rest_url, 2), lane)
    tasks = [asyncio.create_task(made.run()), asyncio.create_task(intake.pump_forever())]
    yield made
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_snapshot_goes_to_the_partition_of_its_symbol_with_its_url(
    snapshots: Snapshots, venue: Any, outlet: Any, until: Any
) -> None:
    venue.rest["/api/v3/depth"] = [web.Response(body=b"first"), web.Response(body=b"second")]
    assert snapshots.ask("ETHUSDT")
    assert snapshots.ask("BTCUSDT", URGENT)
    await until(lambda: len(outlet.frames("HTTP")) == 2)
    seen = {frame.payload: (partition, frame.request) for partition, _, frame in outlet.sourced()}

    assert seen == {
        b"first": (0, f"{venue.rest_url}/api/v3/depth?symbol=BTCUSDT&limit=5000"),
        b"second": (1, f"{venue.rest_url}/api/v3/depth?symbol=ETHUSDT&limit=5000"),
    }


async def test_failed_snapshot_is_fetched_again(snapshots: Snapshots, venue: Any, outlet: Any, until: Any) -> None:
    venue.rest["/api/v3/depth"] = [web.Response(status=503), web.Response(status=500), web.Response(body=b"book")]
    snapshots.ask("BTCUSDT")
    await until(lambda: outlet.frames("HTTP"))

    assert outlet.payloads("HTTP") == [b"book"]


async def test_refused_snapshot_is_given_up_and_others_go_on(
    snapshots: Snapshots, venue: Any, outlet: Any, until: Any
) -> None:
    venue.rest["/api/v3/depth"] = [web.Response(status=400), web.Response(body=b"book")]
    snapshots.ask("BTCUSDT")
    snapshots.ask("ETHUSDT")
    await until(lambda: outlet.frames("HTTP"))

    assert [partition for partition, _, _ in outlet.sourced()] == [1]


async def test_symbol_of_somebody_else_is_not_asked_for(snapshots: Snapshots) -> None:
    assert not snapshots.ask("XRPUSDT")

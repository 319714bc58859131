"""Feeds against a real WebSocket server: subscribing, losing, silence, speed, back pressure, stopping."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import REGISTRY
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import WebSocketException

from producers import plan as planning
from producers import websocket
from producers.failures import ConnectionFailureError, error_type
from producers.feed import Feed
from producers.intake import Intake
from producers.limiter import Address
from producers.plan import ConnectionPlan
from producers.venues import binance
from producers.websocket import FeedOptions
from producers.wire import Stream
from schemas.quality import stale_reason
from schemas.venues.binance import assumed_instrument
from tickerplant.settings import Producer, Venue

Say = Callable[[ServerConnection, dict[str, Any]], Awaitable[None]]
NAMES = ("BTCUSDT", "ETHUSDT")


def planned(url: str, *channels: str, names: Iterable[str] = NAMES) -> ConnectionPlan:
    venue = Venue(venue="BINANCE", market="spot", symbols=("*",), channels=channels or ("trade",), websocket_url=url)
    instruments = [assumed_instrument("spot", name, 0) for name in names]
    (found,) = planning.connections(venue, planning.streams(venue, instruments, 1))
    return found


def trade(number: int) -> bytes:
    return b'{"stream":"btcusdt@trade","data":{"e":"trade","t":%d}}' % number


def talking(count: int, *, then_close: bool = False) -> Say:
    async def talk(connection: ServerConnection, _request: dict[str, Any]) -> None:
        for number in range(count):
            await connection.send(trade(number), text=True)
        if then_close:
            await connection.close(1011, "fault")

    return talk


@asynccontextmanager
async def running(feed: Feed, intake: Intake) -> AsyncIterator[asyncio.Task[None]]:
    pump = asyncio.create_task(intake.pump_forever())
    task = asyncio.create_task(feed.run())
    try:
        yield task
    finally:
        for each in (task, pump):
            each.cancel()
        for each in (task, pump):
            with suppress(asyncio.CancelledError):
                await each
        intake.close()


@pytest.fixture
def subscribed() -> list[Stream]:
    return []


@pytest.fixture
def options(settings: Producer, subscribed: list[Stream]) -> FeedOptions:
    return FeedOptions(
        wire=binance, settings=settings, start="s1", on_subscribed=subscribed.extend, address=Address(6000, 300)
    )


@pytest.fixture
def make(make_intake: Callable[..., Intake], options: FeedOptions, venue: Any) -> Callable[..., tuple[Feed, Intake]]:
    def make_feed(settings: Producer | None = None, *channels: str) -> tuple[Feed, Intake]:
        given = settings or options.settings
        intake = make_intake(given, 1)
        chosen = replace(options, settings=given)
        return Feed("spot-p0-0", planned(venue.websocket_url, *channels), intake, chosen), intake

    return make_feed


async def test_connect_request_answer_and_messages_are_frames_in_order(
    make: Any, venue: Any, outlet: Any, until: Any
) -> None:
    venue.on_request = talking(3)
    feed, intake = make()
    async with running(feed, intake):
        await until(lambda: len(outlet.frames("MESSAGE")) == 4)
    frames = outlet.frames()

    assert [frame.kind for frame in frames] == ["CONNECT", "SENT", *["MESSAGE"] * 4, "DISCONNECT"]
    assert [frame.number for frame in frames] == list(range(7))
    assert frames[0].request == f"{venue.websocket_url}/stream"
    assert json.loads(frames[1].payload)["params"] == ["btcusdt@trade", "ethusdt@trade"]
    assert [frame.payload for frame in frames[3:6]] == [trade(0), trade(1), trade(2)]
    assert frames[6].payload == b"stopped"
    assert all(frame.recv_time_us > 1_600_000_000_000_000 for frame in frames)
    assert [frame.recv_time_us for frame in frames] == sorted(frame.recv_time_us for frame in frames)


async def test_streams_are_told_once_their_subscription_is_answered(
    make: Any, venue: Any, subscribed: list[Stream], until: Any
) -> None:
    feed, intake = make(None, "trade", "depth")
    async with running(feed, intake):
        await until(lambda: len(subscribed) == 4)

    assert [each.name for each in subscribed] == venue.subscribed


async def test_lost_connection_is_opened_again_under_a_new_name(make: Any, venue: Any, outlet: Any, until: Any) -> None:
    venue.on_request = talking(1, then_close=True)
    feed, intake = make()
    async with running(feed, intake):
        await until(lambda: len(outlet.frames("DISCONNECT")) >= 2)
    names = list(dict.fromkeys(source.connection for _, source, _ in outlet.sourced()))
    first = [frame for _, source, frame in outlet.sourced() if source.connection == names[0]]

    assert names[:2] == ["spot-p0-0-s1-1", "spot-p0-0-s1-2"]
    assert [frame.kind for frame in first] == ["CONNECT", "SENT", "MESSAGE", "MESSAGE", "DISCONNECT"]
    assert b"1011" in first[-1].payload


async def test_reconnects_and_errors_are_counted_under_the_names_dashboards_expect(
    make: Any, venue: Any, until: Any
) -> None:
    reconnects = ("websocket_reconnects_total", {"venue": "BINANCE"})
    errors = ("connector_errors_total", {"venue": "BINANCE", "error_type": "closed_1011"})
    before = [REGISTRY.get_sample_value(*each) or 0.0 for each in (reconnects, errors)]
    venue.on_request = talking(1, then_close=True)
    feed, intake = make()
    async with running(feed, intake):
        await until(lambda: feed.life.opened >= 2)
    after = [REGISTRY.get_sample_value(*each) or 0.0 for each in (reconnects, errors)]

    assert all(new > old for old, new in zip(before, after, strict=True))


async def test_server_that_is_not_there_is_tried_again(
    make: Any, outlet: Any, until: Any, options: FeedOptions
) -> None:
    _, intake = make()
    feed = Feed("spot-p0-0", planned("ws://127.0.0.1:1"), intake, options)
    async with running(feed, intake):
        await until(lambda: feed.life.backoff.failures >= 3)

    assert outlet.frames() == []
    assert feed.life.state == "closed"


async def test_silent_channel_is_met_with_a_new_connection(make: Any, venue: Any, outlet: Any, until: Any) -> None:
    feed, intake = make(Producer(stale_after_s=0.1, backoff_first_s=0.01))
    async with running(feed, intake):
        await until(lambda: len(venue.connections) >= 2)

    assert outlet.payloads("DISCONNECT")[0] == stale_reason("trade").encode()


async def test_refused_subscription_is_a_failure(make: Any, venue: Any, outlet: Any, until: Any) -> None:
    venue.refusal = {"code": 2, "msg": "Invalid request"}
    feed, intake = make()
    async with running(feed, intake):
        await until(lambda: len(outlet.frames("DISCONNECT")) >= 1)

    assert b"subscription_refused: 2 Invalid request" in outlet.payloads("DISCONNECT")[0]


async def test_unanswered_subscription_is_a_failure(
    make: Any, venue: Any, outlet: Any, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "ANSWER_TIMEOUT_S", 0.1)
    venue.answers = False
    feed, intake = make()
    async with running(feed, intake):
        await until(lambda: len(outlet.frames("DISCONNECT")) >= 1)

    assert b"subscription_unanswered" in outlet.payloads("DISCONNECT")[0]


async def test_announced_shutdown_is_met_with_a_new_connection_at_once(
    make: Any, venue: Any, outlet: Any, until: Any
) -> None:
    async def announce(connection: ServerConnection, _request: dict[str, Any]) -> None:
        if len(venue.connections) == 1:
            await connection.send('{"e":"serverShutdown","E":1}')

    venue.on_request = announce
    feed, intake = make()
    async with running(feed, intake):
        await until(lambda: len(venue.requests) >= 2)

    assert feed.life.backoff.failures == 0
    assert b'"e":"serverShutdown"' in b"".join(outlet.payloads("MESSAGE"))


async def test_pings_of_the_venue_are_answered(make: Any, venue: Any, until: Any) -> None:
    answered: list[float] = []

    async def ping(connection: ServerConnection, _request: dict[str, Any]) -> None:
        answered.append(await (await connection.ping()))

    venue.on_request = ping
    feed, intake = make()
    async with running(feed, intake):
        await until(lambda: answered)


async def test_nothing_is_lost_and_memory_is_bounded_while_kafka_is_stuck(
    make: Any, venue: Any, outlet: Any, until: Any
) -> None:
    sent: list[int] = []

    async def flood(connection: ServerConnection, _request: dict[str, Any]) -> None:
        for number in range(60_000):
            await connection.send(trade(number) + b" " * 1000, text=True)
            sent.append(number)

    venue.on_request = flood
    feed, intake = make(Producer(queue_frames=500, linger_ms=1.0))
    outlet.is_stuck = True
    async with running(feed, intake):
        await until(lambda: not intake.gate.is_open)
        size = -1
        while size != len(sent):  # until the venue is held back too
            size = len(sent)
            await asyncio.sleep(0.2)
        assert len(outlet.frames("MESSAGE")) <= 700
        assert size < 60_000
        outlet.is_stuck = False
        await until(lambda: len(outlet.frames("MESSAGE")) == 60_001, 30.0)

    assert [payload.rstrip() for payload in outlet.payloads("MESSAGE")[1:]] == [trade(n) for n in range(60_000)]
    assert len(venue.connections) == 1


async def test_what_was_read_is_taken_in_when_stopped_while_kafka_is_stuck(
    make: Any, venue: Any, outlet: Any, until: Any
) -> None:
    venue.on_request = talking(300)
    feed, intake = make(Producer(queue_frames=10, linger_ms=1.0))
    outlet.is_stuck = True
    async with running(feed, intake):
        await until(lambda: not intake.gate.is_open)

    numbers = [json.loads(payload)["data"]["t"] for payload in outlet.payloads("MESSAGE")[1:]]
    assert numbers == list(range(len(numbers)))
    assert outlet.frames()[-1].kind == "DISCONNECT"


async def test_end_of_life_is_met_with_a_new_connection(
    make: Any, venue: Any, outlet: Any, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = type(binance.LIMITS["spot"])(
        streams_per_connection=10, streams_per_request=1, messages_per_s=100, weight_per_window=1, life_s=0.1
    )
    monkeypatch.setitem(binance.LIMITS, "spot", limits)
    feed, intake = make()
    async with running(feed, intake):
        await until(lambda: outlet.frames("DISCONNECT"))

    assert outlet.payloads("DISCONNECT")[0] == b"replaced: end of life"
    assert [request["id"] for request in venue.requests[:4]] == [1, 2, 1, 2]


@pytest.mark.parametrize(
    ("error", "expected"),
    [(TimeoutError(), "timeout"), (ConnectionRefusedError(), "connect"), (EOFError(), "handshake"),
     (ConnectionFailureError("stale", ""), "stale"), (WebSocketException(), "protocol")],
)  # fmt: skip
def test_failures_have_a_bounded_set_of_names(error: Exception, expected: str) -> None:
    assert error_type(error) == expected

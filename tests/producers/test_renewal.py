"""Renewal: a successor is opened beside a connection that nears its end, and both are taken for a while."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import REGISTRY
from websockets.asyncio.server import ServerConnection

from producers.feed import Feed
from producers.venues import binance
from schemas.quality import stale_reason
from tickerplant.settings import Producer

LIFE_S = 0.4
EVERY_S = 0.005


def settings(**changes: float) -> Producer:
    values = {"linger_ms": 1.0, "backoff_first_s": 0.02, "backoff_most_s": 0.1, "overlap_s": 0.2, "stale_after_s": 30.0}
    return Producer.model_validate(values | changes)


@pytest.fixture
def short_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = replace(binance.LIMITS["spot"], messages_per_s=100.0, life_s=LIFE_S)
    monkeypatch.setitem(binance.LIMITS, "spot", limits)


@pytest.fixture
def start(start_feed: Callable[..., Feed], venue: Any) -> Callable[..., Feed]:
    return lambda given, *channels: start_feed(given, venue.websocket_url, *(channels or ("trade", "depth")))


class Market:
    """Sends the same numbered messages to all connections that subscribed, each from then on."""

    def __init__(self) -> None:
        self.number = 0
        self.subscribed: list[ServerConnection] = []
        self.channels = ("trade", "depth@100ms")

    async def subscribe(self, connection: ServerConnection, _request: dict[str, Any]) -> None:
        if connection not in self.subscribed:
            self.subscribed.append(connection)

    async def talk(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            self.number += 1
            for channel in self.channels:
                text = json.dumps({"stream": f"btcusdt@{channel}", "data": {"t": self.number}}, separators=(",", ":"))
                for each in list(self.subscribed):
                    if each.state.name == "OPEN":
                        await each.send(text)


@pytest.fixture
async def market(venue: Any) -> Any:
    market = Market()
    venue.on_request = market.subscribe
    talking = asyncio.create_task(market.talk())
    yield market
    talking.cancel()


def lives(outlet: Any) -> dict[str, list[Any]]:
    """Frames of each connection, in the order in which connections began."""
    found: dict[str, list[Any]] = {}
    for _, source, frame in outlet.sourced():
        found.setdefault(source.connection, []).append(frame)
    return found


def numbers(frames: list[Any], stream: str = "btcusdt@trade") -> list[int]:
    bodies = [json.loads(frame.payload) for frame in frames if frame.kind == "MESSAGE"]
    return [body["data"]["t"] for body in bodies if body.get("stream") == stream]


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, {"venue": "BINANCE", **labels}) or 0.0


@pytest.mark.usefixtures("short_lives", "market")
async def test_nothing_is_missed_when_a_connection_reaches_its_end_of_life(start: Any, outlet: Any, until: Any) -> None:
    renewals, reconnects = value("connector_renewals_total"), value("websocket_reconnects_total")
    feed = start(settings())
    await until(lambda: value("connector_renewals_total") >= renewals + 2)
    first, second, *_ = lives(outlet).values()
    taken = sorted({n for frames in lives(outlet).values() for n in numbers(frames)})

    assert taken == list(range(taken[0], taken[-1] + 1))
    assert first[-1].kind == "DISCONNECT"
    assert first[-1].payload == b"replaced: end of life"
    assert len(set(numbers(first)) & set(numbers(second))) >= 0.1 / EVERY_S / 4
    assert feed.life.state == "connected"
    assert feed.life.backoff.failures == 0
    assert value("websocket_reconnects_total") == reconnects


@pytest.mark.usefixtures("short_lives", "market")
async def test_successor_has_a_name_and_numbers_of_its_own_and_is_open_before_the_first_one_ends(
    start: Any, outlet: Any, until: Any
) -> None:
    start(settings())
    await until(lambda: outlet.frames("DISCONNECT"))
    order = [(source.connection, frame.kind) for _, source, frame in outlet.sourced()]

    assert list(lives(outlet))[:2] == ["spot-p0-0-s-1", "spot-p0-0-s-2"]
    assert order.index(("spot-p0-0-s-2", "CONNECT")) < order.index(("spot-p0-0-s-1", "DISCONNECT"))
    for frames in lives(outlet).values():
        assert [frame.number for frame in frames] == list(range(len(frames)))


@pytest.mark.usefixtures("short_lives", "market")
async def test_books_go_on_without_new_snapshots(start: Any, outlet: Any, asked: list[str], until: Any) -> None:
    start(settings())
    await until(lambda: len(outlet.frames("DISCONNECT")) >= 2)

    assert asked == ["btcusdt@trade", "btcusdt@depth@100ms"]


@pytest.mark.usefixtures("market")
async def test_announced_shutdown_is_met_with_a_successor_before_the_end(
    start: Any, venue: Any, outlet: Any, until: Any
) -> None:
    start(settings())
    await until(lambda: numbers(outlet.frames("MESSAGE")))
    await venue.connections[0].send('{"e":"serverShutdown","E":1}')
    await until(lambda: outlet.frames("DISCONNECT"))

    first, second = lives(outlet).values()
    assert first[-1].payload == b"replaced: the venue shuts this connection down"
    assert set(numbers(first)) & set(numbers(second))


@pytest.mark.usefixtures("market")
async def test_venue_that_announces_a_shutdown_on_every_connection_is_not_stormed(
    start: Any, venue: Any, until: Any
) -> None:
    async def announce(connection: ServerConnection, _request: dict[str, Any]) -> None:
        await connection.send('{"e":"serverShutdown","E":1}')

    venue.on_request = announce
    feed = start(settings(backoff_first_s=0.5, backoff_most_s=60.0, overlap_s=0.01))
    await until(lambda: feed.life.opened >= 3)
    seen = feed.life.opened
    await asyncio.sleep(0.3)

    assert feed.life.opened <= seen + 1


@pytest.mark.usefixtures("market")
async def test_silent_channel_beside_others_is_replaced_with_an_overlap(
    start: Any, market: Market, outlet: Any, until: Any
) -> None:
    errors = value("connector_errors_total", error_type="stale")
    start(settings(stale_after_s=0.4))
    await until(lambda: numbers(outlet.frames("MESSAGE"), "btcusdt@depth@100ms"))
    market.channels = ("trade",)
    await until(lambda: outlet.frames("DISCONNECT"))
    first, second, *_ = lives(outlet).values()
    taken = sorted({*numbers(first), *numbers(second)})

    assert first[-1].payload == stale_reason("depth").encode()
    assert set(numbers(first)) & set(numbers(second))
    assert taken == list(range(taken[0], taken[-1] + 1))
    assert value("connector_errors_total", error_type="stale") == errors + 1


async def test_wholly_silent_connection_is_not_kept_for_an_overlap(
    start: Any, venue: Any, outlet: Any, until: Any
) -> None:
    start(settings(stale_after_s=0.1, overlap_s=30.0), "trade")
    await until(lambda: len(venue.connections) >= 2)

    assert outlet.payloads("DISCONNECT") == [stale_reason("trade").encode()]


@pytest.mark.usefixtures("short_lives")
async def test_connection_goes_on_while_no_successor_can_be_opened(
    start: Any, venue: Any, market: Market, outlet: Any, until: Any
) -> None:
    feed = start(settings())
    await until(lambda: numbers(outlet.frames("MESSAGE")))
    venue.is_closed = True
    failed = value("connector_errors_total", error_type="handshake_5xx")
    await until(lambda: value("connector_errors_total", error_type="handshake_5xx") >= failed + 3)
    reached = market.number
    await until(lambda: numbers(outlet.frames("MESSAGE"))[-1] > reached)

    assert not outlet.frames("DISCONNECT")
    assert feed.life.state == "connected"
    venue.is_closed = False
    await until(lambda: outlet.frames("DISCONNECT"))
    assert outlet.payloads("DISCONNECT") == [b"replaced: end of life"]


@pytest.mark.usefixtures("short_lives", "market")
async def test_forced_end_without_a_successor_is_an_ordinary_loss(
    start: Any, venue: Any, outlet: Any, asked: list[str], until: Any
) -> None:
    feed = start(settings())
    await until(lambda: len(asked) == 2)
    venue.is_closed = True
    await until(lambda: "connecting" in feed.states)
    await venue.connections[0].close(1001, "maintenance")
    await until(lambda: outlet.frames("DISCONNECT"))
    venue.is_closed = False
    await until(lambda: len(asked) == 4)

    assert b"1001 maintenance" in outlet.payloads("DISCONNECT")[0]


@pytest.mark.usefixtures("short_lives", "market")
async def test_forced_end_in_the_overlap_is_carried_by_the_successor(
    start: Any, venue: Any, outlet: Any, asked: list[str], until: Any
) -> None:
    feed = start(settings(overlap_s=30.0))
    await until(lambda: len(lives(outlet)) == 2 and numbers(list(lives(outlet).values())[1]))
    venue.connections[0].transport.abort()
    await until(lambda: outlet.frames("DISCONNECT"))
    await asyncio.sleep(0.1)

    assert len(venue.connections) == 2
    assert feed.states == ["connected", *feed.states[1:]]
    assert len(asked) <= 4


@pytest.mark.usefixtures("short_lives")
async def test_books_are_fetched_anew_when_the_first_connection_is_lost_before_the_second_has_spoken(
    start: Any, venue: Any, asked: list[str], until: Any
) -> None:
    async def only_the_first(connection: ServerConnection, _request: dict[str, Any]) -> None:
        if connection is venue.connections[0]:
            await connection.send('{"stream":"btcusdt@trade","data":{"t":1}}')

    venue.on_request = only_the_first
    start(settings(overlap_s=30.0))
    await until(lambda: len(venue.connections) == 2 and len(venue.requests) == 2)
    assert len(asked) == 2
    venue.connections[0].transport.abort()
    await until(lambda: len(asked) == 4)


@pytest.mark.usefixtures("short_lives", "market")
async def test_both_connections_are_counted_while_they_overlap(start: Any, until: Any) -> None:
    feed = start(settings(overlap_s=30.0))
    await until(lambda: feed.states == ["connected", "connected"])


@pytest.mark.usefixtures("short_lives", "market")
async def test_both_connections_end_when_stopped_in_the_overlap(
    start: Any, stop_feeds: Any, outlet: Any, until: Any
) -> None:
    feed = start(settings(overlap_s=30.0))
    await until(lambda: feed.states == ["connected", "connected"])
    await stop_feeds()

    assert [frames[-1].payload for frames in lives(outlet).values()] == [b"stopped", b"stopped"]


@pytest.mark.usefixtures("short_lives", "market")
async def test_renewal_waits_while_kafka_is_stuck(start: Any, venue: Any, outlet: Any, until: Any) -> None:
    feed = start(settings(queue_frames=5))
    outlet.is_stuck = True
    await until(lambda: feed.states == ["connected", "connecting"])
    await asyncio.sleep(0.1)
    assert len(venue.connections) == 1
    outlet.is_stuck = False
    await until(lambda: outlet.frames("DISCONNECT"))

    assert outlet.payloads("DISCONNECT")[0] == b"replaced: end of life"


@pytest.mark.usefixtures("short_lives", "market")
async def test_quiet_channel_does_not_hold_up_a_renewal(start: Any, market: Market, outlet: Any, until: Any) -> None:
    market.channels = ("trade",)
    start(settings(overlap_s=0.1), "trade", "ticker")
    await until(lambda: outlet.frames("DISCONNECT"))

    assert outlet.payloads("DISCONNECT")[0] == b"replaced: end of life"

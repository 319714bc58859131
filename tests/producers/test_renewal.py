"""Renewal: a successor is opened beside a connection that nears its end, and both are taken for a while."""

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import REGISTRY
from websockets.asyncio.server import ServerConnection

from producers import plan as planning
from producers.feed import Feed
from producers.intake import Intake
from producers.limiter import Address
from producers.venues import binance
from producers.websocket import FeedOptions
from schemas.venues.binance import assumed_instrument
from tickerplant.settings import Producer, Venue

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
def asked() -> list[str]:
    """Streams whose subscription was told, so that a snapshot is fetched."""
    return []


@pytest.fixture
def start(make_intake: Callable[..., Intake], venue: Any, asked: list[str]) -> Iterator[Callable[..., Feed]]:
    tasks: list[asyncio.Task[None]] = []

    def start_one(given: Producer, *channels: str) -> Feed:
        intake = make_intake(given, 1)
        entry = Venue(
            venue="BINANCE", market="spot", symbols=("*",), channels=channels or ("trade", "depth"),
            websocket_url=venue.websocket_url,
        )  # fmt: skip
        streams = planning.streams(entry, [assumed_instrument("spot", "BTCUSDT", 0)], 1)
        (plan,) = planning.connections(entry, streams)

        def told(subscribed: Any) -> None:
            asked.extend(each.name for each in subscribed)

        options = FeedOptions(wire=binance, settings=given, start="s", on_subscribed=told, address=Address(6000, 300))
        feed = Feed("spot-p0-0", plan, intake, options)
        tasks.extend((asyncio.create_task(intake.pump_forever()), asyncio.create_task(feed.run())))
        return feed

    yield start_one
    for each in tasks:
        each.cancel()


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
    await until(lambda: len(outlet.frames("DISCONNECT")) >= 2)
    first, second, *_ = lives(outlet).values()
    taken = sorted({n for frames in lives(outlet).values() for n in numbers(frames)})

    assert taken == list(range(taken[0], taken[-1] + 1))
    assert first[-1].kind == "DISCONNECT"
    assert first[-1].payload == b"replaced: end of life"
    assert len(set(numbers(first)) & set(numbers(second))) >= 0.1 / EVERY_S / 4
    assert feed.life.state == "connected"
    assert feed.life.backoff.failures == 0
    assert value("connector_renewals_total") >= renewals + 2
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

"""A running producer does as `control.wanted` says, on the connections it has."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from aiohttp import web

from producers.app import Producer, make_producer
from producers.commands import TakenBack, wanted_key, wanted_of_key
from producers.intake import Intake
from schemas.records import ControlWanted
from tickerplant.settings import Producer as ProducerSettings
from tickerplant.settings import Settings, Venue

NAMES = ("BTC", "ETH", "SOL")


def say(symbol: str = "", channel: str = "", *, is_wanted: bool, market: str = "spot") -> ControlWanted:
    return ControlWanted(
        event_time_us=1, venue="BINANCE", market=market, venue_symbol=symbol, channel=channel, is_wanted=is_wanted
    )


@pytest.fixture
def make(venue: Any, make_intake: Callable[..., Intake], client: httpx.AsyncClient) -> Callable[..., Producer]:
    entries = [
        {"symbol": f"{base}USDT", "status": "TRADING", "baseAsset": base, "quoteAsset": "USDT"} for base in NAMES
    ]
    venue.rest["/api/v3/exchangeInfo"] = [web.Response(body=json.dumps({"symbols": entries}).encode())]

    def make_one(*symbols: str, channels: tuple[str, ...] = ("trade",)) -> Producer:
        entry = Venue(
            venue="BINANCE", market="spot", symbols=symbols, channels=channels,
            websocket_url=venue.websocket_url, rest_url=venue.rest_url,
        )  # fmt: skip
        timing = ProducerSettings(linger_ms=1.0, backoff_first_s=0.01, backoff_most_s=0.02)
        settings = Settings(producer=timing, venues=(entry,))
        return make_producer(settings, {"BINANCE": make_intake(timing, 1)}, client)

    return make_one


@asynccontextmanager
async def running(producer: Producer) -> AsyncIterator[None]:
    stop = asyncio.Event()
    task = asyncio.create_task(producer.run(stop))
    try:
        yield
    finally:
        stop.set()
        await task


def carried(producer: Producer) -> list[str]:
    return sorted(each.name for feed in producer.captures[0].feeds for each in feed.plan.streams)


async def test_wishes_change_streams_and_leave_the_connection_and_the_others(make: Any, venue: Any, until: Any) -> None:
    producer = make("BTCUSDT", "ETHUSDT")
    async with running(producer):
        await until(lambda: venue.requests)
        producer.take(say("SOLUSDT", "trade", is_wanted=True))
        producer.take(say("ETHUSDT", "trade", is_wanted=False))
        producer.take(say("SOLUSDT", "trade", is_wanted=False, market="usdm"))
        await until(lambda: len(venue.requests) >= 3)
        assert carried(producer) == ["btcusdt@trade", "solusdt@trade"]
        producer.take(TakenBack(say("ETHUSDT", "trade", is_wanted=False)))
        await until(lambda: carried(producer) == ["btcusdt@trade", "ethusdt@trade", "solusdt@trade"])

    changes = [(each["method"], each["params"]) for each in venue.requests[1:3]]
    assert sorted(changes) == [("SUBSCRIBE", ["solusdt@trade"]), ("UNSUBSCRIBE", ["ethusdt@trade"])]
    assert len(venue.connections) == 1


async def test_what_was_said_before_the_start_holds_from_the_first_plan_on(make: Any, venue: Any, until: Any) -> None:
    producer = make("BTCUSDT", "ETHUSDT")
    producer.take(say("ETHUSDT", "trade", is_wanted=False))
    async with running(producer):
        await until(lambda: venue.requests)

    assert venue.subscribed == ["btcusdt@trade"]


async def test_a_stopped_market_has_no_connection_until_it_is_started(make: Any, venue: Any, until: Any) -> None:
    producer = make("*")
    async with running(producer):
        await until(lambda: producer.captures[0].states()["connected"])
        producer.take(say(is_wanted=False))
        await until(lambda: venue.connections[0].close_code is not None)
        assert producer.captures[0].states().total() == 0
        producer.take(say(is_wanted=True))
        await until(lambda: len(venue.requests) == 2)

    assert len(venue.connections) == 2


async def test_a_symbol_that_the_short_list_lacks_is_looked_up(make: Any, venue: Any, until: Any) -> None:
    producer = make("BTCUSDT")
    async with running(producer):
        await until(lambda: venue.requests)
        short = json.dumps({"symbols": [{"symbol": "NEWUSDT", "status": "TRADING", "baseAsset": "NEW",
                                         "quoteAsset": "USDT"}]})  # fmt: skip
        both = venue.rest["/api/v3/exchangeInfo"][0].body.decode()
        entries = json.loads(both)["symbols"] + json.loads(short)["symbols"]
        venue.rest["/api/v3/exchangeInfo"] = [web.Response(body=json.dumps({"symbols": entries}).encode())]
        producer.take(say("NEWUSDT", "trade", is_wanted=True))
        await until(lambda: "newusdt@trade" in venue.subscribed)

    assert "NEWUSDT" in venue.rest_requests[-1]


async def test_a_wish_for_what_nobody_lists_harms_nothing(make: Any, venue: Any, until: Any) -> None:
    producer = make("BTCUSDT")
    async with running(producer):
        await until(lambda: venue.requests)
        producer.take(say("NOSUCHUSDT", "trade", is_wanted=True))
        producer.take(say("ETHUSDT", "trade", is_wanted=True))
        await until(lambda: "ethusdt@trade" in venue.subscribed)

    assert venue.subscribed == ["btcusdt@trade", "ethusdt@trade"]


async def test_two_producers_obey_alike(make: Any, venue: Any, until: Any) -> None:
    one, other = make("BTCUSDT", "ETHUSDT"), make("BTCUSDT", "ETHUSDT")
    async with running(one), running(other):
        for producer in (one, other):
            producer.take(say("BTCUSDT", "", is_wanted=False))
            producer.take(say("SOLUSDT", "trade", is_wanted=True))
        await until(lambda: carried(one) == carried(other) == ["ethusdt@trade", "solusdt@trade"])


def test_keys_are_read_back() -> None:
    said = say("BTCUSDT", "depth@100ms", is_wanted=False)
    found = wanted_of_key(wanted_key(said))

    assert wanted_key(found) == b"BINANCE|spot|BTCUSDT|depth@100ms"
    for key in (b"", b"a|b", b"\xff|||"):
        with pytest.raises(ValueError, match="no key of"):
            wanted_of_key(key)

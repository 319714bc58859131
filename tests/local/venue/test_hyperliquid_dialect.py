"""Hyperliquid as a scripted client sees it: answers that repeat requests, whole books, recent trades, lists by POST."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tickerplant.local.venue import SyntheticOptions, VenueOptions

Serve = Callable[..., Awaitable[Any]]
OPTIONS = VenueOptions(venue="HYPERLIQUID", source=SyntheticOptions(symbols=8, rate_frames=2000))


def wish(kind: str, coin: str = "BTC", method: str = "subscribe", **fields: Any) -> dict[str, Any]:
    return {"method": method, "subscription": {"type": kind, "coin": coin, **fields}}


def data(client: Any, channel: str) -> list[Any]:
    return [each["data"] for each in map(json.loads, client.got) if each["channel"] == channel]


async def test_books_come_whole_and_fast_ones_have_five_levels(serve: Serve) -> None:
    served = await serve(OPTIONS)
    client = await served.client("perp/ws")
    await client.socket.send(json.dumps(wish("l2Book", fast=True)))
    served.venue.start()
    await served.until(lambda: len(data(client, "l2Book")) > 2)

    for book in data(client, "l2Book"):
        bids, asks = ([float(level["px"]) for level in side] for side in book["levels"])
        assert (len(bids), len(asks)) == (5, 5)
        assert sorted(bids, reverse=True) + sorted(asks) == bids + asks
        assert bids[0] < asks[0]


async def test_the_first_message_of_trades_repeats_those_before(serve: Serve) -> None:
    served = await serve(OPTIONS)
    first, late = await served.client("perp/ws"), await served.client("perp/ws")
    await first.socket.send(json.dumps(wish("trades")))
    served.venue.start()
    await served.until(lambda: sum(map(len, data(first, "trades"))) > 10)
    await late.socket.send(json.dumps(wish("trades")))
    await served.until(lambda: len(data(late, "trades")) > 3)
    served.venue.stop()
    await served.until(lambda: served.venue.state == "done")
    await served.until(lambda: {*ids(late)} <= {*ids(first)})

    assert len(ids(late)) == len({*ids(late)})
    assert len(data(late, "trades")[0]) > 5
    assert {each["side"] for found in data(first, "trades") for each in found} == {"A", "B"}


def ids(client: Any) -> list[int]:
    return [each["tid"] for found in data(client, "trades") for each in found]


@pytest.mark.parametrize(
    ("market", "request_", "words"),
    [("perp", wish("bbo", "NOPE"), 'Invalid subscription {"type":"bbo","coin":"NOPE"}'),
     ("perp", wish("candle", interval="7m"), "Invalid subscription"), ("spot", wish("bbo"), "Invalid subscription"),
     ("perp", wish("bbo", method="unsubscribe"), 'Already unsubscribed: {"type":"bbo","coin":"BTC"}'),
     ("perp", {"method": "nope"}, "Error parsing JSON")],
)  # fmt: skip
async def test_what_is_refused_is_repeated(serve: Serve, market: str, request_: dict[str, Any], words: str) -> None:
    served = await serve(OPTIONS)
    client = await served.client(f"{market}/ws", collects=False)

    answer = await client.ask(request_)

    assert (answer["channel"], answer["data"].startswith(words)) == ("error", True)


async def test_what_is_granted_is_repeated_and_a_ping_answered(serve: Serve) -> None:
    served = await serve(OPTIONS)
    client = await served.client("perp/ws", collects=False)

    granted = await client.ask(wish("candle", "BTC", interval="5m"))

    assert granted == {"channel": "subscriptionResponse", "data": wish("candle", "BTC", interval="5m")}
    assert await client.ask({"method": "ping"}) == {"channel": "pong"}
    assert "Already subscribed" in (await client.ask(wish("candle", "BTC", interval="5m")))["data"]


async def test_lists_are_given_by_post(serve: Serve) -> None:
    served = await serve(OPTIONS)
    base = f"http://127.0.0.1:{served.venue.port}/hyperliquid/perp/info"

    perpetuals = (await served.http.post(base, json={"type": "allPerpMetas"})).json()
    pairs = (await served.http.post(base, json={"type": "spotMeta"})).json()

    assert [next(each["name"] for each in meta["universe"]) for meta in perpetuals] == ["BTC", "xyz:XRP"]
    assert [each["name"] for each in pairs["universe"]][:2] == ["BTC/USDC", "@1"]
    assert (await served.http.post(base, json={"type": "nope"})).status_code == 422

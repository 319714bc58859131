"""Gate as a scripted client sees it: answers, books joined by REST, trades whose sizes have a side, lists."""

import json
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any

import pytest

from tickerplant.local.venue import SyntheticOptions, VenueOptions

Serve = Callable[..., Awaitable[Any]]
OPTIONS = VenueOptions(venue="GATE", source=SyntheticOptions(symbols=6, rate_frames=2000))
PATHS = {"spot": "spot/ws/v4/", "futures": "futures/v4/ws/usdt", "inverse": "inverse/v4/ws/btc"}  # dated are as futures
SYMBOLS = {"spot": "BTC_USDT", "futures": "BTC_USDT", "inverse": "BTC_USD"}
BOOKS = {
    "spot": "/spot/api/v4/spot/order_book?currency_pair=BTC_USDT",
    "futures": "/futures/api/v4/futures/usdt/order_book?contract=BTC_USDT",
    "inverse": "/inverse/api/v4/futures/btc/order_book?contract=BTC_USD",
}


def subscribe(channel: str, *payload: str, event: str = "subscribe") -> dict[str, Any]:
    return {"time": 1, "id": 7, "channel": channel, "event": event, "payload": list(payload)}


def updates(client: Any, channel: str) -> list[Any]:
    messages = [json.loads(each) for each in client.got]
    return [each["result"] for each in messages if each["channel"] == channel and each["event"] == "update"]


def pairs(rows: list[Any]) -> dict[float, float]:
    found = [(row["p"], row["s"]) if isinstance(row, dict) else row for row in rows]
    return {float(price): float(size) for price, size in found}


@pytest.mark.parametrize("market", PATHS)
async def test_a_book_is_a_rest_snapshot_and_updates_that_end_in_the_venues_own(serve: Serve, market: str) -> None:
    served = await serve(OPTIONS)
    prefix = "spot" if market == "spot" else "futures"
    client = await served.client(PATHS[market], collects=False)
    answer = await client.ask(subscribe(f"{prefix}.order_book_update", SYMBOLS[market], "100ms"))
    served.collect(client)
    served.venue.start()
    await served.until(lambda: len(updates(client, f"{prefix}.order_book_update")) > 3)
    snapshot = (await served.get(f"{BOOKS[market]}&limit=1000&with_id=true")).json()
    await served.until(lambda: len(updates(client, f"{prefix}.order_book_update")) > 20)
    served.venue.stop()
    await served.played(client)
    last = (await served.get(f"{BOOKS[market]}&limit=1000&with_id=true")).json()

    kept = [each for each in updates(client, f"{prefix}.order_book_update") if each["u"] > snapshot["id"]]
    assert answer["result"] == {"status": "success"}
    assert kept[0]["U"] <= snapshot["id"] + 1
    assert all(after["U"] == before["u"] + 1 for before, after in pairwise(kept))
    for side, name in (("b", "bids"), ("a", "asks")):
        levels = pairs(snapshot[name])
        for each in kept:
            levels |= pairs(each[side])
        assert {price: size for price, size in levels.items() if size} == pairs(last[name])


async def test_sizes_of_contracts_tell_the_takers_side_and_ids_are_counted(serve: Serve) -> None:
    served = await serve(OPTIONS)
    client = await served.client(PATHS["futures"])
    await client.socket.send(json.dumps(subscribe("futures.trades", "BTC_USDT")))
    await served.until(lambda: client.got)
    served.venue.start()
    await served.until(lambda: len(updates(client, "futures.trades")) > 20)
    served.venue.stop()
    await served.until(lambda: served.venue.state == "done")
    counts = served.venue.hub.counts
    await served.until(lambda: len(updates(client, "futures.trades")) == counts.frames.total())

    trades = [each for rows in updates(client, "futures.trades") for each in rows]
    assert len({each["id"] for each in trades}) == len(trades) == len(counts.trades["futures", "BTC_USDT"])
    assert {each["size"].startswith("-") for each in trades} == {True, False}


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (subscribe("spot.trades", "NO_PAIR"), 2),
        (subscribe("spot.nothing", "BTC_USDT"), 2),
        (subscribe("futures.trades", "BTC_USDT"), 2),
        (subscribe("spot.order_book_update", "BTC_USDT"), 2),
        ({}, 2),
    ],
)
async def test_what_cannot_be_subscribed_to_is_refused(serve: Serve, request_: Any, code: int) -> None:
    served = await serve(OPTIONS)
    client = await served.client(PATHS["spot"], collects=False)
    answer = await client.ask(request_)

    assert (answer["error"]["code"], answer["result"]) == (code, {"status": "fail"})


async def test_pings_are_answered_and_lists_name_what_trades(serve: Serve) -> None:
    served = await serve(OPTIONS)
    client = await served.client(PATHS["futures"], collects=False)
    pong = await client.ask({"time": 1, "channel": "futures.ping"})
    pair = (await served.get("/spot/api/v4/spot/currency_pairs")).json()[0]
    contract = (await served.get("/inverse/api/v4/futures/btc/contracts")).json()[0]

    assert pong["channel"] == "futures.pong"
    assert (pair["id"], pair["trade_status"]) == ("BTC_USDT", "tradable")
    assert (contract["name"], contract["type"]) == ("BTC_USD", "inverse")

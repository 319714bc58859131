"""KuCoin as a scripted client sees it: tokens, a welcome, books by sequence, lists."""

import json
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

import pytest

from tickerplant.local.venue import SyntheticOptions, VenueOptions

Serve = Callable[..., Awaitable[Any]]
OPTIONS = VenueOptions(venue="KUCOIN", source=SyntheticOptions(symbols=6, rate_frames=2000))
BOOKS = {
    "spot": ("/market/level2", "BTC-USDT", "/spot/api/v1/market/orderbook/level2_100?symbol=BTC-USDT"),
    "futures": ("/contractMarket/level2", "XBTUSDTM", "/futures/api/v1/level2/snapshot?symbol=XBTUSDTM"),
}


def subscribe(topic: str, *, kind: str = "subscribe") -> dict[str, Any]:
    return {"id": "7", "type": kind, "topic": topic, "response": True}


async def token(served: Any, market: str) -> str:
    """Ask for a token, as a client does; returns the path to connect to."""
    response = await served.http.post(f"/kucoin/{market}/api/v1/bullet-public")
    data = response.json()["data"]
    path = urlsplit(data["instanceServers"][0]["endpoint"]).path.removeprefix("/kucoin/")
    return f"{path}?token={data['token']}&connectId=c"


def updates(client: Any, topic: str) -> list[Any]:
    messages = [json.loads(each) for each in client.got]
    return [each["data"] for each in messages if each.get("topic", "").startswith(topic)]


def changes(data: Any) -> list[tuple[int, str, float, float]]:
    if "change" in data:
        price, side, size = data["change"].split(",")
        return [(data["sequence"], "bids" if side == "buy" else "asks", float(price), float(size))]
    rows = [(side, row) for side in ("bids", "asks") for row in data["changes"][side]]
    return sorted((int(sequence), side, float(price), float(size)) for side, (price, size, sequence) in rows)


@pytest.mark.parametrize("market", BOOKS)
async def test_a_book_is_a_rest_snapshot_and_changes_that_go_on_from_it(serve: Serve, market: str) -> None:
    topic, symbol, address = BOOKS[market]
    served = await serve(OPTIONS)
    client = await served.client(await token(served, market))
    await client.socket.send(json.dumps(subscribe(f"{topic}:{symbol}")))
    served.venue.start()
    await served.until(lambda: len(updates(client, topic)) > 3)
    snapshot = (await served.get(address)).json()["data"]
    await served.until(lambda: len(updates(client, topic)) > 50)
    served.venue.stop()
    await served.played(client)

    found = updates(client, topic)
    firsts = [
        (each.get("sequenceStart", each.get("sequence")), each.get("sequenceEnd", each.get("sequence")))
        for each in found
    ]
    assert all(after[0] == before[1] + 1 for before, after in pairwise(firsts))
    later = [each for data in found for each in changes(data) if each[0] > int(snapshot["sequence"])]
    best = served.venue.feed.book(market, symbol, 1)
    levels = {side: {float(price): float(size) for price, size in snapshot[side]} for side in ("bids", "asks")}
    for _, side, price, size in later:
        levels[side][price] = size
    assert max(price for price, size in levels["bids"].items() if size) == float(best.bids[0][0])
    assert min(price for price, size in levels["asks"].items() if size) == float(best.asks[0][0])


async def test_who_has_no_token_is_not_welcome(serve: Serve) -> None:
    served = await serve(OPTIONS)
    stranger = await served.client("spot/endpoint?token=x")
    guest = await served.client(await token(served, "spot"))
    await served.until(lambda: stranger.got and guest.got)

    assert json.loads(stranger.got[0])["type"] == "error"
    assert json.loads(guest.got[0]) == {"id": "c", "type": "welcome"}


async def test_requests_are_acknowledged_and_unknown_topics_refused(serve: Serve) -> None:
    served = await serve(OPTIONS)
    client = await served.client(await token(served, "spot"))
    for request in (
        subscribe("/market/match:BTC-USDT,ETH-USDT"),
        subscribe("/market/match:NO-PAIR"),
        {"id": "p", "type": "ping"},
    ):
        await client.socket.send(json.dumps(request))
    await served.until(lambda: len(client.got) == 4)

    assert [json.loads(each)["type"] for each in client.got] == ["welcome", "ack", "error", "pong"]


async def test_lists_call_bitcoin_by_the_venues_name(serve: Serve) -> None:
    served = await serve(OPTIONS)
    contracts = (await served.get("/futures/api/v1/contracts/active")).json()["data"]
    pairs = (await served.get("/spot/api/v2/symbols")).json()["data"]

    assert (contracts[0]["symbol"], contracts[0]["baseCurrency"], contracts[0]["multiplier"]) == (
        "XBTUSDTM",
        "XBT",
        0.001,
    )
    assert {each["isInverse"] for each in contracts} == {False, True}
    assert pairs[0]["symbol"] == "BTC-USDT"

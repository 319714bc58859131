"""Bybit v5 as a scripted client sees it: answers, books by `u` + 1, trades, tickers, instruments in pages."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tickerplant.local.venue import SyntheticOptions, VenueOptions
from tickerplant.local.venue.faults import WrongSnapshotFault

Serve = Callable[..., Awaitable[Any]]
OPTIONS = VenueOptions(venue="BYBIT", source=SyntheticOptions(symbols=6, rate_frames=2000))
LINEAR = "linear/v5/public/linear"


def subscribe(*topics: str, op: str = "subscribe") -> dict[str, Any]:
    return {"op": op, "req_id": "7", "args": list(topics)}


def rebuilt(messages: list[dict[str, Any]]) -> tuple[dict[str, str], dict[str, str]]:
    """Apply the messages of one book by the venue's rule; bids, asks."""
    sides: tuple[dict[str, str], dict[str, str]] = ({}, {})
    last = None
    for message in messages:
        data = message["data"]
        if message["type"] == "snapshot":
            sides = (dict(data["b"]), dict(data["a"]))
        else:
            assert data["u"] == last + 1  # type: ignore[operator]  # a snapshot comes first
            for side, changes in zip(sides, (data["b"], data["a"]), strict=True):
                side.update(changes)
                for price in [price for price, size in side.items() if not float(size)]:
                    del side[price]
        last = data["u"]
    return sides


def of(client: Any, topic: str) -> list[dict[str, Any]]:
    messages = [json.loads(each) for each in client.got]
    return [each for each in messages if each.get("topic") == topic]


@pytest.mark.parametrize("levels", [50, 200, 1000])
@pytest.mark.parametrize("market", ["spot", "linear", "inverse"])
async def test_book_is_a_snapshot_and_deltas_without_a_hole_that_end_in_the_venues_own(
    serve: Serve, market: str, levels: int
) -> None:
    served = await serve(OPTIONS)
    symbol = {"inverse": "BTCUSD"}.get(market, "BTCUSDT")
    topic = f"orderbook.{levels}.{symbol}"
    client = await served.client(f"{market}/v5/public/{market}", collects=False)
    answer = await client.ask(subscribe(topic))
    served.collect(client)
    late = await served.client(f"{market}/v5/public/{market}")
    served.venue.start()
    await served.until(lambda: len(of(client, topic)) > 20)
    await late.socket.send(json.dumps(subscribe(topic)))
    await served.until(lambda: len(of(late, topic)) > 20)
    served.venue.stop()
    await served.until(lambda: served.venue.state == "done")
    book = served.venue.feed.book(market, symbol, levels)
    await served.until(lambda: rebuilt(of(client, topic)) == (dict(book.bids), dict(book.asks)))
    await served.until(lambda: rebuilt(of(late, topic)) == (dict(book.bids), dict(book.asks)))

    assert (answer["success"], answer["op"], answer["req_id"]) == (True, "subscribe", "7")
    assert [each["type"] for each in of(client, topic)].count("snapshot") == 1
    assert of(late, topic)[0]["type"] == "snapshot"
    assert len(book.bids) <= levels


async def test_subscribing_again_brings_a_new_snapshot(serve: Serve) -> None:
    served = await serve(OPTIONS)
    client = await served.client(LINEAR)
    served.venue.start()
    topic = "orderbook.50.BTCUSDT"
    for request in (subscribe(topic), subscribe(topic, op="unsubscribe"), subscribe(topic)):
        await client.socket.send(json.dumps(request))
    await served.until(lambda: len(of(client, topic)) > 20)

    assert [each["type"] for each in of(client, topic)].count("snapshot") == 2
    assert rebuilt(of(client, topic))


async def test_trades_of_an_order_are_one_message_with_their_ids_counted(serve: Serve) -> None:
    served = await serve(OPTIONS)
    client = await served.client(LINEAR)
    await client.socket.send(json.dumps(subscribe("publicTrade.BTCUSDT")))
    await served.until(lambda: client.got)
    served.venue.start()
    await served.until(lambda: len(of(client, "publicTrade.BTCUSDT")) > 20)
    served.venue.stop()
    await served.until(lambda: served.venue.state == "done")
    counts = served.venue.hub.counts
    await served.until(lambda: len(of(client, "publicTrade.BTCUSDT")) == counts.frames.total())

    trades = [each for message in of(client, "publicTrade.BTCUSDT") for each in message["data"]]
    assert len({each["i"] for each in trades}) == len(trades) == len(counts.trades["linear", "BTCUSDT"])
    assert {each["S"] for each in trades} == {"Buy", "Sell"}
    assert set(trades[0]) == {"T", "s", "S", "v", "p", "i", "BT", "RPI", "seq", "L"}


async def test_linear_ticker_is_a_snapshot_then_only_what_changed(serve: Serve) -> None:
    served = await serve(OPTIONS)
    client = await served.client(LINEAR)
    await client.socket.send(json.dumps(subscribe("tickers.BTCUSDT")))
    served.venue.start()
    await served.until(lambda: len(of(client, "tickers.BTCUSDT")) > 2)

    first, *others = of(client, "tickers.BTCUSDT")
    assert first["type"] == "snapshot"
    assert {"markPrice", "indexPrice", "fundingRate", "nextFundingTime", "openInterest"} <= set(first["data"])
    assert {each["type"] for each in others} == {"delta"}
    assert all(set(each["data"]) < set(first["data"]) for each in others)


@pytest.mark.parametrize(
    ("market", "request_", "words"),
    [
        ("linear", {"op": "ping", "req_id": "7"}, "pong"),
        ("linear", {"op": "nope"}, "not supported"),
        ("linear", subscribe("orderbook.7.BTCUSDT"), "handler not found,topic:orderbook.7.BTCUSDT"),
        ("linear", subscribe("publicTrade.NOPE"), "handler not found,topic:publicTrade.NOPE"),
        ("spot", subscribe("allLiquidation.BTCUSDT"), "handler not found"),
        ("spot", subscribe(*["publicTrade.BTCUSDT"] * 11), "args size >10"),
        ("linear", subscribe("tickers.BTCUSDT", "tickers.BTCUSDT"), ""),
    ],
)
async def test_request_is_answered_in_the_venues_words(
    serve: Serve, market: str, request_: dict[str, Any], words: str
) -> None:
    served = await serve(OPTIONS)
    client = await served.client(f"{market}/v5/public/{market}", collects=False)

    answer = await client.ask(request_)

    assert words in answer["ret_msg"]
    assert answer["success"] == (words in {"pong", ""})


async def test_wrong_snapshot_in_the_stream_is_told_among_the_strikes(serve: Serve) -> None:
    served = await serve(OPTIONS)
    active = served.venue.faults.start(WrongSnapshotFault(kind="empty", count=1))
    client = await served.client(LINEAR)
    await client.socket.send(json.dumps(subscribe("orderbook.50.BTCUSDT")))
    await served.until(lambda: of(client, "orderbook.50.BTCUSDT"))

    assert of(client, "orderbook.50.BTCUSDT")[0]["data"]["b"] == []
    assert [each.target for each in active.strikes] == ["linear/orderbook.50.BTCUSDT"]


async def test_instruments_come_in_pages(serve: Serve) -> None:
    served = await serve(VenueOptions(venue="BYBIT", source=SyntheticOptions(symbols=20)))
    found: list[dict[str, Any]] = []
    cursor = ""
    while len(found) < 8:
        path = f"/linear/v5/market/instruments-info?category=linear&limit=5{cursor and f'&cursor={cursor}'}"
        result = (await served.get(path)).json()["result"]
        found += result["list"]
        cursor = result["nextPageCursor"]

    assert cursor == ""
    assert len({each["symbol"] for each in found}) == len(found) == 8
    assert {each["contractType"] for each in found} == {"LinearPerpetual", "LinearFutures"}


@pytest.mark.parametrize("query", ["category=nope", "category=linear&limit=0", "category=linear&limit=1001"])
async def test_bad_request_for_instruments_has_a_code(serve: Serve, query: str) -> None:
    served = await serve(OPTIONS)

    assert (await served.get(f"/linear/v5/market/instruments-info?{query}")).json()["retCode"] == 10001

"""Kraken's spot API 2 as a scripted client sees it: answers, heartbeats, books whose checksums are made anew."""

import json
import zlib
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest

from schemas.venues import SYMBOLOGIES
from tickerplant.local.venue import SyntheticOptions, VenueOptions
from tickerplant.local.venue.faults import Maintenance, WrongChecksum

Serve = Callable[..., Awaitable[Any]]
OPTIONS = VenueOptions(venue="KRAKEN", source=SyntheticOptions(symbols=4, rate_frames=2000))
PATH = "spot/v2"
Sides = tuple[dict[Decimal, str], dict[Decimal, str]]


def subscribe(channel: str, *symbols: str, method: str = "subscribe", **params: Any) -> dict[str, Any]:
    return {"method": method, "params": {"channel": channel, "symbol": list(symbols), **params}, "req_id": 3}


def messages(client: Any, channel: str) -> list[dict[str, Any]]:
    read = [json.loads(each, parse_float=str) for each in client.got]
    return [each for each in read if each.get("channel") == channel]


def crc(bids: list[tuple[Decimal, str]], asks: list[tuple[Decimal, str]], decimals: tuple[int, int]) -> int:
    """Make the checksum as the venue's guide says, from numbers formatted to the pair's precision."""
    text = ""
    for price, size in [*asks[:10], *bids[:10]]:
        for number, places in ((price, decimals[0]), (Decimal(size), decimals[1])):
            text += f"{number:.{places}f}".replace(".", "").lstrip("0")
    return zlib.crc32(text.encode())


def rebuilt(books: list[dict[str, Any]], depth: int, decimals: tuple[int, int]) -> tuple[Sides, list[bool]]:
    """Apply messages of a book by the venue's rule; sides, and whether the checksum of each message was right."""
    sides: Sides = ({}, {})
    right = []
    for message in books:
        [data] = message["data"]
        if message["type"] == "snapshot":
            sides = ({}, {})
        for side, changes in zip(sides, (data["bids"], data["asks"]), strict=True):
            for level in changes:
                side[Decimal(level["price"])] = level["qty"]
                if Decimal(level["qty"]) == 0:
                    del side[Decimal(level["price"])]
        bids, asks = sorted(sides[0].items(), reverse=True)[:depth], sorted(sides[1].items())[:depth]
        sides = (dict(bids), dict(asks))
        right.append(crc(bids, asks, decimals) == data["checksum"])
    return sides, right


@pytest.mark.parametrize(("symbol", "depth"), [("BTC/USD", 10), ("ETH/USD", 25), ("BTC/USD", 1000)])
async def test_every_message_of_a_book_has_the_checksum_of_the_book_rebuilt(
    serve: Serve, symbol: str, depth: int
) -> None:
    served = await serve(OPTIONS)
    client = await served.client(PATH)
    await client.socket.send(json.dumps(subscribe("book", symbol, depth=depth)))
    served.venue.start()
    await served.until(lambda: len(messages(client, "book")) > 60)
    served.venue.stop()
    await served.until(lambda: served.venue.state == "done")
    await served.until(lambda: len(messages(client, "book")) == served.venue.hub.counts.frames.total())
    listing = served.venue.feed.listing("spot", symbol)
    decimals = (listing.numbers.price_decimals, listing.numbers.size_decimals)
    book = served.venue.feed.book("spot", symbol, depth)

    sides, right = rebuilt(messages(client, "book"), depth, decimals)
    assert right == [True] * len(right)
    assert [each["type"] for each in messages(client, "book")].count("snapshot") == 1
    for side, true in zip(sides, (book.bids, book.asks), strict=True):
        assert side == {Decimal(price): size for price, size in true}


async def test_wrong_checksum_is_the_only_thing_wrong_with_a_message(serve: Serve) -> None:
    served = await serve(OPTIONS)
    client = await served.client(PATH)
    await client.socket.send(json.dumps(subscribe("book", "BTC/USD", depth=10)))
    served.venue.start()
    await served.until(lambda: len(messages(client, "book")) > 5)
    active = served.venue.faults.start(WrongChecksum(count=2))
    await served.until(lambda: active.is_over and len(messages(client, "book")) > 30)

    numbers = served.venue.feed.listing("spot", "BTC/USD").numbers
    _, right = rebuilt(messages(client, "book"), 10, (numbers.price_decimals, numbers.size_decimals))
    assert right.count(False) == 2
    assert right[-1]


async def test_each_symbol_is_answered_by_itself_and_snapshot_comes_behind_the_answer(serve: Serve) -> None:
    served = await serve(OPTIONS)
    client = await served.client(PATH)
    await client.socket.send(json.dumps(subscribe("book", "BTC/USD", "NO/PE", "ETH/USD", depth=25)))
    await served.until(lambda: len(client.got) >= 6)

    status, first, book, refused, second, other = map(json.loads, client.got[:6])
    assert status["data"][0]["system"] == "online"
    assert first["result"] == {"channel": "book", "depth": 25, "snapshot": True, "symbol": "BTC/USD"}
    assert (first["success"], first["req_id"], second["result"]["symbol"]) == (True, 3, "ETH/USD")
    assert (refused["success"], refused["symbol"]) == (False, "NO/PE")
    assert [each["data"][0]["symbol"] for each in (book, other)] == ["BTC/USD", "ETH/USD"]


async def test_trades_come_with_those_that_were_before_unless_not_wanted(serve: Serve) -> None:
    served = await serve(OPTIONS)
    served.venue.start()
    await served.until(lambda: served.venue.feed.position()["frames_made"] > 1000)
    with_them, without = await served.client(PATH), await served.client(PATH)
    await with_them.socket.send(json.dumps(subscribe("trade", "BTC/USD")))
    await without.socket.send(json.dumps(subscribe("trade", "BTC/USD", snapshot=False)))
    await served.until(lambda: all(len(messages(each, "trade")) > 5 for each in (with_them, without)))

    assert [each["type"] for each in messages(with_them, "trade")[:2]] == ["snapshot", "update"]
    assert {each["type"] for each in messages(without, "trade")} == {"update"}
    ids = [row["trade_id"] for each in messages(with_them, "trade") for row in each["data"]]
    assert ids == list(range(ids[0], ids[0] + len(ids)))


async def test_heartbeat_comes_when_all_is_quiet_and_only_after_a_subscription(serve: Serve) -> None:
    served = await serve(OPTIONS)
    client, silent = await served.client(PATH), await served.client(PATH)
    await client.socket.send(json.dumps(subscribe("trade", "BTC/USD")))
    await served.until(lambda: len(messages(client, "heartbeat")) >= 2)

    assert not messages(silent, "heartbeat")


async def test_maintenance_is_told_as_the_state_of_the_system(serve: Serve) -> None:
    served = await serve(OPTIONS)
    client = await served.client(PATH)
    await served.until(lambda: client.got)
    served.venue.faults.start(Maintenance(notice_s=0.01))
    await served.until(lambda: client.socket.close_code is not None)

    assert [each["data"][0]["system"] for each in messages(client, "status")] == ["online", "maintenance"]


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"method": "ping", "req_id": 3}, '"method":"pong","req_id":3'),
        ({"method": "nope"}, "Unsupported method"),
        (subscribe("book", "BTC/USD", depth=11), "depth"),
        (subscribe("ohlc", "BTC/USD", interval=2), "interval"),
        (subscribe("nope", "BTC/USD"), "nope"),
        (subscribe("book"), "Symbol is required"),
        (subscribe("trade", "BTC/USD", method="unsubscribe"), "Subscription Not Found"),
        (subscribe("instrument"), '"channel":"instrument"'),
    ],
)
async def test_request_is_answered_in_the_venues_words(serve: Serve, request_: dict[str, Any], words: str) -> None:
    served = await serve(OPTIONS)
    client = await served.client(PATH)
    await client.socket.send(json.dumps(request_))
    await served.until(lambda: len(client.got) > 1)

    assert words in client.got[1].decode()


async def test_unsubscribed_and_subscribed_again_a_book_begins_anew(serve: Serve) -> None:
    served = await serve(OPTIONS)
    client = await served.client(PATH)
    served.venue.start()
    for method in ("subscribe", "subscribe", "unsubscribe", "subscribe"):
        await client.socket.send(json.dumps(subscribe("book", "BTC/USD", method=method, depth=10)))
    await served.until(lambda: len(messages(client, "book")) > 20)

    kinds = [each["type"] for each in messages(client, "book")]
    answers = [each for each in map(json.loads, client.got) if "method" in each]
    assert kinds.count("snapshot") == 2
    assert [each["success"] for each in answers] == [True, False, True, True]


async def test_asset_pairs_are_read_by_our_own_symbology(serve: Serve) -> None:
    served = await serve(OPTIONS)

    listed = (
        SYMBOLOGIES["KRAKEN"].read_list("spot", (await served.get("/spot/0/public/AssetPairs")).content, 0).instruments
    )

    assert [(each.venue_symbol, each.symbol) for each in listed][:2] == [("BTC/USD", "BTC/USD"), ("ETH/USD", "ETH/USD")]
    assert listed[0].lot_size == pytest.approx(1e-8)

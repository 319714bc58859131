"""Kraken's futures, and its first spot API playing a recording, as a scripted client sees them."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from schemas.venues import SYMBOLOGIES
from tickerplant.local.venue import RecordingOptions, SyntheticOptions, VenueOptions

Serve = Callable[..., Awaitable[Any]]
OPTIONS = VenueOptions(venue="KRAKEN", source=SyntheticOptions(symbols=4, rate_frames=2000, markets=("futures",)))
FUTURES, FIRST = "futures/ws/v1", "spot_v1/"


def subscribe(feed: str, *products: str, event: str = "subscribe") -> str:
    return json.dumps({"event": event, "feed": feed, "product_ids": list(products)})


def read(client: Any) -> list[Any]:
    return [json.loads(each) for each in client.got]


def of(client: Any, *feeds: str) -> list[dict[str, Any]]:
    told = [each for each in read(client) if isinstance(each, dict) and "event" not in each]
    return [each for each in told if each.get("feed") in feeds]


def rebuilt(messages: list[dict[str, Any]]) -> list[dict[float, float]]:
    """Apply the messages of one book by the venue's rule, without mercy for gaps; bids, asks."""
    first, *updates = messages
    sides = [{level["price"]: level["qty"] for level in first[name]} for name in ("bids", "asks")]
    for seq, each in enumerate(updates, start=first["seq"] + 1):
        assert each["seq"] == seq
        sides[each["side"] == "sell"][each["price"]] = each["qty"]
    return [{price: size for price, size in side.items() if size} for side in sides]


@pytest.mark.parametrize("product", ["PF_XBTUSD", "PI_SOLUSD"])
async def test_a_book_of_futures_is_a_snapshot_and_changes_of_one_level_that_are_numbered(
    serve: Serve, product: str
) -> None:
    served = await serve(OPTIONS)
    client = await served.client(FUTURES)
    served.venue.start()
    await client.socket.send(subscribe("book", product))
    await served.until(lambda: len(of(client, "book")) > 60)
    served.venue.stop()
    await served.until(lambda: served.venue.state == "done")
    await served.until(lambda: len(of(client, "book", "book_snapshot")) == served.venue.hub.counts.frames.total())
    book = served.venue.feed.book("futures", product, 10_000)

    assert rebuilt(of(client, "book_snapshot", "book")) == [
        {float(price): float(size) for price, size in side} for side in (book.bids, book.asks)
    ]


async def test_trades_of_futures_are_numbered_from_those_that_were_before(serve: Serve) -> None:
    served = await serve(OPTIONS)
    served.venue.start()
    await served.until(lambda: served.venue.feed.position()["frames_made"] > 500)
    client = await served.client(FUTURES)
    await client.socket.send(subscribe("trade", "PF_XBTUSD"))
    await served.until(lambda: len(of(client, "trade")) > 5)

    (before,) = of(client, "trade_snapshot")
    numbers = [each["seq"] for each in (*reversed(before["trades"]), *of(client, "trade"))]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


async def test_a_ticker_of_futures_tells_marks_and_funding_of_perpetuals(serve: Serve) -> None:
    served = await serve(OPTIONS)
    dated = next(each.symbol for each in served.venue.feed.listings("futures") if each.delivery_ms)
    client = await served.client(FUTURES)
    await client.socket.send(subscribe("ticker", "pf_xbtusd", dated))
    await served.until(lambda: len(of(client, "ticker")) == 2)

    perpetual, future = of(client, "ticker")
    assert {"markPrice", "openInterest", "relative_funding_rate", "next_funding_rate_time"} <= set(perpetual)
    assert "relative_funding_rate" not in future
    assert future["maturityTime"] > 0


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (subscribe("book", "PF_ZZZUSD"), {"event": "error", "message": "Invalid product id"}),
        (subscribe("nope", "PF_XBTUSD"), {"event": "error", "message": "Invalid feed"}),
        (subscribe("book", "PF_XBTUSD", event="unsubscribe"), {"event": "unsubscribed", "feed": "book"}),
        (json.dumps({"event": "subscribe", "feed": "heartbeat"}), {"event": "subscribed", "feed": "heartbeat"}),
        ("x", {"event": "alert", "message": "Bad request"}),
    ],
)
async def test_an_event_of_futures_is_answered(serve: Serve, request_: str, answer: dict[str, Any]) -> None:
    served = await serve(OPTIONS)
    client = await served.client(FUTURES)
    await client.socket.send(request_)
    await served.until(lambda: len(client.got) > 1)

    assert read(client)[0] == {"event": "info", "version": 1}
    assert read(client)[1].items() >= answer.items()


async def test_instruments_are_read_by_our_own_symbology(serve: Serve) -> None:
    served = await serve(OPTIONS)
    body = (await served.get("/futures/api/v3/instruments")).content

    listed = SYMBOLOGIES["KRAKEN"].read_list("futures", body, 0).instruments
    assert [each.symbol for each in listed][:2] == ["BTC/USD:PERP", "ETH/USD:PERP"]
    assert [each.symbol for each in listed if each.is_inverse] == ["SOL/USD:PERP:SOL"]
    assert len({each.symbol for each in listed}) == 4


@pytest.mark.recordings
async def test_a_recording_of_the_first_api_is_played_and_a_book_begins_anew_where_it_is(
    serve: Serve, recordings: Path
) -> None:
    path = recordings / "cryptofeed" / "KRAKEN.ws.50.0"
    source = RecordingOptions(path=path, market="spot_v1", pace=None)
    served = await serve(VenueOptions(venue="KRAKEN", source=source))
    client = await served.client(FIRST)
    book = {"event": "subscribe", "pair": ["XMR/USD"], "subscription": {"name": "book", "depth": 1000}}
    await client.socket.send(json.dumps(book))
    await served.until(lambda: len(client.got) == 2)
    served.venue.start()
    await served.until(lambda: served.venue.state == "done")
    recorded = [line.partition(": ")[2] for line in path.read_text().splitlines() if line.endswith('"XMR/USD"]')]
    await served.until(lambda: len(client.got) >= 2 + len(recorded))
    assert [each.decode() for each in client.got if each.startswith(b"[")] == recorded

    for event in ("unsubscribe", "subscribe"):
        await client.socket.send(json.dumps(book | {"event": event}))
    await served.until(lambda: b'"as"' in client.got[-1])
    assert read(client)[-1][2:] == ["book-1000", "XMR/USD"]


@pytest.mark.recordings
@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        ({"event": "ping", "reqid": 5}, {"event": "pong", "reqid": 5}),
        ({"event": "subscribe", "pair": ["NO/PE"], "subscription": {"name": "trade"}}, {"status": "error"}),
        ({"event": "subscribe", "pair": ["XMR/USD"], "subscription": {"name": "nope"}}, {"status": "error"}),
        ({"event": "nope"}, {"event": "error"}),
        (
            {"event": "subscribe", "pair": ["XMR/USD"], "subscription": {"name": "ohlc", "interval": 5}, "reqid": 2},
            {"status": "subscribed", "channelName": "ohlc-5", "reqid": 2},
        ),
    ],
)
async def test_an_event_of_the_first_api_is_answered(
    serve: Serve, recordings: Path, request_: dict[str, Any], answer: dict[str, Any]
) -> None:
    source = RecordingOptions(path=recordings / "cryptofeed" / "KRAKEN.ws.48.0", market="spot_v1", pace=None)
    served = await serve(VenueOptions(venue="KRAKEN", source=source))
    client = await served.client(FIRST)
    await client.socket.send(json.dumps(request_))
    await served.until(lambda: len(client.got) > 1)

    assert read(client)[1].items() >= answer.items()

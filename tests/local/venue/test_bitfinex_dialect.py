"""Bitfinex as a scripted client sees it: numbered channels and messages, books whose checksums are made anew, flags."""

import json
import re
import zlib
from collections.abc import Awaitable, Callable
from itertools import zip_longest
from math import inf
from pathlib import Path
from typing import Any

import pytest

from schemas.venues import SYMBOLOGIES
from tickerplant.local.venue import RecordingOptions, SyntheticOptions, VenueOptions

Serve = Callable[..., Awaitable[Any]]
OPTIONS = VenueOptions(venue="BITFINEX", source=SyntheticOptions(symbols=5, rate_frames=2000))
SPOT, DERIVATIVES = "spot/ws/2", "derivatives/ws/2"
FLAGS = 229_376
BOOK = {"event": "subscribe", "channel": "book", "symbol": "tBTCUSD", "prec": "P0", "freq": "F0", "len": "100"}
TRADES = {"event": "subscribe", "channel": "trades", "symbol": "tBTCUSD"}


async def told(served: Any, path: str, *events: dict[str, Any], flags: int = FLAGS) -> Any:
    """Connect, wish for flags and subscribe."""
    client = await served.client(path)
    for event in ({"event": "conf", "flags": flags}, *events):
        await client.socket.send(json.dumps(event))
    await served.until(lambda: len(events_of(client)) == 2 + len(events))
    return client


def events_of(client: Any) -> list[dict[str, Any]]:
    return [json.loads(each) for each in client.got if each.startswith(b"{")]


def messages(client: Any) -> list[list[Any]]:
    """List messages of channels, numbers in the digits sent."""
    return [json.loads(each, parse_float=str, parse_int=str) for each in client.got if each.startswith(b"[")]


def rebuilt(client: Any) -> tuple[list[dict[str, str]], list[bool]]:
    """Rebuild the book by the venue's rule; sides, and whether each checksum was right."""
    sides: list[dict[str, str]] = [{}, {}]
    right = []
    for message in messages(client):
        if message[1] == "cs":
            bids = sorted(sides[0].items(), key=lambda each: -float(each[0]))[:25]
            asks = sorted(sides[1].items(), key=lambda each: float(each[0]))[:25]
            pairs = [level for pair in zip_longest(bids, asks) for level in pair if level]
            text = ":".join(number for level in pairs for number in level)
            right.append(zlib.crc32(text.encode()) == int(message[2]) % 2**32)
            continue
        for price, count, amount in message[1] if isinstance(message[1][0], list) else [message[1]]:
            side = sides[amount.startswith("-")]
            side.pop(price, None)
            if count != "0":
                side[price] = amount
    return sides, right


async def test_every_checksum_is_that_of_the_book_rebuilt_and_all_messages_are_numbered(serve: Serve) -> None:
    served = await serve(OPTIONS)
    client = await told(served, SPOT, BOOK)
    served.venue.start()
    await served.until(lambda: len(messages(client)) > 150)
    served.venue.stop()
    await served.until(lambda: served.venue.state == "done")
    await served.until(lambda: len(messages(client)) == served.venue.hub.counts.frames.total())
    book = served.venue.feed.book("spot", "tBTCUSD", 100)

    sides, right = rebuilt(client)
    assert right == [True] * len(right)
    assert len(right) > 5
    for side, true in zip(sides, (book.bids, book.asks), strict=True):
        assert {float(price): abs(float(size)) for price, size in side.items()} == {
            float(price): float(size) for price, size in true
        }
    assert [int(each[-2]) for each in messages(client)] == list(range(1, len(messages(client)) + 1))


@pytest.mark.parametrize(("flags", "sizes"), [(0, {2}), (65_536, {3}), (98_304, {4})])
async def test_a_message_has_behind_it_what_the_flags_ask_for(serve: Serve, flags: int, sizes: set[int]) -> None:
    served = await serve(OPTIONS)
    client = await told(served, SPOT, BOOK, flags=flags)
    served.venue.start()
    await served.until(lambda: len(messages(client)) > 20)

    assert {len(each) for each in messages(client)} == sizes


async def test_a_trade_is_told_twice_and_what_was_before_the_newest_first(serve: Serve) -> None:
    served = await serve(OPTIONS)
    served.venue.start()
    await served.until(lambda: served.venue.feed.position()["frames_made"] > 500)
    client = await told(served, SPOT, TRADES)
    await served.until(lambda: len(messages(client)) > 9)

    first, *rest = messages(client)
    ids = [int(row[0]) for row in first[1]]
    assert ids == sorted(ids, reverse=True)
    for executed, again in zip(rest[0:8:2], rest[1:8:2], strict=True):
        assert (executed[1], again[1], executed[2]) == ("te", "tu", again[2])
    assert [int(each[2][0]) for each in rest[0:8:2]] == list(range(ids[0] + 1, ids[0] + 5))


async def test_a_book_of_one_level_is_the_best_quote_level_by_level(serve: Serve) -> None:
    served = await serve(OPTIONS)
    client = await told(served, SPOT, BOOK | {"len": "1"})
    served.venue.start()
    await served.until(lambda: len(messages(client)) > 60)
    served.venue.stop()
    await served.until(lambda: served.venue.state == "done")
    await served.until(lambda: len(messages(client)) == served.venue.hub.counts.frames.total())
    book = served.venue.feed.book("spot", "tBTCUSD", 1)

    sides, _ = rebuilt(client)
    for side, true in zip(sides, (book.bids, book.asks), strict=True):
        assert [(float(p), abs(float(s))) for p, s in side.items()] == [(float(p), float(s)) for p, s in true]


async def test_no_message_leaves_a_book_of_one_level_crossed(serve: Serve) -> None:
    served = await serve(OPTIONS)
    client = await told(served, SPOT, BOOK | {"len": "1"})
    served.venue.start()
    await served.until(lambda: len(messages(client)) > 400)

    first, *rest = (each[1] for each in messages(client))
    best = {not amount.startswith("-"): float(price) for price, _, amount in first}
    for price, count, amount in rest:
        is_bid = not amount.startswith("-")
        best[is_bid] = float(price) if int(count) else 0.0 if is_bid else inf
        assert best[True] < best[False]


async def test_states_and_liquidations_of_contracts_are_told(serve: Serve) -> None:
    served = await serve(OPTIONS)
    status = {"event": "subscribe", "channel": "status"}
    client = await told(
        served, DERIVATIVES, status | {"key": "deriv:tBTCF0:USTF0"}, status | {"key": "liq:global"}, {"event": "ping"}
    )
    served.venue.start()
    await served.until(lambda: any(isinstance(each[1][0], list) for each in messages(client)))

    (row,) = next(each[1] for each in messages(client) if isinstance(each[1][0], list))
    assert (row[0], len(row), row[4] in {each.symbol for each in served.venue.feed.listings("derivatives")}) == (
        "pos", 12, True,
    )  # fmt: skip
    assert {len(each[1]) for each in messages(client) if not isinstance(each[1][0], list)} == {23}


@pytest.mark.parametrize(
    ("event", "answer"),
    [
        ({"event": "subscribe", "channel": "ticker", "symbol": "tZZZUSD"}, {"event": "error", "code": 10300}),
        ({"event": "subscribe", "channel": "candles", "key": "trade:7m:tBTCUSD"}, {"event": "error", "code": 10300}),
        ({"event": "subscribe", "channel": "status", "key": "deriv:tBTCUSD"}, {"event": "error", "code": 10300}),
        (BOOK, {"event": "error", "code": 10301, "channel": "book", "len": "100"}),
        ({"event": "unsubscribe", "chanId": 5}, {"event": "error", "code": 10400}),
        ({"event": "nope"}, {"event": "error", "code": 10000}),
        ({"event": "ping", "cid": 7}, {"event": "pong", "cid": 7}),
    ],
)
async def test_an_event_is_answered_in_the_venues_words(
    serve: Serve, event: dict[str, Any], answer: dict[str, Any]
) -> None:
    served = await serve(OPTIONS)
    client = await told(served, SPOT, BOOK, event)

    assert events_of(client)[-1].items() >= answer.items()


async def test_a_channel_that_is_ended_and_begun_again_has_another_number_and_a_new_book(serve: Serve) -> None:
    served = await serve(OPTIONS)
    client = await told(served, SPOT, BOOK)
    number = events_of(client)[-1]["chanId"]
    for event in ({"event": "unsubscribe", "chanId": number}, BOOK):
        await client.socket.send(json.dumps(event))
    await served.until(lambda: len(events_of(client)) == 5)
    await served.until(lambda: len(messages(client)) == 4)

    assert events_of(client)[-2] == {"event": "unsubscribed", "status": "OK", "chanId": number}
    assert events_of(client)[-1]["chanId"] != number
    assert [each[1] == "cs" for each in messages(client)] == [False, True, False, True]


@pytest.mark.parametrize("market", ["spot", "derivatives"])
async def test_pairs_are_read_by_our_own_symbology(serve: Serve, market: str) -> None:
    served = await serve(OPTIONS)
    kind = {"spot": "exchange", "derivatives": "futures"}[market]
    body = (await served.get(f"/{market}/v2/conf/pub:list:pair:{kind},pub:map:currency:sym")).content

    symbols = [each.symbol for each in SYMBOLOGIES["BITFINEX"].read_list(market, body, 0).instruments]
    assert symbols[0] == {"spot": "BTC/USD", "derivatives": "BTC/USDT:PERP"}[market]


@pytest.mark.recordings
async def test_a_recording_keeps_its_channels_and_is_numbered_anew(serve: Serve, recordings: Path) -> None:
    path = recordings / "cryptofeed" / "BITFINEX.ws.11.0"
    served = await serve(VenueOptions(venue="BITFINEX", source=RecordingOptions(path=path, market="spot", pace=None)))
    symbols = [each.symbol for each in served.venue.feed.listings("spot")]
    client = await told(served, SPOT, *(BOOK | {"symbol": each} for each in symbols))
    served.venue.start()
    await served.until(lambda: served.venue.state == "done")
    await served.until(lambda: len(messages(client)) == 1600)
    text = path.read_text()
    books = re.findall(r'"channel":"book","chanId":(\d+)', text)
    recorded = [
        line.partition(": ")[2] for line in text.splitlines() if re.match(rf"[\d.]+: \[({'|'.join(books)}),", line)
    ]

    assert [each[:-1] for each in messages(client)] == [
        json.loads(each, parse_float=str, parse_int=str)[:-1] for each in recorded if '"hb"' not in each
    ]
    assert [int(each[-1]) for each in messages(client)] == list(range(1, 1601))

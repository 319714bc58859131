"""Recorded Kraken sessions of 2021 through the pipeline, against what the files themselves say."""

import json
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from schemas.records import DeadLetter, Depth, QualityEvent, Tick, Ticker
from schemas.venues import kraken

pytestmark = [pytest.mark.recordings, pytest.mark.timeout(300)]

EXPECTED_EVENTS = {"BOOK_READY", "CONNECT"}


def bodies(folder: Path, pattern: str) -> Iterator[Any]:
    """Yield what was received on the sockets of a session."""
    for path in sorted(folder.glob(pattern)):
        for line in path.read_text().splitlines():
            stamp, _, body = line.partition(": ")
            if stamp[:1].isdigit() and " " not in stamp:
                yield json.loads(body)


def v1_checksum(bids: dict[str, str], asks: dict[str, str]) -> int:
    best = [*sorted(asks.items(), key=lambda each: float(each[0]))[:10]]
    best += sorted(bids.items(), key=lambda each: -float(each[0]))[:10]
    return zlib.crc32("".join(each.replace(".", "").lstrip("0") for level in best for each in level).encode())


def v1_books(messages: list[Any], depth: int = 1000) -> tuple[dict[str, Any], int]:
    """Rebuild all books from the JSON, in the digits sent; counts the checksums that fit."""
    books: dict[str, Any] = {}
    right = 0
    for message in messages:
        pair = message[-1]
        for part in message[1:-2]:
            if "as" in part:
                books[pair] = [{}, {}]
            for side, names in enumerate((("bs", "b"), ("as", "a"))):
                for price, size, *_ in part.get(names[0], part.get(names[1], [])):
                    books[pair][side].pop(price, None)
                    if float(size):
                        books[pair][side][price] = size
        for side, is_falling in enumerate((True, False)):
            best = sorted(books[pair][side], key=float, reverse=is_falling)
            for price in best[depth:]:
                del books[pair][side][price]
        last = message[-3]
        right += "c" in last and int(last["c"]) == v1_checksum(*books[pair])
    return books, right


def test_a_session_of_the_first_api_gives_what_it_holds(new_run: Any, recordings: Path) -> None:
    folder = recordings / "cryptofeed"
    arrays = [each for each in bodies(folder, "KRAKEN.ws.*.0") if isinstance(each, list)]
    by_channel = {name: [each for each in arrays if each[-2] == name] for name in ("trade", "ticker", "book-1000")}
    updates = [each for each in by_channel["book-1000"] if "as" not in each[1]]
    run = new_run("spot_v1", "KRAKEN", assume_instruments=False)
    run.play(folder / "KRAKEN.0")

    assert not run.of(DeadLetter)
    assert {each.kind for each in run.of(QualityEvent)} == EXPECTED_EVENTS
    assert len(run.of(Tick, kind="TRADE")) == sum(len(each[1]) for each in by_channel["trade"])
    assert len(run.of(Ticker)) == len(by_channel["ticker"])
    assert len(run.of(Depth, is_snapshot=False)) == len(updates)
    books, right = v1_books(by_channel["book-1000"])
    assert right == len(updates) == 4269
    for state in run.pipeline.states():
        book, expected = state.keeper.book, books[state.instrument.venue_symbol]
        found = [{float(p): float(s) for p, s in side.items()} for side in expected]
        assert [book.bids, book.asks] == found
        assert read_book(run.of(Depth, symbol=state.instrument.symbol)) == found


def read_book(depths: list[Depth]) -> list[dict[float, float]]:
    """Follow depth records as a reader does."""
    sides: list[dict[float, float]] = [{}, {}]
    for each in depths:
        if each.is_snapshot:
            sides = [{}, {}]
        for side, prices, sizes in zip(
            sides, (each.bid_prices, each.ask_prices), (each.bid_sizes, each.ask_sizes), strict=True
        ):
            side.update(zip(prices, sizes, strict=True))
    return [{price: size for price, size in side.items() if size} for side in sides]


def test_sides_of_the_first_api_are_those_of_the_book_that_a_trade_met(new_run: Any, recordings: Path) -> None:
    """Books and trades came on two connections: each trade is held against the books of the second before it."""
    run = new_run("spot_v1", "KRAKEN", keyframe_us=1)
    run.play(recordings / "cryptofeed" / "KRAKEN.0")
    trades = run.of(Tick, kind="TRADE")

    sides = [side_by_books(trade, run.of(Depth, symbol=trade.symbol, is_snapshot=True)) for trade in trades]
    assert [trade.side for trade, side in zip(trades, sides, strict=True) if side] == [side for side in sides if side]
    assert sum(map(bool, sides)) >= 8


def side_by_books(trade: Tick, books: list[Depth]) -> str:
    """Tell the side whose price is the nearer in the last book before a trade; "" = no book was there."""
    before = [each for each in books if each.exchange_time_us < trade.exchange_time_us]
    if not before:
        return ""
    bid, ask = before[-1].bid_prices[0], before[-1].ask_prices[0]
    return "SELL" if abs(trade.price - bid) < abs(trade.price - ask) else "BUY"


def test_a_session_of_futures_gives_what_it_holds(new_run: Any, recordings: Path) -> None:
    folder = recordings / "cryptofeed"
    messages = [each for each in bodies(folder, "KRAKEN_FUTURES.ws.*.0") if "event" not in each]
    counts = Counter(each["feed"] for each in messages)
    trades = [each for each in messages if each["feed"] == "trade"]
    trades += [trade for each in messages if each["feed"] == "trade_snapshot" for trade in each["trades"]]
    run = new_run("futures", "KRAKEN", assume_instruments=False)
    run.play(folder / "KRAKEN_FUTURES.0")

    assert not run.of(DeadLetter)
    assert {each.kind for each in run.of(QualityEvent)} == EXPECTED_EVENTS
    assert {each.trade_id for each in run.of(Tick)} == {each["uid"] for each in trades}
    assert len(run.of(Tick)) == len(trades) == 1003
    assert len(run.of(Depth, is_snapshot=False)) == counts["book"] == 7014
    assert {each.symbol for each in run.of(Depth)} == {
        kraken.assumed_instrument("futures", each["product_id"], 0).symbol
        for each in messages
        if each["feed"] == "book_snapshot"
    }
    for state in run.pipeline.states():
        expected = futures_book(messages, state.instrument.venue_symbol)
        in_base = [
            {price: state.instrument.base_quantity(size, price) for price, size in side.items()} for side in expected
        ]
        assert [state.keeper.book.bids, state.keeper.book.asks] == in_base
        assert read_book(run.of(Depth, symbol=state.instrument.symbol)) == in_base


def futures_book(messages: list[Any], product: str) -> list[dict[float, float]]:
    """Rebuild a book from the JSON alone."""
    sides: list[dict[float, float]] = [{}, {}]
    for each in messages:
        if each["product_id"] != product:
            continue
        if each["feed"] == "book_snapshot":
            sides = [{level["price"]: level["qty"] for level in each[name]} for name in ("bids", "asks")]
        elif each["feed"] == "book":
            sides[each["side"] == "sell"][each["price"]] = each["qty"]
    return [{price: size for price, size in side.items() if size} for side in sides]


@pytest.mark.parametrize(
    ("file", "fields", "market", "kinds"),
    [
        ("tardis-node/kraken.jsonl", {}, "spot_v1", {"TRADE": 3, "QUOTE": 1}),
        ("tardis-node/kraken_v2.jsonl", {}, "spot", {"TRADE": 2, "QUOTE": 1}),
        ("tardis-node/cryptofacilities.jsonl", {}, "futures", {"TRADE": 4, "QUOTE": 7, "LIQUIDATION": 2}),
        ("crypto-msg-parser/kraken.jsonl", {"market_type": "Spot"}, "spot_v1", {"TRADE": 1, "QUOTE": 1}),
        ("crypto-msg-parser/kraken.jsonl", {"market_type": "Inverse"}, "futures", {"TRADE": 6, "QUOTE": 2}),
    ],
)  # fmt: skip
def test_single_messages_of_other_years_are_read(
    new_run: Any, recordings: Path, *, file: str, fields: dict[str, str], market: str, kinds: dict[str, int]
) -> None:
    run = new_run(market, "KRAKEN")
    for line in (recordings / file).read_text().splitlines():
        body = json.loads(line)
        if fields and (not body["market_type"].startswith(fields["market_type"]) or body["kind"] == "l2_snapshot"):
            continue
        run.say(body["raw"].encode() if fields else line.encode())

    assert not run.of(DeadLetter)
    assert not run.of(QualityEvent, kind="UNKNOWN_FIELD")
    found = Counter(getattr(each, "kind", "") for each in run.records)
    assert {kind: found[kind] for kind in kinds} == kinds

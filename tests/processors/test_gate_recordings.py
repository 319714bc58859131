"""Recorded Gate sessions: counts of the file, no false gaps, books as rebuilt; a lost update is noticed."""

import json
from pathlib import Path
from typing import Any

import pytest

from schemas.records import Candle, DeadLetter, Depth, QualityEvent, Tick, Ticker

pytestmark = [pytest.mark.recordings, pytest.mark.timeout(300)]

SESSIONS = {"GATEIO": "spot", "GATEIO_FUTURES": "futures"}


def updates(path: Path, channel: str) -> list[Any]:
    """List what a session brought on a channel, read by other means than the product's."""
    found = [json.loads(line.partition(": ")[2]) for line in path.read_text().splitlines() if line[:1].isdigit()]
    results = [each["result"] for each in found if each["channel"].endswith(channel) and each["event"] == "update"]
    return [row for each in results for row in (each if isinstance(each, list) else [each])]


def snapshots(path: Path) -> dict[str, Any]:
    """Bodies of order books by symbol."""
    bodies = {}
    for line in path.read_text().splitlines():
        head, _, body = line.partition(": ")
        if "order_book" in head:
            query = head.split("?")[1].split("&")[0]
            bodies[query.split("=")[1]] = json.loads(body)
    return bodies


@pytest.mark.parametrize(("session", "market"), SESSIONS.items())
def test_a_session_gives_what_the_file_holds(new_run: Any, recordings: Path, session: str, market: str) -> None:
    path = recordings / "cryptofeed" / f"{session}.ws.1.0"
    run = new_run(market, "GATE")
    run.play(path)

    old_candles = [each for each in run.of(DeadLetter) if "until 2022" in each.reason]
    assert run.of(DeadLetter) == old_candles
    assert not [
        each for each in run.of(QualityEvent) if each.kind in {"GAP", "BOOK_RESET", "DUPLICATE", "UNKNOWN_FIELD"}
    ]
    assert len(run.of(Tick, kind="TRADE")) == len({each["id"] for each in updates(path, "trades")})
    assert len(run.of(Tick, kind="QUOTE")) == len(updates(path, "book_ticker"))
    assert len(run.of(Ticker)) == len(updates(path, "tickers"))
    assert len(run.of(Candle)) + len(old_candles) == len(updates(path, "candlesticks"))
    assert len(run.of(Depth, is_snapshot=False)) == len(updates(path, "order_book_update"))


@pytest.mark.parametrize(("session", "market"), SESSIONS.items())
def test_books_are_those_rebuilt_from_the_messages(new_run: Any, recordings: Path, session: str, market: str) -> None:
    path = recordings / "cryptofeed" / f"{session}.ws.1.0"
    run = new_run(market, "GATE")
    run.play(path)
    levels = (lambda rows: [(float(each["p"]), float(each["s"])) for each in rows]) if market == "futures" else (
        lambda rows: [(float(price), float(size)) for price, size in rows]
    )  # fmt: skip
    bodies = snapshots(path.with_name(f"{session}.http.0.0"))

    books = {each.instrument.venue_symbol: each.keeper.book for each in run.pipeline.states() if each.keeper.is_valid}
    assert set(books) == set(bodies)
    for symbol, body in bodies.items():
        changes = [
            each for each in updates(path, "order_book_update") if each["s"] == symbol and each["u"] > body["id"]
        ]
        bids = dict(levels(body["bids"])) | {p: s for each in changes for p, s in levels(each["b"])}
        asks = dict(levels(body["asks"])) | {p: s for each in changes for p, s in levels(each["a"])}
        assert set(books[symbol].bids) == {price for price, size in bids.items() if size}
        assert set(books[symbol].asks) == {price for price, size in asks.items() if size}


@pytest.mark.parametrize("name", ["gate-io", "gate-io-futures", "gate-io-futures_decimal_size"])
def test_single_messages_are_read_but_for_protocols_that_are_gone(new_run: Any, recordings: Path, name: str) -> None:
    run = new_run("spot" if name == "gate-io" else "futures", "GATE")
    run.play(recordings / "tardis-node" / f"{name}.jsonl")

    for letter in run.of(DeadLetter):
        gone = any(word in letter.payload for word in (b'"method"', b"order_book"))
        gone = gone or "quanto" in letter.reason or "none of the market" in letter.reason
        assert gone, letter
    assert run.of(Tick)

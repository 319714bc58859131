"""Recorded OKX sessions: counts of the file, every checksum right, books as rebuilt, and what damage does."""

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from schemas.records import Candle, DeadLetter, Depth, Derivative, QualityEvent, RawFrames, Source, Tick, Ticker

pytestmark = [pytest.mark.recordings, pytest.mark.timeout(300)]

SESSIONS = ["OKX.ws.1.0", "OKCOIN.ws.1.0"]


def messages(path: Path) -> list[tuple[int, bytes]]:
    """Receive times and messages of a session, read by other means than the product's."""
    lines = [line.partition(": ") for line in path.read_text().splitlines() if line[:1].isdigit()]
    return [(int(float(time) * 1e6), body.encode()) for time, _, body in lines]


def rows(path: Path, channel: str) -> list[Any]:
    found = [json.loads(body) for _, body in messages(path)]
    return [row for each in found if each.get("arg", {}).get("channel") == channel for row in each.get("data", [])]


@pytest.mark.parametrize("session", SESSIONS)
def test_a_session_gives_what_the_file_holds_with_all_checksums_right(
    new_run: Any, recordings: Path, session: str
) -> None:
    path = recordings / "cryptofeed" / session
    run = new_run("spot", "OKX")
    run.play(path)

    trades = {(each["instId"], each["tradeId"]) for each in rows(path, "trades")}
    counts = Counter(type(each).__name__ for each in run.records)
    assert not run.of(DeadLetter)
    assert not [each for each in run.of(QualityEvent) if each.kind in {"GAP", "CHECKSUM", "BOOK_RESET", "DUPLICATE"}]
    assert len(run.of(Tick, kind="TRADE")) == len(trades)
    assert counts["Ticker"] == len(rows(path, "tickers")) == len(run.of(Ticker))
    assert len(run.of(Candle)) == len(rows(path, "candle1m"))
    assert len([each for each in run.of(Depth) if not each.is_keyframe]) == len(rows(path, "books"))


def rebuilt(path: Path) -> dict[str, dict[str, dict[float, float]]]:
    """Books of a session from the JSON alone, in contracts or base currency as sent."""
    books: dict[str, dict[str, dict[float, float]]] = {}
    for _, body in messages(path):
        message = json.loads(body)
        if message.get("arg", {}).get("channel") != "books" or "data" not in message:
            continue
        symbol = message["arg"]["instId"]
        if message["action"] == "snapshot":
            books[symbol] = {"bids": {}, "asks": {}}
        for side in ("bids", "asks"):
            for price, size, *_ in message["data"][0][side]:
                books[symbol][side][float(price)] = float(size)
    return {
        symbol: {side: {p: s for p, s in levels.items() if s} for side, levels in book.items()}
        for symbol, book in books.items()
    }


def test_books_are_those_rebuilt_from_the_messages(new_run: Any, recordings: Path) -> None:
    path = recordings / "cryptofeed" / "OKX.ws.1.0"
    run = new_run("spot", "OKX")
    run.play(path)
    expected = rebuilt(path)

    states = {state.instrument.venue_symbol: state for state in run.pipeline.states() if state.keeper.is_valid}
    assert set(states) == set(expected)
    for name, state in states.items():
        prices = {"bids": set(state.keeper.book.bids), "asks": set(state.keeper.book.asks)}
        assert prices == {side: set(levels) for side, levels in expected[name].items()}


@pytest.mark.parametrize("what", ["lost", "swapped", "altered"])
@pytest.mark.parametrize("seed", range(3))
def test_a_damaged_update_is_noticed_by_the_checksum_and_healed_by_a_snapshot(
    new_run: Any, recordings: Path, what: str, seed: int
) -> None:
    found = messages(recordings / "cryptofeed" / "OKX.ws.1.0")
    symbol = "UNI-USD-SWAP"
    mine = [
        each for each in found if b'"channel":"books","instId":"' + symbol.encode() in each[1] and b'"data"' in each[1]
    ]
    at = random.Random(seed).randrange(5, len(mine) - 20)
    damaged = list(mine)
    if what == "lost":
        del damaged[at]
    elif what == "swapped":
        damaged[at], damaged[at + 1] = damaged[at + 1], damaged[at]
    else:
        damaged[at] = damaged[at][0], damaged[at][1].replace(b'","0","', b'9","0","', 1)
    run = new_run("swap", "OKX")
    feed = [*damaged, mine[0]]
    for number, (time_us, body) in enumerate(feed):
        frame = run.feed.frame(body)
        source = Source(market="swap", connection="c")
        run.take_record(RawFrames(venue="OKX", event_time_us=time_us, sources=[source], frames=[frame]))
        assert frame.number == number

    assert run.of(QualityEvent, kind="CHECKSUM")
    assert run.of(QualityEvent, kind="BOOK_RESET")
    assert "resnapshot" in {each.command for each in run.commands}
    assert run.pipeline.states()[0].keeper.is_valid


@pytest.mark.parametrize("name", ["okex", "okex-swap", "okex-futures", "okex-options"])
def test_single_messages_of_all_markets_are_read(new_run: Any, recordings: Path, name: str) -> None:
    run = new_run("swap", "OKX")
    run.play(recordings / "tardis-node" / f"{name}.jsonl")

    letters = Counter(each.reason[:60] for each in run.of(DeadLetter))
    retired = [
        reason
        for reason in letters
        if any(word in reason for word in ("is not known", "neither", "no instrument", "retired"))
    ]
    assert sorted(letters) == sorted(retired)
    assert run.of(Tick) or run.of(Derivative)

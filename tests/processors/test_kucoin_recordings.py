"""A recorded KuCoin session: counts of the file, no false gaps, books as rebuilt; lost updates are noticed."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from schemas.records import Candle, DeadLetter, Depth, QualityEvent, Tick

pytestmark = [pytest.mark.recordings, pytest.mark.timeout(300)]


@pytest.fixture
def session(recordings: Path) -> Path:
    return recordings / "cryptofeed" / "KUCOIN.ws.1.0"


def messages(path: Path, topic: str) -> list[Any]:
    """List what a session brought on a topic, read by other means than the product's."""
    found = [json.loads(line.partition(": ")[2]) for line in path.read_text().splitlines() if line[:1].isdigit()]
    return [each["data"] for each in found if each.get("topic", "").startswith(topic)]


def snapshots(path: Path) -> dict[str, Any]:
    lines = path.with_name("KUCOIN.http.0.0").read_text().splitlines()
    found = [line for line in lines if "symbol=" in line]
    return {line.split("symbol=")[1].split(" ")[0]: json.loads(line.partition(": ")[2])["data"] for line in found}


def test_a_session_gives_what_the_file_holds(new_run: Any, session: Path) -> None:
    run = new_run("spot", "KUCOIN")
    run.play(session)

    assert not run.of(DeadLetter)
    assert not [
        each for each in run.of(QualityEvent) if each.kind in {"GAP", "BOOK_RESET", "DUPLICATE", "UNKNOWN_FIELD"}
    ]
    assert len(run.of(Tick, kind="TRADE")) == len({each["tradeId"] for each in messages(session, "/market/match")})
    assert len(run.of(Tick, kind="QUOTE")) == len(messages(session, "/market/ticker"))
    assert len(run.of(Candle)) == len(messages(session, "/market/candles"))
    updates = {(each.symbol, each.sequence) for each in run.of(Depth, is_snapshot=False)}
    assert len(updates) == len({(each["symbol"], each["sequenceEnd"]) for each in messages(session, "/market/level2")})


def test_books_are_those_rebuilt_from_the_messages(new_run: Any, session: Path) -> None:
    run = new_run("spot", "KUCOIN")
    run.play(session)
    changes = messages(session, "/market/level2")

    books = {each.instrument.venue_symbol: each.keeper.book for each in run.pipeline.states() if each.keeper.is_valid}
    assert set(books) == set(snapshots(session))
    for symbol, body in snapshots(session).items():
        for side in ("bids", "asks"):
            levels = {float(price): float(size) for price, size in body[side]}
            for each in changes:
                for price, size, sequence in each["changes"][side] if each["symbol"] == symbol else ():
                    if int(sequence) > int(body["sequence"]) and float(price):
                        levels[float(price)] = float(size)
            assert getattr(books[symbol], side) == {price: size for price, size in levels.items() if size}


@pytest.mark.parametrize("seed", range(3))
def test_a_lost_update_is_a_gap(new_run: Any, session: Path, seed: int) -> None:
    lines = [
        line.partition(": ")[2].encode() for line in session.read_text().splitlines() if b"level2:" in line.encode()
    ]
    mine = [line for line in lines if b"trade.l2update" in line and b"BCHSV-USDT" in line]
    lost = random.Random(seed).randrange(5, len(mine) - 5)
    run = new_run("spot", "KUCOIN")
    run.take(*(run.feed.frame(line) for at, line in enumerate(mine) if at != lost))

    data = json.loads(mine[lost])["data"]
    (gap,) = run.of(QualityEvent, kind="GAP")
    assert (gap.from_sequence, gap.to_sequence) == (data["sequenceStart"], data["sequenceEnd"])

"""Recorded HTX sessions, compressed as they came: counts of the file, books as the last messages have them."""

import ast
import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from schemas.records import DeadLetter, Depth, QualityEvent, Tick

pytestmark = [pytest.mark.recordings, pytest.mark.timeout(300)]

SESSIONS = {"HUOBI.ws.44.0": "spot", "HUOBI_SWAP.ws.1.0": "coin", "HUOBI_SWAP.ws.2.0": "coin"}


def messages(path: Path) -> list[Any]:
    """List what a session brought, read by other means than the product's."""
    bodies = [line.partition(": ")[2] for line in path.read_text().splitlines() if line[:1].isdigit()]
    return [json.loads(gzip.decompress(ast.literal_eval(body))) for body in bodies]


@pytest.mark.parametrize(("session", "market"), SESSIONS.items())
def test_a_session_gives_what_the_file_holds(new_run: Any, recordings: Path, session: str, market: str) -> None:
    path = recordings / "cryptofeed" / session
    run = new_run(market, "HTX")
    run.play(path)
    found = [each for each in messages(path) if "ch" in each]
    trades = {row.get("tradeId", row["id"]) for each in found if "trade" in each["ch"] for row in each["tick"]["data"]}
    books = Counter(each["ch"].split(".")[1] for each in found if "depth" in each["ch"])

    assert not run.of(DeadLetter)
    assert not [
        each for each in run.of(QualityEvent) if each.kind in {"GAP", "BOOK_RESET", "DUPLICATE", "UNKNOWN_FIELD"}
    ]
    assert len(run.of(Tick, kind="TRADE")) == len(trades)
    assert len(run.of(Depth)) == books.total()


@pytest.mark.parametrize(("session", "market"), SESSIONS.items())
def test_books_are_those_of_the_last_messages(new_run: Any, recordings: Path, session: str, market: str) -> None:
    path = recordings / "cryptofeed" / session
    run = new_run(market, "HTX")
    run.play(path)
    last = {each["ch"].split(".")[1]: each["tick"] for each in messages(path) if "depth" in each.get("ch", "")}

    books = {each.instrument.venue_symbol: each.keeper.book for each in run.pipeline.states() if each.keeper.is_valid}
    assert {name: (set(book.bids), set(book.asks)) for name, book in books.items()} == {
        name: ({price for price, _ in tick["bids"]}, {price for price, _ in tick["asks"]})
        for name, tick in last.items()
    }


@pytest.mark.parametrize("session", [name for name, market in SESSIONS.items() if market == "coin"])
def test_amounts_of_contracts_are_sums_of_both_sides(recordings: Path, session: str) -> None:
    found = messages(recordings / "cryptofeed" / session)
    amounts = [row["amount"] for each in found if "trade" in each.get("ch", "") for row in each["tick"]["data"]]

    assert amounts
    assert not [each for each in amounts if each % 2]

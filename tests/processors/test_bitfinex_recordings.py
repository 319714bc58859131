"""A recorded Bitfinex session of 2021 through the pipeline, against what the file itself says; and damaged on purpose.

It was recorded with numbers of all messages (SEQ_ALL), without times and checksums.
"""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pytest

from schemas.records import DeadLetter, Depth, QualityEvent, Tick, Ticker

pytestmark = [pytest.mark.recordings, pytest.mark.timeout(300)]

Sides = list[dict[float, float]]


@cache
def received(path: Path) -> list[tuple[str, Any]]:
    """List what was received: the text, and its JSON."""
    lines = [line.partition(": ") for line in path.read_text().splitlines()]
    bodies = [body for stamp, _, body in lines if stamp[:1].isdigit() and " " not in stamp]
    return [(body, json.loads(body)) for body in bodies]


class Session:
    """What a session says, by its own JSON."""

    def __init__(self, path: Path) -> None:
        self.messages = [message for _, message in received(path)]
        told = [each for each in self.messages if isinstance(each, dict) and each["event"] == "subscribed"]
        self.channels = {each["chanId"]: (each["channel"], each["symbol"]) for each in told}

    def of(self, channel: str, symbol: str = "") -> list[Any]:
        """List the messages of a channel, heartbeats left out."""
        arrays = [each for each in self.messages if isinstance(each, list) and each[1] != "hb"]
        named = [(self.channels[each[0]], each) for each in arrays]
        return [each for name, each in named if name[0] == channel and symbol in {"", name[1]}]

    def book(self, symbol: str) -> Sides:
        """Rebuild a book."""
        sides: Sides = [{}, {}]
        for message in self.of("book", symbol):
            for price, count, amount in message[1] if isinstance(message[1][0], list) else [message[1]]:
                sides[amount < 0][price] = abs(amount) if count else 0.0
        return [{price: size for price, size in side.items() if size} for side in sides]


def read_book(depths: list[Depth]) -> Sides:
    """Follow depth records as a reader does."""
    sides: Sides = [{}, {}]
    for each in depths:
        sides = [{}, {}] if each.is_snapshot else sides
        levels = (each.bid_prices, each.bid_sizes), (each.ask_prices, each.ask_sizes)
        for side, (prices, sizes) in zip(sides, levels, strict=True):
            side.update(zip(prices, sizes, strict=True))
    return [{price: size for price, size in side.items() if size} for side in sides]


def test_a_session_gives_what_it_holds(new_run: Any, recordings: Path) -> None:
    folder = recordings / "cryptofeed"
    session = Session(folder / "BITFINEX.ws.11.0")
    run = new_run("spot", "BITFINEX", assume_instruments=False)
    run.play(folder / "BITFINEX.0")
    trades = [row for each in session.of("trades") for row in (each[1] if isinstance(each[1], list) else [each[2]])]
    numbers = [each[-1] for each in session.messages if isinstance(each, list)]

    assert numbers == list(range(1, len(numbers) + 1))
    assert not run.of(DeadLetter)
    assert {each.kind for each in run.of(QualityEvent)} == {"BOOK_READY", "CONNECT"}
    assert {each.trade_id for each in run.of(Tick)} == {str(row[0]) for row in trades}
    assert len(run.of(Tick)) == len({row[0] for row in trades}) == 210
    assert [each.side == "BUY" for each in run.of(Tick)].count(True) == sum(row[2] > 0 for row in trades)
    assert len(run.of(Ticker)) == len(session.of("ticker"))
    assert len(run.of(Depth, is_snapshot=False)) == len(session.of("book")) - 7
    assert_books_match(run, session)


def assert_books_match(run: Any, session: Session) -> None:
    for state in run.pipeline.states():
        expected = session.book(state.instrument.venue_symbol)
        assert [state.keeper.book.bids, state.keeper.book.asks] == expected
        assert read_book(run.of(Depth, symbol=state.instrument.symbol)) == expected


def whole_book(session: Session, symbol: str, channel: int) -> bytes:
    """Write the book at the session's end as a channel begins with it."""
    rows = [
        [price, 1, size * sign] for side, sign in zip(session.book(symbol), (1, -1), strict=True)
        for price, size in side.items()
    ]  # fmt: skip
    return json.dumps([channel, rows]).encode()


MUTATIONS: dict[str, Callable[[int], list[int]]] = {
    "dropped": lambda _at: [],
    "doubled": lambda at: [at, at],
    "swapped": lambda at: [at + 1, at],
}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("kind", MUTATIONS)
def test_what_happens_to_an_update_is_noticed_and_healed(new_run: Any, recordings: Path, kind: str, seed: int) -> None:
    """Any message that is missing costs the books of its connection; the same sizes twice are the same books."""
    path = recordings / "cryptofeed" / "BITFINEX.ws.11.0"
    session, texts = Session(path), [text for text, _ in received(path)]
    updates = [at for at, each in enumerate(session.messages) if isinstance(each, list) and at > len(texts) // 2]
    place = Random(seed).choice(updates[:-2])
    run = new_run("spot", "BITFINEX")
    order = MUTATIONS[kind](place)
    run.say(*(text.encode() for text in texts[:place]), *(texts[at].encode() for at in order))
    run.say(*(text.encode() for text in texts[max([place, *order]) + 1 :]))

    is_lost = kind != "doubled"
    assert bool(run.of(QualityEvent, kind="GAP")) is is_lost
    assert len(run.of(QualityEvent, kind="BOOK_RESET")) == 7 * is_lost
    assert len({each.venue_symbol for each in run.commands}) == 7 * is_lost
    if is_lost:
        books = {name: channel for channel, (kind, name) in session.channels.items() if kind == "book"}
        run.say(*(whole_book(session, symbol, channel) for symbol, channel in books.items()))
    assert len(run.of(QualityEvent, kind="BOOK_READY")) == 7 + 7 * is_lost
    assert not run.of(DeadLetter)
    assert_books_match(run, session)


@pytest.mark.parametrize(("market", "type_"), [("spot", "Spot"), ("derivatives", "LinearSwap")])
def test_single_messages_of_later_years_are_read(new_run: Any, recordings: Path, market: str, type_: str) -> None:
    """Their collector put what was subscribed to in the place of the channel's number."""
    run = new_run(market, "BITFINEX")
    for number, line in enumerate((recordings / "crypto-msg-parser" / "bitfinex.jsonl").read_text().splitlines(), 1):
        body = json.loads(line)
        if body["market_type"] == type_ and body["kind"] not in {"l3_event", "l2_snapshot"}:
            subscription, *rest = json.loads(body["raw"])
            run.say({"event": "subscribed", "chanId": number, **subscription}, [number, *rest])

    assert not run.of(DeadLetter)
    kinds = {type(each).__name__ for each in run.records}
    assert {"Tick", "Depth", "Candle", "Ticker"} <= kinds


def test_messages_of_derivatives_are_read(new_run: Any, recordings: Path) -> None:
    """Those that end in names of the recorder's own, or whose subscription is not there, cannot be."""
    run = new_run("derivatives", "BITFINEX")
    run.say({"event": "subscribed", "channel": "status", "chanId": 12778, "key": "deriv:tBTCF0:USTF0"})
    for line in (recordings / "tardis-node" / "bitfinex_derivatives.jsonl").read_text().splitlines():
        if not line.endswith('"]'):
            run.say(line.encode())

    kinds = [each.kind for each in run.records if type(each).__name__ == "Derivative"]
    assert kinds.count("FUNDING_RATE") == 4
    assert kinds.count("LIQUIDATION") == 1
    assert all("not told" in each.reason for each in run.of(DeadLetter))

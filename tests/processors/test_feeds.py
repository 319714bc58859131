"""Two connections that bring the same trades, of a venue whose ids do not count: one that ends takes nothing along."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from processors.feeds import Feeds
from processors.line import SILENCE_US
from processors.pieces import HEAD
from schemas.records import Bar, Tick

SECOND_US = 1_000_000
A, B = "linear-p0-0-aaa-1", "linear-p0-0-bbb-1"


class Pair:
    """Two connections of Bybit by one clock; each brings a trade a second as long as it lives."""

    def __init__(self, new_run: Callable[..., Any]) -> None:
        self.run = new_run("linear", "BYBIT")
        self.new_run = new_run
        self.second = 0
        kind = type(self.run.feed)
        self._feeds = {name: kind("linear", name, "BYBIT") for name in (A, B, "clock-aaa", "clock-bbb")}
        self.start_us = self.run.feed.recv_time_us // (60 * SECOND_US) * (60 * SECOND_US) + 50 * SECOND_US

    def take(self, name: str, payload: bytes, kind: str = "MESSAGE") -> None:
        feed = self._feeds[name]
        feed.recv_time_us = self.start_us + self.second * SECOND_US
        self.run.take_record(feed.record(feed.frame(payload, kind)))

    def trade(self, name: str) -> None:
        time_ms = (self.start_us + self.second * SECOND_US) // 1000
        row = {"T": time_ms, "s": "BTCUSDT", "S": "Buy", "v": "1", "p": "100", "i": f"id-{self.second}"}
        message = {"topic": "publicTrade.BTCUSDT", "type": "snapshot", "ts": time_ms, "data": [row]}
        self.take(name, json.dumps(message).encode())

    def live(self, seconds: int, *names: str) -> None:
        for _ in range(seconds):
            for name in names:
                self.trade(name)
            for name in names or (B,):
                self.take(f"clock-{name.split('-')[3]}", b"", "CLOCK")
            self.second += 1

    def resume(self) -> None:
        """Go on in another process."""
        pieces = self.run.pipeline.changed_states()
        self.run.resume({name: [piece.payload] for name, piece in pieces.items()} | {HEAD: [self.run.pipeline.head()]},
                        self.new_run("linear", "BYBIT").pipeline)  # fmt: skip

    def minutes(self) -> list[tuple[int, str]]:
        """Trades and flags of each minute, that of the start left out."""
        return [(each.trade_count, each.flags) for each in self.run.of(Bar, interval="1m")][1:]


@pytest.fixture
def pair(new_run: Callable[..., Any]) -> Pair:
    return Pair(new_run)


@pytest.mark.parametrize("ends", [A, B])
def test_the_end_of_one_of_two_connections_loses_no_trade(pair: Pair, ends: str) -> None:
    pair.live(90, A, B)
    pair.take(ends, b"replaced: end of life", "DISCONNECT")
    pair.resume()
    pair.live(50, B if ends == A else A)

    assert pair.minutes() == [(60, ""), (60, "")]
    assert len(pair.run.of(Tick)) == 140
    assert pair.run.commands == []


def test_the_end_of_the_last_of_two_connections_loses_trades(pair: Pair) -> None:
    pair.live(80, A, B)
    pair.take(A, b"gone", "DISCONNECT")
    pair.resume()
    pair.take(B, b"gone", "DISCONNECT")
    pair.live(10)
    pair.live(50, B)

    assert pair.minutes()[1] == (50, "GAP")
    assert {each.command for each in pair.run.commands} == {"backfill"}


@pytest.mark.parametrize("ends", [A, B])
def test_a_killed_producer_loses_no_trade_that_another_brings(pair: Pair, ends: str) -> None:
    pair.live(90, A, B)
    pair.live(50, B if ends == A else A)

    assert pair.minutes() == [(60, ""), (60, "")]
    assert pair.run.commands == []


def test_a_connection_that_others_left_behind_carries_the_stream_no_more() -> None:
    feeds = Feeds()
    feeds.bring("a", 0, is_new=True)
    feeds.bring("b", 1, is_new=False)
    feeds.bring("a", 10, is_new=True)
    feeds.bring("a", 10 + SILENCE_US, is_new=True)
    assert feeds.has_others("a")

    feeds.bring("a", 11 + SILENCE_US, is_new=True)
    assert not feeds.has_others("a")
    assert (feeds.leave(["b"]), feeds.leave(["a"])) == (False, True)


def test_a_connection_that_is_as_far_as_the_others_may_be_quiet_for_long() -> None:
    feeds = Feeds()
    feeds.bring("a", 0, is_new=True)
    feeds.bring("b", 1, is_new=False)
    feeds.bring("a", 100 * SILENCE_US, is_new=True)

    assert feeds.has_others("a")

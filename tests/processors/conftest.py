"""Fixtures of the processor tests: feeds that make frames, runs that process them, documented Binance messages."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from processors.pipeline import Pipeline
from schemas.records import Derived, Frame, FrameKind, RawFrames, Source

NOW_US = 1_723_161_260_000_000  # after the newest of MESSAGES
SYMBOLS = {"spot": "BTCUSDT", "usdm": "BTCUSDT", "coinm": "BTCUSD_PERP"}

MESSAGES: dict[tuple[str, str], dict[str, Any]] = {
    ("spot", "btcusdt@trade"): {
        "e": "trade", "E": 1672515782136, "s": "BTCUSDT", "t": 12345, "p": "100.5", "q": "0.25", "T": 1672515782134,
        "m": True, "M": True,
    },
    ("spot", "btcusdt@aggTrade"): {
        "e": "aggTrade", "E": 1672515782136, "s": "BTCUSDT", "a": 77, "p": "100.5", "q": "0.75", "f": 100, "l": 105,
        "T": 1672515782134, "m": False, "M": True,
    },
    ("spot", "btcusdt@bookTicker"): {
        "u": 400900217, "s": "BTCUSDT", "b": "100.0", "B": "31.21", "a": "101.0", "A": "40.66",
    },
    ("spot", "btcusdt@depth@100ms"): {
        "e": "depthUpdate", "E": 1672515782136, "s": "BTCUSDT", "U": 157, "u": 160,
        "b": [["100.0", "10"], ["99.5", "0"]], "a": [["101.0", "1.5"]],
    },
    ("spot", "btcusdt@kline_1m"): {
        "e": "kline", "E": 1672515782136, "s": "BTCUSDT",
        "k": {
            "t": 1672515780000, "T": 1672515839999, "s": "BTCUSDT", "i": "1m", "f": 100, "L": 200, "o": "100.0",
            "c": "102.0", "h": "103.0", "l": "99.0", "v": "10.0", "n": 101, "x": False, "q": "1000.0", "V": "5.0",
            "Q": "500.0", "B": "123456",
        },
    },
    ("spot", "btcusdt@ticker"): {
        "e": "24hrTicker", "E": 1672515782136, "s": "BTCUSDT", "p": "-1.5", "P": "-1.52", "w": "100.2", "x": "100.0",
        "c": "101.0", "Q": "10", "b": "100.9", "B": "11", "a": "101.1", "A": "12", "o": "102.5", "h": "103.0",
        "l": "99.0", "v": "10000", "q": "1010000", "O": 1672429382136, "C": 1672515782136, "F": 0, "L": 18150,
        "n": 18151,
    },
    ("usdm", "btcusdt@trade"): {
        "e": "trade", "E": 1723161257687, "T": 1723161257679, "s": "BTCUSDT", "t": 849714402, "p": "61804.8",
        "q": "0.004", "X": "MARKET", "m": False, "st": 1,
    },
    ("usdm", "btcusdt@aggTrade"): {
        "e": "aggTrade", "E": 1723161257687, "s": "BTCUSDT", "a": 5933014, "p": "0.001", "q": "100", "nq": "100",
        "f": 100, "l": 105, "T": 1723161257685, "m": True,
    },
    ("usdm", "btcusdt@bookTicker"): {
        "e": "bookTicker", "u": 2710246762461, "s": "BTCUSDT", "b": "28145.10", "B": "3.868", "a": "28145.20",
        "A": "6.887", "T": 1680652700430, "E": 1680652700435,
    },
    ("usdm", "btcusdt@depth@0ms"): {
        "e": "depthUpdate", "E": 1680652700594, "T": 1680652700586, "s": "BTCUSDT", "U": 157, "u": 160, "pu": 149,
        "b": [["28018.90", "0.5"]], "a": [["28145.20", "6.961"]],
    },
    ("usdm", "btcusdt@markPrice@1s"): {
        "e": "markPriceUpdate", "E": 1680652701000, "s": "BTCUSDT", "p": "28147.5", "ap": "28147.5", "P": "28142.1",
        "i": "28159.25", "r": "-0.00002754", "T": 1680652800000,
    },
    ("usdm", "btcusdt@forceOrder"): {
        "e": "forceOrder", "E": 1568014460893,
        "o": {
            "s": "BTCUSDT", "S": "SELL", "o": "LIMIT", "f": "IOC", "q": "0.014", "p": "9910", "ap": "9915.5",
            "X": "FILLED", "l": "0.004", "z": "0.014", "T": 1568014460893,
        },
    },
    ("coinm", "btcusd_perp@trade"): {
        "e": "trade", "E": 1723161257687, "T": 1723161257679, "s": "BTCUSD_PERP", "ps": "BTCUSD", "t": 849714402,
        "p": "50000.0", "q": "5", "X": "MARKET", "m": False,
    },
    ("coinm", "btcusd_perp@bookTicker"): {
        "u": 1007198632021, "e": "bookTicker", "s": "BTCUSD_PERP", "ps": "BTCUSD", "b": "40000.0", "B": "4",
        "a": "50000.0", "A": "10", "T": 1723161257465, "E": 1723161257476,
    },
    ("coinm", "btcusd_perp@depth@0ms"): {
        "e": "depthUpdate", "E": 1723161257440, "T": 1723161257432, "s": "BTCUSD_PERP", "ps": "BTCUSD", "U": 10,
        "u": 12, "pu": 9, "b": [["40000.0", "4"]], "a": [["50000.0", "10"]],
    },
    ("coinm", "btcusd_perp@kline_1m"): {
        "e": "kline", "E": 1672515782136, "s": "BTCUSD_PERP",
        "k": {
            "t": 1672515780000, "T": 1672515839999, "s": "BTCUSD_PERP", "i": "1m", "f": 1, "L": 2, "o": "100.0",
            "c": "102.0", "h": "103.0", "l": "99.0", "v": "7", "n": 2, "x": True, "q": "6.5", "V": "3", "Q": "2.5",
            "B": "0",
        },
    },
    ("coinm", "btcusd_perp@ticker"): {
        "e": "24hrTicker", "E": 1653815020148, "s": "BTCUSD_PERP", "ps": "BTCUSD", "p": "238.2", "P": "0.827",
        "w": "28943.2", "c": "20000", "Q": "80", "o": "28793.6", "h": "29222.8", "l": "19000", "v": "12000",
        "q": "42.5", "O": 1653728580000, "C": 1653815020145, "F": 442530608, "L": 442717685, "n": 187078,
    },
    ("coinm", "btcusd_261225@markPrice"): {
        "e": "markPriceUpdate", "E": 1596095725000, "s": "BTCUSD_261225", "p": "10934.62", "P": "10962.17", "r": "",
        "T": 0,
    },
}  # fmt: skip
"""Written by us in the layout that Binance documents, by market and stream."""


def wrapped(stream: str, data: Any) -> bytes:
    """Wrap data as a combined stream does."""
    return json.dumps({"stream": stream, "data": data}, separators=(",", ":")).encode()


class Feed:
    """Makes frames of one connection: numbered, 1 ms apart unless told."""

    def __init__(self, market: str, connection: str = "c") -> None:
        self.market, self.connection = market, connection
        self.number, self.recv_time_us = -1, NOW_US

    def frame(self, payload: bytes, kind: FrameKind = "MESSAGE", *, request: str = "", after_us: int = 1000) -> Frame:
        self.number += 1
        self.recv_time_us += after_us
        number, recv_time_us = self.number, self.recv_time_us
        return Frame(source=0, number=number, kind=kind, request=request, recv_time_us=recv_time_us, payload=payload)

    def message(self, stream: str, **changes: Any) -> Frame:
        """Make a documented message, with fields changed (`after_us` aside)."""
        after_us = changes.pop("after_us", 1000)
        return self.frame(wrapped(stream, MESSAGES[self.market, stream] | changes), after_us=after_us)

    def snapshot(self, sequence: int, bids: Any = (), asks: Any = (), *, after_us: int = 1000) -> Frame:
        body = {"lastUpdateId": sequence, "bids": list(bids), "asks": list(asks)}
        request = f"https://api.example/api/v3/depth?symbol={SYMBOLS[self.market]}&limit=1000"
        return self.frame(json.dumps(body).encode(), "HTTP", request=request, after_us=after_us)

    def record(self, *frames: Frame) -> RawFrames:
        source = Source(market=self.market, connection=self.connection)
        return RawFrames(venue="BINANCE", event_time_us=NOW_US, sources=[source], frames=list(frames))


class Run:
    """A pipeline that assumes instruments, a feed for it, and all it gave."""

    def __init__(self, market: str = "spot", **options: Any) -> None:
        self.feed = Feed(market)
        self.pipeline = Pipeline("BINANCE", "raw.binance", 0, **{"assume_instruments": True, **options})
        self.records: list[Derived] = []
        self.commands: list[Any] = []
        self.offset = 0

    def take(self, *frames: Frame) -> list[Derived]:
        """Process one raw record of these frames; returns what it gave."""
        return self.take_record(self.feed.record(*frames))

    def take_record(self, raw: RawFrames) -> list[Derived]:
        batch = self.pipeline.process(self.offset, raw)
        self.offset += 1
        self.records += batch.records
        self.commands += batch.commands
        return batch.records

    def of(self, shape: type, **fields: Any) -> list[Any]:
        """List what came of a class, with these values."""
        found = [each for each in self.records if isinstance(each, shape)]
        return [each for each in found if all(getattr(each, name) == value for name, value in fields.items())]


@pytest.fixture(scope="session")
def new_run() -> Callable[..., Run]:
    """Make runs: `new_run("spot", keyframe_us=...)`."""
    return Run


@pytest.fixture(scope="session")
def messages() -> dict[tuple[str, str], dict[str, Any]]:
    return MESSAGES


@pytest.fixture(scope="session")
def wrap() -> Callable[[str, Any], bytes]:
    return wrapped


@pytest.fixture
def spot() -> Run:
    return Run("spot")


@pytest.fixture
def usdm() -> Run:
    return Run("usdm")


@pytest.fixture
def coinm() -> Run:
    return Run("coinm")

"""A live run to be replayed: raw records on Kafka, a processor that was killed in the middle, both sinks."""

import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from schemas.records import Frame, FrameKind, RawFrames, Source
from schemas.topics import catalogue, raw_topic
from schemas.venues import SYMBOLOGIES
from sinks import app
from tickerplant.kafka import Publisher, create_topics
from tickerplant.lag import LagReader
from tickerplant.registry import Registry
from tickerplant.replay import stores
from tickerplant.replay.keeper import keep
from tickerplant.settings import Settings

SPAWN = multiprocessing.get_context("spawn")
PARTITIONS = 2
RECORDS = 300
STEP_US = 20_000
LATER = 30
"""Raw records from a trade to the page of past trades that tells it."""
WAIT_S = 60.0
PROGRAM = """
import sys
from pathlib import Path
from tickerplant.logs import configure_logs
from tickerplant.settings import Settings
from processors.app import run
configure_logs("process")
run(Settings.model_validate_json(Path(sys.argv[1]).read_text()))
"""
SYMBOLS = (("BTCUSDT", "BTC"), ("ETHUSDT", "ETH"))
LISTED = [
    {"symbol": name, "status": "TRADING", "baseAsset": base, "quoteAsset": "USDT", "filters": []}
    for name, base in SYMBOLS
]
MESSAGES = json.loads((Path(__file__).parents[1] / "messages" / "binance.json").read_text(encoding="utf-8"))["spot"]


class Market:
    """Makes raw records of one connection, 20 ms apart: trades, quotes and book changes of two symbols.

    Of the trades between two that come, which none brings, some are told by REST later.
    """

    def __init__(self, begin_us: int, connection: str) -> None:
        self.begin_us, self.connection = begin_us, connection
        self.number = -1

    def records(self, first: int, end: int) -> list[RawFrames]:
        return [self._record(number) for number in range(first, end)]

    def _record(self, number: int) -> RawFrames:
        time_us = self.begin_us + number * STEP_US
        frames = []
        if number == 0:
            frames = [
                self._frame(time_us, b"", "CONNECT"),
                self._frame(time_us, json.dumps({"symbols": LISTED}).encode(), "INSTRUMENTS"),
            ]
        for index, (name, _base) in enumerate(SYMBOLS):
            frames += self._messages(time_us, name, number, index)
        if number % 50 == 49:
            frames.append(self._frame(time_us, b"", "CLOCK"))
        if number % 70 == 69:
            frames.append(self._frame(time_us, b"no message of the venue"))
        sources = [Source(market="spot", connection=self.connection)]
        return RawFrames(venue="BINANCE", event_time_us=time_us, sources=sources, frames=frames)

    def _messages(self, time_us: int, name: str, number: int, index: int) -> Iterator[Frame]:
        time_ms = time_us // 1000
        lost = 1 if number % 90 > 80 and index == 0 else 0  # a gap in the book's numbers
        yield self._message(time_us, name, "trade", t=number * 3 + 1, p=f"{100 + number % 7}.5", T=time_ms, E=time_ms)
        if number % 5:  # the same trade again, as another connection would bring it
            yield self._message(
                time_us, name, "trade", t=number * 3 + 1, p=f"{100 + number % 7}.5", T=time_ms, E=time_ms
            )
        yield self._message(time_us, name, "bookTicker", u=number * 2 + 1)
        changes = [[f"{99 - number % 11}.0", str(number % 4)]]
        if number > 1 and not lost:
            yield self._message(time_us, name, "depth@100ms", U=number, u=number, b=changes, a=[], E=time_ms)
        if number % 90 == 2:
            body = {"lastUpdateId": number, "bids": [["99.0", "1"], ["98.0", "2"]], "asks": [["101.0", "1"]]}
            request = f"https://api.example/api/v3/depth?symbol={name}&limit=1000"
            yield self._frame(time_us, json.dumps(body).encode(), "HTTP", request=request)
        if number > LATER and number % 10 == 5:
            traded_ms = (time_us - LATER * STEP_US) // 1000
            trade = {"id": (number - LATER) * 3 + 2, "price": "100.5", "qty": "1", "quoteQty": "100.5",
                     "time": traded_ms, "isBuyerMaker": True, "isBestMatch": True}  # fmt: skip
            request = f"https://api.example/api/v3/historicalTrades?symbol={name}&fromId={trade['id']}&limit=1"
            yield self._frame(time_us, json.dumps([trade]).encode(), "HTTP", request=request)

    def _message(self, time_us: int, name: str, channel: str, **fields: Any) -> Frame:
        data = MESSAGES[f"btcusdt@{channel}"] | {"s": name} | fields
        return self._frame(time_us, json.dumps({"stream": f"{name.lower()}@{channel}", "data": data}).encode())

    def _frame(self, time_us: int, payload: bytes, kind: FrameKind = "MESSAGE", *, request: str = "") -> Frame:
        self.number += 1
        return Frame(
            source=0, number=self.number, kind=kind, request=request, recv_time_us=time_us - 500, payload=payload
        )


def eventually(condition: Callable[[], bool], within_s: float = WAIT_S) -> None:
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come true in time"
        time.sleep(0.05)


@contextmanager
def processor(settings: Settings, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A live processor, killed in the end."""
    path = folder / "settings.json"
    path.write_text(settings.model_dump_json())
    with (folder / "process.log").open("ab") as log:
        process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(path)], stdout=log, stderr=log, env=os.environ)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def lag(settings: Settings, group: str) -> int:
    """Records of the raw topic or of all that is stored which a group has not committed."""
    with closing(LagReader(settings)) as reader:
        return sum(each.records for _ in range(2) for each in reader.read() if each.group.startswith(group))


def publish(settings: Settings, markets: list[Market], first: int, end: int) -> None:
    publisher = Publisher(settings)
    encoder = Registry(settings).encoder(raw_topic("binance"), RawFrames)
    for partition, market in enumerate(markets):
        for record in market.records(first, end):
            publisher.send("raw.binance", partition, b"0", encoder.encode(record))
    assert publisher.flush() == 0


@pytest.fixture(scope="session")
def begin_us() -> int:
    """When the market began: five minutes ago, the whole second."""
    return (int(time.time()) - 300) * 1_000_000


@pytest.fixture(scope="session")
def live(stack: Settings, tmp_path_factory: pytest.TempPathFactory, begin_us: int) -> Settings:
    """Settings of a finished live run with topics, tables and a lake of its own, and checkpoints from its middle."""
    folder, name = tmp_path_factory.mktemp("live"), f"live{uuid4().hex[:6]}"
    settings = stack.model_copy(
        update={
            "kafka": stack.kafka.model_copy(update={"topic_suffix": f".{name}", "partitions": PARTITIONS}),
            "clickhouse": stack.clickhouse.model_copy(update={"table_suffix": f"__{name}"}),
            "object_store": stack.object_store.model_copy(update={"root": f"s3://tickerplant/{name}"}),
            "local": stack.local.model_copy(update={"home": folder}),
            "processor": stack.processor.model_copy(update={"snapshot_s": 0.3, "keyframe_s": 0.5}),
            "sink": stack.sink.model_copy(update={"flush_ms": 100.0, "parquet_roll_s": 0.4}),
        }
    )
    create_topics(settings, catalogue(SYMBOLOGIES))
    stores.make(stack, settings, {})
    markets = [Market(begin_us, f"c{number}") for number in range(PARTITIONS)]
    sinks = [SPAWN.Process(target=app.run, args=(settings, store), daemon=True) for store in ("clickhouse", "parquet")]
    for each in sinks:
        each.start()
    publish(settings, markets, 0, RECORDS // 2)
    with processor(settings, folder):
        eventually(lambda: lag(settings, "tickerplant.processor") == 0)
        assert len(keep(settings).written) == PARTITIONS
        publish(settings, markets, RECORDS // 2, RECORDS * 3 // 4)
    publish(settings, markets, RECORDS * 3 // 4, RECORDS)
    with processor(settings, folder):
        eventually(lambda: lag(settings, "tickerplant.processor") == 0)
        eventually(lambda: lag(settings, "tickerplant.sink") == 0)
    for each in sinks:
        assert each.is_alive()
        each.terminate()
    for each in sinks:
        each.join(20)
    return settings

"""The sink of a replay: one process that decodes each record once and writes it into both stores."""

import gc
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from multiprocessing import parent_process
from threading import Event
from typing import ClassVar, Final

from schemas.topics import STORED
from sinks.app import FINISH_S, make_tools, told_to_stop
from sinks.chunk import Chunk, Limits
from sinks.clickhouse import ClickHouseStore
from sinks.drain import Drain
from sinks.kafka_log import KafkaLog
from sinks.parquet import ParquetStore
from sinks.store import Refused
from tickerplant.health import CLICKHOUSE, Health
from tickerplant.settings import Settings

NAME: Final = "replay"
GROUP: Final = f"tickerplant.sink.{NAME}"
ROWS_LIMIT: Final = 200_000
AGE_S: Final = 3.0
SIZE_BYTES: Final = 32 * 1024 * 1024


class BothStores:
    """Writes each chunk into ClickHouse and, at the same time, into the lake; a chunk is written when both have it."""

    name: ClassVar[str] = NAME
    dependency: ClassVar[str] = CLICKHOUSE

    def __init__(self, settings: Settings) -> None:
        self._tables, self._lake = ClickHouseStore(settings), ParquetStore(settings)
        self._beside = ThreadPoolExecutor(1, thread_name_prefix="lake")

    @property
    def limits(self) -> Limits:
        """Large chunks: nobody waits for a row of a replay."""
        return Limits(rows=ROWS_LIMIT, size_bytes=SIZE_BYTES, age_s=AGE_S)

    def open(self) -> None:
        """Open both; raises as `Store.open`."""
        self._tables.open()
        self._lake.open()

    def write(self, chunk: Chunk) -> Sequence[Refused]:
        """Write into both; raises as `Store.write`, and then both are written to again."""
        beside = self._beside.submit(self._lake.write, chunk)
        try:
            return self._tables.write(chunk)
        finally:
            beside.result()

    def check(self, timeout_s: float) -> None:
        """Ask both; raises as `Store.check`."""
        self._tables.check(timeout_s)
        self._lake.check(timeout_s)

    def close(self) -> None:
        """Close both."""
        self._beside.shutdown()
        self._tables.close()
        self._lake.close()


def run(replay: Settings) -> None:
    """Move all records of a replay into both stores until SIGTERM; blocks.

    Raises:
        UserError: a server refuses, or a topic or table is missing.
        DependencyError: a server does not answer.
    """
    store, health = BothStores(replay), Health(f"sink-{NAME}", is_patient=False)
    with closing(store), told_to_stop(Event()) as stopping:
        store.open()
        log = KafkaLog(replay, GROUP + replay.kafka.topic_suffix, [topic.name for topic in STORED])
        with closing(log):
            tools = make_tools(replay, NAME, health, is_stopping=stopping.is_set, lives=log.lives)
            drain = Drain(log, store, tools)
            gc.freeze()  # as live sinks do
            gc.set_threshold(50_000, 20, 50)
            parent = parent_process()  # killed = nobody will tell us to stop
            while not stopping.is_set() and (parent is None or parent.is_alive()):
                drain.step()
            drain.finish(FINISH_S)

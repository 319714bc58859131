"""The catalogue of what is stored: topic → table in ClickHouse and folder in the lake."""

from dataclasses import dataclass
from functools import cache
from typing import Final

import pyarrow as pa

from schemas import records, topics
from schemas.arrow import arrow_schema


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table.

    Args:
        name: database and table in ClickHouse; also its label in metrics.
        folder: path below the root of the lake.
        record: class of the records it is made from.
        drops_repeats: True = records carry rising source ids, so what is not above the mark is a repeat. False =
            the record's own place in the topic is its identity.
    """

    name: str
    folder: str
    record: type[records.Record]
    drops_repeats: bool = True

    @property
    def schema(self) -> pa.Schema:
        """Arrow schema of its rows."""
        return arrow_schema(self.record)


RAW: Final = Table(name="market_data.tick_raw", folder="raw", record=records.RawFrames, drops_repeats=False)

TABLES: Final[dict[str, Table]] = {
    topics.TICK.name: Table(name="market_data.tick", folder="cleaned/tick", record=records.Tick),
    topics.DEPTH.name: Table(name="market_data.depth", folder="cleaned/depth", record=records.Depth),
    topics.TICKER.name: Table(name="market_data.ticker", folder="cleaned/ticker", record=records.Ticker),
    topics.CANDLE.name: Table(name="market_data.candle", folder="cleaned/candle", record=records.Candle),
    topics.BAR.name: Table(name="market_data.bars", folder="cleaned/bar", record=records.Bar),
    topics.DERIVATIVE.name: Table(
        name="market_data.derivative", folder="cleaned/derivative", record=records.Derivative
    ),
    topics.SIGNAL.name: Table(name="features.market_signals", folder="features/signal", record=records.Signal),
    topics.INSTRUMENT.name: Table(name="symbols.mapping", folder="reference/instrument", record=records.Instrument),
    topics.QUALITY.name: Table(name="metadata.quality", folder="quality/event", record=records.QualityEvent),
    topics.DEAD_PROCESSOR.name: Table(name="metadata.dead_letters", folder="dlq/processor", record=records.DeadLetter),
    topics.DEAD_SINK.name: Table(
        name="metadata.dead_letters", folder="dlq/sink", record=records.DeadLetter, drops_repeats=False
    ),
    topics.SINK_COMMIT.name: Table(
        name="metadata.sink_commits", folder="metadata/sink_commit", record=records.SinkCommit, drops_repeats=False
    ),
}
"""Topic (without suffix) → table; raw topics are found by their prefix."""


@cache
def table_of(topic: str) -> Table:
    """Find the table of a topic, named without suffix.

    Raises:
        KeyError: it is not stored.
    """
    return RAW if topic.startswith(topics.RAW_PREFIX) else TABLES[topic]

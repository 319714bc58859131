"""The topic catalogue: every topic, what its values are, how it is keyed and how long it is kept.

Topics are created from here by `tickerplant deploy`, never by use. The value's schema has the subject
`<topic>-value` (TopicNameStrategy).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from schemas import records

RAW_PREFIX: Final = "raw."
DAY_MS: Final = 24 * 3600 * 1000
MAX_RECORD_BYTES: Final = 32 * 1024 * 1024  # an instrument list of a large venue is one frame of 10 MB and more


@dataclass(frozen=True, kw_only=True)
class Topic:
    """One topic.

    Args:
        name: without the suffix of a replay.
        record: class of its values.
        key: for people: what the UTF-8 key holds, parts joined by `|`.
        retention_ms: how long records are kept; None = compacted by key, for ever.
        is_per_partition: True = as many partitions as `raw.*`; False = one.
    """

    name: str
    record: type[records.Record]
    key: str
    retention_ms: int | None
    is_per_partition: bool = True

    @property
    def subject(self) -> str:
        """Name of the value's schema in the registry."""
        return f"{self.name}-value"

    def configs(self) -> dict[str, str]:
        """Broker settings of the topic."""
        common = {"compression.type": "producer", "max.message.bytes": str(MAX_RECORD_BYTES)}
        if self.retention_ms is None:
            return common | {"cleanup.policy": "compact", "segment.ms": "60000", "min.cleanable.dirty.ratio": "0.2"}
        return common | {"cleanup.policy": "delete", "retention.ms": str(self.retention_ms)}


TICK: Final = Topic(name="cleaned.tick", record=records.Tick, key="venue|symbol", retention_ms=7 * DAY_MS)
DEPTH: Final = Topic(name="cleaned.depth", record=records.Depth, key="venue|symbol", retention_ms=7 * DAY_MS)
TICKER: Final = Topic(name="cleaned.ticker", record=records.Ticker, key="venue|symbol", retention_ms=7 * DAY_MS)
CANDLE: Final = Topic(name="cleaned.candle", record=records.Candle, key="venue|symbol", retention_ms=7 * DAY_MS)
DERIVATIVE: Final = Topic(
    name="cleaned.derivative", record=records.Derivative, key="venue|symbol", retention_ms=7 * DAY_MS
)
BAR: Final = Topic(name="cleaned.bar", record=records.Bar, key="venue|symbol|interval", retention_ms=30 * DAY_MS)
INSTRUMENT: Final = Topic(
    name="reference.instrument", record=records.Instrument, key="venue|market|venue symbol", retention_ms=None
)
SIGNAL: Final = Topic(name="features.signal", record=records.Signal, key="venue|symbol", retention_ms=7 * DAY_MS)
QUALITY: Final = Topic(name="quality.event", record=records.QualityEvent, key="venue|symbol", retention_ms=30 * DAY_MS)
DEAD_PROCESSOR: Final = Topic(name="dlq.processor", record=records.DeadLetter, key="venue", retention_ms=30 * DAY_MS)
DEAD_SINK: Final = Topic(name="dlq.sink", record=records.DeadLetter, key="venue", retention_ms=30 * DAY_MS)
SINK_COMMIT: Final = Topic(
    name="metadata.sink_commit", record=records.SinkCommit, key="stage|topic|partition", retention_ms=30 * DAY_MS
)
COMMAND: Final = Topic(
    name="control.command", record=records.ControlCommand, key="venue", retention_ms=DAY_MS, is_per_partition=False
)
WANTED: Final = Topic(
    name="control.wanted",
    record=records.ControlWanted,
    key="venue|market|venue symbol|channel",
    retention_ms=None,
    is_per_partition=False,
)
STATE: Final = Topic(name="state.processor", record=records.State, key="raw topic|partition|symbol", retention_ms=None)

CLEANED: Final = (TICK, DEPTH, TICKER, CANDLE, BAR, DERIVATIVE, SIGNAL, INSTRUMENT, QUALITY, DEAD_PROCESSOR)
"""What processors derive from raw records, each with its source in the value."""

STORED: Final = (*CLEANED, DEAD_SINK, SINK_COMMIT)
"""What sinks store, besides raw topics."""

BY_RECORD: Final[dict[type[records.Record], Topic]] = {topic.record: topic for topic in CLEANED}


def raw_topic(venue: str) -> Topic:
    """Name the raw topic of a venue (in any case): `raw.binance`."""
    return Topic(
        name=f"{RAW_PREFIX}{venue.lower()}", record=records.RawFrames, key="partition", retention_ms=7 * DAY_MS
    )


def catalogue(venues: Iterable[str]) -> tuple[Topic, ...]:
    """List all topics of a deployment that captures these venues."""
    return (*(raw_topic(venue) for venue in venues), *CLEANED, DEAD_SINK, SINK_COMMIT, COMMAND, WANTED, STATE)

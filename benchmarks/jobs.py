"""What scripts of peers that read raw topics and write ticks are told: addresses, topics, schemas with their ids."""

import json
from collections.abc import Mapping

from schemas.codec import schema_text
from schemas.records import RawFrames, Tick
from schemas.topics import DAY_MS, TICK, Topic, raw_topic
from tickerplant.kafka import create_topics
from tickerplant.registry import Registry
from tickerplant.settings import Settings

KEPT_MS = 3650 * DAY_MS  # recorded times are old: nothing is to expire meanwhile

SAMPLE = Tick(
    event_time_us=1_723_161_254_087_891,
    recv_time_us=1_723_161_254_087_891,
    venue="BINANCE",
    symbol="BTC/USDT",
    asset_class="CRYPTO",
    kind="QUOTE",
    price=61837.635,
    quantity=0.0,
    bid=61837.63,
    ask=61837.64,
    bid_size=3.78826,
    ask_size=1.54698,
    sequence_id=123_456,
    venue_sequence=50_093_239_212,
    source_topic="raw.binance@WW4E8a-_",
    source_offset=123_456,
    source_index=12,
)
EMPTY = RawFrames(venue="", event_time_us=0, sources=[], frames=[])


def job(settings: Settings, topic: str, out: str, group: str, names: Mapping[str, str]) -> str:
    """Tell what is to be done, as JSON, and make the topic that is written.

    Args:
        topic: that is read, by its full name.
        out: that is written, without suffix.
        names: venue symbol → canonical symbol.
    """
    create_topics(settings, [Topic(name=out, record=Tick, key="any", retention_ms=KEPT_MS)])
    registry = Registry(settings)
    return json.dumps(
        {
            "broker": settings.kafka.bootstrap_servers,
            "registry": settings.registry.url,
            "topic": topic,
            "out": out + settings.kafka.topic_suffix,
            "group": group,
            "names": dict(names),
            "tick_id": id_in(registry.encoder(TICK, Tick).encode(SAMPLE)),
            "raw_id": id_in(registry.encoder(raw_topic("binance"), RawFrames).encode(EMPTY)),
            "tick": json.loads(schema_text(Tick)),
            "raw": json.loads(schema_text(RawFrames)),
        }
    )


def id_in(value: bytes) -> int:
    """Read the schema id of an encoded record."""
    return int.from_bytes(value[1:5], "big")

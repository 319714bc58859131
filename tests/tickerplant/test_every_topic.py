"""An ordinary confluent-kafka consumer with the registry reads every topic of the catalogue, field by field."""

from contextlib import closing
from typing import Any

import msgspec
import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

from schemas import records
from schemas.topics import Topic, catalogue
from tickerplant.kafka import Publisher, TopicPartition, consumer, create_topics
from tickerplant.registry import Registry
from tickerplant.settings import Settings

SUFFIX = ".every-topic"
BOOK: dict[str, Any] = {
    "is_snapshot": False, "snapshot_id": 3, "bid_prices": [100.5, 99.0], "bid_sizes": [1.0, 0.0], "ask_prices": [],
    "ask_sizes": [],
}  # fmt: skip
MARKET: dict[str, Any] = {"event_time_us": 1_700_000_000_000_001, "venue": "BINANCE", "symbol": "BTC/USDT"}
ASSET: dict[str, Any] = {**MARKET, "asset_class": "CRYPTO"}
OHLC: dict[str, Any] = {"open": 1.0, "high": 2.5, "low": 0.5, "close": 2.0, "volume": 10.0}
SUMS: dict[str, Any] = {
    "mid_returns": [None, -0.5], "mid_volatilities": [0.5, None], "trade_rates": [], "volumes": [1.5, 2.0],
    "vwaps": [None, None], "signed_volumes": [0.0, -1.0], "trade_imbalances": [0.5, 1.0],
    "order_flow_imbalances": [1e300, -1e-300], "illiquidities": [None, 0.25],
}  # fmt: skip
FRAME = records.Frame(source=0, number=7, kind="MESSAGE", recv_time_us=1, payload=b'{"stream":"x"}\x00\xff')
SAMPLES: dict[type[records.Record], records.Record] = {
    each.__class__: each
    for each in (
        records.RawFrames(
            venue="BINANCE", event_time_us=1, sources=[records.Source(market="spot", connection="c")], frames=[FRAME]
        ),
        records.Tick(**ASSET, kind="TRADE", price=100.5, quantity=0.25, side="SELL", sequence_id=1, trade_id="9"),
        records.Depth(**MARKET, **BOOK),
        records.Ticker(**ASSET, last=100.5, volume=12.0, bid=100.0),
        records.Candle(**ASSET, **OHLC, interval="1m", open_time_us=1, is_closed=True),
        records.Bar(**ASSET, **OHLC, interval="1m", open_time_us=60_000_000, trade_count=3, vwap=1.5, flags="GAP"),
        records.Signal(**MARKET, mid=100.5, windows_s=[1, 60], **SUMS, flags="SHIFTED"),
        records.Derivative(**MARKET, kind="FUNDING_RATE", value=-0.0001, next_time_us=5),
        records.Instrument(**ASSET, market="spot", venue_symbol="BTCUSDT", kind="SPOT", base="BTC", quote="USDT"),
        records.QualityEvent(**MARKET, kind="GAP", from_sequence=2, to_sequence=4, count=3),
        records.DeadLetter(event_time_us=1, stage="processor", reason="torn", payload=b"\x00{"),
        records.SinkCommit(
            event_time_us=1, stage="sink.parquet", table_name="market_data.tick", end_offset=9, row_count=7
        ),
        records.ControlCommand(event_time_us=1, venue="BINANCE", market="spot", command="resnapshot"),
        records.ControlWanted(event_time_us=1, venue="BINANCE", market="spot", channel="trade", is_wanted=False),
        records.State(
            source_topic="raw.binance", source_partition=1, symbol="BTC/USDT", next_offset=5, version=1, payload=b"\x01"
        ),
    )
}


@pytest.fixture(scope="module")
def alone(stack: Settings) -> Settings:
    """Settings of topics of our own, one of each of the catalogue."""
    own = stack.kafka.model_copy(update={"topic_suffix": SUFFIX, "partitions": 1})
    settings = stack.model_copy(update={"kafka": own})
    create_topics(settings, catalogue(["binance"]))
    return settings


@pytest.mark.stack
@pytest.mark.parametrize("topic", catalogue(["binance"]), ids=lambda topic: topic.name)
def test_an_ordinary_consumer_reads(alone: Settings, topic: Topic) -> None:
    sample = SAMPLES[topic.record]
    publisher = Publisher(alone)
    publisher.send(topic.name, 0, b"key", Registry(alone).encoder(topic, topic.record).encode(sample))
    publisher.flush()

    with closing(SchemaRegistryClient({"url": alone.registry.url})) as registry:
        decode = AvroDeserializer(registry)
        with closing(consumer(alone, "somebody.else")) as client:
            client.assign([TopicPartition(topic.name + SUFFIX, 0, 0)])
            [message] = client.consume(1, 10.0)
        fields = decode(message.value(), SerializationContext(topic.name, MessageField.VALUE))

    assert fields == msgspec.to_builtins(sample, builtin_types=(bytes,))


def test_there_is_a_sample_of_every_record() -> None:
    assert set(SAMPLES) == {topic.record for topic in catalogue(["binance"])}

"""Frames of 10 MB go the whole way on the real stack: socket, Kafka, processor, ClickHouse, Parquet."""

import asyncio
import hashlib
import json
import multiprocessing
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow.dataset as ds
import pytest
from aiohttp import web
from pyarrow.fs import FSSpecHandler, PyFileSystem
from websockets.asyncio.server import ServerConnection

from processors import app as processing
from producers import app as producing
from schemas.topics import MAX_RECORD_BYTES, catalogue
from schemas.venues import SYMBOLOGIES
from sinks import app as sinking
from sinks.clickhouse_client import connect
from sinks.places import Bucket
from tickerplant.clock import now_us
from tickerplant.kafka import create_topics
from tickerplant.settings import Producer, Settings, Venue

SPAWN = multiprocessing.get_context("spawn")
SUFFIX = ".large"
LARGE = 10_000_000
LISTING = {"symbol": "BTCUSDT", "status": "TRADING", "baseAsset": "BTC", "quoteAsset": "USDT"}


def trade(number: int, padding: str = "") -> bytes:
    data = {"e": "trade", "E": 1, "s": "BTCUSDT", "t": number, "p": "1.5", "q": "2", "T": 1, "m": False, "M": True}
    if padding:
        data["padding"] = padding
    return json.dumps({"stream": "btcusdt@trade", "data": data}, separators=(",", ":")).encode()


FRAMES = [trade(1), trade(2, "x" * LARGE), b"\xff\xfe" * (LARGE // 2), b'{"stream":"btcusdt@trade"\xff', trade(3)]


@pytest.fixture
def settings(stack: Settings, venue: Any) -> Settings:
    venue.rest["/api/v3/exchangeInfo"] = [web.json_response({"symbols": [LISTING]})]
    entry = Venue(
        venue="BINANCE", market="spot", symbols=("BTCUSDT",), channels=("trade",),
        websocket_url=venue.websocket_url, rest_url=venue.rest_url,
    )  # fmt: skip
    own = stack.model_copy(
        update={
            "kafka": stack.kafka.model_copy(update={"topic_suffix": SUFFIX, "partitions": 1}),
            "object_store": stack.object_store.model_copy(update={"root": "s3://tickerplant/large"}),
            "sink": stack.sink.model_copy(update={"flush_ms": 100.0, "parquet_roll_s": 0.3}),
            "producer": stack.producer.model_copy(update={"stale_after_s": 300.0}),
            "venues": (entry,),
        }
    )
    create_topics(own, catalogue(SYMBOLOGIES))
    return own


@pytest.fixture
def roles(settings: Settings) -> Iterator[None]:
    starts: list[tuple[Callable[..., None], tuple[Any, ...]]] = [
        (sinking.run, (settings, "clickhouse")),
        (sinking.run, (settings, "parquet")),
        (processing.run, (settings,)),
        (producing.run, (settings,)),
    ]
    processes = [SPAWN.Process(target=target, args=args) for target, args in starts]
    for each in processes:
        each.start()
    yield
    for each in processes:
        each.kill()
        each.join(10)


def in_clickhouse(settings: Settings, what: str, table: str, condition: str) -> list[Any]:
    """Read one column, in order of arrival."""
    client = connect(settings.clickhouse)
    query = f"SELECT {what} FROM {table} WHERE {condition} ORDER BY source_offset, source_index"
    rows = client.execute(query)
    client.disconnect()
    return [row[0] for row in rows]


def in_lake(settings: Settings) -> list[bytes]:
    bucket = Bucket(settings.object_store)
    if not bucket._fs.exists("tickerplant/large/raw"):
        return []
    files = PyFileSystem(FSSpecHandler(bucket._fs))
    dataset = ds.dataset("tickerplant/large/raw", filesystem=files, partitioning="hive")
    if not dataset.files:
        return []
    table = dataset.to_table().sort_by("number")
    return [row["payload"] for row in table.to_pylist() if row["kind"] == "MESSAGE"]


async def eventually(holds: Callable[[], bool]) -> None:
    """Ask the stores now and then, beside the loop that serves the venue."""
    while not await asyncio.to_thread(holds):  # noqa: ASYNC110  # stores tell nobody; the time-out of the test ends it
        await asyncio.sleep(0.5)


@pytest.mark.stack
@pytest.mark.timeout(180)
@pytest.mark.usefixtures("roles")
async def test_ten_megabytes_are_stored_untouched_in_both_stores(settings: Settings, venue: Any) -> None:
    async def talk(connection: ServerConnection, _request: dict[str, Any]) -> None:
        for each in FRAMES:
            await connection.send(each, text=True)

    venue.on_request = talk
    condition = f"recv_time_us >= {now_us()}"  # other tests fill the same tables
    await eventually(lambda: len(in_lake(settings)) == len(FRAMES) + 1)
    await eventually(lambda: len(in_clickhouse(settings, "length(payload)", "metadata.dead_letters", condition)) == 2)
    await eventually(lambda: len(in_clickhouse(settings, "trade_id", "market_data.tick", condition)) == 3)
    stored = f"{condition} AND kind = 'MESSAGE'"
    await eventually(lambda: len(in_clickhouse(settings, "number", "market_data.tick_raw", stored)) == len(FRAMES) + 1)
    hashes = in_clickhouse(settings, "hex(SHA256(payload))", "market_data.tick_raw", stored)

    assert in_lake(settings)[1:] == FRAMES
    assert hashes[1:] == [hashlib.sha256(each).hexdigest().upper() for each in FRAMES]
    assert in_clickhouse(settings, "hex(SHA256(payload))", "metadata.dead_letters", condition) == hashes[3:5]
    assert in_clickhouse(settings, "trade_id", "market_data.tick", condition) == ["1", "2", "3"]


def test_largest_frame_of_the_settings_fits_into_a_record() -> None:
    largest = 30 * 1024 * 1024

    assert Producer(max_frame_bytes=largest).max_frame_bytes < MAX_RECORD_BYTES
    with pytest.raises(ValueError, match="less than or equal"):
        Producer(max_frame_bytes=largest + 1)

"""What README shows runs as it stands there."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from schemas.arrow import arrow_schema
from schemas.records import Tick
from schemas.topics import TICK, catalogue
from sinks.columns import columns
from tickerplant.kafka import Publisher, create_topics
from tickerplant.lake import read_lake
from tickerplant.registry import Registry
from tickerplant.replay.lake import Lake
from tickerplant.settings import Settings

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
NOW_US = 1_795_219_200_000_000


class Enough(Exception):  # noqa: N818  # not an error: the loop of an example has no end
    """All that was to come has come."""


def block(marker: str) -> str:
    (found,) = [each for each in BLOCKS if marker in each]
    return found


def printing(most: int) -> tuple[list[Any], Callable[..., None]]:
    """Make a `print` that keeps what it is given, and ends the example after so many."""
    kept: list[Any] = []

    def keep(*values: Any) -> None:
        kept.append(values[0] if len(values) == 1 else values)
        if len(kept) == most:
            raise Enough

    return kept, keep


def meant(code: str, places: dict[str, str]) -> str:
    """Put the servers of this test in the place of those of README."""
    for said, here in places.items():
        assert said in code
        code = code.replace(said, here)
    return code


@pytest.fixture
def own(stack: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of topics of this test alone, which the environment tells."""
    suffix = f".readme-{uuid4().hex[:8]}"
    settings = stack.model_copy(update={"kafka": stack.kafka.model_copy(update={"topic_suffix": suffix})})
    create_topics(settings, catalogue(["BINANCE"]))
    monkeypatch.setenv("TICKERPLANT_KAFKA__BOOTSTRAP_SERVERS", settings.kafka.bootstrap_servers)
    monkeypatch.setenv("TICKERPLANT_KAFKA__TOPIC_SUFFIX", suffix)
    monkeypatch.setenv("TICKERPLANT_REGISTRY__URL", settings.registry.url)
    return settings


def make_tick(number: int) -> Tick:
    return Tick(
        event_time_us=NOW_US, venue="BINANCE", symbol="BTC/USDT", asset_class="CRYPTO", kind="TRADE",
        price=float(number), quantity=1.0, sequence_id=number,
    )  # fmt: skip


def write(settings: Settings, offsets: list[int]) -> None:
    publisher, encoder = Publisher(settings), Registry(settings).encoder(TICK, Tick)
    for offset in offsets:
        record = make_tick(offset)
        headers: Any = [("source", f"raw.binance:0:{offset}:0".encode())]
        publisher.send(TICK.name, 0, b"BINANCE|BTC/USDT", encoder.encode(record), headers)
    assert publisher.flush() == 0


@pytest.mark.stack
def test_subscribing_by_hand_gives_each_record_once(own: Settings) -> None:
    write(own, [1, 2, 3, 2, 3, 4])
    kept, keep = printing(4)
    code = block("AvroDeserializer")
    code = meant(
        code,
        {
            "http://127.0.0.1:18081/apis/ccompat/v7": own.registry.url,
            "127.0.0.1:19092": own.kafka.bootstrap_servers,
            '"cleaned.tick"': f'"{TICK.name}{own.kafka.topic_suffix}"',
            '"me"': f'"{uuid4().hex}"',
        },
    )
    space: dict[str, Any] = {"print": keep}

    with pytest.raises(Enough):
        exec(code, space)  # README's own words
    space["consumer"].close()
    space["decode"]._registry.close()

    assert [each["sequence_id"] for each in kept] == [1, 2, 3, 4]


@pytest.mark.stack
def test_the_helper_gives_typed_records(own: Settings) -> None:
    write(own, [1, 2, 2])
    kept, keep = printing(2)
    code = block("tickerplant.subscribe").replace('from_="latest"', 'from_="earliest"')

    with pytest.raises(Enough):
        exec(code, {"print": keep})  # README's own words

    assert [each[2] for each in kept] == [1.0, 2.0]


@pytest.mark.stack
def test_the_lake_is_read_as_it_says(stack: Settings) -> None:
    venue = f"README{uuid4().hex[:8].upper()}"
    rows = [{name: getattr(make_tick(7), name) for name in Tick.__struct_fields__}]
    out = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_batches([columns(arrow_schema(Tick), rows)]).drop_columns(["venue"]), out)
    lake, path = Lake(stack.object_store), f"cleaned/tick/venue={venue}/date=2026-11-21/readme.parquet"
    lake.create(path, out.getvalue())
    space: dict[str, Any] = {}
    try:
        code = meant(block("S3FileSystem"), {"http://127.0.0.1:19000": str(stack.object_store.endpoint_url)})
        exec(code, space)  # README's own words
        table = read_lake("cleaned/tick", settings=stack, where=pc.field("venue") == venue)
    finally:
        lake.remove_object(path)
    ticks = space["ticks"]

    assert ticks[ticks["venue"] == venue][["symbol", "price"]].to_numpy().tolist() == [["BTC/USDT", 7.0]]
    assert table["price"].to_pylist() == [7.0]

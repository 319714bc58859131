"""`replay --swap` on the real stack: damaged rows of a range are mended in both stores, all else stays as it was."""

import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Any
from uuid import uuid4

import pytest

import tickerplant
from sinks.clickhouse_client import connect
from tickerplant.errors import UserError
from tickerplant.replay import stores
from tickerplant.replay.lake import Lake
from tickerplant.replay.run import How, drop_replay, run_replay
from tickerplant.replay.wish import Wish
from tickerplant.settings import Settings

pytestmark = [
    pytest.mark.stack,
    pytest.mark.timeout(600),
    # the registry's client keeps its connections open until it is collected
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

SPAWN = multiprocessing.get_context("spawn")
STOP_S = 300
BTC = "BTC/USDT"
COLUMNS = (
    "venue, symbol, source_topic, source_partition, source_offset, source_index, price, quantity, sequence_id, "
    "arrayFilter(x -> x NOT IN ('', 'REPLAY'), splitByChar(',', flags))"
)
LAKE_COLUMNS = ("symbol", "source_partition", "source_offset", "source_index", "event_time_us", "price", "sequence_id")


class Database:
    """A connection; TICK in a query is the table of ticks of these settings."""

    def __init__(self, settings: Settings) -> None:
        self._client, self._suffix = connect(settings.clickhouse), settings.clickhouse.table_suffix

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        return list(self._client.execute(query.replace("TICK", f"market_data.tick{self._suffix}")))

    def close(self) -> None:
        self._client.disconnect()


def rows(settings: Settings, query: str) -> list[tuple[Any, ...]]:
    with closing(Database(settings)) as database:
        return database.rows(query)


def ticks(settings: Settings, where: str) -> list[tuple[Any, ...]]:
    return rows(settings, f"SELECT {COLUMNS} FROM TICK FINAL WHERE {where} ORDER BY ALL")


def lake_ticks(settings: Settings, wish: Wish, *, inside: bool) -> set[tuple[Any, ...]]:
    """Read the ticks of the lake that a wish names, or all others."""
    table = tickerplant.read_lake("cleaned/tick", settings=settings)
    found = zip(*(table[name].to_pylist() for name in LAKE_COLUMNS), strict=True)
    return {row for row in found if (row[0] in wish.symbols and wish.from_us <= row[4] < wish.to_us) == inside}


@pytest.fixture
def copy(live: Settings) -> Iterator[Settings]:
    """The live run once more: its topics and groups, and tables and a lake that may be damaged."""
    name = f"copy{uuid4().hex[:6]}"
    settings = live.model_copy(
        update={
            "clickhouse": live.clickhouse.model_copy(update={"table_suffix": f"__{name}"}),
            "object_store": live.object_store.model_copy(update={"root": f"s3://tickerplant/{name}"}),
        }
    )
    stores.make(live, settings, {})
    for old, new in zip(stores.table_names(live), stores.table_names(settings), strict=True):
        rows(settings, f"INSERT INTO {new} SELECT * FROM {old}")
    source, target = Lake(live.object_store), Lake(settings.object_store)
    for folder in ("cleaned", "quality", "dlq", "reference", "checkpoint"):
        for path in source.filesystem.find(source.full_path(folder)):
            source.filesystem.copy(path, path.replace(source.full_path(""), target.full_path("")))
    yield settings
    with suppress(UserError):  # there need not be one
        drop_replay(settings, "mended")


def damage(settings: Settings, wish: Wish) -> None:
    """Take rows of both symbols away, alter others; in the lake, lose an object that holds some of a wish."""
    for what in ("DELETE WHERE source_offset % 3 = 0", "UPDATE price = 0 WHERE source_offset % 7 = 1"):
        rows(settings, f"ALTER TABLE TICK {what} SETTINGS mutations_sync = 2")
    lake = Lake(settings.object_store)
    paths = sorted(lake.filesystem.find(lake.full_path("cleaned/tick")))
    lake.filesystem.rm_file(next(path for path in paths if holds_any(lake, path, wish)))


def holds_any(lake: Lake, path: str, wish: Wish) -> bool:
    """Tell whether an object holds rows of a wish."""
    found = lake.read_table(path.removeprefix(lake.full_path("")).lstrip("/"), ("symbol", "event_time_us"))
    times = zip(found["symbol"].to_pylist(), found["event_time_us"].to_pylist(), strict=True)
    return any(symbol in wish.symbols and wish.from_us <= time_us < wish.to_us for symbol, time_us in times)


def replay_killed_in_its_swap(settings: Settings, wish: Wish) -> None:
    """Be a `replay --resume --swap` that is killed while live tables take no inserts."""

    def die(step: str) -> None:
        if step == "closed":
            os.kill(os.getpid(), signal.SIGKILL)

    run_replay(settings, wish, How(resume=True, swap=True, quiet=True, on_step=die))


def test_damaged_rows_of_a_range_are_mended_and_all_others_stay(live: Settings, copy: Settings, begin_us: int) -> None:
    from_us, to_us = begin_us + 2_000_000, begin_us + 5_000_000
    wish = Wish(topic="raw.binance", into="mended", symbols=frozenset({BTC}), from_us=from_us, to_us=to_us)
    inside = f"symbol = '{BTC}' AND event_time_us >= {from_us} AND event_time_us < {to_us}"
    damage(copy, wish)
    others, lake_others = ticks(copy, f"NOT ({inside})"), lake_ticks(copy, wish, inside=False)
    dry = run_replay(copy, wish, How(swap=True, dry_run=True, quiet=True))
    killed = SPAWN.Process(target=replay_killed_in_its_swap, args=(copy, wish))
    killed.start()
    killed.join(STOP_S)
    assert killed.exitcode == -signal.SIGKILL
    assert ticks(copy, inside) != ticks(live, inside)

    summary = run_replay(copy, wish, How(resume=True, swap=True, quiet=True))

    assert dry["swapped"] is False
    assert dry["changes"]["clickhouse market_data.tick"].keys() == {"added", "altered"}
    assert dry["changes"]["parquet cleaned/tick"].keys() == {"added"}
    assert summary["swapped"] is True
    assert ticks(copy, inside) == ticks(live, inside) != []
    assert ticks(copy, f"NOT ({inside})") == others
    assert lake_ticks(copy, wish, inside=True) == lake_ticks(live, wish, inside=True) != set()
    assert lake_ticks(copy, wish, inside=False) == lake_others

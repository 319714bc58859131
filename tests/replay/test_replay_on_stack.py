"""Replays of a live run with a crash in it, on the real stack: rows are those of the live run."""

from contextlib import closing
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from schemas.topics import STATE, STORED
from sinks.clickhouse_client import connect
from tickerplant.errors import UserError
from tickerplant.kafka import Publisher, source_name, topic_partitions
from tickerplant.replay import stores
from tickerplant.replay.keeper import keep
from tickerplant.replay.lake import Lake
from tickerplant.replay.run import How, drop_replay, run_replay
from tickerplant.replay.wish import Wish, replay_settings
from tickerplant.settings import Settings
from tickerplant.subscription import subscribe

pytestmark = [
    pytest.mark.stack,
    pytest.mark.timeout(600),
    # the registry's client keeps its connections open until it is collected
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

MIDDLE_US = 4_500_000  # after the checkpoint, of 6 s in all


def replayed(live: Settings, into: str, **options: Any) -> dict[str, Any]:
    names = {each.name for each in fields(How)} & set(options)
    how = How(**{"check": True, "quiet": True} | {name: options.pop(name) for name in names})
    return run_replay(live, Wish(topic="raw.binance", into=into, **options), how)


def rows(settings: Settings, query: str) -> list[tuple[Any, ...]]:
    with closing(_Client(settings)) as client:
        return client.rows(query.replace("TICK", f"market_data.tick{settings.clickhouse.table_suffix}"))


class _Client:
    def __init__(self, settings: Settings) -> None:
        self._client = connect(settings.clickhouse)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        return list(self._client.execute(query))

    def close(self) -> None:
        self._client.disconnect()


def test_a_replay_of_the_topic_gives_the_live_rows_marked(live: Settings) -> None:
    summary = replayed(live, "whole")

    assert summary["first_difference"] == ""
    assert summary["compared"]["clickhouse market_data.tick"] > 1000
    assert summary["compared"]["parquet cleaned/depth"] > 500
    assert summary["compared"]["parquet reference/instrument"] > 0
    assert summary["compared"]["clickhouse metadata.dead_letters"] > 0
    replay = replay_settings(live, "whole")
    with subscribe("cleaned.tick", settings=replay, from_="earliest", follow=False) as ticks:
        assert (
            sum("REPLAY" in each.flags.split(",") for each in ticks) == rows(replay, "SELECT count() FROM TICK")[0][0]
        )
        assert (ticks.repeats, ticks.lost) == (0, 0)
    assert rows(replay, "SELECT countIf(NOT has(splitByChar(',', flags), 'REPLAY')) FROM TICK") == [(0,)]
    assert rows(live, "SELECT countIf(has(splitByChar(',', flags), 'REPLAY')) FROM TICK") == [(0,)]


def test_a_replay_from_the_middle_starts_at_a_checkpoint(live: Settings, begin_us: int) -> None:
    summary = replayed(live, "middle", from_us=begin_us + MIDDLE_US, to_us=begin_us + MIDDLE_US + 1_000_000)

    assert (summary["first_difference"], summary["warnings"]) == ("", [])
    assert summary["compared"]["clickhouse market_data.tick"] > 100
    first_us, last_us = rows(
        replay_settings(live, "middle"), "SELECT min(event_time_us), max(event_time_us) FROM TICK"
    )[0]
    assert begin_us + MIDDLE_US <= first_us < last_us < begin_us + MIDDLE_US + 1_000_000
    assert restored_later(live, "middle", begin_us + MIDDLE_US + 1_000_000) > 0


def restored_later(live: Settings, into: str, to_us: int) -> int:
    """Count the trades of a replay that were told after its end."""
    restored = "has(splitByChar(',', flags), 'BACKFILL')"
    query = f"SELECT count() FROM TICK FINAL WHERE {restored} AND event_time_us < {to_us} AND recv_time_us >= {to_us}"
    return int(rows(replay_settings(live, into), query)[0][0])


def test_a_replay_of_the_archive_gives_the_live_rows(live: Settings, begin_us: int) -> None:
    to_us = begin_us + MIDDLE_US + 1_000_000
    wish: dict[str, Any] = {"archive": live.object_store.root, "symbols": frozenset({"ETH/USDT"}), "to_us": to_us}
    summary = replayed(live, "archived", **wish)

    assert summary["first_difference"] == ""
    assert restored_later(live, "archived", to_us) > 0
    assert rows(replay_settings(live, "archived"), "SELECT DISTINCT symbol FROM TICK") == [("ETH/USDT",)]


def test_a_resumed_replay_writes_nothing_twice_and_finds_an_altered_row(live: Settings, begin_us: int) -> None:
    wish: dict[str, Any] = {"into": "twice", "to_us": begin_us + 1_000_000}
    first = replayed(live, **wish)
    suffix = replay_settings(live, "twice").clickhouse.table_suffix
    altered = f"SELECT * REPLACE (price + 1 AS price) FROM market_data.tick{suffix} FINAL"
    rows(live, f"INSERT INTO market_data.tick{suffix} {altered} ORDER BY source_partition, source_offset LIMIT 1")

    again = replayed(live, **wish, resume=True)

    assert (first["differences"], again["rows"], again["differences"]) == (0, first["rows"], 1)
    assert f"clickhouse market_data.tick {source_name(live, 'raw.binance')}:0:" in again["first_difference"]
    assert "price live 10" in again["first_difference"]
    with pytest.raises(UserError, match=r"exists .*--again drops it first, --resume"):
        replayed(live, **wish)
    with pytest.raises(UserError, match="begun with another symbols"):
        replayed(live, **wish, resume=True, symbols=frozenset({"BTC/USDT"}))


def test_a_copied_archive_is_replayed_from_its_own_checkpoint_and_a_drop_leaves_nothing(
    live: Settings, begin_us: int, tmp_path: Path
) -> None:
    lake = Lake(live.object_store)
    for part in ("raw", "checkpoint"):
        lake.filesystem.get(lake.full_path(part), str(tmp_path / part), recursive=True)
    span = {"from_us": begin_us + MIDDLE_US, "to_us": begin_us + MIDDLE_US + 1_000_000}
    summary = replayed(live, "gone", archive=str(tmp_path), **span)
    dropped = drop_replay(live, "gone")

    assert (summary["first_difference"], summary["warnings"]) == ("", [])
    assert summary["compared"]["clickhouse market_data.tick"] > 100
    assert dropped == {"dropped": "gone", "topics": len(STORED), "tables": len(stores.TABLE_NAMES), "lakes": 1}
    assert stores.existing(replay_settings(live, "gone")) == []
    with pytest.raises(UserError, match="no replay gone"):
        drop_replay(live, "gone")


def test_one_damaged_state_keeps_no_other_partition_from_its_checkpoint(live: Settings, tmp_path: Path) -> None:
    lake = live.object_store.model_copy(update={"root": str(tmp_path / "lake")})
    publisher = Publisher(live)
    publisher.send(STATE.name, 0, b"raw.binance|0||0", b"junk")
    publisher.flush()
    kept = keep(live.model_copy(update={"object_store": lake}))

    assert [(each["topic"], each["partition"]) for each in kept.written] == [("raw.binance", 1)]
    (told,) = map(str, kept.damaged)
    assert told.startswith("the state of raw.binance:0 cannot be used: ")


def test_nothing_in_range_is_one_line_and_leaves_nothing(live: Settings, begin_us: int) -> None:
    with pytest.raises(UserError, match="nothing in this range"):
        replayed(live, "empty", to_us=begin_us - 1_000_000)

    assert not [name for name in topic_partitions(live) if name.endswith(".empty")]

"""What a replay writes into: topics, tables and a lake of its own; made, found and removed by name."""

import time
from collections.abc import Iterable
from contextlib import closing
from typing import Any, Final

import msgspec

from schemas.topics import STORED
from sinks.clickhouse_client import connect
from sinks.tables import RAW, TABLES
from tickerplant.errors import UserError
from tickerplant.kafka import create_topics, delete_groups, delete_topics, topic_partitions
from tickerplant.lag import group_name
from tickerplant.replay.lake import Lake
from tickerplant.replay.sink import GROUP
from tickerplant.replay.swap_tables import CLOSED
from tickerplant.settings import Settings

TABLE_NAMES: Final = tuple(dict.fromkeys((RAW.name, *(table.name for table in TABLES.values()))))
MANIFEST: Final = "replay.json"
LEADERS_S: Final = 10.0
POLL_S: Final = 0.05


def make(live: Settings, replay: Settings, manifest: dict[str, Any]) -> None:
    """Make topics, tables and the manifest, where they are not there yet.

    Raises:
        UserError: a server refuses.
        DependencyError: a server does not answer.
    """
    Lake(replay.object_store).create(MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)))
    create_topics(replay, STORED)
    deadline_s = time.monotonic() + LEADERS_S
    while not set(topics(replay)) <= set(topic_partitions(replay)) and time.monotonic() < deadline_s:
        time.sleep(POLL_S)
    with closing(_Client(replay)) as client:
        for name in TABLE_NAMES:
            client.make(name + live.clickhouse.table_suffix, name + replay.clickhouse.table_suffix)


def existing(replay: Settings) -> list[str]:
    """List what there is of a replay; empty = nothing."""
    found = sorted(set(topics(replay)) & set(topic_partitions(replay)))
    with closing(_Client(replay)) as client:
        found += client.existing(table_names(replay))
    if Lake(replay.object_store).names(""):
        found.append(replay.object_store.root)
    return found


def read_manifest(replay: Settings) -> dict[str, Any] | None:
    """Read what an earlier run was asked for; None = it did not come so far."""
    lake = Lake(replay.object_store)
    if MANIFEST not in lake.names(""):
        return None
    found: dict[str, Any] = msgspec.json.decode(lake.read(MANIFEST), type=dict[str, Any])
    return found


def drop(replay: Settings) -> dict[str, int]:
    """Remove a replay; returns how many topics, tables and lakes there were."""
    if not replay.kafka.topic_suffix or "__" not in replay.clickhouse.table_suffix:
        raise UserError("only a replay can be dropped")  # the live names have no such suffix
    deleted = delete_topics(replay, topics(replay))
    delete_groups(replay, [group_name(GROUP, replay)])
    with closing(_Client(replay)) as client:
        dropped = client.drop(table_names(replay))
    return {"topics": len(deleted), "tables": dropped, "lakes": int(Lake(replay.object_store).remove())}


def topics(settings: Settings) -> list[str]:
    """Name the topics that sinks store, raw ones aside, as the broker knows them."""
    return [topic.name + settings.kafka.topic_suffix for topic in STORED]


def table_names(settings: Settings) -> list[str]:
    """Name the tables of these settings."""
    return [name + settings.clickhouse.table_suffix for name in TABLE_NAMES]


class _Client:
    """Tables by name."""

    def __init__(self, settings: Settings) -> None:
        self._client = connect(settings.clickhouse)

    def make(self, like: str, name: str) -> None:
        """Make a table like another; its rows are kept, however old they are."""
        self._client.execute(f"CREATE TABLE IF NOT EXISTS {name} AS {like}")
        described = self._described(name)
        if " TTL " in described:
            self._client.execute(f"ALTER TABLE {name} REMOVE TTL")
        if CLOSED in described:  # a swap that was killed left the live one so
            self._client.execute(f"ALTER TABLE {name} RESET SETTING {CLOSED.split()[0]}")

    def existing(self, names: Iterable[str]) -> list[str]:
        return [name for name in names if self._described(name)]

    def drop(self, names: Iterable[str]) -> int:
        found = self.existing(names)
        for name in found:
            self._client.execute(f"DROP TABLE IF EXISTS {name} SYNC")
        return len(found)

    def count(self, name: str) -> int:
        rows = self._client.execute(f"SELECT count() FROM {name} FINAL")  # noqa: S608  # own names
        return int(rows[0][0])

    def close(self) -> None:
        self._client.disconnect()

    def _described(self, name: str) -> str:
        database, table = name.split(".")
        query = "SELECT create_table_query FROM system.tables WHERE database = %(database)s AND name = %(table)s"
        rows = self._client.execute(query, {"database": database, "table": table})
        return str(rows[0][0]) if rows else ""


def count_rows(replay: Settings) -> dict[str, int]:
    """Count the rows of each table of a replay that came of raw records; each source counts once."""
    with closing(_Client(replay)) as client:
        counts = {name: client.count(name) for name in table_names(replay) if not name.startswith("metadata.sink_")}
    return {name: count for name, count in counts.items() if count}

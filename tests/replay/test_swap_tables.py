"""Rebuilt rows in the place of live ones in ClickHouse, while others read and write; killed between any two steps."""

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from clickhouse_driver.errors import ServerException

from schemas.records import Tick
from schemas.topics import CLEANED
from sinks.clickhouse_client import connect
from sinks.migrations import migrate
from sinks.tables import TABLES
from tests.replay.test_swap_lake import seen, tick, write
from tickerplant.errors import DependencyError, UserError
from tickerplant.replay import swap_tables as module
from tickerplant.replay.span import Range
from tickerplant.replay.swap import swap, undo_killed
from tickerplant.replay.swap_tables import Part, newer, open_tables, swap_tables
from tickerplant.replay.wish import Wish
from tickerplant.settings import ClickHouse, ObjectStore, Settings

pytestmark = pytest.mark.timeout(300)

FORKED = multiprocessing.get_context("forkserver")
FORKED.set_forkserver_preload(["tickerplant.replay.swap", "tests.replay.test_swap_lake"])
DAY_US = 86_400_000_000
TODAY = time.time_ns() // 1000 // DAY_US  # rows of long ago would be past their retention
BEGIN_US = (TODAY - 1) * DAY_US - 500_000_000
"""500 s before a midnight: the rows, one a second, lie in two partitions."""
MIDNIGHT_US = BEGIN_US + 500_000_000
ROWS = 1000
FROM, TO = 300, 700
SOURCE = "raw.binance@firstlif"
INSIDE = f"venue = 'BINANCE' AND symbol = 'BTC/USDT' AND source_offset >= {FROM} AND source_offset < {TO}"
TOO_MANY_PARTS = 252
START_S = 60.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of a ClickHouse with our tables."""
    ports = []
    for _ in range(2):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            ports.append(int(listener.getsockname()[1]))
    settings = Settings(clickhouse=ClickHouse(port=ports[0], http_port=ports[1]))
    words = ["--port", str(ports[0]), "--http-port", str(ports[1]), "--data", str(tmp_path_factory.mktemp("data"))]
    command = [sys.executable, "-m", "tickerplant.local.gateway", *words]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        deadline_s = time.monotonic() + START_S
        while not answers(settings):
            assert process.poll() is None
            assert time.monotonic() < deadline_s
        migrate(settings)
        yield settings
        process.terminate()


def answers(settings: Settings) -> bool:
    try:
        connect(settings.clickhouse).disconnect()
    except DependencyError:
        return False
    return True


class Database:
    """A connection; TICK and DEPTH in a query are the tables of these settings."""

    def __init__(self, settings: Settings) -> None:
        self._client, self._suffix = connect(settings.clickhouse), settings.clickhouse.table_suffix

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        query = query.replace("TICK", f"market_data.tick{self._suffix}")
        return list(self._client.execute(query.replace("DEPTH", f"market_data.depth{self._suffix}")))

    def close(self) -> None:
        self._client.disconnect()


def rows(settings: Settings, query: str) -> list[tuple[Any, ...]]:
    with closing(Database(settings)) as database:
        return database.rows(query)


def with_suffix(settings: Settings, suffix: str) -> Settings:
    return settings.model_copy(update={"clickhouse": settings.clickhouse.model_copy(update={"table_suffix": suffix})})


def ticks(of: str, price: float, where: str = "1") -> str:
    """Write an insert of a tick a second, of a symbol of a venue."""
    venue, symbol = of.split()
    return (
        "INSERT INTO TICK (event_time_us, venue, symbol, asset_class, kind, price, sequence_id, source_topic, "
        f"source_offset) SELECT {BEGIN_US} + number * 1000000, '{venue}', '{symbol}', 'CRYPTO', 'TRADE', {price}, "
        f"number, '{SOURCE}', number FROM numbers({ROWS}) WHERE {where}"
    )


@pytest.fixture
def live(server: Settings) -> Settings:
    """Live tables: ticks of two symbols of one venue and of another venue, one in two batches, and some depth."""
    settings = with_suffix(server, f"__live{uuid4().hex[:6]}")
    for name in {TABLES[topic.name].name for topic in CLEANED}:
        rows(settings, f"CREATE TABLE {name}{settings.clickhouse.table_suffix} AS {name}")
    for of in ("BINANCE ETH/USDT", "OKX BTC/USDT"):
        rows(settings, ticks(of, 1.0))
    for half in ("number < 500", "number >= 500"):
        rows(settings, ticks("BINANCE BTC/USDT", 1.0, half))
    rows(settings, f"INSERT INTO DEPTH (venue, symbol, event_time_us, source_topic, source_offset) SELECT 'BINANCE', "
                   f"'BTC/USDT', {BEGIN_US} + number * 1000000, '{SOURCE}', number FROM numbers({ROWS})")  # fmt: skip
    return settings


@pytest.fixture
def replay(live: Settings) -> Settings:
    """What was rebuilt: every second tick of the range, at another price; some stand there twice."""
    settings = with_suffix(live, f"{live.clickhouse.table_suffix}__fixed")
    for name in {TABLES[topic.name].name for topic in CLEANED}:
        rows(settings, f"CREATE TABLE {name}{settings.clickhouse.table_suffix} AS {name}")
    where = f"number >= {FROM} AND number < {TO} AND number % 2 = 0"
    rows(settings, ticks("BINANCE BTC/USDT", 2.0, where))
    rows(settings, ticks("BINANCE BTC/USDT", 2.0, f"{where} AND number < 400"))
    return settings


def span(**changes: Any) -> Range:
    wish = Wish(
        topic="raw.binance",
        into="fixed",
        symbols=frozenset({"BTC/USDT"}),
        from_us=BEGIN_US + FROM * 1_000_000,
        to_us=BEGIN_US + TO * 1_000_000,
    )
    return Range(**{"wish": wish, "source": SOURCE, "offsets": {0: (0, ROWS)}, **changes})


def inside(settings: Settings) -> tuple[Any, ...]:
    return rows(settings, f"SELECT count(), sum(price), uniqExact(source_offset) FROM TICK WHERE {INSIDE}")[0]


def outside(settings: Settings) -> list[tuple[Any, ...]]:
    return rows(
        settings,
        "SELECT venue, symbol, count(), sum(price), sum(source_offset) FROM TICK "
        f"WHERE NOT ({INSIDE}) AND venue != 'KRAKEN' GROUP BY ALL ORDER BY ALL",
    )


OLD, NEW = (TO - FROM, float(TO - FROM), TO - FROM), ((TO - FROM) // 2, float(TO - FROM), (TO - FROM) // 2)


@contextmanager
def running(*threads: "Writer | Reader") -> Iterator[None]:
    for each in threads:
        each.start()
    try:
        yield
    finally:
        for each in threads:
            each.stop()


class Writer(threading.Thread):
    """Writes rows of another venue into the same days, as a sink does that comes again when it is refused."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.written = self.refused = self.tries = 0
        self.failure: Exception | None = None
        self._settings = settings
        self._stopping = threading.Event()

    def stop(self) -> None:
        self._stopping.set()
        self.join()

    def run(self) -> None:
        try:
            with closing(Database(self._settings)) as database:
                while not self._stopping.is_set():
                    self._write(database)
                    self.tries += 1
        except Exception as error:  # noqa: BLE001  # told to the test
            self.failure = error

    def _write(self, database: Database) -> None:
        number = self.written
        try:
            database.rows(
                "INSERT INTO TICK (event_time_us, venue, symbol, asset_class, kind, source_offset) SELECT "
                f"{BEGIN_US} + {number} % {ROWS} * 1000000, 'KRAKEN', 'BTC/USDT', 'CRYPTO', 'TRADE', {number} "
                f"SETTINGS insert_deduplication_token = 'kraken{number}'"
            )
        except ServerException as error:
            if error.code != TOO_MANY_PARTS:
                raise
            self.refused += 1
        else:
            self.written += 1


class Reader(threading.Thread):
    """Reads what is in the range, one day at a time, again and again."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.seen: dict[int, set[tuple[Any, ...]]] = {}
        self._settings = settings
        self._stopping = threading.Event()

    def stop(self) -> None:
        self._stopping.set()
        self.join()

    def run(self) -> None:
        query = (
            f"SELECT intDiv(event_time_us, {DAY_US}) AS day, count(), sum(price) FROM TICK WHERE {INSIDE} GROUP BY day"
        )
        with closing(Database(self._settings)) as database:
            while not self._stopping.is_set():
                for day, *found in database.rows(query):
                    self.seen.setdefault(day, set()).add(tuple(found))


def test_exactly_the_range_is_replaced_at_once_and_nothing_is_lost_that_others_write(
    live: Settings, replay: Settings
) -> None:
    before = outside(live)
    writer, reader = Writer(live), Reader(live)
    with running(writer, reader):
        for _step in swap_tables(live, replay, span()):
            seen = writer.tries
            deadline_s = time.monotonic() + 30
            while writer.tries < seen + 2:
                assert time.monotonic() < deadline_s

    assert writer.refused > 0
    assert inside(live) == NEW
    assert outside(live) == before
    half = (TO - FROM) // 2
    assert reader.seen == {day: {(half, float(half)), (half // 2, float(half))} for day in (TODAY - 2, TODAY - 1)}
    assert writer.failure is None
    query = "SELECT count(), uniqExact(source_offset) FROM TICK WHERE venue = 'KRAKEN'"
    assert rows(live, query) == [(writer.written, writer.written)]
    assert rows(live, "SELECT count() FROM DEPTH WHERE symbol = 'BTC/USDT'") == [(ROWS - TO + FROM,)]


def days(settings: Settings, table: str) -> list[int]:
    """Count the rows of the range on each of its two days."""
    query = f"SELECT countIf(event_time_us < {MIDNIGHT_US}), countIf(event_time_us >= {MIDNIGHT_US}) FROM {table}"
    return list(rows(settings, f"{query} WHERE {INSIDE}")[0])


def lake(settings: Settings) -> list[tuple[int, float]]:
    """Read offset and price of each tick of the lake."""
    return [(offset, price) for _of, offset, price in seen(settings)]


@pytest.fixture
def both(live: Settings, replay: Settings, tmp_path: Path) -> tuple[Settings, Settings]:
    """Settings of live and rebuilt rows, the ticks of one symbol in lakes as well."""
    live, replay = (
        each.model_copy(
            update={
                "object_store": ObjectStore(root=str(tmp_path / name)),
                "kafka": each.kafka.model_copy(update={"topic_suffix": suffix}),
                "local": each.local.model_copy(update={"home": tmp_path / "home"}),
            }
        )
        for each, name, suffix in ((live, "lake", ""), (replay, "lake-fixed", ".fixed"))
    )
    for start in range(0, ROWS, 100):
        write(live, [lake_tick(number, 1.0) for number in range(start, start + 100)], start, start + 99)
    write(replay, [lake_tick(number, 2.0) for number in range(FROM, TO, 2)], 0, 99)
    return live, replay


def lake_tick(number: int, price: float) -> Tick:
    return msgspec.structs.replace(tick(number, price), event_time_us=BEGIN_US + number * 1_000_000)


DOOMED = (
    "staged",
    "closed",
    "checked",
    "put market_data.tick",
    "put market_data.depth",
    "planned",
    "wrote",
    "committed",
)
"""The kinds of steps of a swap, in their order; the first one of each kind counts."""


def swap_killed_at(live: Settings, replay: Settings, doomed: str) -> None:
    """Be a process that is killed once it has done a step of a swap."""
    for step in swap(live, replay, span()):
        if step.startswith(doomed):
            os.kill(os.getpid(), signal.SIGKILL)


def test_killed_between_any_two_steps_readers_see_the_old_or_the_new_and_the_next_one_goes_on(
    both: tuple[Settings, Settings],
) -> None:
    """One swap after another is killed, each a step later than the one before."""
    live, replay = both
    old_lake = [(number, 1.0) for number in range(ROWS)]
    new_lake = [(n, 2.0 if FROM <= n < TO else 1.0) for n in range(ROWS) if n % 2 == 0 or not FROM <= n < TO]
    before, place = outside(live), [False] * 5
    for number, doomed in enumerate(DOOMED):
        process = FORKED.Process(target=swap_killed_at, args=(live, replay, doomed))
        process.start()
        process.join(120)
        assert process.exitcode == -signal.SIGKILL, doomed
        undo_killed(live, replay)  # as `--resume` does first: sinks need not wait for the next swap
        rows(live, f"INSERT INTO TICK (venue, event_time_us, source_offset) SELECT 'KRAKEN', {BEGIN_US}, {number}")
        ticks_found, depth_found, lake_found = days(live, "TICK"), days(live, "DEPTH"), lake(live)
        assert set(ticks_found) <= {200, 100}
        assert set(depth_found) <= {200, 0}
        assert lake_found in (old_lake, new_lake)
        assert outside(live) == before
        now = [count < 200 for count in (*ticks_found, *depth_found)] + [lake_found == new_lake]
        assert all(after for was, after in zip(place, now, strict=True) if was)  # nothing goes back
        place = now

    list(swap(live, replay, span()))
    assert all(place)  # the last of those that were killed had only to remove what counts no more
    assert (inside(live), outside(live), lake(live)) == (NEW, before, new_lake)
    assert rows(live, "SELECT count() FROM TICK WHERE venue = 'KRAKEN'") == [(len(DOOMED),)]
    assert not [name for (name,) in rows(live, "SELECT name FROM system.tables") if name.endswith("__swap")]


def test_a_swap_waits_for_no_other_one(both: tuple[Settings, Settings]) -> None:
    live, replay = both
    with closing(swap(live, replay, span())) as first:
        assert next(first) == "staged"
        for another in (lambda: undo_killed(live, replay), lambda: next(swap(live, replay, span()))):
            with pytest.raises(UserError, match="another swap runs"):
                another()

    undo_killed(live, replay)


def test_rows_of_the_range_that_come_meanwhile_are_replaced_as_well(live: Settings, replay: Settings) -> None:
    before = outside(live)
    swap = swap_tables(live, replay, span())
    assert next(swap) == "staged"
    rows(live, ticks("BINANCE BTC/USDT", 5.0, f"number = {FROM} + 1"))
    list(swap)

    assert (inside(live), outside(live)) == (NEW, before)


def test_a_live_table_that_is_altered_meanwhile_is_left_as_it_was(live: Settings, replay: Settings) -> None:
    swap = swap_tables(live, replay, span())
    while next(swap) != "closed":
        pass
    rows(live, "ALTER TABLE TICK DELETE WHERE venue = 'OKX' SETTINGS mutations_sync = 2")
    left = outside(live)
    rows(live, "ALTER TABLE TICK RESET SETTING max_parts_in_total")
    rows(live, ticks("OKX ETH/USDT", 7.0))
    list(swap)

    assert inside(live) == NEW
    assert [row for row in outside(live) if row[0] == "OKX"] == [("OKX", "ETH/USDT", ROWS, 7.0 * ROWS, 499_500)]
    assert left == [row for row in outside(live) if row[0] != "OKX"]


def test_where_counts_do_not_agree_for_a_table_was_altered_by_hand_nothing_is_put_in_place(
    live: Settings, replay: Settings
) -> None:
    rebuilt = f"market_data.tick{replay.clickhouse.table_suffix}"
    before = outside(live)
    for altered, where, told in (
        (rebuilt + module.STAGING, "venue = 'OKX'", f"market_data.tick{live.clickhouse.table_suffix}"),
        (rebuilt, "source_offset < 400", rebuilt),
    ):
        swap_of_tables = swap_tables(live, replay, span())
        assert next(swap_of_tables) == "staged"
        rows(live, f"ALTER TABLE {altered} DELETE WHERE {where} SETTINGS mutations_sync = 2")
        with pytest.raises(UserError, match=f"{told} was altered meanwhile"):
            list(swap_of_tables)

        assert (inside(live), outside(live)) == (OLD, before)
        rows(live, "INSERT INTO TICK (venue) SELECT 'KRAKEN'")


def test_parts_that_are_merged_meanwhile_are_taken_in_again(live: Settings, replay: Settings) -> None:
    swap = swap_tables(live, replay, span())
    assert next(swap) == "staged"
    rows(live, ticks("OKX ETH/USDT", 7.0))
    before = outside(live)
    rows(live, "OPTIMIZE TABLE TICK FINAL")
    list(swap)

    assert (inside(live), outside(live)) == (NEW, before)


def test_what_nothing_was_rebuilt_of_is_taken_out_and_what_is_new_put_in(live: Settings, replay: Settings) -> None:
    rows(replay, "TRUNCATE TABLE TICK")
    rows(live, "TRUNCATE TABLE DEPTH")
    rows(replay, f"INSERT INTO DEPTH (venue, symbol, event_time_us, source_topic, source_offset) SELECT 'BINANCE', "
                 f"'BTC/USDT', {BEGIN_US} + {FROM} * 1000000, '{SOURCE}', {FROM}")  # fmt: skip
    list(swap_tables(live, replay, span()))

    assert inside(live)[0] == 0
    assert rows(live, "SELECT source_offset FROM DEPTH") == [(FROM,)]


def test_rows_of_raw_records_that_were_missing_or_not_read_stay(live: Settings, replay: Settings) -> None:
    list(swap_tables(live, replay, span(gaps={0: [(301, 303)]}, offsets={0: (0, 601)})))

    kept = rows(live, f"SELECT source_offset FROM TICK WHERE {INSIDE} AND price = 1 ORDER BY ALL")
    assert [offset for (offset,) in kept] == [301, 302, 303, *range(601, TO)]


def test_an_insert_that_does_not_end_ends_the_swap(live: Settings, replay: Settings, monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "INSERTS_WAIT_S", 0.3)
    monkeypatch.setattr(module._Swap, "_inserts", lambda _self: {"of-somebody"})

    with pytest.raises(UserError, match="does not end"):
        list(swap_tables(live, replay, span()))

    assert inside(live) == OLD
    rows(live, "INSERT INTO TICK (venue) SELECT 'KRAKEN'")


class Refusing:
    """Refuses to let inserts into ticks again, some times."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.times = 0
        run = module._Swap._run

        def refuse_or_run(swap: Any, query: str, values: dict[str, Any] | None = None) -> Any:
            if self.times and "market_data.tick_" in query and "RESET SETTING" in query:
                self.times -= 1
                raise UserError("ClickHouse refuses: Memory limit exceeded")
            return run(swap, query, values)

        monkeypatch.setattr(module._Swap, "_run", refuse_or_run)


def closed_tables(settings: Settings) -> list[str]:
    """Name the live tables that take no inserts."""
    query = (
        "SELECT concat(database, '.', name) FROM system.tables WHERE create_table_query LIKE '%max_parts_in_total = 1%'"
    )
    return [name for (name,) in rows(settings, query) if name.endswith(settings.clickhouse.table_suffix)]


def test_a_table_that_cannot_be_opened_at_once_is_opened_later(
    live: Settings, replay: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CLEAN_POLL_S", 0.01)
    refusing = Refusing(monkeypatch)
    refusing.times = 3
    list(swap_tables(live, replay, span()))

    assert (inside(live), refusing.times, closed_tables(live)) == (NEW, 0, [])


def test_a_table_that_cannot_be_opened_is_named_and_keeps_no_other_one_closed(
    live: Settings, replay: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CLEAN_WAIT_S", 0.0)
    refusing, name = Refusing(monkeypatch), f"market_data.tick{live.clickhouse.table_suffix}"
    refusing.times = 1
    with pytest.raises(UserError, match=f"refuses: .*: {name} may take no inserts; --resume or --drop"):
        list(swap_tables(live, replay, span()))

    assert closed_tables(live) == [name]
    open_tables(live, replay)
    assert closed_tables(live) == []


def test_a_part_that_holds_older_blocks_is_no_new_one() -> None:
    known = frozenset({Part("a", 1, 1), Part("b", 2, 2)})

    assert newer(known, known) == []
    assert newer(known, known | {Part("c", 3, 3)}) == [Part("c", 3, 3)]
    assert newer(known, frozenset({Part("m", 1, 2)})) is None
    assert newer(known, frozenset({Part("m", 1, 2), Part("c", 3, 3)})) is None

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks.clickhouse_client import connect
from sinks.migrations import EXPIRING, Migration, apply, keep, migrate, ordered, read_migrations, statements
from sinks.tables import RAW, TABLES
from tickerplant.errors import UserError

ONE = Migration(1, "0001_one.sql", "CREATE TABLE IF NOT EXISTS default.one (a Int64) ENGINE = Memory;")
TWO = Migration(2, "0002_two.sql", "INSERT INTO default.one SELECT 1; INSERT INTO default.one SELECT 2;")


@pytest.fixture
def client(gateway: Any) -> Iterator[Any]:
    """A client of a ClickHouse in which nothing of these tests was done."""
    found = connect(gateway.settings.clickhouse)
    found.execute("DROP TABLE IF EXISTS default.one")
    found.execute("DROP TABLE IF EXISTS metadata.migrations")
    yield found
    found.execute("DROP TABLE IF EXISTS metadata.migrations")
    found.disconnect()


def columns(client: Any, table: str) -> dict[str, str]:
    return dict(row[:2] for row in client.execute(f"DESCRIBE TABLE {table}"))


def test_migrations_are_applied_once_each_in_order(client: Any) -> None:
    first = apply(client, [ONE], now_us=lambda: 5)
    second = apply(client, [ONE, TWO], now_us=lambda: 6)
    third = apply(client, [ONE, TWO], now_us=lambda: 7)
    rows = client.execute("SELECT a FROM default.one ORDER BY a")

    assert (first, second, third) == (["0001_one.sql"], ["0002_two.sql"], [])
    assert rows == [(1,), (2,)]


def test_a_changed_migration_is_refused(client: Any) -> None:
    apply(client, [ONE], now_us=lambda: 5)

    with pytest.raises(UserError, match=r"0001_one\.sql was changed"):
        apply(client, [replace(ONE, text=ONE.text + " ")], now_us=lambda: 6)


def test_a_database_newer_than_this_version_is_refused(client: Any) -> None:
    apply(client, [ONE, TWO], now_us=lambda: 5)

    with pytest.raises(UserError, match="older than the database"):
        apply(client, [ONE], now_us=lambda: 6)


def test_a_migration_that_failed_is_not_recorded(client: Any) -> None:
    broken = Migration(2, "0002_two.sql", "SELECT nonsense;")
    with pytest.raises(Exception, match="nonsense"):
        apply(client, [ONE, broken], now_us=lambda: 5)
    done = client.execute("SELECT name FROM metadata.migrations")

    assert done == [("0001_one.sql",)]


def test_all_migrations_of_this_version_apply_and_twice_is_once(gateway: Any, client: Any) -> None:
    first, second = migrate(gateway.settings), migrate(gateway.settings)

    assert first == [each.name for each in read_migrations()]
    assert second == []


def test_every_stored_record_has_a_table_with_its_columns(gateway: Any, client: Any) -> None:
    migrate(gateway.settings)
    joined = {"bid_prices", "bid_sizes", "ask_prices", "ask_sizes"}
    missing = {
        table.name: set(table.schema.names) - joined - set(columns(client, table.name))
        for table in [RAW, *TABLES.values()]
    }

    assert {name: set() for name in missing} == missing


def test_bars_show_their_newest_revision(gateway: Any, client: Any) -> None:
    migrate(gateway.settings)
    client.execute("TRUNCATE TABLE market_data.bars")
    for revision, close in ((0, 1.0), (1, 2.0)):
        client.execute(
            "INSERT INTO market_data.bars (timestamp, symbol, venue, asset_class, interval, close, revision) "
            f"SELECT toDateTime(1795219200, 'UTC'), 'BTC/USDT', 'BINANCE', 'CRYPTO', '1m', {close}, {revision}"
        )

    assert client.execute("SELECT close FROM market_data.bars_latest") == [(2.0,)]


def test_retention_follows_the_settings(gateway: Any, client: Any) -> None:
    migrate(gateway.settings)
    query = "SELECT create_table_query FROM system.tables WHERE database = 'market_data' AND name = 'tick'"
    keep(client, 7)
    short = client.execute(query)[0][0]
    keep(client, 3650)
    long = client.execute(query)[0][0]

    assert "toIntervalDay(7)" in short
    assert "toIntervalDay(3650)" in long


def test_bars_mappings_and_runs_never_expire() -> None:
    kept = {"market_data.bars", "symbols.mapping", "metadata.ingestion_runs", "stocks.historical_eod"}

    assert kept.isdisjoint(EXPIRING)


def test_numbers_without_holes_are_demanded() -> None:
    with pytest.raises(UserError, match=r"0001, 0002"):
        ordered([ONE, replace(TWO, number=3)])


def test_semicolons_in_strings_and_comments_end_nothing() -> None:
    text = "-- a; b\nSELECT 'x;\\'y''z', `a;b`, 1 - 2;\n-- more;\nSELECT \"q;\" ;\n\n-- end"

    assert list(statements(text)) == ["SELECT 'x;\\'y''z', `a;b`, 1 - 2", 'SELECT "q;"']


@given(st.lists(st.text(alphabet="abc (),'", min_size=1).filter(lambda s: s.strip() and s.count("'") % 2 == 0)))
def test_joined_statements_are_split_again(parts: list[str]) -> None:
    assert list(statements(";\n".join(parts))) == [part.strip() for part in parts]

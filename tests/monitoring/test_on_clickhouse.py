"""Every panel that asks ClickHouse gets rows, of the shape that Grafana draws, over HTTP as its plugin may."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from sinks.clickhouse_client import connect
from sinks.migrations import migrate

NOW_US = 1_795_248_000_000_000
SECOND_US = 1_000_000
TABLES = ("market_data.tick", "market_data.depth", "metadata.quality")
VENUES = ("BINANCE", "KRAKEN", "OKX")
Dashboards = dict[str, dict[str, Any]]
Ask = Callable[..., list[dict[str, Any]]]


def tick(second: int, venue: str, **columns: Any) -> dict[str, Any]:
    event_time_us = NOW_US + second * SECOND_US
    return {"event_time_us": event_time_us, "venue": venue, "symbol": "BTC/USDT", "price": 100.0, **columns}


def rows_of_a_market() -> Iterator[tuple[str, dict[str, Any]]]:
    """Three venues; one is dear for a second, one has an outlier, and one a book of two levels a side."""
    for second in range(3):
        for venue in VENUES:
            mid = 100.5 if (venue, second) == ("KRAKEN", 1) else 100.0
            yield "market_data.tick", tick(second, venue, kind="QUOTE", bid=mid - 0.5, ask=mid + 0.5)
            yield "market_data.tick", tick(second, venue, kind="TRADE", price=mid, sequence_id=1)
    yield "market_data.tick", tick(2, "OKX", kind="TRADE", price=500.0, flags="LATE,OUTLIER", sequence_id=2)
    yield "market_data.tick", tick(2, "OKX", kind="AGG_TRADE", price=500.0, flags="OUTLIER", sequence_id=3)
    levels = {"bids": [(99.99, 2.0), (99.95, 4.0)], "asks": [(100.01, 1.0), (100.5, 9.0)]}
    for second in (0, 1):
        yield "market_data.depth", tick(second, "OKX", is_snapshot=True, **levels)
    yield "market_data.depth", tick(2, "OKX", is_snapshot=False, bids=[(99.98, 7.0)])
    yield "market_data.depth", tick(2, "OKX", is_snapshot=True, bids=[], asks=levels["asks"])
    yield "metadata.quality", tick(0, "OKX", kind="GAP", count=3, channel="trade", from_sequence=4, to_sequence=6)
    yield (
        "metadata.quality",
        tick(9, "OKX", kind="NOT_HEALED", count=1, channel="trade", from_sequence=4, to_sequence=6),
    )
    yield "metadata.quality", tick(1, "OKX", kind="FRAME_LOSS", count=2, symbol="", detail="connection 7")


@pytest.fixture(scope="module")
def market(gateway: Any) -> Any:
    """A ClickHouse that holds `rows_of_a_market` and nothing else."""
    migrate(gateway.settings)
    client = connect(gateway.settings.clickhouse)
    for table in TABLES:
        client.execute(f"TRUNCATE TABLE {table}")
    for offset, (table, row) in enumerate(rows_of_a_market()):
        full = {"source_topic": "raw.x", "source_offset": offset} | row
        full = {name: value for name, value in full.items() if table == "market_data.tick" or name != "price"}
        client.execute(f"INSERT INTO {table} ({', '.join(full)}) VALUES", [list(full.values())])
    client.disconnect()
    return gateway


def chosen(sql: str, venue: str, symbol: str) -> str:
    """Put in what Grafana does: the range in ms, an interval, and regular expressions of what was chosen."""
    values = {
        "${__from}": NOW_US // 1000,
        "${__to}": NOW_US // 1000 + 4000,
        "$__interval_ms": 1000,
        "${venue:regex}": venue,
        "${symbol:regex}": symbol,
    }
    for name, value in values.items():
        sql = sql.replace(name, str(value))
    assert not re.search(r"\$[{_a-z]", sql), "something else is put in by nobody"
    return sql


@pytest.fixture
def ask(market: Any, dashboards: Dashboards) -> Ask:
    """Ask what a panel asks; returns rows by column, in their order."""
    clickhouse = market.settings.clickhouse
    panels = {panel["title"]: panel for each in dashboards.values() for panel in each["panels"]}

    def answer(title: str, letter: str = "A", *, venue: str = ".*", symbol: str = ".*") -> list[dict[str, Any]]:
        [sql] = [each["rawSql"] for each in panels[title]["targets"] if each["refId"] == letter]
        url = f"http://{clickhouse.host}:{clickhouse.http_port}/"
        text = f"{chosen(sql, venue, symbol)} FORMAT JSONEachRow"
        got = httpx.post(url, params={"readonly": "2"}, content=text, timeout=30)
        assert got.status_code == 200, got.text
        return [json.loads(line) for line in got.text.splitlines()]

    return answer


def test_every_question_to_clickhouse_has_an_answer(ask: Ask, dashboards: Dashboards) -> None:
    asked = [
        (panel["title"], target["refId"], target["format"])
        for dashboard in dashboards.values()
        for panel in dashboard["panels"]
        for target in panel.get("targets", [])
        if "rawSql" in target
    ]

    assert len(asked) == 7
    for title, letter, form in asked:
        rows = ask(title, letter)
        assert rows, title
        assert form == 1 or list(rows[0])[:2] == ["time", "series"], "a series for each name is time, name, number"


def test_only_what_is_chosen_is_drawn(ask: Ask) -> None:
    assert {row["series"] for row in ask("Price with outliers", venue="(OKX|KRAKEN)")} == {
        "KRAKEN BTC/USDT",
        "OKX BTC/USDT",
    }
    assert ask("Price with outliers", venue="OKX", symbol=r"BTC\/USDT")
    assert ask("Price with outliers", symbol="BTC") == []


def test_outliers_are_points_beside_the_price_and_not_in_it(ask: Ask, dashboards: Dashboards) -> None:
    [panel] = [each for each in dashboards["data-quality"]["panels"] if each["title"] == "Price with outliers"]
    [override] = panel["fieldConfig"]["overrides"]
    [outlier] = ask("Price with outliers", "B")

    assert (outlier["series"], outlier["price"]) == ("OKX BTC/USDT outlier", 500.0)
    assert re.search(override["matcher"]["options"].strip("/"), outlier["series"])
    assert [row["price"] for row in ask("Price with outliers", venue="OKX")] == [100.0] * 3


def test_a_dear_venue_stands_out_by_its_distance_from_the_median(ask: Ask) -> None:
    told = [(row["series"], round(row["bps"], 2)) for row in ask("Deviation from the median of venues", venue="KRAKEN")]

    assert told == [("KRAKEN BTC/USDT", 0.0), ("KRAKEN BTC/USDT", 49.88), ("KRAKEN BTC/USDT", 0.0)]


def test_the_book_is_drawn_by_distance_from_its_mid_in_quote_currency(ask: Ask) -> None:
    rows = ask("Depth around the mid")
    buckets = [int(name) for name in list(rows[0])[1:]]

    assert len(rows) == 2
    assert buckets == list(range(-24, 24, 2))
    assert {name: round(size, 3) for name, size in rows[0].items() if name != "time" and size} == {
        "-6": 399.8,
        "-2": 199.98,
        "+0": 100.01,
    }


def test_what_is_missing_is_told_by_symbol_and_by_connection(ask: Ask) -> None:
    told = [(row["symbol"], row["kind"], row["items"]) for row in ask("Events by symbol")]

    assert told == [("BTC/USDT", "GAP", 3), ("", "FRAME_LOSS", 2)]
    assert [(row["series"], row["ids"]) for row in ask("Missing ids and frames by symbol")] == [
        ("OKX BTC/USDT healed", 2),
        ("OKX BTC/USDT missing", 3),
        ("OKX BTC/USDT still missing", 1),
        ("OKX healed", 0),
        ("OKX missing", 2),
        ("OKX still missing", 2),
    ]
    assert [(row["covered"], row["ticks"]) for row in ask("Seconds with ticks", venue="OKX")] == [(0.75, 8)]

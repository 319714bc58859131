import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from clickhouse_driver.errors import ServerException

from schemas.records import DeadLetter, Depth, Frame, Instrument, QualityEvent, RawFrames, Signal, Source
from sinks.clickhouse import ClickHouseStore, salvage, token
from sinks.clickhouse_client import connect
from sinks.migrations import migrate
from sinks.store import Refused, StoreBusyError
from sinks.tables import RAW
from sinks.tables import TABLES as STORED
from sinks.together import Threads
from tickerplant.errors import UserError
from tickerplant.settings import Settings

NOW_US = 1_795_248_000_000_000
POINTS = [f"{when}:{what}" for what in ("intent", "write", "done") for when in ("before", "after")]
TABLES = (
    *("market_data.tick", "market_data.depth", "market_data.tick_raw", "symbols.mapping", "metadata.dead_letters"),
    "features.market_signals",
)


@pytest.fixture
def client(gateway: Any) -> Iterator[Any]:
    """A client of a deployed ClickHouse with empty tables."""
    migrate(gateway.settings)
    found = connect(gateway.settings.clickhouse)
    for table in TABLES:
        found.execute(f"TRUNCATE TABLE {table}")
    yield found
    found.execute("ALTER TABLE market_data.tick DROP CONSTRAINT IF EXISTS modest")
    found.disconnect()


@pytest.fixture
def store(gateway: Any, client: Any) -> Iterator[ClickHouseStore]:
    found = ClickHouseStore(gateway.settings)
    found.open()
    yield found
    found.close()


def depth(offset: int, bids: int, asks: int) -> Depth:
    return Depth(
        event_time_us=NOW_US,
        venue="BINANCE",
        symbol="BTC/USDT",
        is_snapshot=True,
        snapshot_id=7,
        bid_prices=[100.0 - level for level in range(bids)],
        bid_sizes=[float(level) for level in range(bids)],
        ask_prices=[101.0 + level for level in range(asks)],
        ask_sizes=[2.0] * asks,
        source_topic="raw.binance",
        source_offset=offset,
    )


def raw(*payloads: bytes) -> RawFrames:
    frames = [
        Frame(source=0, number=number, kind="HTTP", request="http://x/", recv_time_us=5, payload=payload)
        for number, payload in enumerate(payloads)
    ]
    sources = [Source(market="spot", connection="spot-p0-0-a-1")]
    return RawFrames(venue="BINANCE", event_time_us=NOW_US, sources=sources, frames=frames)


def count(client: Any, table: str = "market_data.tick") -> int:
    return int(client.execute(f"SELECT count() FROM {table}")[0][0])


def test_every_column_of_a_tick_comes_back(client: Any, store: ClickHouseStore, tick: Any, chunk: Any) -> None:
    quote = tick(
        1, kind="QUOTE", bid=99.5, ask=100.5, bid_size=1.0, ask_size=math.nan, flags="CROSSED,LATE", side="UNKNOWN"
    )
    trade = tick(2, side="SELL", trade_id="a\x00b€", price=math.inf, venue_sequence=-1)
    store.write(chunk([quote, trade]))
    names = list(quote.__struct_fields__)
    found = client.execute(f"SELECT {', '.join(names)} FROM market_data.tick ORDER BY source_offset")
    expected = [tuple(getattr(each, name) for name in names) for each in (quote, trade)]

    assert repr(expected) == repr(found)


def test_books_come_back_as_arrays_of_price_and_size(client: Any, store: ClickHouseStore, chunk: Any) -> None:
    store.write(chunk([depth(1, 2, 1), depth(2, 0, 0), depth(3, 0, 1)], topic="cleaned.depth"))
    found = client.execute("SELECT bids, asks, snapshot_id, is_snapshot FROM market_data.depth ORDER BY source_offset")
    expected = [
        ([(100.0, 0.0), (99.0, 1.0)], [(101.0, 2.0)], 7, True),
        ([], [], 7, True),
        ([], [(101.0, 2.0)], 7, True),
    ]

    assert expected == found


def signal(offset: int, **fields: Any) -> Signal:
    names = (
        *("mid_returns", "mid_volatilities", "trade_rates", "volumes", "vwaps", "signed_volumes", "trade_imbalances"),
        *("order_flow_imbalances", "illiquidities"),
    )
    windows: dict[str, Any] = {"windows_s": [1, 60]} | {name: [None, offset + 0.5] for name in names}
    every = {"event_time_us": NOW_US, "exchange_time_us": NOW_US, "venue": "BINANCE", "symbol": "BTC/USDT"}
    return Signal(**(every | windows | fields), source_topic="raw.binance", source_offset=offset)


def test_features_come_back_with_null_where_there_is_no_data(client: Any, store: ClickHouseStore, chunk: Any) -> None:
    rows = [signal(1, mid=100.5, book_imbalance_20=-0.5), signal(2, windows_s=[], volumes=[], flags="SHIFTED")]
    store.write(chunk(rows, topic="features.signal"))
    names = list(rows[0].__struct_fields__)
    found = client.execute(f"SELECT {', '.join(names)} FROM features.market_signals ORDER BY source_offset")
    expected = [tuple(getattr(each, name) for name in names) for each in rows]

    assert found == expected


def test_features_over_a_minute_have_columns_of_their_own(client: Any, store: ClickHouseStore, chunk: Any) -> None:
    other = signal(2, windows_s=[1, 10], book_imbalance_5=0.5)
    store.write(chunk([signal(1), other], topic="features.signal"))
    found = client.execute(
        "SELECT vwap, mid_return, book_imbalance FROM features.market_signals ORDER BY source_offset"
    )

    assert found == [(1.5, 1.5, None), (None, None, 0.5)]


def test_features_can_be_read_a_row_for_each_window(client: Any, store: ClickHouseStore, chunk: Any) -> None:
    store.write(chunk([signal(1, mid=100.5)], topic="features.signal"))
    found = client.execute("SELECT window_s, mid, vwap, illiquidity FROM features.by_window ORDER BY window_s")

    assert found == [(1, 100.5, None, None), (60, 100.5, 1.5, 1.5)]


def test_any_bytes_of_any_size_come_back_from_the_raw_table(client: Any, store: ClickHouseStore, chunk: Any) -> None:
    large = bytes(range(256)) * 40_000
    store.write(chunk([raw(b"", b"\xff\x00\xfe", large)], topic="raw.binance"))
    found = client.execute(
        "SELECT source_offset, source_index, number, length(payload), hex(left(payload, 3)), hex(MD5(payload)) "
        "= hex(MD5(repeat(unhex(%(hex)s), 40000))) FROM market_data.tick_raw ORDER BY source_index",
        {"hex": bytes(range(256)).hex()},
    )
    expected = [(0, 0, 0, 0, "", 0), (0, 1, 1, 3, "FF00FE", 0), (0, 2, 2, len(large), "000102", 1)]

    assert expected == found


@pytest.mark.parametrize("is_doubtful", [False, True])
def test_a_chunk_written_twice_is_there_once(
    client: Any, store: ClickHouseStore, tick: Any, chunk: Any, is_doubtful: bool
) -> None:
    ticks = [tick(offset) for offset in range(100)]
    store.write(chunk(ticks))
    store.write(chunk(ticks, doubtful=is_doubtful))

    assert count(client) == 100


def test_equal_rows_of_different_offsets_are_all_kept(
    client: Any, store: ClickHouseStore, tick: Any, chunk: Any
) -> None:
    for start in (0, 10, 20):
        store.write(chunk([tick(start + index, price=1.0) for index in range(10)], start=start))
    client.execute("OPTIMIZE TABLE market_data.tick FINAL")

    assert count(client) == 30


def test_a_doubtful_chunk_adds_only_what_the_table_lacks(
    client: Any, store: ClickHouseStore, tick: Any, chunk: Any
) -> None:
    store.write(chunk([tick(offset) for offset in range(5)], start=1000))
    store.write(chunk([tick(offset) for offset in range(10)], doubtful=True))

    assert count(client) == 10


def test_a_chunk_over_midnight_is_there_once_after_two_writes(
    client: Any, store: ClickHouseStore, tick: Any, chunk: Any
) -> None:
    ticks = [tick(offset, event_time_us=NOW_US + offset * 3_600_000_000) for offset in range(200)]
    store.write(chunk(ticks))
    store.write(chunk(ticks))

    assert count(client) == 200


def test_a_row_that_the_table_refuses_is_named_and_the_others_are_stored(
    client: Any, store: ClickHouseStore, tick: Any, chunk: Any
) -> None:
    client.execute("ALTER TABLE market_data.tick ADD CONSTRAINT modest CHECK price < 1000")
    ticks = [tick(offset, price=5000.0 if offset in {3, 17} else 1.0) for offset in range(20)]
    refused = [*store.write(chunk(ticks)), *store.write(chunk(ticks, doubtful=True))]

    assert [each.row for each in refused] == [3, 17, 3, 17]
    assert "modest" in refused[0].reason
    assert count(client) == 18


def test_a_row_that_the_driver_refuses_is_named_and_the_others_are_stored(
    client: Any, store: ClickHouseStore, tick: Any, chunk: Any
) -> None:
    refused = store.write(chunk([tick(0), tick(1, kind="BOGUS"), tick(2)]))

    assert [each.row for each in refused] == [1]
    assert "BOGUS" in refused[0].reason
    assert count(client) == 2


def test_a_table_that_refuses_everything_stops_the_sink(
    client: Any, store: ClickHouseStore, tick: Any, chunk: Any
) -> None:
    client.execute("ALTER TABLE market_data.tick ADD CONSTRAINT modest CHECK price < 0")

    with pytest.raises(UserError, match="refuses more than 100 rows"):
        store.write(chunk([tick(offset) for offset in range(300)]))


def test_refused_rows_are_found_by_halving(tick: Any, chunk: Any) -> None:
    rows = chunk([tick(offset) for offset in range(50)]).rows
    kept: list[int] = []

    def insert(part: Any, _suffix: str) -> None:
        offsets = part["source_offset"].to_pylist()
        if {7, 8, 49} & set(offsets):
            raise ServerException("no", code=469)
        kept.extend(offsets)

    refused = salvage(rows, range(50), insert)

    assert [each.row for each in refused] == [7, 8, 49]
    assert kept == [offset for offset in range(50) if offset not in {7, 8, 49}]


def test_tokens_of_halves_differ_and_are_the_same_each_time(tick: Any, chunk: Any) -> None:
    rows = chunk([tick(offset) for offset in range(9)]).rows
    tries: list[list[str]] = [[], []]

    def insert(suffixes: list[str], part: Any, suffix: str) -> None:
        suffixes.append(suffix)
        if 4 in part["source_offset"].to_pylist():
            raise ServerException("no", code=469)

    for suffixes in tries:
        salvage(rows, range(9), partial(insert, suffixes))

    assert tries[0] == tries[1]
    assert len(set(tries[0])) == len(tries[0])


def test_so_many_refused_rows_that_the_fault_lies_elsewhere_stop_the_sink(tick: Any, chunk: Any) -> None:
    rows = chunk([tick(offset) for offset in range(300)]).rows

    def insert(_part: Any, _suffix: str) -> None:
        raise ServerException("no", code=53)

    with pytest.raises(UserError, match="refuses more than 100 rows"):
        salvage(rows, range(300), insert)


def test_a_missing_table_is_a_clear_error(own_gateway: Any, tick: Any, chunk: Any) -> None:
    store = ClickHouseStore(own_gateway.settings)

    with pytest.raises(UserError, match="tickerplant deploy"):
        store.write(chunk([tick(0)]))


def test_a_store_that_went_away_is_busy_and_then_used_again(own_gateway: Any, tick: Any, chunk: Any) -> None:
    migrate(own_gateway.settings)
    store = ClickHouseStore(own_gateway.settings)
    store.open()
    store.write(chunk([tick(0)]))
    own_gateway.stop()
    with pytest.raises(StoreBusyError):
        store.write(chunk([tick(1)], start=1))
    with pytest.raises(StoreBusyError):
        store.write(chunk([tick(1)], start=1))
    own_gateway.start()
    refused: list[Refused] = [*store.write(chunk([tick(1)], start=1)), *store.write(chunk([tick(0)]))]
    found = connect(own_gateway.settings.clickhouse)

    assert refused == []
    assert count(found) == 2
    found.disconnect()
    store.close()


def test_chunks_written_at_the_same_time_are_each_there_once(
    client: Any, store: ClickHouseStore, tick: Any, chunk: Any
) -> None:
    ticks = [tick(offset) for offset in range(60)]
    chunks = [chunk(ticks[first : first + 10], start=first) for first in range(0, 60, 10)]
    write = Threads(store.limits.together)
    for _ in range(2):
        write([partial(store.write, each) for each in chunks])

    assert count(client) == 60


def test_the_newest_instrument_of_a_venue_symbol_stands(client: Any, store: ClickHouseStore, chunk: Any) -> None:
    older, newer = (
        Instrument(
            event_time_us=NOW_US + age,
            venue="BINANCE",
            market="spot",
            venue_symbol="BTCUSDT",
            symbol="BTC/USDT",
            asset_class="CRYPTO",
            kind="SPOT",
            base="BTC",
            quote="USDT",
            tick_size=tick_size,
            source_topic="raw.binance",
            source_offset=age,
        )
        for age, tick_size in ((0, 0.01), (1, 0.1))
    )
    store.write(chunk([older, newer], topic="reference.instrument"))
    found = client.execute("SELECT symbol, tick_size, is_assumed FROM symbols.mapping FINAL")

    assert found == [("BTC/USDT", 0.1, False)]


def test_letters_of_two_sinks_about_one_record_are_both_kept(client: Any, store: ClickHouseStore, chunk: Any) -> None:
    letters = [
        DeadLetter(event_time_us=NOW_US, stage=stage, reason="r", payload=b"\xff", source_topic="cleaned.tick")
        for stage in ("sink.clickhouse", "sink.parquet")
    ]
    store.write(chunk(letters[:1], topic="dlq.sink"))
    store.write(chunk(letters, topic="dlq.sink", doubtful=True))

    assert count(client, "metadata.dead_letters") == 2


def test_quality_events_are_stored(client: Any, store: ClickHouseStore, chunk: Any) -> None:
    client.execute("TRUNCATE TABLE metadata.quality")
    event = QualityEvent(event_time_us=NOW_US, venue="BINANCE", symbol="BTC/USDT", kind="GAP", from_sequence=3)
    store.write(chunk([event], topic="quality.event"))

    assert client.execute("SELECT kind, from_sequence, count FROM metadata.quality") == [("GAP", 3, 1)]


def test_views_show_trades_and_quotes_apart(client: Any, store: ClickHouseStore, tick: Any, chunk: Any) -> None:
    store.write(chunk([tick(0), tick(1, kind="QUOTE", bid=1.0, ask=2.0), tick(2, kind="AGG_TRADE")]))
    trades = client.execute("SELECT price, toUnixTimestamp64Micro(event_time) FROM market_data.trades")
    quotes = client.execute("SELECT bid, ask, exchange_time FROM market_data.quotes")

    assert trades == [(100.0, NOW_US)]
    assert quotes == [(1.0, 2.0, None)]


@pytest.mark.parametrize("point", POINTS)
def test_a_crash_at_any_point_leaves_each_row_once(
    client: Any, store: ClickHouseStore, repeating: Any, faults: Any, *, point: str
) -> None:
    repeating.real_store = store
    repeating.dies(faults(at=point, count=2))
    repeating.run()
    found = client.execute("SELECT source_offset FROM market_data.tick ORDER BY source_offset")

    assert [(offset,) for offset in range(10)] == found


def test_a_group_that_lost_its_offsets_doubles_nothing(
    client: Any, store: ClickHouseStore, world: Any, tick: Any, value: Any
) -> None:
    world.real_store = store
    world.broker.append(("cleaned.tick", 0), *(value(tick(offset)) for offset in range(10)))
    world.run()
    world.broker.committed.clear()
    world.limits = type(world.limits)(rows=3, size_bytes=10_000, age_s=1.0)
    world.run()

    assert count(client) == 10


@pytest.mark.parametrize("point", POINTS)
def test_a_crash_while_all_is_read_again_doubles_nothing(
    client: Any, store: ClickHouseStore, repeating: Any, faults: Any, *, point: str
) -> None:
    repeating.real_store = store
    repeating.run()
    repeating.broker.committed.clear()
    repeating.limits = type(repeating.limits)(rows=3, size_bytes=10_000, age_s=1.0)
    repeating.dies(faults(at=point, count=2))
    repeating.run()

    assert count(client) == 10


def test_a_token_names_table_place_range_and_generation(tick: Any, chunk: Any) -> None:
    assert token(chunk([tick(0), tick(1)], start=5)) == "market_data.tick:cleaned.tick:0:5-6:r1"


def test_nobody_at_the_port_is_a_clear_error() -> None:
    settings = Settings.model_validate({"clickhouse": {"port": 1}})

    with pytest.raises(UserError, match=r"clickhouse does not answer at 127\.0\.0\.1:1"):
        ClickHouseStore(settings).open()


@pytest.fixture
def altered(gateway: Any, client: Any) -> Iterator[tuple[Any, ClickHouseStore]]:
    """A client, and a store with tables of its own to be altered: their names end in `__altered`."""
    names = sorted({table.name for table in (RAW, *STORED.values())})
    for name in names:
        client.execute(f"CREATE TABLE {name}__altered AS {name}")
    own = gateway.settings.clickhouse.model_copy(update={"table_suffix": "__altered"})
    found = ClickHouseStore(gateway.settings.model_copy(update={"clickhouse": own}))
    yield client, found
    found.close()
    for name in names:
        client.execute(f"DROP TABLE {name}__altered SYNC")


@pytest.mark.parametrize("change", ["DROP COLUMN trade_id", "MODIFY COLUMN quantity String"])
def test_a_table_altered_under_a_running_sink_is_told_in_one_line(
    altered: Any, tick: Any, chunk: Any, *, change: str
) -> None:
    client, store = altered
    store.open()
    client.execute(f"ALTER TABLE market_data.tick__altered {change}")

    with pytest.raises(UserError, match=r"\Atable market_data\.tick__altered of ClickHouse was altered: .*\Z"):
        store.write(chunk([tick(0)]))
    with pytest.raises(UserError, match=r"\Atable market_data\.tick__altered of ClickHouse was altered: .*\Z"):
        store.open()


def test_what_an_owner_adds_to_a_table_is_left_alone(altered: Any, tick: Any, chunk: Any) -> None:
    client, store = altered
    for change in ("ADD COLUMN mine String DEFAULT 'x'", "MODIFY COLUMN trade_id LowCardinality(String)"):
        client.execute(f"ALTER TABLE market_data.tick__altered {change}")
    store.open()

    assert store.write(chunk([tick(0)])) == []
    assert client.execute("SELECT mine FROM market_data.tick__altered") == [("x",)]

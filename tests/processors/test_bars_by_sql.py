"""The query of docs/bars.md, on ClickHouse's engine over the ticks beside them, gives the bars that were told."""

import json
import subprocess
import sys
from math import isclose
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from fuzz.seeds import whole_messages
from schemas.arrow import arrow_schema
from schemas.records import Bar, Frame, Tick

DOCS = Path(__file__).parents[2] / "docs" / "bars.md"
QUERY = "import sys, chdb; print(chdb.query(sys.argv[1], 'JSONEachRow'))"
EXACT = ("open", "high", "low", "close", "trade_count", "first_trade_id", "last_trade_id")
ROUNDED = ("volume", "quote_volume", "vwap", "buy_volume")
SECOND_US = 1_000_000


def by_sql(ticks: list[Tick], folder: Path, length_us: int) -> dict[tuple[str, int], dict[str, Any]]:
    """Run the documented query; a process holds one engine, so it has one of its own."""
    rows = [msgspec.structs.asdict(each) for each in ticks]
    pq.write_table(pa.Table.from_pylist(rows, arrow_schema(Tick)), folder / "tick.parquet")
    sql = DOCS.read_text(encoding="utf-8").partition("```sql\n")[2].partition("```")[0]
    sql = sql.replace("market_data.tick FINAL", f"file('{folder}/tick.parquet')")
    if length_us > 60 * SECOND_US:
        minute, end = "toStartOfMinute(", f", INTERVAL {length_us // SECOND_US} SECOND) AS timestamp"
        sql = sql.replace(minute, "toStartOfInterval(").replace(") AS timestamp", end)
    sql = f"SELECT * REPLACE(toUnixTimestamp(timestamp) AS timestamp, toInt32(trade_count) AS trade_count) FROM ({sql})"
    out = subprocess.run([sys.executable, "-c", QUERY, sql], capture_output=True, text=True, check=True).stdout
    found = [json.loads(line) for line in out.splitlines() if line]
    return {(row["symbol"], row["timestamp"] * SECOND_US): row for row in found}


def hold(bars: list[Bar], interval: str, rows: dict[tuple[str, int], dict[str, Any]]) -> None:
    newest = {(each.symbol, each.open_time_us): each for each in bars if each.interval == interval}
    told = {place: each for place, each in newest.items() if each.trade_count}
    assert told.keys() == rows.keys()
    for place, bar in told.items():
        assert [getattr(bar, name) for name in EXACT] == [rows[place][name] for name in EXACT]
        for name in ROUNDED:
            ours, theirs = getattr(bar, name), rows[place][name]
            assert ours == theirs or isclose(ours, theirs, rel_tol=1e-12), name


def trades(run: Any, random: Random) -> list[Frame]:
    """Make trades of 10 minutes: many of one time, out of order, late, without a time, of times that are wrong."""
    frames, numbers = [], list(range(1, 400))
    for start in range(0, 400, 9):
        numbers[start : start + 9] = random.sample(numbers[start : start + 9], len(numbers[start : start + 9]))
    for number in numbers:
        late_ms = random.choice([0, 0, 500, 70_000])
        time_ms = (run.feed.recv_time_us // 1000 - late_ms) // 1000 * 1000 + random.choice([0, 0, 0, 1_200_000])
        price, size = f"{100 + random.randrange(50) / 7:.4f}", f"{random.choice([0, 1, 3, 7]) / 10}"
        fields = {"t": number, "p": price, "q": size, "m": random.random() < 0.5}
        fields["T"] = time_ms if number % 40 else 0
        frames.append(run.feed.message("btcusdt@trade", **fields, after_us=1_500_000))
    return frames


def test_the_documented_query_gives_every_column_of_every_bar(new_run: Any, tmp_path: Path) -> None:
    run = new_run("spot")
    for number, frame in enumerate(trades(run, Random(7))):
        raw = msgspec.structs.replace(run.feed.record(frame), event_time_us=frame.recv_time_us)
        run.take_record(raw)
        if number % 4 == 0:
            clock = msgspec.structs.replace(frame, kind="CLOCK", payload=b"", number=frame.number)
            source = msgspec.structs.replace(raw.sources[0], connection="clock-m")
            run.take_record(msgspec.structs.replace(raw, sources=[source], frames=[clock]))
    bars = run.of(Bar) + [each for each in run.pipeline.finish() if isinstance(each, Bar)]

    assert {"CLOCK_STEP", "LATE"} <= {flag for each in run.of(Tick) for flag in each.flags.split(",")}
    hold(bars, "1m", by_sql(run.of(Tick), tmp_path, 60 * SECOND_US))
    hold(bars, "5m", by_sql(run.of(Tick), tmp_path, 300 * SECOND_US))


def test_the_documented_query_orders_trades_of_named_ids_by_their_count(new_run: Any, tmp_path: Path) -> None:
    run = new_run("futures", "DERIBIT")
    message = whole_messages("DERIBIT", "futures")["trades"]
    first = message["params"]["data"][0]
    for count, price in ((12, 60012.0), (11, 60011.0), (14, 60014.0), (13, 60013.0)):
        data = [first | {"trade_seq": count, "price": price, "trade_id": str(900 - count)}]
        run.say(message | {"params": message["params"] | {"data": data}})
    bars = [each for each in run.pipeline.finish() if isinstance(each, Bar)]

    hold(bars, "1m", by_sql(run.of(Tick), tmp_path, 60 * SECOND_US))
    assert (bars[0].open, bars[0].close) == (60011.0, 60014.0)

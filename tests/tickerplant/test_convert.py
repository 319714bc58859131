"""Converted recordings hold what the recording holds: each trade once, each quote, each depth update, the same book."""

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.arrow import arrow_schema
from schemas.records import Depth, RawFrames, Tick
from schemas.venues import SYMBOLOGIES
from tickerplant.convert import MARKET_TYPES, Conversion, convert_files
from tickerplant.errors import UserError

TIME_NS = 1_723_161_255_000_000_000
Book = dict[float, float]


def trade(number: int, price: str = "100.5", *, maker: bool = False) -> dict[str, Any]:
    data = {"e": "trade", "E": 1723161255001, "s": "BTCUSDT", "t": number, "p": price, "q": "2", "T": 1723161255000}
    return {"stream": "btcusdt@trade", "data": data | {"m": maker, "M": True}}


def depth(first: int, last: int, bids: list[list[str]], asks: list[list[str]]) -> dict[str, Any]:
    data = {"e": "depthUpdate", "E": 1723161255001, "s": "BTCUSDT", "U": first, "u": last, "b": bids, "a": asks}
    return {"stream": "btcusdt@depth@100ms", "data": data}


def quote(number: int) -> dict[str, Any]:
    data = {"u": number, "s": "BTCUSDT", "b": "100", "B": "1", "a": "101", "A": "2"}
    return {"stream": "btcusdt@bookTicker", "data": data}


SNAPSHOT = {"lastUpdateId": 11, "bids": [["100", "1"], ["99", "5"]], "asks": [["101", "2"]]}
SESSION = [
    trade(1),
    depth(9, 10, [["98", "1"]], []),
    depth(11, 12, [["99", "0"]], [["102", "3"]]),
    SNAPSHOT,
    quote(12),
    trade(2, maker=True),
    trade(2, maker=True),
    depth(13, 13, [["97", "4"]], []),
]


def recorded(folder: Path, messages: list[dict[str, Any]]) -> Path:
    path = folder / "btcusdt.gz"
    bodies = [json.dumps(message, separators=(",", ":")) for message in messages]
    lines = [f"{TIME_NS + number * 1_000_000} {body}\n" for number, body in enumerate(bodies)]
    path.write_bytes(gzip.compress("".join(lines).encode()))
    return path


def convert(path: Path, out: Path, market: str = "spot") -> dict[str, Any]:
    return convert_files(Conversion(venue="binance", market=market, files=(path,), out=out))


def rows(out: Path, name: str) -> list[dict[str, Any]]:
    return list(pq.read_table(out / f"{name}.parquet").to_pylist())


def test_trades_stand_once_with_the_aggressors_side(tmp_path: Path) -> None:
    summary = convert(recorded(tmp_path, SESSION), tmp_path / "out")

    trades = [row for row in rows(tmp_path / "out", "tick") if row["kind"] == "TRADE"]
    assert [(row["trade_id"], row["side"], row["symbol"]) for row in trades] == [
        ("1", "BUY", "BTC/USDT"),
        ("2", "SELL", "BTC/USDT"),
    ]
    assert (summary["kinds"]["TRADE"], summary["kinds"]["QUOTE"], summary["ticks"]) == (2, 1, 3)


def test_each_depth_update_is_kept_and_the_book_can_be_rebuilt(tmp_path: Path) -> None:
    convert(recorded(tmp_path, SESSION), tmp_path / "out")

    levels = rows(tmp_path / "out", "depth")
    assert [row["sequence"] for row in levels if not row["is_snapshot"]] == [10, 12, 13]
    assert rebuilt(levels) == ({100.0: 1.0, 97.0: 4.0}, {101.0: 2.0, 102.0: 3.0})


def rebuilt(levels: list[dict[str, Any]]) -> tuple[Book, Book]:
    """Follow the three lines that the README promises are enough."""
    bids: Book = {}
    asks: Book = {}
    snapshot_id = 0
    for row in levels:
        if row["is_snapshot"]:
            bids, asks, snapshot_id = {}, {}, row["snapshot_id"]
        if row["snapshot_id"] == snapshot_id != 0:
            change(bids, row["bid_prices"], row["bid_sizes"])
            change(asks, row["ask_prices"], row["ask_sizes"])
    return bids, asks


def change(side: Book, prices: list[float], sizes: list[float]) -> None:
    for price, size in zip(prices, sizes, strict=True):
        side[price] = size
        if size == 0:
            del side[price]


def test_files_have_the_columns_of_the_cleaned_records(tmp_path: Path) -> None:
    convert(recorded(tmp_path, SESSION), tmp_path)

    assert pq.read_schema(tmp_path / "tick.parquet").names == arrow_schema(Tick).names
    assert pq.read_schema(tmp_path / "depth.parquet").names == arrow_schema(Depth).names


def test_a_broken_message_is_a_dead_letter_and_the_rest_goes_on(tmp_path: Path) -> None:
    path = recorded(tmp_path, SESSION)
    good = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(good + f'{TIME_NS + 99} {{"stream":"btcusdt@trade","data":{{"e"\n'.encode()))

    summary = convert(path, tmp_path / "out")

    assert (summary["dead_letters"], summary["kinds"]["TRADE"]) == (1, 2)
    assert rows(tmp_path / "out", "dead_letter")[0]["payload"] == b'{"stream":"btcusdt@trade","data":{"e"'


def test_a_file_cut_in_its_middle_is_converted_up_to_there(tmp_path: Path) -> None:
    path = recorded(tmp_path, SESSION * 200)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])

    summary = convert(path, tmp_path / "out")

    assert summary["damaged"] == 1
    assert "btcusdt.gz" in summary["first_damage"]
    assert 0 < summary["frames"] < len(SESSION) * 200


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"venue": "nasdaqx"}, "venue nasdaqx is not known"),
        ({"market": "margin"}, "BINANCE has no market margin: choose of spot, usdm, coinm"),
        ({"files": (Path("/absent.gz"),)}, "/absent.gz does not exist"),
    ],
)
def test_a_mistake_is_told_before_anything_is_written(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    values: dict[str, Any] = {"venue": "binance", "market": "spot", "files": (), "out": tmp_path / "out"}

    with pytest.raises(UserError, match=told):
        convert_files(Conversion(**values | change))

    assert not (tmp_path / "out").exists()


def test_a_file_of_no_known_format_is_told(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("hello\n")

    with pytest.raises(UserError, match="known format"):
        convert(path, tmp_path / "out")

    assert list((tmp_path / "out").glob("*")) == []


def archive(path: Path, venue: str = "BINANCE") -> Path:
    """Write a raw record of a spot and a USD-M trade, and of a CLOCK, as the sink does."""
    sources = [("spot", "a"), ("usdm", "b"), ("", "clock-x")]
    columns = {"source_topic": "raw.binance", "source_partition": 0, "source_offset": 5, "venue": venue}
    rows = [
        columns | {"event_time_us": TIME_NS // 1000, "market": market, "connection": connection, "number": 0,
                   "kind": "MESSAGE" if market else "CLOCK", "request": "", "recv_time_us": TIME_NS // 1000,
                   "payload": json.dumps(trade(7)).encode() if market else b"", "source_index": at}
        for at, (market, connection) in enumerate(sources)
    ]  # fmt: skip
    schema = arrow_schema(RawFrames)
    pq.write_table(pa.Table.from_pylist([{name: row.get(name) for name in schema.names} for row in rows], schema), path)
    return path


@pytest.mark.parametrize(("market", "symbol"), [("spot", "BTC/USDT"), ("usdm", "BTC/USDT:PERP")])
def test_of_an_archive_the_market_that_was_asked_for_alone_is_converted(
    tmp_path: Path, market: str, symbol: str
) -> None:
    summary = convert(archive(tmp_path / "raw.parquet"), tmp_path / "out", market)

    assert [row["symbol"] for row in rows(tmp_path / "out", "tick")] == [symbol]
    assert (summary["frames"], summary["dead_letters"]) == (1, 0)
    assert summary["left_out"] == {"usdm" if market == "spot" else "spot": 1}


def test_of_single_messages_those_of_the_market_alone_are_converted(tmp_path: Path) -> None:
    path = tmp_path / "binance.jsonl"
    types = ("Spot", "LinearSwap", "LinearFuture", "EuropeanOption", "Unheard")
    bodies = [json.dumps(trade(number), separators=(",", ":")) for number in range(1, len(types) + 1)]
    lines = [{"market_type": each, "raw": body} for each, body in zip(types, bodies, strict=True)]
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")

    summary = convert(path, tmp_path / "out", "usdm")

    assert [row["trade_id"] for row in rows(tmp_path / "out", "tick")] == ["2", "3", "5"]
    assert summary["left_out"] == {"Spot": 1, "EuropeanOption": 1}
    path.write_text(json.dumps(lines[0]), encoding="utf-8")
    with pytest.raises(UserError, match="nothing of the market coinm here"):
        convert(path, tmp_path / "out", "coinm")


def test_a_session_of_several_markets_gives_the_one_that_was_asked_for(tmp_path: Path) -> None:
    body = json.dumps({"topic": "publicTrade.BTCUSDT", "ts": 1700000000000, "type": "snapshot", "data": [
        {"T": 1700000000000, "s": "BTCUSDT", "S": "Buy", "v": "1", "p": "100.5", "i": "x", "BT": False},
    ]})  # fmt: skip
    for number, market in enumerate(("linear", "spot"), 1):
        lines = [f"wss://stream.bybit.com/v5/public/{market} <-> 1700000000.5", f"1700000001.{number}: {body}"]
        (tmp_path / f"BYBIT.ws.{number}.0").write_text("\n".join(lines), encoding="utf-8")
    other = ["wss://ws.okx.com:8443/ws/v5/public <-> 1700000000.5", '1700000001.9: {"event":"error","msg":"of OKX"}']
    (tmp_path / "BYBIT.ws.3.0").write_text("\n".join(other), encoding="utf-8")
    (tmp_path / "BYBIT.0").write_text('https://api.bybit.com/v5/x -> 1700000000.1: {"a":1}\n', encoding="utf-8")
    asked = Conversion(venue="bybit", market="linear", files=(tmp_path / "BYBIT.0",), out=tmp_path / "out")

    summary = convert_files(asked)

    assert [row["symbol"] for row in rows(tmp_path / "out", "tick")] == ["BTC/USDT:PERP"]
    assert summary["left_out"] == {"spot": 2, "okx": 2}


def test_names_for_what_single_messages_are_of_are_of_markets_that_there_are() -> None:
    markets = {market for venue in SYMBOLOGIES.values() for market in venue.MARKETS}

    assert {each for each in MARKET_TYPES if each.islower()} <= markets


def test_an_archive_without_the_market_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing of the market coinm here, but of spot, usdm: see --market"):
        convert(archive(tmp_path / "raw.parquet"), tmp_path / "out", "coinm")

    assert list((tmp_path / "out").iterdir()) == []


def test_an_archive_of_another_venue_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="an archive of OKX: say --venue okx"):
        convert(archive(tmp_path / "raw.parquet", "OKX"), tmp_path / "out")


RECORDED = [
    ("spot", "spot/btcusdt_20240808.gz"),
    ("spot", "spot/btcusdt_20230405.dat.gz"),
    ("usdm", "usdm/btcusdt_20240718.gz"),
    ("usdm", "usdm/btcusdt_20230404.dat.gz"),
    ("coinm", "cm/btcusd_perp_20240808.gz"),
]


@pytest.mark.recordings
@pytest.mark.parametrize(("market", "name"), RECORDED)
def test_counts_of_a_recording_are_those_of_its_lines(tmp_path: Path, recordings: Path, market: str, name: str) -> None:
    path = recordings / "hftbacktest" / name
    lines = Counter(message.get("stream", "@snapshot").split("@")[1] for message in recorded_messages(path))

    summary = convert(path, tmp_path, market)

    kinds = summary["kinds"]
    assert (kinds["QUOTE"], kinds["DEPTH_DELTA"]) == (lines["bookTicker"], lines["depth"])
    assert kinds["TRADE"] == len(trade_ids(path))
    assert (summary["gaps"], summary["dead_letters"], kinds.get("UNKNOWN_FIELD", 0)) == (0, 0, 0)


@pytest.mark.recordings
@pytest.mark.parametrize(("market", "name"), [pair for pair in RECORDED if "20230405" not in pair[1]])
def test_the_book_of_a_recording_is_one_rebuilt_from_its_lines(
    tmp_path: Path, recordings: Path, market: str, name: str
) -> None:
    path = recordings / "hftbacktest" / name
    convert(path, tmp_path, market)

    ours, theirs = rebuilt(rows(tmp_path, "depth")), book_of(path)
    for mine, other in zip(ours, theirs, strict=True):
        assert mine == pytest.approx({price: base_size(market, price, size) for price, size in other.items()})


def base_size(market: str, price: float, size: float) -> float:
    return size * 100.0 / price if market == "coinm" else size


def recorded_messages(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt") as file:
        for line in file:
            yield json.loads(line.partition(" ")[2])


def trade_ids(path: Path) -> set[int]:
    return {m["data"]["t"] for m in recorded_messages(path) if m.get("stream", "").endswith("@trade")}


def book_of(path: Path) -> tuple[Book, Book]:
    """Rebuild the book by Binance's rule, without any of our code."""
    updates = [m["data"] for m in recorded_messages(path) if "@depth" in m.get("stream", "")]
    snapshot = next(m for m in recorded_messages(path) if "lastUpdateId" in m)
    bids: Book = {}
    asks: Book = {}
    for bid_levels, ask_levels in [(snapshot["bids"], snapshot["asks"])] + [
        (update["b"], update["a"]) for update in updates if update["u"] > snapshot["lastUpdateId"]
    ]:
        put(bids, bid_levels)
        put(asks, ask_levels)
    return bids, asks


def put(side: Book, levels: list[list[str]]) -> None:
    for price, size in levels:
        side[float(price)] = float(size)
        if float(size) == 0:
            del side[float(price)]


def kline(open_ms: int, **values: str) -> dict[str, Any]:
    told = {"t": open_ms, "T": open_ms + 59_999, "s": "BTCUSDT", "i": "1m", "n": 1, "x": True}
    told |= {"o": "101", "c": "101", "h": "101", "l": "101", "v": "2", "q": "202", "V": "2", "Q": "202"}
    return {"stream": "btcusdt@kline_1m", "data": {"e": "kline", "E": 1, "s": "BTCUSDT", "k": told | values}}


def test_minutes_end_by_the_clock_of_the_recorder_and_are_compared_with_the_venues(tmp_path: Path) -> None:
    start_ms, messages = 1_723_161_240_000, {at_s: quote(at_s + 20) for at_s in range(0, 300, 5)}
    for number, at_s in enumerate((5, 60, 240), start=1):
        messages[at_s] = trade(number, str(99 + number))
        messages[at_s]["data"]["T"] = start_ms + at_s * 1000
    messages[120] = kline(start_ms + 60_000, h="109")
    path = tmp_path / "btcusdt.gz"
    lines = [f"{(start_ms + at_s * 1000) * 1_000_000} {json.dumps(body)}\n" for at_s, body in messages.items()]
    path.write_bytes(gzip.compress("".join(lines).encode()))
    convert(path, tmp_path / "out")

    bars = [row for row in rows(tmp_path / "out", "bar") if row["interval"] == "1m"]
    assert [row["flags"] for row in bars] == ["PARTIAL", "", "EMPTY", "EMPTY", "PARTIAL"]
    differing = [row["detail"] for row in rows(tmp_path / "out", "quality") if row["kind"] == "BAR_DIFFERS"]
    assert [each.partition(": ")[2] for each in differing] == ["high 101 venue 109"]

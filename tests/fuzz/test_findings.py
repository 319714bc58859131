"""What fuzzing found, each by the smallest input that did harm."""

import json
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from processors.errors import FrameError, StateError
from processors.memory import Memory
from processors.pieces import SymbolPiece, decode_piece, encode_piece
from processors.pipeline import Pipeline
from processors.venues.gate import parse as parse_gate
from processors.wire import amount, levels, signed, time_us
from schemas.codec import HEADER, Decoder, UnknownSchemaError, WireFormatError, schema_text
from schemas.records import DeadLetter, Frame, Instrument, RawFrames, Source, Tick
from schemas.venues import binance, gate
from sinks.position import PositionError, read_position
from tickerplant.errors import UserError
from tickerplant.local.gateway.columns import column_type
from tickerplant.local.gateway.compression import _checksum, read_frame
from tickerplant.local.gateway.faults import ProtocolError, QueryError
from tickerplant.local.gateway.statements import parse, require_read_only
from tickerplant.local.gateway.wire import Buffer
from tickerplant.recordings import RecordingError, read_recording
from tickerplant.settings import load_settings

NOW_US = 1_700_000_000_000_000
RECURSIVE = '{"type":"record","name":"Tick","fields":[{"name":"next","type":"Tick"}]}'
NESTED = '{"type":"record","name":"Tick","fields":[{"name":"a","type":{"type":"array","items":"x.Tick"}}]}'
OTHERS = ['"string"', "no schema", "[" * 100_000, RECURSIVE, NESTED, schema_text(DeadLetter), "{}", "[]"]


@pytest.mark.parametrize("text", OTHERS, ids=range(len(OTHERS)))
def test_a_schema_id_of_something_else_is_a_wire_format_error_and_asked_for_once(text: str) -> None:
    asked: list[int] = []
    decoder = Decoder(Tick, lambda schema_id: asked.append(schema_id) or text)  # type: ignore[func-returns-value]
    for _ in range(3):
        with pytest.raises(WireFormatError, match="schema id 2"):
            decoder.decode(HEADER.pack(0, 2) + b"\0" * 40)

    assert asked == [2]


def test_an_int_of_more_than_32_bits_is_a_wire_format_error() -> None:
    decoder = Decoder(Tick, lambda _id: schema_text(Tick))
    names = [field["name"] for field in json.loads(schema_text(Tick))["fields"]]
    with pytest.raises(WireFormatError):
        decoder.decode(
            HEADER.pack(0, 1) + b"\0" * names.index("source_partition") + b"\xff\xff\xff\xff\xff\x01" + b"\0" * 60
        )


@pytest.mark.parametrize(
    "text", ["", " 1", "1 ", "+1", "1_0", "\u0661", "\uff11", "-0", "-1", "nan", "inf", "1e400", "0x1", "1e-400", "."]
)
def test_only_plain_numbers_are_prices(text: str) -> None:
    with pytest.raises(FrameError):
        amount(text)


@pytest.mark.parametrize("text", ["1e31", "9" * 400, "1e-31", "0." + "0" * 400 + "1"])
def test_numbers_out_of_all_proportion_are_no_prices(text: str) -> None:
    with pytest.raises(FrameError):
        amount(text)


@pytest.mark.parametrize("text", ["0", "0.0", "0e5", "1e-7", "1E+5", "00.5", "0.1", "123456789.123456789", "1e30"])
def test_a_price_is_the_nearest_double(text: str) -> None:
    assert amount(text) == float(text)


def test_a_negative_zero_is_zero() -> None:
    assert str(signed("-0.0")) == "0.0"


@pytest.mark.parametrize(
    "body", ['[["1","1e31"]]', '[["1e-31","1"]]', '[["1","nan"]]', '[["1",1e999]]', '[["1","-1"]]', '[["1"]]']
)
def test_levels_out_of_all_proportion_are_refused(body: str) -> None:
    with pytest.raises(FrameError):
        levels(msgspec.Raw(body.encode()))


@pytest.mark.parametrize("instant", [-1, 4_102_444_800_000, 10**14 - 1, 4_102_444_800_000_000, 2**63])
def test_times_beyond_2100_are_no_times(instant: int) -> None:
    with pytest.raises(FrameError):
        time_us(instant)


def raw(**changes: Any) -> RawFrames:
    frame = {"source": 0, "number": 0, "kind": "CLOCK", "recv_time_us": NOW_US, "payload": b"", **changes}
    event_time_us = frame.pop("event_time_us", NOW_US)
    sources = [Source(market="spot", connection="c")]
    return RawFrames(venue="BINANCE", event_time_us=event_time_us, sources=sources, frames=[Frame(**frame)])


@pytest.mark.parametrize("field", ["event_time_us", "recv_time_us", "number"])
@pytest.mark.parametrize("value", [-(2**63), -1, 2**63 - 1])
def test_a_raw_record_of_impossible_numbers_is_refused_whole(field: str, value: int) -> None:
    pipeline = Pipeline("BINANCE", "raw.binance", 0)
    before = pipeline.head()
    with pytest.raises(FrameError):
        pipeline.process(0, raw(**{field: value}))

    assert pipeline.head() == before


@pytest.fixture
def piece(new_pipeline: Pipeline) -> SymbolPiece:
    return decode_piece(SymbolPiece, "BTC/USDT", new_pipeline.changed_states()["BTC/USDT"].payload)


@pytest.fixture
def new_pipeline() -> Pipeline:
    """A pipeline that has seen one trade."""
    pipeline = Pipeline("BINANCE", "raw.binance", 0, assume_instruments=True)
    pipeline.process(0, raw(kind="MESSAGE", payload=trade("BTCUSDT")))
    return pipeline


def trade(symbol: str, trade_id: int = 1) -> bytes:
    data = {
        "e": "trade",
        "E": 1672515782136,
        "s": symbol,
        "t": trade_id,
        "p": "1",
        "q": "1",
        "T": 1672515782134,
        "m": True,
    }
    return json.dumps({"stream": "btcusdt@trade", "data": data}).encode()


def test_state_of_an_unknown_market_is_refused(piece: SymbolPiece) -> None:
    piece.instrument = msgspec.structs.replace(piece.instrument, market="nowhere")
    with pytest.raises(StateError, match="nowhere"):
        Pipeline("BINANCE", "raw.binance", 0).restore("BTC/USDT", encode_piece(piece))


def test_a_buffer_that_kept_less_than_nothing_is_refused(piece: SymbolPiece) -> None:
    piece.keeper.kept_deltas = -1
    with pytest.raises(StateError, match="cannot be read"):
        Pipeline("BINANCE", "raw.binance", 0).restore("BTC/USDT", encode_piece(piece))


@pytest.mark.parametrize("bids", [(b"1", b"1"), (b"\0" * 8, b"")])
def test_a_damaged_book_is_refused(piece: SymbolPiece, bids: tuple[bytes, bytes]) -> None:
    piece.keeper.bids = bids
    with pytest.raises(StateError, match="book of 'BTC/USDT'"):
        Pipeline("BINANCE", "raw.binance", 0).restore("BTC/USDT", encode_piece(piece))


def test_two_instruments_of_one_canonical_symbol_do_not_share_a_state(new_pipeline: Pipeline) -> None:
    records = new_pipeline.process(1, raw(number=1, kind="MESSAGE", payload=trade("bTCUSDT"))).records

    assert any(isinstance(each, DeadLetter) and "are both BTC/USDT" in each.reason for each in records)
    assert [each for each in records if isinstance(each, Tick)] == []


ENTRY = {"symbol": "X", "baseAsset": "B", "quoteAsset": "Q", "contractType": "PERPETUAL"}
IMPOSSIBLE = [
    {"contractSize": 0},
    {"contractSize": -1},
    {"symbol": ""},
    {"baseAsset": ""},
    {"filters": [{"filterType": "LOT_SIZE", "stepSize": "inf"}]},
    {"filters": [{"filterType": "PRICE_FILTER", "tickSize": "-1"}]},
    {"symbol": "X_261225", "contractType": "CURRENT_QUARTER", "deliveryDate": 4_133_404_800_000},
    {"symbol": "X_261225", "contractType": "CURRENT_QUARTER", "deliveryDate": 1},
]


@pytest.mark.parametrize("name", ["BTC_USD_10130612", "BTC_USD_21010612"])
def test_a_contract_that_expires_in_another_century_is_left_out(name: str) -> None:
    listing = gate.read_list("inverse", json.dumps([{"name": name, "order_price_round": "0.1"}]).encode(), NOW_US)

    assert (listing.instruments, "no day of this century" in listing.unreadable[0]) == ([], True)


@pytest.mark.parametrize("times", [{"time": 17_959_102_400}, {"time": 1, "time_ms": 17_959_102_400_000_000}])
def test_a_message_of_another_century_cannot_be_used(times: dict[str, int]) -> None:
    message = {
        "channel": "futures.tickers",
        "event": "update",
        "result": [{"contract": "A_USDT", "last": "1", "volume_24h": 1}],
    }
    frame = Frame(
        source=0, number=0, kind="MESSAGE", request="", recv_time_us=1, payload=json.dumps(message | times).encode()
    )

    with pytest.raises(FrameError):
        parse_gate("futures", frame, Memory())


@pytest.mark.parametrize("changes", IMPOSSIBLE, ids=str)
def test_instruments_that_cannot_be_computed_with_are_left_out_and_named(changes: dict[str, Any]) -> None:
    body = json.dumps({"symbols": [ENTRY | changes]}).encode()

    assert binance.read_list("coinm", body, NOW_US).instruments == []
    assert len(binance.read_list("coinm", body, 0).unreadable) == 1


def test_deeply_nested_commit_metadata_is_not_ours() -> None:
    with pytest.raises(PositionError):
        read_position(0, '{"a":' * 3000)


def test_a_column_type_without_its_arguments_is_refused() -> None:
    with pytest.raises(ProtocolError):
        column_type("SimpleAggregateFunction")


@pytest.mark.parametrize(
    "text", [b"SELECT \xff1", b"INSERT INTO \xfft (a) VALUES (1)", b"INSERT INTO t (a) SETTINGS x\xff=1 VALUES"]
)
def test_a_statement_that_is_not_utf8_is_a_syntax_error(text: bytes) -> None:
    with pytest.raises(QueryError, match="not UTF-8"):
        parse(text)


LINES = [b"9999999999999999 {}", b"0000000000000001 {}", b"99999999999: {}", b"17000000000000001 {}"]


@pytest.mark.parametrize("line", LINES)
def test_a_recorded_frame_of_another_century_is_damage(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "recording"
    path.write_bytes((b"1700000000.5: {}\n" if b":" in line[:20] else b"1700000000000000 {}\n") + line)
    damage: list[RecordingError] = []
    frames = list(read_recording(path, "spot", on_damage=damage.append))

    assert ([frame.recv_time_us // 1_000_000 for frame in frames], [each.line for each in damage]) == (
        [1_700_000_000],
        [2],
    )


def test_a_symbol_that_is_no_utf8_ends_up_quoted_in_the_url(tmp_path: Path) -> None:
    path = tmp_path / "recording"
    path.write_bytes(b'1700000000000000 {"lastUpdateId":1,"symbol":"\xff","bids":[],"asks":[]}\n')
    (frame,) = read_recording(path, "coinm")

    assert frame.request.endswith("symbol=%FF")


def test_an_unknown_schema_id_is_told_as_such() -> None:
    def unknown(schema_id: int) -> str:
        raise UnknownSchemaError(schema_id)

    with pytest.raises(UnknownSchemaError):
        Decoder(Tick, unknown).decode(HEADER.pack(0, 2))


@pytest.mark.parametrize("base", ["@TC", "B/C", "A:B", "A|B", "A B", "A\n", "\0"])
def test_an_asset_named_like_a_part_of_something_else_makes_no_symbol(base: str) -> None:
    body = json.dumps({"symbols": [ENTRY | {"baseAsset": base}]}).encode()

    assert binance.read_list("coinm", body, NOW_US).instruments == []
    assert len(binance.read_list("coinm", body, 0).unreadable) == 1


def test_a_contract_of_the_nineties_is_one_of_the_2090s() -> None:
    assert binance.assumed_instrument("coinm", "BTCUSD_961226", 0).symbol == "BTC/USD:20961226"


def test_a_statement_of_what_python_alone_takes_for_blanks_is_a_syntax_error() -> None:
    with pytest.raises(QueryError, match="Syntax error"):
        require_read_only(parse(b"\x1e"))


def test_a_compressed_frame_cannot_promise_more_than_lz4_can_hold() -> None:
    body = struct.pack("<BII", 0x82, 9 + 40, 100_000_000) + b"\0" * 40
    buffer = Buffer(1024)
    buffer.feed(_checksum(body) + body)
    with pytest.raises(ProtocolError, match="promises 100000000"):
        next(read_frame(buffer))


@pytest.mark.parametrize("url", ["http://.3.0.1[:990", "http://a:b:c", "http://[::1"])
def test_a_url_that_is_none_is_a_users_mistake(tmp_path: Path, url: str) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(f'[object_store]\nroot = "s3://b"\nendpoint_url = "{url}"\n[registry]\nurl = "{url}"\n')
    with suppress(UserError):
        load_settings(path, {})


def test_what_runs_under_one_symbol_is_not_renamed_by_a_list(new_pipeline: Pipeline) -> None:
    entries = [
        {"symbol": "BTCUSDT", "baseAsset": "BTX", "quoteAsset": "USDT"},
        {"symbol": "E", "baseAsset": "E", "quoteAsset": "Q"},
    ]
    records = new_pipeline.process(
        1, raw(number=1, kind="INSTRUMENTS", payload=json.dumps({"symbols": entries}).encode())
    ).records
    again = new_pipeline.process(2, raw(number=2, kind="MESSAGE", payload=trade("BTCUSDT", 2))).records

    assert [each.symbol for each in records if isinstance(each, Instrument)] == ["E/Q"]
    assert [each.reason for each in records if isinstance(each, DeadLetter)] == [
        "instrument list: 1 had another symbol until now: 'BTCUSDT' BTX/USDT"
    ]
    assert [(each.symbol, each.sequence_id) for each in again if isinstance(each, Tick)] == [("BTC/USDT", 2)]


def test_a_message_of_a_market_that_is_not_known_is_a_dead_letter() -> None:
    payload = (
        b'{"ch":"market.btcusdt.trade.detail","ts":1,"tick":{"data":[{"id":1,"ts":1,"amount":1,"price":1,'
        b'"direction":"buy"}]}}'
    )
    frame = Frame(source=0, number=0, kind="MESSAGE", recv_time_us=NOW_US, payload=payload)
    sources = [Source(market="moon", connection="c")]
    pipeline = Pipeline("HTX", "raw.htx", 0, assume_instruments=True)
    records = pipeline.process(0, RawFrames(venue="HTX", event_time_us=NOW_US, sources=sources, frames=[frame])).records

    assert [each.reason for each in records if isinstance(each, DeadLetter)] == [
        "HTX has no market 'moon' that is known"
    ]


def test_settings_nested_beyond_the_stack_are_a_users_mistake(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text("symbols = " + "[" * 5000)
    with pytest.raises(UserError, match="not valid TOML"):
        load_settings(path, {})

"""Answers with past trades by time, or the newest ones: what they say, and that damaged ones stop nothing.

They are written by us in the layout that the venues document.
"""

import json
from typing import Any, Final

import pytest

from processors.errors import FrameError
from processors.items import Notice, PastTrades, Trade
from processors.memory import Memory
from processors.venues import VENUES
from processors.wire import NO_ID
from schemas.records import Frame
from tickerplant.damage import damaged

TIME_MS: Final = 1_795_910_400_123
TIME_US: Final = TIME_MS * 1000
S: Final = TIME_MS // 1000

GATE_SPOT: Final = [
    {"id": "1232893234", "create_time": f"{S + 1}", "create_time_ms": f"{TIME_MS + 1000}.456000",
     "currency_pair": "BTC_USDT", "side": "sell", "amount": "0.5", "price": "60001", "sequence_id": "588018"},
    {"id": "1232893232", "create_time": f"{S}", "create_time_ms": f"{TIME_MS}.000000", "currency_pair": "BTC_USDT",
     "side": "buy", "role": "taker", "amount": "0.25", "price": "60000.5", "sequence_id": "588017"},
]  # fmt: skip
GATE_FUTURES: Final = [
    {"id": 121234232, "create_time": S, "create_time_ms": TIME_MS / 1000, "contract": "BTC_USDT", "size": "-1.5",
     "price": "60001"},
    {"id": 121234231, "create_time": S, "contract": "BTC_USDT", "size": 100, "price": "60000.5", "is_internal": True},
]  # fmt: skip
BITFINEX: Final = [
    [388063447, TIME_MS, 0.005, 60000.5],
    [388063448, TIME_MS + 5, -0.25, 60001],
]
COINBASE: Final = {
    "trades": [
        {"trade_id": "1012346", "product_id": "BTC-USD", "price": "60001", "size": "0.5",
         "time": "2026-11-29T00:00:01.000001Z", "side": "BUY", "bid": "", "ask": "", "exchange": "CBE"},
        {"trade_id": "34b080bf-fcfd-445a-832b-46b5ddc65601", "product_id": "BTC-USD", "price": "60000.5",
         "size": "0.25", "time": "2026-11-29T00:00:00.123Z", "side": "SELL", "bid": "", "ask": ""},
    ],
    "best_bid": "60000", "best_ask": "60001",
}  # fmt: skip
KUCOIN_SPOT: Final = {
    "code": "200000",
    "data": [
        {"sequence": "11067996711960577", "price": "60000.5", "size": "0.25", "side": "sell", "time": TIME_US * 1000},
        {
            "sequence": "11067996711960578",
            "price": "60001",
            "size": "0.5",
            "side": "buy",
            "time": TIME_US * 1000 + 7000,
        },
    ],
}
KUCOIN_FUTURES: Final = {
    "code": "200000",
    "data": [
        {"sequence": 1697895100310, "contractId": 1, "size": 2, "side": "sell", "price": "60000.5",
         "tradeId": "1697895963339", "makerOrderId": "174112", "takerOrderId": "174115", "ts": TIME_US * 1000},
    ],
}  # fmt: skip
HTX_SPOT: Final = {
    "ch": "market.btcusdt.trade.detail", "status": "ok", "ts": TIME_MS + 9,
    "data": [
        {"id": 31459999, "ts": TIME_MS + 5, "data": [
            {"id": 314599990000000000000000001, "trade-id": 102090736889, "ts": TIME_MS + 5, "amount": 0.5,
             "price": 60001.0, "direction": "sell"}]},
        {"id": 31459998, "ts": TIME_MS, "data": [
            {"id": 314599980000000000000000001, "trade-id": 102090736888, "ts": TIME_MS, "amount": 0.25,
             "price": 60000.5, "direction": "buy"}]},
    ],
}  # fmt: skip
HTX_SWAP: Final = {
    "ch": "market.BTC-USDT.trade.detail", "status": "ok", "ts": TIME_MS,
    "data": [
        {"id": 57520979990, "ts": TIME_MS, "data": [
            {"id": 575209799900000, "ts": TIME_MS, "amount": 6, "quantity": 0.006, "trade_turnover": 360.003,
             "price": 60000.5, "direction": "buy"}]},
    ],
}  # fmt: skip

OF_SECONDS: Final = f"from={S}&to={S + 2}"
KRAKEN_FUTURES: Final = {
    "result": "success",
    "history": [
        {"time": "2026-11-29T00:00:01.000Z", "trade_id": 100, "price": 60001, "size": 0.5, "side": "sell",
         "type": "liquidation", "uid": "c5ec7cb5-4ec3-4ac9-9ae9-9d8a4d1d6ae2"},
        {"time": "2026-11-29T00:00:00.123Z", "trade_id": 99, "price": "60000.5", "size": "0.25", "side": "buy",
         "type": "block", "uid": "5c7b8b7a-7e8a-4fb4-8a15-6f1a3c7f5be1", "execution_venue": None},
    ],
    "serverTime": "2026-11-29T00:00:02.000Z",
}  # fmt: skip
CASES: Final = {
    "kraken futures": (
        "KRAKEN", "futures", "/derivatives/api/v3/history?symbol=PF_XBTUSD", KRAKEN_FUTURES,
        [Trade("PF_XBTUSD", TIME_US, NO_ID, 60000.5, 0.25, "BUY", is_off_book=True,
               name="5c7b8b7a-7e8a-4fb4-8a15-6f1a3c7f5be1"),
         Trade("PF_XBTUSD", S * 1_000_000 + 1_000_000, NO_ID, 60001.0, 0.5, "SELL",
               name="c5ec7cb5-4ec3-4ac9-9ae9-9d8a4d1d6ae2")],
        (0, 0),
    ),
    "gate spot": (
        "GATE", "spot", f"/api/v4/spot/trades?currency_pair=BTC_USDT&limit=1000&{OF_SECONDS}", GATE_SPOT,
        [Trade("BTC_USDT", TIME_US, 1232893232, 60000.5, 0.25, "BUY"),
         Trade("BTC_USDT", TIME_US + 1_000_456, 1232893234, 60001.0, 0.5, "SELL")],
        (S * 1_000_000, (S + 2) * 1_000_000 - 1),
    ),
    "gate futures": (
        "GATE", "futures", f"/api/v4/futures/usdt/trades?contract=BTC_USDT&limit=1000&{OF_SECONDS}", GATE_FUTURES,
        [Trade("BTC_USDT", S * 1_000_000, 121234231, 60000.5, 100.0, "BUY", is_off_book=True),
         Trade("BTC_USDT", TIME_US, 121234232, 60001.0, 1.5, "SELL")],
        (S * 1_000_000, (S + 2) * 1_000_000 - 1),
    ),
    "bitfinex": (
        "BITFINEX", "spot", f"/v2/trades/tBTCUSD/hist?limit=5000&sort=1&end={TIME_MS + 9}&start={TIME_MS}", BITFINEX,
        [Trade("tBTCUSD", TIME_US, 388063447, 60000.5, 0.005, "BUY"),
         Trade("tBTCUSD", TIME_US + 5000, 388063448, 60001.0, 0.25, "SELL")],
        (TIME_US, TIME_US + 8999),
    ),
    "coinbase": (
        "COINBASE", "advanced",
        f"/api/v3/brokerage/market/products/BTC-USD/ticker?limit=1000&start={S}&end={S + 2}", COINBASE,
        [Trade("BTC-USD", TIME_US, 0, 60000.5, 0.25, "BUY", name="34b080bf-fcfd-445a-832b-46b5ddc65601"),
         Trade("BTC-USD", S * 1_000_000 + 1_000_001, 1012346, 60001.0, 0.5, "SELL")],
        (S * 1_000_000, (S + 2) * 1_000_000 - 1),
    ),
    "kucoin spot": (
        "KUCOIN", "spot", "/api/v1/market/histories?symbol=BTC-USDT", KUCOIN_SPOT,
        [Trade("BTC-USDT", TIME_US, 0, 60000.5, 0.25, "SELL", name="11067996711960577"),
         Trade("BTC-USDT", TIME_US + 7, 0, 60001.0, 0.5, "BUY", name="11067996711960578")],
        (0, 0),
    ),
    "kucoin futures": (
        "KUCOIN", "futures", "/api/v1/trade/history?symbol=XBTUSDTM", KUCOIN_FUTURES,
        [Trade("XBTUSDTM", TIME_US, 0, 60000.5, 2.0, "SELL", name="1697895963339")],
        (0, 0),
    ),
    "htx spot": (
        "HTX", "spot", "/market/history/trade?symbol=btcusdt&size=2000", HTX_SPOT,
        [Trade("btcusdt", TIME_US, 0, 60000.5, 0.25, "BUY", name="102090736888"),
         Trade("btcusdt", TIME_US + 5000, 0, 60001.0, 0.5, "SELL", name="102090736889")],
        (0, 0),
    ),
    "htx linear": (
        "HTX", "linear", "/linear-swap-ex/market/history/trade?contract_code=BTC-USDT&size=2000", HTX_SWAP,
        [Trade("BTC-USDT", TIME_US, 0, 60000.5, 3.0, "BUY", name="575209799900000")],
        (0, 0),
    ),
}  # fmt: skip


def parse(name: str, market: str, path: str, body: Any) -> list[Any]:
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    frame = Frame(source=0, number=0, kind="HTTP", request=f"https://host{path}", recv_time_us=TIME_US, payload=payload)
    return VENUES[name].parse(market, frame, Memory())


@pytest.mark.parametrize("case", CASES)
def test_trades_are_told_in_rising_order_as_the_stream_tells_them_with_the_time_they_are_all_of(case: str) -> None:
    name, market, path, body, trades, (from_us, until_us) = CASES[case]

    is_unnumbered = trades[0].trade_id == NO_ID

    assert parse(name, market, path, body) == [
        PastTrades(trades[0].symbol, 0, trades, from_us=from_us, until_us=until_us, is_unnumbered=is_unnumbered)
    ]


@pytest.mark.parametrize("case", CASES)
def test_an_answer_that_is_damaged_anywhere_is_refused_or_still_valid(case: str) -> None:
    name, market, path, body, *_ = CASES[case]
    refused = 0
    for _, variant in damaged(body):
        try:
            items = parse(name, market, path, variant)
        except FrameError:
            refused += 1
        else:
            assert all(each.price > 0 for item in items if isinstance(item, PastTrades) for each in item.trades)

    assert refused > 10


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("body", [b"", b"{", b"7", b'"text"', b"[" * 100_000, b"\xff"])
def test_what_is_no_answer_is_refused(case: str, body: bytes) -> None:
    name, market, path, *_ = CASES[case]

    with pytest.raises(FrameError):
        parse(name, market, path, body)


@pytest.mark.parametrize(
    ("case", "limit", "told"),
    [
        ("gate spot", "limit=1000", (TIME_US + 1, (S + 2) * 1_000_000 - 1)),
        ("coinbase", "limit=1000", (TIME_US + 1, (S + 2) * 1_000_000 - 1)),
        ("bitfinex", "limit=5000", (TIME_US, TIME_US + 4999)),
    ],
)
def test_of_a_page_that_is_full_the_last_time_is_not_told_whole(case: str, limit: str, told: tuple[int, int]) -> None:
    name, market, path, body, *_ = CASES[case]
    (page,) = parse(name, market, path.replace(limit, "limit=2"), body)

    assert (page.from_us, page.until_us) == told


@pytest.mark.parametrize("case", ["gate spot", "coinbase", "bitfinex"])
def test_that_there_were_none_is_told_as_well(case: str) -> None:
    name, market, path, _, trades, (from_us, until_us) = CASES[case]
    nothing: Any = {"trades": []} if name == "COINBASE" else []

    assert parse(name, market, path, nothing) == [
        PastTrades(trades[0].symbol, 0, [], from_us=from_us, until_us=until_us)
    ]


@pytest.mark.parametrize(
    ("case", "body"),
    [
        ("kucoin spot", {"code": "400100", "msg": "symbol not exists"}),
        ("kraken futures", {"result": "error", "error": "contractNotFound"}),
        ("htx spot", {"status": "error", "err-code": "invalid-parameter", "err-msg": "invalid symbol"}),
    ],
)
def test_a_refusal_in_an_answer_is_a_notice(case: str, body: Any) -> None:
    name, market, path, *_ = CASES[case]

    assert [type(each) for each in parse(name, market, path, body)] == [Notice]


@pytest.mark.parametrize("case", CASES)
def test_another_request_is_not_answered_by_trades(case: str) -> None:
    name, market, _, body, *_ = CASES[case]

    with pytest.raises(FrameError):
        parse(name, market, "/of/another/kind?symbol=BTC-USDT", body)


@pytest.mark.parametrize("case", ["gate spot", "gate futures", "coinbase"])
def test_trades_of_another_symbol_than_was_asked_for_are_refused(case: str) -> None:
    name, market, path, body, *_ = CASES[case]

    with pytest.raises(FrameError, match="another"):
        parse(name, market, path.replace("BTC_USDT", "ETH_USDT").replace("BTC-USD", "ETH-USD"), body)

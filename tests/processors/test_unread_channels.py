"""Public channels that are known and not used: a notice by name, counted, and no dead letter, which can stop a role."""

from typing import Any

import pytest

from schemas.records import DeadLetter, QualityEvent

OKX = {
    "arg": {"channel": "price-limit", "instId": "BTC-USDT-SWAP"},
    "data": [{"instId": "BTC-USDT-SWAP", "buyLmt": "1"}],
}
STATUS = {"arg": {"channel": "status"}, "data": [{"title": "Upgrade of trading", "state": "scheduled"}]}


def okx(channel: str) -> dict[str, Any]:
    return {**OKX, "arg": {"channel": channel, "instId": "BTC-USDT"}}


def bybit(topic: str) -> dict[str, Any]:
    return {"topic": topic, "type": "snapshot", "ts": 1_795_910_400_200, "data": {"symbol": "BTCUSDT"}}


@pytest.mark.parametrize(
    ("venue", "market", "message", "words"),
    [
        ("OKX", "swap", OKX, "limits"),
        ("OKX", "option", okx("opt-summary"), "summaries"),
        ("OKX", "spot", okx("books-rpi"), "retail"),
        ("OKX", "spot", okx("mark-price-candle1m"), "not read"),
        ("OKX", "spot", okx("sprd-public-trades"), "spreads"),
        ("OKX", "spot", STATUS, "Upgrade of trading"),
        ("BYBIT", "linear", bybit("orderbook.rpi.BTCUSDT"), "retail"),
        ("BYBIT", "linear", bybit("priceLimit.BTCUSDT"), "limits"),
        ("BYBIT", "spot", bybit("system.status"), "system.status"),
        ("BINANCE", "spot", {"stream": "!miniTicker@arr", "data": [{"e": "24hrMiniTicker"}]}, "short"),
        ("BINANCE", "spot", {"stream": "btcusdt@ticker_1h", "data": {"e": "1hTicker"}}, "rolling"),
        ("BINANCE", "spot", {"stream": "btcusdt@kline_1d@+08:00", "data": {"e": "kline"}}, "other days"),
        ("BINANCE", "usdm", {"stream": "btcusdt_perpetual@continuousKline_1m", "data": {}}, "not read"),
        ("BINANCE", "usdm", {"stream": "!contractInfo", "data": {"e": "contractInfo"}}, "lists"),
        ("BINANCE", "usdm", {"e": "24hrMiniTicker", "E": 1, "s": "BTCUSDT", "c": "1"}, "short"),
        ("COINBASE", "exchange", {"type": "received", "order_id": "d50ec984", "product_id": "BTC-USD"}, "orders"),
        ("COINBASE", "exchange", {"type": "auction", "product_id": "BTC-USD"}, "auctions"),
        ("COINBASE", "exchange", ["open", "BTC-USD", "25", "2022-06-02T15:40:01Z", "77b4bd1a"], "level3"),
        ("KRAKEN", "spot", {"channel": "level3", "type": "update", "data": [{"symbol": "BTC/USD"}]}, "level3"),
    ],
)
def test_what_is_known_and_not_used_is_told_by_name(
    new_run: Any, venue: str, market: str, message: Any, words: str
) -> None:
    run = new_run(market, venue)
    run.say(message)

    (notice,) = run.of(QualityEvent)
    assert (notice.kind, words in notice.detail) == ("VENUE_NOTICE", True)
    assert not run.of(DeadLetter)


@pytest.mark.parametrize(
    ("venue", "market", "message"),
    [
        ("OKX", "swap", okx("books-of-tomorrow")),
        ("BYBIT", "linear", bybit("tomorrow.BTCUSDT")),
        ("BINANCE", "spot", {"stream": "btcusdt@tomorrow", "data": {}}),
        ("KRAKEN", "spot", {"channel": "tomorrow", "type": "update", "data": []}),
    ],
)
def test_what_is_not_known_is_a_dead_letter(new_run: Any, venue: str, market: str, message: Any) -> None:
    run = new_run(market, venue)
    run.say(message)

    assert [each.reason.endswith("is not known") for each in run.of(DeadLetter)] == [True]

"""Valid messages of venues, by market and stream: written by hand from the venues' documents, for tests and fuzzing."""

import json
from functools import cache
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).parents[1] / "tests" / "messages"


@cache
def messages(venue: str) -> dict[str, dict[str, Any]]:
    """Read the messages of a venue: market → stream → data; {} = none were written yet."""
    path = FOLDER / f"{venue.lower()}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


@cache
def payloads(venue: str, market: str) -> tuple[bytes, ...]:
    """List the messages of a market as they are sent."""
    return tuple(map(_compact, whole_messages(venue, market).values()))


def whole_messages(venue: str, market: str) -> dict[str, Any]:
    """Read the messages of a market by name; what is named as a stream (a@b) is put into a combined one's envelope."""
    found = messages(venue).get(market, {})
    return {name: {"stream": name, "data": data} if "@" in name else data for name, data in found.items()}


def lists(venue: str, market: str) -> tuple[bytes, ...]:
    """List instrument lists of a market; () = none were written yet.

    They stand below, or in a file beside the messages: market → body.
    """
    path = FOLDER / f"{venue.lower()}_lists.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    body = LISTS.get((venue, market), found.get(market))
    return () if body is None else (json.dumps(body).encode(),)


SNAPSHOT: Final = (
    b'{"lastUpdateId":156,"bids":[["100.0","9"],["99.5","3"],["98.0","0"]],"asks":[["101.0","1"],["102.0","0.5"]]}'
)
FILTERS: Final = [
    {"filterType": "PRICE_FILTER", "minPrice": "0.01", "tickSize": "0.01"},
    {"filterType": "LOT_SIZE", "stepSize": "0.00001"},
]
LISTS: Final[dict[tuple[str, str], Any]] = {
    ("BINANCE", "spot"): {
        "timezone": "UTC",
        "symbols": [
            {"symbol": "BTCUSDT", "status": "TRADING", "baseAsset": "BTC", "quoteAsset": "USDT", "filters": FILTERS},
            {"symbol": "ETHBTC", "status": "BREAK", "baseAsset": "ETH", "quoteAsset": "BTC", "filters": []},
        ],
    },
    ("BINANCE", "usdm"): {
        "symbols": [
            {
                "symbol": "BTCUSDT", "contractType": "PERPETUAL", "deliveryDate": 4133404800000, "status": "TRADING",
                "baseAsset": "BTC", "quoteAsset": "USDT", "marginAsset": "USDT", "underlyingType": "COIN",
                "filters": FILTERS,
            },
            {
                "symbol": "BTCUSDT_261225", "contractType": "CURRENT_QUARTER", "deliveryDate": 1798185600000,
                "status": "TRADING", "baseAsset": "BTC", "quoteAsset": "USDT", "marginAsset": "USDT", "filters": [],
            },
        ],
    },
    ("BINANCE", "coinm"): {
        "symbols": [
            {
                "symbol": "BTCUSD_PERP", "contractType": "PERPETUAL", "deliveryDate": 4133404800000,
                "contractStatus": "TRADING", "contractSize": 100, "baseAsset": "BTC", "quoteAsset": "USD",
                "marginAsset": "BTC", "underlyingType": "COIN", "filters": FILTERS,
            },
        ],
    },
    ("HTX", "spot"): {
        "status": "ok",
        "data": [
            {
                "symbol": "btcusdt", "base-currency": "btc", "quote-currency": "usdt", "price-precision": 1,
                "amount-precision": 5, "state": "online",
            },
        ],
    },
    **{
        ("HTX", market): {
            "status": "ok",
            "data": [
                {
                    "symbol": "BTC", "contract_code": code, "contract_size": 0.001, "price_tick": 0.1,
                    "delivery_time": "1798185600000", "contract_status": 1,
                },
            ],
        }
        for market, code in (("linear", "BTC-USDT-261225"), ("coin", "BTC-USD"))
    },
    ("KUCOIN", "spot"): {
        "data": [
            {
                "symbol": "BTC-USDT", "baseCurrency": "BTC", "quoteCurrency": "USDT", "baseIncrement": "0.00001",
                "priceIncrement": "0.1", "enableTrading": True,
            },
        ],
    },
    ("KUCOIN", "futures"): {
        "data": [
            {
                "symbol": "XBTMZ26", "type": "FFICSX", "expireDate": 1798185600000, "baseCurrency": "XBT",
                "quoteCurrency": "USD", "settleCurrency": "XBT", "multiplier": -1.0, "lotSize": 1, "tickSize": 1.0,
                "isInverse": True, "status": "Open",
            },
        ],
    },
    ("GATE", "spot"): [
        {
            "id": "BTC_USDT", "base": "BTC", "quote": "USDT", "precision": 1, "amount_precision": 5,
            "trade_status": "tradable",
        },
    ],
    **{
        ("GATE", market): [{"name": name, "quanto_multiplier": "0.0001", "order_price_round": "0.1"}]
        for market, name in (("futures", "BTC_USDT"), ("inverse", "BTC_USD_20261225"))
    },
    **{
        ("BYBIT", market): {
            "retCode": 0,
            "result": {
                "category": market, "nextPageCursor": "",
                "list": [
                    {
                        "symbol": "BTCUSDZ26", "contractType": kind, "status": "Trading", "baseCoin": "BTC",
                        "quoteCoin": "USD", "settleCoin": "BTC", "deliveryTime": "1798185600000",
                        "priceFilter": {"tickSize": "0.5"}, "lotSizeFilter": {"qtyStep": "1"},
                    },
                ],
            },
        }
        for market, kind in (("spot", ""), ("linear", "LinearPerpetual"), ("inverse", "InverseFutures"))
    },
    **{
        ("OKX", market): {
            "code": "0",
            "data": [
                {
                    "instId": "BTC-USD-261225-60000-C", "instType": kind, "baseCcy": "BTC", "quoteCcy": "USD",
                    "uly": "BTC-USD", "settleCcy": "BTC", "ctVal": "1", "ctMult": "0.01", "expTime": "1798185600000",
                    "stk": "60000", "optType": "C", "tickSz": "0.0005", "lotSz": "1", "state": "live",
                },
            ],
        }
        for market, kind in (("spot", "SPOT"), ("swap", "SWAP"), ("futures", "FUTURES"), ("option", "OPTION"))
    },
}  # fmt: skip
"""Written by us in the layout that venues document, by venue and market."""


def _compact(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()

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
    """List the messages of a market as its combined streams carry them."""
    streams = messages(venue).get(market, {})
    return tuple(_compact({"stream": stream, "data": data}) for stream, data in streams.items())


def lists(venue: str, market: str) -> tuple[bytes, ...]:
    """List instrument lists of a market; () = none were written yet."""
    text = json.dumps(LISTS.get((venue, market))) if (venue, market) in LISTS else ""
    return (text.encode(),) if text else ()


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
}  # fmt: skip
"""Written by us in the layout that venues document, by venue and market."""


def _compact(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()

"""Both feeds of Coinbase: products, addresses, and which file speaks which; pure.

Source: https://docs.cdp.coinbase.com/exchange/websocket-feed/channels
Source: https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket/websocket-channels
"""

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from tickerplant.local.venue.dialect import (
    Answer,
    Ask,
    Conversation,
    Endpoint,
    Handshake,
    MarketTerms,
    Route,
    Writer,
)
from tickerplant.local.venue.dialects.coinbase.advanced import AdvancedConversation, AdvancedWriter, advanced_trade
from tickerplant.local.venue.dialects.coinbase.exchange import ExchangeConversation, ExchangeWriter, past_trade
from tickerplant.local.venue.listings import Asset, Listing, price_decimals
from tickerplant.local.venue.numbers import numbers_of
from tickerplant.local.venue.past import trades_of_time, whole_number

NAME: Final = "COINBASE"
MARKETS: Final = {"exchange": MarketTerms(share=0.5), "advanced": MarketTerms(share=0.5)}
ENDPOINTS: Final = tuple(Endpoint(name=each, market=each, paths=("/",)) for each in MARKETS)
CHECKSUM: Final[re.Pattern[bytes] | None] = None
QUOTES: Final = {"exchange": "USD", "advanced": "EUR"}
SIZE_DECIMALS: Final = 8
PAST_TRADES: Final = 1000


def listings(market: str, assets: Sequence[Asset], now_ms: int) -> list[Listing]:
    """List the symbols of a synthetic market."""
    del now_ms
    quote = QUOTES[market]
    return [
        Listing(
            market=market,
            symbol=f"{each.base}-{quote}",
            base=each.base,
            quote=quote,
            numbers=numbers_of(price_decimals(each.price), SIZE_DECIMALS),
            start_price=each.price,
        )
        for each in assets
    ]


def routes(market: str) -> list[Route]:
    """List the REST addresses."""
    if market == "exchange":
        return [
            Route(path="/products", answer=_products, counts_as="instruments"),
            Route(path="/products/{product}/trades", answer=_past_trades, counts_as="trades"),
        ]
    return [
        Route(path="/api/v3/brokerage/market/products", answer=_advanced_products, counts_as="instruments"),
        Route(path="/api/v3/brokerage/market/products/{product}/ticker", answer=_advanced_trades, counts_as="trades"),
    ]


def converse(handshake: Handshake) -> Conversation:
    """Begin with a connection."""
    if handshake.endpoint.market == "exchange":
        return ExchangeConversation(handshake.market)
    return AdvancedConversation(handshake.market)


def writer(listing: Listing) -> Writer:
    """Make what writes the messages of a symbol."""
    return ExchangeWriter(listing) if listing.market == "exchange" else AdvancedWriter(listing)


def _products(ask: Ask) -> Answer:
    return Answer(msgspec.json.encode([_product(each) for each in ask.market.listings("exchange")]))


def _past_trades(ask: Ask) -> Answer:
    """Answer with trades before an id, or the newest; newest first."""
    limit, after = min(PAST_TRADES, int(ask.query.get("limit", PAST_TRADES))), int(ask.query.get("after", 0))
    product = ask.path["product"]
    newest = ask.market.trades("exchange", product, max(0, after - limit) if after else -1, limit)
    if newest is None:
        return Answer(b'{"message":"NotFound"}', 404)
    trades = [each for each in newest if not after or each.number < after]
    return Answer(msgspec.json.encode([past_trade(each) for each in reversed(trades)]))


def _advanced_trades(ask: Ask) -> Answer:
    """Answer with trades of some seconds, newest first."""
    first_s = whole_number(ask.query.get("start", ""), 0)
    end_s = whole_number(ask.query.get("end", ""), ask.now_ms // 1000 + 1)
    product, limit = ask.path["product"], min(PAST_TRADES, whole_number(ask.query.get("limit", ""), PAST_TRADES))
    found = trades_of_time(ask, "advanced", product, (first_s * 1000, end_s * 1000))
    if found is None:
        return Answer(b'{"error":"NOT_FOUND","message":"product not found"}', 404)
    rows = [advanced_trade(product, each) | {"bid": "", "ask": ""} for each in found[::-1][:limit]]
    return Answer(msgspec.json.encode({"trades": rows, "best_bid": "", "best_ask": ""}))


def _product(listing: Listing) -> dict[str, Any]:
    return {
        "id": listing.symbol,
        "base_currency": listing.base,
        "quote_currency": listing.quote,
        "quote_increment": listing.numbers.price(1),
        "base_increment": listing.numbers.size(1),
        "display_name": listing.symbol,
        "min_market_funds": "1",
        "margin_enabled": False,
        "post_only": False,
        "limit_only": False,
        "cancel_only": False,
        "status": "online",
        "status_message": "",
        "trading_disabled": False,
        "fx_stablecoin": False,
        "auction_mode": False,
    }


def _advanced_products(ask: Ask) -> Answer:
    listed = [_advanced_product(each) for each in ask.market.listings("advanced")]
    return Answer(msgspec.json.encode({"products": listed, "num_products": len(listed), "pagination": None}))


def _advanced_product(listing: Listing) -> dict[str, Any]:
    return {
        "product_id": listing.symbol,
        "base_increment": listing.numbers.size(1),
        "quote_increment": listing.numbers.price(1),
        "price_increment": listing.numbers.price(1),
        "is_disabled": False,
        "status": "online",
        "trading_disabled": False,
        "view_only": False,
        "product_type": "SPOT",
        "base_currency_id": listing.base,
        "quote_currency_id": listing.quote,
        "alias": "",
        "alias_to": [],
        "future_product_details": None,
    }

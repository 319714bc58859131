"""Bybit: instruments-info bodies and bare names → canonical symbols."""

import json
from typing import Any

import pytest

from schemas.symbology import SymbolError
from schemas.venues import bybit

SETTLED_OR_SORTED = ({"settleCoin": "USDC"}, {"contractType": "LinearPerpetual"})


def body(category: str, *entries: Any) -> bytes:
    return json.dumps({"retCode": 0, "result": {"category": category, "list": entries, "nextPageCursor": ""}}).encode()


def entry(symbol: str, base: str, quote: str, **more: Any) -> dict[str, Any]:
    known = {"symbol": symbol, "baseCoin": base, "quoteCoin": quote, "status": "Trading"}
    return known | {"priceFilter": {"tickSize": "0.5"}, "lotSizeFilter": {"qtyStep": "0.001"}} | more


def test_a_contract_of_which_is_not_told_whether_it_expires_or_in_what_it_is_settled_is_left_out() -> None:
    entries = [entry("BTCPERP", "BTC", "USD", **each) for each in SETTLED_OR_SORTED]
    listing = bybit.read_list("linear", body("linear", *entries), 0)

    assert (listing.instruments, len(listing.unreadable)) == ([], 2)


@pytest.mark.parametrize(
    ("sort", "asset_class"), [("stock", "EQUITY"), ("commodity", "COMMODITY"), ("innovation", "CRYPTO"), ("", "CRYPTO")]
)
def test_what_is_no_coin_is_told_so(sort: str, asset_class: str) -> None:
    listed = entry("TSLAUSDT", "TSLA", "USDT", settleCoin="USDT", contractType="LinearPerpetual", symbolType=sort)
    (instrument,) = bybit.read_list("linear", body("linear", listed), 0).instruments

    assert instrument.asset_class == asset_class


@pytest.mark.parametrize(
    ("market", "listed", "symbol", "kind"),
    [
        ("spot", entry("BTCUSDT", "BTC", "USDT"), "BTC/USDT", "SPOT"),
        (
            "linear",
            entry("BTCUSDT", "BTC", "USDT", settleCoin="USDT", contractType="LinearPerpetual"),
            "BTC/USDT:PERP",
            "PERPETUAL",
        ),
        (
            "linear",
            entry("BTCPERP", "BTC", "USD", settleCoin="USDC", contractType="LinearPerpetual"),
            "BTC/USDC:PERP",
            "PERPETUAL",
        ),
        (
            "linear",
            entry(
                "BTC-25DEC26",
                "BTC",
                "USDC",
                settleCoin="USDC",
                contractType="LinearFutures",
                deliveryTime="1798185600000",
            ),
            "BTC/USDC:20261225",
            "FUTURE",
        ),
        (
            "inverse",
            entry("BTCUSD", "BTC", "USD", settleCoin="BTC", contractType="InversePerpetual"),
            "BTC/USD:PERP",
            "PERPETUAL",
        ),
        (
            "inverse",
            entry(
                "BTCUSDZ26", "BTC", "USD", settleCoin="BTC", contractType="InverseFutures", deliveryTime="1798185600000"
            ),
            "BTC/USD:20261225",
            "FUTURE",
        ),
    ],
)
def test_a_listed_instrument_and_its_bare_name_have_one_symbol(
    market: str, listed: Any, symbol: str, kind: str
) -> None:
    (found,) = bybit.read_list(market, body(market, listed), 7).instruments
    assumed = bybit.assumed_instrument(market, listed["symbol"], 7)

    assert (found.symbol, found.kind, found.tick_size, found.lot_size) == (symbol, kind, 0.5, 0.001)
    assert (assumed.symbol, assumed.kind, assumed.is_inverse) == (symbol, kind, market == "inverse")
    assert (found.is_inverse, found.contract_multiplier, found.is_trading) == (market == "inverse", 1.0, True)


def test_what_does_not_trade_is_listed_as_such() -> None:
    (found,) = bybit.read_list("spot", body("spot", entry("BTCUSDT", "BTC", "USDT", status="PreLaunch")), 0).instruments

    assert not found.is_trading


def test_an_entry_of_unknown_shape_is_left_out_and_named() -> None:
    listed = body("spot", entry("BTCUSDT", "BTC", "USDT"), {"symbol": "X"}, entry("A:B", "A:B", "USDT"))

    assert [each.symbol for each in bybit.read_list("spot", listed, 0).instruments] == ["BTC/USDT"]
    assert len(bybit.read_list("spot", listed, 0).unreadable) == 2


def test_a_list_of_another_category_gives_nothing() -> None:
    assert bybit.read_list("linear", body("spot", entry("BTCUSDT", "BTC", "USDT")), 0).instruments == []


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"result":{}}', b"\xff"])
def test_what_is_no_list_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="instruments-info"):
        bybit.read_list("spot", text, 0)


@pytest.mark.parametrize(
    ("market", "name"), [("spot", "USDT"), ("inverse", "BTCEUR"), ("linear", "BTC-45DEC26"), ("x", "BTCUSDT")]
)
def test_a_name_that_tells_nothing_is_refused(market: str, name: str) -> None:
    with pytest.raises(SymbolError):
        bybit.assumed_instrument(market, name, 0)

"""Binance's instrument lists and names (bodies written after the venue's documents; recorded ones where they are)."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.symbology import SymbolError
from schemas.venues import SYMBOLOGIES, binance

EXPIRY_MS = 1_790_323_200_000  # 2026-09-25 08:00 UTC


def spot_entry(**changes: Any) -> dict[str, Any]:
    filters = [
        {"filterType": "PRICE_FILTER", "minPrice": "0.01", "maxPrice": "1000000.00", "tickSize": "0.01000000"},
        {"filterType": "LOT_SIZE", "minQty": "0.00001", "maxQty": "9000.0", "stepSize": "0.00001000"},
        {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200},
    ]
    entry = {"symbol": "BTCUSDT", "status": "TRADING", "baseAsset": "BTC", "quoteAsset": "USDT", "filters": filters}
    return entry | {"permissions": [], "defaultSelfTradePreventionMode": "EXPIRE_MAKER"} | changes


def usdm_entry(**changes: Any) -> dict[str, Any]:
    entry = spot_entry(contractType="PERPETUAL", deliveryDate=4_133_404_800_000, marginAsset="USDT")
    return entry | {"underlyingType": "COIN", "underlyingSubType": ["PoW"]} | changes


def coinm_entry(**changes: Any) -> dict[str, Any]:
    entry = usdm_entry(symbol="BTCUSD_PERP", quoteAsset="USD", marginAsset="BTC", contractSize=100)
    del entry["status"]
    return entry | {"contractStatus": "TRADING"} | changes


def body(*entries: Any) -> bytes:
    return json.dumps({"timezone": "UTC", "serverTime": 1, "rateLimits": [], "symbols": list(entries)}).encode()


def test_spot_pair_is_read_with_tick_and_lot_size() -> None:
    (pair,) = binance.read_list("spot", body(spot_entry()), 7).instruments

    assert (pair.symbol, pair.kind, pair.settle) == ("BTC/USDT", "SPOT", "")
    assert (pair.tick_size, pair.lot_size, pair.contract_multiplier, pair.is_inverse) == (0.01, 0.00001, 1.0, False)
    assert (pair.event_time_us, pair.is_trading, pair.is_assumed) == (7, True, False)


def test_pair_in_break_does_not_trade() -> None:
    (pair,) = binance.read_list("spot", body(spot_entry(status="BREAK")), 0).instruments

    assert not pair.is_trading


def test_filters_that_are_absent_or_zero_give_no_sizes() -> None:
    zero = [{"filterType": "PRICE_FILTER", "tickSize": "0.00000000"}]
    first, second = binance.read_list("spot", body(spot_entry(filters=[]), spot_entry(filters=zero)), 0).instruments

    assert (first.tick_size, first.lot_size, second.tick_size) == (None, None, None)


def test_usdm_perpetual_has_no_expiry() -> None:
    (perpetual,) = binance.read_list("usdm", body(usdm_entry()), 0).instruments

    assert (perpetual.symbol, perpetual.kind, perpetual.settle) == ("BTC/USDT:PERP", "PERPETUAL", "USDT")
    assert (perpetual.expiry_time_us, perpetual.contract_multiplier) == (0, 1.0)


def test_usdm_quarterly_is_named_by_its_expiry_day() -> None:
    entry = usdm_entry(symbol="BTCUSDT_260925", contractType="CURRENT_QUARTER", deliveryDate=EXPIRY_MS)
    (future,) = binance.read_list("usdm", body(entry), 0).instruments

    assert (future.symbol, future.kind) == ("BTC/USDT:20260925", "FUTURE")
    assert future.expiry_time_us == EXPIRY_MS * 1000


def test_coinm_contract_is_inverse_and_worth_its_contract_size() -> None:
    (perpetual,) = binance.read_list("coinm", body(coinm_entry()), 0).instruments

    assert (perpetual.symbol, perpetual.settle, perpetual.is_trading) == ("BTC/USD:PERP", "BTC", True)
    assert (perpetual.contract_multiplier, perpetual.is_inverse) == (100.0, True)
    assert perpetual.base_quantity(5.0, 50_000.0) == 0.01


@pytest.mark.parametrize(
    ("contract_type", "underlying", "expected"),
    [("TRADIFI_PERPETUAL", "EQUITY", "EQUITY"), ("TRADIFI_PERPETUAL", "COMMODITY", "COMMODITY"),
     ("TRADIFI_PERPETUAL", "KR_EQUITY", "EQUITY"), ("PERPETUAL", "INDEX", "CRYPTO"),
     ("PERPETUAL", "PREMARKET", "CRYPTO")],
)  # fmt: skip
def test_perpetuals_on_other_underlyings_keep_their_asset_class(
    contract_type: str, underlying: str, expected: str
) -> None:
    (perpetual,) = binance.read_list(
        "usdm", body(usdm_entry(contractType=contract_type, underlyingType=underlying)), 0
    ).instruments

    assert (perpetual.kind, perpetual.asset_class) == ("PERPETUAL", expected)


def test_contract_that_waits_for_trading_is_listed() -> None:
    (pending,) = binance.read_list("usdm", body(usdm_entry(contractType="", status="PENDING_TRADING")), 0).instruments

    assert (pending.symbol, pending.is_trading) == ("BTC/USDT:PERP", False)


@pytest.mark.parametrize(
    "odd",
    [{"symbol": "X"}, 5, None, "BTC", usdm_entry(contractType="LOTTERY"), usdm_entry(filters=3),
     usdm_entry(symbol="BTCUSDT_260925", contractType="CURRENT_QUARTER", deliveryDate=10**17)],
)  # fmt: skip
def test_odd_entry_is_left_out_and_told_while_the_rest_is_read(odd: Any) -> None:
    listed = body(odd, usdm_entry(symbol="ETHUSDT", baseAsset="ETH"))

    assert [each.venue_symbol for each in binance.read_list("usdm", listed, 0).instruments] == ["ETHUSDT"]
    assert len(binance.read_list("usdm", listed, 0).unreadable) == 1


@pytest.mark.parametrize(
    "garbage",
    [b"", b"{}", b"[]", b'{"symbols":{}}', b"<html>", b'{"code":-1121}', b"\xff", b'{"symbols":[' + b"[" * 100_000],
)
def test_body_that_is_no_list_is_refused(garbage: bytes) -> None:
    with pytest.raises(ValueError, match="not an exchangeInfo body"):
        binance.read_list("spot", garbage, 0)


def test_unknown_market_is_refused() -> None:
    with pytest.raises(ValueError, match="no market options"):
        binance.read_list("options", body(), 0)
    with pytest.raises(SymbolError, match="no market options"):
        binance.assumed_instrument("options", "BTCUSDT", 0)


@given(st.binary(max_size=80))
def test_no_body_does_worse_than_a_value_error(garbage: bytes) -> None:
    try:
        binance.read_list("usdm", garbage, 0)
    except ValueError:
        return


@pytest.mark.parametrize(
    ("market", "name", "symbol", "multiplier"),
    [("spot", "BTCFDUSD", "BTC/FDUSD", 1.0), ("spot", "ETHBTC", "ETH/BTC", 1.0),
     ("usdm", "BTCUSDT", "BTC/USDT:PERP", 1.0),
     ("usdm", "1000PEPEUSDC", "1000PEPE/USDC:PERP", 1.0), ("usdm", "BTCUSDT_260925", "BTC/USDT:20260925", 1.0),
     ("coinm", "BTCUSD_PERP", "BTC/USD:PERP", 100.0), ("coinm", "ETHUSD_261225", "ETH/USD:20261225", 10.0),
     ("coinm", "DOTUSD_PERP", "DOT/USD:PERP", 10.0)],
)  # fmt: skip
def test_instrument_is_assumed_from_its_name(market: str, name: str, symbol: str, multiplier: float) -> None:
    assumed = binance.assumed_instrument(market, name, 3)

    assert (assumed.symbol, assumed.contract_multiplier, assumed.is_assumed) == (symbol, multiplier, True)
    assert (assumed.event_time_us, assumed.is_inverse, assumed.tick_size) == (3, market == "coinm", None)


def test_assumed_future_expires_at_8_utc() -> None:
    assert binance.assumed_instrument("usdm", "BTCUSDT_260925", 0).expiry_time_us == EXPIRY_MS * 1000


@pytest.mark.parametrize(
    ("market", "name"),
    [("spot", "BTCXYZ"), ("spot", "USDT"), ("spot", ""), ("coinm", "BTCUSD"), ("usdm", "BTCUSDT_261399")],
)  # fmt: skip
def test_name_that_does_not_tell_is_refused(market: str, name: str) -> None:
    with pytest.raises(SymbolError):
        binance.assumed_instrument(market, name, 0)


def test_registry_is_keyed_by_venue_in_capitals() -> None:
    assert SYMBOLOGIES["BINANCE"] is binance
    assert all(venue.isupper() for venue in SYMBOLOGIES)


@pytest.mark.recordings
@pytest.mark.parametrize(
    ("name", "market", "count", "least_alike"),
    [("BINANCE", "spot", 1695, 0.99), ("BINANCE_FUTURES", "usdm", 122, 1.0), ("BINANCE_DELIVERY", "coinm", 36, 1.0)],
)
def test_recorded_list_is_read_whole_and_names_alone_tell_nearly_the_same(
    recordings: Path, name: str, market: str, count: int, least_alike: float
) -> None:
    recorded = (recordings / "cryptofeed" / f"{name}.0").read_bytes().splitlines()[0].split(b": ", 1)[1]
    listed = binance.read_list(market, recorded, 0).instruments
    assumed = [binance.assumed_instrument(market, each.venue_symbol, 0) for each in listed]
    alike = [a.symbol == b.symbol and a.contract_multiplier == b.contract_multiplier and a.settle == b.settle
             and a.expiry_time_us == b.expiry_time_us for a, b in zip(listed, assumed, strict=True)]  # fmt: skip

    assert len(listed) == count
    assert binance.read_list(market, recorded, 0).unreadable == []
    assert sum(alike) / count >= least_alike


def test_a_coinm_contract_without_its_worth_is_left_out() -> None:
    listing = binance.read_list("coinm", body({**coinm_entry(), "contractSize": None}, coinm_entry()), 0)

    assert [each.contract_multiplier for each in listing.instruments] == [100.0]
    assert len(listing.unreadable) == 1

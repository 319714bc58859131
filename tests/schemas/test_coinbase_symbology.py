"""Coinbase's product lists and names (bodies written after the venue's documents; recorded ones where they are)."""

import json
from pathlib import Path
from typing import Any

import pytest

from schemas.symbology import SymbolError
from schemas.venues import coinbase


def product(**changes: Any) -> dict[str, Any]:
    entry = {"id": "BTC-USD", "base_currency": "BTC", "quote_currency": "USD", "quote_increment": "0.01"}
    entry |= {"base_increment": "0.00000001", "display_name": "BTC-USD", "status": "online", "trading_disabled": False}
    return entry | changes


def advanced_product(**changes: Any) -> dict[str, Any]:
    entry = {"product_id": "BTC-USD", "base_currency_id": "BTC", "quote_currency_id": "USD", "product_type": "SPOT"}
    entry |= {"price_increment": "0.01", "base_increment": "0.00000001", "status": "online", "alias": ""}
    return entry | {"is_disabled": False, "view_only": False, "future_product_details": None} | changes


def future(**changes: Any) -> dict[str, Any]:
    details = {"contract_code": "BIT", "contract_size": "0.01", "contract_root_unit": "BTC"}
    details |= {"contract_expiry": "2026-12-25T16:00:00Z", "contract_expiry_type": "EXPIRING"}
    return advanced_product(
        product_id="BIT-25DEC26-CDE", base_currency_id="", product_type="FUTURE", price_increment="5",
        base_increment="1", status="", future_product_details=details | changes,
    )  # fmt: skip


def advanced(*entries: Any) -> bytes:
    return json.dumps({"products": entries, "num_products": len(entries)}).encode()


def test_a_product_of_the_exchange_list_has_tick_and_lot_size() -> None:
    (pair,) = coinbase.read_list("exchange", json.dumps([product()]).encode(), 7).instruments

    assert (pair.symbol, pair.kind, pair.tick_size, pair.lot_size) == ("BTC/USD", "SPOT", 0.01, 1e-8)
    assert (pair.event_time_us, pair.market, pair.is_trading, pair.is_assumed) == (7, "exchange", True, False)


@pytest.mark.parametrize("change", [{"status": "delisted"}, {"trading_disabled": True}])
def test_a_product_that_is_off_does_not_trade(change: Any) -> None:
    (pair,) = coinbase.read_list("exchange", json.dumps([product(**change)]).encode(), 0).instruments

    assert not pair.is_trading


def test_an_alias_is_left_out_and_told() -> None:
    body = advanced(
        advanced_product(), advanced_product(product_id="BTC-USDC", quote_currency_id="USDC", alias="BTC-USD")
    )

    assert [each.venue_symbol for each in coinbase.read_list("advanced", body, 0).instruments] == ["BTC-USD"]
    assert "the same book as BTC-USD" in coinbase.read_list("advanced", body, 0).unreadable[0]


def test_a_future_is_worth_its_size_and_named_by_expiry_and_code() -> None:
    (contract,) = coinbase.read_list("advanced", advanced(future()), 0).instruments

    assert (contract.symbol, contract.kind, contract.settle) == ("BTC/USD:20261225:BIT", "FUTURE", "USD")
    assert (contract.contract_multiplier, contract.is_inverse) == (0.01, False)
    assert contract.expiry_time_us == 1_798_214_400_000_000
    assert contract.base_quantity(3.0, 60_000.0) == 0.03


def test_a_perpetual_has_no_expiry() -> None:
    entry = future(contract_expiry_type="PERPETUAL", contract_size="1", contract_expiry=None)
    entry |= {"product_id": "BTC-PERP-INTX", "quote_currency_id": "USDC"}
    (contract,) = coinbase.read_list("advanced", advanced(entry), 0).instruments

    assert (contract.symbol, contract.kind, contract.expiry_time_us) == ("BTC/USDC:PERP", "PERPETUAL", 0)


@pytest.mark.parametrize(
    "odd",
    [5, None, {"product_id": "X"}, advanced_product(product_type="PREDICTION"), future(contract_expiry="tomorrow"),
     future(contract_expiry=None), future(contract_size="x"), future(contract_size="0"), future(contract_code="A:B"),
     future(contract_expiry="9999-12-25T16:00:00Z")],
)  # fmt: skip
def test_an_odd_entry_is_left_out_and_told_while_the_rest_is_read(odd: Any) -> None:
    body = advanced(odd, advanced_product(product_id="ETH-USD", base_currency_id="ETH"))

    assert [each.venue_symbol for each in coinbase.read_list("advanced", body, 0).instruments] == ["ETH-USD"]
    assert len(coinbase.read_list("advanced", body, 0).unreadable) == 1


@pytest.mark.parametrize("market", coinbase.MARKETS)
@pytest.mark.parametrize("garbage", [b"", b"5", b'{"message":"no"}', b"<html>", b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_list_is_refused(market: str, garbage: bytes) -> None:
    with pytest.raises(ValueError, match="not a product list"):
        coinbase.read_list(market, garbage, 0)


def test_an_unknown_market_is_refused() -> None:
    with pytest.raises(ValueError, match="no market spot"):
        coinbase.read_list("spot", b"[]", 0)
    with pytest.raises(SymbolError, match="no market spot"):
        coinbase.assumed_instrument("spot", "BTC-USD", 0)


@pytest.mark.parametrize(
    ("market", "name", "symbol"),
    [("exchange", "BTC-USD", "BTC/USD"), ("advanced", "USDT-USDC", "USDT/USDC"),
     ("advanced", "1000SHIB-PERP-INTX", "1000SHIB/USDC:PERP")],
)  # fmt: skip
def test_an_instrument_is_assumed_from_its_name(market: str, name: str, symbol: str) -> None:
    assumed = coinbase.assumed_instrument(market, name, 3)

    assert (assumed.symbol, assumed.is_assumed, assumed.event_time_us, assumed.venue) == (symbol, True, 3, "COINBASE")


@pytest.mark.parametrize("name", ["", "BTC", "BTC-", "-USD", "BIT-25DEC26-CDE", "A:B-USD"])
def test_a_name_that_does_not_tell_is_refused(name: str) -> None:
    with pytest.raises(SymbolError):
        coinbase.assumed_instrument("advanced", name, 0)


@pytest.mark.recordings
def test_the_recorded_list_is_read_whole_and_names_tell_the_same(recordings: Path) -> None:
    recorded = (recordings / "cryptofeed" / "COINBASE.0").read_bytes().splitlines()[0].split(b": ", 1)[1]
    listed = coinbase.read_list("exchange", recorded, 0).instruments

    assert len(listed) == len(json.loads(recorded)) == 162
    assert all(each.symbol == coinbase.assumed_instrument("exchange", each.venue_symbol, 0).symbol for each in listed)

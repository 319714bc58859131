"""Gate: lists of pairs and contracts, and bare names → canonical symbols."""

import json
from typing import Any

import pytest

from schemas.symbology import SymbolError
from schemas.venues import gate

PAIR = {
    "id": "BTC_USDT",
    "base": "BTC",
    "quote": "USDT",
    "precision": 1,
    "amount_precision": 5,
    "trade_status": "tradable",
}
LINEAR = {"name": "BTC_USDT", "type": "direct", "quanto_multiplier": "0.0001", "order_price_round": "0.1"}
INVERSE = {"name": "BTC_USD", "type": "inverse", "quanto_multiplier": "0", "order_price_round": "0.1"}


def body(*entries: Any) -> bytes:
    return json.dumps(entries).encode()


@pytest.mark.parametrize(
    ("market", "entry", "symbol", "multiplier", "steps"),
    [
        ("spot", PAIR, "BTC/USDT", 1.0, (0.1, 0.00001)),
        ("futures", LINEAR, "BTC/USDT:PERP", 0.0001, (0.1, 1.0)),
        ("inverse", INVERSE, "BTC/USD:PERP", 1.0, (0.1, 1.0)),
        ("delivery", LINEAR | {"name": "BTC_USDT_20261225"}, "BTC/USDT:20261225", 0.0001, (0.1, 1.0)),
    ],
)
def test_a_listed_instrument_and_its_bare_name_are_the_same(
    market: str, entry: Any, symbol: str, multiplier: float, steps: Any
) -> None:
    (found,) = gate.read_list(market, body(entry), 7).instruments
    assumed = gate.assumed_instrument(market, found.venue_symbol, 7)

    for each in (found, assumed):
        assert (each.symbol, each.contract_multiplier, each.is_inverse) == (symbol, multiplier, market == "inverse")
    assert (found.tick_size, found.lot_size, found.is_trading, assumed.is_assumed) == (*steps, True, True)


def test_a_contract_in_usd_that_is_not_inverse_is_left_out_and_named() -> None:
    quanto = {"name": "ETH_USD", "type": "direct", "quanto_multiplier": "0.000001", "order_price_round": "0.05"}
    found = gate.read_list("inverse", body(INVERSE, quanto), 0)

    assert [each.symbol for each in found.instruments] == ["BTC/USD:PERP"]
    assert "quanto" in found.unreadable[0]
    with pytest.raises(SymbolError, match="quanto"):
        gate.assumed_instrument("inverse", "ETH_USD", 0)


def test_what_is_closed_or_to_be_delisted_does_not_trade() -> None:
    (pair,) = gate.read_list("spot", body(PAIR | {"trade_status": "untradable"}), 0).instruments
    (contract,) = gate.read_list("futures", body(LINEAR | {"in_delisting": True}), 0).instruments

    assert not pair.is_trading
    assert not contract.is_trading


def test_entries_of_unknown_shape_are_left_out_and_named() -> None:
    listed = body(PAIR, {"id": "X"}, 5)

    assert [each.symbol for each in gate.read_list("spot", listed, 0).instruments] == ["BTC/USDT"]
    assert len(gate.read_list("spot", listed, 0).unreadable) == 2


@pytest.mark.parametrize("text", [b"", b"{}", b"\xff"])
def test_what_is_no_list_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="not a list"):
        gate.read_list("spot", text, 0)


@pytest.mark.parametrize("name", ["BTC", "_USDT", "BTC_USDT_20261399", ""])
def test_a_name_that_tells_nothing_is_refused(name: str) -> None:
    with pytest.raises(SymbolError):
        gate.assumed_instrument("futures", name, 0)


@pytest.mark.parametrize(
    ("market", "name"), [("futures", "BTC_USD"), ("inverse", "BTC_USDT"), ("delivery", "BTC_USDT")]
)
def test_a_contract_of_another_market_is_refused(market: str, name: str) -> None:
    with pytest.raises(SymbolError, match="none of the market"):
        gate.assumed_instrument(market, name, 0)

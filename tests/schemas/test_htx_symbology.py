"""HTX: lists of symbols and contracts, and bare names → canonical symbols."""

import json
from typing import Any

import pytest

from schemas.symbology import SymbolError
from schemas.venues import htx

PAIR = {"symbol": "btcusdt", "base-currency": "btc", "quote-currency": "usdt", "price-precision": 1,
        "amount-precision": 5, "state": "online"}  # fmt: skip
LINEAR = {"symbol": "BTC", "contract_code": "BTC-USDT", "contract_size": 0.001, "price_tick": 0.1, "contract_status": 1}
DATED = LINEAR | {"contract_code": "BTC-USDT-261225", "delivery_time": "1798185600000"}
COIN = LINEAR | {"contract_code": "BTC-USD", "contract_size": 100.0}


def body(*entries: Any) -> bytes:
    return json.dumps({"status": "ok", "data": entries}).encode()


@pytest.mark.parametrize(
    ("market", "entry", "expected"),
    [
        ("spot", PAIR, ("BTC/USDT", 1.0, False, "SPOT")),
        ("linear", LINEAR, ("BTC/USDT:PERP", 0.001, False, "PERPETUAL")),
        ("linear", DATED, ("BTC/USDT:20261225", 0.001, False, "FUTURE")),
        ("coin", COIN, ("BTC/USD:PERP", 100.0, True, "PERPETUAL")),
    ],
)
def test_a_listed_instrument_and_its_bare_name_are_the_same(market: str, entry: Any, expected: Any) -> None:
    (found,) = htx.read_list(market, body(entry), 7).instruments
    assumed = htx.assumed_instrument(market, found.venue_symbol, 7)

    for each in (found, assumed):
        assert (each.symbol, each.contract_multiplier, each.is_inverse, each.kind) == expected
    assert (found.settle, found.expiry_time_us) == (assumed.settle, assumed.expiry_time_us)
    assert (found.tick_size, found.is_trading, assumed.is_assumed) == (0.1, True, True)


def test_what_is_offline_does_not_trade() -> None:
    (pair,) = htx.read_list("spot", body(PAIR | {"state": "offline"}), 0).instruments
    (contract,) = htx.read_list("linear", body(LINEAR | {"contract_status": 3}), 0).instruments

    assert not pair.is_trading
    assert not contract.is_trading


def test_entries_of_unknown_shape_are_left_out_and_named() -> None:
    listed = body(COIN, {"symbol": "X"}, COIN | {"contract_code": "BTC_CQ"})

    assert [each.symbol for each in htx.read_list("coin", listed, 0).instruments] == ["BTC/USD:PERP"]
    assert len(htx.read_list("coin", listed, 0).unreadable) == 2


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b"\xff"])
def test_what_is_no_list_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="not a list"):
        htx.read_list("spot", text, 0)


@pytest.mark.parametrize(
    ("market", "name"),
    [("spot", "usdt"), ("coin", "BTC_CQ"), ("linear", "BTC-USDT-269999"), ("spot", "BTC-USDT"), ("linear", "BTC-USD"),
     ("coin", "BTC-USDT")],
)  # fmt: skip
def test_a_name_that_tells_nothing_is_refused(market: str, name: str) -> None:
    with pytest.raises(SymbolError):
        htx.assumed_instrument(market, name, 0)

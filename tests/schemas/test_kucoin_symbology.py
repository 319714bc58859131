"""KuCoin: lists of symbols and contracts, and bare names → canonical symbols."""

import json
from typing import Any

import pytest

from schemas.symbology import SymbolError
from schemas.venues import kucoin

PAIR = {"symbol": "BTC-USDT", "baseCurrency": "BTC", "quoteCurrency": "USDT", "baseIncrement": "0.00001",
        "priceIncrement": "0.1", "enableTrading": True}  # fmt: skip
LINEAR = {"symbol": "XBTUSDTM", "type": "FFWCSX", "expireDate": None, "baseCurrency": "XBT", "quoteCurrency": "USDT",
          "settleCurrency": "USDT", "multiplier": 0.001, "lotSize": 1, "tickSize": 0.1, "status": "Open"}  # fmt: skip
INVERSE = LINEAR | {"symbol": "XBTUSDM", "quoteCurrency": "USD", "settleCurrency": "XBT", "multiplier": -1.0,
                    "isInverse": True}  # fmt: skip
DATED = INVERSE | {"symbol": "XBTMZ26", "type": "FFICSX", "expireDate": 1798185600000}


def body(*entries: Any) -> bytes:
    return json.dumps({"code": "200000", "data": entries}).encode()


@pytest.mark.parametrize(
    ("market", "entry", "expected"),
    [
        ("spot", PAIR, ("BTC/USDT", 1.0, False, "SPOT")),
        ("futures", LINEAR, ("BTC/USDT:PERP", 0.001, False, "PERPETUAL")),
        ("futures", INVERSE, ("BTC/USD:PERP", 1.0, True, "PERPETUAL")),
        ("futures", DATED, ("BTC/USD:20261225", 1.0, True, "FUTURE")),
    ],
)
def test_a_listed_instrument_and_its_bare_name_are_the_same(market: str, entry: Any, expected: Any) -> None:
    (found,) = kucoin.read_list(market, body(entry), 7).instruments
    assumed = kucoin.assumed_instrument(market, entry["symbol"], 7)

    for each in (found, assumed):
        assert (each.symbol, each.contract_multiplier, each.is_inverse, each.kind) == expected
    assert (found.settle, found.expiry_time_us) == (assumed.settle, assumed.expiry_time_us)
    assert (found.tick_size, found.is_trading, assumed.is_assumed) == (0.1, True, True)


def test_what_is_closed_does_not_trade() -> None:
    (pair,) = kucoin.read_list("spot", body(PAIR | {"enableTrading": False}), 0).instruments
    (contract,) = kucoin.read_list("futures", body(LINEAR | {"status": "Paused"}), 0).instruments

    assert not pair.is_trading
    assert not contract.is_trading


def test_entries_of_unknown_shape_are_left_out_and_named() -> None:
    listed = body(PAIR, {"symbol": "X"}, PAIR | {"baseIncrement": "x"})

    assert [each.symbol for each in kucoin.read_list("spot", listed, 0).instruments] == ["BTC/USDT"]
    assert len(kucoin.read_list("spot", listed, 0).unreadable) == 2


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b"\xff"])
def test_what_is_no_list_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="not a list"):
        kucoin.read_list("futures", text, 0)


@pytest.mark.parametrize(("market", "name"), [("spot", "BTCUSDT"), ("spot", "-X"), ("futures", "XBT"), ("futures", "")])
def test_a_name_that_tells_nothing_is_refused(market: str, name: str) -> None:
    with pytest.raises(SymbolError):
        kucoin.assumed_instrument(market, name, 0)

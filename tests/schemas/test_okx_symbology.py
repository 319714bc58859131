"""OKX: public/instruments bodies and bare names → canonical symbols."""

import json
from typing import Any

import pytest

from schemas.symbology import SymbolError
from schemas.venues import okx

SPOT = {"instId": "BTC-USDT", "instType": "SPOT", "baseCcy": "BTC", "quoteCcy": "USDT"}
SWAP = {"instId": "BTC-USDT-SWAP", "instType": "SWAP", "uly": "BTC-USDT", "settleCcy": "USDT", "ctVal": "0.01",
        "ctMult": "1", "ctType": "linear"}  # fmt: skip
INVERSE = {"instId": "BTC-USD-SWAP", "instType": "SWAP", "uly": "BTC-USD", "settleCcy": "BTC", "ctVal": "100",
           "ctMult": "1", "ctType": "inverse"}  # fmt: skip
FUTURE = {"instId": "BTC-USD-261225", "instType": "FUTURES", "uly": "BTC-USD", "settleCcy": "BTC", "ctVal": "100",
          "ctMult": "1", "ctType": "inverse", "expTime": "1798185600000"}  # fmt: skip
OPTION = {"instId": "BTC-USD-261225-60000-C", "instType": "OPTION", "uly": "BTC-USD", "settleCcy": "BTC", "ctVal": "1",
          "ctMult": "0.01", "expTime": "1798185600000", "stk": "60000", "optType": "C"}  # fmt: skip


def body(*entries: Any) -> bytes:
    return json.dumps({"code": "0", "msg": "", "data": entries}).encode()


@pytest.mark.parametrize(
    ("market", "entry", "symbol", "multiplier", "is_inverse"),
    [
        ("spot", SPOT, "BTC/USDT", 1.0, False),
        ("swap", SWAP, "BTC/USDT:PERP", 0.01, False),
        ("swap", INVERSE, "BTC/USD:PERP", 100.0, True),
        ("futures", FUTURE, "BTC/USD:20261225", 100.0, True),
        ("option", OPTION, "BTC/USD:20261225:60000:C", 0.01, False),
    ],
)
def test_a_listed_instrument_and_its_bare_name_are_the_same(
    market: str, entry: Any, symbol: str, multiplier: float, is_inverse: bool
) -> None:
    listed = entry | {"tickSz": "0.1", "lotSz": "1", "state": "live"}
    (found,) = okx.read_list(market, body(listed), 7).instruments
    assumed = okx.assumed_instrument(market, entry["instId"], 7)

    assert (found.symbol, found.contract_multiplier, found.is_inverse) == (symbol, multiplier, is_inverse)
    assert (assumed.symbol, assumed.contract_multiplier, assumed.is_inverse) == (symbol, multiplier, is_inverse)
    assert (found.kind, found.settle, found.expiry_time_us) == (assumed.kind, assumed.settle, assumed.expiry_time_us)
    assert (found.tick_size, found.lot_size, found.is_trading, assumed.is_assumed) == (0.1, 1.0, True, True)


def test_margin_in_another_coin_makes_a_contract_linear() -> None:
    found = okx.assumed_instrument("futures", "BTC-USD_UM_XPERP-310404", 0)

    assert (found.symbol, found.is_inverse, found.settle) == ("BTC/USD:20310404:UM_XPERP", False, "USD")
    assert found.contract_multiplier == 1.0


@pytest.mark.parametrize("family", ["BTC-USD_UM", ""])
def test_contracts_of_one_pair_with_other_margin_have_symbols_of_their_own(family: str) -> None:
    by_margin = SWAP | {"instId": "BTC-USD_UM-SWAP", "uly": "BTC-USD", "instFamily": family, "settleCcy": "USD"}
    dated = FUTURE | {"instId": "BTC-USD_UM-261225", "instFamily": family, "ctType": "linear"}
    swaps = okx.read_list("swap", body(INVERSE, by_margin), 0).instruments
    futures = okx.read_list("futures", body(FUTURE, dated), 0).instruments

    assert [each.symbol for each in swaps] == ["BTC/USD:PERP", "BTC/USD:PERP:UM"]
    assert [each.symbol for each in futures] == ["BTC/USD:20261225", "BTC/USD:20261225:UM"]
    assumed = [okx.assumed_instrument(each.market, each.venue_symbol, 0).symbol for each in (*swaps, *futures)]
    assert assumed == [each.symbol for each in (*swaps, *futures)]


def test_a_suspended_instrument_does_not_trade() -> None:
    (found,) = okx.read_list("spot", body(SPOT | {"state": "suspend"}), 0).instruments

    assert not found.is_trading


def test_an_entry_of_unknown_shape_is_left_out_and_named() -> None:
    listed = body(SPOT, {"instId": "X"}, SWAP | {"ctVal": "nan"}, SWAP | {"instType": "EVENTS"})

    assert [each.venue_symbol for each in okx.read_list("spot", listed, 0).instruments] == ["BTC-USDT"]
    assert len(okx.read_list("spot", listed, 0).unreadable) == 3


@pytest.mark.parametrize(
    ("entry", "field"),
    [
        (SWAP, "ctVal"),
        (INVERSE, "ctType"),
        (FUTURE, "expTime"),
        *((OPTION, each) for each in ("ctMult", "stk", "optType")),
    ],
)
def test_a_contract_of_which_is_not_told_what_it_is_is_left_out(entry: dict[str, str], field: str) -> None:
    listing = okx.read_list("swap", body({name: each for name, each in entry.items() if name != field}), 0)

    assert (listing.instruments, len(listing.unreadable)) == ([], 1)


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"data":1}', b"\xff"])
def test_what_is_no_list_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="public/instruments"):
        okx.read_list("spot", text, 0)


@pytest.mark.parametrize("name", ["BTC", "BTC-USDT-SWOP", "BTC-USD-269925", "", "BTC-USD-261225-60000"])
def test_a_name_that_tells_nothing_is_refused(name: str) -> None:
    with pytest.raises(SymbolError):
        okx.assumed_instrument("swap", name, 0)

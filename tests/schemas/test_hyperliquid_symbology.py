"""Hyperliquid's lists and names (bodies written after the venue's documents; recorded ones where they are)."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from fuzz.seeds import lists
from schemas.symbology import SymbolError
from schemas.venues import hyperliquid


def listed(market: str) -> dict[str, Any]:
    """Instruments of the documented list of a market, by their names."""
    return {
        each.venue_symbol: each
        for each in hyperliquid.read_list(market, lists("HYPERLIQUID", market)[0], 7).instruments
    }


def test_perpetuals_are_settled_in_the_collateral_of_their_exchange() -> None:
    found = listed("perp")

    assert {name: each.symbol for name, each in found.items()} == {
        "BTC": "BTC/USDC:PERP", "MATIC": "MATIC/USDC:PERP", "xyz:TSLA": "TSLA/USDC:PERP:XYZ",
        "hyna:BTC": "BTC/USDE:PERP:HYNA",
    }  # fmt: skip
    assert {each.settle for each in found.values()} == {"USDC", "USDE"}
    assert (found["BTC"].lot_size, found["BTC"].tick_size, found["BTC"].event_time_us) == (1e-5, None, 7)
    assert (found["BTC"].is_trading, found["MATIC"].is_trading) == (True, False)
    assert {(each.contract_multiplier, each.is_inverse) for each in found.values()} == {(1.0, False)}


def test_a_list_of_one_exchange_is_read_as_well() -> None:
    body = json.dumps(json.loads(lists("HYPERLIQUID", "perp")[0])[0]).encode()

    assert [each.venue_symbol for each in hyperliquid.read_list("perp", body, 0).instruments] == ["BTC", "MATIC"]


def test_pairs_go_by_their_tokens_and_those_of_like_names_are_told_apart() -> None:
    found = listed("spot")

    assert {name: each.symbol for name, each in found.items()} == {
        "PURR/USDC": "PURR/USDC", "@107": "HYPE/USDC", "@108": "HYPE/USDC:108",
    }  # fmt: skip
    assert (found["@107"].kind, found["@107"].lot_size, found["@107"].market) == ("SPOT", 0.01, "spot")


@pytest.mark.parametrize(
    "odd", [5, None, {}, {"name": "BTC", "szDecimals": -1}, {"name": "a:b:c", "szDecimals": 1}, {"name": "@1"}]
)
def test_an_odd_entry_is_left_out_and_told(odd: Any) -> None:
    body = json.dumps({"universe": [odd, {"name": "ETH", "szDecimals": 4}]}).encode()

    assert [each.venue_symbol for each in hyperliquid.read_list("perp", body, 0).instruments] == ["ETH"]
    assert len(hyperliquid.read_list("perp", body, 0).unreadable) == 1


def test_a_pair_of_tokens_that_are_not_listed_is_left_out() -> None:
    body = json.loads(lists("HYPERLIQUID", "spot")[0])
    body["universe"] += [
        {"name": "@200", "index": 200, "tokens": [999, 0]},
        {"name": "x", "index": 1, "tokens": [1, 0]},
    ]

    assert len(hyperliquid.read_list("spot", json.dumps(body).encode(), 0).unreadable) == 2


@pytest.mark.parametrize("garbage", [b"", b"5", b"{}", b"[5]", b'"Invalid"', b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_list_is_refused(garbage: bytes) -> None:
    with pytest.raises(ValueError, match="not a meta body"):
        hyperliquid.read_list("perp", garbage, 0)


def test_an_unknown_market_is_refused() -> None:
    with pytest.raises(ValueError, match="no market swap"):
        hyperliquid.read_list("swap", b"{}", 0)
    with pytest.raises(SymbolError, match="no market swap"):
        hyperliquid.assumed_instrument("swap", "BTC", 0)


@pytest.mark.parametrize(
    ("name", "symbol"),
    [("BTC", "BTC/USDC:PERP"), ("kPEPE", "KPEPE/USDC:PERP"), ("xyz:TSLA", "TSLA/USDC:PERP:XYZ"),
     ("PURR/USDC", "PURR/USDC"), ("@107", "HYPE/USDC"), ("@2", "SPOT2/USDC")],
)  # fmt: skip
def test_an_instrument_is_assumed_from_its_name_in_either_market(name: str, symbol: str) -> None:
    for market in hyperliquid.MARKETS:
        assumed = hyperliquid.assumed_instrument(market, name, 3)

        assert (assumed.symbol, assumed.market, assumed.is_assumed) == (symbol, market, True)


@pytest.mark.parametrize("name", ["", "@", "@x", "a:b:c", "#5", "BTC USD", "/USDC"])
def test_a_name_that_does_not_tell_is_refused(name: str) -> None:
    with pytest.raises(SymbolError):
        hyperliquid.assumed_instrument("perp", name, 0)


@pytest.mark.recordings
def test_the_recorded_list_is_read_whole(recordings: Path) -> None:
    text = (recordings / "hyperliquid-python-sdk/tests/cassettes/info_test/test_get_info.yaml").read_text()
    body = re.search(r"string: '(\{\"universe\".*\})'", text)[1].encode()  # type: ignore[index]  # it is there
    found = hyperliquid.read_list("perp", body, 0).instruments

    assert len(found) == len(json.loads(body)["universe"]) == 28
    assert [each.symbol for each in found] == [
        hyperliquid.assumed_instrument("perp", each.venue_symbol, 0).symbol for each in found
    ]

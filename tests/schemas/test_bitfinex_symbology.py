"""Bitfinex's lists and names (bodies written after the venue's documents; recorded ones where they are)."""

import json
from pathlib import Path

import pytest

from schemas.symbology import SymbolError
from schemas.venues import bitfinex


def body(*sections: object) -> bytes:
    return json.dumps(sections).encode()


def test_pairs_of_three_letters_and_with_a_colon_are_read() -> None:
    listed = bitfinex.read_list("spot", body(["BTCUSD", "AVAX:USD", "TESTBTC:TESTUSD"]), 7).instruments

    assert [(each.venue_symbol, each.symbol) for each in listed] == [
        ("tBTCUSD", "BTC/USD"), ("tAVAX:USD", "AVAX/USD"), ("tTESTBTC:TESTUSD", "TESTBTC/TESTUSD"),
    ]  # fmt: skip
    assert {(each.kind, each.settle, each.event_time_us, each.is_trading) for each in listed} == {("SPOT", "", 7, True)}


def test_each_market_takes_its_own_pairs() -> None:
    both = body(["BTCUST", "BTCF0:USTF0", "ETHF0:BTCF0"])

    assert [each.symbol for each in bitfinex.read_list("spot", both, 0).instruments] == ["BTC/USDT"]
    assert [(each.symbol, each.settle) for each in bitfinex.read_list("derivatives", both, 0).instruments] == [
        ("BTC/USDT:PERP", "USDT"), ("ETH/BTC:PERP", "BTC"),
    ]  # fmt: skip


def test_the_venues_own_map_of_currencies_goes_before_what_we_know() -> None:
    mapped = body(["NEWUST", "UDCUSD", "ODDUSD"], [["NEW", "NOVA"], ["UST", "USDt"], ["ODD", "ODD Group"]])

    assert [each.symbol for each in bitfinex.read_list("spot", mapped, 0).instruments] == [
        "NOVA/USDT",
        "USDC/USD",
        "ODD/USD",
    ]


@pytest.mark.parametrize(
    ("market", "name", "symbol", "asset_class"),
    [
        ("spot", "tIOTUSD", "IOTA/USD", "CRYPTO"),
        ("spot", "tEURUST", "EUR/USDT", "FOREX"),
        ("derivatives", "tXAGF0:USTF0", "XAG/USDT:PERP", "COMMODITY"),
        ("derivatives", "tGERMANY30IXF0:USTF0", "GERMANY30IX/USDT:PERP", "EQUITY"),
        ("derivatives", "tBTCF0:USTF0", "BTC/USDT:PERP", "CRYPTO"),
    ],
)
def test_names_alone_tell_symbol_and_class(market: str, name: str, symbol: str, asset_class: str) -> None:
    found = bitfinex.assumed_instrument(market, name, 0)

    assert (found.symbol, found.asset_class, found.is_assumed) == (symbol, asset_class, True)


def test_an_entry_of_unknown_shape_is_left_out_and_named() -> None:
    mixed = body(["BTCUSD", "BTC", 5, ["a"]])

    assert [each.symbol for each in bitfinex.read_list("spot", mixed, 0).instruments] == ["BTC/USD"]
    assert len(bitfinex.read_list("spot", mixed, 0).unreadable) == 3


@pytest.mark.parametrize("content", [b"", b"{}", b'["error",10020,"conf: invalid"]', b"\xff"])
def test_what_is_no_list_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="not a list of pairs"):
        bitfinex.read_list("spot", content, 0)


@pytest.mark.parametrize(
    ("market", "name"),
    [
        ("spot", "BTCUSD"), ("spot", "tBTCF0:USTF0"), ("derivatives", "tBTCUSD"), ("spot", "tBTC"), ("spot", "fUSD"),
        ("spot", "t:USD"), ("futures", "tBTCUSD"),
    ],
)  # fmt: skip
def test_other_names_are_refused(market: str, name: str) -> None:
    with pytest.raises(SymbolError):
        bitfinex.assumed_instrument(market, name, 0)


@pytest.mark.recordings
def test_recorded_lists_are_read_whole(recordings: Path) -> None:
    lines = (recordings / "cryptofeed" / "BITFINEX.0").read_bytes().split(b"\n")
    bodies = {line.partition(b" ")[0].rpartition(b":")[2]: line.partition(b": ")[2] for line in lines[:3]}
    spot = bitfinex.read_list("spot", bodies[b"exchange"], 0).instruments
    perpetuals = bitfinex.read_list("derivatives", bodies[b"future"], 0).instruments

    assert (len({each.symbol for each in spot}), len({each.symbol for each in perpetuals})) == (293, 35)
    assert bitfinex.read_list("spot", bodies[b"exchange"], 0).unreadable == []

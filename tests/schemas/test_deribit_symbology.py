"""Deribit's instrument lists and names (bodies written after the venue's documents; recorded ones where they are)."""

import json
from pathlib import Path
from typing import Any

import pytest

from fuzz.seeds import lists
from schemas.symbology import SymbolError
from schemas.venues import deribit

EXPIRY_US = 1_798_185_600_000_000  # 2026-12-25 08:00 UTC


def listed(market: str) -> dict[str, Any]:
    """Instruments of the documented list of a market, by their names."""
    return {each.venue_symbol: each for each in deribit.read_list(market, lists("DERIBIT", market)[0], 7).instruments}


def body(*entries: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "result": entries}).encode()


def entry(**changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(lists("DERIBIT", "futures")[0])["result"][0]
    return found | changes


def test_an_inverse_perpetual_counts_in_usd() -> None:
    perpetual = listed("futures")["BTC-PERPETUAL"]

    assert (perpetual.symbol, perpetual.kind, perpetual.settle) == ("BTC/USD:PERP", "PERPETUAL", "BTC")
    assert (perpetual.is_inverse, perpetual.contract_multiplier, perpetual.expiry_time_us) == (True, 1.0, 0)
    assert (perpetual.tick_size, perpetual.lot_size, perpetual.event_time_us) == (0.5, 10.0, 7)
    assert perpetual.base_quantity(6000.0, 60_000.0) == 0.1


def test_a_dated_future_expires_when_the_list_says() -> None:
    future = listed("futures")["BTC-25DEC26"]

    assert (future.symbol, future.kind, future.expiry_time_us) == ("BTC/USD:20261225", "FUTURE", EXPIRY_US)


def test_a_linear_perpetual_counts_in_base_currency() -> None:
    perpetual = listed("futures")["ETH_USDC-PERPETUAL"]

    assert (perpetual.symbol, perpetual.settle, perpetual.is_inverse) == ("ETH/USDC:PERP", "USDC", False)


def test_options_count_in_base_currency_and_bring_the_volatility_index() -> None:
    found = listed("options")
    option, index = found["BTC-25DEC26-60000-C"], found["btc_usd"]

    assert (option.symbol, option.kind, option.settle) == ("BTC/USD:20261225:60000:C", "OPTION", "BTC")
    assert (option.is_inverse, option.tick_size, option.lot_size) == (False, 0.0005, 0.1)
    assert (index.symbol, index.kind, index.is_assumed) == ("BTC/USD:DVOL", "INDEX", False)


def test_a_spot_pair() -> None:
    pair = listed("spot")["BTC_USDC"]

    assert (pair.symbol, pair.kind, pair.settle, pair.is_inverse) == ("BTC/USDC", "SPOT", "", False)


@pytest.mark.parametrize(
    "odd",
    [5, None, {}, entry(kind="future_combo", instrument_name="BTC-FS-25DEC26_PERP"), entry(instrument_name="BTC"),
     entry(instrument_name="BTC-25XYZ26"), entry(instrument_name="BTC-25DEC26", expiration_timestamp=10**17),
     entry(tick_size=-1)],
)  # fmt: skip
def test_combos_and_odd_entries_are_left_out_and_told(odd: Any) -> None:
    found = deribit.read_list(
        "futures", body(odd, entry(instrument_name="ETH-PERPETUAL", base_currency="ETH")), 0
    ).instruments

    assert [each.symbol for each in found] == ["ETH/USD:PERP"]
    assert len(deribit.read_list("futures", body(odd), 0).unreadable) == 1


@pytest.mark.parametrize("garbage", [b"", b"{}", b"[]", b'{"error":{"code":1}}', b"\xff", b'{"result":' + b"[" * 10**5])
def test_a_body_that_is_no_list_is_refused(garbage: bytes) -> None:
    with pytest.raises(ValueError, match="not a get_instruments body"):
        deribit.read_list("options", garbage, 0)


def test_an_unknown_market_is_refused() -> None:
    with pytest.raises(ValueError, match="no market all"):
        deribit.read_list("all", body(), 0)
    with pytest.raises(SymbolError, match="no market all"):
        deribit.assumed_instrument("all", "BTC-PERPETUAL", 0)


@pytest.mark.parametrize(
    ("name", "symbol", "is_inverse"),
    [("BTC-PERPETUAL", "BTC/USD:PERP", True), ("SOL_USDC-PERPETUAL", "SOL/USDC:PERP", False),
     ("ETH-25DEC26", "ETH/USD:20261225", True), ("BTC_USDC-9MAR24", "BTC/USDC:20240309", False),
     ("BTC-25DEC26-60000-P", "BTC/USD:20261225:60000:P", False), ("BTC_USDC", "BTC/USDC", False),
     ("XRP_USDC-9MAR24-0d625-C", "XRP/USDC:20240309:0.625:C", False), ("eth_usd", "ETH/USD:DVOL", False),
     ("BTCDVOL_USDC-25DEC26", "BTCDVOL/USDC:20261225", False)],
)  # fmt: skip
def test_an_instrument_is_assumed_from_its_name(name: str, symbol: str, is_inverse: bool) -> None:
    assumed = deribit.assumed_instrument("options", name, 3)

    assert (assumed.symbol, assumed.is_inverse, assumed.is_assumed) == (symbol, is_inverse, True)
    assert (assumed.event_time_us, assumed.contract_multiplier) == (3, 1.0)


@pytest.mark.parametrize("name", ["", "BTC", "BTC-FS-30SEP22_PERP", "BTC-STRD-30SEP22-20000", "BTC-31FEB26", "btc"])
def test_a_name_that_does_not_tell_is_refused(name: str) -> None:
    with pytest.raises(SymbolError):
        deribit.assumed_instrument("futures", name, 0)


@pytest.mark.recordings
def test_recorded_lists_are_read_whole_and_names_alone_tell_the_same(recordings: Path) -> None:
    lines = (recordings / "cryptofeed" / "DERIBIT.0").read_bytes().splitlines()
    bodies = [line.split(b": ", 1)[1] for line in lines if b"/get_instruments?" in line]
    found = [each for recorded in bodies for each in deribit.read_list("options", recorded, 0).instruments]
    assumed = [deribit.assumed_instrument("options", each.venue_symbol, 0) for each in found]
    facts = ["symbol", "kind", "base", "quote", "settle", "expiry_time_us", "contract_multiplier", "is_inverse"]

    assert len(found) == sum(len(json.loads(recorded)["result"]) for recorded in bodies) + 2  # and two indices
    assert [[getattr(each, fact) for fact in facts] for each in found] == [
        [getattr(each, fact) for fact in facts] for each in assumed
    ]

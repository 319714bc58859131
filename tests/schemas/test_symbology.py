"""Canonical symbols are the same for all venues, and found from both sides."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.records import Instrument
from schemas.symbology import SymbolError, Symbology, canonical_symbol, partition_of, split_pair


def instrument(**changes: Any) -> Instrument:
    values: dict[str, Any] = {
        "event_time_us": 1,
        "venue": "BINANCE",
        "market": "spot",
        "venue_symbol": "BTCUSDT",
        "symbol": "BTC/USDT",
        "asset_class": "CRYPTO",
        "kind": "SPOT",
        "base": "BTC",
        "quote": "USDT",
    }
    return Instrument(**values | changes)


def test_spot_perpetual_and_future_have_names_of_their_own() -> None:
    expiry_time_us = 1_798_185_600_000_000  # 2026-12-25T08:00Z

    assert canonical_symbol("BTC", "USDT") == "BTC/USDT"
    assert canonical_symbol("eth", "usdt", perpetual=True) == "ETH/USDT:PERP"
    assert canonical_symbol("BTC", "USD", expiry_time_us=expiry_time_us) == "BTC/USD:20261225"


def test_a_pair_is_split_by_the_longest_quote_that_ends_it() -> None:
    assert split_pair("BTCFDUSD", ["USD", "FDUSD"]) == ("BTC", "FDUSD")


@pytest.mark.parametrize("name", ["BTCXYZ", "USDT", ""])
def test_a_name_without_a_known_quote_is_an_error(name: str) -> None:
    with pytest.raises(SymbolError):
        split_pair(name, ["USDT", "USD"])


@given(symbol=st.text(max_size=20), count=st.integers(1, 1000))
def test_a_symbol_has_one_partition_within_the_count(symbol: str, count: int) -> None:
    assert partition_of(symbol, count) == partition_of(symbol, count)
    assert 0 <= partition_of(symbol, count) < count


def test_partitions_of_known_symbols_never_change() -> None:
    assert [partition_of(symbol, 4) for symbol in ("BTC/USDT", "ETH/USDT:PERP", "AAPL", "EUR/USD")] == [3, 1, 0, 2]


def test_an_instrument_is_found_by_both_names() -> None:
    known = Symbology([instrument()])

    assert known.find("spot", "BTCUSDT") == known.by_symbol("BTC/USDT") == instrument()


def test_an_unlisted_symbol_is_none_or_an_error() -> None:
    assert Symbology().find("spot", "BTCUSDT") is None
    with pytest.raises(SymbolError):
        Symbology().by_symbol("BTC/USDT")


def test_an_update_tells_only_what_is_new_or_changed() -> None:
    known = Symbology([instrument()])
    halted = instrument(is_trading=False)

    assert known.update([instrument(event_time_us=2)]) == []
    assert known.update([halted]) == [halted]
    assert known.by_symbol("BTC/USDT") == halted


def test_of_two_instruments_with_one_canonical_name_the_trading_one_is_found() -> None:
    old = instrument(venue_symbol="BTCUSDT_OLD", is_trading=False)

    assert Symbology([instrument(), old]).by_symbol("BTC/USDT") == instrument()
    assert Symbology([old, instrument()]).by_symbol("BTC/USDT") == instrument()


def test_base_quantity_of_linear_and_inverse_contracts() -> None:
    linear = instrument(contract_multiplier=0.01)
    inverse = instrument(contract_multiplier=100.0, is_inverse=True)

    assert linear.base_quantity(5.0, 123.0) == pytest.approx(0.05)
    assert inverse.base_quantity(5.0, 50_000.0) == pytest.approx(0.01)

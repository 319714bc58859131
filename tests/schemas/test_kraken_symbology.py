"""Kraken's lists and names (bodies written after the venue's documents; recorded ones where they are)."""

import json
from pathlib import Path
from typing import Any

import pytest

from schemas.symbology import SymbolError
from schemas.venues import kraken


def pair_entry(**changes: Any) -> dict[str, Any]:
    entry = {"altname": "XBTUSD", "wsname": "XBT/USD", "aclass_base": "currency", "base": "XXBT", "quote": "ZUSD"}
    entry |= {"pair_decimals": 1, "lot_decimals": 8, "tick_size": "0.1", "status": "online", "ordermin": "0.0001"}
    return entry | changes


def pairs(*entries: Any) -> bytes:
    return json.dumps({"error": [], "result": {str(at): entry for at, entry in enumerate(entries)}}).encode()


def future_entry(symbol: str, **changes: Any) -> dict[str, Any]:
    entry = {"symbol": symbol, "type": "flexible_futures", "tickSize": 0.5, "contractSize": 1, "tradeable": True}
    return entry | {"contractValueTradePrecision": 4, "base": "BTC", "quote": "USD", "pair": "BTC:USD"} | changes


def futures(*entries: Any) -> bytes:
    return json.dumps({"result": "success", "instruments": list(entries)}).encode()


@pytest.mark.parametrize(("market", "name"), [("spot", "BTC/USD"), ("spot_v1", "XBT/USD")])
def test_a_pair_has_the_name_of_its_api_and_one_symbol(market: str, name: str) -> None:
    (pair,) = kraken.read_list(market, pairs(pair_entry()), 7).instruments

    assert (pair.venue_symbol, pair.symbol, pair.kind, pair.asset_class) == (name, "BTC/USD", "SPOT", "CRYPTO")
    assert (pair.tick_size, pair.lot_size, pair.is_trading, pair.event_time_us) == (0.1, 1e-8, True, 7)


def test_lists_of_2021_tell_the_tick_by_its_decimals_and_no_status() -> None:
    entry = pair_entry(pair_decimals=5)
    del entry["tick_size"], entry["status"]

    (pair,) = kraken.read_list("spot", pairs(entry), 0).instruments

    assert (pair.tick_size, pair.is_trading) == (1e-5, True)


@pytest.mark.parametrize(("status", "is_trading"), [("online", True), ("limit_only", True), ("cancel_only", False)])
def test_a_status_without_matching_is_no_trading(status: str, is_trading: bool) -> None:
    (pair,) = kraken.read_list("spot", pairs(pair_entry(status=status)), 0).instruments

    assert pair.is_trading is is_trading


@pytest.mark.parametrize(
    ("changes", "symbol", "asset_class"),
    [
        ({"wsname": "XDG/XBT"}, "DOGE/BTC", "CRYPTO"),
        ({"wsname": "EUR/USD"}, "EUR/USD", "FOREX"),
        ({"wsname": "AAPLx/USD", "aclass_base": "tokenized_asset"}, "AAPLX/USD", "EQUITY"),
    ],
)
def test_symbols_and_classes_of_pairs(changes: Any, symbol: str, asset_class: str) -> None:
    (pair,) = kraken.read_list("spot", pairs(pair_entry(**changes)), 0).instruments

    assert (pair.symbol, pair.asset_class) == (symbol, asset_class)


def test_pairs_of_dark_pools_have_no_stream() -> None:
    entry = pair_entry()
    del entry["wsname"]

    assert kraken.read_list("spot", pairs(entry), 0).instruments == []
    assert kraken.read_list("spot", pairs(entry), 0).unreadable == []


@pytest.mark.parametrize(
    ("name", "symbol", "settle", "is_inverse", "kind"),
    [
        ("PF_XBTUSD", "BTC/USD:PERP", "USD", False, "PERPETUAL"),
        ("PI_XBTUSD", "BTC/USD:PERP:BTC", "BTC", True, "PERPETUAL"),
        ("PV_XRPXBT", "XRP/BTC:PERP", "BTC", False, "PERPETUAL"),
        ("FF_ETHUSD_261225", "ETH/USD:20261225", "USD", False, "FUTURE"),
        ("FI_ETHUSD_261225", "ETH/USD:20261225:ETH", "ETH", True, "FUTURE"),
    ],
)
def test_futures_by_their_names(name: str, symbol: str, settle: str, is_inverse: bool, kind: str) -> None:
    future = kraken.assumed_instrument("futures", name, 0)

    assert (future.symbol, future.settle, future.is_inverse, future.kind) == (symbol, settle, is_inverse, kind)
    assert (future.contract_multiplier, future.is_assumed) == (1.0, True)


def test_a_listed_future_has_sizes_and_the_instant_of_its_expiry() -> None:
    entry = future_entry("FF_XBTUSD_261225", lastTradingTime="2026-12-25T08:00:00.000Z", contractSize=2)
    (future,) = kraken.read_list("futures", futures(entry), 0).instruments

    assert (future.symbol, future.expiry_time_us) == ("BTC/USD:20261225", 1_798_185_600_000_000)
    assert (future.tick_size, future.lot_size, future.contract_multiplier) == (0.5, 0.0001, 2.0)


def test_small_letters_of_lists_are_capitals_in_streams() -> None:
    entry = future_entry("pf_aaplxusd", contractValueTradePrecision=-3, base="AAPLx")
    (future,) = kraken.read_list("futures", futures(entry), 0).instruments

    assert (future.venue_symbol, future.symbol, future.lot_size) == ("PF_AAPLXUSD", "AAPLX/USD:PERP", 1000.0)


def test_an_entry_of_unknown_shape_is_left_out_and_named() -> None:
    body = futures(future_entry("PF_XBTUSD"), {"symbol": "in_xbtusd", "type": "spot index"}, {"symbol": "ZZ_1"}, 5)

    assert [each.venue_symbol for each in kraken.read_list("futures", body, 0).instruments] == ["PF_XBTUSD"]
    assert len(kraken.read_list("futures", body, 0).unreadable) == 2


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"error":["EGeneral:Internal error"]}', b"\xff"])
@pytest.mark.parametrize("market", kraken.MARKETS)
def test_what_is_no_list_is_refused(market: str, body: bytes) -> None:
    with pytest.raises(ValueError, match="not a list"):
        kraken.read_list(market, body, 0)


@pytest.mark.parametrize(
    ("market", "name"),
    [
        ("spot", "BTCUSD"), ("spot", "/USD"), ("futures", "XBTUSD"), ("futures", "PF_XBTUSD_261225"),
        ("futures", "FI_XBTUSD"), ("futures", "FI_XBTUSD_269999"), ("futures", "PF_ZZZ"), ("options", "BTC/USD"),
    ],
)  # fmt: skip
def test_other_names_are_refused(market: str, name: str) -> None:
    with pytest.raises(SymbolError):
        kraken.assumed_instrument(market, name, 0)


@pytest.mark.recordings
@pytest.mark.parametrize(("name", "market", "count"), [("KRAKEN", "spot", 293), ("KRAKEN_FUTURES", "futures", 17)])
def test_a_recorded_list_is_read_whole_and_agrees_with_names(
    recordings: Path, name: str, market: str, count: int
) -> None:
    body = (recordings / "cryptofeed" / f"{name}.0").read_bytes().split(b"\n")[0].partition(b": ")[2]
    listed = kraken.read_list(market, body, 0).instruments

    assert kraken.read_list(market, body, 0).unreadable == []
    assert len({each.symbol for each in listed}) == len(listed) == count
    for each in listed:
        assumed = kraken.assumed_instrument(market, each.venue_symbol, 0)
        assert (assumed.symbol, assumed.is_inverse, assumed.asset_class) == (
            each.symbol, each.is_inverse, each.asset_class,
        )  # fmt: skip

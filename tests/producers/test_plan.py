"""Plans: every wanted stream once, limits kept, one partition a connection; mistakes are named."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers import plan
from producers.venues import binance
from producers.wire import Stream
from schemas.symbology import Symbology, partition_of
from schemas.venues.binance import assumed_instrument
from tickerplant.errors import UserError
from tickerplant.settings import Venue

BASES = ("BTC", "ETH", "SOL", "XRP", "ADA", "DOGE", "LTC", "BNB")


def listed(market: str = "spot", suffix: str = "USDT", *, idle: str = "") -> Symbology:
    made = [assumed_instrument(market, base + suffix, 0) for base in BASES]
    broken = [type(each)(**{name: getattr(each, name) for name in each.__struct_fields__} | {"is_trading": False})
              for each in made if each.base == idle]  # fmt: skip
    return Symbology([*made, *broken])


def entry(market: str = "spot", *symbols: str, channels: tuple[str, ...] = ("trade", "depth")) -> Venue:
    return Venue(venue="binance", market=market, symbols=symbols, channels=channels)


@given(
    market=st.sampled_from(["spot", "usdm"]),
    count=st.integers(1, 900),
    channels=st.sets(st.sampled_from(binance.SPOT_CHANNELS), min_size=1),
    partitions=st.integers(1, 7),
)
def test_every_stream_is_on_exactly_one_connection_within_limits(
    market: str, count: int, channels: set[str], partitions: int
) -> None:
    instruments = [assumed_instrument(market, f"C{number}USDT", 0) for number in range(count)]
    wanted = entry(market, "*", channels=tuple(sorted(channels)))
    plans = plan.connections(wanted, plan.streams(wanted, instruments, partitions))
    planned = Counter(stream.name for each in plans for stream in each.streams)

    assert len(planned) == count * len(channels)
    assert set(planned.values()) == {1}
    assert all(0 < len(each.streams) <= binance.LIMITS[market].streams_per_connection for each in plans)
    symbols = {each.venue_symbol: each.symbol for each in instruments}
    for each in plans:
        assert {stream.url for stream in each.streams} == {each.url}
        assert {partition_of(symbols[stream.venue_symbol], partitions) for stream in each.streams} == {each.partition}


def test_usdm_channels_of_two_paths_need_two_connections() -> None:
    wanted = entry("usdm", "BTCUSDT", channels=("trade", "markPrice"))
    chosen = plan.wanted_instruments(wanted, listed("usdm"))
    plans = plan.connections(wanted, plan.streams(wanted, chosen, 4))

    assert sorted(each.url.rsplit("/", 2)[1] for each in plans) == ["market", "public"]


@pytest.mark.parametrize("name", ["BTCUSDT", "btcusdt", "BTC/USDT", "btc/usdt"])
def test_symbols_are_known_by_venue_name_and_canonical_name(name: str) -> None:
    (found,) = plan.wanted_instruments(entry("spot", name), listed())

    assert found.symbol == "BTC/USDT"


def test_symbol_named_twice_is_captured_once() -> None:
    assert len(plan.wanted_instruments(entry("spot", "BTCUSDT", "BTC/USDT", "*"), listed())) == len(BASES)


def test_star_means_all_that_trade() -> None:
    found = plan.wanted_instruments(entry("spot", "*"), listed(idle="XRP"))

    assert {each.base for each in found} == set(BASES) - {"XRP"}


def test_unknown_symbol_is_named_with_near_ones() -> None:
    with pytest.raises(UserError, match=r"BINANCE spot does not list BTCUSD: did you mean BTCUSDT"):
        plan.wanted_instruments(entry("spot", "BTCUSD"), listed())
    with pytest.raises(UserError, match="is it of another market"):
        plan.wanted_instruments(entry("spot", "@@@@@@"), listed())


@pytest.mark.parametrize(
    ("wrong", "text"),
    [(Venue(venue="NASDAQ", market="spot", symbols=("A",)), "venue NASDAQ is not known: choose of BINANCE"),
     (Venue(venue="BINANCE", market="margin", symbols=("A",)), "no market margin: choose of spot, usdm, coinm"),
     (Venue(venue="BINANCE", market="spot", symbols=("A",), channels=("trades",)), "no channel trades: choose of"),
     (Venue(venue="BINANCE", market="spot", symbols=()), "name at least one symbol"),
     (Venue(venue="BINANCE", market="spot", symbols=("A",), channels=()), "name at least one symbol")],
)  # fmt: skip
def test_unknown_venue_market_or_channel_is_named_with_the_known_ones(wrong: Venue, text: str) -> None:
    with pytest.raises(UserError, match=text):
        plan.find_wire(wrong)


def test_plain_venue_symbols_need_no_whole_list() -> None:
    assert plan.plain_names(entry("spot", "BTCUSDT", "BTCUSDT", "kPEPE")) == ("BTCUSDT", "kPEPE")
    assert plan.plain_names(entry("spot", "BTC/USDT")) == ()
    assert plan.plain_names(entry("spot", "*")) == ()


@pytest.mark.parametrize(("channel", "kind"), [("depth@100ms", "depth"), ("kline_1m", "kline"), ("trade", "trade")])
def test_kind_of_a_stream_is_its_channel_without_speed(channel: str, kind: str) -> None:
    stream = Stream(name="x", channel=channel, venue_symbol="X", partition=0, url="")

    assert stream.kind == kind

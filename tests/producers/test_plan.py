"""Plans: every wanted stream once, limits kept, one partition a connection; mistakes are named."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers import plan
from producers.app import make_producer
from producers.claims import Claims
from producers.intake import Intake
from producers.venues import binance
from producers.wire import Stream
from schemas.symbology import Symbology, partition_of
from schemas.venues.binance import assumed_instrument
from tickerplant.errors import UserError
from tickerplant.settings import Producer, Settings, Venue

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
    [(Venue(venue="NASDAQ", market="spot", symbols=("A",)), "venue NASDAQ is not known: choose of BINANCE, "),
     (Venue(venue="BINANCE", market="margin", symbols=("A",)), "no market margin: choose of spot, usdm, coinm"),
     (Venue(venue="BINANCE", market="spot", symbols=("A",), channels=("trades",)), "no channel trades: choose of"),
     (Venue(venue="BINANCE", market="spot", symbols=()), "name at least one symbol"),
     (Venue(venue="BINANCE", market="spot", symbols=("A",), channels=()), "name at least one symbol")],
)  # fmt: skip
def test_unknown_venue_market_or_channel_is_named_with_the_known_ones(wrong: Venue, text: str) -> None:
    with pytest.raises(UserError, match=text):
        plan.find_wire(wrong)


def test_plain_venue_symbols_need_no_whole_list() -> None:
    assert plan.plain_names(("BTCUSDT", "BTCUSDT", "kPEPE")) == ("BTCUSDT", "kPEPE")
    assert plan.plain_names(["BTC/USDT"]) == ()
    assert plan.plain_names(["BTCUSDT", "*"]) == ()


@pytest.mark.parametrize(("channel", "kind"), [("depth@100ms", "depth"), ("kline_1m", "kline"), ("trade", "trade")])
def test_kind_of_a_stream_is_its_channel_without_speed(channel: str, kind: str) -> None:
    stream = Stream(name="x", channel=channel, venue_symbol="X", partition=0, url="")

    assert stream.kind == kind


def revised(plans: list[plan.ConnectionPlan], *symbols: str) -> list[plan.ConnectionPlan]:
    wanted = entry("usdm", "*", channels=("trade",))
    instruments = [assumed_instrument("usdm", name, 0) for name in symbols]
    return plan.revised(wanted, plans, plan.streams(wanted, instruments, 2))


@given(
    before=st.sets(st.integers(0, 999), min_size=1, max_size=600),
    after=st.sets(st.integers(0, 999), min_size=1, max_size=600),
)
def test_revised_plans_have_what_is_wanted_and_move_nothing_that_stays(before: set[int], after: set[int]) -> None:
    old = revised([], *(f"C{number}USDT" for number in before))
    new = revised(old, *(f"C{number}USDT" for number in after))
    names = [stream.name for each in new for stream in each.streams]
    limit = binance.LIMITS["usdm"].streams_per_connection

    assert sorted(names) == sorted(f"c{number}usdt@trade" for number in after)
    assert all(len(each.streams) <= limit for each in new)
    for one, other in zip(old, new, strict=False):
        kept = [each for each in one.streams if int(each.name[1:].partition("usdt")[0]) in after]
        assert list(other.streams[: len(kept)]) == kept
        assert {each.partition for each in other.streams} <= {one.partition}


def test_new_streams_fill_the_room_that_is_there_first() -> None:
    old = revised([], *(f"C{number}USDT" for number in range(100)))
    new = revised(old, *(f"C{number}USDT" for number in range(120)))

    assert len(new) == len(old) == 2


def test_a_shared_stream_is_planned_once_in_a_partition_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binance, "SHARED_CHANNELS", frozenset({"ticker"}))
    monkeypatch.setattr(binance, "stream_name", lambda symbol, channel: "all" if channel == "ticker" else symbol)
    instruments = [assumed_instrument("spot", base + "USDT", 0) for base in BASES]
    wanted = entry("spot", "*", channels=("trade", "ticker"))
    found = [each for each in plan.streams(wanted, instruments, 64) if each.name == "all"]

    assert [each.partition for each in found] == [partition_of("all", 64)]


async def test_markets_that_a_venue_counts_together_share_its_limits(
    client: httpx.AsyncClient, make_intake: Callable[..., Intake]
) -> None:
    places = [("OKX", "spot", "BTC-USDT"), ("OKX", "swap", "BTC-USDT-SWAP"), ("BINANCE", "spot", "BTCUSDT"),
              ("BINANCE", "usdm", "BTCUSDT")]  # fmt: skip
    entries = [Venue(venue=name, market=market, symbols=(symbol,)) for name, market, symbol in places]
    intakes = {name: make_intake(Producer(), 1, name) for name in ("OKX", "BINANCE")}
    fetchers = [each._fetcher for each in make_producer(Settings(venues=tuple(entries)), intakes, client).captures]

    assert [fetchers.index(each) for each in fetchers] == [0, 0, 2, 3]


def test_settings_take_a_symbol_from_another_market_that_has_it_by_a_wish() -> None:
    claims, lost = Claims(), list[str]()
    exchange, advanced = (
        Venue(venue="COINBASE", market=market, symbols=(symbol,))
        for market, symbol in (("exchange", "BTC-USD"), ("advanced", "ETH-USD"))
    )
    btc, eth, sol = (assumed_instrument("spot", f"{base}USDT", 0) for base in ("BTC", "ETH", "SOL"))
    claims.on_loss(advanced, lambda: lost.append("advanced"))
    claims.hold(advanced, [eth, btc, sol], {btc.symbol, sol.symbol})
    claims.hold(exchange, [btc])

    assert lost == ["advanced"]
    with pytest.raises(UserError, match="BTCUSDT of exchange and BTCUSDT of advanced are both BTC/USDT"):
        claims.hold(advanced, [eth, btc], {btc.symbol})
    with pytest.raises(UserError, match="SOLUSDT of advanced and SOLUSDT of exchange are both SOL/USDT"):
        claims.hold(exchange, [btc, sol], {sol.symbol})
    with pytest.raises(UserError, match="ETHUSDT of advanced"):
        claims.hold(exchange, [btc, eth])


def test_connections_of_markets_that_share_limits_are_counted_together() -> None:
    claims = Claims()
    futures, options, other = (
        Venue(venue=name, market=market, symbols=("*",))
        for name, market in (("DERIBIT", "futures"), ("DERIBIT", "options"), ("GATE", "futures"))
    )
    claims.connections.update({futures: 20, options: 7, other: 50})

    assert (claims.connections_beside(futures), claims.connections_beside(other)) == (7, 0)
    with pytest.raises(UserError, match="DERIBIT futures lets one address open 32 connections"):
        plan.check_connections(futures, 26 + claims.connections_beside(futures))


def test_more_connections_than_an_address_may_open_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(binance.LIMITS, "spot", replace(binance.LIMITS["spot"], connections=10))
    plan.check_connections(entry("spot", "*"), 9)

    with pytest.raises(UserError, match="lets one address open 10 connections of 200 streams, and 10 and one"):
        plan.check_connections(entry("spot", "*"), 10)

"""The synthetic market: repeatable, joined without gaps, in Binance's shapes, and at the rate asked for."""

import json
import re
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from itertools import pairwise
from typing import Any

import pytest

from schemas.venues.binance import read_list
from tickerplant.local.venue import SyntheticOptions, VenueOptions
from tickerplant.local.venue import market as market_module
from tickerplant.local.venue.dialect import Frame, Stream
from tickerplant.local.venue.dialects import binance
from tickerplant.local.venue.dialects.binance.listings import exchange_info
from tickerplant.local.venue.dialects.binance.streams import stream_of
from tickerplant.local.venue.hub import Hub
from tickerplant.local.venue.session import Session
from tickerplant.local.venue.synthetic import SyntheticMarket

MINUTE_US = 60_000_000
START_US = 1_767_225_600_000_000 + 30_000_000
CHANNELS = ("trade", "aggTrade", "bookTicker", "depth@100ms", "kline_1m", "ticker", "markPrice@1s")
TIMES = re.compile(rb'"(E|T|O|C|t)":\d{13}|"lastUpdateId"')


class Everybody(Session):
    """Whoever listens: the tape keeps what they get."""

    def __init__(self) -> None:
        self.streams: dict[str, Stream] = {}

    def put(self, stream: Stream, frame: Frame) -> None:
        """Leave it to the tape."""


EVERYBODY = Everybody()


class Tape(Hub):
    """A hub on which somebody listens to everything, kept in order."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[tuple[str, bytes]] = []

    def listen(self, market: SyntheticMarket, channels: Iterable[str] = CHANNELS) -> None:
        for each in (listing for name in binance.MARKETS for listing in market.listings(name)):
            for channel in channels:
                stream = stream_of(each.market, f"{each.symbol.lower()}@{channel}")
                self.subscribe(EVERYBODY, stream)
                EVERYBODY.streams.clear()

    def publish(self, stream: Stream, frame: Frame) -> None:
        super().publish(stream, frame)
        if self.listeners(stream.key):
            self.frames.append((stream.key, frame.payload))


def stepped(
    options: SyntheticOptions, steps: int, start_us: int = START_US, channels: Iterable[str] = CHANNELS
) -> tuple[SyntheticMarket, Tape]:
    """Make a market and let it go on, its clock in time with it."""
    tape = Tape()
    now = [start_us]
    market = SyntheticMarket(options, binance, tape, lambda: now[0])
    tape.listen(market, channels)
    for _ in range(steps):
        market.step()
        now[0] += 10_000
    return market, tape


def by_stream(tape: Tape) -> dict[str, list[dict[str, Any]]]:
    streams: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for key, payload in tape.frames:
        message = json.loads(payload)
        assert key.endswith("/" + message["stream"])
        streams[key].append(message["data"])
    return streams


@pytest.fixture(scope="module")
def minute() -> tuple[SyntheticMarket, dict[str, list[dict[str, Any]]]]:
    """Forty seconds of six symbols around a full minute."""
    market, tape = stepped(SyntheticOptions(symbols=8, seed=3, rate_frames=500), 4000)
    return market, by_stream(tape)


def test_same_seed_gives_the_same_messages_but_for_times() -> None:
    options = SyntheticOptions(symbols=7, seed=5, rate_frames=1000)
    tapes = [stepped(options, 300, start_us)[1] for start_us in (START_US, START_US + 7 * MINUTE_US + 12_345_678)]

    first, second = ([(key, TIMES.sub(b"", payload)) for key, payload in tape.frames] for tape in tapes)

    assert first == second


def test_other_seed_gives_another_market() -> None:
    first, second = (stepped(SyntheticOptions(symbols=3, seed=seed), 20)[1].frames for seed in (1, 2))

    assert first != second


@pytest.mark.parametrize(("symbols", "rate"), [(1, 100), (20, 2000), (300, 3000)])
def test_rate_is_the_one_asked_for(symbols: int, rate: int) -> None:
    _, tape = stepped(SyntheticOptions(symbols=symbols, rate_frames=rate), 500)

    assert len(tape.frames) == pytest.approx(rate * 5, rel=0.1)


@pytest.mark.parametrize("channels", [("trade", "bookTicker", "depth@100ms"), ("trade", "aggTrade")])
def test_rate_is_that_of_what_is_listened_to(channels: tuple[str, ...]) -> None:
    market, tape = stepped(SyntheticOptions(symbols=100, rate_frames=2000, is_rate_heard=True), 500, channels=channels)

    assert len(tape.frames) == pytest.approx(2000 * 5, rel=0.1)
    assert len(tape.frames) < market.position()["frames_made"]


@pytest.mark.parametrize(("channels", "most"), [((), 1.1), (("markPrice@1s",), 2.1), (("bookTicker",), 2.1)])
def test_what_too_little_is_heard_of_is_made_within_bounds(channels: tuple[str, ...], most: float) -> None:
    market, _ = stepped(SyntheticOptions(symbols=20, rate_frames=1000, is_rate_heard=True), 300, channels=channels)

    assert 0.9 < market.position()["frames_made"] / 3000 < most


def test_trade_ids_are_consecutive_and_aggregates_cover_them(minute: tuple[SyntheticMarket, Any]) -> None:
    _, streams = minute
    trades = {key: frames for key, frames in streams.items() if key.endswith("@trade")}
    for key, frames in trades.items():
        aggregates = streams[key.replace("@trade", "@aggTrade")]

        assert [each["t"] for each in frames] == list(range(1, len(frames) + 1))
        assert [each["a"] for each in aggregates] == list(range(1, len(aggregates) + 1))
        for each in aggregates:
            parts = frames[each["f"] - 1 : each["l"]]
            assert {(part["p"], part["m"]) for part in parts} == {(each["p"], each["m"])}
            assert sum(float(part["q"]) for part in parts) == pytest.approx(float(each["q"]))
    assert len(trades) == 8


def test_first_trade_of_an_order_prints_at_the_quote_that_stood_on_the_makers_side() -> None:
    _, tape = stepped(SyntheticOptions(symbols=1, seed=2, rate_frames=1000), 500)
    messages = [json.loads(payload)["data"] for _, payload in tape.frames]
    told = [each for each in messages if each.get("e", "trade") == "trade"]  # spot quotes have no e
    firsts = [(quote, trade) for quote, trade in pairwise(told) if "A" in quote and "p" in trade]

    assert len(firsts) > 100
    assert [trade["p"] for _, trade in firsts] == [quote["b" if trade["m"] else "a"] for quote, trade in firsts]


def test_quotes_are_never_crossed_and_each_differs_from_the_one_before(minute: tuple[SyntheticMarket, Any]) -> None:
    _, streams = minute
    for key in [key for key in streams if key.endswith("@bookTicker")]:
        quotes = [(each["b"], each["B"], each["a"], each["A"]) for each in streams[key]]

        assert all(float(bid) < float(ask) for bid, _, ask, _ in quotes)
        assert all(before != after for before, after in pairwise(quotes))


def test_candles_end_closed_and_hold_the_trades_of_their_minute(minute: tuple[SyntheticMarket, Any]) -> None:
    _, streams = minute
    key = "spot/btcusdt@kline_1m"
    closed = [each["k"] for each in streams[key] if each["k"]["x"]]
    trades = [each for each in streams["spot/btcusdt@trade"] if each["T"] <= closed[0]["T"]]
    prices = [float(each["p"]) for each in trades]

    assert [each["t"] % 60_000 for each in closed] == [0]
    assert (closed[0]["f"], closed[0]["L"], closed[0]["n"]) == (1, trades[-1]["t"], len(trades))
    assert [float(closed[0][name]) for name in "ohlc"] == [prices[0], max(prices), min(prices), prices[-1]]
    assert float(closed[0]["v"]) == pytest.approx(sum(float(each["q"]) for each in trades))
    assert float(closed[0]["V"]) == pytest.approx(sum(float(each["q"]) for each in trades if not each["m"]))


def test_fields_of_each_market_are_those_of_the_venue(minute: tuple[SyntheticMarket, Any]) -> None:
    _, streams = minute
    spot, usdm, coinm = "spot/btcusdt", "usdm/btcusdt", "coinm/btcusd_perp"

    assert set(streams[f"{spot}@trade"][0]) == set("eEstpqTmM")
    assert set(streams[f"{usdm}@trade"][0]) == set("eETstpqXm")
    assert set(streams[f"{spot}@bookTicker"][0]) == set("usbBaA")
    assert set(streams[f"{usdm}@bookTicker"][0]) == set("eusbBaATE")
    assert set(streams[f"{coinm}@bookTicker"][0]) == {*"eusbBaATE", "ps"}
    assert set(streams[f"{spot}@depth@100ms"][0]) == set("eEsUuba")
    assert set(streams[f"{usdm}@depth@100ms"][0]) == {*"eETsUuba", "pu"}
    assert set(streams[f"{coinm}@depth@100ms"][0]) == {*"eETsUuba", "pu", "ps"}
    assert "b" in streams[f"{spot}@ticker"][0]
    assert "b" not in streams[f"{usdm}@ticker"][0]
    assert f"{spot}@markPrice@1s" not in streams
    assert streams[f"{usdm}@markPrice@1s"][0]["T"] % 28_800_000 == 0


def test_statistics_of_the_day_add_up(minute: tuple[SyntheticMarket, Any]) -> None:
    _, streams = minute
    last = streams["coinm/btcusd_perp@ticker"][-1]
    trades = [each for each in streams["coinm/btcusd_perp@trade"] if each["t"] <= last["L"]]

    assert last["n"] == len(trades)
    assert float(last["v"]) == sum(float(each["q"]) for each in trades)
    base = sum(float(each["q"]) * 100 / float(each["p"]) for each in trades)
    assert float(last["q"]) == pytest.approx(base, abs=1e-6)
    assert float(last["w"]) == pytest.approx(float(last["v"]) * 100 / base, abs=1e-3)


def test_books_stay_bounded_and_near_where_they_began() -> None:
    market, _ = stepped(SyntheticOptions(symbols=3, seed=9, rate_frames=4000), 1000)
    for symbol in market._symbols:
        listing = symbol.listing
        book = market.book(listing.market, listing.symbol, 5000)

        assert book
        assert 10 < len(book.bids) < 200
        assert float(book.bids[0][0]) == pytest.approx(listing.start_price, rel=0.02)


@pytest.mark.parametrize("market", ["spot", "usdm", "coinm"])
def test_instrument_list_is_read_by_our_own_symbology(market: str) -> None:
    made = SyntheticMarket(SyntheticOptions(symbols=300), binance, Hub(), lambda: START_US)

    listed = read_list(market, exchange_info(market, made.listings(market), 0), 0).instruments

    assert len(listed) == {"spot": 150, "usdm": 90, "coinm": 60}[market]
    assert all(each.is_trading and each.tick_size and each.lot_size for each in listed)
    assert len({each.symbol for each in listed}) == len(listed)
    if market == "coinm":
        assert [(each.symbol, each.contract_multiplier) for each in listed[:3]] == [
            ("BTC/USD:PERP", 100.0),
            ("ETH/USD:PERP", 10.0),
            ("BTC/USD:20260327", 100.0),
        ]


@pytest.mark.parametrize(
    ("symbols", "markets"),
    [(1, {"spot"}), (2, {"spot"}), (3, {"spot", "usdm", "coinm"}), (2000, {"spot", "usdm", "coinm"})],
)
def test_any_number_of_symbols_is_shared_out_to_the_markets(symbols: int, markets: set[str]) -> None:
    made = SyntheticMarket(SyntheticOptions(symbols=symbols), binance, Hub(), lambda: START_US)

    assert {each.listing.market for each in made._symbols} == markets
    assert len({(each.listing.market, each.listing.symbol) for each in made._symbols}) == symbols


MARKETS = [("spot", "spot", "btcusdt"), ("usdm", "usdm/public", "btcusdt"), ("coinm", "coinm", "btcusd_perp")]


@pytest.mark.parametrize(("market", "endpoint", "symbol"), MARKETS)
@pytest.mark.parametrize("speed", ["100ms", "0ms"])
async def test_any_depth_answer_joins_with_the_stream_and_ends_in_the_same_book(
    serve: Callable[..., Awaitable[Any]],
    market: str,
    endpoint: str,
    symbol: str,
    speed: str,
) -> None:
    served = await serve(VenueOptions(source=SyntheticOptions(symbols=5, rate_frames=3000)))
    client = await served.client(f"{endpoint}/stream?streams={symbol}@depth@{speed}")
    snapshots = [await served.depth(market, symbol.upper())]
    served.venue.start()
    for count in (2, 4, 5, 6, 8):
        await served.until(lambda count=count: len(client.got) >= count)
        snapshots.append(await served.depth(market, symbol.upper()))
    served.venue.stop()
    await served.played(client)

    deltas = [json.loads(payload)["data"] for payload in client.got]
    final = served.book_of(await served.depth(market, symbol.upper()))

    assert [served.rebuild(market, snapshot, deltas) for snapshot in snapshots] == [final] * len(snapshots)


async def test_everything_subscribed_is_served_and_counted(serve: Callable[..., Awaitable[Any]]) -> None:
    served = await serve(VenueOptions(source=SyntheticOptions(symbols=4, rate_frames=4000)))
    streams = "/".join(f"btcusdt@{channel}" for channel in CHANNELS)
    clients = [
        await served.client(f"{path}/stream?streams={streams}") for path in ("spot", "usdm/public", "usdm/market")
    ]
    served.venue.start()
    await served.until(lambda: min(len(each.got) for each in clients) >= 30)
    served.venue.stop()
    await served.played(*clients)

    status = await served.status()
    messages = [json.loads(payload) for each in clients for payload in each.got]
    trades = [each for each in messages if each["stream"] == "btcusdt@trade"]

    assert status["frames_served"] == len(messages) == sum(status["by_channel"].values())
    assert sum(status["distinct_trades"].values()) == len(trades)
    assert {each["stream"].split("@")[1] for each in messages} >= {"trade", "aggTrade", "bookTicker", "depth", "ticker"}


def test_past_trades_are_those_from_an_id_on_as_far_as_they_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(market_module, "RECENT_TRADES", 50)
    monkeypatch.setattr(market_module, "KEPT_TRADES", 50)
    market, _ = stepped(SyntheticOptions(symbols=1, rate_frames=2000, seed=5), 300)
    [listing] = market.listings("spot")

    def ids(from_id: int, most: int) -> list[int]:
        return [each.number for each in market.trades("spot", listing.symbol, from_id, most) or []]

    last = ids(-1, 1)[0]
    assert last > 60
    assert ids(-1, 3) == [last - 2, last - 1, last]
    assert ids(last - 9, 4) == [last - 9, last - 8, last - 7, last - 6]
    assert ids(1, 2) == [last - 49, last - 48]
    assert ids(last + 1, 5) == []
    assert market.trades("spot", "NOPE", 1, 1) is None


@pytest.mark.parametrize(("symbols", "kept"), [(0, 30_000), (20, 30_000), (1000, 600), (1_000_000, 100)])
def test_past_trades_of_all_symbols_together_are_bounded(symbols: int, kept: int) -> None:
    assert market_module.kept_trades(symbols) == kept

"""Each venue that is simulated, captured and processed: the real producer and pipeline over loopback, without Kafka.

What comes of it is held against the matching engines: books level by level, trades one by one, as subscribers have it.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from msgspec import structs

from processors import absences, book_keeper, healing
from processors.items import Trade
from processors.pipeline import Pipeline
from processors.venues import VENUES as PROCESSORS
from producers.app import Producer, make_producer
from producers.intake import Intake
from producers.turns import Turns
from producers.venues import VENUES as WIRES
from producers.wire import kind_of
from schemas.records import ControlCommand, DeadLetter, Depth, Derived, Instrument, QualityEvent, RawFrames, Tick
from schemas.topics import raw_topic
from tickerplant.clock import now_us
from tickerplant.demo.books import Books, Side, venue_book
from tickerplant.demo.parsed_count import raw_count
from tickerplant.demo.reconcile import RawCount
from tickerplant.local.venue import RecordingOptions, SyntheticOptions, Venue, VenueOptions
from tickerplant.local.venue.dialect import Print, Stream, Writer
from tickerplant.local.venue.dialects import DIALECTS
from tickerplant.local.venue.faults import AnyFault, Disconnect, Double, Lose, Refuse, Reorder
from tickerplant.local.venue.market import KEPT_TRADES, SymbolMarket
from tickerplant.local.venue.reading import Reading
from tickerplant.local.venue.synthetic import SyntheticMarket
from tickerplant.recordings import read_recording
from tickerplant.settings import Producer as ProducerSettings
from tickerplant.settings import Settings
from tickerplant.settings import Venue as VenueSettings

PATIENCE_S = 40.0
TOP = 10
REPEATING: Final = frozenset({"BITFINEX", "COINBASE"})
"""Venues that begin a subscription with the last trades, so that a lost connection costs few, or none."""
LEFT_OUT = frozenset({"agg_trade"})
"""Kinds that tell once more what trades tell."""
UNSEEN: Final = {
    ("COINBASE", "exchange"): "updates have neither ids nor a checksum",
    ("HYPERLIQUID", "perp"): "whole books, each for itself",
    ("HYPERLIQUID", "spot"): "whole books, each for itself",
}
"""Markets of which nothing tells that an update of a book is missing, and why."""
STRAGGLER = "was not told"
"""What is said of a swapped update that comes after its subscription has ended, where channels have numbers."""
MARKETS = [
    (name, market)
    for name, dialect in DIALECTS.items()
    if name in WIRES and name in PROCESSORS
    for market, terms in dialect.MARKETS.items()
    if market in WIRES[name].MARKETS and terms.share
]
COUNTED = {
    each: PROCESSORS[each[0]].trades_are_counted(each[1])
    for each in MARKETS
    if PROCESSORS[each[0]].FACTS[each[1]].past_trades
}
HEALED = {(name, market == "spot", COUNTED[name, market]): (name, market) for name, market in reversed(COUNTED)}
"""Of each venue's markets whose missing trades are fetched, spot and one that is not."""


@dataclass
class Flow:
    """Takes raw records as Kafka does, and processes each at once."""

    pipeline: Pipeline
    counted: RawCount
    raw: int = 0
    messages: int = 0
    records: list[Derived] = field(default_factory=list)
    heard: Callable[[ControlCommand], None] = lambda _command: None
    _undelivered: list[Callable[[], None]] = field(default_factory=list)

    def send(self, partition: int, record: RawFrames, on_delivered: Callable[[], None]) -> None:
        assert partition == 0
        self._undelivered.append(on_delivered)
        self.counted.add(record)
        batch = self.pipeline.process(self.raw, record)
        self.raw += 1
        self.messages += sum(frame.kind == "MESSAGE" for frame in record.frames)
        self.records += batch.records
        for command in batch.commands:
            asyncio.get_running_loop().call_soon(self.heard, command)

    def poll(self) -> None:
        while self._undelivered:
            self._undelivered.pop(0)()


@dataclass
class World:
    """A venue, a producer that captures one of its markets, and what came of it."""

    venue: Venue
    market: str
    flow: Flow
    made: dict[tuple[str, str], Print] = field(default_factory=dict)  # trades, by canonical symbol and id

    def of(self, shape: type, **fields: Any) -> list[Any]:
        found = [each for each in self.flow.records if isinstance(each, shape)]
        return [each for each in found if all(getattr(each, name) == value for name, value in fields.items())]

    def events(self, kind: str, symbol: str) -> int:
        return sum(each.count for each in self.of(QualityEvent, kind=kind, symbol=symbol))

    def instrument(self, venue_symbol: str) -> Instrument:
        found = self.flow.pipeline._symbology.find(self.market, venue_symbol)
        assert found is not None
        return found

    def book_streams(self) -> list[Stream]:
        streams = self.venue.hub.counts.streams.values()
        return [each for each in streams if each.kind in {"depth", "book"}]

    def true_books(self) -> dict[str, tuple[Side, Side]]:
        """Give the books of the matching engines, as far as the streams tell them."""
        found = {}
        for stream in self.book_streams():
            book = self.venue.feed.book(self.market, stream.symbol, stream.levels)
            assert book is not None
            instrument = self.instrument(stream.symbol)
            found[instrument.symbol] = venue_book(instrument, {"bids": book.bids, "asks": book.asks})
        return found

    def wrong_books(self) -> list[str]:
        """Name the books that differ from the matching engines', rebuilt from cleaned.depth by the published rule."""
        books = Books()
        for each in self.of(Depth):
            books.add(structs.asdict(each))
        return [symbol for symbol, sides in self.true_books().items() if not books.equals(symbol, *sides)]

    def wrong_tops(self) -> list[str]:
        """Name the books whose best levels differ: of a recording, a snapshot may have had fewer levels than all."""
        books = Books()
        for each in self.of(Depth):
            books.add(structs.asdict(each))
        found = {symbol: (book.bids, book.asks) for symbol, book in books.by_symbol.items()}
        return [symbol for symbol, sides in self.true_books().items() if _top(found.get(symbol)) != _top(sides)]

    def written(self) -> Iterator[tuple[str, str]]:
        """List the trades that the venue wrote to sockets, by canonical symbol and id."""
        for (market, name), ids in self.venue.hub.counts.trades.items():
            assert market == self.market
            writer = self._writers()[name]
            for first, last in ids.ranges():
                for number in range(first, last + 1):
                    yield self.instrument(name).symbol, writer.trade_id(number)

    async def until(self, holds: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not holds():  # noqa: ASYNC110  # conditions of all kinds
                await asyncio.sleep(0.01)

    async def until_books_stand(self) -> None:
        """Wait until all books that are captured are valid."""
        wanted = {stream.symbol for stream in self.book_streams()}
        await self.until(lambda: wanted <= {each.instrument.venue_symbol for each in self._states_with_books()})

    async def finish(self) -> None:
        """End the market; all that was written is processed then."""
        self.venue.stop()
        await self.until(lambda: self.venue.state == "done")
        await self.until(lambda: not self.wrong_books())
        if isinstance(self.venue.feed, SyntheticMarket):
            counts = self.venue.hub.counts
            await self.until(lambda: self.flow.counted.frames == counts.frames.total() - counts.silent)

    def keep_trades(self) -> None:
        """Keep what happens in the markets before it is written."""
        for each in self._symbols():
            each._recent = _Kept(partial(self._keep, each))

    def _keep(self, symbol: SymbolMarket, made: Print) -> None:
        self.made[symbol.listing.symbol, symbol.writer.trade_id(made.number)] = made

    def _symbols(self) -> list[SymbolMarket]:
        assert isinstance(self.venue.feed, SyntheticMarket)
        return self.venue.feed._symbols

    def _writers(self) -> dict[str, Writer]:
        return {each.listing.symbol: each.writer for each in self._symbols()}

    def _states_with_books(self) -> list[Any]:
        return [each for each in self.flow.pipeline.states() if each.keeper.is_valid]


def _top(sides: tuple[Side, Side] | None) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    bids, asks = sides or ({}, {})
    return sorted(bids.items(), reverse=True)[:TOP], sorted(asks.items())[:TOP]


class _Kept(deque[Print]):
    """The newest trades, each shown to somebody as it comes."""

    def __init__(self, keep: Callable[[Print], None]) -> None:
        super().__init__(maxlen=KEPT_TRADES)
        self._keep = keep

    def append(self, made: Print) -> None:
        self._keep(made)
        super().append(made)


def settings_of(venue: Venue, market: str) -> Settings:
    """Capture all that is made of a market, without long waits."""
    name = venue.dialect.NAME
    address = f"127.0.0.1:{venue.port}/{name.lower()}/{market}"
    wanted = VenueSettings(
        venue=name,
        market=market,
        symbols=("*",),
        channels=tuple(each for each in WIRES[name].CHANNELS[market] if kind_of(each) not in LEFT_OUT),
        websocket_url=f"ws://{address}",
        rest_url=f"http://{address}",
    )
    timing = ProducerSettings(linger_ms=5.0, backoff_first_s=0.02, backoff_most_s=0.2)
    return Settings(producer=timing, venues=(wanted,))


async def capture(world: World, producer: Producer, work: Callable[[World], Any]) -> None:
    """Let a market begin when all of it is subscribed, and do something to it."""
    stop = asyncio.Event()
    running = asyncio.create_task(producer.run(stop))
    try:
        await world.until(lambda: _is_subscribed(world, producer) or running.done())
        world.venue.start()
        await work(world)
    finally:
        stop.set()
        await running


def _is_subscribed(world: World, producer: Producer) -> bool:
    feeds = [feed for capture in producer.captures for feed in capture.feeds]
    names = {(feed.plan.url, stream.name) for feed in feeds for stream in feed.plan.streams}
    return bool(names) and len(world.venue.hub.subscribed()) >= len(names)


async def run(
    name: str, market: str, source: SyntheticOptions | RecordingOptions, work: Callable[[World], Any]
) -> World:
    """Capture a market while something is done to it; then it has ended and all is processed."""
    async with Venue(VenueOptions(venue=name, source=source)) as venue, httpx.AsyncClient() as client:
        settings = settings_of(venue, market)
        topic = raw_topic(name.lower()).name
        flow = Flow(Pipeline(name, topic, 0, keyframe_us=2_000_000), raw_count(name, frozenset()))
        intake = Intake(name, topic, partition_count=1, settings=settings.producer, outlet=flow, now_us=now_us)
        producer = make_producer(settings, {name: intake}, client)
        flow.heard = producer.take_command
        world = World(venue, market, flow)
        if isinstance(source, SyntheticOptions):
            world.keep_trades()
        await capture(world, producer, work)
    return world


@pytest.fixture
def quick_books(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let books ask for snapshots, and producers for books, sooner than they do in earnest."""
    monkeypatch.setattr(Turns.__init__, "__defaults__", (0.1, 0.5))
    monkeypatch.setattr(book_keeper, "PATIENCE_US", 1_000_000)
    monkeypatch.setattr(book_keeper, "FIRST_WAIT_US", 50_000)
    monkeypatch.setattr(book_keeper, "MOST_WAIT_US", 200_000)


@pytest.mark.usefixtures("quick_books")
@pytest.mark.parametrize(("name", "market"), MARKETS)
async def test_books_and_trades_are_those_of_the_market_after_updates_were_lost_doubled_and_swapped(
    name: str, market: str
) -> None:
    faults: list[AnyFault] = []

    async def disturb(world: World) -> None:
        await world.until_books_stand()
        stream = world.book_streams()[0]
        symbol = world.instrument(stream.symbol).symbol
        for kind in () if (name, market) in UNSEEN else (Lose, Double, Reorder):
            before = world.events("BOOK_RESET", symbol)
            active = world.venue.faults.start(kind(match=stream.key, count=1))
            await world.until(lambda active=active: active.is_over)
            if kind is Lose:
                await world.until(lambda before=before: world.events("BOOK_RESET", symbol) > before)
                await world.venue.faults.end_all()
            await world.until_books_stand()
            faults.append(active.fault)
        trades = len(world.of(Tick, kind="TRADE"))
        await world.until(lambda: len(world.of(Tick, kind="TRADE")) > trades + 20)
        await world.finish()

    source = SyntheticOptions(symbols=3, rate_frames=600, seed=3, markets=(market,))
    world = await run(name, market, source, disturb)
    ticks = world.of(Tick, kind="TRADE")
    stored = Counter((each.symbol, each.trade_id) for each in ticks)

    strange = {each.kind for each in world.of(QualityEvent)} & {"UNKNOWN_FIELD", "UNKNOWN_SYMBOL"}
    unread = {each.reason for each in world.of(DeadLetter) if not each.reason.endswith(STRAGGLER)}
    assert (strange, unread) == (set(), set())
    assert world.wrong_books() == []
    assert set(stored) == set(world.written())
    assert set(stored.values()) == {1}
    for tick in ticks:
        instrument = next(each for each in world.flow.pipeline._symbology if each.symbol == tick.symbol)
        made = world.made[instrument.venue_symbol, tick.trade_id]
        assert (tick.price, tick.side) == (float(made.price), "BUY" if made.is_buy else "SELL")
        assert tick.quantity == pytest.approx(instrument.base_quantity(float(made.size), float(made.price)))
        assert tick.exchange_time_us // 1_000_000 == made.time_ms // 1000


@pytest.mark.usefixtures("quick_books")
@pytest.mark.parametrize(("name", "market"), [each for each in HEALED.values() if COUNTED[each]])
async def test_trades_that_were_lost_are_fetched_as_they_were_made(
    monkeypatch: pytest.MonkeyPatch, name: str, market: str
) -> None:
    monkeypatch.setattr(healing, "ASK_AFTER_US", 100_000)
    lost: set[tuple[str, int]] = set()

    async def disturb(world: World) -> None:
        await world.until(lambda: world.of(Tick, kind="TRADE"))
        key = next(key for key, each in world.venue.hub.counts.streams.items() if each.kind == "trade")
        active = world.venue.faults.start(Lose(match=key, count=3))
        await world.until(lambda: active.is_over and world.of(QualityEvent, kind="HEALED"))
        gaps = world.of(QualityEvent, kind="GAP", channel="trade")
        await world.until(lambda: len(world.of(QualityEvent, kind="HEALED")) == len(gaps))
        lost.update((gap.symbol, n) for gap in gaps for n in range(gap.from_sequence, gap.to_sequence + 1))
        await world.finish()

    # few enough that the lost ones are on the venue's page of newest trades however late they are asked for
    source = SyntheticOptions(symbols=1, rate_frames=60, seed=3, markets=(market,))
    world = await run(name, market, source, disturb)
    ticks = world.of(Tick, kind="TRADE")
    restored = [each for each in ticks if "BACKFILL" in each.flags]

    assert len(restored) == len(lost) == len(world.flow.counted.restored) > 0
    assert len({each.trade_id for each in ticks}) == len(ticks)
    for tick in restored:
        instrument = next(each for each in world.flow.pipeline._symbology if each.symbol == tick.symbol)
        made = world.made[instrument.venue_symbol, tick.trade_id]
        assert (tick.price, tick.side) == (float(made.price), "BUY" if made.is_buy else "SELL")
        assert tick.quantity == pytest.approx(instrument.base_quantity(float(made.size), float(made.price)))
        assert tick.exchange_time_us == made.time_ms * 1000
    assert not {each.kind for each in world.of(QualityEvent)} & {"UNKNOWN_FIELD", "NOT_HEALED"}


@pytest.mark.usefixtures("quick_books")
@pytest.mark.parametrize(("name", "market"), [each for each in HEALED.values() if not COUNTED[each]])
async def test_trades_of_a_time_that_was_lost_are_fetched_where_ids_tell_no_hole(
    monkeypatch: pytest.MonkeyPatch, name: str, market: str
) -> None:
    monkeypatch.setattr(absences, "ASK_AFTER_US", 100_000)

    async def disturb(world: World) -> None:
        await world.until(lambda: world.of(Tick, kind="TRADE"))
        if name in REPEATING:
            key = next(key for key, each in world.venue.hub.counts.streams.items() if each.kind == "trade")
            active = world.venue.faults.start(Lose(match=key, count=3))
            await world.until(lambda: active.is_over)
            before = len(world.of(Tick, kind="TRADE"))
            await world.until(lambda: len(world.of(Tick, kind="TRADE")) > before + 3)
        else:
            world.venue.faults.start(Refuse(for_s=0.2))
            world.venue.faults.start(Disconnect(how="abort"))
        await world.until(lambda: world.of(QualityEvent, kind="HEALED"))
        world.venue.stop()
        await world.until(lambda: world.venue.state == "done" and len(world.of(Tick, kind="TRADE")) == len(world.made))

    source = SyntheticOptions(symbols=1, rate_frames=60, seed=3, markets=(market,))
    world = await run(name, market, source, disturb)
    ticks = world.of(Tick, kind="TRADE")
    restored = [each for each in ticks if "BACKFILL" in each.flags]

    assert len(restored) == sum(each.count for each in world.of(QualityEvent, kind="HEALED")) > 0
    assert len({each.trade_id for each in ticks}) == len(ticks)
    for tick in restored:
        instrument = next(each for each in world.flow.pipeline._symbology if each.symbol == tick.symbol)
        made = world.made[instrument.venue_symbol, tick.trade_id]
        assert (tick.price, tick.side) == (float(made.price), "BUY" if made.is_buy else "SELL")
        assert tick.exchange_time_us == made.time_ms * 1000


@pytest.mark.recordings
@pytest.mark.parametrize(
    ("name", "market", "file"),
    [
        ("BITFINEX", "spot", "cryptofeed/BITFINEX.ws.11.0"),
        ("HTX", "coin", "cryptofeed/HUOBI_SWAP.ws.1.0"),
        ("HTX", "linear", "cryptofeed/HUOBI_SWAP.ws.2.0"),
        ("HTX", "spot", "cryptofeed/HUOBI.ws.44.0"),
        ("KRAKEN", "futures", "cryptofeed/KRAKEN_FUTURES.ws.1.0"),
        ("KRAKEN", "spot_v1", "cryptofeed/KRAKEN.ws.48.0"),
        ("KRAKEN", "spot_v1", "cryptofeed/KRAKEN.ws.50.0"),
        ("OKX", "spot", "cryptofeed/OKX.ws.1.0"),
        ("KUCOIN", "spot", "cryptofeed/KUCOIN.ws.1.0"),
        ("GATE", "spot", "cryptofeed/GATEIO.ws.1.0"),
        ("GATE", "futures", "cryptofeed/GATEIO_FUTURES.ws.1.0"),
        ("COINBASE", "exchange", "cryptofeed/COINBASE.ws.28.0"),
        ("DERIBIT", "options", "cryptofeed/DERIBIT.ws.1.0"),
        ("HYPERLIQUID", "perp", "hftbacktest/hyperliquid/btcusd_20250126.gz"),
    ],
)
async def test_recording_comes_out_as_it_was(recordings: Path, name: str, market: str, file: str) -> None:
    path = recordings / file
    reading = Reading(name, market)
    items = [item for frame in read_recording(path, market) for item in reading.items(frame)]
    trades = {(item.symbol, item.name or str(item.trade_id)) for item in items if isinstance(item, Trade)}

    async def play(world: World) -> None:
        await world.until(lambda: world.venue.state == "done")
        await world.until(lambda: not world.wrong_tops())
        await world.until(lambda: len(world.of(Tick, kind="TRADE")) >= len(trades))

    world = await run(name, market, RecordingOptions(path=path, market=market, pace=None), play)
    stored = Counter((each.symbol, each.trade_id) for each in world.of(Tick, kind="TRADE"))

    assert stored == Counter((world.instrument(symbol).symbol, trade_id) for symbol, trade_id in trades)
    assert not [each for each in world.of(QualityEvent) if each.kind in {"GAP", "CHECKSUM"}]
    assert not world.of(DeadLetter)

"""The whole way without Kafka: a venue with faults, the real producer, the real pipeline, all in one process.

Raw records go from the producer's intake straight into a pipeline, whose commands go straight back to the producer.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from prometheus_client import REGISTRY

from processors import book_keeper
from processors.pipeline import Pipeline
from processors.symbol_state import SymbolState
from producers.app import Producer, make_producer
from producers.feed import Feed
from producers.intake import Intake
from schemas.records import ControlCommand, DeadLetter, Depth, Derived, Frame, QualityEvent, RawFrames, Tick
from tickerplant.clock import now_us
from tickerplant.local.venue import SyntheticOptions, Venue, VenueOptions
from tickerplant.local.venue.dialect import Book, Stream
from tickerplant.local.venue.dialect import Frame as Written
from tickerplant.local.venue.fault_plan import ActiveFault, Strike
from tickerplant.local.venue.faults import AnyFault, Disconnect
from tickerplant.local.venue.market import KEPT_TRADES
from tickerplant.settings import Keys, Settings
from tickerplant.settings import Producer as ProducerSettings
from tickerplant.settings import Venue as VenueSettings

PATIENCE_S = 20.0
DEPTH_LEVELS = 5000
Id = tuple[str, int]
"""(canonical symbol, id)."""


@dataclass
class Flow:
    """Takes raw records as Kafka does, and processes each at once.

    Args:
        is_stuck: nothing is delivered, as while Kafka is away.
        is_over: what comes is forgotten: the test looks at how things are.
    """

    pipeline: Pipeline = field(default_factory=lambda: Pipeline("BINANCE", "raw.binance", 0, keyframe_us=500_000))
    raw: list[RawFrames] = field(default_factory=list)
    records: list[Derived] = field(default_factory=list)
    commands: list[ControlCommand] = field(default_factory=list)
    is_stuck: bool = False
    is_over: bool = False
    heard: Callable[[ControlCommand], None] = lambda _command: None
    _undelivered: list[Callable[[], None]] = field(default_factory=list)

    def send(self, partition: int, record: RawFrames, on_delivered: Callable[[], None]) -> None:
        assert partition == 0
        self._undelivered.append(on_delivered)
        if self.is_over:
            return
        batch = self.pipeline.process(len(self.raw), record)
        self.raw.append(record)
        self.records += batch.records
        self.commands += batch.commands
        for command in batch.commands:
            asyncio.get_running_loop().call_soon(self.heard, command)

    def poll(self) -> None:
        while self._undelivered and not self.is_stuck:
            self._undelivered.pop(0)()

    def frames(self, kind: str) -> list[Frame]:
        return [frame for record in self.raw for frame in record.frames if frame.kind == kind]


@dataclass
class World:
    """A venue, a producer that captures it, and what came of it."""

    venue: Venue
    flow: Flow
    http: httpx.AsyncClient
    producer: Producer
    published: dict[tuple[str, str, int], tuple[float, float, str]] = field(default_factory=dict)  # price, size, side

    def start(self, fault: AnyFault) -> ActiveFault:
        return self.venue.faults.start(fault)

    def of(self, shape: type, **fields: Any) -> list[Any]:
        """List the records of a class with these values."""
        found = [each for each in self.flow.records if isinstance(each, shape)]
        return [each for each in found if all(getattr(each, name) == value for name, value in fields.items())]

    def events(self, kind: str, channel: str = "") -> list[QualityEvent]:
        return [each for each in self.of(QualityEvent, kind=kind) if channel in {"", each.channel}]

    def noted(self, kind: str, channel: str) -> int:
        """Sum the counts of events."""
        return sum(each.count for each in self.events(kind, channel))

    def gaps(self, channel: str) -> set[Id]:
        """List the ids that GAP events name."""
        events = self.events("GAP", channel)
        return {(each.symbol, n) for each in events for n in range(each.from_sequence, each.to_sequence + 1)}

    def trades(self) -> Counter[Id]:
        """Count the stored trades by id."""
        return Counter((each.symbol, int(each.trade_id)) for each in self.of(Tick, kind="TRADE"))

    def canonical(self, market: str, venue_symbol: str) -> str:
        found = self.flow.pipeline._symbology.find(market, venue_symbol)
        assert found is not None
        return found.symbol

    def struck(self, active: ActiveFault, stream: str = "@trade") -> set[Id]:
        """List what a fault struck on streams of a kind, by first id."""
        strikes = [each for each in active.strikes if each.target.endswith(stream)]
        return {(self._symbol_of(each), each.first_id) for each in strikes}

    def _symbol_of(self, strike: Strike) -> str:
        market, _, stream = strike.target.partition("/")
        return self.canonical(market, stream.partition("@")[0].upper())

    def letters(self) -> list[DeadLetter]:
        return self.of(DeadLetter)

    async def until(self, holds: Callable[[], object]) -> None:
        """Poll a condition until it holds, or the producer ends."""
        async with asyncio.timeout(PATIENCE_S):
            while not holds():  # noqa: ASYNC110  # conditions of all kinds
                await asyncio.sleep(0.005)

    async def until_books_stand(self) -> None:
        """Wait until all captured books are valid, and a delta was applied to each."""
        books = sum("@depth" in key for key in self.venue.hub.subscribed())
        await self.until(lambda: sum(each.is_valid and each.is_joined for _, each in self._kept()) >= books)

    async def until_keyframes(self) -> None:
        """Wait until all books stand that a keyframe, which a book that is seen to be wrong has none of, showed."""
        await self.until_books_stand()
        before = {id(keeper): keeper.snapshot_id for _, keeper in self._kept()}
        await self.until(lambda: all(each.snapshot_id > before.get(id(each), 0) for _, each in self._kept()))

    async def more(self, trades: int = 20) -> None:
        """Let some more trades be stored."""
        wanted = sum(self.trades().values()) + trades
        await self.until(lambda: sum(self.trades().values()) >= wanted)

    async def passed(self, seconds: float) -> None:
        """Let the market go on for some time."""
        loop = asyncio.get_running_loop()
        end_s = loop.time() + seconds
        await self.until(lambda: loop.time() >= end_s)

    async def resync(self) -> None:
        """End all faults and connections, so that every book is joined again."""
        await self.venue.faults.end_all()
        old = set(self.venue.hub.sessions)
        self.start(Disconnect())
        await self.until(lambda: self.venue.hub.sessions and not old & set(self.venue.hub.sessions))
        streams = {(each.plan.market, name.name) for each in self._feeds() for name in each.plan.streams}
        await self.until(lambda: len(self.venue.hub.subscribed()) >= len(streams))
        await self.until_books_stand()

    async def finish(self) -> None:
        """End faults and market; all that was written is processed then."""
        await self.venue.faults.end_all()
        told = {id(keeper): self._true_book(state).last_id for state, keeper in self._kept()}
        await self.until(lambda: all(each.sequence > told.get(id(each), 0) for _, each in self._kept()))
        await self.until_books_stand()
        await self.more()
        self.venue.stop()
        await self.until(lambda: self.venue.state == "done")
        frames = -1
        while frames != len(self.flow.frames("MESSAGE")):  # until nothing more comes
            frames = len(self.flow.frames("MESSAGE"))
            await asyncio.sleep(0.1)
        self.flow.is_over = True

    def made(self) -> dict[Id, tuple[float, float, str]]:
        """Give all trades of the captured markets, whether or not anybody listened: price, size, side."""
        found = dict(self.published)
        for market in {each.instrument.market for each in self.flow.pipeline.states()}:
            for listing in self.venue.feed.listings(market):
                for each in self.venue.feed.trades(market, listing.symbol, 1, KEPT_TRADES) or ():
                    values = (float(each.price), float(each.size), "BUY" if each.is_buy else "SELL")
                    found.setdefault((market, listing.symbol, each.number), values)
        return {(self.canonical(market, symbol), n): values for (market, symbol, n), values in found.items()}

    def restored(self) -> set[Id]:
        """List the trades that came by REST."""
        return {(each.symbol, int(each.trade_id)) for each in self.of(Tick, kind="TRADE") if "BACKFILL" in each.flags}

    def written_trades(self) -> set[Id]:
        """List the trades that the venue wrote to sockets as they were made."""
        written = self.venue.hub.counts.trades.items()
        return {
            (self.canonical(market, symbol), number)
            for (market, symbol), ids in written
            for first, last in ids.ranges()
            for number in range(first, last + 1)
        }

    def within(self, trades: set[Id]) -> set[Id]:
        """Leave out those before the first and after the last stored trade of their symbol: no id tells of them."""
        first, last = _bounds(self.trades())
        return {key for key in trades if first.get(key[0], key[1]) < key[1] < last.get(key[0], 0)}

    def dead_frames(self) -> int:
        """Count the raw messages that are no JSON."""
        return sum(not _is_json(frame.payload) for frame in self.flow.frames("MESSAGE"))

    def replayed(self) -> Flow:
        """Process the raw records once more."""
        again = Flow(heard=lambda _command: None)
        for number, record in enumerate(self.flow.raw):
            batch = again.pipeline.process(number, record)
            again.records += batch.records
            again.commands += batch.commands
        return again

    def _feeds(self) -> list[Feed]:
        return [feed for capture in self.producer.captures for feed in capture.feeds]

    def assert_trades_are_right(self, but: Collection[Id] = ()) -> None:
        """Each stored trade is one that was made, once, as it was; each one that is not stored is in a GAP.

        Args:
            but: whose values are not looked at.
        """
        stored, gaps = self.trades(), self.gaps("trade")
        made = self.made()
        ticks = {(each.symbol, int(each.trade_id)): each for each in self.of(Tick, kind="TRADE")}
        assert stored
        assert set(stored.values()) == {1}
        for key, tick in ticks.items():
            price, size, side = made[key]
            if key in but:
                continue
            assert (tick.price, tick.side) == (price, side)
            if "/USDT" in tick.symbol:
                assert tick.quantity == size
        missing = self.within(set(made) - set(stored))
        assert missing <= gaps
        assert not {key for key in gaps if key in made} - missing - set(stored), "a GAP names what was never made"

    def assert_books_are_right(self) -> None:
        """Each kept book equals that of the venue's matching engine."""
        assert self._kept()
        for state, keeper in self._kept():
            book, instrument = self._true_book(state), state.instrument
            multiplier = instrument.contract_multiplier if instrument.market == "coinm" else 0.0
            assert keeper.is_valid
            assert keeper.sequence <= book.last_id
            assert keeper.book.bids == _levels(book.bids, multiplier), instrument.symbol
            assert keeper.book.asks == _levels(book.asks, multiplier), instrument.symbol

    def assert_published_books_are_right(self) -> None:
        """A subscriber that follows cleaned.depth by the rule of README has the books that are kept."""
        books: dict[str, tuple[int, dict[float, float], dict[float, float]]] = {}
        for each in self.of(Depth):
            if each.is_snapshot:
                books[each.symbol] = (each.snapshot_id, *_sides(each))
            elif each.symbol in books and each.snapshot_id == books[each.symbol][0]:
                for side, changes in zip(books[each.symbol][1:], _sides(each), strict=True):
                    side.update(changes)
                    for price in [price for price, size in side.items() if not size]:
                        del side[price]
        for state in self.flow.pipeline.states():
            if state.keeper.last_seen:
                assert books[state.instrument.symbol][1:] == (state.keeper.book.bids, state.keeper.book.asks)

    def assert_all_is_right(self) -> None:
        self.assert_trades_are_right()
        self.assert_books_are_right()
        self.assert_published_books_are_right()

    def _kept(self) -> list[tuple[SymbolState, book_keeper.BookKeeper]]:
        """List the books that get deltas."""
        return [(each, each.keeper) for each in self.flow.pipeline.states() if each.keeper.last_seen]

    def _true_book(self, state: SymbolState) -> Book:
        """Give the book of the venue's matching engine, as it is."""
        book = self.venue.feed.book(state.instrument.market, state.instrument.venue_symbol, DEPTH_LEVELS)
        assert book is not None
        return book


def _bounds(stored: Counter[Id]) -> tuple[dict[str, int], dict[str, int]]:
    """Tell the first and last stored id of each symbol: beyond them no id tells of a loss."""
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for symbol, number in stored:
        first[symbol] = min(first.get(symbol, number), number)
        last[symbol] = max(last.get(symbol, number), number)
    return first, last


def _is_json(payload: bytes) -> bool:
    try:
        json.loads(payload)
    except ValueError:
        return False
    return True


def _levels(side: list[tuple[str, str]], multiplier: float) -> dict[float, float]:
    pairs = [(float(price), float(size)) for price, size in side]
    return {price: size * multiplier / price if multiplier else size for price, size in pairs}


def _sides(depth: Depth) -> tuple[dict[float, float], dict[float, float]]:
    bids = dict(zip(depth.bid_prices, depth.bid_sizes, strict=True))
    return bids, dict(zip(depth.ask_prices, depth.ask_sizes, strict=True))


def _record_trades(world: World) -> None:
    """Keep what the venue made of trades, before any fault."""
    publish = world.venue.hub.publish

    def recorded(stream: Stream, frame: Written) -> None:
        if stream.kind == "trade":
            data = json.loads(frame.payload)["data"]
            values = (float(data["p"]), float(data["q"]), "SELL" if data["m"] else "BUY")
            world.published[stream.market, stream.symbol, frame.first_id] = values
        publish(stream, frame)

    world.venue.hub.publish = recorded  # type: ignore[method-assign]


def _settings(port: int, markets: tuple[str, ...], channels: tuple[str, ...], producer: ProducerSettings) -> Settings:
    base = f"127.0.0.1:{port}/binance"
    venues = tuple(
        VenueSettings(
            venue="BINANCE",
            market=market,
            symbols=("*",),
            channels=channels,
            websocket_url=f"ws://{base}/{market}",
            rest_url=f"http://{base}/{market}",
        )
        for market in markets
    )
    return Settings(producer=producer, venues=venues)


@pytest.fixture
def quick_books(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let books ask for snapshots sooner than they do in earnest."""
    monkeypatch.setattr(book_keeper, "PATIENCE_US", 1_000_000)
    monkeypatch.setattr(book_keeper, "FIRST_WAIT_US", 50_000)
    monkeypatch.setattr(book_keeper, "MOST_WAIT_US", 200_000)


@pytest.fixture
def world(quick_books: None) -> Callable[..., Any]:
    """Make worlds: `async with world(markets=("spot",), channels=(...), ...) as it`."""

    @asynccontextmanager
    async def make(
        *faults: AnyFault,
        markets: tuple[str, ...] = ("spot",),
        channels: tuple[str, ...] = ("trade", "depth"),
        symbols: int = 5,
        rate: float = 1500.0,
        seed: int = 1,
        stale_after_s: float = 30.0,
        before: tuple[AnyFault, ...] = (),
        keys: Keys | None = None,
        **producer_settings: Any,
    ) -> AsyncIterator[World]:
        timing: dict[str, Any] = {"linger_ms": 5.0, "backoff_first_s": 0.02, "backoff_most_s": 0.2, "overlap_s": 0.2}
        timing |= {"stale_after_s": stale_after_s} | producer_settings
        source = SyntheticOptions(symbols=symbols, rate_frames=rate, seed=seed)
        options = VenueOptions(source=source, faults=faults, fault_seed=seed)
        async with Venue(options) as venue, httpx.AsyncClient() as client:
            for fault in before:
                venue.faults.start(fault)
            settings = _settings(venue.port, markets, channels, ProducerSettings(**timing))
            settings = settings.model_copy(update={"keys": keys or Keys()})
            flow = Flow()
            intake = Intake(
                "BINANCE", "raw.binance", partition_count=1, settings=settings.producer, outlet=flow, now_us=now_us
            )
            producer = make_producer(settings, {"BINANCE": intake}, client)
            flow.heard = producer.take_command
            made = World(venue, flow, client, producer)
            _record_trades(made)
            stop = asyncio.Event()
            running = asyncio.create_task(producer.run(stop))
            try:
                yield made
            finally:
                stop.set()
                await running

    return make


@pytest.fixture
def capturing(world: Callable[..., Any]) -> Callable[..., Any]:
    """Make worlds whose market runs and whose books stand."""

    @asynccontextmanager
    async def make(*faults: AnyFault, **options: Any) -> AsyncIterator[World]:
        async with world(*faults, **options) as made:
            await made.until(made.venue.hub.subscribed)
            made.venue.start()
            await made.until_books_stand()
            await made.more(5)
            yield made

    return make


@pytest.fixture
def metric() -> Callable[..., float]:
    """Read a metric of this process."""

    def read(name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(name, {"venue": "BINANCE", **labels}) or 0.0

    return read

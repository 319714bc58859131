"""`tickerplant smoke`: a short live check of a venue, all in one process and in memory: connect, capture, parse, count.

The producer and the pipeline are those that run in production; between them stands no Kafka, but the raw records
themselves. Nothing is kept.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import quantiles
from typing import Any, Final

import httpx

from processors.pipeline import Pipeline
from producers.app import Addresses, Producer, first_error, make_fetcher, make_producer
from producers.capture import Capture, fetch_list
from producers.failures import printable
from producers.http import HttpError
from producers.intake import Intake
from producers.plan import wanted_instruments
from producers.venues import VENUES
from schemas.records import (
    Candle,
    ControlCommand,
    DeadLetter,
    Depth,
    Derivative,
    Derived,
    Instrument,
    QualityEvent,
    RawFrames,
    Tick,
    Ticker,
)
from schemas.symbology import Symbology
from schemas.topics import raw_topic
from schemas.venues import SYMBOLOGIES
from tickerplant.choices import check_market, chosen_venue
from tickerplant.clock import now_us
from tickerplant.errors import UserError
from tickerplant.settings import Settings, Venue
from tickerplant.smoke_trades import PastFinding, SeenTrades, check_past_trades

SYMBOLS: Final = 3  # chosen where none are named
FAVOURITES: Final = ("BTC", "ETH", "SOL", "XRP")
QUOTES: Final = ("USDT", "USDC", "USD")
LOOK_S: Final = 0.1
LIST_WITHIN_S: Final = 30.0
LATENCIES_MOST: Final = 100_000


@dataclass(frozen=True, kw_only=True)
class SmokeOptions:
    """What is to be checked.

    Args:
        market: None = each market of the venue.
        seconds: from the first open connection of a market on.
        symbols: venue symbols or canonical ones; () = a few that trade much.
        websocket_url, rest_url: None = the venue's own; one market alone.
    """

    venue: str
    market: str | None = None
    seconds: float = 20.0
    symbols: tuple[str, ...] = ()
    websocket_url: str | None = None
    rest_url: str | None = None


@dataclass
class Tally:
    """Takes raw records of one market as Kafka does, processes each at once, and counts what comes."""

    venue: str
    heard: Callable[[ControlCommand], None] = lambda _command: None
    frames: Counter[str] = field(default_factory=Counter)
    records: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    letters: list[DeadLetter] = field(default_factory=list)
    unknown_fields: set[str] = field(default_factory=set)
    disconnects: list[str] = field(default_factory=list)
    latencies_us: dict[str, list[int]] = field(default_factory=dict)
    trades: SeenTrades = field(default_factory=SeenTrades)
    _offset: int = 0

    def __post_init__(self) -> None:
        """Begin with an empty state."""
        self.pipeline = Pipeline(self.venue, raw_topic(self.venue).name, 0)

    def send(self, partition: int, record: RawFrames, on_delivered: Callable[[], None]) -> None:
        """Process a raw record."""
        del partition
        for frame in record.frames:
            self.frames[frame.kind] += 1
            if frame.kind == "DISCONNECT":
                self.disconnects.append(frame.payload.decode(errors="replace"))
        batch = self.pipeline.process(self._offset, record)
        self._offset += 1
        for each in batch.records:
            self._count(each)
        for command in batch.commands:
            asyncio.get_running_loop().call_soon(self.heard, command)
        on_delivered()

    def poll(self) -> None:
        """Do nothing: all is delivered."""

    def _count(self, record: Derived) -> None:
        name = kind_of_record(record)
        if isinstance(record, DeadLetter):
            self.letters.append(record)
        elif isinstance(record, QualityEvent):
            self.events[record.kind] += record.count or 1
            if record.kind == "UNKNOWN_FIELD":
                self.unknown_fields.add(f"{record.channel}: {record.detail}")
        elif name:
            if isinstance(record, Tick):
                self.trades.add(record)
            self.records[name] += 1
            self._time(name, record)

    def _time(self, name: str, record: Derived) -> None:
        exchange_time_us = getattr(record, "exchange_time_us", 0)
        recv_time_us = getattr(record, "recv_time_us", 0)
        found = self.latencies_us.setdefault(name, [])
        if exchange_time_us and recv_time_us and len(found) < LATENCIES_MOST:
            found.append(recv_time_us - exchange_time_us)


def kind_of_record(record: Derived) -> str:
    """Name what a record tells, by our words; "" = it is no market data."""
    if isinstance(record, Tick | Derivative):
        return record.kind.lower()
    if isinstance(record, Depth):
        return "depth snapshot" if record.is_snapshot else "depth delta"
    return {Ticker: "ticker", Candle: "candle"}.get(type(record), "")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a check of one market found.

    Args:
        silent: kinds of channels that were subscribed, should speak and did not.
        past: what REST told of trades that were seen; None = it was not asked.
        problems: each one line; () = all is well.
    """

    venue: str
    market: str
    symbols: tuple[str, ...]
    streams: int = 0
    tally: Tally
    refused: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()
    past: PastFinding | None = None
    problems: tuple[str, ...] = ()

    def summary(self) -> dict[str, Any]:
        """Give all of it as values."""
        tally = self.tally
        return {
            "venue": self.venue,
            "market": self.market,
            "symbols": list(self.symbols),
            "streams": self.streams,
            "frames": dict(tally.frames),
            "records": dict(tally.records),
            "latency_ms": {name: _percentiles_ms(found) for name, found in tally.latencies_us.items() if found},
            "quality_events": dict(tally.events),
            "dead_letters": len(tally.letters),
            "unknown_fields": sorted(tally.unknown_fields),
            "refused": list(self.refused),
            "silent": list(self.silent),
            "past_trades": self.past.summary() if self.past else None,
            "problems": list(self.problems),
        }

    def lines(self) -> Iterator[str]:
        """Write it for people."""
        tally = self.tally
        yield f"{self.venue} {self.market}  {' '.join(self.symbols)}  {self.streams} streams"
        for name, count in sorted(tally.records.items()):
            found = tally.latencies_us.get(name)
            timed = _percentiles_ms(found) if found else None
            late = f"  behind the venue's clock: p50 {timed['p50']:.1f} ms, p99 {timed['p99']:.1f} ms" if timed else ""
            yield f"  {name:<16}{count:>8}{late}"
        for name, count in sorted(tally.events.items()):
            yield f"  {name:<16}{count:>8}  quality events"
        for name in sorted(tally.unknown_fields):
            yield f"  unknown field   {name}"
        if self.past is not None:
            yield f"  past trades     {self.past.told:>8}  by REST, {self.past.shared} of them seen in the stream"
        yield from (f"  problem         {each}" for each in self.problems)


async def check(settings: Settings, options: SmokeOptions) -> list[Finding]:
    """Check the markets that are asked for, at the same time.

    Raises:
        UserError: venue, market or a symbol is unknown.
    """
    entries = [_entry(options, market) for market in _markets(options)]
    addresses: Addresses = {}
    try:
        async with httpx.AsyncClient() as client, asyncio.TaskGroup() as tasks:
            checks = [
                tasks.create_task(_check_market(settings, options, entry, client, addresses)) for entry in entries
            ]
    except BaseExceptionGroup as group:
        raise first_error(group) from None
    return [each.result() for each in checks]


def _markets(options: SmokeOptions) -> tuple[str, ...]:
    wire = chosen_venue(options.venue, VENUES)
    for given, schemes in ((options.websocket_url, ("ws://", "wss://")), (options.rest_url, ("http://", "https://"))):
        if given is not None and not given.startswith(schemes):
            raise UserError(f"{given} is no URL of {schemes[0]} or {schemes[1]}")
    if options.market is None:
        if len(wire.MARKETS) > 1 and (options.websocket_url or options.rest_url):
            raise UserError(f"a URL is of one market: name it with --market: {', '.join(wire.MARKETS)}")
        return wire.MARKETS
    check_market(wire.NAME, options.market, wire.MARKETS)
    return (options.market,)


def _entry(options: SmokeOptions, market: str) -> Venue:
    wire = VENUES[options.venue.upper()]
    return Venue(
        venue=wire.NAME,
        market=market,
        symbols=options.symbols or ("*",),
        channels=wire.CHANNELS[market],
        websocket_url=options.websocket_url,
        rest_url=options.rest_url,
    )


async def _check_market(
    settings: Settings, options: SmokeOptions, entry: Venue, client: httpx.AsyncClient, addresses: Addresses
) -> Finding:
    """Check one market; what the venue does wrong is in the finding."""
    tally = Tally(entry.venue)
    fetcher = make_fetcher(settings, entry, client, addresses)
    try:
        async with asyncio.timeout(LIST_WITHIN_S):
            bodies = await fetch_list(entry, fetcher, ())
        listings = [SYMBOLOGIES[entry.venue].read_list(entry.market, body, now_us()) for _, body in bodies]
        instruments = [each for listing in listings for each in listing.instruments]
    except (HttpError, ValueError, TimeoutError) as error:
        return _nothing(entry, tally, f"no instrument list: {printable(str(error) or type(error).__name__)}")
    if not options.symbols:
        chosen = tuple(each.venue_symbol for each in favourites(instruments))
        if not chosen:
            return _nothing(entry, tally, f"its list of {len(instruments)} instruments has none that trades")
    else:
        chosen = tuple(each.venue_symbol for each in wanted_instruments(entry, Symbology(instruments)))
    few = entry.model_copy(update={"symbols": chosen})
    intake = Intake(
        entry.venue, raw_topic(entry.venue).name, partition_count=1, settings=settings.producer, outlet=tally,
        now_us=now_us,
    )  # fmt: skip
    alone = settings.model_copy(update={"venues": (few,)})
    producer = make_producer(alone, {entry.venue: intake}, client, addresses=addresses)
    tally.heard = producer.take_command
    await _run(producer, options.seconds)
    named = {each.symbol: each.venue_symbol for each in instruments}
    past = await check_past_trades(few, fetcher, named, tally.trades)
    return _finding(few, producer.captures[0], tally, options.seconds, past)


async def _run(producer: Producer, seconds: float) -> None:
    """Let a producer run for some time after its first connection is open, or until that takes too long."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    running = asyncio.create_task(producer.run(stop))
    end_s = loop.time() + LIST_WITHIN_S
    is_open = False
    while loop.time() < end_s and not running.done():
        await asyncio.sleep(LOOK_S)
        if not is_open and producer.captures[0].states()["connected"]:
            is_open, end_s = True, loop.time() + seconds
    stop.set()
    await running


def _finding(entry: Venue, capture: Capture, tally: Tally, seconds: float, past: PastFinding | None) -> Finding:
    feeds = capture.feeds
    silent = sorted(set().union(*(feed.silent() for feed in feeds)))
    refused = {name: why for feed in feeds for name, why in feed.refused().items()}
    streams = sum(len(feed.plan.streams) for feed in feeds)
    problems = [*_problems(capture, tally, seconds, silent, refused)]
    if past is not None and past.problem():
        problems.append(past.problem())
    return Finding(
        venue=entry.venue,
        market=entry.market,
        symbols=entry.symbols,
        streams=streams,
        tally=tally,
        refused=tuple(sorted(refused)),
        silent=tuple(silent),
        past=past,
        problems=tuple(problems),
    )


def _problems(
    capture: Capture, tally: Tally, seconds: float, silent: Sequence[str], refused: Mapping[str, str]
) -> Iterator[str]:
    """Say what is not as it should be, the gravest first."""
    failure = next((feed.last_failure for feed in capture.feeds if feed.last_failure), "")
    why = f": {failure}" if failure else ""
    if not tally.frames["CONNECT"]:
        yield f"no connection could be opened within {LIST_WITHIN_S:g} s{why}"
        return
    if not any(feed.has_spoken for feed in capture.feeds):
        yield f"connected, and no market data came within {seconds:g} s{why}"
    elif silent:
        yield f"nothing came of {', '.join(silent)}"
    if refused:
        name, text = next(iter(refused.items()))
        yield f"{len(refused)} streams were refused, {name} for: {printable(text)}"
    if tally.letters:
        reasons = Counter(each.reason for each in tally.letters)
        text, _ = reasons.most_common(1)[0]
        yield f"{len(tally.letters)} frames could not be used, most for: {printable(text)}"
    has_book = any(
        capture.wire.snapshot_by(each.channel) != "none" for feed in capture.feeds for each in feed.plan.streams
    )
    if has_book and tally.records and not tally.records["depth snapshot"]:
        yield "no book came to stand"


def _nothing(entry: Venue, tally: Tally, problem: str) -> Finding:
    return Finding(venue=entry.venue, market=entry.market, symbols=(), tally=tally, problems=(problem,))


def favourites(instruments: Iterable[Instrument], most: int = SYMBOLS) -> list[Instrument]:
    """Choose a few that trade much, as far as their names tell: known bases first, perpetuals before dated ones."""

    def rank(each: Instrument) -> tuple[int, int, int, str]:
        base = FAVOURITES.index(each.base) if each.base in FAVOURITES else len(FAVOURITES)
        quote = QUOTES.index(each.quote) if each.quote in QUOTES else len(QUOTES)
        return base, int(each.kind not in {"SPOT", "PERPETUAL"}), quote, each.venue_symbol

    ranked = sorted((each for each in instruments if each.is_trading), key=rank)
    by_base: dict[str, Instrument] = {}
    for each in ranked:
        by_base.setdefault(each.base, each)
    return list(by_base.values())[:most]


def _percentiles_ms(found_us: Sequence[int]) -> dict[str, float]:
    """Tell p50 and p99."""
    if len(found_us) == 1:
        return dict.fromkeys(("p50", "p99"), round(found_us[0] / 1000, 3))
    cuts = quantiles(found_us, n=100, method="inclusive")
    return {"p50": round(cuts[49] / 1000, 3), "p99": round(cuts[98] / 1000, 3)}

"""Recorded sessions of venues → normalised records in memory, beside what others make of the same bytes.

Run: python -m benchmarks.venues [ROUNDS]     (installs the peers into Pythons of their own, below .tickerplant/peers)

- cryptofeed: its handlers over its own recordings, callbacks that do nothing.
- ccxt pro: the handlers behind its socket, without the socket; nobody waits for what they make.
- hftbacktest: its converter of Binance futures, from its recorder's file to an array; ours reads that file, too.

Sides take turns, each a warm process that plays a session from an empty state; all frames of cryptofeed's recordings
are in memory before. Figures are of CPU time, since others share the machine. Before the clock starts, trades (how many
of each market, and the sum of their prices) and the best prices of the books that are left have to be the same; a side
that cannot play a session, or has other trades or books, is left out, and why is printed. Messages that tell of past
trades, which a peer ignores, are not in that comparison, nor is a book whose recorded snapshot ccxt would ask for anew.

Ours does more: it dedupes, flags, counts, notes every gap, and makes the records that go to Kafka.
"""

import gc
import json
import re
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, suppress
from functools import cache
from math import isclose
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

from benchmarks import peers
from benchmarks.ending import in_a_line
from benchmarks.inputs import SHARED, AbsentError, markets_there, session
from benchmarks.page import rows, text
from benchmarks.turns import Turns, in_turns
from processors.errors import FrameError
from processors.flags import OFF_BOOK
from processors.memory import Memory
from processors.pipeline import Pipeline
from processors.venues import VENUES
from schemas.records import Depth, Derived, Frame, Instrument, RawFrames, Source, Tick
from tickerplant.recordings import RecordedFrame, read_recording

RECORDINGS: Final = SHARED / "cryptofeed"
AIM: Final = 1.5
ROUNDS: Final = 3
PLAYS_S: Final = 0.3
PLAYS_LEAST: Final = 3
PACKED: Final = 50  # frames a raw record, as under load
CLOSE: Final = 1e-9
ABSENT: Final = 0.2  # of the books, at most


class Ccxt(NamedTuple):
    """How ccxt plays a session.

    Args:
        exchange: its name there.
        url: of the client, by which some of its handlers tell markets apart.
        subscriptions: what its handlers look for among a client's, of each market.
        snapshots: the method that takes a depth snapshot, and its type; () = they come in the stream.
        cut: what is cut from messages, since ccxt never asks for it; a pattern.
        timed: name of a time that answers have today, and those of the recording do not.
        ignored: what messages have that it ignores, though they tell of trades.
    """

    exchange: str
    url: str = "wss://venue.example/ws"
    subscriptions: tuple[str, ...] = ()
    snapshots: tuple[str, ...] = ()
    cut: str = ""
    timed: str = ""
    ignored: str = ""


class Session(NamedTuple):
    """A recorded session: our venue and market, cryptofeed's name ("" = it cannot), the file; None = ccxt cannot.

    Args:
        ignored: what messages have that cryptofeed ignores, though they tell of trades.
    """

    venue: str
    market: str
    peer: str
    file: str
    ccxt: Ccxt | None = None
    ignored: str = ""


LOADED: Final = ("load_order_book", "")
FETCHED: Final = "fetch_order_book_snapshot"
BOOK: Final = ("orderbook::{symbol}",)
BINANCE: Final = (
    Ccxt("binance", "wss://stream.binance.com:9443/ws", BOOK, (FETCHED, "spot")),
    Ccxt("binanceusdm", "wss://fstream.binance.com/ws", BOOK, (FETCHED, "linear")),
    Ccxt("binancecoinm", "wss://dstream.binance.com/ws", BOOK, (FETCHED, "linear")),
)
GATE: Final = Ccxt("gate", snapshots=LOADED, timed="current")
KRAKEN: Final = Ccxt("krakenfutures")
OKX: Final = Ccxt("okx", subscriptions=("books:{symbol}",))
SESSIONS: Final = (
    Session("BINANCE", "spot", "BINANCE", "BINANCE.ws.1.0", BINANCE[0]),
    Session("BINANCE", "usdm", "BINANCE_FUTURES", "BINANCE_FUTURES.ws.1.0", BINANCE[1]),
    Session("BINANCE", "coinm", "BINANCE_DELIVERY", "BINANCE_DELIVERY.ws.1.0", BINANCE[2]),
    Session("BITFINEX", "spot", "BITFINEX", "BITFINEX.ws.11.0", Ccxt("bitfinex", cut=r",\d+(?=\]$)")),
    Session("COINBASE", "exchange", "", "COINBASE.ws.28.0", Ccxt("coinbaseexchange", ignored='"last_match"')),
    Session("DERIBIT", "futures", "", "DERIBIT.ws.1.0", Ccxt("deribit")),
    Session("GATE", "spot", "GATEIO", "GATEIO.ws.1.0", GATE),
    Session("GATE", "futures", "GATEIO_FUTURES", "GATEIO_FUTURES.ws.1.0", GATE),
    Session("HTX", "spot", "HUOBI", "HUOBI.ws.44.0"),
    Session("HTX", "coin", "HUOBI_SWAP", "HUOBI_SWAP.ws.1.0"),
    Session("KRAKEN", "spot_v1", "KRAKEN", "KRAKEN.ws.50.0"),
    Session("KRAKEN", "futures", "KRAKEN_FUTURES", "KRAKEN_FUTURES.ws.1.0", KRAKEN, '"trade_snapshot"'),
    Session("KUCOIN", "spot", "", "KUCOIN.ws.1.0", Ccxt("kucoin", snapshots=LOADED)),
    Session("OKX", "spot", "OKX", "OKX.ws.1.0", OKX),
)
"""HTX's depth.step0 and Kraken's first WebSocket API are none of ccxt's any more."""
CONVERTED: Final = ("usdm", "coinm")
KINDS: Final = {"SPOT": "spot", "PERPETUAL": "swap", "FUTURE": "future", "OPTION": "option"}


def measure(rounds: int = ROUNDS) -> dict[str, Any]:
    """Compare frames per second of all on each session that is there, and tell which part of ours is parsing.

    Raises:
        AbsentError: there is none.
    """
    there = recorded()
    if not there:
        markets_there(CONVERTED)
    with TemporaryDirectory() as folder, ExitStack() as stack:
        sides = started(stack)
        found: dict[str, Any] = {
            f"{each.venue} {each.market}": beside(each, sides, Path(folder), rounds) for each in there
        }
        for market in CONVERTED:
            with suppress(AbsentError):
                found[f"BINANCE {market}, from its file"] = beside_file(market, str(session(market)), sides, rounds)
        played = [each for each in there if found[f"{each.venue} {each.market}"].sides["tickerplant"]]
        shares = {each: sides["tickerplant"].ask(["share", *each[:2], each.file]) for each in played}
        told = {f"{each.venue} {each.market}": f"{part:.0%}" for each, part in shares.items()}
        return found | {"parsing alone, of what ours takes": told}


def recorded() -> list[Session]:
    """Find the sessions that are there, each by its usual file or the first of that exchange; tells which are not."""
    found = list[Session]()
    for each in SESSIONS:
        usual = RECORDINGS / each.file
        others = sorted(RECORDINGS.glob(f"{each.file.partition('.')[0]}.ws.*"))
        if usual.exists() or others:
            found.append(each if usual.exists() else each._replace(file=others[0].name))
        else:
            print(f"{each.file} is absent: left out", file=sys.stderr)
    return found


def started(stack: ExitStack) -> dict[str, peers.Asked]:
    """Start all sides that can be installed, ours first."""
    sides = {"tickerplant": peers.Asked([sys.executable, "-m", "benchmarks.venues", "--ours"])}
    for name, arguments in {"cryptofeed": [str(RECORDINGS)], "ccxt": [], "hftbacktest": []}.items():
        try:
            sides[name] = peers.asked(name, f"play_{name}.py", *arguments)
        except peers.PeerError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
    for each in sides.values():
        stack.callback(each.close)
    return sides


def beside(session: Session, sides: Mapping[str, peers.Asked], folder: Path, rounds: int) -> Turns:
    """Compare all on one session; one that ours cannot read leaves all without values."""
    mine = [session.venue, session.market, session.file]
    nothing: dict[str, list[float]] = {name: [] for name in ("tickerplant", "cryptofeed", "ccxt")}
    asked = {"tickerplant": _asking(sides["tickerplant"], ["rate", *mine])}
    if _ours(sides, ["summary", *mine, ""]) is None:
        return Turns(unit="frames/s", sides=nothing)
    for name, (question, ignored) in questions(session, folder).items():
        if name not in sides:
            continue
        expected = sides["tickerplant"].ask(["summary", *mine, ignored])
        if is_same(f"{name}, {session.file}", expected, _summary(sides[name], [*question, 0])):
            asked[name] = _asking(sides[name], [*question, PLAYS_S])
    return Turns(unit="frames/s", sides=nothing | in_turns(asked, rounds), aims={"cryptofeed": AIM, "ccxt": AIM})


def questions(session: Session, folder: Path) -> dict[str, tuple[list[str], str]]:
    """Tell how peers are asked for a session, and what they ignore of it; those that cannot play it are left out."""
    found: dict[str, tuple[list[str], str]] = {}
    if session.peer:
        found["cryptofeed"] = [session.peer, session.file], session.ignored
    if session.ccxt:
        path = folder / f"{session.file}.json"
        path.write_text(json.dumps(as_ccxt(session)), encoding="utf-8")
        found["ccxt"] = [str(path)], session.ccxt.ignored
    return found


def beside_file(market: str, path: str, sides: Mapping[str, peers.Asked], rounds: int) -> Turns:
    """Compare ours with hftbacktest's converter, both from the file."""
    nothing: dict[str, list[float]] = {"tickerplant": [], "hftbacktest": []}
    mine = _ours(sides, ["file_summary", market, path])
    if mine is None:
        return Turns(unit="frames/s", sides=nothing)
    other = _summary(sides["hftbacktest"], [path, 0]) if "hftbacktest" in sides else {"cannot": "it is not there"}
    frames = mine.pop("frames")
    asked = {"tickerplant": _per_second(frames, _asking(sides["tickerplant"], ["file_seconds", market, path]))}
    if "cannot" not in other and are_close(mine.values(), [other[name] for name in mine]):
        asked["hftbacktest"] = _per_second(frames, _asking(sides["hftbacktest"], [path, 1]))
    else:
        print(f"hftbacktest, {path}: ours are {mine}, its {other}", file=sys.stderr)
    return Turns(
        unit="frames/s",
        sides=nothing | in_turns(asked, rounds),
        aims={"hftbacktest": AIM},
    )


def is_same(name: str, mine: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Tell whether others have the same trades, and the same best prices of what is left; prints what differs."""
    if "cannot" in other:
        print(f"{name}: {other['cannot']}", file=sys.stderr)
        return False
    differ, absent = list[str](), 0
    for what in ("trades", "best"):
        ours_of, its = ({market.upper(): found for market, found in side[what].items()} for side in (mine, other))
        for market in sorted(ours_of.keys() | its.keys()):
            one, two = ours_of.get(market), its.get(market)
            if what == "best" and two is None:
                absent += 1
            elif one is None or two is None or not are_close(one, two):
                differ.append(f"{what} of {market}: ours {one}, its {two}")
    if absent > ABSENT * len(mine["best"]):
        differ.append(f"it lacks {absent} of {len(mine['best'])} books")
    if differ:
        print(f"{name}: {len(differ)} differ: {'; '.join(differ[:3])}", file=sys.stderr)
    return not differ


def are_close(one: Iterable[float], other: Iterable[float]) -> bool:
    """Tell whether numbers are the same, but for the order in which they were added up."""
    return all(isclose(a, b, rel_tol=CLOSE) for a, b in zip(one, other, strict=True))


def as_ccxt(session: Session) -> dict[str, Any]:
    """Lay out a session as play_ccxt.py reads it."""
    assert session.ccxt
    frames = list(read_recording(RECORDINGS / session.file, session.market))
    listed = {each.venue_symbol: each for each in played(session.venue, session.market, frames).instruments}
    return {
        **session.ccxt._asdict(),
        "markets": [as_market(each) for each in listed.values()],
        "frames": [
            as_frame(each, session.ccxt)
            for each in frames
            if each.kind == "MESSAGE" or (each.kind == "HTTP" and session.ccxt.snapshots)
        ],
    }


def as_market(listed: Instrument) -> dict[str, Any]:
    """Turn an instrument into a market of ccxt, which names derivatives by what they settle in and their day."""
    kind = KINDS[listed.kind]
    settle = (listed.settle or (listed.base if listed.is_inverse else listed.quote)) if kind != "spot" else None
    day = time.strftime("%y%m%d", time.gmtime(listed.expiry_time_us / 1e6)) if listed.expiry_time_us else ""
    symbol = f"{listed.base}/{listed.quote}" + (f":{settle}" if settle else "") + (f"-{day}" if day else "")
    if kind == "option":
        symbol += "-" + "-".join(listed.symbol.split("-")[-2:])
    return {
        "id": listed.venue_symbol, "symbol": symbol, "base": listed.base, "quote": listed.quote, "settle": settle,
        "baseId": listed.base, "quoteId": listed.quote, "settleId": settle, "type": kind, kind: True,
        "spot": kind == "spot", "contract": kind != "spot", "active": True,
        "linear": kind != "spot" and not listed.is_inverse, "inverse": kind != "spot" and listed.is_inverse,
        "contractSize": listed.contract_multiplier if kind != "spot" else None,
        "precision": {"price": listed.tick_size, "amount": listed.lot_size},
    }  # fmt: skip


def as_frame(frame: RecordedFrame, how: Ccxt) -> tuple[str, str, str]:
    """Turn a frame into what JSON can carry."""
    body = frame.payload.decode()
    if frame.kind == "HTTP" and how.timed:
        body = json.dumps(json.loads(body) | {how.timed: frame.recv_time_us // 1000})
    return frame.kind, frame.request, re.sub(how.cut, "", body) if how.cut else body


class Played(NamedTuple):
    """What a pipeline made of a session, and what it knows then."""

    records: list[Derived]
    instruments: list[Instrument]
    pipeline: Pipeline


def played(venue: str, market: str, frames: Iterable[RecordedFrame]) -> Played:
    """Play frames once, and keep all that comes, of instruments those alone that something came of."""
    pipeline, raw = _pipeline(venue), [each for part in _parted(venue, market, list(frames)) for each in part]
    records = [record for offset, each in enumerate(raw) for record in pipeline.process(offset, each).records]
    named = {each.symbol for each in records if isinstance(each, Tick | Depth)}
    instruments = [each for each in records if isinstance(each, Instrument) and each.symbol in named]
    return Played(records, instruments, pipeline)


def summary(venue: str, market: str, frames: Iterable[RecordedFrame], ignored: str = "") -> dict[str, Any]:
    """Tell trades and best prices by the venue's name of a market, of messages that do not have what is ignored."""
    found = played(venue, market, [each for each in frames if not ignored or ignored.encode() not in each.payload])
    names = {each.symbol: each.venue_symbol for each in found.instruments}
    trades: dict[str, list[float]] = defaultdict(lambda: [0, 0.0])
    for each in found.records:
        if isinstance(each, Tick) and each.kind in {"TRADE", "AGG_TRADE"}:
            trades[names[each.symbol]][0] += 1
            trades[names[each.symbol]][1] += each.price
    states = found.pipeline._ordered  # noqa: SLF001  # it shows its books nowhere else
    best = {each.instrument.venue_symbol: each.keeper.book.best() for each in states if each.keeper.is_valid}
    return {"trades": trades, "best": {name: each for name, each in best.items() if each}}


def file_summary(market: str, path: str) -> dict[str, float]:
    """Tell what came of a file of hftbacktest's recorder: counts, and a sum of prices; levels as they were sent."""
    frames = list(read_recording(Path(path), market))
    records = played("BINANCE", market, frames).records
    ticks = [each for each in records if isinstance(each, Tick)]
    trades = [each for each in ticks if each.kind == "TRADE" and OFF_BOOK not in each.flags]
    return {
        "frames": len(frames),
        "trades": len(trades),
        "prices": sum(each.price for each in trades),
        "quotes": sum(each.kind == "QUOTE" for each in ticks),
        "levels": sum(
            len(each.bid_prices) + len(each.ask_prices)
            for each in records
            if isinstance(each, Depth) and not each.is_keyframe
        ),
    }


def seconds(venue: str, lists: list[RawFrames], packed: list[RawFrames]) -> float:
    """Tell the CPU seconds that a new pipeline takes for a session; instrument lists are read before."""
    pipeline = _began(venue, lists)
    gc.collect()
    began_s = time.process_time()
    for offset, each in enumerate(packed, start=len(lists)):
        pipeline.process(offset, each)
    return time.process_time() - began_s


def file_seconds(market: str, path: str) -> float:
    """Tell the CPU seconds from a file to its records."""
    gc.collect()
    began_s = time.process_time()
    lists, packed = _parted("BINANCE", market, list(read_recording(Path(path), market)))
    pipeline = _began("BINANCE", lists)
    kept = [pipeline.process(offset, each).records for offset, each in enumerate(packed, start=len(lists))]
    assert kept
    return time.process_time() - began_s


def rate(venue: str, market: str, file: str) -> float:
    """Tell frames per second of a session, from instrument lists that were read before to records."""
    lists, packed = _parted(venue, market, _frames(market, file))
    return _count(market, file) / _median(lambda: seconds(venue, lists, packed))


def share(venue: str, market: str, file: str) -> float:
    """Tell which part of that is parsing alone."""
    lists, packed = _parted(venue, market, _frames(market, file))
    return _median(lambda: parse_seconds(venue, packed)) / _median(lambda: seconds(venue, lists, packed))


def parse_seconds(venue: str, packed: list[RawFrames]) -> float:
    """Tell the CPU seconds that turning a session's messages into items takes."""
    parse, memories = VENUES[venue].parse, defaultdict[str, Memory](Memory)
    gc.collect()
    began_s = time.process_time()
    for raw in packed:
        for frame in raw.frames:
            if frame.kind in {"MESSAGE", "HTTP"}:
                source = raw.sources[frame.source]
                with suppress(FrameError):
                    parse(source.market, frame, memories[source.connection])
    return time.process_time() - began_s


def ours() -> None:
    """Answer questions until there are no more: the name of a function, and its arguments."""
    known: dict[str, Callable[..., Any]] = {
        "rate": rate,
        "share": share,
        "summary": lambda venue, market, file, ignored: summary(venue, market, _frames(market, file), ignored),
        "file_summary": file_summary,
        "file_seconds": file_seconds,
    }
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        try:
            answer = known[name](*arguments)
        except Exception as error:  # noqa: BLE001  # a recording that we cannot read leaves the others as they are
            answer = {"cannot": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


@cache
def _frames(market: str, file: str) -> list[RecordedFrame]:
    return list(read_recording(RECORDINGS / file, market))


def _count(market: str, file: str) -> int:
    return sum(each.kind == "MESSAGE" for each in _frames(market, file))


def _median(play: Callable[[], float]) -> float:
    found: list[float] = []
    while sum(found) < PLAYS_S or len(found) < PLAYS_LEAST:
        found.append(play())
    return median(found)


def _summary(side: peers.Asked, question: list[Any]) -> Mapping[str, Any]:
    """Ask what a peer makes of a session; one that dies of it cannot play it, nor any after it."""
    try:
        found: Mapping[str, Any] = side.ask(question)
    except peers.PeerError as error:
        return {"cannot": str(error)}
    return found


def _ours(sides: Mapping[str, peers.Asked], question: list[Any]) -> Any:
    """Ask ours; None = it cannot, as is printed."""
    found = sides["tickerplant"].ask(question)
    if isinstance(found, dict) and "cannot" in found:
        print(f"{question[-1] or question[-2]} is left out: {found['cannot']}", file=sys.stderr)
        return None
    return found


def _asking(side: peers.Asked, question: list[Any]) -> Callable[[], float]:
    return lambda: float(side.ask(question))


def _per_second(frames: int, ask: Callable[[], float]) -> Callable[[], float]:
    return lambda: frames / ask()


def _pipeline(venue: str) -> Pipeline:
    return Pipeline(venue, f"raw.{venue.lower()}", 0, assume_instruments=True)


def _began(venue: str, lists: list[RawFrames]) -> Pipeline:
    pipeline = _pipeline(venue)
    for offset, each in enumerate(lists):
        pipeline.process(offset, each)
    return pipeline


def _parted(venue: str, market: str, frames: list[RecordedFrame]) -> tuple[list[RawFrames], list[RawFrames]]:
    """Pack instrument lists, and all else."""
    lists = [each for each in frames if each.kind == "INSTRUMENTS"]
    return packed(venue, market, lists), packed(venue, market, [each for each in frames if each.kind != "INSTRUMENTS"])


def packed(venue: str, market: str, frames: list[RecordedFrame], size: int = PACKED) -> list[RawFrames]:
    """Pack frames as a producer does under load, or so many a record."""
    names = list(dict.fromkeys(each.connection for each in frames))
    sources = [Source(market=market, connection=name) for name in names]
    numbers: Counter[str] = Counter()
    made = []
    for each in frames:
        frame = Frame(
            source=names.index(each.connection),
            number=numbers[each.connection],
            kind=each.kind,
            request=each.request,
            recv_time_us=each.recv_time_us,
            payload=each.payload,
        )
        numbers[each.connection] += 1
        made.append(frame)
    return [
        RawFrames(
            venue=venue,
            event_time_us=made[at : at + size][-1].recv_time_us,
            sources=sources,
            frames=made[at : at + size],
        )
        for at in range(0, len(made), size)
    ]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--ours"]:
        ours()
    else:
        with in_a_line():
            for name, found in measure(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS).items():
                print(*(rows(name, found) if isinstance(found, Turns) else [f"{name}: {text(found)}"]), sep="\n")

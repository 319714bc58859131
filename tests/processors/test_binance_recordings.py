"""Recorded Binance streams through the pipeline, against what the files themselves say, counted independently."""

import gzip
import json
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas.records import DeadLetter, Depth, Derivative, Frame, QualityEvent, Tick

pytestmark = [pytest.mark.recordings, pytest.mark.timeout(300)]

HFTBACKTEST = {
    "cm/btcusd_perp_20240808.gz": "coinm",
    "cm/btcusd_perp_20240809.gz": "coinm",
    "spot/btcusdt_20230405.dat.gz": "spot",
    "spot/btcusdt_20240808.gz": "spot",
    "spot/btcusdt_20240809.gz": "spot",
    "usdm/btcusdt_20230404.dat.gz": "usdm",
    "usdm/btcusdt_20230405.dat.gz": "usdm",
    "usdm/btcusdt_20240718.gz": "usdm",
    "usdm/btcusdt_20240719.gz": "usdm",
}
CRYPTOFEED = {"BINANCE": "spot", "BINANCE_US": "spot", "BINANCE_FUTURES": "usdm", "BINANCE_DELIVERY": "coinm"}
URL = "https://api.example/depth?symbol="
BATCH_FRAMES = 50
AGREE = {"spot": 0.85, "usdm": 0.99, "coinm": 0.99}


def read_hftbacktest(path: Path) -> Iterator[tuple[int, str, bytes]]:
    """Yield receive time (µs), request URL (empty = a message) and body."""
    divisor = 1 if path.name.endswith(".dat.gz") else 1000
    symbol = path.name.rsplit("_", 1)[0].upper()
    with gzip.open(path, "rb") as lines:
        for line in lines:
            time, body = line.rstrip(b"\n").split(b" ", 1)
            yield int(time) // divisor, "" if body.startswith(b'{"stream"') else URL + symbol, body


def read_cryptofeed(folder: Path, name: str) -> Iterator[tuple[int, str, bytes]]:
    """Yield the same of a session and the snapshots fetched beside it, in order of time."""
    found = []
    for file in (f"{name}.http.0.0", f"{name}.ws.1.0"):
        for line in (folder / file).read_text().splitlines():
            head, _, body = line.partition(": ")
            request, arrow, time = head.rpartition(" -> ")
            if body.startswith("{") and (not arrow or "/depth?" in request):
                found.append((int(float(time) * 1e6), request if arrow else "", body.encode()))
    return iter(sorted(found, key=lambda each: each[0]))


class Reference:
    """Counts, and books rebuilt from the JSON alone: the last snapshot, then all deltas that reach above it."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.trade_ids: set[tuple[str, int]] = set()
        self.snapshots: dict[str, Any] = {}
        self.deltas: dict[str, list[Any]] = {}

    def take(self, request: str, body: bytes) -> None:
        message = json.loads(body)
        if request:
            self.snapshots[request.split("symbol=")[1].split("&", maxsplit=1)[0]] = message
        elif "stream" in message:
            channel, data = message["stream"].split("@")[1].split("_")[0], message["data"]
            self.counts[channel] += 1
            if channel == "trade":
                self.trade_ids.add((data["s"], data["t"]))
            if channel == "depth":
                self.deltas.setdefault(data["s"], []).append(data)

    def book(self, symbol: str) -> dict[str, dict[float, float]]:
        """Rebuild the book of a symbol; sizes as the venue sends them."""
        snapshot = self.snapshots[symbol]
        above = [each for each in self.deltas.get(symbol, []) if each["u"] > snapshot["lastUpdateId"]]
        changes = [(snapshot["bids"], snapshot["asks"]), *((each["b"], each["a"]) for each in above)]
        bids = {float(price): float(size) for levels, _ in changes for price, size in levels}
        asks = {float(price): float(size) for _, levels in changes for price, size in levels}
        return {"bids": bids, "asks": asks}


def replay(run: Any, frames: Iterator[tuple[int, str, bytes]], before: tuple[Frame, ...] = ()) -> Reference:
    """Send all frames through the pipeline and the reference."""
    reference, batch = Reference(), list(before)
    for number, (time_us, request, body) in enumerate(frames, start=len(before)):
        reference.take(request, body)
        kind: Any = "HTTP" if request else "MESSAGE"
        batch.append(Frame(source=0, number=number, kind=kind, request=request, recv_time_us=time_us, payload=body))
        if len(batch) == BATCH_FRAMES:
            run.take(*batch)
            batch = []
    run.take(*batch)
    run.records += run.pipeline.finish()
    return reference


def kinds(run: Any) -> Counter[str]:
    return Counter(getattr(each, "kind", type(each).__name__) for each in run.records)


def assert_books_match(run: Any, reference: Reference) -> None:
    """The book kept, and the book a reader of the depth records has, are the one rebuilt from JSON."""
    for state in run.pipeline.states():
        if not state.keeper.is_valid:
            continue
        expected = {
            name: {price: state.instrument.base_quantity(size, price) for price, size in side.items() if size}
            for name, side in reference.book(state.instrument.venue_symbol).items()
        }
        assert {"bids": state.keeper.book.bids, "asks": state.keeper.book.asks} == expected
        assert read_book(run.of(Depth, symbol=state.instrument.symbol)) == expected


def read_book(depths: list[Depth]) -> dict[str, dict[float, float]]:
    """Follow depth records as a reader does: a snapshot replaces, a delta of that snapshot is applied."""
    bids: dict[float, float] = {}
    asks: dict[float, float] = {}
    snapshot_id = -1
    for each in depths:
        if each.is_snapshot:
            bids, asks, snapshot_id = {}, {}, each.snapshot_id
        elif each.snapshot_id != snapshot_id:
            continue
        bids |= dict(zip(each.bid_prices, each.bid_sizes, strict=True))
        asks |= dict(zip(each.ask_prices, each.ask_sizes, strict=True))
    return {
        name: {price: size for price, size in side.items() if size} for name, side in (("bids", bids), ("asks", asks))
    }


def side_agreement(ticks: list[Tick]) -> float:
    """Share of trades at the last quote before them, by the venue's clock, whose side that quote confirms.

    Spot quotes carry no time, and come before the trades that caused them: there the order of receipt must do.
    """
    quotes = [tick for tick in ticks if tick.kind == "QUOTE"]
    clock = "exchange_time_us" if quotes[0].exchange_time_us else "sequence_id"
    times = [getattr(quote, clock) for quote in quotes]
    verdicts = []
    for trade in (tick for tick in ticks if tick.kind == "TRADE"):
        at = bisect_left(times, getattr(trade, clock)) - 1
        if at >= 0 and trade.price in {quotes[at].bid, quotes[at].ask}:
            verdicts.append(trade.side == ("SELL" if trade.price == quotes[at].bid else "BUY"))
    return sum(verdicts) / len(verdicts)


def twice(frames: Iterator[tuple[int, str, bytes]], lag_us: int, swap_us: int) -> Iterator[tuple[str, Frame]]:
    """Yield each message by two connections, each in order: by turns one of them is a lag behind the other."""
    numbers: Counter[str] = Counter()
    last_us: Counter[str] = Counter()
    arrivals = []
    for at, (time_us, request, body) in enumerate(frames):
        behind = "ab"[time_us // swap_us % 2]
        for name in ["http"] if request else ["a", "b"]:
            last_us[name] = max(last_us[name], time_us + lag_us * (name == behind))
            arrivals.append((last_us[name], at, name, request, body))
    for time_us, _, name, request, body in sorted(arrivals, key=lambda each: each[:3]):
        kind: Any = "HTTP" if request else "MESSAGE"
        yield (
            name,
            Frame(source=0, number=numbers[name], kind=kind, request=request, recv_time_us=time_us, payload=body),
        )
        numbers[name] += 1


def neutral(records: list[Any]) -> list[Any]:
    """Leave out of records of one kind what tells of the connection."""
    clear = {"recv_time_us": 0, "event_time_us": 0, "source_offset": 0, "source_index": 0, "sequence_id": 0}
    return [msgspec.structs.replace(each, **{k: v for k, v in clear.items() if hasattr(each, k)}) for each in records]


@pytest.mark.parametrize(
    "name", ["cm/btcusd_perp_20240808.gz", "spot/btcusdt_20240808.gz", "usdm/btcusdt_20230405.dat.gz"]
)
def test_a_recording_brought_by_two_connections_gives_the_same_records(
    new_run: Any, recordings: Path, name: str
) -> None:
    path = recordings / "hftbacktest" / name
    once, both = new_run(HFTBACKTEST[name], keyframe_us=10**15), new_run(HFTBACKTEST[name], keyframe_us=10**15)
    replay(once, read_hftbacktest(path))
    for connection, frame in twice(read_hftbacktest(path), lag_us=170_000, swap_us=7_000_000):
        both.feed.connection = connection
        both.take(frame)
    both.records += both.pipeline.finish()

    for kind in ("TRADE", "QUOTE"):
        assert neutral(both.of(Tick, kind=kind)) == neutral(once.of(Tick, kind=kind))
    assert neutral(both.of(Derivative)) == neutral(once.of(Derivative))
    assert neutral(both.of(Depth)) == neutral(once.of(Depth))
    assert neutral(both.of(QualityEvent)) == neutral(once.of(QualityEvent))


@pytest.mark.parametrize("name", HFTBACKTEST)
def test_a_recording_gives_what_it_holds(new_run: Any, recordings: Path, name: str) -> None:
    run = new_run(HFTBACKTEST[name])
    reference = replay(run, read_hftbacktest(recordings / "hftbacktest" / name))
    found = kinds(run)

    assert found["TRADE"] == len(reference.trade_ids)
    assert found["QUOTE"] == reference.counts["bookTicker"]
    assert len(run.of(Depth, is_snapshot=False)) == reference.counts["depth"]
    assert found["MARK_PRICE"] == found["FUNDING_RATE"] == reference.counts["markPrice"]
    assert not {"GAP", "BOOK_RESET", "DUPLICATE", "UNKNOWN_FIELD", "VENUE_NOTICE"} & set(found)
    assert not run.of(DeadLetter)
    assert found["BOOK_READY"] == len(reference.snapshots)
    assert_books_match(run, reference)
    assert side_agreement(run.of(Tick)) > AGREE[HFTBACKTEST[name]]
    assert [tick.sequence_id for tick in run.of(Tick)] == list(range(1, len(run.of(Tick)) + 1))


@pytest.mark.parametrize("name", CRYPTOFEED)
def test_a_session_of_many_symbols_gives_what_it_holds(new_run: Any, recordings: Path, name: str) -> None:
    folder = recordings / "cryptofeed"
    body = (folder / f"{name}.0").read_bytes().split(b"\n")[0].partition(b": ")[2]
    instruments = Frame(source=0, number=0, kind="INSTRUMENTS", recv_time_us=0, payload=body)
    run = new_run(CRYPTOFEED[name], assume_instruments=False)
    reference = replay(run, read_cryptofeed(folder, name), (instruments,))
    found = kinds(run)

    assert found["AGG_TRADE"] == reference.counts["aggTrade"]
    assert found["QUOTE"] == reference.counts["bookTicker"]
    assert found["Candle"] == reference.counts["kline"]
    assert len(run.of(Depth, is_snapshot=False)) == reference.counts["depth"]
    assert not {"GAP", "DUPLICATE", "UNKNOWN_FIELD", "UNKNOWN_SYMBOL", "ASSUMED_INSTRUMENT"} & set(found)
    assert not run.of(DeadLetter)
    assert found["BOOK_READY"] == len(reference.snapshots)
    assert_books_match(run, reference)

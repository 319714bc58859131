"""Several connections bring the same streams: records are those of one without loss, each once, in order."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.line import RESTART_US
from schemas.records import Bar, Depth, Frame, QualityEvent, RawFrames, Source, Tick

MS = 1000
SECOND_US = 1_000_000
KINDS = ["delta", "trade", "agg", "quote", "timed", "candle"]
CHAINED = ["delta", "trade", "agg"]  # a loss shows by their ids
START_US = 1_723_161_260_000_000  # after what the messages of conftest say
FIRST_ID = 1000
EVERYWHERE = {"trade": "btcusdt@trade", "agg": "btcusdt@aggTrade", "quote": "btcusdt@bookTicker"}
STREAMS = {
    "spot": EVERYWHERE | {"delta": "btcusdt@depth@100ms", "timed": "btcusdt@ticker", "candle": "btcusdt@kline_1m"},
    "usdm": EVERYWHERE | {"delta": "btcusdt@depth@0ms", "timed": "btcusdt@markPrice@1s"},
}


def changes(kind: str, number: int) -> dict[str, Any]:
    """Tell the fields of the item `number` of its kind; update ids rise by two."""
    if kind == "trade":
        return {"t": FIRST_ID + number}
    if kind == "agg":
        return {"a": FIRST_ID + number}
    if kind == "quote":
        return {"u": FIRST_ID + 3 * number}
    if kind in {"timed", "candle"}:
        return {"E": START_US // MS + 100 * number}
    first = FIRST_ID + 2 * number
    levels = {"b": [[str(50 + number % 7), str(number)]], "a": [[str(60 + number % 5), str(number % 3)]]}
    return {"U": first, "u": first + 1, "pu": first - 1, **levels}


@dataclass(frozen=True)
class Item:
    """What the venue sends once to each connection."""

    time_us: int
    kind: str
    number: int


@dataclass
class Delivery:
    """How a connection brings the items from `start` to `end`: each `lags_us` late, the lags taken in turn."""

    name: str
    start: int
    end: int
    lags_us: list[int]
    arrivals: dict[int, int] = field(default_factory=dict)
    end_time_us: int = 0


@dataclass(frozen=True)
class Plan:
    """A stream and how it comes."""

    items: list[Item]
    deliveries: list[Delivery]
    cuts: set[int]
    clock_ms: int


def stream_of(kinds: list[str], gaps_ms: list[int]) -> list[Item]:
    counts: dict[str, int] = {}
    items, time_us = [], START_US
    for kind, gap_ms in zip(kinds, gaps_ms, strict=True):
        number = counts[kind] = counts.get(kind, -1) + 1
        time_us += gap_ms * MS
        items.append(Item(time_us, kind, number))
    return items


def arrive(items: list[Item], each: Delivery) -> None:
    """Tell when each item arrives: in order."""
    time_us = START_US
    for at in range(each.start, each.end):
        time_us = max(time_us + 1, items[at].time_us + each.lags_us[at % len(each.lags_us)])
        each.arrivals[at] = time_us
    each.end_time_us = time_us + 100 * SECOND_US


def hand_over(items: list[Item], deliveries: list[Delivery]) -> None:
    """Disconnect each but the last once all that it carried is carried by later ones."""
    for number, each in enumerate(deliveries[:-1], 1):
        firsts: dict[str, int] = {}
        for following in deliveries[number:]:
            for at, time_us in following.arrivals.items():
                firsts.setdefault(items[at].kind, time_us)
        each.end_time_us = max(*each.arrivals.values(), *firsts.values()) + 1


@st.composite
def streams(draw: st.DrawFn) -> list[Item]:
    """Begin and end with one item of each kind, a second ahead: of what lies below the first nothing is known."""
    count = draw(st.integers(3, 30))
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=count, max_size=count))
    gaps_ms = draw(st.lists(st.integers(0, 300), min_size=count, max_size=count))
    ends = [0] * len(KINDS)
    return stream_of([*KINDS, *kinds, *KINDS], [*ends, 1000, *gaps_ms[1:], *ends])


lags = st.lists(st.integers(0, 400).map(lambda lag: lag * MS), min_size=1, max_size=7)


@st.composite
def handovers(draw: st.DrawFn) -> Plan:
    """Give each connection a part of the stream, that begins where the one before still delivers."""
    items = draw(streams())
    count = len(items)
    edges = sorted(draw(st.sets(st.integers(len(KINDS), count - len(KINDS)), min_size=1, max_size=2)))
    deliveries = []
    for number, (start, end) in enumerate(pairwise([0, *edges, count])):
        deliveries.append(Delivery(f"c{number}", draw(st.integers(min(len(KINDS), start), start)), end, draw(lags)))
        arrive(items, deliveries[-1])
    hand_over(items, deliveries)
    return Plan(items, deliveries, draw(st.sets(st.integers(0, 120))), draw(st.integers(0, 999)))


@st.composite
def twins(draw: st.DrawFn) -> Plan:
    """Give two connections the whole stream; what one of them loses the other one brings."""
    items = draw(streams())
    deliveries = [Delivery(name, 0, len(items), draw(lags)) for name in ("a", "b")]
    losers = draw(st.lists(st.sampled_from([None, None, 0, 1]), min_size=len(items), max_size=len(items)))
    for each in deliveries:
        arrive(items, each)
    for at, loser in enumerate(losers):
        if loser is not None and at >= len(KINDS) and items[at].kind in CHAINED:
            del deliveries[loser].arrivals[at]
    return Plan(items, deliveries, draw(st.sets(st.integers(0, 120))), draw(st.integers(0, 999)))


class Sender:
    """Makes raw records of several connections; frames come as (time, connection, make)."""

    def __init__(self, new_run: Callable[..., Any], market: str) -> None:
        self.market = market
        self._feed_of = type(new_run(market).feed)
        self._feeds: dict[str, Any] = {}

    def feed(self, connection: str, time_us: int) -> Any:
        """Find the feed of a connection, set so that its next frame is read from the socket at this time."""
        feed = self._feeds.setdefault(connection, self._feed_of(self.market, connection))
        feed.recv_time_us = time_us - MS
        return feed

    def pack(self, frames: list[tuple[str, Frame]]) -> RawFrames:
        names = list(dict.fromkeys(name for name, _ in frames))
        sources = [Source(market="" if name == "clock" else self.market, connection=name) for name in names]
        moved = [msgspec.structs.replace(frame, source=names.index(name)) for name, frame in frames]
        return RawFrames(venue="BINANCE", event_time_us=START_US, sources=sources, frames=moved)


def frames_of(sender: Sender, plan: Plan) -> list[tuple[str, Frame]]:
    """List all frames in the order in which they are taken in, after the snapshot that the first update follows."""
    events: list[tuple[int, str, Item | None]] = []
    for each in plan.deliveries:
        events += [(time_us, each.name, plan.items[at]) for at, time_us in each.arrivals.items()]
        events.append((each.end_time_us, each.name, None))
    last_us = max(time_us for time_us, _, item in events if item is not None)
    clock = range(START_US + plan.clock_ms * MS, last_us + 3 * SECOND_US, SECOND_US)
    events += [(time_us, "clock", None) for time_us in clock]
    events = [each for each in events if each[0] <= last_us + 3 * SECOND_US]
    frames = [("http", sender.feed("http", START_US - MS).snapshot(FIRST_ID - 1, [["49.0", "1"]], [["70.0", "1"]]))]
    for time_us, name, item in sorted(events, key=lambda each: (each[0], each[1])):
        feed = sender.feed(name, time_us)
        if item is not None and item.kind not in STREAMS[sender.market]:
            continue
        if item is not None:
            frame = feed.message(STREAMS[sender.market][item.kind], **changes(item.kind, item.number))
        else:
            frame = feed.frame(b"", "CLOCK" if name == "clock" else "DISCONNECT")
        frames.append((name, frame))
    return frames


def packed(frames: list[tuple[str, Frame]], cuts: set[int]) -> Iterator[list[tuple[str, Frame]]]:
    for start, end in pairwise(sorted({0, len(frames), *(cut for cut in cuts if cut < len(frames))})):
        yield frames[start:end]


def process(new_run: Callable[..., Any], market: str, plan: Plan) -> Any:
    run, sender = new_run(market, keyframe_us=10**15), Sender(new_run, market)
    for part in packed(frames_of(sender, plan), plan.cuts):
        run.take_record(sender.pack(part))
    run.records += run.pipeline.finish()
    return run


def alone(plan: Plan) -> Plan:
    """Let one connection bring all, without loss."""
    only = Delivery("only", 0, len(plan.items), [0])
    arrive(plan.items, only)
    return Plan(plan.items, [only], set(), plan.clock_ms)


def by_kind(run: Any) -> dict[str, list[Any]]:
    """Sort records by stream, without what depends on the connection: times of receipt, sources, our own counter."""
    found: dict[str, list[Any]] = {}
    for each in run.records:
        if isinstance(each, QualityEvent) and each.kind in {"CONNECT", "DISCONNECT", "LATE_FOR_BAR"}:
            continue
        if isinstance(each, Bar):  # when revisions are told, and whether, depends on when trades come
            continue
        neutral = {"recv_time_us": 0, "event_time_us": 0, "source_offset": 0, "source_index": 0, "sequence_id": 0}
        fields = {name: value for name, value in neutral.items() if hasattr(each, name)}
        key = type(each).__name__ + str(getattr(each, "kind", ""))
        found.setdefault(key, []).append(msgspec.structs.replace(each, **fields))
    return found


def recv_times(records: list[Any]) -> dict[int, int]:
    return {each.sequence: each.recv_time_us for each in records if isinstance(each, Depth)}


@pytest.mark.parametrize("market", ["spot", "usdm"])
@pytest.mark.parametrize("plans", [handovers(), twins()], ids=["handover", "twins"])
def test_records_are_those_of_one_connection_without_loss(
    new_run: Callable[..., Any], market: str, plans: st.SearchStrategy[Plan]
) -> None:
    @settings(deadline=None)
    @given(plan=plans)
    def check(plan: Plan) -> None:
        run = process(new_run, market, plan)

        assert by_kind(run) == by_kind(process(new_run, market, alone(plan)))
        assert [tick.sequence_id for tick in run.of(Tick)] == list(range(1, len(run.of(Tick)) + 1))

    check()


def renew(run: Any, pieces: dict[str, list[bytes]], pipeline: Any) -> None:
    """Go on in another pipeline, from the state of the one before; `pieces` are all that were captured so far."""
    run.capture(pieces)
    run.resume(pieces, pipeline)


@settings(deadline=None)
@given(plan=st.one_of(handovers(), twins()))
def test_state_restored_at_any_point_of_an_overlap_goes_on_the_same(new_run: Callable[..., Any], plan: Plan) -> None:
    whole, resumed = (new_run("spot", keyframe_us=3 * SECOND_US) for _ in range(2))
    sender = Sender(new_run, "spot")
    pieces: dict[str, list[bytes]] = {}
    for part in packed(frames_of(sender, plan), set(range(120))):
        renew(resumed, pieces, new_run("spot", keyframe_us=3 * SECOND_US).pipeline)
        raw = sender.pack(part)
        whole.take_record(raw)
        resumed.take_record(raw)

    assert resumed.records == whole.records
    assert resumed.pipeline.finish() == whole.pipeline.finish()


CHANGES: dict[str, Callable[[int], tuple[str, dict[str, Any]]]] = {
    "trade": lambda number: ("btcusdt@trade", {"t": number}),
    "agg": lambda number: ("btcusdt@aggTrade", {"a": number}),
    "quote": lambda number: ("btcusdt@bookTicker", {"u": number}),
    "delta": lambda number: ("btcusdt@depth@0ms", {"U": 2 * number, "u": 2 * number + 1, "pu": 2 * number - 1}),
    "mark": lambda number: ("btcusdt@markPrice@1s", {"E": START_US // MS + number}),
    "far": lambda number: ("btcusdt@markPrice@1s", {"E": 4 * 10**12 + number}),
    "forced": lambda number: ("btcusdt@forceOrder", {"E": START_US // MS + number}),
}
actions = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.sampled_from([*CHANGES, "delta", "delta", "trade", "snapshot", "disconnect", "clock"]),
        st.integers(1, 12),
        st.sampled_from([-100, 0, 10, 300, 1000, 6000, 31_000]),
    ),
    max_size=60,
)


def chaos(sender: Sender, stream: list[tuple[str, str, int, int]]) -> list[tuple[str, Frame]]:
    """Make frames of connections that bring anything, in any order."""
    frames, time_us = [], START_US
    for connection, what, number, after_ms in stream:
        time_us += after_ms * MS
        feed = sender.feed("clock" if what == "clock" else connection, time_us)
        if what == "snapshot":
            frame = feed.snapshot(2 * number, [["50.0", str(number)]])
        elif what in {"disconnect", "clock"}:
            frame = feed.frame(b"", what.upper())
        else:
            name, fields = CHANGES[what](number)
            frame = feed.message(name, **fields)
        frames.append((feed.connection, frame))
    return frames


@settings(deadline=None)
@given(stream=actions, cuts=st.sets(st.integers(0, 60)))
def test_whatever_comes_no_id_comes_twice_and_restored_state_goes_on(
    new_run: Callable[..., Any], stream: list[tuple[str, str, int, int]], cuts: set[int]
) -> None:
    whole, resumed = (new_run("usdm", keyframe_us=3 * SECOND_US) for _ in range(2))
    sender = Sender(new_run, "usdm")
    pieces: dict[str, list[bytes]] = {}
    for number, part in enumerate(packed(chaos(sender, stream), set(range(60)))):
        if number in cuts:
            renew(resumed, pieces, new_run("usdm", keyframe_us=3 * SECOND_US).pipeline)
        raw = sender.pack(part)
        whole.take_record(raw)
        resumed.take_record(raw)
    whole.records += whole.pipeline.finish()
    resumed.records += resumed.pipeline.finish()

    assert resumed.records == whole.records
    assert resumed.commands == whole.commands
    if sum(max(0, after_ms) for *_, after_ms in stream) * MS >= RESTART_US:
        return  # ids may have started again
    for kind in ("TRADE", "AGG_TRADE"):
        ids = [each.trade_id for each in whole.of(Tick, kind=kind)]
        brought = {number for _, what, number, _ in stream if what == {"TRADE": "trade", "AGG_TRADE": "agg"}[kind]}
        assert len(ids) == len(set(ids)) == len(brought)

"""What a replay is asked for, what it writes, which gaps it sees, and how rows are compared; in memory."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from processors.batch import Batch
from schemas.arrow import arrow_schema
from schemas.records import DeadLetter, QualityEvent, Tick
from schemas.topics import TICK
from sinks.columns import columns
from tickerplant.cli import cli
from tickerplant.errors import UserError
from tickerplant.replay.checkpoint import Place, folder
from tickerplant.replay.lake import Lake
from tickerplant.replay.partition import Task
from tickerplant.replay.plan import Plan, beginning, checkpoint_lake, is_made_anew
from tickerplant.replay.run import unprocessed, unstored
from tickerplant.replay.selection import Selection, marked, unmarked
from tickerplant.replay.source import GapError, Order
from tickerplant.replay.span import Range
from tickerplant.replay.verify import differing, paired
from tickerplant.replay.wish import Wish, make_wish, replay_settings
from tickerplant.settings import ObjectStore, Settings


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"topic": "cleaned.tick"}, "cannot be replayed; there are raw.binance"),
        ({"topic": "raw.nowhere"}, "cannot be replayed"),
        ({"into": "Big"}, "cannot name a replay"),
        ({"into": ""}, "cannot name a replay"),
        ({"start": "yesterday"}, "is no time"),
        ({"start": "latest"}, "is no time"),
        ({"start": "--5"}, "is no time"),
        ({"start": "\u00b2"}, "is no time"),
        ({"end": "99999999999999999999"}, "is no time"),
        ({"start": "2026-11-21T00:00:00"}, "names no time zone"),
        ({"start": "2026-11-21T00:00:00Z", "end": "2026-11-20T00:00:00Z"}, "is not before --to"),
        ({"start": "1795219200"}, "is it in s or ms"),
        ({"end": "1795219200000"}, "is it in s or ms"),
        ({"symbols": ["BTCUSDT"]}, "symbol BTCUSDT is not written as ours are"),
        ({"symbols": ["BTC/USDT,eth/usdt"]}, "symbol eth/usdt is not written as ours are"),
    ],
)
def test_a_mistake_is_one_line(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(UserError, match=why) as raised:
        make_wish(**{"topic": "raw.binance", "into": "fixed", **changes})

    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--dry-run"], "belong to --swap"),
        (["--force"], "belong to --swap"),
        (["--again", "--resume"], "give one of them"),
        (["--life", "WW4E8a-_"], "needs --from-archive"),
    ],
)
def test_words_that_do_not_fit_are_one_line_before_anything_is_done(words: list[str], why: str) -> None:
    done = CliRunner().invoke(cli, ["replay", "--topic", "raw.binance", "--into", "x", *words], standalone_mode=False)

    assert isinstance(done.exception, UserError)
    assert why in str(done.exception)


@pytest.mark.parametrize(
    "words", [["--topic", "raw.okx", "--into", "x"], ["--swap"], ["--dry-run"], ["--from", "2026-11-20"], ["--again"]]
)
def test_a_drop_with_anything_besides_drops_nothing(words: list[str]) -> None:
    done = CliRunner().invoke(cli, ["replay", "--drop", "y", *words], standalone_mode=False)

    assert isinstance(done.exception, UserError)
    assert "stands alone" in str(done.exception)


def test_checkpoints_are_those_beside_the_archive_if_it_has_any(tmp_path: Path) -> None:
    live, archive, bare = (Lake(ObjectStore(root=str(tmp_path / name))) for name in ("live", "archive", "bare"))
    place = tmp_path / "archive" / folder("raw.binance", 1) / Place(7, 5).name
    place.parent.mkdir(parents=True)
    place.touch()

    assert checkpoint_lake(live, archive, "raw.binance", 2) is archive
    assert checkpoint_lake(live, archive, "raw.binance", 1) is live
    assert checkpoint_lake(live, bare, "raw.binance", 2) is live
    assert checkpoint_lake(live, None, "raw.binance", 2) is live


def test_times_may_be_microseconds_and_symbols_a_list() -> None:
    wish = make_wish(topic="raw.binance", into="x", start="1795219200000000", symbols=["BTC/USDT, ETH/USDT"])

    assert (wish.from_us, wish.symbols) == (1_795_219_200_000_000, frozenset({"BTC/USDT", "ETH/USDT"}))


def test_a_replay_writes_nowhere_where_something_live_is() -> None:
    live = Settings()
    replay = replay_settings(live, "fixed")

    assert replay.kafka.topic_suffix == ".fixed"
    assert replay.clickhouse.table_suffix == "__fixed"
    assert replay.object_store.root == f"{live.object_store.root}-fixed"
    assert replay.local.home != live.local.home


def tick(index: int, symbol: str = "BTC/USDT", flags: str = "", event_time_us: int = 5) -> Tick:
    return Tick(
        event_time_us=event_time_us,
        venue="BINANCE",
        symbol=symbol,
        asset_class="CRYPTO",
        kind="TRADE",
        price=1.0,
        quantity=1.0,
        sequence_id=index,
        flags=flags,
        source_topic="raw.binance",
        source_offset=7,
        source_index=index,
    )


def batch(event_time_us: int) -> Batch:
    found = Batch("BINANCE", "raw.binance", 0, 7, event_time_us)
    event = QualityEvent(event_time_us=5, venue="BINANCE", symbol="", kind="CONNECT", source_offset=7, source_index=2)
    letter = DeadLetter(event_time_us=5, stage="processor", reason="", payload=b"", source_offset=7, source_index=3)
    found.records = [tick(0), tick(1, "ETH/USDT"), event, letter]
    found.commands = [None]  # type: ignore[list-item]  # dropped, whatever they are
    return found


def selected(event_time_us: int = 5, **changes: Any) -> list[int]:
    wish: dict[str, Any] = {"from_us": 5, "to_us": 6, "symbols": frozenset(), "marks": {}, **changes}
    found = Selection(**wish).of(batch(event_time_us))
    assert found.commands == []
    return [each.source_index for each in found.records]


def test_what_is_written_belongs_to_the_range_the_symbols_and_no_earlier_run() -> None:
    assert selected() == [0, 1, 2, 3]
    assert selected(to_us=5) == selected(from_us=6) == []
    assert selected(symbols=frozenset({"ETH/USDT"})) == [1]
    assert selected(marks={TICK.name: (7, 0)}) == [1, 2, 3]


@given(
    st.integers(0, 9),
    st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["BTC/USDT", "ETH/USDT"])), min_size=1, max_size=5),
    st.sampled_from([frozenset(), frozenset({"ETH/USDT"})]),
)
def test_what_is_written_is_what_is_compared_and_swapped_whenever_its_raw_record_came(
    raw_us: int, made: list[tuple[int, str]], symbols: frozenset[str]
) -> None:
    """As of a page of restored trades, which comes after `--to` and holds some from before, or so with `--from`."""
    wish = Wish(topic="raw.binance", into="x", from_us=3, to_us=6, symbols=symbols)
    ticks = [tick(number, symbol, event_time_us=time_us) for number, (time_us, symbol) in enumerate(made)]
    page = Batch("BINANCE", "raw.binance", 0, 7, raw_us)
    page.records = list(ticks)
    rows = [{name: getattr(each, name) for name in Tick.__struct_fields__} for each in ticks]
    table = pa.Table.from_batches([columns(arrow_schema(Tick), rows)])

    written = Selection(from_us=wish.from_us, to_us=wish.to_us, symbols=wish.symbols, marks={}).of(page).records
    compared = table.filter(Range(wish=wish, source="raw.binance", offsets={0: (7, 8)}).mask(table))
    assert [each.source_index for each in written] == compared["source_index"].to_pylist()


@given(st.sets(st.sampled_from(["LATE", "OFF_BOOK", "UNJOINED", "REPLAY"])))
def test_replay_joins_the_flags_and_comes_out_of_them(flags: set[str]) -> None:
    text = ",".join(sorted(flags))
    found = marked(tick(0, flags=",".join(sorted(flags - {"REPLAY"}))))

    assert isinstance(found, Tick)
    assert found.flags == ",".join(sorted(flags | {"REPLAY"}))
    assert unmarked(text) == ",".join(sorted(flags - {"REPLAY"}))


def test_a_missing_offset_is_told_unless_it_may_be_missing() -> None:
    strict, lenient = (Order("raw.binance:0", 5, allow_gaps=allowed) for allowed in (False, True))
    for order in (strict, lenient):
        order.expect(3, 9)
    lenient.expect(12, 20)

    assert lenient.missing == 2
    with pytest.raises(GapError, match="offsets 10 to 11 of"):
        strict.expect(12, 20)


@given(
    st.sets(st.tuples(st.integers(0, 9), st.integers(0, 3))), st.sets(st.tuples(st.integers(0, 9), st.integers(0, 3)))
)
def test_every_row_of_either_side_is_seen_once(live: set[tuple[int, int]], replayed: set[tuple[int, int]]) -> None:
    def ordered(ids: set[tuple[int, int]]) -> list[dict[str, int]]:
        return [{"source_offset": offset, "source_index": index} for offset, index in sorted(ids)]

    pairs = list(paired(ordered(live), ordered(replayed)))

    assert [left for left, _ in pairs if left is not None] == ordered(live)
    assert [right for _, right in pairs if right is not None] == ordered(replayed)
    assert sum(left is not None and right is not None for left, right in pairs) == len(live & replayed)


def test_rows_differ_by_column_but_not_by_replay_nor_by_nan() -> None:
    live = {"price": float("nan"), "flags": "LATE", "bids": [(1.0, 2.0)], "trade_id": "1"}

    assert differing(live, {**live, "flags": "LATE,REPLAY", "price": float("nan")}) == []
    assert differing(live, {**live, "flags": "REPLAY", "bids": [(1.0, 3.0)]}) == ["flags", "bids"]


class MemoryOffsets:
    """Tells what was committed, whatever the group."""

    def __init__(self, committed: dict[tuple[str, int], int]) -> None:
        self._committed = committed

    def committed(self, _group: str, _partitions: Any) -> dict[tuple[str, int], int]:
        return self._committed


def plan(*, is_current: bool = True) -> Plan:
    live, wish = Settings(), make_wish(topic="raw.binance", into="fixed")
    task = Task(
        wish=wish, live=live, replay=live, source="raw.binance@x", partition=1, partition_count=2, start=0, end=50
    )
    return Plan(live, [task], is_current)


@pytest.mark.parametrize(
    ("place", "first", "is_anew", "begins", "why"),
    [
        (None, 0, False, 0, ""),
        (Place(7, 1), 5, True, 7, ""),
        (Place(3, 1), 5, False, 5, "the checkpoint is older"),
        (None, 5, True, 5, "what came before is not kept"),
        (None, 0, True, 0, "the topic was made anew"),
    ],
)
def test_a_replay_begins_at_the_checkpoint_or_with_a_doubt_where_the_live_run_knew_more(
    place: Place | None, first: int, is_anew: bool, begins: int, why: str
) -> None:
    chosen, doubt = beginning(place, first, is_anew=is_anew)

    assert (chosen.next_offset if chosen else first) == begins
    assert doubt.startswith(why)
    assert bool(doubt) == bool(why)


def test_a_topic_was_made_anew_where_there_are_checkpoints_of_another_life_from_before() -> None:
    first, second, old = Place(70, 5, "firstlif"), Place(10, 9, "secondli"), Place(80, 6)

    assert is_made_anew([first, second], "secondli")
    assert is_made_anew([first], "secondli")
    assert not is_made_anew([first, second], "firstlif")
    assert not is_made_anew([old, second], "secondli")
    assert not is_made_anew([first], "")


@pytest.mark.parametrize(
    ("committed", "is_current", "is_told"), [(49, True, True), (50, True, False), (0, False, False)]
)
def test_a_range_that_the_live_processor_has_not_passed_is_told_unless_it_never_will(
    committed: int, is_current: bool, is_told: bool
) -> None:
    reader: Any = MemoryOffsets({("raw.binance", 1): committed})
    told = unprocessed(Settings(), plan(is_current=is_current), reader, {"raw.binance": 2})

    assert bool(told) == is_told
    assert not is_told or "offset 50 of raw.binance partition 1" in told


def test_a_sink_that_has_not_stored_all_is_told() -> None:
    reader: Any = MemoryOffsets({("cleaned.tick", 0): 7})
    topics = {"cleaned.tick": 1}

    assert unstored(Settings(), reader, topics, {("cleaned.tick", 0): 7}) == ""
    assert "offset 8 of cleaned.tick partition 0" in unstored(Settings(), reader, topics, {("cleaned.tick", 0): 8})

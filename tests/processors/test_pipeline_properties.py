"""What must hold for any stream: packing does not matter, nor where state is captured and restored."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.errors import StateError
from schemas.records import Frame
from schemas.symbology import partition_of

actions = st.lists(
    st.one_of(
        st.tuples(st.just("trade"), st.integers(1, 12)),
        st.tuples(st.just("quote"), st.integers(1, 6)),
        st.tuples(st.just("delta"), st.integers(0, 3)),
        st.tuples(st.just("snapshot"), st.integers(-6, 3)),
        st.tuples(st.just("bad"), st.just(0)),
        st.tuples(st.just("unknown"), st.just(0)),
        st.tuples(st.just("disconnect"), st.just(0)),
    ),
    max_size=40,
)
SECOND_US = 1_000_000
SHARE_OF_BTC, SHARE_OF_ETH = (f"@spot#{partition_of(name, 64)}" for name in ("BTCUSDT", "ETHUSDT"))


def frames_of(feed: Any, stream: list[tuple[str, int]]) -> list[Frame]:
    """Make a stream: a delta of n leaves n - 1 ids out (0 repeats the last), a snapshot stands n from the last id."""
    frames, last = [], 100
    for what, number in stream:
        if what == "trade":
            frames.append(feed.message("btcusdt@trade", t=number, after_us=400_000))
        elif what == "quote":
            frames.append(feed.message("btcusdt@bookTicker", u=number))
        elif what == "delta":
            first = last + number
            last = max(last, first + 1 if number else last)
            frames.append(feed.message("btcusdt@depth@100ms", U=first, u=last, b=[[str(first), "1"]], a=[]))
        elif what == "snapshot":
            frames.append(feed.snapshot(last + number, [["50.0", str(last)]], after_us=SECOND_US))
        elif what == "bad":
            frames.append(feed.frame(b"{"))
        elif what == "unknown":
            frames.append(feed.message("btcusdt@trade", t=number + 20, new=1))
        else:
            frames.append(feed.frame(b"gone", "DISCONNECT"))
    return frames


def values(records: list[Any]) -> list[Any]:
    return [msgspec.structs.replace(each, source_offset=0, source_index=0) for each in records]


@settings(deadline=None)
@given(stream=actions, cuts=st.sets(st.integers(0, 40)))
def test_output_does_not_depend_on_how_frames_are_packed(
    new_run: Callable[..., Any], stream: list[tuple[str, int]], cuts: set[int]
) -> None:
    one_by_one, packed = (new_run("spot", keyframe_us=3 * SECOND_US) for _ in range(2))
    frames = frames_of(one_by_one.feed, stream)
    for frame in frames:
        one_by_one.take(frame)
    edges = sorted({0, len(frames), *(cut for cut in cuts if cut < len(frames))})
    for start, end in pairwise(edges):
        packed.take_record(one_by_one.feed.record(*frames[start:end]))

    assert values(packed.records) == values(one_by_one.records)
    assert packed.commands == one_by_one.commands


@settings(deadline=None)
@given(stream=actions, cuts=st.sets(st.integers(0, 40)))
def test_restored_state_goes_on_as_if_nothing_had_happened(
    new_run: Callable[..., Any], stream: list[tuple[str, int]], cuts: set[int]
) -> None:
    whole, resumed = (new_run("spot", keyframe_us=3 * SECOND_US) for _ in range(2))
    kept: dict[str, list[bytes]] = {}
    for number, frame in enumerate(frames_of(whole.feed, stream)):
        whole.take(frame)
        if number in cuts:
            resumed.capture(kept)
            resumed.resume(kept, new_run("spot", keyframe_us=3 * SECOND_US).pipeline)
        resumed.take_record(whole.feed.record(frame))

    assert resumed.records == whole.records
    assert resumed.pipeline.finish() == whole.pipeline.finish()


def test_only_what_changed_is_captured_again(new_run: Callable[..., Any]) -> None:
    run = new_run("spot")
    run.take(run.feed.message("btcusdt@trade"), run.feed.message("btcusdt@trade", s="ETHUSDT"))
    assert set(run.pipeline.changed_states()) == {"BTC/USDT", "ETH/USDT", SHARE_OF_BTC, SHARE_OF_ETH}

    run.take(run.feed.message("btcusdt@trade", s="ETHUSDT", t=2))
    assert set(run.pipeline.changed_states()) == {"ETH/USDT"}
    assert run.pipeline.changed_states() == {}


@pytest.mark.parametrize("payload", [b"", b"\x90", b"\x91\x63", b"\x91\x01", b"garbage", b"\xc1"])
@pytest.mark.parametrize("name", ["", "@spot", "BTC/USDT"])
def test_damaged_or_other_state_is_refused(new_run: Callable[..., Any], name: str, payload: bytes) -> None:
    with pytest.raises(StateError):
        new_run("spot").pipeline.restore(name, payload)

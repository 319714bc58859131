"""Packing: order kept, nothing lost, bounds respected."""

from hypothesis import given
from hypothesis import strategies as st

from producers.packer import FRAME_BYTES, Lane, Packer
from schemas.records import RawFrames, Source

BOUND = 400


class Clock:
    time_us = 0

    def __call__(self) -> int:
        return self.time_us


def packer(emitted: list[RawFrames], clock: Clock) -> Packer:
    return Packer("BINANCE", record_bytes=BOUND, linger_us=100, now_us=clock, emit=emitted.append)


steps = st.lists(st.tuples(st.integers(0, 3), st.binary(max_size=600), st.integers(0, 80)), max_size=80)


@given(steps)
def test_frames_keep_their_order_and_numbers_and_none_is_lost(given_steps: list[tuple[int, bytes, int]]) -> None:
    emitted: list[RawFrames] = []
    clock = Clock()
    pack = packer(emitted, clock)
    lanes = [Lane(pack, Source(market="spot", connection=f"c{number}")) for number in range(4)]
    for lane, payload, passed_us in given_steps:
        clock.time_us += passed_us
        pack.close_due(clock.time_us)
        lanes[lane].add("MESSAGE", clock.time_us, payload, "r" * (lane == 3))
    pack.close()
    frames = [(record.sources[frame.source].connection, frame) for record in emitted for frame in record.frames]

    assert [(name, frame.payload) for name, frame in frames] == [(f"c{lane}", body) for lane, body, _ in given_steps]
    for lane in range(4):
        numbers = [frame.number for name, frame in frames if name == f"c{lane}"]
        assert numbers == list(range(len(numbers)))
    assert all(fits(record) for record in emitted)


def fits(record: RawFrames) -> bool:
    size = sum(len(frame.payload) + len(frame.request) + FRAME_BYTES for frame in record.frames)
    ages = [frame.recv_time_us for frame in record.frames]
    is_used = {frame.source for frame in record.frames} == set(range(len(record.sources)))
    return (size <= BOUND or len(record.frames) == 1) and ages[-1] - ages[0] <= 100 and is_used


def test_record_is_closed_when_its_first_frame_is_old_enough() -> None:
    emitted: list[RawFrames] = []
    clock = Clock()
    pack = packer(emitted, clock)
    lane = Lane(pack, Source(market="spot", connection="c"))
    lane.add("MESSAGE", 0, b"first")
    clock.time_us = 60
    lane.add("MESSAGE", 60, b"second")
    pack.close_due(99)
    assert emitted == []
    clock.time_us = 100
    pack.close_due(100)

    assert [len(record.frames) for record in emitted] == [2]
    assert emitted[0].event_time_us == 100


def test_a_clock_that_is_set_back_keeps_no_frame_back() -> None:
    emitted: list[RawFrames] = []
    clock = Clock()
    clock.time_us = 10**9
    pack = packer(emitted, clock)
    Lane(pack, Source(market="spot", connection="c")).add("MESSAGE", 0, b"first")
    pack.close_due(10**9 + 1)
    assert emitted == []

    pack.close_due(10**9 - 10**6)

    assert len(emitted) == 1


def test_empty_packer_hands_out_nothing() -> None:
    emitted: list[RawFrames] = []
    pack = packer(emitted, Clock())
    pack.close()
    pack.close_due(10**18)

    assert emitted == []


def test_empty_frames_fill_a_record_too() -> None:
    emitted: list[RawFrames] = []
    lane = Lane(packer(emitted, Clock()), Source(market="", connection="clock"))
    for _ in range(1000):
        lane.add("CLOCK", 0)

    assert max(len(record.frames) for record in emitted) == BOUND // FRAME_BYTES

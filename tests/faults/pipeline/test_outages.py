"""Servers go away in mid-stream, alone and together: roles say so, wait, resume; nothing is lost, nothing doubled."""

import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from schemas.topics import DEPTH, TICK
from tests.faults.pipeline.by_id import RAW, STORES, given, jumps, read, stored
from tickerplant.demo.ids import Difference, Ids, compare
from tickerplant.demo.report import Findings

pytestmark = [pytest.mark.stack, pytest.mark.timeout(1200)]

RATE = int(os.environ.get("OUTAGE_RATE", "300"))
RESERVE_BYTES = 60_000_000  # a tenth of the small disk
MOST_LINES = 12
"""Lines of one role in one outage: gone, back, partitions taken and given, one of each library."""
NEEDS = {
    "broker": ("kafka", ("produce", "process", "sink-clickhouse", "sink-parquet", "lag-exporter")),
    "registry": ("registry", ("produce", "process", "sink-clickhouse", "sink-parquet")),
    "s3": ("object_store", ("sink-parquet",)),
    "clickhouse": ("clickhouse", ("sink-clickhouse",)),
}


@dataclass(frozen=True)
class Outage:
    """Servers that go at once.

    Args:
        number: the signal; SIGSTOP = they hang, and go on at SIGCONT.
        dying: roles that are killed while their servers are away.
        least_s: how long it lasts at least, once it is noticed.
    """

    servers: tuple[str, ...]
    number: int = signal.SIGKILL
    dying: tuple[str, ...] = ()
    least_s: float = 0.0

    def expected(self) -> dict[str, set[str]]:
        """Tell what each role should miss."""
        found: dict[str, set[str]] = {}
        for server in self.servers:
            dependency, roles = NEEDS[server]
            for role in roles:
                found.setdefault(role, set()).add(dependency)
        return found


OUTAGES = {
    "broker": Outage(("broker",)),
    "registry": Outage(("registry",)),
    "object store": Outage(("s3",)),
    "clickhouse": Outage(("clickhouse",)),
    "broker and clickhouse": Outage(("broker", "clickhouse")),
    "broker and registry, in which two roles die": Outage(("broker", "registry"), dying=("process", "sink-clickhouse")),
}
if os.environ.get("OUTAGE_LONG"):  # minutes more
    OUTAGES["broker that hangs"] = Outage(("broker",), signal.SIGSTOP, least_s=8.0)


@dataclass(frozen=True)
class Seen:
    """What was seen of one outage.

    Args:
        missing: by role, what it said that it missed.
        lines: by role, how many lines its log grew by.
        restarts: by role, how often it was started again.
        resumed_s: from the servers' return until the processor went on, and all roles were ready.
    """

    missing: Mapping[str, set[str]]
    were_live: bool
    lines: Mapping[str, int]
    restarts: Mapping[str, int]
    resumed_s: float


@dataclass(frozen=True)
class Full:
    """What was seen of a disk that filled.

    Args:
        short: what roles missed while less than the reserve was free; `full`: while nothing was.
        were_all_there: no server and no role had ended while the reserve was not used up.
    """

    short: Mapping[str, set[str]]
    were_all_there: bool
    full: Mapping[str, set[str]]


@dataclass(frozen=True)
class Story:
    """All outages of one pipeline, in turn, and what its topics and stores held in the end.

    Args:
        jumps: frames of the raw topic that do not follow the one before of their connection.
        altered: shapes and partitions of cleaned topics that hold something else than what raw records give.
        wanted: by topic, the ids that it holds; of raw topics those of frames.
        found: by store, and topic, the ids of its rows.
    """

    seen: Mapping[str, Seen]
    full: Full | None
    findings: Findings
    jumps: Sequence[str]
    altered: Sequence[tuple[type, int]]
    wanted: Mapping[str, Ids]
    found: Mapping[str, Mapping[str, Ids]]


def suffer(line: Any, outage: Outage, outage_s: float, until: Callable[..., None]) -> Seen:
    """Let one outage come and go."""
    lines, restarts = line.log_sizes(), line.supervisor.restarts()
    until(line.tells_offsets, "offsets are told")
    line.signal(outage.servers, outage.number)
    expected = outage.expected()
    until(lambda: line.missing() == expected, f"{outage.servers} missed as {expected}, not {line.missing()}")
    for role in outage.dying:
        os.kill(line.supervisor.pids()[role], signal.SIGKILL)
    end_s = time.monotonic() + max(outage_s, outage.least_s)
    until(lambda: time.monotonic() > end_s, "the outage lasts")
    until(lambda: line.missing() == expected, "those that died wait as well")
    missing, were_live = line.missing(), line.are_live()
    if outage.number == signal.SIGSTOP:
        line.signal(outage.servers, signal.SIGCONT)
    else:
        line.start(outage.servers)
    back_s = time.monotonic()
    until(lambda: not line.missing(), "all are ready again")
    until(line.tells_offsets, "offsets are told again")
    before = line.processed()
    until(lambda: any(line.processed().get(place, 0) > offset for place, offset in before.items()), "it goes on")
    return Seen(
        missing=missing,
        were_live=were_live,
        lines={name: count - lines[name] for name, count in line.log_sizes().items()},
        restarts={name: count - restarts[name] for name, count in line.supervisor.restarts().items()},
        resumed_s=time.monotonic() - back_s,
    )


def fill(line: Any, disk: Any, until: Callable[..., None]) -> Full:
    """Fill the disk of the data folder, first to less than its reserve, then wholly; make room again."""
    before = line.processed()
    disk.fill(leave_bytes=RESERVE_BYTES // 2)
    until(lambda: line.missing() == {"produce": {"disk"}}, "the producer stops reading")
    short, were_all_there = line.missing(), not line.died()
    disk.fill(leave_bytes=0)
    until(line.died, "a server ends")
    full: dict[str, set[str]] = {}

    def is_missed() -> bool:
        full.update(line.missing())
        return waits_for_what_ended(full)

    until(is_missed, lambda: f"what ended is missed, not {full}")
    disk.free()
    until(lambda: not line.missing(), "all are ready again")
    until(lambda: any(line.processed().get(place, 0) > offset for place, offset in before.items()), "it goes on")
    return Full(short, were_all_there, full)


def waits_for_what_ended(missing: Mapping[str, set[str]]) -> bool:
    """Tell whether each role misses a server; a sink that waits for its store has no need to look at the broker."""
    ended = {
        "produce": {"kafka"},
        "process": {"kafka"},
        "sink-clickhouse": {"kafka", "clickhouse"},
        "sink-parquet": {"kafka", "object_store"},
    }
    return all(missing.get(role, set()) & servers for role, servers in ended.items())


@pytest.fixture(scope="module")
def story(  # noqa: PLR0917  # fixtures
    tmp_path_factory: pytest.TempPathFactory,
    small_disk: Any,
    outage_s: float,
    pipeline: Any,
    settings_in: Any,
    eventually: Any,
) -> Story:
    home = small_disk.folder / "home" if small_disk else tmp_path_factory.mktemp("outages")
    with pipeline(settings_in(home), RATE) as line:
        seen = {}
        for name, outage in OUTAGES.items():
            seen[name] = suffer(line, outage, outage_s, eventually)
        full = fill(line, small_disk, eventually) if small_disk else None
        findings = line.finish()
        wanted, _repeats = read(line.settings)
        return Story(
            seen=seen,
            full=full,
            findings=findings,
            jumps=list(jumps(line.settings)),
            altered=[place for *place, due, held in given(line.settings) if due.told != held.told],
            wanted=wanted,
            found=stored(line.settings, wanted),
        )


@pytest.fixture(params=OUTAGES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_each_role_says_what_it_misses_and_nothing_else(story: Story, name: str) -> None:
    assert story.seen[name].missing == OUTAGES[name].expected()


def test_a_role_that_waits_is_alive(story: Story, name: str) -> None:
    assert story.seen[name].were_live


def test_no_role_dies_because_a_server_is_away(story: Story, name: str) -> None:
    died = {role for role, count in story.seen[name].restarts.items() if count}

    assert died == set(OUTAGES[name].dying)


def test_an_outage_is_told_in_few_lines(story: Story, name: str) -> None:
    assert max(story.seen[name].lines.values()) <= MOST_LINES, story.seen[name].lines


@pytest.fixture
def full(story: Story) -> Full:
    if story.full is None:
        pytest.skip("no file system can be mounted here to be filled: it takes root")
    return story.full


def test_with_little_room_the_producer_alone_stops(full: Full) -> None:
    assert full.short == {"produce": {"disk"}}
    assert full.were_all_there


def test_on_a_full_disk_roles_wait_for_what_ended(full: Full) -> None:
    assert waits_for_what_ended(full.full)
    assert "disk" in full.full["produce"]


def test_nothing_is_lost(story: Story) -> None:
    assert story.findings.frames_served > 0
    assert story.findings.lost == 0, story.findings.summary()


def test_all_that_was_read_is_in_the_raw_topic_in_order(story: Story) -> None:
    """Whatever was away, and for however long: sockets were read slower instead."""
    assert story.jumps == []


def test_cleaned_topics_hold_what_raw_gives_each_once_in_order(story: Story) -> None:
    assert story.altered == []


@pytest.mark.parametrize("store", STORES)
def test_each_record_and_each_raw_frame_is_in_each_store_once(story: Story, store: str) -> None:
    assert all(len(story.wanted[topic]) for topic in (RAW, TICK.name, DEPTH.name))
    for topic, wanted in story.wanted.items():
        assert compare(wanted, story.found[store][topic]) == Difference([], [], [], 0), (store, topic)

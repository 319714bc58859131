"""Any role and any server is killed, paused or cut off at any moment, several at once; then all is reconciled.

`make soak ROUNDS=50 SEED=7 RATE=5000` does the same for longer; what is done, in which order, follows from the seed.
"""

import os
import random
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from schemas.records import Bar, Depth, Tick
from schemas.topics import BY_RECORD, SINK_COMMIT
from sinks.tables import table_of
from tests.faults.pipeline.by_id import RAW, STORES, given, jumps, read, stored
from tickerplant.demo.accounts import Accounts, account
from tickerplant.demo.ids import (
    COLUMNS,
    Difference,
    Ids,
    clickhouse_ids,
    compare,
    lake,
    parquet_ids,
    unpack,
)
from tickerplant.demo.report import Findings
from tickerplant.demo.stores import clickhouse
from tickerplant.errors import UserError
from tickerplant.kafka import TopicPartition, consumer, partition_count
from tickerplant.lag import GROUPS
from tickerplant.lake import read_lake
from tickerplant.scrape import scrape
from tickerplant.settings import ENV_PREFIX, Settings
from tickerplant.supervise import RESTART_FIRST_S

ROUNDS = int(os.environ.get("SOAK_ROUNDS", "1"))
SEED = int(os.environ.get("SOAK_SEED", "1"))
RATE = int(os.environ.get("SOAK_RATE", "200"))
PAUSE_S = 12.0  # longer than the session of a consumer, 10 s
STALL_S = 4.0
DELAY_S = 0.05
STOP_S = 10.0
SETTLE_S = 300.0
SETTLE_A_ROUND_S = 10.0
BEHIND_MOST = 2 * RATE
"""Records of a partition: of what comes within two seconds."""
WORKERS = 2
PROCESSORS = tuple(f"process-{number}" for number in range(WORKERS))
"""Slots: one of them dies or sleeps, and the other one takes over; or both do."""
FLOW = ("produce", *PROCESSORS, "sink-clickhouse", "sink-parquet")
ROLES = (*FLOW, "lag-exporter")
SERVERS = ("broker", "registry", "clickhouse", "s3")
VICTIMS = (*ROLES, *SERVERS)
ROUTES = ("venue", "broker", "registry", "clickhouse", "s3")
MAKEFILE = Path(__file__).parents[3] / "Makefile"
BARS = BY_RECORD[Bar].name
REVISION = ("venue", "symbol", "interval", "open_time_us", "revision")
"""What names a bar that was made, besides where it came from."""

pytestmark = [
    pytest.mark.stack,
    pytest.mark.timeout(900 + 300 * ROUNDS),  # a round takes a minute, and as long to be counted in the end
    # the registry's client keeps its connections open until it is collected
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@dataclass(frozen=True)
class Blow:
    """What is done at one moment, and how long it is waited before.

    Args:
        how: KILL and TERM end; servers that were killed are started again. STOP pauses for `PAUSE_S`. CUT ends all
            connections to the victims, STALL holds what goes through them for `STALL_S`, DELAY delays it.
    """

    wait_s: float
    victims: tuple[str, ...]
    how: str


def blows(seed: int) -> Iterator[Blow]:
    """What a seed does, by rounds without end: in each, each kind of process is killed once; more happens between.

    A processor sleeps, with or without another: its neighbour takes over, and it wakes to what is not its own any more.
    """
    chance = random.Random(seed)  # reproducible
    while True:
        done = [Blow(0, tuple(group), "KILL") for group in groups(chance, VICTIMS)]
        sleepers = chance.choice(PROCESSORS), chance.choice(FLOW)
        done += [Blow(0, tuple(dict.fromkeys(sleepers)), "STOP")]
        done += [Blow(0, tuple(chance.sample(FLOW, chance.choice((1, 2)))), "TERM")]
        done += [
            Blow(0, tuple(chance.sample(ROUTES, chance.choice((1, 2, 5)))), how) for how in ("CUT", "STALL", "DELAY")
        ]
        chance.shuffle(done)
        for blow in done:
            yield Blow(chance.uniform(0.5, 4), blow.victims, blow.how)


def groups(chance: random.Random, names: tuple[str, ...]) -> Iterator[list[str]]:
    """Part names into groups of one to three, in any order."""
    left = chance.sample(names, len(names))
    while left:
        size = chance.choice((1, 1, 2, 3))
        yield left[:size]
        left = left[size:]


BLOWS_A_ROUND = 5
"""Those that are no kills."""


def tell(text: str) -> None:
    """Say what is done, for those who run the long version with `-s`."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")


def start(line: Any, servers: list[str]) -> None:
    """Start servers; while one was away, somebody may have been given its port for a connection."""
    deadline_s = time.monotonic() + SETTLE_S
    while servers:
        try:
            line.start(servers)
        except UserError:
            assert time.monotonic() < deadline_s
            time.sleep(1)
        else:
            return


def strike(line: Any, blow: Blow, until: Callable[..., None]) -> None:
    """Do it, to processes that live: one that was killed just before is waited for, until it is started again."""
    if blow.how in {"CUT", "STALL", "DELAY"}:
        disturb([line.proxies[name] for name in blow.victims], blow.how)
        return
    roles = [each for each in blow.victims if each in ROLES]
    servers = [each for each in blow.victims if each in SERVERS]
    children = [child for slot, child in line.children().items() if slot in roles]
    for child in children:
        child.wait_s = RESTART_FIRST_S  # or those that are often killed are away for most of the time
    until(lambda: all(child.process.poll() is None for child in children), f"{roles} live")
    for child in children:
        child.process.send_signal(getattr(signal, f"SIG{blow.how}"))
    line.signal(servers, signal.SIGKILL)
    start(line, servers)
    if blow.how == "STOP":
        time.sleep(PAUSE_S)
        for child in children:
            child.process.send_signal(signal.SIGCONT)


def disturb(proxies: list[Any], how: str) -> None:
    """Cut connections, or hold or delay what goes through them for a while."""
    for proxy in proxies:
        if how == "CUT":
            proxy.cut()
        elif how == "STALL":
            proxy.stall()
        else:
            proxy.delay(DELAY_S)
    if how != "CUT":
        time.sleep(STALL_S)
    for proxy in proxies:
        proxy.flow()


@dataclass(frozen=True)
class Drain:
    """How the roles ended, under load.

    Args:
        codes: by slot, what each process ended with.
        groups: whose lag was told.
        left: what is not committed: (group, topic, partition) → records.
    """

    seconds: float
    codes: Mapping[str, int | None]
    groups: frozenset[str]
    left: Mapping[tuple[str, str, int], int]


@dataclass(frozen=True)
class Story:
    """What was done, and what was left of it.

    Args:
        restarts: by slot.
        servers: the process of each one in the beginning, and in the end.
        grown: by topic, how many records a second start of processor and sinks added, without new input.
        passed_bytes: by route, what went through its proxy.
        wanted: by topic, the ids that it holds; of raw topics those of frames.
        repeats: by topic, what the filter for repeats dropped.
        found: by store, and topic, the ids of its rows.
    """

    done: tuple[Blow, ...]
    restarts: Mapping[str, int]
    servers: Mapping[str, tuple[Any, Any]]
    drain: Drain
    grown: Mapping[str, int]
    findings: Findings
    accounts: Accounts
    settings: Settings
    passed_bytes: Mapping[str, int]
    wanted: Mapping[str, Ids]
    repeats: Mapping[str, int]
    found: Mapping[str, Mapping[str, Ids]]


def drain(line: Any) -> Drain:
    """End all roles while the market goes on."""
    line.stopping.set()
    line.keeper.join()
    children = line.children()
    begin_s = time.monotonic()
    line.supervisor.stop()
    seconds = time.monotonic() - begin_s
    codes = {slot: child.process.returncode for slot, child in children.items()}
    lags = line.lags.read()
    left = {(each.group, each.topic, each.partition): each.records for each in lags if each.records}
    return Drain(seconds, codes, frozenset(each.group for each in lags), left)


def ends(settings: Settings) -> dict[str, int]:
    """Count what the topics that processors write hold."""
    counts = {}
    with closing(consumer(settings, "test.kills")) as client:
        for topic in BY_RECORD.values():
            places = [TopicPartition(topic.name, number) for number in range(partition_count(settings, topic.name))]
            counts[topic.name] = sum(client.get_watermark_offsets(each, timeout=10)[1] for each in places)
    return counts


def start_again(line: Any, until: Callable[..., None]) -> dict[str, int]:
    """Start and stop all but the producer, and tell what that added to topics."""
    before = ends(line.settings)
    line.supervisor.roles = [role for role in line.supervisor.roles if role.name != "produce"]
    line.supervisor.start()
    until(lambda: len(line.roles()) == len(line.supervisor.roles) and not line.missing(), "all are ready again")
    until(lambda: not any(each.records for _ in range(2) for each in line.lags.read()), "all is stored")
    line.supervisor.stop()
    return {name: count - before[name] for name, count in ends(line.settings).items() if count != before[name]}


def has_settled(line: Any) -> bool:
    books = scrape(line.settings, ("processor_books",)).by_label("processor_books", "state")
    are_there = len(line.roles()) == len(line.supervisor.roles) and not line.missing()
    return are_there and books.get("valid", 0) > 0 and not books.get("invalid")


def has_caught_up(line: Any) -> bool:
    """Tell whether each group is as little behind as it can take within a drain."""
    return all(each.records < BEHIND_MOST for each in line.lags.read())


def with_more(settings: Settings) -> Settings:
    """Have two processors, which publish features as well."""
    features = settings.features.model_copy(update={"enabled": True})
    processor = settings.processor.model_copy(update={"workers": WORKERS})
    return settings.model_copy(update={"features": features, "processor": processor})


def has_bars(settings: Settings) -> bool:
    """Tell whether bars of each partition were written."""
    with closing(consumer(settings, "test.kills")) as client:
        places = [TopicPartition(BARS, number) for number in range(partition_count(settings, BARS))]
        return all(client.get_watermark_offsets(each, timeout=10)[1] for each in places)


@pytest.fixture(scope="module")
def story(
    tmp_path_factory: pytest.TempPathFactory, proxied_pipeline: Any, settings_in: Any, eventually: Any
) -> Iterator[Story]:
    settings = with_more(settings_in(tmp_path_factory.mktemp("kills")))
    done: list[Blow] = []
    with proxied_pipeline(settings, RATE) as line:
        began_s, first = time.monotonic(), line.server_processes()
        for blow in blows(SEED):
            time.sleep(blow.wait_s)
            done.append(blow)
            rounds = min(kills(done)[victim] for victim in VICTIMS)
            what = f"{blow.how} {', '.join(blow.victims)} after {blow.wait_s:.1f} s"
            tell(f"seed {SEED}, {rounds} of {ROUNDS} rounds, {len(done)}: {what}")
            strike(line, blow, eventually)
            if is_enough(done):
                break
        eventually(lambda: has_settled(line), "all are ready, all books stand", SETTLE_S)
        eventually(lambda: has_bars(settings), "a minute is over in each partition", SETTLE_S)
        eventually(lambda: has_caught_up(line), "nobody is far behind", SETTLE_S + SETTLE_A_ROUND_S * ROUNDS)
        restarts, last = line.supervisor.restarts(), line.server_processes()
        servers = {name: (first[name], last[name]) for name in SERVERS}
        drained = drain(line)
        seconds = time.monotonic() - began_s
        grown = start_again(line, eventually)
        findings = line.finish()
        accounts = account(line.venue.truth(["spot"], has_books=False), findings.topics, findings.frames_served)
        wanted, repeats = read(settings)
        found = stored(settings, wanted)
        passed = {name: proxy.passed_bytes for name, proxy in line.proxies.items()}
        tell(
            f"seed {SEED}: {seconds:.0f} s, {findings.frames_served / seconds:.0f} frames/s of {RATE}, {kills(done)}, "
            f"{restarts}, {drained}, {grown}, repeats {repeats}, {findings.summary()}"
        )
        yield Story(
            tuple(done), restarts, servers, drained, grown, findings, accounts, settings, passed, wanted, repeats, found
        )


def kills(done: Sequence[Blow]) -> Counter[str]:
    return Counter(victim for blow in done if blow.how == "KILL" for victim in blow.victims)


def is_enough(done: Sequence[Blow]) -> bool:
    counts = kills(done)
    others = sum(blow.how != "KILL" for blow in done)
    return others >= BLOWS_A_ROUND * ROUNDS and all(counts[name] >= ROUNDS for name in VICTIMS)


def test_each_kind_of_process_ended_and_came_back(story: Story) -> None:
    """As its supervisor and its process tell; that all were ready in the end, the story waits for."""
    killed = kills(story.done)
    assert all(killed[victim] >= ROUNDS for victim in VICTIMS), killed
    assert all(story.restarts[role] >= killed[role] for role in ROLES), (story.restarts, killed)
    assert all(first != last for first, last in story.servers.values()), story.servers


def test_all_went_through_the_proxies(story: Story) -> None:
    assert set(story.passed_bytes) == set(ROUTES)
    assert all(story.passed_bytes.values()), story.passed_bytes


def test_what_the_raw_topic_does_not_hold_is_told(story: Story) -> None:
    """Frames that a killed producer had read: the ids of trades show each hole; books are joined anew."""
    assert story.findings.topics.raw.frames > 0
    assert story.accounts.adds_up, story.accounts


def test_no_frame_is_missing_before_the_last_one_of_its_connection(story: Story) -> None:
    """Who is killed loses what it had read last, and nothing in between."""
    assert list(jumps(story.settings)) == []


def test_cleaned_topics_hold_what_raw_gives_each_once_in_order(story: Story) -> None:
    """Read as subscribers do, which drop repeats; held against a pipeline that was never killed."""
    for shape, partition, expected, found in given(story.settings):
        assert expected.count
        assert found.told == expected.told, (shape, partition)


@pytest.mark.parametrize("store", STORES)
def test_each_record_and_each_raw_frame_is_in_each_store_once(story: Story, store: str) -> None:
    assert len(story.wanted[RAW]) >= story.findings.topics.raw.frames > 0
    for topic, wanted in story.wanted.items():
        assert len(wanted)
        assert compare(wanted, story.found[store][topic]) == Difference([], [], [], 0), (store, topic)


@pytest.mark.parametrize("store", STORES)
def test_each_revision_of_a_bar_is_in_each_store_once_and_none_is_left_out(story: Story, store: str) -> None:
    """A repeat of other source would pass for a record of its own: the ids above would not show it."""
    found = revisions(story.settings, store)

    assert len(found) == len(set(found)) == len(story.wanted[BARS])
    highest = {tuple(bar): revision for *bar, revision in sorted(found)}
    assert len(found) == sum(revision + 1 for revision in highest.values())


def revisions(settings: Settings, store: str) -> list[tuple[Any, ...]]:
    """List bars with their revisions."""
    table = table_of(BARS)
    if store == "parquet":
        rows = read_lake(table.folder, columns=REVISION, settings=settings)
        return list(zip(*(rows[name].to_pylist() for name in REVISION), strict=True))
    with clickhouse(settings) as client:
        final = store.removeprefix("clickhouse")
        return list(client.execute(f"SELECT {', '.join(REVISION)} FROM {table.name}{final}"))


def test_a_planted_loss_and_a_planted_repeat_are_found_in_clickhouse(story: Story) -> None:
    """By the same readers, in the store itself: a reconciliation that cannot fail would prove nothing."""
    topic = BY_RECORD[Tick].name
    table, wanted = table_of(topic), story.wanted[topic]
    first, last = unpack(int(wanted[0])), unpack(int(wanted[-1]))
    with clickhouse(story.settings) as client:
        client.execute(f"ALTER TABLE {table.name} DELETE WHERE {condition(last)} SETTINGS mutations_sync = 2")
        client.execute(f"SYSTEM STOP MERGES {table.name}")  # one would do away with the repeat
        again = f"INSERT INTO {table.name} SELECT * FROM {table.name} WHERE {condition(first)} LIMIT 1"
        client.execute(again, settings={"insert_deduplicate": 0})
        found = compare(wanted, clickhouse_ids(client, table, is_final=False))

    assert found == Difference([last], [first], [], 2)


def condition(place: tuple[int, int, int]) -> str:
    return " AND ".join(f"{name} = {value}" for name, value in zip(COLUMNS, place, strict=True))


def test_a_planted_loss_and_a_planted_repeat_are_found_in_parquet(story: Story) -> None:
    topic = BY_RECORD[Depth].name
    files, folder = lake(story.settings, table_of(topic))
    first, *_, last = sorted(files.find(folder))
    files.pipe_file(first.replace(".parquet", "-again.parquet"), files.cat_file(first))
    files.rm_file(last)
    found = compare(story.wanted[topic], parquet_ids(story.settings, table_of(topic)))

    assert found.lost
    assert found.doubled
    assert not found.foreign


def test_under_load_all_roles_drain_in_time_by_themselves(story: Story) -> None:
    assert story.drain.seconds < STOP_S
    assert set(story.drain.codes.values()) == {0}


def test_after_a_drain_nothing_is_left_to_be_read_again(story: Story) -> None:
    """But for what the sink that ended last told of its last chunks: the other one had ended by then."""
    assert set(story.drain.groups) >= set(GROUPS)
    assert {place for place in story.drain.left if place[1] != SINK_COMMIT.name} == set()


def test_a_second_start_says_nothing_of_what_is_done(story: Story) -> None:
    assert story.grown == {}


def test_a_seed_does_the_same_each_time() -> None:
    first, second = blows(3), blows(3)

    assert [next(first) for _ in range(50)] == [next(second) for _ in range(50)]


def test_make_soak_sets_nothing_that_roles_take_for_a_setting() -> None:
    """They inherit the environment, and end where it names a setting that there is not."""
    (line,) = [each for each in MAKEFILE.read_text(encoding="utf-8").splitlines() if "SOAK_ROUNDS" in each]

    assert not re.findall(rf"{ENV_PREFIX}\w+=", line)


def test_each_round_kills_each_kind_of_process() -> None:
    done: list[Blow] = []
    for blow in blows(5):
        done.append(blow)
        if is_enough(done):
            break

    assert set(kills(done)) == set(VICTIMS)

"""From a wish to tasks: where each raw partition begins and ends, and at which checkpoint."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Final

from tickerplant.errors import UserError
from tickerplant.kafka import OffsetReader
from tickerplant.once import with_life
from tickerplant.replay import checkpoint
from tickerplant.replay.lake import Lake
from tickerplant.replay.partition import Task
from tickerplant.replay.source import ArchiveObjects, by_partition, choose_life, find_objects
from tickerplant.replay.wish import FIRST_US, LAST_US, Wish, replay_settings
from tickerplant.settings import Settings

LATE_US: Final = 3600 * 1_000_000
"""A raw record may reach Kafka this long after it was taken in; what comes later than that is not looked for."""

Ranges = dict[int, tuple[int, int]]
"""Raw partition → first offset that is kept, and the one after the last."""


@dataclass(frozen=True)
class Plan:
    """What is to be done, and what the user should know of it.

    `is_current` = the live processor reads the raw topic in the same life; `doubts` = why rows may not be those of the
    live run, each of them a warning, too.
    """

    replay: Settings
    tasks: list[Task]
    is_current: bool
    warnings: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)


def make_plan(live: Settings, wish: Wish, *, is_resumed: bool) -> Plan:
    """Find out what there is to read.

    Raises:
        UserError: there is nothing, or not in this range.
        DependencyError: a server does not answer.
    """
    log = _ask(live, wish)
    warnings: list[str] = []
    doubts: list[str] = []
    lake = checkpoint_lake(Lake(live.object_store), log.lake, wish.topic, log.count)
    known = {number: checkpoint.places(lake, wish.topic, number) for number in range(log.count)}
    places = _places(known, wish, log, warnings)
    objects: dict[int, ArchiveObjects] = {}
    if log.lake is None:
        ranges = _topic_ranges(live, wish, log.count)
    else:
        known_us = [each.event_time_us for each in places.values() if each is not None]
        first_us = min(known_us) if len(known_us) == log.count else FIRST_US
        objects = find_objects(log.lake, _full_name(live, wish), wish.venue, (first_us, wish.to_us), log.life)
        ranges = by_partition(objects)
    replay = replay_settings(live, wish.into, partitions=log.count)

    def task(number: int) -> Task:
        first, end = ranges[number]
        place, doubt = beginning(places.get(number), first, is_anew=is_made_anew(known.get(number, []), log.life))
        if doubt:
            doubts.append(
                f"{wish.topic} partition {number} begins at offset {first}: {doubt}, so counters and books may "
                "differ from the live run's"
            )
        return Task(
            wish=wish,
            live=live,
            replay=replay,
            source=with_life(wish.topic, log.life),
            partition=number,
            partition_count=log.count,
            start=place.next_offset if place else first,
            end=end,
            place=place,
            checkpoint_root=lake.root,
            objects=objects.get(number),
            is_resumed=is_resumed,
        )

    tasks = [task(number) for number, (first, end) in sorted(ranges.items()) if first < end]
    tasks = [each for each in tasks if each.start < each.end]
    if not tasks:
        raise UserError(f"there is nothing in this range of {wish.topic}")
    return Plan(replay, tasks, log.is_current, [*warnings, *doubts], doubts)


@dataclass(frozen=True)
class _Log:
    """The raw records: partitions, life of their topic, whether that is the topic there is, and the lake they lie in.

    A processor knows by the number of partitions which instruments are its own.
    """

    count: int
    life: str
    is_current: bool
    lake: Lake | None = None


def checkpoint_lake(live: Lake, archive: Lake | None, topic: str, count: int) -> Lake:
    """Tell where checkpoints are: beside the archive that is read, or in the live lake, where it has none of the topic.

    Args:
        archive: None = the topic is read.
        count: partitions of the topic.
    """
    if archive is not None and any(checkpoint.places(archive, topic, number) for number in range(count)):
        return archive
    return live


def _full_name(live: Settings, wish: Wish) -> str:
    return wish.topic + live.kafka.topic_suffix


def _ask(live: Settings, wish: Wish) -> _Log:
    """Ask for the raw topic, or its archive."""
    name = _full_name(live, wish)
    with closing(OffsetReader(live)) as reader:
        count = reader.partitions().get(name)
        now = reader.lives([name]).get(name, "") if count else ""
    if wish.archive is None:
        if not count:
            raise UserError(f"topic {name} does not exist; --from-archive reads the raw archive")
        return _Log(count, now, is_current=True)
    lake = Lake(live.object_store, wish.archive)
    found = find_objects(lake, name, wish.venue, (wish.from_us, wish.to_us))
    life = choose_life(found, name, wish.life)
    is_current = bool(count) and life in {"", now}
    return _Log(count if count and is_current else max(found, default=0) + 1, life, is_current, lake)


def _topic_ranges(live: Settings, wish: Wish, count: int) -> Ranges:
    """Tell what is kept, up to the first record that was written well after the end that was asked for."""
    name = _full_name(live, wish)
    with closing(OffsetReader(live)) as reader:
        kept = reader.watermarks({name: count})
        if wish.to_us == LAST_US:
            return {place[1]: span for place, span in kept.items()}
        late_ms = (wish.to_us + LATE_US) // 1000
        ends = reader.offsets_at(dict.fromkeys(kept, late_ms))
    return {place[1]: (first, _or(ends.get(place), end)) for place, (first, end) in kept.items()}


def _or(offset: int | None, end: int) -> int:
    return end if offset is None else offset


def _places(
    known: dict[int, list[checkpoint.Place]], wish: Wish, log: _Log, warnings: list[str]
) -> dict[int, checkpoint.Place | None]:
    """Choose the checkpoint of each partition; none where the replay is of all that is kept."""
    if wish.from_us == FIRST_US:
        return {}
    found = {number: checkpoint.newest_before(each, wish.from_us, log.life) for number, each in known.items()}
    _warn_of(found, lambda place: place is None, "no checkpoint before --from", wish, warnings)
    return found


def _warn_of(
    found: dict[int, checkpoint.Place | None],
    is_bad: Callable[[checkpoint.Place | None], bool],
    why: str,
    wish: Wish,
    warnings: list[str],
) -> None:
    bad = [str(number) for number, place in found.items() if is_bad(place)]
    if bad:
        warnings.append(f"{why} for {wish.topic} partition {', '.join(bad)}: read from the beginning of what is kept")


def beginning(place: checkpoint.Place | None, first: int, *, is_anew: bool) -> tuple[checkpoint.Place | None, str]:
    """Tell the checkpoint to begin at, and why the state there cannot be that of the live run; empty = it is.

    Args:
        place: the checkpoint that was chosen.
        first: offset of the first record that is kept.
        is_anew: the raw topic was made anew.
    """
    if place is not None and place.next_offset >= first:
        return place, ""
    if first > 0:
        return None, "the checkpoint is older than what is kept" if place else "what came before is not kept"
    return None, "the topic was made anew, and the live run went on with the state of before" if is_anew else ""


def is_made_anew(known: Sequence[checkpoint.Place], life: str) -> bool:
    """Tell by its checkpoints whether a raw topic of this name was there before this one; life empty = not known.

    >>> is_made_anew([checkpoint.Place(70, 5, "firstlif"), checkpoint.Place(10, 9, "secondli")], "secondli")
    True
    """
    ours = min((each.event_time_us for each in known if each.life == life), default=LAST_US)
    return bool(life) and any(each.life not in {"", life} and each.event_time_us < ours for each in known)

"""Rebuilt rows in the place of live ones, in the lake: new objects, then a manifest that says which ones count.

Of each day's folder, the live objects that hold rows of the range are written again under new names, without these rows
and with the rebuilt ones; the next manifest puts all of them in place at once, and the old ones are removed. Whatever
ends it in the midst, doing it again completes it: what was written and stands in no manifest is removed first.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from operator import attrgetter
from secrets import token_hex
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from schemas.topics import CLEANED
from sinks.chunk import Span
from sinks.parquet import encode
from sinks.tables import TABLES, Table
from tickerplant.clock import now_us
from tickerplant.replay.lake import Lake
from tickerplant.replay.manifest import Liveness, Numbered, ObjectName, Replaced, Swap, read_name
from tickerplant.replay.span import Range
from tickerplant.settings import Settings

ROWS_LIMIT: Final = 200_000
"""Rows of one object that a swap writes."""
MARKERS: Final = "swap"
"""Folder of the replay's lake: names the ids under which it has begun to write into the live one."""
PLACE: Final = ("source_partition", "source_offset", "source_index")
ORDER: Final = [(name, "ascending") for name in PLACE]
FIRST: Final = (-1, -1, -1)
SEEN: Final = ("source_topic", *PLACE, "event_time_us", "symbol", "stage", "frame_kind")
"""What must be seen of a row to tell whether it is of a range."""

Key = tuple[int, int, int]


@dataclass(frozen=True)
class Looked:
    """A live object that was looked at: its first row, and how many rows are of the range and how many not."""

    name: ObjectName
    first: Key
    inside: int
    outside: int


@dataclass
class Group:
    """Objects that are written again as one; `until` is the first row that belongs to the next group, None = none."""

    objects: list[Looked]
    until: Key | None = None

    def takes(self, another: Looked) -> bool:
        """Tell whether another object fits behind its own."""
        rows = sum(each.inside + each.outside for each in (*self.objects, another))
        return rows <= ROWS_LIMIT and another.name.life == self.objects[0].name.life

    def span(self) -> tuple[int, int]:
        """First and last offset of its objects; (0, 0) where there are none."""
        starts, ends = [each.name.start for each in self.objects], [each.name.end for each in self.objects]
        return min(starts, default=0), max(ends, default=0)


@dataclass
class Folder:
    """A day's folder of one topic partition: what is to be written again."""

    path: str
    topic: str
    partition: int
    groups: list[Group] = field(default_factory=list)
    rebuilt: list[str] = field(default_factory=list)


def swap_lake(live: Settings, replay: Settings, span: Range) -> Iterator[str]:
    """Put rebuilt rows in place, a step at a time; yields what was done.

    Raises:
        UserError: another swap of the lake was faster.
        DependencyError: the store does not answer.
    """
    lakes = Lake(live.object_store), Lake(replay.object_store)
    _clean(*lakes, span)
    begun = Numbered.newest(lakes[0])
    swap_id = token_hex(4)
    lakes[1].create(f"{MARKERS}/{swap_id}", b"")
    folders = list(_folders(live, replay, span, Liveness(begun.manifest)))
    yield "planned"
    replaced = []
    for each in folders:
        for number, found in enumerate(_rewritten(lakes, each, span, swap_id), 1):
            replaced += found
            yield f"wrote {each.path} {each.partition} {number}"
    begun.commit(lakes[0], Swap(id=swap_id, replay=span.wish.into, time_us=now_us(), replaced=replaced))
    yield "committed"
    _clean(*lakes, span)
    yield "removed"


def _folders(live: Settings, replay: Settings, span: Range, liveness: Liveness) -> Iterator[Folder]:
    """Look at all folders that may hold rows of the range on either side."""
    live_lake, replay_lake = Lake(live.object_store), Lake(replay.object_store)
    for topic in CLEANED:
        table = TABLES[topic.name]
        if not span.concerns(table):
            continue
        for path in _days(live_lake, replay_lake, table, span):
            ours = _by_partition(live_lake, path, topic.name + live.kafka.topic_suffix)
            theirs = _by_partition(replay_lake, path, topic.name + replay.kafka.topic_suffix)
            for partition in sorted(set(ours) | set(theirs)):
                names = [name for name in ours.get(partition, []) if liveness.is_live(path, str(name))]
                objects = [_look(live_lake, path, name, span) for name in names]
                folder = Folder(path, topic.name + live.kafka.topic_suffix, partition, groups=grouped(objects))
                folder.rebuilt = [f"{path}/{name}" for name in theirs.get(partition, [])]
                first = _Rebuilt(replay_lake, folder.rebuilt, span).first() if folder.rebuilt else None
                if not folder.groups and first is not None:
                    folder.groups = [Group(_anchor(objects, first))]
                _take_in_nested(folder.groups, objects)
                yield folder


def _days(live: Lake, replay: Lake, table: Table, span: Range) -> list[str]:
    base = f"{table.folder}/venue={span.wish.venue}"
    first, last = (f"date={_date(time_us)}" for time_us in (span.wish.from_us, span.wish.to_us - 1))
    days = sorted({*live.names(base), *replay.names(base)})
    return [f"{base}/{day}" for day in days if first <= day <= last]


def _date(time_us: int) -> str:
    """UTC day of a time; what lies beyond the calendar is its last day."""
    return f"{datetime.fromtimestamp(min(time_us, 253_402_300_799_000_000) / 1e6, UTC):%Y-%m-%d}"


def _by_partition(lake: Lake, folder: str, topic: str) -> dict[int, list[ObjectName]]:
    """List the objects of a topic in a folder by partition, in order of offsets."""
    found: dict[int, list[ObjectName]] = {}
    for name in sorted(each for each in map(read_name, lake.names(folder)) if each is not None):
        if name.topic == topic:
            found.setdefault(name.partition, []).append(name)
    return found


def _look(lake: Lake, folder: str, name: ObjectName, span: Range) -> Looked:
    rows = lake.read_table(f"{folder}/{name}", SEEN)
    inside = int(pc.sum(span.mask(rows)).as_py() or 0)
    return Looked(name, _first(rows) if rows.num_rows else FIRST, inside, rows.num_rows - inside)


def _first(rows: pa.Table) -> Key:
    partition, offset, index = (int(rows[column][0].as_py()) for column in PLACE)
    return partition, offset, index


def grouped(objects: Sequence[Looked]) -> list[Group]:
    """Join neighbours that hold rows of the range, up to the size of an object; the others stay as they are."""
    groups: list[Group] = []
    last: Looked | None = None
    for each in objects:
        if each.inside:
            group = groups[-1] if groups else None
            if group is not None and group.objects[-1] is last and group.takes(each):
                group.objects.append(each)
            else:
                if group is not None:
                    group.until = each.first
                groups.append(Group([each]))
        last = each
    return groups


def _take_in_nested(groups: Sequence[Group], objects: Sequence[Looked]) -> None:
    """Take in what lies within the offsets of a group, as after offsets were lost: it counts as replaced, too."""
    for group in filter(attrgetter("objects"), groups):
        (low, high), life = group.span(), group.objects[0].name.life
        taken = {each.name for other in groups for each in other.objects}
        within = [each for each in objects if low <= each.name.start and each.name.end <= high]
        group.objects += [each for each in within if each.name.life == life and each.name not in taken]


def _anchor(objects: Sequence[Looked], first: Key) -> list[Looked]:
    """Choose the object to which rows go of which no object holds any, so that objects stay in the order of rows."""
    before = [each for each in objects if each.first <= first]
    return [before[-1]] if before else list(objects[:1])


def _rewritten(lakes: tuple[Lake, Lake], folder: Folder, span: Range, swap_id: str) -> Iterator[list[Replaced]]:
    """Write the groups of a folder again; yields what each one replaces, nothing where it is new."""
    rebuilt = _Rebuilt(lakes[1], folder.rebuilt, span)
    for group in folder.groups:
        tables = [lakes[0].read_table(f"{folder.path}/{each.name}") for each in group.objects]
        kept = [rows.filter(pc.invert(span.mask(rows))) for rows in tables]
        fresh = rebuilt.before(group.until)
        whole = pa.concat_tables([*kept, *fresh], promote_options="default").sort_by(ORDER) if kept or fresh else None
        start, end = group.span()
        life = group.objects[0].name.life if group.objects else ""
        if whole is not None:  # without rows, too: its name tells sinks that these offsets are stored
            name = ObjectName(start, end, folder.topic, folder.partition, life, swap_id)
            offsets = Span(topic=folder.topic, partition=folder.partition, generation=life, start=start, end=end)
            nulls = pa.nulls(whole.num_rows, pa.string())  # the path tells
            lakes[0].create(f"{folder.path}/{name}", encode(whole.append_column("venue", nulls), offsets))
        replaced = Replaced(
            folder=folder.path, topic=folder.topic, partition=folder.partition, life=life, start=start, end=end
        )
        yield [replaced] if group.objects else []


class _Rebuilt:
    """The rebuilt rows of one partition and day, in order, taken piece by piece."""

    def __init__(self, lake: Lake, paths: Sequence[str], span: Range) -> None:
        self._lake, self._paths, self._span = lake, list(paths), span
        self._held: pa.Table | None = None

    def first(self) -> Key | None:
        """Tell the first place; None = there are no rows. Nothing is taken."""
        rows = self._next()
        while rows is not None and not rows.num_rows:
            rows = self._next()
        self._held = rows
        return None if rows is None else _first(rows)

    def before(self, until: Key | None) -> list[pa.Table]:
        """Take the rows before a place; None = all that are left."""
        taken = []
        while (rows := self._next()) is not None:
            if until is None:
                taken.append(rows)
                continue
            is_before = _is_before(rows, until)
            taken.append(rows.filter(is_before))
            rest = rows.filter(pc.invert(is_before))
            if rest.num_rows:
                self._held = rest
                break
        return [rows for rows in taken if rows.num_rows]

    def _next(self) -> pa.Table | None:
        if self._held is not None:
            rows, self._held = self._held, None
            return rows
        if not self._paths:
            return None
        found = self._lake.read_table(self._paths.pop(0))
        return found.filter(self._span.mask(found))


def _is_before(rows: pa.Table, until: Key) -> Any:
    """Compare places, part by part."""
    is_before: Any = pc.less(rows[PLACE[2]], until[2])
    for name, value in ((PLACE[1], until[1]), (PLACE[0], until[0])):
        is_before = pc.or_(pc.less(rows[name], value), pc.and_(pc.equal(rows[name], value), is_before))
    return is_before


def _clean(live: Lake, replay: Lake, span: Range) -> None:
    """Remove objects that count no more, and those of earlier tries of this replay that never did."""
    manifest = Numbered.newest(live).manifest
    liveness, committed = Liveness(manifest), {swap.id for swap in manifest.swaps}
    tried = set(replay.names(MARKERS)) - committed
    for topic in CLEANED:
        for path in _days(live, replay, TABLES[topic.name], span):
            for name in filter(None, map(read_name, live.names(path))):
                if name.swap in tried or (not liveness.is_live(path, str(name)) and name.swap in {"", *committed}):
                    live.remove_object(f"{path}/{name}")

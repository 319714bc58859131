"""Which objects of a lake are live, where some were put in the place of others; pure, but for reading and writing it.

Objects are named by the range of offsets they hold. A swap writes objects of its own, whose names end with its id, and
then, in one step, the next manifest: `<root>/_manifest/<number>.json`, with all swaps and what each one replaced.
An object is live if its swap is in the manifest (or it is of none), and no later swap replaced its range. So a reader
that takes the newest manifest sees either the old or the new, and nothing brings a replaced range back.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Self

import msgspec

from tickerplant.errors import UserError
from tickerplant.replay.lake import Lake

FOLDER: Final = "_manifest"  # readers of folders pass over names that begin so
FORMAT: Final = 1
NUMBER: Final = re.compile(r"(\d{19})\.json")
NAME: Final = re.compile(
    r"(?P<topic>.+)-(?P<partition>\d+)-(?P<start>\d{19})-(?P<end>\d{19})(?:-(?P<life>.{8}))?(?:-s(?P<swap>[a-z0-9]{8}))?"
    r"\.parquet"
)


class ObjectName(NamedTuple):
    """What the name of an object tells: offsets, both included, of a topic's partition in one life; swap "" = none."""

    start: int
    end: int
    topic: str
    partition: int
    life: str
    swap: str = ""

    def __str__(self) -> str:
        life, swap = f"-{self.life}" if self.life else "", f"-s{self.swap}" if self.swap else ""
        return f"{self.topic}-{self.partition}-{self.start:019d}-{self.end:019d}{life}{swap}.parquet"


def read_name(name: str) -> ObjectName | None:
    """Read the name of an object; None = it is of another kind.

    >>> read_name("cleaned.tick-3-0000000000000000000-0000000000000000149-WW4E8a-_-sk3f9x0ab.parquet")
    ObjectName(start=0, end=149, topic='cleaned.tick', partition=3, life='WW4E8a-_', swap='k3f9x0ab')
    """
    match = NAME.fullmatch(name)
    if match is None:
        return None
    start, end, partition = int(match["start"]), int(match["end"]), int(match["partition"])
    return ObjectName(start, end, match["topic"], partition, match["life"] or "", match["swap"] or "")


class Replaced(msgspec.Struct, frozen=True, kw_only=True):
    """A range that was replaced, in one folder (path below the root)."""

    folder: str
    topic: str
    partition: int
    life: str
    start: int
    end: int


class Swap(msgspec.Struct, frozen=True, kw_only=True):
    """One swap: its id, the replay whose rows it took, when, and what it replaced."""

    id: str
    replay: str
    time_us: int
    replaced: list[Replaced]


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """All swaps of a lake, oldest first."""

    format: int = FORMAT
    swaps: list[Swap] = []


@dataclass
class Liveness:
    """Tells which objects are live."""

    manifest: Manifest
    _order: dict[str, int] = field(default_factory=dict)
    _replaced: dict[tuple[str, str, int, str], list[tuple[int, Replaced]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for number, swap in enumerate(self.manifest.swaps, 1):
            self._order[swap.id] = number
            for each in swap.replaced:
                place = (each.folder, each.topic, each.partition, each.life)
                self._replaced.setdefault(place, []).append((number, each))

    def is_live(self, folder: str, name: str) -> bool:
        """Tell whether an object of a folder counts; what is not named by a range does."""
        found = read_name(name)
        if found is None:
            return True
        number = self._order.get(found.swap, -1) if found.swap else 0
        later = self._replaced.get((folder, found.topic, found.partition, found.life), ())
        return number >= 0 and not any(
            number < swap and each.start <= found.start and found.end <= each.end for swap, each in later
        )

    def live(self, folder: str, names: Iterable[str]) -> list[str]:
        """Keep the names of a folder that are live."""
        return [name for name in names if self.is_live(folder, name)]


@dataclass(frozen=True)
class Numbered:
    """A manifest with its number; 0 = there is none yet."""

    number: int
    manifest: Manifest

    @classmethod
    def newest(cls, lake: Lake) -> Self:
        """Read the newest manifest of a lake.

        Raises:
            UserError: it is damaged, or of a format that this version does not know.
        """
        numbers = [int(match[1]) for match in map(NUMBER.fullmatch, lake.names(FOLDER)) if match]
        if not numbers:
            return cls(0, Manifest())
        path = _path(max(numbers))
        try:
            manifest = msgspec.json.decode(lake.read(path), type=Manifest)
        except msgspec.DecodeError as error:
            raise UserError(f"{lake.root}/{path} is no manifest: {error}") from error
        if manifest.format != FORMAT:
            raise UserError(f"{lake.root}/{path} is of format {manifest.format}; this version knows {FORMAT}")
        return cls(max(numbers), manifest)

    def commit(self, lake: Lake, swap: Swap) -> None:
        """Write the next manifest, with another swap: from now on readers see what it wrote.

        Raises:
            UserError: somebody else has written the next one.
        """
        path = _path(self.number + 1)
        content = msgspec.json.encode(Manifest(swaps=[*self.manifest.swaps, swap]))
        lake.create(path, content)
        if lake.read(path) != content:
            raise UserError("another swap of this lake was faster; do it again")


def _path(number: int) -> str:
    return f"{FOLDER}/{number:019d}.json"

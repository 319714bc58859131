"""`tickerplant dead-letters`: what could not be used, by reason, and the last of it, for a person on call."""

import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

import click
import msgspec

from schemas.records import DeadLetter
from schemas.topics import DEAD_PROCESSOR, DEAD_SINK
from tickerplant.clock import now_us
from tickerplant.settings import Settings
from tickerplant.since import past_us, shown, time_text
from tickerplant.subscription import Subscription, Wish

PARTICULARS = re.compile(r"'[^']*'|\"[^\"]*\"|\d+")
"""What differs between two letters of one cause: quoted values and numbers."""
SHOWN_CHARS: Final = 100


@dataclass
class Group:
    """Letters of one stage, venue and market whose reasons differ in particulars alone; times are in µs."""

    stage: str
    venue: str
    market: str
    reason: str
    count: int = 0
    first_time_us: int = 0
    last_time_us: int = 0
    last_place: str = ""

    def add(self, letter: DeadLetter) -> None:
        """Count one more; letters may come in any order of time."""
        self.first_time_us = min(self.first_time_us or letter.event_time_us, letter.event_time_us)
        if letter.event_time_us >= self.last_time_us:
            self.last_time_us, self.last_place = letter.event_time_us, place(letter)
        self.count += 1


@dataclass
class Summary:
    """All letters, the most frequent groups first, and the last ones."""

    count: int = 0
    groups: list[Group] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)


def show(settings: Settings, *, stage: str | None, since: str | None, lines: int, as_json: bool) -> None:
    """Print the dead letters of a stage (None = all) since a time (None = all that are kept).

    Raises:
        UserError: `since` is no time that is over.
        DependencyError: Kafka or the registry does not answer.
    """
    start_us = None if since is None else past_us(since, now_us())
    found = summarize(read(settings, stage, start_us), lines)
    if as_json:
        click.echo(msgspec.json.encode(found))
        return
    for line in described(found):
        click.echo(line)


def read(settings: Settings, stage: str | None, start_us: int | None) -> Iterator[DeadLetter]:
    """Read what is in the topics by now, each letter once."""
    for topic in (DEAD_PROCESSOR, DEAD_SINK):
        if stage and not topic.name.removeprefix("dlq.").startswith(stage.partition(".")[0]):
            continue
        wish = Wish(topic=topic, start="earliest" if start_us is None else start_us, follows=False)
        with Subscription[DeadLetter](settings, wish) as letters:
            yield from (each for each in letters if not stage or f"{each.stage}.".startswith(f"{stage}."))


def summarize(letters: Iterable[DeadLetter], most: int) -> Summary:
    """Count letters by cause and keep the last ones."""
    groups: dict[tuple[str, str, str, str], Group] = {}
    newest: deque[DeadLetter] = deque(maxlen=most)
    count = 0
    for letter in letters:
        key = (letter.stage, letter.venue, letter.market, PARTICULARS.sub("…", letter.reason))
        groups.setdefault(key, Group(*key)).add(letter)
        newest.append(letter)
        count += 1
    ordered = sorted(groups.values(), key=lambda group: (-group.count, group.stage, group.reason))
    return Summary(count, ordered, sorted(newest, key=lambda letter: letter.event_time_us))


def described(found: Summary) -> Iterator[str]:
    """Write a summary as lines."""
    yield f"{found.count} dead letters, {len(found.groups)} reasons"
    for group in found.groups:
        market = f"{group.venue} {group.market}".strip() or "-"
        yield f"{group.count:>9}  {group.stage}  {market}  {_line(group.reason)}"
        first, last = time_text(group.first_time_us), time_text(group.last_time_us)
        yield f"{'':>9}  {first} to {last}, the last at {group.last_place}"
    for letter in found.letters:
        yield f"{time_text(letter.event_time_us)}  {letter.stage}  {place(letter)}  {_line(letter.reason)}"
        yield f"    {_line(letter.payload.decode('utf-8', 'backslashreplace'))}"


def place(letter: DeadLetter) -> str:
    """Name where the letter's source stands."""
    return f"{letter.source_topic}:{letter.source_partition} offset {letter.source_offset}"


def _line(text: str) -> str:
    return shown(text, SHOWN_CHARS)

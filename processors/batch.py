"""What one raw record gives: records with their source, in order, and commands.

What the frames themselves give is numbered from 0. What stages compute from that has ranges of its own, so that no id
of a tick depends on which stages are on, or whether a program of before had them: a processor that crashed may come
back with others.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

import msgspec

from schemas.records import Bar, ControlCommand, DeadLetter, Derived, Frame, Instrument, QualityEvent, Signal

STAGE = "processor"
RANGE: Final = 1 << 24
"""Of indexes: a raw record has fewer bytes than this, so what its frames give stays below."""
EVENTS_FROM, BARS_FROM, SIGNALS_FROM = RANGE, 2 * RANGE, 3 * RANGE
OF_STAGES: Final = frozenset({"BAR_DIFFERS", "HEALED", "INCONSISTENT", "LATE_FOR_BAR", "NOT_HEALED", "OUTLIER_BURST"})
"""Kinds of quality events that stages find."""

T = TypeVar("T", QualityEvent, Bar, Signal)


def bad_record(batch: "Batch", value: bytes, reason: str) -> "Batch":
    """Make a dead letter of a whole raw record that could not be used, in a batch of its own."""
    batch.records.append(
        DeadLetter(
            event_time_us=batch.event_time_us,
            stage=STAGE,
            venue=batch.venue,
            reason=reason,
            payload=value,
            source_topic=batch.topic,
            source_partition=batch.partition,
            source_offset=batch.offset,
            source_index=batch.index,
        )
    )
    return batch


@dataclass(slots=True)
class Batch:
    """Collects what is derived from the raw record at `topic`, `partition`, `offset`.

    `recv_time_us`, `market` and `connection` are those of the frame at hand. The index of a record is its place among
    those of its range, which is why every record goes through here.

    Args:
        starts: of each range; changed by `after` alone.
        is_shared: one range for all, as programs up to state version 4 numbered.
    """

    venue: str
    topic: str
    partition: int
    offset: int
    event_time_us: int
    first_index: int = 0
    recv_time_us: int = 0
    market: str = ""
    connection: str = ""
    records: list[Derived] = field(default_factory=list)
    commands: list[ControlCommand] = field(default_factory=list)
    redundant: dict[str, int] = field(default_factory=dict)  # items that another connection brought, by connection
    is_shared: bool = False
    starts: tuple[int, int, int] = (EVENTS_FROM, BARS_FROM, SIGNALS_FROM)
    next_index: int = 0  # once it is sealed
    _events: list[QualityEvent] = field(default_factory=list)
    _bars: list[Bar] = field(default_factory=list)
    _signals: list[Signal] = field(default_factory=list)

    @property
    def index(self) -> int:
        """Index of the next record that a frame gives."""
        return self.first_index + len(self.records)

    def add_bar(self, make: Callable[[int], Bar]) -> None:
        """Add a bar, made for its index."""
        self._add(self._bars, self.starts[1], make)

    def add_signal(self, make: Callable[[int], Signal]) -> None:
        """Add features, made for their index."""
        self._add(self._signals, self.starts[2], make)

    def seal(self) -> None:
        """Put what stages gave behind what the frames gave; nothing is added after that."""
        self.next_index = self.index
        self.records += [*self._events, *self._bars, *self._signals]

    def after(self) -> "Batch":
        """Begin another batch of the same raw record, which goes on where this one, sealed, ended."""
        counts = len(self._events), len(self._bars), len(self._signals)
        return Batch(
            self.venue,
            self.topic,
            self.partition,
            self.offset,
            self.event_time_us,
            self.next_index,
            self.recv_time_us,
            is_shared=self.is_shared,
            starts=(self.starts[0] + counts[0], self.starts[1] + counts[1], self.starts[2] + counts[2]),
        )

    def event(
        self,
        kind: str,
        symbol: str = "",
        *,
        market: str | None = None,
        channel: str = "",
        sequences: tuple[int, int] = (0, 0),
        count: int = 1,
        detail: str = "",
        is_of_stage: bool = False,
    ) -> None:
        """Add a quality event; market None = that of the frame at hand.

        Args:
            is_of_stage: a stage found it, though its kind is not one that stages alone find.
        """

        def make(index: int) -> QualityEvent:
            return QualityEvent(
                event_time_us=self.event_time_us,
                recv_time_us=self.recv_time_us,
                venue=self.venue,
                symbol=symbol,
                kind=kind,
                market=self.market if market is None else market,
                channel=channel,
                from_sequence=sequences[0],
                to_sequence=sequences[1],
                count=count,
                detail=detail,
                source_topic=self.topic,
                source_partition=self.partition,
                source_offset=self.offset,
                source_index=index,
            )

        if is_of_stage or kind in OF_STAGES:
            self._add(self._events, self.starts[0], make)
        else:
            self.records.append(make(self.index))

    def note_redundant(self, connection: str) -> None:
        """Count an item that another connection brought."""
        self.redundant[connection] = self.redundant.get(connection, 0) + 1

    def dead_letter(self, frame: Frame, reason: str) -> None:
        """Add a frame that could not be used."""
        self.records.append(
            DeadLetter(
                event_time_us=self.event_time_us,
                recv_time_us=frame.recv_time_us,
                stage=STAGE,
                venue=self.venue,
                market=self.market,
                reason=reason,
                frame_kind=frame.kind,
                request=frame.request,
                payload=frame.payload,
                source_topic=self.topic,
                source_partition=self.partition,
                source_offset=self.offset,
                source_index=self.index,
            )
        )

    def instrument(self, instrument: Instrument) -> None:
        """Add an instrument, new or changed."""
        self.records.append(
            msgspec.structs.replace(
                instrument,
                source_topic=self.topic,
                source_partition=self.partition,
                source_offset=self.offset,
                source_index=self.index,
            )
        )

    def command(self, command: str, instrument: Instrument, reason: str, connection: str = "", **what: int) -> None:
        """Add a command to the venue's producers (connection: to the one that has it alone; "" = to all).

        Args:
            what: further fields of the command.
        """
        self.commands.append(
            ControlCommand(
                event_time_us=self.event_time_us,
                venue=self.venue,
                market=instrument.market,
                venue_symbol=instrument.venue_symbol,
                command=command,
                reason=reason,
                connection=connection,
                **what,
            )
        )

    def _add(self, found: list[T], start: int, make: Callable[[int], T]) -> None:
        """Add a record of a stage to those of its range."""
        if self.is_shared:
            self.records.append(make(self.index))
        else:
            found.append(make(start + len(found)))

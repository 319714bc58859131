"""What one raw record gives: records with their source, in order, and commands."""

from dataclasses import dataclass, field

import msgspec

from schemas.records import ControlCommand, DeadLetter, Derived, Frame, Instrument, QualityEvent

STAGE = "processor"


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

    `recv_time_us`, `market` and `connection` are those of the frame at hand. The index of a record is its place in
    `records`, which is why every record goes through here.
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

    @property
    def index(self) -> int:
        """Index of the next record."""
        return self.first_index + len(self.records)

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
    ) -> None:
        """Add a quality event; market None = that of the frame at hand."""
        self.records.append(
            QualityEvent(
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
                source_index=self.index,
            )
        )

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

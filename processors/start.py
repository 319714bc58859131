"""State, and what the broker says of its raw partition → where to go on, and what is lost; pure."""

from dataclasses import dataclass

from processors.pieces import LossPiece
from processors.state_store import Loaded
from tickerplant.errors import UserError

NOT_KEPT = "they were not kept until they could be processed"
MADE_ANEW = "the topic was made anew; what was not processed of the one before is gone, too"


@dataclass(frozen=True, kw_only=True)
class Log:
    """A raw partition as the broker tells it.

    Args:
        name: topic and partition, for people.
        life: of the topic.
        first, end: oldest offset that is kept, and offset of the next record to come.
    """

    name: str
    life: str
    first: int
    end: int


@dataclass(frozen=True, kw_only=True)
class Start:
    """Where to go on.

    Args:
        offset: of the raw record to be processed next; None = the first one there is.
        loss: what is gone; None = nothing.
        is_reborn: the topic was made anew since the state was written, so offsets of before mean nothing.
    """

    offset: int | None
    loss: LossPiece | None = None
    is_reborn: bool = False


def find_start(loaded: Loaded, log: Log) -> Start:
    """Tell where to go on from a state.

    Raises:
        UserError: records that were processed are not in the log any more.
    """
    if not loaded.pieces:
        return Start(offset=None)
    if loaded.life and loaded.life != log.life:
        return Start(offset=log.first, loss=LossPiece(0, log.first - 1, MADE_ANEW), is_reborn=True)
    if loaded.next_offset > log.end:
        raise UserError(
            f"{log.name} ends at offset {log.end}, but records up to {loaded.next_offset} were processed: the broker "
            "has lost some, or was restored from an older copy. Records to come would be taken for those: delete the "
            "topic and run `tickerplant deploy`, then it is known to be another one"
        )
    if 0 < loaded.next_offset < log.first:
        return Start(offset=log.first, loss=LossPiece(loaded.next_offset, log.first - 1, NOT_KEPT))
    return Start(offset=loaded.next_offset or None)

"""The closed catalogue of quality event kinds, and how a DISCONNECT frame tells that a channel was silent."""

from typing import Final

QUALITY_KINDS: Final[dict[str, str]] = {
    "GAP": "Venue sequence ids are missing; from_sequence and to_sequence name the hole.",
    "HEALED": "All trades of a GAP came after all; sequences as there, count = those that came by REST.",
    "NOT_HEALED": "Trades of a GAP are awaited no longer; sequences as there, count = those missing, detail why.",
    "BOOK_RESET": "A book became invalid (gap, disconnect); depth deltas are flagged UNJOINED until BOOK_READY.",
    "BOOK_READY": "A snapshot joined the deltas; count = those applied to it (published before, as UNJOINED).",
    "CONNECT": "A connection to the venue was opened.",
    "DISCONNECT": "A connection to the venue was lost or closed; what came meanwhile is missing.",
    "STALE": "A subscribed channel was silent for longer than it should be; its connection was closed for that. "
    "With a symbol: its trades and quotes, or its book, did not move for far longer than usual.",
    "HEARD": "What was STALE with a symbol moves again; detail tells how long it was silent.",
    "CROSSED": "Best bid above best ask.",
    "LOCKED": "Best bid and best ask are the same price.",
    "DUPLICATE": "Items already seen were dropped; count tells how many.",
    "OUT_OF_ORDER": "An item came after a later one of its kind.",
    "UNKNOWN_FIELD": "The venue sends a field we do not know; the message was used all the same.",
    "UNKNOWN_SYMBOL": "A message names a symbol that the venue does not list; it went to the dead letters.",
    "ASSUMED_INSTRUMENT": "No instrument list was at hand: symbol and multiplier were derived from the name.",
    "CLOCK_STEP": "Exchange times lie over 10 minutes ahead of the receive time: flagged, never the measure of LATE. "
    "Or our own receive times went back: the clock of a producer was set back.",
    "FRAME_LOSS": "Frame numbers of a connection have a hole: frames were lost between socket and Kafka.",
    "RAW_LOSS": "Raw records were gone before they were processed; from_sequence and to_sequence are their offsets.",
    "DEAD_LETTER": "A frame could not be used and went to the dead letters.",
    "CHECKSUM": "A book does not have the checksum that the venue sends; it is given up until the next snapshot.",
    "OUTLIER_BURST": "Of the last 64 trades 8 or more lie over 5 sigma from their recent past: flagged OUTLIER.",
    "BAR_DIFFERS": "Our bar differs from the venue's candle; detail: open time in µs, figures; count tells how many.",
    "INCONSISTENT": "Figures of a bar, or of a venue's candle, contradict one another: flagged so; detail tells which.",
    "LATE_FOR_BAR": "Trades came too late for their bars, which stay as they are; count tells how many, detail when.",
    "DIVERGENCE": "A venue's price left those of the others; count tells for how many seconds of a minute.",
    "BOOK_LEAD": "The book of another connection is published from here on; detail names it.",
    "VENUE_NOTICE": "The venue said something of its service (maintenance, error, end), or sends what is not read.",
}

STALE_PREFIX: Final = "stale: "


def stale_reason(channel: str) -> str:
    """Write the payload of a DISCONNECT frame for a channel that was silent for too long.

    >>> stale_reason("trade")
    'stale: trade'
    """
    return STALE_PREFIX + channel


def stale_channel(reason: str) -> str:
    """Read the channel back; empty = the connection ended for another reason.

    >>> stale_channel("stale: trade")
    'trade'
    """
    return reason.removeprefix(STALE_PREFIX) if reason.startswith(STALE_PREFIX) else ""

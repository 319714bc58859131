"""What ends a connection: its name in the metrics, what is said of it, and how patient the next try is; pure.

ConnectionFailureError   we end a connection that is open but of no use (refused, unanswered)
└── StaleError           a channel of it is silent
"""

from typing import Final, Literal

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI, WebSocketException

from schemas.quality import stale_reason

Pace = Literal["quick", "usual", "slow"]

REASON_CHARS: Final = 200
CLOSE_CODES: Final = frozenset({1000, 1001, 1005, 1006, 1008, 1009, 1011, 1012, 1013})  # counted by themselves
VENUE_CODES: Final = range(4000, 5000)
ABNORMAL: Final = 1006  # stands for a connection that ended without a closing frame
QUICK_CODES: Final = frozenset({1001, 1012})  # the server goes away or starts again: another one serves at once
SLOW_CODES: Final = frozenset({1008, 1013, *VENUE_CODES})  # it does not want us, or not now
OUR_CODES: Final = {1002: "protocol", 1007: "protocol", 1009: "frame_too_large"}  # why we closed
STATUSES: Final = frozenset({403, 418, 429})  # counted by themselves
SERVER_ERRORS: Final = 500


class ConnectionFailureError(Exception):
    """A connection that is open but of no use."""

    def __init__(self, error_type: str, detail: str) -> None:
        self.error_type = error_type
        self.detail = detail
        super().__init__(error_type, detail)

    def __str__(self) -> str:
        return f"{self.error_type}: {self.detail}"


class StaleError(ConnectionFailureError):
    """A channel was silent for too long."""

    def __init__(self, channel: str) -> None:
        super().__init__("stale", channel)

    def __str__(self) -> str:
        return stale_reason(self.detail)


FAILURES: Final = (OSError, TimeoutError, EOFError, WebSocketException, ConnectionFailureError)
"""What ends a connection and is met with another one; anything else is a mistake of ours and ends the process."""


def error_type(error: BaseException) -> str:
    """Name a failure for `connector_errors_total`, out of a bounded set.

    >>> error_type(ConnectionRefusedError())
    'connect'
    """
    if isinstance(error, ConnectionFailureError):
        return error.error_type
    if isinstance(error, ConnectionClosed):
        return _closed_type(error)
    if isinstance(error, InvalidStatus):
        return _status_type(error.response.status_code)
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, (InvalidHandshake, InvalidURI, EOFError)):
        return "handshake"
    return "connect" if isinstance(error, OSError) else "protocol"


def reason(error: BaseException) -> str:
    r"""Say what happened, for logs and DISCONNECT frames: bounded and printable, since some of it is the venue's text.

    >>> reason(ConnectionRefusedError("nobody\nthere"))
    'ConnectionRefusedError: nobody there'
    """
    if isinstance(error, ConnectionFailureError):
        return printable(str(error))
    if isinstance(error, ConnectionClosed):
        return printable(f"{error_type(error)}: {_closed_text(error)}")
    return printable(f"{type(error).__name__}: {error}")


def pace(error: BaseException) -> Pace:
    """Tell how soon the next try makes sense."""
    if isinstance(error, ConnectionClosed) and error.rcvd is not None:
        code = error.rcvd.code
        return "quick" if code in QUICK_CODES else "slow" if code in SLOW_CODES else "usual"
    if isinstance(error, InvalidStatus):
        return "usual" if error.response.status_code >= SERVER_ERRORS else "slow"
    return "usual"


def printable(text: str) -> str:
    r"""Bound a text that others wrote, and leave out what would not print.

    >>> printable("a\x00b")
    'a b'
    """
    return "".join(char if char.isprintable() else " " for char in text[:REASON_CHARS])


def _closed_type(error: ConnectionClosed) -> str:
    if error.sent is not None and not error.rcvd_then_sent and error.sent.code in OUR_CODES:
        return OUR_CODES[error.sent.code]
    code = ABNORMAL if error.rcvd is None else error.rcvd.code
    if code in CLOSE_CODES:
        return f"closed_{code}"
    return "closed_4xxx" if code in VENUE_CODES else "closed_other"


def _closed_text(error: ConnectionClosed) -> str:
    """Say why: the parser's finding where there is one, else code and text of the venue."""
    if isinstance(error.__cause__, WebSocketException):
        return str(error.__cause__)
    if error.rcvd is None:
        return "no closing frame"
    return f"{error.rcvd.code} {error.rcvd.reason}".rstrip()


def _status_type(status: int) -> str:
    return f"handshake_{status}" if status in STATUSES else f"handshake_{status // 100}xx"

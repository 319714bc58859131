"""What can go wrong for a client, with ClickHouse's own codes.

GatewayError
├── QueryError      the query failed; the client is told its code and text, the connection stays
└── ProtocolError   the bytes make no sense; the connection is closed
"""

import re
from http import HTTPStatus

SYNTAX_ERROR = 62
NOT_IMPLEMENTED = 48
UNKNOWN_PACKET = 99
UNKNOWN_SETTING = 115
READONLY = 164
SESSION_IS_LOCKED = 373
QUERY_WAS_CANCELLED = 394
TOO_MANY_ROWS_OR_BYTES = 396
TOO_MANY_SESSIONS = 202
NOT_ENOUGH_SPACE = 243
ACCESS_DENIED = 497
AUTHENTICATION_FAILED = 516
UNKNOWN_EXCEPTION = 1002

# As ClickHouse's HTTP handler maps them (HTTPHandler.cpp, exceptionCodeToHTTPStatus); what is not named is 500.
_STATUS = {
    **dict.fromkeys((6, 26, 27, 38, 41, 43, 53, 62, 69, 72, 117, 130, 131, 349, 457), HTTPStatus.BAD_REQUEST),
    **dict.fromkeys((10, 16, 46, 47, 50, 56, 60, 63, 73, 81, 115, 512), HTTPStatus.NOT_FOUND),
    **dict.fromkeys((READONLY, 192, 193, ACCESS_DENIED, AUTHENTICATION_FAILED), HTTPStatus.FORBIDDEN),
    NOT_IMPLEMENTED: HTTPStatus.NOT_IMPLEMENTED,
    TOO_MANY_SESSIONS: HTTPStatus.SERVICE_UNAVAILABLE,
    TOO_MANY_ROWS_OR_BYTES: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
}
_NAMES = {
    SYNTAX_ERROR: "SYNTAX_ERROR",
    NOT_IMPLEMENTED: "NOT_IMPLEMENTED",
    UNKNOWN_SETTING: "UNKNOWN_SETTING",
    READONLY: "READONLY",
    TOO_MANY_SESSIONS: "TOO_MANY_SIMULTANEOUS_QUERIES",
    NOT_ENOUGH_SPACE: "NOT_ENOUGH_SPACE",
    SESSION_IS_LOCKED: "SESSION_IS_LOCKED",
    TOO_MANY_ROWS_OR_BYTES: "TOO_MANY_ROWS_OR_BYTES",
    ACCESS_DENIED: "ACCESS_DENIED",
    AUTHENTICATION_FAILED: "AUTHENTICATION_FAILED",
}
_ENGINE_TEXT = re.compile(r"Code: (\d+)\. DB::\w*Exception: (.*)", re.DOTALL)
_NO_SPACE = re.compile(r"errno: (28|122)\b|No space left on device")


class GatewayError(Exception):
    """Base of what a client may be told."""


class ProtocolError(GatewayError):
    """The client's bytes cannot be read as the protocol, or announce more than a limit allows."""


class QueryError(GatewayError):
    """A query failed.

    Args:
        code: ClickHouse's error number.
        text: without the prefix `DB::Exception: `.
    """

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        self.text = f"{text} ({_NAMES[code]})" if code in _NAMES and not text.endswith(f"({_NAMES[code]})") else text
        super().__init__(code, text)

    def __str__(self) -> str:
        return f"Code: {self.code}. DB::Exception: {self.text}"

    @property
    def status(self) -> HTTPStatus:
        """The HTTP status a ClickHouse server would answer with."""
        return HTTPStatus(_STATUS.get(self.code, HTTPStatus.INTERNAL_SERVER_ERROR))


def from_engine(error: RuntimeError) -> QueryError:
    """Read code and text out of what chdb raised; 1002 (UNKNOWN_EXCEPTION) where it names no code.

    A disk that is full is 243 (NOT_ENOUGH_SPACE), whatever could not be written.
    """
    found = _ENGINE_TEXT.search(str(error))
    if found is None:
        return QueryError(NOT_ENOUGH_SPACE if _NO_SPACE.search(str(error)) else UNKNOWN_EXCEPTION, str(error))
    code = NOT_ENOUGH_SPACE if _NO_SPACE.search(found[2]) else int(found[1])
    return QueryError(code, found[2].strip())

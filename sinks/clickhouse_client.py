"""A client of ClickHouse's native protocol, and what its failures mean; without columns, so without numpy and Arrow."""

import logging
from typing import Final

from clickhouse_driver import Client
from clickhouse_driver.errors import Error, ServerException

from tickerplant.errors import DependencyError, UserError
from tickerplant.security import clickhouse_options, distrust
from tickerplant.settings import ClickHouse

CONNECT_S: Final = 5
ANSWER_S: Final = 60
BUSY: Final = frozenset({3, 40, 74, 100, 101, 102, 159, 164, 173, 201, 202, 203, 209, 210, 225, 236, 241, 242, 243, 252, 279, 319, 341, 394, 425, 439, 473, 745, 999})  # fmt: skip  # noqa: E501
"""Server errors that pass: time-outs, memory, too many parts or queries, read-only, no space, shutting down.
Source: https://github.com/ClickHouse/ClickHouse/blob/master/src/Common/ErrorCodes.cpp"""
NO_SPACE: Final = ("errno: 28", "No space left on device")
"""What a full disk is told by where a file could be begun and not be written: under several codes."""


def connect(settings: ClickHouse, make: type[Client] = Client) -> Client:
    """Connect, and make sure that somebody answers.

    Raises:
        DependencyError: nobody does.
        UserError: user or password are refused.
    """
    client = make_client(settings, ANSWER_S, make)
    greet(client, settings)
    return client


def make_client(
    settings: ClickHouse, answer_s: float, make: type[Client] = Client, *, is_plain: bool = False
) -> Client:
    """Make a client, which connects when it is first used, and again after `disconnect`.

    Args:
        answer_s: how long an answer may take, seconds; a connection 5 at most.
        is_plain: without compression, both ways.
    """
    # The driver logs a traceback for each failed try; we say once that the store is down.
    logging.getLogger("clickhouse_driver").setLevel(logging.CRITICAL)
    return make(
        **clickhouse_options(settings),
        connect_timeout=min(CONNECT_S, answer_s),
        send_receive_timeout=answer_s,
        sync_request_timeout=min(CONNECT_S, answer_s),
        compression=False if is_plain else "lz4",
        client_name="tickerplant",
    )


def greet(client: Client, settings: ClickHouse) -> None:
    """Ask for a 1; raises as `connect`, and leaves the client disconnected then."""
    try:
        client.execute("SELECT 1")
    except (Error, OSError, EOFError) as error:
        client.disconnect()
        raise unanswered(error, settings) from error


def unanswered(error: Exception, settings: ClickHouse) -> UserError:
    """Say what it means that the first question to a server failed so."""
    address = f"{settings.host}:{settings.port}"
    if isinstance(error, ServerException) and not is_busy(error):
        return UserError(f"ClickHouse at {address} refuses: {first_line(error)}")
    if untrusted := distrust(error):
        text = f"{untrusted}; see clickhouse.secure and clickhouse.ca_location"
        return UserError(f"ClickHouse at {address} is not trusted: {text}")
    if settings.secure:
        return DependencyError("clickhouse", address, "is it running, and is this its port for TLS?")
    return DependencyError("clickhouse", address)


def is_busy(error: Error) -> bool:
    """Tell whether an error passes, so that the same may be asked again."""
    return error.code in BUSY or any(text in str(error.message) for text in NO_SPACE)


def first_line(error: Error) -> str:
    """First line of an error's text."""
    return str(error.message or error).splitlines()[0][:300]

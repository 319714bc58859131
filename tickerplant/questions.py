"""Questions to ClickHouse for people: rows by name, over tables of this deployment."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from clickhouse_driver import Client
from clickhouse_driver.errors import Error, ServerException

from sinks.clickhouse_client import connect, first_line, is_busy
from tickerplant.errors import DependencyError, UserError
from tickerplant.settings import ClickHouse

NOT_THERE: Final = frozenset({16, 47, 60, 81})
"""Server errors: no such column, name, table, database.
Source: https://github.com/ClickHouse/ClickHouse/blob/master/src/Common/ErrorCodes.cpp"""
Row = dict[str, Any]
MID: Final = "(bids[1].1 + asks[1].1) / 2"
"""Of a row of `market_data.depth` that is a whole book with two sides."""


def near_mid(bps: float) -> str:
    """Write the levels of a book that lie within so many bps of `mid`, as an array, and one of size 0 at `mid` itself.

    So each book counts for one, and thousands of levels far away are not looked at one by one.
    """
    within = f"abs(each.1 / mid - 1) < {bps * 1.001 / 10_000:.8f}"
    return f"arrayConcat([(mid, 0.)], arrayFilter(each -> {within}, arrayConcat(bids, asks)))"


class Questions:
    """Asks one store; `@` after a table's name in a question stands for the suffix of this deployment's tables."""

    def __init__(self, client: Client, settings: ClickHouse) -> None:
        self._client = client
        self._settings = settings

    def rows(self, sql: str, values: Mapping[str, Any]) -> Iterator[Row]:
        """Ask, and give the answer's rows by column name as they come; read to its end before the next question.

        Args:
            sql: with `%(name)s` for each of the values, which are escaped.

        Raises:
            UserError: a table is missing, or the question is refused.
            DependencyError: ClickHouse does not answer, or is busy.
        """
        question = sql.replace("@", self._settings.table_suffix)
        try:
            answer = self._client.execute_iter(question, dict(values), with_column_types=True)
            names = [name for name, _type in next(answer)]
            for row in answer:
                yield dict(zip(names, row, strict=True))
        except (Error, OSError, EOFError) as error:
            raise judged(error, self._settings) from error


def judged(error: Exception, settings: ClickHouse) -> Exception:
    """Say whether what the driver raised for a question is a matter of the user's or of the server's."""
    address = f"{settings.host}:{settings.port}"
    if not isinstance(error, ServerException):
        return DependencyError("clickhouse", address, type(error).__name__)
    if error.code in NOT_THERE:
        return UserError(f"ClickHouse at {address}: {first_line(error)}; run `tickerplant deploy`")
    if is_busy(error):
        return DependencyError("clickhouse", address, first_line(error))
    return UserError(f"ClickHouse at {address} refuses: {first_line(error)}")


@contextmanager
def asking(settings: ClickHouse) -> Iterator[Questions]:
    """Connect for some questions.

    Raises:
        DependencyError: ClickHouse does not answer.
        UserError: it refuses us.
    """
    client = connect(settings)
    try:
        yield Questions(client, settings)
    finally:
        client.disconnect()

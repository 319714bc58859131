"""The answer to a statement as Native blocks: its columns first, then a block at a time."""

from collections import deque
from collections.abc import Mapping

from tickerplant.local.gateway.blocks import Columns, columns_of, split
from tickerplant.local.gateway.engine import Chunk, Session, Stream
from tickerplant.local.gateway.faults import ProtocolError
from tickerplant.local.gateway.statements import Kind, Statement


class Answer:
    """Blocks of an answer, and what was counted until now. `columns` is empty where the statement gives no rows."""

    def __init__(self, columns: Columns, first: list[bytes], stream: Stream | None) -> None:
        self.columns = columns
        self.rows = self.blocks = self.size_bytes = self.read_rows = self.read_bytes = 0
        self._waiting = deque(first)
        self._stream = stream

    def count(self, chunk: Chunk) -> None:
        """Add a chunk to the counts; reads are counted by the engine from the beginning."""
        self.rows += chunk.rows
        self.read_rows = max(self.read_rows, chunk.read_rows)
        self.read_bytes = max(self.read_bytes, chunk.read_bytes)

    def next_block(self) -> bytes | None:
        """Return the next block, None at the end. Blocks.

        Raises:
            QueryError: the query failed in its course.
        """
        block = self._waiting.popleft() if self._waiting else self._fetch()
        if block is not None:
            self.blocks += 1
            self.size_bytes += len(block)
        return block

    def _fetch(self) -> bytes | None:
        chunk = None if self._stream is None else self._stream.fetch()
        if chunk is None:
            return None
        self.count(chunk)
        return chunk.data

    def close(self) -> None:
        """End the query where it has not ended. Blocks."""
        if self._stream is not None:
            self._stream.cancel()


def open_answer(session: Session, statement: Statement, settings: Mapping[str, str]) -> Answer:
    """Begin a statement that takes no rows, under these settings. Blocks.

    Raises:
        QueryError: with the engine's code.
    """
    session.apply(settings)
    if statement.kind is Kind.SELECT:
        return _select(session, statement.text)
    if statement.kind is Kind.SESSION:
        session.change(statement.text)
        return Answer((), [], None)
    return _at_once(session, statement)


def _select(session: Session, sql: str) -> Answer:
    stream = session.stream(sql)
    first = stream.fetch()
    if first is None:
        return Answer(session.describe(sql), [], None)
    try:
        columns = columns_of(first.data)
    except ProtocolError:  # a type the walk does not know; within a stream the engine cannot be asked
        stream.cancel()
        columns, stream = session.describe(sql), session.stream(sql)
        return Answer(columns, [], stream)
    answer = Answer(columns, [first.data], stream)
    answer.count(first)
    return answer


def _at_once(session: Session, statement: Statement) -> Answer:
    whole = session.query(statement.text)
    blocks = split(whole.data)
    columns = blocks[0].columns if blocks else ()
    if not blocks and statement.kind is Kind.SHOW:
        columns = _columns_of_nothing(session, statement.text)
    answer = Answer(columns, [block.data for block in blocks], None)
    answer.count(whole)
    return answer


def _columns_of_nothing(session: Session, sql: str) -> Columns:
    """Ask SHOW again in a format with names: it can neither be described nor streamed, and no rows are no block."""
    names, types, *_ = session.query(sql, "TSVRawWithNamesAndTypes").data.split(b"\n")
    return tuple(zip(names.split(b"\t"), types.split(b"\t"), strict=True))

"""The native listener: packets of clickhouse-driver and its kin in, blocks out."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from tickerplant.local.gateway import packets
from tickerplant.local.gateway.access import Access
from tickerplant.local.gateway.answers import Answer, open_answer
from tickerplant.local.gateway.blocks import BLOCK_INFO, NAME_LIMIT_BYTES, Block, header, read_block, read_block_info
from tickerplant.local.gateway.channel import PACKET_LIMIT_BYTES, Channel
from tickerplant.local.gateway.compression import compress, read_frame
from tickerplant.local.gateway.engine import ATOMIC_INSERT, Engine, Head, Session, Written
from tickerplant.local.gateway.faults import (
    NOT_IMPLEMENTED,
    TOO_MANY_ROWS_OR_BYTES,
    TOO_MANY_SESSIONS,
    UNKNOWN_PACKET,
    ProtocolError,
    QueryError,
)
from tickerplant.local.gateway.statements import Kind, Statement, parse, require_read_only
from tickerplant.local.gateway.wire import Buffer, Reader, string, varint
from tickerplant.logs import logger

T = TypeVar("T")

INSERT_LIMIT_BYTES = 256 * 1024 * 1024
_SESSIONS_LIMIT = 500
_HELLO_S = 10.0
_KILL_AGAIN_S = 0.2
_ABORT_S = 1.0
_SEND_BYTES = 256 * 1024
_HTTP_HINT = b"HTTP/1.0 400 Bad Request\r\n\r\nThis port speaks ClickHouse's native protocol; HTTP has its own.\r\n"

log = logger()


class NativeServer:
    """All clients of the native port."""

    def __init__(self, engine: Engine, access: Access) -> None:
        self.engine = engine
        self.access = access
        self._clients: dict[Channel, Client | None] = {}

    def channel(self) -> Channel:
        """Make the protocol object of a new connection."""
        return Channel(self._serve)

    async def _serve(self, channel: Channel) -> None:
        self._clients[channel] = None
        try:
            await self._greet(channel)
        except QueryError as error:
            await _tell(channel, error)
        except ProtocolError as error:
            log.info("native_client_refused", reason=str(error))
            await _tell(channel, QueryError(UNKNOWN_PACKET, str(error)))
        except (ConnectionError, TimeoutError):
            pass  # gone, or never said hello
        finally:
            del self._clients[channel]
            channel.close()

    async def _greet(self, channel: Channel) -> None:
        hello = await asyncio.wait_for(self._hello(channel), _HELLO_S)
        self.access.require(hello.user, hello.password)
        if len(self._clients) > _SESSIONS_LIMIT:
            raise QueryError(TOO_MANY_SESSIONS, f"Too many connections: at most {_SESSIONS_LIMIT} are served")
        session = await asyncio.to_thread(self.engine.session)
        try:
            if hello.database:
                await session.run(lambda: session.use(hello.database))
            client = self._clients[channel] = Client(channel, session)
            await channel.send(packets.hello(self.engine.version, self.engine.timezone))
            await client.serve()
        finally:
            await asyncio.to_thread(session.close)

    async def _hello(self, channel: Channel) -> packets.Hello:
        first = await channel.pull(channel.buffer.u8())
        if first in b"GPHO":  # GET, POST, HEAD, OPTIONS: somebody's HTTP
            await channel.send(_HTTP_HINT)
            raise ConnectionResetError
        if first != packets.Client.HELLO:
            raise ProtocolError(f"packet {first} where a hello is expected")
        return await channel.pull(packets.read_hello(channel.buffer))

    async def stop(self, patience_s: float) -> None:
        """Close all connections: the idle at once, the busy after that long, which kills their queries."""
        for channel, client in self._clients.items():
            if client is None or not client.busy:
                channel.close()
        tasks = [channel.task for channel in self._clients]
        if tasks:
            await asyncio.wait(tasks, timeout=patience_s)
        for channel in self._clients:
            channel.abort()
        if rest := [task for task in tasks if not task.done()]:
            await asyncio.wait(rest, timeout=_ABORT_S)


async def _tell(channel: Channel, error: QueryError) -> None:
    with suppress(ConnectionError):
        await channel.send(packets.exception(error))


class Client:
    """One connected client: queries one after the other on its session."""

    def __init__(self, channel: Channel, session: Session) -> None:
        self._channel = channel
        self._session = session
        self._cancelled = False
        self.busy = False

    async def serve(self) -> None:
        """Answer packets until the client goes.

        Raises:
            ConnectionError: it has gone.
            ProtocolError: its bytes make no sense.
        """
        handlers: dict[int, Callable[[], Coroutine[Any, Any, None]]] = {
            packets.Client.QUERY: self._query,
            packets.Client.PING: self._ping,
            packets.Client.CANCEL: self._late_cancel,
        }
        while True:
            number = await self._channel.pull(self._channel.buffer.varint())
            if number not in handlers:
                raise ProtocolError(f"Unknown packet {number} from client")
            self.busy = True
            await handlers[number]()
            self.busy = False
            await asyncio.sleep(0)  # of a buffer full of packets none waits, and nobody else would have a turn

    async def _ping(self) -> None:
        await self._channel.send(varint(packets.Server.PONG))

    async def _late_cancel(self) -> None:
        """Do nothing: the query had ended before its cancel arrived."""

    async def _query(self) -> None:
        query = await self._channel.pull(packets.read_query(self._channel.buffer))
        self._cancelled = False
        externals = await self._skip_externals(query)
        try:
            await self._answer(query, _statement(query, externals))
        except QueryError as error:
            await self._channel.send(
                varint(packets.Server.END_OF_STREAM) if self._cancelled else packets.exception(error)
            )

    async def _skip_externals(self, query: packets.Query) -> int:
        count = 0
        while not (await self._data(query)).is_end:
            count += 1
        return count

    async def _answer(self, query: packets.Query, statement: Statement) -> None:
        values = {name: setting.value for name, setting in query.settings.items()}
        important = {name: setting.value for name, setting in query.settings.items() if setting.important}
        self._session.known(important, strict=True)
        settings = self._session.known(values, strict=False)
        if values.get("readonly", "0") != "0":
            require_read_only(statement)
        if statement.kind is Kind.INSERT:
            await self._insert(query, statement, settings)
        else:
            await self._rows(query, statement, settings)

    async def _rows(self, query: packets.Query, statement: Statement, settings: dict[str, str]) -> None:
        work = _Packets(self._session, compressed=query.compressed)
        try:
            await self._channel.send_all(await self._guarded(lambda: work.begin(statement, settings)))
            while not work.is_done:
                await self._channel.send_all(await self._guarded(work.go_on))
        finally:
            if not work.is_done:
                await self._session.run(work.close)

    async def _insert(self, query: packets.Query, statement: Statement, settings: dict[str, str]) -> None:
        await self._session.run(lambda: self._session.apply(ATOMIC_INSERT | settings))
        pieces, rows_format = [statement.data], statement.format or "Values"
        if not statement.data:
            pieces, rows_format = await self._receive(query, statement), "Native"
        head, written = Head(statement.text, statement.settings), Written(0, 0)
        if pieces:
            written = await self._guarded(lambda: self._session.insert(head, rows_format, pieces))
        done = packets.progress(written_rows=written.rows, written_bytes=written.size_bytes)
        await self._channel.send(done + varint(packets.Server.END_OF_STREAM))

    async def _receive(self, query: packets.Query, statement: Statement) -> list[bytes]:
        """Send the sample block and take all blocks in; nothing is written before the last one is here."""
        if not statement.target[0]:
            raise QueryError(NOT_IMPLEMENTED, "INSERT INTO FUNCTION takes no blocks here")
        columns = await self._session.run(lambda: self._session.sample(statement.sample))
        await self._channel.send_all(_packet(header(columns), compressed=query.compressed))
        pieces: list[bytes] = []
        size_bytes = 0
        while not (block := await self._data(query)).is_end:
            size_bytes += len(block.data)
            if size_bytes > INSERT_LIMIT_BYTES:
                pieces.clear()
            elif block.rows:
                pieces.append(block.data)
        if size_bytes > INSERT_LIMIT_BYTES:
            raise QueryError(
                TOO_MANY_ROWS_OR_BYTES, f"An insert of {size_bytes} bytes; send {INSERT_LIMIT_BYTES} at most"
            )
        return pieces

    async def _data(self, query: packets.Query) -> Block:
        """Take one Data packet in."""
        await asyncio.sleep(0)  # as in `serve`
        buffer = self._channel.buffer
        number = await self._channel.pull(buffer.varint())
        if number != packets.Client.DATA:
            raise ProtocolError(f"packet {number} where data is expected")
        name = await self._channel.pull(buffer.string(NAME_LIMIT_BYTES))
        block = await (self._unpacked() if query.compressed else self._channel.pull(_block(buffer)))
        return Block(columns=((name, b""),), rows=block.rows, data=b"") if name else block

    async def _unpacked(self) -> Block:
        plain = Buffer(PACKET_LIMIT_BYTES)
        reader = _block(plain)
        while True:
            try:
                next(reader)
            except StopIteration as done:
                block: Block = done.value
                return block
            plain.feed(await self._channel.pull(read_frame(self._channel.buffer)))

    async def _guarded(self, work: Callable[[], T]) -> T:
        """Run work of the session; a Cancel packet or a client that goes kills its query.

        Raises:
            QueryError: with the engine's code; 394 where it was killed.
            ConnectionError: the client has gone.
        """
        task = asyncio.ensure_future(self._session.run(work))
        while not task.done():
            await self._kill_if_unwanted()
            watch = asyncio.ensure_future(self._channel.changed())
            # A kill may come before the engine has registered the query: it is repeated until the work has ended.
            await asyncio.wait(
                {task, watch},
                timeout=_KILL_AGAIN_S if self._cancelled or self._channel.closed else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            watch.cancel()
        return task.result()

    async def _kill_if_unwanted(self) -> None:
        buffer = self._channel.buffer
        if len(buffer) and buffer.data[buffer.pos] == packets.Client.CANCEL:
            await self._channel.pull(buffer.varint())
            self._cancelled = True
        if self._cancelled or self._channel.closed:
            await self._session.kill()


def _statement(query: packets.Query, externals: int) -> Statement:
    if externals:
        raise QueryError(NOT_IMPLEMENTED, "External tables are not served over the native protocol")
    return parse(query.text)


def _block(buffer: Buffer) -> Reader[Block]:
    yield from read_block_info(buffer)
    return (yield from read_block(buffer))


def _packet(block: bytes, *, compressed: bool) -> list[bytes]:
    """Make the parts of a packet; the block itself, of some megabytes, is not copied."""
    head = varint(packets.Server.DATA) + string("")
    return [head, compress(BLOCK_INFO + block)] if compressed else [head + BLOCK_INFO, block]


class _Packets:
    """The packets of an answer, several at a time: each hop to the session's thread costs more than a small block."""

    def __init__(self, session: Session, *, compressed: bool) -> None:
        self._session = session
        self._compressed = compressed
        self._answer: Answer | None = None
        self.is_done = False

    def begin(self, statement: Statement, settings: dict[str, str]) -> list[bytes]:
        """Return the parts of the first packets. Blocks."""
        self._answer = open_answer(self._session, statement, settings)
        columns = self._answer.columns
        first = _packet(header(columns), compressed=self._compressed) if columns else []
        return first + self.go_on()

    def go_on(self) -> list[bytes]:
        """Return the parts of the next packets, the summary and the end of the stream behind the last. Blocks."""
        assert self._answer is not None
        out: list[bytes] = []
        while sum(map(len, out)) < _SEND_BYTES:
            block = self._answer.next_block()
            if block is None:
                self.is_done = True
                return [*out, _summary(self._answer)]
            out += _packet(block, compressed=self._compressed)
        return out

    def close(self) -> None:
        """End the query where it has not ended. Blocks."""
        if self._answer is not None:
            self._answer.close()


def _summary(answer: Answer) -> bytes:
    info = packets.profile_info(answer.rows, answer.blocks, answer.size_bytes)
    done = packets.progress(read_rows=answer.read_rows, read_bytes=answer.read_bytes)
    return info + done + varint(packets.Server.END_OF_STREAM)

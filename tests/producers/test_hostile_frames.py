"""What a venue may send once connected: large, torn, compressed, empty and endless frames, closing codes, no pongs."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from prometheus_client import REGISTRY
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosedError
from websockets.frames import Close

from producers import transport
from producers.connection import Backoff, Lifecycle
from producers.failures import pace
from schemas.quality import stale_reason
from tickerplant.settings import Producer

TEXT, BINARY, CONT, PING = 1, 2, 0, 9
TRADE = b'{"stream":"btcusdt@trade","data":{"t":%d}}'
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def settings(**changes: float) -> Producer:
    values = {"linger_ms": 1.0, "backoff_first_s": 0.02, "backoff_most_s": 0.05, "overlap_s": 0.1}
    return Producer.model_validate(values | changes)


def errors(error_type: str) -> float:
    return REGISTRY.get_sample_value("connector_errors_total", {"venue": "BINANCE", "error_type": error_type}) or 0.0


@pytest.fixture(autouse=True)
def short_closing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait briefly for peers that take no part in the closing handshake."""
    monkeypatch.setattr(transport, "CLOSE_TIMEOUT_S", 0.1)


@pytest.fixture
def serve_talk(serve_tcp: Any, shake_hands: Any, ws_frame: Any) -> Callable[[Talk], Any]:
    """Serve connections whose subscription is answered, and which then do what a function says."""

    async def start(talk: Talk) -> str:
        async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await shake_hands(reader, writer)
            await reader.read(1)
            writer.write(ws_frame(b'{"result":null,"id":1}'))
            await talk(reader, writer)
            await writer.drain()
            await asyncio.sleep(60)

        url: str = await serve_tcp(serve_one)
        return url

    return start


def saying(*frames: bytes) -> Talk:
    async def talk(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for each in frames:
            writer.write(each)
            await writer.drain()

    return talk


async def test_messages_of_any_shape_are_taken_untouched_and_the_connection_goes_on(
    start_feed: Any, serve_talk: Any, ws_frame: Any, outlet: Any, until: Any
) -> None:
    bodies = [b"", b"\xff\xfe{\x80", b"\x00" * 5, b"x" * 126, b"y" * 70_000, b'{"stream":"\xc3', TRADE % 1]
    frames = [ws_frame(each) for each in bodies]
    frames += [ws_frame(b"\x08\x01", BINARY), ws_frame(b"", BINARY)]
    frames += [
        ws_frame(b"ab", TEXT, fin=False),
        ws_frame(b"", CONT, fin=False),
        ws_frame(b"", PING),
        ws_frame(b"c", CONT),
    ]
    frames += [ws_frame(b"", TEXT, fin=False), ws_frame(b"", CONT)]
    start_feed(settings(), await serve_talk(saying(*frames, ws_frame(TRADE % 2))))
    await until(lambda: TRADE % 2 in outlet.payloads("MESSAGE"))

    assert outlet.payloads("MESSAGE")[1:] == [*bodies, b"\x08\x01", b"", b"abc", b"", TRADE % 2]
    assert outlet.frames("DISCONNECT") == []


async def test_ten_megabytes_are_one_frame(
    start_feed: Any, serve_talk: Any, ws_frame: Any, outlet: Any, until: Any
) -> None:
    body = b'{"stream":"btcusdt@trade","data":"' + b"z" * 10_000_000 + b'"}'
    parts = [ws_frame(body[:4_000_000], TEXT, fin=False), ws_frame(body[4_000_000:], CONT)]
    start_feed(settings(), await serve_talk(saying(ws_frame(body), *parts, ws_frame(TRADE % 1))))
    await until(lambda: TRADE % 1 in outlet.payloads("MESSAGE"))

    assert outlet.payloads("MESSAGE")[1:] == [body, body, TRADE % 1]


HUGE = bytes([0x81, 0x7F]) + (1 << 62).to_bytes(8, "big")
BAD_FRAMES: list[tuple[str, Callable[[Any], list[bytes]], str, bytes]] = [
    ("above the limit", lambda frame: [frame(b"x" * 2000)], "frame_too_large", b"limit of 1000 bytes"),
    ("fragments above the limit", lambda frame: [frame(b"x" * 600, TEXT, fin=False), frame(b"x" * 600, CONT)],
     "frame_too_large", b"limit of 1000 bytes"),
    ("exabytes announced", lambda _: [HUGE], "frame_too_large", b"limit of 1000 bytes"),
    ("endless empty fragments", lambda frame: [frame(b"", TEXT, fin=False), frame(b"", CONT, fin=False) * 5000],
     "frame_too_large", b"limit of 4096 frames"),
    ("compressed", lambda frame: [frame(b"x", rsv1=True)], "protocol", b"reserved bits"),
    ("masked", lambda _: [b"\x81\x81\x00\x00\x00\x00x"], "protocol", b"masking"),
    ("unknown opcode", lambda frame: [frame(b"x", 3)], "protocol", b"opcode"),
    ("continuation of nothing", lambda frame: [frame(b"x", CONT)], "protocol", b"continuation"),
    ("message within a message", lambda frame: [frame(b"a", TEXT, fin=False), frame(b"b")],
     "protocol", b"continuation"),
    ("long ping", lambda frame: [frame(b"x" * 126, PING)], "protocol", b"control frame"),
    ("closing text that is no UTF-8", lambda frame: [frame(b"\x03\xe8\xff\xff", 8)], "protocol", b""),
    ("closing code 999", lambda frame: [frame(b"\x03\xe7", 8)], "protocol", b""),
]  # fmt: skip


@pytest.mark.parametrize(("make", "expected", "words"), [pytest.param(*rest, id=name) for name, *rest in BAD_FRAMES])
async def test_frame_that_cannot_be_ends_the_connection_with_a_reason(
    *, start_feed: Any, serve_talk: Any, ws_frame: Any, outlet: Any, until: Any,
    make: Callable[[Any], list[bytes]], expected: str, words: bytes,
) -> None:  # fmt: skip
    before = errors(expected)
    frames = (ws_frame(TRADE % 1), *make(ws_frame))
    feed = start_feed(settings(max_frame_bytes=1000), await serve_talk(saying(*frames)))
    await until(lambda: feed.life.opened >= 2)

    assert errors(expected) > before
    assert outlet.payloads("MESSAGE")[1] == TRADE % 1
    assert outlet.payloads("DISCONNECT")[0].startswith(expected.encode())
    assert words in outlet.payloads("DISCONNECT")[0]


async def test_bytes_that_never_make_a_frame_are_silence(
    start_feed: Any, serve_talk: Any, ws_frame: Any, outlet: Any, until: Any
) -> None:
    async def drip(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(ws_frame(TRADE % 1))
        writer.write(ws_frame(b"x" * 10_000_000)[:10])
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)

    start_feed(settings(stale_after_s=0.2), await serve_talk(drip))
    await until(lambda: outlet.frames("DISCONNECT"))

    assert outlet.payloads("DISCONNECT")[0] == stale_reason("trade").encode()


async def test_quiet_connection_whose_peer_vanished_is_found_by_pings(
    start_feed: Any, serve_talk: Any, outlet: Any, until: Any
) -> None:
    before = errors("ping_timeout")
    start_feed(settings(ping_interval_s=0.05, ping_timeout_s=0.2), await serve_talk(saying()))
    await until(lambda: errors("ping_timeout") > before)

    assert outlet.payloads("DISCONNECT")[0] == b"ping_timeout: no pong within 0.2 s"


async def test_connection_that_speaks_and_answers_no_pings_is_kept(
    start_feed: Any, serve_talk: Any, outlet: Any, ws_frame: Any, until: Any
) -> None:
    async def talk(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for number in range(60):
            writer.write(ws_frame(TRADE % number))
            await writer.drain()
            await asyncio.sleep(0.01)

    start_feed(settings(ping_interval_s=0.02, ping_timeout_s=0.1), await serve_talk(talk))
    await until(lambda: TRADE % 59 in outlet.payloads("MESSAGE"))

    assert outlet.frames("DISCONNECT") == []


async def test_connection_that_answers_pings_is_kept(start_feed: Any, venue: Any, outlet: Any, until: Any) -> None:
    feed = start_feed(settings(ping_interval_s=0.02, ping_timeout_s=0.2), venue.websocket_url)
    await until(lambda: feed.life.opened == 1)
    await asyncio.sleep(0.5)

    assert feed.life.opened == 1
    assert outlet.frames("DISCONNECT") == []


async def test_pings_are_answered_while_kafka_is_stuck(start_feed: Any, venue: Any, outlet: Any, until: Any) -> None:
    async def talk(connection: ServerConnection, _request: dict[str, Any]) -> None:
        for number in range(2000):
            await connection.send(TRADE % number)

    venue.on_request = talk
    outlet.is_stuck = True
    start_feed(settings(queue_frames=5), venue.websocket_url)
    await until(lambda: venue.requests)
    for _ in range(3):
        await asyncio.wait_for(await venue.connections[0].ping(), 5.0)

    assert len(outlet.frames("MESSAGE")) < 1500
    outlet.is_stuck = False
    await until(lambda: len(outlet.frames("MESSAGE")) == 2001)
    assert outlet.payloads("MESSAGE")[1:] == [TRADE % number for number in range(2000)]


async def test_no_pong_is_expected_while_the_socket_is_not_read(
    start_feed: Any, venue: Any, outlet: Any, until: Any
) -> None:
    sent: list[int] = []

    async def flood(connection: ServerConnection, _request: dict[str, Any]) -> None:
        for number in range(3000):
            await connection.send(TRADE % number + b" " * 10_000)
            sent.append(number)

    venue.on_request = flood
    outlet.is_stuck = True
    given = settings(queue_frames=5, socket_bytes=100_000, ping_interval_s=0.05, ping_timeout_s=0.2, stale_after_s=0.2)
    feed = start_feed(given, venue.websocket_url)
    size = -1
    while size != len(sent) or not size:  # until the venue is held back
        size = len(sent)
        await asyncio.sleep(0.5)
    assert size < 3000
    outlet.is_stuck = False
    await until(lambda: len(outlet.frames("MESSAGE")) == 3001)

    assert feed.life.opened == 1
    assert outlet.frames("DISCONNECT") == []


async def test_venue_that_pings_and_reads_no_pong_is_cut_off(
    start_feed: Any, serve_talk: Any, ws_frame: Any, outlet: Any, until: Any
) -> None:
    pings = ws_frame(b"p" * 125, PING) * 1000

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reader._transport.pause_reading()  # type: ignore[attr-defined]  # as a venue that does not read
        for _ in range(200):
            writer.write(pings)
            await writer.drain()

    start_feed(settings(), await serve_talk(flood))
    await until(lambda: outlet.frames("DISCONNECT"))

    assert b"reads no pongs" in outlet.payloads("DISCONNECT")[0]


CODES = [(1000, "closed_1000", "usual"), (1001, "closed_1001", "quick"), (1008, "closed_1008", "slow"),
         (1009, "closed_1009", "usual"), (1011, "closed_1011", "usual"), (1012, "closed_1012", "quick"),
         (1013, "closed_1013", "slow"), (4001, "closed_4xxx", "slow"), (4999, "closed_4xxx", "slow"),
         (3000, "closed_other", "usual")]  # fmt: skip


@pytest.mark.parametrize(("code", "expected", "_pace"), CODES)
async def test_closing_codes_are_counted_by_a_bounded_set_of_names(
    *, start_feed: Any, venue: Any, outlet: Any, until: Any, code: int, expected: str, _pace: str
) -> None:
    async def close(connection: ServerConnection, _request: dict[str, Any]) -> None:
        await connection.close(code, "go\x07 away " + "x" * 100)

    venue.on_request = close
    before = errors(expected)
    start_feed(settings(), venue.websocket_url)
    await until(lambda: errors(expected) > before and outlet.frames("DISCONNECT"))
    words = outlet.payloads("DISCONNECT")[0]

    assert words.startswith(f"{expected}: {code} go  away".encode())
    assert len(words) <= 200


async def test_connection_that_ends_without_a_closing_frame_is_1006(
    start_feed: Any, venue: Any, outlet: Any, until: Any
) -> None:
    async def abort(connection: ServerConnection, _request: dict[str, Any]) -> None:
        connection.transport.abort()

    venue.on_request = abort
    start_feed(settings(), venue.websocket_url)
    await until(lambda: outlet.frames("DISCONNECT"))

    assert outlet.payloads("DISCONNECT")[0] == b"closed_1006: no closing frame"


async def test_closing_frame_without_a_code_is_1005(
    start_feed: Any, serve_talk: Any, ws_frame: Any, outlet: Any, until: Any
) -> None:
    start_feed(settings(), await serve_talk(saying(ws_frame(b"", 8))))
    await until(lambda: outlet.frames("DISCONNECT"))

    assert outlet.payloads("DISCONNECT")[0] == b"closed_1005: 1005"


@pytest.mark.parametrize(("code", "_type", "expected"), CODES)
def test_wait_after_a_closing_code(code: int, _type: str, expected: str) -> None:
    error = ConnectionClosedError(Close(code, ""), Close(code, ""), rcvd_then_sent=True)
    life = Lifecycle(Backoff(1.0, 60.0))
    life.connecting()
    life.connected(1)
    wait_s = life.lost(2, 0.5, pace(error))

    assert pace(error) == expected
    assert {"quick": 0.5, "usual": 0.75, "slow": 6.0}[expected] == wait_s


async def test_refusal_of_a_subscription_is_bounded_and_printable(
    start_feed: Any, venue: Any, outlet: Any, until: Any
) -> None:
    venue.refusal = {"code": 2, "msg": "no\x00\n" + "x" * 100_000}
    start_feed(settings(), venue.websocket_url)
    await until(lambda: outlet.frames("DISCONNECT"))
    words = outlet.payloads("DISCONNECT")[0]

    assert words.startswith(b"subscription_refused: 2 no  xxx")
    assert len(words) == 200


async def test_subscription_answered_twice_or_with_nonsense_is_survived(
    start_feed: Any, venue: Any, outlet: Any, asked: list[str], until: Any
) -> None:
    texts = [
        json.dumps(each) for each in ({"id": 1}, {"id": 1}, {"id": "x"}, {"id": 10**30}, [], 7, None, {"error": 5})
    ]

    async def talk(connection: ServerConnection, _request: dict[str, Any]) -> None:
        for each in (*texts, "[" * 100_000, "{" * 100_000):
            await connection.send(each)
        await connection.send(TRADE % 1)

    venue.on_request = talk
    start_feed(settings(), venue.websocket_url)
    await until(lambda: TRADE % 1 in outlet.payloads("MESSAGE"))

    assert asked == ["btcusdt@trade"]
    assert outlet.frames("DISCONNECT") == []

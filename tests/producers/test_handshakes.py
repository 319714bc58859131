"""Opening handshakes that go wrong: silence, dripping, refusals, redirects, bans."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from prometheus_client import REGISTRY

from producers.http import Fetcher
from producers.limiter import Address
from tickerplant.clock import now_us
from tickerplant.settings import Producer

DRIP_S = 0.01
HEAD = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"


@pytest.fixture
def quick() -> Producer:
    return Producer(linger_ms=1.0, backoff_first_s=0.02, backoff_most_s=0.05, open_timeout_s=0.3)


def errors(error_type: str) -> float:
    return REGISTRY.get_sample_value("connector_errors_total", {"venue": "BINANCE", "error_type": error_type}) or 0.0


async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def dripping(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    for byte in HEAD + b"X: " + b"y" * 4000:
        writer.write(bytes([byte]))
        await asyncio.sleep(DRIP_S)


@pytest.mark.parametrize("handler", [silent, dripping])
async def test_handshake_that_does_not_end_is_given_up_in_time(
    *, start_feed: Any, serve_tcp: Any, quick: Producer, outlet: Any, until: Any, handler: Callable[..., Any]
) -> None:
    before, start = errors("timeout"), time.monotonic()
    start_feed(quick, await serve_tcp(handler))
    await until(lambda: errors("timeout") >= before + 2)

    assert time.monotonic() - start < 5.0
    assert outlet.frames() == []


def answering(text: bytes) -> Callable[..., Any]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(text)
        await writer.drain()
        writer.write_eof()
        await reader.read()

    return answer


def status(line: str, *headers: str, body: str = "") -> bytes:
    head = "".join(f"{each}\r\n" for each in (f"HTTP/1.1 {line}", f"Content-Length: {len(body)}", *headers))
    return f"{head}\r\n{body}".encode()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (status("403 Forbidden", body="WAF"), "handshake_403"),
        (status("404 Not Found"), "handshake_4xx"),
        (status("500 Internal Server Error", body="x" * 5000), "handshake_5xx"),
        (status("503 Service Unavailable"), "handshake_5xx"),
        (status("301 Moved", "Location: ws://127.0.0.1:1/stream"), "handshake_3xx"),
        (status("200 OK", body="<html>"), "handshake_2xx"),
        (HEAD + b"X: " + b"y" * 100_000 + b"\r\n\r\n", "handshake"),
        (HEAD + b"".join(b"X-%d: y\r\n" % n for n in range(1000)) + b"\r\n", "handshake"),
        (HEAD + b"Connection: Upgrade\r\nSec-WebSocket-Accept: wrong\r\n\r\n", "handshake"),
        (b"\x00\xff\x00\xff" * 100, "handshake"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "handshake"),
        (b"", "handshake"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)  # fmt: skip
async def test_refused_handshake_is_counted_by_what_it_was(
    *, start_feed: Any, serve_tcp: Any, quick: Producer, outlet: Any, until: Any, text: bytes, expected: str
) -> None:
    before = errors(expected)
    feed = start_feed(quick, await serve_tcp(answering(text)))
    await until(lambda: errors(expected) > before)

    assert outlet.frames() == []
    assert feed.life.backoff.failures >= 1


@pytest.mark.parametrize("number", [301, 302, 303, 307, 308])
async def test_redirect_is_not_followed(
    *, start_feed: Any, serve_tcp: Any, quick: Producer, venue: Any, until: Any, number: int
) -> None:
    before = errors("handshake_3xx")
    answer = status(f"{number} Elsewhere", f"Location: {venue.websocket_url}/stream")
    start_feed(quick, await serve_tcp(answering(answer)))
    await until(lambda: errors("handshake_3xx") > before)

    assert venue.connections == []


async def test_compression_that_was_not_asked_for_is_refused(
    start_feed: Any, serve_tcp: Any, shake_hands: Any, quick: Producer, until: Any
) -> None:
    async def deflating(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await shake_hands(reader, writer, "Sec-WebSocket-Extensions: permessage-deflate\r\n")
        await reader.read()

    before = errors("handshake")
    start_feed(quick, await serve_tcp(deflating))
    await until(lambda: errors("handshake") > before)


@pytest.mark.parametrize(
    ("number", "header", "least_s"),
    [(429, "Retry-After: 2", 2.0), (418, "Retry-After: 3", 3.0), (429, "X: y", 60.0), (418, "X: y", 120.0),
     (429, "Retry-After: -5", 60.0), (429, "Retry-After: 0", 1.0), (503, "Retry-After: 4", 4.0),
     (503, "Retry-After: 99999999", 600.0), (418, "Retry-After: 99999999", 259200.0),
     (429, "Retry-After: \xb2", 60.0)],
)  # fmt: skip
async def test_retry_after_is_honoured(
    *, start_feed: Any, serve_tcp: Any, quick: Producer, until: Any, number: int, header: str, least_s: float
) -> None:
    tries: list[float] = []
    answer = answering(status(f"{number} Wait", header))

    async def counting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tries.append(time.monotonic())
        await answer(reader, writer)

    address = Address(6000, 300)
    start_feed(quick, await serve_tcp(counting), address=address)
    await until(lambda: address.connects.take(1, now_us()) > 0)

    assert least_s - 0.5 <= address.connects.take(1, now_us()) <= least_s
    await asyncio.sleep(0.3)
    assert len(tries) == 1


async def test_connection_is_opened_once_the_wait_is_over(
    start_feed: Any, venue: Any, outlet: Any, quick: Producer, until: Any
) -> None:
    venue.refusals = [(429, "1")]
    start = time.monotonic()
    start_feed(quick, venue.websocket_url)
    await until(lambda: outlet.frames("CONNECT"))

    assert 0.9 <= time.monotonic() - start < 5.0


async def test_ban_in_a_handshake_holds_back_requests_too(
    start_feed: Any, venue: Any, quick: Producer, client: httpx.AsyncClient, until: Any
) -> None:
    address = Address(6000, 300)
    fetcher = Fetcher(client, "BINANCE", address, now_us=now_us)
    venue.refusals = [(418, "77")]
    start_feed(quick, venue.websocket_url, address=fetcher.address)
    await until(lambda: address.requests.take(1, now_us()) > 0)

    assert 76 <= address.requests.take(1, now_us()) <= 77

"""REST answers that are too large, packed to bursting, torn, dripping or not what was asked for."""

import asyncio
import gzip
import time
import zlib
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from producers import http
from producers.http import Body, BodyError, Fetcher, RefusedError, RetryError
from producers.limiter import RETRY_AFTER_MOST_S, RETRY_AFTER_S, Address
from producers.wire import BANS, Request
from tickerplant.clock import now_us

LIMIT = 100_000


def errors(error_type: str) -> float:
    return REGISTRY.get_sample_value("connector_errors_total", {"venue": "BINANCE", "error_type": error_type}) or 0.0


@pytest.fixture
def fetcher(client: httpx.AsyncClient) -> Fetcher:
    return Fetcher(client, "BINANCE", Address(6000, 300), now_us=now_us, timeout_s=1.0)


@pytest.fixture
def get(serve_tcp: Any, fetcher: Fetcher) -> Callable[..., Any]:
    """Fetch from a server that answers these bytes, and then keeps the connection open."""

    async def fetch(*chunks: bytes, every_s: float = 0.0) -> bytes:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            for each in chunks:
                writer.write(each)
                await writer.drain()
                await asyncio.sleep(every_s)
            await reader.read()

        url = str(await serve_tcp(answer)).replace("ws://", "http://")
        return await fetcher.fetch(Request(url=f"{url}/x", weight=1))

    return fetch


def answer(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "".join(f"{each}\r\n" for each in lines).encode() + b"\r\n" + body


def bomb(megabytes: int, wbits: int = 31) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, wbits)
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(megabytes)) + packer.flush()


async def test_packed_body_is_unpacked(get: Any) -> None:
    body = b'{"symbols":[]}' * 10_000

    assert await get(answer(gzip.compress(body), "Content-Encoding: gzip")) == body
    assert await get(answer(gzip.compress(body) + gzip.compress(b"more"), "Content-Encoding: gzip")) == body + b"more"
    assert await get(answer(body, "Content-Encoding: identity")) == body


async def test_bomb_is_not_unpacked(get: Any) -> None:
    before, start = errors("http_body"), time.monotonic()
    with pytest.raises(RetryError, match="larger than 31457280 bytes"):
        await get(answer(bomb(200), "Content-Encoding: gzip"))

    assert errors("http_body") == before + 1
    assert time.monotonic() - start < 5.0


@pytest.mark.parametrize(
    ("body", "encoding", "reason"),
    [
        (bomb(1, 15), "deflate", "deflate was not asked for"),
        (b"\x00", "br", "br was not asked for"),
        (gzip.compress(gzip.compress(b"x", mtime=0), mtime=0), "gzip, gzip", "was not asked for"),
        (gzip.compress(b"x" * 1000, mtime=0)[:-5], "gzip", "has no end"),
        (b"{}", "gzip", "not gzip"),
        (gzip.compress(b"{}", mtime=0) + b"{}", "gzip", "not gzip"),
        (b"", "gzip", "has no end"),
    ],
)
async def test_body_that_is_packed_in_another_way_may_come_right_later(
    get: Any, body: bytes, encoding: str, reason: str
) -> None:
    with pytest.raises(RetryError, match=reason):
        await get(answer(body, f"Content-Encoding: {encoding}"))


async def test_body_without_end_is_cut_off(get: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "MOST_BODY_BYTES", LIMIT)
    chunk = b"1000\r\n" + b"x" * 4096 + b"\r\n"
    with pytest.raises(RetryError, match=f"larger than {LIMIT} bytes"):
        await get(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", *[chunk] * 1000)


async def test_body_that_drips_is_given_up_in_time(get: Any) -> None:
    before, start = errors("http_transport"), time.monotonic()
    with pytest.raises(RetryError, match="TimeoutError"):
        await get(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n", *[b"x"] * 1000, every_s=0.02)

    assert 0.9 <= time.monotonic() - start < 4.0
    assert errors("http_transport") == before + 1


async def test_silent_server_is_given_up_in_time(get: Any) -> None:
    with pytest.raises(RetryError, match=r"Timeout"):
        await get()


@pytest.mark.parametrize(
    "text",
    [b"\x00\xff" * 50, b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"y" * 500_000],
)
async def test_what_is_no_http_may_come_right_later(get: Any, text: bytes) -> None:
    with pytest.raises(RetryError):
        await get(text)


async def test_torn_body_may_come_right_later(get: Any, serve_tcp: Any, fetcher: Fetcher) -> None:
    async def tear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer(b"{}")[:-1])
        await writer.drain()

    url = str(await serve_tcp(tear)).replace("ws://", "http://")
    with pytest.raises(RetryError, match="RemoteProtocolError"):
        await fetcher.fetch(Request(url=url, weight=1))


@pytest.mark.parametrize("encoding", ["identity", "gzip", "br"])
async def test_text_of_a_refusal_is_bounded(get: Any, encoding: str) -> None:
    body = b"no\x00\n" + b"x" * 1_000_000
    packed = gzip.compress(body) if encoding == "gzip" else body
    with pytest.raises(RefusedError) as caught:
        await get(answer(packed, f"Content-Encoding: {encoding}", status="400 Bad Request"))

    assert len(caught.value.reason) < 300
    assert "\n" not in caught.value.reason


async def test_redirect_is_not_followed(get: Any, venue: Any) -> None:
    with pytest.raises(RefusedError, match="status 302"):
        await get(answer(b"", f"Location: {venue.rest_url}/x", status="302 Found"))

    assert venue.rest_requests == []


@pytest.mark.parametrize(
    ("status", "headers", "expected_s"),
    [("429 Wait", [], RETRY_AFTER_S), ("418 Teapot", [], BANS[418]), ("429 Wait", ["Retry-After: 7"], 7.0),
     ("418 Teapot", ["Retry-After: 9999999999999999999999"], RETRY_AFTER_MOST_S),
     ("429 Wait", ["Retry-After: \xb2"], RETRY_AFTER_S)],
)  # fmt: skip
async def test_wait_that_a_refusal_asks_for_is_kept(
    get: Any, fetcher: Fetcher, status: str, headers: list[str], expected_s: float
) -> None:
    with pytest.raises(RetryError, match=f"status {status[:3]}"):
        await get(answer(b"slow down", *headers, status=status))

    assert fetcher.address.requests.take(1, now_us()) == pytest.approx(expected_s, abs=2.0)
    is_banned = fetcher.address.connects.take(1, now_us()) > 0
    assert is_banned == status.startswith("418")


@given(body=st.binary(max_size=500), cut=st.integers(1, 20), is_packed=st.booleans())
def test_body_in_pieces_of_any_size_is_the_body(body: bytes, cut: int, *, is_packed: bool) -> None:
    sent = gzip.compress(body) if is_packed else body
    taken = Body("gzip" if is_packed else "", most_bytes=500)
    for at in range(0, len(sent), cut):
        taken.add(sent[at : at + cut])

    assert taken.whole() == body


@given(size=st.integers(0, 300), most=st.integers(1, 300))
def test_no_body_grows_beyond_the_bound(size: int, most: int) -> None:
    taken = Body("gzip", most_bytes=most)
    if size <= most:
        taken.add(gzip.compress(bytes(size)))
        assert taken.whole() == bytes(size)
    else:
        with pytest.raises(BodyError):
            taken.add(gzip.compress(bytes(size)))

"""REST against a real HTTP server: bodies untouched, refusals told apart, Retry-After honoured."""

import asyncio
import time
from typing import Any

import httpx
import pytest
from aiohttp import web
from pydantic import SecretStr

from producers.http import Fetcher, RefusedError, RetryError
from producers.limiter import Address
from producers.wire import Request
from tickerplant.clock import now_us

BODY = b'{"lastUpdateId":  1,"bids":[],"asks":[]}\n'


@pytest.fixture
def fetcher(client: httpx.AsyncClient) -> Fetcher:
    return Fetcher(client, "BINANCE", Address(6000, 300), now_us=now_us)


def request(venue: Any, weight: int = 50) -> Request:
    return Request(url=f"{venue.rest_url}/api/v3/depth?symbol=BTCUSDT", weight=weight)


async def test_body_comes_as_it_was_sent(fetcher: Fetcher, venue: Any) -> None:
    venue.rest["/api/v3/depth"] = [web.Response(body=BODY)]

    assert await fetcher.fetch(request(venue)) == BODY
    assert venue.rest_requests == ["/api/v3/depth?symbol=BTCUSDT"]


@pytest.mark.parametrize("status", [429, 418])
async def test_rate_limit_holds_all_requests_back_for_as_long_as_it_says(
    fetcher: Fetcher, venue: Any, status: int
) -> None:
    venue.rest["/api/v3/depth"] = [web.Response(status=status, headers={"Retry-After": "1"}), web.Response(body=BODY)]
    with pytest.raises(RetryError, match=f"status {status}"):
        await fetcher.fetch(request(venue))
    start = time.monotonic()

    assert await fetcher.fetch(request(venue)) == BODY
    assert 0.9 <= time.monotonic() - start < 5
    assert len(venue.rest_requests) == 2


@pytest.mark.parametrize(("status", "kind"), [(400, RefusedError), (404, RefusedError), (451, RefusedError),
                                              (500, RetryError), (503, RetryError)])  # fmt: skip
async def test_refusals_are_told_from_what_may_work_later(
    fetcher: Fetcher, venue: Any, status: int, kind: type[Exception]
) -> None:
    venue.rest["/api/v3/depth"] = [web.Response(status=status, text="Invalid symbol.")]
    with pytest.raises(kind, match=rf"status {status} Invalid symbol\."):
        await fetcher.fetch(request(venue))


async def test_server_that_is_not_there_may_be_tried_later(fetcher: Fetcher) -> None:
    with pytest.raises(RetryError, match="ConnectError"):
        await fetcher.fetch(Request(url="http://127.0.0.1:1/x", weight=1))


async def test_requests_above_the_budget_wait(client: httpx.AsyncClient, venue: Any) -> None:
    venue.rest["/api/v3/depth"] = [web.Response(body=BODY)]
    fetcher = Fetcher(client, "BINANCE", Address(6000, 300), now_us=now_us)  # 1200 at once, then 60 a second
    start = time.monotonic()
    for _ in range(26):
        await fetcher.fetch(request(venue, weight=50))

    assert 1.5 <= time.monotonic() - start < 6


async def test_a_key_goes_with_requests_that_want_one_and_nowhere_else(
    client: httpx.AsyncClient, serve_tcp: Any
) -> None:
    heads: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n[]")
        await writer.drain()

    url = (await serve_tcp(answer)).replace("ws://", "http://")
    keyed = Fetcher(client, "BINANCE", Address(6000, 300), now_us=now_us, key=SecretStr("our-key"))
    keyless = Fetcher(client, "BINANCE", Address(6000, 300), now_us=now_us)
    wanted = Request(url=f"{url}/a", weight=1, key_header="X-KEY")
    await keyed.fetch(wanted)
    await keyed.fetch(Request(url=f"{url}/b", weight=1, headers=(("X-Size-Decimal", "1"),)))
    await keyless.fetch(wanted)

    assert [b"X-KEY: our-key" in head for head in heads] == [True, False, False]
    assert [b"X-Size-Decimal: 1" in head for head in heads] == [False, True, False]
    assert (keyed.is_keyed, keyless.is_keyed) == (True, False)
    assert "key" not in wanted.name

"""REST of one market through its rate limit: bodies as they came.

HttpError
├── RefusedError  the venue will not answer this request, however often it is asked
└── RetryError    it may answer later: time-out, no connection, server error, rate limit
"""

import asyncio
import zlib
from contextlib import AbstractAsyncContextManager, suppress
from typing import Final

import httpx
from pydantic import SecretStr
from structlog.stdlib import BoundLogger

from producers.failures import printable
from producers.limiter import Address
from producers.wire import Request
from tickerplant import metrics
from tickerplant.clock import NowUs
from tickerplant.logs import logger

TIMEOUT_S: Final = 30.0
MOST_BODY_BYTES: Final = 30 * 1024 * 1024  # the topic takes 32 MiB
MOST_REFUSAL_BYTES: Final = 16 * 1024
OK: Final = 200
SERVER_ERRORS: Final = 500
GZIP: Final = "gzip"
HEADERS: Final = {"Accept-Encoding": GZIP}
JSON_BODY: Final = {"Content-Type": "application/json"}
GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS  # tells zlib to expect the header of gzip


class HttpError(Exception):
    """A request that was not answered as it should be."""

    def __init__(self, url: str, reason: str) -> None:
        self.url = url
        self.reason = reason
        super().__init__(url, reason)

    def __str__(self) -> str:
        return f"{self.url}: {self.reason}"


class RefusedError(HttpError):
    """The venue will not answer this request, however often it is asked."""


class RetryError(HttpError):
    """The venue may answer later."""


class BodyError(Exception):
    """A body that is too large, or not encoded as it should be."""


class Body:
    """Takes a body in, decoded as it comes and never beyond a bound; pure.

    Args:
        encoding: its Content-Encoding; "" = none.
    """

    def __init__(self, encoding: str, most_bytes: int) -> None:
        if encoding not in {"", "identity", GZIP}:
            raise BodyError(f"Content-Encoding {printable(encoding)} was not asked for")
        self._most_bytes = most_bytes
        self._is_gzip = encoding == GZIP
        self._decoder = zlib.decompressobj(GZIP_WINDOW)
        self._body = bytearray()

    def add(self, chunk: bytes) -> None:
        """Take in some bytes as they came; raises BodyError."""
        if not self._is_gzip:
            self._keep(chunk)
            return
        while chunk:
            if self._decoder.eof:
                self._decoder = zlib.decompressobj(GZIP_WINDOW)  # a further member
            try:
                self._keep(self._decoder.decompress(chunk, self._most_bytes + 1 - len(self._body)))
            except zlib.error as error:
                raise BodyError(f"it is not gzip: {error}") from error
            chunk = self._decoder.unconsumed_tail or self._decoder.unused_data

    def whole(self) -> bytes:
        """Return what was taken in; raises BodyError where the end is missing."""
        if self._is_gzip and not self._decoder.eof:
            raise BodyError("its gzip has no end")
        return bytes(self._body)

    def start(self) -> bytes:
        """Return what was taken in so far."""
        return bytes(self._body)

    def _keep(self, data: bytes) -> None:
        if len(self._body) + len(data) > self._most_bytes:
            raise BodyError(f"its body is larger than {self._most_bytes} bytes")
        self._body += data


class Fetcher:
    """Fetches bodies of one market of a venue; shared by all who ask it, since the limit is on the address.

    Args:
        address: what the venue allows us, shared with those who connect.
        timeout_s: for a whole answer, however slowly it drips.
        key: of the venue, for requests that want one; None = there is none.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        venue: str,
        address: Address,
        *,
        now_us: NowUs,
        timeout_s: float = TIMEOUT_S,
        key: SecretStr | None = None,
    ) -> None:
        self.address = address
        self._key = key
        self._client = client
        self._venue = venue
        self._timeout_s = timeout_s
        self._now_us = now_us
        self._log: BoundLogger = logger().bind(venue=venue)

    @property
    def is_keyed(self) -> bool:
        """Whether there is a key of the venue."""
        return self._key is not None

    async def fetch(self, request: Request) -> bytes:
        """Wait for the rate limit, and get a body, untouched but for its Content-Encoding.

        Raises:
            RefusedError: status 3xx (no redirect is followed) or 4xx.
            RetryError: no answer in time, one too large, status 5xx, or 429 and 418: then all requests wait for as
                long as Retry-After says, and after a ban all connects too.
        """
        await self._permission(request.weight)
        try:
            async with asyncio.timeout(self._timeout_s), self._asked(request) as response:
                if response.status_code == OK:
                    return await _body(response)
                raise await self._refusal(request, response)
        except BodyError as error:
            raise self._error(RetryError, request, "http_body", str(error)) from error
        except (httpx.HTTPError, OSError) as error:
            raise self._error(RetryError, request, "http_transport", type(error).__name__) from error

    def _asked(self, request: Request) -> AbstractAsyncContextManager[httpx.Response]:
        headers = HEADERS | (JSON_BODY if request.body else {}) | dict(request.headers)
        if request.key_header and self._key is not None:
            headers[request.key_header] = self._key.get_secret_value()
        return self._client.stream(
            request.method, request.url, content=request.body or None, headers=headers, timeout=self._timeout_s
        )

    async def _permission(self, weight: float) -> None:
        while True:
            wait_s = self.address.requests.take(weight, self._now_us())
            if not wait_s:
                return
            await asyncio.sleep(wait_s)

    async def _refusal(self, request: Request, response: httpx.Response) -> HttpError:
        status = response.status_code
        if self.address.is_refusal(status):
            header = response.headers.get("Retry-After")
            wait_s = self.address.refused(self.address.requests, status, header, self._now_us())
            self._log.warning("rate_limited", url=request.url, status=status, wait_s=round(wait_s, 1))
            return self._error(RetryError, request, "http_rate_limit", f"status {status}")
        kind = RetryError if status >= SERVER_ERRORS else RefusedError
        return self._error(kind, request, "http_status", f"status {status} {await _start(response)}")

    def _error(self, kind: type[HttpError], request: Request, error_type: str, reason: str) -> HttpError:
        metrics.CONNECTOR_ERRORS.labels(self._venue, error_type).inc()
        return kind(request.url, reason)


async def _body(response: httpx.Response) -> bytes:
    body = Body(response.headers.get("Content-Encoding", ""), MOST_BODY_BYTES)
    async for chunk in response.aiter_raw():
        body.add(chunk)
    return body.whole()


async def _start(response: httpx.Response) -> str:
    """Read the start of a refusal's text, in which the venue says why."""
    try:
        body = Body(response.headers.get("Content-Encoding", ""), MOST_REFUSAL_BYTES)
    except BodyError:
        return ""
    with suppress(BodyError, httpx.HTTPError):
        async for chunk in response.aiter_raw():
            body.add(chunk)
    return printable(body.start().decode(errors="replace"))

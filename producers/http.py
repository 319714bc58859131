"""REST of one market through its rate limit: bodies as they came.

HttpError
├── RefusedError  the venue will not answer this request, however often it is asked
└── RetryError    it may answer later: time-out, no connection, server error, rate limit
"""

import asyncio
from typing import Final

import httpx
from structlog.stdlib import BoundLogger

from producers.limiter import TokenBucket, retry_after_s
from producers.wire import Request
from tickerplant import metrics
from tickerplant.clock import NowUs
from tickerplant.logs import logger

TIMEOUT_S: Final = 20.0
RATE_LIMITED: Final = frozenset({418, 429})
OK: Final = 200
SERVER_ERRORS: Final = 500


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


class Fetcher:
    """Fetches bodies of one market of a venue; shared by all who ask it, since the limit is on the address."""

    def __init__(self, client: httpx.AsyncClient, venue: str, *, weight_per_minute: float, now_us: NowUs) -> None:
        self._client = client
        self._venue = venue
        self._bucket = TokenBucket(weight_per_minute)
        self._now_us = now_us
        self._log: BoundLogger = logger().bind(venue=venue)

    async def fetch(self, request: Request) -> bytes:
        """Wait for the rate limit, and get a body, untouched.

        Raises:
            RefusedError: status 4xx.
            RetryError: no answer, status 5xx, or 429 and 418: then all requests wait for as long as Retry-After says.
        """
        await self._permission(request.weight)
        try:
            response = await self._client.get(request.url, timeout=TIMEOUT_S)
        except (httpx.HTTPError, OSError) as error:
            raise self._error(RetryError, request, "http_transport", type(error).__name__) from error
        if response.status_code == OK:
            return response.content
        raise self._refusal(request, response)

    async def _permission(self, weight: int) -> None:
        while True:
            wait_s = self._bucket.take(weight, self._now_us())
            if not wait_s:
                return
            await asyncio.sleep(wait_s)

    def _refusal(self, request: Request, response: httpx.Response) -> HttpError:
        status = response.status_code
        if status in RATE_LIMITED:
            wait_s = retry_after_s(response.headers.get("Retry-After"))
            self._bucket.pause(wait_s, self._now_us())
            self._log.warning("rate_limited", url=request.url, status=status, wait_s=wait_s)
            return self._error(RetryError, request, "http_rate_limit", f"status {status}")
        kind = RetryError if status >= SERVER_ERRORS else RefusedError
        return self._error(kind, request, "http_status", f"status {status} {response.text[:200]}")

    def _error(self, kind: type[HttpError], request: Request, error_type: str, reason: str) -> HttpError:
        metrics.CONNECTOR_ERRORS.labels(self._venue, error_type).inc()
        return kind(request.url, reason)

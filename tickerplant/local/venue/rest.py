"""REST: the routes of a dialect over a market, with what faults do to books, and counts."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from tickerplant.clock import NowUs
from tickerplant.local.venue.candles import CandleSeries
from tickerplant.local.venue.connection import refusal
from tickerplant.local.venue.counts import Counts
from tickerplant.local.venue.dialect import Ask, Book, Print, Refused, Route
from tickerplant.local.venue.feed import Feed
from tickerplant.local.venue.hub import spoilt
from tickerplant.local.venue.listings import Listing

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class WrongBook:
    """What is to be wrong with a book; `struck` = it was asked for, and made wrong."""

    how: str
    struck: bool = False


WRONG_BOOK: Final = web.RequestKey("wrong_book", WrongBook)
"""Where a request keeps the fault that its book meets."""


class SpoiltMarket:
    """A market whose books are wrong."""

    def __init__(self, feed: Feed, wrong: WrongBook) -> None:
        self._feed = feed
        self._wrong = wrong

    def listings(self, market: str) -> list[Listing]:
        """List the symbols of a market."""
        return self._feed.listings(market)

    def listing(self, market: str, symbol: str) -> Listing | None:
        """Find a symbol; None = not listed."""
        return self._feed.listing(market, symbol)

    def candles(self, market: str, symbol: str) -> CandleSeries | None:
        """Give the minutes of a symbol; None = no such symbol."""
        return self._feed.candles(market, symbol)

    def trades(self, market: str, symbol: str, from_id: int, most: int) -> list[Print] | None:
        """Give trades from an id on, or the newest; None = no such symbol."""
        return self._feed.trades(market, symbol, from_id, most)

    def recorded_numbers(self) -> Mapping[str, int]:
        """Tell by which numbers a recording calls its subscriptions."""
        return self._feed.recorded_numbers()

    def book(self, market: str, symbol: str, levels: int) -> Book | None:
        """Give a book that is wrong, where there is one: another symbol's where the venue lists any."""
        book = self._feed.book(market, symbol, levels)
        if book is None or (self._wrong.how == "other_symbol" and self._feed.neighbour(market, symbol) == symbol):
            return book
        self._wrong.struck = True
        return spoilt(self._feed, market, book, how=self._wrong.how)


def rest_handler(route: Route, market: str, *, feed: Feed, counts: Counts, now_us: NowUs) -> Handler:
    """Make the handler of a route."""

    async def handle(request: web.Request) -> web.StreamResponse:
        wrong = request.get(WRONG_BOOK)
        ask = Ask(
            market=feed if wrong is None else SpoiltMarket(feed, wrong),
            path=request.match_info,
            query=request.query,
            body=await request.read(),
            address=request.host,
            now_ms=now_us() // 1000,
            headers=request.headers,
        )
        try:
            answer = route.answer(ask)
        except Refused as refused:
            counts.refused += 1
            return refusal(refused)
        if answer.status >= web.HTTPBadRequest.status_code:
            counts.refused += 1
        counts.snapshots += route.counts_as == "snapshot" and answer.status == web.HTTPOk.status_code
        counts.instruments += route.counts_as == "instruments" and answer.status == web.HTTPOk.status_code
        recorded = feed.recorded_instruments(market) if route.counts_as == "instruments" else None
        body = answer.body if recorded is None else recorded
        return web.Response(
            body=body, status=answer.status, headers=dict(answer.headers), content_type="application/json"
        )

    return handle

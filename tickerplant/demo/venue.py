"""The demo's hand on the simulated venue: its status, start and stop, and all that it knows in the end."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import httpx
import msgspec

from processors.venues import VENUES as PROCESSORS
from producers.venues import VENUES as WIRES
from producers.wire import Request
from schemas.records import Instrument
from schemas.venues import SYMBOLOGIES
from tickerplant.demo.accounts import Truth
from tickerplant.demo.books import Side, venue_book
from tickerplant.local.venue.dialect import Writer
from tickerplant.local.venue.dialects import find_dialect
from tickerplant.local.venue.listings import listing_of
from tickerplant.settings import Settings

PLACE: Final = re.compile(r"\{[^{}]*\}")


@dataclass(frozen=True)
class SimulatedVenue:
    """Speaks to the control endpoints of a simulated venue on this machine, and to its REST addresses.

    Args:
        name: of the venue, in capitals.
    """

    settings: Settings
    name: str = "BINANCE"

    def is_up(self) -> bool:
        """Tell whether it answers."""
        try:
            self.status()
        except httpx.HTTPError:
            return False
        return True

    def status(self) -> dict[str, Any]:
        """Ask for state, subscriptions and counts."""
        return dict(self._get("/control/status"))

    def start(self) -> None:
        """Let the market begin."""
        httpx.post(self._url("/control/start"), timeout=10).raise_for_status()

    def stop(self) -> None:
        """Let the market end; what was made is still written."""
        httpx.post(self._url("/control/stop"), timeout=10).raise_for_status()

    def instruments(self, market: str) -> list[Instrument]:
        """List the symbols of a market, asked for as producers ask."""
        base = self._url(f"/{self.name.lower()}/{market}")
        asked = WIRES[self.name].list_requests(market, (), base)
        bodies = [body for request in asked for body in self._pages(request)]
        listings = [SYMBOLOGIES[self.name].read_list(market, body, 0) for body in bodies]
        found = {each.venue_symbol: each for listing in listings for each in listing.instruments}
        return list(found.values())

    def end_faults(self) -> None:
        """End all faults."""
        httpx.delete(self._url("/control/faults"), timeout=10).raise_for_status()

    def truth(self, markets: Iterable[str], *, is_recording: bool = False, has_books: bool = True) -> Truth:
        """Ask for all that the venue knows of a market that has ended.

        Args:
            is_recording: ids are those that were recorded, and books are the recorder's.
        """
        wanted = list(markets)
        listed = {(each.market, each.venue_symbol): each for market in wanted for each in self.instruments(market)}
        writers = {
            f"{market}/{name}": find_dialect(self.name).writer(listing_of(each))
            for (market, name), each in listed.items()
        }
        ids = _Ids({} if is_recording else writers)
        streams = self._get("/control/streams")
        return Truth(
            faults=self._get("/control/faults"),
            written={key: set(ids.written(key, found)) for key, found in self._get("/control/trades").items()},
            symbols={f"{market}/{name}": each.symbol for (market, name), each in listed.items()},
            books={} if is_recording or not has_books else dict(self._books(streams, listed)),
            streams={key: (each["kind"], each["symbol"]) for key, each in streams.items()},
            counted=frozenset(each for each in wanted if PROCESSORS[self.name].trades_are_counted(each)),
            trade_id=ids.of,
            is_snapshot=self._is_snapshot,
        )

    def _books(
        self, streams: dict[str, Any], listed: dict[tuple[str, str], Instrument]
    ) -> Iterator[tuple[str, tuple[Side, Side]]]:
        """Yield the book of each symbol that has a stream of it, those of few levels first."""
        books = self._get("/control/books")
        for key in sorted(books, key=lambda key: streams[key]["levels"] or 1 << 30):
            instrument = listed.get((streams[key]["market"], streams[key]["symbol"]))
            if instrument is not None and books[key] is not None:
                yield instrument.symbol, venue_book(instrument, books[key])

    def _is_snapshot(self, path: str) -> bool:
        """Tell whether a path is that of a depth answer, or of past trades."""
        dialect = find_dialect(self.name)
        for market in dialect.MARKETS:
            for route in dialect.routes(market):
                pattern = "[^/]+".join(map(re.escape, PLACE.split(f"/{self.name.lower()}/{market}{route.path}")))
                if route.counts_as in {"snapshot", "trades"} and re.fullmatch(pattern, path.partition("?")[0]):
                    return True
        return False

    def _pages(self, request: Request) -> Iterator[bytes]:
        asked: Request | None = request
        while asked is not None:
            answer = httpx.request(asked.method, asked.url, content=asked.body or None, timeout=10)
            body = answer.raise_for_status().content
            yield body
            asked = WIRES[self.name].next_page(asked, body)

    def _get(self, path: str) -> Any:
        return msgspec.json.decode(httpx.get(self._url(path), timeout=10).raise_for_status().content)

    def _url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.settings.local.simulator_port}{path}"


@dataclass(frozen=True)
class _Ids:
    """Writes ids of trades as the venue does; without writers, as they stand."""

    writers: dict[str, Writer]

    def of(self, key: str, number: int) -> str:
        writer = self.writers.get(key)
        return str(number) if writer is None else writer.trade_id(number)

    def written(self, key: str, found: list[Any]) -> Iterator[str]:
        for each in found:
            if isinstance(each, str):
                yield each
            else:
                yield from (self.of(key, number) for number in range(each[0], each[1] + 1))

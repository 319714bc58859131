"""The demo's hand on the simulated venue: its status, start and stop."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import httpx
import msgspec

from schemas.records import Instrument
from schemas.venues import SYMBOLOGIES
from tickerplant.demo.accounts import Truth
from tickerplant.demo.books import Side, venue_book
from tickerplant.local.venue.dialects.binance.rest import PREFIXES
from tickerplant.settings import Settings

NAME: Final = "BINANCE"
DEPTH_LEVELS: Final = 1000


@dataclass(frozen=True)
class SimulatedVenue:
    """Speaks to the control endpoints of a simulated venue on this machine."""

    settings: Settings

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

    def listed_symbols(self, market: str) -> int:
        """Count the symbols of a market."""
        return len(self.instruments(market))

    def instruments(self, market: str) -> list[Instrument]:
        """List the symbols of a market."""
        body = self._body(f"/binance/{market}{PREFIXES[market]}/exchangeInfo")
        return SYMBOLOGIES[NAME].instruments(market, body, 0)

    def end_faults(self) -> None:
        """End all faults."""
        httpx.delete(self._url("/control/faults"), timeout=10).raise_for_status()

    def truth(self, markets: Iterable[str], *, has_books: bool) -> Truth:
        """Ask for all that the venue knows of a market that has ended."""
        listed = [each for market in markets for each in self.instruments(market)]
        return Truth(
            faults=self._get("/control/faults"),
            written=self._get("/control/trades"),
            symbols={f"{each.market}/{each.venue_symbol}": each.symbol for each in listed},
            books={each.symbol: self._book(each) for each in listed} if has_books else {},
        )

    def _book(self, instrument: Instrument) -> tuple[Side, Side]:
        market = instrument.market
        query = f"symbol={instrument.venue_symbol}&limit={DEPTH_LEVELS}"
        return venue_book(instrument, self._body(f"/binance/{market}{PREFIXES[market]}/depth?{query}"))

    def _get(self, path: str) -> Any:
        return msgspec.json.decode(self._body(path))

    def _body(self, path: str) -> bytes:
        return httpx.get(self._url(path), timeout=10).raise_for_status().content

    def _url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.settings.local.simulator_port}{path}"

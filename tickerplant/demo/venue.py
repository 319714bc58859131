"""The demo's hand on the simulated venue: its status, start and stop."""

from dataclasses import dataclass
from typing import Any

import httpx

from tickerplant.settings import Settings


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
        path = {"spot": "/api/v3", "usdm": "/fapi/v1", "coinm": "/dapi/v1"}[market]
        return len(self._get(f"/binance/{market}{path}/exchangeInfo")["symbols"])

    def _get(self, path: str) -> Any:
        return httpx.get(self._url(path), timeout=10).raise_for_status().json()

    def _url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.settings.local.simulator_port}{path}"

"""What `control.wanted` says of one market, on top of the settings; pure.

A record with a channel wishes it for a symbol or, with the symbol `*`, for all that trade; or it takes it away. What is
said of a symbol goes before what is said of all, and either before the settings. A record without a channel stops a
symbol, or with no symbol the market, and starts it again; what is wished meanwhile counts once it is started.
"""

from typing import Final

ALL: Final = "*"


class Wishes:
    """The last word on each symbol and channel."""

    def __init__(self) -> None:
        self._said: dict[tuple[str, str], bool] = {}

    def note(self, venue_symbol: str, channel: str, *, is_wanted: bool | None) -> bool:
        """Take in a record; None = it was taken back. Returns whether that changes anything."""
        key = (venue_symbol, channel)
        if self._said.get(key) == is_wanted:
            return False
        if is_wanted is None:
            del self._said[key]
        else:
            self._said[key] = is_wanted
        return True

    def is_stopped(self, venue_symbol: str) -> bool:
        """Tell whether the market or this symbol is stopped ("" = the market alone)."""
        return not (self._said.get(("", ""), True) and self._said.get((venue_symbol, ""), True))

    def is_wanted(self, venue_symbol: str, channel: str, *, by_settings: bool) -> bool:
        """Tell whether a channel of a symbol is wanted, stopped or not."""
        of_all = self._said.get((ALL, channel), by_settings)
        return self._said.get((venue_symbol, channel), of_all)

    def added(self) -> list[tuple[str, str]]:
        """List what was wished: symbol (or `*`) and channel, in the order of first mention."""
        return [key for key, is_wanted in self._said.items() if is_wanted and key[1]]

"""A simulated venue on loopback: recordings or a synthetic market behind the venue's own protocol."""

from typing import TYPE_CHECKING, Any

from tickerplant.local.venue.options import RecordingOptions, SyntheticOptions, VenueOptions

if TYPE_CHECKING:
    from tickerplant.local.venue.server import Venue, run_venue

__all__ = ["RecordingOptions", "SyntheticOptions", "Venue", "VenueOptions", "run_venue"]


def __getattr__(name: str) -> Any:
    """Import the server when it is asked for: a demo, which reads what a recording holds, needs no web server."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from tickerplant.local.venue import server  # noqa: PLC0415  # see above

    return getattr(server, name)

"""A simulated venue on loopback: recordings or a synthetic market behind the venue's own protocol."""

from tickerplant.local.venue.options import RecordingOptions, SyntheticOptions, VenueOptions
from tickerplant.local.venue.server import Venue, run_venue

__all__ = ["RecordingOptions", "SyntheticOptions", "Venue", "VenueOptions", "run_venue"]

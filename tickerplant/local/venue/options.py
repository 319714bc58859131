"""What the simulated venue serves, and how."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tickerplant.clock import now_us
from tickerplant.errors import UserError
from tickerplant.local.venue.faults import AnyFault


@dataclass(frozen=True, kw_only=True)
class RecordingOptions:
    """A recording to play.

    Args:
        market: whose endpoints serve it, e.g. `spot`.
        pace: times its own speed; None = as fast as the slowest client reads.
    """

    path: Path
    market: str
    pace: float | None = 1.0


@dataclass(frozen=True, kw_only=True)
class SyntheticOptions:
    """A market to make.

    Args:
        symbols: over all markets, shared out as the dialect says: of Binance about half are spot, three in ten USD-M.
        markets: those that are made; () = all of the venue.
        seed: same seed, symbols and rate = same messages, apart from times and what follows from them (candle bounds).
        rate_frames: frames per second over all symbols and channels, subscribed or not.
        is_rate_heard: it is of those that somebody listens to, as far as twice as many make it up.
    """

    symbols: int = 20
    seed: int = 1
    rate_frames: float = 2000.0
    is_rate_heard: bool = False
    markets: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class VenueOptions:
    """Everything about a simulated venue.

    Args:
        venue: whose protocol is spoken: a name in `dialects`.
        port: to listen on; 0 = any free one.
        autostart: serve at once instead of waiting for `POST /control/start`.
        ping_s, pong_wait_s: a ping each so often; the connection is closed when the pong takes longer than that.
        now_us: the clock that times are taken from.
        faults: injected from the start of the market on.
        fault_seed: same seed, faults and market = the same frames are hit.
    """

    venue: str = "BINANCE"
    port: int = 0
    source: RecordingOptions | SyntheticOptions = SyntheticOptions()
    host: str = "127.0.0.1"
    autostart: bool = False
    ping_s: float = 20.0
    pong_wait_s: float = 60.0
    now_us: Callable[[], int] = now_us
    faults: tuple[AnyFault, ...] = ()
    fault_seed: int = 1


def parse_pace(text: str) -> float | None:
    """Read a pace: `max`, or how many times faster than recorded.

    Raises:
        UserError: neither.
    """
    if text == "max":
        return None
    try:
        pace = float(text)
    except ValueError:
        pace = 0.0
    if not 0 < pace < math.inf:
        raise UserError(f"pace {text} is neither `max` nor a number above 0")
    return pace

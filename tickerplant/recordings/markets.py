"""Of which venue and market a recorded connection, instrument list or answer is, as far as its URL tells."""

from functools import lru_cache
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from producers.venues import VENUES

Place = tuple[str, str]
"""Host and path."""
OF_PAGES: Final = "limit"  # in a query: how much is told, not of what


def other_market(venue: str, market: str, url: str) -> str:
    """Name another market, or venue, whose URL this is; "" = it is of the wanted one as well, or of none that is known.

    Markets that are had on the same connections are not told apart: their symbols differ.

    Args:
        venue: in capitals.

    >>> other_market("BYBIT", "linear", "wss://stream.bybit.com/v5/public/spot")
    'spot'
    >>> other_market("OKX", "swap", "https://www.okx.com/api/v5/public/instruments?instType=SPOT")
    ''
    >>> other_market("KRAKEN", "spot", "wss://stream.binance.com:9443/stream?streams=btcusdt@trade")
    'binance'
    """
    found = _markets_of(venue, url)
    if not found:
        return _other_venue(venue, url)
    if market in found:
        return ""
    return next((each for each in found if _sockets(venue, each) != _sockets(venue, market)), "")


@lru_cache(maxsize=4096)
def _other_venue(venue: str, url: str) -> str:
    """Name the venue whose host it is, where that is another one: one recorder may have recorded several."""
    try:
        host = _parts(url)[0][0]
    except ValueError:
        return ""
    if host in _hosts(venue):
        return ""
    return next((each.lower() for each in VENUES if host in _hosts(each)), "")


@lru_cache(maxsize=64)
def _hosts(venue: str) -> frozenset[str]:
    if venue not in VENUES:
        return frozenset()
    markets = VENUES[venue].MARKETS
    lists = (place for market in markets for place, _ in _lists(venue, market))
    sockets = (place for market in markets for place in _sockets(venue, market))
    return frozenset(host for host, _ in (*lists, *sockets))


@lru_cache(maxsize=4096)
def _markets_of(venue: str, url: str) -> tuple[str, ...]:
    """List the markets whose streams or instruments are had at a URL."""
    if venue not in VENUES:
        return ()
    try:
        place, asked = _parts(url)
    except ValueError:
        return ()
    return tuple(
        market
        for market in VENUES[venue].MARKETS
        if place in _sockets(venue, market)
        or any(own == place and wanted <= asked for own, wanted in _lists(venue, market))
    )


@lru_cache(maxsize=256)
def _sockets(venue: str, market: str) -> frozenset[Place]:
    """Tell where the streams of a market are."""
    wire = VENUES[venue]
    channels = filter(None, (wire.full_channel(market, each) for each in wire.CHANNELS[market]))
    return frozenset(_parts(wire.stream_url(market, each, None))[0] for each in channels)


@lru_cache(maxsize=256)
def _lists(venue: str, market: str) -> tuple[tuple[Place, frozenset[tuple[str, str]]], ...]:
    """Tell where the instruments of a market are listed, and what has to be asked for."""
    return tuple(_parts(each.url) for each in VENUES[venue].list_requests(market, (), None))


def _parts(url: str) -> tuple[Place, frozenset[tuple[str, str]]]:
    parts = urlsplit(url)
    asked = frozenset((name, value) for name, value in parse_qsl(parts.query) if name != OF_PAGES)
    return (parts.hostname or "", parts.path.rstrip("/")), asked

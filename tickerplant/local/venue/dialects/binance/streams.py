"""Stream names and where the venue serves them; pure.

Source: https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams
Source: https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams
"""

import re
from typing import Final

from tickerplant.local.venue.dialect import Kind, Stream

INTERVALS_MS: Final = {
    "1s": 1_000,
    "1m": 60_000,
    "3m": 180_000,
    "5m": 300_000,
    "15m": 900_000,
    "30m": 1_800_000,
    "1h": 3_600_000,
    "2h": 7_200_000,
    "4h": 14_400_000,
    "6h": 21_600_000,
    "8h": 28_800_000,
    "12h": 43_200_000,
    "1d": 86_400_000,
}
PUBLIC: Final = frozenset({"depth", "rpiDepth", "bookTicker", "trade"})
MARKET: Final = frozenset(
    {"aggTrade", "avgPrice", "markPrice", "kline", "ticker", "miniTicker", "forceOrder", "compositeIndex"}
)
SERVED: Final = {
    "spot": PUBLIC | MARKET,
    "coinm": PUBLIC | MARKET,
    "usdm/public": PUBLIC,
    "usdm/market": MARKET,
}
"""Endpoint → channels that it gives data of. USD-M splits them since 2026-04-23: a wrong path stays silent."""

DEPTH_DEFAULT_MS: Final = {"spot": 1000, "usdm": 250, "coinm": 250}
SLOW_MARK_MS: Final = 3000
KINDS: Final[dict[str, Kind]] = {
    "trade": "trade",
    "aggTrade": "aggregate",
    "bookTicker": "quote",
    "depth": "depth",
    "kline": "candle",
    "ticker": "ticker",
    "markPrice": "mark_price",
    "forceOrder": "liquidation",
}
STREAM = re.compile(
    r"[^!@/\s][^@/\s]*@(?:"
    r"trade|aggTrade|bookTicker|ticker|miniTicker|forceOrder|avgPrice|compositeIndex|markPrice(?:@1s)?"
    r"|(?:depth(?:5|10|20)?|rpiDepth)(?:@(?:0|100|250|500|1000)ms)?"
    rf"|kline_(?:{'|'.join(INTERVALS_MS)}))"
    r"|!(?:bookTicker|(?:ticker|miniTicker|forceOrder)@arr|markPrice@arr(?:@1s)?)"
)
CHANNEL = re.compile(r"[A-Za-z]+")
DEPTH = re.compile(r"depth(?:@(\d+)ms)?")


def is_stream(name: str) -> bool:
    """Tell whether a name has the form of a stream; whether its symbol is listed does not matter, as at the venue."""
    return STREAM.fullmatch(name) is not None


def channel_of(stream: str) -> str:
    """Tell the channel of a stream without its speed or interval.

    >>> channel_of("btcusdt@depth@100ms"), channel_of("btcusdt@kline_1m")
    ('depth', 'kline')
    """
    found = CHANNEL.match(stream[1:] if is_of_all_symbols(stream) else stream.partition("@")[2])
    return found[0] if found else ""


def is_of_all_symbols(stream: str) -> bool:
    """Tell whether a stream is of the whole market, as `!bookTicker`."""
    return stream.startswith("!")


def stream_of(market: str, name: str) -> Stream:
    """Tell what a stream is by its name."""
    symbol, _, rest = name.partition("@")
    channel = channel_of(name)
    kind, every_ms = KINDS.get(channel, "other"), 1000
    if is_of_all_symbols(name):
        return Stream(market=market, name=name, kind="other", symbol="", channel=channel)
    if channel == "depth":
        every_ms = depth_interval_ms(market, name) or 0
        kind = kind if every_ms or DEPTH.fullmatch(rest) else "other"  # partial books are not made
    elif channel == "kline":
        every_ms = INTERVALS_MS[rest.partition("_")[2]]
    elif channel == "markPrice":
        every_ms = 1000 if rest.endswith("@1s") else SLOW_MARK_MS
    return Stream(market=market, name=name, kind=kind, symbol=symbol.upper(), channel=channel, every_ms=every_ms)


def depth_interval_ms(market: str, stream: str) -> int | None:
    """Tell how often a diff-depth stream updates; None = it is no such stream."""
    found = DEPTH.fullmatch(stream.partition("@")[2])
    if found is None:
        return None
    return int(found[1]) if found[1] else DEPTH_DEFAULT_MS[market]

"""What a recording holds, read once before it is played."""

from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

import msgspec

from schemas.symbology import SymbolError
from schemas.venues.binance import assumed_instrument, read_list
from tickerplant.errors import UserError
from tickerplant.local.venue.dialects.binance.streams import channel_of, is_of_all_symbols
from tickerplant.local.venue.kept_book import Delta
from tickerplant.local.venue.options import RecordingOptions
from tickerplant.recordings import RecordedFrame, RecordingError, read_recording

STREAM_PREFIX = b'{"stream":"'
MARKETS = ("spot", "usdm", "coinm")


class _DeltaMessage(msgspec.Struct, gc=False):
    data: Delta


_DELTA = msgspec.json.Decoder(_DeltaMessage)


@dataclass
class Contents:
    """Streams, first deltas and snapshots by venue symbol, and the instrument list if the recorder kept one."""

    streams: set[str] = field(default_factory=set)
    first_deltas: dict[str, Delta] = field(default_factory=dict)
    snapshots: dict[str, bytes] = field(default_factory=dict)
    instruments: bytes | None = None
    frames: int = 0
    unrouted: int = 0
    damaged: int = 0

    @property
    def symbols(self) -> list[str]:
        """List the venue symbols that have streams."""
        return sorted({each.partition("@")[0].upper() for each in self.streams if not is_of_all_symbols(each)})

    def listed(self, market: str) -> set[str]:
        """Name the symbols that have streams or stand in the recorded instrument list."""
        named = read_list(market, self.instruments, 0).instruments if self.instruments else []
        return {*self.symbols, *(each.venue_symbol for each in named)}


def read_contents(options: RecordingOptions) -> Contents:
    """Read a recording through, at about a million frames per second.

    Raises:
        UserError: it cannot be read, is of no known format, or no recording of this market.
    """
    contents = Contents()
    if options.market not in MARKETS:
        raise UserError(f"market {options.market} is none of {', '.join(MARKETS)}")

    def count(_error: RecordingError) -> None:
        contents.damaged += 1

    for frame in read_recording(options.path, options.market, on_damage=count):
        _see(contents, options.market, frame)
    if not contents.streams:
        raise UserError(f"{options.path} holds no message of a combined Binance stream")
    if contents.symbols and not contents.instruments and not nameable(options.market, contents.symbols):
        raise UserError(
            f"{options.path} is no recording of Binance {options.market}: {contents.symbols[0]} is no name there"
        )
    return contents


def stream_name(payload: bytes) -> str:
    """Tell the stream of a combined message; empty = it is none."""
    if not payload.startswith(STREAM_PREFIX):
        return ""
    end = payload.find(b'"', len(STREAM_PREFIX))
    return payload[len(STREAM_PREFIX) : end].decode("utf-8", "replace") if end > 0 else ""


def symbol_of_request(url: str) -> str:
    """Tell the symbol that a REST request asked about; empty = none."""
    return parse_qs(urlsplit(url).query).get("symbol", [""])[0]


def decode_delta(payload: bytes) -> Delta | None:
    """Read a combined depthUpdate; None = it is damaged."""
    try:
        return _DELTA.decode(payload).data
    except msgspec.MsgspecError:
        return None


def _see(contents: Contents, market: str, frame: RecordedFrame) -> None:
    if frame.kind == "MESSAGE":
        _see_message(contents, frame.payload)
    elif frame.kind == "HTTP":
        symbol = symbol_of_request(frame.request)
        if symbol and b'"lastUpdateId"' in frame.payload[:40]:
            contents.snapshots.setdefault(symbol, frame.payload)
    elif (
        frame.kind == "INSTRUMENTS" and contents.instruments is None and read_list(market, frame.payload, 0).instruments
    ):
        contents.instruments = frame.payload


def _see_message(contents: Contents, payload: bytes) -> None:
    stream = stream_name(payload)
    if not stream:
        contents.unrouted += 1
        return
    contents.frames += 1
    if stream not in contents.streams:
        contents.streams.add(stream)
    symbol = stream.partition("@")[0].upper()
    if symbol not in contents.first_deltas and channel_of(stream) == "depth" and (delta := decode_delta(payload)):
        contents.first_deltas[symbol] = delta


def nameable(market: str, symbols: list[str]) -> list[str]:
    """Leave out symbols that are no names of a market, or whose quote currency is not known."""
    return [symbol for symbol in symbols if _is_nameable(market, symbol)]


def _is_nameable(market: str, symbol: str) -> bool:
    try:
        assumed_instrument(market, symbol, 0)
    except SymbolError:
        return False
    return True

"""What a demo shows, and the settings file that follows from it."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import SecretStr

from producers.venues import VENUES
from producers.wire import kind_of
from tickerplant.errors import UserError
from tickerplant.local.ports import with_local
from tickerplant.local.venue.contents import stream_name
from tickerplant.local.venue.dialects import find_dialect
from tickerplant.local.venue.faults import parse_fault
from tickerplant.local.venue.options import RecordingOptions, parse_pace
from tickerplant.local.venue.parsed_playback import Holdings, read_holdings, user_channels
from tickerplant.recordings import RecordedFrame, RecordingError, read_recording
from tickerplant.secrets import as_literal
from tickerplant.settings import Keys, Local, Settings, Venue

CAPTURED = frozenset(
    {
        "trade",
        "agg_trade",
        "quote",
        "depth",
        "ticker",
        "candle",
        "mark_price",
        "funding",
        "open_interest",
        "liquidation",
    }
)
"""Kinds of channel that a synthetic market is captured with, where the venue has them."""

START_WAIT_S = 120.0
DEFAULT_SECONDS = 30.0
PARQUET_ROLL_S = 3.0
LIVE_SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
PROBE_FRAMES = 400
BINANCE = "BINANCE"


@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    """What `tickerplant demo` was asked for.

    Args:
        venue: that is simulated.
        market: of the recording (None = told by its messages), or the only one of the synthetic market (None = all).
        seconds: how long input lasts; None = 30 s, but a recording to its end.
        pace: of a recording: `1` = its own, `n` times faster, `max` = as fast as it is read.
        symbols, rate, seed: of the synthetic market: symbols, frames per second, seed.
        faults, fault_seed: that the simulated venue injects, as given to its `--fault`.
    """

    venue: str = BINANCE
    recording: Path | None = None
    market: str | None = None
    pace: str = "max"
    live: bool = False
    symbols: int = 20
    rate: int = 2000
    seconds: float | None = None
    seed: int = 1
    faults: tuple[str, ...] = ()
    fault_seed: int = 1
    keep: bool = False
    as_json: bool = False


def demo_settings(settings: Settings, options: DemoOptions) -> Settings:
    """Derive the settings of a demo: a home of its own, free ports, the venue that is asked for.

    Raises:
        UserError: venue, pace, market or a fault is none; the recording cannot be read, or holds nothing to capture.
    """
    parse_pace(options.pace)
    for text in options.faults:
        parse_fault(text)
    if options.live and options.faults:
        raise UserError("faults are injected by the simulated venue; leave out --live or --fault")
    if options.live and (options.recording or options.market not in {None, "spot"}):
        raise UserError("--live captures BINANCE spot as it is now; leave out --live, or --recording and --market")
    _check_venue(options)
    ours = with_local(settings, settings.local.home / "demo")
    # smaller files than usual, so that the end of a demo need not wait for large ones
    sink = ours.sink.model_copy(update={"parquet_roll_s": PARQUET_ROLL_S})
    keys = ours.keys if options.live else Keys(binance=SecretStr("any"))  # the simulated venue takes any
    processor = ours.processor.model_copy(update={"follows_trades": options.recording is not None})
    producer = ours.producer
    if not options.live and not options.faults:  # the market begins when all have started, on a full machine late
        producer = producer.model_copy(update={"stale_after_s": max(producer.stale_after_s, START_WAIT_S)})
    changes = {"venues": _venues(ours.local, options), "producer": producer, "processor": processor}
    changes |= {"sink": sink, "keys": keys}
    return ours.model_copy(update=changes)


def write_settings(settings: Settings, path: Path) -> None:
    """Write settings as TOML that `load_settings` reads back; readable by the owner only, for it holds secrets."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; set local.home elsewhere") from None
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        tomli_w.dump(_plain(settings.model_dump()), file)


def recorded_streams(path: Path, market: str) -> dict[str, set[str]]:
    """Read which streams a recording has: channel (with its speed) → venue symbols."""
    streams: dict[str, set[str]] = {}
    for name in stream_counts(path, market):
        symbol, _, channel = name.partition("@")
        streams.setdefault(_with_speed(market, channel), set()).add(symbol.upper())
    return streams


def stream_counts(path: Path, market: str) -> Counter[str]:
    """Count the frames of each stream of a recording that can be captured, by the stream's name."""
    counts = Counter(stream_name(frame.payload) for frame in _frames(path, market) if frame.kind == "MESSAGE")
    return Counter({name: count for name, count in counts.items() if _can_be_captured(market, name)})


def guess_market(path: Path) -> str:
    """Tell the market of a Binance recording from what its first messages look like."""
    for number, frame in enumerate(_frames(path, "spot")):
        name = stream_name(frame.payload).upper()
        if b'"ps":' in frame.payload or "_PERP@" in name:
            return "coinm"
        if b'"pu":' in frame.payload or b'"e":"bookTicker"' in frame.payload or b'"X":' in frame.payload:
            return "usdm"
        if number > PROBE_FRAMES:
            break
    return "spot"


def _frames(path: Path, market: str) -> Iterator[RecordedFrame]:
    """Read what can be read, as the simulated venue does, which counts the rest."""
    return read_recording(path, market, on_damage=_pass_over)


def _pass_over(_error: RecordingError) -> None:
    pass


def _can_be_captured(market: str, stream: str) -> bool:
    """Tell whether a producer can subscribe to a stream by this very name."""
    symbol, _, channel = stream.partition("@")
    wire = VENUES[BINANCE]
    if not symbol or symbol.startswith("!"):
        return False
    full = wire.full_channel(market, _with_speed(market, channel))
    return full is not None and wire.stream_name(symbol, full) == stream


def _with_speed(market: str, channel: str) -> str:
    """Complete the channel of a stream that the venue sends at its own speed, which differs from our default."""
    if channel == "depth":
        return "depth@1000ms" if market == "spot" else "depth@250ms"
    return "markPrice@3s" if channel == "markPrice" else channel


def _check_venue(options: DemoOptions) -> None:
    """Check venue and market.

    Raises:
        UserError: the venue is not simulated, or cannot be captured, or has no such market.
    """
    dialect = find_dialect(options.venue)
    if dialect.NAME not in VENUES:
        raise UserError(f"venue {dialect.NAME} cannot be captured yet: choose of {', '.join(VENUES)}")
    if options.market not in {None, *dialect.MARKETS}:
        raise UserError(f"{dialect.NAME}: market {options.market} is none of {', '.join(dialect.MARKETS)}")
    if options.live and dialect.NAME != BINANCE:
        raise UserError(f"--live captures from {BINANCE}; leave out --venue")


def _venues(local: Local, options: DemoOptions) -> tuple[Venue, ...]:
    name = options.venue.upper()
    if options.live:
        return (Venue(venue=name, market="spot", symbols=LIVE_SYMBOLS),)
    if options.recording is not None:
        return (_recorded(local, name, options.recording, options.market),)
    made = [market for market, terms in find_dialect(name).MARKETS.items() if terms.share]
    if options.market and options.market not in made:
        raise UserError(f"no market {options.market} of {name} is made, only played: add --recording")
    markets = [options.market] if options.market else made
    return tuple(_simulated(local, name, market, ("*",), synthetic_channels(name, market)) for market in markets)


def synthetic_channels(name: str, market: str) -> tuple[str, ...]:
    """Name the channels that a synthetic market is captured with."""
    return tuple(each for each in VENUES[name].CHANNELS[market] if kind_of(each) in CAPTURED)


def _recorded(local: Local, name: str, path: Path, market: str | None) -> Venue:
    """Capture what a recording holds.

    Raises:
        UserError: that is nothing.
    """
    if name == BINANCE:
        market = market or guess_market(path)
        streams = recorded_streams(path, market)
        symbols, channels = sorted(set().union(*streams.values())), sorted(streams)
    else:
        market, held = _best_market(name, path, market)
        symbols = sorted(held.listings)
        channels = sorted(each for each in user_channels(held) if VENUES[name].full_channel(market, each) is not None)
    if not symbols or not channels:
        raise UserError(f"{path} holds no stream of {name} {market} that can be captured")
    return _simulated(local, name, market, tuple(symbols), tuple(channels))


def _best_market(name: str, path: Path, market: str | None) -> tuple[str, Holdings]:
    """Read a recording as of its market; None = of that of which most messages are."""
    markets = [market] if market else [*find_dialect(name).MARKETS]
    read = {each: read_holdings(name, RecordingOptions(path=path, market=each)) for each in markets}
    return max(read.items(), key=lambda pair: pair[1].frames if pair[1].listings else -1)


def _simulated(local: Local, name: str, market: str, symbols: tuple[str, ...], channels: tuple[str, ...]) -> Venue:
    address = f"127.0.0.1:{local.simulator_port}/{name.lower()}/{market}"
    return Venue(
        venue=name,
        market=market,
        symbols=symbols,
        channels=channels,
        websocket_url=f"ws://{address}",
        rest_url=f"http://{address}",
    )


def _plain(value: Any) -> Any:
    """Make TOML values: no None, secrets in the clear."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items() if each is not None}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, SecretStr):
        return as_literal(value.get_secret_value())
    return str(value) if isinstance(value, Path) else value

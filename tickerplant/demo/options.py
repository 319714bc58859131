"""What a demo shows, and the settings file that follows from it."""

import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import SecretStr

from tickerplant.local.ports import with_local
from tickerplant.recordings import read_recording
from tickerplant.settings import Local, Settings, Venue

MARKETS = ("spot", "usdm", "coinm")
SYNTHETIC_CHANNELS = ("trade", "aggTrade", "bookTicker", "depth", "kline_1m", "ticker")
DEFAULT_SECONDS = 30.0
PARQUET_ROLL_S = 3.0
LIVE_SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
PROBE_FRAMES = 400
STREAM = re.compile(rb'\{\s*"stream"\s*:\s*"([^"]+)"')


@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    """What `tickerplant demo` was asked for.

    Args:
        seconds: how long input lasts; None = 30 s, but a recording to its end.
        pace: of a recording: `1` = its own, `n` times faster, `max` = as fast as it is read.
        symbols, rate, seed: of the synthetic market: symbols, frames per second, seed.
    """

    recording: Path | None = None
    market: str | None = None
    pace: str = "max"
    live: bool = False
    symbols: int = 20
    rate: int = 2000
    seconds: float | None = None
    seed: int = 1
    keep: bool = False
    as_json: bool = False


def demo_settings(settings: Settings, options: DemoOptions) -> Settings:
    """Derive the settings of a demo: a home of its own, free ports, the venue that is asked for."""
    ours = with_local(settings, settings.local.home / "demo")
    # smaller files than usual, so that the end of a demo need not wait for large ones
    sink = ours.sink.model_copy(update={"parquet_roll_s": PARQUET_ROLL_S})
    return ours.model_copy(update={"venues": _venues(ours.local, options), "sink": sink})


def write_settings(settings: Settings, path: Path) -> None:
    """Write settings as TOML that `load_settings` reads back; readable by the owner only, for it holds secrets."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        tomli_w.dump(_plain(settings.model_dump()), file)


def recorded_streams(path: Path, market: str) -> dict[str, set[str]]:
    """Read which streams a recording has: channel (with its speed) → venue symbols."""
    streams: dict[str, set[str]] = {}
    for name in stream_counts(path, market):
        symbol, _, channel = name.partition("@")
        streams.setdefault(channel, set()).add(symbol.upper())
    return streams


def stream_counts(path: Path, market: str) -> Counter[str]:
    """Count the frames of each stream of a recording, by the stream's name."""
    counts: Counter[str] = Counter()
    for frame in read_recording(path, market):
        if frame.kind == "MESSAGE" and (name := _stream_name(frame.payload)):
            counts[name] += 1
    return counts


def guess_market(path: Path) -> str:
    """Tell the market of a Binance recording from what its first messages look like."""
    for number, frame in enumerate(read_recording(path, "spot")):
        name = _stream_name(frame.payload).upper()
        if b'"ps":' in frame.payload or "_PERP@" in name:
            return "coinm"
        if b'"pu":' in frame.payload or b'"e":"bookTicker"' in frame.payload or b'"X":' in frame.payload:
            return "usdm"
        if number > PROBE_FRAMES:
            break
    return "spot"


def _stream_name(payload: bytes) -> str:
    """Read the stream of a combined message; empty = it is none."""
    found = STREAM.match(payload)
    return found[1].decode() if found else ""


def _venues(local: Local, options: DemoOptions) -> tuple[Venue, ...]:
    if options.live:
        return (Venue(venue="BINANCE", market="spot", symbols=LIVE_SYMBOLS),)
    if options.recording is None:
        return tuple(_simulated(local, market, ("*",), SYNTHETIC_CHANNELS) for market in MARKETS)
    market = options.market or guess_market(options.recording)
    streams = recorded_streams(options.recording, market)
    symbols = sorted(set().union(*streams.values()))
    return (_simulated(local, market, tuple(symbols), tuple(sorted(streams))),)


def _simulated(local: Local, market: str, symbols: tuple[str, ...], channels: tuple[str, ...]) -> Venue:
    address = f"127.0.0.1:{local.simulator_port}/binance/{market}"
    return Venue(
        venue="BINANCE",
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
        return value.get_secret_value()
    return str(value) if isinstance(value, Path) else value

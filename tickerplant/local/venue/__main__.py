"""`python -m tickerplant.local.venue`: the simulated venue as a process of its own."""

import sys
from pathlib import Path

import click
import uvloop

from tickerplant.errors import UserError
from tickerplant.local.venue.faults import parse_fault
from tickerplant.local.venue.options import RecordingOptions, SyntheticOptions, VenueOptions, parse_pace
from tickerplant.local.venue.server import run_venue
from tickerplant.logs import configure_logs, logger
from tickerplant.security import is_loopback

USER_ERROR_CODE = 2


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="To listen on; 0 = any free one (see the log).")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 in a container.")
@click.option("--venue", default="BINANCE", show_default=True, help="Whose protocol is spoken.")
@click.option("--recording", type=click.Path(path_type=Path), help="Play this file instead of making a market.")
@click.option("--market", help="Market of the recording (default: spot), or the only one of the synthetic market.")
@click.option("--pace", default="1", show_default=True, help="Of a recording: n times faster, or `max`.")
@click.option("--symbols", type=click.IntRange(1, 2000), default=20, show_default=True, help="Of the synthetic market.")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--rate", type=click.FloatRange(0, min_open=True), default=2000.0, show_default=True, help="Frames/s.")
@click.option("--heard", is_flag=True, help="Let --rate be of the frames that somebody listens to, not of all.")
@click.option("--ping-s", type=click.FloatRange(0, min_open=True), default=20.0, show_default=True)
@click.option("--pong-wait-s", type=click.FloatRange(0, min_open=True), default=60.0, show_default=True)
@click.option("--fault", "faults", multiple=True, help="NAME=VALUE[,PARAMETER=VALUE ...], see docs/simulated-venue.md.")
@click.option("--fault-seed", type=int, default=1, show_default=True)
@click.option("--autostart", is_flag=True, help="Begin at once instead of at POST /control/start.")
def main(
    *,
    port: int,
    host: str,
    venue: str,
    recording: Path | None,
    market: str | None,
    pace: str,
    symbols: int,
    seed: int,
    rate: float,
    heard: bool,
    ping_s: float,
    pong_wait_s: float,
    faults: tuple[str, ...],
    fault_seed: int,
    autostart: bool,
) -> None:
    """Serve a recording or a synthetic market as a venue does, until SIGTERM."""
    configure_logs("venue")
    if not is_loopback(host):
        logger().warning("settings", risk=f"--host is {host}: whoever reaches this machine can drive the venue")
    try:
        source = (
            RecordingOptions(path=recording, market=market or "spot", pace=parse_pace(pace))
            if recording
            else SyntheticOptions(
                symbols=symbols,
                seed=seed,
                rate_frames=rate,
                is_rate_heard=heard,
                markets=(market,) if market else (),
            )
        )
        options = VenueOptions(
            venue=venue,
            host=host,
            port=port,
            source=source,
            autostart=autostart,
            ping_s=ping_s,
            pong_wait_s=pong_wait_s,
            faults=tuple(map(parse_fault, faults)),
            fault_seed=fault_seed,
        )
        uvloop.run(run_venue(options))
    except UserError as error:
        click.echo(f"tickerplant: {error}", err=True)
        sys.exit(USER_ERROR_CODE)


if __name__ == "__main__":
    main()

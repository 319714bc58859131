"""`tickerplant demo`."""

import signal
import sys
from pathlib import Path
from typing import Any

import click

from tickerplant import completion as complete
from tickerplant.cli.common import NAME, config_option, json_option
from tickerplant.extras import need
from tickerplant.logs import configure_logs
from tickerplant.settings import load_settings


@click.command()
@config_option
@json_option
@click.option("--recording", type=click.Path(path_type=Path, dir_okay=False), help="Serve this recording instead.")
@click.option(
    "--venue", type=NAME, default="BINANCE", show_default=True, shell_complete=complete.venues, help="Simulated venue."
)
@click.option(
    "--market",
    type=NAME,
    shell_complete=complete.markets,
    help="Of the recording (default: told by its messages), or the only one of the synthetic market.",
)
@click.option(
    "--pace", type=NAME, default="max", show_default=True, help="Of a recording: 1 = its own, n = n times faster, max."
)
@click.option("--live", is_flag=True, help="Capture from the real venue instead (needs a connection to it).")
@click.option("--symbols", type=click.IntRange(1, 2000), default=20, show_default=True, help="Of the synthetic market.")
@click.option(
    "--rate", type=click.IntRange(1, 100_000), default=2000, show_default=True, help="Frames/s of the synthetic market."
)
@click.option(
    "--seconds",
    type=click.FloatRange(0, min_open=True),
    help="How long input lasts. Default: 30, a recording to its end.",
)
@click.option("--seed", default=1, show_default=True, help="Of the synthetic market.")
@click.option(
    "--fault",
    "faults",
    type=NAME,
    multiple=True,
    shell_complete=complete.faults,
    help="NAME=VALUE[,PARAMETER=VALUE ...], see docs/simulated-venue.md.",
)
@click.option("--fault-seed", default=1, show_default=True, help="Same seed = the same frames are hit.")
@click.option("--keep", is_flag=True, help="Leave the stack and all roles running.")
def demo(as_json: bool, config: Path | None, keep: bool, **options: Any) -> int:
    """Run the whole flow on this machine and reconcile every frame at its end."""
    need("local")
    from tickerplant.demo import DemoOptions, run_demo

    configure_logs("demo", "warning")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # by way of what stops servers and roles
    return run_demo(load_settings(config), DemoOptions(**options, keep=keep, as_json=as_json))

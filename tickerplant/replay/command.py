"""`tickerplant replay`: what its options ask for, checked before anything is done."""

from collections.abc import Mapping
from typing import Any, Final

from clickhouse_driver.errors import Error

from sinks.store import StoreBusyError
from tickerplant.errors import UserError
from tickerplant.replay.run import How, drop_replay, run_replay
from tickerplant.replay.wish import make_wish
from tickerplant.settings import Settings

WISH: Final = ("topic", "into", "symbols", "start", "end", "archive", "life", "allow_gaps")
HOW: Final = ("again", "resume", "check", "swap", "dry_run", "force")


def run(settings: Settings, asked: Mapping[str, Any], *, quiet: bool) -> tuple[dict[str, Any], int]:
    """Replay, or drop a replay, as asked; blocks.

    Args:
        asked: options by name, those of `WISH` and `HOW`, and `drop`.
        quiet: no progress bar.

    Returns:
        What was done, and the exit code: 1 = rows differ, and were not swapped.

    Raises:
        UserError: options do not fit together, or it cannot be done.
        DependencyError: a server does not answer.
    """
    refuse(asked)
    if asked["drop"] is not None:
        return drop_replay(settings, asked["drop"]), 0
    wish = make_wish(**{name: asked[name] for name in WISH})
    how = How(quiet=quiet, **{name: asked[name] for name in HOW})
    try:
        summary = run_replay(settings, wish, how)
    except (Error, StoreBusyError) as error:
        why = str(getattr(error, "message", "") or error).splitlines()[0][:300]
        raise UserError(f"a store refuses: {why}; --resume goes on") from error
    return summary, 1 if summary.get("differences") and not how.swap else 0


def refuse(asked: Mapping[str, Any]) -> None:
    """Refuse options that do not fit together.

    Raises:
        UserError: which ones, and what to do.
    """
    if asked["drop"] is not None:
        if any(value for name, value in asked.items() if name != "drop"):
            raise UserError("--drop SUFFIX stands alone: leave the other options out")
        return
    if asked["topic"] is None or asked["into"] is None:
        raise UserError("a replay needs --topic and --into, e.g. --topic raw.binance --into again")
    if asked["again"] and asked["resume"]:
        raise UserError("--again drops the earlier replay, --resume goes on with it: give one of them")
    if (asked["dry_run"] or asked["force"]) and not asked["swap"]:
        raise UserError("--dry-run and --force belong to --swap")

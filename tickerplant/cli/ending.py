"""How a command ends: its exit code, and one line on stderr where something is wrong."""

import errno
import sys
import traceback
from contextlib import suppress

import click

from tickerplant.errors import OutputError, TickerplantError, UserError
from tickerplant.extras import lacking
from tickerplant.masking import print_no_more


def run_command(cli: click.Group) -> int:
    """Run the command that the arguments name; returns the exit code."""
    try:
        code = cli(standalone_mode=False)
        if sys.stdout:
            sys.stdout.flush()
    except click.Abort:
        return 130
    except OutputError as error:
        return _tell_no_reader(error)
    except Exception as error:  # noqa: BLE001  # told here, where what is printed is masked
        return _tell(error)
    return code if isinstance(code, int) else 0


def _tell(error: Exception) -> int:
    """Print what went wrong: a line where it was foreseen, else a traceback; returns the exit code."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        text = error.message
    elif isinstance(error, click.ClickException):
        context = getattr(error, "ctx", None)
        hint = f"; see `{context.command_path} --help`" if context else ""
        text = f"tickerplant: {error.format_message().rstrip('.')}{hint}"
    elif isinstance(error, TickerplantError):
        text = f"tickerplant: {error}"
    elif isinstance(error, ModuleNotFoundError) and (lack := lacking(error)):
        text = f"tickerplant: {lack}"
    else:
        traceback.print_exception(error)
        return 1
    click.echo(text, err=True)
    is_ours = isinstance(error, TickerplantError) and not isinstance(error, UserError)
    return 1 if is_ours else 2  # 1: starting again may help


def _tell_no_reader(error: OutputError) -> int:
    """Say why stdout takes no more, but nothing of a pipe that was closed, as by `head`; returns the exit code."""
    print_no_more(sys.stdout)
    with suppress(OutputError):
        if error.errno != errno.EPIPE:
            click.echo(f"tickerplant: {error}", err=True)
    print_no_more(sys.stderr)
    return 1

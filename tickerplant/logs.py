"""Logs: one JSON object a line on stderr: a constant event and its values, secrets masked."""

import io
import logging
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, TextIO, cast

from tickerplant.lean import kept_out
from tickerplant.masking import mask

with kept_out("rich"):  # for logs in colours, which nobody sees: a tenth of the time in which a role is imported
    import structlog

SPARE_S: Final = 60.0
"""A library that has nothing but the same trouble to tell says one line in this time."""


class Lossy(io.TextIOBase):
    """A stream that loses lines rather than raise: a log on a full disk must not end what works without it.

    What was lost is counted, and told by the next line that can be written.
    """

    def __init__(self, inner: TextIO) -> None:
        self._inner = inner
        self._lost = 0

    def write(self, text: str) -> int:
        """Write a line with its end, or count it as lost."""
        try:
            if self._lost:
                self._inner.write(f'{{"event":"log lines lost","level":"error","count":{self._lost}}}\n')
                self._inner.flush()
                self._lost = 0
            self._inner.write(text)
            self._inner.flush()
        except OSError:
            self._lost += 1
        return len(text)

    def flush(self) -> None:
        """Do nothing: each write is flushed."""


class Sparing(logging.Filter):
    """Lets one line of each library through in a while, with the number of those kept back since.

    While a server is away, clients tell each failed try; that it is away is told once, by `tickerplant.health`. What
    brings a traceback or is critical always passes.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._now_s = now_s
        self._told_s: dict[str, float] = {}
        self._kept_back: Counter[str] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a line passes."""
        library, now_s = record.name.partition(".")[0], self._now_s()
        is_grave = record.exc_info is not None or record.levelno >= logging.CRITICAL
        if not is_grave and now_s - self._told_s.get(library, -SPARE_S) < SPARE_S:
            self._kept_back[library] += 1
            return False
        if not is_grave:
            self._told_s[library] = now_s
        kept_back = self._kept_back.pop(library, 0)
        if kept_back:
            record.msg = f"{record.getMessage()} ({kept_back} lines of {library} before were kept back)"
            record.args = ()
        return True


def configure_logs(role: str, level: str = "info") -> None:
    """Set up logging of this process; every line carries the role. Libraries' warnings go the same way."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
            _masked,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=cast("TextIO", Lossy(sys.stderr))),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(role=role)
    logging.basicConfig(
        level=logging.WARNING,
        stream=sys.stderr,
        format='{"level":"%(levelname)s","logger":"%(name)s"} %(message)s',
        force=True,
    )
    for handler in logging.getLogger().handlers:
        handler.setFormatter(_MaskedFormatter(handler.formatter))
        handler.addFilter(Sparing())


def logger() -> structlog.stdlib.BoundLogger:
    """Make a logger; bind what holds for all its lines."""
    bound: structlog.stdlib.BoundLogger = structlog.get_logger()
    return bound


class _MaskedFormatter(logging.Formatter):
    """What another formatter makes, tracebacks among it, masked."""

    def __init__(self, inner: logging.Formatter | None) -> None:
        super().__init__()
        self._inner = inner or logging.Formatter()

    def format(self, record: logging.LogRecord) -> str:
        return mask(self._inner.format(record))


def _masked(_logger: Any, _method: str, line: Any) -> str:
    """Mask a whole line: a processor of structlog, the last one."""
    return mask(str(line))

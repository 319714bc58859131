"""Logs: one JSON object a line on stderr: a constant event and its values, secrets masked."""

import logging
import sys
from typing import Any

import structlog

from tickerplant.masking import mask


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
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
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

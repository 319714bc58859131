"""Logs: one JSON object a line on stderr: a constant event and its values."""

import logging
import sys

import structlog


def configure_logs(role: str, level: str = "info") -> None:
    """Set up logging of this process; every line carries the role. Libraries' warnings go the same way."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
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


def logger() -> structlog.stdlib.BoundLogger:
    """Make a logger; bind what holds for all its lines."""
    bound: structlog.stdlib.BoundLogger = structlog.get_logger()
    return bound

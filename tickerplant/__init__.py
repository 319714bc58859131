"""The frame around producers, processors and sinks: command line, settings, Kafka access, metrics, the local stack.

For users of the data: `tickerplant.subscribe`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tickerplant.subscription import Subscription, subscribe

__all__ = ["Subscription", "subscribe"]


def __getattr__(name: str) -> Any:
    """Import what users of the data need when they ask for it: processes of ours need none of it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from tickerplant import subscription  # noqa: PLC0415  # see above

    return getattr(subscription, name)

"""Figures of a bar or a candle → what they contradict one another in; pure."""

from processors.bars import Told
from schemas.records import Candle


def contradiction(bar: Told | Candle) -> str:
    """Name the first rule that its figures break; "" = they hold together.

    A price or volume that is no number breaks every rule.
    """
    if not bar.low <= min(bar.open, bar.close):
        return "low above open or close"
    if not bar.high >= max(bar.open, bar.close):
        return "high below open or close"
    if not bar.volume >= 0:
        return "volume below 0"
    return _beyond_prices(bar) if isinstance(bar, Told) else ""


def _beyond_prices(bar: Told) -> str:
    """Check what venues round, each in its own way, and we do not."""
    if bar.vwap is not None and not bar.low <= bar.vwap <= bar.high:
        return "vwap outside of low to high"
    if bar.buy_volume is not None and not 0 <= bar.buy_volume <= bar.volume:
        return "bought volume outside of 0 to volume"
    if bar.trade_count < 0 or (bar.volume > 0 and not bar.trade_count):
        return "volume without trades"
    return ""

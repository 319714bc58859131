"""Writes the page of a report into a file."""

from pathlib import Path
from typing import Any

from tickerplant.clock import now_us
from tickerplant.errors import UserError
from tickerplant.masking import mask
from tickerplant.quality.wish import Wish
from tickerplant.questions import asking
from tickerplant.report.data import read
from tickerplant.report.page import page
from tickerplant.settings import Settings
from tickerplant.since import time_text


def write_report(settings: Settings, wish: Wish, out: Path) -> dict[str, Any]:
    """Write what is stored of a range as one HTML page; returns what it is of.

    Raises:
        UserError: nothing is stored of the range, the file cannot be written, or ClickHouse refuses us.
        DependencyError: ClickHouse does not answer.
    """
    with asking(settings.clickhouse) as questions:
        data = read(questions, wish)
    if data is None:
        text = f"no tick is stored from {time_text(wish.start_us)} on; see --since, --venue, --symbol"
        raise UserError(text)
    text = mask(page(data, now_us()))
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{out} cannot be written: {error.strerror}; see --out") from None
    times = {"from": time_text(data.start_us), "to": time_text(data.end_us)}
    return {"out": str(out), **times, "ticks": data.ticks, "bytes": len(text.encode())}

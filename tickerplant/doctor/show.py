"""A report as lines for people."""

from collections.abc import Iterator
from textwrap import wrap
from typing import Final

from tickerplant.doctor.finding import Finding, Report, State

MARKS: Final[dict[State, str]] = {"fine": "ok", "note": "--", "unknown": "??", "wrong": "!!"}
NAME_WIDTH: Final = 22
WIDTH: Final = 90


def report_lines(report: Report) -> Iterator[str]:
    """Lay out the findings by section, then settings that are no defaults, then what is wrong and what to do."""
    for section, found in report.sections.items():
        yield section.replace("_", " ")
        for finding in found:
            yield from _lines(finding)
    if report.setting_lines:
        yield "settings that are no defaults"
        yield from (f"  {line}" for line in report.setting_lines)
    wrong = report.wrong
    yield f"wrong: {len(wrong)}" if wrong else "nothing is wrong"
    for finding in wrong:
        yield f"  {finding.name}: {finding.todo}"


def _lines(finding: Finding) -> Iterator[str]:
    first, *more = wrap(finding.what, WIDTH, break_on_hyphens=False) or [""]
    yield f"  {MARKS[finding.state]} {finding.name:<{NAME_WIDTH}} {first}"
    if finding.todo and finding.state != "wrong":  # what is wrong is told again at the end
        more += wrap(finding.todo, WIDTH)
    yield from (f"{'':<{NAME_WIDTH + 6}}{line}" for line in more)

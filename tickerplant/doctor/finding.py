"""What the doctor finds: one thing, how it is, what to do."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

State = Literal["fine", "note", "unknown", "wrong"]
"""`note`: worth knowing, nothing need be done; `wrong`: something does not work, or soon will not."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    Args:
        what: for people, in one line.
        todo: what to do, in one line; of what is wrong, always there.
        facts: the same for programs.
    """

    name: str
    what: str
    state: State = "fine"
    todo: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


Look = Callable[[], list[Finding]]
"""Looks at one thing or several; may take seconds, raises nothing that it can tell."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """All that was found, by section, and the settings as they may be shown."""

    sections: Mapping[str, list[Finding]]
    settings: Mapping[str, Any]
    setting_lines: list[str]

    @property
    def wrong(self) -> list[Finding]:
        """What is wrong, in the order of sections."""
        return [each for found in self.sections.values() for each in found if each.state == "wrong"]

    def summary(self) -> dict[str, Any]:
        """Make the object that `--json` prints."""
        return {"is_fine": not self.wrong, **self.sections, "settings": self.settings}

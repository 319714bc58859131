"""`tickerplant doctor`: what is installed, reachable, taken, short; made to be pasted into a report of a fault."""

import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from tickerplant.ask_health import ask_roles
from tickerplant.configuration import Loaded, lines, read_settings, shown
from tickerplant.doctor import installed, machine, servers
from tickerplant.doctor.finding import Finding, Look, Report
from tickerplant.doctor.ports import ports
from tickerplant.errors import UserError
from tickerplant.settings import Settings

PATIENCE_S: Final = 25.0
"""All looks together; each server has 5 s for an answer, and its client some for giving up."""
LOCAL_NAMES: Final = {"broker": "broker", "registry": "registry", "object store": "s3", "clickhouse": "clickhouse"}


def examine(config: Path | None) -> Report:
    """Look at everything, all at once; what hangs is told after `PATIENCE_S`."""
    try:
        loaded = read_settings(config)
    except UserError as error:
        return _without_settings(error)
    settings = loaded.settings
    looks: dict[str, list[tuple[str, Look]]] = {
        **_looks_at_installation(settings),
        "servers": [
            ("broker", partial(servers.broker, settings)),
            ("registry", partial(servers.registry, settings)),
            ("object store", partial(servers.object_store, settings)),
            ("clickhouse", partial(servers.clickhouse, settings)),
        ],
        "roles": [("roles", partial(_roles, settings))],
        **_looks_at_machine(settings),
    }
    found = look_at_all(looks, PATIENCE_S)
    answering = {LOCAL_NAMES[each.name] for each in found["servers"] if each.facts.get("answers")}
    found |= look_at_all({"ports": [("ports", partial(ports, settings, answering))]}, PATIENCE_S)
    found["settings_in_force"] = [_risks(loaded)]
    return Report(sections=found, settings=shown(loaded), setting_lines=[*lines(loaded, is_changed=True)])


def look_at_all(looks: Mapping[str, Iterable[tuple[str, Look]]], patience_s: float) -> dict[str, list[Finding]]:
    """Look by a thread each, in the order of names; a look that raises or hangs is a finding."""
    started = {section: [_Looking(name, look) for name, look in each] for section, each in looks.items()}
    deadline_s = time.monotonic() + patience_s
    return {
        section: [finding for each in looking for finding in each.found(deadline_s, patience_s)]
        for section, looking in started.items()
    }


@dataclass
class _Looking:
    """One look under way; its thread is left alone where it hangs, and ends with the process."""

    name: str
    look: Look
    _found: list[Finding] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def found(self, deadline_s: float, patience_s: float) -> list[Finding]:
        """Wait for it until a moment of the monotonic clock."""
        self._thread.join(max(0.0, deadline_s - time.monotonic()))
        if self._thread.is_alive():
            what = f"no answer within {patience_s:.0f} s"
            return [Finding(name=self.name, what=what, state="wrong", todo="see its log: it hangs")]
        return self._found

    def _run(self) -> None:
        try:
            self._found = self.look()
        except Exception as error:  # noqa: BLE001  # a doctor tells what it can, whatever else is broken
            first = (str(error).splitlines() or [""])[0]
            what = f"could not be looked at: {type(error).__name__} {first}"
            self._found = [Finding(name=self.name, what=what, state="unknown")]


def _looks_at_installation(settings: Settings) -> dict[str, list[tuple[str, Look]]]:
    return {
        "installed": [
            ("tickerplant", installed.ourselves),
            ("libraries", installed.dependencies),
            ("extras", installed.extras),
            ("java", installed.java),
            ("files of servers", partial(installed.archives, settings)),
        ]
    }


def _looks_at_machine(settings: Settings) -> dict[str, list[tuple[str, Look]]]:
    return {
        "machine": [
            ("disks", partial(machine.disks, settings)),
            ("memory", machine.memory),
            ("open files", machine.open_files),
            ("processors", machine.processors),
            ("clock", partial(machine.clocks, settings)),
        ]
    }


def _without_settings(error: UserError) -> Report:
    """Look at what needs no settings of the user's."""
    usual = Settings()
    found = look_at_all({**_looks_at_installation(usual), **_looks_at_machine(usual)}, PATIENCE_S)
    todo = "mend that; servers, roles and ports are looked at then"
    found["settings_in_force"] = [Finding(name="settings", what=str(error), state="wrong", todo=todo)]
    return Report(sections=found, settings={}, setting_lines=[])


def _roles(settings: Settings) -> list[Finding]:
    """Ask the roles of this machine whether they are ready."""
    found = ask_roles(settings, "ready")
    if not found:
        return [Finding(name="roles", what="none runs here", state="note")]
    return [
        Finding(
            name=each.role,
            what=each.line("ready").partition(each.role)[2].strip(),
            state="fine" if each.is_good else "wrong",
            todo="" if each.is_good else f"`tickerplant logs {each.role}`; docs/operations.md",
            facts={"pid": each.pid, "is_ready": each.is_good, "missing": [one.dependency for one in each.missing]},
        )
        for each in found
    ]


def _risks(loaded: Loaded) -> Finding:
    facts: dict[str, Any] = {"risks": list(loaded.warnings)}
    if not loaded.warnings:
        return Finding(name="settings", what="fit together", facts=facts)
    return Finding(name="settings", what="; ".join(loaded.warnings), state="note", facts=facts)

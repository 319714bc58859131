"""`tickerplant health`: asks every role of this machine over its metrics port."""

from dataclasses import dataclass
from typing import Any, Literal

import httpx

from tickerplant.health import Missing
from tickerplant.processes import Process, address, noted_processes
from tickerplant.settings import Settings

ASK_TIMEOUT_S = 5.0
Question = Literal["ready", "live"]


@dataclass(frozen=True, kw_only=True)
class RoleHealth:
    """What a role answered.

    Args:
        trouble: why the process itself is not good; empty = it is, or only lacks what is `missing`.
    """

    role: str
    pid: int
    is_good: bool
    missing: tuple[Missing, ...] = ()
    trouble: str = ""

    def line(self, question: Question) -> str:
        """Say it in one line."""
        reasons = [self.trouble] if self.trouble else []
        reasons += [f"{each.dependency} ({each.reason}, for {each.since_s:.0f} s)" for each in self.missing]
        is_not = "" if self.is_good else "not "
        return f"{self.role:<16} {is_not}{question}{': ' if reasons else ''}{', '.join(reasons)}"


def ask_roles(settings: Settings, question: Question, *, role: str | None = None) -> list[RoleHealth]:
    """Ask all processes noted under `<local.home>/run`, or those of one role; a note of a dead one is bad health."""
    return [_ask(settings, each, question) for each in noted_processes(settings) if role in {None, each.role}]


def summary(found: list[RoleHealth], question: Question) -> dict[str, Any]:
    """Make the object that `--json` prints; where no role runs, nothing is ready."""
    return {question: is_good(found), "roles": found}


def is_good(found: list[RoleHealth]) -> bool:
    """Tell whether there are roles, and all of them are well."""
    return bool(found) and all(each.is_good for each in found)


def _ask(settings: Settings, process: Process, question: Question) -> RoleHealth:
    role, pid = process.role, process.pid
    if not process.is_alive:
        return RoleHealth(role=role, pid=pid, is_good=False, trouble=f"process {pid} died")
    try:
        answer = httpx.get(f"http://{address(settings, process.port)}/{question}", timeout=ASK_TIMEOUT_S)
        body = answer.json()
        missing = tuple(Missing(**each) for each in body.get("missing", ()))
        is_role_good = body["role"] == role and bool(body[question])
    except (httpx.HTTPError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"process {pid} does not answer: {type(error).__name__}"
        return RoleHealth(role=role, pid=pid, is_good=False, trouble=reason)
    stuck = "" if is_role_good or missing else f"the main loop of process {pid} is stuck"
    return RoleHealth(role=role, pid=pid, is_good=is_role_good, missing=missing, trouble=stuck)

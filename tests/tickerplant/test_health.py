"""What a role tells of its health: readiness by dependency, life by its main loop, one log line each way."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from tickerplant.errors import DependencyError, UserError
from tickerplant.health import LIVE_S, Health, Missing, watched
from tickerplant.processes import find_processes, notes_folder
from tickerplant.settings import Local, Settings


@pytest.fixture
def clock() -> list[float]:
    return [100.0]


@pytest.fixture
def health(clock: list[float]) -> Health:
    return Health("tester", now_s=lambda: clock[0])


@pytest.fixture
def told() -> Iterator[list[Any]]:
    """What is logged."""
    structlog.reset_defaults()
    with capture_logs() as lines:
        yield lines


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(local=Local(home=tmp_path))


def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    deadline_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come true"
        time.sleep(0.01)


def gauge(dependency: str) -> float | None:
    return REGISTRY.get_sample_value("dependency_up", {"role": "tester", "dependency": dependency})


def get(settings: Settings, path: str) -> httpx.Response:
    [process] = find_processes(settings)
    return httpx.get(f"http://127.0.0.1:{process.port}{path}")


def away(hint: str = "refused") -> None:
    raise DependencyError("thing", "nowhere", hint)


def test_a_role_that_depends_on_nothing_is_ready(health: Health) -> None:
    assert health.missing() == []


def test_what_is_expected_is_missing_until_it_is_seen(health: Health) -> None:
    health.expect("kafka")
    assert [each.dependency for each in health.missing()] == ["kafka"]

    health.up("kafka")

    assert health.missing() == []


def test_a_missing_dependency_is_named_with_reason_and_time(health: Health, clock: list[float]) -> None:
    health.up("kafka")
    health.down("kafka", "refused")
    clock[0] += 12.34
    health.down("kafka", "refused again")

    assert health.missing() == [Missing("kafka", "refused again", 12.3)]


def test_a_dependency_is_up_only_when_no_witness_complains(health: Health) -> None:
    health.down("clickhouse", "refused")
    health.down("clickhouse", "too many parts", "writes")
    health.up("clickhouse")
    assert [each.reason for each in health.missing()] == ["too many parts"]
    assert gauge("clickhouse") == 0

    health.up("clickhouse", "writes")

    assert health.missing() == []
    assert gauge("clickhouse") == 1


def test_an_outage_is_logged_once_when_it_begins_and_once_when_it_ends(told: list[Any], clock: list[float]) -> None:
    health = Health("tester", now_s=lambda: clock[0])
    health.up("kafka")
    for _ in range(10):
        health.down("kafka", "refused")
        health.down("kafka", "no answer", "delivery")
        clock[0] += 3
    for _ in range(3):
        health.up("kafka")
        health.up("kafka", "delivery")

    assert [(line["log_level"], line["dependency"]) for line in told] == [("warning", "kafka"), ("info", "kafka")]
    assert told[1]["away_s"] == 30.0


def test_a_second_outage_is_logged_again(told: list[Any], clock: list[float]) -> None:
    health = Health("tester", now_s=lambda: clock[0])
    for _ in range(2):
        health.up("kafka")
        health.down("kafka", "refused")
    health.up("kafka")

    assert [line["log_level"] for line in told] == ["warning", "info"] * 2


@pytest.mark.parametrize(("is_patient", "lines"), [(False, 0), (True, 1)])
def test_absence_at_the_start_is_logged_by_those_who_wait_alone(
    told: list[Any], *, is_patient: bool, lines: int
) -> None:
    health = Health("tester", is_patient=is_patient)
    health.expect("kafka")
    health.down("kafka", "refused")
    health.down("kafka", "refused")

    assert len(told) == lines


def test_life_ends_with_the_main_loop_and_not_with_a_dependency(health: Health, clock: list[float]) -> None:
    health.down("kafka", "refused")
    assert health.is_live()
    clock[0] += LIVE_S

    assert not health.is_live()
    health.beat()
    assert health.is_live()


def test_witnesses_may_speak_from_many_threads(health: Health) -> None:
    def speak(witness: str) -> None:
        for _ in range(200):
            health.down("kafka", "refused", witness)
            health.missing()
            health.up("kafka", witness)

    threads = [threading.Thread(target=speak, args=(str(number),)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert health.missing() == []


def test_live_ready_and_metrics_are_served_on_one_port(settings: Settings) -> None:
    health = Health("tester")
    health.down("kafka", "refused")

    with watched(settings, health, {}):
        live, ready, metrics = (get(settings, path) for path in ("/live", "/ready", "/metrics"))

    assert (live.status_code, live.json()) == (200, {"role": "tester", "live": True})
    assert ready.status_code == 503
    assert ready.json()["missing"][0] | {"since_s": 0} == {"dependency": "kafka", "reason": "refused", "since_s": 0}
    assert "dependency_up" in metrics.text


def test_a_ready_role_answers_200(settings: Settings) -> None:
    with watched(settings, Health("tester"), {}):
        ready = get(settings, "/ready")

    assert (ready.status_code, ready.json()) == (200, {"role": "tester", "ready": True, "missing": []})


def test_an_idle_role_notices_what_goes_and_what_comes_back(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tickerplant.health.PROBE_EVERY_S", 0.01)
    is_away = threading.Event()
    health = Health("tester")

    with watched(settings, health, {"thing": lambda: away() if is_away.is_set() else None}):
        until(lambda: not health.missing())
        is_away.set()
        until(health.missing)
        assert health.missing()[0].reason == "refused"
        is_away.clear()
        until(lambda: not health.missing())


def test_a_probe_that_fails_in_an_unknown_way_is_a_complaint(settings: Settings) -> None:
    def broken() -> None:
        raise ZeroDivisionError("oh")

    health = Health("tester")
    with watched(settings, health, {"thing": broken}):
        until(lambda: [each.reason for each in health.missing()] == ["ZeroDivisionError: oh"])


def test_a_patient_role_waits_for_all_it_depends_on(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tickerplant.health.PROBE_EVERY_S", 0.01)
    tries = iter(range(5))

    def probe() -> None:
        if next(tries, None) is not None:
            away()

    health = Health("tester", is_patient=True)
    health.starts()
    with watched(settings, health, {"thing": probe, "kafka": lambda: None}):
        assert next(tries, None) is None
        assert [each.reason for each in health.missing()] == ["the role is starting"]


def test_a_patient_role_that_is_refused_does_not_wait(settings: Settings) -> None:
    def refused() -> None:
        raise UserError("wrong password")

    with (
        pytest.raises(UserError, match="wrong password"),
        watched(settings, Health("tester", is_patient=True), {"thing": refused}),
    ):
        pytest.fail("it began")


def test_a_role_that_is_not_patient_does_not_wait(settings: Settings) -> None:
    health = Health("tester")
    with watched(settings, health, {"thing": away}):
        assert health.missing()


@pytest.mark.parametrize(("error", "notes"), [(UserError("mistake"), 0), (RuntimeError("crash"), 1)])
def test_only_a_crash_leaves_the_note_of_a_process_behind(settings: Settings, error: Exception, notes: int) -> None:
    with pytest.raises(type(error)), watched(settings, Health("tester"), {}):
        raise error

    assert len(list(notes_folder(settings).glob("metrics-*.json"))) == notes


def test_a_role_is_not_ready_before_it_works(told: list[Any]) -> None:
    health = Health("tester", is_patient=True)
    health.starts()
    health.up("kafka")
    assert [(each.dependency, each.reason) for each in health.missing()] == [("kafka", "the role is starting")]

    health.works()

    assert (health.missing(), told) == ([], [])


def test_what_a_server_answers_is_told_before_that_the_role_is_starting() -> None:
    health = Health("tester", is_patient=True)
    health.starts()
    health.expect("kafka")
    told = [health.missing()[0].reason]
    health.down("kafka", "connection refused")
    told += [health.missing()[0].reason]
    health.up("kafka")
    told += [health.missing()[0].reason]

    assert told == ["not reached yet", "connection refused", "the role is starting"]

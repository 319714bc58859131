"""Faults read from JSON and from the command line, and what they decide for frames: the same for a seed."""

import json
import re
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickerplant.errors import UserError
from tickerplant.local.venue import damage
from tickerplant.local.venue.dialect import Frame
from tickerplant.local.venue.fault_plan import FaultPlan, Verdict
from tickerplant.local.venue.faults import (
    CATALOGUE,
    PARAMETERS,
    AnyFault,
    ClockStep,
    Corrupt,
    Double,
    Lose,
    Refuse,
    Reorder,
    Silence,
    Slow,
    Truncate,
    fault_from,
    parameters,
    parse_fault,
    table,
)

TRADE = b'{"stream":"btcusdt@trade","data":{"e":"trade","E":170,"T":170,"s":"BTCUSDT","t":12,"p":"10.50","q":"2.0"}}'
KEYS = ("spot/btcusdt@trade", "usdm/btcusdt@trade", "spot/ethusdt@depth@100ms")


def started(plan: FaultPlan, *faults: AnyFault) -> FaultPlan:
    for fault in faults:
        plan.begin(plan.add(fault))
    return plan


def judged(fault: AnyFault, keys: Sequence[str], seed: int = 7) -> list[tuple[str, Verdict]]:
    plan = started(FaultPlan(seed), fault)
    return [(key, plan.judge(key, Frame(TRADE, 12, 12))) for key in keys]


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_fault_says_what_it_does_what_is_seen_and_what_its_parameters_mean(name: str) -> None:
    fault = CATALOGUE[name]

    assert fault.__doc__
    assert fault.SEEN
    assert fault.MAIN in parameters(fault)
    assert set(parameters(fault)) <= set(PARAMETERS)
    assert name in {row[0] for row in table()}


@pytest.mark.parametrize("name", CATALOGUE)
def test_fault_is_read_back_from_what_it_is_written_as(name: str) -> None:
    fault = CATALOGUE[name]()

    assert fault_from({"fault": name, **parameters(type(fault))}) == fault == parse_fault(name)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("lose=0.001", Lose(probability=0.001)),
        ("lose=0.5,match=spot/*@trade,count=3", Lose(probability=0.5, match="spot/*@trade", count=3)),
        ("silence=5", Silence(for_s=5)),
        ("clock_step=-250", ClockStep(step_ms=-250)),
        ("refuse=0.5,status=429,retry_after_s=2", Refuse(probability=0.5, status=429, retry_after_s=2)),
        ("corrupt,kind=utf8", Corrupt(kind="utf8")),
    ],
)
def test_fault_is_read_from_the_command_line(text: str, fault: AnyFault) -> None:
    assert parse_fault(text) == fault


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nope=1", "'nope' is none of lose, double"),
        ("lose=0.1,kind=any", "lose has no parameter 'kind', but probability, count"),
        ("lose=2", "lose: probability: expected `float` <= 1"),
        ("lose=much", "lose: probability: expected `float`"),
        ("corrupt,kind=nonsense", "corrupt: kind: invalid enum value 'nonsense'"),
        ("disconnect,code=5", "disconnect: code: expected `int` >= 1000"),
    ],
)
def test_mistake_is_told_in_one_line_that_names_what_is_known(text: str, words: str) -> None:
    with pytest.raises(UserError, match=re.escape(words)) as caught:
        parse_fault(text)

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("given_json", [None, [], "lose", {}, {"fault": 1}, {"fault": "lose", "count": "3"}])
def test_json_that_is_no_fault_is_refused(given_json: object) -> None:
    with pytest.raises(UserError):
        fault_from(given_json)


@given(st.lists(st.sampled_from(KEYS), max_size=60), st.integers(0, 5), st.floats(0, 1))
def test_what_happens_to_a_stream_follows_from_seed_and_its_own_frames_alone(
    keys: list[str], seed: int, probability: float
) -> None:
    fault = Corrupt(probability=probability)
    mixed = judged(fault, keys, seed)

    for key in KEYS:
        alone = judged(fault, [each for each in keys if each == key], seed)
        assert [each for each in mixed if each[0] == key] == alone


def test_another_seed_hits_other_frames() -> None:
    hits = [[verdict.copies for _, verdict in judged(Lose(probability=0.5), KEYS[:1] * 64, seed)] for seed in (1, 2, 1)]

    assert hits[0] == hits[2] != hits[1]


def test_fault_hits_only_streams_of_its_pattern_and_as_often_as_it_should() -> None:
    verdicts = judged(Lose(match="spot/*@trade", count=2), KEYS * 4)

    assert [key for key, verdict in verdicts if not verdict.copies] == ["spot/btcusdt@trade"] * 2


def test_frame_is_hit_by_the_fault_that_was_started_first_and_alone() -> None:
    plan = started(FaultPlan(1), Double(count=1), Lose())

    assert [plan.judge(KEYS[0], Frame(TRADE, 12, 12)).copies for _ in range(3)] == [2, 0, 0]
    assert [each.hits for each in plan.faults.values()] == [1, 2]


def test_strikes_tell_stream_and_ids() -> None:
    plan = started(FaultPlan(1), Lose(count=1))
    plan.judge(KEYS[0], Frame(TRADE, 12, 12))

    assert plan.faults[1].as_json()["strikes"] == [["spot/btcusdt@trade", "", 12, 12]]
    assert plan.faults[1].as_json()["by_target"] == {"spot/btcusdt@trade": 1}


def test_ended_fault_hits_nothing_and_leaves_frames_unlooked_at() -> None:
    plan = started(FaultPlan(1), Lose(), Slow(bytes_per_s=10), ClockStep(step_ms=5))
    assert (len(plan.frame_faults), plan.is_slow, plan.clock_offset_us) == (1, True, 5000)
    for active in plan.faults.values():
        plan.end(active)

    assert (plan.frame_faults, plan.is_slow, plan.clock_offset_us) == ([], False, 0)
    assert plan.judge(KEYS[0], Frame(TRADE, 12, 12)) == Verdict(TRADE)


def test_fault_that_ended_before_it_began_never_strikes() -> None:
    plan = FaultPlan(1)
    active = plan.add(Lose())
    plan.end(active)
    plan.begin(active)

    assert plan.judge(KEYS[0], Frame(TRADE, 12, 12)).copies == 1


def test_reordered_frame_falls_behind_no_more_than_it_may() -> None:
    behind = {verdict.behind for _, verdict in judged(Reorder(within=3), KEYS[:1] * 200)}

    assert behind == {1, 2, 3}


@given(st.integers(0, 10_000))
def test_truncated_payload_is_a_shorter_beginning(seed: int) -> None:
    cut = damage.truncated(TRADE, Random(seed))

    assert 0 < len(cut) < len(TRADE)
    assert TRADE.startswith(cut)


@given(st.integers(0, 10_000), st.sampled_from(["any", *damage.CORRUPTIONS]))
def test_corrupted_payload_differs_as_its_kind_says(seed: int, kind: str) -> None:
    how, payload = damage.corrupted(TRADE, kind, Random(seed))
    readable = _read(payload)

    assert payload != TRADE
    assert kind in {"any", how}
    if how in {"json", "utf8"}:
        assert readable is None
    else:
        assert readable["data"].keys() == json.loads(TRADE)["data"].keys()
    if how == "value":
        assert float(readable["data"]["p"]) * float(readable["data"]["q"]) > 0


BARE = b'{"channel":"book","data":[{"bids":[[60000.5,2]],"qty":0.25,"timestamp":"2026-11-29T00:00:00.123456Z"}]}'
TIMES = b'{"ping":1795910400144,"version":"1.2.26"}'


@given(st.integers(0, 1000))
def test_another_value_is_of_a_price_or_size_quoted_or_not_and_else_told_as_what_was_done(seed: int) -> None:
    how, payload = damage.corrupted(BARE, "value", Random(seed))
    (row,) = json.loads(payload)["data"]
    assert how == "value"
    assert (row["bids"][0][0], row["qty"]) != (60000.5, 0.25)
    assert row["timestamp"] == "2026-11-29T00:00:00.123456Z"

    how, payload = damage.corrupted(TIMES, "value", Random(seed))
    assert (how, _read(payload)) == ("json", None)


def _read(payload: bytes) -> Any:
    try:
        return json.loads(payload)
    except ValueError:
        return None


def test_payload_without_anything_to_change_is_changed_all_the_same() -> None:
    assert {damage.corrupted(b"x", kind, Random(1))[1] for kind in damage.CORRUPTIONS} == {b"\x01", b"\xff", b"[x]"}


def test_damage_has_no_effect_on_the_plan_of_intact_frames() -> None:
    verdicts = [verdict for _, verdict in judged(Truncate(probability=0.5), KEYS[:1] * 50)]

    assert all(verdict.is_intact == (verdict.payload == TRADE) for verdict in verdicts)
    assert {verdict.is_intact for verdict in verdicts} == {True, False}

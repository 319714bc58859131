"""Whatever the bytes: documented errors alone, memory in proportion to the input, nothing that makes no sense."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from fuzz.mutations import mutate
from fuzz.seeds import messages
from fuzz.target import Target, run_bounded
from fuzz.targets import TARGETS
from processors.venues import VENUES

ALL = pytest.mark.parametrize("target", TARGETS.values(), ids=list(TARGETS))


@ALL
def test_valid_input_is_read(target: Target) -> None:
    assert target.seeds
    for seed in target.seeds:
        run_bounded(target, seed)


@ALL
def test_damaged_input_does_no_harm(target: Target, tmp_path: Path) -> None:
    @settings(
        max_examples=target.examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],  # bytes made by chance do not shrink
        suppress_health_check=list(HealthCheck),
    )
    @given(number=st.integers(0, len(target.seeds) - 1), random=st.randoms(use_true_random=False))
    def holds(number: int, random: Random) -> None:
        data = mutate(target.seeds[number], random)
        (tmp_path / "input").write_bytes(data)
        run_bounded(target, data)

    try:
        holds()
    except Exception as error:
        raise AssertionError(f"again: python -m fuzz {target.name} --replay {tmp_path / 'input'}") from error


@ALL
@pytest.mark.parametrize("data", [b"", b"\0", b"\xff" * 64, b"[" * 9000, b'{"a":' * 3000, b"\x80" * 300, b"\n" * 50])
def test_bytes_that_mean_nothing_do_no_harm(target: Target, data: bytes) -> None:
    run_bounded(target, data)


@pytest.mark.parametrize("venue", VENUES)
def test_every_venue_has_messages_to_damage(venue: str) -> None:
    assert set(messages(venue)) == set(VENUES[venue].MARKETS)


@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is there on Linux alone")
def test_every_target_runs_guided(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-m", "fuzz", "--runs", "25", "--folder", str(tmp_path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)

    assert f"0 of {len(TARGETS)} targets have findings" in done.stdout, done.stdout + done.stderr
    assert len(list((tmp_path / "corpus" / "avro").iterdir())) >= len(TARGETS["avro"].seeds)

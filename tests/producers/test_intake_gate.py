"""Back pressure: what waits for delivery is bounded, and reading goes on when it is safe."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from producers.intake import Gate, Intake
from tickerplant.errors import TickerplantError
from tickerplant.settings import Producer


async def test_gate_closes_above_its_bound_and_opens_at_half() -> None:
    gate = Gate(most_frames=10)
    gate.queued(10, 0)
    assert gate.is_open
    gate.queued(1, 0)
    assert not gate.is_open
    gate.delivered(5, 0)
    assert not gate.is_open
    gate.delivered(1, 0)

    assert gate.is_open


async def test_gate_counts_bytes_too() -> None:
    gate = Gate(most_frames=10, most_bytes=100)
    gate.queued(1, 101)
    assert not gate.is_open
    gate.delivered(1, 101)

    assert gate.is_open


async def test_who_waits_at_a_closed_gate_passes_when_it_opens() -> None:
    gate = Gate(most_frames=1)
    gate.queued(2, 0)
    waiting = asyncio.create_task(gate.passed())
    await asyncio.sleep(0)
    assert not waiting.done()
    gate.delivered(2, 0)
    await waiting

    assert gate.waiting_frames == 0


async def test_frames_reach_their_partition_numbered_by_connection(
    make_intake: Callable[..., Intake], outlet: Any
) -> None:
    intake = make_intake(Producer())
    first, second = intake.lane("spot", "a", 0), intake.lane("spot", "b", 1)
    first.add("CONNECT", 1, request="ws://x")
    second.add("MESSAGE", 2, b"of b")
    first.add("MESSAGE", 3, b"of a")
    intake.close()
    seen = [
        (partition, source.connection, frame.number, frame.payload) for partition, source, frame in outlet.sourced()
    ]

    assert seen == [(0, "a", 0, b""), (0, "a", 1, b"of a"), (1, "b", 0, b"of b")]
    assert intake.gate.waiting_frames == 3


async def test_failed_delivery_ends_the_pump(make_intake: Callable[..., Intake], outlet: Any) -> None:
    intake = make_intake(Producer())
    outlet.failure = TickerplantError("refused")

    with pytest.raises(TickerplantError, match="refused"):
        await intake.pump_forever()

"""All faults at once, by several seeds, for some seconds of all three markets: what must hold whatever happens."""

from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from tickerplant.local.venue.faults import (
    AnyFault,
    ClockStep,
    Corrupt,
    Disconnect,
    Double,
    HttpError,
    HttpGarbage,
    HttpHang,
    Lose,
    Maintenance,
    Refuse,
    Reorder,
    Silence,
    Slow,
    Truncate,
    WrongSnapshotFault,
)

Capturing = Callable[..., Any]
CHANNELS = ("trade", "aggTrade", "bookTicker", "depth", "kline_1m", "ticker")
WRONG_VALUES = Corrupt(kind="value", match="*@trade", probability=0.01)  # in depth, they are seen by nobody


def all_faults(random: Random) -> list[AnyFault]:
    """Choose how often each strikes."""

    def chance() -> float:
        return random.uniform(0.001, 0.02)

    return [
        Lose(probability=chance()),
        Double(probability=chance()),
        Reorder(probability=chance(), within=random.randint(1, 5)),
        Truncate(probability=chance()),
        Corrupt(kind="json", probability=chance()),
        Corrupt(kind="utf8", probability=chance()),
        Corrupt(kind="type", probability=chance()),
        WRONG_VALUES,
        Silence(match=random.choice(("spot/*", "*@depth*", "*/btc*")), for_s=0.3, after_s=random.uniform(0, 2)),
        Disconnect(every_s=random.uniform(0.5, 1.5), probability=0.6, how="close"),
        Disconnect(every_s=random.uniform(0.5, 1.5), probability=0.6, how=random.choice(("abort", "mid_frame"))),
        Slow(match="spot", bytes_per_s=60_000, after_s=1, for_s=0.5, handshake_s=0.05),
        Refuse(probability=0.3, status=random.choice((500, 503)), count=6),
        HttpError(probability=0.2, status=random.choice((500, 503)), count=8),
        HttpHang(probability=0.1, hang_s=0.5, count=2),
        HttpGarbage(probability=0.2, count=6),
        WrongSnapshotFault(probability=0.3),
        Maintenance(every_s=random.uniform(1, 2), count=1, notice_s=0.2),
        ClockStep(step_ms=random.randint(-5_000, 5_000), after_s=0.5, for_s=1),
    ]


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_nothing_is_doubled_or_missed_in_silence_and_books_come_back(capturing: Capturing, seed: int) -> None:
    markets = ("spot", "usdm", "coinm")
    async with capturing(markets=markets, channels=CHANNELS, symbols=8, seed=seed, stale_after_s=2.0) as it:
        for fault in all_faults(Random(seed)):
            it.start(fault)
        await it.passed(2.5)
        values = next(each for each in it.venue.faults.plan.faults.values() if each.fault == WRONG_VALUES)
        await it.resync()
        await it.finish()
    stored, changed = set(it.trades()), it.struck(values)
    intact = it.written_trades()

    hit = {each.fault.name for each in it.venue.faults.plan.faults.values() if each.hits}
    assert hit >= {"lose", "double", "reorder", "truncate", "corrupt", "silence", "disconnect", "clock_step"}
    assert stored - it.restored() <= intact | changed
    assert it.within(intact - stored) <= it.gaps("trade")  # on their way when a connection was cut
    assert len(it.letters()) >= it.dead_frames()
    it.assert_trades_are_right(but=changed)
    it.assert_books_are_right()
    it.assert_published_books_are_right()


async def test_two_runs_of_one_market_with_faults_give_the_same_records(capturing: Capturing) -> None:
    """The pipeline is a function of the raw log: faults in it or not."""
    async with capturing(channels=CHANNELS) as it:
        for fault in all_faults(Random(9)):
            it.start(fault)
        await it.passed(1.0)
        await it.finish()
    again = it.replayed()

    assert again.records == it.flow.records
    assert again.commands == it.flow.commands

"""Silence of channels."""

from producers.staleness import Staleness

S = 1_000_000


def listening(*channels: str) -> Staleness:
    staleness = Staleness(channels, stale_after_s=30)
    staleness.restart(0)
    return staleness


def test_channel_is_silent_after_its_time_not_before() -> None:
    staleness = listening("trade")

    assert staleness.silent(30 * S) is None
    assert staleness.silent(30 * S + 1) == "trade"


def test_one_silent_channel_among_speaking_ones_is_named() -> None:
    staleness = listening("trade", "depth")
    staleness.heard(["depth"], 29 * S)

    assert staleness.silent(31 * S) == "trade"


def test_patience_doubles_with_each_new_connection_that_stays_silent() -> None:
    staleness = listening("trade")
    assert staleness.silent(31 * S) == "trade"
    staleness.restart(31 * S)

    assert staleness.patience_s("trade") == 60
    assert staleness.silent(31 * S + 60 * S) is None
    assert staleness.silent(31 * S + 60 * S + 1) == "trade"


def test_channel_that_speaks_again_is_met_with_the_first_patience() -> None:
    staleness = listening("trade")
    staleness.silent(31 * S)
    staleness.heard(["trade"], 32 * S)

    assert staleness.patience_s("trade") == 30


def test_patience_has_a_bound() -> None:
    staleness = listening("trade")
    for _ in range(50):
        staleness.restart(0)
        staleness.silent(10**18)

    assert staleness.patience_s("trade") == 30 * 2**10


def test_nothing_is_silent_where_nothing_is_watched() -> None:
    assert listening().silent(10**18) is None

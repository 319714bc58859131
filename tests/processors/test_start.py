"""Where a processor goes on: by its state, and by what the broker says of the raw partition."""

import pytest

from processors.start import MADE_ANEW, NOT_KEPT, Log, Start, find_start
from processors.state_store import Loaded
from tickerplant.errors import UserError


def loaded(next_offset: int, life: str = "first") -> Loaded:
    return Loaded(next_offset, {"": (b"head",)}, life=life)


def log(first: int = 0, end: int = 100, life: str = "first") -> Log:
    return Log(name="raw.binance:0", life=life, first=first, end=end)


@pytest.mark.parametrize("life", ["first", ""])
@pytest.mark.parametrize("next_offset", [1, 50, 100])
def test_it_goes_on_after_its_state_whether_that_names_a_life_or_not(next_offset: int, life: str) -> None:
    assert find_start(loaded(next_offset, life), log()) == Start(offset=next_offset)


def test_without_state_it_begins_at_the_first_record_there_is() -> None:
    assert find_start(Loaded(), log(first=7)) == Start(offset=None)
    assert find_start(loaded(0), log(first=7)) == Start(offset=None)


def test_what_was_not_kept_long_enough_is_told_with_its_offsets() -> None:
    found = find_start(loaded(50), log(first=80))

    assert found.loss is not None
    assert (found.offset, found.loss.first, found.loss.last, found.loss.why) == (80, 50, 79, NOT_KEPT)


@pytest.mark.parametrize("next_offset", [1, 50, 1000])
def test_a_topic_made_anew_is_read_from_its_first_record(next_offset: int) -> None:
    found = find_start(loaded(next_offset), log(first=3, end=60, life="second"))

    assert found.loss is not None
    assert (found.offset, found.is_reborn, found.loss.why) == (3, True, MADE_ANEW)


def test_a_log_that_lost_what_was_processed_is_refused_in_one_line() -> None:
    with pytest.raises(UserError, match=r"raw\.binance:0 ends at offset 100, but records up to 101") as raised:
        find_start(loaded(101), log())

    assert "\n" not in str(raised.value)

"""Expiries and sizes of lists: days are at 08:00 UTC, quarters end on a Friday, nonsense is refused."""

from calendar import FRIDAY
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.listing import day_us, last_friday_us, ms_us, size


@given(st.integers(2000, 2099), st.integers(1, 12))
def test_a_quarter_ends_at_eight_on_the_last_friday_of_its_month(year: int, month: int) -> None:
    end = datetime.fromtimestamp(last_friday_us(year, month) / 1_000_000, UTC)

    assert (end.year, end.month, end.weekday(), end.hour, end.minute) == (year, month, FRIDAY, 8, 0)
    assert (end + timedelta(7)).month != month


def test_a_day_is_read_in_the_form_and_to_the_hour_of_its_venue() -> None:
    assert day_us("261225") == day_us("25DEC26", "%d%b%y") == day_us("2026-12-25", "%Y-%m-%d")
    assert day_us("261225", hour=16) - day_us("261225") == 8 * 3600 * 1_000_000


@pytest.mark.parametrize(
    ("day", "form"), [("261332", "%y%m%d"), ("", "%y%m%d"), ("1999-12-31", "%Y-%m-%d"), ("2100-01-01", "%Y-%m-%d")]
)
def test_what_is_no_day_of_this_century_is_refused(day: str, form: str) -> None:
    with pytest.raises(ValueError, match=r"does not match|unconverted|this century|time data"):
        day_us(day, form)


@pytest.mark.parametrize(
    ("given_ms", "expected_us"), [("", 0), (0, 0), ("0", 0), ("1798185600000", 1_798_185_600_000_000)]
)
def test_an_expiry_in_ms_may_be_never(given_ms: str | int, expected_us: int) -> None:
    assert ms_us(given_ms) == expected_us


@pytest.mark.parametrize("given_ms", [1, "1798185600", 946_684_799_999, 4_102_444_800_000, "soon"])
def test_an_expiry_that_is_no_ms_of_this_century_is_refused(given_ms: str | int) -> None:
    with pytest.raises(ValueError, match=r"this century|invalid literal"):
        ms_us(given_ms)


@pytest.mark.parametrize(("text", "expected"), [("", None), ("0.00", None), (0, None), ("0.001", 0.001), (5, 5.0)])
def test_a_size_of_nothing_is_none(text: str | float, expected: float | None) -> None:
    assert size(text) == expected


@pytest.mark.parametrize("text", ["-1", "nan", "inf", "1e16", "1e-31", "many"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no size|could not convert"):
        size(text)

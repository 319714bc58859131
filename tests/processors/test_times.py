"""Times as venues write them are read to the microsecond, and what is none of this century is refused."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.errors import FrameError
from processors.wire import iso_us, millis_us, ns_us, seconds_us

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CENTURY = st.datetimes(datetime(1990, 1, 1), datetime(2099, 12, 31, 23, 59, 59))  # noqa: DTZ001  # hypothesis wants them so
FRACTION = st.text("0123456789", max_size=9)
LAST_S = 4_102_444_800  # 2100


@given(CENTURY, FRACTION, st.sampled_from(["Z", "+00:00", "+0000"]))
def test_an_instant_in_utc_is_read_with_any_fraction(instant: datetime, fraction: str, zone: str) -> None:
    text = f"{instant:%Y-%m-%dT%H:%M:%S}{'.' if fraction else ''}{fraction}{zone}"
    second = instant.replace(microsecond=0, tzinfo=UTC)

    assert iso_us(text) == (second - EPOCH) // timedelta(microseconds=1) + int(f"{fraction:0<6}"[:6])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-11-29",
        "2026-11-29T00:00:00",
        "2026-11-29T00:00:00+01:00",
        "2026-11-29 00:00:00Z",
        "2026-13-29T00:00:00Z",
        "2026-11-29T00:00:60Z",
        "2026-11-29T00:00:00.Z",
        "2026-11-29T00:00:00.1234567890Z",
        "1989-12-31T23:59:59Z",
        "2100-01-01T00:00:00Z",
    ],
)
def test_what_is_no_instant_of_this_century_in_utc_is_refused(text: str) -> None:
    with pytest.raises(FrameError):
        iso_us(text)


@given(st.integers(0, LAST_S - 1), FRACTION)
def test_seconds_and_milliseconds_are_shifted_exactly_and_cut_off(whole: int, fraction: str) -> None:
    text = f"{whole}.{fraction}" if fraction else str(whole)

    assert seconds_us(text) == int(Decimal(text) * 1_000_000)
    assert millis_us(text) == int(Decimal(text) * 1000)
    assert millis_us(f"{whole * 1000}.{fraction}") == whole * 1_000_000 + int(f"{fraction:0<3}"[:3])


@pytest.mark.parametrize("read", [seconds_us, millis_us])
@pytest.mark.parametrize(
    "text", ["", ".", ".5", "-1", "+1", " 1", "1e9", "1_0", "0x1", "nan", "1.2.3", "9" * 70, "\u0661"]
)
def test_what_is_no_decimal_number_of_this_century_is_refused(read: Callable[[str], int], text: str) -> None:
    with pytest.raises(FrameError):
        read(text)


def test_the_first_microsecond_of_2100_is_refused_in_each_unit() -> None:
    assert seconds_us(f"{LAST_S - 1}.999999") == millis_us(f"{LAST_S * 1000 - 1}.999") == LAST_S * 1_000_000 - 1
    assert ns_us(LAST_S * 10**9 - 1) == LAST_S * 1_000_000 - 1
    for read, value in (
        (seconds_us, f"{LAST_S}"),
        (millis_us, f"{LAST_S * 1000}"),
        (ns_us, LAST_S * 10**9),
        (ns_us, -1),
    ):
        with pytest.raises(FrameError):
            read(value)

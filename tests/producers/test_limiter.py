"""Rate limits: a minute never holds more than the venue allows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.limiter import (
    RETRY_AFTER_LEAST_S,
    RETRY_AFTER_MOST_S,
    RETRY_AFTER_S,
    Address,
    TokenBucket,
    retry_after_s,
)
from producers.venues import bybit
from producers.wire import BANS

S = 1_000_000


@given(st.lists(st.tuples(st.integers(1, 250), st.integers(0, 5 * S)), min_size=1, max_size=200))
def test_no_minute_holds_more_than_the_limit(requests: list[tuple[int, int]]) -> None:
    bucket, now_us, taken = TokenBucket(1200), S, []
    for weight, passed_us in requests:
        now_us += passed_us
        while wait_s := bucket.take(weight, now_us):
            now_us += int(wait_s * 1e6) + 1
        taken.append((now_us, weight))

    for start_us, _ in taken:
        assert sum(weight for at_us, weight in taken if start_us <= at_us < start_us + 60 * S) <= 1200


def test_burst_goes_at_once_and_the_rest_waits() -> None:
    bucket = TokenBucket(6000)

    assert [bucket.take(50, S) for _ in range(24)] == [0.0] * 24
    assert bucket.take(50, S) == pytest.approx(50 / 60)


def test_what_is_refused_costs_nothing() -> None:
    bucket = TokenBucket(100)
    bucket.take(20, S)
    waits = [bucket.take(10, S) for _ in range(3)]

    assert waits[0] == pytest.approx(10.0)
    assert len(set(waits)) == 1


def test_weight_above_the_bucket_passes_when_it_is_full() -> None:
    bucket = TokenBucket(100)

    assert bucket.take(50, S) == 0.0
    assert bucket.take(1, S) > 30


def test_pause_holds_everything_back() -> None:
    bucket = TokenBucket(6000)
    bucket.pause(7.0, S)
    bucket.pause(2.0, S)

    assert bucket.take(1, S) == 7.0
    assert bucket.take(1, 8 * S) == 0.0


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("7", 7.0), (" 3 ", 3.0), ("0", RETRY_AFTER_LEAST_S), ("999999999999999999999", RETRY_AFTER_MOST_S),
        ("9" * 5000, RETRY_AFTER_MOST_S), (None, RETRY_AFTER_S), ("", RETRY_AFTER_S), ("-1", RETRY_AFTER_S),
        ("1.5", RETRY_AFTER_S), ("\xb2", RETRY_AFTER_S), ("nan", RETRY_AFTER_S), ("Sat, 21 Nov", RETRY_AFTER_S),
        ("Thu, 01 Jan 1970 00:10:00 GMT", 540.0), ("Thu, 01 Jan 1970 00:00:00 GMT", RETRY_AFTER_LEAST_S),
        ("Fri, 31 Dec 9999 23:59:59 GMT", RETRY_AFTER_MOST_S), ("Thu, 01 Jan 99999 00:00:00 GMT", RETRY_AFTER_S),
    ],
)  # fmt: skip
def test_retry_after_is_read_as_seconds_or_date_within_bounds(header: str | None, expected: float) -> None:
    assert retry_after_s(header, 60 * S) == expected


@given(st.text(max_size=40))
def test_no_retry_after_is_beyond_the_bounds(header: str) -> None:
    assert RETRY_AFTER_LEAST_S <= retry_after_s(header, 60 * S) <= RETRY_AFTER_MOST_S


def test_ban_holds_back_requests_and_connects_and_a_mere_limit_only_its_own_kind() -> None:
    address = Address(6000, 300)
    assert address.refused(address.connects, 429, "5", S) == 5.0
    assert (address.requests.take(1, S), address.connects.take(1, S)) == (0.0, 5.0)

    assert address.refused(address.connects, 418, None, S) == BANS[418]
    assert (address.requests.take(1, S), address.connects.take(1, S)) == (BANS[418], BANS[418])


def test_connects_are_spread_over_five_minutes() -> None:
    connects = Address(6000, 300).connects

    assert [connects.take(1, S) for _ in range(60)] == [0.0] * 60
    assert connects.take(1, S) == pytest.approx(1 / 0.6)


def test_connects_are_spread_within_what_the_window_gives() -> None:
    address = Address(6000, 300, connects_per_s=4.0)

    assert address.connect(1_000_000) == 0.0
    assert address.connect(1_000_000) == 0.25
    assert address.connect(1_250_000) == 0.0


def test_a_window_smaller_than_one_connect_lets_one_through_when_it_is_full() -> None:
    address = Address(6000, 3, connects_window_s=1.0)

    assert address.connect(1_000_000) == 0.0
    assert 0.0 < address.connect(1_000_000) <= 1.0


def test_a_venue_says_by_which_status_it_bans() -> None:
    address = Address.of(bybit.LIMITS["linear"])

    assert [each for each in (200, 403, 418, 429, 500) if address.is_refusal(each)] == [403, 429]
    assert address.refused(address.requests, 403, None, S) == 600.0
    assert address.connect(S) == 600.0

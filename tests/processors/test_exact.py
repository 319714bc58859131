"""Sums without error."""

from fractions import Fraction
from math import fsum
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from processors.exact import rounded, total

AMOUNTS = st.lists(st.floats(-1e60, 1e60, allow_nan=False, allow_subnormal=False), max_size=30)


@settings(max_examples=200)
@given(AMOUNTS, st.integers(0, 9), st.randoms(use_true_random=False))
def test_a_sum_is_the_same_however_it_is_taken(terms: list[float], at: int, random: Random) -> None:
    whole = total(terms)
    mixed = random.sample(terms, len(terms))
    parts = total([*total(mixed[:at]), *mixed[at:]])

    assert parts == whole
    assert sum(map(Fraction, whole)) == sum(map(Fraction, terms))
    assert rounded(whole) == fsum(terms)


@given(AMOUNTS, AMOUNTS)
def test_terms_can_be_taken_out_again(kept: list[float], gone: list[float]) -> None:
    assert total([*total([*kept, *gone]), *(-each for each in gone)]) == total(kept)

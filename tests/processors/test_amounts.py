"""Prices and sizes that are read together are those that are read one by one, and what is refused is."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from processors.errors import FrameError
from processors.wire import amount, amounts, number, text_levels

PLAIN = st.from_regex(r"[0-9]{1,20}(\.[0-9]{0,20})?", fullmatch=True)
ODD = st.sampled_from(
    ["", ".", "1.", ".5", "0", "0.000", "-0", "-1", "1e-8", "1E+3", "1e400", "1e-40", "0." + "0" * 40 + "1"]
)
JUNK = st.text("0123456789.e-+_ \N{ARABIC-INDIC DIGIT ONE}", max_size=6)


@given(st.lists(PLAIN | ODD | JUNK, max_size=6))
@example(["."])
@example(["1", "."])
@example(["1.2.3", ""])
@example(["9" * 40])
def test_together_is_as_each_by_itself(texts: list[str]) -> None:
    try:
        expected = [amount(text) for text in texts]
    except FrameError:
        with pytest.raises(FrameError):
            amounts(texts)
        return

    assert amounts(texts) == expected


def test_levels_keep_their_digits_and_sides() -> None:
    numbers, texts = text_levels((["1.50", "1.40"], ["2.0", "0.00"]), (["1.60"], ["3"]))

    assert numbers == ([1.5, 1.4], [2.0, 0.0], [1.6], [3.0])
    assert (texts.bid_prices, texts.bid_sizes) == (["1.50", "1.40"], ["2.0", "0.00"])
    assert (texts.ask_prices, texts.ask_sizes) == (["1.60"], ["3"])


def test_a_price_of_zero_is_none() -> None:
    with pytest.raises(FrameError, match="a price is 0"):
        text_levels((["0.0"], ["1"]), ([], []))


@pytest.mark.parametrize("text", ["0", "1234567890123456789", "9223372036854775807", "0000000000000000007"])
def test_whole_numbers_of_64_bits_are_read(text: str) -> None:
    assert number(text) == int(text)


@pytest.mark.parametrize("text", ["9223372036854775808", "12345678901234567890", "-1", "", "1.0", " 1", "1_0"])
def test_other_numbers_are_no_ids(text: str) -> None:
    with pytest.raises(FrameError, match="64 bits"):
        number(text)

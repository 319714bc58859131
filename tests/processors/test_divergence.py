"""A venue whose price leaves the others is named, and no other one; pure, so by values alone."""

from math import exp

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from processors.divergence import Band, Spell, Watch, compare

BAND = Band()
FEW = hypothesis_settings(max_examples=100)
OFFSETS_BPS = st.lists(st.floats(-4.0, 4.0), min_size=3, max_size=8)


def at(**offsets_bps: float) -> dict[str, float]:
    """Mids that lie so many bps from 100."""
    return {venue: 100.0 * exp(bps / 10_000) for venue, bps in offsets_bps.items()}


def outside(mids: dict[str, float]) -> tuple[str, ...]:
    verdict = compare(mids, BAND)
    assert verdict
    return verdict.outside


def test_deviation_and_band_are_those_of_the_formula() -> None:
    verdict = compare(at(a=0, b=3, c=-3, d=200, e=1), BAND)

    assert verdict
    assert verdict.deviation_bps == pytest.approx({"a": -1, "b": 2, "c": -4, "d": 199, "e": 0}, abs=1e-6)
    assert verdict.band_bps == pytest.approx(5 * 1.4826 * 2)
    assert verdict.outside == ("d",)


def test_venues_that_agree_exactly_leave_the_floor() -> None:
    assert outside(at(a=0, b=0, c=0, d=9.9)) == ()
    assert outside(at(a=0, b=0, c=0, d=-10.1)) == ("d",)


def test_a_wide_market_is_given_a_wide_band() -> None:
    assert outside(at(a=0, b=40, c=-40, d=80)) == ()


def test_of_two_both_are_named_and_one_alone_is_not_compared() -> None:
    assert outside(at(a=0, b=9.9)) == ()
    assert outside(at(a=0, b=10.1)) == ("a", "b")
    assert compare(at(a=0), BAND) is None
    assert compare({}, BAND) is None


@FEW
@given(OFFSETS_BPS, st.data(), st.sampled_from((-1, 1)))
def test_fewer_than_half_are_named_and_hide_nobody(offsets_bps: list[float], data: st.DataObject, sign: int) -> None:
    good = {f"good{number}": bps for number, bps in enumerate(offsets_bps)}
    count = data.draw(st.integers(0, len(good) - 1))
    bad = {f"bad{number}": sign * data.draw(st.floats(70, 5_000)) for number in range(count)}

    assert set(outside(at(**good, **bad))) == set(bad)


@FEW
@given(OFFSETS_BPS, st.floats(1e-8, 1e8))
def test_only_ratios_of_prices_matter(offsets_bps: list[float], scale: float) -> None:
    mids = at(**{f"v{number}": 3 * bps for number, bps in enumerate(offsets_bps)})
    scaled = {venue: scale * mid for venue, mid in mids.items()}
    verdicts = compare(mids, BAND), compare(scaled, BAND)

    assert verdicts[0]
    assert verdicts[1]
    assert verdicts[0].deviation_bps == pytest.approx(verdicts[1].deviation_bps, abs=1e-6)
    assert verdicts[0].band_bps == pytest.approx(verdicts[1].band_bps, abs=1e-6)


def test_a_spell_lasts_from_leaving_the_band_to_being_back() -> None:
    watch = Watch("BTC/USDT", BAND)
    told = [watch.step(second, at(a=0, b=1, c=bps)) for second, bps in enumerate([0, 50, 90, 60, 1])]

    assert told[:4] == [[]] * 4
    [spell] = told[4]
    assert (spell.symbol, spell.venue, spell.start_s, spell.last_s, spell.seconds) == ("BTC/USDT", "c", 1, 3, 3)
    assert (spell.worst_bps, spell.band_bps, spell.venues) == (pytest.approx(89), pytest.approx(10), 3)


def test_what_is_over_soon_is_not_told() -> None:
    watch = Watch("BTC/USDT", BAND)
    told = [watch.step(second, at(a=0, b=1, c=bps)) for second, bps in enumerate([0, 50, 50, 0])]

    assert told == [[]] * 4
    assert watch.finish() == []


def test_a_venue_holds_its_last_price_until_it_is_too_old() -> None:
    watch = Watch("BTC/USDT", BAND)
    watch.step(0, at(a=0, b=0, c=0))
    told = [watch.step(second, at(a=50, b=50)) for second in range(1, 13)]

    assert [len(each) for each in told] == [0] * 10 + [1, 0]
    assert (told[10][0].venue, told[10][0].seconds) == ("c", 10)


def test_what_is_open_at_the_end_is_told_once() -> None:
    watch = Watch("BTC/USDT", BAND)
    for second in range(5):
        watch.step(second, at(a=0, b=0, c=-30))
    rest: list[Spell] = watch.finish()

    assert [(each.venue, each.seconds) for each in rest] == [("c", 5)]
    assert watch.finish() == []

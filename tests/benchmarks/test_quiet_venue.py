"""The simulated venue without sockets: what a producer would write, of each venue that is measured."""

import pytest

from benchmarks.market import Made, Place, QuietVenue
from benchmarks.scale import PLACES
from processors.pipeline import Pipeline
from schemas.records import DeadLetter, QualityEvent

EXPECTED = {"CONNECT", "BOOK_READY"}


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.venue)
def test_all_books_stand_and_nothing_is_missing(place: Place) -> None:
    venue = QuietVenue(place, symbols=4, rate=400)
    pipeline = Pipeline(place.venue, f"raw.{place.venue.lower()}", 0)

    made: list[Made] = [*venue.begin(), *venue.seconds(1)]
    records = [each for offset, one in enumerate(made) for each in pipeline.process(offset, one.raw).records]

    assert pipeline.books() == (4, 0)
    assert {each.kind for each in records if isinstance(each, QualityEvent)} == EXPECTED
    assert not [each.reason for each in records if isinstance(each, DeadLetter)]


def test_partitions_share_the_symbols() -> None:
    venue = QuietVenue(Place("BYBIT", "linear"), symbols=16, rate=800, partitions=4)
    pipelines = [Pipeline("BYBIT", "raw.bybit", number, partition_count=4) for number in range(4)]

    for offset, (partition, raw) in enumerate([*venue.begin(), *venue.seconds(1)]):
        pipelines[partition].process(offset, raw)

    assert [each.books()[1] for each in pipelines] == [0] * 4
    assert sum(each.books()[0] for each in pipelines) == 16

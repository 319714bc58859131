"""The life of a topic is part of the names of objects, so it must never cut one in two."""

from hypothesis import given
from hypothesis import strategies as st

from sinks.chunk import Span
from sinks.stored import object_name
from tickerplant.once import life_of

BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def test_an_id_with_a_slash_makes_one_name() -> None:
    """A name with a slash is a folder with a hidden file, which no reader of the lake sees."""
    span = Span(topic="cleaned.tick", partition=0, start=0, end=262, generation=life_of("WW4E8af/QdmAf2Ub6vYhfQ"))

    assert object_name(span) == "cleaned.tick-0-0000000000000000000-0000000000000000262-WW4E8af_.parquet"


@given(st.text(BASE64, min_size=22, max_size=22))
def test_ids_stay_apart_and_are_safe_in_paths(topic_id: str) -> None:
    short = life_of(topic_id)

    assert not set(short) & set("/+")
    assert short.translate(str.maketrans("-_", "+/")) == topic_id[: len(short)]

"""Exhaustive damage for every venue: each node of each documented message removed or replaced, one at a time.

Messages stand in `tests/messages/<venue>.json`, by market and name; those named `before...` are said first.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from fuzz.seeds import messages, whole_messages
from processors.venues import VENUES
from schemas.codec import Encoder
from schemas.quality import QUALITY_KINDS
from schemas.records import DeadLetter, QualityEvent
from tickerplant.damage import damaged

OTHERS = sorted(set(VENUES) - {"BINANCE"})  # which has its own, older file


def cases() -> Iterator[tuple[str, str, str]]:
    for venue in OTHERS:
        for market in VENUES[venue].MARKETS:
            yield from (
                (venue, market, name) for name in whole_messages(venue, market) if not name.startswith("before")
            )


def started(new_run: Any, venue: str, market: str) -> Any:
    """Make a run that knows what has to be known before."""
    run = new_run(market, venue)
    run.say(*(each for name, each in whole_messages(venue, market).items() if name.startswith("before")))
    return run


def check(records: list[Any], payload: bytes, what: str) -> bool:
    """Check that what came can reach Kafka, and tell whether the message was refused."""
    for record in records:
        assert not isinstance(record, QualityEvent) or record.kind in QUALITY_KINDS
        Encoder(type(record), 1).encode(record)
    letters = [each for each in records if isinstance(each, DeadLetter)]
    assert all(letter.payload == payload for letter in letters), what
    return bool(letters)


@pytest.mark.parametrize("venue", OTHERS)
def test_messages_of_all_markets_are_written(venue: str) -> None:
    assert set(messages(venue)) == set(VENUES[venue].MARKETS)


@pytest.mark.parametrize(("venue", "market", "name"), list(cases()))
def test_a_whole_message_is_used_and_a_damaged_one_a_dead_letter_or_still_valid(
    new_run: Any, venue: str, market: str, name: str
) -> None:
    message = whole_messages(venue, market)[name]
    run = started(new_run, venue, market)
    refused = 0
    assert not check(run.say(message), b"", "the whole message")
    for what, variant in damaged(message):
        payload = json.dumps(variant).encode()
        refused += check(run.take(run.feed.frame(payload)), payload, what)

    assert refused > 3


@pytest.mark.parametrize("venue", OTHERS)
def test_any_byte_replaced_or_all_after_it_cut_stops_nothing(new_run: Any, venue: str) -> None:
    for market in VENUES[venue].MARKETS:
        run = started(new_run, venue, market)
        for message in whole_messages(venue, market).values():
            whole = json.dumps(message, separators=(",", ":")).encode()
            for at in range(0, len(whole), 3):
                for payload in (whole[:at] + b"\xff" + whole[at + 1 :], whole[:at]):
                    check(run.take(run.feed.frame(payload)), payload, f"at {at}")
        assert run.of(DeadLetter)

"""Exhaustive damage: every node of every documented message removed or replaced, one at a time."""

import json
from typing import Any

import pytest

from schemas.codec import Encoder
from schemas.quality import QUALITY_KINDS
from schemas.records import DeadLetter, QualityEvent, Tick
from tickerplant.damage import damaged

DOCUMENTED_STREAMS = 17


def encode_all(records: list[Any]) -> None:
    """What came out must reach Kafka: a record that cannot be encoded would stop the processor for ever."""
    for record in records:
        assert not isinstance(record, QualityEvent) or record.kind in QUALITY_KINDS
        Encoder(type(record), 1).encode(record)


def test_all_documented_streams_are_damaged(messages: Any) -> None:
    assert len(messages) == DOCUMENTED_STREAMS + 1


@pytest.mark.parametrize("place", range(DOCUMENTED_STREAMS + 1))
def test_a_damaged_message_is_a_dead_letter_or_still_valid(new_run: Any, messages: Any, place: int) -> None:
    (market, stream), data = list(messages.items())[place]
    run = new_run(market)
    outcomes = 0
    for what, variant in damaged({"stream": stream, "data": data}):
        payload = json.dumps(variant).encode()
        records = run.take(run.feed.frame(payload))

        encode_all(records)
        letters = [each for each in records if isinstance(each, DeadLetter)]
        assert all(letter.payload == payload for letter in letters), what
        outcomes += bool(letters)
    assert outcomes > 50


def test_a_damaged_snapshot_is_a_dead_letter_or_still_valid(new_run: Any) -> None:
    run = new_run("coinm")
    body = {
        "lastUpdateId": 5, "E": 1654222838718, "T": 1654222838710, "symbol": "BTCUSD_PERP", "pair": "BTCUSD",
        "bids": [["30626.7", "827"]], "asks": [["30626.8", "114"]],
    }  # fmt: skip
    url = "https://api.example/dapi/v1/depth?symbol=BTCUSD_PERP&limit=1000"
    for _, variant in damaged(body):
        encode_all(run.take(run.feed.frame(json.dumps(variant).encode(), "HTTP", request=url)))

    assert len(run.of(DeadLetter)) > 50


@pytest.mark.parametrize("byte", [b"\xff", b"\x00", b'"', b"[", b"9"])
def test_any_byte_replaced_stops_nothing(new_run: Any, messages: Any, wrap: Any, byte: bytes) -> None:
    for (market, stream), data in messages.items():
        run = new_run(market)
        whole = wrap(stream, data)
        for at in range(len(whole)):
            payload = whole[:at] + byte + whole[at + 1 :]
            records = run.take(run.feed.frame(payload))

            encode_all(records)
            assert all(each.payload == payload for each in records if isinstance(each, DeadLetter))
        assert run.of(DeadLetter)


def test_a_frame_cut_anywhere_is_a_dead_letter(new_run: Any, messages: Any, wrap: Any) -> None:
    for (market, stream), data in messages.items():
        run = new_run(market)
        whole = wrap(stream, data)
        for length in range(len(whole)):
            run.take(run.feed.frame(whole[:length]))

        assert len(run.of(DeadLetter)) == len(whole)
        assert not run.of(Tick)

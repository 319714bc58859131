"""The base of dialogues: requests within limits, answers by id, pings when due, gzip looked into within bounds."""

import gzip
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from producers.dialogue import Talk, inflated
from producers.wire import Answer, Limits, Stream


def limits(**changes: Any) -> Limits:
    values: dict[str, Any] = {
        "streams_per_connection": 10, "streams_per_request": 4, "messages_per_s": 1, "weight_per_window": 1,
        "life_s": 1,
    }  # fmt: skip
    return Limits(**values | changes)


def stream(name: str) -> Stream:
    return Stream(name=name, channel=name[0], venue_symbol=name, partition=0, url="")


class ByChannel(Talk):
    PING = b"ping"

    def request(self, verb: str, number: int, streams: Any) -> bytes:
        return f"{verb} {number} {','.join(each.name for each in streams)}".encode()

    def topic(self, stream: Stream) -> str:
        return stream.channel


@given(
    names=st.lists(st.from_regex(r"[abc][a-z]{1,12}", fullmatch=True), unique=True, max_size=40),
    most=st.integers(1, 7),
    size=st.integers(20, 80),
)
def test_every_stream_is_in_one_request_of_its_topic_within_number_and_bytes(
    names: list[str], most: int, size: int
) -> None:
    talk = ByChannel(limits(streams_per_request=most, request_bytes=size))
    asks = talk.subscribe([stream(name) for name in names])

    assert sorted(name for each in asks for name in each.names) == sorted(names)
    for number, each in enumerate(asks, 1):
        assert each.payload == f"subscribe {number} {','.join(each.names)}".encode()
        assert len({name[0] for name in each.names}) == 1
        assert len(each.names) <= most
        assert len(each.payload) <= size or len(each.names) == 1


def test_answers_by_id_tell_the_streams_once() -> None:
    talk = ByChannel(limits())
    talk.subscribe([stream("aa"), stream("ab"), stream("ba")])
    talk.unsubscribe([stream("aa")])

    assert talk.accepted("2") == Answer(subscribed=("ba",))
    assert talk.accepted(2) == Answer()
    assert talk.rejected(1, "no") == Answer(refused=("aa", "ab"), refusal="no")
    assert talk.rejected(3, "not subscribed") == Answer()
    assert talk.rejected(4, "") == Answer(refusal="no reason given")


def test_pings_are_due_in_their_interval() -> None:
    talk = ByChannel(limits())

    assert [talk.tick(second * 1_000_000) for second in (1, 20, 21, 22, 41)] == [(), (), (b"ping",), (), (b"ping",)]
    assert Talk(limits()).tick(10**15) == ()


@given(st.binary(max_size=2000))
def test_packed_frames_are_looked_into_and_others_taken_as_they_are(payload: bytes) -> None:
    assert inflated(gzip.compress(payload), 100) == payload[:100]
    if payload[:2] != b"\x1f\x8b":
        assert inflated(payload, 100) == payload[:100]


def test_a_bomb_is_unpacked_no_further_than_asked_for() -> None:
    bomb = gzip.compress(bytes(50_000_000))

    assert inflated(bomb) == bytes(512)
    assert inflated(bomb[:20]) in {b"", bytes(len(inflated(bomb[:20])))}
    assert inflated(b"\x1f\x8bnot gzip at all") == b""

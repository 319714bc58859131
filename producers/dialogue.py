"""A base for dialogues: requests within limits, answers told by their ids, pings of the venue's own kind; pure."""

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import ClassVar, Final, Literal

import msgspec

from producers.wire import Answer, Ask, Limits, Stream

Verb = Literal["subscribe", "unsubscribe"]

MALFORMED: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are not what they should be."""
GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS
HEAD_BYTES: Final = 512  # enough to tell the stream of a message
ANSWER_BYTES: Final = 64 * 1024  # of answers and notices


class Talk:
    """A dialogue whose requests are numbered; a venue's own says how they look and what its answers mean.

    A class for a venue offers `request` and `answer`, mostly `stream_of`, and changes what differs.

    Args:
        limits: of the market.

    Attributes:
        PING: what keeps the connection alive; b"" = nothing (pings of the WebSocket protocol are not meant).
        PING_EVERY_S: how often it is sent.
    """

    PING: ClassVar[bytes] = b""
    PING_EVERY_S: ClassVar[float] = 20.0
    waits_for_welcome = False

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.number = 0  # of the last request
        self.asked: dict[str, tuple[str, ...]] = {}  # by number: streams that a request subscribes to, () = none
        self._pinged_time_us = 0

    def opening(self) -> Sequence[bytes]:
        """Send nothing first."""
        return ()

    def request(self, verb: Verb, number: int, streams: Sequence[Stream]) -> bytes:
        """Make one request about streams, which share a `topic`."""
        raise NotImplementedError

    def topic(self, stream: Stream) -> str:
        """Tell what streams of one request have in common: by default nothing."""
        del stream
        return ""

    def subscribe(self, streams: Sequence[Stream]) -> Sequence[Ask]:
        """Make as few requests as the limits allow, and note what each is about."""
        return list(self._asks("subscribe", streams))

    def unsubscribe(self, streams: Sequence[Stream]) -> Sequence[Ask]:
        """Make as few requests as the limits allow."""
        return [Ask(payload=each.payload) for each in self._asks("unsubscribe", streams)]

    def snapshot(self, streams: Sequence[Stream]) -> Sequence[Ask]:
        """Ask for nothing."""
        del streams
        return ()

    def stream_of(self, payload: bytes) -> bytes:
        """Take everything for an answer: of a venue that says in which."""
        del payload
        return b""

    def tick(self, now_us: int) -> Sequence[bytes]:
        """Send the ping when it is due."""
        if not self._pinged_time_us:
            self._pinged_time_us = now_us
        if not self.PING or now_us - self._pinged_time_us < self.PING_EVERY_S * 1e6:
            return ()
        self._pinged_time_us = now_us
        return (self.ping(now_us),)

    def ping(self, now_us: int) -> bytes:
        """Make the ping; the same each time unless a venue wants it otherwise."""
        del now_us
        return self.PING

    def accepted(self, number: object) -> Answer:
        """Say that the request of a number was granted; an unknown one says nothing."""
        return Answer(subscribed=self.asked.pop(str(number), ()))

    def rejected(self, number: object, refusal: str) -> Answer:
        """Say that a request was refused: an unsubscription does no harm, an unknown one spoils the connection."""
        names = self.asked.pop(str(number), None)
        return Answer() if names == () else Answer(refused=names or (), refusal=refusal or "no reason given")

    def _asks(self, verb: Verb, streams: Sequence[Stream]) -> Iterator[Ask]:
        for together in batches(streams, self.topic, self.limits.streams_per_request):
            yield from self._fitting(verb, together)

    def _fitting(self, verb: Verb, streams: Sequence[Stream]) -> Iterator[Ask]:
        """Make one request, or two halves where it would be too large."""
        payload = self.request(verb, self.number + 1, streams)
        if len(payload) > self.limits.request_bytes and len(streams) > 1:
            half = len(streams) // 2
            yield from self._fitting(verb, streams[:half])
            yield from self._fitting(verb, streams[half:])
            return
        self.number += 1
        names = tuple(each.name for each in streams)
        self.asked[str(self.number)] = names if verb == "subscribe" else ()
        yield Ask(payload=payload, names=names)


def batches(streams: Iterable[Stream], topic: Callable[[Stream], str], most: int) -> Iterator[Sequence[Stream]]:
    """Part streams by topic, then by number; in order of the topics, else in their own.

    >>> both = [Stream(name=n, channel=n[0], venue_symbol=n, partition=0, url="") for n in ("b1", "a1", "b2", "b3")]
    >>> [[each.name for each in found] for found in batches(both, lambda stream: stream.channel, 2)]
    [['a1'], ['b1', 'b2'], ['b3']]
    """
    for _, group in groupby(sorted(streams, key=topic), key=topic):
        together = list(group)
        for at in range(0, len(together), most):
            yield together[at : at + most]


def cut(payload: bytes, before: bytes, after: bytes = b'"') -> bytes:
    """Cut out what stands between two marks; b"" = they are not there.

    >>> cut(b'{"topic":"trade.BTC","data":[]}', b'"topic":"')
    b'trade.BTC'
    """
    at = payload.find(before)
    if at < 0:
        return b""
    at += len(before)
    end = payload.find(after, at)
    return payload[at:end] if end >= 0 else b""


def inflated(payload: bytes, most_bytes: int = HEAD_BYTES) -> bytes:
    """Unpack the start of a gzip frame, at most so many bytes; what is no gzip comes back as it is, as far.

    A frame of a few bytes can hold gigabytes: no more than asked for is ever made of it.
    """
    if payload[:2] != b"\x1f\x8b":
        return payload[:most_bytes]
    try:
        return zlib.decompressobj(GZIP_WINDOW).decompress(payload, most_bytes)
    except zlib.error:
        return b""

"""One connection to Binance: streams of its address, requests, and the notice of a shutdown.

Source: https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from tickerplant.local.venue.dialect import (
    Action,
    Conversation,
    Endpoint,
    Handshake,
    Now,
    Refused,
    Say,
    Stream,
    Subscribe,
    Unsubscribe,
)
from tickerplant.local.venue.dialects.binance.streams import SERVED, channel_of, is_stream, stream_of
from tickerplant.local.venue.dialects.binance.subscriptions import STREAMS_MOST, Subscriptions

DATA_FIELD: Final = b'"data":'
ENDPOINTS: Final = tuple(
    Endpoint(
        name=name,
        market=name.partition("/")[0],
        paths=tuple(
            name.removeprefix(name.partition("/")[0]) + path for path in ("/stream", "/ws", "/ws/{streams:.+}")
        ),
    )
    for name in SERVED
)


def converse(handshake: Handshake) -> Conversation:
    """Begin with a connection, which may name streams in its address.

    Raises:
        Refused: a name is no stream, or there are too many.
    """
    is_combined = "streams" not in handshake.path
    text = handshake.query.get("streams", "") if is_combined else handshake.path["streams"]
    names = [name for name in text.split("/") if name]
    if len(names) > STREAMS_MOST or not all(map(is_stream, names)):
        raise Refused(400, b"invalid stream", "text/plain")
    subscriptions = Subscriptions(names, is_combined=is_combined)
    many = SpotConversation if handshake.endpoint.market == "spot" else FuturesConversation
    return many(handshake.endpoint, subscriptions)


class BinanceConversation(Conversation):
    """Keeps what the connection listens to in line with what it asked for, as far as its address serves that."""

    def __init__(self, endpoint: Endpoint, subscriptions: Subscriptions) -> None:
        self._market = endpoint.market
        self._served = SERVED[endpoint.name]
        self._subscriptions = subscriptions
        self._heard: dict[str, Stream] = {}
        self.does_finish = not subscriptions.is_combined

    def open(self, now: Now) -> Iterable[Action]:
        """Subscribe to what the address names."""
        del now
        return self._changes()

    def receive(self, message: bytes, now: Now) -> Iterable[Action]:
        """Do what a request asks."""
        del now
        answer = self._subscriptions.answer(message)
        self.does_finish = not self._subscriptions.is_combined
        return [*self._changes(), Say(answer)]

    def maintenance(self, now: Now) -> Iterable[bytes]:
        """Announce a shutdown."""
        return (msgspec.json.encode({"e": "serverShutdown", "E": now.ms}),)

    def finish(self, stream: Stream | None, payload: bytes) -> bytes:
        """Take the wrapping off where it is not wanted."""
        del stream
        return bare(payload)

    def _changes(self) -> list[Action]:
        wanted = [name for name in self._subscriptions.streams if channel_of(name) in self._served]
        known, self._heard = self._heard, {name: stream_of(self._market, name) for name in wanted}
        gone: list[Action] = [Unsubscribe(stream) for name, stream in known.items() if name not in self._heard]
        return [*gone, *(Subscribe(stream) for name, stream in self._heard.items() if name not in known)]


class SpotConversation(BinanceConversation):
    """Five messages a second."""

    most_messages = (5, 1.0)


class FuturesConversation(BinanceConversation):
    """Ten messages a second."""

    most_messages = (10, 1.0)


def bare(combined: bytes) -> bytes:
    """Take the message of a single stream out of a combined one, byte for byte; a damaged one stays as it is.

    >>> bare(b'{"stream":"btcusdt@trade","data":{"e":"trade"}}')
    b'{"e":"trade"}'
    """
    at = combined.find(DATA_FIELD)
    return combined if at < 0 else combined[at + len(DATA_FIELD) : -1]

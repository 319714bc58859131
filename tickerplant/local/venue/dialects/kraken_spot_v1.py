"""Kraken's WebSocket API 1 as far as recordings of it are played: subscriptions by pair, books as they stand.

Source: https://docs.kraken.com/api/docs/websocket-v1/subscribe
Source: https://docs.kraken.com/api/docs/websocket-v1/book
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from tickerplant.local.venue.dialect import (
    Action,
    Book,
    Conversation,
    Frame,
    Kind,
    Levels,
    Now,
    Say,
    Stream,
    Subscribe,
    Unsubscribe,
    Writer,
)
from tickerplant.local.venue.dialect import Market as Symbols

MARKET: Final = "spot_v1"
KINDS: Final[dict[str, Kind]] = {
    "book": "depth", "trade": "trade", "ticker": "ticker", "spread": "quote", "ohlc": "candle",
}  # fmt: skip
DEPTH: Final = 10
MINUTE_MS: Final = 60_000
IDLE_S: Final = 1.0


class SpotV1Conversation(Conversation):
    """Events: subscribe, unsubscribe, ping. Each pair of a subscription is answered by itself."""

    tick_s = 0.25

    def __init__(self, symbols: Symbols) -> None:
        self._symbols = symbols
        self._beat_s = 0.0

    def open(self, now: Now) -> Iterable[Action]:
        """Tell the state of the system."""
        del now
        return (Say(_status("online")),)

    def receive(self, message: bytes, now: Now) -> Iterable[Action]:
        """Do an event."""
        del now
        try:
            event = msgspec.json.decode(message)
        except (msgspec.DecodeError, UnicodeDecodeError):
            event = None
        verb = event.get("event") if isinstance(event, Mapping) else None
        if verb == "ping":
            return (_say({"event": "pong", **_number(event)}),)
        if verb not in {"subscribe", "unsubscribe"} or not isinstance(event.get("subscription"), Mapping):
            return (_say({"errorMessage": "Malformed request", "event": "error"}),)
        return [action for pair in event.get("pair") or [] for action in self._one(event, str(pair))]

    def tick(self, now: Now) -> Iterable[Action]:
        """Send a heartbeat each second in which nothing else was sent."""
        if now.quiet_s < IDLE_S or now.s - self._beat_s < IDLE_S:
            return ()
        self._beat_s = now.s
        return (_say({"event": "heartbeat"}),)

    def maintenance(self, now: Now) -> Iterable[bytes]:
        """Tell that the system goes into maintenance."""
        del now
        return (_status("maintenance"),)

    def _one(self, event: Mapping[str, Any], pair: str) -> Iterable[Action]:
        wanted = event["subscription"]
        name, verb = wanted.get("name"), event["event"]
        said = {"event": "subscriptionStatus", "pair": pair, **_number(event), "subscription": wanted}
        if name not in KINDS or self._symbols.listing(MARKET, pair) is None:
            why = "Subscription name invalid" if name not in KINDS else f"Currency pair not supported {pair}"
            return (_say({"errorMessage": why, "status": "error", **said}),)
        detail = int({"book": wanted.get("depth", DEPTH), "ohlc": wanted.get("interval", 1)}.get(name, 0))
        channel = f"{name}-{detail}" if detail else name
        stream = Stream(
            market=MARKET, name=f"{channel}:{pair}", kind=KINDS[name], symbol=pair, channel=name,
            every_ms=detail * MINUTE_MS if name == "ohlc" else 100, levels=detail if name == "book" else 0,
            form=channel,
        )  # fmt: skip
        answer = _say({"channelID": 0, "channelName": channel, "status": f"{verb}d", **said})
        return (answer, Subscribe(stream, with_first=True)) if verb == "subscribe" else (Unsubscribe(stream), answer)


class SpotV1Writer(Writer):
    """Writes books; all else stands in the recording."""

    def book(self, stream: Stream, book: Book, now_ms: int) -> Iterable[Frame]:
        """Write a snapshot."""
        time = f"{now_ms // 1000}.{now_ms % 1000:03}000"
        sides = {"as": _levels(book.asks, time), "bs": _levels(book.bids, time)}
        return (Frame(msgspec.json.encode([0, sides, stream.form, stream.symbol]), book.last_id, book.last_id),)


def _levels(levels: Levels, time: str) -> list[tuple[str, str, str]]:
    return [(price, size, time) for price, size in levels]


def _status(state: str) -> bytes:
    return msgspec.json.encode(
        {"connectionID": 8628615390848610000, "event": "systemStatus", "status": state, "version": "1.9.2"}
    )


def _number(event: Mapping[str, Any]) -> dict[str, Any]:
    return {"reqid": event["reqid"]} if "reqid" in event else {}


def _say(body: Mapping[str, Any]) -> Say:
    return Say(msgspec.json.encode(body))

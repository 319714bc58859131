"""What each dialect answers is read as the answer that it is by the venue's dialogue of producers; without sockets."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

import pytest

from producers.plan import connections
from producers.plan import streams as streams_of
from producers.venues import VENUES as WIRES
from producers.wire import Answer, Ask, Dialogue, Stream
from schemas.records import Instrument
from tickerplant.local.venue import SyntheticOptions
from tickerplant.local.venue.dialect import Action, Close, Conversation, Endpoint, Handshake, Market, Now, Say
from tickerplant.local.venue.dialects import DIALECTS, kucoin
from tickerplant.local.venue.hub import Hub
from tickerplant.local.venue.synthetic import SyntheticMarket
from tickerplant.settings import Venue

NOW_MS: Final = 1_795_910_400_000
MARKETS: Final = [
    (name, market)
    for name, dialect in DIALECTS.items()
    for market, terms in dialect.MARKETS.items()
    if terms.share and market in WIRES[name].MARKETS
]
NO_SUCH: Final = "NOSUCHUSDT"
TELLS_NO_REFUSAL: Final = frozenset({"BINANCE"})
"""Venues that take any stream, and then say nothing of it."""
WANT_HEARTBEATS: Final = frozenset({"DERIBIT", "HTX", "HYPERLIQUID", "KUCOIN", "OKX"})
"""Venues that cut a client which says nothing in a way of theirs."""


@dataclass
class Talking:
    """One connection: what is sent is answered at once, and read as `producers.websocket` reads it."""

    dialogue: Dialogue
    conversation: Conversation
    names: frozenset[str]
    unanswered: dict[str, None] = field(default_factory=dict)
    granted: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    fatal: list[str] = field(default_factory=list)
    is_cut: bool = False
    now_s: float = 0.0
    _said_s: float = 0.0  # by the venue
    _waiting: deque[Ask] = field(default_factory=deque)

    def open(self) -> None:
        self._hear(self.conversation.open(self._now()))
        self.say(Ask(payload=each) for each in self.dialogue.opening())

    def say(self, asks: Iterable[Ask]) -> None:
        self._waiting.extend(asks)
        while self._waiting:
            ask = self._waiting.popleft()
            self.unanswered |= dict.fromkeys(ask.names)
            self._hear(self.conversation.receive(ask.payload, self._now()))

    def live(self, seconds: int, *, is_mute: bool = False) -> None:
        """Let time pass in which there is no market data."""
        for _ in range(seconds * 2):
            self.now_s += 0.5
            if not is_mute:
                self.say(Ask(payload=each) for each in self.dialogue.tick(int((NOW_MS + self.now_s * 1000) * 1000)))
            self._hear(self.conversation.tick(self._now()))
            if is_mute:
                self._waiting.clear()
            else:
                self.say(())

    def _hear(self, actions: Iterable[Action]) -> None:
        for action in actions:
            self.is_cut = self.is_cut or isinstance(action, Close)
            if isinstance(action, Say):
                self._said_s = self.now_s
                payload = self._as_sent(action)
                if self.dialogue.stream_of(payload).decode() not in self.names:
                    self._read(self.dialogue.answer(payload) or Answer())

    def _as_sent(self, said: Say) -> bytes:
        is_unfinished = not said.is_finished and self.conversation.does_finish
        payload = self.conversation.finish(None, said.payload) if is_unfinished else said.payload
        encode = type(self.conversation).encode
        return encode(payload) if encode else payload

    def _read(self, answer: Answer) -> None:
        self._waiting.extend(Ask(payload=each) for each in answer.sends)
        if answer.refusal and not answer.refused:
            self.fatal.append(answer.refusal)
        for name in answer.subscribed:
            if name in self.unanswered:
                del self.unanswered[name]
                self.granted.append(name)
        for name in answer.refused:
            if name in self.unanswered:
                del self.unanswered[name]
                self.refused[name] = answer.refusal

    def _now(self) -> Now:
        return Now(NOW_MS + int(self.now_s * 1000), self.now_s, self.now_s - self._said_s)


def instrument(name: str, market: str, symbol: str) -> Instrument:
    return Instrument(
        event_time_us=0, venue=name, market=market, venue_symbol=symbol, symbol=symbol, asset_class="CRYPTO",
        kind="SPOT", base="A", quote="B",
    )  # fmt: skip


def planned(name: str, market: str, symbols: Sequence[str]) -> Iterator[tuple[str, tuple[Stream, ...]]]:
    """List the addresses of a market and their streams."""
    entry = Venue(
        venue=name, market=market, symbols=("*",), channels=WIRES[name].CHANNELS[market], websocket_url="ws://venue"
    )
    for plan in connections(entry, streams_of(entry, [instrument(name, market, each) for each in symbols], 1)):
        yield urlsplit(plan.url).path or "/", plan.streams


def endpoint_of(name: str, market: str, path: str) -> Endpoint:
    """Find the endpoint of a path; the only one of a market may be told by a ticket instead."""
    found = [each for each in DIALECTS[name].ENDPOINTS if each.market == market]
    return found[0] if len(found) == 1 else next(each for each in found if path in each.paths)


def talk(name: str, market: str, symbols: Market, path: str, streams: Iterable[Stream]) -> Talking:
    handshake = Handshake(
        endpoint=endpoint_of(name, market, path), path={}, query={"token": kucoin.TOKEN}, market=symbols
    )
    dialogue = WIRES[name].dialogue(market, b"")
    talking = Talking(dialogue, DIALECTS[name].converse(handshake), frozenset(each.name for each in streams))
    talking.open()
    return talking


@pytest.mark.parametrize(("name", "market"), MARKETS)
def test_each_stream_is_granted_once_asked_for_again_refused_where_there_is_none(name: str, market: str) -> None:
    made = SyntheticMarket(SyntheticOptions(symbols=3, markets=(market,)), DIALECTS[name], Hub(), lambda: NOW_MS * 1000)
    symbols = [each.symbol for each in made.listings(market)]

    for path, streams in planned(name, market, [*symbols, NO_SUCH]):
        wanted = [each for each in streams if NO_SUCH.lower() not in each.name.lower()]
        none = [each for each in streams if each not in wanted]
        talking = talk(name, market, made, path, streams)
        talking.say(talking.dialogue.subscribe(wanted))

        assert sorted(talking.granted) == sorted(each.name for each in wanted)

        talking.say((*talking.dialogue.unsubscribe(wanted[:1]), *talking.dialogue.subscribe(wanted[:1])))

        assert talking.granted[len(wanted) :] == [wanted[0].name]

        for each in none:
            talking.say(talking.dialogue.subscribe((each,)))

        assert list(talking.refused) == ([] if name in TELLS_NO_REFUSAL else [each.name for each in none])
        assert (talking.fatal, talking.unanswered) == ([], {})


@pytest.mark.parametrize(("name", "market"), MARKETS)
def test_a_connection_without_data_is_kept_by_what_the_dialogue_says_now_and_then(name: str, market: str) -> None:
    made = SyntheticMarket(SyntheticOptions(symbols=1, markets=(market,)), DIALECTS[name], Hub(), lambda: NOW_MS * 1000)
    symbols = [each.symbol for each in made.listings(market)]

    for path, streams in planned(name, market, symbols):
        talking, mute = (talk(name, market, made, path, streams) for _ in range(2))
        for each in (talking, mute):
            each.say(each.dialogue.subscribe(streams))
        talking.live(300)
        mute.live(300, is_mute=True)

        assert not talking.is_cut
        assert mute.is_cut is (name in WANT_HEARTBEATS)

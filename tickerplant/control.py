"""`tickerplant ctl`: what shall be captured (→ `control.wanted`), what shall be done once (→ `control.command`)."""

from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from typing import Any, Final

from producers.commands import wanted_key
from producers.plan import NEAR, find_wire, word_of
from producers.venues import VENUES
from producers.wire import Wire
from producers.wishes import ALL, Wishes
from schemas.records import ControlCommand, ControlWanted, Instrument
from schemas.symbology import SymbolError, Symbology
from schemas.topics import COMMAND, INSTRUMENT, WANTED, Topic
from tickerplant.choices import check_market, chosen_venue
from tickerplant.clock import now_us
from tickerplant.errors import DependencyError, UserError
from tickerplant.kafka import KafkaException, Message, Publisher, consumer, partition_count, read_to_end
from tickerplant.registry import Registry
from tickerplant.settings import Settings, Venue

GROUP: Final = "tickerplant.ctl"  # names our connections; nothing is committed


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a command is about, as it was given.

    Args:
        market: None = the only one of the venue that the settings name.
        symbols: venue symbols or canonical ones; `*` = all; () = the market.
        channels: () = those of the settings.
    """

    venue: str
    market: str | None = None
    symbols: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()


class Control:
    """What the control topics say, and a hand to write there. No server is asked before it must be.

    Raises:
        UserError: from each method, where what is given is unknown, the deployment lacks a topic or a schema, or the
            broker refuses us.
        DependencyError: from each method, where broker or registry does not answer.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @cached_property
    def _registry(self) -> Registry:
        return Registry(self._settings)

    @cached_property
    def _wanted(self) -> dict[bytes, ControlWanted]:
        """What `control.wanted` said when it was first asked for, by key."""
        found: dict[bytes, ControlWanted] = {}
        decode = self._registry.decoder(ControlWanted).decode
        for message in self._messages(WANTED):
            key, value = message.key() or b"", message.value()
            if value is None:
                found.pop(key, None)
            else:
                found[key] = decode(value)
        return found

    def switch(self, target: Target, *, is_started: bool, reason: str) -> list[ControlWanted]:
        """Start or stop a market (no symbols, or `*`) or symbols, whatever channels are wished."""
        market = self._market(target)
        names = ["" if name == ALL else name for name in self._names(market, target.symbols)]
        return self._wish(market, [(name, "") for name in names or [""]], is_wanted=is_started, reason=reason)

    def subscribe(self, target: Target, *, reason: str) -> list[ControlWanted]:
        """Wish channels of symbols."""
        market = self._market(target)
        names = self._names(market, target.symbols)
        channels = self._channels(market, target.channels) or market.channels
        pairs = [(name, channel) for name in names for channel in channels]
        return self._wish(market, pairs, is_wanted=True, reason=reason)

    def unsubscribe(self, target: Target, *, reason: str) -> list[ControlWanted]:
        """Take away channels of symbols: without channels all that the settings or wishes give them."""
        market = self._market(target)
        names = self._names(market, target.symbols)
        asked = self._channels(market, target.channels)
        pairs = [(name, channel) for name in names for channel in asked or self._known_channels(market, name)]
        return self._wish(market, pairs, is_wanted=False, reason=reason)

    def resnapshot(self, target: Target, *, reason: str) -> list[ControlCommand]:
        """Have the books of symbols sent anew, once."""
        market = self._market(target)
        commands = [
            ControlCommand(
                event_time_us=now_us(),
                venue=market.venue,
                market=market.name,
                venue_symbol="" if name == ALL else name,
                command="resnapshot",
                reason=reason,
            )
            for name in self._names(market, target.symbols)
        ]
        self._write(COMMAND, [(each.venue.encode(), each) for each in commands])
        return commands

    def rows(self) -> list[dict[str, Any]]:
        """List what the settings want and what was said since, market by market."""
        rows = [_row(find_wire(each).NAME, each.market, "settings", each.symbols, each.channels, "wanted")
                for each in self._settings.venues]  # fmt: skip
        for each in sorted(self._wanted.values(), key=wanted_key):
            said = "wanted" if each.is_wanted else "not wanted"
            if not each.channel:
                said = "started" if each.is_wanted else "stopped"
            rows.append(
                _row(each.venue, each.market, "control", [each.venue_symbol], [each.channel], said, each.reason)
            )
        return rows

    def _market(self, target: Target) -> "_Market":
        """Find the market that is meant, among those of the settings.

        Raises:
            UserError: the venue or market is unknown, or the settings do not name it.
        """
        venue, wire = target.venue.upper(), chosen_venue(target.venue, VENUES)
        if target.market is not None:
            check_market(venue, target.market, wire.MARKETS)
        entries = [each for each in self._settings.venues if each.venue.upper() == venue]
        markets = dict.fromkeys(each.market for each in entries)
        if not markets or target.market not in {None, *markets}:
            named = f"{venue} {target.market}" if target.market else venue
            raise UserError(f"the settings capture nothing of {named}: add a [[venues]] entry for it")
        if target.market is None and len(markets) > 1:
            raise UserError(f"{venue} has several markets here: name one with --market: {', '.join(markets)}")
        name = target.market or next(iter(markets))
        return _Market(venue, name, wire, tuple(each for each in entries if each.market == name))

    def _names(self, market: "_Market", symbols: Sequence[str]) -> list[str]:
        """Find the venue's names of symbols.

        Raises:
            UserError: one is not listed, or nothing is known of the market yet.
        """
        if all(each == ALL for each in symbols):
            return [ALL] if symbols else []
        listed = self._listed(market)
        if not len(listed):
            raise UserError(
                f"no instruments of {market.venue} {market.name} are known yet: run a producer and a processor first"
            )
        return list(dict.fromkeys(each if each == ALL else _named(market, each, listed) for each in symbols))

    def _listed(self, market: "_Market") -> Symbology:
        prefix = f"{market.venue}|{market.name}|".encode()
        decode = self._registry.decoder(Instrument).decode
        found = Symbology()
        for message in self._messages(INSTRUMENT):
            value = message.value()
            if value is not None and (message.key() or b"").startswith(prefix):
                found.update([decode(value)])
        return found

    def _channels(self, market: "_Market", channels: Sequence[str]) -> list[str]:
        found = []
        for each in channels:
            word = word_of(market.wire, market.name, each)
            if word is None:
                known = ", ".join(market.wire.CHANNELS[market.name])
                raise UserError(f"{market.venue} {market.name} has no channel {each}: choose of {known}")
            found.append(word)
        return list(dict.fromkeys(found))

    def _known_channels(self, market: "_Market", name: str) -> list[str]:
        wishes = Wishes()
        for each in self._wanted.values():
            if (each.venue, each.market) == (market.venue, market.name):
                wishes.note(each.venue_symbol, each.channel, is_wanted=each.is_wanted)
        wished = [channel for symbol, channel in wishes.added() if name in {symbol, ALL} or symbol == ALL]
        return list(dict.fromkeys([*market.channels, *wished]))

    def _wish(
        self, market: "_Market", pairs: Iterable[tuple[str, str]], *, is_wanted: bool, reason: str
    ) -> list[ControlWanted]:
        wanted = [
            ControlWanted(
                event_time_us=now_us(),
                venue=market.venue,
                market=market.name,
                venue_symbol=name,
                channel=channel,
                is_wanted=is_wanted,
                reason=reason,
            )
            for name, channel in pairs
        ]
        self._write(WANTED, [(wanted_key(each), each) for each in wanted])
        return wanted

    def _write(self, topic: Topic, records: Iterable[tuple[bytes, Any]]) -> None:
        """Write records, and wait until Kafka has them.

        Raises:
            DependencyError: it does not take them in time.
        """
        partition_count(self._settings, topic.name)
        publisher, encoder = Publisher(self._settings), self._registry.encoder(topic, topic.record)
        for key, record in records:
            publisher.send(topic.name, 0, key, encoder.encode(record))
        if left := publisher.flush():
            servers = self._settings.kafka.bootstrap_servers
            raise DependencyError("kafka", servers, f"{left} records of {topic.name} were not delivered")

    def _messages(self, topic: Topic) -> Iterable[Message]:
        name, count = topic.name + self._settings.kafka.topic_suffix, partition_count(self._settings, topic.name)
        with closing(consumer(self._settings, GROUP, None, **{"enable.partition.eof": True})) as client:
            try:
                yield from read_to_end(client, {name: count})
            except KafkaException as error:
                reason = error.args[0].str()
                raise DependencyError("kafka", self._settings.kafka.bootstrap_servers, reason) from error


@dataclass(frozen=True)
class _Market:
    venue: str
    name: str
    wire: Wire
    entries: tuple[Venue, ...]

    @property
    def channels(self) -> list[str]:
        """Channels that the settings want of it, by our words."""
        given = (channel for entry in self.entries for channel in entry.channels)
        return list(dict.fromkeys(word_of(self.wire, self.name, each) or each for each in given))


def _named(market: _Market, name: str, listed: Symbology) -> str:
    for spelling in (name, name.upper(), name.lower()):
        if listed.find(market.name, spelling) is not None:
            return spelling
    try:
        return listed.by_symbol(name.upper()).venue_symbol
    except SymbolError:
        known = [text for each in listed for text in (each.venue_symbol, each.symbol)]
        near = get_close_matches(name.upper(), known, n=NEAR, cutoff=0.5)
        hint = f"did you mean {', '.join(near)}?" if near else "is it of another market?"
        raise UserError(f"{market.venue} {market.name} does not list {name}: {hint}") from None


def _row(  # noqa: PLR0917  # the columns of a table, in their order
    venue: str, market: str, source: str, symbols: Iterable[str], channels: Iterable[str], said: str, reason: str = ""
) -> dict[str, Any]:
    return {
        "venue": venue, "market": market, "said_by": source, "symbols": list(symbols), "channels": list(channels),
        "state": said, "reason": reason,
    }  # fmt: skip

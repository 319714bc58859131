"""Instruments + what is wanted → connections: one partition each, sharded within the venue's limits; pure."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Final

from producers.venues import VENUES
from producers.wire import Stream, Wire, kind_of
from producers.wishes import ALL, Wishes
from schemas.records import Instrument
from schemas.symbology import SymbolError, Symbology, partition_of
from tickerplant.choices import check_market, chosen_venue
from tickerplant.errors import UserError
from tickerplant.settings import Venue

NEAR: Final = 3  # names that are suggested for an unknown one


class NotListedError(UserError):
    """Nothing of what an entry names is listed."""


@dataclass(frozen=True, kw_only=True)
class ConnectionPlan:
    """One connection: its streams are all of one URL, one market and one partition."""

    venue: str
    market: str
    partition: int
    url: str
    streams: tuple[Stream, ...]


def find_wire(venue: Venue) -> Wire:
    """Look up the venue of a `[[venues]]` entry, and check its market and channels.

    Raises:
        UserError: venue, market or channel is unknown; its text lists those that are known.
    """
    wire = chosen_venue(venue.venue, VENUES)
    check_market(wire.NAME, venue.market, wire.MARKETS)
    for channel in venue.channels:
        if wire.full_channel(venue.market, channel) is None:
            known = ", ".join(wire.CHANNELS[venue.market])
            raise UserError(f"{wire.NAME} {venue.market} has no channel {channel}: choose of {known}")
    if not venue.symbols or not venue.channels:
        raise UserError(f"{wire.NAME} {venue.market}: name at least one symbol (or *) and one channel")
    return wire


def plain_names(names: Iterable[str]) -> tuple[str, ...]:
    """Tell the wanted venue symbols, each once, where all are such; () = the whole list is needed to tell."""
    wanted = tuple(dict.fromkeys(names))
    return wanted if all(name != ALL and "/" not in name for name in wanted) else ()


def wanted_instruments(venue: Venue, listed: Symbology) -> list[Instrument]:
    """Find what is wanted, each once; `*` = all that trade, else venue symbols or canonical ones.

    Raises:
        UserError: a symbol is not listed; its text names those that are near.
    """
    found, missing = listed_instruments(venue, listed)
    if missing:
        raise UserError(missing[0])
    return found


def listed_instruments(venue: Venue, listed: Symbology) -> tuple[list[Instrument], list[str]]:
    """Find what is wanted as far as it is listed, and say of each other symbol that it is not, and what is near."""
    found: dict[str, Instrument] = {}
    missing = []
    for name in dict.fromkeys(venue.symbols):
        try:
            found.update((each.venue_symbol, each) for each in _matching(name, venue, listed))
        except UserError as error:
            missing.append(str(error))
    return list(found.values()), missing


def word_of(wire: Wire, market: str, channel: str) -> str | None:
    """Find our word for a channel, so that aliases meet: a listed one is, else the first that is the same channel.

    None = the market has no such channel.

    >>> word_of(VENUES["BINANCE"], "usdm", "bookTicker"), word_of(VENUES["BINANCE"], "usdm", "depth@0ms")
    ('quote', 'depth@0ms')
    >>> word_of(VENUES["BINANCE"], "usdm", "funding"), word_of(VENUES["BINANCE"], "usdm", "markPrice@1s")
    ('funding', 'mark_price')
    """
    full, words = wire.full_channel(market, channel), wire.CHANNELS[market]
    if full is None or channel in words:
        return None if full is None else channel
    return next((each for each in words if wire.full_channel(market, each) == full), channel)


def full_channels(venue: Venue) -> list[str]:
    """Complete the channels of an entry, each once."""
    wire = find_wire(venue)
    return list(dict.fromkeys(wire.full_channel(venue.market, each) or each for each in venue.channels))


def streams(venue: Venue, instruments: Iterable[Instrument], partition_count: int) -> list[Stream]:
    """List the streams of instruments, each once, in the order of their symbols."""
    channels = full_channels(venue)
    return streams_of(venue, ((each, channel) for each in instruments for channel in channels), partition_count)


def streams_of(venue: Venue, wanted: Iterable[tuple[Instrument, str]], partition_count: int) -> list[Stream]:
    """List the streams of instruments and their (complete) channels, each once, in the order of their symbols."""
    wire = find_wire(venue)
    found: dict[str, Stream] = {}
    for each, channel in sorted(wanted, key=lambda pair: pair[0].venue_symbol):
        name = wire.stream_name(each.venue_symbol, channel)
        if name and name not in found:
            of_partition = name if kind_of(channel) in wire.SHARED_CHANNELS else each.symbol
            found[name] = Stream(
                name=name,
                channel=channel,
                venue_symbol=each.venue_symbol,
                partition=partition_of(of_partition, partition_count),
                url=wire.stream_url(venue.market, channel, venue.websocket_url),
            )
    return list(found.values())


def obedient(
    venue: Venue, listed: Symbology, wishes: Wishes, *, is_first: bool, most_added: int | None = None
) -> Iterator[tuple[Instrument, str]]:
    """List instruments and channels as the settings want them and `control.wanted` changes that.

    Of words that are one channel of the venue, each is wanted by itself: it ends with the last of them.

    Args:
        is_first: of the entries of its market: what the settings do not have goes to the first one.
        most_added: so many of these wishes, the oldest; None = all.

    Raises:
        NotListedError: no symbol of the settings is listed. Where others are, and of those that are wished besides, one
            that is not is passed over: the venue may have ended it.
    """
    wire, market = find_wire(venue), venue.market
    found, missing = listed_instruments(venue, listed)
    if missing and not found:
        raise NotListedError(missing[0])
    words = dict.fromkeys(word_of(wire, market, each) or each for each in venue.channels)
    pairs = {(each.venue_symbol, word): (each, True) for each in found for word in words}
    for name, word in wishes.added()[:most_added] if is_first else ():
        for each in _trading(venue, listed) if name == ALL else (listed.find(market, name),):
            if each is not None:
                pairs.setdefault((each.venue_symbol, word), (each, False))
    given = set()
    for (name, word), (instrument, by_settings) in pairs.items():
        full = wire.full_channel(market, word)
        is_wanted = wishes.is_wanted(name, word, by_settings=by_settings) and not wishes.is_stopped(name)
        if is_wanted and full is not None and (name, full) not in given:
            given.add((name, full))
            yield instrument, full


def connections(venue: Venue, wanted: Sequence[Stream]) -> list[ConnectionPlan]:
    """Shard streams over connections."""
    return revised(venue, (), wanted)


def revised(venue: Venue, plans: Sequence[ConnectionPlan], wanted: Sequence[Stream]) -> list[ConnectionPlan]:
    """Change plans so that they have the wanted streams and no others; those that stay keep their connection.

    Returns:
        The given plans, in their order, without what is not wanted any more (some may have no streams left) and filled
        up with what is new; then plans of further connections.
    """
    wire = find_wire(venue)
    most = wire.LIMITS[venue.market].streams_per_connection
    names = {each.name for each in wanted}
    kept = [[each for each in plan.streams if each.name in names] for plan in plans]
    present = {each.name for streams_of_one in kept for each in streams_of_one}
    new: dict[tuple[int, str], list[Stream]] = {}
    for each in wanted:
        if each.name not in present:
            new.setdefault(_place(each), []).append(each)
    changed = []
    for plan, old in zip(plans, kept, strict=True):
        waiting = new.get((plan.partition, plan.url), [])
        room = max(0, most - len(old)) if old else 0  # an empty one is about to be closed
        changed.append(replace(plan, streams=(*old, *waiting[:room])))
        del waiting[:room]
    for (partition, url), waiting in sorted(new.items()):
        for at in range(0, len(waiting), most):
            together = tuple(waiting[at : at + most])
            plan = ConnectionPlan(venue=wire.NAME, market=venue.market, partition=partition, url=url, streams=together)
            changed.append(plan)
    return changed


def limits_scope(venue: Venue) -> tuple[str, str]:
    """Name what entries have the venue's limits together by: the market, or what several share them as."""
    wire = find_wire(venue)
    return wire.NAME, wire.LIMITS[venue.market].shared_as or venue.market


def check_connections(venue: Venue, count: int) -> None:
    """Check that a venue lets one address hold so many connections, one renewal included.

    Raises:
        UserError: it does not.
    """
    wire = find_wire(venue)
    limits = wire.LIMITS[venue.market]
    if count + 1 > limits.connections:
        raise UserError(
            f"{wire.NAME} {venue.market} lets one address open {limits.connections:g} connections of "
            f"{limits.streams_per_connection} streams, and {count} and one for renewals are needed: name fewer symbols "
            "or channels"
        )


def _place(stream: Stream) -> tuple[int, str]:
    return stream.partition, stream.url


def _matching(name: str, venue: Venue, listed: Symbology) -> list[Instrument]:
    if name == ALL:
        return _trading(venue, listed)
    for spelling in (name, name.upper(), name.lower()):
        if (found := listed.find(venue.market, spelling)) is not None:
            return [found]
    if (found := _canonical(name, listed)) is not None:
        return [found]
    near = get_close_matches(name.upper(), _names(venue.market, listed), n=NEAR, cutoff=0.5)
    hint = f"did you mean {', '.join(near)}?" if near else "is it of another market?"
    raise UserError(f"{venue.venue.upper()} {venue.market} does not list {name}: {hint}")


def _trading(venue: Venue, listed: Symbology) -> list[Instrument]:
    return [each for each in listed if each.market == venue.market and each.is_trading]


def _canonical(name: str, listed: Symbology) -> Instrument | None:
    try:
        return listed.by_symbol(name.upper())
    except SymbolError:
        return None


def _names(market: str, listed: Symbology) -> list[str]:
    own = [each for each in listed if each.market == market]
    return [each.venue_symbol for each in own] + [each.symbol for each in own]

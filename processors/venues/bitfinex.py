"""Bitfinex frames (spot, derivatives) → items. What stands behind a channel's number is told once.

With the flags 229376 of `conf`, a number that counts all messages of the connection stands behind each, then its time.
Source: https://docs.bitfinex.com/docs/ws-general
Source: https://docs.bitfinex.com/docs/ws-public
"""

import re
from typing import Final
from urllib.parse import unquote

import msgspec

from processors.book_rules import BookRule, CountedRule
from processors.errors import FrameError
from processors.facts import Facts
from processors.items import (
    AnyItem,
    BookChecksum,
    ConnectionGap,
    Notice,
    Repeated,
    Trade,
)
from processors.memory import Memory
from processors.venues import bitfinex_wire as wire
from processors.venues.bitfinex_channels import BEGUN, CHANNELS, TOGETHER, Place, change_of, past_trades_of
from processors.wire import LAST_MS, MALFORMED, NO_ID, asked, notice, number, time_us, trades_of_time, unknown_answer
from schemas.records import Frame

NAME: Final = "BITFINEX"
MARKETS: Final[tuple[str, ...]] = ("spot", "derivatives")
FACTS: Final[dict[str, Facts]] = {
    "spot": Facts(
        side="sign of the amount: above 0 → BUY",
        times="mts of trades and candles, ms; of the connection by flag TIMESTAMP",
        sizes="base currency",
        since="2021, API v2",
        past_trades="`GET /v2/trades/{symbol}/hist`, by time",
    ),
    "derivatives": Facts(
        side="sign of the amount: above 0 → BUY",
        times="mts of trades and candles, ms; of the connection by flag TIMESTAMP",
        sizes="base currency",
        since="2021, API v2",
        past_trades="`GET /v2/trades/{symbol}/hist`, by time",
    ),
}
RULE: Final = CountedRule(checksum=wire.BitfinexChecksum(), is_numbered_by_connection=True)
ONE_LEVEL: Final = "1"
USUAL_LENGTH: Final = 25  # of a book, in levels of a side
MOST_LENGTH_DIGITS: Final = 5
PAIR_CHARS: Final = 6  # at least; what is shorter is a currency that is lent
PAST_TRADES: Final = re.compile(r".*/trades/([^/]+)/hist")
WHOLE: Final = "P0"  # precision of a book whose levels are not put together
UNREAD: Final = "unread"
NOT_READ: Final = f"{UNREAD} - -"
UNREAD_BOOKS: Final = frozenset({"R0", "P1", "P2", "P3", "P4"})
UNREAD_WORDS: Final = Notice("books by order, of fewer digits or beside a longer one, and funding, are not read")
BOOK_OF: Final = "book - "  # stands before the symbol in what a channel carries
QUOTE_OF: Final = "quote - "
OF_LEVELS: Final = (BOOK_OF, QUOTE_OF)
NO_CHANNEL: Final = -1
BULK_UPDATES: Final = 536870912  # a flag: changes of a book are sent together
AGAIN: Final = Repeated("depth")
MOST_LATE: Final = 10_000  # what lies further behind is counted anew
SAID_AGAIN: Final = "tu"  # a trade that was told by "te" when it was executed
TRADE_WORDS: Final = frozenset({"te", SAID_AGAIN})
TOLD_BEHIND: Final = {
    "book": "book - t{}", "trades": "trades - t{}", "ticker": "ticker - t{}", "status": "deriv - t{}",
    "liquidations": "liq - -", "raw_book": NOT_READ,
}  # fmt: skip
"""What a channel carries, as a recorder wrote it behind each message: its word, and the symbol without its t."""

Items = list[AnyItem]


def book_rule(market: str) -> BookRule:
    """Tell how books hold together: by checksums, and by numbers of the whole connection."""
    del market
    return RULE


def trades_are_counted(market: str) -> bool:
    """Ids are shared by all symbols."""
    del market
    return False


def parse(market: str, frame: Frame, memory: Memory) -> Items:
    """Parse a MESSAGE or HTTP frame; answers on the connection yield nothing.

    Raises:
        FrameError: malformed, or not a message we know.
    """
    if market not in MARKETS:
        raise FrameError(f"Bitfinex has no market {market!r}")
    if frame.kind == "HTTP":
        return _http(frame)
    level = wire.level(frame.payload)
    if level is not None:
        subscribed = memory.names.get(level.channel, "")
        change = change_of(subscribed[len(BOOK_OF) :], level, frame.payload) if subscribed.startswith(BOOK_OF) else None
        if change is not None:
            if 0 <= memory.sequence - level.number < MOST_LATE:  # as `_is_late`
                return [AGAIN]
            gap = memory.counts_on(level.number)
            return [change] if gap is None else [ConnectionGap(*gap), change]
    try:
        parts = wire.ARRAY.decode(frame.payload)
    except MALFORMED:
        return _event(frame.payload, memory)
    try:
        return _message(market, parts, memory)
    except MALFORMED as error:
        raise FrameError(str(error)) from error


def _message(market: str, parts: list[msgspec.Raw], memory: Memory) -> Items:
    """Parse `[channel, data]` or `[channel, "te", data]`, and what stands behind it: number, time."""
    if len(parts) < 2:
        raise FrameError("an array that is no message of a channel")
    channel, subscribed = _channel(parts[0], memory)
    word = _word(parts[1])
    size = 2 if word in {"", "hb"} else 3
    if len(parts) < size:
        raise FrameError(f"{word[:20]!r} without what it tells")
    told = _told_behind(parts[size:])
    number, instant = _tail(parts[size : len(parts) - 2 if told else len(parts)])
    if told:  # messages of several connections are mixed there
        subscribed, number = told, None
    counted = memory.sequence
    gap = None if number is None else memory.counts_on(number)
    try:
        if word == "hb":
            items: Items = []
        elif number is not None and _is_late(number, counted) and subscribed.startswith(OF_LEVELS):
            items = [AGAIN]
        else:
            place = _place(market, channel, subscribed, instant)
            items = _items(place, word, parts[size - 1], memory)
    except (FrameError, *MALFORMED):
        if gap is not None or subscribed.startswith(BOOK_OF):
            memory.sequence = counted  # the next message tells that this one is missing
        raise
    return items if gap is None else [ConnectionGap(*gap), *items]


def _word(part: msgspec.Raw) -> str:
    text = bytes(part).strip()
    return text[1:-1].decode() if text[:1] == b'"' else ""


def _told_behind(parts: list[msgspec.Raw]) -> str:
    """Tell what the channel carries by two words behind a message; "" = there are none."""
    words = list(map(_word, parts[-2:]))
    if len(words) < 2 or words[0] not in TOLD_BEHIND:
        return ""
    return NOT_READ if len(words[1]) < PAIR_CHARS else TOLD_BEHIND[words[0]].format(words[1])


def _tail(parts: list[msgspec.Raw]) -> tuple[int | None, int]:
    """Read the number of a message (None = there is none), and its time in ms."""
    numbers = [wire.INTEGER.decode(part) for part in parts[:2]]
    if any(not 0 <= number < LAST_MS for number in numbers):
        raise FrameError(f"{numbers} are no number and time of a message")
    if len(numbers) == 1 and numbers[0] >= wire.FIRST_MS:
        return None, numbers[0]
    return numbers[0] if numbers else None, numbers[1] if len(numbers) > 1 else 0


def _channel(part: msgspec.Raw, memory: Memory) -> tuple[int, str]:
    """Read the channel's number, or what stands in its place; and what it carries, "" = that was not told."""
    if bytes(part).lstrip()[:1] != b"{":
        number = wire.INTEGER.decode(part)
        return number, memory.names.get(number, "")
    subscribed = _subscription(wire.SUBJECT.decode(part))
    if subscribed.startswith(QUOTE_OF):
        raise FrameError("a book of one level, whose channel has no number")
    return NO_CHANNEL, subscribed


def _is_late(number: int, last: int) -> bool:
    """Tell whether a number was passed already: told twice, or so late that the message was missed."""
    return 0 <= last - number < MOST_LATE


def _place(market: str, channel: int, subscribed: str, instant: int) -> Place:
    if not subscribed:
        raise FrameError(f"what channel {channel} carries was not told")
    name, detail, symbol = subscribed.split(" ")
    return Place(market, channel, name, detail, symbol, time_us(instant))


def _items(place: Place, word: str, body: msgspec.Raw, memory: Memory) -> Items:
    if place.name == UNREAD:
        return [UNREAD_WORDS]
    if word == "cs":
        return [BookChecksum(place.symbol, place.time_us, wire.unsigned(body))] if place.name == "book" else []
    read = CHANNELS.get(place.name)
    if read is None:
        raise FrameError(f"channel {place.name[:80]!r} is not read")
    if word and (place.name != "trades" or word not in TRADE_WORDS):
        raise FrameError(f"{word[:20]!r} is not known in {place.name}")
    items = read(place, body, memory)
    return _told_once(word, place, items, memory) if place.name == "trades" else items


def _told_once(word: str, place: Place, items: Items, memory: Memory) -> Items:
    """Leave out a trade that is told again, unless it was not told before: ids rise."""
    key = f"trade {place.symbol}"
    highest = memory.counts.get(key, NO_ID)
    told = max((each.trade_id for each in items if isinstance(each, Trade)), default=NO_ID)
    memory.counts[key] = max(highest, told)
    return [] if word == SAID_AGAIN and told <= highest else items


def _event(payload: bytes, memory: Memory) -> Items:
    try:
        event = wire.EVENT.decode(payload)
    except MALFORMED as error:
        raise FrameError(f"neither of a channel nor an event: {error}") from error
    if event.event == "subscribed" and event.channel_id:
        memory.names[event.channel_id] = subscribed = _one_of(_subscription(event), event, memory)
        _forget(event.channel_id, memory)
        return [UNREAD_WORDS] if subscribed.startswith(UNREAD) else []
    if event.event == "unsubscribed":
        memory.names.pop(event.channel_id, None)
        _forget(event.channel_id, memory)
    if event.event == "conf" and isinstance(event.flags, int) and event.flags & BULK_UPDATES:
        memory.names[TOGETHER] = ""
    is_fine = event.event in {"unsubscribed", "conf", "pong"} and event.status in {None, "OK"}
    is_greeting = event.event == "info" and event.code is None and event.platform.status == 1
    return [] if is_fine or is_greeting else [notice(payload)]


def _one_of(subscribed: str, event: wire.Event, memory: Memory) -> str:
    """Let only the longest of several books of a symbol be read: each leaves out what is deeper."""
    if not subscribed.startswith(BOOK_OF):
        return subscribed
    symbol, text = subscribed[len(BOOK_OF) :], str(event.length)
    length = int(text) if text.isascii() and text.isdigit() and len(text) < MOST_LENGTH_DIGITS else USUAL_LENGTH
    others = [each for each, name in memory.names.items() if name == subscribed and each != event.channel_id]
    if others and memory.books.get(symbol, (0, 0))[0] >= length:
        return NOT_READ
    memory.names.update(dict.fromkeys(others, NOT_READ))
    memory.books[symbol] = length, 0
    return subscribed


def _forget(channel: int, memory: Memory) -> None:
    """Forget what a channel of this number told before."""
    memory.names.pop(f"best {channel}", None)
    memory.names.pop(f"{BEGUN} {channel}", None)


def _subscription(event: wire.Subject) -> str:
    """Say what a channel carries: its name, a detail (`-` = none), a symbol (`-` = of many)."""
    name, detail, symbol = event.channel, "-", event.symbol
    if symbol.startswith("f") or (name == "book" and event.precision in UNREAD_BOOKS):
        return NOT_READ
    if name == "candles":
        _, _, rest = event.key.partition(":")
        detail, _, symbol = rest.partition(":")
    elif name == "status":
        name, _, symbol = event.key.partition(":")
        symbol = "-" if name == "liq" else symbol
    elif name == "book" and event.precision != WHOLE:
        name = ""
    elif name == "book" and str(event.length) == ONE_LEVEL:
        name = "quote"
    words = (name, detail, symbol)
    if not all(words) or any(" " in word for word in words) or not (symbol == "-" or symbol.startswith("t")):
        raise FrameError(f"subscribed to what is not read: {event.channel[:40]} {event.symbol[:40]} {event.key[:40]}")
    return " ".join(words)


def _http(frame: Frame) -> Items:
    """Parse trades of some time; leave out other lists than those of instruments, which recorders have asked for."""
    path, query = asked(frame.request)
    if "/conf/" in path:
        return []
    found = PAST_TRADES.fullmatch(path)
    if found is None:
        raise unknown_answer(frame.request)
    try:
        trades = past_trades_of(unquote(found[1]), wire.PAST_TRADES.decode(frame.payload))
    except MALFORMED as error:
        raise FrameError(f"trades: {error}") from error
    times = (number(query.get("start", "")) * 1000, number(query.get("end", "")) * 1000 - 1)
    is_full = len(trades) >= number(query.get("limit", "0"))
    return [trades_of_time(unquote(found[1]), trades, times, is_full=is_full)]

"""Shapes of Bitfinex's messages: rows of numbers, which may grow at their ends; events; and the checksum of its books.

Source: https://docs.bitfinex.com/docs/ws-general
Source: https://docs.bitfinex.com/docs/ws-websocket-checksum
"""

import zlib
from collections.abc import Sequence
from itertools import zip_longest
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Raw, Struct, field

from processors.book_rules import Checksum, TextLevel
from processors.errors import FrameError
from processors.wire import (
    LAST_MS,
    LEAST_AMOUNT,
    MALFORMED,
    MOST_AMOUNT,
    MOST_DIGITS,
    Id,
    KnownInstant,
    amount,
    digits,
)
from schemas.records import Instrument

FIRST_MS: Final = 10**12  # numbers behind a message are times from here on
NONE: Final = Raw(b"null")
UNSIGNED: Final = 2**32


class Platform(Struct, frozen=True, gc=False):
    """Whether the venue works: 1 = it does."""

    status: Any = 1


class Subject(Struct, gc=False):
    """What a channel carries; recorders of single messages write it in the place of the channel's number."""

    channel: str = ""
    symbol: str = ""
    key: str = ""
    precision: str = field(name="prec", default="")
    length: Any = field(name="len", default="")


class Event(Subject, gc=False, kw_only=True):
    """What is no market data: answers, notices."""

    event: str
    channel_id: Id = field(name="chanId", default=0)
    code: Any = None
    status: Any = None
    flags: Any = None
    platform: Platform = Platform()


class BookRow(Struct, array_like=True, gc=False):
    """A level: no orders (`count`) = it goes; the amount of an ask is negative."""

    price: Raw
    count: Id
    amount: Raw


class LevelRow(Struct, array_like=True, gc=False):
    """A level as a book's row is; numbers as JSON writes them."""

    price: Annotated[float, Meta(ge=LEAST_AMOUNT, le=MOST_AMOUNT)]
    count: Id
    amount: Annotated[float, Meta(ge=-MOST_AMOUNT, le=MOST_AMOUNT)]


class LevelMessage(Struct, array_like=True, gc=False):
    """What most messages are: one level of a book, with the number of the message, and mostly its time."""

    channel: int
    row: LevelRow
    number: Annotated[int, Meta(ge=0, lt=FIRST_MS)]
    time: Annotated[int, Meta(ge=0, lt=LAST_MS)] = 0


class Side:
    """One side of a book message: levels in parallel lists, and their digits."""

    __slots__ = ("price_texts", "prices", "size_texts", "sizes")

    def __init__(self) -> None:
        self.prices: list[float] = []
        self.sizes: list[float] = []
        self.price_texts: list[str] = []
        self.size_texts: list[str] = []

    def add(self, price: float, size: float, texts: TextLevel) -> None:
        """Add a level; its size in digits has the venue's sign."""
        self.prices.append(price)
        self.sizes.append(size)
        self.price_texts.append(plain_digits(texts[0]))
        self.size_texts.append(texts[1])


def plain_digits(price: str) -> str:
    """Tell the digits of a price that a checksum is made of.

    How it writes prices that are sent with an exponent is not documented: a book is not held against it while such a
    level, which is said to have no digits, is among the best.
    """
    return "" if "e" in price or "E" in price else price


class TradeRow(Struct, array_like=True, gc=False):
    """A trade; the amount is negative where the taker sold."""

    id: Id
    time: KnownInstant
    amount: Raw
    price: Raw


class TickerRow(Struct, array_like=True, gc=False):
    """A ticker; null = there is none."""

    bid: Raw
    bid_size: Raw
    ask: Raw
    ask_size: Raw
    change: Any
    relative_change: Any
    last: Raw
    volume: Raw
    high: Raw
    low: Raw


class CandleRow(Struct, array_like=True, gc=False):
    """A candle: the close stands before high and low."""

    time: KnownInstant
    open: Raw
    close: Raw
    high: Raw
    low: Raw
    volume: Raw


class StatusRow(Struct, array_like=True, gc=False):
    """The state of a contract; it has grown since 2019."""

    time: KnownInstant
    _1: Any
    last: Any
    index: Raw
    _4: Any = None
    insurance_fund: Any = None
    _6: Any = None
    next_funding: Raw = NONE
    next_accrued: Any = None
    next_step: Any = None
    _10: Any = None
    funding: Raw = NONE
    _12: Any = None
    _13: Any = None
    mark: Raw = NONE
    _15: Any = None
    _16: Any = None
    open_interest: Raw = NONE


class LiquidationRow(Struct, array_like=True, gc=False):
    """A step of a liquidation; the amount is the position's, `price` that at which it was sold or taken over."""

    kind: str
    position: Any
    time: KnownInstant
    _3: Any
    symbol: str
    amount: Raw
    base_price: Any
    _7: Any = None
    is_match: Any = None
    is_sold: Any = None
    _10: Any = None
    price: Raw = NONE


ARRAY: Final = msgspec.json.Decoder(list[Raw])
EVENT: Final = msgspec.json.Decoder(Event)
SUBJECT: Final = msgspec.json.Decoder(Subject)
INTEGER: Final = msgspec.json.Decoder(int)
BOOK: Final = msgspec.json.Decoder(BookRow)
TRADE: Final = msgspec.json.Decoder(TradeRow)
PAST_TRADES: Final = msgspec.json.Decoder(list[TradeRow])
TICKER: Final = msgspec.json.Decoder(TickerRow)
CANDLE: Final = msgspec.json.Decoder(CandleRow)
STATUS: Final = msgspec.json.Decoder(StatusRow)
LIQUIDATION: Final = msgspec.json.Decoder(LiquidationRow)
_LEVEL = msgspec.json.Decoder(LevelMessage)


class BitfinexChecksum(Checksum):
    """CRC32 over the 25 best levels, bids and asks by turns, in the digits sent: asks with their sign."""

    levels = 25

    def of(self, bids: Sequence[TextLevel], asks: Sequence[TextLevel], instrument: Instrument) -> int:
        """Make it, as an unsigned number."""
        del instrument
        pairs = zip_longest(bids[: self.levels], asks[: self.levels])
        text = ":".join(each for pair in pairs for level in pair if level for each in level)
        return zlib.crc32(text.encode())


def level(payload: bytes) -> LevelMessage | None:
    """Read a message of one row that looks like a level; None = it is another one, or has no number."""
    try:
        return _LEVEL.decode(payload)
    except MALFORMED:
        return None


def level_digits(payload: bytes) -> TextLevel | None:
    """Cut the digits of price and amount out of a message that was read as a level; None = they are too many.

    Before them are numbers alone, so that commas are what parts them.
    """
    _, price, _, size, _ = payload.split(b",", 4)
    price, size = price.strip(b"[ \t\r\n"), size.strip(b"] \t\r\n")
    return (price.decode(), size.decode()) if len(price) <= MOST_DIGITS >= len(size) else None


def rows(body: Raw) -> tuple[list[Raw], bool]:
    """Part what is one row, or a list of them; True = it was a list: what a channel begins with."""
    try:
        parts = ARRAY.decode(body)
    except MALFORMED as error:
        raise FrameError(str(error)) from error
    is_list = not parts or bytes(parts[0]).lstrip()[:1] == b"["
    return (parts, True) if is_list else ([body], False)


def maybe(number: Raw) -> float | None:
    """Read a price or size; None = null."""
    return None if bytes(number).strip() == b"null" else amount(digits(number))


def unsigned(raw: Raw) -> int:
    """Read a checksum, which is sent as a signed number of 32 bits.

    Raises:
        FrameError: it is none.
    """
    try:
        value = INTEGER.decode(raw)
    except MALFORMED as error:
        raise FrameError(f"checksum: {error}") from error
    if not -UNSIGNED // 2 <= value < UNSIGNED:
        raise FrameError(f"{value} is no checksum")
    return value % UNSIGNED

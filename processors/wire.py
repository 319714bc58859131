"""JSON of venues → typed structs and numbers: strict about what is used, tolerant of fields we do not know."""

import re
from datetime import UTC, datetime
from functools import lru_cache
from operator import attrgetter
from typing import Annotated, Final, Generic, TypeVar
from urllib.parse import parse_qsl, urlsplit

import msgspec

from processors.errors import FrameError
from processors.items import Notice, PastTrades, Texts, Trade, UnknownField

T = TypeVar("T", bound=msgspec.Struct)

MAX_INT64 = 2**63 - 1
NO_ID: Final = -1
Id = Annotated[int, msgspec.Meta(ge=0, le=MAX_INT64)]
PreviousId = Annotated[int, msgspec.Meta(ge=-1, le=MAX_INT64)]
LAST_MS: Final = 4_102_444_800_000  # 2100-01-01
FIRST_US_INSTANT: Final = 10**14
Instant = Annotated[int, msgspec.Meta(ge=0, lt=LAST_MS * 1000)]
"""ms or µs since the UTC epoch, before 2100 (`time_us` looks at both); 0 = the venue tells none.

What lies too far ahead is no time, and would make a day of its own; what lies behind is for `flags.py` to tell.
"""
KnownInstant = Annotated[int, msgspec.Meta(gt=0, lt=LAST_MS * 1000)]
"""The same without 0: for what means nothing without its time."""
Millis = Annotated[int, msgspec.Meta(ge=0, lt=LAST_MS)]
"""ms since the UTC epoch alone; 0 = the venue tells none."""

Name = Annotated[str, msgspec.Meta(min_length=1)]
"""An id that is no number: by what trades are told apart."""

LEAST_AMOUNT: Final = 1e-30
MOST_AMOUNT: Final = 1e30
"""Prices and sizes lie between, or are 0: products and quotients of three of them are still finite."""
Price = Annotated[float, msgspec.Meta(ge=LEAST_AMOUNT, lt=MOST_AMOUNT)]
Size = Annotated[float, msgspec.Meta(ge=0.0, lt=MOST_AMOUNT)]
NUMBER = re.compile(r"-?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")

MOST_DIGITS: Final = 64
MOST_ID_DIGITS: Final = 19
FIRST_YEAR, LAST_YEAR = 1990, 2100
ISO = re.compile(r"(?P<instant>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.(?P<fraction>\d{1,9}))?(Z|\+00:?00)")

MALFORMED: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes: no JSON, or not of the shape; strings that are not UTF-8; too deeply nested."""

NULL: Final = msgspec.Raw(b"null")
NO_LEVELS: Final = msgspec.Raw(b"[]")
NOTICE_CHARS: Final = 300

_LEVELS = msgspec.json.Decoder(list[tuple[Price, Size]], strict=False)


class _Row(msgspec.Struct, array_like=True):
    """A level; what follows its size is skipped."""

    price: Price
    size: Size


_ROWS = msgspec.json.Decoder(list[_Row], strict=False)
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_RAWS = msgspec.json.Decoder(list[msgspec.Raw])


class Wire(Generic[T]):
    """Decodes one kind of message, first by its documented fields alone, and only where that fails, leniently.

    Args:
        shape: struct with `forbid_unknown_fields`.
        channel: what unknown fields are reported under.
        is_quoted: numbers may stand in strings.
    """

    def __init__(self, shape: type[T], channel: str, *, is_quoted: bool = False) -> None:
        self._strict = msgspec.json.Decoder(shape, strict=not is_quoted)
        lenient = msgspec.defstruct(shape.__name__, [], bases=(shape,), forbid_unknown_fields=False)
        self._lenient: msgspec.json.Decoder[T] = msgspec.json.Decoder(lenient, strict=not is_quoted)
        self._known = frozenset(shape.__struct_encode_fields__)
        self._channel = channel

    def decode(self, body: bytes | msgspec.Raw, unknown: list[UnknownField]) -> T:
        """Decode; fields that are not documented are added to `unknown`.

        Raises:
            FrameError: malformed, a field is missing, of another type or out of range.
        """
        try:
            return self._strict.decode(body)
        except MALFORMED:
            return self._decode_leniently(body, unknown)

    def _decode_leniently(self, body: bytes | msgspec.Raw, unknown: list[UnknownField]) -> T:
        try:
            message = self._lenient.decode(body)
            names = _FIELDS.decode(body)
        except MALFORMED as error:
            raise FrameError(f"{self._channel}: {error}") from error
        unknown.extend(UnknownField(self._channel, name) for name in names if name not in self._known)
        return message


class Rows(Generic[T]):
    """Decodes a list of one kind of struct at once, and only where that fails, row by row; arguments as of `Wire`."""

    def __init__(self, shape: type[T], channel: str, *, is_quoted: bool = False) -> None:
        self._strict: msgspec.json.Decoder[list[T]] = msgspec.json.Decoder(list[shape], strict=not is_quoted)  # type: ignore[valid-type]  # a type that is a value
        self._row = Wire(shape, channel, is_quoted=is_quoted)
        self._channel = channel

    def decode(self, body: bytes | msgspec.Raw, unknown: list[UnknownField]) -> list[T]:
        """Decode; fields that are not documented are added to `unknown`, each once.

        Raises:
            FrameError: no list, or as `Wire.decode`.
        """
        try:
            return self._strict.decode(body)
        except MALFORMED:
            return self._decode_by_row(body, unknown)

    def _decode_by_row(self, body: bytes | msgspec.Raw, unknown: list[UnknownField]) -> list[T]:
        try:
            rows = _RAWS.decode(body)
        except MALFORMED as error:
            raise FrameError(f"{self._channel}: {error}") from error
        found: list[UnknownField] = []
        decoded = [self._row.decode(row, found) for row in rows]
        unknown.extend(dict.fromkeys(found))
        return decoded


@lru_cache(maxsize=4096)
def asked(request: str) -> tuple[str, dict[str, str]]:
    """Read what was asked for by GET: the path, and the query.

    Raises:
        FrameError: it is no URL.
    """
    try:
        url = urlsplit(request)
        query = dict(parse_qsl(url.query))
    except ValueError as error:
        raise FrameError(f"request {request[:80]!r}: {error}") from None
    return url.path, query


def asked_seconds(query: dict[str, str], first: str, end: str) -> tuple[int, int]:
    """Tell the first and last µs of the seconds that were asked for, whether or not the second named last counts.

    Raises:
        FrameError: it is not told.
    """
    return number(query.get(first, "")) * 1_000_000, number(query.get(end, "")) * 1_000_000 - 1


def unknown_answer(request: str) -> FrameError:
    """Make the error of an answer to a request that is not known."""
    return FrameError(f"answer to a request we do not know: {request[:80]!r}")


def past_trades(trades: list[Trade], first_id: int, last_id: int) -> list[PastTrades]:
    """Make a page of trades of one symbol, in any order, that tells all from one id to another; none of no trades.

    Args:
        first_id: NO_ID = from the lowest that is on it; `last_id` alike.
    """
    if not trades:
        return []
    rising = sorted(trades, key=attrgetter("trade_id"))
    lowest, highest = rising[0].trade_id, rising[-1].trade_id
    first_id = min(first_id, lowest) if first_id > NO_ID else lowest
    return [PastTrades(rising[0].symbol, 0, rising, first_id, max(last_id, highest))]


def trades_of_time(symbol: str, trades: list[Trade], asked: tuple[int, int], *, is_full: bool) -> PastTrades:
    """Make a page of trades, in the order in which they came, that answers for all from one time to another (µs).

    Args:
        is_full: there may be more of that time, behind the last one: those of its own time may not all be there.
    """
    from_us, until_us = asked
    is_rising = bool(trades) and trades[-1].exchange_time_us > trades[0].exchange_time_us
    if is_full and is_rising:
        until_us = trades[-1].exchange_time_us - 1
    elif is_full:
        from_us = trades[-1].exchange_time_us + 1
    return PastTrades(symbol, 0, trades if is_rising else trades[::-1], from_us=from_us, until_us=until_us)


def notice(payload: bytes | msgspec.Raw) -> Notice:
    """Pass on what a venue says of its service, or of a request, as it stands, cut to `NOTICE_CHARS`."""
    return Notice(bytes(payload).decode(errors="replace")[:NOTICE_CHARS])


def left_out(book: str) -> Notice:
    """Say that a book is not used, since its connection brings a deeper one of the same symbol."""
    return Notice(f"{book[:80]} is left out: a deeper book of the same symbol is kept")


def time_us(instant: int) -> int:
    """Turn ms or µs (told apart by their size) into µs.

    Raises:
        FrameError: it is neither, before 2100.
    """
    if 0 <= instant < LAST_MS:
        return instant * 1000
    if FIRST_US_INSTANT <= instant < LAST_MS * 1000:
        return instant
    raise FrameError(f"{instant} is no time before 2100, in ms or µs")


def number(text: str) -> int:
    """Read a whole number that stands in a string: an id, a time.

    Raises:
        FrameError: it is none, negative, or does not fit into 64 bits.
    """
    if not (text.isascii() and text.isdigit() and (len(text) < MOST_ID_DIGITS or _fits(text))):
        raise FrameError(f"{text[:40]!r} is not a whole number of 64 bits")
    return int(text)


def _fits(text: str) -> bool:
    return len(text) == MOST_ID_DIGITS and int(text) <= MAX_INT64


def maybe(text: str) -> float | None:
    """Read a price or size; "" = the venue has none: None.

    Raises:
        FrameError: as `amount`.
    """
    return amount(text) if text else None


def amount(text: str) -> float:
    """Read a price or size that may be 0: decimal digits, with a point or an exponent, rounded to the nearest double.

    Raises:
        FrameError: not such a number, negative, or out of all proportion.
    """
    # what float() takes besides (blanks, signs, underscores, digits of other scripts) no venue sends
    if not (text.isascii() and text.replace(".", "", 1).isdigit()) and NUMBER.fullmatch(text) is None:
        raise FrameError(f"{text[:40]!r} is not a number")
    value = float(text)
    if LEAST_AMOUNT <= value <= MOST_AMOUNT:
        return value
    if value == 0.0 and text[0] != "-" and _is_zero(text):
        return value
    raise FrameError(f"{text[:40]!r} is not a price or size")


def _is_zero(text: str) -> bool:
    """Tell 0 from what is only rounded to it."""
    return not text.lower().partition("e")[0].strip("0.")


def positive(text: str) -> float:
    """Read a price that must be above 0.

    Raises:
        FrameError: as `amount`, or 0.
    """
    value = amount(text)
    if value == 0.0:
        raise FrameError(f"{text[:40]!r} is not above 0")
    return value


def amounts(texts: list[str]) -> list[float]:
    """Read several prices or sizes as `amount` does, at once where all are plain: digits and a point.

    Raises:
        FrameError: as `amount`.
    """
    together = "".join(texts)
    if together.isascii() and together.replace(".", "").isdigit():
        try:
            values = list(map(float, texts))
        except ValueError:  # no digit, or two points
            values = []
        if values and max(values) <= MOST_AMOUNT and (min(values) >= LEAST_AMOUNT or _are_zeros(texts, values)):
            return values
    return list(map(amount, texts))


def positives(texts: list[str]) -> list[float]:
    """Read several prices as `positive` does.

    Raises:
        FrameError: as `positive`.
    """
    values = amounts(texts)
    if 0.0 in values:
        raise FrameError(f"{texts[values.index(0.0)][:40]!r} is not above 0")
    return values


def _are_zeros(texts: list[str], values: list[float]) -> bool:
    """Tell whether all that are too small are 0, and not only rounded to it."""
    small = [text for text, value in zip(texts, values, strict=True) if value < LEAST_AMOUNT]
    return not "".join(small).strip("0.")


def text_levels(
    bids: tuple[list[str], list[str]], asks: tuple[list[str], list[str]]
) -> tuple[tuple[list[float], list[float], list[float], list[float]], Texts]:
    """Read levels whose digits are kept, as prices and sizes of either side.

    Returns:
        Prices and sizes of bids, prices and sizes of asks; their digits.

    Raises:
        FrameError: as `amount`, or a price is 0.
    """
    texts = Texts(*bids, *asks)
    count, more = len(bids[0]), len(asks[0])
    found = amounts([*bids[0], *asks[0], *bids[1], *asks[1]])
    prices = found[: count + more]
    if 0.0 in prices:
        raise FrameError("book levels: a price is 0")
    sizes = found[count + more :]
    return (prices[:count], sizes[:count], prices[count:], sizes[count:]), texts


def signed(text: str) -> float:
    """Read a number of either sign.

    Raises:
        FrameError: as `amount`, the sign aside.
    """
    return 0.0 - amount(text[1:]) if text.startswith("-") else amount(text)


def levels(body: msgspec.Raw) -> tuple[list[float], list[float]]:
    """Read [[price, size], ...] as parallel lists; numbers as JSON writes them, in strings or not.

    Raises:
        FrameError: not such pairs, or not prices > 0 and sizes >= 0, all in proportion.
    """
    if body == NO_LEVELS:
        return [], []
    try:
        pairs = _LEVELS.decode(body)
    except MALFORMED as error:
        raise FrameError(f"book levels: {error}") from error
    if len(pairs) == 1:  # as in many changes: two loops would take three times as long
        return [pairs[0][0]], [pairs[0][1]]
    return [price for price, _ in pairs], [size for _, size in pairs]


def wide_levels(body: msgspec.Raw) -> tuple[list[float], list[float]]:
    """Read [[price, size, ...], ...], whatever else a level tells, as parallel lists.

    Raises:
        FrameError: as `levels`.
    """
    try:
        rows = _ROWS.decode(body)
    except MALFORMED as error:
        raise FrameError(f"book levels: {error}") from error
    return [row.price for row in rows], [row.size for row in rows]


class NamedLevels:
    """Reads [{"p": price, "s": size}, ...] as parallel lists, numbers quoted or not.

    Args:
        price: what the venue calls the price; `size` as well.
    """

    def __init__(self, price: str, size: str) -> None:
        fields = [("price", Price, msgspec.field(name=price)), ("size", Size, msgspec.field(name=size))]
        self._decoder = msgspec.json.Decoder(list[msgspec.defstruct("Level", fields)], strict=False)  # type: ignore[misc]  # made here

    def read(self, body: msgspec.Raw) -> tuple[list[float], list[float]]:
        """Read levels.

        Raises:
            FrameError: as `levels`.
        """
        if body == NO_LEVELS:
            return [], []
        try:
            rows = self._decoder.decode(body)
        except MALFORMED as error:
            raise FrameError(f"book levels: {error}") from error
        return [row.price for row in rows], [row.size for row in rows]


def checked_levels(prices: list[float], sizes: list[float]) -> tuple[list[float], list[float]]:
    """Check parallel lists of prices and sizes.

    Raises:
        FrameError: not prices > 0 and sizes >= 0, all in proportion.
    """
    if not prices:
        return prices, sizes
    if len(prices) == 1 and LEAST_AMOUNT <= prices[0] < MOST_AMOUNT and 0.0 <= sizes[0] < MOST_AMOUNT:
        return prices, sizes
    # none is negative, so a sum within bounds tells that each is, and that none is NaN
    if min(prices) < LEAST_AMOUNT or min(sizes) < 0.0 or not (sum(prices) < MOST_AMOUNT and sum(sizes) < MOST_AMOUNT):
        raise FrameError("book levels: a price or size is out of range")
    return prices, sizes


def digits(raw: msgspec.Raw) -> str:
    """Tell the digits of a JSON number, or of a string that holds one, as they were sent; `amount` reads them.

    Raises:
        FrameError: it is neither.
    """
    text = bytes(raw).strip(b" \t\r\n")
    if text[:1] == b'"' == text[-1:] and len(text) > 1:
        text = text[1:-1]
    if len(text) > MOST_DIGITS or not text.isascii():
        raise FrameError(f"{text[:40]!r} is not a number")
    return text.decode()


def maybe_digits(raw: msgspec.Raw) -> float | None:
    """Read a price or size that is a number, or a string that holds one; null and "" = the venue has none: None.

    Raises:
        FrameError: as `digits` and `amount`.
    """
    return None if raw == NULL else maybe(digits(raw))


def iso_us(text: str) -> int:
    """Turn an ISO 8601 time in UTC, with up to nine digits of a second, into µs; what is finer is cut off.

    Raises:
        FrameError: it is none, or not in this century.

    >>> iso_us("2026-11-29T00:00:00.123456789Z")
    1795910400123456
    """
    found = ISO.fullmatch(text)
    if found is None:
        raise FrameError(f"{text[:40]!r} is no time in UTC")
    try:
        instant = datetime.fromisoformat(found["instant"]).replace(tzinfo=UTC)
    except ValueError as error:
        raise FrameError(f"{text[:40]!r}: {error}") from None
    if not FIRST_YEAR <= instant.year < LAST_YEAR:
        raise FrameError(f"{text[:40]!r} is no time before 2100")
    return int(instant.timestamp()) * 1_000_000 + int((found["fraction"] or "")[:6].ljust(6, "0"))


def millis_us(text: str) -> int:
    """Turn ms since the UTC epoch, with any fraction, into µs; what is finer is cut off.

    Raises:
        FrameError: they are none before 2100.

    >>> millis_us("1619093543708.2642")
    1619093543708264
    """
    return _decimal_us(text, 3)


def seconds_us(text: str) -> int:
    """Turn seconds since the UTC epoch, with any fraction, into µs; what is finer is cut off.

    Raises:
        FrameError: they are none before 2100.

    >>> seconds_us("1619093489.7489")
    1619093489748900
    """
    return _decimal_us(text, 6)


def _decimal_us(text: str, places: int) -> int:
    """Shift the point of a decimal number by so many places."""
    whole, _, fraction = text.partition(".")
    together = whole + fraction
    if not (whole and together.isascii() and together.isdigit()):
        raise FrameError(f"{text[:40]!r} is no time since the epoch")
    if len(fraction) != places or len(whole) > MOST_DIGITS:
        together = whole[:MOST_DIGITS] + fraction[:places].ljust(places, "0")
    micros = int(together)
    if micros >= LAST_MS * 1000:
        raise FrameError(f"{text[:40]!r} is no time before 2100")
    return micros


def ns_us(instant: int) -> int:
    """Turn ns since the UTC epoch into µs.

    Raises:
        FrameError: it is not before 2100.
    """
    if not 0 <= instant < LAST_MS * 1_000_000:
        raise FrameError(f"{instant} is no time before 2100, in ns")
    return instant // 1000

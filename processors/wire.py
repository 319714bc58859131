"""JSON of venues → typed structs and numbers: strict about what is used, tolerant of fields we do not know."""

from math import inf, isfinite
from typing import Annotated, Final, Generic, TypeVar

import msgspec

from processors.errors import FrameError
from processors.items import UnknownField

T = TypeVar("T", bound=msgspec.Struct)

MAX_INT64 = 2**63 - 1
Id = Annotated[int, msgspec.Meta(ge=0, le=MAX_INT64)]
PreviousId = Annotated[int, msgspec.Meta(ge=-1, le=MAX_INT64)]
Instant = Annotated[int, msgspec.Meta(ge=0, lt=10**16)]
"""ms or µs since the UTC epoch: whole numbers of 13 or 16 digits."""
FIRST_US_INSTANT = 10**14

MALFORMED: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes: no JSON, or not of the shape; strings that are not UTF-8; too deeply nested."""

_LEVELS = msgspec.json.Decoder(list[tuple[float, float]], strict=False)
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Wire(Generic[T]):
    """Decodes one kind of message, first by its documented fields alone, and only where that fails, leniently.

    Args:
        shape: struct with `forbid_unknown_fields`.
        channel: what unknown fields are reported under.
    """

    def __init__(self, shape: type[T], channel: str) -> None:
        self._strict = msgspec.json.Decoder(shape)
        lenient = msgspec.defstruct(shape.__name__, [], bases=(shape,), forbid_unknown_fields=False)
        self._lenient: msgspec.json.Decoder[T] = msgspec.json.Decoder(lenient)
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


def time_us(instant: int) -> int:
    """Turn ms or µs (told apart by their size) into µs."""
    return instant if instant >= FIRST_US_INSTANT else instant * 1000


def amount(text: str) -> float:
    """Read a price or size that may be 0.

    Raises:
        FrameError: not a finite number >= 0.
    """
    try:
        value = float(text)
    except ValueError:
        raise FrameError(f"{text[:40]!r} is not a number") from None
    if 0.0 <= value < inf and "_" not in text:
        return value
    raise FrameError(f"{text[:40]!r} is not a price or size")


def positive(text: str) -> float:
    """Read a price that must be above 0.

    Raises:
        FrameError: not a finite number > 0.
    """
    value = amount(text)
    if value == 0.0:
        raise FrameError(f"{text[:40]!r} is not above 0")
    return value


def signed(text: str) -> float:
    """Read a number of either sign.

    Raises:
        FrameError: not a finite number.
    """
    return -amount(text[1:]) if text.startswith("-") else amount(text)


def levels(body: msgspec.Raw) -> tuple[list[float], list[float]]:
    """Read [[price, size], ...] as parallel lists.

    Raises:
        FrameError: not such pairs, or not prices > 0 and sizes >= 0, all finite.
    """
    try:
        pairs = _LEVELS.decode(body)
    except MALFORMED as error:
        raise FrameError(f"book levels: {error}") from error
    if not pairs:
        return [], []
    prices = [price for price, _ in pairs]
    sizes = [size for _, size in pairs]
    # a sum is the cheapest way to see a NaN or infinity anywhere
    if not isfinite(sum(prices)) or not isfinite(sum(sizes)) or min(prices) <= 0.0 or min(sizes) < 0.0:
        raise FrameError("book levels: a price or size is out of range")
    return prices, sizes

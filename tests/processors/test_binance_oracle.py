"""No wrong record silently: each field takes what the venue documents, exactly, and everything else is a dead letter.

The rules stand here a second time, in exact arithmetic and without the parser's helpers.
"""

import copy
import json
import re
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.errors import FrameError
from processors.items import AnyItem, UnknownField
from processors.memory import Memory
from processors.venues import binance
from schemas.records import Frame

WRONG = object()
DECIMAL = re.compile(r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)
JSON_NUMBER = re.compile(r"(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?", re.ASCII)
YEAR_2100_MS = 4_102_444_800_000


def amount(value: Any) -> Any:
    """A string of a decimal number, 0 or in proportion; the nearest double."""
    if not isinstance(value, str) or not DECIMAL.fullmatch(value):
        return WRONG
    exact = Fraction(value)
    return float(exact) if exact == 0 or Fraction(1, 10**30) <= exact <= 10**30 else WRONG


def price(value: Any) -> Any:
    return amount(value) or WRONG


def identifier(value: Any) -> Any:
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    return value if is_whole and 0 <= value < 2**63 else WRONG


def time(value: Any) -> Any:
    """ms before 2100, or µs of times since 1973 → µs; 0 = none."""
    if identifier(value) is WRONG or value >= YEAR_2100_MS * 1000:
        return WRONG
    return value * 1000 if value < YEAR_2100_MS else value if value >= 10**14 else WRONG


def known_time(value: Any) -> Any:
    return time(value) or WRONG


def flag(value: Any) -> Any:
    return value if isinstance(value, bool) else WRONG


TRADE = {"p": (price, "price"), "q": (amount, "size"), "T": (time, "exchange_time_us"), "m": (flag, None)}
FIELDS: dict[tuple[str, str], dict[str, tuple[Any, str | None]]] = {
    ("spot", "btcusdt@trade"): {**TRADE, "t": (identifier, "trade_id")},
    ("usdm", "btcusdt@trade"): {**TRADE, "t": (identifier, "trade_id")},
    ("spot", "btcusdt@aggTrade"): {**TRADE, "a": (identifier, "trade_id"), "f": (identifier, None)},
    ("spot", "btcusdt@bookTicker"): {"b": (amount, "bid"), "A": (amount, "ask_size"), "u": (identifier, "sequence")},
    ("usdm", "btcusdt@bookTicker"): {
        "b": (amount, "bid"), "B": (amount, "bid_size"), "a": (amount, "ask"), "A": (amount, "ask_size"),
        "u": (identifier, "sequence"), "T": (time, "exchange_time_us"),
    },
    ("spot", "btcusdt@ticker"): {
        "c": (amount, "last"), "o": (amount, "open"), "h": (amount, "high"), "l": (amount, "low"),
        "v": (amount, "volume"), "q": (amount, "quote_volume"), "n": (identifier, "trade_count"),
        "O": (time, "open_time_us"), "C": (time, "close_time_us"), "E": (time, "exchange_time_us"),
    },
    ("spot", "btcusdt@kline_1m"): {
        "k.o": (price, "open"), "k.h": (price, "high"), "k.l": (price, "low"), "k.c": (price, "close"),
        "k.v": (amount, "volume"), "k.t": (known_time, "open_time_us"), "k.T": (known_time, "close_time_us"),
        "k.x": (flag, "is_closed"), "k.n": (identifier, "trade_count"),
    },
    ("usdm", "btcusdt@markPrice@1s"): {"p": (price, "mark_price"), "E": (time, "exchange_time_us")},
    ("usdm", "btcusdt@forceOrder"): {"o.ap": (price, "price"), "o.z": (price, "size"), "o.T": (time, None)},
}  # fmt: skip
ODD = [
    *("", "0", "0.0", "-0", "-1", "+1", " 1", "1 ", "1_0", "nan", "inf", "1e400", "1e-400", "1e30", "1e31", "0x1"),
    *("1,0", "\u0661", "\uff11", "1.", ".5", ".", "1e5", "1E-7", "00.10"),
    *(None, True, False, 0, 1, -1, 0.5, 2**63 - 1, 2**63, [], {}),
]  # fmt: skip
CASES = [(*place, field) for place, fields in FIELDS.items() for field in fields]
VALUES = st.one_of(
    st.sampled_from(ODD),
    st.from_regex(r"\A[0-9]{1,20}\.[0-9]{1,20}\Z").filter(str.isascii),
    st.floats(0, 1e30, allow_subnormal=False).map(repr),
    st.integers(-(2**64), 2**64),
    st.integers(0, 5 * 10**15),
    st.integers(9 * 10**11, 10**13),
    st.text(max_size=5),
    st.floats(),
)  # fmt: skip


@pytest.mark.parametrize(("market", "stream", "field"), CASES)
@given(value=VALUES)
def test_a_field_is_what_the_venue_sent_or_the_frame_is_refused(
    messages: Any, market: str, stream: str, field: str, value: Any
) -> None:
    data = copy.deepcopy(messages[market, stream])
    *outer, last = field.split(".")
    (data[outer[0]] if outer else data)[last] = value
    rule, name = FIELDS[market, stream][field]
    expected = rule(value)
    message = {"stream": stream, "data": data}
    items = parsed(market, frame(message))
    long_way = parsed(market, frame(message, blank=" "))
    if isinstance(items, FrameError):
        assert isinstance(long_way, FrameError)
        assert expected is WRONG or is_fallback(field, value)
        return

    assert items == long_way
    assert expected is not WRONG or is_fallback(field, value)
    assert not any(isinstance(item, UnknownField) for item in items)
    if name is not None and expected is not WRONG:
        assert getattr(items[0], name) == expected


def is_fallback(field: str, value: Any) -> bool:
    """Tell whether 0 stands for "not yet", so that the order's own price and size are taken."""
    return field in {"o.ap", "o.z"} and amount(value) == 0.0


def parsed(market: str, what: Frame) -> list[AnyItem] | FrameError:
    try:
        return binance.parse(market, what, Memory())
    except FrameError as error:
        return error


def frame(message: Any, blank: str = "") -> Frame:
    """Write a message as the venue does, or with blanks."""
    payload = json.dumps(message, separators=(f",{blank}", f":{blank}")).encode("utf-8", "surrogatepass")
    return Frame(source=0, number=0, kind="MESSAGE", recv_time_us=0, payload=payload)


@given(
    levels=st.lists(st.tuples(st.one_of(VALUES, st.just("1.5")), st.one_of(VALUES, st.just("0"))).map(list), max_size=4)
)
def test_book_levels_are_what_the_venue_sent_or_the_frame_is_refused(messages: Any, levels: list[Any]) -> None:
    data = messages["spot", "btcusdt@depth@100ms"] | {"b": levels}
    try:
        (delta,) = binance.parse("spot", frame({"stream": "btcusdt@depth@100ms", "data": data}), Memory())
    except FrameError:
        assert any(is_no_level(each, size) for each, size in levels)
        return

    for (each, size), found, found_size in zip(levels, delta.bid_prices, delta.bid_sizes, strict=True):
        assert as_number(each) == found > 0
        assert as_number(size) == found_size >= 0


def is_no_level(each: Any, size: Any) -> bool:
    """Tell what may be refused: levels are decoded as JSON's numbers, in strings or not, so "1." and ".5" are none."""
    found = price(each), amount(size)
    return WRONG in found or max(found) > 1e29 or not (JSON_NUMBER.fullmatch(each) and JSON_NUMBER.fullmatch(size))


def as_number(value: Any) -> float:
    """Take what JSON and its strings may write a number as."""
    assert not isinstance(value, bool)
    assert not isinstance(value, str) or re.fullmatch(r"-?[0-9.eE+-]+", value), value
    return float(value)

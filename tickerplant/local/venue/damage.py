"""Bytes of messages and snapshots → the same, damaged; pure, and the same for the same chance.

`Random` is an argument, so that a seed decides.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Final

from tickerplant.local.venue.dialect import Book

DECIMAL_NUMBER: Final = re.compile(rb'(?<=[:,"\[])(\d+\.\d+)(?=[,"}\]])')  # a price or size, quoted or bare
BARE_NUMBER: Final = re.compile(rb'"[Eetau]":(\d+)')
STRUCTURE: Final = re.compile(rb'[{}\[\]:,"]')
TEXT: Final = re.compile(rb"[A-Za-z0-9.]+")
WRONG_BOOKS: Final = ("old", "other_symbol", "crossed", "empty")
WEB_PAGE: Final = b"<html><head><title>502 Bad Gateway</title></head><body>502 Bad Gateway</body></html>"


def truncated(payload: bytes, random: Random) -> bytes:
    """Cut off the end: one byte at least, and one is left."""
    return payload[: random.randrange(1, max(2, len(payload)))]


def corrupted(payload: bytes, kind: str, random: Random) -> tuple[str, bytes]:
    """Change bytes; gives what was done (one of CORRUPTIONS) and the result, which always differs.

    A message without prices and sizes is made no JSON instead of one with another value.
    """
    chosen = random.choice(tuple(CORRUPTIONS)) if kind == "any" else kind
    if chosen == "value" and not DECIMAL_NUMBER.search(payload):
        chosen = "json"
    return chosen, CORRUPTIONS[chosen](payload, random)


def garbage(body: bytes, kind: str, random: Random) -> tuple[str, bytes]:
    """Make a body of no use; gives what was done and the result (of `cut`: what comes before the end)."""
    chosen = random.choice(("truncated", "html", "empty", "cut")) if kind == "any" else kind
    if chosen == "html":
        return chosen, WEB_PAGE
    return chosen, b"" if chosen == "empty" else truncated(body, random)


def wrong_book(book: Book, how: str) -> Book:
    """Make a book wrong: `old`, `crossed` or `empty`."""
    if how == "old":
        return replace(book, last_id=book.last_id // 2, number=book.number // 2, recorded=b"")
    if how == "crossed":
        return replace(book, bids=book.asks, asks=book.bids, recorded=b"")
    return replace(book, bids=[], asks=[], recorded=b"")


def wrong_checksum(payload: bytes, pattern: re.Pattern[bytes], random: Random) -> bytes:
    """Put another number in the place of the checksum."""
    found = pattern.search(payload)
    if found is None:
        return payload
    other = int(found[1]) ^ (1 + random.getrandbits(30))
    return _with(payload, found.span(1), str(other).encode())


def _no_json(payload: bytes, random: Random) -> bytes:
    """Put a control character, which JSON allows nowhere, in the place of a bracket, colon, comma or quote."""
    return _with(payload, _one(STRUCTURE, payload, random, 0), b"\x01")


def _no_utf8(payload: bytes, random: Random) -> bytes:
    """Put a byte that UTF-8 never has into a word or number."""
    start, end = _one(TEXT, payload, random, 0)
    at = random.randrange(start, end)
    return _with(payload, (at, at + 1), b"\xff")


def _other_type(payload: bytes, random: Random) -> bytes:
    """Put a list where the message has a number of its own: an id or time."""
    start, end = _one(BARE_NUMBER, payload, random, 1)
    return _with(payload, (start, end), b"[" + payload[start:end] + b"]")


def _other_value(payload: bytes, random: Random) -> bytes:
    """Change a digit of a price or size; it never becomes 0, so that the number can be used."""
    span = _one(DECIMAL_NUMBER, payload, random, 1)
    at = random.choice([at for at in range(*span) if payload[at : at + 1].isdigit()])
    others = [digit for digit in b"123456789" if digit != payload[at]]
    return _with(payload, (at, at + 1), bytes((random.choice(others),)))


CORRUPTIONS: Final[dict[str, Callable[[bytes, Random], bytes]]] = {
    "json": _no_json,
    "utf8": _no_utf8,
    "type": _other_type,
    "value": _other_value,
}


def _one(pattern: re.Pattern[bytes], payload: bytes, random: Random, group: int) -> tuple[int, int]:
    """Choose a place; nothing fits = the first byte."""
    spans = [found.span(group) for found in pattern.finditer(payload)]
    return random.choice(spans) if spans else (0, 1)


def _with(payload: bytes, span: tuple[int, int], put: bytes) -> bytes:
    return payload[: span[0]] + put + payload[span[1] :]

"""Valid input → hostile input: JSON within it damaged node by node, its bytes flipped, cut and repeated.

Randomness is an argument: hypothesis gives its own, so that it can repeat and shrink; atheris gives a seed.
"""

import json
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, Final

HOSTILE_JSON: Final = (
    # numbers: beyond doubles and int64, at their edges, none at all
    *("0", "-0", "1", "-1", "0.1", "1e400", "-1e400", "1e-400", "1e308", "5e-324", "9223372036854775807"),
    *("9223372036854775808", "-9223372036854775809", "1.5e300", "NaN", "Infinity", "9" * 5000, "0." + "0" * 5000 + "1"),
    # the same as strings, and what only some parsers take for numbers
    *('"0"', '"-0"', '"-1"', '"+1"', '" 1"', '"1 "', '"1_0"', '"0x10"', '"1e400"', '"1e308"', '"5e-324"', '"nan"'),
    *('"inf"', '"Infinity"', '"1e5"', '"1."', '".5"', '"\\u0661"', '"\\uff11"', '""', '"' + "9" * 400 + '"', '"1,5"'),
    # times: before and after all that trades
    *("1000", "946684799999", "4102444800000", "253402300800000", "9999999999999999", "10000000000000000"),
    # other types, deep nesting, text that breaks encoders
    *("null", "true", "false", "[]", "{}", "[[]]", '[["1"]]', '[["1","2","3"]]', '[["1","nan"]]', '[["0","1"]]'),
    *("[" * 3000, "[" * 3000 + "]" * 3000, '{"a":' * 3000, '"' + "A" * 3000 + '"'),
    *('"\\ud800"', '"\\u0000"', '"\\udfff\\ud800"'),
)  # fmt: skip
HOSTILE_BYTES: Final = (
    # lengths and counts as varints: the largest, negative ones, without an end
    *(b"\xff" * 9 + b"\x01", b"\xff" * 8 + b"\x7f", b"\xfe\xff\xff\xff\x0f", b"\x80\x80\x80\x80\x10", b"\x80" * 12),
    *(
        b"\x00",
        b"\x01",
        b"\x7f",
        b"\x80",
        b"\xff",
        b"\xff" * 8,
        b"\x00" * 8,
        b"\xc3\x28",
        b"\xed\xa0\x80",
        b"\n",
        b"{",
        b'"',
    ),
)
HOLE: Final = "\x01hole\x01"


def mutate(data: bytes, random: Random) -> bytes:
    """Damage input once or a few times."""
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        data = random.choice((_mutate_json, _mutate_json, *BYTE_MUTATIONS))(data, random)
    return data


def _mutate_json(data: bytes, random: Random) -> bytes:
    """Damage a node of the JSON document that the input holds; input without one is damaged as bytes."""
    found = _document(data)
    if found is None:
        return random.choice(BYTE_MUTATIONS)(data, random)
    start, end, document = found
    return data[:start] + _damaged(document, random).encode("utf-8", "surrogatepass") + data[end:]


def _document(data: bytes) -> tuple[int, int, Any] | None:
    text = data.decode("latin-1")
    start = min((at for at in (text.find("{"), text.find("[")) if at >= 0), default=-1)
    if start < 0:
        return None
    try:
        document, end = json.JSONDecoder().raw_decode(data[start:].decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return start, start + len(data[start:].decode("utf-8")[:end].encode()), document


def _damaged(document: Any, random: Random) -> str:
    """Write the document with one node removed, doubled, renamed, swapped or replaced."""
    places = list(_places(document))
    if not places:
        return random.choice(HOSTILE_JSON)
    parent, key = random.choice(places)
    action = random.choice(("replace", "replace", "replace", "remove", "double", "rename", "swap"))
    if action == "remove":
        del parent[key]
    elif action == "double" and isinstance(parent, dict):
        parent[HOLE] = parent[key]
        return _dump(document).replace(json.dumps(HOLE), json.dumps(key))
    elif action == "rename" and isinstance(parent, dict):
        parent[f"{key}2"] = parent.pop(key)
    elif action == "swap":
        other, name = random.choice(places)
        parent[key] = other[name] if isinstance(other[name], str | int | float) else 0
    else:
        parent[key] = HOLE
        return _dump(document).replace(json.dumps(HOLE), random.choice(HOSTILE_JSON))
    return _dump(document)


def _dump(document: Any) -> str:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False)


def _places(node: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every node as (parent, key)."""
    children = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
    for key in children:
        yield node, key
        yield from _places(node[key])


def _flip(data: bytes, random: Random) -> bytes:
    if not data:
        return b"\0"
    at = random.randrange(len(data))
    return data[:at] + bytes((data[at] ^ 1 << random.randrange(8),)) + data[at + 1 :]


def _cut(data: bytes, random: Random) -> bytes:
    return data[: random.randint(0, len(data))]


def _leave_out(data: bytes, random: Random) -> bytes:
    start = random.randint(0, len(data))
    return data[:start] + data[start + random.choice((1, 1, 2, 8, 64)) :]


def _insert(data: bytes, random: Random) -> bytes:
    at = random.randint(0, len(data))
    return data[:at] + random.choice(HOSTILE_BYTES) + data[at:]


def _overwrite(data: bytes, random: Random) -> bytes:
    at, piece = random.randint(0, len(data)), random.choice(HOSTILE_BYTES)
    return data[:at] + piece + data[at + len(piece) :]


def _repeat(data: bytes, random: Random) -> bytes:
    start, length = random.randint(0, len(data)), random.choice((1, 8, 64, 512))
    piece = data[start : start + length]
    return data[:start] + piece * random.choice((2, 3, 50)) + data[start + length :]


BYTE_MUTATIONS: Final[tuple[Callable[[bytes, Random], bytes], ...]] = (
    _flip, _cut, _leave_out, _insert, _overwrite, _repeat,
)  # fmt: skip

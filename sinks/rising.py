"""What an object of the lake says of its rows' order: each has a source id above that of the row before.

It stands in the object's own metadata, with the first id and the last. Who reads rows in order and each once need not
look at their ids then, which would be two columns more; of an object that says nothing rows may be in any order.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

ID: Final = ("source_topic", "source_partition", "source_offset", "source_index")
KEY: Final = "rising"


class SourceId(NamedTuple):
    """Where a row comes from; ids compare as rows are ordered."""

    topic: str
    partition: int
    offset: int
    item: int


class Rising(NamedTuple):
    """The ids of the first and the last of rows that rise."""

    first: SourceId
    last: SourceId


_DECODER: Final = msgspec.json.Decoder(Rising)


def rising(rows: pa.Table) -> Rising | None:
    """Tell between which ids rows rise; None = they do not, there are none, or they have no ids."""
    if not rows.num_rows or not set(ID) <= set(rows.column_names) or any(rows[name].null_count for name in ID):
        return None
    if not is_rising(keys_of(rows)):
        return None
    first, last = (SourceId(*(rows[name][at].as_py() for name in ID)) for at in (0, rows.num_rows - 1))
    return Rising(first, last)


def said(found: Rising) -> dict[str, str]:
    """Write it as metadata."""
    return {KEY: msgspec.json.encode(found).decode()}


def heard(metadata: Mapping[bytes, bytes] | None) -> Rising | None:
    """Read it from metadata; None = nothing is said there, or nothing that we understand."""
    text = (metadata or {}).get(KEY.encode())
    if text is None:
        return None
    try:
        return _DECODER.decode(text)
    except msgspec.DecodeError:
        return None


def in_turn(found: Sequence[Rising]) -> list[int] | None:
    """Tell by their numbers in which order objects rise, one after the other; None = some overlap.

    >>> early, late = (SourceId("raw.okx", 0, offset, 0) for offset in (1, 2))
    >>> in_turn([Rising(late, late), Rising(early, early)])
    [1, 0]
    >>> in_turn([Rising(early, late), Rising(late, late)]) is None
    True
    """
    order = sorted(range(len(found)), key=found.__getitem__)
    overlap = any(found[after].first <= found[before].last for before, after in pairwise(order))
    return None if overlap else order


def keys_of(rows: pa.Table) -> list[np.ndarray]:
    """Give the columns of the source id as numbers that sort alike; those that are one for all rows are left out."""
    topics = rows[ID[0]].dictionary_encode().unify_dictionaries()
    words = topics.chunk(0).dictionary if topics.num_chunks else pa.array([], pa.string())
    keys = [rows[name].to_numpy() for name in ID[1:]]
    if len(words) > 1:
        places = pc.rank(words, tiebreaker="dense").to_numpy()
        keys.insert(0, places[np.concatenate([each.indices.to_numpy() for each in topics.chunks])])
    return [key for key in keys if len(key) and (key != key[0]).any()] or [np.zeros(rows.num_rows, np.int8)]


def is_rising(keys: Sequence[np.ndarray]) -> bool:
    """Tell whether rows are in order, each once."""
    is_above = np.zeros(max(len(keys[0]) - 1, 0), bool)
    is_same = ~is_above
    for key in keys:
        is_above |= is_same & (key[:-1] < key[1:])
        is_same &= key[:-1] == key[1:]
    return bool(is_above.all())

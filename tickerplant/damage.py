"""Exhaustive damage: every node of a message removed or replaced, one at a time."""

import copy
from collections.abc import Iterator
from typing import Any

BAD_VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1.5, 2**63, 10**30, "", "x", "nan", "inf", "-1", "1_0", "1e999", "\u0000", [], {}, [[]],
    [["1"]], [["1", "nan"]], [["0", "1"]], [["1", "-1"]], [["1", "1", "1"]], [[1, None]],
)  # fmt: skip


def paths(node: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where each node is."""
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in children:
        yield (*here, key)
        yield from paths(child, (*here, key))


def damaged(message: Any) -> Iterator[tuple[str, Any]]:
    """Yield every variant with one node removed or replaced, and what was done."""
    for path in paths(message):
        for value in ("removed", *BAD_VALUES):
            variant = copy.deepcopy(message)
            parent = variant
            for key in path[:-1]:
                parent = parent[key]
            if value == "removed":
                del parent[path[-1]]
            else:
                parent[path[-1]] = value
            yield f"{path}={value!r}", variant

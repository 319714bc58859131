"""Registries of venues → `docs/venues.md`: `python -m tickerplant.venues_page > docs/venues.md`."""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from math import inf
from typing import Any, Final

import click

from processors.venues import VENUES as MEANINGS
from producers.venues import VENUES as WIRES
from producers.venues.binance import DEEP_BOOK, DEPTH_LEVELS, MOST_DEEP_BOOKS
from producers.wire import Limits, Wire
from schemas.venues import SYMBOLOGIES

HEAD: Final = """# Venues

Made from the code by `python -m tickerplant.venues_page > docs/venues.md`; a test holds it up to date. Programs get the
same from `tickerplant venues --json`. How one is added: [add-a-venue.md](add-a-venue.md).

Records have canonical symbols, the aggressor's `side`, sizes in base currency, times in µs since the UTC epoch.
"""
SNAPSHOTS: Final = {
    "none": "there is no book",
    "rest": "by REST",
    "message": "by a message on the connection",
    "resubscribe": "in the stream",
}


def facts() -> list[dict[str, Any]]:
    """List what is known of each market of each venue, in the order of their names."""
    return [_market(name, market) for name in sorted(SYMBOLOGIES) for market in SYMBOLOGIES[name].MARKETS]


def show(*, as_json: bool) -> None:
    """Print a line for each market, or all that is known as one JSON object."""
    found = facts()
    if as_json:
        click.echo(json.dumps({"venues": found}))
        return
    for each in found:
        channels = ", ".join(each["channels"]) or "read by `convert` alone"
        click.echo(f"{each['venue'].lower():<12} {each['market']:<12} {channels}")


def render() -> str:
    """Write the whole page."""
    found = facts()
    return "\n".join([HEAD, *_channels(found), *_books(found), *_fields(found), *_limits(found)])


def _market(name: str, market: str) -> dict[str, Any]:
    wire, meaning = WIRES.get(name), MEANINGS[name]
    told = meaning.FACTS[market]
    is_captured = wire is not None and market in wire.MARKETS
    return {
        "venue": name,
        "market": market,
        "channels": list(wire.CHANNELS[market]) if wire and is_captured else [],
        "book": meaning.book_rule(market).in_words(),
        "snapshot": _snapshot(wire, market) if wire and is_captured else "",
        "trade_ids": "rise by one: a hole is a GAP" if meaning.trades_are_counted(market) else "tell trades apart",
        "past_trades": told.past_trades or "not fetched",
        "side": told.side,
        "times": told.times,
        "sizes": told.sizes,
        "since": told.since,
        "limits": _limit(wire.LIMITS[market]) if wire and is_captured else {},
    }


def _snapshot(wire: Wire, market: str) -> str:
    full = wire.full_channel(market, "depth")
    return SNAPSHOTS[wire.snapshot_by(full)] if full else SNAPSHOTS["none"]


def _limit(limits: Limits) -> dict[str, float]:
    """Tell the limits that there are."""
    names = ("streams_per_connection", "streams_per_request", "messages_per_s", "messages_per_hour", "connections")
    found = {name: float(getattr(limits, name)) for name in names}
    rest = {
        "rest_weight": limits.weight_per_window,
        "rest_window_s": limits.weight_window_s,
        "connects": limits.connects_per_window,
        "connects_window_s": limits.connects_window_s,
        "life_s": limits.life_s,
    }
    return {name: value for name, value in {**found, **rest}.items() if value != inf}


def _channels(found: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield "## Channels\n"
    yield "A market without channels is read (`tickerplant convert`), not captured.\n"
    rows = ((each["venue"], f"`{each['market']}`", _coded(each["channels"])) for each in found)
    yield from _table(("venue", "market", "channels"), rows)


def _books(found: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield "## Books and ids\n"
    yield "What does not hold is told as `GAP` or `CHECKSUM`; the book is given up until a snapshot asked for."
    yield (
        f"Snapshots of Binance spot have {DEEP_BOOK[0]:,} levels a side, the deepest there is, where a producer keeps "
        f"at most {MOST_DEEP_BOOKS} books, so that none waits for the limit; else {DEPTH_LEVELS:,}.\n"
    )
    names = ("book", "snapshot", "trade_ids", "past_trades")
    rows = ((each["venue"], f"`{each['market']}`", *(each[name] for name in names)) for each in found)
    header = (
        "venue",
        "market",
        "a book holds together by",
        "snapshot",
        "ids of trades",
        "missing trades are fetched by",
    )
    yield from _table(header, rows)


def _fields(found: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield "## Fields\n"
    names = ("side", "times", "sizes", "since")
    rows = ((each["venue"], f"`{each['market']}`", *(each[name] for name in names)) for each in found)
    yield from _table(("venue", "market", "aggressor", "times", "sizes as sent", "messages since"), rows)


def _limits(found: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield "## Limits\n"
    yield "What the planner keeps to; the venues' own, or less.\n"
    header = (
        "venue",
        "market",
        "streams a connection",
        "streams a request",
        "messages/s",
        "REST weight",
        "connects",
        "life",
    )
    rows = ((each["venue"], f"`{each['market']}`", *_limit_cells(each["limits"])) for each in found if each["limits"])
    yield from _table(header, rows)


def _limit_cells(limits: dict[str, float]) -> tuple[str, ...]:
    return (
        f"{limits['streams_per_connection']:,.0f}",
        f"{limits['streams_per_request']:,.0f}",
        f"{limits['messages_per_s']:g}",
        f"{limits['rest_weight']:,.0f} in {limits['rest_window_s']:g} s",
        f"{limits['connects']:,.0f} in {limits['connects_window_s']:g} s",
        f"{limits['life_s'] / 3600:.1f} h",
    )


def _coded(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield f"|{'---|' * len(header)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""


if __name__ == "__main__":
    sys.stdout.write(render())

"""What the simulated venue injected, against what the topics show of it; pure."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tickerplant.demo.books import Side
from tickerplant.demo.reconcile import TopicCounts

NOT_SEEN: Final = "cannot be seen: the value parses, and is stored as it was sent"
ENDS_CONNECTIONS: Final = frozenset({"disconnect", "maintenance", "silence", "slow"})
HOLES: Final = frozenset({"lose", "silence", "truncate", "corrupt"})
DAMAGE: Final = frozenset({"truncate", "corrupt"})
DEDUPED: Final = frozenset({"trade", "aggregate", "quote", "depth"})
IN_METRICS: Final = "not in topics: connector_errors_total"
NOTES: Final = {
    "lose": "see trade ids; of depth: books",
    "silence": "see trade ids; STALE if it lasts",
    "reorder": "each record once; late ones are OUT_OF_ORDER",
    "slow": "later, none lost",
    "refuse": IN_METRICS,
    "http_error": IN_METRICS,
    "http_hang": IN_METRICS,
    "wrong_snapshot": "see books",
    "wrong_checksum": "see CHECKSUM among the events, and books",
    "clock_step": "flag LATE after a step back",
}
TradeKey = tuple[str, str]
"""(market, venue symbol)."""


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What the venue knows once the market has ended.

    Args:
        faults: as listed by `/control/faults`.
        written: `market/SYMBOL` → ids of trades that were written as they were made, as the venue writes them.
        streams: `market/stream` → kind and venue symbol.
        symbols: `market/SYMBOL` → canonical symbol.
        books: canonical symbol → bids, asks; empty = it played a recording, whose books it does not know.
        counted: markets whose trade ids rise by one, so that a missing one is a gap.
        trade_id: writes the id of a trade: `market/SYMBOL`, its number → id.
        is_snapshot: tells whether a path is that of a depth answer, or of past trades.
    """

    faults: list[dict[str, Any]]
    written: dict[str, set[str]]
    symbols: dict[str, str]
    books: dict[str, tuple[Side, Side]]
    streams: dict[str, tuple[str, str]]
    counted: frozenset[str]
    trade_id: Callable[[str, int], str]
    is_snapshot: Callable[[str], bool]


@dataclass(frozen=True)
class Row:
    """One thing injected, and what was seen of it.

    Args:
        is_right: None = it cannot be held against one another, `note` says why.
    """

    name: str
    injected: int
    seen: int | None = None
    is_right: bool | None = None
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        """Make what `--json` prints."""
        return {"name": self.name, "injected": self.injected, "seen": self.seen, "right": self.is_right} | (
            {"note": self.note} if self.note else {}
        )


@dataclass(frozen=True)
class Accounts:
    """All rows.

    Args:
        unread: frames that were written to connections that then ended, and never read.
    """

    rows: list[Row]
    unread: int = 0

    @property
    def adds_up(self) -> bool:
        """Tell whether nothing is unaccounted for."""
        return all(row.is_right is not False for row in self.rows)


def account(truth: Truth, topics: TopicCounts, frames_served: int, *, killed_producers: int = 0) -> Accounts:
    """Hold what the venue knows against what the topics hold.

    Args:
        killed_producers: how often one was ended by SIGKILL: what it had not delivered is gone with it.
    """
    hits = _hits(truth.faults)
    may_be_unread = killed_producers or hits.keys() & ENDS_CONNECTIONS
    unread = max(0, frames_served - topics.raw.frames) if may_be_unread else 0
    rows = [
        *_trades(truth, topics, unread),
        *_letters(truth, topics, unread),
        *_books(truth, topics),
        *_events(truth, topics),
    ]
    rows += [Row(name, hits[name], note=note) for name, note in NOTES.items() if name in hits]
    if unread:
        note = "their trades are in GAP events, their books were joined anew; of other channels no id tells"
        rows.append(Row("frames written, connection ended before they were read", unread, note=note))
    if killed_producers:
        rows.append(Row("producers killed", killed_producers, note="what they had read and not delivered is lost"))
    return Accounts(rows, unread)


def _hits(faults: Iterable[Mapping[str, Any]]) -> Counter[str]:
    hits: Counter[str] = Counter()
    for each in faults:
        hits[each["fault"]] += each["hits"]
    return hits


def _trades(truth: Truth, topics: TopicCounts, unread: int) -> list[Row]:
    """Each id that is missing among the trades of the raw topic is in a GAP event; each that is there was made."""
    raw, rows = _by_symbol(topics), []
    if truth.counted:
        rows += _missing(truth, topics)
    uncounted = {key: ids for key, ids in truth.written.items() if key.partition("/")[0] not in truth.counted}
    if uncounted:
        count = sum(map(len, uncounted.values()))
        seen = sum(len(ids & raw.get(_key(key), set())) for key, ids in uncounted.items())
        is_right = seen == count or (None if unread else False)
        rows.append(Row("trades written → in the raw topic", count, seen, is_right))
    changed = _struck(truth, {"corrupt"}, "value")
    known = {
        key: truth.written.get(name, set()) | {truth.trade_id(name, number) for number in changed.get(key, set())}
        for key, name in ((key, "/".join(key)) for key in raw)
    }
    strange = sum(len(ids - known[key]) for key, ids in raw.items())
    return [*rows, Row("trades that the venue did not write", 0, strange, strange == 0)]


def _missing(truth: Truth, topics: TopicCounts) -> list[Row]:
    """Look for holes in the numbers of trades, which may be called otherwise."""
    gaps, numbers = _gaps(truth, topics), dict[TradeKey, set[int]]()
    for market, symbol, number in topics.raw.numbers:
        if market in truth.counted:
            numbers.setdefault((market, symbol), set()).add(number)
    holes = {key: set(range(min(found), max(found) + 1)) - found for key, found in numbers.items()}
    count, covered = sum(map(len, holes.values())), _common(holes, gaps)
    rows = [Row("trade ids missing → in GAP events", count, covered, covered == count)]
    restored: dict[TradeKey, set[int]] = {}
    for market, symbol, number in topics.raw.restored:
        restored.setdefault((market, symbol), set()).add(number)
    if restored:
        rows.append(Row("  of these restored by REST", _common(holes, restored)))
    struck = _struck(truth, HOLES)
    if struck:
        told = _common(holes, struck)
        note = "" if told == count else "the others were made while nobody was connected, or not read"
        rows.append(Row("  of these lost, silenced or damaged by faults", told, note=note))
    return rows


def _key(text: str) -> TradeKey:
    market, _, symbol = text.partition("/")
    return market, symbol


def _common(some: Mapping[TradeKey, set[int]], others: Mapping[TradeKey, set[int]]) -> int:
    return sum(len(numbers & others.get(key, set())) for key, numbers in some.items())


def _letters(truth: Truth, topics: TopicCounts, unread: int) -> list[Row]:
    """Each damaged message is a dead letter, and each answer that cannot be read."""
    damaged = sum(each["hits"] - each["by_how"].get("value", 0) for each in truth.faults if each["fault"] in DAMAGE)
    found, bodies = topics.letters["MESSAGE"], topics.letters["HTTP"]
    is_recording = not truth.books
    is_right = damaged - unread <= found and (is_recording or found <= damaged)
    note = "at most: some were not read" if unread else ""
    if is_recording and found > damaged:
        note = "the recording itself holds damaged ones"
    rows = [Row("damaged frames → dead letters", damaged, found, is_right, note)]
    values = sum(each["by_how"].get("value", 0) for each in truth.faults if each["fault"] == "corrupt")
    if values:
        rows.append(Row("frames with another value", values, note=NOT_SEEN))
    spoilt = _spoilt(truth)
    if spoilt or bodies:
        rows.append(Row("answers of no use → dead letters", spoilt, bodies, spoilt == bodies))
    return rows


def _books(truth: Truth, topics: TopicCounts) -> list[Row]:
    """At the end, each book of cleaned.depth equals the venue's own, unless what spoilt it cannot be seen."""
    if not truth.books:
        return []
    right = sum(topics.books.equals(symbol, *sides) for symbol, sides in truth.books.items())
    unseen = any(_is_unseen(truth, strike, each) for each in truth.faults for strike in each["strikes"])
    is_right = right == len(truth.books) or (None if unseen else False)
    return [
        Row(
            "books of the venue → equal in cleaned.depth", len(truth.books), right, is_right, NOT_SEEN if unseen else ""
        )
    ]


def _events(truth: Truth, topics: TopicCounts) -> list[Row]:
    rows = []
    doubled = [each for each in truth.faults if each["fault"] == "double"]
    if doubled:
        count = sum(n for each in doubled for key, n in each["by_target"].items() if _kind(truth, key) in DEDUPED)
        seen = sum(topics.duplicates.values())
        note = "" if seen == count else "not one to one where connections end or overlap"
        rows.append(Row("doubled frames → DUPLICATE", count, seen, True if seen == count else None, note))
    hits = _hits(truth.faults)
    if "disconnect" in hits:
        seen = topics.quality["DISCONNECT"]
        rows.append(
            Row("connections cut → DISCONNECT", hits["disconnect"], seen, seen >= hits["disconnect"], "and the end")
        )
    if "maintenance" in hits:
        seen = topics.quality["VENUE_NOTICE"]
        told = sum(each["by_how"].get("notice", 0) for each in truth.faults if each["fault"] == "maintenance")
        rows.append(Row("maintenance → VENUE_NOTICE", told, seen, seen > 0 or not told))
    return rows


def _kind(truth: Truth, key: str) -> str:
    return truth.streams.get(key, ("", ""))[0]


def _by_symbol(topics: TopicCounts) -> dict[TradeKey, set[str]]:
    found: dict[TradeKey, set[str]] = {}
    for market, symbol, number in topics.raw.trades:
        found.setdefault((market, symbol), set()).add(str(number))
    return found


def _gaps(truth: Truth, topics: TopicCounts) -> dict[TradeKey, set[int]]:
    """List the numbers of trades that GAP events name, by the venue's names of symbols."""
    keys = {(key.partition("/")[0], symbol): key for key, symbol in truth.symbols.items()}
    found: dict[TradeKey, set[int]] = {}
    for market, symbol, first, last in topics.trade_gaps:
        key = keys.get((market, symbol))
        if key is not None:
            found.setdefault((market, key.partition("/")[2]), set()).update(range(first, last + 1))
    return found


def _struck(truth: Truth, names: Iterable[str], how: str = "") -> dict[TradeKey, set[int]]:
    """List the numbers of trades that faults struck (how "" = in any way but another value)."""
    found: dict[TradeKey, set[int]] = {}
    for each in truth.faults:
        for target, done, first, last in each["strikes"]:
            kind, symbol = truth.streams.get(target, ("", ""))
            if each["fault"] in set(names) and kind == "trade" and (done == "value") == (how == "value"):
                found.setdefault((target.partition("/")[0], symbol), set()).update(range(first, last + 1))
    return found


def _spoilt(truth: Truth) -> int:
    """Count answers that cannot be read, or that name another symbol than was asked for, as COIN-M's do."""
    count = 0
    for each in truth.faults:
        for target, how, _first, _last in each["strikes"]:
            count += each["fault"] == "http_garbage" and truth.is_snapshot(target) and how != "cut"
            count += each["fault"] == "wrong_snapshot" and how == "other_symbol" and "/coinm/" in target
    return count


def _is_unseen(truth: Truth, strike: list[Any], fault: Mapping[str, Any]) -> bool:
    """Tell whether a strike may leave levels wrong that nothing shows."""
    target, how = strike[:2]
    is_book = _kind(truth, target) in {"depth", "book"}
    return (how == "value" and is_book) or (fault["fault"] == "wrong_snapshot" and how == "other_symbol")

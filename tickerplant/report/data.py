"""What a report shows, asked of ClickHouse: aggregated there, so that a day costs no more to draw than a minute."""

from dataclasses import dataclass, field, replace
from typing import Any, Final

from processors.bars import LENGTHS_US
from processors.flags import BACKFILL, CLOCK_STEP, PAST
from tickerplant.quality import coverage, findings
from tickerplant.quality.wish import WHERE, Wish
from tickerplant.questions import MID, Questions, Row, near_mid

COLUMNS: Final = 180  # of a chart over time
BOOK_COLUMNS: Final = 90
BOOK_ROWS: Final = 24
BOOK_STEP_BPS: Final = 2
MOST_SYMBOLS: Final = 6
MOST_BARS: Final = 1500
LEAST_STEP_US: Final = 1_000_000
LATENCY_EDGES_MS: Final = (
    -2000, -1000, -500, -100, -50, -10, 0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000,
)  # fmt: skip
"""Lower edges; the first takes in all below as well."""

IS_TIMED: Final = f"""exchange_time_us > 0 AND recv_time_us > 0
    AND NOT hasAny(splitByChar(',', flags), ['{BACKFILL}', '{CLOCK_STEP}', '{PAST}'])"""
"""As the latency metrics: trades of the past, and what has a wrong time, tell no latency."""
RANGE: Final = f"""
SELECT min(event_time_us) AS first_us, max(event_time_us) AS last_us, count() AS ticks
FROM market_data.tick@ WHERE {WHERE}"""  # noqa: S608  # own text, as all that follows; values are escaped by the driver
BUSIEST: Final = f"""
SELECT venue, symbol, count() AS ticks FROM market_data.tick@ WHERE {WHERE}
GROUP BY venue, symbol ORDER BY ticks DESC, venue, symbol LIMIT %(most)s"""  # noqa: S608
RATES: Final = f"""
SELECT venue AS name, intDiv(event_time_us, %(step)s) * %(step)s AS time_us, count() * 1000000 / %(step)s AS value
FROM market_data.tick@ WHERE {WHERE} GROUP BY name, time_us ORDER BY name, time_us"""  # noqa: S608
LATENCIES: Final = f"""
SELECT venue, what, roundDown(toInt64(floor(latency_us / 1000)), %(edges)s) AS edge_ms, count() AS ticks
FROM
(
    SELECT venue, tupleElement(pair, 1) AS what, tupleElement(pair, 2) AS latency_us
    FROM market_data.tick@
    ARRAY JOIN [('end to end', event_time_us - exchange_time_us), ('network', recv_time_us - exchange_time_us)] AS pair
    WHERE {IS_TIMED} AND {WHERE}
)
GROUP BY venue, what, edge_ms ORDER BY venue, what, edge_ms"""  # noqa: S608
QUANTILES: Final = f"""
SELECT venue, quantiles(0.5, 0.99)(event_time_us - exchange_time_us) AS end_us,
    quantiles(0.5, 0.99)(recv_time_us - exchange_time_us) AS network_us
FROM market_data.tick@ WHERE {IS_TIMED} AND {WHERE}
GROUP BY venue ORDER BY venue"""  # noqa: S608
LAGS: Final = """
SELECT concat(stage, ' ', table_name) AS name, intDiv(event_time_us, %(step)s) * %(step)s AS time_us,
    max(event_time_us - first_event_time_us) / 1000000 AS value
FROM metadata.sink_commits@
WHERE first_event_time_us > 0 AND event_time_us >= %(start)s AND event_time_us < %(end)s
GROUP BY name, time_us ORDER BY name, time_us"""
SPREADS: Final = f"""
SELECT concat(venue, ' ', symbol) AS name, intDiv(event_time_us, %(step)s) * %(step)s AS time_us,
    quantile(0.5)(20000 * (ask - bid) / (ask + bid)) AS value
FROM market_data.tick@
WHERE kind = 'QUOTE' AND bid > 0 AND ask > 0 AND (venue, symbol) IN %(busiest)s AND {WHERE}
GROUP BY name, time_us ORDER BY name, time_us"""  # noqa: S608
DEEPEST: Final = f"""
SELECT venue, symbol, count() AS books FROM market_data.depth@
WHERE is_snapshot AND notEmpty(bids) AND notEmpty(asks) AND (venue, symbol) IN %(busiest)s AND {WHERE}
GROUP BY venue, symbol ORDER BY books DESC, venue, symbol LIMIT 1"""  # noqa: S608
NEAR_MID: Final = near_mid(BOOK_ROWS // 2 * BOOK_STEP_BPS)
BOOK: Final = f"""
SELECT time_us, bucket, sum(size) / any(books) AS value
FROM
(
    SELECT intDiv(event_time_us, %(step)s) * %(step)s AS time_us, level.1 * level.2 AS size,
        toInt32(floor(10000 * (level.1 / mid - 1) / %(bps)s)) AS bucket,
        uniqExact(event_time_us) OVER (PARTITION BY time_us) AS books
    FROM
    (
        SELECT event_time_us, {MID} AS mid, arrayJoin({NEAR_MID}) AS level
        FROM market_data.depth@
        WHERE is_snapshot AND notEmpty(bids) AND notEmpty(asks) AND {WHERE}
    )
)
WHERE bucket >= -%(half)s AND bucket < %(half)s
GROUP BY time_us, bucket ORDER BY time_us, bucket"""  # noqa: S608
BARS: Final = """
SELECT toUnixTimestamp(timestamp) * 1000000 AS time_us, open, high, low, close
FROM market_data.bars@ WHERE interval = %(interval)s AND venue = %(venue)s AND symbol = %(symbol)s
    AND timestamp >= toDateTime(intDiv(%(start)s, 1000000)) AND timestamp < toDateTime(intDiv(%(end)s, 1000000))
ORDER BY timestamp DESC, revision DESC LIMIT 1 BY timestamp LIMIT %(most)s"""


@dataclass(frozen=True)
class Book:
    """Depth around the mid of one symbol: for each time, sizes in quote currency by distance, the lowest first."""

    name: str
    times_us: list[int]
    cells: list[list[float]]


@dataclass(frozen=True)
class Bars:
    """Bars of one symbol, the newest revision of each, the oldest first; at most `MOST_BARS`, the newest ones."""

    name: str
    interval: str
    rows: list[Row]


@dataclass(frozen=True, kw_only=True)
class Data:
    """All that a page shows; times in µs, lines by name.

    Args:
        start_us, end_us: from the first to the last tick within the range asked for.
        latencies: what (end to end, network) → venue → part of its ticks in each bucket of LATENCY_EDGES_MS.
        quantiles: rows of p50 and p99 by venue, µs.
        missing: ids and frames that did not come after all.
    """

    start_us: int
    end_us: int
    ticks: int
    busiest: list[Row] = field(default_factory=list)
    rates: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    latencies: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    quantiles: list[Row] = field(default_factory=list)
    lags: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    subjects: list[findings.Subject] = field(default_factory=list)
    missing: int = 0
    spreads: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    book: Book | None = None
    bars: Bars | None = None


def read(questions: Questions, wish: Wish) -> Data | None:
    """Ask for all; None = there is no tick in the range."""
    [found] = questions.rows(RANGE, wish.values())
    if not found["ticks"]:
        return None
    start_us, end_us = found["first_us"], found["last_us"] + 1
    values = {**replace(wish, start_us=start_us, end_us=end_us).values(), "step": step_us(start_us, end_us, COLUMNS)}
    busiest = list(questions.rows(BUSIEST, {**values, "most": MOST_SYMBOLS}))
    chosen = {**values, "busiest": tuple((row["venue"], row["symbol"]) for row in busiest)}
    return Data(
        start_us=start_us,
        end_us=end_us,
        ticks=found["ticks"],
        busiest=busiest,
        rates=_series(questions, RATES, values),
        latencies=_latencies(questions, values),
        quantiles=list(questions.rows(QUANTILES, values)),
        # What was taken in last is stored a little later.
        lags=_series(questions, LAGS, {**values, "end": wish.end_us}),
        subjects=findings.read(questions, replace(wish, start_us=start_us, end_us=end_us)),
        # So may the last holes be.
        missing=coverage.missing(questions, replace(wish, start_us=start_us)),
        spreads=_series(questions, SPREADS, chosen),
        book=_book(questions, chosen, start_us, end_us),
        bars=_bars(questions, values, busiest[0]),
    )


def step_us(start_us: int, end_us: int, columns: int) -> int:
    """Tell how much time a column of a chart stands for: whole seconds."""
    seconds = -(-(end_us - start_us) // (columns * LEAST_STEP_US))
    return max(1, seconds) * LEAST_STEP_US


def _series(questions: Questions, sql: str, values: dict[str, Any]) -> dict[str, list[tuple[int, float]]]:
    found: dict[str, list[tuple[int, float]]] = {}
    for row in questions.rows(sql, values):
        found.setdefault(row["name"], []).append((row["time_us"], row["value"]))
    return found


def _latencies(questions: Questions, values: dict[str, Any]) -> dict[str, dict[str, list[float]]]:
    found: dict[str, dict[str, list[float]]] = {}
    for row in questions.rows(LATENCIES, {**values, "edges": list(LATENCY_EDGES_MS)}):
        counts = found.setdefault(row["what"], {}).setdefault(row["venue"], [0.0] * len(LATENCY_EDGES_MS))
        counts[LATENCY_EDGES_MS.index(row["edge_ms"])] = row["ticks"]
    return {
        what: {venue: [each / sum(counts) for each in counts] for venue, counts in venues.items()}
        for what, venues in found.items()
    }


def _book(questions: Questions, values: dict[str, Any], start_us: int, end_us: int) -> Book | None:
    found = list(questions.rows(DEEPEST, values))
    if not found:
        return None
    [deepest] = found
    half = BOOK_ROWS // 2
    place = {"venue": deepest["venue"], "symbol": deepest["symbol"], "half": half, "bps": BOOK_STEP_BPS}
    step = step_us(start_us, end_us, BOOK_COLUMNS)
    columns: dict[int, list[float]] = {}
    for row in questions.rows(BOOK, {**values, **place, "step": step}):
        columns.setdefault(row["time_us"], [0.0] * BOOK_ROWS)[row["bucket"] + half] = row["value"]
    return Book(f"{deepest['venue']} {deepest['symbol']}", list(columns), list(columns.values()))


def interval_of(span_us: int) -> str:
    """Tell the shortest bars of which a span takes no more than are drawn; else the longest there are.

    >>> [interval_of(days * 86_400_000_000) for days in (0, 1, 2, 7, 5000)]
    ['1m', '1m', '5m', '15m', '1d']
    """
    return next((name for name, length_us in LENGTHS_US.items() if span_us <= MOST_BARS * length_us), [*LENGTHS_US][-1])


def _bars(questions: Questions, values: dict[str, Any], busiest: Row) -> Bars | None:
    venue, symbol = busiest["venue"], busiest["symbol"]
    interval = interval_of(values["end"] - values["start"])
    start_us = values["start"] - values["start"] % LENGTHS_US[interval]
    chosen = {"venue": venue, "symbol": symbol, "interval": interval, "start": start_us, "most": MOST_BARS}
    rows = list(questions.rows(BARS, {**values, **chosen}))
    return Bars(f"{venue} {symbol}", interval, rows[::-1]) if rows else None

"""Forms of ClickHouse SQL that panels share. Grafana puts in the range, the interval and what was chosen."""

from typing import Final

from tickerplant.quality.coverage import holes
from tickerplant.questions import MID, near_mid

WITHIN: Final = "event_time_us >= ${__from} * 1000 AND event_time_us < ${__to} * 1000"
"""Within the range shown, which Grafana tells in ms."""
CHOSEN: Final = "match(venue, '^(${venue:regex})$') AND match(symbol, '^(${symbol:regex})$')"
"""Of the venues and symbols chosen; All is `.*`."""
OF_CONNECTIONS: Final = "match(venue, '^(${venue:regex})$') AND (symbol = '' OR match(symbol, '^(${symbol:regex})$'))"
"""Likewise, and what concerns a connection as a whole."""
INTERVAL_US: Final = "1000 * $__interval_ms"


def time_of(column: str = "event_time_us") -> str:
    """Give the start of the interval that a time in µs lies in, as Grafana takes it."""
    return f"fromUnixTimestamp64Milli(intDiv({column}, {INTERVAL_US}) * $__interval_ms, 'UTC')"


PRICE: Final = f"""SELECT {time_of()} AS time, concat(venue, ' ', symbol) AS series, argMax(price, sequence_id) AS price
FROM market_data.tick
WHERE kind = 'TRADE' AND NOT has(splitByChar(',', flags), 'OUTLIER') AND {WITHIN} AND {CHOSEN}
GROUP BY time, series
ORDER BY time, series"""  # noqa: S608  # own text; values are Grafana's, of lists that it was given

OUTLIERS: Final = f"""SELECT fromUnixTimestamp64Micro(event_time_us, 'UTC') AS time,
    concat(venue, ' ', symbol, ' outlier') AS series, price
FROM market_data.tick
WHERE kind = 'TRADE' AND has(splitByChar(',', flags), 'OUTLIER') AND {WITHIN} AND {CHOSEN}
ORDER BY time, series
LIMIT 10000"""  # noqa: S608  # likewise

DEVIATION: Final = f"""SELECT time, concat(venue, ' ', symbol) AS series, 10000 * (x - center) AS bps
FROM
(
    SELECT time, symbol, venue, x, quantileExactInclusive(0.5)(x) OVER same AS center, count() OVER same AS venues
    FROM
    (
        SELECT {time_of()} AS time, symbol, venue, log(argMax((bid + ask) / 2, (event_time_us, sequence_id))) AS x
        FROM market_data.tick
        WHERE kind = 'QUOTE' AND bid > 0 AND ask > 0 AND {WITHIN} AND match(symbol, '^(${{symbol:regex}})$')
        GROUP BY time, symbol, venue
    )
    WINDOW same AS (PARTITION BY symbol, time)
)
WHERE venues > 1 AND match(venue, '^(${{venue:regex}})$')
ORDER BY time, series"""  # noqa: S608  # likewise

EVENTS: Final = f"""SELECT venue, symbol, kind, sum(count) AS items, count() AS events,
    fromUnixTimestamp64Micro(max(event_time_us), 'UTC') AS last_seen, argMax(detail, event_time_us) AS last_detail
FROM metadata.quality FINAL
WHERE {WITHIN} AND {OF_CONNECTIONS}
GROUP BY venue, symbol, kind
ORDER BY items DESC
LIMIT 500"""  # noqa: S608  # likewise

CLOSED_WITHIN: Final = "event_time_us >= ${__from} * 1000 - 60000000"
MISSING: Final = f"""SELECT {time_of()} AS time,
    arrayStringConcat(arrayFilter(name -> name != '', [venue, symbol, part.1]), ' ') AS series, sum(part.2) AS ids
FROM {holes(f"{WITHIN} AND {OF_CONNECTIONS}", f"{CLOSED_WITHIN} AND {OF_CONNECTIONS}", tables="")}
ARRAY JOIN [('missing', count), ('healed', count - missing), ('still missing', missing)] AS part
GROUP BY time, series
ORDER BY time, series"""  # noqa: S608  # likewise

COVERAGE: Final = f"""SELECT venue, symbol,
    uniqExact(intDiv(event_time_us, 1000000)) / ((${{__to}} - ${{__from}}) / 1000) AS covered, count() AS ticks,
    fromUnixTimestamp64Micro(min(event_time_us), 'UTC') AS first,
    fromUnixTimestamp64Micro(max(event_time_us), 'UTC') AS last
FROM market_data.tick
WHERE {WITHIN} AND {CHOSEN}
GROUP BY venue, symbol
ORDER BY covered
LIMIT 500"""  # noqa: S608  # likewise

BOOK_BUCKETS: Final = 24  # of BOOK_STEP_BPS each, half of them below the mid
BOOK_STEP_BPS: Final = 2


def book() -> str:
    """Ask for the depth around the mid: a column a bucket, named by its lower edge in bps, the lowest first.

    Each is the mean over the whole books (snapshots, keyframes) of an interval, in quote currency.
    """
    edges = [BOOK_STEP_BPS * (number - BOOK_BUCKETS // 2) for number in range(BOOK_BUCKETS)]
    sums = ",\n    ".join(
        f"sumIf(size, bps >= {edge} AND bps < {edge + BOOK_STEP_BPS}) / uniqExact(book) AS `{edge:+d}`"
        for edge in edges
    )
    return f"""SELECT time,
    {sums}
FROM
(
    SELECT {time_of()} AS time, (venue, symbol, event_time_us) AS book, {MID} AS mid,
        arrayJoin({near_mid(BOOK_STEP_BPS * BOOK_BUCKETS // 2)}) AS level, level.1 * level.2 AS size,
        10000 * (level.1 / mid - 1) AS bps
    FROM market_data.depth
    WHERE is_snapshot AND notEmpty(bids) AND notEmpty(asks) AND {WITHIN} AND {CHOSEN}
)
GROUP BY time
ORDER BY time"""  # noqa: S608  # likewise

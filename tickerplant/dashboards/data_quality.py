"""The dashboard *Data Quality*: duplicates, holes, silence, prices, what could not be read."""

from typing import Final

from tickerplant.dashboards import sql
from tickerplant.dashboards.model import Dashboard, Panel, Query, Row, Sql, Variable
from tickerplant.dashboards.promql import rate

VENUE: Final = '{venue=~"$venue"}'
TICKS: Final = rate(f"ingestion_ticks_total{VENUE}", "venue")


def events(*kinds: str) -> str:
    """Give the rate of quality events of these kinds, by venue and kind; 0 where there was none yet."""
    selector = f'{{venue=~"$venue",kind=~"{"|".join(kinds)}"}}'
    return f"60 * {rate(f'quality_events_total{selector}', 'venue', 'kind')} or vector(0)"


DUPLICATES: Final = rate('quality_events_total{venue=~"$venue",kind="DUPLICATE"}', "venue")
OUTLIERS: Final = rate('ticks_flagged_total{venue=~"$venue",flag="OUTLIER"}', "venue")
REDUNDANT: Final = rate(f"stage_redundant_total{VENUE}", "venue")

QUALITY: Final = Dashboard(
    uid="data-quality",
    title="Data Quality",
    description="What venues sent twice, late, wrong or not at all; each is a record in quality.event as well.",
    rows=[
        Row(
            title="Duplicates",
            panels=[
                Panel(
                    title="Duplicate rate",
                    description="Items dropped as already seen, as part of all. An alert stands on 1 %.",
                    queries=[Query(f"({DUPLICATES} or 0 * {TICKS}) / ({TICKS} > 0)", "{{venue}}")],
                    unit="percentunit",
                    bad=0.01,
                    sees=["pipeline"],
                ),
                Panel(
                    title="Repeats dropped by sinks",
                    description="Rows that a store had: a processor was started again, or a chunk was written twice.",
                    queries=[
                        Query(f"{rate('sink_repeats_total', 'store', 'table')} or vector(0)", "{{store}} {{table}}")
                    ],
                    unit="cps",
                ),
                Panel(
                    title="Brought by another connection before",
                    description="Per second, where several connections have the same streams: as it should be.",
                    queries=[Query(f"{REDUNDANT} or vector(0)", "{{venue}}")],
                    unit="cps",
                ),
            ],
        ),
        Row(
            title="Missing",
            panels=[
                Panel(
                    title="Missing sequence ids and frames",
                    description="Per minute: holes in a venue's ids, frames lost between socket and Kafka; "
                    "of trades also how many were fetched afterwards (HEALED), or are missing for good (NOT_HEALED). "
                    "What of a hole is still missing: *Missing ids and frames by symbol*.",
                    queries=[Query(events("GAP", "FRAME_LOSS", "HEALED", "NOT_HEALED"), "{{venue}} {{kind}}")],
                    unit="cpm",
                ),
                Panel(
                    title="Silence",
                    description="Per minute: channels and symbols that were silent for too long, symbols that are "
                    "heard again (HEARD), and connections lost.",
                    queries=[Query(events("STALE", "HEARD", "DISCONNECT"), "{{venue}} {{kind}}")],
                    unit="cpm",
                ),
                Panel(
                    title="Books without a snapshot",
                    description="Invalid from a gap or a disconnect until the next snapshot.",
                    queries=[Query('sum by (venue) (processor_books{venue=~"$venue",state="invalid"})', "{{venue}}")],
                    warn=1.0,
                ),
                Panel(
                    title="Book resets and joins",
                    description="Per minute.",
                    queries=[Query(events("BOOK_RESET", "BOOK_READY"), "{{venue}} {{kind}}")],
                    unit="cpm",
                ),
            ],
        ),
        Row(
            title="Prices",
            panels=[
                Panel(
                    title="Outliers",
                    description="Trades further than 5 sigma from their recent past, as part of all ticks. "
                    "An alert stands on 0.1 %.",
                    queries=[Query(f"({OUTLIERS} or 0 * {TICKS}) / ({TICKS} > 0)", "{{venue}}")],
                    unit="percentunit",
                    bad=0.001,
                ),
                Panel(
                    title="Crossed and locked books, bursts of outliers",
                    description="Per minute: best bid above, or at, the best ask; 8 of 64 trades outliers.",
                    queries=[Query(events("CROSSED", "LOCKED", "OUTLIER_BURST"), "{{venue}} {{kind}}")],
                    unit="cpm",
                ),
                Panel(
                    title="Price with outliers",
                    description="Last trade of each interval; flagged trades as points. Choose one symbol.",
                    queries=[Sql(sql.PRICE), Sql(sql.OUTLIERS)],
                    points="outlier",
                ),
                Panel(
                    title="Deviation from the median of venues",
                    description="Mid of each venue against the median of all that quote the symbol, in bps. "
                    "Spells outside of the band: `tickerplant quality --divergence`.",
                    queries=[Sql(sql.DEVIATION)],
                ),
                Panel(
                    title="Apart from the other venues",
                    description="Seconds a minute, of all symbols, in which a venue's price had left those of others, "
                    "as `tickerplant compare` tells; an alert stands on 300 of ten minutes.",
                    queries=[Query(events("DIVERGENCE"), "{{venue}}")],
                ),
                Panel(
                    title="Depth around the mid",
                    description=f"Mean size of whole books by distance from the mid, {sql.BOOK_STEP_BPS} bps a row, "
                    "quote currency. Choose one symbol.",
                    queries=[Sql(sql.book(), is_table=True)],
                    kind="heatmap",
                    width=24,
                    height=10,
                ),
            ],
        ),
        Row(
            title="By symbol",
            panels=[
                Panel(
                    title="Events by symbol",
                    description="Of the range shown. No symbol = a connection as a whole. Kinds: docs/reference.md.",
                    queries=[Sql(sql.EVENTS, is_table=True)],
                    kind="table",
                ),
                Panel(
                    title="Seconds with ticks",
                    description="Part of the seconds shown in which a tick came: least covered first.",
                    queries=[Sql(sql.COVERAGE, is_table=True)],
                    kind="table",
                ),
                Panel(
                    title="Missing ids and frames by symbol",
                    description="In each interval in which they were found missing: how many, how many of them came "
                    "by now (fetched or late), how many are still missing.",
                    queries=[Sql(sql.MISSING)],
                    width=24,
                ),
            ],
        ),
        Row(
            title="Wrong",
            panels=[
                Panel(
                    title="Order and time",
                    description="Per minute: items after a later one of their kind, times far ahead of their receipt.",
                    queries=[Query(events("OUT_OF_ORDER", "CLOCK_STEP"), "{{venue}} {{kind}}")],
                    unit="cpm",
                ),
                Panel(
                    title="Ticks with a flag",
                    description="Per minute, by flag.",
                    queries=[
                        Query(
                            f"60 * {rate(f'ticks_flagged_total{VENUE}', 'venue', 'flag')} or vector(0)",
                            "{{venue}} {{flag}}",
                        )
                    ],
                    unit="cpm",
                ),
                Panel(
                    title="Unknown",
                    description="Per minute: fields and symbols we do not know, instruments derived from their name.",
                    queries=[
                        Query(events("UNKNOWN_FIELD", "UNKNOWN_SYMBOL", "ASSUMED_INSTRUMENT"), "{{venue}} {{kind}}")
                    ],
                    unit="cpm",
                ),
                Panel(
                    title="Dead letters",
                    description="Per minute, by stage.",
                    queries=[
                        Query(
                            f"60 * {rate(f'stage_dead_letters_total{VENUE}', 'stage', 'venue')}", "{{stage}} {{venue}}"
                        )
                    ],
                    unit="cpm",
                ),
                Panel(
                    title="Notices of venues",
                    description="Per minute: maintenance, error answers, shutdowns.",
                    queries=[Query(events("VENUE_NOTICE"), "{{venue}} {{kind}}")],
                    unit="cpm",
                ),
            ],
        ),
    ],
    variables=[
        Variable(name="venue", label="venue", selector="ingestion_ticks_total"),
        Variable(name="symbol", label="symbol", selector=f"ingestion_ticks_total{VENUE}"),
    ],
)

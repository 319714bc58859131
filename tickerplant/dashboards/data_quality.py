"""The dashboard *Data Quality*: duplicates, holes, order, silence, what could not be read."""

from typing import Final

from tickerplant.dashboards.model import Dashboard, Panel, Query, Row, Variable
from tickerplant.dashboards.promql import rate

VENUE: Final = '{venue=~"$venue"}'
TICKS: Final = rate(f"ingestion_ticks_total{VENUE}", "venue")


def events(*kinds: str) -> str:
    """Give the rate of quality events of these kinds, by venue and kind; 0 where there was none yet."""
    selector = f'{{venue=~"$venue",kind=~"{"|".join(kinds)}"}}'
    return f"60 * {rate(f'quality_events_total{selector}', 'venue', 'kind')} or vector(0)"


DUPLICATES: Final = rate('quality_events_total{venue=~"$venue",kind="DUPLICATE"}', "venue")
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
                    description="Per minute: holes in a venue's ids, frames lost between socket and Kafka.",
                    queries=[Query(events("GAP", "FRAME_LOSS"), "{{venue}} {{kind}}")],
                    unit="cpm",
                ),
                Panel(
                    title="Silence",
                    description="Per minute: channels that were silent for too long, and connections lost.",
                    queries=[Query(events("STALE", "DISCONNECT"), "{{venue}} {{kind}}")],
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
            title="Wrong",
            panels=[
                Panel(
                    title="Order and prices",
                    description="Per minute: items after a later one of their kind, best bid at or above best ask.",
                    queries=[Query(events("OUT_OF_ORDER", "CROSSED"), "{{venue}} {{kind}}")],
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
    variables=[Variable(name="venue", label="venue", selector="ingestion_ticks_total")],
)

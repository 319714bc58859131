"""The dashboard *Market Data Ingestion*: rates, latencies, connections, errors, quality, stages."""

from typing import Final

from tickerplant.dashboards.model import Dashboard, Panel, Query, Row, Variable
from tickerplant.dashboards.promql import RANGE, heat, quantile, quantiles, rate

VENUE: Final = '{venue=~"$venue"}'
SYMBOL: Final = '{venue=~"$venue",symbol=~"$symbol"}'
STORED: Final = '{venue=~"$venue",store="clickhouse"}'
DOWN: Final = '{venue=~"$venue",state=~"disconnected|connecting|reconnecting"}'

NOW: Final = Row(
    title="Now",
    panels=[
        Panel(
            title="Ticks per second",
            description="Trades and quotes written to cleaned.tick, all venues chosen.",
            queries=[Query(rate(f"ingestion_ticks_total{VENUE}"))],
            unit="cps",
            kind="stat",
            width=4,
            height=4,
        ),
        Panel(
            title="End to end, p99",
            description="Taken in - exchange time. Aim: 0.5 s; an alert stands on 1 s.",
            queries=[Query(quantile(0.99, "ingestion_latency_seconds", selector=VENUE))],
            unit="s",
            kind="stat",
            warn=0.5,
            bad=1.0,
            width=4,
            height=4,
        ),
        Panel(
            title="Whole way to ClickHouse, p99",
            description="Acknowledged by ClickHouse - exchange time: a backlog anywhere shows here.",
            queries=[Query(quantile(0.99, "pipeline_latency_seconds", selector=STORED))],
            unit="s",
            kind="stat",
            warn=2.0,
            bad=5.0,
            width=4,
            height=4,
        ),
        Panel(
            title="Connections down",
            description="Connections to venues that are not connected; an alert stands on 60 s.",
            queries=[Query(f"sum (connector_connections{DOWN})")],
            kind="stat",
            bad=1.0,
            width=4,
            height=4,
        ),
        Panel(
            title="Dead letters in an hour",
            description="Items that could not be used: their bytes and the reason are in dlq.*.",
            queries=[Query(f"sum (increase(stage_dead_letters_total{VENUE}[1h]))")],
            kind="stat",
            warn=1.0,
            bad=100.0,
            width=4,
            height=4,
        ),
        Panel(
            title="Alerts firing",
            description="Of the rules in grafana/prometheus/rules; what to do: docs/monitoring.md.",
            queries=[Query('count(ALERTS{alertstate="firing"}) or vector(0)')],
            kind="stat",
            bad=1.0,
            width=4,
            height=4,
        ),
        Panel(
            title="Alerts",
            description="Pending (waiting for their time) and firing.",
            queries=[
                Query(
                    'max by (alertname, severity) (ALERTS{alertstate="firing"} * 2 or ALERTS{alertstate="pending"})',
                    "{{alertname}}",
                )
            ],
            kind="state-timeline",
            warn=1.0,
            bad=2.0,
            width=24,
            height=5,
        ),
    ],
)

RATE: Final = Row(
    title="Rate",
    panels=[
        Panel(
            title="Ticks per second by venue",
            description="Written to cleaned.tick. An alert stands on half of the last hour's.",
            queries=[Query(rate(f"ingestion_ticks_total{VENUE}", "venue"), "{{venue}}")],
            unit="cps",
            is_stacked=True,
        ),
        Panel(
            title="Ticks per second, ten busiest symbols",
            description="Of those chosen above.",
            queries=[
                Query(f"topk(10, {rate(f'ingestion_ticks_total{SYMBOL}', 'venue', 'symbol')})", "{{venue}} {{symbol}}")
            ],
            unit="cps",
        ),
        Panel(
            title="Frames taken in",
            description="From sockets and REST, by raw topic.",
            queries=[Query(rate('stage_received_total{stage="produce"}', "topic"), "{{topic}}")],
            unit="cps",
        ),
        Panel(
            title="Rows stored",
            description="Acknowledged by a store, by table.",
            queries=[Query(rate("sink_rows_total", "store", "table"), "{{store}} {{table}}")],
            unit="cps",
        ),
    ],
)

LATENCY: Final = Row(
    title="Latency",
    panels=[
        Panel(
            title="End to end: taken in - exchange",
            description="event_time_us - exchange_time_us of each tick. Aim: p99 below 0.5 s.",
            queries=quantiles("ingestion_latency_seconds", "venue", "asset_class", selector=VENUE),
            unit="s",
            warn=0.5,
            bad=1.0,
        ),
        Panel(
            title="Network: socket - exchange",
            description="recv_time_us - exchange_time_us; negative where the venue's clock is ahead of ours.",
            queries=quantiles("network_latency_seconds", "venue", "asset_class", selector=VENUE),
            unit="s",
            warn=0.1,
        ),
        Panel(
            title="Processing: stage done - socket",
            description="Since the socket was read: taken in (produce), written to Kafka (process), stored (sink).",
            queries=quantiles("stage_latency_seconds", "stage", selector=VENUE),
            unit="s",
        ),
        Panel(
            title="Whole way: stored - exchange",
            description="Rows that tell when they were sent; includes waiting for chunks (1 s) and files (10 s).",
            queries=quantiles("pipeline_latency_seconds", "store", "table", selector=VENUE),
            unit="s",
        ),
        Panel(
            title="End to end, distribution",
            description="Observations by latency.",
            queries=heat("ingestion_latency_seconds", VENUE),
            unit="s",
            kind="heatmap",
        ),
        Panel(
            title="Whole way to ClickHouse, distribution",
            description="Rows by latency.",
            queries=heat("pipeline_latency_seconds", STORED),
            unit="s",
            kind="heatmap",
        ),
    ],
)

ERRORS: Final = Row(
    title="Connections and errors",
    panels=[
        Panel(
            title="Errors of connections, by type",
            description="WebSocket and REST errors per second, of which the connection recovers by itself.",
            queries=[Query(rate(f"connector_errors_total{VENUE}", "venue", "error_type"), "{{venue}} {{error_type}}")],
            unit="cps",
        ),
        Panel(
            title="Reconnects and renewals",
            description="Per minute: connections opened again after a loss, and replaced before the venue's limit.",
            queries=[
                Query(f"60 * {rate(f'websocket_reconnects_total{VENUE}', 'venue')}", "{{venue}} reconnects"),
                Query(f"60 * {rate(f'connector_renewals_total{VENUE}', 'venue')}", "{{venue}} renewals"),
            ],
            unit="cpm",
        ),
        Panel(
            title="Connections by state",
            description="All but connected should be short.",
            queries=[Query(f"sum by (venue, state) (connector_connections{VENUE})", "{{venue}} {{state}}")],
        ),
        Panel(
            title="Dependencies",
            description="1 = the broker, registry, store or venue answers this role, 0 = it waits for it.",
            queries=[Query("min by (role, dependency) (dependency_up)", "{{role}} {{dependency}}")],
        ),
        Panel(
            title="Dead letters",
            description="Per minute, by stage. Bytes and reason are in dlq.* and metadata.dead_letters.",
            queries=[
                Query(f"60 * {rate(f'stage_dead_letters_total{VENUE}', 'stage', 'venue')}", "{{stage}} {{venue}}")
            ],
            unit="cpm",
        ),
        Panel(
            title="Errors that stages survived",
            description="Per minute: a store that was busy, lags that could not be read, ...",
            queries=[Query(f"60 * {rate('stage_errors_total', 'stage', 'error_type')}", "{{stage}} {{error_type}}")],
            unit="cpm",
        ),
    ],
)

QUALITY: Final = Row(
    title="Books and quality",
    panels=[
        Panel(
            title="Quality events, by kind",
            description="Per minute. What each kind means: docs/reference.md.",
            queries=[Query(f"60 * {rate(f'quality_events_total{VENUE}', 'venue', 'kind')}", "{{venue}} {{kind}}")],
            unit="cpm",
        ),
        Panel(
            title="Books",
            description="Invalid from a gap or a disconnect until the next snapshot.",
            queries=[Query(f"sum by (venue, state) (processor_books{VENUE})", "{{venue}} {{state}}")],
        ),
    ],
)

STAGES: Final = Row(
    title="Stages",
    panels=[
        Panel(
            title="Lag by position",
            description="Records that a stage has not taken from Kafka yet; by commit: dashboard Consumer lag.",
            queries=[Query("sum by (stage) (stage_lag_records)", "{{stage}}")],
        ),
        Panel(
            title="Waiting inside",
            description="Frames, records and rows that a stage holds.",
            queries=[Query("sum by (stage) (stage_queue_records)", "{{stage}}")],
        ),
        Panel(
            title="Time for a batch",
            description="p50 and p99 of one raw record (process) or one chunk (sinks).",
            queries=quantiles("stage_batch_seconds", "stage"),
            unit="s",
        ),
        Panel(
            title="Processor time",
            description="Cores used by each process of ours.",
            queries=[Query(f"sum by (job, instance) (rate(process_cpu_seconds_total{RANGE}))", "{{job}} {{instance}}")],
        ),
        Panel(
            title="Memory",
            description="Resident memory of each process of ours.",
            queries=[Query("sum by (job, instance) (process_resident_memory_bytes)", "{{job}} {{instance}}")],
            unit="bytes",
        ),
        Panel(
            title="Processes that answer",
            description="1 = Prometheus could read its metrics.",
            queries=[Query("min by (job, instance) (up)", "{{job}} {{instance}}")],
        ),
    ],
)

INGESTION: Final = Dashboard(
    uid="market-data-ingestion",
    title="Market Data Ingestion",
    description="From the venue's clock to the stores: rates, latencies, connections, errors, quality.",
    rows=[NOW, RATE, LATENCY, ERRORS, QUALITY, STAGES],
    variables=[
        Variable(name="venue", label="venue", selector="ingestion_ticks_total"),
        Variable(name="symbol", label="symbol", selector=f"ingestion_ticks_total{VENUE}"),
    ],
)

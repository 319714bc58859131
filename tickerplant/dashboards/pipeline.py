"""The dashboard *Pipeline*: stage by stage what flows, how long it takes, what waits, memory."""

from typing import Final

from tickerplant.dashboards.model import Dashboard, Panel, Query, Row, Variable
from tickerplant.dashboards.promql import RANGE, heat, quantiles, rate

VENUE: Final = '{venue=~"$venue"}'
SYMBOL: Final = '{venue=~"$venue",symbol=~"$symbol"}'
STORES: Final = (("ClickHouse", "clickhouse"), ("Parquet", "parquet"))
STAGES: Final = (
    ("taken in", "produce", "to the producer's hand-over to Kafka"),
    ("written to Kafka", "process", "to the cleaned topics"),
    ("stored in ClickHouse", "sink.clickhouse", "to the store's answer, waiting for a chunk included"),
    ("stored in Parquet", "sink.parquet", "to the object's end, waiting for a file included"),
)


def stage(name: str) -> str:
    """Select the latencies of a stage."""
    return f'{{venue=~"$venue",stage="{name}"}}'


FLOW: Final = Row(
    title="Stages",
    panels=[
        Panel(
            title="Taken in by a stage",
            description="Frames (produce, process) and records (sinks) per second.",
            queries=[Query(rate("stage_received_total", "stage"), "{{stage}}")],
            unit="cps",
            sees=["market-data-ingestion"],
        ),
        Panel(
            title="Passed on by a stage",
            description="Records per second, by topic.",
            queries=[Query(rate("stage_sent_total", "stage", "topic"), "{{stage}} {{topic}}")],
            unit="cps",
        ),
        Panel(
            title="Ticks of the symbols chosen",
            description="Written to cleaned.tick, per second and venue.",
            queries=[Query(rate(f"ingestion_ticks_total{SYMBOL}", "venue"), "{{venue}}")],
            unit="cps",
            sees=["data-quality"],
        ),
        Panel(
            title="Bytes taken in by a stage",
            description="Per second.",
            queries=[Query(rate("stage_received_bytes_total", "stage"), "{{stage}}")],
            unit="Bps",
        ),
        Panel(
            title="Rows and chunks stored",
            description="Acknowledged by a store, per second.",
            queries=[
                Query(rate("sink_rows_total", "store"), "{{store}} rows"),
                Query(rate("sink_writes_total", "store"), "{{store}} chunks"),
            ],
            unit="cps",
        ),
        Panel(
            title="Errors and dead letters of stages",
            description="Per minute: errors that a stage survived, items that it could not use.",
            queries=[
                Query(f"60 * {rate('stage_errors_total', 'stage')} or vector(0)", "{{stage}} errors"),
                Query(f"60 * {rate(f'stage_dead_letters_total{VENUE}', 'stage')} or vector(0)", "{{stage}} letters"),
            ],
            unit="cpm",
            sees=["data-quality"],
        ),
    ],
)

LATENCY: Final = Row(
    title="Latency",
    panels=[
        Panel(
            title="Since the socket, by stage",
            description="p50 and p99. Aim: stored within 0.2 s with sink.flush_ms = 100.",
            queries=quantiles("stage_latency_seconds", "stage", selector=VENUE),
            unit="s",
        ),
        Panel(
            title="Time for a batch",
            description="p50 and p99 of one raw record (process) or one chunk (sinks).",
            queries=quantiles("stage_batch_seconds", "stage"),
            unit="s",
        ),
        Panel(
            title="Exchange to socket",
            description="Negative: the venue's clock is ahead of ours.",
            queries=heat("network_latency_seconds", VENUE),
            unit="s",
            kind="heatmap",
        ),
        Panel(
            title="Exchange to intake",
            description="End to end: taken in - exchange.",
            queries=heat("ingestion_latency_seconds", VENUE),
            unit="s",
            kind="heatmap",
        ),
        Panel(
            title="Clocks of venues",
            description="Least exchange to socket of the last minute: offset of the clocks and the shortest way. "
            "Negative: the venue's clock is ahead of ours.",
            queries=[Query(f"min by (venue) (clock_offset_seconds{VENUE})", "{{venue}}")],
            unit="s",
        ),
        Panel(
            title="Network, without the clocks",
            description="p50 and p99 of what lies above the clock offset.",
            queries=quantiles("network_jitter_seconds", "venue", selector=VENUE),
            unit="s",
        ),
        *(
            Panel(
                title=f"Socket to {what}",
                description=f"Since the socket was read, {until}.",
                queries=heat("stage_latency_seconds", stage(name)),
                unit="s",
                kind="heatmap",
            )
            for what, name, until in STAGES
        ),
        *(
            Panel(
                title=f"Exchange to {name}",
                description="The whole way: acknowledged by the store - exchange, where a row tells when it was sent.",
                queries=heat("pipeline_latency_seconds", f'{{venue=~"$venue",store="{store}"}}'),
                unit="s",
                kind="heatmap",
            )
            for name, store in STORES
        ),
    ],
)

PRESSURE: Final = Row(
    title="Back pressure",
    panels=[
        Panel(
            title="Waiting inside a stage",
            description="Frames, records and rows that a stage holds; a full queue slows down who fills it.",
            queries=[Query("sum by (stage) (stage_queue_records)", "{{stage}}")],
        ),
        Panel(
            title="Not taken yet, records",
            description="Between a stage's position and the end of its topics.",
            queries=[Query("sum by (stage) (stage_lag_records)", "{{stage}}")],
            sees=["consumer-lag"],
        ),
        Panel(
            title="Not taken yet, seconds",
            description="How long the oldest record that a stage has not taken has waited.",
            queries=[Query("max by (stage, topic) (stage_lag_seconds)", "{{stage}} {{topic}}")],
            unit="s",
            warn=10.0,
            bad=60.0,
            sees=["consumer-lag"],
        ),
        Panel(
            title="Not committed yet, seconds",
            description="The largest of each consumer group. An alert stands on 60 s.",
            queries=[Query("max by (group) (kafka_consumergroup_group_max_lag_seconds)", "{{group}}")],
            unit="s",
            bad=60.0,
            sees=["consumer-lag"],
        ),
        Panel(
            title="Whom a role waits for",
            description="1 = the broker, registry, store or venue answers, 0 = the role waits for it.",
            queries=[Query("min by (role, dependency) (dependency_up)", "{{role}} {{dependency}}")],
            width=24,
        ),
    ],
)

PROCESSES: Final = Row(
    title="Memory and processor",
    panels=[
        Panel(
            title="Memory",
            description="Resident memory of each process of ours.",
            queries=[
                Query('sum by (service, instance) (process_resident_memory_bytes{job="tickerplant"})', "{{service}}")
            ],
            unit="bytes",
        ),
        Panel(
            title="Growth of memory",
            description="Bytes an hour, by the last quarter of one: about 0 once a process is warm.",
            queries=[
                Query(
                    'sum by (service, instance) (3600 * deriv(process_resident_memory_bytes{job="tickerplant"}[15m]))',
                    "{{service}}",
                )
            ],
            unit="bytes",
        ),
        Panel(
            title="Cores used",
            description="By each process of ours: at 1 a process can do no more, and what it reads waits.",
            queries=[
                Query(
                    f'sum by (service, instance) (rate(process_cpu_seconds_total{{job="tickerplant"}}{RANGE}))',
                    "{{service}}",
                )
            ],
            warn=0.8,
            bad=0.95,
        ),
        Panel(
            title="Open files and sockets",
            description="Of each process of ours.",
            queries=[Query('sum by (service, instance) (process_open_fds{job="tickerplant"})', "{{service}}")],
        ),
        Panel(
            title="Age of processes",
            description="Since its start: a drop is a restart.",
            queries=[
                Query(
                    'min by (service, instance) (time() - process_start_time_seconds{job="tickerplant"})', "{{service}}"
                )
            ],
            unit="s",
            width=24,
        ),
    ],
)

PIPELINE: Final = Dashboard(
    uid="pipeline",
    title="Pipeline",
    description="Stage by stage: rates, latencies, what waits, memory and processor time.",
    rows=[FLOW, LATENCY, PRESSURE, PROCESSES],
    variables=[
        Variable(name="venue", label="venue", selector="ingestion_ticks_total"),
        Variable(name="symbol", label="symbol", selector=f"ingestion_ticks_total{VENUE}"),
    ],
)

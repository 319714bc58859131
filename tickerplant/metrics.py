"""The closed catalogue of metrics, and `/metrics` of a process.

Names of the mission come first. Units are seconds and bytes; labels are bounded (venue, symbol, stage, topic);
everything is updated per batch, never per message.
"""

from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Final, NamedTuple
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from prometheus_client import Counter, Gauge, Histogram, make_wsgi_app, start_http_server
from prometheus_client.samples import Sample

from tickerplant.errors import DependencyError, UserError
from tickerplant.processes import leave_note, notes_folder
from tickerplant.settings import Settings

LATENCY_BUCKETS_S: Final = (
    0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075,
    0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 60.0,
)  # fmt: skip

END_TO_END_BUCKETS_S: Final = (-5.0, -2.0, -1.0, -0.5, -0.25, -0.1, -0.05, -0.01, 0.0, *LATENCY_BUCKETS_S)
"""Below 0: the venue's clock is ahead of ours by more than the way takes."""
WHOLE_WAY_BUCKETS_S: Final = (
    -5.0, -2.0, -1.0, -0.5, -0.2, 0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.2, 1.5, 2.0, 3.0, 5.0, 7.5,
    10.0, 15.0, 20.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0, 21600.0,
)  # fmt: skip
"""Through batches of a second, files of ten, and backlogs of hours."""
NETWORK_BUCKETS_S: Final = (
    -1.0, -0.5, -0.25, -0.1, -0.05, -0.025, -0.01, -0.005, -0.0025, 0.0, 0.0025, 0.005, 0.01, 0.015, 0.02, 0.03,
    0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 10.0,
)  # fmt: skip
"""Below 0: the venue's clock is ahead of ours."""


class SignedHistogram(Histogram):
    """A histogram of values below 0 as well, with the `_sum` that the library leaves out of such.

    `_sum` may fall then, so that averages are `delta(x_sum[5m]) / increase(x_count[5m])`. OpenMetrics has no sum of
    such a histogram, so `/metrics` is text of Prometheus, whatever is asked for.
    """

    def _child_samples(self) -> Iterable[Sample]:
        return (*super()._child_samples(), Sample("_sum", {}, self._sum.get(), None, None))


TICKS: Final = Counter("ingestion_ticks_total", "Ticks written to cleaned.tick.", ["venue", "symbol", "asset_class"])
LATENCY: Final = SignedHistogram(
    "ingestion_latency_seconds",
    "End to end: taken in - exchange time, of every tick but trades of the past (fetched later, or of before the "
    "connection).",
    ["venue", "asset_class"],
    buckets=END_TO_END_BUCKETS_S,
)
NETWORK: Final = SignedHistogram(
    "network_latency_seconds",
    "Socket read - exchange time of every such tick, clock offsets included: negative = the venue's clock is ahead.",
    ["venue", "asset_class"],
    buckets=NETWORK_BUCKETS_S,
)
JITTER: Final = Histogram(
    "network_jitter_seconds",
    "Socket read - exchange time, less the venue's clock_offset_seconds at that time.",
    ["venue"],
    buckets=LATENCY_BUCKETS_S,
)
CLOCK_OFFSET: Final = Gauge(
    "clock_offset_seconds",
    "Least socket read - exchange time of the last minute: offset of the clocks and the shortest way; "
    "negative = the venue's clock is ahead of ours.",
    ["venue"],
)
WHOLE_WAY: Final = SignedHistogram(
    "pipeline_latency_seconds",
    "The whole way: acknowledged by the store - exchange time, of every row that has one, but trades of the past, "
    "whole books that repeat what stands, and features.",
    ["store", "table", "venue"],
    buckets=WHOLE_WAY_BUCKETS_S,
)
CONNECTOR_ERRORS: Final = Counter("connector_errors_total", "Errors of connections to venues.", ["venue", "error_type"])
RECONNECTS: Final = Counter("websocket_reconnects_total", "Connections to venues opened again after a loss.", ["venue"])
RENEWALS: Final = Counter(
    "connector_renewals_total", "Connections replaced with an overlap before their foreseen end.", ["venue"]
)
CONNECTIONS: Final = Gauge("connector_connections", "Connections by state.", ["venue", "state"])
RECEIVED: Final = Counter("stage_received_total", "Items taken in by a stage.", ["stage", "topic"])
SENT: Final = Counter("stage_sent_total", "Items passed on by a stage.", ["stage", "topic"])
RECEIVED_BYTES: Final = Counter("stage_received_bytes_total", "Bytes taken in by a stage.", ["stage", "topic"])
ERRORS: Final = Counter("stage_errors_total", "Errors of a stage that it survived.", ["stage", "error_type"])
DEAD_LETTERS: Final = Counter("stage_dead_letters_total", "Items sent to the dead letters.", ["stage", "venue"])
REDUNDANT: Final = Counter(
    "stage_redundant_total", "Items dropped because another connection had brought them before.", ["venue"]
)
LEFT_OUT: Final = Counter(
    "stage_left_out_total", "Records left out after a restart because they had been written before.", ["stage"]
)
QUEUE: Final = Gauge("stage_queue_records", "Items waiting inside a stage.", ["stage"])
STAGE_LATENCY: Final = Histogram(
    "stage_latency_seconds",
    "Socket read to done: taken in (produce), written to Kafka (process: first, last frame of a record), acknowledged "
    "by the store (sink).",
    ["stage", "venue"],
    buckets=LATENCY_BUCKETS_S,
)
BATCH_SECONDS: Final = Histogram(
    "stage_batch_seconds", "Time a stage spends on one batch.", ["stage"], buckets=LATENCY_BUCKETS_S
)
ROWS: Final = Counter("sink_rows_total", "Rows acknowledged by a store.", ["store", "table"])
WRITES: Final = Counter("sink_writes_total", "Chunks acknowledged by a store.", ["store", "table"])
REPEATS: Final = Counter("sink_repeats_total", "Rows dropped because the store has them.", ["store", "table"])
QUALITY: Final = Counter("quality_events_total", "Quality events.", ["venue", "kind"])
FLAGGED: Final = Counter(
    "ticks_flagged_total", "Ticks written to cleaned.tick with a flag, each flag of a tick counted.", ["venue", "flag"]
)
LAG: Final = Gauge(
    "stage_lag_records",
    "Records between a stage's position and the end, committed or not.",
    ["stage", "topic", "partition"],
)
LAG_SECONDS: Final = Gauge(
    "stage_lag_seconds",
    "How long the oldest record that a stage has not taken has waited in Kafka; 0 = all are taken.",
    ["stage", "topic", "partition"],
)
LEADS: Final = Gauge(
    "processor_leads",
    "Streams by the producer whose connection brings them first, or alone: by the name of its run.",
    ["venue", "producer"],
)
BOOKS: Final = Gauge("processor_books", "Order books by state.", ["venue", "state"])
DEPENDENCY_UP: Final = Gauge("dependency_up", "1 = a dependency of a role answers, 0 = not.", ["role", "dependency"])

TEXT: Final = "text/plain; version=0.0.4"
Answer = tuple[int, bytes]
"""HTTP status and a JSON body."""


class Family(NamedTuple):
    """A gauge of the lag exporter: told as a whole with each reading, so that what vanished is gone."""

    name: str
    documentation: str
    labels: tuple[str, ...]


_GROUP: Final = ("cluster_name", "group")
_PLACE: Final = ("cluster_name", "topic", "partition")
GROUP_LAG: Final = Family(
    "kafka_consumergroup_group_lag",
    "Records that a group has not committed.",
    (*_GROUP, "topic", "partition"),
)
GROUP_LAG_SECONDS: Final = Family(
    "kafka_consumergroup_group_lag_seconds",
    "How long the oldest record that a group has not committed has waited in Kafka.",
    (*_GROUP, "topic", "partition"),
)
GROUP_OFFSET: Final = Family(
    "kafka_consumergroup_group_offset", "Next offset that a group will read.", (*_GROUP, "topic", "partition")
)
GROUP_MAX_LAG: Final = Family("kafka_consumergroup_group_max_lag", "Largest lag of a group's partitions.", _GROUP)
GROUP_MAX_LAG_SECONDS: Final = Family(
    "kafka_consumergroup_group_max_lag_seconds", "Largest lag in seconds of a group's partitions.", _GROUP
)
GROUP_SUM_LAG: Final = Family("kafka_consumergroup_group_sum_lag", "Sum of the lags of a group's partitions.", _GROUP)
GROUP_TOPIC_SUM_LAG: Final = Family(
    "kafka_consumergroup_group_topic_sum_lag", "Sum of the lags of a group's partitions of a topic.", (*_GROUP, "topic")
)
LATEST_OFFSET: Final = Family("kafka_partition_latest_offset", "Offset of the next record to come.", _PLACE)
EARLIEST_OFFSET: Final = Family("kafka_partition_earliest_offset", "Oldest offset that is kept.", _PLACE)
POLL_TIME_MS: Final = Family(
    "kafka_consumergroup_poll_time_ms", "How long the last reading of all lags took.", ("cluster_name",)
)
POLL_AGE: Final = Family(
    "kafka_consumergroup_poll_age_seconds",
    "How old the last reading is: it grows while the broker does not answer.",
    ("cluster_name",),
)
FAMILIES: Final = (
    GROUP_LAG,
    GROUP_LAG_SECONDS,
    GROUP_OFFSET,
    GROUP_MAX_LAG,
    GROUP_MAX_LAG_SECONDS,
    GROUP_SUM_LAG,
    GROUP_TOPIC_SUM_LAG,
    LATEST_OFFSET,
    EARLIEST_OFFSET,
    POLL_TIME_MS,
    POLL_AGE,
)
"""Named as by kafka-lag-exporter, which public dashboards expect: https://github.com/seglo/kafka-lag-exporter."""


def serve_metrics(
    settings: Settings,
    role: str,
    routes: Mapping[str, Callable[[], Answer]] | None = None,
    put: Callable[[WSGIApplication], WSGIApplication] = lambda app: app,
) -> int:
    """Serve `/metrics` of this process and note its port in `<local.home>/run/metrics-<role>-<pid>.json`.

    Args:
        routes: paths that are answered otherwise, each with JSON.
        put: what is put before all that.

    Returns:
        The port.

    Raises:
        UserError: the port is in use.
        DependencyError: the note cannot be written.
    """
    try:
        server, _thread = start_http_server(settings.metrics.port, settings.metrics.host)
    except OSError as error:
        text = f"metrics port {settings.metrics.port} cannot be opened: {error.strerror}; set metrics.port"
        raise UserError(text) from None
    server.set_app(put(_with_routes(make_wsgi_app(), routes or {})))
    port = int(server.server_port)
    try:
        leave_note(settings, role, port)
    except OSError as error:
        raise DependencyError("disk", str(notes_folder(settings)), f"{error.strerror}; see local.home") from None
    return port


def totals() -> dict[str, int]:
    """Sum the counters of this process over their labels: items received, sent, dead letters, errors, rows stored."""
    counters = {"received": RECEIVED, "sent": SENT, "dead_letters": DEAD_LETTERS, "errors": ERRORS, "rows": ROWS}
    return {name: round(sum(_values(counter))) for name, counter in counters.items()}


def _values(counter: Counter) -> list[float]:
    families = counter.collect()
    return [each.value for family in families for each in family.samples if each.name.endswith("_total")]


def _with_routes(metrics: WSGIApplication, routes: Mapping[str, Callable[[], Answer]]) -> WSGIApplication:
    """Answer some paths by functions, all others with the metrics."""

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        route: Callable[[], Answer] | None = routes.get(environ["PATH_INFO"])
        if route is None:
            return metrics({**environ, "HTTP_ACCEPT": TEXT}, start_response)
        status, body = route()
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        start_response(f"{status} {HTTPStatus(status).phrase}", headers)
        return [body]

    return answer

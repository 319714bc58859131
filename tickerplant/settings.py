"""Settings: defaults ← TOML file ← `TICKERPLANT_*` environment, read once, validated before any connection.

An environment name is the path of the setting: `TICKERPLANT_KAFKA__BOOTSTRAP_SERVERS` sets `[kafka] bootstrap_servers`;
`TICKERPLANT_VENUES` is a JSON list, one object for each `[[venues]]`, and replaces those of the file.
Unknown keys and unknown `TICKERPLANT_*` names are refused. Secrets print as `**********`, and may be given by reference
(`tickerplant/secrets.py`) or, as containers do, by a file: `TICKERPLANT_KAFKA__SASL_PASSWORD_FILE`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

ENV_PREFIX = "TICKERPLANT_"
CONFIG_ENV = "TICKERPLANT_CONFIG"
VENUES_ENV = "TICKERPLANT_VENUES"
VENUES_EXAMPLE = 'e.g. [{"venue": "BINANCE", "market": "spot", "symbols": ["BTCUSDT"]}]'

Port = Annotated[int, Field(ge=0, le=65535)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0, le=1)]

EMPTY_IS_NONE = BeforeValidator(lambda value: None if value == "" else value)  # as `${NAME:-}` of Compose leaves it
Text = Annotated[str | None, EMPTY_IS_NONE]
File = Annotated[Path | None, EMPTY_IS_NONE]
Secret = Annotated[SecretStr | None, EMPTY_IS_NONE]
Windows = Annotated[
    tuple[Annotated[int, Field(ge=1, le=3600)], ...],
    BeforeValidator(lambda value: value.split(",") if isinstance(value, str) else value),
    AfterValidator(lambda value: tuple(sorted(set(value)))),
    Field(min_length=1),
]
Names = Annotated[str, BeforeValidator(lambda value: ",".join(map(str, value)) if isinstance(value, list) else value)]


class Section(BaseModel):
    """Base of every section: frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Local(Section):
    """The stack on one machine (`tickerplant up`); every listener is on 127.0.0.1."""

    home: Path = Path(".tickerplant")  # data, logs and pid files of the stack
    cache: Path = Path("~/.cache/tickerplant")  # downloaded server archives, shared by checkouts
    kafka_port: Port = 19092
    kafka_controller_port: Port = 19093
    registry_port: Port = 18081
    s3_port: Port = 19000
    clickhouse_port: Port = 19440
    clickhouse_http_port: Port = 18123
    simulator_port: Port = 18765
    kafka_heap_mb: Count = 512
    disk_reserve_mb: Annotated[int, Field(ge=0)] = 256  # below, producers read no more; at most a tenth; 0 = never
    secure: bool = False  # the broker asks for TLS, a password (SCRAM) and rights; docs/security.md


class Kafka(Section):
    """The broker. `partitions` is used by `tickerplant deploy` only; afterwards the broker is asked."""

    bootstrap_servers: str = "127.0.0.1:19092"
    partitions: Count = 4
    replication: Count = 1
    topic_suffix: str = ""  # appended to every topic name, so that a replay stands beside the live topics
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Annotated[Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None, EMPTY_IS_NONE] = None
    sasl_username: Text = None
    sasl_password: Secret = None
    ssl_ca_location: File = None  # PEM; None = the system's
    ssl_certificate_location: File = None  # PEM, for brokers that ask clients for one
    ssl_key_location: File = None
    ssl_key_password: Secret = None


class Registry(Section):
    """The schema registry (Confluent API)."""

    url: str = "http://127.0.0.1:18081/apis/ccompat/v7"
    unknown_id: Literal["stop", "dead_letter"] = "dead_letter"  # what to do with a record whose schema is unknown
    username: Text = None
    password: Secret = None
    ca_location: File = None  # PEM; None = the usual authorities


class ObjectStore(Section):
    """Where Parquet goes: `root` is `s3://bucket/prefix` or a local folder; the rest only matters for S3."""

    root: str = "s3://tickerplant/lake"
    endpoint_url: Text = "http://127.0.0.1:19000"  # None or empty = AWS
    access_key: Secret = SecretStr("tickerplant")  # empty = as AWS's own tools find them
    secret_key: Secret = SecretStr("tickerplant")
    session_token: Secret = None
    region: Text = None  # None = as AWS's own tools find it
    ca_location: File = None  # PEM; None = the usual authorities


class ClickHouse(Section):
    """ClickHouse, over its native protocol."""

    host: str = "127.0.0.1"
    port: Port = 19440
    http_port: Port = 18123
    user: str = "default"
    password: SecretStr = SecretStr("")
    secure: bool = False
    verify: bool = True  # with `secure`: refuse a certificate that no known authority has signed for this host
    ca_location: File = None  # PEM; None = the usual authorities
    retention_days: Count = 90
    table_suffix: str = ""  # appended to every table name, as a replay does for itself


class Keys(Section):
    """Keys of venues, for REST that they do not answer without; those that may read market data are enough."""

    binance: Secret = None  # missing trades of futures that are older than the newest 1,000

    def of(self, venue: str) -> SecretStr | None:
        """Tell the key of a venue, in capitals; None = there is none."""
        return self.binance if venue == "BINANCE" else None


class Producer(Section):
    """How frames are packed into raw records, and how patient connections are."""

    linger_ms: Positive = 10.0  # raw records are closed this often ...
    record_bytes: Count = 32768  # ... or at this size, whichever is first
    queue_frames: Count = 20000  # frames waiting for Kafka before the socket is read slower
    stale_after_s: Positive = 30.0  # a subscribed channel silent for longer is a failure
    backoff_first_s: Positive = 1.0
    backoff_most_s: Positive = 60.0
    max_frame_bytes: Annotated[int, Field(ge=1, le=30 * 1024 * 1024)] = 16 * 1024 * 1024  # the topic takes 32 MiB
    socket_bytes: Count = 4 * 1024 * 1024  # of one connection, read and not taken in, before its socket is not read
    open_timeout_s: Positive = 10.0  # from the first packet to the end of the handshake
    ping_interval_s: Positive = 20.0
    ping_timeout_s: Positive = 60.0  # a ping without a pong for longer ends the connection
    overlap_s: Positive = 5.0  # old and new connection are both taken for as long when one replaces the other
    http_timeout_s: Positive = 30.0  # for a whole answer over REST
    backfill_pages: Annotated[int, Field(ge=0)] = 100  # of missing trades, fetched for one gap at once; 0 = gaps stay


class Venue(Section):
    """One market of one venue to capture."""

    venue: str
    market: str
    symbols: tuple[str, ...]  # venue symbols, e.g. BTCUSDT; ("*",) = all that trade
    channels: tuple[str, ...] = ("trade", "quote", "depth")
    websocket_url: str | None = None  # None = the venue's own
    rest_url: str | None = None


class Processor(Section):
    """One processor process per `workers`; books and dedupe windows live in it."""

    workers: Count = 1
    keyframe_s: Positive = 10.0
    snapshot_s: Positive = 1.0
    checkpoint_s: Positive = 3600.0  # the role `checkpoint` keeps the state in the lake this often, for replays
    dead_letter_limit: Count = 1000  # consecutive bad frames of a partition at which the process stops
    dead_letter_share: Share = 0.5  # of dead_letter_window frames, at which it stops too
    dead_letter_window: Count = 10_000
    follows_trades: bool = False  # a recording is played back: minutes and seconds end by the times of its trades
    stuck_after_s: Positive = 60.0  # raw records wait, nothing is done, no server is away: the process ends itself


class Features(Section):
    """Features of each symbol and second, `features.signal`: docs/features.md."""

    enabled: bool = False
    windows_s: Windows = (
        1,
        10,
        60,
        300,
    )  # 1 to 3600

    @property
    def in_force(self) -> tuple[int, ...]:
        """Tell the windows; empty = features are not computed."""
        return self.windows_s if self.enabled else ()


class Sink(Section):
    """Chunks are flushed after `flush_ms`, `flush_rows` or `flush_bytes`, whichever is first."""

    flush_ms: Positive = 1000.0
    flush_rows: Count = 100_000
    flush_bytes: Count = 16 * 1024 * 1024
    parquet_roll_s: Positive = 10.0
    parquet_roll_bytes: Count = 64 * 1024 * 1024
    parquet_roll_rows: Count = 200_000  # small rows take more memory than their encoded bytes tell
    dead_letter_limit: Count = 1000  # consecutive records of a partition, unreadable or refused, at which it stops
    dead_letter_share: Share = 0.5  # of dead_letter_window records, at which it stops too
    dead_letter_window: Count = 10_000


class Connector(Section):
    """A sink in the words of Kafka Connect, whose names have dots: both ways are read; docs/connect.md."""

    name: str = ""  # as the API and the dead letters' headers tell it; empty = that of the store
    connector_class: str = ""  # of the store; empty = it
    tasks_max: Count = 1  # processes that `tickerplant run` starts; partitions are spread over them
    topics: Names = ""  # by comma, of those that are stored; empty = all
    flush_size: Count | None = None  # rows of a chunk; None = as in [sink], as the next one
    rotate_interval_ms: Positive | None = None  # age of a chunk
    errors_tolerance: Literal["all", "none"] = "all"  # none = the first record that cannot be used ends the sink
    errors_deadletterqueue_topic_name: str = "dlq.sink"
    errors_deadletterqueue_context_headers_enable: bool = True


class Connectors(Section):
    """Sinks, each by itself, and the REST API that steers them."""

    steer_from: Literal["loopback", "anywhere"] = "loopback"  # who may pause, stop and restart by the API
    rest_port: Port = 0  # one of the sinks of a machine serves all of them here; 0 = only each at its metrics port
    clickhouse: Connector = Connector()
    parquet: Connector = Connector()


class Metrics(Section):
    """`/metrics` of each process; port 0 = any free one, noted in `<local.home>/run/metrics-<role>-<pid>.json`."""

    host: str = "127.0.0.1"
    port: Port = 0


class LagExporter(Section):
    """`tickerplant lag-exporter`: the lag of every consumer group, for Prometheus."""

    poll_s: Positive = 5.0
    cluster_name: str = "tickerplant"  # label of all its metrics


class Divergence(Section):
    """`tickerplant compare`: prices of one pair at several venues; see docs/quality.md."""

    enabled: bool = False  # `tickerplant run` starts it
    width: Positive = 5.0  # half the band, in standard deviations estimated from the MAD
    floor_bps: Positive = 10.0  # half the band at least
    fresh_s: Count = 10  # a venue that has not quoted for longer is left out
    patience_s: Count = 3  # what ends sooner is told by nobody


class Settings(Section):
    """All settings of all roles."""

    environment: Literal["local", "integration", "staging", "production"] = "local"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    local: Local = Local()
    kafka: Kafka = Kafka()
    registry: Registry = Registry()
    object_store: ObjectStore = ObjectStore()
    clickhouse: ClickHouse = ClickHouse()
    producer: Producer = Producer()
    keys: Keys = Keys()
    processor: Processor = Processor()
    features: Features = Features()
    sink: Sink = Sink()
    connectors: Connectors = Connectors()
    metrics: Metrics = Metrics()
    lag_exporter: LagExporter = LagExporter()
    divergence: Divergence = Divergence()
    venues: tuple[Venue, ...] = ()


def load_settings(path: Path | None = None, environment: Mapping[str, str] | None = None) -> Settings:
    """Read settings from a TOML file (None = the one `TICKERPLANT_CONFIG` names, else none) and environment.

    Raises:
        UserError: the file is missing or not TOML, a key is unknown, a value does not fit or contradicts another.
    """
    from tickerplant.configuration import read_settings  # noqa: PLC0415  # which imports this module

    return read_settings(path, environment).settings

"""Settings: defaults ← TOML file ← `TICKERPLANT_*` environment, read once, validated before any connection.

An environment name is the path of the setting: `TICKERPLANT_KAFKA__BOOTSTRAP_SERVERS` sets `[kafka] bootstrap_servers`;
`TICKERPLANT_VENUES` is a JSON list, one object for each `[[venues]]`, and replaces those of the file.
Unknown keys and unknown `TICKERPLANT_*` names are refused. Secrets print as `**********`.
"""

import json
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, TypeAdapter, ValidationError

from tickerplant.errors import UserError

ENV_PREFIX = "TICKERPLANT_"
CONFIG_ENV = "TICKERPLANT_CONFIG"
VENUES_ENV = "TICKERPLANT_VENUES"
VENUES_EXAMPLE = 'e.g. [{"venue": "BINANCE", "market": "spot", "symbols": ["BTCUSDT"]}]'

Port = Annotated[int, Field(ge=0, le=65535)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


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


class Kafka(Section):
    """The broker. `partitions` is used by `tickerplant deploy` only; afterwards the broker is asked."""

    bootstrap_servers: str = "127.0.0.1:19092"
    partitions: Count = 4
    replication: Count = 1
    topic_suffix: str = ""  # appended to every topic name, so that a replay stands beside the live topics


class Registry(Section):
    """The schema registry (Confluent API)."""

    url: str = "http://127.0.0.1:18081/apis/ccompat/v7"


class ObjectStore(Section):
    """Where Parquet goes: `root` is `s3://bucket/prefix` or a local folder; the rest only matters for S3."""

    root: str = "s3://tickerplant/lake"
    endpoint_url: str | None = "http://127.0.0.1:19000"  # None = AWS
    access_key: SecretStr | None = SecretStr("tickerplant")
    secret_key: SecretStr | None = SecretStr("tickerplant")


class ClickHouse(Section):
    """ClickHouse, over its native protocol."""

    host: str = "127.0.0.1"
    port: Port = 19440
    http_port: Port = 18123
    user: str = "default"
    password: SecretStr = SecretStr("")
    secure: bool = False
    retention_days: Count = 90


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


class Venue(Section):
    """One market of one venue to capture."""

    venue: str
    market: str
    symbols: tuple[str, ...]  # venue symbols, e.g. BTCUSDT; ("*",) = all that trade
    channels: tuple[str, ...] = ("trade", "bookTicker", "depth")
    websocket_url: str | None = None  # None = the venue's own
    rest_url: str | None = None


class Processor(Section):
    """One processor process per `workers`; books and dedupe windows live in it."""

    workers: Count = 1
    keyframe_s: Positive = 10.0
    snapshot_s: Positive = 1.0
    dead_letter_limit: Count = 1000  # consecutive bad frames after which the process stops


class Sink(Section):
    """Chunks are flushed after `flush_ms`, `flush_rows` or `flush_bytes`, whichever is first."""

    flush_ms: Positive = 1000.0
    flush_rows: Count = 100_000
    flush_bytes: Count = 16 * 1024 * 1024
    parquet_roll_s: Positive = 10.0
    parquet_roll_bytes: Count = 64 * 1024 * 1024


class Metrics(Section):
    """`/metrics` of each process; port 0 = any free one, noted in `<local.home>/run/metrics-<role>-<pid>.json`."""

    host: str = "127.0.0.1"
    port: Port = 0


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
    processor: Processor = Processor()
    sink: Sink = Sink()
    metrics: Metrics = Metrics()
    venues: tuple[Venue, ...] = ()


def load_settings(path: Path | None = None, environment: Mapping[str, str] | None = None) -> Settings:
    """Read settings from a TOML file (None = the one `TICKERPLANT_CONFIG` names, else none) and environment.

    Raises:
        UserError: the file is missing or not TOML, a key is unknown, a value does not fit.
    """
    environment = os.environ if environment is None else environment
    if path is None and CONFIG_ENV in environment:
        path = Path(environment[CONFIG_ENV])
    values = _read_toml(path) if path else {}
    for keys, value in _environment_values(environment):
        _put(values, keys, value)
    try:
        return TypeAdapter(Settings).validate_python(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        source = f" in {path}" if path else ""
        reason = "unknown setting" if first["type"] == "extra_forbidden" else first["msg"]
        raise UserError(f"setting {where}{source}: {reason}; see tickerplant.example.toml") from None


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"no settings file at {path}; start from tickerplant.example.toml") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid TOML: {error}") from None


def _environment_values(environment: Mapping[str, str]) -> Iterator[tuple[list[str], object]]:
    for name, value in sorted(environment.items()):
        if name.startswith(ENV_PREFIX) and name != CONFIG_ENV:
            keys = name.removeprefix(ENV_PREFIX).lower().split("__")
            yield keys, _read_venues(value) if name == VENUES_ENV else value


def _read_venues(text: str) -> list[object]:
    try:
        venues = json.loads(text)
    except ValueError as error:
        raise UserError(f"{VENUES_ENV} is not JSON: {error}; {VENUES_EXAMPLE}") from None
    if not isinstance(venues, list):
        raise UserError(f"{VENUES_ENV} is not a list; {VENUES_EXAMPLE}")
    return venues


def _put(values: dict[str, Any], keys: list[str], value: object) -> None:
    for depth, key in enumerate(keys[:-1], 1):
        values = values.setdefault(key, {})
        if not isinstance(values, dict):
            raise UserError(f"setting {'.'.join(keys[:depth])} is a section, not a value; see tickerplant.example.toml")
    values[keys[-1]] = value

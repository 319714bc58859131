"""Sinks in the words of Kafka Connect: its names of settings ↔ ours.

Source of the names: https://kafka.apache.org/documentation/#sinkconnectconfigs, and for `flush.size` and
`rotate.interval.ms` https://docs.confluent.io/kafka-connectors/s3-sink/current/configuration_options.html
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, get_args

from tickerplant.settings import Connector, Settings, Sink

SECTION: Final = "connectors"
STORES: Final = ("clickhouse", "parquet")
"""Those with a section of their own in the settings."""
ROLE_PREFIX: Final = "sink-"
MEANINGS: Final[Mapping[str, str]] = {
    "name": "Name of the connector.",
    "connector_class": "Class of the store.",
    "tasks_max": "Processes that `tickerplant run` starts.",
    "topics": "Topics by comma, of those that are stored; empty = all.",
    "flush_size": "Rows of a chunk.",
    "rotate_interval_ms": "Age of a chunk, ms.",
    "errors_tolerance": "all = dead letters up to the limits of [sink]; none = the first one ends the sink.",
    "errors_deadletterqueue_topic_name": "Topic of dead letters.",
    "errors_deadletterqueue_context_headers_enable": "Dead letters carry `__connect.errors.*` headers.",
}


def connector_of(settings: Settings, store: str) -> Connector:
    """Find what is set for a store: the defaults for one that has no section."""
    found = getattr(settings.connectors, store) if store in STORES else Connector()
    return found.model_copy(update={"name": found.name or store})


def effective(settings: Settings, store: str) -> Settings:
    """Put what is set for a store's connector in the place of what `[sink]` says for all."""
    found, sink = connector_of(settings, store), settings.sink
    changes: dict[str, Any] = {}
    rows, age = ("parquet_roll_rows", "parquet_roll_s") if store == "parquet" else ("flush_rows", "flush_ms")
    if found.flush_size is not None:
        changes[rows] = found.flush_size
    if found.rotate_interval_ms is not None:
        changes[age] = found.rotate_interval_ms / (1000 if age.endswith("_s") else 1)
    if found.errors_tolerance == "none":
        changes["dead_letter_limit"] = 1
    return settings.model_copy(update={"sink": sink.model_copy(update=changes)})


def chosen_topics(connector: Connector) -> tuple[str, ...]:
    """List the topics that are set, without suffix; empty = all that are stored."""
    return tuple(name for each in connector.topics.split(",") if (name := each.strip()))


def config_of(settings: Settings, store: str, connector_class: str) -> dict[str, str]:
    """Tell what is in force for a store, by Connect's names and as text, as Connect does."""
    found, sink = connector_of(settings, store), effective(settings, store).sink
    rows, age_ms = _limits(sink, store)
    values = found.model_dump() | {
        "connector_class": connector_class,
        "flush_size": rows,
        "rotate_interval_ms": age_ms,
    }
    return {dotted(name): _text(value) for name, value in values.items()}


def dotted(name: str) -> str:
    """Tell Connect's name of a setting.

    >>> dotted("tasks_max")
    'tasks.max'
    """
    return name.replace("_", ".")


def undotted(values: dict[str, Any]) -> dict[str, Any]:
    """Give the settings of connectors the names of ours, where they came with Connect's: `tasks.max`, quoted or not."""
    section = values.get(SECTION)
    if not isinstance(section, dict):
        return values
    named = {
        name: dict(_flat(found)) if name in STORES and isinstance(found, dict) else found
        for name, found in section.items()
    }
    return {**values, SECTION: named}


def kind_of(name: str) -> str:
    """Tell the type of a setting as Connect names it."""
    annotation = Connector.model_fields[name].annotation
    kinds = {each for each in (annotation, *get_args(annotation)) if isinstance(each, type)}
    if bool in kinds:
        return "BOOLEAN"
    return "LONG" if {int, float} & kinds or name in {"flush_size", "rotate_interval_ms"} else "STRING"


def _flat(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        place = before + name.replace(".", "_")
        if isinstance(value, dict):
            yield from _flat(value, f"{place}_")
        else:
            yield place, value


def _limits(sink: Sink, store: str) -> tuple[int, float]:
    if store == "parquet":
        return sink.parquet_roll_rows, sink.parquet_roll_s * 1000
    return sink.flush_rows, sink.flush_ms


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)

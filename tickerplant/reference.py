"""Schemas, catalogues and settings → `docs/reference.md`: `python -m tickerplant.reference > docs/reference.md`."""

import json
import sys
from collections.abc import Iterable, Iterator
from types import UnionType
from typing import Any, Union, get_args, get_origin

from prometheus_client.metrics import MetricWrapperBase
from pydantic import BaseModel, SecretStr

from schemas.codec import schema_text
from schemas.quality import QUALITY_KINDS
from schemas.records import Record
from schemas.topics import DAY_MS, Topic, catalogue
from schemas.venues import SYMBOLOGIES
from tickerplant import metrics
from tickerplant.local.venue import faults
from tickerplant.settings import Settings

HEAD = """# Reference

Made from the code by `python -m tickerplant.reference > docs/reference.md`; a test holds it up to date.
What each table of ClickHouse holds stands in `sinks/ddl`, beside its columns.
"""


def render() -> str:
    """Write the whole page."""
    topics = catalogue(name.lower() for name in SYMBOLOGIES)
    parts = [HEAD, *_topics(topics), *_records(topics), *_metrics(), *_quality(), *_settings(), *_faults()]
    return "\n".join(parts)


def _topics(topics: Iterable[Topic]) -> Iterator[str]:
    yield "## Topics\n"
    yield "Values are Avro in Confluent's wire format; a topic's subject is `<topic>-value`, kept FULL_TRANSITIVE.\n"
    rows = [(f"`{topic.name}`", _link(topic.record), topic.key, _kept(topic), _partitions(topic)) for topic in topics]
    yield from _table(("topic", "record", "key", "kept", "partitions"), rows)


def _records(topics: Iterable[Topic]) -> Iterator[str]:
    for record in dict.fromkeys(topic.record for topic in topics):
        schema = json.loads(schema_text(record))
        yield f"## {schema['name']}\n"
        yield f"{schema['doc']}\n"
        yield from _table(("field", "type", "meaning"), _fields(schema))


def _fields(schema: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, ...]]:
    """List the fields of a schema, those of records within arrays after their own."""
    for field in schema["fields"]:
        avro = field["type"]
        yield f"`{prefix}{field['name']}`", _avro(avro), field["doc"]
        items = avro.get("items") if isinstance(avro, dict) else None
        if isinstance(items, dict):
            yield from _fields(items, f"{field['name']}[].")


def _metrics() -> Iterator[str]:
    yield "## Metrics\n"
    yield "Served as `/metrics` by every process. Counters end in `_total`.\n"
    found = [each for each in vars(metrics).values() if isinstance(each, MetricWrapperBase)]
    exported = [(f"`{each.name}`", "gauge", ", ".join(each.labels), each.documentation) for each in metrics.FAMILIES]
    yield from _table(("metric", "kind", "labels", "meaning"), [*(_metric(each) for each in found), *exported])


def _metric(metric: MetricWrapperBase) -> tuple[str, ...]:
    [family] = metric.describe()
    name = f"{family.name}_total" if family.type == "counter" else family.name
    return f"`{name}`", family.type, ", ".join(metric._labelnames), family.documentation  # noqa: SLF001  # not told otherwise


def _quality() -> Iterator[str]:
    yield "## Quality events\n"
    yield from _table(("kind", "meaning"), ((f"`{kind}`", meaning) for kind, meaning in QUALITY_KINDS.items()))


def _settings() -> Iterator[str]:
    yield "## Settings\n"
    yield "In TOML; or `TICKERPLANT_<SECTION>__<NAME>`, which wins over the file: `tickerplant config` tells where each"
    yield "comes from. What they mean is said by `tickerplant config --example`.\n"
    yield from _table(("setting", "type", "default"), _setting_rows(Settings))


def _setting_rows(section: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, ...]]:
    for name, field in section.model_fields.items():
        inner = _section_of(field.annotation)
        if inner is not None:
            many = "[]" if get_origin(field.annotation) is tuple else ""
            yield from _setting_rows(inner, f"{prefix}{name}{many}.")
        else:
            default = "required" if field.is_required() else f"`{_plain(field.default)}`"
            yield f"`{prefix}{name}`", _python(field.annotation), default


def _faults() -> Iterator[str]:
    yield "## Simulated faults\n"
    yield "Of the [simulated venue](simulated-venue.md). `NAME=VALUE` sets the first parameter.\n"
    rows = ((f"`{name}`", what, f"`{given}`", seen) for name, what, given, seen in faults.table())
    yield from _table(("fault", "what happens", "parameters with defaults", "what is to be seen"), rows)
    yield "A parameter ends in its unit.\n"
    meanings = ((f"`{name}`", meaning) for name, meaning in faults.PARAMETERS.items())
    yield from _table(("parameter", "meaning"), meanings)


def _section_of(annotation: Any) -> type[BaseModel] | None:
    """Find the section that a setting, or each item of it, is."""
    for each in (annotation, *get_args(annotation)):
        if isinstance(each, type) and issubclass(each, BaseModel):
            return each
    return None


def _plain(default: Any) -> str:
    value = default.get_secret_value() if isinstance(default, SecretStr) else default
    if value is None:
        return "none"
    return json.dumps(value, default=str)


def _python(annotation: Any) -> str:
    """Name a setting's type as people do."""
    if get_origin(annotation) in {Union, UnionType}:
        return " or ".join(_python(each) for each in get_args(annotation))
    if get_origin(annotation) is tuple:
        return "list of strings"
    if isinstance(annotation, type):
        names = {"int": "whole number", "float": "number", "bool": "true or false", "NoneType": "none", "Path": "path"}
        return names.get(annotation.__name__, "string")
    return ", ".join(f"`{each}`" for each in get_args(annotation))


def _avro(avro: Any) -> str:
    if isinstance(avro, str):
        return avro
    if isinstance(avro, list):
        return " or ".join(_avro(each) for each in avro)
    if avro["type"] == "enum":
        return ", ".join(f"`{symbol}`" for symbol in avro["symbols"])
    if avro["type"] == "array":
        return f"list of {_avro(avro['items'])}"
    return str(avro["name"])


def _link(record: type[Record]) -> str:
    return f"[{record.__name__}](#{record.__name__.lower()})"


def _kept(topic: Topic) -> str:
    if topic.retention_ms is None:
        return "newest of each key, for ever"
    days = topic.retention_ms // DAY_MS
    return f"{days} day{'s' if days > 1 else ''}"


def _partitions(topic: Topic) -> str:
    return "`kafka.partitions`" if topic.is_per_partition else "1"


def _table(names: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield _row(names)
    yield _row(("---",) * len(names))
    yield from map(_row, rows)
    yield ""


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


if __name__ == "__main__":
    sys.stdout.write(render())

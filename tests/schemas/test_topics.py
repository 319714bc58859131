"""The topic catalogue is whole, and every schema in it can grow both ways."""

import json
from pathlib import Path

import pytest

from schemas import topics
from schemas.codec import schema_text

CATALOGUE = topics.catalogue(["binance"])


def test_topic_names_are_unique() -> None:
    names = [topic.name for topic in CATALOGUE]

    assert len(names) == len(set(names))


def test_every_schema_file_belongs_to_a_topic() -> None:
    files = {path.stem for path in Path(topics.__file__).with_name("avro").glob("*.avsc")}
    used = {json.loads(schema_text(topic.record))["name"] for topic in CATALOGUE}

    assert {name.title().replace("_", "") for name in files} == used


def test_a_topic_without_retention_is_compacted() -> None:
    assert topics.STATE.configs()["cleanup.policy"] == "compact"
    assert topics.TICK.configs() == topics.TICK.configs() | {"cleanup.policy": "delete", "retention.ms": "604800000"}


@pytest.mark.parametrize("topic", CATALOGUE)
def test_enums_of_kinds_can_grow_because_they_have_a_default(topic: topics.Topic) -> None:
    enums = [
        field["type"]
        for field in json.loads(schema_text(topic.record))["fields"]
        if isinstance(field["type"], dict) and field["type"]["type"] == "enum"
    ]

    assert [enum["name"] for enum in enums if "default" not in enum] in ([], ["AssetClass"])

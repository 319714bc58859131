"""The least rights of each role on Kafka, from the same names the roles use."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from schemas import topics
from schemas.topics import CLEANED, COMMAND, DEAD_SINK, INSTRUMENT, SINK_COMMIT, STATE, WANTED, catalogue, raw_topic
from schemas.venues import SYMBOLOGIES

Operation = Literal["CREATE", "DESCRIBE", "READ", "WRITE"]

PROCESSOR_GROUP: Final = "tickerplant.processor"
COMPARE_GROUP: Final = "tickerplant.compare"
SINK_GROUPS: Final = {"sink-clickhouse": "tickerplant.sink.clickhouse", "sink-parquet": "tickerplant.sink.parquet"}
ASSIGNED_GROUPS: Final = {
    "produce": "tickerplant.producer",
    "process": "tickerplant.processor.state",
    "checkpoint": "tickerplant.processor.state",
    "subscribe": "tickerplant.subscriber",
    "ctl": "tickerplant.ctl",
}
"""Named by consumers that join no group and commit nothing: Kafka wants to be asked about them nevertheless."""

RAW: Final = tuple(raw_topic(venue).name for venue in SYMBOLOGIES)
DERIVED: Final = tuple(topic.name for topic in CLEANED)
STORED: Final = (*RAW, *(topic.name for topic in topics.STORED))
ALL: Final = tuple(topic.name for topic in catalogue(SYMBOLOGIES))

TOPICS: Final[dict[str, dict[Operation, Sequence[str]]]] = {
    "deploy": {"CREATE": ALL, "DESCRIBE": ALL},
    "produce": {"WRITE": RAW, "READ": (COMMAND.name, WANTED.name)},
    "process": {"READ": (*RAW, *DERIVED, STATE.name), "WRITE": (*DERIVED, COMMAND.name, STATE.name)},
    "checkpoint": {"READ": (*RAW, STATE.name)},
    "sink-clickhouse": {"READ": STORED, "WRITE": (DEAD_SINK.name, SINK_COMMIT.name)},
    "sink-parquet": {"READ": STORED, "WRITE": (DEAD_SINK.name, SINK_COMMIT.name)},
    "compare": {"READ": (topics.TICK.name, topics.QUALITY.name), "WRITE": (topics.QUALITY.name,)},
    "lag-exporter": {"DESCRIBE": ALL},
    "subscribe": {"READ": (*DERIVED, SINK_COMMIT.name)},
    "ctl": {"READ": (INSTRUMENT.name, WANTED.name), "WRITE": (COMMAND.name, WANTED.name)},
}
"""Role → operation → topics. READ and WRITE carry DESCRIBE with them. `lag-exporter` is also `top` and `lag`."""

ROLES: Final = tuple(TOPICS)


@dataclass(frozen=True, kw_only=True, order=True)
class Right:
    """One operation that a role needs on one topic or group, by its full name."""

    role: str
    resource: Literal["topic", "group"]
    name: str
    operation: Operation


def rights(roles: Iterable[str] = ROLES, *, topic_suffix: str = "") -> list[Right]:
    """List what roles need; topics of every venue this version knows."""
    return [right for role in roles for right in (*_on_topics(role, topic_suffix), *_on_groups(role, topic_suffix))]


def _on_topics(role: str, suffix: str) -> Iterator[Right]:
    for operation, names in TOPICS[role].items():
        for name in names:
            yield Right(role=role, resource="topic", name=name + suffix, operation=operation)


def _on_groups(role: str, suffix: str) -> Iterator[Right]:
    needs: dict[str, Operation] = {}
    if role == "process":
        needs[PROCESSOR_GROUP + suffix] = "READ"
    if role == "compare":
        needs[COMPARE_GROUP + suffix] = "READ"
    if role in SINK_GROUPS:
        needs[SINK_GROUPS[role] + suffix] = "READ"
    if role in ASSIGNED_GROUPS:
        needs[ASSIGNED_GROUPS[role]] = "DESCRIBE"
    if role == "lag-exporter":
        needs = dict.fromkeys(
            (group + suffix for group in (PROCESSOR_GROUP, COMPARE_GROUP, *SINK_GROUPS.values())), "DESCRIBE"
        )
    for name, operation in needs.items():
        yield Right(role=role, resource="group", name=name, operation=operation)


def markdown(roles: Iterable[str] = ROLES) -> str:
    """Write the rights as a table, a line for each role and operation."""
    rows: dict[tuple[str, str], list[str]] = {}
    for right in rights(roles):
        rows.setdefault((right.role, f"{right.operation} {right.resource}"), []).append(f"`{right.name}`")
    body = [f"| {role} | {what} | {', '.join(names)} |" for (role, what), names in rows.items()]
    return "\n".join(["| role | may | on |", "|---|---|---|", *body, ""])

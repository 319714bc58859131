"""Deploy makes what is missing, twice is the same as once, and an incompatible schema is refused in one line."""

import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from schemas.codec import UnknownSchemaError, schema_text
from schemas.records import Depth, RawFrames, Record, Tick
from schemas.topics import TICK, Topic, catalogue
from schemas.venues import SYMBOLOGIES
from tickerplant import registry as registry_module
from tickerplant.deploy import deploy
from tickerplant.errors import DependencyError, UserError
from tickerplant.kafka import topic_partitions
from tickerplant.registry import Registry
from tickerplant.settings import Registry as RegistrySettings
from tickerplant.settings import Settings

NO_REGISTRY = Settings(registry=RegistrySettings(url="http://127.0.0.1:1/apis/ccompat/v7"))
CATALOGUE = catalogue(name.lower() for name in SYMBOLOGIES)


@pytest.fixture
def topic(request: pytest.FixtureRequest) -> Topic:
    """A topic of one test's own, of which the registry knows nothing."""
    return Topic(name=f"registry.{request.node.name}", record=Tick, key="", retention_ms=1)


@pytest.fixture
def change_schema(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let the next version of a schema have one more field."""

    def change(**field: object) -> None:
        def changed(record: type[Record]) -> str:
            schema = json.loads(schema_text(record))
            schema["fields"].append({"name": "added", "type": "long", **field})
            return json.dumps(schema)

        monkeypatch.setattr(registry_module, "schema_text", changed)

    return change


@pytest.mark.stack
def test_a_second_deploy_finds_nothing_to_do(stack: Settings) -> None:
    assert deploy(stack) == {"topics_created": [], "schemas": len(CATALOGUE), "migrations_applied": []}


@pytest.mark.stack
def test_every_topic_stands_with_its_partitions_and_schema(stack: Settings) -> None:
    partitions = topic_partitions(stack)
    subjects = httpx.get(f"{stack.registry.url}/subjects").json()

    for topic in CATALOGUE:
        assert partitions[topic.name] == (stack.kafka.partitions if topic.is_per_partition else 1)
        assert topic.subject in subjects


@pytest.mark.stack
def test_every_schema_must_stay_fully_compatible(stack: Settings) -> None:
    for topic in CATALOGUE:
        level = httpx.get(f"{stack.registry.url}/config/{topic.subject}").json()

        assert level == {"compatibilityLevel": "FULL_TRANSITIVE"}


@pytest.mark.stack
def test_registering_again_changes_nothing(stack: Settings, topic: Topic) -> None:
    Registry(stack).register([topic])
    Registry(stack).register([topic])

    versions = httpx.get(f"{stack.registry.url}/subjects/{topic.subject}/versions").json()
    assert len(versions) == 1


@pytest.mark.stack
def test_an_incompatible_change_is_refused_in_one_line(
    stack: Settings, topic: Topic, change_schema: Callable[..., None]
) -> None:
    Registry(stack).register([topic])
    change_schema()

    with pytest.raises(
        UserError, match=rf"^schema of {topic.name} is not FULL_TRANSITIVE .*: new fields need a default$"
    ):
        Registry(stack).register([topic])


@pytest.mark.stack
def test_a_compatible_change_is_a_new_version_and_old_records_still_read(
    stack: Settings, topic: Topic, change_schema: Callable[..., None]
) -> None:
    Registry(stack).register([topic])
    old = Registry(stack).encoder(topic, Tick)
    change_schema(default=0)

    Registry(stack).register([topic])

    tick = Tick(event_time_us=1, venue="X", symbol="A/B", asset_class="CRYPTO", kind="TRADE", price=1.0, quantity=1.0,
                sequence_id=1)  # fmt: skip
    assert len(httpx.get(f"{stack.registry.url}/subjects/{topic.subject}/versions").json()) == 2
    assert Registry(stack).decoder(Tick).decode(old.encode(tick)) == tick


@pytest.mark.stack
def test_an_id_the_registry_does_not_know_is_told(stack: Settings) -> None:
    with pytest.raises(UnknownSchemaError, match="schema id 999999 is not in the registry"):
        Registry(stack).schema_text(999_999)


@pytest.mark.stack
def test_an_encoder_needs_a_deployed_schema(stack: Settings, topic: Topic) -> None:
    with pytest.raises(UserError, match=f"schema of {topic.name} is not registered: run `tickerplant deploy`"):
        Registry(stack).encoder(topic, Tick)


@pytest.mark.stack
def test_an_encoder_of_the_wrong_class_is_refused(stack: Settings) -> None:
    with pytest.raises(UserError, match=r"schema of cleaned\.tick is not registered"):
        Registry(stack).encoder(TICK, Depth)


def test_a_registry_that_does_not_answer_is_told_in_one_line() -> None:
    registry = Registry(NO_REGISTRY)
    asks: list[Callable[[], object]] = [
        lambda: registry.register([TICK]),
        lambda: registry.encoder(TICK, Tick),
        lambda: registry.schema_text(1),
        lambda: registry.decoder(RawFrames).decode(b"\0\0\0\0\1rest"),
    ]

    for ask in asks:
        with pytest.raises(DependencyError, match=r"^schema registry does not answer at http://127\.0\.0\.1:1[^\n]*$"):
            ask()


@pytest.mark.stack
def test_a_store_that_does_not_answer_is_told_by_deploy(stack: Settings, tmp_path: Path) -> None:
    nowhere = stack.clickhouse.model_copy(update={"port": 1})

    with pytest.raises(DependencyError, match=r"(?i)clickhouse does not answer at 127\.0\.0\.1:1"):
        deploy(stack.model_copy(update={"clickhouse": nowhere}))

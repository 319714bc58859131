"""Deploy: topics, schemas, tables. Each step does only what is missing."""

from typing import Any

from schemas.topics import catalogue
from schemas.venues import SYMBOLOGIES
from sinks.migrations import migrate
from tickerplant.kafka import create_topics
from tickerplant.registry import Registry
from tickerplant.settings import Settings


def deploy(settings: Settings) -> dict[str, Any]:
    """Create topics, register schemas (FULL_TRANSITIVE), run migrations; twice is the same as once.

    Returns:
        What was new: names of topics and migrations, and the number of schemas registered or found.

    Raises:
        DependencyError: broker, registry or ClickHouse does not answer.
        UserError: a schema is incompatible with a registered one, or an applied migration was changed.
    """
    topics = catalogue(name.lower() for name in SYMBOLOGIES)
    registry = Registry(settings)
    registry.register(topics)
    return {
        "topics_created": create_topics(settings, topics),
        "schemas": len(topics),
        "migrations_applied": migrate(settings),
    }

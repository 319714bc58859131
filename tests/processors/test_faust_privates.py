"""What `processors/app.py` uses of Faust and aiokafka though it is private: an upgrade must not take it away unseen."""

import inspect
from importlib.metadata import version
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer  # type: ignore[import-untyped]  # no stubs are published
from aiokafka.consumer.fetcher import Fetcher  # type: ignore[import-untyped]  # the same
from faust.transport.consumer import ThreadDelegateConsumer
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (ThreadDelegateConsumer, "_thread"),
        (AIOKafkaConsumer, "_fetcher"),
        (Fetcher, "_fetch_max_wait_ms"),
        (Fetcher, "_fetch_min_bytes"),
    ],
)
def test_attributes_are_set_where_we_look_for_them(owner: Any, name: str) -> None:
    assert name in owner.__init__.__code__.co_names


def test_what_a_fetch_waits_for_is_read_at_each_fetch() -> None:
    readers = [
        name
        for name, function in inspect.getmembers(Fetcher, inspect.isfunction)
        if name != "__init__" and {"_fetch_max_wait_ms", "_fetch_min_bytes"} <= set(function.__code__.co_names)
    ]

    assert readers


def test_the_consumer_thread_commits_offsets_by_partition() -> None:
    assert inspect.iscoroutinefunction(AIOKafkaConsumerThread.commit)
    assert list(inspect.signature(AIOKafkaConsumerThread.commit).parameters) == ["self", "offsets"]
    assert not inspect.signature(AIOKafkaConsumerThread._ensure_consumer).parameters.keys() - {"self"}


def test_faust_is_the_version_that_was_read() -> None:
    assert version("faust-streaming") == "0.15.3"

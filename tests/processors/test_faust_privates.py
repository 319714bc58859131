"""What `processors/app.py` uses of Faust and aiokafka though it is private: an upgrade must not take it away unseen."""

import inspect
from importlib.metadata import version
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer  # type: ignore[import-untyped]  # no stubs are published
from aiokafka.consumer.fetcher import Fetcher  # type: ignore[import-untyped]  # the same
from aiokafka.consumer.subscription_state import Assignment  # type: ignore[import-untyped]  # the same
from faust.transport.consumer import Consumer, ThreadDelegateConsumer
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread

from processors.fetching import WAIT, Asked


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


def test_of_an_assignment_fetches_are_planned_by_what_we_hand_on_alone() -> None:
    read = set(Fetcher._get_actions_per_node.__code__.co_names) & set(dir(Assignment))

    assert set(Asked._fields) == read


def test_a_plan_tells_requests_first_and_how_long_is_waited() -> None:
    fetcher = Fetcher.__new__(Fetcher)
    fetcher._records, fetcher._in_flight, fetcher._fetcher_timeout = {}, set(), 0.25

    plan = fetcher._get_actions_per_node(Asked([], lambda _: None))

    assert (plan[0], plan[WAIT]) == ([], 0.25)


def test_messages_are_handed_on_by_what_we_stand_for() -> None:
    assert "wait_first" in Consumer._drain_messages.__code__.co_names
    assert "topics" in Fetcher._proc_fetch_request.__code__.co_names


def test_the_consumer_thread_commits_offsets_by_partition() -> None:
    assert inspect.iscoroutinefunction(AIOKafkaConsumerThread.commit)
    assert list(inspect.signature(AIOKafkaConsumerThread.commit).parameters) == ["self", "offsets"]
    assert not inspect.signature(AIOKafkaConsumerThread._ensure_consumer).parameters.keys() - {"self"}


def test_faust_is_the_version_that_was_read() -> None:
    assert version("faust-streaming") == "0.15.3"

"""The lag exporter: names and labels that public dashboards ask for, of the last reading alone, broker or not."""

import time
from collections.abc import Callable, Iterator
from math import isnan
from pathlib import Path
from threading import Event, Thread

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from tickerplant import lag_exporter, metrics
from tickerplant.cluster_lag import ClusterLagReader, Reading
from tickerplant.errors import DependencyError
from tickerplant.lag import Lag
from tickerplant.lag_exporter import LagCollector, run, samples_of
from tickerplant.scrape import scrape
from tickerplant.settings import LagExporter, Local, Settings

LAGS = [
    Lag("g", "cleaned.tick", 0, 4, 0, 10, 12.0),
    Lag("g", "cleaned.tick", 1, None, 3, 10, None),
    Lag("g", "raw.binance", 0, 10, 0, 10, 0.0),
]
READING = Reading({"g": "stable"}, LAGS, {("cleaned.tick", 0): (0, 10)}, time_s=1000.0, took_s=0.25)


@pytest.fixture
def collector() -> LagCollector:
    made = LagCollector("here", clock_s=lambda: 1007.0)
    made.reading = READING
    return made


def text_samples(collector: LagCollector) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    registry = CollectorRegistry()
    registry.register(collector)
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {(each.name, frozenset(each.labels.items())): each.value for family in families for each in family.samples}


def test_lags_have_the_names_and_labels_of_public_dashboards(collector: LagCollector) -> None:
    found = text_samples(collector)

    def value(name: str, **labels: str) -> float:
        return found[name, frozenset({"cluster_name": "here", **labels}.items())]

    place = {"group": "g", "topic": "cleaned.tick", "partition": "0"}
    assert value("kafka_consumergroup_group_lag", **place) == 6
    assert value("kafka_consumergroup_group_lag_seconds", **place) == 12
    assert value("kafka_consumergroup_group_offset", **place) == 4
    assert value("kafka_consumergroup_group_max_lag", group="g") == 7
    assert value("kafka_consumergroup_group_max_lag_seconds", group="g") == 12
    assert value("kafka_consumergroup_group_sum_lag", group="g") == 13
    assert value("kafka_consumergroup_group_topic_sum_lag", group="g", topic="raw.binance") == 0
    assert value("kafka_partition_latest_offset", topic="cleaned.tick", partition="0") == 10
    assert value("kafka_partition_earliest_offset", topic="cleaned.tick", partition="0") == 0
    assert value("kafka_consumergroup_poll_time_ms") == 250
    assert value("kafka_consumergroup_poll_age_seconds") == 7
    assert isnan(value("kafka_consumergroup_group_lag_seconds", **{**place, "partition": "1"}))


def test_all_families_of_the_catalogue_are_told_and_no_other(collector: LagCollector) -> None:
    assert {name for name, _ in text_samples(collector)} == {each.name for each in metrics.FAMILIES}


def test_a_group_that_vanished_is_gone_from_the_next_scrape(collector: LagCollector) -> None:
    collector.reading = Reading(time_s=1001.0)

    assert {name for name, _ in text_samples(collector)} == {
        "kafka_consumergroup_poll_time_ms",
        "kafka_consumergroup_poll_age_seconds",
    }


def test_a_group_of_which_no_seconds_are_known_has_none() -> None:
    found = samples_of(Reading({"g": "empty"}, [Lag("g", "t", 0, None, 0, 3)]))

    assert isnan(found[metrics.GROUP_MAX_LAG_SECONDS]["g",])


@pytest.fixture
def exporting() -> Iterator[Callable[[Settings], None]]:
    """Start an exporter in a thread; stopped in the end."""
    stop, threads = Event(), list[Thread]()

    def start(settings: Settings) -> None:
        threads.append(Thread(target=run, args=(settings,), kwargs={"stop": stop}))
        threads[0].start()

    yield start
    stop.set()
    threads[0].join()


def eventually(check: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 30
    while not check():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


@pytest.mark.stack
def test_partitions_of_the_cluster_are_served(
    stack: Settings, exporting: Callable[[Settings], None], tmp_path: Path
) -> None:
    settings = stack.model_copy(
        update={"local": Local(home=tmp_path), "lag_exporter": LagExporter(poll_s=0.05, cluster_name="test")}
    )

    exporting(settings)

    eventually(
        lambda: scrape(settings).by_label("kafka_partition_latest_offset", "topic").get("raw.binance") is not None
    )
    assert scrape(settings).total("kafka_consumergroup_poll_time_ms", cluster_name="test") > 0


def test_while_the_broker_is_away_the_last_reading_stays_and_its_age_grows(
    monkeypatch: pytest.MonkeyPatch, exporting: Callable[[Settings], None], tmp_path: Path
) -> None:
    readings = iter([Reading({"g": "stable"}, LAGS, {}, time_s=time.time() - 100)])

    def read(_reader: ClusterLagReader) -> Reading:
        for reading in readings:
            return reading
        raise DependencyError("kafka", "127.0.0.1:1")

    monkeypatch.setattr(lag_exporter.ClusterLagReader, "read", read)
    settings = Settings(local=Local(home=tmp_path), lag_exporter=LagExporter(poll_s=0.01))
    exporting(settings)

    eventually(lambda: scrape(settings).total("stage_errors_total", stage="lag-exporter", error_type="kafka") > 2)
    assert scrape(settings).total("kafka_consumergroup_group_sum_lag", group="g") == 13
    assert scrape(settings).total("kafka_consumergroup_poll_age_seconds") >= 100
    assert scrape(settings).by_label("dependency_up", "dependency", role="lag-exporter") == {"kafka": 0}

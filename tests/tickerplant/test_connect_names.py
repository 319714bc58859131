"""Settings of sinks by Kafka Connect's names, and what they change."""

from pathlib import Path

import pytest

from tickerplant.connect.names import chosen_topics, config_of, connector_of, effective
from tickerplant.errors import UserError
from tickerplant.lag import PROCESSOR, SINKS, topics_of
from tickerplant.settings import Settings, load_settings
from tickerplant.supervise import roles_of

QUOTED = """
[connectors.clickhouse]
"name" = "ticks"
"tasks.max" = 3
"topics" = "cleaned.tick, raw.binance"
"flush.size" = 500
"rotate.interval.ms" = 250
"errors.tolerance" = "none"
"errors.deadletterqueue.topic.name" = "mine"
"errors.deadletterqueue.context.headers.enable" = false
"""
DOTTED = QUOTED.replace('"name" =', "name =").replace('" =', " =").replace('\n"', "\n")
OURS = DOTTED.replace(".", "_").replace("[connectors_", "[connectors.").replace("_tick", ".tick").replace("w_b", "w.b")
LISTED = QUOTED.replace('"cleaned.tick, raw.binance"', '["cleaned.tick", "raw.binance"]')


def read(folder: Path, text: str) -> Settings:
    path = folder / "settings.toml"
    path.write_text(text, encoding="utf-8")
    return load_settings(path, {})


@pytest.mark.parametrize("text", [QUOTED, DOTTED, OURS, LISTED], ids=["quoted", "dotted", "ours", "listed"])
def test_a_connector_is_set_by_the_names_of_connect_in_any_writing(tmp_path: Path, text: str) -> None:
    settings = read(tmp_path, text)
    found = connector_of(settings, "clickhouse")
    sink = effective(settings, "clickhouse").sink

    assert (found.name, found.tasks_max, chosen_topics(found)) == ("ticks", 3, ("cleaned.tick", "raw.binance"))
    assert (sink.flush_rows, sink.flush_ms, sink.dead_letter_limit) == (500, 250.0, 1)
    assert (found.errors_deadletterqueue_topic_name, found.errors_deadletterqueue_context_headers_enable) == (
        "mine",
        False,
    )


def test_what_is_set_for_one_sink_leaves_the_other_as_it_is(tmp_path: Path) -> None:
    settings = read(tmp_path, QUOTED)

    assert effective(settings, "parquet").sink == settings.sink == Settings().sink


def test_a_parquet_connector_rolls_by_rows_and_age() -> None:
    connectors = {"parquet": {"flush_size": 7, "rotate_interval_ms": 1500.0}}
    sink = effective(Settings.model_validate({"connectors": connectors}), "parquet").sink

    assert (sink.parquet_roll_rows, sink.parquet_roll_s) == (7, 1.5)


def test_the_config_tells_what_is_in_force_as_text() -> None:
    found = config_of(Settings(), "parquet", "sinks.parquet.ParquetStore")

    assert found == {
        "name": "parquet",
        "connector.class": "sinks.parquet.ParquetStore",
        "tasks.max": "1",
        "topics": "",
        "flush.size": "200000",
        "rotate.interval.ms": "10000",
        "errors.tolerance": "all",
        "errors.deadletterqueue.topic.name": "dlq.sink",
        "errors.deadletterqueue.context.headers.enable": "true",
    }


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[connectors.clickhouse]\n"tasks.min" = 1\n', r"connectors\.clickhouse\.tasks_min.*unknown setting"),
        ("[connectors.clickhouse]\ntasks.max = 0\n", r"connectors\.clickhouse\.tasks_max.*greater than or equal to 1"),
        ("[connectors.oracle]\ntasks.max = 1\n", r"connectors\.oracle.*unknown setting"),
        ("[connectors]\nclickhouse = 3\n", r"connectors\.clickhouse"),
    ],
)
def test_a_wrong_connector_is_told_in_one_line(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        read(tmp_path, text)


def test_tasks_are_processes_that_know_their_numbers() -> None:
    settings = Settings.model_validate({"connectors": {"clickhouse": {"tasks_max": 2}}})
    roles = {role.name: role for role in roles_of(settings)}

    assert (roles["sink-clickhouse"].processes, roles["sink-clickhouse"].number_option) == (2, "--task")
    assert roles["sink-parquet"].processes == 1


def test_lag_is_told_of_the_topics_that_a_sink_was_given() -> None:
    settings = Settings.model_validate({"connectors": {"clickhouse": {"topics": "cleaned.tick,raw.okx"}}})
    existing = ["cleaned.tick", "cleaned.depth", "raw.okx", "raw.binance", "other"]

    assert topics_of(SINKS[0], settings, existing) == ["cleaned.tick", "raw.okx"]
    assert topics_of(SINKS[1], settings, existing) == existing[:4]
    assert topics_of(PROCESSOR, settings, existing) == ["raw.okx", "raw.binance"]

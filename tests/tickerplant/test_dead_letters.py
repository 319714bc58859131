"""What a person on call is told of dead letters."""

import json
from typing import Any

import pytest
from click.testing import CliRunner

from schemas.records import DeadLetter
from schemas.topics import DEAD_PROCESSOR, DEAD_SINK, catalogue
from tickerplant.cli import cli
from tickerplant.dead_letters import described, summarize
from tickerplant.errors import UserError
from tickerplant.kafka import Publisher, create_topics
from tickerplant.registry import Registry
from tickerplant.settings import Settings
from tickerplant.since import past_us, since_us

NOW_US = 1_795_248_000_000_000
MINUTE_US = 60_000_000


def letter(offset: int, **changes: Any) -> DeadLetter:
    values = {
        "event_time_us": NOW_US + offset,
        "stage": "processor",
        "venue": "BINANCE",
        "market": "spot",
        "reason": f"'x{offset}' is not a number",
        "payload": b"\xff{}",
        "source_topic": "raw.binance",
        "source_offset": offset,
    }
    return DeadLetter(**{**values, **changes})


def test_letters_of_one_cause_are_counted_together() -> None:
    found = summarize([letter(1), letter(2), letter(3, market="usdm"), letter(4, reason="depth: pu is missing")], 2)

    assert [(group.count, group.market, group.reason) for group in found.groups] == [
        (2, "spot", "… is not a number"),
        (1, "spot", "depth: pu is missing"),
        (1, "usdm", "… is not a number"),
    ]
    assert (found.groups[0].first_time_us, found.groups[0].last_time_us) == (NOW_US + 1, NOW_US + 2)
    assert found.groups[0].last_place == "raw.binance:0 offset 2"
    assert [each.source_offset for each in found.letters] == [3, 4]


def test_what_a_venue_sent_cannot_control_the_terminal() -> None:
    found = summarize(
        [letter(1, reason="\x1b[2J\nx" + "y" * 500, payload=b"\x1b]0;title\x07\xff", event_time_us=2**62)], 1
    )

    assert all(line.isprintable() and len(line) < 200 for line in described(found))


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1m", NOW_US - MINUTE_US), ("0.5m", NOW_US - MINUTE_US // 2), ("1970-01-01T00:01", MINUTE_US), ("0s", NOW_US)],
)
def test_a_time_is_a_span_before_now_or_an_instant(text: str, expected: int) -> None:
    assert since_us(text, NOW_US) == expected


@pytest.mark.parametrize("text", ["", "yesterday", "5 m", "-1h", "2026-13-01"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="is no time"):
        since_us(text, NOW_US)


@pytest.mark.parametrize("text", ["99999d", "1969-12-31T23:59:59", "0001-01-01T00:00:00+23:59"])
def test_a_time_before_1970_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="is before 1970"):
        since_us(text, NOW_US)


def test_a_time_that_is_to_come_is_refused_where_only_the_past_is_asked_for() -> None:
    with pytest.raises(UserError, match="is still to come"):
        past_us("2999-01-01", NOW_US)


@pytest.mark.stack
def test_letters_of_both_topics_are_listed_once(stack: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    kafka = stack.kafka.model_copy(update={"topic_suffix": "-letters"})
    own = stack.model_copy(update={"kafka": kafka})
    create_topics(own, catalogue(["BINANCE"]))
    publisher, registry = Publisher(own), Registry(own)
    sent = [(DEAD_PROCESSOR, letter(1)), (DEAD_PROCESSOR, letter(2)), (DEAD_SINK, letter(3, stage="sink.parquet"))]
    for topic, each in sent:
        headers = [("source", f"raw.binance:0:{each.source_offset}:0".encode())]
        for _ in range(2 if topic is DEAD_PROCESSOR else 1):  # a processor that woke up late may repeat
            publisher.send(topic.name, 0, b"k", registry.encoder(topic, DeadLetter).encode(each), list(headers))
    publisher.flush()
    monkeypatch.setattr("tickerplant.cli.watch.load_settings", lambda _config: own)

    def listed(*options: str) -> Any:
        done = CliRunner().invoke(cli, ["dead-letters", "--json", *options], catch_exceptions=False)
        return json.loads(done.stdout)

    assert (listed()["count"], [group["count"] for group in listed()["groups"]]) == (3, [2, 1])
    assert listed("--stage", "sink")["letters"][0]["payload"] == "/3t9"
    assert listed("--stage", "sink.clickhouse")["count"] == 0
    assert listed("--since", "2026-11-21T08:00:00.000002")["count"] == 2

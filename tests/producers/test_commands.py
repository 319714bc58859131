"""Commands are heard for as long as the producer lives, whatever one of them does."""

import time
from collections.abc import Callable

import pytest

from producers.commands import Commands, Said
from schemas.records import ControlCommand
from schemas.topics import COMMAND
from tickerplant import metrics
from tickerplant.errors import DependencyError
from tickerplant.kafka import Publisher
from tickerplant.registry import Registry
from tickerplant.settings import Kafka, Settings


def until(condition: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


@pytest.mark.stack
def test_a_command_that_fails_is_counted_and_the_next_one_is_heard(
    stack: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("producers.commands.AGAIN_S", 0.01)
    heard: list[str] = []

    def hear(command: Said) -> None:
        assert isinstance(command, ControlCommand)
        if command.venue == "COMMANDTEST":
            heard.append(command.venue_symbol)
        if command.venue_symbol == "BROKEN":
            raise RuntimeError("nobody thought of this")

    registry, publisher = Registry(stack), Publisher(stack)
    encoder = registry.encoder(COMMAND, ControlCommand)
    failures = metrics.ERRORS.labels("produce", "command_thread")
    before = failures._value.get()  # there is no public way
    commands = Commands(stack, registry, heard=hear)

    with commands.listening():
        for symbol in ("BROKEN", "NEXT"):
            command = ControlCommand(
                event_time_us=1, venue="COMMANDTEST", market="spot", venue_symbol=symbol, command="resnapshot"
            )
            publisher.send(COMMAND.name, 0, b"", encoder.encode(command))
        assert publisher.flush() == 0
        until(lambda: "NEXT" in heard)

    assert heard == ["BROKEN", "NEXT"]
    assert failures._value.get() == before + 1  # the same


def test_a_broker_that_is_away_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tickerplant.kafka.CONNECT_TIMEOUT_S", 0.2)
    settings = Settings(kafka=Kafka(bootstrap_servers="127.0.0.1:1"))

    with pytest.raises(DependencyError, match=r"127\.0\.0\.1:1"):
        Commands(settings, Registry(settings), heard=lambda _: None)

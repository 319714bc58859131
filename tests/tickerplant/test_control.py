"""`tickerplant ctl`: mistakes are one line and exit code 2; what is said is heard, holds, and is not repeated."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from click.testing import CliRunner

from producers.commands import Commands, Said
from producers.wishes import Wishes
from schemas.records import ControlCommand, ControlWanted, Instrument
from schemas.topics import COMMAND, INSTRUMENT, WANTED
from schemas.venues.binance import assumed_instrument
from tickerplant.cli import cli
from tickerplant.control import Control, Target
from tickerplant.errors import UserError
from tickerplant.kafka import Publisher, create_topics
from tickerplant.registry import Registry
from tickerplant.settings import Settings, Venue

ENTRIES = (
    Venue(venue="BINANCE", market="spot", symbols=("BTCUSDT",), channels=("trade", "depth")),
    Venue(venue="BINANCE", market="coinm", symbols=("*",), channels=("trade",)),
    Venue(venue="BYBIT", market="linear", symbols=("BTCUSDT",)),
)
SUFFIX = ".control"
SETTINGS = Settings(venues=ENTRIES)


@pytest.mark.parametrize(
    ("target", "text"),
    [(Target(venue="nasdaq", symbols=("A",)), "venue nasdaq is not known: choose of BINANCE"),
     (Target(venue="binance", market="margin", symbols=("A",)), "BINANCE has no market margin: choose of spot"),
     (Target(venue="binance", market="usdm", symbols=("A",)), r"capture nothing of BINANCE usdm: add a \[\[venues\]\]"),
     (Target(venue="okx", symbols=("A",)), r"capture nothing of OKX: add a \[\[venues\]\]"),
     (Target(venue="binance", symbols=("A",)), "several markets here: name one with --market: spot, coinm")],
)  # fmt: skip
def test_what_is_unknown_is_told_before_any_server_is_asked(target: Target, text: str) -> None:
    for ask in (Control(SETTINGS).subscribe, Control(SETTINGS).unsubscribe, Control(SETTINGS).resnapshot):
        with pytest.raises(UserError, match=text):
            ask(target, reason="test")


@pytest.mark.parametrize("symbols", [(), ("*",)])
def test_all_symbols_are_stopped_as_the_market(monkeypatch: pytest.MonkeyPatch, symbols: tuple[str, ...]) -> None:
    monkeypatch.setattr(Control, "_write", lambda *_: None)
    (said,) = Control(SETTINGS).switch(Target(venue="bybit", symbols=symbols), is_started=False, reason="test")
    wishes = Wishes()
    wishes.note(said.venue_symbol, said.channel, is_wanted=said.is_wanted)

    assert wishes.is_stopped("BTCUSDT")


def test_a_mistake_on_the_command_line_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    config = tmp_path / "my.toml"
    config.write_text(tomli_w.dumps({"venues": [{"venue": "BINANCE", "market": "spot", "symbols": ["BTCUSDT"]}]}))
    done = CliRunner().invoke(cli, ["ctl", "stop", "--config", str(config), "--venue", "nyse"])

    assert isinstance(done.exception, UserError)
    assert "\n" not in str(done.exception)
    missing = CliRunner().invoke(cli, ["ctl", "subscribe", "--config", str(config), "--venue", "binance"])
    assert missing.exit_code == 2
    assert "--symbol" in missing.output


@pytest.fixture
def ours(stack: Settings) -> Settings:
    """Settings of control topics of our own."""
    own = stack.kafka.model_copy(update={"topic_suffix": SUFFIX})
    settings = stack.model_copy(update={"venues": ENTRIES, "kafka": own})
    create_topics(settings, (COMMAND, WANTED, INSTRUMENT))
    return settings


@pytest.fixture
def hear(ours: Settings, until_true: Callable[..., None]) -> Iterator[Callable[..., Any]]:
    """Listen as a producer does; returns what was said before, and a list that grows."""
    listening = []

    def start() -> tuple[list[Said], list[Said]]:
        heard: list[Said] = []
        commands = Commands(ours, Registry(ours), heard=heard.append)
        context = commands.listening()
        context.__enter__()
        listening.append(context)
        return commands.wished, heard

    yield start
    for context in listening:
        context.__exit__(None, None, None)


@pytest.fixture
def until_true() -> Callable[..., None]:
    def wait(holds: Callable[[], object]) -> None:
        deadline_s = time.monotonic() + 30
        while not holds():
            assert time.monotonic() < deadline_s
            time.sleep(0.01)

    return wait


def of_spot(said: list[Said]) -> set[tuple[str, str, bool]]:
    last = {(each.venue_symbol, each.channel): each.is_wanted for each in said
            if isinstance(each, ControlWanted) and (each.venue, each.market) == ("BINANCE", "spot")}  # fmt: skip
    return {(*key, is_wanted) for key, is_wanted in last.items()}


@pytest.mark.stack
def test_what_is_said_is_heard_by_all_holds_after_a_restart_and_commands_are_not_repeated(
    ours: Settings, hear: Any, until_true: Callable[..., None]
) -> None:
    publisher, encoder = Publisher(ours), Registry(ours).encoder(INSTRUMENT, Instrument)
    for name in ("BTCUSDT", "ETHUSDT"):
        key = f"BINANCE|spot|{name}".encode()
        publisher.send(INSTRUMENT.name, 0, key, encoder.encode(assumed_instrument("spot", name, 1)))
    publisher.flush()
    (_, one), (_, other) = hear(), hear()
    spot = {"venue": "binance", "market": "spot"}

    Control(ours).subscribe(Target(**spot, symbols=("eth/usdt",), channels=("bookTicker",)), reason="test")
    Control(ours).unsubscribe(Target(**spot, symbols=("BTCUSDT",)), reason="test")
    Control(ours).switch(Target(**spot), is_started=False, reason="test")
    Control(ours).resnapshot(Target(**spot, symbols=("ETHUSDT",)), reason="test")
    expected = {
        ("ETHUSDT", "quote", True), ("BTCUSDT", "trade", False), ("BTCUSDT", "depth", False),
        ("", "", False),
    }  # fmt: skip

    for heard in (one, other):
        until_true(lambda heard=heard: any(isinstance(each, ControlCommand) for each in heard))  # type: ignore[misc]  # bound now
        until_true(lambda heard=heard: of_spot(heard) == expected)  # type: ignore[misc]
    wished, later = hear()
    assert of_spot(wished) == expected
    assert later == []
    shown = json.loads(CliRunner().invoke(cli, ["ctl", "list", "--json"], env=_environment(ours)).stdout)
    assert {"venue": "BINANCE", "market": "spot", "said_by": "control", "symbols": [""], "channels": [""],
            "state": "stopped", "reason": "test"} in shown  # fmt: skip
    with pytest.raises(UserError, match="does not list BTCUSD: did you mean BTCUSDT"):
        Control(ours).subscribe(Target(**spot, symbols=("BTCUSD",)), reason="test")
    with pytest.raises(UserError, match="has no channel moon: choose of trade"):
        Control(ours).subscribe(Target(**spot, symbols=("BTCUSDT",), channels=("moon",)), reason="test")
    with pytest.raises(UserError, match="no instruments of BYBIT linear are known yet"):
        Control(ours).subscribe(Target(venue="bybit", symbols=("BTCUSDT",)), reason="test")


def _environment(settings: Settings) -> dict[str, str]:
    return {
        "TICKERPLANT_KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
        "TICKERPLANT_KAFKA__TOPIC_SUFFIX": SUFFIX,
        "TICKERPLANT_REGISTRY__URL": settings.registry.url,
    }

"""A demo's settings follow from what was asked for, and what cannot be shown is told before anything starts."""

import gzip
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tickerplant.demo.options import (
    START_WAIT_S,
    DemoOptions,
    demo_settings,
    guess_market,
    recorded_streams,
    stream_counts,
    synthetic_channels,
    write_settings,
)
from tickerplant.demo.run import CONFIG_NAME, run_demo
from tickerplant.errors import UserError
from tickerplant.settings import ClickHouse, Local, Settings, load_settings

TIME_NS = 1_723_161_255_000_000_000
Write = Callable[..., Path]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(local=Local(home=tmp_path / "home"))


@pytest.fixture
def recorded(tmp_path: Path) -> Write:
    def write(*messages: dict[str, Any], tail: bytes = b"") -> Path:
        path = tmp_path / "recording.gz"
        lines = [
            f"{TIME_NS + number} {json.dumps(each, separators=(',', ':'))}\n" for number, each in enumerate(messages)
        ]
        path.write_bytes(gzip.compress("".join(lines).encode() + tail))
        return path

    return write


def message(stream: str, **data: Any) -> dict[str, Any]:
    return {"stream": stream, "data": data}


TRADE = message("btcusdt@trade", e="trade", s="BTCUSDT", t=1)


def test_a_synthetic_demo_captures_all_of_three_markets(settings: Settings) -> None:
    venues = demo_settings(settings, DemoOptions()).venues

    assert [(each.market, each.symbols) for each in venues] == [("spot", ("*",)), ("usdm", ("*",)), ("coinm", ("*",))]
    assert [each.channels for each in venues] == [synthetic_channels("BINANCE", each.market) for each in venues]
    assert {"trade", "agg_trade", "quote", "depth", "candle_1m", "ticker", "funding"} <= set(venues[1].channels)


def test_one_market_of_a_venue_can_be_asked_for(settings: Settings) -> None:
    [venue] = demo_settings(settings, DemoOptions(market="usdm")).venues

    assert venue.market == "usdm"


def test_a_recorded_demo_captures_what_the_recording_has(settings: Settings, recorded: Write) -> None:
    path = recorded(TRADE, message("ethusdt@depth@100ms"), message("btcusdt@trade"))

    [venue] = demo_settings(settings, DemoOptions(recording=path)).venues

    assert (venue.market, venue.symbols, venue.channels) == ("spot", ("BTCUSDT", "ETHUSDT"), ("depth@100ms", "trade"))
    assert venue.rest_url is not None
    assert venue.rest_url.endswith("/binance/spot")


def test_silence_before_the_market_begins_is_no_failure_but_where_faults_are_asked_for(settings: Settings) -> None:
    usual_s = settings.producer.stale_after_s

    assert demo_settings(settings, DemoOptions()).producer.stale_after_s == START_WAIT_S > usual_s
    for options in (DemoOptions(live=True), DemoOptions(faults=("lose=0.1",))):
        assert demo_settings(settings, options).producer.stale_after_s == usual_s


def test_a_live_demo_asks_the_venue_itself(settings: Settings) -> None:
    [venue] = demo_settings(settings, DemoOptions(live=True)).venues

    assert (venue.websocket_url, venue.rest_url) == (None, None)


def test_a_demo_has_a_home_of_its_own_and_leaves_taken_ports_alone(settings: Settings) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        mine = settings.model_copy(update={"local": settings.local.model_copy(update={"simulator_port": port})})

        ours = demo_settings(mine, DemoOptions())

    assert ours.local.home == settings.local.home / "demo"
    assert ours.local.simulator_port != port
    assert f":{ours.local.simulator_port}/" in (ours.venues[0].rest_url or "")


def test_settings_written_are_read_back_the_same(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "tickerplant.toml"
    mine = demo_settings(settings, DemoOptions(live=True))

    write_settings(mine, path)

    assert load_settings(path, {}) == mine
    assert path.stat().st_mode & 0o777 == 0o600


def test_passwords_survive_the_settings_file(tmp_path: Path) -> None:
    settings = load_settings(environment={"TICKERPLANT_CLICKHOUSE__PASSWORD": 'quo"ted'})

    write_settings(settings, tmp_path / "x.toml")

    assert load_settings(tmp_path / "x.toml", {}).clickhouse == ClickHouse(password=settings.clickhouse.password)


@pytest.mark.parametrize(
    ("messages", "market"),
    [
        ([TRADE], "spot"),
        ([message("btcusdt@depth@100ms", e="depthUpdate", U=1, u=2)], "spot"),
        ([message("btcusdt@depth@0ms", e="depthUpdate", U=1, u=2, pu=0)], "usdm"),
        ([message("btcusdt@bookTicker", u=1), message("btcusdt@trade", e="trade", X="MARKET")], "usdm"),
        ([message("btcusdt@bookTicker", e="bookTicker", u=1)], "usdm"),
        ([message("btcusd_perp@trade", e="trade", s="BTCUSD_PERP")], "coinm"),
        ([message("btcusd_261225@trade", e="trade", s="BTCUSD_261225", ps="BTCUSD")], "coinm"),
    ],
)
def test_the_market_is_told_from_the_messages(recorded: Write, messages: list[dict[str, Any]], market: str) -> None:
    assert guess_market(recorded(*messages)) == market


def test_streams_are_counted_by_name(recorded: Write) -> None:
    path = recorded(TRADE, TRADE, message("ethusdt@kline_1m"))

    assert stream_counts(path, "spot") == {"btcusdt@trade": 2, "ethusdt@kline_1m": 1}
    assert recorded_streams(path, "spot") == {"trade": {"BTCUSDT"}, "kline_1m": {"ETHUSDT"}}


def test_streams_no_producer_can_subscribe_to_are_left_out(recorded: Write) -> None:
    path = recorded(TRADE, message("!ticker@arr"), message("btcusdt@avgPrice"), message("!bookTicker"))

    assert stream_counts(path, "spot") == {"btcusdt@trade": 1}


def test_damaged_lines_are_passed_over_as_the_venue_does(recorded: Write) -> None:
    path = recorded(TRADE, tail=b"no time at all\n1723161255000000009 " + b'{"stream":"btcusdt@tr')

    assert stream_counts(path, "spot") == {"btcusdt@trade": 1}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"pace": "fast"}, "pace fast is neither"),
        ({"market": "margin"}, "market margin is none of spot, usdm, coinm"),
        ({"venue": "NYSE"}, "venue NYSE is not known: choose of BINANCE"),
        ({"recording": Path("absent.gz")}, r"cannot read the recording absent\.gz"),
    ],
)
def test_what_cannot_be_shown_is_told(settings: Settings, options: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        demo_settings(settings, DemoOptions(**options))


def test_a_recording_without_a_stream_to_capture_is_told(settings: Settings, recorded: Write) -> None:
    path = recorded({"result": None, "id": 1}, message("!ticker@arr"))

    with pytest.raises(UserError, match="no stream of BINANCE spot that can be captured"):
        demo_settings(settings, DemoOptions(recording=path))


def test_faults_are_checked_before_anything_starts(settings: Settings) -> None:
    demo_settings(settings, DemoOptions(faults=("lose=0.1", "disconnect=5,match=spot")))

    with pytest.raises(UserError, match="'nope' is none of lose"):
        demo_settings(settings, DemoOptions(faults=("nope=1",)))
    with pytest.raises(UserError, match="leave out --live or --fault"):
        demo_settings(settings, DemoOptions(live=True, faults=("lose=0.1",)))


def test_a_mistake_leaves_the_demo_that_was_kept(settings: Settings) -> None:
    kept = settings.local.home / "demo" / CONFIG_NAME
    kept.parent.mkdir(parents=True)
    kept.write_text("")
    with pytest.raises(UserError, match="NOPE is not known"):
        run_demo(settings, DemoOptions(venue="NOPE"))

    assert kept.exists()


def test_what_live_does_not_heed_is_refused(settings: Settings, recorded: Write) -> None:
    for options in (DemoOptions(live=True, recording=recorded()), DemoOptions(live=True, market="usdm")):
        with pytest.raises(UserError, match="--live captures"):
            demo_settings(settings, options)

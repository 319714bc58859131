"""`tickerplant smoke` against the simulated venue: what comes is counted, what does not come is one line."""

import json
import socket
from typing import Any

import pytest
from click.testing import CliRunner

from processors.items import Trade
from schemas.records import Instrument, Side, Tick
from schemas.venues.binance import assumed_instrument
from tickerplant import smoke
from tickerplant.cli import cli
from tickerplant.errors import UserError
from tickerplant.local.venue import SyntheticOptions, Venue, VenueOptions
from tickerplant.settings import Producer, Settings
from tickerplant.smoke import Finding, SmokeOptions, check, favourites
from tickerplant.smoke_trades import SeenTrades, compare

SETTINGS = Settings(producer=Producer(linger_ms=1.0, backoff_first_s=0.01, backoff_most_s=0.02))


def simulated(name: str, market: str, *, autostart: bool = True) -> Venue:
    source = SyntheticOptions(symbols=4, rate_frames=600, markets=(market,))
    return Venue(VenueOptions(venue=name, source=source, autostart=autostart))


async def checked(venue: Venue, name: str, market: str, **options: Any) -> Finding:
    address = f"127.0.0.1:{venue.port}/{name.lower()}/{market}"
    values = {"seconds": 1.5, "websocket_url": f"ws://{address}", "rest_url": f"http://{address}"} | options
    (found,) = await check(SETTINGS, SmokeOptions(venue=name, market=market, **values))
    return found


@pytest.mark.parametrize(
    ("name", "market"), [("BINANCE", "usdm"), ("BYBIT", "linear"), ("GATE", "futures"), ("OKX", "swap")]
)
async def test_all_channels_of_a_few_symbols_are_captured_and_parsed(name: str, market: str) -> None:
    async with simulated(name, market) as venue:
        found = await checked(venue, name, market)
    told = "\n".join(found.lines())

    assert {"trade", "quote", "depth snapshot", "depth delta"} <= set(found.tally.records)
    assert (found.tally.letters, found.refused, found.tally.events["GAP"]) == ([], (), 0)
    assert found.streams >= 3 * len(found.symbols) > 0
    assert f"{name} {market}" in told
    assert "behind the venue's clock: p50" in told
    assert found.past is not None
    assert found.past.shared > 0 == found.past.differing
    assert not found.past.problem()
    assert json.dumps(found.summary())


async def test_symbols_can_be_named_and_mistakes_are_told() -> None:
    async with simulated("BYBIT", "spot") as venue:
        found = await checked(venue, "BYBIT", "spot", symbols=("eth/usdt",), seconds=0.5)
        with pytest.raises(UserError, match="does not list ETHUSD: did you mean ETHUSDT"):
            await checked(venue, "BYBIT", "spot", symbols=("ETHUSD",))

    assert found.symbols == ("ETHUSDT",)


async def test_a_venue_that_is_silent_is_a_problem() -> None:
    async with simulated("BINANCE", "spot", autostart=False) as venue:
        found = await checked(venue, "BINANCE", "spot", seconds=0.3)

    assert found.problems[0].startswith("connected, and no market data came within 0.3 s")


async def test_no_connection_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smoke, "LIST_WITHIN_S", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nowhere = f"127.0.0.1:{closed.getsockname()[1]}"
    async with simulated("BYBIT", "spot") as venue:
        unheard = await checked(venue, "BYBIT", "spot", websocket_url=f"ws://{nowhere}")
        unlisted = await checked(venue, "BYBIT", "spot", rest_url=f"http://{nowhere}")

    assert unheard.problems[0].startswith("no connection could be opened within 1 s: ")
    assert unlisted.problems == (
        f"no instrument list: http://{nowhere}/v5/market/instruments-info?category=spot: ConnectError",
    )


def test_exit_code_1_and_one_line_where_nothing_comes() -> None:
    urls = ["--websocket-url", "ws://127.0.0.1:1", "--rest-url", "http://127.0.0.1:1"]
    done = CliRunner().invoke(cli, ["smoke", "--venue", "bybit", "--market", "spot", *urls], standalone_mode=False)

    assert done.return_value == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("tickerplant: BYBIT spot: no instrument list: ")


@pytest.mark.parametrize(
    ("options", "text"),
    [(SmokeOptions(venue="nyse"), "venue nyse is not known: choose of BINANCE"),
     (SmokeOptions(venue="okx", market="margin"), "OKX has no market margin: choose of spot, swap"),
     (SmokeOptions(venue="okx", rest_url="http://x"), "a URL is of one market: name it with --market: spot, swap")],
)  # fmt: skip
async def test_what_is_unknown_is_told_before_any_connection(options: SmokeOptions, text: str) -> None:
    with pytest.raises(UserError, match=text):
        await check(SETTINGS, options)


def trade(name: str, side: Side = "BUY") -> Trade:
    return Trade("BTCUSDT", 1, 0, 100.0, 1.0, side, name=name)


@pytest.mark.parametrize(
    ("told", "problem"),
    [
        ([], "none of 0 is called as one of 3 of the stream"),
        ([trade("x"), trade("y")], "none of 2 is called as one of 3 of the stream"),
        ([trade("a"), trade("b", "SELL")], "1 of 2 have another price or side"),
        ([trade("a"), trade("x")], ""),
    ],
)
def test_past_trades_that_are_not_those_of_the_stream_are_a_problem(told: list[Trade], problem: str) -> None:
    seen = SeenTrades()
    for name in "abc":
        seen.add(
            Tick(
                event_time_us=1, venue="V", symbol="BTC/USDT", asset_class="CRYPTO", kind="TRADE", price=100.0,
                quantity=1.0, side="BUY", sequence_id=1, trade_id=name, source_topic="raw.v", source_partition=0,
            )
        )  # fmt: skip

    found = compare(seen.busiest(), seen.by_symbol["BTC/USDT"], told)

    assert found.problem().removeprefix("past trades of BTC/USDT by REST: ") == problem


def test_favourites_are_different_coins_that_trade() -> None:
    def named(name: str) -> Instrument:
        return assumed_instrument("spot", name, 0)

    listed = [named(name) for name in ("ADAUSDT", "BTCUSDC", "BTCUSDT", "DOGEUSDT", "ETHBTC", "ETHUSDT")]

    assert [each.venue_symbol for each in favourites(listed)] == ["BTCUSDT", "ETHUSDT", "ADAUSDT"]

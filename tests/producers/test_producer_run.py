"""The whole producer without Kafka: lists, plan, feeds, snapshots, commands, clock, stop."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import httpx
import msgspec
import pytest
from aiohttp import web

from producers import app
from producers.app import Producer, check_venues, make_producer
from producers.intake import Intake
from producers.venues import binance
from producers.venues.coinbase import ADVANCED_LIST
from producers.wire import Missing, Request
from schemas.records import ControlCommand, ControlWanted
from schemas.symbology import partition_of
from tickerplant import metrics
from tickerplant.errors import DependencyError, TickerplantError, UserError
from tickerplant.kafka import check_broker
from tickerplant.settings import Kafka, Settings, Venue
from tickerplant.settings import Producer as ProducerSettings

NAMES = ("BTC", "ETH", "SOL")
EXCHANGE_LIST = b'[{"id":"BTC-USD","base_currency":"BTC","quote_currency":"USD"}]'
PRODUCTS = [{"product_id": f"{each}-USD", "base_currency_id": each, "quote_currency_id": "USD"} for each in NAMES]
DEPTH = b'{"lastUpdateId":1,"bids":[],"asks":[]}'


def listing(*bases: str) -> bytes:
    entries = [
        {"symbol": f"{base}USDT", "status": "TRADING", "baseAsset": base, "quoteAsset": "USDT"} for base in bases
    ]
    return json.dumps({"symbols": entries}).encode()


@pytest.fixture
def make(venue: Any, make_intake: Callable[..., Intake], client: httpx.AsyncClient) -> Callable[..., Producer]:
    venue.rest["/api/v3/exchangeInfo"] = [web.Response(body=listing(*NAMES))]
    venue.rest["/api/v3/depth"] = [web.Response(body=DEPTH)]

    def make_one(
        *symbols: str,
        channels: tuple[str, ...] = ("trade", "depth"),
        refresh_s: float = 60.0,
        **timing_settings: Any,
    ) -> Producer:
        entry = Venue(
            venue="BINANCE", market="spot", symbols=symbols, channels=channels,
            websocket_url=venue.websocket_url, rest_url=venue.rest_url,
        )  # fmt: skip
        timing = ProducerSettings(linger_ms=1.0, backoff_first_s=0.01, backoff_most_s=0.02, **timing_settings)
        intake = make_intake(timing, 3)
        settings = Settings(producer=timing, venues=(entry,))
        return make_producer(settings, {"BINANCE": intake}, client, refresh_s=refresh_s)

    return make_one


@asynccontextmanager
async def running(producer: Producer) -> AsyncIterator[None]:
    stop = asyncio.Event()
    task = asyncio.create_task(producer.run(stop))
    try:
        yield
    finally:
        stop.set()
        await task


async def test_lists_reach_every_partition_before_anything_else_of_the_market(
    make: Any, venue: Any, outlet: Any, until: Any
) -> None:
    async with running(make("*")):
        await until(lambda: len(outlet.frames("HTTP")) == 3)
    for partition in range(3):
        kinds = [frame.kind for at, source, frame in outlet.sourced() if at == partition and source.market == "spot"]
        assert kinds[0] == "INSTRUMENTS"
        assert kinds.count("INSTRUMENTS") == 1

    assert outlet.frames("INSTRUMENTS")[0].payload == listing(*NAMES)
    assert outlet.frames("INSTRUMENTS")[0].request.startswith(f"{venue.rest_url}/api/v3/exchangeInfo")


async def test_frames_of_a_symbol_and_its_snapshot_share_a_partition(make: Any, outlet: Any, until: Any) -> None:
    async with running(make("*")):
        await until(lambda: len(outlet.frames("HTTP")) == 3 and len(outlet.frames("SENT")) >= 1)
    sent = {name: at for at, _, frame in outlet.sourced() if frame.kind == "SENT"
            for name in json.loads(frame.payload)["params"]}  # fmt: skip
    fetched = {frame.request: at for at, _, frame in outlet.sourced() if frame.kind == "HTTP"}

    for base in NAMES:
        expected = partition_of(f"{base}/USDT", 3)
        assert sent[f"{base.lower()}usdt@trade"] == sent[f"{base.lower()}usdt@depth@100ms"] == expected
        assert [at for url, at in fetched.items() if f"symbol={base}USDT" in url] == [expected]


async def test_numbers_of_every_connection_have_no_holes(make: Any, outlet: Any, until: Any) -> None:
    async with running(make("*")):
        await until(lambda: len(outlet.frames("HTTP")) == 3)
    numbers: dict[tuple[int, str], list[int]] = {}
    for at, source, frame in outlet.sourced():
        numbers.setdefault((at, source.connection), []).append(frame.number)

    assert all(found == list(range(len(found))) for found in numbers.values())
    names = [name for _, name in numbers if not name.startswith("clock-")]
    assert len(names) == len(set(names))


async def test_clock_ticks_in_every_partition(make: Any, outlet: Any, until: Any) -> None:
    async with running(make("BTCUSDT")):
        await until(lambda: len(outlet.frames("CLOCK")) >= 6)
    clocks = [(at, source.market, source.connection) for at, source, frame in outlet.sourced() if frame.kind == "CLOCK"]

    (name,) = {connection for _, _, connection in clocks}
    assert name.startswith("clock-")
    assert set(clocks) == {(0, "", name), (1, "", name), (2, "", name)}


async def test_resnapshot_is_fetched_for_our_symbols_only(make: Any, venue: Any, outlet: Any, until: Any) -> None:
    producer = make("BTCUSDT")
    async with running(producer):
        await until(lambda: len(outlet.frames("HTTP")) == 1)
        for market, name in [("spot", "XRPUSDT"), ("usdm", "BTCUSDT"), ("spot", "BTCUSDT")]:
            command = ControlCommand(
                event_time_us=1, venue="BINANCE", market=market, venue_symbol=name, command="resnapshot"
            )
            producer.take_command(command)
        await until(lambda: len(outlet.frames("HTTP")) == 2)

    assert sum("depth" in path for path in venue.rest_requests) == 2


async def test_snapshots_of_all_symbols_wait_for_those_that_are_asked_for_by_name(
    make: Any, venue: Any, outlet: Any, until: Any
) -> None:
    producer = make("*")
    async with running(producer):
        await until(lambda: len(outlet.frames("HTTP")) == 3)
        for name in ("", "SOLUSDT"):
            producer.take_command(
                ControlCommand(event_time_us=1, venue="BINANCE", market="spot", venue_symbol=name, command="resnapshot")
            )
        await until(lambda: len(outlet.frames("HTTP")) == 6)

    assert "symbol=SOLUSDT" in [path for path in venue.rest_requests if "/depth" in path][3]


def trades(*ids: int) -> web.Response:
    return web.Response(body=json.dumps([{"id": each} for each in ids]))


def missing(first: int, last: int, *, name: str = "BTCUSDT", market: str = "spot") -> ControlCommand:
    return ControlCommand(
        event_time_us=1, venue="BINANCE", market=market, venue_symbol=name, command="backfill",
        from_sequence=first, to_sequence=last,
    )  # fmt: skip


async def test_missing_trades_are_fetched_page_by_page_into_the_partition_of_their_stream(
    make: Any, venue: Any, outlet: Any, until: Any
) -> None:
    venue.rest["/api/v3/historicalTrades"] = [trades(*range(7, 10)), trades(*range(10, 14)), trades(99)]
    producer = make("BTCUSDT", channels=("trade",))
    async with running(producer):
        await until(lambda: outlet.frames("CONNECT"))
        for command in (missing(7, 12, market="usdm"), missing(7, 12, name="XRPUSDT"), missing(7, 12)):
            producer.take_command(command)
        await until(lambda: len(outlet.frames("HTTP")) == 2)

    assert [each.request.rpartition("?")[2] for each in outlet.frames("HTTP")] == [
        "symbol=BTCUSDT&limit=1000&fromId=7",
        "symbol=BTCUSDT&limit=1000&fromId=10",
    ]
    places = {at for at, _, frame in outlet.sourced() if frame.kind == "HTTP"}
    assert places == {partition_of("BTC/USDT", 3)}
    assert sum("historicalTrades" in path for path in venue.rest_requests) == 2


@pytest.mark.parametrize(
    ("pages", "asked"),
    [
        ([trades(8), trades(9), trades(10)], 2),
        ([web.Response(status=503), trades(20)], 2),
        ([web.Response(status=503)], 3),
        ([web.Response(status=400, text="no")], 1),
        ([web.Response(body=b"<html>")], 1),
    ],
    ids=["two pages are the most", "later", "never", "refused", "no trades"],
)
async def test_missing_trades_are_asked_for_a_bounded_number_of_times(
    make: Any, venue: Any, until: Any, pages: list[web.Response], asked: int
) -> None:
    venue.rest["/api/v3/historicalTrades"] = pages
    last = "/api/v3/historicalTrades?symbol=ETHUSDT"
    producer = make("BTCUSDT", "ETHUSDT", backfill_pages=2, channels=("trade",))
    async with running(producer):
        await until(lambda: len(venue.subscribed) == 2)
        producer.take_command(missing(7, 12))
        await until(lambda: len(venue.rest_requests) == 1 + asked)
        venue.rest["/api/v3/historicalTrades"] = [trades(1)]
        producer.take_command(missing(1, 1, name="ETHUSDT"))  # which is fetched once the other is over
        await until(lambda: any(path.startswith(last) for path in venue.rest_requests))

    assert sum("historicalTrades?symbol=BTCUSDT" in path for path in venue.rest_requests) == asked


async def test_missing_trades_wait_while_books_do(make: Any, venue: Any, outlet: Any, until: Any) -> None:
    venue.rest["/api/v3/historicalTrades"] = [trades(12)]
    producer = make("BTCUSDT")
    async with running(producer):
        await until(lambda: outlet.frames("HTTP"))
        venue.rest["/api/v3/depth"] = [web.Response(status=503)]
        producer.take_command(msgspec.structs.replace(missing(7, 12), command="resnapshot"))
        producer.take_command(missing(7, 12))
        await until(lambda: sum("depth" in path for path in venue.rest_requests) > 3)
        assert not any("historicalTrades" in path for path in venue.rest_requests)
        venue.rest["/api/v3/depth"] = [web.Response(body=DEPTH)]
        await until(lambda: any("historicalTrades" in path for path in venue.rest_requests))


async def test_without_pages_no_trades_are_fetched(make: Any, venue: Any, outlet: Any, until: Any) -> None:
    producer = make("BTCUSDT", backfill_pages=0)
    async with running(producer):
        await until(lambda: outlet.frames("CONNECT"))
        assert not producer.captures[0].backfill(Missing(venue_symbol="BTCUSDT", first_id=1, last_id=2))


async def test_list_that_cannot_be_fetched_is_tried_again(make: Any, venue: Any, outlet: Any, until: Any) -> None:
    venue.rest["/api/v3/exchangeInfo"] = [
        web.Response(status=503), web.Response(body=b"<html>"), web.Response(body=listing(*NAMES)),
    ]  # fmt: skip
    async with running(make("*")):
        await until(lambda: outlet.frames("CONNECT"))

    assert {frame.payload for frame in outlet.frames("INSTRUMENTS")} == {listing(*NAMES)}
    assert {frame.request.partition("#")[2] for frame in outlet.frames("INSTRUMENTS")} == {"page=1/1"}


async def test_name_that_spoils_the_short_list_is_found_missing_in_the_whole_one(make: Any, venue: Any) -> None:
    venue.rest["/api/v3/exchangeInfo"] = [web.Response(status=400), web.Response(body=listing(*NAMES))]
    with pytest.raises(UserError, match=r"does not list BTCUSD: did you mean BTCUSDT"):
        await make("BTCUSD").run(asyncio.Event())

    assert ["symbols=" in path for path in venue.rest_requests] == [True, False]


async def test_new_listing_is_captured_where_all_are_wanted(make: Any, venue: Any, until: Any) -> None:
    venue.rest["/api/v3/exchangeInfo"] = [
        web.Response(body=listing("BTC")), web.Response(body=listing("BTC", "NEW")),
    ]  # fmt: skip
    async with running(make("*", channels=("trade",), refresh_s=0.05)):
        await until(lambda: "newusdt@trade" in venue.subscribed)

    assert venue.subscribed.count("btcusdt@trade") == 1


async def test_a_symbol_of_the_settings_that_is_not_listed_is_passed_over_until_it_is(
    make: Any, venue: Any, until: Any
) -> None:
    lists = [web.Response(status=400), web.Response(body=listing("BTC")), web.Response(body=listing("BTC", "ENDED"))]
    venue.rest["/api/v3/exchangeInfo"] = lists
    producer = make("BTCUSDT", "ENDEDUSDT", channels=("trade",), refresh_s=0.05)
    lacking = metrics.CONNECTOR_ERRORS.labels("BINANCE", "not_listed")._value.get()
    async with running(producer):
        await until(lambda: "btcusdt@trade" in venue.subscribed)
        assert metrics.CONNECTOR_ERRORS.labels("BINANCE", "not_listed")._value.get() == lacking + 1
        await until(lambda: "endedusdt@trade" in venue.subscribed)

    assert venue.subscribed.count("btcusdt@trade") == 1


async def test_an_entry_of_which_nothing_is_listed_waits_while_others_are_captured(
    venue: Any, make_intake: Callable[..., Intake], client: httpx.AsyncClient, until: Any
) -> None:
    lists = [listing("BTC"), listing("BTC"), listing("BTC", "NEW")]
    venue.rest["/api/v3/exchangeInfo"] = [web.Response(body=each) for each in lists]
    urls = {"websocket_url": venue.websocket_url, "rest_url": venue.rest_url}
    entries = tuple(
        Venue(venue="BINANCE", market="spot", symbols=(name,), channels=("trade",), **urls)
        for name in ("BTCUSDT", "NEWUSDT")
    )
    settings = Settings(producer=ProducerSettings(linger_ms=1.0), venues=entries)
    intakes = {"BINANCE": make_intake(settings.producer, 1)}
    async with running(make_producer(settings, intakes, client, refresh_s=0.05, is_patient=True)):
        await until(lambda: {"btcusdt@trade", "newusdt@trade"} <= set(venue.subscribed))

    venue.rest["/api/v3/exchangeInfo"] = [web.Response(body=listing("BTC"))]
    with pytest.raises(UserError, match="does not list NEWUSDT"):
        await make_producer(settings, intakes, client).run(asyncio.Event())


async def test_of_wishes_beyond_what_the_venue_allows_the_latest_are_left_out_from_the_start_on(
    make: Any, venue: Any, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = replace(binance.LIMITS["spot"], streams_per_connection=1, connections=2)
    monkeypatch.setitem(binance.LIMITS, "spot", few)
    producer = make("BTCUSDT", channels=("trade",))
    for name in ("ETHUSDT", "SOLUSDT"):
        producer.take(wish(name, is_wanted=True))
    async with running(producer):
        await until(lambda: venue.subscribed == ["btcusdt@trade"])
        producer.take(wish("BTCUSDT", is_wanted=False))
        await until(lambda: carried(producer) == {"ETHUSDT"})
        producer.take(wish("ETHUSDT", is_wanted=False))
        await until(lambda: carried(producer) == {"SOLUSDT"})


async def test_wishes_are_followed_while_the_list_cannot_be_had(make: Any, venue: Any, until: Any) -> None:
    venue.rest["/api/v3/exchangeInfo"] = [web.Response(body=listing(*NAMES)), web.Response(status=503)]
    producer = make("*", channels=("trade",), refresh_s=0.05)
    async with running(producer):
        await until(lambda: len(venue.rest_requests) > 2)
        producer.take(wish("BTCUSDT", is_wanted=False))
        await until(lambda: carried(producer) == {"ETHUSDT", "SOLUSDT"})
        unheard = len(venue.rest_requests)
        await until(lambda: len(venue.rest_requests) > unheard)


def wish(venue_symbol: str, *, is_wanted: bool) -> ControlWanted:
    return ControlWanted(
        event_time_us=1, venue="BINANCE", market="spot", venue_symbol=venue_symbol, channel="trade", is_wanted=is_wanted
    )


def subscriptions(venue: Any) -> list[int]:
    return [venue.subscribed.count(f"{base.lower()}usdt@trade") for base in NAMES]


async def test_what_is_not_listed_any_more_is_left_and_the_rest_stays(make: Any, venue: Any, until: Any) -> None:
    producer = make("*", channels=("trade",), refresh_s=0.05)
    async with running(producer):
        await until(lambda: subscriptions(venue) == [1, 1, 1])
        venue.rest["/api/v3/exchangeInfo"] = [web.Response(body=listing("BTC", "SOL"))]
        await until(lambda: carried(producer) == {"BTCUSDT", "SOLUSDT"})
        await until(lambda: ended(venue) or any(each["method"] == "UNSUBSCRIBE" for each in venue.requests))

    assert subscriptions(venue)[0] == subscriptions(venue)[2] == 1


def carried(producer: Producer) -> set[str]:
    return {each.venue_symbol for feed in producer.captures[0].feeds for each in feed.plan.streams}


def ended(venue: Any) -> int:
    return sum(each.close_code is not None for each in venue.connections)


async def test_a_list_without_most_of_the_market_is_doubted_until_the_next_says_so_too(
    make: Any, venue: Any, until: Any
) -> None:
    producer = make("*", channels=("trade",), refresh_s=0.05)
    async with running(producer):
        await until(lambda: subscriptions(venue) == [1, 1, 1])
        lists = [listing("BTC"), listing(*NAMES, "NEW")]
        venue.rest["/api/v3/exchangeInfo"] = [web.Response(body=each) for each in lists]
        await until(lambda: "newusdt@trade" in venue.subscribed)
        seen = subscriptions(venue)
        venue.rest["/api/v3/exchangeInfo"] = [web.Response(body=listing("BTC"))]
        await until(lambda: carried(producer) == {"BTCUSDT"})

    assert seen == [1, 1, 1]


async def test_a_list_is_fetched_page_by_page_by_get_or_post(
    make: Any, venue: Any, outlet: Any, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def next_page(request: Request, _body: bytes) -> Request | None:
        if request.method == "POST":
            return None
        return Request(url=f"{venue.rest_url}/more", weight=1, method="POST", body=b'{"page":2}')

    venue.rest["/more"] = [web.Response(body=listing("LATE"))]
    monkeypatch.setattr(binance, "next_page", next_page)
    async with running(make("LATEUSDT", channels=("trade",))):
        await until(lambda: "lateusdt@trade" in venue.subscribed)
    lists = {frame.request: frame.payload for frame in outlet.frames("INSTRUMENTS")}

    assert list(lists.values()) == [listing(*NAMES), listing("LATE")]  # of names that were asked for: not all there are
    assert list(lists)[1] == f'POST {venue.rest_url}/more {{"page":2}}'
    assert venue.posted == [b'{"page":2}']


async def test_states_of_connections_are_shown(make: Any, venue: Any, until: Any) -> None:
    def shown(state: str) -> float:
        return float(metrics.CONNECTIONS.labels("BINANCE", state)._value.get())

    async with running(make("BTCUSDT")):
        await until(lambda: (shown("connected"), shown("disconnected")) == (1, 0))


async def test_failed_delivery_ends_the_producer(make: Any, outlet: Any) -> None:
    outlet.failure = TickerplantError("Kafka refused a record")

    with pytest.raises(TickerplantError, match="refused"):
        await make("BTCUSDT").run(asyncio.Event())


@pytest.mark.parametrize("symbols", [("BTC-USD",), ("*",)])
async def test_two_markets_of_one_canonical_symbol_are_refused_in_one_line(
    venue: Any, make_intake: Any, client: httpx.AsyncClient, symbols: tuple[str, ...]
) -> None:
    venue.rest["/products"] = [web.Response(body=EXCHANGE_LIST)]
    venue.rest[ADVANCED_LIST] = [web.Response(body=json.dumps({"products": PRODUCTS}))]
    urls = {"websocket_url": venue.websocket_url, "rest_url": venue.rest_url}
    markets = {"exchange": symbols, "advanced": ("ETH-USD", "BTC-USD")}
    entries = tuple(
        Venue(venue="COINBASE", market=market, symbols=names, channels=("trade",), **urls)
        for market, names in markets.items()
    )
    settings = Settings(producer=ProducerSettings(linger_ms=1.0), venues=entries)
    producer = make_producer(settings, {"COINBASE": make_intake(settings.producer, 1, venue="COINBASE")}, client)

    with pytest.raises(UserError, match=r"BTC-USD of \w+ and BTC-USD of \w+ are both BTC/USD: capture it from one"):
        await producer.run(asyncio.Event())


def test_settings_without_venues_are_refused() -> None:
    with pytest.raises(UserError, match=r"add \[\[venues\]\]"):
        check_venues(Settings())


def test_mistaken_settings_are_refused_before_any_server_is_asked() -> None:
    wrong = Settings(venues=(Venue(venue="BINANCE", market="spot", symbols=("A",), channels=("x",)),))
    with pytest.raises(UserError, match="no channel x"):
        app.run(wrong)


def test_without_a_broker_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "check_broker", partial(check_broker, timeout_s=0.3))
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"127.0.0.1:{closed.getsockname()[1]}"
    entry = Venue(venue="BINANCE", market="spot", symbols=("BTCUSDT",))

    with pytest.raises(DependencyError, match=f"kafka does not answer at {address}"):
        app.run(Settings(kafka=Kafka(bootstrap_servers=address), venues=(entry,)))

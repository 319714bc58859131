"""What a connection does for its dialogue: says, replies, pings, leaves out, changes, resyncs; on a real socket."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from aiohttp import web
from prometheus_client import REGISTRY
from websockets.asyncio.server import ServerConnection

from producers import plan as planning
from producers import websocket
from producers.dialogue import Talk
from producers.feed import Feed
from producers.http import Fetcher
from producers.intake import Intake
from producers.limiter import Address
from producers.plan import ConnectionPlan
from producers.turns import Turns
from producers.venues import binance
from producers.websocket import FeedOptions
from producers.wire import Answer, Ask, Door, Request, Stream
from schemas.venues.binance import assumed_instrument
from tickerplant.clock import now_us
from tickerplant.settings import Producer, Venue

NAMES = ("ADAUSDT", "BTCUSDT", "ETHUSDT", "XRPUSDT")
TRADES = [f"{name.lower()}@trade" for name in NAMES]


class Chatty(Talk):
    """Says hello, owes a pong, is answered by names; the rest is as the loopback venue has it."""

    PING = b'{"op":"ping","params":[],"id":0}'
    PING_EVERY_S = 0.05

    def opening(self) -> tuple[bytes, ...]:
        return (b'{"op":"hello","params":[],"id":0}',)

    def request(self, verb: str, number: int, streams: Any) -> bytes:
        return json.dumps({"op": verb, "params": [each.name for each in streams], "id": number}).encode()

    def snapshot(self, streams: Any) -> list[Ask]:
        return [Ask(payload=self.request("snapshot", 0, [each])) for each in streams]

    def stream_of(self, payload: bytes) -> bytes:
        found = json.loads(payload)
        return str(found["stream"]).encode() if "stream" in found else b""

    def answer(self, payload: bytes) -> Answer | None:
        found = json.loads(payload)
        if "challenge" in found:
            return Answer(sends=(b'{"op":"response","params":[],"id":0}',))
        if "error" in found:
            return self.rejected(found["id"], found["error"])
        if "names" in found:
            return Answer(subscribed=tuple(found["names"]))
        return Answer(is_welcome="welcome" in found)


class Polite(Chatty):
    waits_for_welcome = True


class Odd(Chatty):
    def answer(self, payload: bytes) -> Answer | None:
        return Answer(subscribed=tuple(json.loads(payload).get("names", ())))


@pytest.fixture(autouse=True)
def watchful(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "WATCH_S", 0.01)


@pytest.fixture
def converse(
    make_intake: Callable[..., Intake], venue: Any, settings: Producer, asked: list[str], client: httpx.AsyncClient
) -> Callable[..., Any]:
    """Run a feed of four trade streams with a dialogue of a class; what differs of Binance's wire by name."""

    @asynccontextmanager
    async def start(
        talk: type[Talk], *channels: str, settings: Producer = settings, **differences: Any
    ) -> AsyncIterator[Feed]:
        limits = replace(binance.LIMITS["spot"], messages_per_s=1000.0)
        wire: Any = SimpleNamespace(
            **vars(binance)
            | {"dialogue": lambda _market, _ticket: talk(limits), "LIMITS": {"spot": limits}}
            | differences
        )
        options = FeedOptions(
            wire=wire, settings=settings, start="s", address=Address(6000, 300), rest_url=venue.rest_url,
            on_subscribed=lambda found: asked.extend(each.name for each in found),
            fetch=Fetcher(client, "BINANCE", Address(6000, 300), now_us=now_us).fetch,
        )  # fmt: skip
        intake = make_intake(settings, 1)
        feed = Feed("spot-p0-0", planned(venue.websocket_url, *channels), intake, options)
        tasks = [asyncio.create_task(each) for each in (feed.run(), intake.pump_forever())]
        yield feed
        for each in tasks:
            each.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        intake.close()

    return start


def planned(url: str, *channels: str) -> ConnectionPlan:
    entry = Venue(venue="BINANCE", market="spot", symbols=("*",), channels=channels or ("trade",), websocket_url=url)
    streams = planning.streams(entry, [assumed_instrument("spot", name, 0) for name in NAMES], 1)
    (plan,) = planning.connections(entry, streams)
    return plan


def said(venue: Any, op: str) -> list[list[str]]:
    return [each["params"] for each in venue.requests if each["op"] == op]


async def test_a_dialogue_opens_before_it_subscribes(converse: Any, venue: Any, outlet: Any, until: Any) -> None:
    async with converse(Chatty):
        await until(lambda: said(venue, "subscribe"))

    assert [each["op"] for each in venue.requests[:2]] == ["hello", "subscribe"]
    assert [json.loads(each)["op"] for each in outlet.payloads("SENT")[:2]] == ["hello", "subscribe"]


async def test_nothing_is_said_before_the_welcome_where_it_is_waited_for(
    converse: Any, venue: Any, outlet: Any, until: Any
) -> None:
    async with converse(Polite):
        await until(lambda: venue.connections)
        await until(lambda: outlet.frames("CONNECT"))
        assert not said(venue, "hello")
        await venue.connections[0].send('{"welcome":1}')
        await until(lambda: said(venue, "subscribe"))


async def test_a_welcome_that_never_comes_ends_the_connection(
    converse: Any, outlet: Any, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "ANSWER_TIMEOUT_S", 0.05)
    async with converse(Polite):
        await until(lambda: outlet.frames("DISCONNECT"))

    assert b"no_welcome" in outlet.payloads("DISCONNECT")[0]


async def test_what_is_owed_is_sent_and_recorded(converse: Any, venue: Any, outlet: Any, until: Any) -> None:
    async def challenge(connection: ServerConnection, request: dict[str, Any]) -> None:
        if request["op"] == "subscribe":
            await connection.send('{"challenge":1}')

    venue.on_request = challenge
    async with converse(Chatty):
        await until(lambda: said(venue, "response"))

    assert b'{"op":"response","params":[],"id":0}' in outlet.payloads("SENT")


async def test_what_is_owed_is_sent_while_kafka_is_stuck_and_every_message_is_taken_in_once(
    converse: Any, venue: Any, outlet: Any, until: Any, settings: Producer
) -> None:
    trade, challenge = json.dumps({"stream": TRADES[0]}), '{"challenge":1}'
    sent = [trade, challenge, trade, challenge, trade]
    venue.answers = False
    outlet.is_stuck = True
    async with converse(Chatty, settings=settings.model_copy(update={"queue_frames": 1})) as feed:
        await until(lambda: venue.connections and not feed._intake.gate.is_open)
        for each in sent:
            await venue.connections[0].send(each)
        await until(lambda: len(said(venue, "response")) == 2)
        assert len(outlet.frames("MESSAGE")) <= 1
        outlet.is_stuck = False
        await until(lambda: outlet.payloads("MESSAGE") == [each.encode() for each in sent])

    assert len(said(venue, "response")) == 2


async def test_pings_of_the_venues_kind_are_sent_again_and_again(converse: Any, venue: Any, until: Any) -> None:
    async with converse(Chatty):
        await until(lambda: len(said(venue, "ping")) >= 3)


async def test_a_stream_that_spoils_its_request_is_left_out_alone(
    converse: Any, venue: Any, asked: list[str], until: Any
) -> None:
    before = REGISTRY.get_sample_value(*REFUSED) or 0.0
    venue.answers = False

    async def judge(connection: ServerConnection, request: dict[str, Any]) -> None:
        if request["op"] == "subscribe":
            spoilt = {"error": "no such stream"} if TRADES[2] in request["params"] else {"result": None}
            number = request["id"]
            answer = spoilt | {"id": number} if "error" in spoilt else {"names": request["params"]}
            await connection.send(json.dumps(answer))

    venue.on_request = judge
    async with converse(Chatty):
        await until(lambda: len(asked) == 3)
        await until(lambda: (REGISTRY.get_sample_value(*REFUSED) or 0.0) == before + 1)
        connections = len(venue.connections)

    assert sorted(asked) == [TRADES[0], TRADES[1], TRADES[3]]
    assert connections == 1
    assert said(venue, "subscribe") == [TRADES, TRADES[:2], TRADES[2:], [TRADES[2]], [TRADES[3]]]


REFUSED = ("connector_errors_total", {"venue": "BINANCE", "error_type": "subscription_refused"})


async def test_a_refused_stream_is_asked_for_again_later(
    converse: Any, venue: Any, asked: list[str], until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "REFUSED_AGAIN_S", 0.05)
    monkeypatch.setattr(websocket, "ANSWER_TIMEOUT_S", 0.01)
    venue.answers = False
    refusals: list[str] = []

    async def judge(connection: ServerConnection, request: dict[str, Any]) -> None:
        if request["op"] == "subscribe":
            is_first = request["params"] == [TRADES[0]] and not refusals
            if is_first or (len(request["params"]) > 1 and TRADES[0] in request["params"]):
                refusals.extend(request["params"][: int(is_first)])
                await connection.send(json.dumps({"error": "not now", "id": request["id"]}))
            else:
                await connection.send(json.dumps({"names": request["params"]}))

    venue.on_request = judge
    async with converse(Chatty):
        await until(lambda: TRADES[0] in asked)

    assert sorted(asked) == sorted(TRADES)


async def test_answers_may_name_streams_in_any_order_and_more_than_once(
    converse: Any, venue: Any, asked: list[str], until: Any
) -> None:
    venue.answers = False

    async def answer(connection: ServerConnection, request: dict[str, Any]) -> None:
        if request["op"] == "subscribe":
            for names in (["who@knows"], TRADES[2:], TRADES[1:], TRADES, TRADES):
                await connection.send(json.dumps({"names": names}))

    venue.on_request = answer
    async with converse(Odd):
        await until(lambda: len(asked) == 4)

    assert asked == [*TRADES[2:], TRADES[1], TRADES[0]]


async def test_an_unanswered_stream_does_not_end_the_others(
    converse: Any, venue: Any, asked: list[str], until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "ANSWER_TIMEOUT_S", 0.05)
    unanswered = ("connector_errors_total", {"venue": "BINANCE", "error_type": "subscription_unanswered"})
    before = REGISTRY.get_sample_value(*unanswered) or 0.0
    venue.answers = False

    async def answer(connection: ServerConnection, request: dict[str, Any]) -> None:
        if request["op"] == "subscribe":
            await connection.send(json.dumps({"names": TRADES[1:]}))

    venue.on_request = answer
    async with converse(Odd):
        await until(lambda: (REGISTRY.get_sample_value(*unanswered) or 0.0) == before + 1)
        connections = len(venue.connections)

    assert (sorted(asked), connections) == (TRADES[1:], 1)


async def test_streams_come_and_go_on_an_open_connection(
    converse: Any, venue: Any, asked: list[str], until: Any
) -> None:
    async with converse(Chatty) as feed:
        await until(lambda: said(venue, "subscribe"))
        first = feed.plan.streams[0]
        new = Stream(name="new@trade", channel="trade", venue_symbol="NEW", partition=0, url=first.url)
        feed.change(replace(feed.plan, streams=(*feed.plan.streams[1:], new)))
        await until(lambda: ["new@trade"] in said(venue, "subscribe"))

    assert said(venue, "unsubscribe") == [[TRADES[0]]]
    assert said(venue, "subscribe") == [TRADES, ["new@trade"]]
    assert len(venue.connections) == 1


async def test_a_book_is_resynced_by_subscribing_its_stream_anew_once_however_often_it_is_asked_for(
    converse: Any, venue: Any, until: Any
) -> None:
    async with converse(Chatty, "depth", snapshot_by=lambda _channel: "resubscribe") as feed:
        await until(lambda: said(venue, "subscribe"))
        for _ in range(50):
            feed.resync(feed.plan.streams[1])
        await until(lambda: len(said(venue, "subscribe")) == 2)
        feed.resync(feed.plan.streams[2])
        await until(lambda: len(said(venue, "subscribe")) == 3)

    depth = [f"{name.lower()}@depth@100ms" for name in NAMES]
    assert said(venue, "unsubscribe") == [[depth[1]], [depth[2]]]
    assert said(venue, "subscribe") == [depth, [depth[1]], [depth[2]]]
    assert len(venue.connections) == 1


async def test_books_that_are_resynced_together_are_asked_for_together(converse: Any, venue: Any, until: Any) -> None:
    async with converse(Chatty, "depth", snapshot_by=lambda _channel: "resubscribe") as feed:
        await until(lambda: said(venue, "subscribe"))
        for each in feed.plan.streams:
            feed.resync(each)
        await until(lambda: len(said(venue, "subscribe")) == 2)

    depth = [f"{name.lower()}@depth@100ms" for name in NAMES]
    assert said(venue, "unsubscribe") == said(venue, "subscribe")[1:] == [depth]


async def test_a_resync_can_be_of_one_connection_alone(converse: Any, venue: Any, until: Any) -> None:
    async with converse(Chatty, "depth", snapshot_by=lambda _channel: "resubscribe") as feed:
        await until(lambda: said(venue, "subscribe"))
        feed.resync(feed.plan.streams[0], "spot-p0-0-s-7")
        feed.resync(feed.plan.streams[1], "spot-p0-0-s-1")
        await until(lambda: said(venue, "unsubscribe"))

    assert said(venue, "unsubscribe") == [["btcusdt@depth@100ms"]]


async def test_snapshots_by_message_are_asked_for_on_the_connection(converse: Any, venue: Any, until: Any) -> None:
    venue.answers = False

    async def answer(connection: ServerConnection, request: dict[str, Any]) -> None:
        if request["op"] == "subscribe":
            await connection.send(json.dumps({"names": request["params"]}))

    venue.on_request = answer
    async with converse(Chatty, "depth", snapshot_by=lambda _channel: "message") as feed:
        await until(lambda: len(said(venue, "snapshot")) == 4)
        feed.resync(feed.plan.streams[3])
        await until(lambda: len(said(venue, "snapshot")) == 5)

    assert said(venue, "snapshot")[4] == ["xrpusdt@depth@100ms"]
    assert not said(venue, "unsubscribe")


async def test_a_ticket_is_had_for_each_connection(converse: Any, venue: Any, outlet: Any, until: Any) -> None:
    venue.rest["/ticket"] = [web.Response(body=b"one"), web.Response(status=500), web.Response(body=b"two")]
    door = Door(headers={"X-Wish": "decimal"}, ticket=Request(url=f"{venue.rest_url}/ticket", weight=1))
    ways = {
        "door": lambda _market, _base: door,
        "connect_url": lambda url, ticket, name: f"{url}?{ticket.decode()}&{name}",
    }
    async with converse(Chatty, **ways):
        await until(lambda: venue.connections)
        await venue.connections[0].close()
        await until(lambda: len(venue.connections) == 2)
    requests = [each.request for each in venue.connections]

    assert [each.path for each in requests] == ["/stream?one&spot-p0-0-s-1", "/stream?two&spot-p0-0-s-2"]
    assert requests[0].headers["X-Wish"] == "decimal"
    assert {each.request for each in outlet.frames("CONNECT")} == {f"{venue.websocket_url}/stream"}


async def test_a_ticket_that_is_none_is_a_failure_of_the_connection(converse: Any, venue: Any, until: Any) -> None:
    def no_ticket(_url: str, _ticket: bytes, _connection: str) -> str:
        raise ValueError("no token in it")

    async with converse(Chatty, connect_url=no_ticket) as feed:
        await until(lambda: feed.life.backoff.failures >= 2)

    assert not venue.connections


def test_turns_come_at_once_then_ever_less_often_and_start_anew_after_a_rest() -> None:
    turns, s = Turns(first_s=5.0, most_s=20.0), 1_000_000

    assert turns.take("a", s) == 0.0
    assert turns.take("b", s) == 0.0
    assert turns.take("a", 2 * s) == 4.0  # at 6 s
    assert turns.take("a", 3 * s) is None
    assert turns.take("a", 6 * s) == 10.0  # at 16 s
    assert turns.take("a", 17 * s) == 19.0  # at 36 s
    assert turns.take("a", 37 * s) == 19.0  # no longer than the most
    assert turns.take("a", 97 * s) == 0.0
    turns.forget("b")
    assert turns.take("b", 2 * s) == 0.0

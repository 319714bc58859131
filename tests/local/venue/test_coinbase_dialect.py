"""Coinbase's two feeds as a scripted client sees them: answers, errors, numbers of a connection, snapshots anew."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tickerplant.local.venue import SyntheticOptions, VenueOptions
from tickerplant.local.venue.faults import Lose

Serve = Callable[..., Awaitable[Any]]
OPTIONS = VenueOptions(venue="COINBASE", source=SyntheticOptions(symbols=6, rate_frames=2000))


def exchange(*channels: Any, kind: str = "subscribe", products: tuple[str, ...] = ("BTC-USD",)) -> dict[str, Any]:
    return {"type": kind, "product_ids": list(products), "channels": list(channels)}


def advanced(channel: str, *products: str, kind: str = "subscribe") -> dict[str, Any]:
    return {"type": kind, "channel": channel, "product_ids": list(products)}


def of(client: Any, **fields: Any) -> list[dict[str, Any]]:
    messages = [json.loads(each) for each in client.got]
    return [each for each in messages if all(each.get(name) == value for name, value in fields.items())]


async def test_the_exchange_feed_answers_with_all_that_is_subscribed(serve: Serve) -> None:
    served = await serve(OPTIONS)
    client = await served.client("exchange/", collects=False)

    first = await client.ask(exchange("matches", {"name": "ticker", "product_ids": []}))
    second = await client.ask(exchange({"name": "ticker", "product_ids": ["ETH-USD"]}))
    third = await client.ask(exchange("matches", kind="unsubscribe"))

    assert [each["type"] for each in (first, second, third)] == ["subscriptions"] * 3
    assert [
        [(each["name"], each["product_ids"]) for each in found["channels"]] for found in (first, second, third)
    ] == [
        [("matches", ["BTC-USD"])],
        [("matches", ["BTC-USD"]), ("ticker", ["ETH-USD"])],
        [("ticker", ["ETH-USD"])],
    ]


@pytest.mark.parametrize(
    ("request_", "words"),
    [(exchange("level2"), "requires authentication"), (exchange("nope"), "nope is not a valid channel"),
     (exchange("matches", products=("NOPE-USD",)), "NOPE-USD is not a valid product"),
     ({"type": "hello"}, "subscribe or unsubscribe")],
)  # fmt: skip
async def test_what_the_exchange_feed_refuses_is_told_why(serve: Serve, request_: dict[str, Any], words: str) -> None:
    served = await serve(OPTIONS)
    client = await served.client("exchange/", collects=False)

    answer = await client.ask(request_)

    assert answer["type"] == "error"
    assert words in f"{answer['message']} {answer.get('reason')}"


async def test_matches_have_the_makers_side_and_begin_with_the_last_one(serve: Serve) -> None:
    served = await serve(OPTIONS)
    client = await served.client("exchange/")
    served.venue.start()
    await served.until(lambda: served.venue.feed.candles("exchange", "BTC-USD").minutes)
    await client.socket.send(json.dumps(exchange("matches")))
    await served.until(lambda: len(of(client, type="match")) > 20)

    (last,), ids = of(client, type="last_match"), [each["trade_id"] for each in of(client, type="match")]
    assert ids == list(range(last["trade_id"] + 1, last["trade_id"] + 1 + len(ids)))
    assert {each["side"] for each in of(client, type="match")} == {"buy", "sell"}


async def test_messages_of_advanced_trade_are_numbered_over_all_channels_of_a_connection(serve: Serve) -> None:
    served = await serve(OPTIONS)
    client = await served.client("advanced/")
    served.venue.start()
    for request in (advanced("heartbeats"), advanced("level2", "BTC-EUR"), advanced("market_trades", "ETH-EUR")):
        await client.socket.send(json.dumps(request))
    await served.until(lambda: len(client.got) > 60 and of(client, channel="heartbeats"))

    numbers = [json.loads(each)["sequence_num"] for each in client.got]
    assert numbers == list(range(len(numbers)))
    assert of(client, channel="subscriptions")[-1]["events"][0]["subscriptions"] == {
        "heartbeats": ["heartbeats"], "level2": ["BTC-EUR"], "market_trades": ["ETH-EUR"],
    }  # fmt: skip


async def test_a_lost_message_of_advanced_trade_has_taken_its_number(serve: Serve) -> None:
    served = await serve(OPTIONS)
    served.venue.faults.start(Lose(count=1))
    client = await served.client("advanced/")
    await client.socket.send(json.dumps(advanced("level2", "BTC-EUR")))
    served.venue.start()
    await served.until(lambda: len(client.got) > 20)

    numbers = [json.loads(each)["sequence_num"] for each in client.got]
    assert len(set(range(numbers[-1] + 1)) - set(numbers)) == 1


async def test_subscribing_again_brings_a_new_snapshot(serve: Serve) -> None:
    served = await serve(OPTIONS)
    client = await served.client("advanced/")
    for kind in ("subscribe", "unsubscribe", "subscribe"):
        await client.socket.send(json.dumps(advanced("level2", "BTC-EUR", kind=kind)))
    await served.until(lambda: len(of(client, channel="l2_data")) == 2)

    assert [each["events"][0]["type"] for each in of(client, channel="l2_data")] == ["snapshot", "snapshot"]


@pytest.mark.parametrize("request_", [advanced("nope", "BTC-EUR"), advanced("level2"), advanced("level2", "NOPE")])
async def test_what_advanced_trade_refuses_is_an_error(serve: Serve, request_: dict[str, Any]) -> None:
    served = await serve(OPTIONS)
    client = await served.client("advanced/", collects=False)

    assert (await client.ask(request_))["type"] == "error"

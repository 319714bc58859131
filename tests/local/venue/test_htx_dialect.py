"""HTX as a scripted client sees it: gzip frames, pings, books by sequence and by version, notifications."""

import gzip
import json
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any

import pytest

from tickerplant.local.venue import SyntheticOptions, VenueOptions
from tickerplant.local.venue.dialects import htx

Serve = Callable[..., Awaitable[Any]]
OPTIONS = VenueOptions(venue="HTX", source=SyntheticOptions(symbols=6, rate_frames=2000))


def messages(client: Any) -> list[Any]:
    return [json.loads(gzip.decompress(each)) for each in client.got]


def of(client: Any, name: str) -> list[Any]:
    return [each for each in messages(client) if each.get("ch") == name]


async def test_a_spot_book_is_a_snapshot_asked_for_and_updates_that_name_the_last_one(serve: Serve) -> None:
    name = "market.btcusdt.mbp.400"
    served = await serve(OPTIONS)
    client = await served.client("spot/feed")
    await client.socket.send(json.dumps({"sub": name, "id": "1"}))
    served.venue.start()
    await served.until(lambda: len(of(client, name)) > 3)
    await client.socket.send(json.dumps({"req": name, "id": "2"}))
    await served.until(lambda: len(of(client, name)) > 20)

    ticks = [each["tick"] for each in of(client, name)]
    (snapshot,) = [each["data"] for each in messages(client) if each.get("rep") == name]
    assert all(after["prevSeqNum"] == before["seqNum"] for before, after in pairwise(ticks))
    joined = [each for each in ticks if each["seqNum"] > snapshot["seqNum"]]
    assert joined[0]["prevSeqNum"] <= snapshot["seqNum"]
    assert snapshot["bids"][0][0] < snapshot["asks"][0][0]


@pytest.mark.parametrize(("market", "symbol"), [("linear", "BTC-USDT"), ("coin", "BTC-USD")])
async def test_a_swap_book_begins_in_the_stream_and_its_version_rises_by_one(
    serve: Serve, market: str, symbol: str
) -> None:
    name = f"market.{symbol}.depth.size_150.high_freq"
    served = await serve(OPTIONS)
    client = await served.client(f"{market}/{'linear-' if market == 'linear' else ''}swap-ws")
    served.venue.start()
    await client.socket.send(json.dumps({"sub": name, "id": "1", "data_type": "incremental"}))
    await served.until(lambda: len(of(client, name)) > 20)

    ticks = [each["tick"] for each in of(client, name)]
    assert [each["event"] for each in ticks] == ["snapshot"] + ["update"] * (len(ticks) - 1)
    assert [each["version"] for each in ticks] == list(range(ticks[0]["version"], ticks[0]["version"] + len(ticks)))


async def test_trades_of_spot_have_ids_past_64_bits_and_all_are_counted(serve: Serve) -> None:
    name = "market.btcusdt.trade.detail"
    served = await serve(OPTIONS)
    client = await served.client("spot/ws")
    await client.socket.send(json.dumps({"sub": name, "id": "1"}))
    await served.until(lambda: client.got)
    served.venue.start()
    await served.until(lambda: len(of(client, name)) > 20)
    served.venue.stop()
    await served.until(lambda: served.venue.state == "done")
    counts = served.venue.hub.counts
    await served.until(lambda: len(of(client, name)) == counts.frames.total())

    trades = [each for message in of(client, name) for each in message["tick"]["data"]]
    assert len({each["tradeId"] for each in trades}) == len(trades) == len(counts.trades["spot", "btcusdt"])
    assert min(each["id"] for each in trades) > 2**63


async def test_the_venue_pings_and_cuts_who_owes_two_answers(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(htx, "PING_EVERY_S", 0.2)
    monkeypatch.setattr(htx.HtxConversation, "tick_s", 0.05)
    served = await serve(OPTIONS)
    client = await served.client("spot/ws")
    await served.until(lambda: client.socket.close_code is not None)

    assert [list(each) for each in messages(client)] == [["ping"], ["ping"]]
    assert client.socket.close_code == 1003


async def test_funding_is_a_notification_and_unknown_topics_are_refused(serve: Serve) -> None:
    served = await serve(OPTIONS)
    client = await served.client("linear/linear-swap-notification")
    for topic in ("public.BTC-USDT.funding_rate", "public.NO-PAIR.funding_rate"):
        await client.socket.send(json.dumps({"op": "sub", "cid": "1", "topic": topic}))
    await client.socket.send(json.dumps({"sub": "market.NO-PAIR.bbo", "id": "2"}))
    await served.until(lambda: len(client.got) == 3)

    assert [each.get("err-code") for each in messages(client)] == [0, 2011, "bad-request"]


async def test_a_forced_order_is_a_notification_of_its_contract(serve: Serve) -> None:
    served = await serve(OPTIONS)
    client = await served.client("linear/linear-swap-notification")
    served.venue.start()
    topic = "public.BTC-USDT.liquidation_orders"
    await client.socket.send(json.dumps({"op": "sub", "cid": "1", "topic": topic}))
    await served.until(lambda: any(each.get("op") == "notify" for each in messages(client)))

    told = next(each for each in messages(client) if each.get("op") == "notify")
    (order,) = told["data"]
    assert (told["topic"], order["contract_code"], order["direction"] in {"buy", "sell"}) == (topic, "BTC-USDT", True)
    assert order["volume"] > 0 < order["price"]


async def test_trades_of_contracts_count_both_sides(serve: Serve) -> None:
    name = "market.BTC-USDT.trade.detail"
    served = await serve(OPTIONS)
    client = await served.client("linear/linear-swap-ws")
    await client.socket.send(json.dumps({"sub": name, "id": "1"}))
    served.venue.start()
    await served.until(lambda: len(of(client, name)) > 20)

    trades = [each for message in of(client, name) for each in message["tick"]["data"]]
    assert not [each for each in trades if each["amount"] <= 0 or each["amount"] % 2]

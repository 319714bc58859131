"""Deribit as a scripted client sees it: JSON-RPC answers, changes that name each other, the volatility index, lists."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tickerplant.local.venue import SyntheticOptions, VenueOptions

Serve = Callable[..., Awaitable[Any]]
OPTIONS = VenueOptions(venue="DERIBIT", source=SyntheticOptions(symbols=8, rate_frames=2000))
PATH = "futures/ws/api/v2"
BOOK = "book.BTC-PERPETUAL.100ms"


def call(method: str, **parameters: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 7, "method": f"public/{method}", "params": parameters}


def data(client: Any, channel: str) -> list[Any]:
    messages = [json.loads(each) for each in client.got]
    return [each["params"]["data"] for each in messages if each.get("params", {}).get("channel") == channel]


async def test_each_change_names_the_one_before_and_says_what_becomes_of_a_level(serve: Serve) -> None:
    served = await serve(OPTIONS)
    client = await served.client(PATH)
    await client.socket.send(json.dumps(call("subscribe", channels=[BOOK])))
    served.venue.start()
    await served.until(lambda: len(data(client, BOOK)) > 15)

    snapshot, *changes = data(client, BOOK)
    last, standing = snapshot["change_id"], {(side, each[1]) for side in ("bids", "asks") for each in snapshot[side]}
    assert snapshot["type"] == "snapshot"
    for each in changes:
        assert each["prev_change_id"] == last
        last = each["change_id"]
        for side in ("bids", "asks"):
            for what, price, _ in each[side]:
                assert ((side, price) in standing) == (what != "new")
                (standing.discard if what == "delete" else standing.add)((side, price))


async def test_trades_are_counted_and_some_are_liquidations(serve: Serve) -> None:
    served = await serve(OPTIONS)
    client = await served.client(PATH)
    channel = "trades.BTC-PERPETUAL.100ms"
    await client.socket.send(json.dumps(call("subscribe", channels=[channel])))
    await served.until(lambda: client.got)
    served.venue.start()
    await served.until(lambda: sum(map(len, data(client, channel))) > 30)

    trades = [each for found in data(client, channel) for each in found]
    assert [each["trade_seq"] for each in trades] == list(range(1, len(trades) + 1))
    assert next(each["trade_seq"] for each in trades if "liquidation" in each) == 25


async def test_options_bring_a_volatility_index(serve: Serve) -> None:
    served = await serve(OPTIONS)
    client = await served.client("options/ws/api/v2")
    await client.socket.send(json.dumps(call("subscribe", channels=["deribit_volatility_index.btc_usd"])))
    await served.until(lambda: data(client, "deribit_volatility_index.btc_usd"))

    assert set(data(client, "deribit_volatility_index.btc_usd")[0]) == {"timestamp", "volatility", "index_name"}


@pytest.mark.parametrize(
    ("request_", "outcome"),
    [(call("subscribe", channels=[BOOK, "book.NOPE.100ms", "nope"]), {"result": [BOOK]}),
     (call("unsubscribe", channels=[BOOK]), {"result": []}), (call("set_heartbeat", interval=30), {"result": "ok"}),
     (call("test"), {"result": {"version": "1.2.26"}}), (call("set_heartbeat", interval=1), {"code": -32602}),
     (call("subscribe"), {"code": -32602}), (call("nope"), {"code": -32601}),
     (call("subscribe", channels=["trades.BTC-PERPETUAL.raw"]), {"code": 13778})],
)  # fmt: skip
async def test_a_request_is_answered_by_its_id(serve: Serve, request_: dict[str, Any], outcome: dict[str, Any]) -> None:
    served = await serve(OPTIONS)
    client = await served.client(PATH, collects=False)

    answer = await client.ask(request_)

    assert answer["id"] == 7
    assert outcome.items() <= {**answer, **answer.get("error", {})}.items()


async def test_instruments_are_listed_by_kind(serve: Serve) -> None:
    served = await serve(OPTIONS)
    path = "/options/api/v2/public/get_instruments?currency=any&kind={}"

    found = {kind: (await served.get(path.format(kind))).json()["result"] for kind in ("future", "option", "spot")}

    assert [each["instrument_name"] for each in found["future"]][:2] == ["BTC-PERPETUAL", "ETH-PERPETUAL"]
    assert {each["kind"] for each in found["option"]} == {"option"}
    assert found["spot"][0]["instrument_name"] == "BTC_USDC"
    assert (await served.get(path.format("nope"))).status_code == 400

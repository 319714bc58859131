"""OKX as a scripted client sees it: an answer an argument, books by prevSeqId, facts about swaps, lists."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from producers.venues.okx import FAMILIES
from schemas.venues import okx
from tickerplant.local.venue import SyntheticOptions, VenueOptions

Serve = Callable[..., Awaitable[Any]]
OPTIONS = VenueOptions(venue="OKX", source=SyntheticOptions(symbols=6, rate_frames=2000))
SYMBOLS = {"spot": "BTC-USDT", "swap": "BTC-USDT-SWAP"}


def subscribe(*args: tuple[str, str], op: str = "subscribe") -> dict[str, Any]:
    return {"id": "7", "op": op, "args": [{"channel": channel, "instId": name} for channel, name in args]}


def of(client: Any, channel: str) -> list[dict[str, Any]]:
    messages = [json.loads(each) for each in client.got]
    return [each for each in messages if each.get("arg", {}).get("channel") == channel and "data" in each]


def rebuilt(messages: list[dict[str, Any]]) -> tuple[dict[str, str], dict[str, str]]:
    """Apply the messages of one book by the venue's rule; bids, asks."""
    sides: dict[str, dict[str, str]] = {"bids": {}, "asks": {}}
    last = -1
    for message in messages:
        (row,) = message["data"]
        assert row["prevSeqId"] == last
        last = row["seqId"]
        for side in sides:
            sides[side] |= {price: size for price, size, *_ in row[side]}
    bids, asks = ({price: size for price, size in levels.items() if float(size)} for levels in sides.values())
    return bids, asks


@pytest.mark.parametrize("market", SYMBOLS)
async def test_a_book_is_a_snapshot_and_updates_that_name_the_last_one(serve: Serve, market: str) -> None:
    served = await serve(OPTIONS)
    client = await served.client(f"{market}/ws/v5/public")
    served.venue.start()
    await client.socket.send(json.dumps(subscribe(("books", SYMBOLS[market]))))
    await served.until(lambda: len(of(client, "books")) > 20)
    served.venue.stop()
    await served.until(lambda: served.venue.state == "done")
    book = served.venue.feed.book(market, SYMBOLS[market], 400)
    await served.until(lambda: rebuilt(of(client, "books")) == (dict(book.bids), dict(book.asks)))

    assert [each["action"] for each in of(client, "books")].count("snapshot") == 1


async def test_each_argument_is_answered_and_one_that_does_not_exist_named(serve: Serve) -> None:
    served = await serve(OPTIONS)
    client = await served.client("spot/ws/v5/public")
    await client.socket.send(
        json.dumps(subscribe(("trades", "BTC-USDT"), ("books", "NO-PAIR"), ("tickers", "BTC-USDT")))
    )
    await served.until(lambda: len(client.got) == 3)

    answers = [json.loads(each) for each in client.got]
    assert [each["event"] for each in answers] == ["subscribe", "error", "subscribe"]
    assert answers[0] == {
        "id": "7", "event": "subscribe", "arg": {"channel": "trades", "instId": "BTC-USDT"}, "connId": "a4d3ae55",
    }  # fmt: skip
    assert "channel:books,instId:NO-PAIR" in answers[1]["msg"]


async def test_the_word_ping_is_answered_and_nonsense_refused(serve: Serve) -> None:
    served = await serve(OPTIONS)
    client = await served.client("spot/ws/v5/business")
    await client.socket.send("ping")
    await client.socket.send('{"op":"what"}')
    await served.until(lambda: len(client.got) == 2)

    assert client.got[0] == b"pong"
    assert json.loads(client.got[1])["code"] == "60012"


async def test_swaps_tell_marks_index_funding_and_open_interest(serve: Serve) -> None:
    served = await serve(OPTIONS)
    client = await served.client("swap/ws/v5/public")
    wanted = [("mark-price", "BTC-USDT-SWAP"), ("index-tickers", "BTC-USDT"), ("open-interest", "BTC-USDT-SWAP")]
    await client.socket.send(json.dumps(subscribe(*wanted)))
    served.venue.start()
    await served.until(lambda: all(of(client, channel) for channel, _ in wanted))

    assert of(client, "index-tickers")[0]["data"][0]["instId"] == "BTC-USDT"
    assert float(of(client, "mark-price")[0]["data"][0]["markPx"]) > 0


async def test_lists_tell_what_a_contract_is_worth(serve: Serve) -> None:
    served = await serve(OPTIONS)
    (swap, *_) = (await served.get("/swap/api/v5/public/instruments?instType=SWAP")).json()["data"]
    (future, *_) = (await served.get("/futures/api/v5/public/instruments?instType=FUTURES")).json()["data"]
    wrong = (await served.get("/swap/api/v5/public/instruments?instType=SPOT")).json()

    assert (swap["instId"], swap["ctVal"], swap["ctType"]) == ("BTC-USDT-SWAP", "0.01", "linear")
    assert (future["uly"], future["ctVal"], future["ctType"]) == ("BTC-USD", "100", "inverse")
    assert wrong["code"] == "51000"


@pytest.mark.parametrize(("market", "of_type"), [("swap", "SWAP"), ("option", "OPTION")])
async def test_liquidations_of_all_instruments_of_a_type_come_by_one_subscription(
    serve: Serve, market: str, of_type: str
) -> None:
    served = await serve(OPTIONS)
    client = await served.client(f"{market}/ws/v5/public")
    served.venue.start()
    for each in (of_type, "MARGIN"):
        args = [{"channel": "liquidation-orders", "instType": each}]
        await client.socket.send(json.dumps({"op": "subscribe", "args": args}))
    await served.until(lambda: of(client, "liquidation-orders"))

    (row,) = of(client, "liquidation-orders")[0]["data"]
    (order,) = row["details"]
    assert row["instId"] in {each.symbol for each in served.venue.feed.listings(market)}
    assert (row["instType"], order["posSide"]) == (of_type, {"buy": "short", "sell": "long"}[order["side"]])
    assert [each["code"] for each in map(json.loads, client.got) if each.get("event") == "error"] == ["60018"]


async def test_options_are_listed_by_family_and_of_no_other(serve: Serve) -> None:
    served = await serve(VenueOptions(venue="OKX", source=SyntheticOptions(symbols=3, markets=("option",))))
    url = f"http://127.0.0.1:{served.venue.port}/okx/option/api/v5/public/instruments?instType=OPTION"
    async with httpx.AsyncClient() as client:
        whole = (await client.get(url)).json()
        bodies = [(await client.get(f"{url}&instFamily={each}")).content for each in FAMILIES]
    found = [each for body in bodies for each in okx.read_list("option", body, 0).instruments]

    assert whole["code"] == "50014"
    assert [each.symbol.split(":")[2:] for each in found] == [["60000", "C"], ["63000", "C"], ["3000", "C"]]
    assert {(each.settle, each.kind, each.contract_multiplier, each.is_inverse) for each in found} == {
        ("BTC", "OPTION", 0.01, False), ("ETH", "OPTION", 0.1, False),
    }  # fmt: skip

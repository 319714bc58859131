"""Recordings of any venue, served by what its messages are: whole, in order, to whoever listens to their kind."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tickerplant.errors import UserError
from tickerplant.local.venue import RecordingOptions, SyntheticOptions, Venue, VenueOptions

Serve = Callable[..., Awaitable[Any]]
START_S = 1_767_225_600.0
TOPICS = ("orderbook.50.BTCUSDT", "publicTrade.BTCUSDT", "publicTrade.ETHUSDT", "tickers.BTCUSDT")
PATH = "linear/v5/public/linear"


def subscribe(*topics: str, op: str = "subscribe") -> str:
    return json.dumps({"op": op, "args": list(topics)})


def played(path: Path, market: str = "linear", pace: float | None = None) -> VenueOptions:
    return VenueOptions(venue="BYBIT", source=RecordingOptions(path=path, market=market, pace=pace))


@pytest.fixture
async def recording(serve: Serve, tmp_path: Path) -> tuple[Path, list[bytes]]:
    """What a synthetic market sent, written down as cryptofeed does: the file, and its market data."""
    served = await serve(VenueOptions(venue="BYBIT", source=SyntheticOptions(symbols=6, rate_frames=3000)))
    client = await served.client(PATH)
    await client.socket.send(subscribe(*TOPICS))
    served.venue.start()
    await served.until(lambda: len(client.got) > 200)
    served.venue.stop()
    await served.until(lambda: served.venue.state == "done")
    await served.until(lambda: len(client.got) == served.venue.hub.counts.frames.total() + 1)
    lines = [b"wss://stream.bybit.com/v5/public/linear <-> %.6f\n" % START_S]
    lines += [b"%.6f: %b\n" % (START_S + number / 1000, each) for number, each in enumerate(client.got)]
    path = tmp_path / "BYBIT.ws.1.0"
    path.write_bytes(b"".join(lines))
    return path, client.got[1:]


def topic(payload: bytes) -> str:
    return str(json.loads(payload).get("topic", ""))


async def test_messages_come_as_they_were_to_those_who_listen_to_their_kind(
    serve: Serve, recording: tuple[Path, list[bytes]]
) -> None:
    path, payloads = recording
    served = await serve(played(path))
    whole, trades = await served.client(PATH), await served.client(PATH)
    await whole.socket.send(subscribe(*TOPICS))
    await trades.socket.send(subscribe("publicTrade.BTCUSDT"))
    await served.until(lambda: whole.got and trades.got)
    served.venue.start()
    await served.until(lambda: len(whole.got) > len(payloads))
    await served.until(lambda: served.venue.state == "done")

    wanted = [each for each in payloads if topic(each) == "publicTrade.BTCUSDT"]
    ids = {each["i"] for payload in wanted for each in json.loads(payload)["data"]}
    assert whole.got[1:] == payloads
    assert trades.got[1:] == wanted
    assert served.venue.hub.counts.named_trades["linear", "BTCUSDT"] == ids
    assert (await served.status())["position"]["frames_unrouted"] == 1  # the answer that was recorded


async def test_book_subscribed_to_again_begins_where_the_recording_is(
    serve: Serve, recording: tuple[Path, list[bytes]]
) -> None:
    path, payloads = recording
    served = await serve(played(path))
    client = await served.client(PATH)
    await client.socket.send(subscribe(TOPICS[0]))
    await served.until(lambda: client.got)
    served.venue.start()
    await served.until(lambda: served.venue.state == "done")
    for op in ("unsubscribe", "subscribe"):
        await client.socket.send(subscribe(TOPICS[0], op=op))
    await served.until(lambda: b'"snapshot"' in client.got[-1] and b'"success"' in client.got[-2])

    last = next(json.loads(each)["data"] for each in reversed(payloads) if topic(each) == TOPICS[0])
    again = json.loads(client.got[-1])["data"]
    assert again["u"] == last["u"]
    book = (await served.get("/linear/v5/market/orderbook?category=linear&symbol=BTCUSDT&limit=50")).json()["result"]
    assert {float(price): float(size) for price, size in again["b"]} == {
        float(price): float(size) for price, size in book["b"]
    }


async def test_symbols_of_the_recording_are_listed(serve: Serve, recording: tuple[Path, list[bytes]]) -> None:
    served = await serve(played(recording[0]))

    listed = (await served.get("/linear/v5/market/instruments-info?category=linear")).json()["result"]["list"]

    assert sorted(each["symbol"] for each in listed) == ["BTCUSDT", "ETHUSDT"]


async def test_recording_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b'1723161256172216566 {"stream":"btcusdt@trade","data":{}}\n')

    with pytest.raises(UserError, match="holds no message of BYBIT linear"):
        Venue(played(path))
    with pytest.raises(UserError, match="BYBIT has no market nope"):
        Venue(played(path, "nope"))

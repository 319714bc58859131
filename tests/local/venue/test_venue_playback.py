"""Recordings served: byte for byte, in order, whole, at their pace, with depth answers that join."""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tickerplant.local.venue import RecordingOptions, VenueOptions
from tickerplant.local.venue.connection import WRITE_BUFFER_BYTES
from tickerplant.local.venue.player import CHUNK_BYTES
from tickerplant.recordings import read_recording

Serve = Callable[..., Awaitable[Any]]
START_NS = 1_723_161_256_000_000_000
STEP_NS = 1_000_000
ENDPOINTS = {"spot": "spot", "usdm": "usdm/public", "coinm": "coinm"}
STREAMS = "btcusd_perp@trade/btcusd_perp@bookTicker/btcusd_perp@depth@100ms"


class Recorder:
    """Writes a recording by hand: a book that changes at random, told as Binance tells it."""

    def __init__(self, market: str, symbol: str = "BTCUSD_PERP") -> None:
        self.market = market
        self.symbol = symbol
        self.payloads: list[bytes] = []
        self.bids: dict[str, str] = {}
        self.asks: dict[str, str] = {}
        self.last_id = 1000
        self.trade_id = 0
        self._random = Random(4)

    def message(self, channel: str, data: dict[str, Any]) -> None:
        """Record a message, with white space of its own."""
        data = {"e": channel, "s": self.symbol, **data}
        wrapped = {"stream": f"{self.symbol.lower()}@{channel}", "data": data}
        text = json.dumps(wrapped).replace('{"stream": ', '{"stream":').replace('"data": ', '"data":')
        self.payloads.append(text.encode())

    def trade(self) -> None:
        self.trade_id += 1
        self.message("trade", {"t": self.trade_id, "p": "50.0", "q": "2", "T": START_NS // 10**6, "m": True, "X": "ü"})

    def quote(self) -> None:
        self.message("bookTicker", {"u": self.last_id, "b": "1", "B": "1", "a": "2", "A": "1"})

    def delta(self) -> None:
        previous = self.last_id
        first = previous + (1 if self.market == "spot" else self._random.randint(1, 50))
        self.last_id = first + self._random.randint(0, 9)
        data = {"E": 1, "T": 1, "U": first, "u": self.last_id}
        if self.market != "spot":
            data["pu"] = previous
        self.message("depth@100ms", {**data, "b": self._changes(self.bids, 10), "a": self._changes(self.asks, 60)})

    def snapshot(self) -> None:
        body = {"lastUpdateId": self.last_id, "bids": list(self.bids.items()), "asks": list(self.asks.items())}
        self.payloads.append(json.dumps(body).encode())

    def write(self, path: Path) -> Path:
        lines = [b"%d %b\n" % (START_NS + number * STEP_NS, each) for number, each in enumerate(self.payloads)]
        path.write_bytes(b"".join(lines))
        return path

    def _changes(self, side: dict[str, str], lowest: int) -> list[list[str]]:
        changes: dict[str, str] = {}
        for _ in range(self._random.randint(0, 4)):
            price = f"{lowest + self._random.randint(0, 30)}.0"
            changes[price] = f"{self._random.randint(1, 9)}.0"
            if price in side and self._random.random() < 0.5:
                changes[price] = "0.0"
                del side[price]
            else:
                side[price] = changes[price]
        return [list(each) for each in changes.items()]


def recorded(market: str, rounds: int = 200, snapshot_at: int | None = None) -> Recorder:
    recorder = Recorder(market, "BTCUSD_PERP" if market == "coinm" else "BTCUSDT")
    for number in range(rounds):
        recorder.trade()
        recorder.delta()
        recorder.quote()
        if number == snapshot_at:
            recorder.snapshot()
    return recorder


def options(path: Path, market: str = "coinm", pace: float | None = None) -> VenueOptions:
    return VenueOptions(source=RecordingOptions(path=path, market=market, pace=pace))


async def test_frames_come_byte_for_byte_in_order_and_are_counted(serve: Serve, tmp_path: Path) -> None:
    recorder = recorded("coinm")
    served = await serve(options(recorder.write(tmp_path / "file")))
    client = await served.client(f"coinm/stream?streams={STREAMS}")
    served.venue.start()
    await served.played(client)

    status = await served.status()
    assert client.got == recorder.payloads
    assert status["frames_served"] == 600
    assert status["by_channel"] == {"trade": 200, "depth": 200, "bookTicker": 200}
    assert status["distinct_trades"] == {"coinm": 200}


async def test_bare_stream_gives_the_inner_message_byte_for_byte(serve: Serve, tmp_path: Path) -> None:
    recorder = recorded("coinm")
    served = await serve(options(recorder.write(tmp_path / "file")))
    client = await served.client("coinm/ws/btcusd_perp@trade")
    served.venue.start()
    await served.played(client)

    trades = [each for each in recorder.payloads if b"@trade" in each]
    assert client.got == [each.split(b'"data":', 1)[1][:-1] for each in trades]


async def test_each_connection_gets_only_its_streams_in_recorded_order(serve: Serve, tmp_path: Path) -> None:
    recorder = recorded("coinm")
    served = await serve(options(recorder.write(tmp_path / "file")))
    trades = await served.client("coinm/stream?streams=btcusd_perp@trade")
    others = await served.client("coinm/stream?streams=btcusd_perp@depth@100ms/btcusd_perp@bookTicker")
    twins = await served.client("coinm/stream?streams=btcusd_perp@trade/other@trade")
    served.venue.start()
    await served.played(trades, others, twins)

    assert trades.got == twins.got == [each for each in recorder.payloads if b"@trade" in each]
    assert others.got == [each for each in recorder.payloads if b"@trade" not in each]
    assert (await served.status())["distinct_trades"] == {"coinm": 200}


async def test_slow_reader_loses_nothing_and_the_venue_keeps_little(serve: Serve, tmp_path: Path) -> None:
    recorder = Recorder("coinm")
    for number in range(3000):
        recorder.message("bookTicker", {"u": number, "padding": "x" * 6000})
    served = await serve(options(recorder.write(tmp_path / "file")))
    client = await served.client(f"coinm/stream?streams={STREAMS}", collects=False)
    served.venue.start()
    (session,) = served.venue.hub.sessions
    await served.until(lambda: session.unwritten_bytes() > 0)
    assert served.venue.state == "running"

    most_bytes = 0
    for _ in range(3000):
        client.got.append(await client.socket.recv(decode=False))
        most_bytes = max(most_bytes, session.unwritten_bytes())
        await asyncio.sleep(0)

    assert client.got == recorder.payloads
    assert most_bytes < WRITE_BUFFER_BYTES + 2 * CHUNK_BYTES


async def test_client_that_leaves_does_not_hold_the_others_up(serve: Serve, tmp_path: Path) -> None:
    recorder = Recorder("coinm")
    for number in range(3000):
        recorder.message("bookTicker", {"u": number, "padding": "x" * 6000})
    served = await serve(options(recorder.write(tmp_path / "file")))
    stuck = await served.client(f"coinm/stream?streams={STREAMS}", collects=False)
    client = await served.client(f"coinm/stream?streams={STREAMS}")
    served.venue.start()
    await served.until(lambda: len(client.got) > 10)
    stuck.socket.transport.abort()
    await served.until(lambda: len(client.got) == 3000)

    assert client.got == recorder.payloads


@pytest.mark.parametrize(("pace", "least_s"), [(1.0, 0.29), (4.0, 0.07)])
async def test_pace_is_that_of_the_recording_or_n_times_it(
    serve: Serve, tmp_path: Path, pace: float, least_s: float
) -> None:
    served = await serve(options(recorded("coinm", 100).write(tmp_path / "file"), pace=pace))
    client = await served.client(f"coinm/stream?streams={STREAMS}")
    loop = asyncio.get_running_loop()
    begin_s = loop.time()
    served.venue.start()
    await served.played(client)

    assert least_s < loop.time() - begin_s < least_s * 4 + 2
    assert len(client.got) == 300


@pytest.mark.parametrize("market", ["spot", "usdm", "coinm"])
@pytest.mark.parametrize("snapshot_at", [None, 0, 60])
async def test_any_depth_answer_joins_with_the_stream_and_ends_in_the_same_book(
    serve: Serve,
    tmp_path: Path,
    market: str,
    snapshot_at: int | None,
) -> None:
    recorder = recorded(market, snapshot_at=snapshot_at)
    served = await serve(options(recorder.write(tmp_path / "file"), market, pace=2.0))
    client = await served.client(f"{ENDPOINTS[market]}/stream?streams={recorder.symbol.lower()}@depth@100ms")
    snapshots = [await served.depth(market, recorder.symbol)]
    served.venue.start()
    for count in (3, 55, 70, 120, 199):
        await served.until(lambda count=count: len(client.got) >= count)
        snapshots.append(await served.depth(market, recorder.symbol))
    await served.played(client)
    snapshots.append(await served.depth(market, recorder.symbol))

    deltas = [json.loads(payload)["data"] for payload in client.got]
    books = [served.rebuild(market, snapshot, deltas) for snapshot in snapshots]
    assert books == [(recorder.last_id, recorder.bids, recorder.asks)] * len(books)


async def test_snapshot_of_the_recording_is_answered_byte_for_byte_before_it_is_passed(
    serve: Serve, tmp_path: Path
) -> None:
    recorder = recorded("spot", snapshot_at=30)
    served = await serve(options(recorder.write(tmp_path / "file"), "spot"))

    response = await served.get("/spot/api/v3/depth?symbol=BTCUSDT&limit=5000")

    assert response.content in recorder.payloads


async def test_instruments_are_made_from_names_where_none_were_recorded(serve: Serve, tmp_path: Path) -> None:
    served = await serve(options(recorded("coinm", 2).write(tmp_path / "file")))

    (entry,) = (await served.get("/coinm/dapi/v1/exchangeInfo")).json()["symbols"]

    assert (entry["symbol"], entry["baseAsset"], entry["contractSize"]) == ("BTCUSD_PERP", "BTC", 100)
    assert (await served.get("/spot/api/v3/exchangeInfo")).json()["symbols"] == []


async def test_streams_of_all_symbols_and_unknown_currencies_are_served_too(serve: Serve, tmp_path: Path) -> None:
    recorder = recorded("spot", 2)
    recorder.payloads += [b'{"stream":"!bookTicker","data":{"s":"X"}}', b'{"stream":"what@trade","data":{"t":1}}']
    served = await serve(options(recorder.write(tmp_path / "file"), "spot"))
    client = await served.client("spot/stream?streams=!bookTicker/what@trade")
    served.venue.start()
    await served.played(client)

    assert client.got == recorder.payloads[-2:]
    assert [each["symbol"] for each in (await served.get("/spot/api/v3/exchangeInfo")).json()["symbols"]] == ["BTCUSDT"]


async def test_candles_follow_from_the_trades_played(serve: Serve, tmp_path: Path) -> None:
    served = await serve(options(recorded("coinm", 50).write(tmp_path / "file")))
    served.venue.start()
    await served.played()

    (row,) = (await served.get("/coinm/dapi/v1/klines?symbol=BTCUSD_PERP&interval=1h")).json()

    assert (row[1], row[5], row[8]) == ("50.00000000", "100.00000000", 50)


async def test_damaged_lines_and_foreign_messages_are_passed_over_and_counted(serve: Serve, tmp_path: Path) -> None:
    recorder = recorded("coinm", 10)
    path = recorder.write(tmp_path / "file")
    path.write_bytes(path.read_bytes() + b'garbage\n1723161256172216566 {"id":1}\n1723161256172216566 {"stream":"\n')
    served = await serve(options(path))
    client = await served.client(f"coinm/stream?streams={STREAMS}")
    served.venue.start()
    await served.played(client)

    position = (await served.status())["position"]
    assert client.got == recorder.payloads
    assert (position["lines_damaged"], position["frames_unrouted"]) == (1, 2)


async def test_damaged_messages_of_known_streams_are_served_as_they_are(serve: Serve, tmp_path: Path) -> None:
    recorder = recorded("coinm", 3)
    recorder.payloads += [each[:-30] for each in recorder.payloads[:3]] + [b'{"stream":"btcusd_perp@trade","da']
    served = await serve(options(recorder.write(tmp_path / "file")))
    client = await served.client(f"coinm/stream?streams={STREAMS}")
    bare = await served.client("coinm/ws/btcusd_perp@trade")
    served.venue.start()
    await served.played(client, bare)

    assert client.got == recorder.payloads
    assert bare.got[-1] == recorder.payloads[-1]


@pytest.mark.recordings
@pytest.mark.parametrize(
    ("name", "market", "frames"),
    [
        ("hftbacktest/usdm/btcusdt_20230404.dat.gz", "usdm", 13_383 - 99),
        ("cryptofeed/BINANCE_DELIVERY.ws.1.0", "coinm", 4371),
        ("cryptofeed/BINANCE.ws.1.0", "spot", 265),
    ],
)
async def test_recorded_files_are_served_whole_with_joining_books(
    serve: Serve, recordings: Path, name: str, market: str, frames: int
) -> None:
    path = recordings / name
    payloads = [each.payload for each in read_recording(path, market) if each.kind == "MESSAGE"]
    streams = {json.loads(each)["stream"] for each in payloads}
    served = await serve(options(path, market))
    client = await served.client(f"{ENDPOINTS[market]}/stream?streams={'/'.join(sorted(streams))}")
    symbols = sorted({each.split("@")[0].upper() for each in streams if "@depth" in each})
    begin = {symbol: await served.depth(market, symbol) for symbol in symbols}
    served.venue.start()
    await served.played(client)

    expected = [each for each in payloads if market != "usdm" or b"@markPrice" not in each]
    assert client.got == expected
    assert len(expected) == frames
    deltas = [json.loads(each)["data"] for each in client.got if b'"depthUpdate"' in each]
    for symbol in symbols:
        final = await served.depth(market, symbol)
        last_id, bids, asks = served.rebuild(market, begin[symbol], [each for each in deltas if each["s"] == symbol])
        assert last_id == final["lastUpdateId"]
        assert sorted(bids.items(), key=_price)[-1000:] == sorted(map(tuple, final["bids"]), key=_price)
        assert sorted(asks.items(), key=_price)[:1000] == sorted(map(tuple, final["asks"]), key=_price)
    assert Counter(json.loads(each)["data"]["e"] for each in client.got if b'"e":' in each)["depthUpdate"] == len(
        deltas
    )


def _price(level: tuple[str, str]) -> float:
    return float(level[0])

"""The venue's protocol on the wire: endpoints, requests, pings, limits, REST, control, and its process."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tickerplant.errors import UserError
from tickerplant.local.venue import RecordingOptions, SyntheticOptions, Venue, VenueOptions
from tickerplant.local.venue.options import parse_pace

Serve = Callable[..., Awaitable[Any]]
SMALL = VenueOptions(source=SyntheticOptions(symbols=5, rate_frames=500))


async def test_requests_on_a_connection_are_answered_in_order(serve: Serve) -> None:
    served = await serve(SMALL)
    client = await served.client("spot/stream", collects=False)

    assert await client.ask({"method": "SUBSCRIBE", "params": ["btcusdt@trade"], "id": 1}) == {"result": None, "id": 1}
    assert await client.ask({"method": "LIST_SUBSCRIPTIONS", "id": 2}) == {"result": ["btcusdt@trade"], "id": 2}
    assert (await served.status())["subscribed"] == ["spot/btcusdt@trade"]
    assert "error" in await client.ask({"method": "NOPE", "id": 3})
    await client.ask({"method": "UNSUBSCRIBE", "params": ["btcusdt@trade"], "id": 4})

    status = await served.status()
    assert (status["subscribed"], status["answers_served"], status["messages_served"]) == ([], 4, 4)


async def test_url_names_streams_and_the_form_of_frames(serve: Serve) -> None:
    served = await serve(SMALL)
    wrapped = await served.client("spot/stream?streams=btcusdt@bookTicker/ethusdt@bookTicker")
    bare = await served.client("spot/ws/btcusdt@bookTicker")
    served.venue.start()
    served.venue.stop()
    await served.http.post("/control/stop")
    await served.played(wrapped, bare)

    inner = [json.loads(each)["data"] for each in wrapped.got if b'"stream":"btcusdt@' in each]
    assert [json.loads(each) for each in bare.got] == inner


@pytest.mark.parametrize("path", ["spot/stream?streams=btcusdt@nothing", "spot/ws/btcusdt"])
async def test_url_with_a_name_that_is_no_stream_is_refused(serve: Serve, path: str) -> None:
    served = await serve(SMALL)

    with pytest.raises(InvalidStatus):
        await served.client(path)


@pytest.mark.parametrize(
    ("endpoint", "served_channels"),
    [("usdm/public", {"trade", "bookTicker", "depth@100ms"}), ("usdm/market", {"aggTrade", "ticker", "markPrice@1s"})],
)
async def test_usdm_stream_on_the_wrong_path_is_silent(serve: Serve, endpoint: str, served_channels: set[str]) -> None:
    served = await serve(VenueOptions(source=SyntheticOptions(symbols=3, rate_frames=1000)))
    channels = ("trade", "bookTicker", "depth@100ms", "aggTrade", "ticker", "markPrice@1s")
    client = await served.client(f"{endpoint}/stream", collects=False)
    params = [f"btcusdt@{channel}" for channel in channels]
    assert await client.ask({"method": "SUBSCRIBE", "params": params, "id": 1}) == {"result": None, "id": 1}
    served.collecting.append(asyncio.create_task(client.collect()))
    served.venue.start()
    names = {f"btcusdt@{channel}" for channel in served_channels}
    await served.until(lambda: names <= {json.loads(each)["stream"] for each in client.got})
    served.venue.stop()
    await served.played(client)

    assert {json.loads(each)["stream"] for each in client.got} == names


async def test_dead_usdm_address_is_not_found(serve: Serve) -> None:
    served = await serve(SMALL)

    with pytest.raises(InvalidStatus):
        await served.client("usdm/stream")


async def test_client_that_answers_pings_stays_connected(serve: Serve) -> None:
    served = await serve(VenueOptions(source=SMALL.source, ping_s=0.25, pong_wait_s=0.25))
    client = await served.client("spot/stream", collects=False)
    loop = asyncio.get_running_loop()
    begin_s = loop.time()
    await served.until(lambda: loop.time() - begin_s > 1.2)

    assert (await client.ask({"method": "LIST_SUBSCRIPTIONS", "id": 1}))["result"] == []


async def test_client_that_does_not_answer_pings_is_cut_off(serve: Serve) -> None:
    served = await serve(VenueOptions(source=SMALL.source, ping_s=0.05, pong_wait_s=0.1))
    reader, writer = await asyncio.open_connection("127.0.0.1", served.venue.port)
    writer.write(
        b"GET /binance/spot/stream HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    await reader.readuntil(b"\r\n\r\n")
    try:
        async with asyncio.timeout(5):
            rest = await reader.read()
    except ConnectionResetError:
        rest = b"\x89\x00"
    writer.close()

    assert rest == b"\x89\x00"


async def test_too_many_messages_in_a_second_end_the_connection(serve: Serve) -> None:
    served = await serve(SMALL)
    client = await served.client("spot/stream", collects=False)

    for number in range(6):
        await client.socket.send(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": number}))
    await client.collect()

    assert len(client.got) == 5
    assert (client.socket.close_code, client.socket.close_reason) == (1008, "Too many requests")


async def test_connection_that_left_is_forgotten(serve: Serve) -> None:
    served = await serve(SMALL)
    client = await served.client("spot/stream?streams=btcusdt@trade", collects=False)
    await client.socket.close()
    await served.until(lambda: not served.venue.hub.sessions)

    assert (await served.status())["subscribed"] == []


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/spot/api/v3/depth", 400, -1102),
        ("/spot/api/v3/depth?symbol=NOPE", 400, -1121),
        ("/spot/api/v3/depth?symbol=btcusdt", 400, -1121),
        ("/spot/api/v3/depth?symbol=BTCUSDT&limit=x", 400, -1130),
        ("/usdm/fapi/v1/depth?symbol=BTCUSDT&limit=7", 400, -4021),
        ("/spot/api/v3/klines?symbol=BTCUSDT&interval=7m", 400, -1120),
        ("/spot/api/v3/historicalTrades?symbol=NOPE", 400, -1121),
        ("/usdm/fapi/v1/historicalTrades?symbol=BTCUSDT", 400, -2014),
        ("/coinm/dapi/v1/klines?symbol=BTCUSDT&interval=1m", 400, -1121),
    ],
)
async def test_bad_rest_request_gets_the_venues_error(serve: Serve, path: str, status: int, code: int) -> None:
    response = await (await serve(SMALL)).get(path)

    assert (response.status_code, response.json()["code"]) == (status, code)


@pytest.mark.parametrize("path", ["/spot/fapi/v1/depth?symbol=BTCUSDT", "/usdm/api/v3/ping", "/other/api/v3/ping"])
async def test_other_paths_are_not_found(serve: Serve, path: str) -> None:
    assert (await (await serve(SMALL)).get(path)).status_code == 404


async def test_rest_tells_the_weight_used_in_this_minute(serve: Serve) -> None:
    now = [60_000_000 * 100]
    served = await serve(VenueOptions(source=SMALL.source, now_us=lambda: now[0]))

    async def used(path: str) -> int:
        return int((await served.get(path)).headers["x-mbx-used-weight-1m"])

    assert await used("/spot/api/v3/ping") == 1
    assert await used("/spot/api/v3/depth?symbol=BTCUSDT&limit=5000") == 251
    assert await used("/usdm/fapi/v1/depth?symbol=BTCUSDT&limit=1000") == 20
    assert await used("/usdm/fapi/v1/trades?symbol=BTCUSDT") == 25
    now[0] += 60_000_000
    assert await used("/spot/api/v3/time") == 1


async def test_klines_of_any_interval_hold_the_same_trades(serve: Serve) -> None:
    served = await serve(VenueOptions(source=SyntheticOptions(symbols=1, rate_frames=2000), autostart=True))
    await served.until(lambda: served.venue.feed.position()["frames_made"] > 400)
    served.venue.stop()
    await served.played()
    rows = [
        (await served.get(f"/spot/api/v3/klines?symbol=BTCUSDT&interval={interval}")).json()
        for interval in ("1m", "1d")
    ]

    assert sum(row[8] for row in rows[0]) == sum(row[8] for row in rows[1]) > 0
    assert all(len(row) == 12 for row in rows[0] + rows[1])


async def test_venue_waits_for_start_and_is_done_after_stop(serve: Serve) -> None:
    served = await serve(SMALL)

    assert (await served.status())["state"] == "waiting"
    assert (await served.http.post("/control/start")).json()["state"] in {"waiting", "running"}
    await served.until(lambda: served.venue.state == "running")
    await served.http.post("/control/stop")
    await served.until(lambda: served.venue.state == "done")
    assert (await served.status())["state"] == "done"


async def test_port_in_use_is_the_users_mistake(serve: Serve) -> None:
    port = (await serve(SMALL)).venue.port

    with pytest.raises(UserError, match=f"cannot listen on port {port}"):
        async with Venue(VenueOptions(port=port, source=SMALL.source)):
            pass


async def test_recording_of_another_market_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b'1723161256172216566 {"stream":"btcusdt@trade","data":{}}\n')

    with pytest.raises(UserError, match="is no recording of Binance coinm"):
        Venue(VenueOptions(source=RecordingOptions(path=path, market="coinm")))


@pytest.mark.parametrize("text", ["0", "-1", "fast", "nan", ""])
def test_pace_is_max_or_a_number_above_zero(text: str) -> None:
    with pytest.raises(UserError, match="neither"):
        parse_pace(text)

    assert (parse_pace("max"), parse_pace("2.5")) == (None, 2.5)


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "tickerplant.local.venue", *arguments]


@pytest.fixture
def process(free_port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A venue of its own, ended after the test whatever happens."""
    started = subprocess.Popen(command("--port", str(free_port), "--autostart"), stderr=subprocess.PIPE)
    yield started
    started.kill()
    started.communicate()


async def test_process_serves_until_sigterm(
    process: subprocess.Popen[bytes], free_port: int, wait_until: Callable[..., Awaitable[None]]
) -> None:
    def is_up() -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{free_port}/control/status").is_success
        except httpx.TransportError:
            return False

    await wait_until(is_up)
    async with connect(f"ws://127.0.0.1:{free_port}/binance/spot/stream?streams=btcusdt@bookTicker") as client:
        assert json.loads(await client.recv())["stream"] == "btcusdt@bookTicker"
        os.kill(process.pid, signal.SIGTERM)
        await wait_until(lambda: process.poll() is not None)

    assert process.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--recording", "/nowhere"), b"cannot read the recording /nowhere"),
        (("--recording", "/dev/null"), b"is empty"),
        (("--recording", "x", "--pace", "slow"), b"pace slow is neither"),
        (("--fault", "nope=1"), b"fault 'nope' is none of lose, double"),
        (("--fault", "lose=2"), b"lose: probability: expected `float` <= 1"),
    ],
)
def test_process_ends_with_one_line_for_a_mistake(arguments: tuple[str, ...], words: bytes) -> None:
    ended = subprocess.run(command(*arguments), capture_output=True, check=False)

    assert (ended.returncode, ended.stderr.count(b"\n")) == (2, 1)
    assert words in ended.stderr

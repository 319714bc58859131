"""Faults on the wire: what clients of the venue get, what the venue counts, and the control of faults."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from tickerplant.local.venue import SyntheticOptions, VenueOptions
from tickerplant.local.venue.faults import (
    AnyFault,
    ClockStep,
    Corrupt,
    Disconnect,
    Double,
    HttpError,
    HttpGarbage,
    HttpHang,
    Lose,
    Maintenance,
    Refuse,
    Reorder,
    Silence,
    Slow,
    Truncate,
    WrongSnapshotFault,
)

Serve = Callable[..., Awaitable[Any]]
TRADES = "spot/stream?streams=btcusdt@trade"
KEY = "spot/btcusdt@trade"
SOURCE = SyntheticOptions(symbols=5, rate_frames=2000)


def options(*faults: AnyFault, **others: Any) -> VenueOptions:
    return VenueOptions(source=SOURCE, faults=faults, **others)


async def traded(served: Any, *clients: Any, least: int = 60) -> None:
    """Let the market trade, and end."""
    served.venue.start()
    await served.until(lambda: served.venue.feed.position()["frames_made"] >= least * 40)
    served.venue.stop()
    await served.played(*clients)


def ids(client: Any) -> list[int]:
    return [json.loads(each)["data"]["t"] for each in client.got]


def struck(served: Any, number: int = 1) -> list[int]:
    return [strike.first_id for strike in served.venue.faults.plan.faults[number].strikes]


async def test_lost_frames_are_neither_written_nor_counted_but_told(serve: Serve) -> None:
    served = await serve(options(Lose(probability=0.2)))
    client = await served.client(TRADES)
    await traded(served, client)
    got, lost = ids(client), struck(served)

    assert lost
    assert sorted(got + lost) == list(range(1, max(got + lost) + 1))
    assert (await served.status())["frames_served"] == len(got)
    ranges = (await served.http.get("/control/trades")).json()["spot/BTCUSDT"]
    assert [number for first, last in ranges for number in range(first, last + 1)] == sorted(got)


async def test_doubled_frames_are_written_and_counted_twice(serve: Serve) -> None:
    served = await serve(options(Double(probability=0.2)))
    client = await served.client(TRADES)
    await traded(served, client)
    got, doubled = ids(client), struck(served)

    assert doubled
    assert got == sorted([*range(1, max(got) + 1), *doubled])
    status = await served.status()
    assert (status["frames_served"], status["distinct_trades"]["spot"]) == (len(got), len(set(got)))


async def test_reordered_frames_come_later_and_none_is_missing(serve: Serve) -> None:
    served = await serve(options(Reorder(probability=0.2, within=2)))
    client = await served.client(TRADES)
    await traded(served, client)
    got = ids(client)

    assert sorted(got) == list(range(1, len(got) + 1)) != got
    assert {earlier for earlier, later in zip(got[1:], got, strict=False) if earlier < later} <= set(struck(served))


@pytest.mark.parametrize("fault", [Truncate(probability=0.2), Corrupt(probability=0.2)])
async def test_damaged_frames_are_counted_as_written_but_their_trades_are_not(serve: Serve, fault: AnyFault) -> None:
    served = await serve(options(fault))
    client = await served.client(TRADES)
    await traded(served, client)
    status, damaged = await served.status(), struck(served)

    assert status["frames_damaged"] == len(damaged) > 0
    assert status["frames_served"] == len(client.got) == status["distinct_trades"]["spot"] + len(damaged)


async def test_silent_streams_send_nothing_while_others_do(serve: Serve) -> None:
    served = await serve(options(Silence(match=KEY, for_s=60)))
    client = await served.client("spot/stream?streams=btcusdt@trade/btcusdt@bookTicker")
    await traded(served, client)

    assert {json.loads(each)["stream"] for each in client.got} == {"btcusdt@bookTicker"}
    assert struck(served) == list(range(1, len(struck(served)) + 1)) != []


async def test_silence_of_answers_lets_requests_wait(serve: Serve) -> None:
    served = await serve(options())
    client = await served.client("spot/stream", collects=False)
    fault = served.venue.faults.start(Silence(match="spot/*", for_s=60, answers=True))
    asked = asyncio.create_task(client.ask({"method": "LIST_SUBSCRIPTIONS", "id": 1}))
    await served.until(lambda: served.venue.hub.sessions)
    await asyncio.wait({asked}, timeout=0.1)
    assert not asked.done()
    await served.venue.faults.end(fault)
    await client.socket.send(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": 2}))

    assert (await asked)["id"] == 2


@pytest.mark.parametrize(
    ("fault", "code"),
    [(Disconnect(code=1012), 1012), (Disconnect(how="abort"), 1006), (Disconnect(how="mid_frame"), 1006)],
)
async def test_disconnect_ends_connections_and_what_is_counted_was_written(
    serve: Serve, fault: AnyFault, code: int
) -> None:
    served = await serve(options())
    client = await served.client(TRADES)
    other = await served.client("usdm/public/stream?streams=btcusdt@trade")
    served.venue.start()
    await served.until(lambda: len(client.got) > 5)
    served.venue.faults.start(type(fault)(match="spot", how=fault.how, code=fault.code))  # type: ignore[union-attr,call-arg]
    await served.until(lambda: client.socket.close_code is not None)
    served.venue.stop()
    await served.until(lambda: served.venue.state == "done")
    frames = served.venue.hub.counts.frames
    await served.until(lambda: len(other.got) == frames["usdm/btcusdt@trade"])

    assert client.socket.close_code == code
    assert ids(client) == list(range(1, len(client.got) + 1))
    if fault.how == "close":  # type: ignore[union-attr]
        assert len(client.got) == frames[KEY]


async def test_disconnects_repeat_as_often_as_asked(serve: Serve) -> None:
    served = await serve(options())
    active = served.venue.faults.start(Disconnect(every_s=0.05, count=2))
    for number in (1, 2):
        await served.client(TRADES)
        await served.until(lambda number=number: active.hits == number)

    await served.until(lambda: not active.is_active)


async def test_slow_sockets_get_their_rate_and_lose_nothing(serve: Serve) -> None:
    served = await serve(options(Slow(match="spot", bytes_per_s=20_000)))
    client = await served.client(TRADES)
    loop = asyncio.get_running_loop()
    begin_s = loop.time()
    await traded(served, client)
    rate = sum(map(len, client.got)) / (loop.time() - begin_s)

    assert ids(client) == list(range(1, len(client.got) + 1))
    assert rate < 40_000


async def test_slow_handshake_waits(serve: Serve) -> None:
    served = await serve(options())
    served.venue.faults.start(Slow(handshake_s=0.3))
    loop = asyncio.get_running_loop()
    begin_s = loop.time()
    await served.client(TRADES)

    assert loop.time() - begin_s >= 0.3


async def test_refused_handshake_tells_status_and_when_to_try_again(serve: Serve) -> None:
    served = await serve(options())
    served.venue.faults.start(Refuse(match="spot", status=429, retry_after_s=7, count=1))
    with pytest.raises(InvalidStatus) as refused:
        await served.client(TRADES)
    await served.client(TRADES)

    assert (refused.value.response.status_code, refused.value.response.headers["Retry-After"]) == (429, "7")


async def test_http_error_hits_the_requests_of_its_pattern(serve: Serve) -> None:
    served = await serve(options())
    served.venue.faults.start(HttpError(match="*/depth?symbol=BTC*", status=418, retry_after_s=3, count=1))
    answers = [await served.get(f"/spot/api/v3/depth?symbol={each}USDT") for each in ("ETH", "BTC", "BTC")]

    assert [each.status_code for each in answers] == [200, 418, 200]
    assert answers[1].headers["Retry-After"] == "3"
    assert (await served.status())["snapshots_served"] == 2


async def test_hanging_request_is_answered_late(serve: Serve) -> None:
    served = await serve(options())
    served.venue.faults.start(HttpHang(hang_s=60, count=1))
    with pytest.raises(httpx.ReadTimeout):
        await served.http.get("/binance/spot/api/v3/ping", timeout=0.1)

    assert (await served.get("/spot/api/v3/ping")).json() == {}


@pytest.mark.parametrize("kind", ["truncated", "html", "empty"])
async def test_garbage_is_status_200_and_no_json(serve: Serve, kind: Any) -> None:
    served = await serve(options())
    served.venue.faults.start(HttpGarbage(kind=kind))
    response = await served.get("/spot/api/v3/exchangeInfo")

    assert response.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        response.json()


async def test_body_that_breaks_off_is_a_transport_error(serve: Serve) -> None:
    served = await serve(options())
    served.venue.faults.start(HttpGarbage(kind="cut"))

    with pytest.raises(httpx.TransportError):
        await served.get("/spot/api/v3/exchangeInfo")


@pytest.mark.parametrize("kind", ["old", "other_symbol", "crossed", "empty"])
async def test_wrong_snapshot_is_well_formed_and_wrong(serve: Serve, kind: Any) -> None:
    served = await serve(options())
    right = await served.depth("coinm", "BTCUSD_PERP"), await served.depth("spot", "BTCUSDT")
    served.venue.faults.start(WrongSnapshotFault(kind=kind))
    wrong = await served.depth("spot", "BTCUSDT")

    assert wrong != right[1]
    assert wrong.keys() == right[1].keys()
    assert (await served.get("/spot/api/v3/ping")).json() == {}
    assert served.venue.faults.plan.faults[1].by_how == {kind: 1}
    if kind == "old":
        assert wrong["lastUpdateId"] < right[1]["lastUpdateId"]
    if kind == "crossed":
        assert float(wrong["bids"][0][0]) > float(wrong["asks"][0][0])


async def test_maintenance_is_announced_and_then_carried_out(serve: Serve) -> None:
    served = await serve(options())
    client = await served.client(TRADES)
    served.venue.faults.start(Maintenance(notice_s=0.05, down_s=30))
    await served.until(lambda: client.socket.close_code is not None)

    assert json.loads(client.got[-1])["e"] == "serverShutdown"
    assert client.socket.close_code == 1001
    assert (await served.status())["notices_served"] == 1
    with pytest.raises(InvalidStatus):
        await served.client(TRADES)


async def test_clock_steps_and_steps_back(serve: Serve) -> None:
    served = await serve(options(now_us=lambda: 1_700_000_000_000_000))

    async def server_time() -> int:
        return int((await served.get("/spot/api/v3/time")).json()["serverTime"])

    active = served.venue.faults.start(ClockStep(step_ms=-1500))
    stepped = await server_time()
    await served.venue.faults.end(active)

    assert (stepped, await server_time()) == (1_699_999_998_500, 1_700_000_000_000)


async def test_fault_begins_and_ends_in_its_time(serve: Serve) -> None:
    served = await serve(options())
    active = served.venue.faults.start(Lose(after_s=0.05, for_s=0.05))
    seen = [active.is_active]
    await served.until(lambda: active.is_active)
    await served.until(lambda: active.is_over)

    assert (seen, active.is_active, served.venue.faults.plan.frame_faults) == ([False], False, [])


async def test_faults_are_begun_listed_and_ended_by_command(serve: Serve) -> None:
    served = await serve(options())
    begun = (await served.http.post("/control/faults", json={"fault": "lose", "match": "spot/*"})).json()
    listed = (await served.http.get("/control/faults")).json()
    ended = (await served.http.delete(f"/control/faults/{begun['id']}")).json()
    await served.http.post("/control/faults", json={"fault": "double"})
    rest = (await served.http.delete("/control/faults")).json()

    assert (begun["id"], begun["fault"], begun["match"], begun["is_active"]) == (1, "lose", "spot/*", True)
    assert listed == [begun]
    assert ended == begun | {"is_active": False}
    assert [each["is_active"] for each in rest] == [False, False]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"fault":"nope"}', "is none of lose, double, reorder"),
        (b'{"fault":"lose","size":1}', "has no parameter 'size', but probability, count"),
        (b'{"fault":"lose","probability":7}', "probability: expected `float` <= 1"),
        (b"{", "no JSON"),
        (b"[]", "a fault is an object"),
        (b"\xff", "no JSON"),
    ],
)
async def test_command_that_is_no_fault_is_refused_in_one_line(serve: Serve, body: bytes, words: str) -> None:
    response = await (await serve(options())).http.post("/control/faults", content=body)

    assert response.status_code == 400
    assert words in response.json()["error"]
    assert "\n" not in response.json()["error"]


async def test_unknown_fault_number_is_not_found(serve: Serve) -> None:
    assert (await (await serve(options())).http.delete("/control/faults/9")).status_code == 404

"""Faults at work: begun and ended in time, carried out on connections and requests; `/control/faults`.

Frames pass `FaultPlan.judge` in `Session.put`; here is all else.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from tickerplant.clock import NowUs
from tickerplant.errors import UserError
from tickerplant.local.venue import damage
from tickerplant.local.venue.dialect import Now
from tickerplant.local.venue.fault_plan import ActiveFault, FaultPlan, Strike
from tickerplant.local.venue.faults import (
    AnyFault,
    Disconnect,
    HttpError,
    HttpGarbage,
    HttpHang,
    Maintenance,
    Refuse,
    WrongSnapshotFault,
    fault_from,
)
from tickerplant.local.venue.hub import Hub
from tickerplant.local.venue.rest import WRONG_BOOK, WrongBook
from tickerplant.local.venue.session import Session
from tickerplant.logs import logger

GOING_AWAY: Final = 1001
CONTROL: Final = "/control/"


class Injector:
    """Begins and ends the faults of a venue, and does what is not done frame by frame."""

    def __init__(self, plan: FaultPlan, hub: Hub, *, now_us: NowUs) -> None:
        self.plan = plan
        self._hub = hub
        self._now_us = now_us
        self._tasks: set[asyncio.Task[None]] = set()
        self._log = logger()

    def now_us(self) -> int:
        """Tell the venue's time, with the steps of its clock."""
        return self._now_us() + self.plan.clock_offset_us

    def start(self, fault: AnyFault) -> ActiveFault:
        """Begin a fault, now or after its `after_s`; needs the venue's event loop."""
        active = self.plan.add(fault)
        self._log.info("fault", id=active.number, fault=fault.name)
        if fault.after_s:
            self._spawn(self._live(active))
        else:
            self.plan.begin(active)
            if fault.for_s or isinstance(fault, Disconnect | Maintenance):
                self._spawn(self._live(active))
        return active

    async def end(self, active: ActiveFault) -> None:
        """End a fault; what it held back goes out."""
        self.plan.end(active)
        await self._hub.release()

    async def end_all(self) -> None:
        """End all faults."""
        for active in self.plan.faults.values():
            await self.end(active)

    async def close(self) -> None:
        """End all work on faults."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def report(self) -> list[dict[str, Any]]:
        """List all faults, those that are over too, with what they struck."""
        return [active.as_json() for active in self.plan.faults.values()]

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _live(self, active: ActiveFault) -> None:
        """Take a fault through its time."""
        fault = active.fault
        await asyncio.sleep(fault.after_s)
        if not active.is_active:
            self.plan.begin(active)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(fault.for_s or None):
                if isinstance(fault, Disconnect):
                    await self._repeat(active, fault.every_s, lambda: self._disconnect(active, fault))
                elif isinstance(fault, Maintenance):
                    await self._repeat(active, fault.every_s, lambda: self._maintain(active, fault))
                else:
                    await asyncio.get_running_loop().create_future()
        await self.end(active)

    async def _repeat(self, active: ActiveFault, every_s: float, strike: Callable[[], Awaitable[None]]) -> None:
        await asyncio.sleep(every_s)
        while active.is_active:
            await strike()
            if not every_s:
                return
            await asyncio.sleep(every_s)

    def _listeners(self, active: ActiveFault) -> list[Session]:
        """List the connections that a fault is about, the oldest first."""
        return [each for each in self._hub.sessions if each.is_open and active.matches(each.endpoint)]

    async def _disconnect(self, active: ActiveFault, fault: Disconnect) -> None:
        chosen = [each for each in self._listeners(active) if active.hits_now(each.endpoint)]
        closing = []
        for session in chosen:
            if active.is_active:
                active.strike(Strike(session.endpoint, fault.how))
                closing.append(_ended(session, fault))
        await asyncio.gather(*closing)

    async def _maintain(self, active: ActiveFault, fault: Maintenance) -> None:
        sessions = self._listeners(active)
        told: dict[str, str] = {}
        for session in sessions:
            told.setdefault(session.endpoint, "close")
            for notice in session.conversation.maintenance(Now(self.now_us() // 1000, 0.0, 0.0)):
                session.notify(notice)
                told[session.endpoint] = "notice"
            await session.flush()
        for endpoint, how in told.items():
            active.strike(Strike(endpoint, how))
        await asyncio.sleep(fault.notice_s)
        if fault.down_s:
            self.start(Refuse(match=fault.match, status=503, for_s=fault.down_s))
        await asyncio.gather(*(each.close(GOING_AWAY) for each in sessions if each.is_open))

    def meet_request(self, endpoints: Mapping[str, str]) -> Middleware:
        """Make the middleware that all requests of clients pass; endpoints: route → name, all else is REST."""

        @web.middleware
        async def meet(request: web.Request, handler: Handler) -> web.StreamResponse:
            if request.path.startswith(CONTROL):
                return await handler(request)
            resource = request.match_info.route.resource
            endpoint = endpoints.get("" if resource is None else resource.canonical)
            if endpoint:
                await asyncio.sleep(self.plan.handshake_s(endpoint))
                refused = self.plan.refusal(endpoint)
                return _error(refused) if refused else await handler(request)
            active = self.plan.judge_request(request.path_qs)
            return await handler(request) if active is None else await _meet(active, request, handler)

        return meet

    def routes(self) -> list[web.RouteDef]:
        """List the endpoints under `/control/faults`."""
        path = "/control/faults"
        return [
            web.get(path, self._on_get),
            web.post(path, self._on_post),
            web.delete(path, self._on_delete),
            web.delete(path + "/{id:[0-9]+}", self._on_delete),
        ]

    async def _on_get(self, _request: web.Request) -> web.Response:
        return _json(self.report())

    async def _on_post(self, request: web.Request) -> web.Response:
        try:
            fault = fault_from(msgspec.json.decode(await request.read()))
        except msgspec.DecodeError as error:
            return _json({"error": f"the body is no JSON: {error}"}, status=400)
        except UserError as error:
            return _json({"error": str(error)}, status=400)
        return _json(self.start(fault).as_json())

    async def _on_delete(self, request: web.Request) -> web.Response:
        number = request.match_info.get("id")
        if number is None:
            await self.end_all()
            return _json(self.report())
        active = self.plan.faults.get(int(number))
        if active is None:
            return _json({"error": f"no fault has the id {number}"}, status=404)
        await self.end(active)
        return _json(active.as_json())


async def _ended(session: Session, fault: Disconnect) -> None:
    if fault.how == "close":
        await session.close(fault.code)
        return
    await session.flush()
    session.tear() if fault.how == "mid_frame" else session.abort()


async def _meet(active: ActiveFault, request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer a request as a fault wants it."""
    fault, path = active.fault, request.path_qs
    if isinstance(fault, HttpError):
        active.strike(Strike(path, str(fault.status)))
        return _error(fault)
    if isinstance(fault, HttpHang):
        active.strike(Strike(path))
        await asyncio.sleep(fault.hang_s)
        return await handler(request)
    if isinstance(fault, WrongSnapshotFault):
        wrong = WrongBook(active.wrong_book(path))
        request[WRONG_BOOK] = wrong
        response = await handler(request)
        if wrong.struck:
            active.strike(Strike(path, wrong.how))
        return response
    response = await handler(request)
    if not isinstance(response, web.Response) or response.status != web.HTTPOk.status_code:
        return response
    assert isinstance(fault, HttpGarbage)
    return await _garbage(active, fault, request, response)


async def _garbage(
    active: ActiveFault, fault: HttpGarbage, request: web.Request, response: web.Response
) -> web.StreamResponse:
    whole = _body(response)
    how, body = damage.garbage(whole, fault.kind, active.random(request.path_qs))
    active.strike(Strike(request.path_qs, how))
    if how != "cut":
        return web.Response(body=body, content_type="text/html" if how == "html" else "application/json")
    broken = web.StreamResponse(headers={"Content-Length": str(len(whole))})
    await broken.prepare(request)
    await broken.write(body)
    if request.transport is not None:
        request.transport.close()
    return broken


def _body(response: web.Response) -> bytes:
    assert isinstance(response.body, bytes)
    return response.body


def _error(fault: HttpError | Refuse) -> web.Response:
    headers = {"Retry-After": str(fault.retry_after_s)} if fault.retry_after_s else {}
    body = msgspec.json.encode({"code": -1, "msg": "simulated fault"})
    return web.Response(body=body, status=fault.status, headers=headers, content_type="application/json")


def _json(value: object, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), status=status, content_type="application/json")

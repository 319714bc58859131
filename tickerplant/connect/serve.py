"""The REST API on the metrics port of a sink, on a port of all sinks of a machine, and what one asks the others.

Every sink answers for all sinks whose metrics ports are noted under the same `<local.home>/run`, itself among them, so
that any of them shows and steers all. `GET /worker` tells of the process alone.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from ipaddress import ip_address
from socketserver import ThreadingMixIn
from typing import Final
from urllib.parse import parse_qs
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import msgspec

from tickerplant.connect.api import READS, Api, Request, is_ours
from tickerplant.connect.failed import failures
from tickerplant.connect.names import ROLE_PREFIX
from tickerplant.connect.steering import Steering, Target
from tickerplant.connect.views import ConnectorView, merged
from tickerplant.logs import logger
from tickerplant.processes import address, find_processes
from tickerplant.settings import Settings

WORKER: Final = "/worker"
BODY_BYTES: Final = 1024 * 1024
ASK_S: Final = 3.0
BIND_AGAIN_S: Final = 2.0
POLL_S: Final = 0.5

Put = Callable[[WSGIApplication], WSGIApplication]
"""Puts an application before another one."""
ANYWHERE: Final = "anywhere"


class FileSteer:
    """Steers all sinks of a home by their files."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def aim(self, store: str, target: Target) -> None:
        """Let a sink run, pause or stop; raises as `Steering`."""
        Steering(self._settings, store).aim(target)

    def restart(self, store: str, task: int | None) -> None:
        """Restart a task, or all (None); raises as `Steering`."""
        Steering(self._settings, store).restart(task)


def gather(settings: Settings, *, leave_out: int = 0) -> list[ConnectorView]:
    """Ask the sinks of this machine, but the process `leave_out`; those that do not answer are left out.

    Tasks that have failed, and do not run again, are told as they noted it.
    """
    import httpx  # noqa: PLC0415  # 0.1 s that a sink whom nobody asks need not spend

    found = []
    for process in find_processes(settings):
        if process.role.startswith(ROLE_PREFIX) and process.pid != leave_out:
            try:
                answer = httpx.get(f"http://{address(settings, process.port)}{WORKER}", timeout=ASK_S)
                found.append(msgspec.json.decode(answer.raise_for_status().content, type=ConnectorView))
            except (httpx.HTTPError, msgspec.MsgspecError):
                continue
    alive = {(view.store, task.id) for view in found for task in view.tasks}
    found += [view for view in failures(settings) if alive.isdisjoint((view.store, task.id) for task in view.tasks)]
    return merged(found)


def beside(api: Api, own: Callable[[], ConnectorView], settings: Settings) -> Put:
    """Make what puts the API before another application, which answers all other paths."""
    is_open = settings.connectors.steer_from == ANYWHERE

    def put(other: WSGIApplication) -> WSGIApplication:
        def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            path = environ["PATH_INFO"] or "/"
            if path == WORKER:
                return _send(start_response, HTTPStatus.OK, own())
            if not is_ours(path):
                return other(environ, start_response)
            if environ["REQUEST_METHOD"] not in READS and not may_steer(environ, is_open=is_open):
                message = "only this machine may steer, and no page of a browser: see connectors.steer_from"
                return _send(start_response, HTTPStatus.FORBIDDEN, {"error_code": 403, "message": message})
            status, body = api.answer(_request(environ))
            content = _send(start_response, HTTPStatus(status), body)
            return [] if environ["REQUEST_METHOD"] == "HEAD" else content

        return answer

    return put


def may_steer(environ: WSGIEnvironment, *, is_open: bool) -> bool:
    """Tell whether a request may change something: pages of other sites send an Origin, people's tools do not."""
    if environ.get("HTTP_ORIGIN"):
        return False
    try:
        return is_open or ip_address(environ.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the library's name
        """Log nothing: every request would be a line."""


@contextmanager
def common_port(settings: Settings, app: WSGIApplication) -> Iterator[None]:
    """Serve at the port of all sinks within the block, as soon as no other one does; port 0 = never."""
    stopping = threading.Event()
    if settings.connectors.rest_port:
        thread = threading.Thread(target=_serve, args=(settings, app, stopping), name="rest", daemon=True)
        thread.start()
    try:
        yield
    finally:
        stopping.set()


def _serve(settings: Settings, app: WSGIApplication, stopping: threading.Event) -> None:
    host, port = settings.metrics.host, settings.connectors.rest_port
    while not stopping.is_set():
        try:
            server = make_server(host, port, app, _Server, _Quiet)
        except OSError:  # another sink has it, or another program
            stopping.wait(BIND_AGAIN_S)
            continue
        logger().info("REST API serves", host=host, port=port)
        with server:
            server.timeout = POLL_S
            while not stopping.is_set():
                server.handle_request()


def _request(environ: WSGIEnvironment) -> Request:
    length = environ.get("CONTENT_LENGTH") or "0"
    size_bytes = min(int(length) if length.isdecimal() else 0, BODY_BYTES)
    return Request(
        method=environ["REQUEST_METHOD"],
        path=environ["PATH_INFO"] or "/",
        query=parse_qs(environ.get("QUERY_STRING", "")),
        body=environ["wsgi.input"].read(size_bytes) if size_bytes else b"",
    )


def _send(start_response: StartResponse, status: HTTPStatus, body: object) -> list[bytes]:
    content = b"" if body is None else msgspec.json.encode(body)
    headers = [("Content-Length", str(len(content)))]
    if content:
        headers.append(("Content-Type", "application/json"))
    start_response(f"{status.value} {status.phrase}", headers)
    return [content]

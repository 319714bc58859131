"""`python -m tickerplant.local.gateway`: serve a data folder on two ports until SIGTERM."""

import argparse
import asyncio
import errno
import ipaddress
import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path

import uvloop
from aiohttp import web

from tickerplant.errors import UserError
from tickerplant.local.gateway.access import Access
from tickerplant.local.gateway.engine import Engine
from tickerplant.local.gateway.native import NativeServer
from tickerplant.local.gateway.web import WebServer
from tickerplant.logs import logger
from tickerplant.masking import masked_output
from tickerplant.settings import load_settings

_DRAIN_S = 3.0
_NICENESS = 10  # merges and queries of a full machine wait, not the way of a message
_BACKLOG = 512

log = logger()


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code, 2 where the user can mend what is wrong."""
    options = _parser().parse_args(arguments)
    os.nice(_NICENESS)
    with masked_output():
        try:
            _run(options)
        except UserError as error:
            sys.stderr.write(f"error: {error}\n")
            return 2
    return 0


def _run(options: argparse.Namespace) -> None:
    clickhouse = load_settings().clickhouse
    access = Access(user=clickhouse.user, password=clickhouse.password.get_secret_value())
    with (
        _listen(options.host, options.port) as native_listener,
        _listen(options.host, options.http_port) as web_listener,
        closing(Engine(options.data)) as engine,
    ):
        uvloop.run(_serve(engine, access, native_listener, web_listener))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tickerplant.local.gateway", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", type=_address, help="an address of this machine's loopback")
    parser.add_argument("--port", type=int, required=True, help="of the native protocol")
    parser.add_argument("--http-port", type=int, required=True, help="of HTTP")
    parser.add_argument("--data", type=Path, required=True, help="folder of the tables; created where missing")
    return parser


def _address(text: str) -> str:
    return text if text == "localhost" else str(ipaddress.ip_address(text))


def _listen(host: str, port: int) -> socket.socket:
    if host != "localhost" and not ipaddress.ip_address(host).is_loopback:
        raise UserError(f"{host} is not on this machine's loopback: a ClickHouse server is for that, not this gateway")
    try:
        return socket.create_server((host, port), backlog=_BACKLOG)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UserError(f"port {port} is in use: stop who uses it, or choose another port") from None
        raise UserError(f"cannot listen on {host}:{port}: {error.strerror}") from None


async def _serve(engine: Engine, access: Access, native_listener: socket.socket, web_listener: socket.socket) -> None:
    native = NativeServer(engine, access)
    runner = web.AppRunner(
        WebServer(engine, access).application(),
        handler_cancellation=True,
        auto_decompress=False,
        access_log=None,
        shutdown_timeout=_DRAIN_S,
    )
    await runner.setup()
    await web.SockSite(runner, web_listener).start()
    server = await asyncio.get_running_loop().create_server(native.channel, sock=native_listener)
    log.info("gateway_ready", port=_port(native_listener), http_port=_port(web_listener), version=engine.version)
    await _stop_signal()
    log.info("gateway_stopping")
    server.close()
    with suppress(TimeoutError):
        await asyncio.gather(native.stop(_DRAIN_S), runner.cleanup())


def _port(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])


async def _stop_signal() -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()


if __name__ == "__main__":
    sys.exit(main())

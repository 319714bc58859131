"""The entry of our ClickHouse gateway (`tickerplant.local.gateway`: chdb served over the network) in the stack."""

import sys
from importlib.metadata import PackageNotFoundError, version
from typing import ClassVar

import httpx

from tickerplant.errors import UserError
from tickerplant.local.ports import HOST
from tickerplant.local.server import Home, Launch, Listener, claim_data
from tickerplant.secrets import as_literal
from tickerplant.settings import Settings

PROBE_TIMEOUT_S = 1.0


class ClickHouse:
    """ClickHouse, as far as one machine needs it."""

    name: ClassVar[str] = "clickhouse"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder = Home.of(settings).data(self.name)

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """Return the native and the HTTP port."""
        local = self._settings.local
        return (
            Listener(port=local.clickhouse_port, setting="local.clickhouse_port", follower="clickhouse.port"),
            Listener(
                port=local.clickhouse_http_port, setting="local.clickhouse_http_port", follower="clickhouse.http_port"
            ),
        )

    def prepare(self) -> Launch:
        """Make the data folder; user and password go by the environment, since command lines are seen by all."""
        try:
            engine = version("chdb")
        except PackageNotFoundError:
            raise UserError("chdb is not installed: pip install 'tickerplant[local]'") from None
        claim_data(self._folder, version=engine)
        local, clickhouse = self._settings.local, self._settings.clickhouse
        address = ("--host", HOST, "--port", str(local.clickhouse_port), "--http-port", str(local.clickhouse_http_port))
        program = (sys.executable, "-m", "tickerplant.local.gateway")
        return Launch(
            command=(*program, *address, "--data", str(self._folder / "data")),
            environment={
                "TICKERPLANT_CLICKHOUSE__USER": clickhouse.user,
                "TICKERPLANT_CLICKHOUSE__PASSWORD": as_literal(clickhouse.password.get_secret_value()),
            },
        )

    def is_ready(self) -> bool:
        """Ping over HTTP, as ClickHouse's own health checks do."""
        address = f"http://{HOST}:{self._settings.local.clickhouse_http_port}/ping"
        try:
            return httpx.get(address, timeout=PROBE_TIMEOUT_S, trust_env=False).text.strip() == "Ok."
        except httpx.TransportError:
            return False

    def finish(self) -> None:
        """Nothing: tables are made by `tickerplant deploy`."""

"""What is reachable: each server of the settings, asked as roles ask it, with its version and how long that took."""

import time
from collections.abc import Callable
from contextlib import closing
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from sinks.clickhouse_client import greet, make_client
from tickerplant.doctor.finding import Finding
from tickerplant.errors import DependencyError, UserError
from tickerplant.extras import is_installed, libraries
from tickerplant.kafka import describe_cluster
from tickerplant.refusals import listens
from tickerplant.registry import describe_registry
from tickerplant.security import is_loopback, trusting
from tickerplant.settings import ObjectStore, Settings

ANSWER_S: Final = 5.0
LOCAL: Final = "`tickerplant up` starts the local stack, `tickerplant status` tells how it is"
ELSEWHERE: Final = "is it running, and does this machine reach it?"
UNKNOWN: Final = "is it running"  # as the hint of an error begins that knows no reason
NO_CREDENTIALS: Final = "whether its keys are taken is not known: pip install 'tickerplant[sinks]'"

Answer = tuple[str, dict[str, Any]]
"""What it said: for people, and for programs."""


def broker(settings: Settings) -> list[Finding]:
    """Ask the broker for its cluster; which version it is, it tells no client."""
    servers = settings.kafka.bootstrap_servers

    def ask() -> Answer:
        if not any(map(listens, servers.split(","))):  # its client would try for all of its time
            raise DependencyError("kafka", servers, "no connection can be opened")
        cluster = describe_cluster(settings, ANSWER_S)
        facts = {"cluster": cluster.cluster_id, "brokers": list(cluster.brokers), "topics": cluster.topics}
        return f"{len(cluster.brokers)} broker(s), {cluster.topics} topics", facts

    near = is_loopback(servers.split(",", maxsplit=1)[0].rpartition(":")[0])
    return [_asked("broker", servers, ask, is_near=near)]


def registry(settings: Settings) -> list[Finding]:
    """Ask the registry for the compatibility of subjects, and for its version."""
    url = settings.registry.url

    def ask() -> Answer:
        found = describe_registry(settings, ANSWER_S)
        facts = {"compatibility": found.compatibility, "version": found.version or None}
        return f"version {found.version or 'not told'}, compatibility {found.compatibility}", facts

    return [_asked("registry", url, ask, is_near=_is_near(url))]


def object_store(settings: Settings) -> list[Finding]:
    """Ask for the bucket with the keys of the settings, or look at the folder."""
    store = settings.object_store
    is_s3 = store.root.startswith("s3://")
    address = f"{store.root} at {store.endpoint_url or 'AWS'}" if is_s3 else store.root
    place = _place(settings)

    def ask() -> Answer:
        server = _server_header(store) if is_s3 and store.endpoint_url else ""
        facts = {"server": server or None, "are_keys_tried": place is not None}
        if place is None:
            return f"server {server or 'not told'}; {NO_CREDENTIALS}", facts
        with closing(place):
            place.check(ANSWER_S)
        return f"server {server or 'not told'}, keys taken" if is_s3 else "there is room", facts

    return [_asked("object store", address, ask, is_near=not is_s3 or _is_near(store.endpoint_url or ""))]


def clickhouse(settings: Settings) -> list[Finding]:
    """Ask ClickHouse for its version."""
    section = settings.clickhouse

    def ask() -> Answer:
        client = make_client(section, ANSWER_S)
        try:
            greet(client, section)
            [(told, zone)] = client.execute("SELECT version(), timezone()")
        finally:
            client.disconnect()
        return f"version {told}, time zone {zone}", {"version": told, "time_zone": zone}

    return [_asked("clickhouse", f"{section.host}:{section.port}", ask, is_near=is_loopback(section.host))]


def _asked(name: str, address: str, ask: Callable[[], Answer], *, is_near: bool) -> Finding:
    """Ask, and tell how that went."""
    began_s = time.perf_counter()
    try:
        words, facts = ask()
    except DependencyError as error:
        todo = LOCAL if is_near else ELSEWHERE
        reason = "" if error.hint.startswith(UNKNOWN) else error.hint
        facts = {"address": address, "answers": False, "is_refused": False, "reason": reason}
        what = f"{address} does not answer{': ' if reason else ''}{reason}"
        return Finding(name=name, what=what, state="wrong", todo=todo, facts=facts)
    except UserError as error:
        facts = {"address": address, "answers": True, "is_refused": True, "reason": str(error)}
        return Finding(name=name, what=f"{address} refuses us", state="wrong", todo=str(error), facts=facts)
    took_ms = round((time.perf_counter() - began_s) * 1000)
    facts = {"address": address, "answers": True, "is_refused": False, "took_ms": took_ms, **facts}
    return Finding(name=name, what=f"{address}: {words}, in {took_ms} ms", facts=facts)


def _place(settings: Settings) -> Any:
    """Make the store of Parquet, without connecting; None = its libraries are not installed."""
    if not all(map(is_installed, libraries("sinks"))):
        return None
    from sinks.stores import make_store  # noqa: PLC0415  # an optional part

    return make_store(settings, "parquet")


def _server_header(store: ObjectStore) -> str:
    """Ask without keys for what the server calls itself: a refusal tells that too."""
    assert store.endpoint_url is not None
    try:
        return str(ask_endpoint(store, ANSWER_S).headers.get("server", ""))
    except httpx.HTTPError as error:
        raise DependencyError("object store", store.endpoint_url, type(error).__name__) from error


def ask_endpoint(store: ObjectStore, timeout_s: float) -> httpx.Response:
    """Ask the endpoint of an object store for anything, without keys.

    Raises:
        httpx.HTTPError: it does not answer, or is not trusted.
        UserError: the file of its authority is not what it should be.
    """
    url = store.endpoint_url or ""
    verify = trusting("object_store.ca_location", store.ca_location) if url.startswith("https://") else True
    return httpx.get(url, timeout=timeout_s, trust_env=not _is_near(url), verify=verify)


def _is_near(url: str) -> bool:
    return is_loopback(urlsplit(url).hostname or "")

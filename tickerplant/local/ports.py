"""Ports of a local stack: moved to free ones, and all settings pointed at them."""

import socket
from pathlib import Path

from tickerplant.local.identities import client_of
from tickerplant.settings import Local, Settings

HOST = "127.0.0.1"


def with_local(settings: Settings, home: Path, *, keep_free_ports: bool = True) -> Settings:
    """Point all settings at a local stack in `home`.

    Args:
        keep_free_ports: keep the ports of the settings where nobody listens; else all are new.
    """
    local = settings.local.model_copy(update={"home": home.absolute()})
    local = _on_free_ports(local, keep=keep_free_ports)
    address = {
        "kafka": {"bootstrap_servers": f"{HOST}:{local.kafka_port}"},
        "registry": {"url": f"http://{HOST}:{local.registry_port}/apis/ccompat/v7"},
        "object_store": {"endpoint_url": f"http://{HOST}:{local.s3_port}"},
        "clickhouse": {"host": HOST, "port": local.clickhouse_port, "http_port": local.clickhouse_http_port},
    }
    if local.secure:
        secured = client_of(settings.kafka, local.home)
        settings = settings.model_copy(update={"kafka": secured})
    sections = {name: getattr(settings, name).model_copy(update=values) for name, values in address.items()}
    return settings.model_copy(update={"local": local, **sections})


def is_free(port: int) -> bool:
    """Tell whether a listener could be opened on this port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _on_free_ports(local: Local, *, keep: bool) -> Local:
    names = [name for name in type(local).model_fields if name.endswith("_port")]
    held: list[socket.socket] = []
    try:
        ports = {name: getattr(local, name) for name in names}
        new = {name: port if keep and is_free(port) else _held_port(held) for name, port in ports.items()}
    finally:
        for each in held:
            each.close()
    return local.model_copy(update=new)


def _held_port(held: list[socket.socket]) -> int:
    """Open a port and hold it until all are chosen, so that none is chosen twice."""
    each = socket.socket()
    each.bind((HOST, 0))
    held.append(each)
    return int(each.getsockname()[1])

"""TLS and credentials of the settings: what contradicts itself, what is risky, and what each client is told of them."""

import ipaddress
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from tickerplant.errors import UserError
from tickerplant.settings import ClickHouse, Kafka, ObjectStore, Registry, Section, Settings

PLAIN_CLICKHOUSE_PORT: Final = 9000
TLS_CLICKHOUSE_PORT: Final = 9440
PARTS: Final = {
    "sasl": ("sasl_mechanism", "sasl_username", "sasl_password"),
    "ssl": ("ssl_ca_location", "ssl_certificate_location", "ssl_key_location", "ssl_key_password"),
}


def check(settings: Settings) -> None:
    """Find what cannot work, without a connection.

    Raises:
        UserError: settings contradict each other, or a file is missing or is not what it should be.
    """
    for problem in (*_urls(settings), *_kafka(settings.kafka), *_registry(settings.registry)):
        raise UserError(problem)
    for problem in (*_object_store(settings.object_store), *_clickhouse(settings)):
        raise UserError(problem)
    _check_files(settings)


def risks(settings: Settings) -> list[str]:
    """Tell what works, but shows passwords or data to others, a line each."""
    return [line for line in _risks(settings) if line]


def kafka_options(kafka: Kafka) -> dict[str, str]:
    """Make librdkafka's settings: https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md."""
    if kafka.security_protocol == "PLAINTEXT":
        return {}
    values = {
        "security.protocol": kafka.security_protocol,
        "sasl.mechanism": kafka.sasl_mechanism,
        "sasl.username": kafka.sasl_username,
        "sasl.password": _plain(kafka.sasl_password),
        "ssl.ca.location": kafka.ssl_ca_location,
        "ssl.certificate.location": kafka.ssl_certificate_location,
        "ssl.key.location": kafka.ssl_key_location,
        "ssl.key.password": _plain(kafka.ssl_key_password),
    }
    return {name: str(value) for name, value in values.items() if value is not None}


def kafka_ssl_context(kafka: Kafka) -> ssl.SSLContext | None:
    """Make the TLS context of clients in Python; None = the protocol has no TLS.

    Raises:
        UserError: a file is not what it should be.
    """
    if not kafka.security_protocol.endswith("SSL"):
        return None
    context = trusting("kafka.ssl_ca_location", kafka.ssl_ca_location)
    if kafka.ssl_certificate_location is not None:
        password = _plain(kafka.ssl_key_password) or ""  # never None: Python would ask on the terminal
        try:
            context.load_cert_chain(kafka.ssl_certificate_location, kafka.ssl_key_location, password)
        except (ssl.SSLError, ValueError) as error:
            what = "kafka.ssl_certificate_location, ssl_key_location and ssl_key_password do not fit together"
            raise UserError(f"{what}: {_reason(error)}") from None
    return context


def registry_context(registry: Registry) -> ssl.SSLContext:
    """Make the TLS context of the registry's client.

    Raises:
        UserError: a file is not what it should be.
    """
    return trusting("registry.ca_location", registry.ca_location)


def clickhouse_options(clickhouse: ClickHouse) -> dict[str, Any]:
    """Make the arguments by which clickhouse-driver finds and trusts the server."""
    return {
        "host": clickhouse.host,
        "port": clickhouse.port,
        "user": clickhouse.user,
        "password": clickhouse.password.get_secret_value(),
        "secure": clickhouse.secure,
        "verify": clickhouse.verify,
        "ca_certs": str(clickhouse.ca_location) if clickhouse.ca_location else None,
    }


def is_loopback(host: str) -> bool:
    """Tell whether a host (no port) is this machine alone; names other than `localhost` are not looked up."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def distrust(error: BaseException | None) -> str:
    """Find in an error and its causes that a certificate is not trusted, or TLS meets none; empty = it is not that."""
    while error is not None:
        if isinstance(error, ssl.SSLError) or "certificate verify failed" in str(error):
            return _reason(error)
        error = error.__cause__ or error.__context__
    return ""


def _urls(settings: Settings) -> Iterator[str]:
    urls = {"registry.url": settings.registry.url, "object_store.endpoint_url": settings.object_store.endpoint_url}
    for number, venue in enumerate(settings.venues):
        urls |= {f"venues.{number}.websocket_url": venue.websocket_url, f"venues.{number}.rest_url": venue.rest_url}
    urls |= {"kafka.bootstrap_servers": settings.kafka.bootstrap_servers, "clickhouse.host": settings.clickhouse.host}
    if settings.object_store.root.startswith("s3://"):
        urls["object_store.root"] = settings.object_store.root
    for name, url in urls.items():
        try:
            host = urlsplit(url or "").netloc
        except ValueError:  # its text may hold a password
            yield f"{name} is no URL"
            continue
        if "@" in (host or (url or "").partition("/")[0]):
            yield f"{name} holds credentials, and URLs are shown: use the settings for user and password instead"


def _kafka(kafka: Kafka) -> Iterator[str]:
    protocol = kafka.security_protocol
    for part, names in PARTS.items():
        idle = [name for name in names if getattr(kafka, name) is not None]
        if part.upper() not in protocol and idle:
            wanted = "SASL_SSL" if part == "sasl" else "SSL or SASL_SSL"
            yield f"kafka.{idle[0]} is set but kafka.security_protocol is {protocol}: set it to {wanted}"
    if "SASL" in protocol:
        for name in PARTS["sasl"]:
            if getattr(kafka, name) is None:
                yield f"kafka.security_protocol is {protocol} but kafka.{name} is not set"
    yield from _pair("kafka", kafka, "ssl_certificate_location", "ssl_key_location")
    if kafka.ssl_key_password is not None and kafka.ssl_key_location is None:
        yield "kafka.ssl_key_password is set but kafka.ssl_key_location is not"


def _registry(registry: Registry) -> Iterator[str]:
    yield from _pair("registry", registry, "username", "password")
    if registry.ca_location is not None and not registry.url.startswith("https://"):
        yield "registry.ca_location is set but registry.url is not https://"


def _object_store(store: ObjectStore) -> Iterator[str]:
    yield from _pair("object_store", store, "access_key", "secret_key")
    if store.session_token is not None and store.access_key is None:
        yield "object_store.session_token is set but object_store.access_key is not"
    if store.ca_location is not None and (store.endpoint_url or "https://").startswith("http://"):
        yield "object_store.ca_location is set but object_store.endpoint_url is not https://"


def _clickhouse(settings: Settings) -> Iterator[str]:
    clickhouse = settings.clickhouse
    where = f"{clickhouse.host}:{clickhouse.port}"
    if clickhouse.secure and is_loopback(clickhouse.host) and clickhouse.port == settings.local.clickhouse_port:
        yield f"clickhouse.secure is set but {where} is the local stack's port, which has no TLS"
    if clickhouse.secure and clickhouse.port == PLAIN_CLICKHOUSE_PORT:
        yield f"clickhouse.secure is set but {where} is ClickHouse's port without TLS: its TLS port is 9440"
    if not clickhouse.secure and clickhouse.port == TLS_CLICKHOUSE_PORT:
        yield f"{where} is ClickHouse's TLS port: set clickhouse.secure = true"
    if clickhouse.ca_location is not None and not clickhouse.secure:
        yield "clickhouse.ca_location is set but clickhouse.secure is not"
    if clickhouse.ca_location is not None and not clickhouse.verify:
        yield "clickhouse.ca_location is set but clickhouse.verify is false, so that nothing is compared with it"


def _pair(section: str, values: Section, *names: str) -> Iterator[str]:
    missing = [name for name in names if getattr(values, name) is None]
    if len(missing) == 1:
        (other,) = set(names) - set(missing)
        yield f"{section}.{other} is set but {section}.{missing[0]} is not: set both or none"


def _check_files(settings: Settings) -> None:
    kafka = settings.kafka
    names = ("ssl_ca_location", "ssl_certificate_location", "ssl_key_location")
    files = {f"kafka.{name}": getattr(kafka, name) for name in names}
    for section in ("registry", "object_store", "clickhouse"):
        files[f"{section}.ca_location"] = getattr(settings, section).ca_location
    for name, path in files.items():
        if path is not None:
            _check_readable(name, path)
            if name.endswith("ca_location"):
                trusting(name, path)
    kafka_ssl_context(kafka)


def _check_readable(name: str, path: Path) -> None:
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise UserError(f"{name}: {path} cannot be read: {error.strerror}") from None


def trusting(name: str, path: Path | None) -> ssl.SSLContext:
    """Make a context that trusts the authorities of a PEM file; None = the system's.

    Raises:
        UserError: the file, which a setting names, holds none.
    """
    try:
        return ssl.create_default_context(cafile=path)
    except (ssl.SSLError, ValueError):
        raise UserError(f"{name}: {path} holds no certificate in PEM") from None


def _risks(settings: Settings) -> Iterator[str]:
    kafka, registry, store, clickhouse = settings.kafka, settings.registry, settings.object_store, settings.clickhouse
    hosts = [server.rpartition(":")[0] for server in kafka.bootstrap_servers.split(",")]
    if kafka.security_protocol == "SASL_PLAINTEXT" and not all(map(is_loopback, hosts)):
        yield "kafka.security_protocol is SASL_PLAINTEXT: passwords or records are not encrypted; use SASL_SSL"
    if registry.username is not None and _is_plain_http(registry.url):
        yield "registry.password is sent without TLS: use https:// in registry.url"
    if store.access_key is not None and _is_plain_http(store.endpoint_url):
        yield "object_store.endpoint_url has no TLS: what is stored can be read on the way; use https://"
    if not clickhouse.secure and clickhouse.password.get_secret_value() and not is_loopback(clickhouse.host):
        yield "clickhouse.password is sent without TLS: set clickhouse.secure"
    if clickhouse.secure and not clickhouse.verify:
        yield "clickhouse.verify is false: any server may pretend to be yours"
    if not is_loopback(settings.metrics.host):
        yield f"metrics.host is {settings.metrics.host}: whoever reaches this machine can read the metrics"


def _is_plain_http(url: str | None) -> bool:
    parts = urlsplit(url or "")
    return parts.scheme == "http" and not is_loopback(parts.hostname or "")


def _plain(secret: Any) -> str | None:
    return None if secret is None else str(secret.get_secret_value())


def _reason(error: BaseException) -> str:
    """First line of an error, without the C library's file and line."""
    text = str(getattr(error, "reason", None) or error).strip()
    return text.splitlines()[0] if text else type(error).__name__

"""S3Proxy: the S3 API over a local folder. Source: https://github.com/gaul/s3proxy/wiki."""

import re
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

import httpx

from tickerplant.errors import UserError
from tickerplant.local.archives import fetch, read_lock
from tickerplant.local.java import QUICK_START, java_command
from tickerplant.local.ports import HOST
from tickerplant.local.server import Home, Launch, Listener, cache_folder, claim_data
from tickerplant.settings import ObjectStore as ObjectStoreSettings
from tickerplant.settings import Settings

HEAP_MB = 256
PROBE_TIMEOUT_S = 1.0
REGION = "us-east-1"
DRAFT = re.compile(r"\.[a-z]+-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
"""Names under which S3Proxy 4.1 writes objects of ours (`name.parquet`), before it gives them theirs."""


class ObjectStore:
    """The object store, with the bucket of `object_store.root` in it."""

    name: ClassVar[str] = "s3"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder = Home.of(settings).data(self.name)

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """Return the HTTP port."""
        port = self._settings.local.s3_port
        return (Listener(port=port, setting="local.s3_port", follower="object_store.endpoint_url"),)

    def prepare(self) -> Launch:
        """Fetch the jar and write `s3proxy.properties`, readable by its owner alone since it holds the secret."""
        locked = read_lock()[self.name]
        (jar,) = fetch(self.name, locked, cache_folder(self._settings))
        claim_data(self._folder, version=locked.version)
        data = self._folder / "data"
        data.mkdir(exist_ok=True)
        sweep(data)
        properties = self._folder / "s3proxy.properties"
        properties.touch(mode=0o600)
        text = s3proxy_properties(self._settings.local.s3_port, data, credentials=self._settings.object_store)
        properties.write_text(text, encoding="utf-8")
        program = ("-jar", str(jar), "--properties", str(properties))
        return Launch(command=java_command(program, self._folder, heap_mb=HEAP_MB, flags=QUICK_START))

    def is_ready(self) -> bool:
        """Ask anything; a refusal for want of credentials is an answer too."""
        try:
            httpx.get(self._address, timeout=PROBE_TIMEOUT_S, trust_env=False)
        except httpx.TransportError:
            return False
        return True

    def finish(self) -> None:
        """Create the bucket, unless it is there or the lake is a local folder."""
        bucket = bucket_of(self._settings.object_store.root)
        if bucket is not None:
            create_bucket(bucket, self._address, self._settings.object_store)

    @property
    def _address(self) -> str:
        return f"http://{HOST}:{self._settings.local.s3_port}"


def s3proxy_properties(port: int, data: Path, *, credentials: ObjectStoreSettings) -> str:
    """Return the text of `s3proxy.properties`; without both keys anyone on this machine is let in."""
    access_key, secret_key = _keys(credentials)
    values = {
        "s3proxy.endpoint": f"http://{HOST}:{port}",
        "s3proxy.authorization": "aws-v2-or-v4" if access_key and secret_key else "none",
        "s3proxy.identity": access_key,
        "s3proxy.credential": secret_key,
        "jclouds.provider": "filesystem-nio2",
        "jclouds.filesystem.basedir": str(data),
    }
    return "".join(f"{name}={value}\n" for name, value in values.items() if value)


def sweep(data: Path) -> None:
    """Remove what was being written when the server was killed: it would be listed as objects of their own."""
    for path in data.rglob("*"):
        if DRAFT.search(path.name) and path.is_file():
            path.unlink()


def bucket_of(root: str) -> str | None:
    """Return the bucket of `s3://bucket/prefix`; None = a local folder."""
    parts = urlsplit(root)
    return parts.netloc if parts.scheme == "s3" else None


def create_bucket(bucket: str, address: str, credentials: ObjectStoreSettings) -> None:
    """Create a bucket; one that exists is left as it is. Blocks.

    Raises:
        UserError: the store refuses.
    """
    from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]  # noqa: PLC0415  # 0.3 s
    from botocore.session import Session  # type: ignore[import-untyped]  # noqa: PLC0415

    access_key, secret_key = _keys(credentials)
    client = Session().create_client(
        "s3",
        region_name=REGION,
        endpoint_url=address,
        aws_access_key_id=access_key or "anyone",
        aws_secret_access_key=secret_key or "anyone",
    )
    try:
        client.create_bucket(Bucket=bucket)
    except client.exceptions.BucketAlreadyOwnedByYou:
        return
    except (ClientError, BotoCoreError) as error:
        raise UserError(f"cannot create bucket {bucket} of object_store.root at {address}: {error}") from None
    finally:
        client.close()


def _keys(credentials: ObjectStoreSettings) -> tuple[str, str]:
    access_key, secret_key = (
        key.get_secret_value() if key else "" for key in (credentials.access_key, credentials.secret_key)
    )
    return access_key, secret_key

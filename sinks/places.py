"""Where objects of the lake lie: a local folder, or a prefix in an S3 bucket."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Protocol

import fsspec
import pyarrow as pa
from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]  # comes with s3fs

from sinks.store import StoreBusyError
from tickerplant.errors import DependencyError, UserError
from tickerplant.security import distrust
from tickerplant.settings import ObjectStore

CONNECT_S: Final = 5
READ_S: Final = 30
DAMAGED: Final = "_damaged-"
"""Put before the name of an object that is none: readers of a lake pass over names that begin with an underscore."""


class Place(Protocol):
    """What a lake is asked for; paths are relative to its root.

    Raises:
        StoreBusyError: from each method but `open` and `check`, where the place does not do it now.
        UserError: from each method but `check`, where it never will.
    """

    def open(self) -> None:
        """Make sure that it can be written to; raises as `Store.open`."""

    def create(self, path: str, content: pa.Buffer) -> bool:
        """Make an object, whole or not at all; False = there is one of that name."""

    def names(self, folder: str, prefix: str) -> list[str]:
        """List the names in a folder that begin so; empty = none, or no such folder."""

    def tail(self, path: str, most_bytes: int | None) -> bytes:
        """Read the last bytes of an object; `most_bytes` None = all of them; empty = there is no such object."""

    def set_aside(self, path: str) -> str:
        """Rename an object so that readers pass over it, if it is there; returns its path then."""

    def check(self, timeout_s: float) -> None:
        """Make sure that it answers; raises as `Store.check`."""

    def close(self) -> None:
        """Let go of connections."""


def aside_of(path: str) -> str:
    """Tell where an object is set aside."""
    folder, _, name = path.rpartition("/")
    return f"{folder}/{DAMAGED}{name}"


class Folder:
    """A local folder, in which a file appears whole or not at all."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def open(self) -> None:
        """Make the folder.

        Raises:
            UserError: it cannot be made.
        """
        try:
            self._root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            text = f"object_store.root {self._root} cannot be made a folder: {error.strerror}"
            raise UserError(text) from None

    def create(self, path: str, content: pa.Buffer) -> bool:
        """Write a file unless it exists, durably; raises as `Place`."""
        target = self._root / path
        draft = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            _write_durably(draft, content)
            os.link(draft, target)  # not a rename: it fails where the target exists
        except OSError as error:
            if target.exists():
                return False
            raise StoreBusyError(f"{target}: {error.strerror}") from error
        finally:
            with contextlib.suppress(OSError):  # it may never have come to be
                draft.unlink()
        return True

    def names(self, folder: str, prefix: str) -> list[str]:
        """List files by name; raises as `Place`."""
        with _reading(folder), contextlib.suppress(FileNotFoundError):
            return sorted(each.name for each in (self._root / folder).iterdir() if each.name.startswith(prefix))
        return []

    def tail(self, path: str, most_bytes: int | None) -> bytes:
        """Read the end of a file; raises as `Place`."""
        with _reading(path), contextlib.suppress(FileNotFoundError), (self._root / path).open("rb") as file:
            size_bytes = file.seek(0, os.SEEK_END)
            file.seek(max(0, size_bytes - most_bytes) if most_bytes is not None else 0)
            return file.read()
        return b""

    def set_aside(self, path: str) -> str:
        """Rename a file; raises as `Place`."""
        aside = aside_of(path)
        with _reading(path), contextlib.suppress(FileNotFoundError):
            (self._root / path).replace(self._root / aside)
        return aside

    def check(self, _timeout_s: float) -> None:
        """Make sure that the folder is there and its disk not full; raises as `Store.check`."""
        try:
            there = next(each for each in (self._root, *self._root.absolute().parents) if each.exists())
            is_full = shutil.disk_usage(there).free == 0
        except OSError as error:
            raise DependencyError("object store", str(self._root), str(error.strerror)) from error
        if is_full:
            raise DependencyError("object store", str(self._root), "its disk is full: make room")

    def close(self) -> None:
        """Do nothing: no connection is held."""


class Bucket:
    """A prefix in an S3 bucket; objects are created by If-None-Match."""

    def __init__(self, settings: ObjectStore) -> None:
        self._settings = settings
        self._root = settings.root.removeprefix("s3://").rstrip("/")
        self._fs = fsspec.filesystem("s3", **s3_options(settings))

    def open(self) -> None:
        """Make sure that the bucket is there; on a store of our own (an endpoint is set) it is made.

        Raises:
            UserError: there is none, or access is refused.
            DependencyError: the store does not answer.
        """
        bucket = self._root.split("/")[0]
        address = self._settings.endpoint_url or "AWS"
        try:
            self._find(bucket)
        except (FileNotFoundError, PermissionError) as error:
            text = f"{error}; see object_store.access_key and secret_key"
            raise UserError(f"bucket {bucket} at {address} cannot be used: {text}") from None
        except (OSError, BotoCoreError, ClientError) as error:
            if untrusted := distrust(error):
                text = f"{untrusted}; see object_store.ca_location"
                raise UserError(f"object store at {address} is not trusted: {text}") from error
            raise DependencyError("object store", address, f"{type(error).__name__} {error}") from error

    def create(self, path: str, content: pa.Buffer) -> bool:
        """Put an object unless it exists; raises as `Place`."""
        try:
            with self._asking(path) as target:
                self._fs.pipe_file(target, content.to_pybytes(), mode="create")
        except StoreBusyError as error:
            if not _says_exists(error.__cause__):
                raise
            return False
        return True

    def names(self, folder: str, prefix: str) -> list[str]:
        """List objects by key, a thousand at a time; raises as `Place`."""
        found: list[str] = []
        with self._asking(f"{folder}/{prefix}") as target:
            bucket, _, key = target.partition("/")
            wanted = {"Bucket": bucket, "Prefix": key}
            while True:
                page = self._fs.call_s3("list_objects_v2", **wanted)
                found += [each["Key"].rpartition("/")[2] for each in page.get("Contents", ())]
                if not page.get("IsTruncated"):
                    return found
                wanted["ContinuationToken"] = page["NextContinuationToken"]

    def tail(self, path: str, most_bytes: int | None) -> bytes:
        """Get the end of an object; raises as `Place`."""
        with self._asking(path) as target, contextlib.suppress(FileNotFoundError):
            size_bytes = int(self._fs.info(target, refresh=True)["size"])
            first = max(0, size_bytes - most_bytes) if most_bytes is not None else 0
            return bytes(self._fs.cat_file(target, start=first, end=size_bytes)) if size_bytes else b""
        return b""

    def set_aside(self, path: str) -> str:
        """Copy an object and delete the first; raises as `Place`."""
        aside = aside_of(path)
        with self._asking(path) as target, contextlib.suppress(FileNotFoundError):
            self._fs.mv(target, f"{self._root}/{aside}")
        return aside

    @contextlib.contextmanager
    def _asking(self, path: str) -> Iterator[str]:
        """Give the whole path; what goes wrong with it is one of `Place`'s errors."""
        target = f"{self._root}/{path}"
        try:
            yield target
        except (FileNotFoundError, PermissionError) as error:
            raise UserError(f"object store refuses {target}: {error}; see object_store") from error
        except (OSError, BotoCoreError, ClientError) as error:
            raise StoreBusyError(f"{target}: {type(error).__name__} {error}") from error

    def check(self, timeout_s: float) -> None:
        """Ask for the bucket, which need not be there yet; raises as `Store.check`."""
        bucket, address = self._root.split("/")[0], self._settings.endpoint_url or "AWS"
        try:
            self._fs.call_s3("head_bucket", Bucket=bucket, timeout=timeout_s)
        except FileNotFoundError:
            return
        except PermissionError as error:
            raise UserError(f"bucket {bucket} at {address} cannot be used: {error}; see object_store") from None
        except (OSError, BotoCoreError, ClientError) as error:
            reason = f"{type(error).__name__} {error}" if str(error) else f"no answer within {timeout_s:.0f} s"
            raise DependencyError("object store", address, reason) from error

    def close(self) -> None:
        """Forget cached listings; the session ends with the process."""
        self._fs.invalidate_cache()

    def _find(self, bucket: str) -> None:
        """Look for the bucket first: whoever may write to it need not be allowed to make one."""
        try:
            self._fs.call_s3("head_bucket", Bucket=bucket)
        except FileNotFoundError:
            if self._settings.endpoint_url is None:
                raise
            with contextlib.suppress(FileExistsError):
                self._fs.call_s3("create_bucket", Bucket=bucket)


@contextlib.contextmanager
def _reading(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreBusyError(f"{path}: {error.strerror}") from error


def _says_exists(error: BaseException | None) -> bool:
    """Tell the answer to If-None-Match from other failures: s3fs makes it an OSError of no telling number."""
    if isinstance(error, FileExistsError):
        return True
    cause = error.__cause__ if isinstance(error, OSError) else error
    return isinstance(cause, ClientError) and cause.response.get("Error", {}).get("Code") == "PreconditionFailed"


def s3_options(settings: ObjectStore) -> dict[str, Any]:
    """Make the arguments of `fsspec.filesystem("s3", ...)`; patience is short, since we repeat by ourselves."""
    return {
        "key": settings.access_key.get_secret_value() if settings.access_key else None,
        "secret": settings.secret_key.get_secret_value() if settings.secret_key else None,
        "token": settings.session_token.get_secret_value() if settings.session_token else None,
        "endpoint_url": settings.endpoint_url,
        "client_kwargs": {
            "region_name": settings.region,
            "verify": str(settings.ca_location) if settings.ca_location else None,
        },
        "config_kwargs": {
            "connect_timeout": CONNECT_S,
            "read_timeout": READ_S,
            "retries": {"max_attempts": 1},
            "s3": {"addressing_style": "path" if settings.endpoint_url else "auto"},
        },
        "use_listings_cache": False,
        "skip_instance_cache": True,
    }


def _write_durably(path: Path, content: pa.Buffer) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())

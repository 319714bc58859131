"""Listing and reading a lake, on S3 or in a folder."""

import contextlib
import errno
import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]  # comes with s3fs

from sinks.places import Bucket, Folder, s3_options
from tickerplant.errors import DependencyError, UserError
from tickerplant.settings import ObjectStore


class Lake:
    """Objects below a root; paths are relative to it.

    Raises:
        DependencyError: from each method, where the store does not answer.
        UserError: from each method, where it refuses us.
    """

    def __init__(self, settings: ObjectStore, root: str | None = None) -> None:
        self._settings = settings.model_copy(update={"root": root or settings.root})
        self.root = self._settings.root.rstrip("/")
        self._is_s3 = self.root.startswith("s3://")
        self._base = self.root.removeprefix("s3://").removeprefix("file://")
        self._fs = fsspec.filesystem("s3", **s3_options(settings)) if self._is_s3 else fsspec.filesystem("file")
        if not self._is_s3:
            self._base = str(Path(self._base).absolute())

    @property
    def is_s3(self) -> bool:
        """Whether each object is an answer of a server, instead of a file."""
        return self._is_s3

    @property
    def filesystem(self) -> Any:
        """The fsspec file system, for readers of `full_path`."""
        return self._fs

    def full_path(self, path: str) -> str:
        """Name an object as the file system does."""
        return f"{self._base}/{path}"

    def names(self, folder: str) -> list[str]:
        """List what lies directly in a folder, sorted; empty = nothing, or no such folder."""
        with self._answering(), contextlib.suppress(FileNotFoundError):
            found = self._fs.ls(f"{self._base}/{folder}", detail=False, refresh=True)
            return sorted({str(path).rstrip("/").rpartition("/")[2] for path in found})
        return []

    def versions(self, folder: str) -> dict[str, str]:
        """List what lies directly in a folder, sorted, with what tells one content of a name from another.

        Empty text = not known; no names = nothing, or no such folder.
        """
        with self._answering(), contextlib.suppress(FileNotFoundError):
            found = self._fs.ls(f"{self._base}/{folder}", detail=True, refresh=True)
            return dict(sorted((str(each["name"]).rstrip("/").rpartition("/")[2], _version(each)) for each in found))
        return {}

    def open(self, path: str) -> pa.NativeFile:
        """Open an object, of which parts are to be read; of S3 it is read whole.

        Raises:
            UserError: there is none.
        """
        if self._is_s3:
            return pa.BufferReader(self.read(path))
        with self._answering():
            target = f"{self._base}/{path}"
            try:
                return pa.OSFile(target)
            except FileNotFoundError:  # which names the file within a text alone
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), target) from None

    def read(self, path: str) -> bytes:
        """Read an object.

        Raises:
            UserError: there is none.
        """
        with self._answering():
            return bytes(self._fs.cat_file(f"{self._base}/{path}"))

    def read_table(self, path: str, columns: Collection[str] | None = None) -> pa.Table:
        """Read a Parquet object, without the columns that its path tells.

        Args:
            columns: those of these that it has; None = all.

        Raises:
            UserError: there is none, or it is no Parquet.
        """
        try:
            file = pq.ParquetFile(pa.BufferReader(self.read(path)))
            names = [name for name in file.schema_arrow.names if columns is None or name in columns]
            return file.read(names)
        except pa.ArrowInvalid as error:
            raise UserError(f"{self.root}/{path} is no Parquet file: {error}") from None

    def create(self, path: str, content: bytes | pa.Buffer) -> None:
        """Write an object unless it exists; raises as the store of the Parquet sink does."""
        place: Any = Bucket(self._settings) if self._is_s3 else Folder(Path(self._base))
        place.open()
        place.create(path, pa.py_buffer(content))
        place.close()

    def remove_object(self, path: str) -> None:
        """Remove an object; it need not be there."""
        with self._answering(), contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(f"{self._base}/{path}")

    def remove(self) -> bool:
        """Remove everything below the root; False = there was nothing."""
        with self._answering():
            if not self._fs.exists(self._base):
                return False
            self._fs.rm(self._base, recursive=True)
            return True

    @contextlib.contextmanager
    def _answering(self) -> Iterator[None]:
        address = self._settings.endpoint_url or "AWS" if self._is_s3 else self._base
        try:
            yield
        except FileNotFoundError as error:
            raise UserError(f"{error.filename or error} does not exist") from None
        except PermissionError as error:
            raise UserError(f"{self.root} may not be read: {error}") from None
        except (OSError, BotoCoreError, ClientError) as error:
            raise DependencyError("object store", address, f"{type(error).__name__} {error}") from error


def _version(found: Mapping[str, Any]) -> str:
    if "ETag" in found:
        return str(found["ETag"])
    return f"{found['size']} {found['mtime']} {found['ino']}" if "mtime" in found else ""

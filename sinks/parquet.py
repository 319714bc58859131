"""Chunks → Parquet objects in the lake, on S3 or in a folder.

`<root>/cleaned/tick/venue=BINANCE/date=2026-11-21/<topic>-<partition>-<start>-<end>-<generation>.parquet`: zstd, rows
in offset order, `venue` and `date` (UTC day of `event_time_us`) in the path alone, as hive readers expect. A name is
made from the range it holds and never written twice: an object that exists is done.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]  # comes with s3fs

from sinks.chunk import Chunk, Limits, Span
from sinks.store import Refused, StoreBusyError
from tickerplant.errors import DependencyError, UserError
from tickerplant.health import OBJECT_STORE
from tickerplant.security import distrust
from tickerplant.settings import ObjectStore, Settings

DAY_US: Final = 24 * 3600 * 1_000_000
NO_VENUE: Final = "__HIVE_DEFAULT_PARTITION__"
ROW_GROUP_ROWS: Final = 128 * 1024
ROWS_LIMIT: Final = 200_000
"""Rows of one object: small rows take more memory than their encoded bytes tell."""
CONNECT_S: Final = 5
READ_S: Final = 30


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

    def create(self, path: str, content: pa.Buffer) -> None:
        """Write a file unless it exists, durably.

        Raises:
            StoreBusyError: the disk does not take it.
        """
        target = self._root / path
        draft = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            _write_durably(draft, content)
            # A link, not a rename: it fails where the target exists.
            with contextlib.suppress(FileExistsError):
                os.link(draft, target)
        except OSError as error:
            raise StoreBusyError(f"{target}: {error.strerror}") from error
        finally:
            with contextlib.suppress(OSError):  # it may never have come to be
                draft.unlink()

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

    def create(self, path: str, content: pa.Buffer) -> None:
        """Put an object unless it exists.

        Raises:
            StoreBusyError: the store does not take it now.
            UserError: it never will.
        """
        target = f"{self._root}/{path}"
        try:
            self._fs.pipe_file(target, content.to_pybytes(), mode="create")
        except FileExistsError:
            return
        except (FileNotFoundError, PermissionError) as error:
            raise UserError(f"object store refuses {target}: {error}; see object_store") from error
        except (OSError, BotoCoreError, ClientError) as error:
            if not _says_exists(error):
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


class ParquetStore:
    """Writes chunks as Parquet; one object for each venue and day in a chunk, nearly always one."""

    name = "parquet"
    dependency = OBJECT_STORE

    def __init__(self, settings: Settings) -> None:
        sink = settings.sink
        self._limits = Limits(rows=ROWS_LIMIT, size_bytes=sink.parquet_roll_bytes, age_s=sink.parquet_roll_s)
        root = settings.object_store.root
        is_s3 = root.startswith("s3://")
        self._place = Bucket(settings.object_store) if is_s3 else Folder(Path(root.removeprefix("file://")))

    @property
    def limits(self) -> Limits:
        """Rolled by age and encoded bytes, as set."""
        return self._limits

    def open(self) -> None:
        """Make sure that the lake can be written to; raises as `Store.open`."""
        self._place.open()

    def write(self, chunk: Chunk) -> Sequence[Refused]:
        """Write the objects of a chunk; nothing is ever refused. Raises as `Store.write`."""
        for partition, rows in partitions(chunk.rows):
            path = f"{chunk.table.folder}/{partition}/{object_name(chunk.span)}"
            self._place.create(path, encode(rows, chunk.span))
        return []

    def check(self, timeout_s: float) -> None:
        """Ask for the bucket or look at the folder; raises as `Store.check`."""
        self._place.check(timeout_s)

    def close(self) -> None:
        """Let go of connections."""
        self._place.close()


def _says_exists(error: Exception) -> bool:
    """Tell the answer to If-None-Match from other failures: s3fs makes it an OSError of no telling number."""
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


def object_name(span: Span) -> str:
    """Name the object of a span; names sort as offsets do."""
    generation = f"-{span.generation}" if span.generation else ""
    return f"{span.topic}-{span.partition}-{span.start:019d}-{span.end:019d}{generation}.parquet"


def partitions(rows: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    """Split rows by venue and UTC day of `event_time_us`, in order of first appearance; rows keep their order."""
    venues = rows["venue"].combine_chunks().dictionary_encode()
    codes = venues.indices.to_numpy()
    days = rows["event_time_us"].to_numpy() // DAY_US
    for code, day in dict.fromkeys(zip(*_changes(codes, days), strict=True)):
        mine = (codes == code) & (days == day)
        venue = quote(venues.dictionary[code].as_py(), safe="") or NO_VENUE
        yield f"venue={venue}/date={_date(day)}", rows if mine.all() else rows.filter(pa.array(mine))


def encode(rows: pa.Table, span: Span) -> pa.Buffer:
    """Encode rows as one Parquet file: the same rows give the same bytes."""
    body = rows.drop_columns(["venue"])
    texts = [field.name for field in body.schema if pa.types.is_string(field.type)]
    counters = [field.name for field in body.schema if pa.types.is_int64(field.type)]
    metadata = {"topic": span.topic, "partition": str(span.partition), "start": str(span.start), "end": str(span.end)}
    out = pa.BufferOutputStream()
    pq.write_table(
        body.replace_schema_metadata({**(body.schema.metadata or {}), **metadata}),
        out,
        compression="zstd",
        use_dictionary=texts,
        column_encoding=dict.fromkeys(counters, "DELTA_BINARY_PACKED"),
        row_group_size=ROW_GROUP_ROWS,
        write_statistics=True,
    )
    return out.getvalue()


def _changes(codes: np.ndarray, days: np.ndarray) -> tuple[list[int], list[int]]:
    """Keep the pairs at which one of both changes: nearly always the first one alone."""
    starts = np.flatnonzero((np.diff(codes, prepend=-1) != 0) | (np.diff(days, prepend=days[:1] - 1) != 0))
    return codes[starts].tolist(), days[starts].tolist()


def _date(day: int) -> str:
    """Days since the epoch → ISO date; days beyond the calendar keep their number."""
    try:
        return f"{datetime.fromtimestamp(day * DAY_US // 1_000_000, UTC):%Y-%m-%d}"
    except (ValueError, OverflowError, OSError):
        return f"day{day}"


def _write_durably(path: Path, content: pa.Buffer) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())

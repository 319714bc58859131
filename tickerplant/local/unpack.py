"""A verified tar.gz → a folder in the cache: once, whole or not at all, checked before each use."""

import json
import shutil
import tarfile
import tempfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tickerplant.errors import UserError
from tickerplant.local.archives import exclusive, file_sha256, verify

MANIFEST = "unpacked.json"  # path in the folder → SHA-256
HASHES_AT_ONCE = 4


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack `archive` into `folder`, unless it lies there already; return `folder`. Members cannot leave the folder.

    Raises:
        UserError: the archive is not a safe tar file, or an unpacked file has changed since.
    """
    if not folder.exists():
        with exclusive(folder.with_name(f"{folder.name}.lock")):
            if not folder.exists():
                _unpack_whole(archive, folder)
    _verify_unpacked(folder)
    return folder


def _unpack_whole(archive: Path, folder: Path) -> None:
    staging = Path(tempfile.mkdtemp(prefix=f"{folder.name}-", dir=folder.parent))
    try:
        with tarfile.open(archive, "r:gz") as tar:
            tar.extractall(staging, filter="data")
        (staging / MANIFEST).write_text(json.dumps(_hashes(staging)), encoding="utf-8")
        staging.chmod(0o755)
        staging.rename(folder)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise UserError(f"{archive} cannot be unpacked: {error}; delete it and try again") from None
    except OSError as error:
        raise UserError(f"cannot unpack into {folder}: {error.strerror}; set local.cache elsewhere") from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _hashes(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    with ThreadPoolExecutor(HASHES_AT_ONCE) as pool:
        return dict(zip((str(path.relative_to(folder)) for path in files), pool.map(file_sha256, files), strict=True))


def _verify_unpacked(folder: Path) -> None:
    try:
        hashes: dict[str, str] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        pairs = [(folder / name, sha256) for name, sha256 in hashes.items()]
    except (OSError, ValueError, AttributeError):
        raise UserError(f"{folder} is incomplete: delete it and try again") from None
    with ThreadPoolExecutor(HASHES_AT_ONCE) as pool:
        list(pool.map(lambda pair: verify(*pair), pairs))

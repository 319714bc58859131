"""Downloads are verified, whole, shared, and needed once."""

import hashlib
import io
import tarfile
import threading
from pathlib import Path

import pytest

from tickerplant.errors import UserError
from tickerplant.local.archives import Archive, LockedServer, exclusive, fetch, read_lock, verify, write_lock
from tickerplant.local.maven import Coordinate, OnBytes
from tickerplant.local.progress import Progress
from tickerplant.local.stack import SERVERS
from tickerplant.local.unpack import unpack

ONE = Coordinate.parse("org.example:one:jar:1.0")
TWO = Coordinate.parse("org.example:two:tar.gz:all:2.0")
CONTENT = {ONE: b"first", TWO: b"second"}


class Repository:
    """Serves `CONTENT` as a Maven repository would, and counts."""

    def __init__(self, content: dict[Coordinate, bytes]) -> None:
        self.content = content
        self.downloads: list[Coordinate] = []

    def __call__(self, coordinate: Coordinate, folder: Path, on_bytes: OnBytes) -> Path:
        self.downloads.append(coordinate)
        path = folder / coordinate.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.content[coordinate])
        on_bytes(len(self.content[coordinate]))
        return path


@pytest.fixture
def repository() -> Repository:
    return Repository(dict(CONTENT))


@pytest.fixture
def locked() -> LockedServer:
    archives = tuple(
        Archive(coordinate=each, sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))
        for each, content in CONTENT.items()
    )
    return LockedServer(version="1.0", archives=archives)


@pytest.mark.parametrize("text", ["org.example:one:jar:1.0", "org.example:two:tar.gz:all:2.0"])
def test_a_coordinate_reads_as_it_prints(text: str) -> None:
    assert text == str(Coordinate.parse(text))


@pytest.mark.parametrize("text", ["a:b:c", "a:b:c:d:e:f", ""])
def test_what_is_not_a_coordinate_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a Maven coordinate|unpack"):
        Coordinate.parse(text)


def test_a_classifier_stands_in_the_file_name() -> None:
    assert Path("org/example/two/2.0/two-2.0-all.tar.gz") == TWO.path


def test_the_lock_of_the_repository_covers_every_java_server() -> None:
    lock = read_lock()

    assert {name: len(server.archives) for name, server in lock.items()} == {"broker": 46, "registry": 1, "s3": 1}
    assert set(lock) < {server.name for server in SERVERS}


def test_a_lock_reads_as_it_was_written(tmp_path: Path, locked: LockedServer) -> None:
    write_lock({"example": locked}, tmp_path / "lock.json")

    assert {"example": locked} == read_lock(tmp_path / "lock.json")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"broker": {}}', '{"broker": {"version": "1", "archives": []}}'])
def test_a_damaged_lock_names_its_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "lock.json"
    path.write_text(text)

    with pytest.raises(UserError, match=r"lock\.json"):
        read_lock(path)


def test_a_short_hash_in_the_lock_is_refused(tmp_path: Path, locked: LockedServer) -> None:
    path = tmp_path / "lock.json"
    write_lock({"example": locked}, path)
    path.write_text(path.read_text().replace(locked.archives[0].sha256, "abc"))

    with pytest.raises(UserError, match="unusable"):
        read_lock(path)


def test_files_come_in_lock_order(tmp_path: Path, locked: LockedServer, repository: Repository) -> None:
    paths = fetch("example", locked, tmp_path, download_file=repository)

    assert list(CONTENT.values()) == [path.read_bytes() for path in paths]


def test_cached_files_need_no_repository(tmp_path: Path, locked: LockedServer, repository: Repository) -> None:
    fetch("example", locked, tmp_path, download_file=repository)

    fetch("example", locked, tmp_path, download_file=Repository({}))

    assert set(CONTENT) == set(repository.downloads)


def test_only_what_is_missing_is_downloaded(tmp_path: Path, locked: LockedServer, repository: Repository) -> None:
    first, _ = fetch("example", locked, tmp_path, download_file=repository)
    first.unlink()
    repository.downloads.clear()

    fetch("example", locked, tmp_path, download_file=repository)

    assert repository.downloads == [ONE]


def test_two_checkouts_download_once(tmp_path: Path, locked: LockedServer, repository: Repository) -> None:
    def run() -> None:
        fetch("example", locked, tmp_path, download_file=repository)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(CONTENT) == len(repository.downloads)


def test_a_corrupted_cached_file_is_named(tmp_path: Path, locked: LockedServer, repository: Repository) -> None:
    first, _ = fetch("example", locked, tmp_path, download_file=repository)
    first.write_bytes(b"other")

    with pytest.raises(UserError, match=r"one-1\.0\.jar.*delete it"):
        fetch("example", locked, tmp_path, download_file=repository)


def test_a_wrong_download_never_enters_the_cache(tmp_path: Path, locked: LockedServer, repository: Repository) -> None:
    repository.content[ONE] = b"something else"

    with pytest.raises(UserError, match=r"one-1\.0\.jar"):
        fetch("example", locked, tmp_path, download_file=repository)

    assert not (tmp_path / "maven" / ONE.path).exists()
    assert [path for path in tmp_path.iterdir() if path.name.startswith("example-")] == []


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="absent"):
        verify(tmp_path / "absent", "0" * 64)


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(UserError, match=r"local\.cache"), exclusive(tmp_path / "file" / "x.lock"):
        pass


def test_progress_is_told_once_a_second() -> None:
    now_s, lines = [0.0], list[str]()
    progress = Progress("example", 4_000_000, write=lines.append, now_s=lambda: now_s[0])

    for now_s[0] in (0.5, 1.0, 1.5, 2.0):
        progress.add(1_000_000)

    assert lines == ["example: downloading 4 MB, once", "example: 2 of 4 MB", "example: 4 of 4 MB"]


@pytest.fixture
def tarball(tmp_path: Path) -> Path:
    return write_tar(tmp_path / "good.tar.gz", {"lib/a.jar": b"a", "b.jar": b"b"})


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def test_an_archive_is_unpacked_once(tmp_path: Path, tarball: Path) -> None:
    folder = unpack(tarball, tmp_path / "out")
    tarball.unlink()

    assert (unpack(tarball, folder) / "lib" / "a.jar").read_bytes() == b"a"


@pytest.mark.parametrize("name", ["../escaped", "a/../../escaped"])
def test_a_member_outside_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    bad = write_tar(tmp_path / "bad.tar.gz", {"good": b"", name: b"x"})

    with pytest.raises(UserError, match=r"bad\.tar\.gz"):
        unpack(bad, tmp_path / "cache" / "out")

    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["out.lock"]


def test_a_truncated_archive_leaves_nothing(tmp_path: Path, tarball: Path) -> None:
    tarball.write_bytes(tarball.read_bytes()[:60])

    with pytest.raises(UserError, match=r"good\.tar\.gz"):
        unpack(tarball, tmp_path / "out")

    assert not (tmp_path / "out").exists()


def test_a_changed_unpacked_file_is_named(tmp_path: Path, tarball: Path) -> None:
    folder = unpack(tarball, tmp_path / "out")
    (folder / "b.jar").write_bytes(b"other")

    with pytest.raises(UserError, match=r"b\.jar"):
        unpack(tarball, folder)


def test_an_unpacked_folder_without_its_manifest_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()

    with pytest.raises(UserError, match="incomplete"):
        unpack(tmp_path / "any.tar.gz", tmp_path / "out")

"""What is missing on a machine, or answers otherwise, is told in a line and left out; it never takes others with it."""

import sys
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from benchmarks import books, inputs, peers
from benchmarks.ending import in_a_line


@pytest.fixture
def absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of recordings in which there is one of spot alone."""
    for market, path in inputs.SESSIONS.items():
        monkeypatch.setitem(inputs.SESSIONS, market, tmp_path / path.parent.name / path.name)
    other = tmp_path / "spot" / "ethusdt_20260101.gz"
    other.parent.mkdir()
    other.write_bytes(b"")
    return other


def test_markets_without_a_recording_are_left_out(absent: Path) -> None:
    assert inputs.markets_there() == ["spot"]
    assert inputs.session("spot") == absent


def test_no_recording_at_all_is_told_in_a_line(absent: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"), in_a_line():
        inputs.markets_there(["usdm", "coinm"])

    assert capsys.readouterr().err == (
        f"there is no recording in {absent.parents[1] / 'usdm'}; BENCH_RECORDINGS names another folder\n"
    )


@pytest.mark.parametrize(
    ("program", "told"), [("print('hello')", "gave no answer: 'hello"), ("import nothing_like_it", "gave no answer$")]
)
def test_a_peer_that_says_no_answer_is_told_apart(program: str, told: str) -> None:
    with closing(peers.Asked([sys.executable, "-c", program])) as peer, pytest.raises(peers.PeerError, match=told):
        peer.ask("rate")


def test_a_peer_with_another_book_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    other = [sys.executable, "-c", "for line in iter(input, ''): print('[]', flush=True)"]
    monkeypatch.setattr(peers, "asked", lambda *_: peers.Asked(other))

    with ExitStack() as stack:
        assert books.alike("sortedcontainers", Path(), [], stack).ask(["apply", 0]) == []
        with pytest.raises(peers.PeerError, match="has another book"):
            books.alike("ccxt", Path(), [[1.0, 2.0]], stack)


def test_a_peer_that_cannot_be_installed_is_told_by_its_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_command: Any) -> None:
        raise peers.PeerError("no route to host")

    monkeypatch.setattr(peers, "HOME", tmp_path)
    monkeypatch.setattr(peers, "_do", refuse)

    with pytest.raises(peers.PeerError, match=r"cavro==[\d.]+ cannot be installed: no route to host"):
        peers.python_of("cavro")

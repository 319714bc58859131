"""The sink of docs/add-a-sink.md works as it is written there, whatever crashes."""

import importlib.util
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from sinks import stores
from sinks.store import StoreBusyError
from sinks.stores import make_store
from tickerplant.errors import DependencyError
from tickerplant.settings import Local, Settings

PAGE = Path(__file__).parents[2] / "docs" / "add-a-sink.md"
BLOCK = re.compile(r"```python\n# sinks/jsonlines\.py\n(.*?)```", re.DOTALL)
POINTS = [f"{when}:{what}" for what in ("intent", "write", "done") for when in ("before", "after")]
LONGEST = 35


@pytest.fixture
def text() -> str:
    found = BLOCK.search(PAGE.read_text(encoding="utf-8"))
    assert found
    return found[1]


@pytest.fixture
def store(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The store of the page, registered as it says."""
    file = tmp_path / "jsonlines.py"
    file.write_text(text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("sinks.jsonlines", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "sinks.jsonlines", module)
    spec.loader.exec_module(module)
    monkeypatch.setitem(stores.STORES, "jsonlines", "sinks.jsonlines.JsonLinesStore")
    found = make_store(Settings(local=Local(home=tmp_path)), "jsonlines")
    found.open()
    return found


def offsets(store: Any) -> list[int]:
    lines = [line for path in store.folder.glob("*.jsonl") for line in path.read_text().splitlines()]
    return sorted(json.loads(line)["source_offset"] for line in lines)


@pytest.mark.parametrize("point", POINTS)
def test_the_example_stores_each_row_once_across_a_crash(store: Any, repeating: Any, faults: Any, point: str) -> None:
    repeating.real_store = store
    repeating.dies(faults(at=point, count=2))
    repeating.run()

    assert offsets(store) == list(range(10))


def test_the_example_waits_for_what_is_gone(store: Any, tick: Any, chunk: Any) -> None:
    store.check(1.0)
    store.folder.rmdir()

    with pytest.raises(StoreBusyError):
        store.write(chunk([tick(0)]))
    with pytest.raises(DependencyError):
        store.check(1.0)


def test_the_class_is_as_short_as_it_is_said_to_be(text: str) -> None:
    body = text[text.index("class JsonLinesStore") :]

    assert len([line for line in body.splitlines() if line.strip()]) <= LONGEST

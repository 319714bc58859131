"""A demo of a small recording, with all its processes: it adds up, and leaves nothing running."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tickerplant.demo import DemoOptions, run_demo, stores
from tickerplant.demo.stores import SOURCE, StoreCount
from tickerplant.demo.venue import SimulatedVenue
from tickerplant.settings import Local, ObjectStore, Settings

TIME_NS = 1_723_161_255_000_000_000
EACH = 25


def messages() -> Iterator[dict[str, Any]]:
    """Trades, of which one comes twice; quotes, of which the last comes twice; depth, with a snapshot in between."""
    for number in range(EACH):
        time = {"E": 1723161255001, "s": "BTCUSDT"}
        trade = {"e": "trade", **time, "t": number, "p": "100.5", "q": "2", "T": 1723161255000, "m": False, "M": True}
        yield {"stream": "btcusdt@trade", "data": trade}
        quote = {"u": number, "s": "BTCUSDT", "b": "100", "B": "1", "a": "101", "A": "2"}
        yield {"stream": "btcusdt@bookTicker", "data": quote}
        ids = {"U": 2 * number + 1, "u": 2 * number + 2}
        depth = {"e": "depthUpdate", **time, **ids, "b": [[f"{90 + number / 100}", "1"]], "a": []}
        yield {"stream": "btcusdt@depth@100ms", "data": depth}
        if number == EACH // 2:
            yield {"lastUpdateId": ids["u"], "bids": [["90", "1"]], "asks": [["101", "2"]]}
            yield {"stream": "btcusdt@trade", "data": trade}
    yield {"stream": "btcusdt@bookTicker", "data": quote}


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Write messages as hftbacktest's recorder does, the last line torn."""
    path = tmp_path / "btcusdt.gz"
    lines = [f"{TIME_NS + number * 1_000_000} {json.dumps(each)}\n" for number, each in enumerate(messages())]
    torn = f'{TIME_NS + 10**9} {{"stream":"btcusdt@trade","data":{{"e":"tr'
    path.write_bytes(gzip.compress("".join([*lines, torn]).replace(": ", ":").replace(", ", ",").encode()))
    return path


def processes_of(folder: Path) -> list[str]:
    """Command lines that name a folder, but for our own."""
    lines = [" ".join(each.info["cmdline"] or ()) for each in psutil.process_iter(["cmdline"])]
    return [line for line in lines if str(folder) in line and "pytest" not in line.partition(str(folder))[0]]


@pytest.mark.stack
@pytest.mark.timeout(180)
def test_a_recording_adds_up_and_no_process_is_left(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"

    code = run_demo(Settings(local=Local(home=home)), DemoOptions(recording=recording, as_json=True))

    found = json.loads(capsys.readouterr().out)
    assert code == 0, found
    assert found["adds_up"]
    assert (found["frames_served"], found["frames_raw"]) == (3 * EACH + 3, 3 * EACH + 3)
    assert (found["kinds"]["TRADE"], found["kinds"]["QUOTE"], found["kinds"]["DEPTH_DELTA"]) == (EACH, EACH, EACH)
    assert found["clickhouse_rows"] == found["parquet_rows"] == found["ticks"] + found["depth"]
    assert (found["lost"], found["doubled"], found["dead_letters"], found["gaps"]) == (0, 0, 1, 0)
    assert "LATE_FOR_BAR" not in found["quality_events"]  # its times are of years ago
    assert found["latency_us"]["socket_to_cleaned"]["p99"] > 0
    assert processes_of(home) == []


@pytest.mark.stack
@pytest.mark.timeout(240)
def test_a_market_with_faults_adds_up_to_the_id(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    faults = ("lose=0.01", "double=0.01", "corrupt=0.01,kind=json", "disconnect=2,count=1,match=spot")
    options = DemoOptions(symbols=6, rate=400, seconds=5.0, faults=faults, fault_seed=7, as_json=True)

    code = run_demo(Settings(local=Local(home=tmp_path / "home")), options)

    found = json.loads(capsys.readouterr().out)
    rows = {row["name"].strip().partition(" →")[0]: row for row in found["accounts"]}
    assert code == 0, found
    assert rows["trade ids missing"]["injected"] == rows["trade ids missing"]["seen"] > 0
    assert rows["of these restored by REST"]["injected"] > 0
    assert found["quality_events"]["HEALED"] > 0
    assert rows["damaged frames"]["injected"] >= rows["damaged frames"]["seen"] > 0
    assert rows["books of the venue"]["seen"] == 6
    assert rows["connections cut"]["injected"] > 0
    assert found["quality_events"]["BOOK_RESET"] > 0


def test_a_venue_that_is_not_there_is_not_up(tmp_path: Path) -> None:
    venue = SimulatedVenue(Settings(local=Local(home=tmp_path, simulator_port=1)))

    assert not venue.is_up()
    with pytest.raises(httpx.ConnectError):
        venue.start()


def test_rows_in_a_folder_are_counted_all_and_distinct(tmp_path: Path) -> None:
    folder = tmp_path / "lake" / "cleaned" / "tick" / "venue=BINANCE" / "date=2026-11-21"
    folder.mkdir(parents=True)
    sources: dict[str, list[Any]] = {name: [1, 1, 2] for name in SOURCE} | {"source_topic": ["raw.binance"] * 3}
    for name in ("a", "b"):
        pq.write_table(pa.table(sources), folder / f"{name}.parquet")

    counts = stores.count_parquet(Settings(object_store=ObjectStore(root=str(tmp_path / "lake"))))

    assert counts == {"tick": StoreCount(6, 2), "depth": StoreCount(0, 0)}


@pytest.mark.stack
def test_rows_in_clickhouse_are_counted(stack: Settings) -> None:
    with stores.clickhouse(stack) as client:
        counts = stores.count_clickhouse(client)

    assert set(counts) == {"tick", "depth"}
    assert all(count.rows >= count.distinct >= 0 for count in counts.values())

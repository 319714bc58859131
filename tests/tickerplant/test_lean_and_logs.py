"""Processes carry what they need, and what is kept out stays out; logs are one JSON object a line on stderr."""

import io
import json
import logging
import subprocess
import sys
from typing import Any

import pytest

from tickerplant.lean import MODULES, import_program
from tickerplant.logs import Lossy, Sparing


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)


HEAVY = {
    *(
        "aiohttp",
        "authlib",
        "botocore",
        "chdb",
        "clickhouse_driver",
        "cryptography",
        "faust",
        "httpx",
        "numpy",
        "pandas",
    ),
    *("pyarrow", "rich", "s3fs", "websockets"),
}
CARRIED = {
    "produce": {"httpx", "websockets"},
    "process": {"aiohttp", "faust"},
    "sink clickhouse": {"clickhouse_driver", "numpy", "pyarrow"},
    "sink parquet": {"aiohttp", "botocore", "numpy", "pyarrow", "s3fs"},
    "checkpoint": {"aiohttp", "botocore", "numpy", "pyarrow", "s3fs"},
    "lag-exporter": set(),
    "compare": set(),
    "run": {"httpx"},
    "demo": {"botocore", "clickhouse_driver", "httpx", "numpy", "pyarrow", "rich"},
    "gateway": {"aiohttp", "chdb"},
    "simulated venue": {"aiohttp"},
    "subscriber": set(),
}
KEEP_OUT = """
from tickerplant.lean import kept_out
with kept_out("colorsys"):
    try:
        import colorsys
    except ModuleNotFoundError as error:
        print(error.name, error)
    import wave
import colorsys
print(wave.__name__, colorsys.__name__)
"""
LOG = """
import logging
from tickerplant.logs import configure_logs, logger
configure_logs("tester", "warning")
logger().info("not told")
logger().bind(venue="BINANCE").warning("connection lost", seconds=3)
try:
    raise ValueError("inner")
except ValueError:
    logger().exception("it failed")
logging.getLogger("library").warning("odd")
"""


@pytest.mark.parametrize("process", MODULES)
def test_a_process_carries_no_heavy_library_that_it_does_not_need(process: str) -> None:
    """Each costs a tenth of a second of its start, or more, and memory for as long as it runs."""
    shown = run(f"{import_program(process)}\nimport sys; print(*sys.modules)").stdout

    assert HEAVY & set(shown.split()) == CARRIED[process]


def test_a_library_kept_out_cannot_be_imported_meanwhile_and_others_can() -> None:
    lines = run(KEEP_OUT).stdout.splitlines()

    assert lines == ["colorsys colorsys is kept out of this process", "wave colorsys"]


def test_logs_are_json_lines_with_role_level_and_values() -> None:
    done = run(LOG)

    lost, failed = [json.loads(line) for line in done.stderr.splitlines()[:2]]
    assert lost | {"timestamp": ""} == {
        "event": "connection lost", "level": "warning", "role": "tester", "seconds": 3, "venue": "BINANCE",
        "timestamp": "",
    }  # fmt: skip
    assert "ValueError: inner" in failed["exception"]
    assert done.stdout == ""


def test_warnings_of_libraries_go_the_same_way() -> None:
    assert run(LOG).stderr.splitlines()[-1] == '{"level":"WARNING","logger":"library"} odd'


class Full(io.StringIO):
    """A stream that may be full."""

    is_full = False

    def write(self, text: str) -> int:
        if self.is_full:
            raise OSError(28, "No space left on device")
        return super().write(text)


def test_a_log_on_a_full_disk_loses_lines_and_tells_how_many() -> None:
    inner = Full()
    lossy = Lossy(inner)
    inner.is_full = True
    for _ in range(3):
        lossy.write("lost\n")
    inner.is_full = False

    lossy.write("kept\n")

    told, kept = inner.getvalue().splitlines()
    assert (json.loads(told)["count"], kept) == (3, "kept")


def line(name: str, level: int = logging.ERROR, exc_info: Any = None) -> logging.LogRecord:
    return logging.LogRecord(name, level, __file__, 1, "no connection to %s", ("broker",), exc_info)


def test_a_library_in_trouble_says_one_line_in_a_while() -> None:
    clock = [0.0]
    sparing = Sparing(lambda: clock[0])
    passed = []
    for second in range(0, 130, 10):
        clock[0] = second
        record = line(f"aiokafka.client{second}")
        if sparing.filter(record):
            passed.append((second, record.getMessage()))

    assert [second for second, _ in passed] == [0, 60, 120]
    assert passed[0][1] == "no connection to broker"
    assert "5 lines" in passed[1][1]


def test_libraries_are_spared_one_by_one_and_what_is_grave_passes() -> None:
    sparing = Sparing(lambda: 0.0)
    error = ValueError("odd")

    assert sparing.filter(line("aiokafka.conn"))
    assert not sparing.filter(line("aiokafka.client"))
    assert sparing.filter(line("mode"))
    assert sparing.filter(line("aiokafka.client", logging.CRITICAL))
    assert sparing.filter(line("aiokafka.client", exc_info=(ValueError, error, None)))

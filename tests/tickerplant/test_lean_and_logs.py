"""A library kept out stays out; logs are one JSON object a line on stderr, with role, level and time."""

import json
import subprocess
import sys


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)


KEEP_OUT = """
from tickerplant.lean import keep_out
keep_out("colorsys")
try:
    import colorsys
except ModuleNotFoundError as error:
    print(error.name, error)
import bisect, wave
print(wave.__name__)
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


def test_a_library_kept_out_cannot_be_imported_and_others_can() -> None:
    lines = run(KEEP_OUT).stdout.splitlines()

    assert lines == ["colorsys colorsys is kept out of this process", "wave"]


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

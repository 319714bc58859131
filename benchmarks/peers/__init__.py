"""Other projects, each in a Python of its own below .tickerplant/peers, so that ours stays as it is installed.

Scripts of this folder, `play_NAME.py` and the like, run there: they import nothing of ours, take their inputs by path,
and print one line of JSON.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
HOME: Final = ROOT / ".tickerplant" / "peers"
# What is installed for each: the newest release of the peer that its users get, pinned.
PACKAGES: Final = {
    "cryptofeed": ("cryptofeed==2.4.1",),
}


def python_of(peer: str) -> Path:
    """Install a peer, once; returns its Python."""
    folder = HOME / peer
    python, ready = folder / "bin" / "python", folder / ".ready"
    wanted = "\n".join(PACKAGES[peer])
    if not ready.exists() or ready.read_text() != wanted:
        uv = str(Path(sys.executable).with_name("uv"))
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)], check=True)
        subprocess.run([uv, "pip", "install", "--quiet", "--python", str(python), *PACKAGES[peer]], check=True)
        ready.write_text(wanted)
    return python


def run(peer: str, script: str, *arguments: str) -> dict[str, Any] | None:
    """Run a script of this folder in a peer's Python; None = it failed (its error is printed)."""
    return answer([str(python_of(peer)), str(Path(__file__).with_name(script)), *arguments])


def answer(command: Sequence[str]) -> dict[str, Any] | None:
    """Run a command from the root; returns the JSON of its last line, None where it failed (its error is printed)."""
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    if done.returncode:
        print(f"{command[1:3]}: {done.stderr.strip()[-500:]}", file=sys.stderr)
        return None
    return dict(json.loads(done.stdout.splitlines()[-1]))

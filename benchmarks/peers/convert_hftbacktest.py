"""A recording of hftbacktest's own recorder → its file of events, as its users keep it: compressed npz.

Run: python convert_hftbacktest.py FILE OUT

Prints the bytes of the file and its events; what the converter prints goes nowhere.
"""

import json
import os
import sys
from pathlib import Path

from hftbacktest.data.utils import binancefutures  # type: ignore[import-not-found]  # of another environment

ROWS = 5_000_000  # that there is room for

if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    events = binancefutures.convert(sys.argv[1], output_filename=sys.argv[2], opt="t", buffer_size=ROWS)
    print(json.dumps({"bytes": Path(sys.argv[2]).stat().st_size, "events": len(events)}), file=answers, flush=True)

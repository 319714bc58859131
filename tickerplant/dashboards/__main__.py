"""Write all dashboards into a folder (default `grafana/dashboards`)."""

import json
import sys
from pathlib import Path

from tickerplant.dashboards.catalogue import DASHBOARDS
from tickerplant.dashboards.model import render


def text_of(uid: str) -> str:
    """Make the text of one dashboard's file."""
    dashboard = next(each for each in DASHBOARDS if each.uid == uid)
    return json.dumps(render(dashboard), indent=2, ensure_ascii=False) + "\n"


def main(folder: Path) -> None:
    """Write each dashboard as `<uid>.json`."""
    for dashboard in DASHBOARDS:
        (folder / f"{dashboard.uid}.json").write_text(text_of(dashboard.uid), encoding="utf-8")


if __name__ == "__main__":
    main(Path(*sys.argv[1:2] or ["grafana/dashboards"]))

"""The page of venues says what the code says, of every market."""

import json
from pathlib import Path

from click.testing import CliRunner

from schemas.venues import SYMBOLOGIES
from tickerplant.cli import cli
from tickerplant.venues_page import facts, render

PAGE = Path(__file__).parents[2] / "docs" / "venues.md"
MARKETS = [(name, market) for name, venue in SYMBOLOGIES.items() for market in venue.MARKETS]


def test_the_committed_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == render(), "run: python -m tickerplant.venues_page > docs/venues.md"


def test_every_market_has_its_facts_and_its_book_a_rule() -> None:
    found = {(each["venue"], each["market"]): each for each in facts()}

    assert sorted(found) == sorted(MARKETS)
    assert all(
        each["side"] and each["times"] and each["sizes"] and each["since"] and each["book"] for each in found.values()
    )


def test_every_captured_market_has_trades_quotes_depth_and_a_way_to_a_snapshot() -> None:
    captured = [each for each in facts() if each["channels"]]

    assert all({"trade", "quote", "depth", "ticker"} <= set(each["channels"]) for each in captured)
    assert all(each["snapshot"] in {"by REST", "by a message on the connection", "in the stream"} for each in captured)


def test_the_command_tells_programs_the_same() -> None:
    done = CliRunner().invoke(cli, ["venues", "--json"])

    assert (done.exit_code, json.loads(done.output)) == (0, {"venues": facts()})

"""The reference page says what the code says."""

from pathlib import Path

from schemas.quality import QUALITY_KINDS
from schemas.topics import catalogue
from tickerplant.reference import render

PAGE = Path(__file__).parents[2] / "docs" / "reference.md"


def test_the_committed_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == render(), "run: python -m tickerplant.reference > docs/reference.md"


def test_topics_records_metrics_quality_kinds_and_settings_are_named() -> None:
    page = render()

    named = [topic.name for topic in catalogue(["binance"])] + list(QUALITY_KINDS)
    assert [name for name in named if f"`{name}`" not in page] == []
    assert "| `stage_latency_seconds` | histogram | stage, venue |" in page
    assert "| `venues[].symbols` | list of strings | required |" in page
    assert "| `frames[].payload` | bytes |" in page


def test_no_secret_default_is_hidden_and_no_cell_is_torn() -> None:
    rows = [line for line in render().splitlines() if line.startswith("|")]

    assert all(line.endswith(" |") for line in rows)
    assert not any("SecretStr" in line or "PydanticUndefined" in line for line in rows)

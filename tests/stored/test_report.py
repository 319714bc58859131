"""The page of a report: whole in itself, well-formed, and true to the rows; opened in a browser where there is one."""

from collections.abc import Callable
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tickerplant.cli import cli
from tickerplant.errors import UserError
from tickerplant.quality.wish import Wish
from tickerplant.questions import asking
from tickerplant.report.data import LATENCY_EDGES_MS, Data, read, step_us
from tickerplant.report.page import page
from tickerplant.report.show import write_report
from tickerplant.settings import Settings

Fill = Callable[..., None]
NOON_US = 1_795_262_400_000_000  # 2026-11-21T12:00Z
SECOND_US = 1_000_000
AROUND_NOON = Wish(start_us=NOON_US - SECOND_US, end_us=NOON_US + 3600 * SECOND_US)
HOSTILE = "<script>x</script>"
VOID = {"meta"}


def tick(second: int, **columns: Any) -> dict[str, Any]:
    time_us = NOON_US + second * SECOND_US
    times = {"event_time_us": time_us, "recv_time_us": time_us - 2_000, "exchange_time_us": time_us - 5_500}
    return {**times, "price": 100.0, "kind": "TRADE", **columns}


def fill_with_a_run(fill: Fill) -> None:
    """Store half a minute of two venues: one whose clock is ahead, one with a book, a gap, a bar in two revisions."""
    fill("market_data.tick", *(tick(second) for second in range(30)))
    fill("market_data.tick", *(tick(second, kind="QUOTE", bid=99.99, ask=100.01) for second in (0, 10, 20)))
    ahead_us = NOON_US + 3 * SECOND_US + 400
    fill("market_data.tick", tick(3, venue="OKX", exchange_time_us=ahead_us), tick(4, venue="OKX", exchange_time_us=0))
    levels = {"bids": [(99.99, 2.0), (99.9, 3.0)], "asks": [(100.01, 1.0), (200.0, 9.0)]}
    fill("market_data.depth", *({"event_time_us": NOON_US + n, "is_snapshot": True, **levels} for n in (0, 1)))
    fill("metadata.quality", {"event_time_us": NOON_US, "kind": "GAP", "count": 7, "detail": HOSTILE})
    commit = {"stage": "sink.clickhouse", "table_name": "market_data.tick", "first_event_time_us": NOON_US}
    fill("metadata.sink_commits", {**commit, "event_time_us": NOON_US + 1_500_000})
    bar = {"timestamp": datetime.fromtimestamp(NOON_US // SECOND_US, UTC), "interval": "1m"}
    prices = {"open": 1.0, "high": 4.0, "low": 1.0, "close": 3.0}
    fill("market_data.bars", {**bar, **prices, "revision": 1}, {**bar, **prices, "high": 9.0, "revision": 0})


@pytest.fixture(scope="module")
def data(settings: Settings, emptied: Callable[[], Fill]) -> Data:
    """What is read of a run."""
    fill_with_a_run(emptied())
    return data_of(settings)


class Outline(HTMLParser):
    """Notes tags, attributes and text, and whether each tag is closed where it should be."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def data_of(settings: Settings, wish: Wish = AROUND_NOON) -> Data:
    with asking(settings.clickhouse) as questions:
        found = read(questions, wish)
    assert found
    return found


def test_what_is_drawn_is_what_is_stored(data: Data) -> None:
    assert (data.start_us, data.end_us, data.ticks) == (NOON_US, NOON_US + 29 * SECOND_US + 1, 35)
    assert [(row["venue"], row["ticks"]) for row in data.busiest] == [("BINANCE", 33), ("OKX", 2)]
    assert data.rates["BINANCE"][:2] == [(NOON_US, 2.0), (NOON_US + SECOND_US, 1.0)]
    assert data.lags == {"sink.clickhouse market_data.tick": [(NOON_US + SECOND_US, 1.5)]}
    assert [round(value, 3) for _, value in data.spreads["BINANCE BTC/USDT"]] == [2.0] * 3
    assert data.bars
    assert data.bars.interval == "1m"
    assert [bar["high"] for bar in data.bars.rows] == [4.0], "of a bar the newest revision"


def test_latencies_keep_their_sign_and_leave_out_what_has_no_exchange_time(data: Data) -> None:
    found = data.latencies
    shares = {
        (what, venue): {edge: share for edge, share in zip(LATENCY_EDGES_MS, each, strict=True) if share}
        for what, venues in found.items()
        for venue, each in venues.items()
    }

    assert shares == {
        ("end to end", "BINANCE"): {5: 1.0},
        ("network", "BINANCE"): {2: 1.0},
        ("end to end", "OKX"): {-10: 1.0},
        ("network", "OKX"): {-10: 1.0},
    }


def test_what_is_of_the_past_or_has_a_wrong_time_tells_no_latency(settings: Settings, fill: Fill) -> None:
    fill("market_data.tick", tick(0), tick(1), tick(2))
    for flags in ("BACKFILL,LATE", "PAST", "CLOCK_STEP"):
        fill("market_data.tick", tick(60, flags=flags, exchange_time_us=NOON_US))
    data = data_of(settings)

    assert (data.ticks, {sum(share > 0 for share in each["BINANCE"]) for each in data.latencies.values()}) == (6, {1})
    assert [(row["end_us"], row["network_us"]) for row in data.quantiles] == [([5500, 5500], [3500, 3500])]


def test_what_was_healed_is_not_missing_even_after_the_last_tick(settings: Settings, fill: Fill) -> None:
    fill("market_data.tick", tick(0), tick(1))
    hole = {"from_sequence": 11, "to_sequence": 20}
    fill("metadata.quality", {"event_time_us": NOON_US, "kind": "GAP", "count": 10, **hole})
    fill("metadata.quality", {"event_time_us": NOON_US, "kind": "FRAME_LOSS", "count": 2, "symbol": ""})
    assert data_of(settings).missing == 12

    fill("metadata.quality", {"event_time_us": NOON_US + 9 * SECOND_US, "kind": "HEALED", "count": 10, **hole})
    data = data_of(settings)

    assert data.missing == 2
    texts = Outline(page(data, NOON_US)).texts
    assert texts[texts.index("written") + 5] == "2", "the cell of missing ids and frames"


def test_a_long_run_is_drawn_to_its_end(settings: Settings, fill: Fill) -> None:
    hours = 26 * 3600
    fill("market_data.tick", tick(0), tick(hours))
    times = [datetime.fromtimestamp(NOON_US // SECOND_US + second, UTC) for second in range(0, hours, 300)]
    prices = dict.fromkeys(("open", "high", "low", "close"), 1.0)
    fill("market_data.bars", *({"timestamp": time, "interval": "5m", **prices} for time in times))
    data = data_of(settings, Wish(start_us=NOON_US, end_us=NOON_US + 2 * hours * SECOND_US))

    assert data.bars
    assert (data.bars.interval, [row["time_us"] for row in data.bars.rows]) == (
        "5m",
        [round(each.timestamp()) * SECOND_US for each in times],
    )
    assert "Bars of 5m, BINANCE BTC/USDT" in Outline(page(data, NOON_US)).texts


def test_of_more_bars_than_are_drawn_the_newest_are(
    settings: Settings, fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tickerplant.report.data.MOST_BARS", 2)
    days = [NOON_US // SECOND_US - 43_200 + 86_400 * day for day in range(4)]
    fill("market_data.tick", *(tick(86_400 * day) for day in range(4)))
    prices = dict.fromkeys(("open", "high", "low", "close"), 1.0)
    bars = [{"timestamp": datetime.fromtimestamp(each, UTC), "interval": "1d", **prices} for each in days]
    fill("market_data.bars", *bars)
    data = data_of(settings, Wish(start_us=NOON_US, end_us=NOON_US + 5 * 86_400 * SECOND_US))

    assert data.bars
    assert [row["time_us"] // SECOND_US for row in data.bars.rows] == days[-2:]


def test_the_book_is_the_mean_of_its_snapshots_around_the_mid(data: Data) -> None:
    book = data.book

    assert book
    assert (book.name, book.times_us) == ("BINANCE BTC/USDT", [NOON_US])
    assert {row: round(size, 2) for row, size in enumerate(book.cells[0]) if size} == {7: 299.7, 11: 199.98, 12: 100.01}


def test_the_page_needs_nothing_else_and_lets_nothing_in(data: Data) -> None:
    text = page(data, NOON_US)
    outline = Outline(text)

    assert not {"script", "link", "img", "iframe", "object"} & set(outline.tags)
    assert not {"src", "href", "srcset", "onload"} & outline.attributes
    assert "url(" not in text
    assert "http://" not in text
    assert HOSTILE in outline.texts
    assert outline.tags.count("svg") == 7
    for title in ("Ticks per second", "Lag of stores", "Spread", "Book of BINANCE BTC/USDT", "GAP"):
        assert title in outline.texts


def test_charts_without_data_say_so(settings: Settings, fill: Fill) -> None:
    fill("market_data.tick", tick(0, exchange_time_us=0))
    text = page(data_of(settings), NOON_US)

    assert text.count("nothing is stored of it") == 4
    assert "Book of" not in text
    assert "Bars of" not in text
    Outline(text)


def test_the_command_writes_the_page(
    settings: Settings, fill: Fill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_with_a_run(fill)
    monkeypatch.setattr("tickerplant.cli.watch.load_settings", lambda _config: settings)
    words = ["report", "--out", str(tmp_path / "report.html"), "--since", "2026-11-21", "--venue", "okx", "--json"]
    done = CliRunner().invoke(cli, words, catch_exceptions=False)

    assert '"ticks":2' in done.stdout
    assert "2026-11-21T12:00:03Z" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_what_cannot_be_written_is_one_line(settings: Settings, fill: Fill, tmp_path: Path) -> None:
    fill("market_data.tick", tick(0))
    with pytest.raises(UserError, match="no tick is stored from"):
        write_report(settings, Wish(start_us=0, end_us=1), tmp_path / "report.html")
    with pytest.raises(UserError, match="see --out"):
        write_report(settings, AROUND_NOON, tmp_path / "no" / "report.html")


@pytest.mark.parametrize(("seconds", "expected_s"), [(0, 1), (180, 1), (181, 2), (86_400, 480)])
def test_a_column_is_whole_seconds(seconds: int, expected_s: int) -> None:
    assert step_us(NOON_US, NOON_US + seconds * SECOND_US, 180) == expected_s * SECOND_US


@pytest.mark.timeout(600)  # it may have to be fetched
def test_a_browser_opens_it(data: Data, browser: Any, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text(page(data, NOON_US), encoding="utf-8")
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", profile, "--dump-dom"]
    done = browser.run(*options, (tmp_path / "report.html").as_uri())

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("<svg") == 7
    assert "Refused to" not in done.stderr, "nothing that its policy forbids"

"""What `tickerplant quality` tells of rows in ClickHouse: counted by hand here, by its SQL there."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from click.testing import CliRunner

from processors.divergence import Band
from tickerplant.cli import cli
from tickerplant.errors import DependencyError, UserError
from tickerplant.quality import coverage, divergence, findings
from tickerplant.quality.show import show_divergence
from tickerplant.quality.wish import Wish
from tickerplant.questions import asking
from tickerplant.settings import Settings

Fill = Callable[..., None]
DAY_US = 86_400_000_000
MIDNIGHT_US = 1_795_219_200_000_000  # 2026-11-21T00:00Z
NOON_US = MIDNIGHT_US + DAY_US // 2
SECOND_US = 1_000_000
AROUND_NOON = Wish(start_us=NOON_US, end_us=NOON_US + 60 * SECOND_US)


def tick(time_us: int, **columns: Any) -> dict[str, Any]:
    return {"event_time_us": time_us, "price": 100.0, "kind": "TRADE", **columns}


def event(time_us: int, kind: str, **columns: Any) -> dict[str, Any]:
    return {"event_time_us": time_us, "kind": kind, "count": 1, **columns}


def found_by(settings: Settings, wish: Wish) -> list[findings.Subject]:
    with asking(settings.clickhouse) as questions:
        return findings.read(questions, wish)


def days_of(settings: Settings, wish: Wish) -> list[coverage.Day]:
    with asking(settings.clickhouse) as questions:
        return coverage.read(questions, wish, wish.end_us)


def test_events_and_flags_are_counted_by_venue_symbol_and_kind(settings: Settings, fill: Fill) -> None:
    fill("market_data.tick", *(tick(NOON_US + number) for number in range(8)))
    fill("market_data.tick", tick(NOON_US + 8, flags="LATE"), tick(NOON_US + 9, flags="LATE,OUTLIER"))
    fill("metadata.quality", event(NOON_US, "GAP", count=3), event(NOON_US + 5, "GAP", count=4, detail="newest"))
    fill("metadata.quality", event(NOON_US + 7, "STALE", symbol="", venue="OKX"))

    binance, okx = found_by(settings, AROUND_NOON)

    assert (binance.venue, binance.symbol, binance.ticks) == ("BINANCE", "BTC/USDT", 10)
    assert binance.last_tick_time_us == NOON_US + 9
    assert [(each.kind, each.items, each.events, each.last_time_us) for each in binance.findings] == [
        ("GAP", 7, 2, NOON_US + 5),
        ("LATE", 2, 0, NOON_US + 9),
        ("OUTLIER", 1, 0, NOON_US + 9),
    ]
    assert binance.findings[0].last_detail == "newest"
    assert (okx.venue, okx.symbol, okx.ticks, [each.kind for each in okx.findings]) == ("OKX", "", 0, ["STALE"])


def test_an_event_that_was_written_twice_counts_once(settings: Settings, fill: Fill) -> None:
    for _ in range(2):
        fill("metadata.quality", event(NOON_US, "GAP", source_offset=5))

    assert [each.items for each in found_by(settings, AROUND_NOON)[0].findings] == [1]


def test_only_what_was_asked_for_is_told(settings: Settings, fill: Fill) -> None:
    places = [(venue, symbol) for venue in ("BINANCE", "OKX") for symbol in ("BTC/USDT", "ETH/USDT")]
    fill("market_data.tick", *(tick(NOON_US, venue=venue, symbol=symbol) for venue, symbol in places))
    fill("market_data.tick", tick(NOON_US - 1), tick(AROUND_NOON.end_us))

    def told(**changes: str) -> list[tuple[str, str, int]]:
        wish = Wish(start_us=AROUND_NOON.start_us, end_us=AROUND_NOON.end_us, **changes)
        return [(each.venue, each.symbol, each.ticks) for each in found_by(settings, wish)]

    assert told() == [(*place, 1) for place in places]
    assert told(venue="OKX") == [(*place, 1) for place in places[2:]]
    assert told(venue="OKX", symbol="ETH/USDT") == [("OKX", "ETH/USDT", 1)]
    assert told(symbol="' OR 1 = 1 --") == []


def test_a_days_coverage_counts_seconds_rows_holes_and_gaps(settings: Settings, fill: Fill) -> None:
    seconds = (0, 0, 1, 5, 90)
    fill("market_data.tick", *(tick(NOON_US + second * SECOND_US) for second in seconds))
    fill("market_data.depth", {"event_time_us": NOON_US + 6 * SECOND_US}, {"event_time_us": NOON_US + DAY_US})
    fill("metadata.quality", event(NOON_US, "GAP", count=3), event(NOON_US, "FRAME_LOSS", symbol="", count=2))
    connection, first, second = days_of(settings, Wish(start_us=NOON_US + 80 * SECOND_US, end_us=NOON_US + 2 * DAY_US))

    assert (connection.symbol, connection.seconds, connection.gaps, connection.missing) == ("", 0, 1, 2)
    assert (first.day.isoformat(), first.seconds, first.seconds_of_day) == ("2026-11-21", 5, 86_400)
    assert first.coverage == 5 / 86_400
    assert (first.ticks, first.depths, first.longest_hole_s) == (5, 1, 84)
    assert (first.first_time_us, first.last_time_us) == (NOON_US, NOON_US + 90 * SECOND_US)
    assert (first.gaps, first.missing) == (1, 3)
    assert (second.day.isoformat(), second.ticks, second.depths, second.longest_hole_s) == ("2026-11-22", 0, 1, 0)


def test_what_came_after_all_is_not_missing(settings: Settings, fill: Fill) -> None:
    def hole(kind: str, first: int, last: int, count: int) -> dict[str, Any]:
        return event(NOON_US + first, kind, from_sequence=first, to_sequence=last, count=count)

    fill("metadata.quality", hole("GAP", 11, 20, 10), hole("GAP", 31, 40, 10), hole("GAP", 51, 55, 5))
    fill("metadata.quality", hole("HEALED", 11, 20, 8), hole("NOT_HEALED", 31, 40, 3))
    fill("metadata.quality", hole("HEALED", 0, 0, 9))  # of a time: no ids were told to be missing

    [day] = days_of(settings, Wish(start_us=NOON_US, end_us=NOON_US + DAY_US // 2))

    assert (day.gaps, day.missing) == (3, 3 + 5)


def test_what_closes_a_hole_counts_for_the_hole_and_its_day_alone(settings: Settings, fill: Fill) -> None:
    def hole(time_us: int, kind: str, first: int, last: int, count: int, **columns: Any) -> dict[str, Any]:
        sequences = {"from_sequence": first, "to_sequence": last, "count": count}
        return event(time_us, kind, **{"channel": "trade", **sequences, **columns})

    next_us, frames = MIDNIGHT_US + DAY_US, {"channel": "", "symbol": ""}
    fill("metadata.quality", hole(next_us - 10 * SECOND_US, "GAP", 1, 300, 300))
    fill("metadata.quality", hole(next_us + 5 * SECOND_US, "HEALED", 1, 300, 300))
    fill("metadata.quality", hole(next_us + 9 * SECOND_US, "GAP", 1, 200, 200, channel="depth"))
    fill("metadata.quality", hole(next_us + 9 * SECOND_US, "FRAME_LOSS", 1, 7, 7, **frames))
    fill("metadata.quality", hole(next_us + 20 * SECOND_US, "GAP", 401, 450, 50))
    fill("metadata.quality", hole(next_us + 19 * SECOND_US, "NOT_HEALED", 401, 450, 3))  # by a clock that is behind
    fill("metadata.quality", hole(next_us + DAY_US // 2, "GAP", 401, 450, 50))  # ids that have started again
    both = Wish(start_us=MIDNIGHT_US, end_us=next_us + DAY_US)
    first, second = replace(both, end_us=next_us), replace(both, start_us=next_us)

    def told(wish: Wish) -> list[tuple[str, str, int, int]]:
        return [(day.symbol, day.day.isoformat(), day.gaps, day.missing) for day in days_of(settings, wish)]

    of_first = ("BTC/USDT", "2026-11-21", 1, 0)
    of_second = [("", "2026-11-22", 1, 7), ("BTC/USDT", "2026-11-22", 3, 200 + 3 + 50)]
    assert told(both) == [of_second[0], of_first, of_second[1]]
    assert told(first) == [of_first], "what closed it comes after the range"
    assert told(second) == of_second, "what closed a hole of the day before is none of this day"
    with asking(settings.clickhouse) as questions:
        assert [coverage.missing(questions, wish) for wish in (both, first, second)] == [260, 0, 260]


def test_a_day_that_is_not_over_is_measured_by_what_has_passed(settings: Settings, fill: Fill) -> None:
    fill("market_data.tick", *(tick(MIDNIGHT_US + second * SECOND_US) for second in range(9)))

    [day] = days_of(settings, Wish(start_us=MIDNIGHT_US, end_us=MIDNIGHT_US + 12 * SECOND_US))

    assert (day.seconds_of_day, day.seconds, day.coverage) == (12, 9, 0.75)


@pytest.mark.parametrize(("options", "name"), [((), "quality"), (("--coverage",), "coverage")])
def test_the_command_prints_a_table_or_one_object(
    settings: Settings, fill: Fill, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], name: str
) -> None:
    fill("market_data.tick", tick(NOON_US, flags="OUTLIER"))
    monkeypatch.setattr("tickerplant.cli.watch.load_settings", lambda _config: settings)

    def printed(*more: str) -> str:
        words = ["quality", "--since", "2026-11-21", "--venue", "binance", *options, *more]
        return CliRunner().invoke(cli, words, catch_exceptions=False).stdout

    [row] = json.loads(printed("--json"))[name]
    assert (row["venue"], row["symbol"], row["ticks"]) == ("BINANCE", "BTC/USDT", 1)
    assert "BTC/USDT" in printed()
    assert "nothing is stored" in printed("--symbol", "NO/NE")


def quote(second: int, venue: str, mid: float, **columns: Any) -> dict[str, Any]:
    bid_ask = {"bid": mid - 0.5, "ask": mid + 0.5}
    return tick(NOON_US + second * SECOND_US, venue=venue, kind="QUOTE", **{**bid_ask, **columns})


def test_the_venue_that_left_the_others_is_named_with_its_spell(
    settings: Settings, fill: Fill, capsys: pytest.CaptureFixture[str]
) -> None:
    steady = [quote(second, venue, 10_000) for second in range(8) for venue in ("BINANCE", "OKX")]
    left = [quote(second, "KRAKEN", 10_000 if second in {0, 7} else 10_050) for second in range(8)]
    overtaken = [quote(0, "KRAKEN", 20_000, sequence_id=-1), quote(3, "KRAKEN", 1, ask=None), quote(3, "OKX", 1, bid=0)]
    fill("market_data.tick", *steady, *left, *overtaken)
    fill("market_data.tick", quote(0, "OKX", 7, symbol="ETH/USDT"), quote(0, "OKX", 9, symbol="ETH/BTC"))

    with asking(settings.clickhouse) as questions:
        found = divergence.read(questions, AROUND_NOON, Band())
        others = divergence.read(questions, replace(AROUND_NOON, venue="OKX"), Band())

    [told], [spell] = found.divergences, found.spells
    assert (found.symbols, found.seconds) == (others.symbols, others.seconds) == (1, 8)
    assert (told.symbol, told.venue, told.spells, told.seconds, told.venues) == ("BTC/USDT", "KRAKEN", 1, 6, 3)
    assert told.worst_bps == pytest.approx(49.88, abs=0.01)
    assert (spell.start_s, spell.last_s) == (NOON_US // SECOND_US + 1, NOON_US // SECOND_US + 6)
    assert others.spells == []

    wide = settings.divergence.model_copy(update={"floor_bps": 100.0})
    show_divergence(settings.model_copy(update={"divergence": wide}), AROUND_NOON, as_json=True)
    assert json.loads(capsys.readouterr().out)["divergence"]["divergences"] == []


def test_a_store_that_is_away_or_not_deployed_is_named(settings: Settings) -> None:
    def of(**changes: Any) -> Settings:
        return settings.model_copy(update={"clickhouse": settings.clickhouse.model_copy(update=changes)})

    with pytest.raises(UserError, match="run `tickerplant deploy`"):
        found_by(of(table_suffix="_never"), AROUND_NOON)
    with pytest.raises(DependencyError, match="does not answer"):
        found_by(of(port=1), AROUND_NOON)

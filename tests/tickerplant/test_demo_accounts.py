"""What a venue injected is held against what topics show: it adds up, and does not where something is missing."""

from collections import Counter
from typing import Any

import pytest

from schemas.records import Frame, Instrument, RawFrames, Source
from tickerplant.demo.accounts import Accounts, Truth, account
from tickerplant.demo.books import Books, venue_book
from tickerplant.demo.parsed_count import raw_count
from tickerplant.demo.reconcile import CleanedCount, RawCount, TopicCounts

SYMBOLS = {"spot/BTCUSDT": "BTC/USDT"}
NO_LEVELS: dict[str, Any] = {"bid_prices": [], "bid_sizes": [], "ask_prices": [], "ask_sizes": []}
KEY = "spot/btcusdt@trade"


def trade(number: int) -> bytes:
    return b'{"stream":"btcusdt@trade","data":{"s":"BTCUSDT","t":%d}}' % number


def futures_trade(number: int, uid: str) -> bytes:
    return (
        b'{"feed":"trade","product_id":"PF_XBTUSD","uid":"%s","side":"buy","type":"fill","seq":%d,"time":1612266317519,'
        b'"qty":1,"price":34969.5}' % (uid.encode(), number)
    )


def raw_of(*payloads: bytes, dead: tuple[bytes, ...] = ()) -> RawCount:
    count = RawCount(frozenset(dead))
    frames = [
        Frame(source=0, number=number, kind="MESSAGE", recv_time_us=1, payload=each)
        for number, each in enumerate(payloads)
    ]
    source = Source(market="spot", connection="c")
    count.add(RawFrames(venue="BINANCE", event_time_us=1, sources=[source], frames=frames))
    return count


def books(*depths: dict[str, Any]) -> Books:
    rebuilt = Books()
    for each in depths:
        rebuilt.add({"symbol": "BTC/USDT", **NO_LEVELS, **each})
    return rebuilt


def topics(*numbers: int, **values: Any) -> TopicCounts:
    given: dict[str, Any] = {
        "raw": raw_of(*map(trade, numbers)),
        "ticks": CleanedCount(),
        "depth": CleanedCount(),
        "quality": Counter(),
        "duplicates": Counter(),
        "dead_letters": 0,
        "books": books({"symbol": "BTC/USDT", "snapshot_id": 1, "is_snapshot": True, **NO_LEVELS}),
    }
    return TopicCounts(**given | values)


def fault(name: str, *strikes: tuple[Any, ...], **values: Any) -> dict[str, Any]:
    listed = [[*each, "", 0, 0][:4] if len(each) == 1 else list(each) for each in strikes]
    by_how, by_target = Counter(each[1] for each in listed if each[1]), Counter(each[0] for each in listed)
    return {
        "fault": name, "hits": len(listed), "strikes": listed, "by_how": by_how, "by_target": by_target, **values,
    }  # fmt: skip


def truth(*faults: dict[str, Any], written: Any = range(1, 10), books: Any = None, **values: Any) -> Truth:
    """Tell of a market with one book, which is empty, unless told otherwise."""
    found = {"BTC/USDT": ({}, {})} if books is None else books
    given: dict[str, Any] = {
        "written": written if isinstance(written, dict) else {"spot/BTCUSDT": set(map(str, written))},
        "streams": {
            KEY: ("trade", "BTCUSDT"),
            "spot/btcusdt@kline_1m": ("candle", "BTCUSDT"),
            "spot/btcusdt@depth@100ms": ("depth", "BTCUSDT"),
        },
        "counted": frozenset({"spot"}),
        "trade_id": lambda _key, number: str(number),
        "is_snapshot": lambda path: "/depth?" in path,
    }
    return Truth(faults=list(faults), books=found, **{"symbols": SYMBOLS} | given | values)


def row(accounts: Accounts, start: str) -> tuple[int, int | None, bool | None]:
    [found] = [each for each in accounts.rows if each.name.strip().startswith(start)]
    return found.injected, found.seen, found.is_right


def test_market_without_faults_adds_up() -> None:
    accounts = account(truth(), topics(1, 2, 3), 3)

    assert accounts.adds_up
    assert row(accounts, "trade ids missing") == (0, 0, True)


def test_lost_trades_are_to_be_in_gaps() -> None:
    lost = fault("lose", (KEY, "", 3, 3), (KEY, "", 4, 4))
    told = topics(1, 2, 5, trade_gaps=[("spot", "BTC/USDT", 3, 4)])
    untold = topics(1, 2, 5, trade_gaps=[("spot", "BTC/USDT", 3, 3)])

    assert row(account(truth(lost), told, 3), "trade ids missing") == (2, 2, True)
    assert row(account(truth(lost), told, 3), "of these lost") == (2, None, None)
    assert row(account(truth(lost), untold, 3), "trade ids missing") == (2, 1, False)
    assert not account(truth(lost), untold, 3).adds_up


def test_trades_restored_by_rest_are_expected_where_there_was_a_hole() -> None:
    raw = raw_of(trade(1), trade(4))
    source = Source(market="spot", connection="http")
    body = b'[{"id":1,"price":"1"},{"id":2},{"id":3},{"id":4},{"id":5}]'
    url = "https://host/api/v3/historicalTrades?symbol=BTCUSDT&fromId=1&limit=1000"
    frame = Frame(source=0, number=0, kind="HTTP", recv_time_us=1, request=url, payload=body)
    raw.add(RawFrames(venue="BINANCE", event_time_us=1, sources=[source], frames=[frame, frame]))
    found = topics(raw=raw, trade_gaps=[("spot", "BTC/USDT", 2, 3)])

    assert found.expected_ticks == 4
    accounts = account(truth(fault("lose", (KEY, "", 2, 2), (KEY, "", 3, 3))), found, 2)
    assert row(accounts, "trade ids missing") == (2, 2, True)
    assert row(accounts, "of these restored") == (2, None, None)
    assert row(accounts, "trades that the venue did not write") == (0, 0, True)


def test_trades_that_are_counted_and_called_otherwise_are_held_against_gaps_by_number() -> None:
    def name(number: int) -> str:
        return f"00000000-0000-4000-8000-{number:012d}"

    lost = fault("lose", ("futures/trade|PF_XBTUSD", "", 3, 3))
    raw = raw_count("KRAKEN", frozenset())
    frames = [
        Frame(source=0, number=number, kind="MESSAGE", recv_time_us=1, payload=futures_trade(number, name(number)))
        for number in (1, 2, 4)
    ]
    source = Source(market="futures", connection="c")
    raw.add(RawFrames(venue="KRAKEN", event_time_us=1, sources=[source], frames=frames))
    known = truth(
        lost,
        written={"futures/PF_XBTUSD": set(map(name, range(1, 6)))},
        streams={"futures/trade|PF_XBTUSD": ("trade", "PF_XBTUSD")},
        symbols={"futures/PF_XBTUSD": "BTC/USD:PERP"},
        counted=frozenset({"futures"}),
        trade_id=lambda _key, number: name(number),
    )
    told = account(known, topics(raw=raw, trade_gaps=[("futures", "BTC/USD:PERP", 3, 3)]), 4)

    assert row(told, "trade ids missing") == (1, 1, True)
    assert row(told, "of these lost") == (1, None, None)
    assert row(told, "trades that the venue did not") == (0, 0, True)
    assert row(account(known, topics(raw=raw), 4), "trade ids missing") == (1, 0, False)


def test_gap_of_another_symbol_or_market_covers_nothing() -> None:
    seen = topics(1, 3, trade_gaps=[("usdm", "BTC/USDT", 2, 2), ("spot", "ETH/USDT", 2, 2)])

    assert row(account(truth(fault("lose", (KEY, "", 2, 2))), seen, 2), "trade ids missing") == (1, 0, False)


def test_trade_that_was_never_written_is_told() -> None:
    assert row(account(truth(written=range(1, 3)), topics(1, 2, 3), 3), "trades that the venue did not") == (
        0,
        1,
        False,
    )


def test_trade_whose_value_was_changed_was_written() -> None:
    changed = fault("corrupt", (KEY, "value", 3, 3))
    accounts = account(truth(changed, written=range(1, 3)), topics(1, 2, 3), 3)

    assert accounts.adds_up
    assert row(accounts, "frames with another value") == (1, None, None)


@pytest.mark.parametrize(("letters", "is_right"), [(2, True), (1, False), (3, False)])
def test_damaged_frames_are_to_be_dead_letters(letters: int, is_right: bool) -> None:
    damaged = fault("truncate", (KEY, "", 3, 3)), fault("corrupt", (KEY, "json", 4, 4), (KEY, "value", 1, 1))
    seen = topics(1, 2, letters=Counter(MESSAGE=letters))

    assert row(account(truth(*damaged), seen, 4), "damaged frames") == (2, letters, is_right)


def test_recording_may_hold_damaged_frames_of_its_own() -> None:
    seen = topics(1, 2, letters=Counter(MESSAGE=3))
    damaged = fault("truncate", (KEY, "", 3, 3))

    assert row(account(truth(damaged, books={}), seen, 4), "damaged frames") == (1, 3, True)
    assert row(account(truth(books={}), topics(1), 1), "damaged frames") == (0, 0, True)


def test_frames_that_were_not_read_are_allowed_where_connections_ended() -> None:
    damaged = fault("truncate", (KEY, "", 3, 3), (KEY, "", 4, 4))
    cut = fault("disconnect", ("spot", "abort", 0, 0))
    seen = topics(1, 2, letters=Counter(MESSAGE=1), quality=Counter(DISCONNECT=2))
    accounts = account(truth(damaged, cut), seen, 3)

    assert (accounts.unread, account(truth(damaged), seen, 3).unread) == (1, 0)
    assert row(accounts, "damaged frames") == (2, 1, True)
    assert row(accounts, "connections cut") == (1, 2, True)


def test_frames_that_a_killed_producer_took_with_it_are_told_and_their_trades_are_to_be_gaps() -> None:
    gap = [("spot", "BTC/USDT", 2, 2)]
    told = account(truth(), topics(1, 3, trade_gaps=gap), 3, killed_producers=2)
    untold = account(truth(), topics(1, 3), 3, killed_producers=2)

    assert (told.unread, told.adds_up) == (1, True)
    assert row(told, "producers killed") == (2, None, None)
    assert (untold.unread, untold.adds_up) == (1, False)
    assert account(truth(), topics(1, 3, trade_gaps=gap), 3).unread == 0


def test_spoilt_depth_answers_are_to_be_dead_letters() -> None:
    depth = "/binance/spot/api/v3/depth?symbol=BTCUSDT"
    spoilt = fault("http_garbage", (depth, "html", 0, 0), (depth, "cut", 0, 0), ("/exchangeInfo", "empty", 0, 0))
    wrong = fault(
        "wrong_snapshot", (depth, "old", 0, 0), ("/binance/coinm/dapi/v1/depth?symbol=X", "other_symbol", 0, 0)
    )

    assert row(account(truth(spoilt, wrong), topics(1, letters=Counter(HTTP=2)), 1), "answers of no use") == (
        2,
        2,
        True,
    )


def depth(snapshot_id: int, price: float, size: float, *, is_snapshot: bool = False) -> dict[str, Any]:
    return {"snapshot_id": snapshot_id, "bid_prices": [price], "bid_sizes": [size], "is_snapshot": is_snapshot}


def test_books_are_rebuilt_by_the_published_rule() -> None:
    rebuilt = books(depth(0, 7.0, 1.0), depth(1, 9.0, 1.0, is_snapshot=True), depth(1, 8.0, 2.0), depth(1, 9.0, 0.0))

    assert rebuilt.equals("BTC/USDT", {8.0: 2.0}, {})
    assert not rebuilt.equals("BTC/USDT", {8.0: 1.0}, {})
    assert not rebuilt.equals("ETH/USDT", {}, {})


def test_book_that_does_not_stand_is_not_right() -> None:
    assert not books(depth(1, 9.0, 1.0, is_snapshot=True), depth(0, 8.0, 2.0)).equals("BTC/USDT", {9.0: 1.0}, {})


def test_books_that_differ_do_not_add_up_unless_what_spoilt_them_cannot_be_seen() -> None:
    seen = topics(1, books=books(depth(1, 9.0, 1.0, is_snapshot=True)))
    right, wrong = {"BTC/USDT": ({9.0: 1.0}, {})}, {"BTC/USDT": ({9.0: 2.0}, {})}
    unseen = fault("corrupt", ("spot/btcusdt@depth@100ms", "value", 1, 2))

    assert row(account(truth(books=right), seen, 1), "books of the venue") == (1, 1, True)
    assert row(account(truth(books=wrong), seen, 1), "books of the venue") == (1, 0, False)
    assert row(account(truth(unseen, books=wrong), seen, 1), "books of the venue") == (1, 0, None)


@pytest.mark.parametrize(("multiplier", "is_inverse", "size"), [(1.0, False, 4.0), (100.0, True, 10.0)])
def test_sizes_are_compared_in_base_currency(multiplier: float, is_inverse: bool, size: float) -> None:
    instrument = Instrument(
        event_time_us=0, venue="BINANCE", market="coinm", venue_symbol="X", symbol="X", asset_class="CRYPTO",
        kind="PERPETUAL", base="BTC", quote="USD", contract_multiplier=multiplier, is_inverse=is_inverse,
    )  # fmt: skip

    assert venue_book(instrument, {"bids": [["40", "4"]], "asks": []}) == ({40.0: size}, {})


def test_doubled_frames_are_held_against_duplicates_of_channels_that_drop_them() -> None:
    doubled = fault("double", (KEY, "", 1, 1), ("spot/btcusdt@kline_1m", "", 0, 0))

    assert row(account(truth(doubled), topics(1, 1, duplicates=Counter(trade=1)), 2), "doubled") == (1, 1, True)
    assert row(account(truth(doubled), topics(1, 1), 2), "doubled") == (1, 0, None)


def test_trades_of_which_no_id_tells_a_gap_are_to_be_there_by_name() -> None:
    names = {"spot/BTCUSDT": {"a-1", "a-2"}}
    whole, less = topics(), topics()
    whole.raw.trades.update({("spot", "BTCUSDT", "a-1"), ("spot", "BTCUSDT", "a-2")})
    less.raw.trades.update({("spot", "BTCUSDT", "a-1")})

    def told(seen: TopicCounts, *faults: dict[str, Any], served: int = 0) -> Accounts:
        return account(truth(*faults, written=names, counted=frozenset()), seen, served)

    assert told(whole).adds_up
    assert row(told(less), "trades written") == (2, 1, False)
    assert row(told(less, fault("disconnect", ("spot", "abort", 0, 0)), served=1), "trades written") == (2, 1, None)


def test_venue_without_a_notice_of_maintenance_owes_none() -> None:
    silent, told = fault("maintenance", ("spot", "close", 0, 0)), fault("maintenance", ("spot", "notice", 0, 0))

    assert row(account(truth(silent), topics(1), 1), "maintenance") == (0, 0, True)
    assert row(account(truth(told), topics(1), 1), "maintenance") == (1, 0, False)

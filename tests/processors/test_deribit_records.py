"""Deribit: one documented message a channel, and the record it gives, computed by hand."""

import copy
from typing import Any

import msgspec
import pytest

from fuzz.seeds import whole_messages
from schemas.records import Candle, DeadLetter, Depth, Derivative, QualityEvent, Tick, Ticker
from schemas.venues import deribit

MESSAGES = {market: whole_messages("DERIBIT", market) for market in deribit.MARKETS}
TIME_US = 1_723_161_240_150_000
NO_TRADES: dict[str, Any] = {"trades": [], "has_more": False}


@pytest.fixture
def say(new_run: Any) -> Any:
    """Say messages of a market; returns the run."""

    def speak(market: str, *names: str) -> Any:
        run = new_run(market, "DERIBIT")
        run.say(*(MESSAGES[market][name] for name in names))
        assert not run.of(DeadLetter)
        return run

    return speak


def only(records: list[Any], *names: str) -> Any:
    (record,) = records
    return tuple(getattr(record, name) for name in names)


def changed(market: str, name: str, **changes: Any) -> Any:
    """A message with other data."""
    message = copy.deepcopy(MESSAGES[market][name])
    data = message["params"]["data"]
    (data[0] if isinstance(data, list) else data).update(changes)
    return message


def kinds(run: Any) -> list[str]:
    return [each.kind for each in run.of(QualityEvent) if each.kind != "ASSUMED_INSTRUMENT"]


def test_trades_of_inverse_contracts_are_usd_and_go_by_the_venues_id(say: Any) -> None:
    first, second = say("futures", "trades").of(Tick)

    assert (first.symbol, first.price, first.quantity, first.side) == ("BTC/USD:PERP", 60000.5, 3000 / 60000.5, "SELL")
    assert (first.trade_id, second.trade_id, second.quantity) == ("403691824", "403691825", 10 / 60000)
    assert (first.exchange_time_us, first.flags) == (TIME_US - 6_000, "")


def test_trades_of_options_and_spot_are_in_base_currency(say: Any) -> None:
    option = only(say("options", "trades").of(Tick), "symbol", "price", "quantity", "side")
    spot = only(say("spot", "trades").of(Tick), "symbol", "price", "quantity", "side", "trade_id")

    assert option == ("BTC/USD:20261225:60000:C", 0.0875, 12.5, "BUY")
    assert spot == ("BTC/USDC", 60000.0, 0.025, "SELL", "SPOT-25")


@pytest.mark.parametrize(
    "field", [{"block_trade_id": "BLOCK-1"}, {"block_rfq_id": 5}, {"combo_id": "BTC-FS-25DEC26_PERP"}]
)
def test_trades_of_blocks_and_of_legs_of_combos_are_off_the_book(new_run: Any, field: Any) -> None:
    run = new_run("futures", "DERIBIT")
    run.say(changed("futures", "trades", **field))

    assert [each.flags for each in run.of(Tick)] == ["OFF_BOOK", ""]


@pytest.mark.parametrize(
    ("who", "sides"), [("T", ["SELL"]), ("M", ["BUY"]), ("MT", ["SELL", "BUY"]), ("none", []), (None, [])]
)
def test_who_was_liquidated_gives_the_side_of_the_forced_order(new_run: Any, who: Any, sides: list[str]) -> None:
    run = new_run("futures", "DERIBIT")
    run.say(changed("futures", "trades", liquidation=who))

    found = run.of(Derivative, kind="LIQUIDATION")
    assert [each.side for each in found] == sides
    assert {(each.value, each.quantity) for each in found} <= {(60000.5, 3000 / 60000.5)}
    assert len(run.of(Tick)) == 2


def test_a_hole_in_the_numbers_of_trades_is_a_gap(new_run: Any) -> None:
    run = new_run("spot", "DERIBIT")
    run.say(MESSAGES["spot"]["trades"], changed("spot", "trades", trade_seq=8, trade_id="SPOT-28"))

    assert only(run.of(QualityEvent, kind="GAP"), "from_sequence", "to_sequence") == (6, 7)


def test_a_snapshot_and_the_change_that_names_it_are_a_book(say: Any) -> None:
    run = say("futures", "book", "change")
    snapshot, change = run.of(Depth)

    assert (snapshot.is_snapshot, snapshot.sequence, snapshot.bid_sizes) == (True, 100, [3000 / 60000, 10 / 59999.5])
    assert (change.sequence, change.previous_sequence, change.snapshot_id) == (104, 100, snapshot.snapshot_id)
    assert (change.bid_prices, change.bid_sizes) == ([59999.5, 60000.0], [0.0, 1500 / 60000])
    assert (change.ask_prices, change.ask_sizes) == ([60001.0], [1.0])


def test_a_change_that_names_another_one_costs_the_book(new_run: Any) -> None:
    run = new_run("futures", "DERIBIT")
    run.say(MESSAGES["futures"]["book"], changed("futures", "change", prev_change_id=102))

    assert kinds(run) == ["BOOK_READY", "GAP", "BOOK_RESET"]
    assert only(run.of(QualityEvent, kind="GAP"), "from_sequence", "to_sequence") == (101, 102)
    assert len(run.commands) == 1


def test_a_change_that_names_no_previous_one_is_no_book_and_the_next_one_costs_the_book(new_run: Any) -> None:
    run = new_run("futures", "DERIBIT")
    run.say(MESSAGES["futures"]["book"], changed("futures", "change", prev_change_id=None))
    run.say(changed("futures", "change", prev_change_id=104, change_id=105))

    assert "names no previous one" in only(run.of(DeadLetter), "reason")[0]
    assert [each.is_snapshot for each in run.of(Depth)] == [True, False]
    assert kinds(run) == ["BOOK_READY", "DEAD_LETTER", "GAP", "BOOK_RESET"]


@pytest.mark.parametrize("data", [{"prev_change_id": 0}, {"prev_change_id": None, "type": None}])
def test_a_change_with_nothing_before_it_is_the_whole_book(new_run: Any, data: Any) -> None:
    """So a new instrument begins, and so began all books until 2020."""
    run = new_run("futures", "DERIBIT")
    run.say(changed("futures", "change", **data))

    assert only(run.of(Depth), "is_snapshot", "sequence", "ask_prices") == (True, 104, [60001.0])


def test_ungrouped_levels_of_a_channel_that_sends_whole_books_are_a_book(new_run: Any, say: Any) -> None:
    run = new_run("futures", "DERIBIT")
    grouped = copy.deepcopy(MESSAGES["futures"]["top"])
    grouped["params"]["channel"] = "book.BTC-25DEC26.10.20.100ms"
    run.say(grouped)

    assert only(say("futures", "top").of(Depth), "symbol", "is_snapshot", "bid_sizes") == (
        "BTC/USD:20261225", True, [100 / 61000],
    )  # fmt: skip
    assert "grouped" in only(run.of(DeadLetter), "reason")[0]


def test_the_best_levels_alone_change_nothing_in_a_book_that_is_kept_whole(new_run: Any) -> None:
    run = new_run("futures", "DERIBIT")
    best = copy.deepcopy(MESSAGES["futures"]["top"])
    best["params"]["channel"] = "book.BTC-PERPETUAL.none.1.100ms"
    best["params"]["data"] |= {"instrument_name": "BTC-PERPETUAL", "change_id": 102}
    run.say(MESSAGES["futures"]["book"], best)

    assert len(run.of(Depth)) == 1


def test_quote(say: Any) -> None:
    quote = only(say("futures", "quote").of(Tick), "bid", "bid_size", "ask", "ask_size", "venue_sequence")

    assert quote == (60000.0, 1500 / 60000, 60000.5, 6000 / 60000.5, TIME_US + 21_000)


@pytest.mark.parametrize("nothing", [0, None])
def test_a_quote_without_a_side_has_none(new_run: Any, nothing: Any) -> None:
    run = new_run("futures", "DERIBIT")
    run.say(changed("futures", "quote", best_ask_price=nothing, best_ask_amount=nothing))

    assert only(run.of(Tick), "price", "ask", "ask_size") == (60000.0, None, None)


def test_ticker_of_a_perpetual_gives_statistics_and_what_is_known_of_the_contract(say: Any) -> None:
    run = say("futures", "ticker")

    assert only(run.of(Ticker), "last", "high", "low", "volume", "quote_volume", "bid", "bid_size") == (
        60000.0, 61000.0, 59000.0, 1200.5, 72000000.0, 60000.0, 1500 / 60000,
    )  # fmt: skip
    assert {each.kind: each.value for each in run.of(Derivative)} == {
        "MARK_PRICE": 60000.1, "INDEX_PRICE": 60001.25, "OPEN_INTEREST": 900000000.0, "FUNDING_RATE": -0.00001,
    }  # fmt: skip


def test_ticker_of_an_option_that_was_never_traded_has_no_last_price_and_no_ask(say: Any) -> None:
    run = say("options", "ticker")

    assert only(run.of(Ticker), "last", "high", "volume", "bid", "bid_size", "ask", "ask_size") == (
        0.0, None, 0.0, 0.0865, 25.0, None, None,
    )  # fmt: skip
    assert {each.kind: each.value for each in run.of(Derivative)} == {
        "MARK_PRICE": 0.0871, "INDEX_PRICE": 60001.25, "OPEN_INTEREST": 0.0,
    }  # fmt: skip


def test_candle(say: Any) -> None:
    candle = only(say("futures", "candle").of(Candle), "interval", "open_time_us", "close_time_us", "is_closed")
    prices = only(say("futures", "candle").of(Candle), "open", "high", "low", "close", "volume", "quote_volume")

    assert candle == ("1m", 1_723_161_240_000_000, 1_723_161_300_000_000, False)
    assert prices == (60000.0, 60001.0, 59999.0, 60000.5, 0.25, 15000.0)


def test_facts_of_their_own_channels(say: Any) -> None:
    facts = say("futures", "perpetual").of(Derivative) + say("options", "marks").of(Derivative)

    assert [(each.kind, each.value, each.exchange_time_us) for each in facts] == [
        ("FUNDING_RATE", 1.5e-4, TIME_US), ("INDEX_PRICE", 60001.25, TIME_US), ("MARK_PRICE", 0.0876, TIME_US),
    ]  # fmt: skip


def test_channels_that_are_not_read_are_told_of(new_run: Any) -> None:
    run = new_run("futures", "DERIBIT")
    body = {"timestamp": 1723161240150, "price": 60001.25, "index_name": "btc_usd"}
    params = {"channel": "deribit_price_index.btc_usd", "data": body}
    run.say({"jsonrpc": "2.0", "method": "subscription", "params": params})

    assert not run.of(DeadLetter)
    assert "not read" in run.of(QualityEvent, kind="VENUE_NOTICE")[0].detail


def test_the_volatility_index_is_a_derivative_of_an_index(say: Any) -> None:
    found = only(say("options", "volatility").of(Derivative), "symbol", "kind", "value", "exchange_time_us")

    assert found == ("BTC/USD:DVOL", "VOLATILITY_INDEX", 54.25, TIME_US)


@pytest.mark.parametrize(
    "message",
    [{"jsonrpc": "2.0", "id": 1, "result": ["trades.BTC-PERPETUAL.100ms"], "usIn": 1, "usOut": 2, "usDiff": 1},
     {"jsonrpc": "2.0", "id": 2, "result": "ok", "testnet": False},
     {"jsonrpc": "2.0", "method": "heartbeat", "params": {"type": "heartbeat"}},
     {"jsonrpc": "2.0", "method": "heartbeat", "params": {"type": "test_request"}}],
)  # fmt: skip
def test_answers_and_heartbeats_give_nothing(new_run: Any, message: Any) -> None:
    assert new_run("futures", "DERIBIT").say(message) == []


@pytest.mark.parametrize(
    ("message", "text"),
    [({"jsonrpc": "2.0", "id": 1, "error": {"code": 10028, "message": "too_many_requests"}}, "too_many_requests"),
     ({"method": "subscription", "params": {"channel": "platform_state", "data": {"locked": True}}}, '"locked": true'),
     ({"method": "subscription", "params": {"channel": "instrument.state.any.BTC", "data": {"state": "created"}}},
      "created")],
)  # fmt: skip
def test_what_the_venue_says_about_itself_is_a_notice(new_run: Any, message: Any, text: str) -> None:
    run = new_run("futures", "DERIBIT")
    run.say(message)

    assert text.replace(": ", ":") in only(run.of(QualityEvent, kind="VENUE_NOTICE"), "detail")[0]


@pytest.mark.parametrize(
    "message",
    [{}, [], {"jsonrpc": "2.0", "result": []}, {"jsonrpc": "2.0", "id": 1}, {"method": "subscription"},
     {"method": "subscription", "params": {"channel": "user.portfolio.btc", "data": []}},
     {"method": "subscription", "params": {"channel": "chart.trades.BTC-PERPETUAL.7", "data": {}}},
     {"method": "subscription", "params": {"channel": "book.BTC-PERPETUAL", "data": {}}}],
)  # fmt: skip
def test_what_is_no_message_that_we_know_is_a_dead_letter(new_run: Any, message: Any) -> None:
    run = new_run("futures", "DERIBIT")
    run.say(message)

    assert len(run.of(DeadLetter)) == 1


def test_prices_of_combos_may_be_negative_and_are_not_read(new_run: Any) -> None:
    run = new_run("futures", "DERIBIT")
    run.say(changed("futures", "ticker", instrument_name="BTC-FS-25DEC26_PERP", last_price=-13.5))
    run.say(changed("futures", "trades", instrument_name="BTC-FS-25DEC26_PERP"))

    assert len(run.of(DeadLetter)) == 2


def test_quoted_numbers_are_read_and_unknown_fields_told(new_run: Any) -> None:
    run = new_run("futures", "DERIBIT")
    run.say(changed("futures", "trades", price="6.00005E+4", newest=1))

    assert run.of(Tick)[0].price == 60000.5
    assert only(run.of(QualityEvent, kind="UNKNOWN_FIELD"), "channel", "detail") == ("trades", "newest")


def answered(run: Any, result: Any, query: str) -> list[Any]:
    request = f"https://www.deribit.com/api/v2/public/get_last_trades_by_instrument?{query}"
    payload = msgspec.json.encode(
        {"jsonrpc": "2.0", "result": result, "usIn": 1, "usOut": 2, "usDiff": 1, "testnet": False}
    )
    return run.take(run.feed.frame(payload, "HTTP", request=request))  # type: ignore[no-any-return]


def test_missing_trades_come_by_rest_by_their_numbers_and_are_called_by_the_venues_id(new_run: Any) -> None:
    run = new_run("futures", "DERIBIT")
    row = MESSAGES["futures"]["trades"]["params"]["data"][0]
    name, first = row["instrument_name"], row["trade_seq"]
    run.say(changed("futures", "trades", trade_seq=first), changed("futures", "trades", trade_seq=first + 9))
    known = len(run.of(Tick))
    missing = row | {"trade_seq": first + 3, "trade_id": "777", "price": 59999.5, "amount": 20.0, "direction": "buy"}

    answered(
        run,
        {"trades": [missing], "has_more": False},
        f"instrument_name={name}&start_seq={first + 2}&end_seq={first + 8}",
    )

    [tick] = run.of(Tick)[known:]
    assert (tick.trade_id, tick.price, tick.quantity, tick.side) == ("777", 59999.5, 20 / 59999.5, "BUY")
    assert "BACKFILL" in tick.flags
    [closed] = run.of(QualityEvent, kind="NOT_HEALED")
    assert (closed.from_sequence, closed.to_sequence, closed.count) == (first + 2, first + 8, 6)


@pytest.mark.parametrize(
    "result", [{"trades": [], "has_more": False}, {"trades": [{"trade_seq": 1}], "has_more": False}, 5]
)
def test_answers_without_trades_give_none(new_run: Any, result: Any) -> None:
    run = new_run("futures", "DERIBIT")
    answered(run, result, "instrument_name=BTC-PERPETUAL&start_seq=1&end_seq=2")

    assert run.of(Tick) == []
    assert len(run.of(DeadLetter)) == (result != NO_TRADES)


@pytest.mark.parametrize(
    "channel",
    ["trades.BTC-CS-19MAY26-70000_75000.raw", "ticker.BTC-FS-25DEC26_PERP.100ms", "trades.option_combo.BTC.100ms"],
)
def test_combos_are_told_of(new_run: Any, channel: str) -> None:
    run = new_run("options", "DERIBIT")
    run.say({"jsonrpc": "2.0", "method": "subscription", "params": {"channel": channel, "data": [{"price": -0.5}]}})

    assert [each.kind for each in run.of(QualityEvent)] == ["VENUE_NOTICE"]
    assert not run.of(DeadLetter)


@pytest.mark.parametrize(
    ("state", "count"),
    [
        ({"price_index": "alt_usdc", "locked": False, "reasons": []}, 0),
        ({"price_index": "alt_usdc", "locked": True}, 1),
        ({"maintenance": True}, 1),
    ],
)
def test_an_index_that_can_be_traded_is_not_told_of_again_and_again(new_run: Any, state: Any, count: int) -> None:
    run = new_run("futures", "DERIBIT")
    run.say({"jsonrpc": "2.0", "method": "subscription", "params": {"channel": "platform_state", "data": state}})

    assert len(run.of(QualityEvent, kind="VENUE_NOTICE")) == count

"""What goes to Coinbase's two feeds and what their answers say."""

import json
from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fuzz.seeds import whole_messages
from producers import plan as planning
from producers.venues import coinbase
from producers.wire import Answer, Dialogue, Missing, Stream
from schemas.venues.coinbase import assumed_instrument
from tickerplant.settings import Venue

PRODUCTS = ("BTC-USD", "ETH-USD")


def streams(market: str, *channels: str, products: Sequence[str] = PRODUCTS) -> list[Stream]:
    entry = Venue(venue="COINBASE", market=market, symbols=("*",), channels=channels, websocket_url="ws://host")
    return planning.streams(entry, [assumed_instrument(market, name, 0) for name in products], 1)


def begun(market: str, *channels: str) -> Dialogue:
    """Begin a dialogue that has asked for these channels of both products."""
    dialogue = coinbase.dialogue(market, b"")
    dialogue.subscribe(streams(market, *channels))
    return dialogue


@pytest.mark.parametrize("market", coinbase.MARKETS)
def test_every_listed_channel_can_be_completed_and_others_cannot(market: str) -> None:
    assert all(coinbase.full_channel(market, each) for each in coinbase.CHANNELS[market])
    assert [coinbase.full_channel(market, each) for each in ("funding", "full", "candle_1m", "")] == [None] * 4


def test_quotes_and_tickers_are_one_channel() -> None:
    assert [each.name for each in streams("exchange", "quote", "ticker")] == ["ticker:BTC-USD", "ticker:ETH-USD"]


def test_a_request_of_the_exchange_feed_is_of_one_channel() -> None:
    asks = coinbase.dialogue("exchange", b"").subscribe(streams("exchange", "trade", "depth"))

    assert [json.loads(each.payload) for each in asks] == [
        {"type": "subscribe", "product_ids": list(PRODUCTS), "channels": ["level2_batch"]},
        {"type": "subscribe", "product_ids": list(PRODUCTS), "channels": ["matches"]},
    ]
    assert [each.names for each in asks] == [("depth:BTC-USD", "depth:ETH-USD"), ("trade:BTC-USD", "trade:ETH-USD")]


def test_advanced_trade_is_asked_for_heartbeats_first_and_a_channel_at_a_time() -> None:
    dialogue = coinbase.dialogue("advanced", b"")
    (ask,) = dialogue.subscribe(streams("advanced", "candle_5m"))
    (end,) = dialogue.unsubscribe(streams("advanced", "depth")[:1])

    assert list(dialogue.opening()) == [b'{"type":"subscribe","channel":"heartbeats"}']
    assert ask.payload == b'{"type":"subscribe","product_ids":["BTC-USD","ETH-USD"],"channel":"candles"}'
    assert end.payload == b'{"type":"unsubscribe","product_ids":["BTC-USD"],"channel":"level2"}'


@pytest.mark.parametrize("market", coinbase.MARKETS)
def test_each_documented_message_is_of_a_stream_that_can_be_subscribed(market: str) -> None:
    names = {each.name.encode() for each in streams(market, *coinbase.CHANNELS[market])}
    dialogue = begun(market, "trade")

    for message in whole_messages("COINBASE", market).values():
        assert dialogue.stream_of(json.dumps(message, separators=(",", ":")).encode()) in names


def test_the_exchange_feed_answers_with_all_that_is_subscribed() -> None:
    dialogue = begun("exchange", "depth", "trade")
    channels = [{"name": "level2_50", "product_ids": list(PRODUCTS)}, {"name": "heartbeat", "product_ids": ["BTC-USD"]}]
    reply = json.dumps({"type": "subscriptions", "channels": channels}).encode()

    assert dialogue.answer(reply) == Answer(subscribed=("depth:BTC-USD", "depth:ETH-USD"))


def test_advanced_trade_answers_with_all_that_is_subscribed() -> None:
    events = [{"subscriptions": {"market_trades": ["BTC-USD"], "heartbeats": ["heartbeats"]}}]
    reply = json.dumps({"channel": "subscriptions", "sequence_num": 1, "events": events}).encode()

    assert begun("advanced", "trade").answer(reply) == Answer(subscribed=("trade:BTC-USD",))


def test_an_error_refuses_the_oldest_request_that_is_not_answered() -> None:
    dialogue = begun("exchange", "depth", "trade")
    dialogue.answer(
        b'{"type":"subscriptions","channels":[{"name":"level2_batch","product_ids":["BTC-USD","ETH-USD"]}]}'
    )
    error = b'{"type":"error","message":"Failed to subscribe","reason":"ETH-USD is delisted"}'

    assert dialogue.answer(error) == Answer(
        refused=("trade:BTC-USD", "trade:ETH-USD"), refusal="Failed to subscribe ETH-USD is delisted"
    )
    assert dialogue.answer(error) == Answer(refusal="Failed to subscribe ETH-USD is delisted")


def test_an_error_that_answers_the_end_of_a_subscription_does_no_harm() -> None:
    dialogue = coinbase.dialogue("advanced", b"")
    dialogue.unsubscribe(streams("advanced", "depth"))

    assert dialogue.answer(b'{"type":"error","message":"not subscribed"}') == Answer()


@pytest.mark.parametrize(
    ("payload", "expected"),
    [(b'{"channel":"heartbeats","sequence_num":2,"events":[{"heartbeat_counter":7}]}', Answer()),
     (b'{"type":"heartbeat","last_trade_id":20}', Answer()), (b'{"type":"status"}', None), (b"gibberish", None)],
)  # fmt: skip
def test_other_messages_are_no_answers(payload: bytes, expected: Answer | None) -> None:
    assert begun("advanced", "depth").answer(payload) == expected


@given(st.binary(max_size=60))
@example(b'{"type":"subscriptions","channels":[{"name":"ticker","product_ids":null}]}')
@example(b'{"channel":"subscriptions","events":' + b"[" * 100_000)
@example(b'{"type":"\xff"}')
def test_no_payload_breaks_the_cutting_or_reading(payload: bytes) -> None:
    for market in coinbase.MARKETS:
        assert isinstance(begun(market, "trade").stream_of(payload), bytes)
        assert isinstance(begun(market, "trade").answer(payload), Answer | None)


def test_books_come_anew_by_subscribing_anew() -> None:
    assert (coinbase.snapshot_by("depth"), coinbase.snapshot_by("trade")) == ("resubscribe", "none")


def test_addresses() -> None:
    assert coinbase.stream_url("exchange", "trade", None) == "wss://ws-feed.exchange.coinbase.com/"
    assert coinbase.stream_url("advanced", "trade", "ws://host/x") == "ws://host/x/"
    assert [each.url for each in coinbase.list_requests("exchange", ["BTC-USD"], None)] == [
        "https://api.exchange.coinbase.com/products"
    ]


def test_few_products_of_advanced_trade_are_asked_for_by_name() -> None:
    (few,) = coinbase.list_requests("advanced", ["btc-usd", "ETH-USD", "BTC-USD"], "http://host")
    (all_,) = coinbase.list_requests("advanced", (), "http://host")

    assert few.url == "http://host/api/v3/brokerage/market/products?product_ids=BTC-USD&product_ids=ETH-USD"
    assert all_.url == "http://host/api/v3/brokerage/market/products"


def test_missing_trades_are_asked_for_backwards_by_id() -> None:
    missing = Missing(venue_symbol="BTC-USD", first_id=100, last_id=1500)
    first = coinbase.trades_request("exchange", missing, "http://host", is_keyed=False)
    assert first is not None
    second = coinbase.next_trades(first, b'[{"trade_id":1500},{"trade_id":501}]', missing)

    assert first.url == "http://host/products/BTC-USD/trades?limit=1000&after=1501"
    assert second is not None
    assert second.url == "http://host/products/BTC-USD/trades?limit=1000&after=501"
    assert coinbase.next_trades(second, b'[{"trade_id":100}]', missing) is None
    assert coinbase.next_trades(second, b'[{"trade_id":501}]', missing) is None
    assert coinbase.next_trades(second, b"[]", missing) is None
    assert coinbase.trades_request("advanced", missing, None, is_keyed=False) is None

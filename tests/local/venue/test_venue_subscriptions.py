"""Requests and the answers Binance gives to them; stream names."""

import json
from typing import Any

import pytest

from tickerplant.local.venue.dialects.binance.streams import channel_of, depth_interval_ms, is_stream
from tickerplant.local.venue.dialects.binance.subscriptions import STREAMS_MOST, Subscriptions


def ask(subscriptions: Subscriptions, request: Any) -> Any:
    return json.loads(subscriptions.answer(request if isinstance(request, str) else json.dumps(request)))


@pytest.fixture
def subscriptions() -> Subscriptions:
    return Subscriptions(["btcusdt@trade"], is_combined=True)


def test_subscribe_is_answered_with_null_and_the_id(subscriptions: Subscriptions) -> None:
    answer = ask(subscriptions, {"method": "SUBSCRIBE", "params": ["ethusdt@depth@100ms"], "id": 7})

    assert answer == {"result": None, "id": 7}
    assert list(subscriptions.streams) == ["btcusdt@trade", "ethusdt@depth@100ms"]


def test_list_gives_streams_in_order_of_subscription_each_once(subscriptions: Subscriptions) -> None:
    ask(subscriptions, {"method": "SUBSCRIBE", "params": ["ab@ticker", "btcusdt@trade"], "id": 1})

    answer = ask(subscriptions, {"method": "LIST_SUBSCRIPTIONS", "id": "text id"})

    assert answer == {"result": ["btcusdt@trade", "ab@ticker"], "id": "text id"}


def test_unsubscribe_of_what_was_never_subscribed_is_no_error(subscriptions: Subscriptions) -> None:
    answer = ask(subscriptions, {"method": "UNSUBSCRIBE", "params": ["btcusdt@trade", "x@trade"], "id": 2})

    assert answer == {"result": None, "id": 2}
    assert not subscriptions.streams


def test_combined_property_can_be_read_and_set(subscriptions: Subscriptions) -> None:
    ask(subscriptions, {"method": "SET_PROPERTY", "params": ["combined", False], "id": 1})

    assert ask(subscriptions, {"method": "GET_PROPERTY", "params": ["combined"], "id": 2}) == {"result": False, "id": 2}


@pytest.mark.parametrize(
    ("request_", "code", "words", "number"),
    [
        ("{", 3, "Invalid JSON", None),
        ([], 2, "expected an object", None),
        ({"id": 1}, 2, "missing field `method`", 1),
        ({"method": "subscribe", "id": 1}, 2, "unknown variant `subscribe`, expected one of `SUBSCRIBE`", 1),
        ({"method": ["SUBSCRIBE"], "id": 1}, 2, "unknown variant", 1),
        ({"method": "SUBSCRIBE", "params": ["a@trade"]}, 2, "request ID must be an unsigned integer", None),
        ({"method": "SUBSCRIBE", "params": ["a@trade"], "id": -1}, 2, "request ID", None),
        ({"method": "SUBSCRIBE", "params": ["a@trade"], "id": True}, 2, "request ID", None),
        ({"method": "SUBSCRIBE", "params": "a@trade", "id": 1}, 2, "params must be an array", 1),
        ({"method": "SUBSCRIBE", "params": [1], "id": 1}, 2, "params must be strings", 1),
        ({"method": "SUBSCRIBE", "params": ["good@trade", "btcusdt@trades"], "id": 1}, 2, "invalid stream", 1),
        ({"method": "SUBSCRIBE", "params": [f"s{n}@trade" for n in range(STREAMS_MOST)], "id": 1}, 2, "too many", 1),
        ({"method": "SET_PROPERTY", "params": ["combined", 1], "id": 1}, 1, "expected Boolean", 1),
        ({"method": "SET_PROPERTY", "params": ["color", 1], "id": 1}, 0, "Unknown property", 1),
        ({"method": "GET_PROPERTY", "params": [], "id": 1}, 0, "Unknown property", 1),
    ],
)
def test_refused_request_names_the_reason_and_changes_nothing(
    subscriptions: Subscriptions, request_: Any, code: int, words: str, number: int | None
) -> None:
    answer = ask(subscriptions, request_)

    assert answer["error"]["code"] == code
    assert words in answer["error"]["msg"]
    assert answer["id"] == number
    assert list(subscriptions.streams) == ["btcusdt@trade"]


@pytest.mark.parametrize(
    ("name", "channel"),
    [
        ("btcusdt@trade", "trade"),
        ("btcusd_perp@aggTrade", "aggTrade"),
        ("btcusdt@depth", "depth"),
        ("btcusdt@depth@0ms", "depth"),
        ("btcusdt@depth20@100ms", "depth"),
        ("btcusdt@kline_1m", "kline"),
        ("btcusdt@markPrice@1s", "markPrice"),
        ("btcusdt@forceOrder", "forceOrder"),
        ("!bookTicker", "bookTicker"),
        ("!markPrice@arr@1s", "markPrice"),
    ],
)
def test_stream_names_are_known_by_channel(name: str, channel: str) -> None:
    assert (is_stream(name), channel_of(name)) == (True, channel)


@pytest.mark.parametrize(
    "name", ["", "btcusdt", "!trade", "!@trade", "@trade", "btcusdt@", "btcusdt@kline_7m", "a b@trade", "a@depth@9ms"]
)
def test_other_names_are_no_streams(name: str) -> None:
    assert not is_stream(name)


@pytest.mark.parametrize(
    ("market", "stream", "interval_ms"),
    [("spot", "a@depth", 1000), ("usdm", "a@depth", 250), ("coinm", "a@depth@0ms", 0), ("spot", "a@depth5", None)],
)
def test_depth_interval_follows_name_and_market(market: str, stream: str, interval_ms: int | None) -> None:
    assert depth_interval_ms(market, stream) == interval_ms

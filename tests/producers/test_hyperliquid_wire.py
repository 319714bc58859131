"""What goes to Hyperliquid and what its answers say."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fuzz.seeds import whole_messages
from producers import plan as planning
from producers.venues import hyperliquid
from producers.wire import Answer, Dialogue, Stream
from schemas.venues.hyperliquid import assumed_instrument
from tickerplant.settings import Venue

SYMBOLS = {"perp": ("BTC", "xyz:TSLA"), "spot": ("@107", "PURR/USDC")}


def streams(market: str, *channels: str) -> list[Stream]:
    entry = Venue(venue="HYPERLIQUID", market=market, symbols=("*",), channels=channels, websocket_url="ws://host")
    return planning.streams(entry, [assumed_instrument(market, name, 0) for name in SYMBOLS[market]], 1)


def begun() -> Dialogue:
    return hyperliquid.dialogue("perp", b"")


@pytest.mark.parametrize("market", hyperliquid.MARKETS)
def test_every_listed_channel_can_be_completed(market: str) -> None:
    assert all(hyperliquid.full_channel(market, each) for each in hyperliquid.CHANNELS[market])
    assert [hyperliquid.full_channel(market, each) for each in ("liquidation", "candle_7m", "")] == [None] * 3


def test_a_spot_pair_has_no_funding_and_all_facts_of_a_perpetual_are_one_channel() -> None:
    assert hyperliquid.full_channel("spot", "funding") is None
    assert [each.name for each in streams("perp", "funding", "mark_price", "ticker")] == [
        "activeAssetCtx:BTC",
        "activeAssetCtx:xyz:TSLA",
    ]


@pytest.mark.parametrize(
    ("channel", "wish"),
    [("trade", {"type": "trades", "coin": "BTC"}), ("quote", {"type": "bbo", "coin": "BTC"}),
     ("depth", {"type": "l2Book", "coin": "BTC"}), ("depth@fast", {"type": "l2Book", "coin": "BTC", "fast": True}),
     ("candle_5m", {"type": "candle", "coin": "BTC", "interval": "5m"}),
     ("index", {"type": "activeAssetCtx", "coin": "BTC"})],
)  # fmt: skip
def test_a_request_is_of_one_stream(channel: str, wish: dict[str, object]) -> None:
    wanted = streams("perp", channel)
    asks = begun().subscribe(wanted)
    (end,) = begun().unsubscribe(wanted[:1])

    assert len(asks) == 2
    assert json.loads(asks[0].payload) == {"method": "subscribe", "subscription": wish}
    assert asks[0].names == (wanted[0].name,)
    assert json.loads(end.payload) == {"method": "unsubscribe", "subscription": wish}


@pytest.mark.parametrize("market", hyperliquid.MARKETS)
def test_each_documented_message_is_of_a_stream_that_can_be_subscribed(market: str) -> None:
    names = {each.name.encode() for each in streams(market, *hyperliquid.CHANNELS[market])}

    for message in whole_messages("HYPERLIQUID", market).values():
        assert begun().stream_of(json.dumps(message, separators=(",", ":")).encode()) in names


def test_an_answer_repeats_what_was_asked_for_with_what_it_adds() -> None:
    wish = {"type": "l2Book", "coin": "BTC", "nSigFigs": None, "mantissa": None}
    granted = {"channel": "subscriptionResponse", "data": {"method": "subscribe", "subscription": wish}}
    ended = {"channel": "subscriptionResponse", "data": {"method": "unsubscribe", "subscription": wish}}
    candle = {"type": "candle", "coin": "xyz:TSLA", "interval": "5m"}
    other = {"channel": "subscriptionResponse", "data": {"method": "subscribe", "subscription": candle}}

    assert begun().answer(json.dumps(granted).encode()) == Answer(subscribed=("l2Book:BTC",))
    assert begun().answer(json.dumps(other).encode()) == Answer(subscribed=("candle:xyz:TSLA:5m",))
    assert begun().answer(json.dumps(ended).encode()) == Answer()
    assert begun().stream_of(json.dumps(granted, separators=(",", ":")).encode()) == b""


@pytest.mark.parametrize(
    ("text", "expected"),
    [('Invalid subscription {"type":"bbo","coin":"NOPE"}',
      Answer(refused=("bbo:NOPE",), refusal='Invalid subscription {"type":"bbo","coin":"NOPE"}')),
     ('Already subscribed: {"type":"bbo","coin":"BTC"}', Answer(subscribed=("bbo:BTC",))),
     ('Already unsubscribed: {"type":"bbo","coin":"BTC"}', Answer()),
     ("Cannot track more than 10 total users.", Answer(refusal="Cannot track more than 10 total users."))],
)  # fmt: skip
def test_an_error_repeats_the_subscription_that_it_is_about(text: str, expected: Answer) -> None:
    payload = json.dumps({"channel": "error", "data": text}, separators=(",", ":")).encode()

    assert begun().answer(payload) == expected
    assert begun().stream_of(payload) == b""


def test_a_connection_is_kept_alive_by_pings() -> None:
    dialogue = begun()
    dialogue.tick(1)

    assert list(dialogue.tick(30_000_001)) == [b'{"method":"ping"}']
    assert dialogue.answer(b'{"channel":"pong"}') == Answer()


@given(st.binary(max_size=60))
@example(b'{"channel":"subscriptionResponse","data":{"method":"subscribe"}}')
@example(b'{"channel":"error","data":{"a":1}}')
@example(b'{"channel":"error","data":"{\\ud800"}')
@example(b'{"channel":' + b"[" * 100_000)
def test_no_payload_breaks_the_cutting_or_reading(payload: bytes) -> None:
    assert isinstance(begun().stream_of(payload), bytes)
    assert isinstance(begun().answer(payload), Answer | None)


def test_books_come_anew_by_subscribing_anew() -> None:
    assert (hyperliquid.snapshot_by("depth@fast"), hyperliquid.snapshot_by("trade")) == ("resubscribe", "none")


def test_lists_are_asked_for_by_post() -> None:
    (perpetuals,) = hyperliquid.list_requests("perp", ["BTC"], None)
    (pairs,) = hyperliquid.list_requests("spot", (), "http://host")

    assert perpetuals.name == 'POST https://api.hyperliquid.xyz/info {"type":"allPerpMetas"}'
    assert (pairs.url, pairs.method, pairs.body) == ("http://host/info", "POST", b'{"type":"spotMeta"}')
    assert hyperliquid.stream_url("perp", "trade", None) == "wss://api.hyperliquid.xyz/ws"

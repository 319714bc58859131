"""What goes to Kraken and what its answers say; messages as its documentation has them."""

from typing import Any

import msgspec
import pytest

from producers.venues import kraken
from producers.wire import Answer, Dialogue, Missing, Stream

SYMBOLS = {"spot": "BTC/USD", "spot_v1": "XBT/USD", "futures": "PF_XBTUSD"}


def streams(market: str, *channels: str, symbol: str = "") -> list[Stream]:
    of = symbol or SYMBOLS[market]
    full = [kraken.full_channel(market, each) or "" for each in channels]
    return [
        Stream(name=kraken.stream_name(of, each), channel=each, venue_symbol=of, partition=0, url="") for each in full
    ]


def talk(market: str, *channels: str) -> Dialogue:
    """Begin a dialogue that has asked for channels of one symbol, each by a request of its own, from id 1 on."""
    begun = kraken.dialogue(market, b"")
    for each in channels:
        begun.subscribe(streams(market, each))
    return begun


def second(channel: str, **params: Any) -> bytes:
    params = {"channel": channel, "symbol": ["BTC/USD"], **params}
    return msgspec.json.encode({"method": "subscribe", "params": params, "req_id": 1})


def first(**subscription: Any) -> bytes:
    return msgspec.json.encode({"event": "subscribe", "reqid": 1, "pair": ["XBT/USD"], "subscription": subscription})


def granted(number: int, **result: Any) -> bytes:
    result |= {"snapshot": True, "symbol": "BTC/USD"}
    return msgspec.json.encode({"method": "subscribe", "result": result, "success": True, "req_id": number})


def refused(number: int, error: str, method: str = "subscribe", **named: Any) -> bytes:
    return msgspec.json.encode({"error": error, "method": method, "req_id": number, "success": False, **named})


def status(status: str, number: int = 1, **told: Any) -> bytes:
    told = {"event": "subscriptionStatus", "reqid": number, "status": status, **told}
    return msgspec.json.encode({"subscription": {"depth": 1000, "name": "book"}, **told})


@pytest.mark.parametrize(
    ("market", "channel", "request_"),
    [
        ("spot", "trade", second("trade")),
        ("spot", "quote", second("ticker", event_trigger="bbo")),
        ("spot", "depth", second("book", depth=1000)),
        ("spot", "depth@25", second("book", depth=25)),
        ("spot", "candle_1h", second("ohlc", interval=60)),
        ("spot_v1", "trade", first(name="trade")),
        ("spot_v1", "quote", first(name="spread")),
        ("spot_v1", "depth", first(name="book", depth=1000)),
        ("spot_v1", "candle_1m", first(name="ohlc", interval=1)),
        ("futures", "depth", b'{"event":"subscribe","feed":"book","product_ids":["PF_XBTUSD"]}'),
        ("futures", "liquidation", b'{"event":"subscribe","feed":"trade","product_ids":["PF_XBTUSD"]}'),
        ("futures", "funding", b'{"event":"subscribe","feed":"ticker","product_ids":["PF_XBTUSD"]}'),
        ("futures", "candle_12h", b'{"event":"subscribe","feed":"candles_trade_12h","product_ids":["PF_XBTUSD"]}'),
    ],
)  # fmt: skip
def test_a_channel_is_asked_for_as_its_api_has_it(market: str, channel: str, request_: bytes) -> None:
    (ask,) = kraken.dialogue(market, b"").subscribe(streams(market, channel))

    assert ask.payload == request_
    assert ask.names == (streams(market, channel)[0].name,)


@pytest.mark.parametrize(
    ("market", "end"),
    [
        ("spot", b'{"method":"unsubscribe","params":{"channel":"ticker","symbol":["BTC/USD"]},"req_id":1}'),
        ("spot_v1", b'{"event":"unsubscribe","reqid":1,"pair":["XBT/USD"],"subscription":{"name":"ticker"}}'),
        ("futures", b'{"event":"unsubscribe","feed":"ticker","product_ids":["PF_XBTUSD"]}'),
    ],
)
def test_a_subscription_is_ended_by_what_it_was_asked_with(market: str, end: bytes) -> None:
    (ask,) = kraken.dialogue(market, b"").unsubscribe(streams(market, "ticker"))

    assert (ask.payload, ask.names) == (end, ())


def test_a_request_is_of_one_channel_and_fifty_symbols() -> None:
    wanted = [each for at in range(60) for each in streams("spot", "trade", "depth", "candle_1m", symbol=f"A{at}/USD")]
    asks = kraken.dialogue("spot", b"").subscribe(wanted)

    assert sorted(len(each.names) for each in asks) == [10, 10, 10, 50, 50, 50]
    assert all(len({name.partition(" ")[0] for name in each.names}) == 1 for each in asks)


@pytest.mark.parametrize(
    ("market", "channel"),
    [("spot", "funding"), ("spot", "depth@11"), ("spot", "candle_2m"), ("spot", "book"), ("futures", "candle_2m"),
     ("futures", "1m"), ("spot", "candle_12h"),
     ("futures", "depth@10"), ("spot_v1", "liquidation")],
)  # fmt: skip
def test_channel_that_a_market_lacks_is_none(market: str, channel: str) -> None:
    assert kraken.full_channel(market, channel) is None


def test_channels_that_are_one_at_the_venue_are_one_stream() -> None:
    assert {kraken.full_channel("spot", each) for each in ("quote", "ticker")} == {"ticker"}
    assert {kraken.full_channel("futures", each) for each in ("quote", "ticker", "index", "open_interest")} == {
        "ticker"
    }
    assert {kraken.full_channel("futures", each) for each in ("trade", "liquidation")} == {"trade"}


@pytest.mark.parametrize(
    ("market", "payload", "name"),
    [
        ("spot", b'{"channel":"book","type":"update","data":[{"symbol":"BTC/USD","bids":[]}]}', b"depth@1000 BTC/USD"),
        ("spot", b'{"channel":"ticker","type":"snapshot","data":[{"symbol":"BTC/USD","bid":1}]}', b"ticker BTC/USD"),
        ("spot", b'{"channel":"ohlc","timestamp":"x","data":[{"symbol":"BTC/USD"}]}', b"candle@1 BTC/USD"),
        ("spot", b'{"channel":"trade","type":"update","data":[{"symbol":"ETH/USD"}]}', b""),
        ("spot", b'{"channel":"heartbeat"}', b""),
        ("spot_v1", b'[336,{"a":[["1","2","3"]]},{"b":[],"c":"5"},"book-1000","XBT/USD"]', b"depth@1000 XBT/USD"),
        ("spot_v1", b'[341,["1","2","3","4","5"],"spread","XBT/USD"]', b"quote XBT/USD"),
        ("spot_v1", b'[343,["1"],"ohlc-1","XBT/USD"]', b"candle@1 XBT/USD"),
        ("spot_v1", b'{"event":"heartbeat"}', b""),
        ("spot_v1", b"[1,2]", b""),
        ("futures", b'{"feed":"book_snapshot","product_id":"PF_XBTUSD","timestamp":1}', b"depth PF_XBTUSD"),
        ("futures", b'{"feed":"trade_snapshot","product_id":"PF_XBTUSD","trades":[{"feed":"a"}]}', b"trade PF_XBTUSD"),
        ("futures", b'{"time":1,"product_id":"PF_XBTUSD","feed":"ticker","bid":1}', b"ticker PF_XBTUSD"),
        ("futures", b'{"feed":"candles_trade_1m_snapshot","product_id":"PF_XBTUSD"}', b"candle@1 PF_XBTUSD"),
        ("futures", b'{"feed":"candles_trade_1w","candle":{},"product_id":"PF_XBTUSD"}', b"candle@10080 PF_XBTUSD"),
        ("futures", b'{"feed":"heartbeat","time":1}', b""),
    ],
)  # fmt: skip
def test_a_message_tells_its_stream(market: str, payload: bytes, name: bytes) -> None:
    channels = ("depth", "ticker", "trade") if market == "futures" else ("depth", "ticker", "candle_1m")

    assert talk(market, *channels).stream_of(payload) == name


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (granted(1, channel="book", depth=1000), Answer(subscribed=("depth@1000 BTC/USD",))),
        (granted(2, channel="ticker", event_trigger="bbo"), Answer(subscribed=("ticker BTC/USD",))),
        (refused(1, "Currency pair not supported BTC/USD", symbol="BTC/USD"),
         Answer(refused=("depth@1000 BTC/USD",), refusal="Currency pair not supported BTC/USD")),
        (refused(2, "Already subscribed", symbol="BTC/USD"), Answer(subscribed=("ticker BTC/USD",))),
        (refused(3, "Subscription Not Found", "unsubscribe", symbol="BTC/USD"), Answer()),
        (refused(2, "Exceeded msg rate"), Answer(refused=("ticker BTC/USD",), refusal="Exceeded msg rate")),
        (b'{"error":"Malformed request","success":false}', Answer(refusal="Malformed request")),
        (b'{"method":"unsubscribe","result":{"channel":"ticker","symbol":"BTC/USD"},"success":true}', Answer()),
        (b'{"channel":"status","type":"update","data":[{"system":"maintenance"}]}', None),
        (b'{"channel":"heartbeat"}', None), (b'{"method":"pong","req_id":1}', None), (b"gibberish", None),
        (b"[1]", None),
    ],
)  # fmt: skip
def test_answers_of_the_second_api_name_a_symbol_each(payload: bytes, expected: Answer | None) -> None:
    dialogue = talk("spot", "depth", "ticker")
    dialogue.unsubscribe(streams("spot", "depth"))

    assert dialogue.stream_of(payload) == b"", "it would be taken for market data"
    assert dialogue.answer(payload) == expected


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (status("subscribed", pair="XBT/USD", channelName="book-1000"), Answer(subscribed=("depth@1000 XBT/USD",))),
        (status("error", pair="XBT/USD", errorMessage="Currency pair not supported"),
         Answer(refused=("depth@1000 XBT/USD",), refusal="Currency pair not supported")),
        (status("error", errorMessage="Subscription depth not supported", subscription={"name": "book", "depth": 42}),
         Answer(refused=("depth@1000 XBT/USD",), refusal="Subscription depth not supported")),
        (status("unsubscribed", 2, pair="XBT/USD"), Answer()),
        (b'{"errorMessage":"Malformed request","event":"error","reqid":1}',
         Answer(refused=("depth@1000 XBT/USD",), refusal="Malformed request")),
        (b'{"errorMessage":"Malformed request","event":"error"}', Answer(refusal="Malformed request")),
        (b'{"event":"systemStatus","status":"online"}', None), (b'{"event":"heartbeat"}', None), (b"[1]", None),
        (b"x", None),
    ],
)  # fmt: skip
def test_answers_of_the_first_api_name_a_pair_each(payload: bytes, expected: Answer | None) -> None:
    assert talk("spot_v1", "depth").answer(payload) == expected


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b'{"event":"subscribed","feed":"book","product_ids":["PF_XBTUSD"]}', Answer(subscribed=("depth PF_XBTUSD",))),
        (b'{"event":"subscribed_failed","feed":"ticker","product_ids":["PF_XBTUSD"]}',
         Answer(refused=("ticker PF_XBTUSD",), refusal="no reason given")),
        (b'{"event":"error","message":"Invalid product id"}',
         Answer(refused=("depth PF_XBTUSD",), refusal="Invalid product id")),
        (b'{"event":"info","version":1}', None),
        (b'{"event":"unsubscribed","feed":"book","product_ids":["PF_XBTUSD"]}', None),
        (b'{"feed":"heartbeat","time":1}', None), (b"x", None),
    ],
)  # fmt: skip
def test_answers_of_futures_name_products_and_errors_are_of_the_oldest_request(
    payload: bytes, expected: Answer | None
) -> None:
    assert talk("futures", "depth", "ticker").answer(payload) == expected


def test_an_error_of_futures_without_a_request_that_waits_does_no_harm() -> None:
    dialogue = talk("futures", "depth")
    dialogue.answer(b'{"event":"subscribed","feed":"book","product_ids":["PF_XBTUSD"]}')

    assert dialogue.answer(b'{"event":"alert","message":"Bad request"}') == Answer()


@pytest.mark.parametrize(
    ("market", "ping"), [("spot", (b'{"method":"ping"}',)), ("spot_v1", (b'{"event":"ping"}',)), ("futures", ())]
)
def test_pings_of_the_apis_own_kind_are_due_every_twenty_seconds(market: str, ping: tuple[bytes, ...]) -> None:
    dialogue = kraken.dialogue(market, b"")

    assert [tuple(dialogue.tick(second * 1_000_000)) for second in (1, 20, 21)] == [(), (), ping]


def test_books_are_had_by_subscribing_anew() -> None:
    assert [kraken.snapshot_by(each) for each in ("depth@1000", "depth", "trade")] == [
        "resubscribe",
        "resubscribe",
        "none",
    ]


def test_urls_are_those_of_the_api() -> None:
    own = [kraken.stream_url(market, "trade", None) for market in kraken.MARKETS]
    lists = [[each.url for each in kraken.list_requests(market, [], None)] for market in kraken.MARKETS]
    pairs = "https://api.kraken.com/0/public/AssetPairs?aclass_base="

    assert own == ["wss://ws.kraken.com/v2", "wss://ws.kraken.com/", "wss://futures.kraken.com/ws/v1"]
    assert kraken.stream_url("spot", "trade", "ws://host/x") == "ws://host/x/v2"
    assert lists[0] == lists[1] == [pairs + "currency", pairs + "tokenized_asset"]
    assert lists[2] == ["https://futures.kraken.com/derivatives/api/v3/instruments"]


def test_requests_are_json() -> None:
    asks = [
        each for market in kraken.MARKETS for each in kraken.dialogue(market, b"").subscribe(streams(market, "depth"))
    ]

    assert all(isinstance(msgspec.json.decode(each.payload), dict) for each in asks)


def test_missing_trades_are_asked_for_by_the_time_of_the_one_before_them() -> None:
    missing = Missing(venue_symbol="BTC/USD", first_id=100, last_id=1500, after_time_us=1_688_669_597_827_736)
    first = kraken.trades_request("spot", missing, "http://host", is_keyed=False)
    assert first is not None
    rows = b'["1.0","2",1688669597.8277369,"b","m","",1099]'
    body = b'{"error":[],"result":{"XXBTZUSD":[%s],"last":"1688669600000000001"}}' % rows
    second = kraken.next_trades(first, body, missing)

    assert first.url == "http://host/0/public/Trades?pair=XBTUSD&since=1688669597827735000#BTC/USD"
    assert second is not None
    assert second.url == "http://host/0/public/Trades?pair=XBTUSD&since=1688669600000000001#BTC/USD"
    assert kraken.next_trades(second, body, missing) is None
    assert kraken.next_trades(first, body.replace(b"1099", b"1500"), missing) is None
    assert kraken.next_trades(first, b'{"error":[],"result":{"XXBTZUSD":[],"last":"9"}}', missing) is None
    assert kraken.trades_request("spot_v1", missing, None, is_keyed=False) is None


def test_of_futures_the_newest_trades_are_asked_for_once() -> None:
    missing = Missing(venue_symbol="PF_XBTUSD", first_id=100, last_id=1500)
    request = kraken.trades_request("futures", missing, "http://host", is_keyed=False)

    assert request is not None
    assert request.url == "http://host/api/v3/history?symbol=PF_XBTUSD"
    assert kraken.next_trades(request, b'{"result":"success","history":[]}', missing) is None


@pytest.mark.parametrize(
    "body", [b"{", b'{"error":["EGeneral"]}', b'{"result":{"XXBTZUSD":[[1]],"last":"1"}}', b'{"result":{}}']
)
def test_an_answer_without_trades_is_told(body: bytes) -> None:
    missing = Missing(venue_symbol="BTC/USD", first_id=1, last_id=2, after_time_us=1000)
    request = kraken.trades_request("spot", missing, None, is_keyed=False)
    assert request is not None

    with pytest.raises(ValueError, match=r"\S"):
        kraken.next_trades(request, body, missing)

"""What goes to Binance and what its answers say."""

import json
from typing import Final
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from producers.limiter import BURST
from producers.venues import VENUES, _check, binance
from producers.wire import Answer, Dialogue, Missing, Stream


def test_bare_channels_get_their_default_speed() -> None:
    assert binance.full_channel("spot", "depth") == "depth@100ms"
    assert binance.full_channel("usdm", "markPrice") == "markPrice@1s"
    assert binance.full_channel("usdm", "depth@0ms") == "depth@0ms"
    assert binance.full_channel("coinm", "kline_15m") == "kline_15m"


@pytest.mark.parametrize(
    ("market", "channel"),
    [("spot", "markPrice"), ("spot", "funding"), ("spot", "candle_7m"),
     ("spot", "forceOrder"), ("spot", "depth@0ms"), ("usdm", "depth@7ms"), ("usdm", "trades"),
     ("usdm", "")],
)  # fmt: skip
def test_channel_that_a_market_lacks_is_none(market: str, channel: str) -> None:
    assert binance.full_channel(market, channel) is None


@pytest.mark.parametrize("market", binance.MARKETS)
def test_every_listed_channel_is_complete_or_can_be_completed(market: str) -> None:
    assert all(binance.full_channel(market, each) for each in binance.CHANNELS[market])


@pytest.mark.parametrize(
    ("channel", "route"),
    [("depth@100ms", "public"), ("bookTicker", "public"), ("trade", "public"), ("aggTrade", "market"),
     ("markPrice@1s", "market"), ("kline_1m", "market"), ("ticker", "market"), ("forceOrder", "market")],
)  # fmt: skip
def test_usdm_channels_are_routed_by_path(channel: str, route: str) -> None:
    assert binance.stream_url("usdm", channel, "ws://host/x") == f"ws://host/x/{route}/stream"
    assert binance.stream_url("usdm", channel, None) == f"wss://fstream.binance.com/{route}/stream"


def test_other_markets_have_one_path() -> None:
    assert binance.stream_url("spot", "trade", None) == "wss://stream.binance.com:9443/stream"
    assert binance.stream_url("coinm", "markPrice@1s", None) == "wss://dstream.binance.com/stream"


def stream(name: str) -> Stream:
    return Stream(name=name, channel="trade", venue_symbol="", partition=0, url="")


def talk(*names: str) -> Dialogue:
    """Begin a dialogue that has asked for these streams, by the request of id 1."""
    begun = binance.dialogue("spot", b"")
    begun.subscribe([stream(name) for name in names])
    return begun


@pytest.mark.parametrize(
    ("ours", "own"),
    [("quote", "bookTicker"), ("agg_trade", "aggTrade"), ("mark_price", "markPrice@1s"), ("funding", "markPrice@1s"),
     ("index", "markPrice@1s"), ("liquidation", "forceOrder"), ("candle_15m", "kline_15m"), ("trade", "trade")],
)  # fmt: skip
def test_our_words_and_the_venues_own_name_the_same_channel(ours: str, own: str) -> None:
    assert binance.full_channel("usdm", ours) == binance.full_channel("usdm", own) == own


def test_subscription_names_its_streams_and_so_does_its_end() -> None:
    names = ["btcusdt@trade", "币安人生usdt@trade"]
    dialogue = binance.dialogue("spot", b"")
    (begin,) = dialogue.subscribe([stream(name) for name in names])
    (end,) = dialogue.unsubscribe([stream(names[0])])

    assert json.loads(begin.payload) == {"method": "SUBSCRIBE", "params": names, "id": 1}
    assert begin.names == tuple(names)
    assert end.payload == b'{"method":"UNSUBSCRIBE","params":["btcusdt@trade"],"id":2}'
    assert end.names == ()


def test_more_streams_than_a_request_takes_are_asked_for_by_several() -> None:
    asks = binance.dialogue("spot", b"").subscribe([stream(f"s{number}@trade") for number in range(250)])

    assert [len(each.names) for each in asks] == [100, 100, 50]
    assert [json.loads(each.payload)["id"] for each in asks] == [1, 2, 3]


def test_stream_is_cut_from_a_message() -> None:
    assert talk().stream_of(b'{"stream":"btcusdt@depth@100ms","data":{"u":1}}') == b"btcusdt@depth@100ms"
    assert talk().stream_of(b'{"result":null,"id":1}') == b""


@given(st.binary(max_size=60))
@example(b'{"stream":"\xff","data":{}}')
@example(b'{"id":' + b"[" * 100_000)
def test_no_payload_breaks_the_cutting_or_reading(payload: bytes) -> None:
    assert isinstance(talk().stream_of(payload), bytes)
    assert isinstance(talk().answer(payload), Answer | None)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [(b'{"result":null,"id":1}', Answer(subscribed=("a@trade", "b@trade"))),
     (b'{"result":null,"id":2}', Answer()),
     (b'{"id":1,"error":{"code":2,"msg":"Invalid request"}}',
      Answer(refused=("a@trade", "b@trade"), refusal="2 Invalid request")),
     (b'{"error":{"code":3,"msg":"Invalid JSON"}}', Answer(refusal="3 Invalid JSON")),
     (b'{"e":"serverShutdown","E":1770123456789}', Answer(shutdown="the venue shuts this connection down")),
     (b'{"stream":"!serverShutdown","data":{"e":"serverShutdown"}}',
      Answer(shutdown="the venue shuts this connection down")),
     (b'{"stream":"x@trade","data":{}}', None), (b"gibberish", None), (b'{"id":"text"}', None)],
)  # fmt: skip
def test_answers_are_told_from_data(payload: bytes, expected: Answer | None) -> None:
    assert talk("a@trade", "b@trade").answer(payload) == expected


def test_refused_end_of_a_subscription_does_no_harm() -> None:
    dialogue = talk("a@trade")
    dialogue.unsubscribe([stream("a@trade")])

    assert dialogue.answer(b'{"id":2,"error":{"code":2,"msg":"no such stream"}}') == Answer()


@pytest.mark.parametrize(
    ("market", "books", "path", "limit", "weight"),
    [("spot", 4, "/api/v3/depth", "5000", 250), ("spot", 5, "/api/v3/depth", "1000", 50),
     ("usdm", 1, "/fapi/v1/depth", "1000", 20), ("coinm", 1, "/dapi/v1/depth", "1000", 20)],
)  # fmt: skip
def test_depth_request_is_the_deepest_that_so_many_books_can_afford(
    market: str, books: int, path: str, limit: str, weight: int
) -> None:
    request = binance.depth_request(market, "币BTC", "http://host", books)
    url = urlsplit(request.url)

    assert url.path == path
    assert parse_qs(url.query) == {"symbol": ["币BTC"], "limit": [limit]}
    assert request.weight == weight
    assert books * weight <= binance.LIMITS[market].weight_per_window * BURST


GONE: Final = Missing(venue_symbol="币BTC", first_id=11, last_id=1500)


@pytest.mark.parametrize(
    ("market", "path", "limit", "weight", "header"),
    [
        ("spot", "/api/v3/historicalTrades", 1000, 25, ""),
        ("usdm", "/fapi/v1/historicalTrades", 500, 20, "X-MBX-APIKEY"),
        ("coinm", "/dapi/v1/historicalTrades", 500, 20, "X-MBX-APIKEY"),
    ],
)
def test_missing_trades_are_asked_for_by_id_until_the_last(
    market: str, path: str, limit: int, weight: int, header: str
) -> None:
    first = binance.trades_request(market, GONE, "http://host", is_keyed=True)
    second = binance.next_trades(first, b'[{"id":11},{"id":1010}]', GONE)

    assert first.url == f"http://host{path}?symbol={quote('币BTC')}&limit={limit}&fromId=11"
    assert second is not None
    assert (second.url, second.weight) == (first.url.replace("fromId=11", "fromId=1011"), weight)
    assert first.key_header == second.key_header == header
    assert binance.next_trades(second, b'[{"id":1500}]', GONE) is None
    assert binance.next_trades(second, b"[]", GONE) is None


@pytest.mark.parametrize(("market", "path"), [("usdm", "/fapi/v1/trades"), ("coinm", "/dapi/v1/trades")])
def test_without_a_key_the_newest_futures_trades_are_asked_for_once(market: str, path: str) -> None:
    request = binance.trades_request(market, GONE, "http://host", is_keyed=False)

    assert (urlsplit(request.url).path, request.weight, request.key_header) == (path, 5, "")
    assert binance.next_trades(request, b'[{"id":11}]', GONE) is None


def test_few_spot_symbols_are_asked_for_by_name() -> None:
    (request,) = binance.list_requests("spot", ["btcusdt", "BTCUSDT", "ETHUSDT"], None)

    assert request.url.startswith("https://api.binance.com/api/v3/exchangeInfo?")
    assert parse_qs(urlsplit(request.url).query)["symbols"] == ['["BTCUSDT","ETHUSDT"]']


@pytest.mark.parametrize("symbols", [[], [f"S{number}USDT" for number in range(101)]])
def test_all_or_many_spot_symbols_are_asked_for_with_the_whole_list(symbols: list[str]) -> None:
    (request,) = binance.list_requests("spot", symbols, None)

    assert urlsplit(request.url).query == "showPermissionSets=false"


def test_futures_lists_come_whole() -> None:
    (request,) = binance.list_requests("coinm", ["BTCUSD_PERP"], "http://host")

    assert request.url == "http://host/dapi/v1/exchangeInfo"


def test_registry_refuses_a_venue_under_another_name() -> None:
    assert VENUES["BINANCE"] is binance
    with pytest.raises(RuntimeError, match="differ"):
        _check({"OTHER": binance})

"""What goes to Gate and what its answers say; messages as its documentation has them."""

import msgspec
import pytest

from producers.venues import gate
from producers.wire import Answer, Request, Stream


def streams(market: str, *channels: str, symbol: str = "BTC_USDT") -> list[Stream]:
    full = [gate.full_channel(market, each) or "" for each in channels]
    return [
        Stream(name=gate.stream_name(symbol, each), channel=each, venue_symbol=symbol, partition=0, url="")
        for each in full
    ]


@pytest.mark.parametrize(
    ("channel", "name"),
    [
        ("trade", "trades:BTC_USDT"),
        ("quote", "book_ticker:BTC_USDT"),
        ("depth", "order_book_update:BTC_USDT"),
        ("ticker", "tickers:BTC_USDT"),
        ("candle_1w", "candlesticks:7d_BTC_USDT"),
        ("mark_price", "tickers:BTC_USDT"),
        ("funding", "tickers:BTC_USDT"),
        ("liquidation", "public_liquidates:BTC_USDT"),
    ],
)
def test_channels_have_their_names(channel: str, name: str) -> None:
    assert [each.name for each in streams("futures", channel)] == [name]


@pytest.mark.parametrize(("market", "channel"), [("spot", "funding"), ("spot", "candle_7m"), ("futures", "tickers")])
def test_channel_that_a_market_lacks_is_none(market: str, channel: str) -> None:
    assert gate.full_channel(market, channel) is None


def test_many_symbols_go_into_one_request_but_for_books_and_candles() -> None:
    talk = gate.dialogue("spot", b"")
    wanted = [
        each
        for symbol in ("A_USDT", "B_USDT")
        for each in streams("spot", "trade", "depth", "candle_1m", symbol=symbol)
    ]
    asks = [msgspec.json.decode(each.payload) for each in talk.subscribe(wanted)]

    assert [(each["channel"], each["event"], each["payload"]) for each in asks] == [
        ("spot.candlesticks", "subscribe", ["1m", "A_USDT"]),
        ("spot.candlesticks", "subscribe", ["1m", "B_USDT"]),
        ("spot.order_book_update", "subscribe", ["A_USDT", "100ms"]),
        ("spot.order_book_update", "subscribe", ["B_USDT", "100ms"]),
        ("spot.trades", "subscribe", ["A_USDT", "B_USDT"]),
    ]
    assert [each["id"] for each in asks] == [1, 2, 3, 4, 5]


def test_an_end_names_what_the_beginning_named_and_futures_their_depth() -> None:
    (end,) = gate.dialogue("futures", b"").unsubscribe(streams("futures", "depth"))

    assert msgspec.json.decode(end.payload) == {
        "time": 1, "id": 1, "channel": "futures.order_book_update", "event": "unsubscribe",
        "payload": ["BTC_USDT", "100ms"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("payload", "stream"),
    [
        (
            b'{"time":1,"channel":"spot.trades","event":"update","result":{"id":5,"currency_pair":"BTC_USDT"}}',
            b"trades:BTC_USDT",
        ),
        (
            b'{"channel":"futures.trades","event":"update","result":[{"size":-1,"contract":"BTC_USDT"}]}',
            b"trades:BTC_USDT",
        ),
        (
            b'{"channel":"spot.order_book_update","event":"update","result":{"t":1,"s":"BTC_USDT"}}',
            b"order_book_update:BTC_USDT",
        ),
        (b'{"channel":"spot.candlesticks","event":"update","result":{"n":"1m_BTC_USDT"}}', b"candlesticks:1m_BTC_USDT"),
        (b'{"channel":"spot.trades","event":"subscribe","payload":["BTC_USDT"]}', b""),
        (b"gibberish", b""),
    ],
)
def test_the_stream_is_told_by_channel_and_symbol(payload: bytes, stream: bytes) -> None:
    assert gate.dialogue("spot", b"").stream_of(payload) == stream


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (
            b'{"id":1,"channel":"spot.trades","event":"subscribe","error":null,"result":{"status":"success"}}',
            Answer(subscribed=("trades:BTC_USDT",)),
        ),
        (
            b'{"id":1,"channel":"spot.trades","event":"subscribe","error":{"code":2,"message":"unknown pair"}}',
            Answer(refused=("trades:BTC_USDT",), refusal="2 unknown pair"),
        ),
        (
            b'{"id":9,"channel":"spot.trades","event":"subscribe","error":{"code":2,"message":"x"}}',
            Answer(refusal="2 x"),
        ),
        (b'{"time":1,"channel":"spot.pong","event":"","result":null}', Answer()),
        (
            b'{"time":1,"channel":"spot.system","event":"update","result":{"type":"upgrade","msg":"will be closed"}}',
            Answer(shutdown="will be closed"),
        ),
        (b'{"time":1,"channel":"spot.system","event":"update","result":{"type":"news"}}', None),
        (b'{"time":1,"channel":"spot.system","event":"update","result":[]}', None),
        (b'{"channel":"spot.trades","event":"update"}', None),
        (b"gibberish", None),
        (b'{"id":"x"}', None),
    ],
)
def test_answers_are_told_from_data(payload: bytes, expected: Answer | None) -> None:
    talk = gate.dialogue("spot", b"")
    talk.subscribe(streams("spot", "trade"))

    assert talk.answer(payload) == expected


def test_pings_name_the_market() -> None:
    talk = gate.dialogue("inverse", b"")

    assert [tuple(talk.tick(second * 1_000_000)) for second in (1, 15, 16)] == [
        (), (), (b'{"time":16,"channel":"futures.ping"}',),
    ]  # fmt: skip


def test_requests_and_urls() -> None:
    assert gate.stream_url("inverse", "trade", None) == "wss://fx-ws.gateio.ws/v4/ws/btc"
    assert gate.door("futures", None).headers == {"X-Gate-Size-Decimal": "1"}
    assert gate.snapshot_by("depth") == "rest"
    assert gate.depth_request("futures", "BTC_USDT", "http://host", 1) == Request(
        url="http://host/api/v4/futures/usdt/order_book?contract=BTC_USDT&limit=100&with_id=true",
        weight=1,
        headers=(("X-Gate-Size-Decimal", "1"),),
    )
    assert [each.url for each in gate.list_requests("spot", (), "http://host")] == [
        "http://host/api/v4/spot/currency_pairs"
    ]

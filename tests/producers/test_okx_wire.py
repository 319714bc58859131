"""What goes to OKX and what its answers say; messages as its documentation has them."""

import msgspec
import pytest

from producers.venues import okx
from producers.wire import Answer, Dialogue, Missing, Stream


def streams(*channels: str, market: str = "swap", symbol: str = "BTC-USDT-SWAP") -> list[Stream]:
    full = [okx.full_channel(market, each) or "" for each in channels]
    return [
        Stream(name=okx.stream_name(symbol, each), channel=each, venue_symbol=symbol, partition=0, url="")
        for each in full
    ]


def talk(*channels: str) -> Dialogue:
    """Begin a dialogue that has asked for channels of BTC-USDT-SWAP, by the request of id 1."""
    begun = okx.dialogue("swap", b"")
    begun.subscribe(streams(*channels))
    return begun


@pytest.mark.parametrize(
    ("channel", "name", "path"),
    [("trade", "trades-all:BTC-USDT-SWAP", "business"),
     ("quote", "bbo-tbt:BTC-USDT-SWAP", "public"), ("depth", "books:BTC-USDT-SWAP", "public"),
     ("ticker", "tickers:BTC-USDT-SWAP", "public"), ("candle_1m", "candle1m:BTC-USDT-SWAP", "business"),
     ("candle_1h", "candle1H:BTC-USDT-SWAP", "business"), ("candle_1d", "candle1Dutc:BTC-USDT-SWAP", "business"),
     ("mark_price", "mark-price:BTC-USDT-SWAP", "public"), ("index", "index-tickers:BTC-USDT", "public"),
     ("funding", "funding-rate:BTC-USDT-SWAP", "public"), ("open_interest", "open-interest:BTC-USDT-SWAP", "public"),
     ("liquidation", "liquidation-orders:SWAP", "public")],
)  # fmt: skip
def test_channels_have_their_names_and_paths(channel: str, name: str, path: str) -> None:
    (found,) = streams(channel)

    assert found.name == name
    assert okx.stream_url("swap", found.channel, None) == f"wss://ws.okx.com:8443/ws/v5/{path}"


@pytest.mark.parametrize(
    ("market", "channel"),
    [("spot", "funding"), ("spot", "liquidation"), ("spot", "index"), ("swap", "candle_7m"), ("swap", "1m"),
     ("swap", "books"), ("option", "index")],
)  # fmt: skip
def test_channel_that_a_market_lacks_is_none(market: str, channel: str) -> None:
    assert okx.full_channel(market, channel) is None


def test_funding_of_the_futures_that_have_it_alone_is_asked_for() -> None:
    names = ("BTC-USD_UM_XPERP-310404", "BTC-USD-261225", "BTC-USDT-261225", "BTC-USD_UM-261225")

    assert [okx.stream_name(each, "funding") for each in names] == ["funding-rate:BTC-USD_UM_XPERP-310404", "", "", ""]


def test_subscription_and_its_end_name_channel_and_instrument() -> None:
    dialogue = okx.dialogue("swap", b"")
    (begin,) = dialogue.subscribe(streams("depth", "liquidation"))
    (end,) = dialogue.unsubscribe(streams("depth"))

    assert msgspec.json.decode(begin.payload) == {
        "id": "1",
        "op": "subscribe",
        "args": [
            {"channel": "books", "instId": "BTC-USDT-SWAP"},
            {"channel": "liquidation-orders", "instType": "SWAP"},
        ],
    }
    assert end.payload == b'{"id":"2","op":"unsubscribe","args":[{"channel":"books","instId":"BTC-USDT-SWAP"}]}'


def test_a_connection_is_filled_by_few_operations_within_64_kb() -> None:
    wanted = [each for number in range(100) for each in streams("trade", "depth", "quote", "ticker",
              symbol=f"SOMETHINGLONG{number}-USDT-SWAP")]  # fmt: skip
    asks = okx.dialogue("swap", b"").subscribe(wanted)

    assert sorted(name for each in asks for name in each.names) == sorted(each.name for each in wanted)
    assert len(asks) == 1
    assert max(len(each.payload) for each in asks) < 64 * 1024


@pytest.mark.parametrize(
    ("payload", "stream"),
    [(b'{"arg":{"channel":"books","instId":"BTC-USDT-SWAP"},"action":"update","data":[{"asks":[]}]}',
      b"books:BTC-USDT-SWAP"),
     (b'{"arg":{"channel":"liquidation-orders","instType":"SWAP"},"data":[{"instId":"X-USDT-SWAP"}]}',
      b"liquidation-orders:SWAP"),
     (b'{"arg":{"channel":"open-interest","instType":"SWAP","instId":"A-SWAP"},"data":[]}', b"open-interest:A-SWAP"),
     (b'{"event":"subscribe","arg":{"channel":"books","instId":"BTC-USDT-SWAP"},"connId":"x"}', b""),
     (b"pong", b"")],
)  # fmt: skip
def test_stream_is_told_by_the_argument(payload: bytes, stream: bytes) -> None:
    dialogue = talk("depth", "liquidation")

    assert [dialogue.stream_of(payload) for _ in range(3)] == [stream] * 3


DOES_NOT_EXIST = "Wrong URL or channel:{},instId:BTC-USDT-SWAP doesn't exist. Please use the correct URL."


@pytest.mark.parametrize(
    ("payload", "expected"),
    [(b'{"id":"1","event":"subscribe","arg":{"channel":"books","instId":"BTC-USDT-SWAP"},"connId":"a"}',
      Answer(subscribed=("books:BTC-USDT-SWAP",))),
     (b'{"event":"subscribe","arg":{"channel":"liquidation-orders","instType":"SWAP"},"connId":"a"}',
      Answer(subscribed=("liquidation-orders:SWAP",))),
     (msgspec.json.encode({"event": "error", "code": "60018", "msg": DOES_NOT_EXIST.format("books"), "connId": "a"}),
      Answer(refused=("books:BTC-USDT-SWAP",), refusal=f"60018 {DOES_NOT_EXIST.format('books')}")),
     (b'{"id":"1","event":"error","code":"60014","msg":"Requests too frequent","connId":"a"}',
      Answer(refused=("books:BTC-USDT-SWAP", "tickers:BTC-USDT-SWAP"), refusal="60014 Requests too frequent")),
     (b'{"id":"2","event":"error","code":"60018","msg":"no such channel","connId":"a"}', Answer()),
     (b'{"event":"error","code":"60012","msg":"Invalid request: {\\"op\\"","connId":"a"}',
      Answer(refusal='60012 Invalid request: {"op"')),
     (b'{"event":"notice","code":"64008","msg":"The connection will soon be closed.","connId":"a"}',
      Answer(shutdown="64008 The connection will soon be closed.")),
     (b'{"event":"notice","code":"1","msg":"hello"}', Answer()),
     (b'{"event":"unsubscribe","arg":{"channel":"books","instId":"BTC-USDT-SWAP"}}', None),
     (b'{"event":"channel-conn-count","channel":"orders","connCount":"2"}', None),
     (b"pong", None), (b"gibberish", None), (b'{"event":7}', None)],
)  # fmt: skip
def test_answers_are_told_from_data(payload: bytes, expected: Answer | None) -> None:
    dialogue = talk("depth", "ticker")
    dialogue.unsubscribe(streams("depth"))

    assert dialogue.answer(payload) == expected


def test_the_word_ping_is_due_every_twenty_seconds() -> None:
    dialogue = talk()

    assert [tuple(dialogue.tick(second * 1_000_000)) for second in (1, 20, 21)] == [(), (), (b"ping",)]


def test_books_are_had_by_subscribing_anew() -> None:
    assert okx.snapshot_by("depth") == "resubscribe"
    assert okx.snapshot_by("quote") == "none"


def test_lists_come_by_type_and_options_by_family() -> None:
    urls = {market: [each.url for each in okx.list_requests(market, [], "http://host")] for market in okx.MARKETS}
    path = "http://host/api/v5/public/instruments"

    assert urls == {
        "spot": [f"{path}?instType=SPOT"],
        "swap": [f"{path}?instType=SWAP"],
        "futures": [f"{path}?instType=FUTURES"],
        "option": [f"{path}?instType=OPTION&instFamily=BTC-USD", f"{path}?instType=OPTION&instFamily=ETH-USD"],
    }


def test_missing_trades_are_asked_for_backwards_by_id() -> None:
    missing = Missing(venue_symbol="BTC-USDT-SWAP", first_id=100, last_id=250)
    first = okx.trades_request("swap", missing, "http://host", is_keyed=False)
    page = b'{"code":"0","msg":"","data":[{"tradeId":"250","px":"1"},{"tradeId":"151","px":"1"}]}'
    second = okx.next_trades(first, page, missing)

    path = "http://host/api/v5/market/history-trades?instId=BTC-USDT-SWAP&type=1&limit=100"
    assert first.url == f"{path}&after=251"
    assert second is not None
    assert second.url == f"{path}&after=151"
    assert okx.next_trades(second, b'{"code":"0","data":[{"tradeId":"100"}]}', missing) is None
    assert okx.next_trades(second, b'{"code":"0","data":[{"tradeId":"151"}]}', missing) is None
    assert okx.next_trades(second, b'{"code":"0","data":[]}', missing) is None
    with pytest.raises(ValueError, match="51001 no such instrument"):
        okx.next_trades(second, b'{"code":"51001","msg":"no such instrument","data":[]}', missing)

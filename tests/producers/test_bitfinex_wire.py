"""What goes to Bitfinex and what its answers say; messages as its documentation has them."""

import pytest

from producers.venues import bitfinex
from producers.wire import Answer, Dialogue, Stream

SYMBOLS = {"spot": "tBTCUSD", "derivatives": "tBTCF0:USTF0"}
BOOK = b'{"event":"subscribed","channel":"book","chanId":17,"symbol":"tBTCUSD","prec":"P0","freq":"F0","len":"250"}'

SUBSCRIBE = b'{"event":"subscribe","channel":"book","symbol":"tBTCUSD","prec":"P0","freq":"F0"'
ERROR = b'{"event":"error","channel":"book","symbol":"tBTCUSD","prec":"P0","freq":"F0","len":"250",'


def streams(market: str, *channels: str) -> list[Stream]:
    of = SYMBOLS[market]
    full = [bitfinex.full_channel(market, each) or "" for each in channels]
    return [
        Stream(name=bitfinex.stream_name(of, each), channel=each, venue_symbol=of, partition=0, url="") for each in full
    ]


@pytest.fixture
def dialogue() -> Dialogue:
    """A dialogue that has asked for the book of tBTCUSD, which has number 17."""
    begun = bitfinex.dialogue("spot", b"")
    begun.subscribe(streams("spot", "depth"))
    begun.answer(BOOK)
    return begun


def test_a_connection_begins_with_wishes_for_numbers_times_and_checksums() -> None:
    assert bitfinex.dialogue("spot", b"").opening() == (b'{"event":"conf","flags":229376}',)


@pytest.mark.parametrize(
    ("market", "channel", "request_"),
    [
        ("spot", "trade", b'{"event":"subscribe","channel":"trades","symbol":"tBTCUSD"}'),
        ("spot", "ticker", b'{"event":"subscribe","channel":"ticker","symbol":"tBTCUSD"}'),
        ("spot", "depth", SUBSCRIBE + b',"len":"250"}'),
        ("spot", "quote", SUBSCRIBE + b',"len":"1"}'),
        ("spot", "candle_1d", b'{"event":"subscribe","channel":"candles","key":"trade:1D:tBTCUSD"}'),
        ("derivatives", "funding", b'{"event":"subscribe","channel":"status","key":"deriv:tBTCF0:USTF0"}'),
        ("derivatives", "liquidation", b'{"event":"subscribe","channel":"status","key":"liq:global"}'),
    ],
)  # fmt: skip
def test_a_stream_is_asked_for_by_a_request_of_its_own(market: str, channel: str, request_: bytes) -> None:
    (ask,) = bitfinex.dialogue(market, b"").subscribe(streams(market, channel))

    assert (ask.payload, ask.names) == (request_, (streams(market, channel)[0].name,))


@pytest.mark.parametrize(
    ("market", "channel", "payload"),
    [
        ("spot", "trade", b'{"event":"subscribed","channel":"trades","chanId":89,"symbol":"tBTCUSD","pair":"BTCUSD"}'),
        ("spot", "depth", BOOK),
        ("spot", "depth", BOOK.replace(b'"250"', b"250")),
        ("spot", "quote", BOOK.replace(b'"250"', b'"1"')),
        ("spot", "candle_1m", b'{"event":"subscribed","channel":"candles","chanId":5,"key":"trade:1m:tBTCUSD"}'),
        ("derivatives", "index", b'{"event":"subscribed","channel":"status","chanId":5,"key":"deriv:tBTCF0:USTF0"}'),
        ("derivatives", "liquidation", b'{"event":"subscribed","channel":"status","chanId":5,"key":"liq:global"}'),
    ],
)  # fmt: skip
def test_an_answer_names_its_stream_by_what_it_is_of(market: str, channel: str, payload: bytes) -> None:
    assert bitfinex.dialogue(market, b"").answer(payload) == Answer(subscribed=(streams(market, channel)[0].name,))


def test_a_message_tells_its_stream_by_a_number_until_that_is_ended(dialogue: Dialogue) -> None:
    messages = (b"[17,[45000,0,1],8,1795168800210]", b'[17,"hb",9]', b"[18,[45000,0,1]]", b'{"event":"info"}')
    assert [dialogue.stream_of(each) for each in messages] == [b"depth@250 tBTCUSD", b"depth@250 tBTCUSD", b"", b""]

    dialogue.answer(b'{"event":"unsubscribed","status":"OK","chanId":17}')
    assert dialogue.stream_of(messages[0]) == b""


def test_a_subscription_is_ended_by_its_number_and_one_without_a_number_is_not(dialogue: Dialogue) -> None:
    assert [each.payload for each in dialogue.unsubscribe(streams("spot", "depth", "trade"))] == [
        b'{"event":"unsubscribe","chanId":17}'
    ]


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (ERROR + b'"msg":"symbol: invalid","code":10300}',
         Answer(refused=("depth@250 tBTCUSD",), refusal="10300 symbol: invalid")),
        (ERROR + b'"msg":"subscribe: dup","code":10301}', Answer(subscribed=("depth@250 tBTCUSD",))),
        (b'{"event":"error","msg":"unsubscribe: invalid","code":10400,"chanId":17}', Answer()),
        (b'{"event":"error","msg":"Unknown event","code":10000}', Answer(refusal="10000 Unknown event")),
        (b'{"event":"info","code":20051,"msg":"Stop/Restart Websocket Server (please reconnect)"}',
         Answer(shutdown="20051 Stop/Restart Websocket Server (please reconnect)")),
        (b'{"event":"info","code":20061,"msg":"Maintenance ended"}', Answer(shutdown="20061 Maintenance ended")),
        (b'{"event":"info","code":20060,"msg":"Entering in Maintenance mode"}', None),
        (b'{"event":"info","version":2,"platform":{"status":1}}', None),
        (b'{"event":"conf","status":"OK","flags":229376}', None),
        (b'[17,"hb",9]', None), (b"x", None),
    ],
)  # fmt: skip
def test_answers_are_told_from_data(dialogue: Dialogue, payload: bytes, expected: Answer | None) -> None:
    assert dialogue.answer(payload) == expected


@pytest.mark.parametrize(("market", "channel"), [("spot", "funding"), ("spot", "depth@50"), ("spot", "candle_2m")])
def test_channel_that_a_market_lacks_is_none(market: str, channel: str) -> None:
    assert bitfinex.full_channel(market, channel) is None


def test_what_status_tells_is_one_stream_and_liquidations_are_of_all_symbols() -> None:
    facts = ("mark_price", "index", "funding", "open_interest")

    assert {each.name for each in streams("derivatives", *facts)} == {"mark_price tBTCF0:USTF0"}
    assert [each.name for each in streams("derivatives", "liquidation")] == ["liquidation global"]
    assert set(bitfinex.SHARED_CHANNELS) == {"liquidation"}


def test_books_are_had_by_subscribing_anew() -> None:
    assert [bitfinex.snapshot_by(each) for each in ("depth@250", "quote")] == ["resubscribe", "none"]


def test_urls_and_lists() -> None:
    lists = {market: [each.url for each in bitfinex.list_requests(market, [], "http://h")] for market in SYMBOLS}

    assert bitfinex.stream_url("spot", "trade", None) == "wss://api-pub.bitfinex.com/ws/2"
    assert lists == {
        "spot": ["http://h/v2/conf/pub:list:pair:exchange,pub:map:currency:sym"],
        "derivatives": ["http://h/v2/conf/pub:list:pair:futures,pub:map:currency:sym"],
    }

"""What goes to KuCoin and what its answers say; messages as its documentation has them."""

import msgspec
import pytest

from producers.venues import kucoin
from producers.wire import Answer, Request, Stream

TICKET = msgspec.json.encode({
    "code": "200000",
    "data": {
        "token": "a/b=", "instanceServers": [{"endpoint": "wss://host/endpoint", "pingInterval": 10000}],
    },
})  # fmt: skip


def streams(market: str, *channels: str, symbol: str = "BTC-USDT") -> list[Stream]:
    full = [kucoin.full_channel(market, each) or "" for each in channels]
    return [
        Stream(name=kucoin.stream_name(symbol, each), channel=each, venue_symbol=symbol, partition=0, url="")
        for each in full
    ]


@pytest.mark.parametrize(
    ("market", "channel", "name"),
    [
        ("spot", "trade", "/market/match:BTC-USDT"),
        ("spot", "quote", "/market/ticker:BTC-USDT"),
        ("spot", "depth", "/market/level2:BTC-USDT"),
        ("spot", "ticker", "/market/snapshot:BTC-USDT"),
        ("spot", "candle_1h", "/market/candles:BTC-USDT_1hour"),
        ("futures", "trade", "/contractMarket/execution:BTC-USDT"),
        ("futures", "mark_price", "/contract/instrument:BTC-USDT"),
        ("futures", "funding", "/contract/instrument:BTC-USDT"),
        ("futures", "candle_1m", "/contractMarket/limitCandle:BTC-USDT_1min"),
    ],
)
def test_channels_have_their_topics(market: str, channel: str, name: str) -> None:
    assert [each.name for each in streams(market, channel)] == [name]


@pytest.mark.parametrize(
    ("market", "channel"), [("spot", "funding"), ("spot", "candle_7m"), ("futures", "liquidation")]
)
def test_channel_that_a_market_lacks_is_none(market: str, channel: str) -> None:
    assert kucoin.full_channel(market, channel) is None


def test_a_topic_takes_a_hundred_symbols() -> None:
    wanted = [each for number in range(150) for each in streams("spot", "trade", symbol=f"S{number}-USDT")]
    asks = kucoin.dialogue("spot", TICKET).subscribe(wanted)

    first = msgspec.json.decode(asks[0].payload)
    assert [len(each.names) for each in asks] == [100, 50]
    assert (first["id"], first["type"], first["response"]) == ("1", "subscribe", True)
    assert first["topic"].startswith("/market/match:S0-USDT,S1-USDT,")


def test_each_connection_is_made_by_a_token_and_waits_for_a_welcome() -> None:
    door = kucoin.door("futures", "http://host")
    talk = kucoin.dialogue("spot", TICKET)

    assert door.ticket == Request(url="http://host/api/v1/bullet-public", weight=10, method="POST")
    assert kucoin.connect_url("wss://x", TICKET, "c-1") == "wss://host/endpoint?token=a%2Fb%3D&connectId=c-1"
    assert talk.waits_for_welcome
    assert talk.answer(b'{"id":"x","type":"welcome"}') == Answer(is_welcome=True)


@pytest.mark.parametrize("ticket", [b"", b"{}", b'{"data":{"token":"x","instanceServers":[]}}'])
def test_what_is_no_token_is_refused(ticket: bytes) -> None:
    with pytest.raises(ValueError, match="token"):
        kucoin.connect_url("wss://x", ticket, "c-1")


def test_pings_are_as_frequent_as_the_token_says() -> None:
    talk = kucoin.dialogue("spot", TICKET)

    assert [len(talk.tick(second * 1_000_000)) for second in (1, 10, 11, 20, 21)] == [0, 0, 1, 0, 1]


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b'{"id":"1","type":"ack"}', Answer(subscribed=("/market/match:BTC-USDT",))),
        (
            b'{"id":"1","type":"error","code":404,"data":"topic is not found"}',
            Answer(refused=("/market/match:BTC-USDT",), refusal='404 "topic is not found"'),
        ),
        (b'{"id":"ping","type":"pong"}', Answer()),
        (b'{"type":"message","topic":"x"}', None),
        (b"gibberish", None),
    ],
)
def test_answers_are_told_from_data(payload: bytes, expected: Answer | None) -> None:
    talk = kucoin.dialogue("spot", TICKET)
    talk.subscribe(streams("spot", "trade"))

    assert talk.answer(payload) == expected


def test_the_stream_is_the_topic() -> None:
    talk = kucoin.dialogue("spot", TICKET)

    assert talk.stream_of(b'{"type":"message","topic":"/market/match:BTC-USDT","data":{}}') == b"/market/match:BTC-USDT"
    assert talk.stream_of(b'{"id":"1","type":"ack"}') == b""


def test_requests() -> None:
    assert kucoin.snapshot_by(kucoin.full_channel("spot", "depth") or "") == "rest"
    assert kucoin.depth_request("spot", "BTC-USDT", "http://host", 1).url == (
        "http://host/api/v1/market/orderbook/level2_100?symbol=BTC-USDT"
    )
    assert [each.url for each in kucoin.list_requests("futures", (), None)] == [
        "https://api-futures.kucoin.com/api/v1/contracts/active"
    ]

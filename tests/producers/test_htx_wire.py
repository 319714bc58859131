"""What goes to HTX and what its answers say; messages as its documentation has them, compressed as they come."""

import gzip

import msgspec
import pytest

from producers.venues import htx
from producers.wire import Answer, Stream


def streams(market: str, *channels: str, symbol: str = "BTC-USDT") -> list[Stream]:
    full = [htx.full_channel(market, each) or "" for each in channels]
    return [
        Stream(name=htx.stream_name(symbol, each), channel=each, venue_symbol=symbol, partition=0, url="")
        for each in full
    ]


@pytest.mark.parametrize(
    ("channel", "name", "path"),
    [
        ("trade", "market.BTC-USDT.trade.detail", "/linear-swap-ws"),
        ("quote", "market.BTC-USDT.bbo", "/linear-swap-ws"),
        ("depth", "market.BTC-USDT.depth.size_150.high_freq", "/linear-swap-ws"),
        ("ticker", "market.BTC-USDT.detail", "/linear-swap-ws"),
        ("candle_1h", "market.BTC-USDT.kline.60min", "/linear-swap-ws"),
        ("mark_price", "market.BTC-USDT.mark_price.1min", "/ws_index"),
        ("index", "market.BTC-USDT.index.1min", "/ws_index"),
        ("funding", "public.BTC-USDT.funding_rate", "/linear-swap-notification"),
        ("liquidation", "public.BTC-USDT.liquidation_orders", "/linear-swap-notification"),
    ],
)
def test_channels_have_their_names_and_paths(channel: str, name: str, path: str) -> None:
    (found,) = streams("linear", channel)

    assert found.name == name
    assert htx.stream_url("linear", found.channel, None) == f"wss://api.hbdm.com{path}"


def test_spot_books_have_a_path_and_a_snapshot_of_their_own() -> None:
    (found,) = streams("spot", "depth", symbol="btcusdt")
    talk = htx.dialogue("spot", b"")
    (ask,) = talk.snapshot([found])

    assert htx.stream_url("spot", found.channel, None) == "wss://api.huobi.pro/feed"
    assert htx.snapshot_by(found.channel) == "message"
    assert msgspec.json.decode(ask.payload) == {"req": "market.btcusdt.mbp.400", "id": "1"}


@pytest.mark.parametrize(("market", "channel"), [("spot", "funding"), ("spot", "candle_7m"), ("coin", "open_interest")])
def test_channel_that_a_market_lacks_is_none(market: str, channel: str) -> None:
    assert htx.full_channel(market, channel) is None


def test_each_stream_is_a_request_and_notifications_have_their_own_form() -> None:
    talk = htx.dialogue("linear", b"")
    asks = [
        msgspec.json.decode(each.payload) for each in talk.subscribe(streams("linear", "trade", "depth", "funding"))
    ]
    (end,) = talk.unsubscribe(streams("linear", "trade"))

    assert asks == [
        {"sub": "market.BTC-USDT.trade.detail", "id": "1"},
        {"sub": "market.BTC-USDT.depth.size_150.high_freq", "id": "2", "data_type": "incremental"},
        {"op": "sub", "cid": "3", "topic": "public.BTC-USDT.funding_rate"},
    ]
    assert msgspec.json.decode(end.payload) == {"unsub": "market.BTC-USDT.trade.detail", "id": "4"}


@pytest.mark.parametrize("pack", [gzip.compress, bytes])
@pytest.mark.parametrize(
    ("payload", "stream"),
    [
        (b'{"ch":"market.btcusdt.bbo","ts":1,"tick":{}}', b"market.btcusdt.bbo"),
        (b'{"op":"notify","topic":"public.BTC-USDT.funding_rate","ts":1,"data":[]}', b"public.BTC-USDT.funding_rate"),
        (b'{"ping":1795910400144}', b""),
    ],
)
def test_the_stream_is_told_of_a_frame_as_it_comes(pack: type[bytes], payload: bytes, stream: bytes) -> None:
    assert htx.dialogue("spot", b"").stream_of(pack(payload)) == stream


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b'{"ping":1795910400144}', Answer(sends=(b'{"pong":1795910400144}',))),
        (b'{"op":"ping","ts":"1795910400144"}', Answer(sends=(b'{"op":"pong","ts":"1795910400144"}',))),
        (
            b'{"id":"1","status":"ok","subbed":"market.BTC-USDT.trade.detail","ts":1}',
            Answer(subscribed=("market.BTC-USDT.trade.detail",)),
        ),
        (
            b'{"op":"sub","cid":"2","topic":"public.BTC-USDT.funding_rate","ts":1,"err-code":0}',
            Answer(subscribed=("public.BTC-USDT.funding_rate",)),
        ),
        (
            b'{"id":"1","status":"error","err-code":"bad-request","err-msg":"invalid topic","ts":1}',
            Answer(refused=("market.BTC-USDT.trade.detail",), refusal="bad-request invalid topic"),
        ),
        (b'{"id":"5","rep":"market.btcusdt.mbp.400","status":"ok","data":{"seqNum":1}}', Answer()),
        (b'{"id":"3","status":"error","err-code":"too-many-requests","err-msg":"req of a book","ts":1}', Answer()),
        (b"gibberish", None),
        (b'{"ts":1}', None),
    ],
)
def test_answers_are_told_from_data(payload: bytes, expected: Answer | None) -> None:
    talk = htx.dialogue("linear", b"")
    talk.subscribe(streams("linear", "trade", "funding"))
    talk.snapshot(streams("linear", "depth"))

    assert talk.answer(gzip.compress(payload)) == expected


def test_a_compressed_bomb_is_looked_at_no_further_than_its_start() -> None:
    bomb = gzip.compress(b'{"ch":"market.btcusdt.bbo","x":"' + bytes(50_000_000))

    assert htx.dialogue("spot", b"").stream_of(bomb) == b"market.btcusdt.bbo"


def test_lists_come_whole() -> None:
    assert [each.url for market in htx.MARKETS for each in htx.list_requests(market, (), "http://host")] == [
        "http://host/v1/common/symbols",
        "http://host/linear-swap-api/v1/swap_contract_info?business_type=all",
        "http://host/swap-api/v1/swap_contract_info",
    ]

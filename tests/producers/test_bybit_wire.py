"""What goes to Bybit and what its answers say; messages as its documentation has them."""

import pytest

from producers.venues import bybit
from producers.wire import Answer, Dialogue, Missing, Stream, kind_of


def streams(*channels: str, market: str = "linear", symbol: str = "BTCUSDT") -> list[Stream]:
    full = [bybit.full_channel(market, each) or "" for each in channels]
    return [
        Stream(name=bybit.stream_name(symbol, each), channel=each, venue_symbol=symbol, partition=0, url="")
        for each in full
    ]


def talk(*channels: str, market: str = "linear") -> Dialogue:
    """Begin a dialogue that has asked for channels of BTCUSDT, by the request of id 1."""
    begun = bybit.dialogue(market, b"")
    begun.subscribe(streams(*channels, market=market))
    return begun


@pytest.mark.parametrize(
    ("channel", "topic"),
    [("trade", "publicTrade.BTCUSDT"), ("quote", "orderbook.1.BTCUSDT"), ("depth", "orderbook.1000.BTCUSDT"),
     ("depth@50", "orderbook.50.BTCUSDT"), ("ticker", "tickers.BTCUSDT"), ("candle_1m", "kline.1.BTCUSDT"),
     ("candle_4h", "kline.240.BTCUSDT"), ("candle_1w", "kline.W.BTCUSDT"), ("mark_price", "tickers.BTCUSDT"),
     ("index", "tickers.BTCUSDT"), ("funding", "tickers.BTCUSDT"), ("open_interest", "tickers.BTCUSDT"),
     ("liquidation", "allLiquidation.BTCUSDT")],
)  # fmt: skip
def test_channels_have_their_topics(channel: str, topic: str) -> None:
    (found,) = streams(channel)

    assert found.name == topic


@pytest.mark.parametrize(
    ("market", "channel"),
    [("spot", "funding"), ("spot", "liquidation"), ("linear", "depth@500"), ("linear", "candle_7m"), ("linear", "1m"),
     ("inverse", "bookTicker")],
)  # fmt: skip
def test_channel_that_a_market_lacks_is_none(market: str, channel: str) -> None:
    assert bybit.full_channel(market, channel) is None


def test_silence_is_judged_by_our_words() -> None:
    assert [each.kind for each in streams("depth@50", "candle_1h", "funding")] == ["depth", "candle", "ticker"]
    assert kind_of("liquidation") in bybit.QUIET_CHANNELS


def test_each_market_has_its_path() -> None:
    assert bybit.stream_url("inverse", "trade", None) == "wss://stream.bybit.com/v5/public/inverse"
    assert bybit.stream_url("spot", "depth@50", "ws://host/x") == "ws://host/x/v5/public/spot"


def test_subscription_and_its_end_name_their_topics() -> None:
    dialogue = bybit.dialogue("linear", b"")
    (begin,) = dialogue.subscribe(streams("trade", "quote"))
    (end,) = dialogue.unsubscribe(streams("trade"))

    assert begin.payload == b'{"req_id":"1","op":"subscribe","args":["publicTrade.BTCUSDT","orderbook.1.BTCUSDT"]}'
    assert end.payload == b'{"req_id":"2","op":"unsubscribe","args":["publicTrade.BTCUSDT"]}'


def test_spot_takes_ten_topics_a_request() -> None:
    wanted = [each for number in range(25) for each in streams("trade", market="spot", symbol=f"C{number}USDT")]

    assert [len(each.names) for each in bybit.dialogue("spot", b"").subscribe(wanted)] == [10, 10, 5]
    assert [len(each.names) for each in bybit.dialogue("linear", b"").subscribe(wanted)] == [25]


def test_a_connection_holds_no_more_characters_of_topics_than_the_venue_takes() -> None:
    longest = len('"allLiquidation.1000000BABYDOGEUSDT",')

    assert bybit.LIMITS["linear"].streams_per_connection * longest <= 21_000


@pytest.mark.parametrize(
    ("payload", "stream"),
    [(b'{"topic":"orderbook.50.BTCUSDT","type":"snapshot","ts":1,"data":{}}', b"orderbook.50.BTCUSDT"),
     (b'{"type":"delta", "topic":"tickers.BTCUSDT","data":{}}', b"tickers.BTCUSDT"),
     (b'{"success":true,"ret_msg":"pong","conn_id":"x","op":"ping"}', b""), (b"", b"")],
)  # fmt: skip
def test_topic_is_cut_from_a_message(payload: bytes, stream: bytes) -> None:
    assert talk().stream_of(payload) == stream


BOTH = ("publicTrade.BTCUSDT", "orderbook.1.BTCUSDT")


@pytest.mark.parametrize(
    ("payload", "expected"),
    [(b'{"success":true,"ret_msg":"subscribe","conn_id":"c","req_id":"1","op":"subscribe"}', Answer(subscribed=BOTH)),
     (b'{"success":true,"ret_msg":"","conn_id":"c","req_id":"9","op":"subscribe"}', Answer()),
     (b'{"success":false,"ret_msg":"error:handler not found,topic:x","conn_id":"c","req_id":"1","op":"subscribe"}',
      Answer(refused=BOTH, refusal="error:handler not found,topic:x")),
     ((b'{"success":false,"ret_msg":"partly","req_id":"1","op":"subscribe","data":{"failTopics":["orderbook.1.BTCUSDT"],'
      b'"successTopics":["publicTrade.BTCUSDT"]}}'),
      Answer(subscribed=BOTH[:1], refused=BOTH[1:], refusal="partly")),
     (b'{"success":false,"ret_msg":"too frequent","req_id":"","op":""}', Answer(refusal="too frequent")),
     (b'{"success":true,"ret_msg":"pong","conn_id":"c","req_id":"","op":"ping"}', None),
     (b'{"topic":"publicTrade.X","data":[]}', None), (b"gibberish", None), (b'{"success":"yes"}', None)],
)  # fmt: skip
def test_answers_are_told_from_data(payload: bytes, expected: Answer | None) -> None:
    assert talk("trade", "quote").answer(payload) == expected


def test_a_topic_that_is_subscribed_already_is_subscribed() -> None:
    again = b'{"success":false,"ret_msg":"error:already subscribed,topic:x","req_id":"1","op":"subscribe"}'

    assert talk("trade").answer(again) == Answer(subscribed=BOTH[:1])
    assert talk("trade", "quote").answer(again) == Answer(refused=BOTH, refusal="error:already subscribed,topic:x")


def test_a_ping_is_due_every_twenty_seconds() -> None:
    dialogue = talk()

    assert [tuple(dialogue.tick(second * 1_000_000)) for second in (1, 20, 21)] == [(), (), (b'{"op":"ping"}',)]


def test_books_are_had_by_subscribing_anew() -> None:
    assert bybit.snapshot_by("depth@1000") == "resubscribe"
    assert bybit.snapshot_by("quote") == bybit.snapshot_by("trade") == "none"


def test_lists_come_in_pages_by_the_cursor_of_the_last_one() -> None:
    (first,) = bybit.list_requests("linear", ["BTCUSDT"], "http://host")
    body = (
        b'{"retCode":0,"retMsg":"OK","result":{"category":"linear","list":[],"nextPageCursor":"first%3DA%26last%3DB"}}'
    )
    second = bybit.next_page(first, body)
    assert second is not None
    third = bybit.next_page(second, body.replace(b"last%3DB", b"last%3DC"))
    assert third is not None

    assert first.url == "http://host/v5/market/instruments-info?category=linear&limit=1000"
    assert second.url == f"{first.url}&cursor=first%3DA%26last%3DB"
    assert third.url == f"{first.url}&cursor=first%3DA%26last%3DC"
    assert bybit.next_page(third, b'{"retCode":0,"result":{"list":[],"nextPageCursor":""}}') is None


def test_spot_is_listed_in_one_page() -> None:
    (request,) = bybit.list_requests("spot", [], None)

    assert request.url == "https://api.bybit.com/v5/market/instruments-info?category=spot"
    assert bybit.next_page(request, b'{"retCode":0,"result":{"list":[],"nextPageCursor":null}}') is None


@pytest.mark.parametrize("body", [b"<html>", b'{"retCode":10006,"retMsg":"Too many visits!","result":{}}', b"[]"])
def test_a_page_that_is_none_is_told(body: bytes) -> None:
    (request,) = bybit.list_requests("linear", [], None)

    with pytest.raises(ValueError, match=r"not a page|10006 Too many visits"):
        bybit.next_page(request, body)


@pytest.mark.parametrize(("market", "limit"), [("spot", 60), ("linear", 1000), ("inverse", 1000)])
def test_the_newest_trades_are_asked_for_where_some_were_lost(market: str, limit: int) -> None:
    missing = Missing(venue_symbol="BTCUSDT", first_id=0, last_id=0, after_time_us=1)
    request = bybit.trades_request(market, missing, "http://host", is_keyed=False)

    query = f"category={market}&symbol=BTCUSDT&limit={limit}"
    assert request.url == f"http://host/v5/market/recent-trade?{query}"
    assert bybit.next_trades(request, b"", missing) is None  # type: ignore[func-returns-value]  # as all venues offer it

"""What goes to Deribit and what its answers say."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fuzz.seeds import whole_messages
from producers import plan as planning
from producers.venues import deribit
from producers.wire import Answer, Dialogue, Missing, Stream
from schemas.venues.deribit import assumed_instrument
from tickerplant.settings import Venue

SYMBOLS = {
    "futures": ("BTC-25DEC26", "BTC-PERPETUAL"),
    "options": ("BTC-25DEC26-60000-C", "btc_usd"),
    "spot": ("BTC_USDC",),
}


def streams(market: str, *channels: str) -> list[Stream]:
    entry = Venue(venue="DERIBIT", market=market, symbols=("*",), channels=channels, websocket_url="ws://host")
    return planning.streams(entry, [assumed_instrument(market, name, 0) for name in SYMBOLS[market]], 1)


def begun(market: str = "futures", *channels: str) -> Dialogue:
    """Begin a dialogue that has asked for these channels of the market's symbols, by the request of id 1."""
    dialogue = deribit.dialogue(market, b"")
    dialogue.subscribe(streams(market, *(channels or ("depth",))))
    return dialogue


def reply(**fields: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", **fields}).encode()


@pytest.mark.parametrize("market", deribit.MARKETS)
def test_every_listed_channel_can_be_completed(market: str) -> None:
    assert all(deribit.full_channel(market, each) for each in deribit.CHANNELS[market])


@pytest.mark.parametrize(
    ("market", "channel"),
    [("spot", "funding"), ("options", "funding"), ("futures", "volatility_index"), ("futures", "candle_7m"),
     ("futures", "depth@raw"), ("futures", "")],
)  # fmt: skip
def test_a_channel_that_a_market_lacks_is_none(market: str, channel: str) -> None:
    assert deribit.full_channel(market, channel) is None


@pytest.mark.parametrize(
    ("channel", "name"),
    [("trade", "trades.BTC-PERPETUAL.100ms"), ("liquidation", "trades.BTC-PERPETUAL.100ms"),
     ("depth", "book.BTC-PERPETUAL.100ms"), ("depth@agg2", "book.BTC-PERPETUAL.agg2"),
     ("ticker", "ticker.BTC-PERPETUAL.100ms"), ("open_interest", "ticker.BTC-PERPETUAL.100ms"),
     ("quote", "quote.BTC-PERPETUAL"), ("candle_3h", "chart.trades.BTC-PERPETUAL.180")],
)  # fmt: skip
def test_streams_go_by_the_venues_channels(channel: str, name: str) -> None:
    full = deribit.full_channel("futures", channel)

    assert full is not None
    assert deribit.stream_name("BTC-PERPETUAL", full) == name


def test_options_and_their_volatility_index_share_one_stream() -> None:
    found = {each.name: each for each in streams("options", "trade", "volatility_index")}

    assert set(found) == {"trades.BTC-25DEC26-60000-C.100ms", "deribit_volatility_index.btc_usd"}
    assert found["deribit_volatility_index.btc_usd"].kind == "volatility_index"


def test_a_currency_without_a_volatility_index_has_no_stream_of_it() -> None:
    entry = Venue(venue="DERIBIT", market="options", symbols=("*",), channels=("volatility_index", "trade"))
    option = assumed_instrument("options", "SOL_USDC-25DEC26-200-C", 0)

    assert [each.name for each in planning.streams(entry, [option], 1)] == ["trades.SOL_USDC-25DEC26-200-C.100ms"]


def test_requests_are_json_rpc_and_begin_with_a_wish_for_heartbeats() -> None:
    dialogue = deribit.dialogue("futures", b"")
    (opening,) = dialogue.opening()
    (ask,) = dialogue.subscribe(streams("futures", "quote"))
    (end,) = dialogue.unsubscribe(streams("futures", "quote")[:1])

    assert opening == b'{"jsonrpc":"2.0","id":0,"method":"public/set_heartbeat","params":{"interval":30}}'
    assert json.loads(ask.payload) == {
        "jsonrpc": "2.0", "id": 1, "method": "public/subscribe",
        "params": {"channels": ["quote.BTC-25DEC26", "quote.BTC-PERPETUAL"]},
    }  # fmt: skip
    assert ask.names == ("quote.BTC-25DEC26", "quote.BTC-PERPETUAL")
    assert json.loads(end.payload)["method"] == "public/unsubscribe"


@pytest.mark.parametrize("market", deribit.MARKETS)
def test_each_documented_message_of_a_symbol_is_of_a_stream_that_can_be_subscribed(market: str) -> None:
    names = {each.name.encode() for each in streams(market, *deribit.CHANNELS[market])}
    read_alone = {  # not subscribed
        b"trades.option.BTC.100ms",
        b"book.BTC-25DEC26.none.20.100ms",
        b"perpetual.BTC-PERPETUAL.100ms",
        b"markprice.options.btc_usd",
    }

    for message in whole_messages("DERIBIT", market).values():
        assert begun(market).stream_of(json.dumps(message, separators=(",", ":")).encode()) in names | read_alone


BOOKS = ("book.BTC-25DEC26.100ms", "book.BTC-PERPETUAL.100ms")


@pytest.mark.parametrize(
    ("payload", "expected"),
    [(reply(id=1, result=list(reversed(BOOKS))), Answer(subscribed=BOOKS)),
     (reply(id=1, result=list(BOOKS[:1])),
      Answer(subscribed=BOOKS[:1], refused=BOOKS[1:], refusal="the answer does not name it")),
     (reply(id=1, error={"code": -32602, "message": "Invalid params", "data": {"reason": "unknown instrument"}}),
      Answer(refused=BOOKS, refusal="-32602 Invalid params {'reason': 'unknown instrument'}")),
     (reply(id=0, result="ok"), Answer()), (reply(id=0, error={"code": 1, "message": "x"}), Answer()),
     (reply(id=9, error={"code": 10028, "message": "too_many_requests"}), Answer(refusal="10028 too_many_requests")),
     (reply(method="heartbeat", params={"type": "heartbeat"}), Answer()),
     (reply(method="heartbeat", params={"type": "test_request"}),
      Answer(sends=(b'{"jsonrpc":"2.0","id":0,"method":"public/test","params":{}}',))),
     (reply(method="subscription", params={"channel": "x", "data": 1}), None), (b"gibberish", None)],
)  # fmt: skip
def test_answers_are_told_from_data(payload: bytes, expected: Answer | None) -> None:
    assert begun().answer(payload) == expected


@given(st.binary(max_size=60))
@example(b'{"id":1,"result":5}')
@example(b'{"id":1,"result":[[],5]}')
@example(b'{"id":' + b"[" * 100_000)
@example(b'{"method":"\xff"}')
def test_no_payload_breaks_the_cutting_or_reading(payload: bytes) -> None:
    assert isinstance(begun().stream_of(payload), bytes)
    assert isinstance(begun().answer(payload), Answer | None)


def test_books_come_anew_by_subscribing_anew() -> None:
    assert (deribit.snapshot_by("depth@100ms"), deribit.snapshot_by("ticker@100ms")) == ("resubscribe", "none")


def test_addresses() -> None:
    assert deribit.stream_url("spot", "quote", None) == "wss://www.deribit.com/ws/api/v2"
    assert [each.url for each in deribit.list_requests("options", (), "http://host")] == [
        "http://host/api/v2/public/get_instruments?currency=any&kind=option&expired=false"
    ]


def test_missing_trades_are_asked_for_by_their_numbers() -> None:
    missing = Missing(venue_symbol="BTC-PERPETUAL", first_id=100, last_id=1500)
    first = deribit.trades_request("futures", missing, "http://host", is_keyed=False)
    body = b'{"result":{"trades":[{"trade_seq":1099},{"trade_seq":100}],"has_more":true}}'
    second = deribit.next_trades(first, body, missing)

    head = (
        "http://host/api/v2/public/get_last_trades_by_instrument?instrument_name=BTC-PERPETUAL&count=1000&sorting=asc"
    )
    assert first.url == f"{head}&start_seq=100&end_seq=1500"
    assert second is not None
    assert second.url == f"{head}&start_seq=1100&end_seq=1500"
    assert deribit.next_trades(second, body.replace(b"true", b"false"), missing) is None

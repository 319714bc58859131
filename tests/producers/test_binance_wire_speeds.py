"""Streams that Binance sends at its own speed carry no speed in their names; ours always say it."""

import pytest

from producers.venues import binance


@pytest.mark.parametrize(
    ("market", "channel", "stream"),
    [
        ("spot", "depth", "btcusdt@depth@100ms"),
        ("spot", "depth@1000ms", "btcusdt@depth"),
        ("usdm", "depth@250ms", "btcusdt@depth"),
        ("coinm", "depth@500ms", "btcusdt@depth@500ms"),
        ("usdm", "markPrice", "btcusdt@markPrice@1s"),
        ("usdm", "markPrice@3s", "btcusdt@markPrice"),
    ],
)
def test_a_channel_names_the_stream_of_its_speed(market: str, channel: str, stream: str) -> None:
    full = binance.full_channel(market, channel)

    assert full is not None
    assert binance.stream_name("BTCUSDT", full) == stream


def test_a_speed_the_market_does_not_have_is_unknown() -> None:
    assert binance.full_channel("spot", "depth@250ms") is None

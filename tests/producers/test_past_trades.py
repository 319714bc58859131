"""Requests for missing trades, page by page, and answers that cannot be read: none of them ends the fetching."""

import json
from typing import Any, Final

import pytest

from producers.venues import VENUES
from producers.wire import Missing, Request

MARKETS = [(name, market) for name, wire in VENUES.items() for market in wire.MARKETS]
DEEP = b"[" * 100_000
BODIES = [
    b"",
    b"\xff\xfe",
    b"null",
    b"[]",
    b"{}",
    b"[1",
    b'[{"id":1,"x":' + DEEP,
    b'{"result":' + DEEP,
    DEEP,
    b"[[]]",
    b"7",
]
UNREADABLE = (ValueError, RecursionError)
"""What `producers.healing` takes for a page that tells nothing."""
AFTER_S: Final = 1_700_000_000
LOST: Final = {"after_time_us": AFTER_S * 1_000_000 + 250_000, "until_time_us": AFTER_S * 1_000_000 + 60_500_999}
"""A minute and a quarter of a second."""


@pytest.mark.parametrize("body", BODIES, ids=lambda body: repr(body[:12]))
@pytest.mark.parametrize(("name", "market"), MARKETS)
def test_a_page_is_followed_by_another_or_none_or_it_cannot_be_read(name: str, market: str, body: bytes) -> None:
    missing = Missing(venue_symbol="BTC-USDT", first_id=10, last_id=20, **LOST)
    request = VENUES[name].trades_request(market, missing, "http://host", is_keyed=True)
    if request is None:
        return  # this market tells no past trades

    try:
        following = VENUES[name].next_trades(request, body, missing)
    except UNREADABLE:
        return

    assert following is None or following != request


def asked(name: str, market: str, symbol: str, **times: int) -> tuple[Request | None, Missing]:
    """Ask for what was lost of a symbol whose ids tell no holes."""
    missing = Missing(venue_symbol=symbol, first_id=0, last_id=0, **(times or LOST))
    return VENUES[name].trades_request(market, missing, "http://host", is_keyed=False), missing


@pytest.mark.parametrize(
    ("name", "market", "symbol", "url"),
    [
        ("GATE", "spot", "BTC_USDT",
         f"/api/v4/spot/trades?currency_pair=BTC_USDT&limit=1000&from={AFTER_S}&to={AFTER_S + 61}"),
        ("GATE", "futures", "BTC_USDT",
         f"/api/v4/futures/usdt/trades?contract=BTC_USDT&limit=1000&from={AFTER_S}&to={AFTER_S + 61}"),
        ("GATE", "inverse", "BTC_USD",
         f"/api/v4/futures/btc/trades?contract=BTC_USD&limit=1000&from={AFTER_S}&to={AFTER_S + 61}"),
        ("COINBASE", "advanced", "BTC-EUR",
         f"/api/v3/brokerage/market/products/BTC-EUR/ticker?limit=1000&start={AFTER_S}&end={AFTER_S + 61}"),
        ("BITFINEX", "derivatives", "tBTCF0:USTF0",
         f"/v2/trades/tBTCF0:USTF0/hist?limit=5000&sort=1&end={AFTER_S * 1000 + 60_501}&start={AFTER_S}250"),
        ("KRAKEN", "futures", "PF_XBTUSD", "/api/v3/history?symbol=PF_XBTUSD"),
        ("KUCOIN", "spot", "BTC-USDT", "/api/v1/market/histories?symbol=BTC-USDT"),
        ("KUCOIN", "futures", "XBTUSDTM", "/api/v1/trade/history?symbol=XBTUSDTM"),
        ("HTX", "spot", "btcusdt", "/market/history/trade?symbol=btcusdt&size=2000"),
        ("HTX", "linear", "BTC-USDT", "/linear-swap-ex/market/history/trade?contract_code=BTC-USDT&size=2000"),
        ("HTX", "coin", "BTC-USD", "/swap-ex/market/history/trade?contract_code=BTC-USD&size=2000"),
    ],
)  # fmt: skip
def test_trades_of_the_time_that_was_lost_are_asked_for_or_the_newest(
    name: str, market: str, symbol: str, url: str
) -> None:
    request, _ = asked(name, market, symbol)

    assert request is not None
    assert request.url == f"http://host{url}"


@pytest.mark.parametrize("market", ["spot", "futures", "inverse", "delivery"])
def test_sizes_of_contracts_of_gate_come_with_their_decimals(market: str) -> None:
    request, _ = asked("GATE", market, "BTC_USDT")
    book = VENUES["GATE"].depth_request(market, "BTC_USDT", None, 1)

    assert request is not None
    assert request.headers == book.headers == (() if market == "spot" else (("X-Gate-Size-Decimal", "1"),))


@pytest.mark.parametrize(("name", "market"), [("GATE", "spot"), ("COINBASE", "advanced"), ("BITFINEX", "spot")])
@pytest.mark.parametrize("times", [{"after_time_us": 1}, {"until_time_us": 1}])
def test_nothing_is_asked_for_where_it_is_not_known_when_trades_were_lost(
    name: str, market: str, times: dict[str, int]
) -> None:
    assert asked(name, market, "BTC", **times)[0] is None


def rows(name: str, times_ms: list[int]) -> bytes:
    """Write an answer with trades of these times, as far as the producer reads it."""
    if name == "BITFINEX":
        return json.dumps([[number, time_ms, 1, 1] for number, time_ms in enumerate(times_ms)]).encode()
    if name == "GATE":
        return json.dumps([{"id": "1", "create_time": str(time_ms // 1000)} for time_ms in times_ms]).encode()
    found = [
        {"time": f"2023-11-14T22:{13 + s // 60}:{s % 60:02}.5Z"}
        for s in (each // 1000 - AFTER_S + 20 for each in times_ms)
    ]
    return json.dumps({"trades": found}).encode()


@pytest.mark.parametrize(
    ("name", "market", "page", "of_order", "pages"),
    [
        ("GATE", "spot", 1000, -1, [f"&to={AFTER_S + 61}", f"&to={AFTER_S + 31}", f"&to={AFTER_S + 6}"]),
        ("COINBASE", "advanced", 1000, -1, [f"&end={AFTER_S + 61}", f"&end={AFTER_S + 31}", f"&end={AFTER_S + 6}"]),
        (
            "BITFINEX",
            "spot",
            5000,
            1,
            [f"&start={AFTER_S}250", f"&start={AFTER_S + 30}000", f"&start={AFTER_S + 45}000"],
        ),
    ],
)
def test_a_full_page_is_followed_by_one_that_has_its_last_time_once_more(
    name: str, market: str, page: int, of_order: int, pages: list[str]
) -> None:
    request, missing = asked(name, market, "BTC")
    last_s: dict[int, list[int]] = {-1: [30, 5], 1: [30, 45]}
    found: list[Any] = [request]
    for second in last_s[of_order]:
        times_ms = [(AFTER_S + (60 if of_order < 0 else 1)) * 1000] * (page - 1) + [(AFTER_S + second) * 1000]
        found.append(VENUES[name].next_trades(found[-1], rows(name, times_ms), missing))

    assert [each.url[-len(end) :] for each, end in zip(found, pages, strict=True)] == pages
    few = [(AFTER_S + 50) * 1000] * (page - 1)
    assert VENUES[name].next_trades(found[-1], rows(name, few), missing) is None
    stuck_ms = AFTER_S * 1000 + (5000 if of_order < 0 else 45_000)
    assert VENUES[name].next_trades(found[-1], rows(name, [stuck_ms] * page), missing) is None

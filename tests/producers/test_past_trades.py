"""Answers that cannot be read: none of them ends a venue's fetching of missing trades."""

import pytest

from producers.venues import VENUES
from producers.wire import Missing

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


@pytest.mark.parametrize("body", BODIES, ids=lambda body: repr(body[:12]))
@pytest.mark.parametrize(("name", "market"), MARKETS)
def test_a_page_is_followed_by_another_or_none_or_it_cannot_be_read(name: str, market: str, body: bytes) -> None:
    missing = Missing(venue_symbol="BTC-USDT", first_id=10, last_id=20, after_time_us=1_700_000_000_000_000)
    request = VENUES[name].trades_request(market, missing, "http://host", is_keyed=True)
    if request is None:
        return  # this market tells no past trades

    try:
        following = VENUES[name].next_trades(request, body, missing)
    except UNREADABLE:
        return

    assert following is None or following != request

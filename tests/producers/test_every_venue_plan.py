"""A thousand symbols of each market of each venue: sharded, subscribed and connected within what the venue allows."""

from collections import Counter
from collections.abc import Iterator

import pytest

from producers.limiter import Address
from producers.plan import ConnectionPlan, check_connections, connections, streams
from producers.venues import VENUES
from producers.wire import Ask, Wire
from schemas.records import Instrument
from tickerplant.errors import UserError
from tickerplant.settings import Venue

SYMBOLS = 1000
PARTITIONS = 4
HOUR_S = 3600.0
MARKETS = [(name, market) for name, wire in VENUES.items() for market in wire.MARKETS]
S = 1_000_000


def entry(name: str, market: str) -> Venue:
    return Venue(venue=name, market=market, symbols=("*",), channels=VENUES[name].CHANNELS[market])


def instruments(name: str, market: str) -> list[Instrument]:
    return [
        Instrument(
            event_time_us=1, venue=name, market=market, venue_symbol=f"LONGCOIN{number}-USDT",
            symbol=f"LONGCOIN{number}/USDT", asset_class="CRYPTO", kind="SPOT", base=f"LONGCOIN{number}", quote="USDT",
        )
        for number in range(SYMBOLS)
    ]  # fmt: skip


def planned(name: str, market: str) -> list[ConnectionPlan]:
    wanted = entry(name, market)
    return connections(wanted, streams(wanted, instruments(name, market), PARTITIONS))


def asks(wire: Wire, plan: ConnectionPlan) -> Iterator[Ask]:
    dialogue = wire.dialogue(plan.market, b"")
    yield from (Ask(payload=each) for each in dialogue.opening())
    yield from dialogue.subscribe(plan.streams)


@pytest.mark.parametrize(("name", "market"), MARKETS)
def test_every_stream_is_asked_for_once_within_the_limits_of_connection_and_request(name: str, market: str) -> None:
    wire, limits = VENUES[name], VENUES[name].LIMITS[market]
    plans = planned(name, market)
    wanted = Counter(stream.name for plan in plans for stream in plan.streams)
    asked: Counter[str] = Counter()

    for plan in plans:
        requests = list(asks(wire, plan))
        asked.update(each for request in requests for each in request.names)
        assert 0 < len(plan.streams) <= limits.streams_per_connection
        assert len({stream.partition for stream in plan.streams}) == 1
        assert all(len(each.names) <= limits.streams_per_request for each in requests)
        assert all(len(each.payload) <= limits.request_bytes for each in requests if len(each.names) > 1)
        assert len(requests) <= limits.messages_per_hour * 0.2, "a bucket is a fifth full at once, the rest would wait"
        assert len(requests) / limits.messages_per_s <= 300, "it takes more than five minutes to subscribe"
    assert asked == wanted
    assert set(wanted.values()) == {1}


@pytest.mark.parametrize(("name", "market"), MARKETS)
def test_connections_are_opened_no_faster_than_the_venue_allows_and_not_all_at_once(name: str, market: str) -> None:
    limits = VENUES[name].LIMITS[market]
    address = Address.of(limits)
    opened: list[int] = []
    now_us = S
    for _ in planned(name, market):
        while wait_s := address.connect(now_us):
            now_us += max(1, int(wait_s * S))
        opened.append(now_us)

    window_us = int(limits.connects_window_s * S)
    for first in opened[:: max(1, len(opened) // 50)]:
        within = sum(first <= each < first + window_us for each in opened)
        assert within <= max(1, limits.connects_per_window)
        assert sum(first <= each < first + S for each in opened) <= limits.connects_per_s + 1
    assert opened[-1] - opened[0] <= HOUR_S * S


@pytest.mark.parametrize(
    ("name", "market", "most"), [("COINBASE", "exchange", 8), ("COINBASE", "advanced", 8), ("DERIBIT", "options", 5)]
)
def test_all_connections_together_say_no_more_in_a_second_than_an_address_may(
    name: str, market: str, most: int
) -> None:
    longest = max(len(list(asks(VENUES[name], plan))) for plan in planned(name, market))

    assert longest * VENUES[name].LIMITS[market].connects_per_s <= most


@pytest.mark.parametrize(("name", "market"), MARKETS)
def test_what_is_too_much_for_one_address_is_told(name: str, market: str) -> None:
    count, limits = len(planned(name, market)), VENUES[name].LIMITS[market]
    if count + 1 <= limits.connections:
        check_connections(entry(name, market), count)
    else:
        with pytest.raises(
            UserError, match=f"{name} {market} lets one address open {limits.connections:g} connections"
        ):
            check_connections(entry(name, market), count)

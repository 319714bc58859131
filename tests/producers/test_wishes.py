"""What is wished on top of the settings: the special before the general, control before settings, a stop before all."""

import pytest

from producers.plan import obedient, word_of
from producers.venues import VENUES
from producers.wishes import Wishes
from schemas.symbology import Symbology
from schemas.venues import SYMBOLOGIES
from schemas.venues.binance import assumed_instrument
from tickerplant.errors import UserError
from tickerplant.settings import Venue

LISTED = Symbology(assumed_instrument("spot", f"{base}USDT", 0) for base in ("BTC", "ETH", "SOL"))


def entry(*symbols: str, channels: tuple[str, ...] = ("trade", "quote")) -> Venue:
    return Venue(venue="BINANCE", market="spot", symbols=symbols, channels=channels)


def wished(*said: tuple[str, str, bool]) -> Wishes:
    wishes = Wishes()
    for name, channel, is_wanted in said:
        wishes.note(name, channel, is_wanted=is_wanted)
    return wishes


def wanted(venue: Venue, wishes: Wishes, *, is_first: bool = True) -> set[str]:
    pairs = obedient(venue, LISTED, wishes, is_first=is_first)
    return {f"{each.base} {channel}" for each, channel in pairs}


def test_without_a_wish_the_settings_hold() -> None:
    assert wanted(entry("BTCUSDT"), Wishes()) == {"BTC trade", "BTC bookTicker"}


def test_a_wish_adds_a_symbol_and_a_channel_to_the_first_entry_of_a_market() -> None:
    wishes = wished(("ETHUSDT", "trade", True), ("BTCUSDT", "depth", True))

    assert wanted(entry("BTCUSDT"), wishes) == {"BTC trade", "BTC bookTicker", "BTC depth@100ms", "ETH trade"}
    assert wanted(entry("BTCUSDT"), wishes, is_first=False) == {"BTC trade", "BTC bookTicker"}


def test_a_wish_takes_away_what_the_settings_give() -> None:
    wishes = wished(("BTCUSDT", "trade", False))

    assert wanted(entry("BTCUSDT", "ETHUSDT"), wishes) == {"BTC bookTicker", "ETH trade", "ETH bookTicker"}


def test_what_is_said_of_a_symbol_goes_before_what_is_said_of_all() -> None:
    wishes = wished(
        ("*", "trade", False), ("ETHUSDT", "trade", True), ("*", "ticker", True), ("SOLUSDT", "ticker", False)
    )

    assert wanted(entry("BTCUSDT", channels=("trade",)), wishes) == {"ETH trade", "BTC ticker", "ETH ticker"}


def test_a_wish_means_the_channel_whatever_name_the_settings_gave_it() -> None:
    wishes = wished(("BTCUSDT", "quote", False))

    assert wanted(entry("BTCUSDT", channels=("trade", "bookTicker")), wishes) == {"BTC trade"}


@pytest.mark.parametrize(
    ("name", "market", "symbol", "word", "other"),
    [
        ("DERIBIT", "futures", "BTC-PERPETUAL", "liquidation", "trade"),
        ("BYBIT", "linear", "BTCUSDT", "funding", "ticker"),
        ("KRAKEN", "futures", "PF_XBTUSD", "liquidation", "trade"),
        ("GATE", "futures", "BTC_USDT", "open_interest", "ticker"),
        ("BINANCE", "usdm", "BTCUSDT", "funding", "mark_price"),
    ],
)
def test_words_that_share_a_stream_are_wanted_each_by_itself(
    name: str, market: str, symbol: str, word: str, other: str
) -> None:
    venue = Venue(venue=name, market=market, symbols=(symbol,), channels=(word, other))
    listed = Symbology([SYMBOLOGIES[name].assumed_instrument(market, symbol, 0)])
    wishes = wished((symbol, word_of(VENUES[name], market, word) or "", False))

    assert len(list(obedient(venue, listed, Wishes(), is_first=True))) == 1
    assert len(list(obedient(venue, listed, wishes, is_first=True))) == 1
    wishes.note(symbol, other, is_wanted=False)
    assert not list(obedient(venue, listed, wishes, is_first=True))
    wishes.note(symbol, word, is_wanted=True)
    assert len(list(obedient(venue, listed, wishes, is_first=True))) == 1


def test_a_stop_hides_what_is_wished_until_the_start() -> None:
    wishes = wished(("BTCUSDT", "", False), ("BTCUSDT", "ticker", True))
    assert wanted(entry("BTCUSDT", "ETHUSDT", channels=("trade",)), wishes) == {"ETH trade"}

    wishes.note("", "", is_wanted=False)
    assert wanted(entry("*"), wishes) == set()
    assert wishes.is_stopped("")

    wishes.note("", "", is_wanted=True)
    wishes.note("BTCUSDT", "", is_wanted=True)
    assert wanted(entry("BTCUSDT", channels=("trade",)), wishes) == {"BTC trade", "BTC ticker"}


def test_a_wish_that_is_taken_back_leaves_the_settings() -> None:
    wishes = wished(("BTCUSDT", "trade", False))

    assert wishes.note("BTCUSDT", "trade", is_wanted=None)
    assert not wishes.note("BTCUSDT", "trade", is_wanted=None)
    assert wanted(entry("BTCUSDT"), wishes) == {"BTC trade", "BTC bookTicker"}


def test_only_news_are_news() -> None:
    wishes = Wishes()

    assert [wishes.note("A", "trade", is_wanted=each) for each in (True, True, False, False)] == [True, False] * 2


def test_what_is_not_listed_or_no_channel_is_passed_over_unless_it_is_all_there_is() -> None:
    wishes = wished(("XRPUSDT", "trade", True), ("BTCUSDT", "moon", True))
    assert wanted(entry("BTCUSDT", channels=("trade",)), wishes) == {"BTC trade"}
    assert wanted(entry("DOGEUSDT", "BTCUSDT", channels=("trade",)), wishes) == {"BTC trade"}

    with pytest.raises(UserError, match="does not list XRPUSDT"):
        wanted(entry("XRPUSDT"), wishes)

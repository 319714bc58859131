"""What happens in a synthetic market → Binance's messages on the combined stream, by market; pure.

Source: https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams
Source: https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams
Source: https://developers.binance.com/docs/derivatives/coin-margined-futures/websocket-market-streams
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from tickerplant.local.venue.candles import MINUTE_MS, Candle
from tickerplant.local.venue.listings import Listing

Level = tuple[int, int]
"""(price in ticks, size in lots)."""


class Quote(NamedTuple):
    """The best of both sides."""

    bid: int
    bid_size: int
    ask: int
    ask_size: int


@dataclass(slots=True)
class DayStatistics:
    """Since the market began; prices in ticks, volume in lots, quote as an amount."""

    open_ms: int
    open: int
    high: int
    low: int
    last: int = 0
    last_lots: int = 0
    last_id: int = 0
    volume: int = 0
    quote: float = 0.0

    def add(self, number: int, price: int, lots: int, amount: float) -> None:
        """Take in a trade; ids count from 1."""
        self.last, self.last_lots, self.last_id = price, lots, number
        if price > self.high:
            self.high = price
        elif price < self.low:
            self.low = price
        self.volume += lots
        self.quote += amount


class Wire:
    """Writes the messages of one symbol; times are ms since the UTC epoch, events happen when they are written."""

    def __init__(self, listing: Listing) -> None:
        self._listing = listing
        self._numbers = listing.numbers
        self._symbol = listing.symbol
        self._is_spot = listing.market == "spot"
        self._is_inverse = listing.market == "coinm"
        self._lower = listing.symbol.lower()
        self._pair = f'"ps":"{listing.pair}",' if self._is_inverse else ""
        self._maker_tail = ',"M":true' if self._is_spot else ""
        self._venue_kind = "" if self._is_spot else '"X":"MARKET",'

    def stream(self, channel: str) -> str:
        """Name a stream of this symbol."""
        return f"{self._lower}@{channel}"

    def trade(self, number: int, price: int, lots: int, time_ms: int, *, is_buy: bool) -> bytes:
        """Write a trade; is_buy: of the aggressor."""
        numbers = self._numbers
        maker = "false" if is_buy else "true"
        return (
            f'{{"stream":"{self._lower}@trade","data":{{"e":"trade","E":{time_ms},"T":{time_ms},"s":"{self._symbol}",'
            f'"t":{number},"p":"{numbers.price(price)}","q":"{numbers.size(lots)}",'
            f'{self._venue_kind}"m":{maker}{self._maker_tail}}}}}'
        ).encode()

    def aggregate(self, number: int, price: int, lots: int, time_ms: int, *, ids: range, is_buy: bool) -> bytes:
        """Write an aggTrade of the trades whose ids are given."""
        numbers = self._numbers
        maker = "false" if is_buy else "true"
        return (
            f'{{"stream":"{self._lower}@aggTrade","data":{{"e":"aggTrade","E":{time_ms},"a":{number},'
            f'"s":"{self._symbol}","p":"{numbers.price(price)}","q":"{numbers.size(lots)}",'
            f'"f":{ids[0]},"l":{ids[-1]},"T":{time_ms},"m":{maker}{self._maker_tail}}}}}'
        ).encode()

    def book_ticker(self, update_id: int, quote: Quote, time_ms: int) -> bytes:
        """Write a best quote; on spot it carries no time, as at the venue."""
        numbers = self._numbers
        head, tail = ("", "") if self._is_spot else ('"e":"bookTicker",', f',"T":{time_ms},"E":{time_ms}')
        return (
            f'{{"stream":"{self._lower}@bookTicker","data":{{{head}"u":{update_id},"s":"{self._symbol}",{self._pair}'
            f'"b":"{numbers.price(quote.bid)}","B":"{numbers.size(quote.bid_size)}",'
            f'"a":"{numbers.price(quote.ask)}","A":"{numbers.size(quote.ask_size)}"{tail}}}}}'
        ).encode()

    def depth(
        self, stream: str, ids: tuple[int, int, int], bids: Iterable[Level], asks: Iterable[Level], time_ms: int
    ) -> bytes:
        """Write a depthUpdate; ids: first and last of this one, last of the one before."""
        first_id, last_id, previous_id = ids
        times = "" if self._is_spot else f'"T":{time_ms},'
        previous = "" if self._is_spot else f'"pu":{previous_id},'
        return (
            f'{{"stream":"{stream}","data":{{"e":"depthUpdate","E":{time_ms},{times}"s":"{self._symbol}",{self._pair}'
            f'"U":{first_id},"u":{last_id},{previous}"b":[{self._levels(bids)}],"a":[{self._levels(asks)}]}}}}'
        ).encode()

    def snapshot(self, last_id: int, bids: Iterable[Level], asks: Iterable[Level], time_ms: int) -> bytes:
        """Write the body of a depth answer."""
        times = "" if self._is_spot else f'"E":{time_ms},"T":{time_ms},'
        names = f'"symbol":"{self._symbol}","pair":"{self._symbol.partition("_")[0]}",' if self._is_inverse else ""
        sides = f'"bids":[{self._levels(bids)}],"asks":[{self._levels(asks)}]'
        return f'{{"lastUpdateId":{last_id},{times}{names}{sides}}}'.encode()

    def kline(self, candle: Candle, time_ms: int, *, is_closed: bool) -> bytes:
        """Write a one-minute candle."""
        price, size = self._numbers.price, self._numbers.size
        closed = "true" if is_closed else "false"
        body = (
            f'"t":{candle.open_ms},"T":{candle.open_ms + MINUTE_MS - 1},"s":"{self._symbol}","i":"1m",'
            f'"f":{candle.first_id},"L":{candle.last_id},"o":"{price(candle.open)}","c":"{price(candle.close)}",'
            f'"h":"{price(candle.high)}","l":"{price(candle.low)}","v":"{size(candle.volume)}","n":{candle.count},'
            f'"x":{closed},"q":"{candle.quote:.8f}","V":"{size(candle.bought)}","Q":"{candle.bought_quote:.8f}","B":"0"'
        )
        head = f'"e":"kline","E":{time_ms},"s":"{self._symbol}"'
        return f'{{"stream":"{self._lower}@kline_1m","data":{{{head},"k":{{{body}}}}}}}'.encode()

    def ticker(self, day: DayStatistics, quote: Quote, time_ms: int) -> bytes:
        """Write the statistics of the day; only spot's carry the best quote."""
        price, size = self._numbers.price, self._numbers.size
        change = day.last - day.open
        average = _average(self._listing, day)
        best = (
            f'"b":"{price(quote.bid)}","B":"{size(quote.bid_size)}","a":"{price(quote.ask)}","A":"{size(quote.ask_size)}",'
            if self._is_spot
            else ""
        )
        body = (
            f'"p":"{price(change)}","P":"{change / day.open * 100:.3f}","w":"{average:.8f}","c":"{price(day.last)}",'
            f'"Q":"{size(day.last_lots)}",{best}"o":"{price(day.open)}","h":"{price(day.high)}","l":"{price(day.low)}",'
            f'"v":"{size(day.volume)}","q":"{day.quote:.8f}","O":{day.open_ms},"C":{time_ms},'
            f'"F":1,"L":{day.last_id},"n":{day.last_id}'
        )
        head = f'"e":"24hrTicker","E":{time_ms},"s":"{self._symbol}",{self._pair}'
        return f'{{"stream":"{self._lower}@ticker","data":{{{head}{body}}}}}'.encode()

    def mark_price(self, stream: str, price: float, *, rate: float, next_ms: int, time_ms: int) -> bytes:
        """Write mark and index price (the same here), funding rate and time; rate and next_ms 0 = no perpetual."""
        funding = f'"r":"{rate:.8f}"' if next_ms else '"r":""'
        return (
            f'{{"stream":"{stream}","data":{{"e":"markPriceUpdate","E":{time_ms},"s":"{self._symbol}","p":"{price:.8f}",'
            f'"P":"{price:.8f}","i":"{price:.8f}",{funding},"T":{next_ms}}}}}'
        ).encode()

    def _levels(self, levels: Iterable[Level]) -> str:
        price, size = self._numbers.price, self._numbers.size
        return ",".join([f'["{price(ticks)}","{size(lots)}"]' for ticks, lots in levels])


def _average(listing: Listing, day: DayStatistics) -> float:
    """Weigh the prices of a day by volume; an inverse contract's quote amount is in base currency."""
    volume = day.volume / listing.numbers.size_scale
    return volume * listing.contract_usd / day.quote if listing.contract_usd else day.quote / volume

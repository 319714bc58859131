"""What happens in a synthetic market → Binance's messages on the combined stream, by market; pure.

Source: https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams
Source: https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams
Source: https://developers.binance.com/docs/derivatives/coin-margined-futures/websocket-market-streams
"""

from collections.abc import Iterable, Sequence

from tickerplant.local.venue.candles import MINUTE_MS, Candle
from tickerplant.local.venue.dialect import (
    Book,
    BookChange,
    DayStatistics,
    Frame,
    Levels,
    Print,
    Quote,
    Stream,
    SymbolView,
    Writer,
)
from tickerplant.local.venue.listings import Listing


class BinanceWriter(Writer):
    """Writes the messages of one symbol as on the combined stream."""

    def __init__(self, listing: Listing) -> None:
        super().__init__(listing)
        self._numbers = listing.numbers
        self._symbol = listing.symbol
        self._is_spot = listing.market == "spot"
        self._pair = f'"ps":"{listing.pair}",' if listing.is_inverse else ""
        self._maker_tail = ',"M":true' if self._is_spot else ""
        self._venue_kind = "" if self._is_spot else '"X":"MARKET",'

    def trades(self, stream: Stream, prints: Sequence[Print], now_ms: int) -> Iterable[Frame]:
        """Write a trade or aggTrade each, or the forceOrder of a liquidation."""
        write = {"trade": self._trade, "aggregate": self._aggregate}.get(stream.kind, self._force_order)
        return [write(stream.name, each, now_ms) for each in prints]

    def quote(self, stream: Stream, view: SymbolView, now_ms: int) -> Iterable[Frame]:
        """Write a best quote; on spot it carries no time, as at the venue."""
        quote, update_id = view.quote, view.update_id
        head, tail = ("", "") if self._is_spot else ('"e":"bookTicker",', f',"T":{now_ms},"E":{now_ms}')
        text = (
            f'{{"stream":"{stream.name}","data":{{{head}"u":{update_id},"s":"{self._symbol}",{self._pair}'
            f"{self._best(quote)}{tail}}}}}"
        )
        return (Frame(text.encode(), update_id, update_id),)

    def depth(self, stream: Stream, change: BookChange, now_ms: int) -> Iterable[Frame]:
        """Write a depthUpdate."""
        first_id, last_id = change.first_id, change.last_id
        times = "" if self._is_spot else f'"T":{now_ms},'
        previous = "" if self._is_spot else f'"pu":{change.previous_id},'
        text = (
            f'{{"stream":"{stream.name}","data":{{"e":"depthUpdate","E":{now_ms},{times}"s":"{self._symbol}",{self._pair}'
            f'"U":{first_id},"u":{last_id},{previous}"b":[{levels_text(change.bids)}],"a":[{levels_text(change.asks)}]}}}}'
        )
        return (Frame(text.encode(), first_id, last_id),)

    def candle(self, stream: Stream, candle: Candle, now_ms: int, *, is_closed: bool) -> Iterable[Frame]:
        """Write a candle of a minute or more."""
        if stream.every_ms < MINUTE_MS:
            return ()
        price, size = self._numbers.price, self._numbers.size
        closed = "true" if is_closed else "false"
        interval = stream.name.rpartition("_")[2]
        body = (
            f'"t":{candle.open_ms},"T":{candle.open_ms + stream.every_ms - 1},"s":"{self._symbol}","i":"{interval}",'
            f'"f":{candle.first_id},"L":{candle.last_id},"o":"{price(candle.open)}","c":"{price(candle.close)}",'
            f'"h":"{price(candle.high)}","l":"{price(candle.low)}","v":"{size(candle.volume)}","n":{candle.count},'
            f'"x":{closed},"q":"{candle.quote:.8f}","V":"{size(candle.bought)}","Q":"{candle.bought_quote:.8f}","B":"0"'
        )
        head = f'"e":"kline","E":{now_ms},"s":"{self._symbol}"'
        return (Frame(f'{{"stream":"{stream.name}","data":{{{head},"k":{{{body}}}}}}}'.encode()),)

    def ticker(self, stream: Stream, view: SymbolView, now_ms: int) -> Iterable[Frame]:
        """Write the statistics of the day; only spot's carry the best quote."""
        day = view.day
        if day is None:
            return ()
        price, size = self._numbers.price, self._numbers.size
        change = day.last - day.open
        average = _average(self.listing, day)
        best = f"{self._best(view.quote)}," if self._is_spot else ""
        body = (
            f'"p":"{price(change)}","P":"{change / day.open * 100:.3f}","w":"{average:.8f}","c":"{price(day.last)}",'
            f'"Q":"{size(day.last_lots)}",{best}"o":"{price(day.open)}","h":"{price(day.high)}","l":"{price(day.low)}",'
            f'"v":"{size(day.volume)}","q":"{day.quote:.8f}","O":{day.open_ms},"C":{now_ms},'
            f'"F":1,"L":{day.last_id},"n":{day.last_id}'
        )
        head = f'"e":"24hrTicker","E":{now_ms},"s":"{self._symbol}",{self._pair}'
        return (Frame(f'{{"stream":"{stream.name}","data":{{{head}{body}}}}}'.encode()),)

    def marks(self, stream: Stream, view: SymbolView, now_ms: int) -> Iterable[Frame]:
        """Write mark and index price, funding rate and time."""
        if stream.kind != "mark_price":
            return ()
        marks = view.marks(now_ms)
        funding = f'"r":"{marks.funding_rate:.8f}"' if marks.funding_ms else '"r":""'
        text = (
            f'{{"stream":"{stream.name}","data":{{"e":"markPriceUpdate","E":{now_ms},"s":"{self._symbol}",'
            f'"p":"{marks.mark_price:.8f}","P":"{marks.mark_price:.8f}","i":"{marks.index_price:.8f}",{funding},"T":{marks.funding_ms}}}}}'
        )
        return (Frame(text.encode()),)

    def _trade(self, name: str, made: Print, now_ms: int) -> Frame:
        maker = "false" if made.is_buy else "true"
        text = (
            f'{{"stream":"{name}","data":{{"e":"trade","E":{now_ms},"T":{made.time_ms},"s":"{self._symbol}",'
            f'"t":{made.number},"p":"{made.price}","q":"{made.size}",'
            f'{self._venue_kind}"m":{maker}{self._maker_tail}}}}}'
        )
        return Frame(text.encode(), made.number, made.number)

    def _aggregate(self, name: str, made: Print, now_ms: int) -> Frame:
        maker = "false" if made.is_buy else "true"
        text = (
            f'{{"stream":"{name}","data":{{"e":"aggTrade","E":{now_ms},"a":{made.number},'
            f'"s":"{self._symbol}","p":"{made.price}","q":"{made.size}",'
            f'"f":{made.first_id},"l":{made.last_id},"T":{made.time_ms},"m":{maker}{self._maker_tail}}}}}'
        )
        return Frame(text.encode(), made.number, made.number)

    def _force_order(self, name: str, made: Print, now_ms: int) -> Frame:
        side = "BUY" if made.is_buy else "SELL"
        order = (
            f'"s":"{self._symbol}","S":"{side}","o":"LIMIT","f":"IOC","q":"{made.size}","p":"{made.price}",'
            f'"ap":"{made.price}","X":"FILLED","l":"{made.size}","z":"{made.size}","T":{made.time_ms}'
        )
        pair = f',"ps":"{self.listing.pair}"' if self.listing.is_inverse else ""
        text = f'{{"stream":"{name}","data":{{"e":"forceOrder","E":{now_ms},"o":{{{order}{pair}}}}}}}'
        return Frame(text.encode())

    def _best(self, quote: Quote) -> str:
        price, size = self._numbers.price, self._numbers.size
        bid = f'"b":"{price(quote.bid)}","B":"{size(quote.bid_size)}"'
        return f'{bid},"a":"{price(quote.ask)}","A":"{size(quote.ask_size)}"'


def depth_body(market: str, book: Book) -> bytes:
    """Write the body of a depth answer."""
    times = "" if market == "spot" else f'"E":{book.time_ms},"T":{book.time_ms},'
    names = f'"symbol":"{book.symbol}","pair":"{book.symbol.partition("_")[0]}",' if market == "coinm" else ""
    sides = f'"bids":[{levels_text(book.bids)}],"asks":[{levels_text(book.asks)}]'
    return f'{{"lastUpdateId":{book.last_id},{times}{names}{sides}}}'.encode()


def past_trades_body(listing: Listing, trades: Iterable[Print]) -> bytes:
    """Write the body of an answer of past trades."""
    amount_name = "baseQty" if listing.is_inverse else "quoteQty"
    best = ',"isBestMatch":true' if listing.market == "spot" else ""
    rows = ",".join(
        f'{{"id":{each.number},"price":"{each.price}","qty":"{each.size}",'
        f'"{amount_name}":"{_amount(listing, each):.8f}","time":{each.time_ms},'
        f'"isBuyerMaker":{"false" if each.is_buy else "true"}{best}}}'
        for each in trades
    )
    return f"[{rows}]".encode()


def levels_text(levels: Levels) -> str:
    """Write levels as lists of two strings.

    >>> levels_text([("1.0", "2"), ("0.9", "0")])
    '["1.0","2"],["0.9","0"]'
    """
    return ",".join([f'["{price}","{size}"]' for price, size in levels])


def _amount(listing: Listing, made: Print) -> float:
    """Tell what a trade is worth: in quote currency, of an inverse contract in base currency."""
    price, size = float(made.price), float(made.size) * listing.contract
    return size / price if listing.is_inverse else size * price


def _average(listing: Listing, day: DayStatistics) -> float:
    """Weigh the prices of a day by volume; an inverse contract's quote amount is in base currency."""
    volume = day.volume / listing.numbers.size_scale
    return volume * listing.contract / day.quote if listing.is_inverse else day.quote / volume

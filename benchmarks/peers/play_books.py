"""Books of others over the same deltas, each as its users write it.

Run: python play_books.py KIND FILE      (then a line of JSON for each question: [WORK, SECONDS])

KIND is order_book (C, of cryptofeed's author), sortedcontainers (a SortedDict a side) or ccxt (its order book). WORK is
"apply", "best" or "top"; SECONDS 0 = tell what is seen on the way and what is left, else the CPU seconds of one pass.
"""

import gc
import json
import sys
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any, Final

MOST: Final = 20
SEEN_EACH: Final = 50
PLAYS_LEAST: Final = 3
Pairs = list[list[float]]
Take = Callable[[Pairs, Pairs], None]
Read = Callable[[], Any]


def order_book() -> tuple[Take, Read, Read, Read]:
    """Make a book of order_book."""
    from order_book import OrderBook  # type: ignore[import-not-found]  # of another environment  # noqa: PLC0415

    book = OrderBook(max_depth=MOST)  # to_list stops there, all levels are kept
    bids, asks = book.bids, book.asks

    def take(bid_pairs: Pairs, ask_pairs: Pairs) -> None:
        for side, pairs in ((bids, bid_pairs), (asks, ask_pairs)):
            for price, size in pairs:
                if size:
                    side[price] = size
                elif price in side:
                    del side[price]

    def best() -> Any:
        return bids.index(0)[0], asks.index(0)[0]

    def top() -> Any:
        return bids.to_list(), asks.to_list()

    def whole() -> Any:
        return [(price, bids[price]) for price in bids], [(price, asks[price]) for price in asks]

    return take, best, top, whole


def sortedcontainers() -> tuple[Take, Read, Read, Read]:
    """Make a book of two SortedDicts."""
    from sortedcontainers import SortedDict  # type: ignore[import-not-found,import-untyped,unused-ignore]  # noqa: PLC0415

    bids, asks = SortedDict(), SortedDict()

    def take(bid_pairs: Pairs, ask_pairs: Pairs) -> None:
        for side, pairs in ((bids, bid_pairs), (asks, ask_pairs)):
            for price, size in pairs:
                if size:
                    side[price] = size
                else:
                    side.pop(price, None)

    def best() -> Any:
        return bids.peekitem(-1)[0], asks.peekitem(0)[0]

    def top() -> Any:
        return (
            [(price, bids[price]) for price in islice(reversed(bids), MOST)],
            [(price, asks[price]) for price in islice(asks, MOST)],
        )

    def whole() -> Any:
        return list(reversed(bids.items())), list(asks.items())

    return take, best, top, whole


def ccxt() -> tuple[Take, Read, Read, Read]:
    """Make an order book of ccxt; the pairs become its levels."""
    from ccxt.async_support.base.ws.order_book import OrderBook  # type: ignore[import-not-found]  # noqa: PLC0415

    book = OrderBook()
    bids, asks = book["bids"], book["asks"]

    def take(bid_pairs: Pairs, ask_pairs: Pairs) -> None:
        for pair in bid_pairs:
            bids.storeArray(pair)
        for pair in ask_pairs:
            asks.storeArray(pair)

    def best() -> Any:
        return bids[0][0], asks[0][0]

    def top() -> Any:
        return bids[:MOST], asks[:MOST]

    def whole() -> Any:
        return list(bids), list(asks)

    return take, best, top, whole


KINDS: Final = {"order_book": order_book, "sortedcontainers": sortedcontainers, "ccxt": ccxt}


def look(make: Callable[[], tuple[Take, Read, Read, Read]], updates: list[tuple[Pairs, Pairs]]) -> Any:
    """Tell what is read on the way, and all that is left."""
    take, best, top, whole = make()
    seen = []
    for number, update in enumerate(updates):
        take(*update)
        if number % SEEN_EACH == 0:
            seen.append(json.dumps([best(), top()]))  # as they are now
    return [[json.loads(each) for each in seen], whole()]


def seconds(make: Callable[[], tuple[Take, Read, Read, Read]], work: str, text: str) -> float:
    """Tell the CPU seconds of one pass, from the whole book on."""
    whole, *updates = json.loads(text)  # anew: ccxt keeps the pairs
    take, best, top, _ = make()
    take(*whole)
    gc.collect()
    began_s = time.process_time()
    if work == "apply":
        for bids, asks in updates:
            take(bids, asks)
    else:
        read = {"best": best, "top": top}[work]
        for bids, asks in updates:
            take(bids, asks)
            read()
    return time.process_time() - began_s


def main(kind: str, path: str) -> None:
    """Answer questions until there are no more."""
    make, text = KINDS[kind], Path(path).read_text(encoding="utf-8")
    for line in sys.stdin:
        work, least_s = json.loads(line)
        if not least_s:
            print(json.dumps(look(make, json.loads(text))), flush=True)
            continue
        found: list[float] = []
        while sum(found) < least_s or len(found) < PLAYS_LEAST:
            found.append(seconds(make, work, text))
        print(json.dumps(median(found)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])

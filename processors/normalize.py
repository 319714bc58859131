"""Items without memory → records: the venue's tickers, candles, mark prices, liquidations; sizes to base currency."""

from msgspec import structs

from processors.batch import Batch
from processors.flags import INCONSISTENT
from processors.items import BookDelta, BookSnapshot, CandleItem, DerivativeItem, Liquidation, MarkPrice, TickerItem
from processors.ohlc import contradiction
from schemas.records import Candle, Derivative, DerivativeKind, Instrument, Side, Ticker


def base_size(instrument: Instrument, size: float, price: float) -> float:
    """Turn a venue's size into base currency; 0 where an inverse contract has no price."""
    amount = size * instrument.contract_multiplier
    if not instrument.is_inverse:
        return amount
    return amount / price if price else 0.0


def quoted_size(instrument: Instrument, size: float | None, price: float | None) -> float | None:
    """Turn the size of a quote into base currency; None where it, or its price, is not told."""
    return base_size(instrument, size, price) if size is not None and price else None


def is_plain(instrument: Instrument) -> bool:
    """Tell whether the venue's sizes are in base currency already."""
    return instrument.contract_multiplier == 1.0 and not instrument.is_inverse


def base_delta(instrument: Instrument, delta: BookDelta) -> BookDelta:
    """Turn sizes of a delta into base currency."""
    return BookDelta(
        delta.symbol,
        delta.exchange_time_us,
        delta.first_sequence,
        delta.sequence,
        delta.previous_sequence,
        delta.bid_prices,
        _base_sizes(instrument, delta.bid_prices, delta.bid_sizes),
        delta.ask_prices,
        _base_sizes(instrument, delta.ask_prices, delta.ask_sizes),
        delta.texts,
        delta.checksum,
        delta.most_levels,
    )


def base_snapshot(instrument: Instrument, snapshot: BookSnapshot) -> BookSnapshot:
    """Turn sizes of a snapshot into base currency."""
    return BookSnapshot(
        snapshot.symbol,
        snapshot.exchange_time_us,
        snapshot.sequence,
        snapshot.bid_prices,
        _base_sizes(instrument, snapshot.bid_prices, snapshot.bid_sizes),
        snapshot.ask_prices,
        _base_sizes(instrument, snapshot.ask_prices, snapshot.ask_sizes),
        snapshot.is_in_stream,
        snapshot.most_levels,
        snapshot.texts,
        snapshot.checksum,
        snapshot.is_top,
    )


def add_ticker(batch: Batch, instrument: Instrument, item: TickerItem) -> None:
    """Add the venue's 24-hour statistics."""
    assert item.last is not None, "`TimedStreams` completes what is partial"
    assert item.volume is not None or item.base_volume is not None, "the same"
    base_volume, quote_volume = _volumes(instrument, item.volume, item.base_volume, item.quote_volume, item.last)
    batch.records.append(
        Ticker(
            event_time_us=batch.event_time_us,
            exchange_time_us=item.exchange_time_us,
            recv_time_us=batch.recv_time_us,
            venue=batch.venue,
            symbol=instrument.symbol,
            asset_class=instrument.asset_class,
            bid=item.bid or None,
            ask=item.ask or None,
            bid_size=quoted_size(instrument, item.bid_size, item.bid),
            ask_size=quoted_size(instrument, item.ask_size, item.ask),
            last=item.last,
            last_size=quoted_size(instrument, item.last_size, item.last),
            open=item.open,
            high=item.high,
            low=item.low,
            volume=base_volume,
            quote_volume=quote_volume,
            trade_count=item.trade_count,
            open_time_us=item.open_time_us,
            close_time_us=item.close_time_us,
            source_topic=batch.topic,
            source_partition=batch.partition,
            source_offset=batch.offset,
            source_index=batch.index,
        )
    )


def add_candle(batch: Batch, instrument: Instrument, item: CandleItem) -> None:
    """Add the venue's candle."""
    batch.records.append(candle_of(batch, instrument, item))


def candle_of(batch: Batch, instrument: Instrument, item: CandleItem) -> Candle:
    """Make the record of a candle."""
    base_volume, quote_volume = _volumes(instrument, item.volume, item.base_volume, item.quote_volume, item.close)
    taker_base, taker_quote = None, item.taker_buy_quote_volume
    if item.taker_buy_volume is not None:
        taker_base, taker_quote = _volumes(
            instrument, item.taker_buy_volume, item.taker_buy_base_volume, item.taker_buy_quote_volume, item.close
        )
    candle = Candle(
        event_time_us=batch.event_time_us,
        exchange_time_us=item.exchange_time_us,
        recv_time_us=batch.recv_time_us,
        venue=batch.venue,
        symbol=instrument.symbol,
        asset_class=instrument.asset_class,
        interval=item.interval,
        open_time_us=item.open_time_us,
        close_time_us=item.close_time_us,
        open=item.open,
        high=item.high,
        low=item.low,
        close=item.close,
        volume=base_volume,
        quote_volume=quote_volume,
        trade_count=item.trade_count,
        taker_buy_volume=taker_base,
        taker_buy_quote_volume=taker_quote,
        is_closed=bool(item.is_closed),
        source_topic=batch.topic,
        source_partition=batch.partition,
        source_offset=batch.offset,
        source_index=batch.index,
    )
    return structs.replace(candle, flags=INCONSISTENT) if contradiction(candle) else candle


def add_mark_price(batch: Batch, instrument: Instrument, item: MarkPrice) -> None:
    """Add mark price, index price and funding rate, each as a record of its own where the venue tells it."""
    _add_derivative(batch, instrument, item, "MARK_PRICE", item.mark_price)
    if item.index_price is not None:
        _add_derivative(batch, instrument, item, "INDEX_PRICE", item.index_price)
    if item.funding_rate is not None:
        next_us = item.next_funding_time_us
        _add_derivative(batch, instrument, item, "FUNDING_RATE", item.funding_rate, next_time_us=next_us)


def add_derivative(batch: Batch, instrument: Instrument, item: DerivativeItem) -> None:
    """Add one fact about a contract; open interest of inverse contracts has no price to be turned into base with.

    It stays in quote currency there: contracts times what each is worth.
    """
    value = item.value * instrument.contract_multiplier if item.kind == "OPEN_INTEREST" else item.value
    _add_derivative(batch, instrument, item, item.kind, value, next_time_us=item.next_time_us)


def add_liquidation(batch: Batch, instrument: Instrument, item: Liquidation) -> None:
    """Add a liquidation."""
    quantity = base_size(instrument, item.size, item.price)
    _add_derivative(batch, instrument, item, "LIQUIDATION", item.price, quantity=quantity, side=item.side)


def _add_derivative(
    batch: Batch,
    instrument: Instrument,
    item: MarkPrice | DerivativeItem | Liquidation,
    kind: DerivativeKind,
    value: float,
    *,
    quantity: float | None = None,
    side: Side = "UNKNOWN",
    next_time_us: int = 0,
) -> None:
    batch.records.append(
        Derivative(
            event_time_us=batch.event_time_us,
            exchange_time_us=item.exchange_time_us,
            recv_time_us=batch.recv_time_us,
            venue=batch.venue,
            symbol=instrument.symbol,
            kind=kind,
            value=value,
            quantity=quantity,
            side=side,
            next_time_us=next_time_us,
            source_topic=batch.topic,
            source_partition=batch.partition,
            source_offset=batch.offset,
            source_index=batch.index,
        )
    )


def _volumes(
    instrument: Instrument, volume: float | None, base_volume: float | None, quote_volume: float | None, price: float
) -> tuple[float, float | None]:
    """Tell volume in base and in quote currency; of inverse contracts, the count times their worth is in quote.

    Where the venue of an inverse contract tells no volume in base currency, it is what that buys at the price.
    """
    if volume is None:
        return base_volume or 0.0, quote_volume
    if instrument.is_inverse and base_volume is None:
        return base_size(instrument, volume, price), volume * instrument.contract_multiplier
    if base_volume is None:
        return volume * instrument.contract_multiplier, quote_volume
    return base_volume, volume * instrument.contract_multiplier if quote_volume is None else quote_volume


def _base_sizes(instrument: Instrument, prices: list[float], sizes: list[float]) -> list[float]:
    if not prices:
        return sizes
    multiplier = instrument.contract_multiplier
    if not instrument.is_inverse:
        return [size * multiplier for size in sizes]
    if len(prices) == 1:
        return [sizes[0] * multiplier / prices[0]]
    return [size * multiplier / price for price, size in zip(prices, sizes, strict=True)]

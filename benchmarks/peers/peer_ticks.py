"""What scripts of peers share: the simplest normaliser of Binance spot messages, and their one argument.

The tick has the fields of `schemas/avro/tick.avsc` that a message tells; all others have their defaults.
"""

import json
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple


class Job(NamedTuple):
    """What a script is to do: read a raw topic from its beginning, write ticks to another one.

    Args:
        group: of the consumers; new.
        names: venue symbol → canonical symbol.
        tick_id, raw_id: schema ids of ticks and of packed raw records.
        tick, raw: their schemas.
    """

    broker: str
    registry: str
    topic: str
    out: str
    group: str
    names: dict[str, str]
    tick_id: int
    raw_id: int
    tick: dict[str, Any]
    raw: dict[str, Any]


def job() -> Job:
    """Read it from the command line, and leave the rest of the arguments there."""
    return Job(**json.loads(sys.argv.pop(1)))


def tick_of(message: Mapping[str, Any], recv_time_us: int, event_time_us: int, names: Mapping[str, str]) -> Any:
    """Make the tick of a trade or a quote; None = it is neither."""
    channel = message["stream"].partition("@")[2]
    data = message["data"]
    if channel == "trade":
        return {
            "event_time_us": event_time_us,
            "exchange_time_us": data["T"] * 1000,
            "recv_time_us": recv_time_us,
            "venue": "BINANCE",
            "symbol": names[data["s"]],
            "asset_class": "CRYPTO",
            "kind": "TRADE",
            "price": float(data["p"]),
            "quantity": float(data["q"]),
            "side": "SELL" if data["m"] else "BUY",
            "sequence_id": data["t"],
            "trade_id": str(data["t"]),
        }
    if channel != "bookTicker":
        return None
    bid, ask = float(data["b"]), float(data["a"])
    return {
        "event_time_us": event_time_us,
        "recv_time_us": recv_time_us,
        "venue": "BINANCE",
        "symbol": names[data["s"]],
        "asset_class": "CRYPTO",
        "kind": "QUOTE",
        "price": (bid + ask) / 2,
        "quantity": 0.0,
        "bid": bid,
        "ask": ask,
        "bid_size": float(data["B"]),
        "ask_size": float(data["A"]),
        "sequence_id": data["u"],
        "venue_sequence": data["u"],
    }

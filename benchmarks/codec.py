"""Encoding a tick: the function made from its schema beside fastavro walking the schema, in turns in one process.

Run: python -m benchmarks.codec
"""

import json
import statistics
import timeit
from collections.abc import Callable
from io import BytesIO

import fastavro
import msgspec

from schemas.codec import Encoder, schema_text
from schemas.records import Tick

ROUNDS = 9
CALLS = 20_000
TICK = Tick(
    event_time_us=1_723_161_253_937_085,
    recv_time_us=1_723_161_253_936_901,
    venue="BINANCE",
    symbol="BTC/USDT",
    asset_class="CRYPTO",
    kind="QUOTE",
    price=61837.5,
    quantity=0.0,
    bid=61837.0,
    ask=61838.0,
    bid_size=2.0,
    ask_size=3.3,
    sequence_id=123_456,
    venue_sequence=50_093_239_189,
    source_topic="raw.binance",
    source_partition=3,
    source_offset=222,
    source_index=5,
)


def measure() -> dict[str, float]:
    """Measure µs a record of both ways, medians of alternating rounds, and the median of their ratios."""
    schema = fastavro.parse_schema(json.loads(schema_text(Tick)))

    def theirs() -> bytes:
        out = BytesIO()
        fastavro.schemaless_writer(out, schema, msgspec.structs.asdict(TICK))
        return out.getvalue()

    encoder = Encoder(Tick, 1)
    assert encoder.encode(TICK)[5:] == theirs()
    pairs = [(seconds(lambda: encoder.encode(TICK)), seconds(theirs)) for _ in range(ROUNDS)]
    return {
        "ours_us": round(statistics.median(ours for ours, _ in pairs), 2),
        "fastavro_us": round(statistics.median(other for _, other in pairs), 2),
        "ratio": round(statistics.median(other / ours for ours, other in pairs), 2),
    }


def seconds(call: Callable[[], bytes]) -> float:
    """Time one call, in µs."""
    return timeit.timeit(call, number=CALLS) / CALLS * 1e6


if __name__ == "__main__":
    print("codec", measure())

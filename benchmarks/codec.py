"""Encoding and decoding a tick: functions made from its schema beside fastavro walking it, in turns in one process.

Run: python -m benchmarks.codec
"""

import json
import statistics
import timeit
from collections.abc import Callable
from io import BytesIO

import fastavro
import msgspec

from schemas.codec import Decoder, Encoder, schema_text
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

    encoder, framed = Encoder(Tick, 1), Encoder(Tick, 1).encode(TICK)
    decode = Decoder(Tick, lambda _id: schema_text(Tick)).decode_fields
    assert framed[5:] == theirs()
    assert decode(framed) == fastavro.schemaless_reader(BytesIO(framed[5:]), schema, None)
    return compare("encode", lambda: encoder.encode(TICK), theirs) | compare(
        "decode", lambda: decode(framed), lambda: fastavro.schemaless_reader(BytesIO(framed[5:]), schema, None)
    )


def compare(name: str, ours: Callable[[], object], theirs: Callable[[], object]) -> dict[str, float]:
    """Time both in turns."""
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(ROUNDS)]
    return {
        f"{name}_us": round(statistics.median(each for each, _ in pairs), 2),
        f"{name}_fastavro_us": round(statistics.median(other for _, other in pairs), 2),
        f"{name}_ratio": round(statistics.median(other / each for each, other in pairs), 2),
    }


def seconds(call: Callable[[], object]) -> float:
    """Time one call, in µs."""
    return timeit.timeit(call, number=CALLS) / CALLS * 1e6


if __name__ == "__main__":
    print("codec", measure())

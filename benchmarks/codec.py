"""Encoding and decoding a tick: functions made from its schema beside fastavro and cavro walking it, in turns.

fastavro runs in our process, cavro in its own. Ours and fastavro begin with a record, cavro with its fields; ours and
fastavro decode to fields, cavro to a record of its own.

Run: python -m benchmarks.codec
"""

import json
import sys
import tempfile
import timeit
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
import msgspec

from benchmarks import peers
from benchmarks.page import rows
from benchmarks.turns import Turns, in_turns
from schemas.codec import HEADER, Decoder, Encoder, schema_text
from schemas.records import Tick

OURS = "tickerplant"
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


def measure() -> dict[str, Turns]:
    """Measure µs a record of each way, in turns; what each makes of the tick is compared before."""
    schema, fields = json.loads(schema_text(Tick)), msgspec.structs.asdict(TICK)
    parsed = fastavro.parse_schema(schema)

    def written() -> bytes:
        out = BytesIO()
        fastavro.schemaless_writer(out, parsed, msgspec.structs.asdict(TICK))
        return out.getvalue()

    encoder, framed = Encoder(Tick, 1), Encoder(Tick, 1).encode(TICK)
    decode, value = Decoder(Tick, lambda _id: schema_text(Tick)).decode_fields, framed[HEADER.size :]
    assert value == written()
    assert decode(framed) == fastavro.schemaless_reader(BytesIO(value), parsed, None)
    encoding = {OURS: lambda: us(lambda: encoder.encode(TICK)), "fastavro": lambda: us(written)}
    decoding = {
        OURS: lambda: us(lambda: decode(framed)),
        "fastavro": lambda: us(lambda: fastavro.schemaless_reader(BytesIO(value), parsed, None)),
    }
    with cavro({"schema": schema, "fields": fields, "value": value.hex()}) as ask:
        if ask is not None:
            encoding["cavro"], decoding["cavro"] = partial(ask, "encode"), partial(ask, "decode")
        works = {"a tick encoded": encoding, "a tick decoded": decoding}
        nothing: dict[str, list[float]] = {name: [] for name in (OURS, "fastavro", "cavro")}
        return {
            name: Turns(unit="µs", sides=nothing | in_turns(sides, ROUNDS), is_less_better=True)
            for name, sides in works.items()
        }


@contextmanager
def cavro(given: dict[str, Any]) -> Iterator[Callable[[str], Any] | None]:
    """Start cavro; yields what asks it, None = it cannot be had, or makes something else of the tick."""
    with tempfile.TemporaryDirectory(prefix="bench") as folder, ExitStack() as ending:
        path = Path(folder) / "tick.json"
        path.write_text(json.dumps(given), encoding="utf-8")
        try:
            peer = ending.enter_context(closing(peers.asked("cavro", "play_cavro.py", str(path))))
            says_same = peer.ask("check") == [given["value"], given["fields"]]
        except peers.PeerError as error:
            print(f"cavro is left out: {error}", file=sys.stderr)
            says_same = False
        yield peer.ask if says_same else None


def us(call: Callable[[], object]) -> float:
    """Time one call."""
    return timeit.timeit(call, number=CALLS) / CALLS * 1e6


if __name__ == "__main__":
    for name, turns in measure().items():
        print(*rows(name, turns), sep="\n")

"""A tick encoded and decoded by cavro, an Avro library written in Cython.

Run: python play_cavro.py FILE      (then a line of JSON for each question: "encode", "decode", or "check")

FILE is JSON: the schema, the fields of a record, and the record as fastavro encodes it (hexadecimal). The answer is
µs a record; of "check", the record as it is encoded, and its fields as they are decoded.
"""

import json
import sys
import timeit
from pathlib import Path
from typing import Any, Final

CALLS: Final = 20_000


def main(path: str) -> None:
    """Answer questions until there are no more."""
    from cavro import Schema  # type: ignore[import-not-found]  # of another environment  # noqa: PLC0415

    given = json.loads(Path(path).read_text(encoding="utf-8"))
    schema, fields, value = Schema(json.dumps(given["schema"])), given["fields"], bytes.fromhex(given["value"])
    works: dict[str, Any] = {
        "encode": lambda: schema.binary_encode(fields),
        "decode": lambda: schema.binary_decode(value),
    }
    for line in sys.stdin:
        work = json.loads(line)
        if work == "check":
            found = schema.binary_decode(value)
            answer: Any = [schema.binary_encode(fields).hex(), {name: getattr(found, name) for name in fields}]
        else:
            answer = timeit.timeit(works[work], number=CALLS) / CALLS * 1e6
        print(json.dumps(answer, default=str), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])

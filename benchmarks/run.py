"""Run benchmarks: `make bench` runs all, `python -m benchmarks.run outage startup` these alone.

Each runs in a process of its own, an hour at most; all take about two hours, on a machine that does nothing else.
Figures go to results.json, and with the words of each benchmark to docs/performance.md and its picture.
"""

import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks import (
    anatomy,
    books,
    budget,
    codec,
    demo,
    features,
    feed,
    frameworks,
    inserts,
    install,
    latency,
    outage,
    outliers,
    overhead,
    page,
    plan,
    processor,
    queries,
    recovery,
    replay,
    results,
    scale,
    sinks,
    snapshots,
    soak,
    stages,
    startup,
    storage,
    subscribe,
    symbols,
    venues,
    windows,
)
from benchmarks.ending import end
from benchmarks.inputs import AbsentError
from tickerplant.errors import DependencyError, UserError

ONE: Final = "--one"
LIMIT_S: Final = 3600.0
ENDING_S: Final = 120.0
ABSENT_CODE: Final = 3


class NoFiguresError(Exception):
    """A benchmark failed, or took too long."""


BENCHMARKS: dict[str, tuple[str, Callable[[], dict[str, Any]]]] = {
    "Encoding and decoding a tick": ("python -m benchmarks.codec", codec.measure),
    "One connection, socket to raw record": ("python -m benchmarks.feed", feed.measure),
    "Where a tick's time goes in a processor": ("python -m benchmarks.anatomy", anatomy.measure),
    "One processor, spot session in the raw topic": (
        "python -m benchmarks.processor spot",
        lambda: processor.measure("spot"),
    ),
    "One processor, USD-M session": ("python -m benchmarks.processor usdm", lambda: processor.measure("usdm")),
    "One processor, COIN-M session": ("python -m benchmarks.processor coinm", lambda: processor.measure("coinm")),
    "One worker, raw topic to cleaned ticks, beside others": ("python -m benchmarks.frameworks", frameworks.measure),
    "How long a frame takes, by rate": ("python -m benchmarks.latency", latency.measure),
    "Recorded sessions of venues, beside others": ("python -m benchmarks.venues", venues.measure),
    "A book of 1,000 levels a side, beside others": ("python -m benchmarks.books", books.measure),
    "Snapshots of 1,000 symbols at 2,000 deltas/s": ("python -m benchmarks.snapshots", snapshots.measure),
    "1,000 symbols at 10,000 frames/s, socket to cleaned topics": ("python -m benchmarks.symbols", symbols.measure),
    "Cost of a tick by symbols": ("python -m benchmarks.scale symbols", scale.symbols),
    "Cost of a tick by venues": ("python -m benchmarks.scale venues", scale.venues),
    "Cost of a tick by partitions and processes": ("python -m benchmarks.scale processes", scale.processes),
    "A tick through all processes": ("python -m benchmarks.budget", budget.measure),
    "What exactly once costs": ("python -m benchmarks.overhead", overhead.measure),
    "What outliers, bars and features cost a processor": ("python -m benchmarks.stages", stages.measure_all),
    "Memory of 1,000 symbols with all windows": ("python -m benchmarks.windows", windows.measure),
    "Outliers of recorded sessions, one print in a hundred displaced": (
        "python -m benchmarks.outliers",
        outliers.measure,
    ),
    "Features over arrays": ("python -m benchmarks.features", features.measure),
    "From a death to the next record": ("python -m benchmarks.recovery", recovery.measure),
    "Sinks, cleaned topic to each store": ("python -m benchmarks.sinks", sinks.measure),
    "Small inserts, one and four at a time": ("python -m benchmarks.inserts", inserts.measure),
    "Queries of backtests, beside DuckDB and Polars": ("python -m benchmarks.queries", queries.measure),
    "Bytes of a session in every form": ("python -m benchmarks.storage", storage.measure),
    "Subscribing to ticks": ("python -m benchmarks.subscribe", subscribe.measure),
    "Whole flow at full speed, socket to both stores": ("python -m benchmarks.demo throughput", demo.throughput),
    "Whole flow at 2,000 frames/s of 20 symbols": ("python -m benchmarks.demo latency", demo.latency),
    "ClickHouse away for a minute at 5,000 frames/s": ("python -m benchmarks.outage", outage.measure),
    "Memory over a long run at 5,000 frames/s": ("python -m benchmarks.soak", soak.measure),
    "Installing, in megabytes": ("python -m benchmarks.install", install.measure),
    "Replay, from raw records to both stores": ("python -m benchmarks.replay", replay.measure),
    "Start-up and memory by process": ("python -m benchmarks.startup", startup.measure),
}

# What limits us, told with the figures of a benchmark.
WORDS: dict[str, str] = {
    "Encoding and decoding a tick": """\
Functions made from the schema join constant lookups; fastavro walks the schema for each value, cavro compiles it. Each
field costs an attribute and a lookup of the interpreter: what a call in C would save is the joins.""",
    "One connection, socket to raw record": """\
Half of a frame is the WebSocket protocol and the event loop; the other half, up to Kafka, is mostly compression and
librdkafka's thread. No message is parsed: its stream is found by a search in its bytes.""",
    "Where a tick's time goes in a processor": """\
The pipeline is the largest part: some thirty short functions (ids and holes, sides of the book, outliers, bars, the
record itself), none above a tenth. Parsing is next, then encoding and handing over, a look into a table or three a
number. In a process of its own Faust, the fetch, and librdkafka's thread come on top (decisions 0104, 0111).""",
    "One processor, spot session in the raw topic": """\
One thread of Python does everything but compression and sending; features are on, which are a third of it.""",
    "Snapshots of 1,000 symbols at 2,000 deltas/s": """\
A snapshot is written in pieces between records, one a symbol that changed; what is left at the 99th percentile is a
piece in front of a record. What a book's whole copy costs is paid once a start.""",
    "1,000 symbols at 10,000 frames/s, socket to cleaned topics": """\
All is kept up with, but on four fifths of a core: with the venue and the broker on the same two cores a burst (the end
of a minute closes bars of all symbols: 90 ms) is worked off slowly, and p99 is that. In a slower hour of
the machine two runs at 607e2fd processed 8,528 and 6,575 of 10,000, one of the version before 7,795: the rest waits,
and what decision 0109 gave by the clock is not shown. The cost of a tick by symbols, below, has it.""",
    "A tick through all processes": """\
The processor is two fifths; the broker, which stores raw and cleaned records and serves each to two sinks and the
processor, is next.""",
    "What exactly once costs": """\
A snapshot each second is some hundredths of a processor's time; an intent is one commit a chunk.""",
    "What outliers, bars and features cost a processor": """\
Features are the most: each change of a book and each trade goes into the sums of its second, and each second is a row
a symbol. Outliers and bars are within the noise of the machine.""",
    "Outliers of recorded sessions, one print in a hundred displaced": """\
Sessions of minutes leave few prints to learn from; untouched prints that are flagged are mostly jumps of thin
markets.""",
    "Features over arrays": """\
Trades and quotes are sums over arrays; the order flow of whole books has to apply each change in turn.""",
    "From a death to the next record": """\
The coordinator waits 10 s for the session of the dead; the rest is starting Python and loading state.""",
    "Subscribing to ticks": """\
A record is fetched by librdkafka, decoded, and compared with the last source of its raw partition; decoding is the
most.""",
    "Whole flow at full speed, socket to both stores": """\
Two cores carry nine processes; the processor's share of them is the limit.""",
    "ClickHouse away for a minute at 5,000 frames/s": """\
Rows wait in Kafka; afterwards the sink works off what came, while more comes, at the speed of inserts on shared
cores.""",
    "Memory over a long run at 5,000 frames/s": """\
The broker's heap is the JVM's, which may fill it to its limit before it cleans up; ClickHouse keeps caches and parts.
What grows in the ClickHouse sink is not known: no Python object is left over, nor does malloc hold it free (it is given
back each half minute since this run, and a run of 12 minutes still grew by 5.9 % after the first five).""",
    "Installing, in megabytes": """\
pyarrow is a quarter of a gigabyte; of what runs the local stack, Java and ClickHouse are the most.""",
    "Replay, from raw records to both stores": """\
Partitions are replayed by processes of their own, which write both stores from the same columns; encoding for Kafka
and a second decoding in sinks fall away.""",
    "One worker, raw topic to cleaned ticks, beside others": """\
Packed records spare Faust most of what it costs, so stock Faust stays far behind. Against quixstreams and bare loops
ours is held back by what it does beyond them in the same thread of Python: fetching and decoding, parsing, encoding and
handing over (`unavoidable_us_a_frame`) are less than half of a frame's time in it, the pipeline (numbers checked on
their way from text, ids and holes, flags, outliers, bars, counts, the source of each tick) is the most of the rest.
Peers make a dict and forget it; a crash of theirs doubles ticks. Each side is one process; threads of librdkafka count
as processor time, and by the clock they take turns with the broker on two cores.""",
    "How long a frame takes, by rate": """\
A frame waits for its raw record to be closed, up to `producer.linger_ms` (`socket to packed`), then for librdkafka, the
broker and the fetch (`packed to fetched`), then for the frames before it in the same fetch: a record of 50 frames is
done when its last one is. The loop of aiokafka, which does no more than parse and encode, is not much sooner where the
rate is high, so the rest of p99 is the wait for one of two cores, which the venue, the broker and the stores share
(`cores`). A commit waits for the sink's fetch (a fifth of `sink.flush_ms`), for `sink.flush_ms` itself, for the commit
of its intent, and for its insert: partitions are inserted at the same time (decision 0107), but each insert takes some
16 ms of processor time in the local ClickHouse, merges included, at a lower priority than the processor's, and two
partitions of ticks, depth and raw frames are 60 inserts a second. Its quantiles lie between the histogram's bounds.""",
    "Recorded sessions of venues, beside others": """\
Sessions of 2021 to 2023, as their recorder left them. All parse the same bytes; what ours does beyond it (ids and
holes, flags, quality events, a record of every item that is ready for Kafka) is paid in the same figure, and no peer
does it: the share of parsing alone is told below. Where messages carry many levels (HTX, OKX, Binance) the levels
decide; where each is one level (Bitfinex, Kraken futures), what a frame costs in all does: some thirty short
functions (what was tried is in decision 0091). At OKX the checksum of each update, and the digits it needs of every
level, are about a fifth of a frame; cryptofeed verifies it, too, ccxt does not. ccxt keeps the last messages as
dictionaries of 20 and more fields with texts of times; hftbacktest fills an array, without ids, books or records, and
reads Binance futures only: its present converter cannot read its recordings of spot, nor the older ones with times in
microseconds.""",
    "A book of 1,000 levels a side, beside others": """\
A level that is applied costs one or two accesses of a dictionary of floats, in a loop of the interpreter, as at
order_book, whose users write that loop themselves; ours adds a call a delta and one a side. Tried and left out:
`dict.update(zip(...))` (a tenth slower than the loop, since it makes a tuple a level) and an order that is always
kept (deltas that nobody looks at then cost twice as much). Kept: no `zip(strict=True)` and no calls with a star in
the loop (a third of the time), and the order kept up by bisection for 16 deltas after each look; order_book sorts all
again when it is read after a delta. ccxt's best levels are the cheapest, as they are its own pairs, not copies: they
change with the next delta.""",
    "Cost of a tick by symbols": """\
The same ticks over more symbols: what a tick itself runs through stays as it is (profiles of 10 and of 5,000 symbols
differ by a few per cent in it), but caches hold less of it. What grows goes by symbol and time, not by tick: the state
of each symbol that changed is written with each snapshot (about 0.1 ms a symbol; `of_it_snapshots`), a keyframe of each
book each 10 s, bars at the minute, a glance at each symbol each second (1 µs); features are a row a symbol and second.
`processor.snapshot_s = 5` takes most of the first away, at the price of 5 s that a successor works off again. Found
here and mended: a change of bars looked through all 83 spans that are kept to tell the few that changed. Left as it is:
that a snapshot writes a record for each symbol, since each is compacted by its own key.""",
    "Cost of a tick by venues": """\
Venues differ by what their messages are (`us_per_tick_alone`), so those that run together are held against the sum of
what each takes alone in the same round.""",
    "Cost of a tick by partitions and processes": """\
The same raw records each time, so that what differs is Faust, the group, the fetches and the snapshots of each
process. On two cores, four and eight processes change places all the time, which costs caches; on cores of their own
they do not.""",
    "Memory of 1,000 symbols with all windows": """\
Features are the larger part: of each second of the longest window the mid, what was traded, the order flow, squares of
returns, and a copy of the book. Their counts are kept in arrays, since a Python integer above 256 takes 32 bytes. Bars
keep each minute that may still change, an hour of them, at about 1 kB each; outliers 287 numbers.""",
    "Start-up and memory by process": """\
Of a sink's seconds to ready, half are imports (pyarrow, s3fs), the rest is joining the group. Memory at rest is mostly
libraries.""",
    "Small inserts, one and four at a time": """\
What an insert costs hardly depends on its rows: a part is made of it, its files are written, and soon merged with
others. Several at a time wait together for what is not the processor; on more cores they end that much sooner.""",
    "Queries of backtests, beside DuckDB and Polars": """\
Nothing is to be slower than twice the best. On Parquet, ours passes over row groups by their statistics, decodes the
columns of conditions first, and reads several objects at once (decision 0102); ids, by which rows are put in order and
kept once, are decoded of those objects alone that do not say that their rows rise (decision 0113). Most of what is left
is decoding: a column of a row group is decoded for all of its rows or for none, where DuckDB and Polars skip values of
rows that are not wanted. Trades and quotes of the as-of join are read one after the other, where Polars plans both as
one query. ClickHouse is asked for large blocks without compression, which go into Arrow as bytes; what is left there is
the embedded engine on the same cores. A book is applied change by change in Python, since ids and resets decide which
of them count.""",
    "Bytes of a session in every form": """\
A cleaned row holds what the events of others do not: three clocks, the venue's ids and sequence, flags, and the raw
record that it comes from, which sinks and replays need. In a topic these stand in each record; in the lake they are
columns that hardly change, and cost a byte or two. Of a tick, the venue's sequence and two sizes are half of the
bytes; of a depth update, prices and sizes of whole books. hftbacktest's file holds each level twice, once by each
clock. Codecs were chosen by this measurement (decision 0090).""",
    "Sinks, cleaned topic to each store": """\
The aims are 150,000 rows a second of a core into ClickHouse and 200,000 into Parquet; fastavro alone would allow some
130,000. Records are decoded together into columns, which took 15 µs a row before and takes about 1 µs; columns go to
ClickHouse as bytes, without a Python object a value. What is left is what librdkafka and its Python messages take for
each record, the columns' bytes, and compression. By the clock, a sink waited for librdkafka to fetch again for most of
each second, which is mended (decision 0103); now the stores limit, whose answers it waits for, since a commit must be
true: the gateway's insert, or S3, on the same cores.""",
}


def main(names: Sequence[str] = ()) -> None:
    """Measure and write, each figure with its command; the figures of one that fails stay, and the others go on.

    Args:
        names: words of the commands of those that are to run; the figures of others stay. None = all.
    """
    if unknown := set(names) - names_there_are():
        sys.exit(f"there is no benchmark {min(unknown)!r}: choose of {', '.join(sorted(names_there_are()))}")
    kept, failed = results.read(), list[str]()
    for title in BENCHMARKS:
        if not names or set(names) & words_of(title):
            print(title, "...", flush=True)
            try:
                kept[title] = apart(title)
            except AbsentError as error:
                print(f"left out: {error}")
            except NoFiguresError as error:
                print(f"no figures: {error}", file=sys.stderr)
                failed.append(BENCHMARKS[title][0])
            write(kept)
    if failed:
        sys.exit(f"no figures of: {'; '.join(failed)}")


def words_of(title: str) -> set[str]:
    """Tell the words by which a benchmark may be named."""
    return set(re.split(r"[ .]", BENCHMARKS[title][0])[3:])


def names_there_are() -> set[str]:
    """Tell all words by which benchmarks may be named."""
    return set().union(*map(words_of, BENCHMARKS))


def apart(title: str) -> results.Result:
    """Measure in a process of its own, which stops what it started where it takes too long.

    Raises:
        AbsentError: what it needs is not on this machine.
        NoFiguresError: it failed, as was printed, or took too long.
    """
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        out = Path(folder) / "results.json"
        child = subprocess.Popen([sys.executable, "-m", "benchmarks.run", ONE, title, str(out)])
        try:
            code = child.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            end(child, ENDING_S, by=signal.SIGINT)  # so that it stops its servers
            raise NoFiguresError(f"not done in {LIMIT_S:g} s") from None
        except KeyboardInterrupt:  # the child has it, too
            end(child, ENDING_S, by=signal.SIGINT)
            raise
        if code == ABSENT_CODE:
            raise AbsentError(out.read_text(encoding="utf-8"))
        if code:
            raise NoFiguresError(f"it ended with code {code}")
        return results.read(out)[title]


def one(title: str, out: Path) -> None:
    """Measure one, in this process, and write its figures to a file; its reason where something is absent."""
    command, measure = BENCHMARKS[title]
    where = results.machine()
    try:
        results.write({title: results.measured(command, where, measure())}, out)
    except DependencyError as error:
        sys.exit(str(error))
    except UserError as error:  # something is absent, or a recording cannot be read
        out.write_text(str(error), encoding="utf-8")
        sys.exit(ABSENT_CODE)


def write(kept: dict[str, results.Result]) -> None:
    """Write what is known of the benchmarks that there are, in their order."""
    found = {title: kept[title] for title in BENCHMARKS if title in kept}
    results.write(found)
    page.PAGE.write_text(page.page(found, WORDS), encoding="utf-8")
    page.PICTURE.write_text(page.picture(found), encoding="utf-8")
    planned = plan.page(plan.PAGE.read_text(encoding="utf-8"), found)
    plan.PAGE.write_text(planned, encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:] == ["--page"]:
        write(results.read())
    elif sys.argv[1:2] == [ONE]:
        one(sys.argv[2], Path(sys.argv[3]))
    else:
        main(sys.argv[1:])

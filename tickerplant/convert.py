"""`tickerplant convert`: recordings → Parquet, by the parse, dedupe and book code that runs live, without Kafka."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import structs

from processors.errors import FrameError
from processors.pipeline import Pipeline
from schemas import records
from schemas.arrow import ArchivedRecord, ArchiveError, arrow_schema, raw_frames
from schemas.topics import raw_topic
from schemas.venues import SYMBOLOGIES
from tickerplant.choices import check_market, chosen_venue
from tickerplant.errors import UserError
from tickerplant.recordings import RecordedFrame, RecordingError, read_recording
from tickerplant.recordings.markets import other_market

FILES: Final[dict[type[records.Record], str]] = {
    records.Tick: "tick",
    records.Depth: "depth",
    records.Ticker: "ticker",
    records.Candle: "candle",
    records.Bar: "bar",
    records.Derivative: "derivative",
    records.Signal: "signal",
    records.Instrument: "instrument",
    records.QualityEvent: "quality",
    records.DeadLetter: "dead_letter",
}
ROWS_AT_ONCE: Final = 20_000
SPOT: Final = frozenset({"Spot"})
LINEAR: Final = frozenset({"LinearSwap", "LinearFuture"})
INVERSE: Final = frozenset({"InverseSwap", "InverseFuture"})
OPTIONS: Final = frozenset({"EuropeanOption"})
DATED: Final = frozenset({"LinearFuture", "InverseFuture"})
PERPETUAL: Final = frozenset({"LinearSwap", "InverseSwap"})
MARKET_TYPES: Final[dict[str, frozenset[str]]] = {
    "spot": SPOT, "spot_v1": SPOT, "exchange": SPOT, "advanced": SPOT, "usdm": LINEAR, "linear": LINEAR,
    "coinm": INVERSE, "inverse": INVERSE, "coin": INVERSE, "swap": PERPETUAL, "perp": PERPETUAL, "option": OPTIONS,
    "options": OPTIONS, "futures": LINEAR | INVERSE, "derivatives": LINEAR | INVERSE,
    "delivery": LINEAR & DATED, "GATE futures": LINEAR, "OKX futures": DATED,
}  # fmt: skip
"""What recordings of single messages call what is of a market: of that venue, or of any."""
KNOWN_TYPES: Final = frozenset().union(*MARKET_TYPES.values())
MAGIC: Final = b"PAR1"
SECOND_US: Final = 1_000_000
STILL_US: Final = 10 * SECOND_US  # a recorder that wrote nothing for so long may have stood still


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What to convert.

    Args:
        files: recordings, or folders and files of the raw archive, in order of time.
        out: folder for `tick.parquet`, `depth.parquet` ...; files there are replaced when all is written.
        instruments: body of the venue's instrument list; None = the recording's own, else names are split.
    """

    venue: str
    market: str
    files: tuple[Path, ...]
    out: Path
    instruments: Path | None = None


@dataclass
class ParquetFolder:
    """Writes records of each class into a file of its own, none of which is visible before all are whole."""

    out: Path
    rows: Counter[str] = field(default_factory=Counter)
    _waiting: dict[type[records.Record], list[records.Record]] = field(default_factory=dict)
    _writers: dict[type[records.Record], pq.ParquetWriter] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Open all files, so that a reader finds an empty one where nothing was of a kind."""
        self.out.mkdir(parents=True, exist_ok=True)
        for record in FILES:
            self._waiting[record] = []
            self._writers[record] = pq.ParquetWriter(self._draft(record), arrow_schema(record), compression="zstd")

    def add(self, record: records.Record) -> None:
        """Take in one record."""
        waiting = self._waiting[type(record)]
        waiting.append(record)
        if len(waiting) >= ROWS_AT_ONCE:
            self._write(type(record))

    def close(self) -> None:
        """Write what waits and make the files visible."""
        for record in FILES:
            self._write(record)
            self._writers[record].close()
            self._draft(record).replace(self.out / f"{FILES[record]}.parquet")

    def discard(self) -> None:
        """Remove what was not made visible."""
        for record, writer in self._writers.items():
            writer.close()
            self._draft(record).unlink(missing_ok=True)

    def _write(self, record: type[records.Record]) -> None:
        waiting, schema = self._waiting[record], arrow_schema(record)
        columns = [
            pa.array([getattr(each, name) for each in waiting], schema.field(name).type) for name in schema.names
        ]
        self._writers[record].write_table(pa.Table.from_arrays(columns, schema=schema))
        self.rows[FILES[record]] += len(waiting)
        waiting.clear()

    def _draft(self, record: type[records.Record]) -> Path:
        return self.out / f".{FILES[record]}.parquet.tmp"


def convert_files(conversion: Conversion) -> dict[str, Any]:
    """Convert and return a summary: frames (CLOCK left out), rows by file, ticks by kind, gaps, dead letters, seconds.

    Frames that are of other markets, as an archive or a recording of single messages says, or the URL of a connection,
    are counted by what it calls these in `left_out`.
    Lines that cannot be read (the recorder was killed, the copy was cut) are left out; `damaged` in the summary counts
    them and `first_damage` says where the first one is.

    Raises:
        UserError: unknown venue or market; a file that is missing, of no known format, or has nothing of the market.
    """
    _check(conversion)
    began_s = time.monotonic()
    try:
        folder, counts = ParquetFolder(conversion.out), Counter[str]()
    except OSError as error:
        raise UserError(f"{conversion.out} cannot be written: {error.strerror}; see --out") from None
    damage: list[RecordingError] = []
    left_out = Counter[str]()
    try:
        _convert(conversion, folder, counts, damage, left_out)
        folder.close()
    except BaseException:
        folder.discard()
        raise
    seconds = time.monotonic() - began_s
    return {
        "venue": conversion.venue,
        "market": conversion.market,
        "frames": counts["frames"],
        "ticks": folder.rows["tick"],
        "kinds": {name: counts[name] for name in sorted(counts) if name.isupper()},
        "rows": dict(folder.rows),
        "gaps": counts["GAP"],
        "dead_letters": folder.rows["dead_letter"],
        "left_out": dict(left_out),
        "damaged": len(damage),
        "first_damage": str(damage[0]) if damage else "",
        "seconds": round(seconds, 3),
        "frames_per_s": round(counts["frames"] / seconds),
        "out": str(conversion.out),
    }


def _convert(
    conversion: Conversion,
    folder: ParquetFolder,
    counts: Counter[str],
    damage: list[RecordingError],
    left_out: Counter[str],
) -> None:
    pipelines: dict[tuple[str, int], Pipeline] = {}
    for archived in _raw_records(conversion, damage, left_out):
        place = (archived.topic, archived.partition)
        if place not in pipelines:
            pipelines[place] = Pipeline(conversion.venue.upper(), *place, assume_instruments=True)
        counts["frames"] += sum(frame.kind != "CLOCK" for frame in archived.record.frames)
        try:
            derived = pipelines[place].process(archived.offset, archived.record).records
        except FrameError:
            counts["unusable_records"] += 1
            continue
        _keep(derived, folder, counts)
    if left_out and not counts["frames"]:
        others = ", ".join(sorted(left_out))
        raise UserError(f"there is nothing of the market {conversion.market} here, but of {others}: see --market")
    for pipeline in pipelines.values():
        _keep(pipeline.finish(), folder, counts)


def _keep(derived: Iterable[records.Derived], folder: ParquetFolder, counts: Counter[str]) -> None:
    for record in derived:
        folder.add(record)
        counts[_kind(record)] += 1


def _raw_records(
    conversion: Conversion, damage: list[RecordingError], left_out: Counter[str]
) -> Iterator[ArchivedRecord]:
    """Yield raw records of all files; each recorded frame is a record of its own, so that it keeps its own time."""
    topic = raw_topic(conversion.venue).name
    offset = 0
    if conversion.instruments is not None:
        yield ArchivedRecord(topic, 0, offset, _instrument_list(conversion))
        offset += 1
    for path in conversion.files:
        if _is_archive(path):
            try:
                for archived in raw_frames(pq.read_table(path)):
                    yield archived._replace(record=_of_market(conversion, path, archived.record, left_out))
            except (ArchiveError, OSError, pa.ArrowException) as error:
                raise UserError(f"{path} cannot be read: {str(error).partition(chr(10))[0]}") from None
            continue
        numbers: Counter[str] = Counter()
        read = read_recording(path, conversion.market, on_damage=damage.append)
        told = (each for each in read if _is_of_market(conversion, each.market_type, left_out))
        frames = _of_connections(conversion, told, left_out)
        for frame in with_clock(frames) if len(conversion.files) == 1 else frames:
            yield ArchivedRecord(topic, 0, offset, _raw_record(conversion, path, frame, numbers))
            offset += 1


def _is_of_market(conversion: Conversion, market_type: str, left_out: Counter[str]) -> bool:
    """Tell whether a message is of the market, as far as its recording says; one that is not is counted."""
    if market_type not in KNOWN_TYPES:
        return True
    of_any = MARKET_TYPES.get(conversion.market, KNOWN_TYPES)
    if market_type in MARKET_TYPES.get(f"{conversion.venue.upper()} {conversion.market}", of_any):
        return True
    left_out[market_type] += 1
    return False


def _of_connections(
    conversion: Conversion, frames: Iterable[RecordedFrame], left_out: Counter[str]
) -> Iterator[RecordedFrame]:
    """Leave out what is of other markets or venues: one session may hold several, with the same names."""
    others: dict[str, str] = {}
    for each in frames:
        if each.kind in {"CONNECT", "INSTRUMENTS", "HTTP"}:
            other = other_market(conversion.venue.upper(), conversion.market, each.request)
            if each.kind == "CONNECT":
                others[each.connection] = other
        else:
            other = others.get(each.connection, "")
        if other:
            left_out[other] += 1
        else:
            yield each


def _of_market(
    conversion: Conversion, path: Path, record: records.RawFrames, left_out: Counter[str]
) -> records.RawFrames:
    """Leave out frames of other markets; CLOCK frames are of none.

    Raises:
        UserError: the archive is another venue's.
    """
    if record.venue != conversion.venue.upper():
        raise UserError(f"{path} is an archive of {record.venue}: say --venue {record.venue.lower()}")
    wanted = {number for number, each in enumerate(record.sources) if each.market in {"", conversion.market}}
    if len(wanted) == len(record.sources):
        return record
    left_out.update(record.sources[each.source].market for each in record.frames if each.source not in wanted)
    return structs.replace(record, frames=[each for each in record.frames if each.source in wanted])


def with_clock(frames: Iterable[RecordedFrame]) -> Iterator[RecordedFrame]:
    """Add the CLOCK frames that a producer would have made, one a second.

    None are added where a recorder wrote nothing for 10 s: it may have stood still. Of several recordings none are at
    all, since their times may overlap.
    """
    clock_us = 0
    for frame in frames:
        now_us = frame.recv_time_us
        if clock_us and clock_us + SECOND_US <= now_us <= clock_us + STILL_US:
            for time_us in range(clock_us + SECOND_US, now_us + 1, SECOND_US):
                yield RecordedFrame(time_us, "CLOCK", request="", payload=b"", connection="clock-recording")
        clock_us = max(clock_us, now_us // SECOND_US * SECOND_US)
        yield frame


def _raw_record(
    conversion: Conversion, path: Path, recorded: RecordedFrame, numbers: Counter[str]
) -> records.RawFrames:
    connection = f"{path.name}:{recorded.connection}"
    frame = records.Frame(
        source=0,
        number=numbers[connection],
        kind=recorded.kind,
        request=recorded.request,
        recv_time_us=recorded.recv_time_us,
        payload=recorded.payload,
    )
    numbers[connection] += 1
    return _one_frame(conversion, connection, frame)


def _instrument_list(conversion: Conversion) -> records.RawFrames:
    path = conversion.instruments
    assert path is not None
    try:
        body = path.read_bytes()
    except OSError as error:
        raise UserError(f"instrument list {path} cannot be read: {error.strerror}") from None
    frame = records.Frame(source=0, number=0, kind="INSTRUMENTS", request=str(path), recv_time_us=0, payload=body)
    return _one_frame(conversion, "instruments", frame)


def _one_frame(conversion: Conversion, connection: str, frame: records.Frame) -> records.RawFrames:
    return records.RawFrames(
        venue=conversion.venue.upper(),
        event_time_us=frame.recv_time_us,
        sources=[records.Source(market=conversion.market, connection=connection)],
        frames=[frame],
    )


def _check(conversion: Conversion) -> None:
    check_market(conversion.venue, conversion.market, chosen_venue(conversion.venue, SYMBOLOGIES).MARKETS)
    for path in conversion.files:
        if not path.exists():
            raise UserError(f"{path} does not exist")


def _is_archive(path: Path) -> bool:
    if path.is_dir():
        return True
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def _kind(record: records.Record) -> str:
    """Name what is counted: TRADE, QUOTE, DEPTH_DELTA, CANDLE, GAP ..."""
    if isinstance(record, records.Depth):
        kind = "KEYFRAME" if record.is_keyframe else "SNAPSHOT" if record.is_snapshot else "DELTA"
        return f"DEPTH_{kind}"
    if isinstance(record, records.Tick | records.Derivative | records.QualityEvent):
        return record.kind
    return type(record).__name__.upper()

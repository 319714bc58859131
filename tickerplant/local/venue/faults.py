"""The closed catalogue of faults that the simulated venue injects: names, parameters with units, reading; pure.

A frame is hit by at most one fault, the one that was started first. Patterns (`match`) are those of a shell: `*` any
text, `?` any character, `[ab]` one of these. They are held against

- `market/stream` for frames, e.g. `spot/btcusdt@trade`, `usdm/*@depth*`,
- the endpoint for connections, e.g. `spot`, `usdm/public`,
- path and query for REST, e.g. `*/depth?symbol=BTCUSDT*`, `*/spot/*/exchangeInfo*`.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Final, Literal, get_args

import msgspec
from msgspec import Meta, Struct

from tickerplant.errors import UserError

FOR_EVER: Final = 0.0

Chance = Annotated[float, Meta(ge=0, le=1)]
Seconds = Annotated[float, Meta(ge=0, le=86_400)]
Number = Annotated[int, Meta(ge=0)]
Status = Annotated[int, Meta(ge=400, le=599)]
CloseCode = Annotated[int, Meta(ge=1000, le=4999)]
Way = Literal["close", "abort", "mid_frame"]
Corruption = Literal["any", "json", "utf8", "type", "value"]
Garbage = Literal["any", "truncated", "html", "empty", "cut"]
WrongSnapshot = Literal["any", "old", "other_symbol", "crossed", "empty"]
CHOICES: Final = (Way, Corruption, Garbage, WrongSnapshot)

PARAMETERS: Final = {
    "match": "pattern of what is hit",
    "after_s": "s until it begins",
    "for_s": "s until it ends; 0 = when it is told to",
    "probability": "chance of each to be hit",
    "count": "hits after which it ends; 0 = any number",
    "every_s": "s between hits, and before the first; 0 = once, at once",
    "within": "frames of its stream: how far one falls back at most",
    "kind": "what exactly is done; `any` = one of the others, by seed",
    "answers": "answers to requests are not given either",
    "code": "close code",
    "how": "a close frame, none, or the end in the middle of a frame",
    "bytes_per_s": "bytes/s to each socket; 0 = any",
    "handshake_s": "s that a handshake waits",
    "status": "HTTP status",
    "retry_after_s": "s of the Retry-After header; 0 = it is left out",
    "hang_s": "s until the answer comes all the same",
    "notice_s": "s between the notice and the close",
    "down_s": "s in which handshakes are refused with 503 then",
    "step_ms": "ms by which the venue's clock is off; below 0 = behind",
}
"""What each parameter means, with its unit."""


class Fault(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="fault"):
    """One fault with its parameters. `MAIN` is what `NAME=VALUE` sets; `SEEN` is what a platform shall show of it."""

    MAIN: ClassVar[str] = "probability"
    SEEN: ClassVar[str] = ""

    match: str = "*"
    after_s: Seconds = 0.0
    for_s: Seconds = FOR_EVER

    @property
    def name(self) -> str:
        """Name of the fault in the catalogue."""
        return str(self.__struct_config__.tag)


class FrameFault(Fault, frozen=True, kw_only=True):
    """What happens to single frames of market data."""

    probability: Chance = 1.0
    count: Number = 0


class Lose(FrameFault, frozen=True, kw_only=True, tag="lose"):
    """A frame is not written."""

    SEEN: ClassVar[str] = "GAP with the ids that are missing; of depth also BOOK_RESET, a new snapshot, BOOK_READY"


class Double(FrameFault, frozen=True, kw_only=True, tag="double"):
    """A frame is written twice in a row."""

    SEEN: ClassVar[str] = "DUPLICATE; no record more than without"


class Reorder(FrameFault, frozen=True, kw_only=True, tag="reorder"):
    """A frame is written after one of the next ones of its stream."""

    SEEN: ClassVar[str] = "GAP, then OUT_OF_ORDER, each trade once; of depth GAP and a new snapshot"

    within: Annotated[int, Meta(ge=1, le=1000)] = 3


class Truncate(FrameFault, frozen=True, kw_only=True, tag="truncate"):
    """The end of a frame's payload is cut off."""

    SEEN: ClassVar[str] = "a dead letter with the bytes, and a GAP where the item should be"


class Corrupt(FrameFault, frozen=True, kw_only=True, tag="corrupt"):
    """Bytes are changed: no JSON, no UTF-8, a field of another type, or another number that still parses."""

    SEEN: ClassVar[str] = "a dead letter with the bytes, and a GAP; `value` cannot be seen: stored as it was sent"

    kind: Corruption = "any"


class WrongChecksum(FrameFault, frozen=True, kw_only=True, tag="wrong_checksum"):
    """The checksum of a book in a frame is another one (of venues that send any)."""

    SEEN: ClassVar[str] = "BOOK_RESET, a new snapshot, BOOK_READY; levels as ever"


class Silence(Fault, frozen=True, kw_only=True, tag="silence"):
    """Streams carry nothing while connections live."""

    MAIN: ClassVar[str] = "for_s"
    SEEN: ClassVar[str] = "STALE, a new connection; GAP with the ids of what was not sent"

    for_s: Seconds = 10.0
    answers: bool = False


class Disconnect(Fault, frozen=True, kw_only=True, tag="disconnect"):
    """Connections end."""

    MAIN: ClassVar[str] = "every_s"
    SEEN: ClassVar[str] = "DISCONNECT, BOOK_RESET, `websocket_reconnects_total`, a new snapshot"

    probability: Chance = 1.0
    count: Number = 0
    every_s: Seconds = 0.0
    how: Way = "close"
    code: CloseCode = 1001


class Slow(Fault, frozen=True, kw_only=True, tag="slow"):
    """Sockets take little at a time, handshakes wait."""

    MAIN: ClassVar[str] = "bytes_per_s"
    SEEN: ClassVar[str] = "later records, none lost"

    bytes_per_s: Annotated[float, Meta(ge=0)] = 0.0
    handshake_s: Seconds = 0.0


class Refuse(Fault, frozen=True, kw_only=True, tag="refuse"):
    """Handshakes are answered with an HTTP status."""

    SEEN: ClassVar[str] = "`connector_errors_total`, later tries, GAP with the ids of what was missed"

    probability: Chance = 1.0
    count: Number = 0
    status: Status = 503
    retry_after_s: Number = 0


class RequestFault(Fault, frozen=True, kw_only=True):
    """What happens to REST requests."""

    probability: Chance = 1.0
    count: Number = 0


class HttpError(RequestFault, frozen=True, kw_only=True, tag="http_error"):
    """Requests are answered with an HTTP status."""

    SEEN: ClassVar[str] = "`connector_errors_total`; asked again, after Retry-After for 418 and 429"

    status: Status = 503
    retry_after_s: Number = 0


class HttpHang(RequestFault, frozen=True, kw_only=True, tag="http_hang"):
    """Requests are not answered for a time."""

    SEEN: ClassVar[str] = "`connector_errors_total`; asked again"

    hang_s: Seconds = 60.0


class HttpGarbage(RequestFault, frozen=True, kw_only=True, tag="http_garbage"):
    """Status 200 with half a body, a web page, nothing, or a body that breaks off with the connection."""

    SEEN: ClassVar[str] = "a dead letter with the bytes, or `connector_errors_total`; asked again"

    kind: Garbage = "any"


class WrongSnapshotFault(RequestFault, frozen=True, kw_only=True, tag="wrong_snapshot"):
    """Books, asked for or in a stream, well formed and wrong: an id of long ago, another symbol's, crossed, empty."""

    SEEN: ClassVar[str] = "not joined; asked again; BOOK_READY with a right one"

    kind: WrongSnapshot = "any"


class Maintenance(Fault, frozen=True, kw_only=True, tag="maintenance"):
    """The venue announces its end, if it has a notice for that, and closes connections a moment later."""

    MAIN: ClassVar[str] = "every_s"
    SEEN: ClassVar[str] = "VENUE_NOTICE, a new connection in its place"

    count: Number = 0
    every_s: Seconds = 0.0
    notice_s: Seconds = 1.0
    down_s: Seconds = 0.0


class ClockStep(Fault, frozen=True, kw_only=True, tag="clock_step"):
    """Times that the venue writes jump (those of a recording stay)."""

    MAIN: ClassVar[str] = "step_ms"
    SEEN: ClassVar[str] = "flag LATE after a step back; ids and books as ever"

    step_ms: Annotated[int, Meta(ge=-(10**12), le=10**12)] = 0


AnyFault = (
    Lose | Double | Reorder | Truncate | Corrupt | WrongChecksum | Silence | Disconnect | Slow | Refuse
    | HttpError | HttpHang | HttpGarbage | WrongSnapshotFault | Maintenance | ClockStep
)  # fmt: skip
CATALOGUE: Final[dict[str, type[AnyFault]]] = {str(each.__struct_config__.tag): each for each in get_args(AnyFault)}
"""By name."""


def parameters(fault: type[AnyFault]) -> dict[str, Any]:
    """Name the parameters of a fault with their defaults: the one of `NAME=VALUE` first, those of all faults last."""
    defaults = {field.name: field.default for field in reversed(msgspec.structs.fields(fault))}
    return {fault.MAIN: defaults[fault.MAIN]} | defaults


def fault_from(given: object) -> AnyFault:
    """Read a fault from decoded JSON: `{"fault": NAME, parameter: value, ...}`.

    Raises:
        UserError: it is none, or has an unknown parameter or value; the line names the known ones.
    """
    name = given.get("fault") if isinstance(given, Mapping) else None
    if not isinstance(given, Mapping) or not isinstance(name, str):
        raise UserError(f'a fault is an object {{"fault": NAME, ...}}, with NAME one of {", ".join(CATALOGUE)}')
    return _read(name, {str(key): value for key, value in given.items() if key != "fault"}, strict=True)


def parse_fault(text: str) -> AnyFault:
    """Read a fault as given to `--fault`: NAME, NAME=VALUE, and `,PARAMETER=VALUE` as often as wanted.

    >>> parse_fault("lose=0.001,match=spot/*")
    Lose(match='spot/*', after_s=0.0, for_s=0.0, probability=0.001, count=0)

    Raises:
        UserError: as `fault_from`.
    """
    head, *rest = text.split(",")
    name, _, value = head.partition("=")
    values: dict[str, object] = {key: given for key, _, given in (each.partition("=") for each in rest)}
    if value and name in CATALOGUE:
        values.setdefault(CATALOGUE[name].MAIN, value)
    return _read(name, values, strict=False)


def _read(name: str, values: dict[str, object], *, strict: bool) -> AnyFault:
    fault = CATALOGUE.get(name)
    if fault is None:
        raise UserError(f"fault {name[:40]!r} is none of {', '.join(CATALOGUE)}")
    known = parameters(fault)
    unknown = [each for each in values if each not in known]
    if unknown:
        raise UserError(f"fault {name} has no parameter {unknown[0][:40]!r}, but {', '.join(known)}")
    try:
        return msgspec.convert(values | {"fault": name}, fault, strict=strict)
    except msgspec.ValidationError as error:
        raise UserError(f"fault {name}: {_in_short(error)}") from None


def _in_short(error: msgspec.ValidationError) -> str:
    """Put the parameter first.

    >>> _in_short(msgspec.ValidationError("Expected `int` <= 1 - at `$.count`"))
    'count: expected `int` <= 1'
    """
    what, _, where = str(error).partition(" - at `$.")
    return f"{where.rstrip('`')}: {what[:1].lower()}{what[1:]}"


def table() -> Iterator[tuple[str, str, str, str]]:
    """List the catalogue for people: name, meaning, parameters with defaults or choices, what is to be seen."""
    for name, fault in CATALOGUE.items():
        choices = {each.name: get_args(each.type) for each in msgspec.structs.fields(fault) if each.type in CHOICES}
        texts = {key: "|".join(choices.get(key, ())) or _text(value) for key, value in parameters(fault).items()}
        yield name, (fault.__doc__ or "").strip(), ", ".join("=".join(each) for each in texts.items()), fault.SEEN


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)

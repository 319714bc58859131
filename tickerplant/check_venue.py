"""`tickerplant check-venue`: hold the three files of a venue against what all others may rely on.

It needs the venue's registry lines, and messages written from its documents: `{market: {name: message}}`, those named
`before...` said first. Nothing is connected to.
"""

import json
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from processors.errors import FrameError
from processors.pieces import HEAD
from processors.pipeline import Pipeline
from processors.venues import VENUES as MEANINGS
from processors.venues import VenueModule
from producers.plan import connections, streams
from producers.venues import VENUES as WIRES
from producers.wire import Dialogue, Missing, Request, Wire, kind_of
from schemas.codec import Encoder
from schemas.quality import QUALITY_KINDS
from schemas.records import DeadLetter, Derived, Frame, Instrument, QualityEvent, RawFrames, Source
from schemas.symbology import SymbolError
from schemas.venues import SYMBOLOGIES, SymbologyModule
from tickerplant.damage import damaged
from tickerplant.errors import UserError
from tickerplant.settings import Venue

HOSTILE: Final = (
    b"",
    b"\x00",
    b"\xff" * 64,
    b"{",
    b"[]",
    b"[" * 2000,
    b"null",
    b'{"data":null}',
    b"\x1f\x8bx",
    b"pong",
)
BASE: Final = "http://127.0.0.1:1"
NOW_US: Final = 1_795_910_400_300_000
MANY: Final = 1000
PARTITIONS: Final = 4
MOST_TOLD: Final = 3
Problems = Iterator[str]
Messages = dict[str, dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One check; problems are empty where it holds."""

    check: str
    problems: tuple[str, ...]


def check_venue(name: str, messages: Messages) -> list[Finding]:
    """Run all checks.

    Args:
        messages: market → name → message as sent, written from the venue's documents.

    Raises:
        UserError: the venue is in no registry.
    """
    venue = name.upper()
    if venue not in SYMBOLOGIES or venue not in MEANINGS or venue not in WIRES:
        raise UserError(f"venue {name} is not in all registries: see docs/add-a-venue.md, One line in each registry")
    checks: tuple[tuple[str, Callable[[], Problems]], ...] = (
        ("the three files offer what is asked for, of the same markets", lambda: _offers(venue)),
        ("instrument lists and names that are none are refused", lambda: _names(venue)),
        ("every channel has its own stream, URL and limits", lambda: _channels(venue)),
        ("REST requests go where settings say", lambda: _requests(venue)),
        ("1,000 symbols fit into the limits of connections and requests", lambda: _limits(venue)),
        ("a dialogue takes whatever comes", lambda: _dialogue(venue)),
        ("a parser gives items or FrameError, whatever comes", lambda: _hostile(venue)),
        ("every market has messages, each gives records without unknown fields", lambda: _documented(venue, messages)),
        ("messages are told to belong to streams that were subscribed", lambda: _routed(venue, messages)),
        ("each node of each message removed or replaced is used or refused", lambda: _damage(venue, messages)),
        ("state that is written and read again goes on alike", lambda: _state(venue, messages)),
    )
    return [Finding(check=check, problems=_problems(run)) for check, run in checks]


def _problems(run: Callable[[], Problems]) -> tuple[str, ...]:
    """Collect what a check finds; that it cannot be made is a problem as well."""
    found: list[str] = []
    try:
        found.extend(run())
    except Exception as error:  # noqa: BLE001  # whatever the files do
        found.append(f"{type(error).__name__}: {error}")
    return tuple(found)


def show(name: str, path: Path | None, *, as_json: bool) -> None:
    """Print all findings.

    Raises:
        UserError: the venue or the file is not known.
        SystemExit: 1, where a check does not hold.
    """
    findings = check_venue(name, _read(path) if path else {})
    if as_json:
        found = [{"check": each.check, "holds": not each.problems, "problems": each.problems} for each in findings]
        click.echo(json.dumps({"venue": name.upper(), "checks": found}))
    else:
        for each in findings:
            click.echo(f"{'FAILED' if each.problems else 'ok':<7} {each.check}")
            for problem in each.problems[:MOST_TOLD]:
                click.echo(f"        {problem}")
    if any(each.problems for each in findings):
        raise SystemExit(1)


def _read(path: Path) -> Messages:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"messages {path} cannot be read: {error}") from None
    if not isinstance(found, dict) or not all(isinstance(each, dict) for each in found.values()):
        raise UserError(f"messages {path} are not {{market: {{name: message}}}}")
    return {market: {name: _whole(name, each) for name, each in named.items()} for market, named in found.items()}


def _whole(name: str, message: Any) -> Any:
    """Put what is named as a stream (a@b) into the envelope of a combined stream."""
    return {"stream": name, "data": message} if "@" in name else message


def _offers(venue: str) -> Problems:
    names, meaning, wire = SYMBOLOGIES[venue], MEANINGS[venue], WIRES[venue]
    files: dict[str, tuple[type, object]] = {
        "schemas": (SymbologyModule, names),
        "producers": (Wire, wire),
        "processors": (VenueModule, meaning),
    }
    for folder, (protocol, module) in files.items():
        for name in sorted({*vars(protocol), *protocol.__annotations__}):
            if not name.startswith("_") and not hasattr(module, name):
                yield f"{folder}/venues/{venue.lower()}.py has no {name}"
    if set(names.MARKETS) != set(meaning.MARKETS):
        yield f"schemas knows {sorted(names.MARKETS)}, processors {sorted(meaning.MARKETS)}"
    if not set(wire.MARKETS) <= set(names.MARKETS):
        yield f"producers knows {sorted(wire.MARKETS)}, of which schemas lacks some"


def _names(venue: str) -> Problems:
    names = SYMBOLOGIES[venue]
    for market in (*names.MARKETS, "no such market"):
        for body in HOSTILE if market in names.MARKETS else (b"[]",):
            try:
                listed = names.read_list(market, body, 0).instruments
            except ValueError:
                continue
            if listed:
                yield f"{market}: {body[:20]!r} is read as a list"
    for market in names.MARKETS:
        try:
            yield f"{market}: '' is read as {names.assumed_instrument(market, '', 0).symbol}"
        except SymbolError:
            continue


def _channels(venue: str) -> Problems:
    wire = WIRES[venue]
    for market in wire.MARKETS:
        full = {channel: wire.full_channel(market, channel) for channel in wire.CHANNELS[market]}
        names = {wire.stream_name("X", each) for each in full.values() if each}
        if len(names) != len(set(full.values()) - {None}):
            yield f"{market}: two channels share a stream's name"
        if wire.full_channel(market, "no such channel") is not None:
            yield f"{market}: any channel is taken"
        for each in filter(None, full.values()):
            if not wire.stream_url(market, each, "ws://127.0.0.1:1").startswith("ws://127.0.0.1:1"):
                yield f"{market} {each}: the URL does not begin with the one that settings give"

    kinds = {kind_of(wire.full_channel(m, each) or "") for m in wire.MARKETS for each in wire.CHANNELS[m]}
    for name in ("QUIET_CHANNELS", "SHARED_CHANNELS"):
        for kind in sorted(getattr(wire, name) - kinds):
            yield f"{name}: no channel is of the kind {kind}: choose of {', '.join(sorted(kinds))}"


def _requests(venue: str) -> Problems:
    wire = WIRES[venue]
    for market in wire.MARKETS:
        full = [wire.full_channel(market, channel) for channel in wire.CHANNELS[market]]
        requests = [*wire.list_requests(market, (), BASE), *wire.list_requests(market, ("X",), BASE)]
        if any(wire.snapshot_by(each) == "rest" for each in full if each):
            requests.append(wire.depth_request(market, "X", BASE, 1))
        missing = Missing(venue_symbol="X", first_id=1, last_id=2, after_time_us=NOW_US)
        for each in (wire.door(market, BASE).ticket, wire.trades_request(market, missing, BASE, is_keyed=False)):
            requests += [each] if each is not None else []
        for each in requests:
            if not each.url.startswith(BASE):
                yield f"{market}: {each.url} does not begin with the base that settings give"


def _limits(venue: str) -> Problems:
    wire = WIRES[venue]
    for market in wire.MARKETS:
        for name, value in vars(wire.LIMITS[market]).items():
            if isinstance(value, int | float) and value <= 0:
                yield f"{market}: {name} is {value:g}"
                return
        limits, channels = wire.LIMITS[market], wire.CHANNELS[market][:2]
        entry = Venue(venue=venue, market=market, symbols=("*",), channels=channels)
        wanted = streams(entry, [_instrument(venue, market, number) for number in range(MANY)], PARTITIONS)
        plans = connections(entry, wanted)
        carried = [each for plan in plans for each in plan.streams]
        if sorted(each.name for each in carried) != sorted(each.name for each in wanted):
            yield f"{market}: not every stream is carried once"
        for plan in plans:
            asks = wire.dialogue(market, b"").subscribe(plan.streams)
            if len(plan.streams) > limits.streams_per_connection:
                yield f"{market}: {len(plan.streams)} streams on a connection"
            if any(len(each.names) > limits.streams_per_request for each in asks):
                yield f"{market}: a request has more than {limits.streams_per_request} streams"
            if any(len(each.payload) > limits.request_bytes for each in asks if len(each.names) > 1):
                yield f"{market}: a request has more than {limits.request_bytes:g} bytes"
            if sorted(name for each in asks for name in each.names) != sorted(each.name for each in plan.streams):
                yield f"{market}: not every stream of a connection is asked for once"


def _dialogue(venue: str) -> Problems:
    wire = WIRES[venue]
    for market in wire.MARKETS:
        talk = wire.dialogue(market, b"")
        for payload in HOSTILE:
            try:
                talk.stream_of(payload)
                talk.answer(payload)
            except Exception as error:  # noqa: BLE001  # what it may not do
                yield f"{market}: {payload[:20]!r} raises {type(error).__name__}"
        request = Request(url="https://127.0.0.1/", weight=1)
        try:
            if wire.next_page(request, b"{}") is not None:
                yield f"{market}: an empty page is followed by another one"
        except ValueError:
            continue


def _hostile(venue: str) -> Problems:
    for market in MEANINGS[venue].MARKETS:
        run = _Run(venue, market)
        for payload in HOSTILE:
            try:
                run.take(payload)
            except Exception as error:  # noqa: BLE001  # what it may not do
                yield f"{market}: {payload[:20]!r} raises {type(error).__name__}"


def _documented(venue: str, messages: Messages) -> Problems:
    for market in MEANINGS[venue].MARKETS:
        found = messages.get(market, {})
        if not found:
            yield f"{market}: no message is written"
        run, count = _Run(venue, market), 0
        for name, message in found.items():
            records = run.take(_compact(message))
            letters = [each.reason for each in records if isinstance(each, DeadLetter)]
            fields = [
                each.detail for each in records if isinstance(each, QualityEvent) and each.kind == "UNKNOWN_FIELD"
            ]
            count += len(records)
            if letters or fields:
                yield f"{market} {name!r}: {letters or f'unknown fields {fields}'}"
        if found and not count:
            yield f"{market}: no message gives a record"


def _routed(venue: str, messages: Messages) -> Problems:
    """Find markets none of whose messages is told to belong to a stream: all its connections would seem silent."""
    wire = WIRES[venue]
    for market in wire.MARKETS:
        payloads = [_compact(each) for each in messages.get(market, {}).values()]
        run = _Run(venue, market)
        found = [each for payload in payloads for each in run.take(payload) if isinstance(each, Instrument)]
        entry = Venue(venue=venue, market=market, symbols=("*",), channels=wire.CHANNELS[market])
        subscribed = streams(entry, found, PARTITIONS)
        talk, names = wire.dialogue(market, b""), {each.name.encode() for each in subscribed}
        talk.subscribe(subscribed)
        if payloads and not any(_is_routed(talk, names, each) for each in payloads):
            yield f"{market}: stream_of tells no message to be of {', '.join(sorted(map(bytes.decode, names)))[:200]}"


def _is_routed(talk: Dialogue, names: Collection[bytes], payload: bytes) -> bool:
    if talk.stream_of(payload) in names:
        return True
    talk.answer(payload)  # which may number a stream
    return False


def _damage(venue: str, messages: Messages) -> Problems:
    for market, found in messages.items():
        first = [message for name, message in found.items() if name.startswith("before")]
        for name, message in found.items():
            run = _Run(venue, market)
            for each in first:
                run.take(_compact(each))
            yield from (f"{market} {name!r} with {what}" for what in _spoiled(run, message))


def _spoiled(run: "_Run", message: Any) -> Problems:
    """Name the variants of a message that end in neither records nor a dead letter."""
    for what, variant in damaged(message):
        try:
            run.take(_compact(variant))
        except Exception as error:  # noqa: BLE001  # what it may not do
            yield f"{what}: {type(error).__name__}: {error}"


def _state(venue: str, messages: Messages) -> Problems:
    for market, found in messages.items():
        straight, heir = _Run(venue, market), _Run(venue, market)
        for name, message in found.items():
            expected = straight.take(_compact(message))
            if heir.take(_compact(message)) != expected:
                yield f"{market} {name!r}: other records after state was read again"
            heir.restart()


class _Run:
    """One partition of one market, whose instruments are assumed; every record is encoded as for Kafka."""

    def __init__(self, venue: str, market: str) -> None:
        self._venue, self._market = venue, market
        self._pipeline = self._new()
        self._offset = self._number = 0
        self._kept: dict[str, list[bytes]] = {}  # pieces of state, by name

    def take(self, payload: bytes) -> list[Derived]:
        """Process a message; returns its records.

        Raises:
            ValueError: a record cannot be encoded, or is of an unknown kind.
        """
        frame = Frame(source=0, number=self._number, kind="MESSAGE", recv_time_us=NOW_US, payload=payload)
        source = Source(market=self._market, connection="c")
        raw = RawFrames(venue=self._venue, event_time_us=NOW_US, sources=[source], frames=[frame])
        try:
            records = self._pipeline.process(self._offset, raw).records
        except FrameError as error:
            raise ValueError(f"the raw record was refused: {error}") from error
        self._offset += 1
        self._number += 1
        for each in records:
            if isinstance(each, QualityEvent) and each.kind not in QUALITY_KINDS:
                raise ValueError(f"quality event of unknown kind {each.kind}")
            Encoder(type(each), 1).encode(each)
        return records

    def restart(self) -> None:
        """Write all state, and go on from what is read of it."""
        for name, piece in self._pipeline.changed_states().items():
            before = [] if piece.is_whole else self._kept[name]
            self._kept[name] = [*before, piece.payload]
        self._kept[HEAD] = [self._pipeline.head()]
        self._pipeline = self._new()
        for name, payloads in self._kept.items():
            self._pipeline.restore(name, *payloads)

    def _new(self) -> Pipeline:
        return Pipeline(self._venue, f"raw.{self._venue.lower()}", 0, assume_instruments=True)


def _instrument(venue: str, market: str, number: int) -> Instrument:
    name = f"S{number}"
    return Instrument(
        event_time_us=0,
        venue=venue,
        market=market,
        venue_symbol=name,
        symbol=f"{name}/USDT",
        asset_class="CRYPTO",
        kind="SPOT",
        base=name,
        quote="USDT",
    )


def _compact(message: Any) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()

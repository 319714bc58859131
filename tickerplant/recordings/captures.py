"""Captures of cryptofeed 3 → frames: all connections of a venue in one file, in either of the forms it had.

`NAME.pcap`, mostly packed with zstd: a pcap file of packets that the recorder makes up around what it read decrypted:
Ethernet, IPv4, TCP, and in these WebSocket frames or HTTP. One TCP conversation a connection, in order, none twice.

`NAME.jsonl`, packed too: a record a line.
{"t":"header","format":2,"exchange":"KRAKEN", ...}
{"t":"connect","conn":"KRAKEN.ws.1","addr":"wss://ws.kraken.com","ts":1618678132.368}
{"t":"send","conn":"KRAKEN.ws.1","ts":1618678132.83,"addr":"wss://ws.kraken.com","data":"{...}"}
{"t":"recv","conn":"KRAKEN.ws.1","ts":1618678132.91,"data":"{...}"}          or "b64":"H4sI...", a binary frame
{"t":"http","conn":"KRAKEN.http.0","ts":1618678132.35,"url":"https://...","data":"{...}"}
Source: https://github.com/bmoscon/cryptofeed (cryptofeed/capture)
"""

import struct
from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from schemas.records import FrameKind
from schemas.venues import SYMBOLOGIES
from tickerplant.recordings.frames import FIRST_US, LAST_US, OnDamage, RecordedFrame, RecordingError
from tickerplant.recordings.lines import BROKEN, open_file, read_lines

NAME = "cryptofeed 3"
FORMAT: Final = 2
LIST_PATHS: Final = tuple(path for venue in SYMBOLOGIES.values() for path in venue.LIST_PATHS)

PCAP_NS: Final = b"\x4d\x3c\xb2\xa1"  # little-endian, times in ns
PCAP_HEAD: Final = 24
RECORD_HEAD: Final = struct.Struct("<IIII")  # seconds, ns, bytes kept, bytes sent
MOST_PACKET_BYTES: Final = 262_144
HEADS: Final = 14 + 20 + 20  # Ethernet, IPv4, TCP, none with options
IPV4_TCP: Final = (b"\x08\x00\x45", 12), (b"\x06", 23)  # what stands where
SERVER_PORT: Final = 80
FIN_AND_SYN: Final = 0x03
SYN: Final = 0x02
TEXT_AND_BINARY: Final = frozenset({1, 2})
END: Final = b"\r\n\r\n"
MOST_HEAD_BYTES: Final = 1024 * 1024  # what was subscribed to stands there
MOST_SIZE_DIGITS: Final = 12
WHOLE: Final = 0x80


class _Record(msgspec.Struct):
    t: str
    conn: str = ""
    ts: float = 0.0
    addr: str = ""
    url: str = ""
    data: str | None = None
    b64: str | None = None
    format: int = FORMAT


_RECORD = msgspec.json.Decoder(_Record)
KINDS: Final[dict[str, FrameKind]] = {"connect": "CONNECT", "send": "SENT", "recv": "MESSAGE", "http": "HTTP"}


def claims(line: bytes) -> bool:
    """Tell from one line of a file whether it is of this format."""
    if line.startswith(PCAP_NS):
        return True
    try:
        record = _RECORD.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return record.t == "header" or (record.t in KINDS and bool(record.conn and record.ts))


def read(path: Path, market: str, on_damage: OnDamage) -> Iterator[RecordedFrame]:
    """Yield the frames of all connections, in the order in which they were recorded."""
    del market  # the recorder kept all URLs
    with open_file(path) as file:
        try:
            is_pcap = file.read(len(PCAP_NS)) == PCAP_NS
        except BROKEN:
            is_pcap = False
    return _read_packets(path, on_damage) if is_pcap else _read_records(path, on_damage)


def _read_records(path: Path, on_damage: OnDamage) -> Iterator[RecordedFrame]:
    for number, line in read_lines(path, on_damage):
        try:
            record = _RECORD.decode(line)
            if record.t == "header":
                if record.format != FORMAT:
                    on_damage(RecordingError(path, number, f"format {record.format} is not known"))
                continue
            yield _frame_of(record)
        except (ValueError, KeyError, RecursionError) as error:
            on_damage(RecordingError(path, number, f"{type(error).__name__}: {error}: {line[:40]!r}"))


def _frame_of(record: _Record) -> RecordedFrame:
    kind = KINDS[record.t]
    payload = b"" if record.data is None else record.data.encode()
    if record.b64 is not None:
        try:
            payload = a2b_base64(record.b64, strict_mode=True)
        except Base64Error as error:
            raise ValueError(str(error)) from error
    if kind == "HTTP":
        kind = _kind_of(record.url)
    return RecordedFrame(_time_us(record.ts * 1e6), kind, record.url or record.addr, payload, record.conn)


def _kind_of(url: str) -> FrameKind:
    return "INSTRUMENTS" if url.partition("?")[0].endswith(LIST_PATHS) else "HTTP"


def _time_us(instant: float) -> int:
    if not FIRST_US <= instant < LAST_US:  # false for NaN
        raise ValueError("no receive time of this century")
    return round(instant)


class _DamageError(Exception):
    """What follows in the file cannot be read, in words."""


@dataclass
class _Direction:
    """What one side of a conversation said and was not read yet."""

    waiting: bytearray = field(default_factory=bytearray)
    is_open: bool = False  # the WebSocket is: its head was read

    def head(self) -> dict[bytes, bytes] | None:
        """Take the head of a request or an answer; None = not all of it is there."""
        end = self.waiting.find(END)
        if end < 0:
            if len(self.waiting) > MOST_HEAD_BYTES:
                raise _DamageError("a head of HTTP does not end")
            return None
        lines = bytes(self.waiting[:end]).split(b"\r\n")
        del self.waiting[: end + len(END)]
        pairs = (line.partition(b":") for line in lines[1:])
        return {name.strip().lower(): value.strip() for name, _, value in pairs}

    def body(self, head: dict[bytes, bytes]) -> bytes | None:
        """Take the body that a head announces; None = not all of it is there."""
        told = head.get(b"content-length", b"0")
        if not told.isdigit() or len(told) > MOST_SIZE_DIGITS:
            raise _DamageError(f"a body of {told[:20]!r} bytes")
        if len(self.waiting) < int(told):
            return None
        body = bytes(self.waiting[: int(told)])
        del self.waiting[: int(told)]
        return body

    def message(self) -> bytes | None:
        """Take a WebSocket frame; None = not all of it is there."""
        data = self.waiting
        if len(data) < 2:
            return None
        size, at = data[1] & 0x7F, 2
        if size > 125:
            at += 2 if size == 126 else 8
            if len(data) < at:
                return None
            size = int.from_bytes(data[2:at], "big")
        if data[0] & 0x0F not in TEXT_AND_BINARY or not data[0] & WHOLE:
            raise _DamageError(f"a WebSocket frame of opcode {data[0]:#x}")
        mask = b""
        if data[1] & WHOLE:
            mask, at = bytes(data[at : at + 4]), at + 4
        if len(data) < at + size:
            return None
        payload = bytes(data[at : at + size])
        del data[: at + size]
        return payload if not any(mask) else bytes(each ^ mask[place % 4] for place, each in enumerate(payload))


@dataclass
class _Conversation:
    """One connection of the recorder, as its packets tell it."""

    name: str = ""
    url: str = ""
    client: _Direction = field(default_factory=_Direction)
    server: _Direction = field(default_factory=_Direction)
    asked: list[str] = field(default_factory=list)  # URLs that are not answered yet
    answer: dict[bytes, bytes] | None = None  # head of the answer whose body is coming
    request: dict[bytes, bytes] | None = None  # the same of a request

    @property
    def is_socket(self) -> bool:
        return bool(self.url)

    def hear(self, time_us: int, data: bytes, *, is_client: bool) -> Iterator[RecordedFrame]:
        """Take in what a packet carries."""
        (self.client if is_client else self.server).waiting += data
        if not self.is_socket and is_client:
            yield from self._ask(time_us)
        if not self.is_socket:
            yield from self._answer(time_us)
        elif self.server.is_open or self.server.head() is not None:
            self.server.is_open = True
            while (payload := self.server.message()) is not None:
                yield RecordedFrame(time_us, "MESSAGE", "", payload, self.name)
        if self.is_socket:
            while (payload := self.client.message()) is not None:
                yield RecordedFrame(time_us, "SENT", "", payload, self.name)

    def _ask(self, time_us: int) -> Iterator[RecordedFrame]:
        """Read requests, until one of them opens a WebSocket."""
        while (head := self.request or self.client.head()) is not None:
            self.request = None
            if head.get(b"upgrade", b"").lower() == b"websocket":
                ordinal = _text(head, b"x-cryptofeed-connect-ordinal") or "1"
                self.name = f"{_text(head, b'x-cryptofeed-conn-id')}#{ordinal}"
                self.url = _text(head, b"x-cryptofeed-address") or f"wss://{_text(head, b'host')}"
                if b"x-cryptofeed-resumed" not in head:  # it goes on in a further file
                    yield RecordedFrame(time_us, "CONNECT", self.url, b"", self.name)
                return
            if self.client.body(head) is None:
                self.request = head
                return
            self.name = _text(head, b"x-cryptofeed-conn-id")
            self.asked.append(_text(head, b"x-cryptofeed-url"))

    def _answer(self, time_us: int) -> Iterator[RecordedFrame]:
        while self.asked and (head := self.answer or self.server.head()) is not None:
            body = self.server.body(head)
            self.answer = head if body is None else None
            if body is None:
                return
            url = self.asked.pop(0)
            yield RecordedFrame(time_us, _kind_of(url), url, body, self.name)


def _text(head: dict[bytes, bytes], name: bytes) -> str:
    return head.get(name, b"").decode(errors="replace")


def _read_packets(path: Path, on_damage: OnDamage) -> Iterator[RecordedFrame]:
    """Follow the conversations of a file; one that breaks is told, and others go on."""
    conversations: dict[int, _Conversation] = {}
    open_names: dict[str, str] = {}  # of connections, by what they have in common with those before them
    number = 0
    with open_file(path) as file:
        try:
            file.read(PCAP_HEAD)
            for number, (time_us, packet) in enumerate(_packets(file), 1):
                port, flags, is_client = _place(packet)
                if flags & FIN_AND_SYN == SYN and is_client:
                    conversations[port] = _Conversation()
                conversation = conversations.get(port)
                if conversation is None:
                    continue
                try:
                    for frame in conversation.hear(time_us, _data(packet), is_client=is_client):
                        if frame.kind == "CONNECT":
                            yield from _replaced(frame, open_names)
                        yield frame
                except _DamageError as error:
                    del conversations[port]
                    on_damage(RecordingError(path, number, f"packet of port {port}: {error}"))
        except (*BROKEN, _DamageError) as error:
            on_damage(RecordingError(path, number + 1, f"the capture ends or breaks here, by packets: {error}"))


def _replaced(frame: RecordedFrame, open_names: dict[str, str]) -> Iterator[RecordedFrame]:
    """Say that the connection which one follows is over: its end is not told while nothing follows it."""
    common = frame.connection.rpartition("#")[0]
    before, open_names[common] = open_names.get(common), frame.connection
    if before is not None:
        yield RecordedFrame(frame.recv_time_us, "DISCONNECT", "", b"connected anew", before)


def _packets(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    while head := file.read(RECORD_HEAD.size):
        if len(head) < RECORD_HEAD.size:
            raise _DamageError("the head of a packet is cut")
        seconds, ns, kept, _ = RECORD_HEAD.unpack(head)
        if not HEADS <= kept <= MOST_PACKET_BYTES:
            raise _DamageError(f"a packet of {kept} bytes")
        packet = file.read(kept)
        if len(packet) < kept:
            raise _DamageError("a packet is cut")
        time_us = seconds * 1_000_000 + ns // 1000
        if not FIRST_US <= time_us < LAST_US:
            raise _DamageError("a packet of no time of this century")
        yield time_us, packet


def _place(packet: bytes) -> tuple[int, int, bool]:
    """Tell of which conversation a packet is (the client's port), its flags, and whether the client said it."""
    if any(not packet.startswith(mark, at) for mark, at in IPV4_TCP):
        raise _DamageError("a packet that is not of IPv4 and TCP")
    source, target = struct.unpack_from("!HH", packet, 34)
    is_client = target == SERVER_PORT
    return source if is_client else target, packet[47], is_client


def _data(packet: bytes) -> bytes:
    (size,) = struct.unpack_from("!H", packet, 16)  # of the IPv4 packet: what follows is padding
    return packet[HEADS : 14 + size]

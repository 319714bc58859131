"""Captures of cryptofeed 3, written here as its recorder does: packets around what was read, or records a line."""

import base64
import json
import struct
from pathlib import Path
from random import Random

import pyarrow as pa
import pytest

from fuzz.packets import ACCEPTED, ADDRESS, DATA, SECOND, Packet, conversation, opening, packet, pcap, socket_frame
from tickerplant.convert import Conversion, convert_files
from tickerplant.errors import UserError
from tickerplant.recordings import RecordedFrame, RecordingError, read_recording

TIME_US = SECOND * 1_000_000
LIST_URL = "https://api.kraken.com/0/public/AssetPairs"
TRADE = (
    b'{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD","side":"buy","price":83744.3,"qty":0.0004478,'
    b'"ord_type":"limit","trade_id":7,"timestamp":"2026-08-24T12:00:00.000000Z"}]}'
)


def capture(path: Path, *conversations: list[Packet], ends: bytes = b"") -> Path:
    return packed(path, pcap(*conversations) + ends)


def packed(path: Path, body: bytes) -> Path:
    with pa.output_stream(str(path), compression="zstd") as out:
        out.write(body)
    return path


SOCKET = conversation(
    40_000,
    [
        (True, opening("KRAKEN.ws.1")),
        (False, ACCEPTED),
        (True, socket_frame(b'{"method":"ping"}', is_masked=True, mask=b"\1\2\3\4")),
        (False, socket_frame(TRADE)),
    ],
)


def test_a_packed_capture_gives_what_its_sockets_said(tmp_path: Path) -> None:
    frames = list(read_recording(capture(tmp_path / "KRAKEN.pcap.zst", SOCKET), "spot"))

    name = "KRAKEN.ws.1#1"
    assert frames == [
        RecordedFrame(TIME_US + 2, "CONNECT", ADDRESS, b"", name),
        RecordedFrame(TIME_US + 4, "SENT", "", b'{"method":"ping"}', name),
        RecordedFrame(TIME_US + 5, "MESSAGE", "", TRADE, name),
    ]


def test_messages_are_put_together_from_packets_and_packets_taken_apart(tmp_path: Path) -> None:
    large, binary = b'{"large":"%b"}' % (b"x" * 70_000), b"\x1f\x8b\x00\xff"
    said = ACCEPTED + socket_frame(large) + socket_frame(binary, 2) + socket_frame(TRADE)
    parts = [(False, said[at : at + 30_001]) for at in range(0, len(said), 30_001)]
    talk = conversation(40_000, [(True, opening("K.ws.1")), *parts])

    frames = read_recording(capture(tmp_path / "K.pcap.zst", talk), "spot")

    assert [each.payload for each in frames if each.kind == "MESSAGE"] == [large, binary, TRADE]


def test_answers_of_rest_have_their_urls_and_lists_are_told(tmp_path: Path) -> None:
    urls = (LIST_URL, "https://api.kraken.com/0/public/Depth?pair=XBTUSD")
    said = []
    for url, body in zip(urls, (b'{"result":{}}', b""), strict=True):
        said.append(
            (True, f"GET / HTTP/1.1\r\nX-Cryptofeed-Url: {url}\r\nX-Cryptofeed-Conn-Id: K.http.0\r\n\r\n".encode())
        )
        said.append((False, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)))
        said.append((False, body))

    frames = list(read_recording(capture(tmp_path / "K.pcap.zst", conversation(40_001, said)), "spot"))

    assert [(each.kind, each.request, each.payload, each.connection) for each in frames] == [
        ("INSTRUMENTS", urls[0], b'{"result":{}}', "K.http.0"),
        ("HTTP", urls[1], b"", "K.http.0"),
    ]


def test_a_connection_that_is_opened_anew_ends_the_one_before_it(tmp_path: Path) -> None:
    talks = [conversation(40_000 + each, [(True, opening("K.ws.1", each)), (False, ACCEPTED)]) for each in (1, 2)]
    resumed = conversation(40_009, [(True, opening("K.ws.1", 2, "X-Cryptofeed-Resumed: 1\r\n")), (False, ACCEPTED)])

    frames = read_recording(capture(tmp_path / "K.pcap.zst", *talks, resumed), "spot")

    assert [(each.kind, each.connection) for each in frames] == [
        ("CONNECT", "K.ws.1#1"), ("DISCONNECT", "K.ws.1#1"), ("CONNECT", "K.ws.1#2"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("ends", "words"),
    [
        (b"\x01", "head of a packet is cut"),
        (struct.pack("<IIII", SECOND, 0, 100, 100) + b"x", "a packet is cut"),
        (struct.pack("<IIII", SECOND, 0, 1 << 30, 1 << 30), "a packet of"),
        (packet(0, 1, DATA, is_client=True).replace(b"\x08\x00\x45", b"\x86\xdd\x60"), "not of IPv4 and TCP"),
    ],
)
def test_a_broken_capture_is_told_after_what_stands_before(tmp_path: Path, ends: bytes, words: str) -> None:
    damage: list[RecordingError] = []

    frames = list(read_recording(capture(tmp_path / "K.pcap.zst", SOCKET, ends=ends), "spot", on_damage=damage.append))

    assert len(frames) == 3
    assert [words in str(each) for each in damage] == [True]


def test_a_conversation_that_breaks_leaves_the_others(tmp_path: Path) -> None:
    spoiled = conversation(40_005, [(True, opening("K.ws.2")), (False, ACCEPTED), (False, b"\x8b\x00")])
    damage: list[RecordingError] = []

    frames = read_recording(capture(tmp_path / "K.pcap.zst", spoiled, SOCKET), "spot", on_damage=damage.append)

    assert [each.payload for each in frames if each.kind == "MESSAGE"] == [TRADE]
    assert [str(each).partition(": ")[2] for each in damage] == [
        "packet of port 40005: a WebSocket frame of opcode 0x8b"
    ]


def test_a_packed_file_that_is_cut_gives_what_it_has(tmp_path: Path) -> None:
    said = [(False, socket_frame(Random(each).randbytes(40_000), 2)) for each in range(12)]
    talk = conversation(40_000, [(True, opening("K.ws.1")), (False, ACCEPTED), *said])
    path = capture(tmp_path / "K.pcap.zst", talk)
    path.write_bytes(path.read_bytes()[:-50_000])
    damage: list[RecordingError] = []

    frames = list(read_recording(path, "spot", on_damage=damage.append))

    assert (2 < len(frames) < 12, len(damage)) == (True, 1)


RECORDS = [
    {"t": "header", "format": 2, "exchange": "KRAKEN", "config": {"trades": ["BTC-USD"]}, "recorded": SECOND},
    {"t": "http", "conn": "KRAKEN.http.0", "ts": SECOND + 0.25, "url": LIST_URL, "data": '{"result":{}}'},
    {"t": "connect", "conn": "KRAKEN.ws.1", "ts": SECOND + 0.5, "addr": ADDRESS},
    {"t": "send", "conn": "KRAKEN.ws.1", "ts": SECOND + 0.625, "addr": ADDRESS, "data": "{}"},
    {"t": "recv", "conn": "KRAKEN.ws.1", "ts": SECOND + 0.75, "data": TRADE.decode()},
    {"t": "recv", "conn": "KRAKEN.ws.1", "ts": SECOND + 0.875, "b64": base64.b64encode(b"\x1f\x8b").decode()},
]


def test_a_capture_of_records_gives_the_same_frames(tmp_path: Path) -> None:
    path = packed(tmp_path / "KRAKEN.jsonl.zst", "".join(json.dumps(each) + "\n" for each in RECORDS).encode())

    assert list(read_recording(path, "spot")) == [
        RecordedFrame(TIME_US + 250_000, "INSTRUMENTS", LIST_URL, b'{"result":{}}', "KRAKEN.http.0"),
        RecordedFrame(TIME_US + 500_000, "CONNECT", ADDRESS, b"", "KRAKEN.ws.1"),
        RecordedFrame(TIME_US + 625_000, "SENT", ADDRESS, b"{}", "KRAKEN.ws.1"),
        RecordedFrame(TIME_US + 750_000, "MESSAGE", "", TRADE, "KRAKEN.ws.1"),
        RecordedFrame(TIME_US + 875_000, "MESSAGE", "", b"\x1f\x8b", "KRAKEN.ws.1"),
    ]


@pytest.mark.parametrize(
    "line", ["{", '{"t":"recv","conn":"K","ts":1e99,"data":"x"}', '{"t":"recv","conn":"K","ts":1787582327,"b64":"?"}',
             '{"t":"other","conn":"K","ts":1787582327}', '{"t":"header","format":9}'],
)  # fmt: skip
def test_a_record_that_cannot_be_read_is_told(tmp_path: Path, line: str) -> None:
    path = tmp_path / "K.jsonl"
    path.write_text(json.dumps(RECORDS[0]) + "\n" + line + "\n" + json.dumps(RECORDS[4]) + "\n")
    damage: list[RecordingError] = []

    frames = list(read_recording(path, "spot", on_damage=damage.append))

    assert ([each.payload for each in frames], [each.line for each in damage]) == ([TRADE], [2])


def test_a_capture_is_converted(tmp_path: Path) -> None:
    path = capture(tmp_path / "KRAKEN.pcap.zst", SOCKET)

    summary = convert_files(Conversion(venue="kraken", market="spot", files=(path,), out=tmp_path / "out"))

    assert (summary["kinds"]["TRADE"], summary["dead_letters"], summary["damaged"]) == (1, 0, 0)
    with pytest.raises(UserError, match="nothing of the market spot_v1 here, but of spot: see --market"):
        convert_files(Conversion(venue="kraken", market="spot_v1", files=(path,), out=tmp_path / "none"))

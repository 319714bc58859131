"""The reader of recordings: hand-written files in both formats, damage, and real recordings where present."""

import gzip
from collections import Counter
from pathlib import Path

import pytest

from tickerplant.errors import UserError
from tickerplant.recordings import RecordedFrame, RecordingError, read_recording

TIME_US = 1_723_161_253_937_085
TRADE = b'{"stream":"btcusdt@trade","data":{"e":"trade", "s":"BTCUSDT","t":1}}'
DEPTH = b'{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","s":"BTCUSDT","U":1,"u":2}}'
SNAPSHOT = b'{"lastUpdateId":7,"bids":[],"asks":[]}'


def write(path: Path, *lines: bytes) -> Path:
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def nanoseconds(payload: bytes, time_us: int = TIME_US) -> bytes:
    return b"%d %b" % (time_us * 1000 + 768, payload)


def test_hftbacktest_line_gives_its_bytes_and_time_in_us(tmp_path: Path) -> None:
    path = write(tmp_path / "btcusdt", nanoseconds(TRADE))

    assert list(read_recording(path, "spot")) == [RecordedFrame(TIME_US, "MESSAGE", "", TRADE, "btcusdt")]


def test_hftbacktest_times_in_us_are_kept(tmp_path: Path) -> None:
    path = write(tmp_path / "old", b"%d %b" % (TIME_US, TRADE))

    assert [frame.recv_time_us for frame in read_recording(path, "spot")] == [TIME_US]


def test_gzip_is_told_from_content_not_from_name(tmp_path: Path) -> None:
    path = tmp_path / "plain.txt"
    path.write_bytes(gzip.compress(nanoseconds(TRADE) + b"\n" + nanoseconds(DEPTH) + b"\n"))

    assert [frame.payload for frame in read_recording(path, "spot")] == [TRADE, DEPTH]


@pytest.mark.parametrize(
    ("market", "url"),
    [
        ("spot", "https://api.binance.com/api/v3/depth?symbol=BTCUSDT"),
        ("usdm", "https://fapi.binance.com/fapi/v1/depth?symbol=BTCUSDT"),
        ("coinm", "https://dapi.binance.com/dapi/v1/depth?symbol=BTCUSDT"),
    ],
)
def test_snapshot_without_symbol_gets_the_only_one_of_the_file(tmp_path: Path, market: str, url: str) -> None:
    path = write(tmp_path / "file", nanoseconds(SNAPSHOT), nanoseconds(DEPTH))

    first = next(read_recording(path, market))

    assert (first.kind, first.request, first.payload) == ("HTTP", url, SNAPSHOT)


def test_snapshot_that_names_its_symbol_is_believed(tmp_path: Path) -> None:
    body = b'{"lastUpdateId":7,"E":1,"T":1,"symbol":"BTCUSD_PERP","pair":"BTCUSD","bids":[],"asks":[]}'
    path = write(tmp_path / "file", nanoseconds(DEPTH), nanoseconds(body))

    assert [frame.request for frame in read_recording(path, "coinm")][1].endswith("?symbol=BTCUSD_PERP")


def test_snapshot_of_one_of_several_symbols_is_not_guessed(tmp_path: Path) -> None:
    path = write(
        tmp_path / "file", nanoseconds(DEPTH), nanoseconds(DEPTH.replace(b"btc", b"eth")), nanoseconds(SNAPSHOT)
    )

    assert [frame.request for frame in read_recording(path, "spot")][2] == "https://api.binance.com/api/v3/depth"


def test_damaged_line_is_named_after_all_that_stands_before_it(tmp_path: Path) -> None:
    path = write(tmp_path / "file", nanoseconds(TRADE), b"garbage", nanoseconds(DEPTH))
    frames = read_recording(path, "spot")

    assert next(frames).payload == TRADE
    with pytest.raises(RecordingError, match="line 2: no receive time"):
        next(frames)


def test_caller_may_read_on_over_damaged_lines(tmp_path: Path) -> None:
    path = write(tmp_path / "file", b"12 x", nanoseconds(TRADE), b"", b"17231612539370857 ", nanoseconds(DEPTH))
    damage: list[RecordingError] = []

    frames = list(read_recording(path, "spot", on_damage=damage.append))

    assert [frame.payload for frame in frames] == [TRADE, DEPTH]
    assert [error.line for error in damage] == [1, 4]


def test_malformed_json_is_a_frame_like_any_other(tmp_path: Path) -> None:
    path = write(tmp_path / "file", nanoseconds(TRADE), nanoseconds(TRADE[:-9]))

    assert [frame.payload for frame in read_recording(path, "spot")] == [TRADE, TRADE[:-9]]


@pytest.mark.parametrize("cut_bytes", [1, 8, 60, 2000])
def test_gzip_cut_short_gives_whole_lines_and_says_where_it_ends(tmp_path: Path, cut_bytes: int) -> None:
    lines = [nanoseconds(TRADE[:-2] + b',"q":"%d"}}' % (number * 7919**3)) for number in range(2000)]
    path = tmp_path / "file.gz"
    path.write_bytes(gzip.compress(b"\n".join(lines) + b"\n")[:-cut_bytes])
    damage: list[RecordingError] = []

    payloads = [frame.payload for frame in read_recording(path, "spot", on_damage=damage.append)]

    assert payloads == [line.split(b" ", 1)[1] for line in lines[: len(payloads)]]
    assert [error.line for error in damage] == [len(payloads) + 1]


@pytest.mark.parametrize(
    ("content", "words"), [(b"", "empty"), (b"time,price\n1,2\n", "no recording of a known format")]
)
def test_other_files_are_refused_at_once(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)

    with pytest.raises(UserError, match=f"{words}; known formats: hftbacktest, cryptofeed"):
        read_recording(path, "spot")


def test_missing_file_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read the recording .*nowhere: No such file"):
        read_recording(tmp_path / "nowhere", "spot")


@pytest.fixture
def session(tmp_path: Path) -> Path:
    """A cryptofeed session: two sockets, an instrument list, a depth body; times interleave."""
    write(
        tmp_path / "BINANCE.0",
        b'https://api.binance.com/api/v3/exchangeInfo -> 1633998511.5: {"symbols":[]}',
        b'configuration: {"trades":["A-B"]}',
    )
    write(
        tmp_path / "BINANCE.http.0.0", b"https://h/api/v3/depth?symbol=AB&limit=1000 -> 1633998513.25: " + SNAPSHOT, b""
    )
    write(
        tmp_path / "BINANCE.ws.1.0",
        b"wss://h/stream?streams=ab@trade <-> 1633998512.0",
        b'wss://h/stream <- 1633998512.1: {"method":"SUBSCRIBE"}',
        b"1633998513.0: " + TRADE,
        b"1633998514.000001: " + DEPTH,
    )
    write(tmp_path / "BINANCE.ws.2.0", rb"1633998513.5: b'\x1f\x8b it\'s'", b'1633998513.75: b"it\'s"')
    write(tmp_path / "BINANCE_US.ws.1.0", b"1633998513.0: {}")
    return tmp_path


def test_cryptofeed_socket_is_merged_with_its_rest_bodies(session: Path) -> None:
    frames = list(read_recording(session / "BINANCE.ws.1.0", "spot"))

    assert [(frame.kind, frame.connection) for frame in frames] == [
        ("INSTRUMENTS", "BINANCE.0"),
        ("CONNECT", "BINANCE.ws.1.0"),
        ("SENT", "BINANCE.ws.1.0"),
        ("MESSAGE", "BINANCE.ws.1.0"),
        ("HTTP", "BINANCE.http.0.0"),
        ("MESSAGE", "BINANCE.ws.1.0"),
    ]
    assert frames[-1].recv_time_us == 1633998514000001
    assert [frame.payload for frame in frames[3:]] == [TRADE, SNAPSHOT, DEPTH]
    assert frames[4].request == "https://h/api/v3/depth?symbol=AB&limit=1000"


def test_cryptofeed_name_reads_all_sockets_and_binary_frames(session: Path) -> None:
    frames = list(read_recording(session / "BINANCE.0", "spot"))

    assert [frame.payload for frame in frames if frame.connection == "BINANCE.ws.2.0"] == [b"\x1f\x8b it's", b"it's"]
    assert frames == sorted(frames, key=lambda frame: frame.recv_time_us)
    assert len(frames) == 8


@pytest.mark.parametrize("line", [b"wss://h no time", b"16339985x3.0: {}", b"1633998513.5: b'unended", b"x"])
def test_cryptofeed_damage_is_named(session: Path, line: bytes) -> None:
    path = session / "BINANCE.ws.1.0"
    path.write_bytes(path.read_bytes() + line + b"\n")
    damage: list[RecordingError] = []

    frames = list(read_recording(path, "spot", on_damage=damage.append))

    assert (len(frames), [error.line for error in damage]) == (6, [5])


@pytest.mark.recordings
@pytest.mark.parametrize(
    ("name", "market", "messages"),
    [
        ("spot/btcusdt_20240808.gz", "spot", {"MESSAGE": 41_248, "HTTP": 1}),
        ("usdm/btcusdt_20230404.dat.gz", "usdm", {"MESSAGE": 13_383, "HTTP": 1}),
        ("cm/btcusd_perp_20240808.gz", "coinm", {"MESSAGE": 48_269, "HTTP": 1}),
    ],
)
def test_recorded_hftbacktest_files_are_read_whole(
    recordings: Path, name: str, market: str, messages: dict[str, int]
) -> None:
    path = recordings / "hftbacktest" / name
    frames = list(read_recording(path, market))
    lines = [line.split(b" ", 1)[1] for line in gzip.decompress(path.read_bytes()).splitlines()]

    assert Counter(frame.kind for frame in frames) == messages
    assert [frame.payload for frame in frames] == lines


@pytest.mark.recordings
def test_every_recorded_cryptofeed_session_is_read_without_damage(recordings: Path) -> None:
    for path in sorted((recordings / "cryptofeed").glob("*.ws.*")):
        frames = list(read_recording(path, "spot"))

        assert frames == sorted(frames, key=lambda frame: frame.recv_time_us)
        assert sum(frame.kind == "CONNECT" for frame in frames) == 1


def test_messages_with_their_times_are_read_and_snapshots_among_them_are_answers(tmp_path: Path) -> None:
    line = b'{"stream":"btcusdt@depthSnapshot","generated":true,"data":{"lastUpdateId":7,"bids":[],"asks":[]}}'
    told = b'{"localTimestamp":"2024-08-08T23:54:13.937Z","message":' + line + b"}"
    asked = line.replace(b"depthSnapshot", b"openInterest")
    path = write(tmp_path / "btcusdt.jsonl", line, told, asked, TRADE, b"2024-08-08T23:54:13.9370851Z " + TRADE)

    url = "https://fapi.binance.com/fapi/v1/depth?symbol=BTCUSDT"
    frames = list(read_recording(path, "usdm"))
    assert [(each.kind, each.request, each.payload) for each in frames] == [
        ("HTTP", url, SNAPSHOT),
        ("HTTP", url, SNAPSHOT),
        ("HTTP", url.replace("depth", "openInterest"), SNAPSHOT),
        ("MESSAGE", "", TRADE),
        ("MESSAGE", "", TRADE),
    ]
    assert [each.recv_time_us for each in frames] == [0, 1_723_161_253_937_000, 0, 0, 1_723_161_253_937_085]
    assert next(read_recording(path, "swap")).kind == "MESSAGE"

"""Text out of this process, without its secrets: values that settings hold, and whatever looks like a credential.

Known values are replaced wherever they stand, also as URLs, JSON and Python write them. A secret shorter than
`SHORTEST` is not looked for: it would be found in every other word.
"""

import io
import json
import os
import re
import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, Final
from urllib.parse import quote, quote_plus

from tickerplant.errors import OutputError

MASK: Final = "**********"
SHORTEST: Final = 4
_NAMES: Final = (
    r"password|passwd|passphrase|pwd|secret|secret[_.-]?(?:access[_.-]?)?key|api[_.-]?(?:key|secret)|access[_.-]?key"
    r"|session[_.-]?token|security[_.-]?token|auth[_.-]?token|x-clickhouse-key|x-mbx-apikey|signature"
)
_QUOTE: Final = r"\\*[\"']"
_LOOKS: Final = (
    # https://user:password@host, https://token@host
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://)(?:([^\s/:@\"'\\]*):)?[^\s/@\"'\\]+@", re.IGNORECASE), rf"\1\2:{MASK}@"),
    # Authorization: Basic ..., 'authorization': 'Bearer ...'
    (
        re.compile(
            rf"(authorization{_QUOTE}?\s*[:=]\s*(?:{_QUOTE})?)(?!{_QUOTE})(?:\w+[ +])?[^\s\"',\\]+", re.IGNORECASE
        ),
        rf"\1{MASK}",
    ),
    # password=..., "secret_key": "...", sasl.password='...'
    (
        re.compile(
            rf"((?:{_NAMES}){_QUOTE}?\s*(?:=|:\s*(?={_QUOTE}))\s*)(?:({_QUOTE})(?:(?!\2)(?:\\.|[^\\]))*(?:\2|$)|[^\s\"'&,;)}}\]\\]+)",
            re.IGNORECASE,
        ),
        rf"\1\2{MASK}\2",
    ),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), MASK),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)", re.DOTALL), MASK),
)

_known: dict[str, None] = {}
_pattern: list[re.Pattern[str]] = []


def remember(secret: str, *, user: str = "") -> None:
    """Mask this value from now on, in every way it may be written; with `user`, as HTTP's Basic scheme too."""
    if len(secret) < SHORTEST:
        return
    forms = {secret, quote(secret), quote(secret, safe=""), quote_plus(secret)}
    forms |= {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1]}
    forms |= {line for line in secret.splitlines() if len(line) > SHORTEST}  # a key of several lines
    if user:
        forms.add(b64encode(f"{user}:{secret}".encode()).decode())
    if forms - _known.keys():
        _known.update(dict.fromkeys(forms))
        _pattern[:] = [re.compile("|".join(re.escape(each) for each in sorted(_known, key=len, reverse=True)))]


def forget() -> None:
    """Forget all values: for tests, whose secrets are not those of the next one."""
    _known.clear()
    _pattern.clear()


def mask(text: str) -> str:
    """Replace what must not be shown by `**********`."""
    for pattern in _pattern:
        text = pattern.sub(MASK, text)
    for pattern, shown in _LOOKS:
        text = pattern.sub(shown, text)
    return text


@contextmanager
def masked_output() -> Iterator[None]:
    """Mask stdout and stderr of this process, whoever writes: commands, loggers, tracebacks, libraries in Python."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (stream and _masked(stream) for stream in before)  # None = was closed by the shell
    try:
        yield
    finally:
        for stream in filter(None, (sys.stdout, sys.stderr)):
            stream.flush()
        sys.stdout, sys.stderr = before


class _Masked(io.BufferedIOBase):
    """A binary stream whose every write is masked; nobody writes half a secret."""

    name = "masked"

    def __init__(self, target: IO[bytes]) -> None:
        self._target = target

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self._target.isatty()

    def fileno(self) -> int:
        return self._target.fileno()

    def write(self, data: Any, /) -> int:
        text = bytes(data).decode("utf-8", "surrogateescape")
        with output_errors():
            self._target.write(mask(text).encode("utf-8", "surrogateescape"))
        return len(data)

    def flush(self) -> None:
        with output_errors():
            self._target.flush()


def print_no_more(stream: IO[str]) -> None:
    """Let what waits in buffers, and all that follows, go nowhere: nobody takes it, and it must not fail again."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


@contextmanager
def output_errors() -> Iterator[None]:
    """Tell errors of what is printed within the block from those of files and sockets.

    Raises:
        OutputError: it cannot be printed.
    """
    try:
        yield
    except OSError as error:
        raise OutputError(error.errno, error.strerror) from None


def _masked(stream: Any) -> io.TextIOWrapper:
    return io.TextIOWrapper(
        _Masked(stream.buffer), encoding="utf-8", errors="surrogateescape", line_buffering=True, write_through=True
    )

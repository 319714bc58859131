"""Query text in, what it asks for out: kind, text without FORMAT, target of an insert, inline data.

Only as much SQL is understood as the two listeners must know; everything else is the engine's.
"""

import re
from dataclasses import dataclass
from enum import Enum, auto

from tickerplant.local.gateway import guard
from tickerplant.local.gateway.faults import READONLY, SYNTAX_ERROR, QueryError
from tickerplant.local.gateway.tokens import Token, tokens

TEXT_LIMIT_BYTES = 1024 * 1024  # of a statement, inline data not counted


class Kind(Enum):
    """What a statement gives, and how the engine must be asked."""

    SELECT = auto()  # rows, streamed
    SHOW = auto()  # rows, at once: the engine streams nothing but SELECT
    INSERT = auto()  # takes rows
    SESSION = auto()  # SET, USE, temporary tables: changes what later statements of the session see
    COMMAND = auto()  # anything else: no rows


@dataclass(frozen=True, kw_only=True, slots=True)
class Statement:
    """One statement. For an INSERT that takes rows, `text` ends before SETTINGS, VALUES or FORMAT; `data` are its rows.

    `format` is None where the text names none; `target` is what follows INSERT INTO: the table, and the columns in
    parentheses or nothing; `settings` is the INSERT's SETTINGS clause, or empty.
    """

    kind: Kind
    text: str
    format: str | None = None
    data: bytes = b""
    target: tuple[str, str] = ("", "")
    settings: str = ""

    @property
    def sample(self) -> str:
        """A query with the columns of this insert."""
        table, columns = self.target
        return f"SELECT {columns or '*'} FROM {table}"  # noqa: S608 - the client's own words, already looked through


# After a format's name the rows begin: past blanks and one line end, as binary rows may begin with a blank themselves.
_EDGE = re.compile(rb"[ \t\f]*\r?\n?")
_SELECT_STARTS = frozenset(("SELECT", "WITH", "FROM", "("))
_CHANGES = frozenset(
    (
        *("ALTER", "ATTACH", "CREATE", "DELETE", "DETACH", "DROP", "EXCHANGE", "GRANT", "INSERT", "KILL", "MOVE"),
        *("OPTIMIZE", "RENAME", "REPLACE", "REVOKE", "SYSTEM", "TRUNCATE", "UNDROP", "UPDATE", "WATCH", "WITH"),
    )
)
_SHOW_STARTS = frozenset(("SHOW", "DESCRIBE", "DESC", "EXISTS", "EXPLAIN", "CHECK"))


def parse(raw: bytes) -> Statement:
    """Read one statement, with the inline data of an INSERT behind it.

    Raises:
        QueryError: empty, several statements in one, not closed quotes, not UTF-8, or refused by the guard.
    """
    try:
        return _parse(raw)
    except UnicodeDecodeError:
        raise QueryError(SYNTAX_ERROR, "Syntax error: the statement is not UTF-8") from None


def _parse(raw: bytes) -> Statement:
    text = raw[:TEXT_LIMIT_BYTES].decode("latin-1")
    found, takes_rows = _statement_tokens(text)
    if not found:
        raise QueryError(SYNTAX_ERROR, "Syntax error: Empty query")
    if takes_rows:
        return _insert(raw, text, found)
    if len(raw) > TEXT_LIMIT_BYTES:
        raise QueryError(SYNTAX_ERROR, f"Syntax error: Max query size exceeded ({TEXT_LIMIT_BYTES} bytes)")
    guard.check(found)
    return _query(raw, found)


def _statement_tokens(text: str) -> tuple[list[Token], bool]:
    """Read the tokens, without semicolons at the end, and whether this is an INSERT that takes rows.

    Those of such an INSERT end with its VALUES or FORMAT: what follows are rows.
    """
    found: list[Token] = []
    depth = 0
    takes_rows = False
    for token in tokens(text):
        found.append(token)
        depth += (token.word == "(") - (token.word == ")")
        if len(found) == 1:
            takes_rows = token.word == "INSERT"
        if token.kind == "word" and not depth:
            takes_rows = takes_rows and token.word not in {"SELECT", "WITH", "WATCH"}
            if takes_rows and token.word in {"VALUES", "FORMAT"}:
                return found, True
    while found and found[-1].word == ";":
        found.pop()
    return found, takes_rows


def _insert(raw: bytes, text: str, found: list[Token]) -> Statement:
    marked = found[-1].kind == "word" and found[-1].word in {"VALUES", "FORMAT"}
    head = found[:-1] if marked else found
    guard.check(head)
    name, start = _rows_format(text, found[-1])
    data = raw[start:] if marked else b""
    data = _values(data) if name == "Values" else _EDGE.sub(b"", data, count=1)
    cut = next((token.start for token in head if token.word == "SETTINGS" and token.kind == "word"), head[-1].end)
    return Statement(
        kind=Kind.INSERT,
        text=raw[head[0].start : cut].decode().rstrip(),
        settings=raw[cut : head[-1].end].decode(),
        format=name,
        data=data,
        target=_target(raw, head),
    )


def _rows_format(text: str, marker: Token) -> tuple[str, int]:
    """Which format the rows have, and where they begin."""
    if marker.word != "FORMAT":
        return "Values", marker.end
    name = next(tokens(text, marker.end), None)
    if name is None or name.kind not in {"word", "quoted"}:
        raise QueryError(SYNTAX_ERROR, "Syntax error: FORMAT without a name")
    return ("Values" if name.word == "VALUES" else text[name.start : name.end].strip('`"')), name.end


def _values(data: bytes) -> bytes:
    """Rows of VALUES are expressions: they are looked through as a statement is."""
    found = list(tokens(data.decode("latin-1")))
    while found and found[-1].word == ";":
        data = data[: found.pop().start]
    if found:
        guard.check(found)
    return data.strip()


def _target(raw: bytes, head: list[Token]) -> tuple[str, str]:
    """Cut `INSERT INTO [TABLE] name [(columns)] [SETTINGS ...]` into name and columns."""
    after = head[1:]
    while after and after[0].kind == "word" and after[0].word in {"INTO", "TABLE"}:
        after = after[1:]
    stop = next((index for index, token in enumerate(after) if token.word in {"(", "SETTINGS"}), len(after))
    if not after[:stop] or after[0].word == "FUNCTION":
        return "", ""
    table = raw[after[0].start : after[stop - 1].end].decode()
    return table, _columns(raw, after[stop:])


def _columns(raw: bytes, found: list[Token]) -> str:
    if not found or found[0].word != "(":
        return ""
    depth = 0
    for token in found:
        depth += (token.word == "(") - (token.word == ")")
        if not depth:
            return raw[found[0].end : token.start].decode()
    raise QueryError(SYNTAX_ERROR, "Syntax error: the list of columns is not closed")


def _query(raw: bytes, found: list[Token]) -> Statement:
    kind = _kind(found)
    start, end = found[0].start, found[-1].end
    at = _format_index(found)
    if at is None:
        return Statement(kind=kind, text=raw[start:end].decode())
    name = raw[found[at + 1].start : found[at + 1].end].decode()
    text = raw[start : found[at].start] + raw[found[at + 1].end : end]
    return Statement(kind=kind, text=text.decode().rstrip(), format=name.strip('`"'))


def _kind(found: list[Token]) -> Kind:
    first = found[0].word
    words = {token.word for token in found if token.kind == "word"}
    if first in _SELECT_STARTS and not (first == "WITH" and "INSERT" in words):
        return Kind.SELECT
    if first in _SHOW_STARTS:
        return Kind.SHOW
    if first in {"SET", "USE"} or (first == "CREATE" and words & {"TEMPORARY", "TEMP"}):
        return Kind.SESSION
    return Kind.COMMAND


def _format_index(found: list[Token]) -> int | None:
    """Where `FORMAT name` stands at the end, or before a last SETTINGS; None where it does not."""
    depth = 0
    for index in range(len(found) - 1, 0, -1):
        token, before = found[index], found[index - 1]
        depth += (token.word == ")") - (token.word == "(")
        if depth or token.kind not in {"word", "quoted"} or before.kind != "word" or before.word != "FORMAT":
            continue
        is_last = index == len(found) - 1 or found[index + 1].word == "SETTINGS"
        return index - 1 if is_last else None
    return None


def require_read_only(statement: Statement) -> None:
    """Let only statements pass that change nothing.

    Raises:
        QueryError: 164 (READONLY), or 62 (SYNTAX_ERROR) where the text is no statement at all.
    """
    first = next(
        iter(statement.text.split(None, 1)), ""
    ).upper()  # a text of what only Python takes for blanks has none
    if statement.kind is Kind.COMMAND and first not in _CHANGES:
        raise QueryError(SYNTAX_ERROR, f"Syntax error: no statement begins with {first}")
    if statement.kind not in {Kind.SELECT, Kind.SHOW}:
        raise QueryError(READONLY, "Cannot execute query in readonly mode")

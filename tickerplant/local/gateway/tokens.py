"""SQL text in, tokens out: ClickHouse's lexer as far as it is needed to tell code from strings and comments.

The rules were tried on the engine: `--`, `//`, `# ` and `#!` begin comments, `/* */` nest, strings stand in straight or
curly single quotes, names in backticks or straight or curly double quotes, heredocs in $tag$; doubling and a backslash
escape a quote.

Texts are handed in decoded as Latin-1, one character a byte, so that positions are byte positions.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from tickerplant.local.gateway.faults import SYNTAX_ERROR, QueryError

_CURLY_DOUBLE = ("\u201c".encode().decode("latin-1"), "\u201d".encode().decode("latin-1"))
_CURLY_SINGLE = ("\u2018".encode().decode("latin-1"), "\u2019".encode().decode("latin-1"))

# Other bytes above 127 are taken for spaces, as some are to the engine: words on both sides still meet.
_TOKEN = re.compile(
    rf"""(?P<space>\s+|(?:--|//|\#[ !])[^\n]*)
    |(?P<comment>/\*)
    |(?P<heredoc>\$(?P<tag>\w*)\$(?:.*?)\$(?P=tag)\$)
    |(?P<string>'(?:[^'\\]|\\.|'')*'|{_CURLY_SINGLE[0]}.*?{_CURLY_SINGLE[1]})
    |(?P<quoted>`(?:[^`\\]|\\.|``)*`|"(?:[^"\\]|\\.|"")*"|{_CURLY_DOUBLE[0]}.*?{_CURLY_DOUBLE[1]})
    |(?P<foreign>[\x80-\xff])
    |(?P<word>[A-Za-z_][\w$]*)
    |(?P<number>[0-9]+)
    |(?P<sign>.)""",
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_ESCAPED = re.compile(r"\\(.)|``|\"\"", re.DOTALL)


class Token(NamedTuple):
    """A piece of code. `word` is the upper-case word, the plain name of a quoted one, or the sign; empty for values."""

    kind: str  # word, quoted, string, number or sign
    word: str
    start: int
    end: int


def tokens(text: str, start: int = 0) -> Iterator[Token]:
    """Yield the tokens from `start` on; spaces and comments are left out.

    Raises:
        QueryError: a comment or a quote is not closed.
    """
    while start < len(text):
        found = _TOKEN.match(text, start)
        assert found is not None  # the last alternative takes any character
        kind = "heredoc" if found["heredoc"] else found.lastgroup or "sign"
        end = _comment_end(text, start) if kind == "comment" else found.end()
        if kind not in {"space", "comment", "foreign"}:
            yield _token(kind, found[0], start, end)
        start = end


def _token(kind: str, text: str, start: int, end: int) -> Token:
    if kind == "sign" and text in "'\"`":
        raise QueryError(SYNTAX_ERROR, f"Syntax error: the quote at position {start + 1} is not closed")
    if kind == "quoted":
        return Token(kind, _plain(text).upper(), start, end)
    if kind in {"word", "sign"}:
        return Token(kind, text.upper(), start, end)
    return Token("number" if kind == "number" else "string", "", start, end)


def _plain(quoted: str) -> str:
    edge = len(_CURLY_DOUBLE[0]) if quoted.startswith(_CURLY_DOUBLE[0]) else 1
    return _ESCAPED.sub(lambda match: match[1] or match[0][0], quoted[edge:-edge])


def _comment_end(text: str, start: int) -> int:
    depth = 0
    for edge in _COMMENT_EDGE.finditer(text, start):
        depth += 1 if edge[0] == "/*" else -1
        if not depth:
            return edge.end()
    raise QueryError(SYNTAX_ERROR, "Syntax error: a multiline comment is not closed")

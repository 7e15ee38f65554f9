"""Tokens being read, and the names and types every part of the grammar needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn, TypeVar

from ..errors import NotSupportedByStandIn, SqlError, error
from ..schema import ObjectName
from ..sqltypes import MAX, MONEY, SMALLMONEY, Kind, SqlType, nvarchar
from .lexer import RESERVED, Token, TokenKind, tokenize

T = TypeVar("T")

_PLAIN_TYPES = {
    "BIT": SqlType(Kind.BIT),
    "TINYINT": SqlType(Kind.TINYINT),
    "SMALLINT": SqlType(Kind.SMALLINT),
    "INT": SqlType(Kind.INT),
    "INTEGER": SqlType(Kind.INT),
    "BIGINT": SqlType(Kind.BIGINT),
    "MONEY": MONEY,
    "SMALLMONEY": SMALLMONEY,
    "REAL": SqlType(Kind.REAL),
    "TEXT": SqlType(Kind.TEXT),
    "NTEXT": SqlType(Kind.NTEXT),
    "XML": SqlType(Kind.XML),
    "IMAGE": SqlType(Kind.IMAGE),
    "ROWVERSION": SqlType(Kind.ROWVERSION),
    "TIMESTAMP": SqlType(Kind.ROWVERSION),
    "DATE": SqlType(Kind.DATE),
    "DATETIME": SqlType(Kind.DATETIME),
    "SMALLDATETIME": SqlType(Kind.SMALLDATETIME),
    "UNIQUEIDENTIFIER": SqlType(Kind.UNIQUEIDENTIFIER),
    "SQL_VARIANT": SqlType(Kind.SQL_VARIANT),
    "SYSNAME": nvarchar(128),
}
_LENGTH_TYPES = {
    "CHAR": (Kind.CHAR, 8000),
    "CHARACTER": (Kind.CHAR, 8000),
    "VARCHAR": (Kind.VARCHAR, 8000),
    "NCHAR": (Kind.NCHAR, 4000),
    "NVARCHAR": (Kind.NVARCHAR, 4000),
    "BINARY": (Kind.BINARY, 8000),
    "VARBINARY": (Kind.VARBINARY, 8000),
}
_SCALE_TYPES = {
    "TIME": Kind.TIME,
    "DATETIME2": Kind.DATETIME2,
    "DATETIMEOFFSET": Kind.DATETIMEOFFSET,
}
_VARYING = {Kind.VARCHAR, Kind.NVARCHAR, Kind.VARBINARY}


class TokenStream:
    """A cursor over the tokens of one batch."""

    def __init__(self, sql: str) -> None:
        self.sql = sql
        self._tokens = tokenize(sql)
        self._index = 0
        self.token: Token = self._tokens[0]

    # --- looking and moving ---------------------------------------------------------------

    def advance(self) -> Token:
        token = self.token
        if token.kind is not TokenKind.END:
            self._index += 1
            self.token = self._tokens[self._index]
        return token

    def peek(self, distance: int = 1) -> Token:
        return self._tokens[min(self._index + distance, len(self._tokens) - 1)]

    @property
    def mark(self) -> int:
        return self._index

    def reset(self, mark: int) -> None:
        self._index = mark
        self.token = self._tokens[mark]

    @property
    def at_end(self) -> bool:
        return self.token.kind is TokenKind.END

    def at(self, *words: str) -> bool:
        """Whether the next tokens are these keywords or operators, in order."""
        if self.token.upper != words[0]:
            return False
        return all(self.peek(i).upper == word for i, word in enumerate(words[1:], start=1))

    def at_any(self, *words: str) -> bool:
        upper = self.token.upper
        return bool(upper) and upper in words

    def accept(self, *words: str) -> bool:
        """Step over these keywords or operators if all of them come next, in order."""
        if not self.at(*words):
            return False
        for _ in words:
            self.advance()
        return True

    def expect(self, *words: str) -> None:
        for word in words:
            if self.token.upper != word:
                self.fail()
            self.advance()

    def source(self, start: int) -> str:
        """The text from offset ``start`` to the end of the last token read."""
        return self.sql[start : self._tokens[self._index - 1].end] if self._index else ""

    @property
    def last(self) -> Token:
        """The token read last."""
        return self._tokens[max(self._index - 1, 0)]

    # --- errors ---------------------------------------------------------------------------

    def fail(self, token: Token | None = None) -> NoReturn:
        """Incorrect syntax near this token."""
        token = token or self.token
        if token.kind is TokenKind.END:
            # SQL Server names the last thing it could still read.
            token = self._tokens[-2] if len(self._tokens) > 1 else token
        raise self.syntax_error(token)

    def syntax_error(self, token: Token) -> SqlError:
        if token.kind is TokenKind.WORD and token.upper in RESERVED:
            return error(156, token.text, line=token.line)
        return error(102, token.text, line=token.line)

    def unsupported(self, what: str) -> NoReturn:
        raise NotSupportedByStandIn(what, self.token.line)

    # --- small parts of the grammar -------------------------------------------------------

    def at_name(self) -> bool:
        kind = self.token.kind
        return kind is TokenKind.QUOTED or (
            kind is TokenKind.WORD and self.token.upper not in RESERVED
        )

    def name(self) -> str:
        """An identifier, quoted or not reserved."""
        if not self.at_name():
            self.fail()
        return self.advance().text

    def object_name(self) -> ObjectName:
        """``name``, ``schema.name``, ``database.schema.name``, ``database..name``."""
        parts = [self.advance().text if self.token.kind is TokenKind.VARIABLE else self.name()]
        while self.token.upper == ".":
            self.advance()
            parts.append("" if self.token.upper == "." else self.name())
        if len(parts) > 3:
            self.unsupported("a four-part name (linked servers)")
        parts = [""] * (3 - len(parts)) + parts
        return ObjectName(parts[2], parts[1], parts[0])

    def names(self) -> tuple[str, ...]:
        """``(a, b, c)``."""
        self.expect("(")
        names = self.separated(self.name)
        self.expect(")")
        return tuple(names)

    def separated(self, one: Callable[[], T]) -> list[T]:
        """One or more of something, between commas."""
        items = [one()]
        while self.accept(","):
            items.append(one())
        return items

    def integer(self) -> int:
        """An integer literal with an optional sign."""
        sign = -1 if self.accept("-") else 1
        if self.token.kind is not TokenKind.NUMBER or not self.token.text.isdigit():
            self.fail()
        return sign * int(self.advance().text)

    def string(self) -> str:
        if self.token.kind not in (TokenKind.STRING, TokenKind.NATIONAL):
            self.fail()
        return self.advance().text

    def at_type(self) -> bool:
        upper = self.token.text.upper()
        return (
            upper in _PLAIN_TYPES
            or upper in _LENGTH_TYPES
            or upper in _SCALE_TYPES
            or upper in ("DECIMAL", "DEC", "NUMERIC", "FLOAT", "DOUBLE", "NATIONAL")
        )

    def type(self, default_length: int = 1) -> SqlType:
        """A data type. ``default_length`` is 30 in CAST and CONVERT, 1 elsewhere."""
        token = self.token
        if token.kind not in (TokenKind.WORD, TokenKind.QUOTED):
            self.fail()
        self.advance()
        name = token.text.upper()
        if name in ("SYS", "DBO") and self.accept("."):
            name = self.advance().text.upper()
        if name == "NATIONAL":
            name = "N" + self.advance().text.upper().replace("CHARACTER", "CHAR")
        if name in ("CHAR", "CHARACTER", "NCHAR", "BINARY") and self.accept("VARYING"):
            name = {"NCHAR": "NVARCHAR", "BINARY": "VARBINARY"}.get(name, "VARCHAR")
        if name == "DOUBLE":
            self.expect("PRECISION")
            return SqlType(Kind.FLOAT)
        if name in _PLAIN_TYPES:
            return _PLAIN_TYPES[name]
        if name == "FLOAT":
            bits = self._one_number(53)
            if not 1 <= bits <= 53:
                raise self.syntax_error(token)
            return SqlType(Kind.FLOAT if bits > 24 else Kind.REAL)
        if name in ("DECIMAL", "DEC", "NUMERIC"):
            precision, scale = 18, 0
            if self.accept("("):
                precision = self.integer()
                if self.accept(","):
                    scale = self.integer()
                self.expect(")")
            if not 1 <= precision <= 38 or not 0 <= scale <= precision:
                raise self.syntax_error(token)
            kind = Kind.NUMERIC if name == "NUMERIC" else Kind.DECIMAL
            return SqlType(kind, precision=precision, scale=scale)
        if name in _SCALE_TYPES:
            scale = self._one_number(7)
            if not 0 <= scale <= 7:
                raise self.syntax_error(token)
            return SqlType(_SCALE_TYPES[name], scale=scale)
        if name in _LENGTH_TYPES:
            kind, limit = _LENGTH_TYPES[name]
            if self.at("(", "MAX") and kind in _VARYING:
                self.expect("(", "MAX", ")")
                return SqlType(kind, length=MAX)
            length = self._one_number(default_length)
            if not 1 <= length <= limit:
                raise self.syntax_error(token)
            return SqlType(kind, length=length)
        raise error(2715, 1, token.text, line=token.line)

    def _one_number(self, default: int) -> int:
        if not self.accept("("):
            return default
        number = self.integer()
        self.expect(")")
        return number

"""The grammar of data types. Source: T-SQL reference, "Data types"."""

from __future__ import annotations

from ..errors import error
from ..sqltypes import MAX, MONEY, SMALLMONEY, Kind, SqlType, nvarchar
from .cursor import Cursor
from .tokenizer import NAMES

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


class TypeParser(Cursor):
    def data_type(self, default_length: int = 1) -> SqlType:
        """A data type. ``default_length`` is 30 in CAST and CONVERT, 1 elsewhere."""
        token = self.token
        if token.token_type not in NAMES and not self.at("NATIONAL") and not self.at("DOUBLE"):
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

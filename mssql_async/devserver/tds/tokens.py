"""The token stream of a reply (MS-TDS 2.2.7): tokens appended to a buffer."""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterable, Sequence

from ..results import (
    Columns,
    Environment,
    EnvironmentChange,
    Message,
    OutputValue,
    ResultColumn,
)
from ..sqltypes import STRING_KINDS, StorageValue
from .collations import is_case_sensitive
from .encoding import (
    Dialect,
    Encoder,
    UnencodableValueError,
    encoding_of,
    return_value_type,
)

PROGRAM_NAME = "Microsoft SQL Server"
FATAL_SEVERITY = 20
"""Errors of this severity and above end the connection."""

_MAX_NAME = 255
_MAX_TEXT = 16_000
"""Code units of a message's text: the whole token has to fit in 64 kB."""


class Token(enum.IntEnum):
    RETURN_STATUS = 0x79
    COLUMN_METADATA = 0x81
    ERROR = 0xAA
    INFO = 0xAB
    RETURN_VALUE = 0xAC
    LOGIN_ACKNOWLEDGED = 0xAD
    FEATURE_ACKNOWLEDGED = 0xAE
    ROW = 0xD1
    ENVIRONMENT_CHANGE = 0xE3
    DONE = 0xFD
    DONE_PROCEDURE = 0xFE
    DONE_IN_PROCEDURE = 0xFF


class DoneStatus(enum.IntFlag):
    FINAL = 0x00
    MORE = 0x01
    ERROR = 0x02
    IN_TRANSACTION = 0x04
    COUNT = 0x10
    ATTENTION = 0x20


class LoginEnvironment(enum.IntEnum):
    """Types of ENVCHANGE that only the wire announces (2.2.7.9)."""

    PACKET_SIZE = 4
    COLLATION = 7


# Flags of a column (2.2.7.4), plain integers for speed.
_NULLABLE = 0x01
_CASE_SENSITIVE = 0x02
_UPDATABLE_UNKNOWN = 0x08
_IDENTITY = 0x10

_DONE = struct.Struct("<BHHQ").pack
_MESSAGE = struct.Struct("<iBB").pack
_U16 = struct.Struct("<H").pack
_I32 = struct.Struct("<i").pack
_COLUMN = struct.Struct("<IH").pack
_RETURN_VALUE = struct.Struct("<BH").pack
_ROW = bytes([Token.ROW])
_COUNT = int(DoneStatus.COUNT)


def _name(text: str) -> bytes:
    """B_VARCHAR, cut to what its length byte can say."""
    data = text.encode("utf-16-le", "surrogatepass")[: _MAX_NAME * 2]
    return bytes([len(data) // 2]) + data


def _text(text: str) -> bytes:
    """US_VARCHAR, cut to :data:`_MAX_TEXT`."""
    data = text.encode("utf-16-le", "surrogatepass")[: _MAX_TEXT * 2]
    return _U16(len(data) // 2) + data


class Layout:
    """The shape of one result set: its COLMETADATA and how its rows are written."""

    __slots__ = ("columns", "encoders", "metadata")

    def __init__(self, columns: Columns, dialect: Dialect) -> None:
        self.columns = columns
        encodings = [encoding_of(column.type, dialect) for column in columns.columns]
        self.encoders: tuple[Encoder, ...] = tuple(encoding.encode for encoding in encodings)
        parts = [bytes([Token.COLUMN_METADATA]), _U16(len(encodings))]
        for column, encoding in zip(columns.columns, encodings, strict=True):
            parts += (
                _COLUMN(encoding.user_type, _flags(column)),
                encoding.info,
                encoding.table_name,
                _name(column.name),
            )
        self.metadata = b"".join(parts)

    def blame(self, row: Sequence[StorageValue]) -> UnencodableValueError:
        """Why ``row`` cannot be written: it names the column, never the value."""
        columns = self.columns.columns
        if len(row) != len(columns):
            return UnencodableValueError(f"row of {len(row)} values for {len(columns)} columns")
        for column, encode, value in zip(columns, self.encoders, row, strict=True):
            try:
                encode(value)
            except UnencodableValueError as failure:
                return UnencodableValueError(f"column {column.name!r}: {failure}")
            except Exception as failure:
                return UnencodableValueError(
                    f"column {column.name!r}: {type(value).__name__} is no storage form "
                    f"of {column.type} ({type(failure).__name__})"
                )
        return UnencodableValueError("row")


def _flags(column: ResultColumn) -> int:
    flags = _UPDATABLE_UNKNOWN
    if column.nullable:
        flags |= _NULLABLE
    if column.identity:
        flags |= _IDENTITY
    if column.type.kind in STRING_KINDS and is_case_sensitive(column.type.collation):
        flags |= _CASE_SENSITIVE
    return flags


class LayoutCache:
    """Layouts of the last result sets.

    They are looked up by the identity of their columns first, because an engine that
    keeps its plans hands the same :class:`Columns` over every time, and by value next.
    """

    LIMIT = 256

    def __init__(self) -> None:
        self._by_identity: dict[tuple[int, Dialect], Layout] = {}
        self._by_value: dict[tuple[Columns, Dialect], Layout] = {}

    def layout(self, columns: Columns, dialect: Dialect) -> Layout:
        layout = self._by_identity.get((id(columns), dialect))
        # A cached layout keeps its columns alive, so that no id is used twice.
        return layout if layout is not None else self._find_by_value(columns, dialect)

    def _find_by_value(self, columns: Columns, dialect: Dialect) -> Layout:
        layout = self._by_value.get((columns, dialect))
        if layout is None:
            if len(self._by_value) >= self.LIMIT:
                self._by_identity.clear()
                self._by_value.clear()
            layout = Layout(columns, dialect)
            self._by_identity[id(columns), dialect] = layout
            self._by_value[columns, dialect] = layout
        return layout


class TokenWriter:
    """Appends tokens to ``buffer`` for a client of that ``dialect``."""

    def __init__(
        self, buffer: bytearray, dialect: Dialect, layouts: LayoutCache, server_name: str
    ) -> None:
        self.buffer = buffer
        self.dialect = dialect
        self._layouts = layouts
        self._server_name = _name(server_name)
        self._layout = Layout(Columns(()), dialect)

    def columns(self, columns: Columns) -> None:
        """COLMETADATA; the rows that follow belong to it."""
        layout = self._layouts.layout(columns, self.dialect)
        self.buffer += layout.metadata
        self._layout = layout

    def rows(self, rows: Iterable[Sequence[StorageValue]]) -> None:
        """ROW tokens. A row that cannot be written leaves no bytes behind.

        :raises UnencodableValueError: a row does not match its COLMETADATA.
        """
        buffer, encoders = self.buffer, self._layout.encoders
        for row in rows:
            try:
                buffer += _ROW + b"".join(
                    [encode(value) for encode, value in zip(encoders, row, strict=True)]
                )
            except Exception as failure:
                raise self._layout.blame(row) from failure

    def done(
        self, token: Token, status: int = 0, command: int = 0, count: int | None = None
    ) -> None:
        if count is None:
            self.buffer += _DONE(token, status, command, 0)
        else:
            self.buffer += _DONE(token, status | _COUNT, command, count)

    def message(self, message: Message) -> None:
        """ERROR for severities above 10, else INFO."""
        token = Token.ERROR if message.severity > 10 else Token.INFO
        body = (
            _MESSAGE(message.number, message.state & 0xFF, message.severity & 0xFF)
            + _text(message.text)
            + self._server_name
            + _name(message.procedure)
            + _I32(message.line)
        )
        self._sized(token, body)

    def environment(self, change: EnvironmentChange) -> None:
        self._environment(int(change.kind), change.new, change.old)

    def packet_size(self, new: int, old: int) -> None:
        self._environment(LoginEnvironment.PACKET_SIZE, str(new), str(old))

    def collation(self, new: bytes) -> None:
        self._environment(LoginEnvironment.COLLATION, new, b"")

    def reset_acknowledged(self) -> None:
        self._environment(int(Environment.RESET_ACKNOWLEDGED), b"", b"")

    def return_status(self, value: int) -> None:
        self.buffer.append(Token.RETURN_STATUS)
        self.buffer += _I32(value)

    def return_value(self, output: OutputValue) -> None:
        encoding = encoding_of(return_value_type(output.type), self.dialect)
        # One piece, so that a value that cannot be written leaves no bytes behind.
        self.buffer += b"".join(
            (
                _RETURN_VALUE(Token.RETURN_VALUE, output.ordinal),
                _name(output.name),
                b"\x01",  # an output parameter, not a function's value
                _COLUMN(encoding.user_type, _UPDATABLE_UNKNOWN | _NULLABLE),
                encoding.info,
                encoding.encode(output.value),
            )
        )

    def login_acknowledged(self, product_version: str) -> None:
        """LOGINACK; ``product_version`` as ``16.0.4165.4``."""
        body = (
            b"\x01"  # SQL_TSQL
            + self.dialect.version.to_bytes(4, "big")
            + _name(PROGRAM_NAME)
            + version_bytes(product_version)[:4]
        )
        self._sized(Token.LOGIN_ACKNOWLEDGED, body)

    def features_acknowledged(self, features: Sequence[tuple[int, bytes]]) -> None:
        self.buffer.append(Token.FEATURE_ACKNOWLEDGED)
        for feature, data in features:
            self.buffer.append(feature)
            self.buffer += _I32(len(data)) + data
        self.buffer.append(0xFF)

    def _environment(self, kind: int, new: str | bytes, old: str | bytes) -> None:
        body = bytes([kind])
        for value in (new, old):
            body += _name(value) if isinstance(value, str) else bytes([len(value)]) + value
        self._sized(Token.ENVIRONMENT_CHANGE, body)

    def _sized(self, token: Token, body: bytes) -> None:
        self.buffer.append(token)
        self.buffer += _U16(len(body)) + body


def version_bytes(product_version: str) -> bytes:
    """``16.0.4165.4`` as major, minor, build (big-endian) and sub-build (2.2.6.5)."""
    major, minor, build, revision = (int(part) for part in product_version.split("."))
    return struct.pack(">BBHH", major, minor, build, revision)

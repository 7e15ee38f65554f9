"""What running a request produces: the events that become a TDS token stream."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from .sqltypes import SqlType, StorageValue


@dataclass(frozen=True, slots=True)
class ResultColumn:
    """One column of a result set. ``name`` is empty for an unnamed expression."""

    name: str
    type: SqlType
    nullable: bool = True
    identity: bool = False


@dataclass(frozen=True, slots=True)
class Columns:
    """A result set begins (COLMETADATA)."""

    columns: tuple[ResultColumn, ...]


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows of the current result set, values in storage form (ROW tokens)."""

    rows: Sequence[tuple[StorageValue, ...]]


class Command(enum.IntEnum):
    """CurCmd of a DONE token: what kind of statement ended.

    MS-TDS leaves the values to the server; these are the ones SQL Server sends.
    """

    NONE = 0
    SELECT = 0xC1
    INSERT = 0xC3
    DELETE = 0xC4
    UPDATE = 0xC5
    MERGE = 0x117
    BEGIN_TRANSACTION = 0xD4
    COMMIT = 0xD5
    ROLLBACK = 0xD2
    EXECUTE = 0xE0
    SET = 0xF9
    CREATE_TABLE = 0xC6
    DROP_TABLE = 0xC7
    ALTER_TABLE = 0xD8
    OTHER = 0xFD


@dataclass(frozen=True, slots=True)
class Done:
    """A statement ended. ``count`` is ``None`` where no row count applies
    (or ``SET NOCOUNT ON`` holds it back)."""

    command: Command = Command.NONE
    count: int | None = None
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Message:
    """An ERROR token (``severity`` above 10) or an INFO token."""

    number: int
    text: str
    severity: int = 0
    state: int = 1
    line: int = 1
    procedure: str = ""


class Environment(enum.IntEnum):
    """Types of ENVCHANGE that the engine announces (MS-TDS 2.2.7.9)."""

    DATABASE = 1
    LANGUAGE = 2
    BEGIN_TRANSACTION = 8
    COMMIT_TRANSACTION = 9
    ROLLBACK_TRANSACTION = 10
    RESET_ACKNOWLEDGED = 18


@dataclass(frozen=True, slots=True)
class EnvironmentChange:
    """ENVCHANGE. Names are ``str``; transaction descriptors are 8 ``bytes``
    (``b""`` where the token's value is empty)."""

    kind: Environment
    new: str | bytes = ""
    old: str | bytes = ""


@dataclass(frozen=True, slots=True)
class ReturnStatus:
    """A procedure's return status (RETURNSTATUS)."""

    value: int = 0


@dataclass(frozen=True, slots=True)
class OutputValue:
    """An output parameter of a procedure (RETURNVALUE). ``ordinal`` is 0-based."""

    ordinal: int
    name: str
    type: SqlType
    value: StorageValue


Event = Columns | Rows | Done | Message | EnvironmentChange | ReturnStatus | OutputValue

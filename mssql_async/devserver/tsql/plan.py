"""What the compiler produces and what it needs to know.

:mod:`.compiler` turns one statement into a :class:`Plan` for a :class:`Scope`. Plans
are immutable and may be cached by statement text as long as :meth:`Scope.version` and
the types of the variables stay the same. The engine runs them.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ..results import Command, ResultColumn
from ..schema import ObjectName, Table, View
from ..sqltypes import SqlType, StorageValue


@dataclass(frozen=True, slots=True)
class VariableBind:
    """Bind the current value of a variable or parameter (name with ``@``, as declared)."""

    name: str


@dataclass(frozen=True, slots=True)
class SystemRowsBind:
    """Bind the rows of a system view as JSON: an array of arrays in the order of
    :attr:`SystemView.columns` (``json_each`` unpacks it), binary values as digits."""

    view: str


@dataclass(frozen=True, slots=True)
class OutputBind:
    """Bind column ``position`` (0-based) of a row that OUTPUT … INTO stores."""

    position: int


Bind = VariableBind | SystemRowsBind | OutputBind


NEXT_ROWVERSION = "ts_session('next_rowversion')"
"""SQLite SQL of the value that a rowversion column takes with every INSERT and UPDATE."""


class LockIntent(enum.Enum):
    """What a statement wants to lock before it runs."""

    NONE = "none"
    """Reads; under the row-versioned READ COMMITTED of the stand-in it never waits."""
    UPDATE = "update"
    """Writes, or reads WITH (UPDLOCK | XLOCK | TABLOCKX)."""
    UPDATE_NOWAIT = "update, nowait"
    """WITH (UPDLOCK, NOWAIT): error 1222 at once instead of waiting."""
    UPDATE_SKIP = "update, readpast"
    """WITH (UPDLOCK, READPAST): see no row rather than wait."""


@dataclass(frozen=True, slots=True)
class OutputInto:
    """Where OUTPUT … INTO puts its rows: run ``sql`` once for each row that the DML's SQL
    returns, with :class:`OutputBind` filled from that row; the client gets no rows."""

    sql: str
    binds: tuple[Bind, ...]
    target: Table


@dataclass(frozen=True, slots=True)
class Moves:
    """An UPDATE of a key that is SQLite's number of the row, in steps that meet no number that
    is still taken: ``collect`` what is to be stored, ``leave`` for numbers nobody has, ``arrive``.
    ``forget`` what was collected. Only the first and the third bind values."""

    collect: str
    collect_binds: tuple[Bind, ...]
    leave: str
    arrive: str
    arrive_binds: tuple[Bind, ...]
    forget: str


@dataclass(frozen=True, slots=True)
class Plan:
    """A compiled statement.

    ``sql`` uses ``?1`` … ``?n``; ``binds[i]`` fills ``?{i+1}``. ``columns`` is empty when
    there is no result set. ``assigns`` names the variables that ``SELECT @x = …`` sets
    from each row's values, in order (then nothing is sent). ``into`` is the table that
    ``SELECT … INTO`` creates from ``columns`` and fills. ``target`` is the DML target.
    For DML with OUTPUT, running ``sql`` returns the rows of ``columns``; with
    ``output_into`` its rows go to a table and ``columns`` is empty.
    """

    sql: str
    binds: tuple[Bind, ...] = ()
    columns: tuple[ResultColumn, ...] = ()
    command: Command = Command.SELECT
    target: Table | None = None
    lock: LockIntent = LockIntent.NONE
    assigns: tuple[str, ...] = ()
    into: ObjectName | None = None
    uses_system_views: bool = False
    output_into: OutputInto | None = None
    moves: Moves | None = None


@dataclass(frozen=True, slots=True)
class ResolvedTable:
    """A table as the compiler needs it. ``sqlite_name`` is ready to use in SQL:
    qualified and quoted (``"db3"."auth_user"``, ``temp."#t"``)."""

    table: Table
    sqlite_name: str


@dataclass(frozen=True, slots=True)
class SystemView:
    """A ``sys.*`` or ``INFORMATION_SCHEMA.*`` view, fed from outside SQLite."""

    name: str
    columns: tuple[ResultColumn, ...]


class Scope(Protocol):
    """What names mean while a statement is compiled. Implemented by the engine."""

    @property
    def database(self) -> str: ...

    @property
    def default_schema(self) -> str: ...

    def find_table(self, name: ObjectName) -> ResolvedTable | None:
        """A table, temporary table (``#t``) or table variable (``@t``)."""

    def find_view(self, name: ObjectName) -> View | None: ...

    def find_system_view(self, name: ObjectName) -> SystemView | None: ...

    def variable_type(self, name: str) -> SqlType | None:
        """The type of ``@x``; ``None`` where it is not declared (error 137)."""

    def identity_insert(self, table: Table) -> bool:
        """Whether ``SET IDENTITY_INSERT`` is on for that table."""


class Host(Protocol):
    """What functions ask of the session while SQLite runs them.

    One host belongs to one SQLite connection (see :mod:`.runtime`). A method that
    raises :class:`~mssql_async.devserver.errors.SqlError` ends the statement with it.
    """

    def session_function(self, name: str, arguments: Sequence[StorageValue]) -> StorageValue:
        """Evaluate a function or ``@@`` variable that depends on the session, server or
        catalog. ``name`` is lower case, ``@@`` included: ``"@@trancount"``,
        ``"scope_identity"``, ``"object_id"``, ``"serverproperty"``."""

    def next_identity(self, object_id: int) -> int:
        """The next identity value of a table; also becomes SCOPE_IDENTITY()."""

    def note_identity(self, object_id: int, value: int) -> None:
        """An explicit identity value was inserted: later ones must lie beyond it."""

    @property
    def date_first(self) -> int:
        """``SET DATEFIRST``: 1 is Monday, 7 (the us_english default) Sunday."""

    @property
    def date_format(self) -> str:
        """``SET DATEFORMAT``: ``"mdy"``, ``"dmy"``, ``"ymd"`` …"""

    @property
    def check_interrupt(self) -> bool:
        """True once the client has sent an attention: long work should end."""

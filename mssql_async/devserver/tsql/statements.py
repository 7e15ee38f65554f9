"""The statements of a batch, as :func:`mssql_async.devserver.tsql.parser.parse_batch`
returns them.

Queries, DML and every expression are ``sqlglot`` trees of our own dialect
(:mod:`.dialect`); what sqlglot has no node for, or loses information about, is a
dataclass here. ``line`` is the 1-based line of the batch on which a statement starts,
``text`` its source.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from sqlglot import exp

from ..protocols import Isolation
from ..schema import IndexColumn, IndexKind, ObjectName, ReferentialAction
from ..sqltypes import SqlType


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    line: int = 1
    text: str = ""


# --- queries and DML: compiled by .compiler into a Plan -------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Query(Statement):
    """SELECT, also with CTEs, set operations, ``SELECT @x = …`` and ``SELECT … INTO``."""

    tree: exp.Expression


@dataclass(frozen=True, slots=True, kw_only=True)
class Insert(Statement):
    """INSERT … VALUES, … SELECT, … DEFAULT VALUES, with OUTPUT."""

    tree: exp.Expression


@dataclass(frozen=True, slots=True, kw_only=True)
class InsertExec(Statement):
    """INSERT … EXEC."""

    target: ObjectName
    columns: tuple[str, ...]
    call: Execute | ExecuteString


@dataclass(frozen=True, slots=True, kw_only=True)
class Update(Statement):
    tree: exp.Expression


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete(Statement):
    tree: exp.Expression


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge(Statement):
    tree: exp.Expression


@dataclass(frozen=True, slots=True, kw_only=True)
class TruncateTable(Statement):
    table: ObjectName


# --- definitions ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyDefinition:
    """PRIMARY KEY or UNIQUE. ``name`` is empty where the server must make one up."""

    kind: IndexKind
    columns: tuple[IndexColumn, ...]
    name: str = ""
    clustered: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignKeyDefinition:
    columns: tuple[str, ...]
    referenced: ObjectName
    referenced_columns: tuple[str, ...]
    name: str = ""
    on_delete: ReferentialAction = ReferentialAction.NO_ACTION
    on_update: ReferentialAction = ReferentialAction.NO_ACTION


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckDefinition:
    """``expression`` is T-SQL text without the outer parentheses of CHECK."""

    expression: str
    name: str = ""
    column: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultDefinition:
    """DEFAULT as a constraint; ``column`` is set by ``ADD … DEFAULT … FOR column``.

    ``with_values``: rows that are there get it too, where the column may be NULL."""

    expression: str
    name: str = ""
    column: str = ""
    with_values: bool = False


ConstraintDefinition = KeyDefinition | ForeignKeyDefinition | CheckDefinition | DefaultDefinition


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnDefinition:
    """A column of CREATE TABLE, ALTER TABLE ADD, ALTER COLUMN or a table variable.

    ``nullable`` is ``None`` where the statement did not say. Constraints written on
    the column are moved to ``constraints``, with their columns filled in.
    """

    name: str
    type: SqlType | None
    nullable: bool | None = None
    identity: tuple[int, int] | None = None
    default: DefaultDefinition | None = None
    computed: str | None = None
    persisted: bool = False
    constraints: tuple[ConstraintDefinition, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateTable(Statement):
    name: ObjectName
    columns: tuple[ColumnDefinition, ...]
    constraints: tuple[ConstraintDefinition, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AddColumns(Statement):
    """ALTER TABLE … ADD of columns and constraints. ``check`` is WITH CHECK/NOCHECK."""

    table: ObjectName
    columns: tuple[ColumnDefinition, ...] = ()
    constraints: tuple[ConstraintDefinition, ...] = ()
    check: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class AlterColumn(Statement):
    table: ObjectName
    column: ColumnDefinition


@dataclass(frozen=True, slots=True, kw_only=True)
class DropFromTable(Statement):
    """ALTER TABLE … DROP of constraints and columns."""

    table: ObjectName
    columns: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    if_exists: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ToggleConstraints(Statement):
    """ALTER TABLE … [WITH [NO]CHECK] CHECK | NOCHECK CONSTRAINT ALL | names.

    ``names`` is empty for ALL; ``enable`` says CHECK; ``validate`` says WITH CHECK.
    """

    table: ObjectName
    enable: bool
    validate: bool
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateIndex(Statement):
    name: str
    table: ObjectName
    columns: tuple[IndexColumn, ...]
    unique: bool = False
    clustered: bool = False
    include: tuple[str, ...] = ()
    filter: str | None = None


class ObjectKind(enum.Enum):
    TABLE = "table"
    VIEW = "view"
    INDEX = "index"
    SCHEMA = "schema"
    DATABASE = "database"
    PROCEDURE = "procedure"
    FUNCTION = "function"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop(Statement):
    """DROP TABLE, VIEW, INDEX (``table`` is set), SCHEMA, DATABASE, …"""

    kind: ObjectKind
    names: tuple[ObjectName, ...]
    table: ObjectName | None = None
    if_exists: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateView(Statement):
    name: ObjectName
    columns: tuple[str, ...]
    definition: str
    replace: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateSchema(Statement):
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateDatabase(Statement):
    name: str
    collation: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AlterDatabase(Statement):
    """ALTER DATABASE name SET option (``options`` as upper-case words)."""

    name: str
    options: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateAssembly(Statement):
    """CREATE ASSEMBLY name FROM …: only the name is kept."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DropAssembly(Statement):
    name: str
    if_exists: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateClrFunction(Statement):
    """CREATE FUNCTION … AS EXTERNAL NAME ``assembly``.class.method."""

    name: ObjectName
    assembly: str


# --- session and transactions -------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Use(Statement):
    database: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetOption(Statement):
    """SET name value: ``NOCOUNT``/``ON``, ``DATEFORMAT``/``ymd``, ``LOCK_TIMEOUT``/``-1``.

    ``name`` is upper case; several names in one statement become several of these.
    """

    name: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetIsolation(Statement):
    level: Isolation


@dataclass(frozen=True, slots=True, kw_only=True)
class SetIdentityInsert(Statement):
    table: ObjectName
    on: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BeginTransaction(Statement):
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitTransaction(Statement):
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackTransaction(Statement):
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SaveTransaction(Statement):
    name: str


# --- variables and control flow -----------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Declare(Statement):
    """DECLARE @x type [= value]. Names include the ``@``."""

    variables: tuple[tuple[str, SqlType, exp.Expression | None], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclareTable(Statement):
    """DECLARE @t TABLE (…)."""

    name: str
    columns: tuple[ColumnDefinition, ...]
    constraints: tuple[ConstraintDefinition, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SetVariable(Statement):
    """SET @x = value (compound assignment is already spelled out)."""

    name: str
    value: exp.Expression


@dataclass(frozen=True, slots=True, kw_only=True)
class If(Statement):
    condition: exp.Expression
    then: tuple[Statement, ...]
    otherwise: tuple[Statement, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class While(Statement):
    condition: exp.Expression
    body: tuple[Statement, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Block(Statement):
    """BEGIN … END."""

    body: tuple[Statement, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TryCatch(Statement):
    body: tuple[Statement, ...]
    handler: tuple[Statement, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Break(Statement):
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Continue(Statement):
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Return(Statement):
    value: exp.Expression | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Print(Statement):
    value: exp.Expression


@dataclass(frozen=True, slots=True, kw_only=True)
class RaiseError(Statement):
    """RAISERROR (message, severity, state, arguments …)."""

    message: exp.Expression
    severity: exp.Expression
    state: exp.Expression
    arguments: tuple[exp.Expression, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Throw(Statement):
    """THROW number, message, state; all ``None`` to throw again inside CATCH."""

    number: exp.Expression | None = None
    message: exp.Expression | None = None
    state: exp.Expression | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitFor(Statement):
    """WAITFOR DELAY or TIME."""

    value: exp.Expression
    until: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill(Statement):
    session_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """An argument of EXEC: ``name`` includes the ``@`` or is empty."""

    value: exp.Expression | None
    name: str = ""
    output: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Execute(Statement):
    """EXEC procedure arguments; ``result`` is ``@x`` of ``EXEC @x = procedure``."""

    procedure: ObjectName
    arguments: tuple[Argument, ...] = ()
    result: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecuteString(Statement):
    """EXEC (expression)."""

    sql: exp.Expression


# --- parameters ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterDeclaration:
    """One of the declarations of sp_executesql: ``@P1 nvarchar(6) output``."""

    name: str
    type: SqlType
    output: bool = False
    default: exp.Expression | None = None

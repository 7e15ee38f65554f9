"""Foreign keys, CHECK constraints and unique keys on top of SQLite.

SQL Server checks foreign keys when a statement ends, not row by row. The triggers made
here therefore only *note* what looks violated; :meth:`PendingViolations.verify` looks
again at the end of the statement and raises 547 for what is still so.

Source: SQL Server documentation, "Primary and foreign key constraints", "MSSQLSERVER_547",
"MSSQLSERVER_2627", "MSSQLSERVER_2601".
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence

from ..errors import SqlError, error
from ..schema import Check, ForeignKey, Index, IndexKind, ReferentialAction, Table
from ..sqltypes import BINARY_KINDS, StorageValue
from ..tsql.plan import NEXT_ROWVERSION
from .catalog import Catalog
from .storage import Expressions, create_index_sql, drop_index_sql, index_name, quote, rowid_alias

FOREIGN_KEY_FUNCTION = "mssql_foreign_key"
CHECK_FUNCTION = "mssql_check"

_CHILD, _PARENT = 0, 1

DefaultSql = Callable[[Table, str], str]
"""The SQLite expression of a column's default."""


def _conditions(left: Sequence[str], right: Sequence[str], join: str = " AND ") -> str:
    return join.join(f"{a} = {b}" for a, b in zip(left, right, strict=True))


def _columns(names: Sequence[str], row: str) -> list[str]:
    return [f"{row}.{quote(name)}" for name in names]


def foreign_key_triggers(
    child: Table,
    foreign_key: ForeignKey,
    parent: Table,
    schema: str,
    default_sql: DefaultSql,
) -> Iterator[tuple[str, str]]:
    """Name and SQL of the triggers behind one enabled foreign key."""
    number = foreign_key.object_id
    child_name, parent_name = quote(child.storage_name), quote(parent.storage_name)
    columns, keys = foreign_key.columns, foreign_key.referenced_columns
    new_child, old_parent = _columns(columns, "NEW"), _columns(keys, "OLD")

    has_key = " AND ".join(f"{column} IS NOT NULL" for column in new_child)
    no_parent = (
        f"NOT EXISTS (SELECT 1 FROM {parent_name} AS p "
        f"WHERE {_conditions(_columns(keys, 'p'), new_child)})"
    )
    note_child = f"SELECT {FOREIGN_KEY_FUNCTION}({number}, {_CHILD}, {', '.join(new_child)});"
    for event, suffix in (
        ("INSERT", "ci"),
        (f"UPDATE OF {', '.join(map(quote, columns))}", "cu"),
    ):
        name = f"fk_{number}_{suffix}"
        yield (
            name,
            f"CREATE TRIGGER {quote(schema)}.{quote(name)} AFTER {event} ON {child_name} "
            f"WHEN {has_key} AND {no_parent} BEGIN {note_child} END",
        )

    has_child = (
        f"EXISTS (SELECT 1 FROM {child_name} AS c "
        f"WHERE {_conditions(_columns(columns, 'c'), old_parent)})"
    )
    note_parent = f"SELECT {FOREIGN_KEY_FUNCTION}({number}, {_PARENT}, {', '.join(old_parent)});"
    matching = _conditions([quote(column) for column in columns], old_parent)

    version = child.rowversion_column
    renewed = "" if version is None else f", {quote(version.name)} = {NEXT_ROWVERSION}"

    def action(kind: ReferentialAction, cascade: str) -> str:
        if kind is ReferentialAction.CASCADE:
            return cascade
        if kind is ReferentialAction.SET_NULL:
            nulls = ", ".join(f"{quote(column)} = NULL" for column in columns)
            return f"UPDATE {child_name} SET {nulls}{renewed} WHERE {matching};"
        if kind is ReferentialAction.SET_DEFAULT:
            values = ", ".join(
                f"{quote(column)} = {default_sql(child, column)}" for column in columns
            )
            return f"UPDATE {child_name} SET {values}{renewed} WHERE {matching};"
        return note_parent

    delete = action(foreign_key.on_delete, f"DELETE FROM {child_name} WHERE {matching};")
    yield (
        f"fk_{number}_pd",
        f"CREATE TRIGGER {quote(schema)}.{quote(f'fk_{number}_pd')} AFTER DELETE "
        f"ON {parent_name} WHEN {has_child} BEGIN {delete} END",
    )
    moved = ", ".join(
        f"{quote(column)} = {value}"
        for column, value in zip(columns, _columns(keys, "NEW"), strict=True)
    )
    update = action(
        foreign_key.on_update, f"UPDATE {child_name} SET {moved}{renewed} WHERE {matching};"
    )
    differs = " OR ".join(
        f"{old} IS NOT {new}" for old, new in zip(old_parent, _columns(keys, "NEW"), strict=True)
    )
    yield (
        f"fk_{number}_pu",
        f"CREATE TRIGGER {quote(schema)}.{quote(f'fk_{number}_pu')} "
        f"AFTER UPDATE OF {', '.join(map(quote, keys))} ON {parent_name} "
        f"WHEN ({differs}) AND {has_child} BEGIN {update} END",
    )


def check_triggers(
    table: Table, check: Check, schema: str, compile_expression: Expressions
) -> Iterator[tuple[str, str]]:
    """Name and SQL of the triggers behind one enabled CHECK: NULL passes."""
    condition = compile_expression(check.expression, table, "NEW", True)
    for event, suffix in (("INSERT", "i"), ("UPDATE", "u")):
        name = f"ck_{check.object_id}_{suffix}"
        yield (
            name,
            f"CREATE TRIGGER {quote(schema)}.{quote(name)} AFTER {event} "
            f"ON {quote(table.storage_name)} WHEN NOT ({condition}) "
            f"BEGIN SELECT {CHECK_FUNCTION}({check.object_id}); END",
        )


def all_triggers(
    catalog: Catalog,
    table: Table,
    schema: str,
    compile_expression: Expressions,
    default_sql: DefaultSql,
) -> dict[str, str]:
    """The triggers of the constraints that ``table`` declares, by name."""
    triggers: dict[str, str] = {}
    for foreign_key in table.foreign_keys:
        parent = catalog.referenced_table(foreign_key)
        if foreign_key.enabled and parent is not None:
            triggers.update(foreign_key_triggers(table, foreign_key, parent, schema, default_sql))
    for check in table.checks:
        if check.enabled:
            triggers.update(check_triggers(table, check, schema, compile_expression))
    return triggers


# --- violations ---------------------------------------------------------------------------


def foreign_key_conflict(
    catalog: Catalog,
    database: str,
    statement: str,
    child: Table,
    foreign_key: ForeignKey,
    *,
    from_parent: bool,
) -> SqlError:
    """547 as SQL Server words it for either side of a foreign key."""
    parent = catalog.referenced_table(foreign_key) or child
    same = parent.object_id == child.object_id
    if from_parent:
        role = "SAME TABLE REFERENCE" if same else "REFERENCE"
        table, columns = child, foreign_key.columns
    else:
        role = "FOREIGN KEY SAME TABLE" if same else "FOREIGN KEY"
        table, columns = parent, foreign_key.referenced_columns
    column = f", column '{columns[0]}'" if len(columns) == 1 else ""
    return error(
        547,
        statement,
        role,
        foreign_key.name,
        database,
        f"{table.schema}.{table.name}",
        column,
        state=0,
    )


def check_conflict(database: str, statement: str, table: Table, check: Check) -> SqlError:
    column = f", column '{check.column}'" if check.column else ""
    return error(
        547,
        statement,
        "CHECK",
        check.name,
        database,
        f"{table.schema}.{table.name}",
        column,
        state=0,
    )


def orphan_query(child: Table, foreign_key: ForeignKey, parent: Table, schema: str) -> str:
    """SELECT of the child's rows whose parent is missing (no WHERE on a key yet)."""
    columns = _columns(foreign_key.columns, "c")
    keys = _columns(foreign_key.referenced_columns, "p")
    has_key = " AND ".join(f"{column} IS NOT NULL" for column in columns)
    return (
        f"SELECT 1 FROM {quote(schema)}.{quote(child.storage_name)} AS c WHERE {has_key} "
        f"AND NOT EXISTS (SELECT 1 FROM {quote(schema)}.{quote(parent.storage_name)} AS p "
        f"WHERE {_conditions(keys, columns)})"
    )


class PendingViolations:
    """What the triggers noted during the running statement."""

    def __init__(self) -> None:
        self.foreign_keys: dict[tuple[int, int, tuple[StorageValue, ...]], None] = {}
        self.failed_check: int | None = None

    def note_foreign_key(self, number: int, role: int, *key: StorageValue) -> None:
        self.foreign_keys[(number, role, key)] = None

    def clear(self) -> None:
        self.foreign_keys.clear()
        self.failed_check = None

    def verify(
        self,
        connection: sqlite3.Connection,
        catalog: Catalog,
        schema: str,
        database: str,
        statement: str,
    ) -> None:
        """Raise 547 for the first noted violation that still holds."""
        pending = list(self.foreign_keys)
        self.foreign_keys.clear()
        for number, role, key in pending:
            thing = catalog.object_by_id(number)
            if thing is None or not isinstance(thing.item, ForeignKey) or thing.parent is None:
                continue
            child, foreign_key = thing.parent, thing.item
            parent = catalog.referenced_table(foreign_key)
            if parent is None:
                continue
            columns = _columns(foreign_key.columns, "c")
            condition = _conditions(columns, ["?"] * len(key))
            query = orphan_query(child, foreign_key, parent, schema)
            if connection.execute(f"{query} AND {condition} LIMIT 1", key).fetchone():
                raise foreign_key_conflict(
                    catalog,
                    database,
                    statement,
                    child,
                    foreign_key,
                    from_parent=role == _PARENT,
                )


# --- unique keys ----------------------------------------------------------------------------


_COLUMN_MESSAGE = re.compile(r"UNIQUE constraint failed: (?!index ')(.*)", re.DOTALL)
_INDEX_MESSAGE = re.compile(r"UNIQUE constraint failed: index '(.*)'", re.DOTALL)


def violated_index(table: Table, message: str) -> Index | None:
    """Which index of ``table`` SQLite's message is about."""
    if match := _INDEX_MESSAGE.match(message):
        wanted = match.group(1).removesuffix("_nulls")
        return next((i for i in table.indexes if index_name(table, i) == wanted), None)
    if match := _COLUMN_MESSAGE.match(message):
        prefix = table.storage_name + "."
        names = match.group(1)
        for index in table.indexes:
            joined = ", ".join(f"{prefix}{column.name}" for column in index.columns)
            if index.kind.unique and joined.casefold() == names.casefold():
                return index
    return None


def format_key(values: Sequence[StorageValue], table: Table, index: Index) -> str:
    """A key as messages show it: ``(a, 1)``, ``(<NULL>)``."""
    parts = []
    for value, indexed in zip(values, index.columns, strict=True):
        column = table.column(indexed.name)
        if value is None:
            parts.append("<NULL>")
        elif isinstance(value, bytes):
            parts.append("0x" + value.hex())
        elif column is not None and column.type.kind in BINARY_KINDS:
            parts.append(str(value))
        else:
            parts.append(str(value))
    return f"({', '.join(parts)})"


def duplicate_key_error(table: Table, index: Index, key: str) -> SqlError:
    """2627 for constraints, 2601 for unique indexes."""
    name = f"{table.schema}.{table.name}"
    if index.kind is IndexKind.UNIQUE_INDEX:
        return error(2601, name, index.name, key)
    return error(2627, index.kind.value, index.name, name, key)


def find_duplicate(
    connection: sqlite3.Connection, table: Table, index: Index, schema: str, condition: str
) -> tuple[StorageValue, ...] | None:
    """A key that several rows have, or ``None``."""
    columns = ", ".join(quote(column.name) for column in index.columns)
    where = f" WHERE {condition}" if condition else ""
    row: tuple[StorageValue, ...] | None = connection.execute(
        f"SELECT {columns} FROM {quote(schema)}.{quote(table.storage_name)}{where} "
        f"GROUP BY {columns} HAVING count(*) > 1 LIMIT 1"
    ).fetchone()
    return row


def rebuild_unique_index(
    connection: sqlite3.Connection,
    table: Table,
    index: Index,
    schema: str,
    compile_expression: Expressions,
    between: Callable[[], None],
) -> None:
    """Run ``between`` without the index: SQL Server checks uniqueness when the statement
    ends, SQLite after each row, so that swapping two values needs this."""
    for sql in drop_index_sql(table, index, schema):
        connection.execute(sql)
    between()
    for sql in create_index_sql(table, index, schema, compile_expression):
        connection.execute(sql)


def can_rebuild(table: Table, index: Index) -> bool:
    return not (index.kind is IndexKind.PRIMARY_KEY and rowid_alias(table) is not None)

"""A small database for the compiler's tests: a scope, a host and SQLite in memory."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from mssql_async.devserver.errors import SqlError
from mssql_async.devserver.results import ResultColumn
from mssql_async.devserver.schema import (
    Column,
    Default,
    Identity,
    ObjectName,
    Table,
    View,
)
from mssql_async.devserver.sqltypes import SqlType, StorageValue
from mssql_async.devserver.tsql import compiler, runtime, statements
from mssql_async.devserver.tsql.parser import parse_batch, parse_type
from mssql_async.devserver.tsql.plan import (
    OutputBind,
    Plan,
    ResolvedTable,
    SystemRowsBind,
    SystemView,
    VariableBind,
)
from mssql_async.devserver.tsql.typed import quote

Compilable = statements.Query | statements.Insert | statements.Update | statements.Delete


class World:
    """Scope and host in one; :meth:`run` compiles and runs a batch of queries and DML."""

    database = "shop"
    default_schema = "dbo"
    date_first = 7
    date_format = "mdy"
    check_interrupt = False

    def __init__(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.runtime = runtime.install(self.connection, self)
        self.tables: dict[str, Table] = {}
        self.views: dict[str, View] = {}
        self.system_views: dict[str, tuple[SystemView, list[list[Any]]]] = {}
        self.variables: dict[str, tuple[SqlType, StorageValue]] = {}
        self.identities: dict[int, int] = {}
        self.identity_inserts: set[int] = set()
        self.session: dict[str, StorageValue] = {"db_name": "shop", "@@trancount": 0}
        self.scope_identity: int | None = None

    # --- scope ----------------------------------------------------------------------------

    def find_table(self, name: ObjectName) -> ResolvedTable | None:
        if name.schema.lower() not in ("", "dbo"):
            return None
        table = self.tables.get(name.name.lower())
        return table and ResolvedTable(table, quote(table.storage_name))

    def find_view(self, name: ObjectName) -> View | None:
        return self.views.get(name.name.lower())

    def find_system_view(self, name: ObjectName) -> SystemView | None:
        found = self.system_views.get(f"{name.schema}.{name.name}".lower())
        return found[0] if found else None

    def variable_type(self, name: str) -> SqlType | None:
        found = self.variables.get(name.lower())
        return found[0] if found else None

    def identity_insert(self, table: Table) -> bool:
        return table.object_id in self.identity_inserts

    # --- host -----------------------------------------------------------------------------

    def session_function(self, name: str, arguments: Sequence[StorageValue]) -> StorageValue:
        if name == "scope_identity":
            return self.scope_identity
        return self.session.get(name)

    def next_identity(self, object_id: int) -> int:
        self.identities[object_id] = self.scope_identity = self.identities.get(object_id, 0) + 1
        return self.scope_identity

    def note_identity(self, object_id: int, value: int) -> None:
        self.identities[object_id] = max(self.identities.get(object_id, 0), value)
        self.scope_identity = value

    # --- building -------------------------------------------------------------------------

    def create(self, sql: str) -> Table:
        """CREATE TABLE: columns, identity and defaults; the rest is the engine's."""
        (statement,) = parse_batch(sql)
        assert isinstance(statement, statements.CreateTable)
        columns = []
        for position, definition in enumerate(statement.columns, start=1):
            column = Column(
                definition.name,
                definition.type or parse_type("int"),
                nullable=definition.nullable is not False,
                identity=Identity(*definition.identity) if definition.identity else None,
                default=Default("", definition.default.expression) if definition.default else None,
                computed=definition.computed,
                column_id=position,
            )
            columns.append(column)
        name = statement.name.name
        table = Table(1000 + len(self.tables), "dbo", name, name, tuple(columns))
        if any(column.computed for column in columns):
            typed = tuple(
                replace(c, type=compiler.type_table_expression(c.computed, table).type)
                if c.computed
                else c
                for c in columns
            )
            table = replace(table, columns=typed)
        declared = ", ".join(
            compiler.column_definition(column) for column in table.columns if not column.computed
        )
        self.connection.execute(f"CREATE TABLE {quote(name)} ({declared})")
        self.tables[name.lower()] = table
        return table

    def system(self, name: str, columns: dict[str, str], rows: list[list[Any]]) -> None:
        view = SystemView(
            name, tuple(ResultColumn(key, parse_type(text)) for key, text in columns.items())
        )
        self.system_views[name.lower()] = view, rows

    def declare(self, name: str, type_text: str, value: StorageValue) -> None:
        self.variables[name.lower()] = parse_type(type_text), value

    # --- running --------------------------------------------------------------------------

    def compile(self, sql: str) -> Plan:
        (statement,) = parse_batch(sql)
        return compiler.compile_statement(statement, self)  # type: ignore[arg-type]

    def execute(self, plan: Plan) -> list[tuple[StorageValue, ...]]:
        def value(bind: object, row: Sequence[StorageValue] = ()) -> StorageValue:
            if isinstance(bind, VariableBind):
                return self.variables[bind.name.lower()][1]
            if isinstance(bind, SystemRowsBind):
                return json.dumps(self.system_views[bind.view.lower()][1])
            assert isinstance(bind, OutputBind)
            return row[bind.position]

        try:
            rows = self.connection.execute(plan.sql, [value(b) for b in plan.binds]).fetchall()
            if plan.output_into:
                for row in rows:
                    binds = [value(b, row) for b in plan.output_into.binds]
                    self.connection.execute(plan.output_into.sql, binds)
        except sqlite3.Error as failure:
            found = self.runtime.translate(failure)
            if found is not None:
                raise found from None
            failure.add_note(plan.sql)
            raise
        return rows

    def run(self, sql: str) -> list[tuple[StorageValue, ...]]:
        """The rows of the last statement of a batch of queries and modifications."""
        rows: list[tuple[StorageValue, ...]] = []
        for statement in parse_batch(sql):
            if isinstance(statement, statements.SetOption):
                continue
            plan = compiler.compile_statement(statement, self)  # type: ignore[arg-type]
            rows = self.execute(plan)
            for name, value in zip(plan.assigns, rows[-1] if rows else (), strict=False):
                of, _ = self.variables[name.lower()]
                self.variables[name.lower()] = of, value
        return rows

    def value(self, expression: str) -> tuple[str, StorageValue]:
        """The type and the value of an expression."""
        plan = self.compile(f"SELECT {expression}")
        ((value,),) = self.execute(plan)
        return str(plan.columns[0].type), value

    def error(self, sql: str) -> SqlError:
        try:
            self.run(sql)
        except SqlError as failure:
            return failure
        raise AssertionError(f"no error from {sql}")

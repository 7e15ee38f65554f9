"""sp_describe_undeclared_parameters and sp_describe_first_result_set.

Source: SQL Server documentation, "sp_describe_undeclared_parameters", whose rules deduce
a parameter's type from where it stands: the column it is compared with, assigned to or
inserted into, or the other operand. Where nothing says a type, nvarchar(4000) is
suggested (SQL Server then often fails, and drivers fall back to a character type).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlglot import exp

from ... import sqltypes
from ...errors import SqlError
from ...results import ResultColumn
from ...schema import Column, ObjectName
from ...sqltypes import BINARY_KINDS, STRING_KINDS, Kind, SqlType, StorageValue
from ...tsql import compiler, nodes
from ...tsql import statements as st
from ..frames import Frame
from ..outcomes import CompilationFailed
from ..scope import CompileScope
from ..steps import Step
from ..systemviews.types import max_length, numeric_precision, numeric_scale, system_type
from .call import Call
from .prepared import prepare

_FALLBACK = sqltypes.nvarchar(4000)

_COMPARISONS = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE)

_UNDECLARED: tuple[ResultColumn, ...] = (
    ResultColumn("parameter_ordinal", sqltypes.INT, nullable=False),
    ResultColumn("name", sqltypes.SYSNAME, nullable=False),
    ResultColumn("suggested_system_type_id", sqltypes.INT, nullable=False),
    ResultColumn("suggested_system_type_name", sqltypes.nvarchar(256)),
    ResultColumn("suggested_max_length", sqltypes.SMALLINT, nullable=False),
    ResultColumn("suggested_precision", sqltypes.TINYINT, nullable=False),
    ResultColumn("suggested_scale", sqltypes.TINYINT, nullable=False),
    ResultColumn("suggested_user_type_id", sqltypes.INT),
    ResultColumn("suggested_user_type_database", sqltypes.SYSNAME),
    ResultColumn("suggested_user_type_schema", sqltypes.SYSNAME),
    ResultColumn("suggested_user_type_name", sqltypes.SYSNAME),
    ResultColumn("suggested_assembly_qualified_type_name", sqltypes.nvarchar(4000)),
    ResultColumn("suggested_xml_collection_id", sqltypes.INT),
    ResultColumn("suggested_xml_collection_database", sqltypes.SYSNAME),
    ResultColumn("suggested_xml_collection_schema", sqltypes.SYSNAME),
    ResultColumn("suggested_xml_collection_name", sqltypes.SYSNAME),
    ResultColumn("suggested_is_xml_document", sqltypes.BIT, nullable=False),
    ResultColumn("suggested_is_case_sensitive", sqltypes.BIT, nullable=False),
    ResultColumn("suggested_is_fixed_length_clr_type", sqltypes.BIT, nullable=False),
    ResultColumn("suggested_is_input", sqltypes.BIT, nullable=False),
    ResultColumn("suggested_is_output", sqltypes.BIT, nullable=False),
    ResultColumn("formal_parameter_name", sqltypes.SYSNAME),
    ResultColumn("suggested_tds_type_id", sqltypes.INT, nullable=False),
    ResultColumn("suggested_tds_length", sqltypes.INT, nullable=False),
)

_TDS_TYPES = {
    Kind.BIT: 104,
    Kind.TINYINT: 38,
    Kind.SMALLINT: 38,
    Kind.INT: 38,
    Kind.BIGINT: 38,
    Kind.DECIMAL: 106,
    Kind.NUMERIC: 108,
    Kind.MONEY: 110,
    Kind.SMALLMONEY: 110,
    Kind.REAL: 109,
    Kind.FLOAT: 109,
    Kind.CHAR: 175,
    Kind.VARCHAR: 167,
    Kind.TEXT: 35,
    Kind.NCHAR: 239,
    Kind.NVARCHAR: 231,
    Kind.NTEXT: 99,
    Kind.XML: 241,
    Kind.BINARY: 173,
    Kind.VARBINARY: 165,
    Kind.IMAGE: 34,
    Kind.ROWVERSION: 173,
    Kind.DATE: 40,
    Kind.TIME: 41,
    Kind.DATETIME2: 42,
    Kind.DATETIMEOFFSET: 43,
    Kind.DATETIME: 111,
    Kind.SMALLDATETIME: 111,
    Kind.UNIQUEIDENTIFIER: 36,
    Kind.SQL_VARIANT: 98,
}
_MAX_TDS_LENGTH = 65535


class _Inference:
    """Types of the undeclared parameters of a batch."""

    def __init__(self, scope: CompileScope, declared: set[str]) -> None:
        self._scope = scope
        self._declared = declared
        self.found: dict[str, SqlType] = {}
        self.order: dict[str, str] = {}

    def statement(self, statement: st.Statement) -> None:
        tree = getattr(statement, "tree", None)
        if isinstance(tree, exp.Expression):
            self._walk(tree, [])
        for name in ("condition", "value"):
            value = getattr(statement, name, None)
            if isinstance(value, exp.Expression):
                self._walk(value, [])
        if isinstance(statement, st.Declare):
            for _, declared, value in statement.variables:
                if value is not None:
                    self._note(value, declared)
                    self._walk(value, [])
        for name in ("then", "otherwise", "body", "handler"):
            for inner in getattr(statement, name, ()):
                self.statement(inner)

    def _walk(self, node: Any, tables: list[tuple[str, tuple[Column, ...]]]) -> None:
        """Look at every node; ``tables`` are those in scope, innermost query first."""
        if isinstance(node, list | tuple):
            for item in node:
                self._walk(item, tables)
            return
        if not isinstance(node, exp.Expression):
            return
        name = _parameter(node)
        if name:
            self.order.setdefault(name.casefold(), name)
        own = self._tables_of(node)
        if own:
            tables = own + tables
        self._context(node, tables)
        for value in node.args.values():
            self._walk(value, tables)

    def _tables_of(self, node: exp.Expression) -> list[tuple[str, tuple[Column, ...]]]:
        found: list[tuple[str, tuple[Column, ...]]] = []
        for key in ("source", "target"):
            value = node.args.get(key)
            if isinstance(value, ObjectName):
                found.extend(self._table(value, value.name))
            elif isinstance(value, exp.Expression):
                for source in _sources(value):
                    name = source.args["name"]
                    if isinstance(name, ObjectName):
                        alias = source.args.get("alias")
                        found.extend(self._table(name, str(alias or name.name)))
        return found

    def _table(self, name: ObjectName, alias: str) -> list[tuple[str, tuple[Column, ...]]]:
        resolved = self._scope.find_table(name)
        if resolved is not None:
            return [(alias.casefold(), resolved.table.columns)]
        view = self._scope.find_view(name)
        return [(alias.casefold(), view.columns)] if view is not None else []

    def _context(self, node: exp.Expression, tables: list[tuple[str, tuple[Column, ...]]]) -> None:
        if isinstance(node, nodes.InsertStatement):
            self._insert(node, tables)
        elif isinstance(node, nodes.UpdateStatement):
            for item in node.args.get("assignments") or ():
                if isinstance(item, nodes.Assignment):
                    self._note(item.expression, self._type(item.this, tables))
        elif isinstance(node, nodes.Convert):
            self._note(node.this, node.args["to"])
        elif isinstance(node, nodes.Top):
            self._note(node.this, sqltypes.BIGINT)
        elif isinstance(node, exp.In):
            for item in node.args.get("expressions") or ():
                self._note(item, self._type(node.this, tables))
        elif isinstance(node, exp.Between):
            for key in ("low", "high"):
                self._note(node.args.get(key), self._type(node.this, tables))
        elif isinstance(node, exp.Binary):
            self._note(node.expression, self._type(node.this, tables))
            self._note(node.this, self._type(node.expression, tables))
        elif isinstance(node, nodes.SelectQuery):
            for key in ("offset", "fetch"):
                self._note(node.args.get(key), sqltypes.BIGINT)

    def _insert(self, node: exp.Expression, tables: list[tuple[str, tuple[Column, ...]]]) -> None:
        target = node.args.get("target")
        if not isinstance(target, ObjectName):
            return
        resolved = self._scope.find_table(target)
        query = node.args.get("query")
        if resolved is None or not isinstance(query, exp.Expression):
            return
        table = resolved.table
        names = node.args.get("columns") or [
            c.name for c in table.columns if c.identity is None and c.computed is None
        ]
        rows: list[list[Any]] = []
        if isinstance(query, nodes.ValuesQuery):
            rows = [list(getattr(row, "expressions", ())) for row in query.expressions]
        elif isinstance(query, nodes.SelectQuery):
            rows = [[_bare(item) for item in query.expressions]]
        for row in rows:
            for name, value in zip(names, row, strict=False):
                column = table.column(str(name))
                self._note(value, column.type if column is not None else None)

    def _note(self, node: Any, sql_type: SqlType | None) -> None:
        name = _parameter(_bare(node))
        if name and sql_type is not None:
            self.found.setdefault(name.casefold(), sql_type)

    def _type(self, node: Any, tables: list[tuple[str, tuple[Column, ...]]]) -> SqlType | None:
        node = _bare(node)
        if isinstance(node, exp.Column):
            wanted = node.name.casefold()
            qualifier = node.table.casefold() if node.table else ""
            for alias, columns in tables:
                if qualifier and alias != qualifier:
                    continue
                for column in columns:
                    if column.name.casefold() == wanted:
                        return column.type
            return None
        if isinstance(node, nodes.Convert):
            to = node.args["to"]
            return to if isinstance(to, SqlType) else None
        if isinstance(node, exp.Literal):
            if node.is_string:
                return _FALLBACK
            return sqltypes.INT if str(node.this).isdigit() else sqltypes.decimal(38, 19)
        if isinstance(node, exp.Binary) and not isinstance(node, exp.Predicate):
            return self._type(node.this, tables) or self._type(node.expression, tables)
        if isinstance(node, nodes.Call):
            if str(node.this).upper() in ("COUNT", "COUNT_BIG", "LEN", "ABS", "ROW_NUMBER"):
                return sqltypes.BIGINT
            if str(node.this).upper() in ("UPPER", "LOWER", "MAX", "MIN", "SUM", "COALESCE"):
                arguments = node.args.get("expressions") or [None]
                return self._type(arguments[0], tables)
        return None


def _bare(node: Any) -> Any:
    while isinstance(node, exp.Paren | exp.Alias):
        node = node.this
    return node


def _parameter(node: Any) -> str:
    if isinstance(node, exp.Parameter):
        name = node.this if isinstance(node.this, str) else node.name
        return name if name.startswith("@") and not name.startswith("@@") else ""
    return ""


def _sources(node: exp.Expression) -> Iterator[exp.Expression]:
    """The named tables of a FROM clause (not those of derived tables in it)."""
    if isinstance(node, nodes.TableSource):
        yield node
    elif isinstance(node, nodes.JoinSource):
        for key in ("this", "expression"):
            value = node.args.get(key)
            if isinstance(value, exp.Expression):
                yield from _sources(value)


def sp_describe_undeclared_parameters(call: Call) -> Iterator[Step]:
    bound = call.bind("@tsql", "@params")
    text = call.need(bound, "@tsql").text
    params = bound.get("@params")
    prepared = prepare(call.session, params.text if params is not None else "", text)
    inference = _Inference(CompileScope(call.session, Frame()), set(prepared.names))
    for statement in prepared.statements:
        inference.statement(statement)
    rows: list[tuple[StorageValue, ...]] = []
    locals_ = {
        name.casefold()
        for statement in prepared.statements
        if isinstance(statement, st.Declare)
        for name, _, _ in statement.variables
    }
    number = 0
    for folded, name in sorted(inference.order.items(), key=lambda item: _position(item[0])):
        if folded in prepared.names or folded in locals_:
            continue
        number += 1
        rows.append(_undeclared_row(number, name, inference.found.get(folded, _FALLBACK)))
    yield from call.result(_UNDECLARED, rows)


def _position(name: str) -> tuple[int, str]:
    """Drivers name parameters ``@P1``, ``@P2`` …: that is their order."""
    digits = name.removeprefix("@p")
    return (int(digits), name) if digits.isdigit() else (1 << 30, name)


def _undeclared_row(number: int, name: str, sql_type: SqlType) -> tuple[StorageValue, ...]:
    kind = system_type(sql_type)
    length = max_length(sql_type)
    tds_length = _MAX_TDS_LENGTH if length == sqltypes.MAX else length
    return (
        *(number, name, kind.system_type_id, str(sql_type), length),
        *(_described_precision(sql_type), _described_scale(sql_type)),
        *(None, None, None, None, None, None, None, None, None, 0, 0, 0, 1, 0, None),
        *(_TDS_TYPES[sql_type.kind], tds_length),
    )


def _described_precision(sql_type: SqlType) -> int:
    if sql_type.kind in STRING_KINDS or sql_type.kind in BINARY_KINDS:
        return 0
    return numeric_precision(sql_type)


def _described_scale(sql_type: SqlType) -> int:
    if sql_type.kind in STRING_KINDS or sql_type.kind in BINARY_KINDS:
        return 0
    return numeric_scale(sql_type)


_FIRST_RESULT: tuple[ResultColumn, ...] = (
    ResultColumn("is_hidden", sqltypes.BIT, nullable=False),
    ResultColumn("column_ordinal", sqltypes.INT, nullable=False),
    ResultColumn("name", sqltypes.SYSNAME),
    ResultColumn("is_nullable", sqltypes.BIT, nullable=False),
    ResultColumn("system_type_id", sqltypes.INT, nullable=False),
    ResultColumn("system_type_name", sqltypes.nvarchar(256)),
    ResultColumn("max_length", sqltypes.SMALLINT, nullable=False),
    ResultColumn("precision", sqltypes.TINYINT, nullable=False),
    ResultColumn("scale", sqltypes.TINYINT, nullable=False),
    ResultColumn("collation_name", sqltypes.SYSNAME),
    ResultColumn("is_identity_column", sqltypes.BIT),
    ResultColumn("tds_type_id", sqltypes.INT, nullable=False),
    ResultColumn("tds_length", sqltypes.INT, nullable=False),
)


def sp_describe_first_result_set(call: Call) -> Iterator[Step]:
    """The columns that matter of the documented forty."""
    bound = call.bind("@tsql", "@params", "@browse_information_mode")
    params = bound.get("@params")
    prepared = prepare(
        call.session, params.text if params is not None else "", call.need(bound, "@tsql").text
    )
    frame = Frame()
    frame.types = dict(prepared.types)
    frame.declared = dict(prepared.declared)
    rows: list[tuple[StorageValue, ...]] = []
    for statement in prepared.statements:
        if not isinstance(statement, st.Query | st.Insert | st.Update | st.Delete):
            continue
        try:
            plan = compiler.compile_statement(statement, CompileScope(call.session, frame))
        except SqlError as problem:
            raise CompilationFailed(problem) from problem
        if not plan.columns or plan.assigns:
            continue
        for number, column in enumerate(plan.columns, start=1):
            kind = system_type(column.type)
            length = max_length(column.type)
            collated = kind.collated and call.session.current_database.collation
            rows.append(
                (
                    *(0, number, column.name or None, int(column.nullable), kind.system_type_id),
                    *(str(column.type), length, _described_precision(column.type)),
                    *(_described_scale(column.type), collated or None, int(column.identity)),
                    *(_TDS_TYPES[column.type.kind], length),
                )
            )
        break
    yield from call.result(_FIRST_RESULT, rows)

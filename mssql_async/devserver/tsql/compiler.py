"""T-SQL statements, expressions and table expressions into plans.

The doors of this package towards the engine. Everything here is a pure function of its
arguments and of what the :class:`~mssql_async.devserver.tsql.plan.Scope` answers.
"""

from __future__ import annotations

from sqlglot import exp

from ..errors import SqlError
from ..results import Command, ResultColumn
from ..schema import Column, Table
from ..sqltypes import BIT, SqlType
from . import nodes, types
from .job import Job
from .modifications import Modifications
from .names import Names, Source
from .parser import parse_expression, parse_query
from .plan import Plan, Scope
from .sources import table_columns
from .statements import Delete, Insert, Merge, Query, Update
from .typed import Typed, convert, quote

Compilable = Query | Insert | Update | Delete | Merge


def compile_statement(statement: Compilable, scope: Scope) -> Plan:
    """A query or a modification.

    :raises SqlError: with the statement's line, for what SQL Server refuses to compile.
    """
    job = Job(scope)
    if statement.tree.find(nodes.CommonTable) is not None:
        job.most_recursions = _most_recursions(statement.tree)
    compiler = Modifications(job)
    try:
        if isinstance(statement, Query):
            return _query_plan(compiler, statement.tree)
        if isinstance(statement, Insert):
            return compiler.insert(statement.tree)
        if isinstance(statement, Update):
            return compiler.update(statement.tree)
        if isinstance(statement, Delete):
            return compiler.delete(statement.tree)
        return compiler.merge(statement.tree)
    except SqlError as failure:
        failure.line = statement.line
        raise


def _most_recursions(tree: exp.Expression) -> int:
    """OPTION (MAXRECURSION n) of a statement: "When 0 is specified, no limit is applied. If
    this option isn't specified, the default limit … is 100" ("Query hints")."""
    given = (node.args.get("most_recursions") for node in tree.walk())
    return next((number for number in given if number is not None), 100)


def _query_plan(compiler: Modifications, tree: exp.Expression) -> Plan:
    compiled = compiler.query(tree, None, outermost=True)
    job = compiler.job
    columns = tuple(
        ResultColumn(output.name, output.value.type, output.value.nullable, output.value.identity)
        for output in compiled.outputs
    )
    sql, binds = job.finished(compiled.sql)
    return Plan(
        sql=sql,
        binds=binds,
        columns=() if compiled.assigns else columns,
        lock=job.lock,
        assigns=compiled.assigns,
        into=compiled.into,
        uses_system_views=job.uses_system_views,
    )


def compile_expression(
    expression: exp.Expression, scope: Scope, target: SqlType | None = None
) -> Plan:
    """One expression as a query of one row and one column, converted to ``target``."""
    job = Job(scope)
    value = Modifications(job).scalar(expression, Names())
    if target is not None:
        value = convert(value, target)
    column = ResultColumn("", value.type, value.nullable)
    sql, binds = job.finished(f"SELECT {value.sql}")
    return Plan(
        sql=sql,
        binds=binds,
        columns=(column,),
        uses_system_views=job.uses_system_views,
    )


def compile_predicate(expression: exp.Expression, scope: Scope) -> Plan:
    """One condition as a query of one row: 1, 0 or NULL."""
    job = Job(scope)
    condition = Modifications(job).predicate(expression, Names())
    sql, binds = job.finished(f"SELECT {condition}")
    return Plan(
        sql=sql,
        binds=binds,
        columns=(ResultColumn("", BIT),),
        command=Command.NONE,
        uses_system_views=job.uses_system_views,
    )


def _row_names(table: Table, row: str) -> Names:
    names = Names()
    prefix = f"{row}." if row else ""
    names.add(Source(table.name, table_columns(table, prefix)))
    return names


def compile_table_expression(text: str, table: Table, row: str, predicate: bool) -> str:
    """SQL for an expression over one row of a table.

    ``row`` is ``NEW`` or ``OLD`` in a trigger, an alias, or empty for bare columns (an
    index's WHERE). The result binds nothing.
    """
    compiler = Modifications(Job(None))
    tree = parse_expression(text)
    names = _row_names(table, row)
    if predicate:
        return compiler.predicate(tree, names)
    return compiler.scalar(tree, names).sql


def type_table_expression(text: str, table: Table) -> ResultColumn:
    """The type of an expression over a table's row: a computed column's type."""
    value = Modifications(Job(None)).scalar(parse_expression(text), _row_names(table, ""))
    return ResultColumn("", value.type, value.nullable)


def describe_query(text: str, scope: Scope) -> tuple[ResultColumn, ...]:
    """The columns of a query, e.g. of a view being created."""
    return _query_plan(Modifications(Job(scope)), parse_query(text)).columns


def convert_expression(sql: str, from_type: SqlType, to_type: SqlType) -> str:
    """``sql``, SQLite SQL of a value of one type, as SQL of another (ALTER COLUMN)."""
    return convert(Typed(sql, from_type), to_type).sql


def convert_stored(sql: str, from_column: Column, to_column: Column, table: str) -> str:
    """As :func:`convert_expression`, with errors 2628 and 515 as ALTER COLUMN raises them.
    ``table`` is the table as messages write it, ``db.dbo.t``."""
    source = Typed(sql, from_column.type, nullable=from_column.nullable)
    fitted = Modifications._fitted(source, to_column.type, table, to_column.name)  # noqa: SLF001
    if to_column.nullable or not from_column.nullable:
        return fitted
    shown = table.replace("'", "''")
    name = to_column.name.replace("'", "''")
    return f"coalesce({fitted}, ts_null('{shown}', '{name}', 'UPDATE'))"


def column_definition(column: Column) -> str:
    """A column as SQLite declares it: name, affinity and collation."""
    collation = types.collation(column.type)
    declared = f"{quote(column.name)} {types.affinity(column.type)}"
    if collation is None or types.affinity(column.type) == "BLOB":
        return declared
    return f"{declared} COLLATE {collation.value}"

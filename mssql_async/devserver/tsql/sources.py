"""FROM: tables, views, system views, derived tables, table-valued functions, joins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from ..errors import NotSupportedByStandIn, SqlError, error
from ..schema import ObjectName, Table
from ..sqltypes import BIGINT, BIT, INT, MAX, SMALLINT, SqlType, nvarchar
from . import nodes
from .expressions import Expressions, as_string
from .names import Names, Source, SourceColumn
from .typed import Typed, convert, literal, quote

if TYPE_CHECKING:
    from .queries import CommonTable, Compiled

_JOINS = {
    "INNER": "JOIN",
    "LEFT": "LEFT JOIN",
    "RIGHT": "RIGHT JOIN",
    "FULL": "FULL JOIN",
    "CROSS": "CROSS JOIN",
}
DEPTH = '"_depth"'
"""The column of a recursive common table that counts its recursions."""
_UNBOUND = frozenset({207, 4104})


def table_columns(table: Table, prefix: str) -> list[SourceColumn]:
    """A table's columns, read through ``prefix`` (``"alias".``, ``NEW.`` or nothing)."""
    return [
        SourceColumn(
            column.name,
            column.type,
            f"{prefix}{quote(column.name)}",
            nullable=column.nullable,
            base=True,
            identity=column.identity is not None,
            computed=column.computed,
        )
        for column in table.columns
    ]


def _may_miss(sources: list[Source]) -> None:
    """The columns of these sources are NULL where an outer join finds no row."""
    for source in sources:
        source.replace_columns([replace(column, nullable=True) for column in source.columns])


class Sources(Expressions):
    """Compiles FROM. Queries are the subclass's business."""

    def query(
        self,
        node: exp.Expression,
        names: Names | None,
        *,
        targets: Sequence[SqlType] | None = None,
        outermost: bool = False,
        exists: bool = False,
    ) -> Compiled:
        raise NotImplementedError

    def find_common(self, name: ObjectName) -> CommonTable | None:
        raise NotImplementedError

    def derived_columns(
        self, compiled: Compiled, name: str, listed: Sequence[str] | None, prefix: str
    ) -> list[SourceColumn]:
        raise NotImplementedError

    # --- sources --------------------------------------------------------------------------

    def source(self, node: exp.Expression, names: Names) -> str:
        """SQL for FROM; what it brings is added to ``names``."""
        if isinstance(node, nodes.JoinSource):
            return self._join(node, names)
        if isinstance(node, nodes.TableSource):
            return self._table(node, names)
        if isinstance(node, nodes.QuerySource):
            return self._derived(node, names)
        return self._function(node, names)

    def _join(self, node: exp.Expression, names: Names) -> str:
        start = len(names.sources)
        left = self.source(node.this, names)
        middle = len(names.sources)
        kind: str = node.args["kind"]
        right_node = node.args["expression"]
        if kind in ("CROSS APPLY", "OUTER APPLY"):
            return left + self._apply(right_node, names, outer=kind.startswith("OUTER"))
        right = self.source(right_node, names)
        if isinstance(right_node, nodes.JoinSource):
            right = f"({right})"
        if kind == "CROSS":
            return f"{left} CROSS JOIN {right}"
        before = names.aggregates
        names.aggregates = 147
        condition = self.predicate(node.args["on"], names)
        names.aggregates = before
        if kind in ("RIGHT", "FULL"):
            _may_miss(names.sources[start:middle])
        if kind in ("LEFT", "FULL"):
            _may_miss(names.sources[middle:])
        return f"{left} {_JOINS[kind]} {right} ON {condition}"

    def _apply(self, node: exp.Expression, names: Names, *, outer: bool) -> str:
        word = "LEFT JOIN" if outer else "CROSS JOIN"
        on = " ON 1" if outer else ""
        before = len(names.sources)
        try:
            sql = self.source(node, names)
        except SqlError as failure:
            if failure.number not in _UNBOUND or isinstance(node, nodes.FunctionSource):
                raise
        else:
            if outer:
                _may_miss(names.sources[before:])
            return f" {word} {sql}{on}"
        query = node.args.get("query")
        if isinstance(query, nodes.SelectQuery) and self._is_plain_row(query):
            self._inline_row(node, query, names)
            return ""
        raise NotSupportedByStandIn("APPLY of a query that reads the rows beside it")

    @staticmethod
    def _is_plain_row(query: exp.Expression) -> bool:
        wanted = ("source", "where", "group", "having", "top", "order", "distinct")
        return not any(query.args.get(part) for part in wanted)

    def _inline_row(self, node: exp.Expression, query: exp.Expression, names: Names) -> None:
        """CROSS APPLY (SELECT a + b AS c): its columns are expressions over the row."""
        inner = Names(names)
        columns: list[SourceColumn] = []
        listed = node.args.get("columns")
        for position, item in enumerate(query.expressions):
            name = item.args["alias"].this if isinstance(item, exp.Alias) else ""
            value = self.scalar(item.this if isinstance(item, exp.Alias) else item, inner)
            if listed is not None:
                name = listed[position]
            elif not name and isinstance(item, exp.Column):
                name = item.this.this
            if not name:
                raise error(8155, position + 1, node.args["alias"])
            columns.append(
                SourceColumn(
                    name,
                    value.type,
                    f"({value.sql})",
                    nullable=value.nullable,
                    implicit=value.implicit or value.explicit,
                )
            )
        names.add(Source(node.args["alias"], columns, aliased=True))

    # --- tables and views -----------------------------------------------------------------

    def _table(self, node: exp.Expression, names: Names) -> str:
        name: ObjectName = node.args["name"]
        hints: tuple[str, ...] = node.args.get("hints") or ()
        alias = node.args.get("alias") or name.name
        aliased = bool(node.args.get("alias"))
        prefix = f"{quote(alias)}."
        common = self.find_common(name)
        if common is not None:
            columns = [replace(c, sql=prefix + c.sql) for c in common.columns]
            depth = prefix + DEPTH if common.recursing else ""
            names.add(Source(alias, columns, aliased=aliased, depth=depth))
            return f"{common.sqlite_name} AS {quote(alias)}"
        scope = self.job.require_scope("a table")
        found = scope.find_table(name)
        if found is not None:
            self.job.want_lock(hints)
            columns = table_columns(found.table, prefix)
            full = ObjectName(found.table.name, found.table.schema, name.database)
            names.add(Source(alias, columns, full, aliased=aliased))
            return f"{found.sqlite_name} AS {quote(alias)}"
        system = scope.find_system_view(name)
        if system is not None:
            rows = self.job.system_view(system)
            columns = [
                SourceColumn(c.name, c.type, prefix + quote(c.name), nullable=c.nullable)
                for c in system.columns
            ]
            names.add(Source(alias, columns, name, aliased=aliased))
            return f"{rows} AS {quote(alias)}"
        return self._view(name, alias, names, aliased=aliased)

    def _view(self, name: ObjectName, alias: str, names: Names, *, aliased: bool) -> str:
        from .parser import parse_query

        scope = self.job.require_scope("a view")
        view = scope.find_view(name)
        if view is None:
            if name.name.startswith("@"):
                raise error(1087, name.name)
            raise error(208, name)
        if view.name in self.job.views:
            raise error(4429, view.name)
        self.job.views.append(view.name)
        try:
            compiled = self.query(parse_query(view.definition), None)
        finally:
            self.job.views.pop()
        listed = [column.name for column in view.columns] or None
        columns = self.derived_columns(compiled, view.name, listed, f"{quote(alias)}.")
        full = ObjectName(view.name, view.schema, name.database)
        names.add(Source(alias, columns, full, aliased=aliased))
        return f"({compiled.sql}) AS {quote(alias)}"

    def _derived(self, node: exp.Expression, names: Names) -> str:
        """A derived table sees the queries around its own, not its neighbours."""
        alias: str = node.args["alias"]
        compiled = self.query(node.args["query"], names.parent)
        columns = self.derived_columns(
            compiled, alias, node.args.get("columns"), f"{quote(alias)}."
        )
        if compiled.rows:
            return self._rows_of_aggregates(compiled, columns, alias, names)
        names.add(Source(alias, columns, aliased=True))
        return f"({compiled.sql}) AS {quote(alias)}"

    @staticmethod
    def _rows_of_aggregates(
        compiled: Compiled, columns: list[SourceColumn], alias: str, names: Names
    ) -> str:
        """VALUES with aggregates of the query around it, as mssql-django writes GREATEST and
        LEAST. SQLite finds the query that an aggregate belongs to from the arguments of a
        table-valued function, and not from a SELECT in FROM."""
        cells = [
            replace(column, sql=f"ts_cell({quote(alias)}.value, {position})")
            for position, column in enumerate(columns)
        ]
        names.add(Source(alias, cells, aliased=True))
        values = ", ".join(value.sql for row in compiled.rows for value in row)
        rows = f"(SELECT ts_values({len(columns)}, {values}))"
        return f"json_each({rows}) AS {quote(alias)}"

    # --- table-valued functions -------------------------------------------------------------

    def _function(self, node: exp.Expression, names: Names) -> str:
        call = node.args["call"]
        name: str = call.args["this"]
        alias = node.args.get("alias") or name.lower()
        arguments = self.scalars(call.expressions, names)
        rows, columns = ROWSETS[name](self, node, arguments, quote(alias))
        listed = node.args.get("columns")
        if listed:
            if len(listed) != len(columns):
                raise error(8158 if len(columns) > len(listed) else 8159, alias)
            columns = [replace(c, name=n) for c, n in zip(columns, listed, strict=True)]
        names.add(Source(alias, columns, aliased=True))
        return f"json_each({rows}) AS {quote(alias)}"


def _openjson(
    _: Sources, node: exp.Expression, arguments: list[Typed], alias: str
) -> tuple[str, list[SourceColumn]]:
    if not 1 <= len(arguments) <= 2:
        raise error(174, "openjson", 1)
    text = as_string(arguments[0], "openjson").sql
    path = as_string(arguments[1], "openjson").sql if len(arguments) == 2 else "'$'"
    schema: tuple[tuple[str, SqlType, str | None, bool], ...] | None = node.args.get("schema")
    if schema is None:
        fields: list[tuple[str, SqlType]] = [
            ("key", nvarchar(4000)),
            ("value", nvarchar(MAX)),
            ("type", INT),
        ]
        columns = [
            SourceColumn(name, of, f"json_extract({alias}.value, '$[{i}]')")
            for i, (name, of) in enumerate(fields)
        ]
        return f"ts_openjson({text}, {path})", columns
    columns = []
    for name, of, written, as_json in schema:
        found = literal(written if written is not None else f'$."{name}"')
        function = "ts_json_query" if as_json else "ts_json_value"
        value = Typed(f"{function}({alias}.value, {found})", nvarchar(MAX))
        columns.append(SourceColumn(name, of, convert(value, of, explicit=True).sql))
    return f"ts_openjson_rows({text}, {path})", columns


def _string_split(
    _: Sources, __: exp.Expression, arguments: list[Typed], alias: str
) -> tuple[str, list[SourceColumn]]:
    if not 2 <= len(arguments) <= 3:
        raise error(189, "string_split", 2, 3)
    text = as_string(arguments[0], "string_split")
    separator = as_string(arguments[1], "string_split")
    columns = [SourceColumn("value", text.type, f"{alias}.value", nullable=False)]
    if len(arguments) == 3:
        columns.append(SourceColumn("ordinal", BIGINT, f"({alias}.key + 1)", nullable=False))
    return f"ts_string_split({text.sql}, {separator.sql})", columns


def _generate_series(
    _: Sources, __: exp.Expression, arguments: list[Typed], alias: str
) -> tuple[str, list[SourceColumn]]:
    if not 2 <= len(arguments) <= 3:
        raise error(189, "generate_series", 2, 3)
    start, stop = (convert(value, BIGINT).sql for value in arguments[:2])
    step = (
        convert(arguments[2], BIGINT).sql if len(arguments) == 3 else f"({start} <= {stop}) * 2 - 1"
    )
    columns = [SourceColumn("value", arguments[0].type, f"{alias}.value", nullable=False)]
    return f"ts_series({start}, {stop}, {step})", columns


def _sql_text(
    _: Sources, __: exp.Expression, arguments: list[Typed], alias: str
) -> tuple[str, list[SourceColumn]]:
    return _system_rows(
        "dm_exec_sql_text",
        arguments,
        1,
        alias,
        ("dbid", SMALLINT),
        ("objectid", INT),
        ("number", SMALLINT),
        ("encrypted", BIT),
        ("text", nvarchar(MAX)),
    )


def _input_buffer(
    _: Sources, __: exp.Expression, arguments: list[Typed], alias: str
) -> tuple[str, list[SourceColumn]]:
    return _system_rows(
        "dm_exec_input_buffer",
        arguments,
        2,
        alias,
        ("event_type", nvarchar(256)),
        ("parameters", SMALLINT),
        ("event_info", nvarchar(MAX)),
    )


def _system_rows(
    name: str, arguments: list[Typed], wanted: int, alias: str, *fields: tuple[str, SqlType]
) -> tuple[str, list[SourceColumn]]:
    """A function that the session answers, with an array of arrays."""
    if len(arguments) < wanted:
        raise error(313, f"sys.{name}", state=3)
    if len(arguments) > wanted:
        raise error(8144, f"sys.{name}", state=3)
    columns = [
        SourceColumn(field, of, f"json_extract({alias}.value, '$[{position}]')")
        for position, (field, of) in enumerate(fields)
    ]
    given = "".join(f", {argument.sql}" for argument in arguments)
    return f"ts_session({literal(name)}{given})", columns


ROWSETS: dict[str, Any] = {
    "OPENJSON": _openjson,
    "STRING_SPLIT": _string_split,
    "GENERATE_SERIES": _generate_series,
    "DM_EXEC_SQL_TEXT": _sql_text,
    "DM_EXEC_INPUT_BUFFER": _input_buffer,
}

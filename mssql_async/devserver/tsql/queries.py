"""SELECT into SQLite SQL.

Source: T-SQL reference, "SELECT", "FROM", "ORDER BY clause", "TOP", "Set operators",
"WITH common_table_expression", "Subqueries".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlglot import exp

from ..errors import NotSupportedByStandIn, error
from ..schema import ObjectName, Table
from ..sqltypes import BIGINT, INT, STRING_KINDS, Kind, SqlType
from . import nodes, types
from .expressions import Expressions, with_collation
from .grouping import check_group_list, check_grouping
from .job import Job
from .names import Names, Source, SourceColumn
from .plan import ResolvedTable
from .sources import DEPTH, Sources
from .typed import Typed, align, compared, convert, operand, quote

ROW_NUMBER = "$row"
"""The column of a common table through which rows are modified: no name of T-SQL's."""


@dataclass(frozen=True, slots=True)
class Output:
    """A column of a query's result: its name in T-SQL (may be empty) and its value."""

    name: str
    value: Typed
    #: For ``*`` and for ORDER BY: the expression as written, if it was.
    node: exp.Expression | None = None


@dataclass(frozen=True, slots=True)
class Compiled:
    """A query: ``sql`` is a SELECT whose columns are called ``_1``, ``_2`` …"""

    sql: str
    outputs: tuple[Output, ...]
    single: bool = False
    assigns: tuple[str, ...] = ()
    into: ObjectName | None = None
    ordered: bool = False
    limited: bool = False
    #: The rows of VALUES where aggregates of the query around it stand in them.
    rows: tuple[tuple[Typed, ...], ...] = ()

    @property
    def types(self) -> list[SqlType]:
        return [output.value.type for output in self.outputs]


@dataclass(slots=True)
class CommonTable:
    """A WITH table that may be read: its name in SQLite and its columns."""

    sqlite_name: str
    columns: list[SourceColumn]
    #: While its own recursive part is compiled: rows bring the depth they were found at.
    recursing: bool = False


_COMPARISONS: dict[type[exp.Expr], tuple[str, str]] = {
    exp.EQ: ("=", "equal to"),
    exp.NEQ: ("<>", "not equal to"),
    exp.LT: ("<", "less than"),
    exp.LTE: ("<=", "less than or equal to"),
    exp.GT: (">", "greater than"),
    exp.GTE: (">=", "greater than or equal to"),
}


class Queries(Sources, Expressions):
    """Compiles queries; FROM is the business of :class:`.sources.Sources`."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.commons: list[dict[str, CommonTable]] = []
        #: A query whose rows are wanted with SQLite's numbers of them, and those numbers' name.
        self.numbered: tuple[exp.Expression, str] | None = None

    # --- queries --------------------------------------------------------------------------

    def query(
        self,
        node: exp.Expression,
        names: Names | None,
        *,
        targets: Sequence[SqlType] | None = None,
        outermost: bool = False,
        exists: bool = False,
    ) -> Compiled:
        """A query inside ``names``; ``targets`` are types its columns must take."""
        ctes = node.args.get("ctes")
        if ctes:
            self.commons.append({})
            for cte in ctes:
                self._define(cte)
        try:
            if isinstance(node, nodes.SetOperation):
                return self._set_operation(node, names, targets, outermost=outermost)
            if isinstance(node, nodes.ValuesQuery):
                return self._values(node, names, targets)
            return self._select(node, names, targets, outermost=outermost, exists=exists)
        finally:
            if ctes:
                self.commons.pop()

    # --- WITH -----------------------------------------------------------------------------

    def find_common(self, name: ObjectName) -> CommonTable | None:
        if name.schema or name.database:
            return None
        for level in reversed(self.commons):
            found = level.get(name.name.casefold())
            if found is not None:
                return found
        return None

    def _define(self, cte: exp.Expression) -> None:
        name: str = cte.this
        sqlite_name = quote(f"{name}${len(self.job.tables)}")
        query: exp.Expression = cte.args["query"]
        folded = name.casefold()
        if _mentions(query, folded):
            self._define_recursive(cte, query, sqlite_name)
            return
        compiled = self.query(query, None)
        columns = self.derived_columns(compiled, name, cte.args.get("columns"), "")
        self._register(name, sqlite_name, compiled.sql, columns)

    def _define_recursive(
        self, cte: exp.Expression, query: exp.Expression, sqlite_name: str
    ) -> None:
        name: str = cte.this
        parts: list[exp.Expression] = []
        anchor_node = query
        while _adds_all(anchor_node) and _mentions(anchor_node.args["expression"], name.casefold()):
            parts.insert(0, anchor_node.args["expression"])
            anchor_node = anchor_node.this
        if not parts:
            raise error(252, name)
        if _mentions(anchor_node, name.casefold()):
            raise error(246, name)
        anchor = self.query(anchor_node, None)
        columns = self.derived_columns(anchor, name, cte.args.get("columns"), "")
        self.commons[-1][name.casefold()] = CommonTable(sqlite_name, columns, recursing=True)
        recursive = [self._recursive_part(part, anchor, columns, name) for part in parts]
        self.job.recursive = True
        listed = ", ".join(
            _collated(f'"_{i}"', output.value) for i, output in enumerate(anchor.outputs, start=1)
        )
        first = f"SELECT {listed}, 0 FROM ({anchor.sql})"
        self._register(name, sqlite_name, " UNION ALL ".join([first, *recursive]), columns, DEPTH)

    def _recursive_part(
        self, node: exp.Expression, anchor: Compiled, columns: list[SourceColumn], name: str
    ) -> str:
        """One recursive member: "the data type of a column in the recursive member must be
        the same as the data type of the corresponding column in the anchor member"."""
        recursive = self.query(node, None)
        if len(recursive.outputs) != len(anchor.outputs):
            raise error(205)
        for first, output, column in zip(anchor.outputs, recursive.outputs, columns, strict=True):
            if not _same_type(first.value, output.value):
                raise error(240, column.name, name)
        return self.query(node, None, targets=anchor.types).sql

    def _register(
        self,
        name: str,
        sqlite_name: str,
        sql: str,
        columns: list[SourceColumn],
        *more: str,
    ) -> None:
        listed = ", ".join([*(f'"_{i}"' for i in range(1, len(columns) + 1)), *more])
        self.job.tables[sqlite_name] = f"{sqlite_name}({listed}) AS ({sql})"
        self.commons[-1][name.casefold()] = CommonTable(sqlite_name, columns)

    def derived_columns(
        self,
        compiled: Compiled,
        name: str,
        listed: Sequence[str] | None,
        prefix: str,
    ) -> list[SourceColumn]:
        """The columns of a derived table: named, and each name once."""
        outputs = compiled.outputs
        if listed is not None and len(listed) != len(outputs):
            raise error(8158 if len(outputs) > len(listed) else 8159, name)
        columns: list[SourceColumn] = []
        seen: set[str] = set()
        for position, output in enumerate(outputs, start=1):
            column_name = output.name if listed is None else listed[position - 1]
            if not column_name:
                raise error(8155, position, name)
            folded = column_name.casefold()
            if folded in seen:
                raise error(8156, column_name, name)
            seen.add(folded)
            value = output.value
            columns.append(
                SourceColumn(
                    column_name,
                    value.type,
                    f'{prefix}"_{position}"',
                    nullable=value.nullable,
                    identity=value.identity,
                    implicit=value.implicit or value.explicit,
                )
            )
        return columns

    # --- SELECT ---------------------------------------------------------------------------

    def _select(
        self,
        node: exp.Expression,
        parent: Names | None,
        targets: Sequence[SqlType] | None,
        *,
        outermost: bool,
        exists: bool,
    ) -> Compiled:
        args = node.args
        names = Names(parent)
        source = "" if args.get("source") is None else f" FROM {self.source(args['source'], names)}"
        where = ""
        if args.get("where") is not None:
            names.aggregates = 147
            where = f" WHERE {self.predicate(args['where'], names)}"
            names.aggregates = None
        check_group_list(args.get("group") or ())
        group = [self.scalar(item, names) for item in args.get("group") or ()]
        if any(value.constant for value in group):
            raise error(164)
        names.windows = True
        assigns = self._assigned(node)
        outputs = self._outputs(node, names)
        names.windows = False
        if self.numbered is not None and self.numbered[0] is node:
            row = f"{quote(names.sources[0].alias)}.{self.numbered[1]}"
            outputs.append(Output(ROW_NUMBER, Typed(row, BIGINT, nullable=False)))
        having = ""
        if args.get("having") is not None:
            having = f" HAVING {self.predicate(args['having'], names)}"
        if targets is not None:
            outputs = _retyped(outputs, targets)
        order = args.get("order") or []
        if order and not outermost and args.get("top") is None and args.get("offset") is None:
            raise error(1033)
        names.windows = True
        ordering = self._order(order, outputs, names, distinct=bool(args.get("distinct")))
        if group or names.aggregated:
            check_grouping(node, names)
        limit, limited = self._limit(args, names)
        distinct = "DISTINCT " if args.get("distinct") else ""
        grouping = f" GROUP BY {', '.join(v.collated() for v in group)}" if group else ""
        listed = "1" if exists and not (group or names.aggregated or distinct) else _listed(outputs)
        depth = next((source.depth for source in names.sources if source.depth), "")
        if depth:
            listed += f", ts_deeper({depth}, {self.job.most_recursions})"
        sql = f"SELECT {distinct}{listed}{source}{where}{grouping}{having}{ordering}{limit}"
        into = args.get("into")
        if into is not None:
            if not outermost:
                raise error(156, "INTO")
            if any(not output.name for output in outputs):
                raise error(1038)
        return Compiled(
            sql,
            tuple(outputs),
            single=(names.aggregated and not group) or not source or _top_one(args),
            assigns=assigns,
            into=into,
            ordered=bool(order),
            limited=limited,
        )

    def _assigned(self, node: exp.Expression) -> tuple[str, ...]:
        items = node.expressions
        assigning = [item for item in items if isinstance(item, nodes.Assignment)]
        if not assigning:
            return ()
        if len(assigning) != len(items):
            raise error(141)
        assigned = tuple(item.this.this for item in assigning)
        if node.args.get("source") is not None and not _top_one(node.args):
            folded = {name.casefold() for name in assigned}
            for item in assigning:
                for used in item.args["expression"].find_all(exp.Parameter):
                    if used.this.casefold() in folded:
                        raise NotSupportedByStandIn("SELECT @x = @x … over the rows of a table")
        return assigned

    def _outputs(self, node: exp.Expression, names: Names) -> list[Output]:
        outputs: list[Output] = []
        for item in node.expressions:
            if isinstance(item, exp.Star):
                if not names.sources:
                    raise error(263)
                for source in names.sources:
                    outputs += self._all_of(source, names)
            elif isinstance(item, exp.Column) and isinstance(item.this, exp.Star):
                parts = ("table", "db", "catalog")
                qualifiers = [item.args[part].this for part in parts if item.args.get(part)]
                outputs += self._all_of(names.source_named(qualifiers), names)
            elif isinstance(item, nodes.Assignment):
                variable = self.job.variable(item.this.this)
                value = self.scalar(item.args["expression"], names)
                outputs.append(Output("", convert(value, variable.type), item))
            elif isinstance(item, exp.Alias):
                outputs.append(
                    Output(item.args["alias"].this, self.scalar(item.this, names), item.this)
                )
            else:
                value = self.scalar(item, names)
                inner = item
                while isinstance(inner, exp.Paren):
                    inner = inner.this
                name = ""
                if isinstance(inner, exp.Column):
                    name = self._spelled(inner, names)
                outputs.append(Output(name, value, item))
        return outputs

    def _spelled(self, column: exp.Column, names: Names) -> str:
        """A column's name as its table spells it."""
        qualifiers = [
            column.args[part].this for part in ("table", "db", "catalog") if column.args.get(part)
        ]
        return names.find(column.this.this, qualifiers)[1].name

    def _all_of(self, source: Source, names: Names) -> list[Output]:
        outputs = []
        for column in source.columns:
            node = exp.Column(
                this=exp.Identifier(this=column.name, quoted=True),
                table=exp.Identifier(this=source.alias, quoted=True),
            )
            only = Names()
            only.sources = [source]
            outputs.append(Output(column.name, self.scalar(node, only), node))
        return outputs

    def _order(
        self,
        items: Sequence[exp.Expression],
        outputs: list[Output],
        names: Names,
        *,
        distinct: bool,
    ) -> str:
        parts = []
        for item in items:
            position = self._position(item.this, outputs)
            if position is not None:
                sql = str(position)
            else:
                value = self.scalar(item.this, names)
                if distinct and all(value.sql != output.value.sql for output in outputs):
                    raise error(145)
                sql = f"({value.sql})" if value.constant else value.collated()
            parts.append(sql + (" DESC" if item.args["descending"] else ""))
        return f" ORDER BY {', '.join(parts)}" if parts else ""

    def _position(self, node: exp.Expression, outputs: Sequence[Output]) -> int | None:
        """The place in the select list that an ORDER BY item means, if it means one."""
        if isinstance(node, exp.Literal) and not node.args["is_string"]:
            if not node.this.isdigit():
                return None
            position = int(node.this)
            if not 1 <= position <= len(outputs):
                raise error(108, position)
            return position
        if isinstance(node, exp.Column) and not node.args.get("table"):
            folded = node.this.this.casefold()
            found = [
                position
                for position, output in enumerate(outputs, start=1)
                if output.name.casefold() == folded
            ]
            if len(found) > 1 and len({outputs[i - 1].value.sql for i in found}) > 1:
                raise error(209, node.this.this)
            if found:
                return found[0]
        for position, output in enumerate(outputs, start=1):
            if output.node is not None and output.node == node:
                return position
        return None

    def _limit(self, args: dict[str, exp.Expression], names: Names) -> tuple[str, bool]:
        top, offset, fetch = args.get("top"), args.get("offset"), args.get("fetch")
        if top is not None:
            if offset is not None:
                raise error(10741)
            return f" LIMIT {self._rows(top.this, 'TOP')}", True
        if offset is None:
            return "", False
        skip = self._rows(offset, "OFFSET")
        if fetch is not None:
            return f" LIMIT {self._rows(fetch, 'FETCH')} OFFSET {skip}", True
        return ("", False) if skip == "0" else (f" LIMIT -1 OFFSET {skip}", True)

    def _rows(self, node: exp.Expression, clause: str) -> str:
        value = self.scalar(node, Names())
        if value.type.kind in STRING_KINDS or value.null:
            raise error(1060)
        value = convert(value, BIGINT)
        if value.constant and isinstance(value.value, int) and value.value >= 0:
            if clause == "FETCH" and value.value == 0:
                raise error(10743)
            return str(value.value)
        return f"ts_rows({value.sql}, '{clause}')"

    # --- set operations and VALUES --------------------------------------------------------

    def _set_operation(
        self,
        node: exp.Expression,
        names: Names | None,
        targets: Sequence[SqlType] | None,
        *,
        outermost: bool,
    ) -> Compiled:
        left_node, right_node = node.this, node.args["expression"]
        left, right = self.query(left_node, names), self.query(right_node, names)
        if len(left.outputs) != len(right.outputs):
            raise error(205)
        if targets is None:
            targets = [
                _met(a.value, b.value) for a, b in zip(left.outputs, right.outputs, strict=True)
            ]
        if left.types != list(targets):
            left = self.query(left_node, names, targets=targets)
        if right.types != list(targets):
            right = self.query(right_node, names, targets=targets)
        outputs = tuple(
            Output(
                a.name,
                with_collation(
                    Typed(
                        f'"_{position}"',
                        a.value.type,
                        nullable=a.value.nullable or b.value.nullable,
                    ),
                    [a.value, b.value],
                ),
                a.node,
            )
            for position, (a, b) in enumerate(
                zip(left.outputs, right.outputs, strict=True), start=1
            )
        )
        order = node.args.get("order") or []
        if order and not outermost and node.args.get("offset") is None:
            raise error(1033)
        parts = []
        for item in order:
            position = self._position(item.this, outputs) or _column_position(item.this, outputs)
            if position is None:
                raise error(104)
            parts.append(f"{position}{' DESC' if item.args['descending'] else ''}")
        ordering = f" ORDER BY {', '.join(parts)}" if parts else ""
        limit, limited = self._limit(node.args, Names())
        left_sql = _operand_sql(left_node, left)
        # SQLite takes all operators from left to right: the right side stands in brackets.
        right_sql = _operand_sql(right_node, right, right=True)
        sql = f"{left_sql} {node.args['kind']} {right_sql}{ordering}{limit}"
        return Compiled(sql, outputs, ordered=bool(order), limited=limited)

    def _values(
        self, node: exp.Expression, names: Names | None, targets: Sequence[SqlType] | None
    ) -> Compiled:
        inner = Names(names)
        rows = [
            [self.scalar(value, inner) for value in row.expressions] for row in node.expressions
        ]
        width = len(rows[0])
        if any(len(row) != width for row in rows):
            raise error(10709)
        outputs = []
        for position in range(width):
            column = [row[position] for row in rows]
            of = targets[position] if targets is not None else _common(column)
            for row in rows:
                row[position] = convert(row[position], of)
            value = Typed(
                f'"_{position + 1}"', of, nullable=any(value.nullable for value in column)
            )
            outputs.append(Output("", with_collation(value, column)))
        if inner.aggregated and names is not None:
            # VALUES has no rows to aggregate: they are those of the query around it.
            names.require_aggregates()
            return Compiled("", tuple(outputs), rows=tuple(map(tuple, rows)))
        if len(rows) > 400:
            # A compound SELECT has 500 members at most, VALUES any number of rows.
            listed = ", ".join(
                f'{_collated(f"column{i}", output.value)} AS "_{i}"'
                for i, output in enumerate(outputs, start=1)
            )
            body = ", ".join(f"({', '.join(value.sql for value in row)})" for row in rows)
            return Compiled(f"SELECT {listed} FROM (VALUES {body})", tuple(outputs))
        selects = []
        for row in rows:
            items = ", ".join(
                f'{_collated(value.sql, outputs[i - 1].value)} AS "_{i}"'
                for i, value in enumerate(row, start=1)
            )
            selects.append(f"SELECT {items}")
        return Compiled(" UNION ALL ".join(selects), tuple(outputs))

    # --- subqueries -----------------------------------------------------------------------

    def _one_column(
        self, query: exp.Expression, names: Names, targets: Sequence[SqlType] | None = None
    ) -> Compiled:
        compiled = self.query(query, names, targets=targets)
        if len(compiled.outputs) != 1:
            raise error(116)
        if compiled.assigns:
            raise error(102, "=")
        return compiled

    def scalar_subquery(self, query: exp.Expression, names: Names) -> Typed:
        compiled = self._one_column(query, names)
        value = compiled.outputs[0].value
        sql = f"({compiled.sql})"
        if not compiled.single:
            sql = f'(SELECT ts_single("_1") FROM {sql})'
        return Typed(sql, value.type, explicit=value.explicit, implicit=value.implicit)

    def exists(self, query: exp.Expression, names: Names) -> str:
        return f"EXISTS ({self.query(query, names, exists=True).sql})"

    def in_query(self, left: Typed, query: exp.Expression, names: Names) -> str:
        compiled = self._one_column(query, names)
        value = compiled.outputs[0].value
        probe = Typed('"_1"', value.type, implicit=value.implicit, explicit=value.explicit)
        a, b, wanted = align(left, probe, "equal to")
        inner = compiled.sql
        if b.sql != probe.sql:
            inner = f"SELECT {b.sql} FROM ({inner})"
        side = operand(a, wanted)
        if wanted is not None and side == a.sql and types.collation(b.type) is not wanted:
            # The rows name a collation of their own, to which SQLite gives precedence.
            side = f"{a.sql} COLLATE {wanted.value}"
        return f"({side} IN ({inner}))"

    def quantified(self, node: exp.Expression, names: Names) -> str:
        """``x > ALL (…)``: no row for which it is not so."""
        left = self.scalar(node.this, names)
        compiled = self._one_column(node.args["query"], names)
        value = compiled.outputs[0].value
        probe = Typed('"_q"."_1"', value.type, implicit=value.implicit)
        symbol, name = _COMPARISONS[node.args["operator"]]
        condition = compared(left, probe, symbol, name)
        rows = f'(SELECT "_1" FROM ({compiled.sql})) AS "_q"'
        if node.args["every"]:
            return (
                f"(CASE WHEN EXISTS (SELECT 1 FROM {rows} WHERE NOT {condition}) THEN 0 "
                f"WHEN EXISTS (SELECT 1 FROM {rows} WHERE {condition} IS NULL) THEN NULL "
                "ELSE 1 END)"
            )
        return (
            f"(CASE WHEN EXISTS (SELECT 1 FROM {rows} WHERE {condition}) THEN 1 "
            f"WHEN EXISTS (SELECT 1 FROM {rows} WHERE {condition} IS NULL) THEN NULL "
            "ELSE 0 END)"
        )


# --- helpers ------------------------------------------------------------------------------


def _collated(sql: str, value: Typed) -> str:
    wanted = types.collation(value.type)
    return sql if wanted is None else f"{sql} COLLATE {wanted.value}"


def _listed(outputs: Sequence[Output]) -> str:
    return ", ".join(
        f'{output.value.collated()} AS "_{position}"'
        for position, output in enumerate(outputs, start=1)
    )


def _retyped(outputs: list[Output], targets: Sequence[SqlType]) -> list[Output]:
    if len(outputs) != len(targets):
        raise error(205)
    return [
        replace(output, value=convert(output.value, target))
        for output, target in zip(outputs, targets, strict=True)
    ]


def _top_one(args: dict[str, exp.Expression]) -> bool:
    top = args.get("top")
    return top is not None and isinstance(top.this, exp.Literal) and top.this.this in ("0", "1")


def _common(values: Sequence[Typed]) -> SqlType:
    known = [value.type for value in values if not value.null]
    return types.unify(known) if known else INT


def _met(left: Typed, right: Typed) -> SqlType:
    if left.null or right.null:
        return right.type if left.null else left.type
    return types.unify([left.type, right.type])


def _adds_all(query: exp.Expression) -> bool:
    return isinstance(query, nodes.SetOperation) and query.args["kind"] == "UNION ALL"


def _same_type(anchor: Typed, recursive: Typed) -> bool:
    """Whether a recursive part may have this type. Variables of a prepared statement are
    compiled with a length rounded up, so theirs is not looked at; NULL takes any type."""
    a, b = anchor.type, recursive.type
    if recursive.null:
        return True
    exact = (Kind.DECIMAL, Kind.NUMERIC)
    if a.kind is not b.kind and not (a.kind in exact and b.kind in exact):
        return False
    if (a.precision, a.scale) != (b.precision, b.scale):
        return False
    return a.length == b.length or bool(anchor.variable or recursive.variable)


def _mentions(query: exp.Expression, folded: str) -> bool:
    """Whether a query reads a table of that (unqualified) name."""
    return any(
        source.args["name"].name.casefold() == folded and not source.args["name"].schema
        for source in query.find_all(nodes.TableSource)
    )


def _column_position(node: exp.Expression, outputs: Sequence[Output]) -> int | None:
    """The place of a column in a first select list that gives it another name: ORDER BY of a
    UNION may say either, without the table's name."""
    if not isinstance(node, exp.Column) or node.args.get("table"):
        return None
    folded = node.this.this.casefold()
    for position, output in enumerate(outputs, start=1):
        if isinstance(output.node, exp.Column) and output.node.this.this.casefold() == folded:
            return position
    return None


def _operand_sql(node: exp.Expression, compiled: Compiled, *, right: bool = False) -> str:
    compound = isinstance(node, nodes.SetOperation) and right
    values = isinstance(node, nodes.ValuesQuery)
    if compiled.limited or compiled.ordered or compound or values:
        listed = ", ".join(
            f'{_collated(f"_{i}", output.value)} AS "_{i}"'
            for i, output in enumerate(compiled.outputs, start=1)
        )
        return f"SELECT {listed} FROM ({compiled.sql})"
    return compiled.sql


def display_name(table: Table, database: str) -> str:
    """A table as error messages write it: ``db.dbo.t``."""
    if table.name.startswith("#"):
        database = "tempdb"
    return f"{database}.{table.schema}.{table.name}"


__all__ = ["Compiled", "Output", "Queries", "ResolvedTable", "display_name"]

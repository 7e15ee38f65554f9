"""INSERT, UPDATE, DELETE and MERGE into SQLite SQL.

NOT NULL, defaults, identity and truncation are enforced by the SQL made here; keys by
SQLite's unique indexes, foreign keys and checks by the engine's triggers. Source: T-SQL
reference, the pages of these statements and "OUTPUT clause".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlglot import exp

from ..errors import NotSupportedByStandIn, error
from ..results import Command, ResultColumn
from ..schema import Column, IndexKind, ObjectName, Table
from ..sqltypes import BINARY_KINDS, INTEGER_KINDS, MAX, STRING_KINDS, Kind, SqlType
from . import nodes, types
from .names import Names, Source
from .plan import NEXT_ROWVERSION, LockIntent, Moves, OutputBind, OutputInto, Plan, ResolvedTable
from .queries import ROW_NUMBER, Queries, display_name
from .sources import table_columns
from .typed import Typed, convert, literal, quote

_ROWID_NAMES = ("rowid", "_rowid_", "oid")


_MOVED_NAME = '"mssql_moved"'
_MOVED = f"temp.{_MOVED_NAME}"
_ONCE = 'ts_once("_s"."_n")'


def _row_key(table: Table) -> Column | None:
    """The column that may be SQLite's number of the row: a primary key of one integer."""
    for index in table.indexes:
        if index.kind is IndexKind.PRIMARY_KEY and len(index.columns) == 1:
            column = table.column(index.columns[0].name)
            return column if column is not None and column.type.kind in INTEGER_KINDS else None
    return None


def _counted(modified: _Modified, once: bool) -> str:
    """How often each row is found, where it may be only once."""
    return f', COUNT(*) OVER (PARTITION BY {modified.rowid}) AS "_n"' if once else ""


@dataclass(frozen=True, slots=True)
class _Target:
    resolved: ResolvedTable
    shown: str
    through: dict[str, Column | None] | None = None
    """The columns of a common table through which the table is modified, folded; None is
    what the table does not have."""
    through_name: str = ""

    @property
    def table(self) -> Table:
        return self.resolved.table

    def column(self, name: str) -> Column:
        if self.through is not None:
            if name.casefold() not in self.through:
                raise error(207, name)
            written = self.through[name.casefold()]
            if written is None:
                raise error(4406, self.through_name)
            return written
        found = self.table.column(name)
        if found is None:
            raise error(207, name)
        return found

    @property
    def rowid(self) -> str:
        """A name of SQLite's row number that no column hides."""
        taken = {column.name.casefold() for column in self.table.columns}
        return next(name for name in _ROWID_NAMES if name not in taken)


@dataclass(frozen=True, slots=True)
class _Modified:
    """What UPDATE or DELETE changes: the table, its alias, what expressions may name, FROM if
    there is one, and SQLite's number of a row there."""

    target: _Target
    alias: str
    names: Names
    source: str | None = None
    row: str = ""

    @property
    def rowid(self) -> str:
        return self.row or f"{quote(self.alias)}.{self.target.rowid}"


class Modifications(Queries):
    def target(self, name: ObjectName) -> _Target:
        scope = self.job.require_scope("a table")
        if self.find_common(name) is not None:
            raise NotSupportedByStandIn("modifying a common table expression")
        found = scope.find_table(name)
        if found is None:
            if name.name.startswith("@"):
                raise error(1087, name.name)
            if scope.find_view(name) is not None:
                raise NotSupportedByStandIn("modifying a view")
            if scope.find_system_view(name) is not None:
                raise error(259)
            raise error(208, name)
        return _Target(found, display_name(found.table, name.database or scope.database))

    # --- values for columns -----------------------------------------------------------------

    def stored(self, value: Typed, column: Column, target: _Target, verb: str) -> str:
        """``value`` in the form of a column: converted, not too long, not NULL."""
        shown, of = target.shown, column.type
        if value.null:
            if column.nullable:
                return "NULL"
            return f"ts_null({literal(shown)}, {literal(column.name)}, '{verb}')"
        fitted = self._fitted(value, of, shown, column.name)
        if column.nullable or not value.nullable:
            return fitted
        refusal = f"ts_null({literal(shown)}, {literal(column.name)}, '{verb}')"
        return f"coalesce({fitted}, {refusal})"

    @staticmethod
    def _fitted(value: Typed, of: SqlType, table: str, column: str) -> str:
        sized = of.length is not None and of.length != MAX
        same_family = (of.kind in STRING_KINDS and value.type.kind in STRING_KINDS) or (
            of.kind in BINARY_KINDS and value.type.kind in BINARY_KINDS
        )
        if not (sized and same_family):
            return convert(value, of).sql
        length = value.type.length
        if of.kind in (Kind.VARCHAR, Kind.NVARCHAR, Kind.VARBINARY):
            wide = SqlType(of.kind, length=MAX, collation=of.collation)
            if length is not None and length != MAX and length <= (of.length or 0):
                return convert(value, of).sql
            pad = 0
        else:
            unicode = of.kind is Kind.NCHAR
            wide = (
                SqlType(Kind.VARBINARY, length=MAX)
                if of.kind is Kind.BINARY
                else types.string_type(MAX, unicode=unicode, collation=of.collation)
            )
            pad = 1
        source = convert(value, wide).sql
        return f"ts_fit({source}, {of.length}, {pad}, {literal(table)}, {literal(column)})"

    def default(self, column: Column) -> Typed | None:
        """The value of a column's DEFAULT, or None."""
        from .parser import parse_expression

        if column.default is None:
            return None
        return self.scalar(parse_expression(column.default.expression), Names())

    def _absent(self, column: Column, target: _Target) -> str | None:
        """What a column gets that INSERT does not name; None for SQLite's NULL."""
        if column.computed is not None:
            return None
        if column.identity is not None:
            scope = self.job.require_scope("a table")
            if scope.identity_insert(target.table):
                raise error(545, target.table.name)
            return f"ts_identity({target.table.object_id})"
        default = self.default(column)
        if default is not None:
            return self.stored(default, column, target, "INSERT")
        if column.type.kind is Kind.ROWVERSION:
            return NEXT_ROWVERSION
        if column.nullable:
            return None
        return f"ts_null({literal(target.shown)}, {literal(column.name)}, 'INSERT')"

    def _written(self, value: Typed, column: Column, target: _Target) -> str:
        """What a named column gets in INSERT."""
        sql = self.stored(value, column, target, "INSERT")
        if column.identity is not None:
            return f"ts_note_identity({target.table.object_id}, {sql})"
        return sql

    def _insert_columns(self, names: Sequence[str] | None, target: _Target) -> list[Column]:
        scope = self.job.require_scope("a table")
        explicit = scope.identity_insert(target.table)
        if names is None:
            return [
                column
                for column in target.table.columns
                if column.computed is None
                and column.type.kind is not Kind.ROWVERSION
                and column.identity is None
            ]
        columns: list[Column] = []
        for name in names:
            column = target.column(name)
            if column in columns:
                raise error(264, name)
            if column.computed is not None:
                raise error(271, column.name)
            if column.type.kind is Kind.ROWVERSION:
                raise error(273)
            if column.identity is not None and not explicit:
                raise error(544, target.table.name)
            columns.append(column)
        return columns

    # --- INSERT -------------------------------------------------------------------------------

    def insert(self, node: exp.Expression) -> Plan:
        args = node.args
        if args.get("top") is not None:
            raise NotSupportedByStandIn("INSERT TOP")
        self._open(args.get("ctes"))
        target = self.target(args["target"])
        query = args.get("query")
        listed = args.get("columns")
        if query is None:
            body = self._default_row(target)
        else:
            columns = self._insert_columns(listed, target)
            if isinstance(query, nodes.ValuesQuery):
                body = self._insert_values(query, columns, target, listed=listed is not None)
            else:
                body = self._insert_query(query, columns, target, listed=listed is not None)
        returning, outputs, into = self._output(args.get("output"), target, "inserted")
        sql = f"INSERT INTO {target.resolved.sqlite_name} {body}{returning}"
        return self._plan(sql, Command.INSERT, target, outputs, into)

    def _default_row(self, target: _Target) -> str:
        names, values = [], []
        for column in target.table.columns:
            value = self._absent(column, target)
            if value is not None:
                names.append(quote(column.name))
                values.append(value)
        if not names:
            return "DEFAULT VALUES"
        return f"({', '.join(names)}) VALUES ({', '.join(values)})"

    def _rest(self, columns: Sequence[Column], target: _Target) -> tuple[list[str], list[str]]:
        """Names and values of the columns an INSERT leaves out."""
        names, values = [], []
        for column in target.table.columns:
            if column in columns:
                continue
            value = self._absent(column, target)
            if value is not None:
                names.append(quote(column.name))
                values.append(value)
        return names, values

    def _insert_values(
        self, query: exp.Expression, columns: list[Column], target: _Target, *, listed: bool
    ) -> str:
        names, rest = self._rest(columns, target)
        listing = ", ".join([*(quote(column.name) for column in columns), *names])
        rows = []
        for row in query.expressions:
            values = row.expressions
            if len(values) != len(columns):
                if not listed:
                    raise error(213)
                raise error(109 if len(values) < len(columns) else 110)
            cells = [
                self._cell(value, column, target)
                for value, column in zip(values, columns, strict=True)
            ]
            rows.append(f"({', '.join([*cells, *rest])})")
        return f"({listing}) VALUES {', '.join(rows)}"

    def _cell(self, node: exp.Expression, column: Column, target: _Target) -> str:
        if isinstance(node, nodes.DefaultValue):
            if column.identity is not None:
                raise error(339)
            return self._absent(column, target) or "NULL"
        return self._written(self.scalar(node, Names()), column, target)

    def _insert_query(
        self, query: exp.Expression, columns: list[Column], target: _Target, *, listed: bool
    ) -> str:
        compiled = self.query(query, None, outermost=True)
        if len(compiled.outputs) != len(columns):
            if not listed:
                raise error(213)
            raise error(120 if len(compiled.outputs) < len(columns) else 121)
        names, rest = self._rest(columns, target)
        listing = ", ".join([*(quote(column.name) for column in columns), *names])
        cells = []
        for position, (output, column) in enumerate(
            zip(compiled.outputs, columns, strict=True), start=1
        ):
            source = output.value
            if not source.null:
                source = Typed(
                    f'"_s"."_{position}"',
                    source.type,
                    nullable=source.nullable,
                    explicit=source.explicit,
                    implicit=source.implicit,
                )
            cells.append(self._written(source, column, target))
        inner = compiled.sql
        if compiled.ordered and not compiled.limited:
            # SQLite may drop the ORDER BY of a subquery; identity values follow it.
            inner += " LIMIT -1"
        return f'({listing}) SELECT {", ".join([*cells, *rest])} FROM ({inner}) AS "_s" WHERE 1'

    # --- UPDATE -------------------------------------------------------------------------------

    def update(self, node: exp.Expression, *, once: bool = False) -> Plan:
        """``once`` is MERGE's: no row may be found twice."""
        args = node.args
        self._open(args.get("ctes"))
        modified = self._modified(args)
        target, alias, names, source = (
            modified.target,
            modified.alias,
            modified.names,
            modified.source,
        )
        self.job.want_lock(args.get("hints") or ())
        pairs: list[tuple[Column, str]] = []
        for assignment in args["assignments"]:
            column = target.column(assignment.this.this.this)
            if any(column is other for other, _ in pairs):
                raise error(264, column.name)
            if column.identity is not None:
                raise error(8102, column.name)
            if column.computed is not None or column.type.kind is Kind.ROWVERSION:
                raise error(271, column.name)
            pairs.append((column, self._assigned_value(assignment, column, target, names)))
        where = self._where(args, names)
        version = target.table.rowversion_column
        renewed = "" if version is None else f", {quote(version.name)} = {NEXT_ROWVERSION}"
        returning, outputs, into = self._output(args.get("output"), target, "updated")
        table = target.resolved.sqlite_name
        top = args.get("top")
        listed = ", ".join(f'{sql} AS "_{i}"' for i, (_, sql) in enumerate(pairs, start=1))
        rows = source or f"{table} AS {quote(alias)}"
        limit = f" LIMIT {self._rows(top.this, 'TOP')}" if top is not None else ""
        found = (
            f'SELECT {modified.rowid} AS "_r", {listed}{_counted(modified, once)} '
            f"FROM {rows}{where}{limit}"
        )
        stored = ", ".join(
            f'{quote(column.name)} = "_s"."_{i}"' for i, (column, _) in enumerate(pairs, 1)
        )
        store = f'UPDATE {table} AS "_t" SET {stored}{renewed} FROM'
        if source is None and top is None:
            sets = ", ".join(f"{quote(column.name)} = {sql}" for column, sql in pairs)
            sql = f"UPDATE {table} AS {quote(alias)} SET {sets}{renewed}{where}{returning}"
        else:
            sql = (
                f'{store} ({found}) AS "_s" WHERE "_t".{target.rowid} = "_s"."_r"'
                f"{' AND ' + _ONCE if once else ''}{returning}"
            )
        plan = self._plan(sql, Command.UPDATE, target, outputs, into)
        key = _row_key(target.table)
        if key is None or all(column is not key for column, _ in pairs):
            return plan
        return replace(plan, moves=self._moves(target, key, found, store, returning))

    def _moves(self, target: _Target, key: Column, found: str, store: str, returning: str) -> Moves:
        table, rowid = target.resolved.sqlite_name, target.rowid
        collect, collect_binds = self.job.finished(found)
        arrive, arrive_binds = self.job.finished(
            f'{store} {_MOVED} AS "_s" WHERE "_t".{rowid} = "_s"."_m"{returning}'
        )
        nobodys = f"(SELECT min(0, min({rowid})) FROM {table}) - row_number() OVER ()"
        return Moves(
            collect=f'CREATE TEMP TABLE {_MOVED_NAME} AS SELECT *, {nobodys} AS "_m" '
            f"FROM ({collect})",
            collect_binds=collect_binds,
            leave=f'UPDATE {table} AS "_t" SET {quote(key.name)} = '
            f'(SELECT "_m" FROM {_MOVED} WHERE "_r" = "_t".{rowid}) '
            f'WHERE {rowid} IN (SELECT "_r" FROM {_MOVED})',
            arrive=arrive,
            arrive_binds=arrive_binds,
            forget=f"DROP TABLE {_MOVED}",
        )

    def _assigned_value(
        self, assignment: exp.Expression, column: Column, target: _Target, names: Names
    ) -> str:
        node = assignment.args["expression"]
        if isinstance(node, nodes.DefaultValue):
            default = self.default(column)
            if default is None:
                default = Typed("NULL", column.type, constant=True, null=True)
            return self.stored(default, column, target, "UPDATE")
        return self.stored(self.scalar(node, names), column, target, "UPDATE")

    def _where(self, args: dict[str, exp.Expression], names: Names) -> str:
        where = args.get("where")
        if where is None:
            return ""
        names.aggregates = 147
        return f" WHERE {self.predicate(where, names)}"

    def _modified(self, args: dict[str, exp.Expression]) -> _Modified:
        name: ObjectName = args["target"]  # type: ignore[assignment]
        names = Names()
        source_node = args.get("source")
        if source_node is None:
            for cte in args.get("ctes") or ():
                if cte.this.casefold() == name.name.casefold() and not name.schema:
                    return self._through(cte)
            target = self.target(name)
            alias = target.table.name
            columns = table_columns(target.table, f"{quote(alias)}.")
            full = ObjectName(target.table.name, target.table.schema, name.database)
            names.add(Source(alias, columns, full))
            return _Modified(target, alias, names)
        sql = self.source(source_node, names)
        for table in source_node.find_all(nodes.TableSource):
            found: ObjectName = table.args["name"]
            alias = table.args.get("alias") or found.name
            same_alias = not name.schema and alias.casefold() == name.name.casefold()
            same_table = found.name.casefold() == name.name.casefold()
            if same_alias or same_table:
                return _Modified(self.target(found), alias, names, sql)
        # The target is not in FROM: it joins what is.
        target = self.target(name)
        alias = target.table.name
        columns = table_columns(target.table, f"{quote(alias)}.")
        full = ObjectName(target.table.name, target.table.schema, name.database)
        names.add(Source(alias, columns, full))
        rows = f"{target.resolved.sqlite_name} AS {quote(alias)}, {sql}"
        return _Modified(target, alias, names, rows)

    def _through(self, cte: exp.Expression) -> _Modified:
        """A common table over one table, as what UPDATE or DELETE changes.

        Source: "WITH common_table_expression", "UPDATE" and "DELETE": the rows of the table
        that the expression reads are changed, with TOP and numbers of rows heeded.
        """
        query, name = cte.args["query"], cte.this
        read = query.args.get("source") if isinstance(query, nodes.SelectQuery) else None
        grouped = ("distinct", "group", "having", "into")
        if not isinstance(read, nodes.TableSource) or any(query.args.get(p) for p in grouped):
            raise NotSupportedByStandIn("modifying a common table expression")
        target = self.target(read.args["name"])
        self.numbered = query, target.rowid
        compiled = self.query(query, None)
        self.numbered = None
        listed = cte.args.get("columns")
        if listed is not None:
            listed = [*listed, ROW_NUMBER]
        *columns, row = self.derived_columns(compiled, name, listed, f"{quote(name)}.")
        through: dict[str, Column | None] = {}
        for column, output in zip(columns, compiled.outputs, strict=False):
            node = output.node
            written = target.table.column(node.this.this) if isinstance(node, exp.Column) else None
            through[column.name.casefold()] = written
        names = Names()
        names.add(Source(name, columns, aliased=True))
        sql = f"({compiled.sql}) AS {quote(name)}"
        target = replace(target, through=through, through_name=name)
        return _Modified(target, name, names, sql, row.sql)

    # --- DELETE -------------------------------------------------------------------------------

    def delete(self, node: exp.Expression, *, once: bool = False) -> Plan:
        """``once`` is MERGE's: no row may be found twice."""
        args = node.args
        self._open(args.get("ctes"))
        modified = self._modified(args)
        target, alias, names, source = (
            modified.target,
            modified.alias,
            modified.names,
            modified.source,
        )
        self.job.want_lock(args.get("hints") or ())
        where = self._where(args, names)
        returning, outputs, into = self._output(args.get("output"), target, "deleted")
        table = target.resolved.sqlite_name
        top = args.get("top")
        if source is None and top is None:
            sql = f"DELETE FROM {table} AS {quote(alias)}{where}{returning}"
        else:
            rows = source or f"{table} AS {quote(alias)}"
            limit = f" LIMIT {self._rows(top.this, 'TOP')}" if top is not None else ""
            found = f'SELECT {modified.rowid} AS "_r"{_counted(modified, once)} FROM {rows}'
            found = f'SELECT "_r" FROM ({found}{where}{limit}) AS "_s"'
            if once:
                found += f" WHERE {_ONCE}"
            sql = f"DELETE FROM {table} WHERE {target.rowid} IN ({found}){returning}"
        return self._plan(sql, Command.DELETE, target, outputs, into)

    # --- MERGE --------------------------------------------------------------------------------

    def merge(self, node: exp.Expression) -> Plan:
        """MERGE with one action: INSERT for what does not match, or UPDATE or DELETE for
        what does."""
        args = node.args
        self._open(args.get("ctes"))
        if len(args["actions"]) != 1 or args.get("top") is not None:
            raise NotSupportedByStandIn("MERGE with several actions")
        action = args["actions"][0]
        kind, verb = action.args["kind"], action.args["verb"]
        target = self.target(args["target"])
        alias = args.get("alias") or target.table.name
        if kind == "NOT MATCHED" and verb == "INSERT":
            return self._merge_insert(node, action, target, alias)
        if kind != "MATCHED":
            raise NotSupportedByStandIn(f"MERGE … WHEN {kind} THEN {verb}")
        name: ObjectName = args["target"]
        condition = args["on"]
        if action.args.get("condition") is not None:
            condition = exp.And(this=condition, expression=action.args["condition"])
        joined = nodes.JoinSource(
            this=nodes.TableSource(name=name, alias=alias, hints=()),
            expression=args["source"],
            kind="INNER",
            on=condition,
        )
        common = {
            "target": ObjectName(alias),
            "source": joined,
            "output": args.get("output"),
            "ctes": None,
        }
        if verb == "DELETE":
            plan = self.delete(nodes.DeleteStatement(**common), once=True)
        else:
            plan = self.update(
                nodes.UpdateStatement(**common, assignments=action.args["assignments"]),
                once=True,
            )
        return replace(plan, command=Command.MERGE)

    def _merge_insert(
        self, node: exp.Expression, action: exp.Expression, target: _Target, alias: str
    ) -> Plan:
        args = node.args
        names = Names()
        source = self.source(args["source"], names)
        both = Names(names)
        columns = table_columns(target.table, f"{quote(alias)}.")
        both.add(Source(alias, columns, aliased=True))
        on = self.predicate(args["on"], both)
        where = (
            f"NOT EXISTS (SELECT 1 FROM {target.resolved.sqlite_name} AS {quote(alias)} WHERE {on})"
        )
        if action.args.get("condition") is not None:
            where += f" AND {self.predicate(action.args['condition'], names)}"
        row = action.args.get("values")
        chosen: list[Column] = []
        cells: list[str] = []
        if row is not None:
            listed = action.args.get("columns")
            chosen = self._insert_columns(listed, target)
            if len(row.expressions) != len(chosen):
                raise error(109 if len(row.expressions) < len(chosen) else 110)
            for value, column in zip(row.expressions, chosen, strict=True):
                if isinstance(value, nodes.DefaultValue):
                    cells.append(self._absent(column, target) or "NULL")
                else:
                    cells.append(self._written(self.scalar(value, names), column, target))
        rest_names, rest = self._rest(chosen, target)
        listing = ", ".join([*(quote(column.name) for column in chosen), *rest_names])
        if not listing:
            # A table of nothing but NULLs: name any column.
            listing, rest = quote(target.table.columns[0].name), ["NULL"]
        returning, outputs, into = self._output(args.get("output"), target, "inserted")
        sql = (
            f"INSERT INTO {target.resolved.sqlite_name} ({listing}) "
            f"SELECT {', '.join([*cells, *rest])} FROM {source} WHERE {where}{returning}"
        )
        return self._plan(sql, Command.MERGE, target, outputs, into)

    # --- OUTPUT and the plan --------------------------------------------------------------------

    def _open(self, ctes: Sequence[exp.Expression] | None) -> None:
        if ctes:
            self.commons.append({})
            for cte in ctes:
                self._define(cte)

    def _output(
        self, node: exp.Expression | None, target: _Target, event: str
    ) -> tuple[str, tuple[ResultColumn, ...], OutputInto | None]:
        """RETURNING, its columns, and where the rows go if not to the client."""
        if node is None:
            return "", (), None
        names = Names()
        columns = table_columns(target.table, "")
        if event in ("inserted", "updated"):
            names.add(Source("inserted", columns, aliased=True))
        if event == "deleted":
            names.add(Source("deleted", columns, aliased=True))
        if event == "updated" and any(
            column.args.get("table") and column.args["table"].this.casefold() == "deleted"
            for column in node.find_all(exp.Column)
        ):
            raise NotSupportedByStandIn("OUTPUT deleted.… of UPDATE")
        select = nodes.SelectQuery(expressions=node.expressions)
        outputs = self._outputs(select, names)
        listed = ", ".join(
            f'{output.value.sql} AS "_{position}"'
            for position, output in enumerate(outputs, start=1)
        )
        result = tuple(
            ResultColumn(
                output.name, output.value.type, output.value.nullable, output.value.identity
            )
            for output in outputs
        )
        into = None
        if node.args.get("into") is not None:
            into = self._output_into(node, result)
        return f" RETURNING {listed}", result, into

    def _output_into(self, node: exp.Expression, result: tuple[ResultColumn, ...]) -> OutputInto:
        """The INSERT that takes each row of OUTPUT … INTO."""
        target = self.target(node.args["into"])
        inner = Modifications(type(self.job)(self.job.scope))
        columns = inner._insert_columns(node.args.get("columns"), target)
        if len(columns) != len(result):
            raise error(213)
        cells = []
        for position, (column, given) in enumerate(zip(columns, result, strict=True)):
            sql = inner.job.bind(OutputBind(position), f"output {position}")
            value = Typed(sql, given.type, nullable=given.nullable)
            cells.append(inner._written(value, column, target))
        names, rest = inner._rest(columns, target)
        listing = ", ".join([*(quote(column.name) for column in columns), *names])
        sql = (
            f"INSERT INTO {target.resolved.sqlite_name} ({listing}) "
            f"VALUES ({', '.join([*cells, *rest])})"
        )
        sql, binds = inner.job.finished(sql)
        return OutputInto(sql, binds, target.table)

    def _plan(
        self,
        sql: str,
        command: Command,
        target: _Target,
        outputs: tuple[ResultColumn, ...],
        into: OutputInto | None,
    ) -> Plan:
        lock = LockIntent.UPDATE if self.job.lock is LockIntent.NONE else self.job.lock
        sql, binds = self.job.finished(sql)
        return Plan(
            sql=sql,
            binds=binds,
            columns=() if into is not None else outputs,
            command=command,
            target=target.table,
            lock=lock,
            uses_system_views=self.job.uses_system_views,
            output_into=into,
        )

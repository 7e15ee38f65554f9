"""The grammar of SELECT, INSERT, UPDATE, DELETE and MERGE.

Source: T-SQL reference, the pages of these statements, "FROM", "WITH common table
expression", "OUTPUT clause", "Hints (Transact-SQL) - Table".
"""

from __future__ import annotations

from typing import Any

from sqlglot import exp

from ..errors import error
from . import nodes
from .expressions_grammar import ExpressionGrammar
from .lexer import TokenKind

_HINTS_WITH_VALUES = ("INDEX", "FORCESEEK", "SPATIAL_WINDOW_MAX_CELLS")
_JOIN_HINTS = ("LOOP", "HASH", "MERGE", "REMOTE")
#: Functions that make a rowset when they stand in FROM.
_ROWSET_FUNCTIONS = frozenset({"OPENJSON", "STRING_SPLIT", "GENERATE_SERIES"})
_COMPOUND: dict[str, type[exp.Expression]] = {
    "+=": exp.Add,
    "-=": exp.Sub,
    "*=": exp.Mul,
    "/=": exp.Div,
    "%=": exp.Mod,
}


class QueryGrammar(ExpressionGrammar):
    # --- queries --------------------------------------------------------------------------

    def query(self) -> exp.Expression:
        """A query expression with its WITH, ORDER BY and OFFSET."""
        ctes = self._with() if self.at("WITH") else None
        node = self._union()
        if self.accept("ORDER", "BY"):
            node.set("order", self.order_items())
            if self.accept("OFFSET"):
                node.set("offset", self.scalar())
                if not self.accept("ROWS"):
                    self.expect("ROW")
                if self.accept("FETCH"):
                    if not self.accept("FIRST"):
                        self.expect("NEXT")
                    node.set("fetch", self.scalar())
                    if not self.accept("ROWS"):
                        self.expect("ROW")
                    self.expect("ONLY")
        if self.at("FOR") and self.peek().upper in ("XML", "JSON", "BROWSE"):
            self.unsupported(f"FOR {self.peek().upper}")
        if self.at("OPTION", "("):
            self._query_hints()
        if ctes:
            node.set("ctes", ctes)
        return node

    def _query_hints(self) -> None:
        """OPTION (…): hints steer plans, never results, so they are read and let go."""
        self.expect("OPTION", "(")
        depth = 1
        while depth:
            if self.at_end:
                self.fail()
            upper = self.advance().upper
            depth += (upper == "(") - (upper == ")")

    def _with(self) -> list[exp.Expression]:
        self.expect("WITH")
        return self.separated(self._common_table)

    def _common_table(self) -> exp.Expression:
        name = self.name()
        columns = self.names() if self.at("(") else None
        self.expect("AS", "(")
        query = self.query()
        self.expect(")")
        return nodes.CommonTable(this=name, columns=columns, query=query)

    def _union(self) -> exp.Expression:
        left = self._intersection()
        while self.token.upper in ("UNION", "EXCEPT"):
            kind = self.advance().upper
            if kind == "UNION" and self.accept("ALL"):
                kind = "UNION ALL"
            left = nodes.SetOperation(this=left, expression=self._intersection(), kind=kind)
        return left

    def _intersection(self) -> exp.Expression:
        left = self._query_term()
        while self.accept("INTERSECT"):
            left = nodes.SetOperation(this=left, expression=self._query_term(), kind="INTERSECT")
        return left

    def _query_term(self) -> exp.Expression:
        if self.accept("("):
            query = self.query()
            self.expect(")")
            return query
        if self.at("VALUES"):
            return self._values()
        return self._select()

    def _values(self) -> exp.Expression:
        self.expect("VALUES")
        rows = self.separated(self._row)
        return nodes.ValuesQuery(expressions=rows)

    def _row(self) -> exp.Expression:
        self.expect("(")
        values = self.separated(self.scalar)
        self.expect(")")
        return exp.Tuple(expressions=values)

    def _select(self) -> exp.Expression:
        self.expect("SELECT")
        node = nodes.SelectQuery(expressions=[])
        if self.accept("DISTINCT"):
            node.set("distinct", True)
        else:
            self.accept("ALL")
        if self.at("TOP"):
            node.set("top", self._top())
        node.set("expressions", self.separated(self._select_item))
        if self.accept("INTO"):
            node.set("into", self.object_name())
        if self.accept("FROM"):
            node.set("source", self._sources())
        if self.accept("WHERE"):
            node.set("where", self.condition())
        if self.accept("GROUP"):
            self.expect("BY")
            if self.token.upper in ("ROLLUP", "CUBE", "GROUPING"):
                self.unsupported(f"GROUP BY {self.token.upper}")
            node.set("group", self.separated(self.scalar))
            if self.at("WITH") and self.peek().upper in ("ROLLUP", "CUBE"):
                self.unsupported(f"GROUP BY … WITH {self.peek().upper}")
        if self.accept("HAVING"):
            node.set("having", self.condition())
        return node

    def _top(self) -> exp.Expression:
        self.expect("TOP")
        if self.accept("("):
            amount = self.scalar()
            self.expect(")")
        else:
            amount = self._primary()
        top = nodes.Top(this=amount)
        if self.accept("PERCENT"):
            self.unsupported("TOP … PERCENT")
        if self.accept("WITH", "TIES"):
            self.unsupported("TOP … WITH TIES")
        return top

    def _select_item(self) -> exp.Expression:
        if self.accept("*"):
            return exp.Star()
        if self.token.kind is TokenKind.VARIABLE and not self.token.text.startswith("@@"):
            following = self.peek().upper
            if following == "=" or following in _COMPOUND:
                return self._variable_assignment()
        if (self.at_name() or self.token.kind is TokenKind.STRING) and self.peek().upper == "=":
            # alias = expression
            name = self.advance().text
            self.expect("=")
            return exp.Alias(this=self.scalar(), alias=exp.Identifier(this=name, quoted=True))
        value = self.scalar()
        if isinstance(value, exp.Column) and isinstance(value.this, exp.Star):
            return value
        alias = self._alias(strings=True)
        if alias is None:
            return value
        return exp.Alias(this=value, alias=exp.Identifier(this=alias, quoted=True))

    def _variable_assignment(self) -> exp.Expression:
        name = self.advance().text
        variable = exp.Parameter(this=name)
        operator = self.advance().upper
        value = self.scalar()
        if operator in _COMPOUND:
            value = _COMPOUND[operator](this=exp.Parameter(this=name), expression=value)
        return nodes.Assignment(this=variable, expression=value)

    def _alias(self, *, strings: bool = False) -> str | None:
        """``[AS] name``; a select list also takes a string."""
        if self.accept("AS"):
            if strings and self.token.kind in (TokenKind.STRING, TokenKind.NATIONAL):
                return self.advance().text
            return self.name()
        if self.at_name():
            return self.advance().text
        if strings and self.token.kind is TokenKind.STRING:
            return self.advance().text
        return None

    def order_items(self) -> list[exp.Expression]:
        return self.separated(self._order_item)

    def _order_item(self) -> exp.Expression:
        value = self.scalar()
        descending = self.accept("DESC")
        if not descending:
            self.accept("ASC")
        return nodes.OrderItem(this=value, descending=descending)

    # --- FROM -----------------------------------------------------------------------------

    def _sources(self) -> exp.Expression:
        left = self._joined()
        while self.accept(","):
            left = nodes.JoinSource(this=left, expression=self._joined(), kind="CROSS")
        return left

    def _joined(self) -> exp.Expression:
        left = self._source()
        while True:
            kind = self._join_kind()
            if kind is None:
                return left
            if kind in ("CROSS", "CROSS APPLY", "OUTER APPLY"):
                left = nodes.JoinSource(this=left, expression=self._source(), kind=kind)
                continue
            # a JOIN b JOIN c ON … ON …: the inner join comes first.
            right = self._joined_right()
            self.expect("ON")
            left = nodes.JoinSource(this=left, expression=right, kind=kind, on=self.condition())

    def _joined_right(self) -> exp.Expression:
        right = self._source()
        while not self.at("ON"):
            kind = self._join_kind()
            if kind is None:
                self.fail()
            if kind in ("CROSS", "CROSS APPLY", "OUTER APPLY"):
                right = nodes.JoinSource(this=right, expression=self._source(), kind=kind)
                continue
            inner = self._joined_right()
            self.expect("ON")
            right = nodes.JoinSource(this=right, expression=inner, kind=kind, on=self.condition())
        return right

    def _join_kind(self) -> str | None:
        if self.accept("JOIN"):
            return "INNER"
        if self.accept("CROSS", "JOIN"):
            return "CROSS"
        if self.accept("CROSS", "APPLY"):
            return "CROSS APPLY"
        if self.accept("OUTER", "APPLY"):
            return "OUTER APPLY"
        if self.token.upper not in ("INNER", "LEFT", "RIGHT", "FULL"):
            return None
        kind = self.advance().upper
        if kind != "INNER":
            self.accept("OUTER")
        if self.token.upper in _JOIN_HINTS:
            self.advance()
        self.expect("JOIN")
        return kind

    def _source(self) -> exp.Expression:
        if self.at("("):
            return self._parenthesized_source()
        if self.token.upper in _ROWSET_FUNCTIONS and self.peek().upper == "(":
            return self._rowset_function()
        if self.token.upper in ("OPENQUERY", "OPENROWSET", "OPENXML", "OPENDATASOURCE"):
            self.unsupported(self.token.upper)
        name = self.object_name()
        if self.at("(") and self.peek().upper not in (
            "NOLOCK",
            "UPDLOCK",
            "HOLDLOCK",
            "TABLOCK",
            "TABLOCKX",
            "ROWLOCK",
            "READPAST",
            "XLOCK",
        ):
            self.unsupported(f"the table-valued function {name}")
        if self.at("FOR", "SYSTEM_TIME") or self.at("TABLESAMPLE"):
            self.unsupported(self.token.upper)
        hints = self._old_hints()
        alias = self._alias()
        hints += self.table_hints()
        if self.at("PIVOT") or self.at("UNPIVOT"):
            self.unsupported(self.token.upper)
        return nodes.TableSource(name=name, alias=alias, hints=tuple(hints))

    def _old_hints(self) -> list[str]:
        """``FROM t (NOLOCK)``: deprecated, still accepted."""
        return self._hint_list() if self.at("(") else []

    def table_hints(self) -> list[str]:
        if self.at("WITH", "("):
            self.advance()
            return self._hint_list()
        return []

    def _hint_list(self) -> list[str]:
        self.expect("(")
        hints = []
        while not self.accept(")"):
            hint = self.advance().upper
            if not hint:
                self.fail(self.last)
            if hint == ",":
                continue
            hints.append(hint)
            if hint in _HINTS_WITH_VALUES and self.at("("):
                depth = 0
                while True:
                    upper = self.advance().upper
                    depth += (upper == "(") - (upper == ")")
                    if depth == 0:
                        break
            elif hint in _HINTS_WITH_VALUES and self.accept("="):
                self.advance()
        return hints

    def _parenthesized_source(self) -> exp.Expression:
        if not (self._at_query() or self.peek().upper in ("VALUES", "MERGE", "UPDATE")):
            self.expect("(")
            inner = self._sources()
            self.expect(")")
            return inner
        self.expect("(")
        if self.token.upper in ("MERGE", "UPDATE", "DELETE", "INSERT"):
            self.unsupported("a data modification statement in FROM")
        query = self.query()
        self.expect(")")
        alias = self._alias()
        if alias is None:
            self.fail()
        columns = self.names() if self.at("(") else None
        return nodes.QuerySource(query=query, alias=alias, columns=columns)

    def _rowset_function(self) -> exp.Expression:
        call = self._call(self.advance().text)
        schema = None
        if call.args["this"] == "OPENJSON" and self.at("WITH", "("):
            self.expect("WITH", "(")
            schema = tuple(self.separated(self._openjson_column))
            self.expect(")")
        alias = self._alias()
        columns = self.names() if alias and self.at("(") else None
        return nodes.FunctionSource(call=call, alias=alias, columns=columns, schema=schema)

    def _openjson_column(self) -> tuple[str, Any, str | None, bool]:
        name = self.name()
        to = self.type()
        path = self.string() if self.token.kind is TokenKind.STRING else None
        as_json = self.accept("AS", "JSON")
        return name, to, path, as_json

    # --- data modification ----------------------------------------------------------------

    def modification(self) -> exp.Expression:
        """INSERT, UPDATE, DELETE or MERGE, with WITH before them."""
        ctes = self._with() if self.at("WITH") else None
        if self.at("INSERT"):
            node = self._insert()
        elif self.at("UPDATE"):
            node = self._update()
        elif self.at("DELETE"):
            node = self._delete()
        elif self.at("MERGE"):
            node = self._merge()
        else:
            self.fail()
        if ctes:
            node.set("ctes", ctes)
        if self.at("OPTION", "("):
            self._query_hints()
        return node

    def _insert(self) -> exp.Expression:
        self.expect("INSERT")
        top = self._top() if self.at("TOP") else None
        self.accept("INTO")
        target = self.object_name()
        hints = self.table_hints()
        columns = self.names() if self.at("(") and not self._at_query() else None
        output = self._output()
        node = nodes.InsertStatement(
            target=target, columns=columns, output=output, hints=tuple(hints), top=top
        )
        if self.accept("DEFAULT", "VALUES"):
            return node
        if self.token.upper in ("EXEC", "EXECUTE"):
            return node
        if not (self._at_query() or self.at("VALUES")):
            self.fail()
        node.set("query", self.query())
        return node

    def _output(self) -> exp.Expression | None:
        if not self.accept("OUTPUT"):
            return None
        items = self.separated(self._select_item)
        node = nodes.Output(expressions=items)
        if self.accept("INTO"):
            node.set("into", self.object_name())
            if self.at("("):
                node.set("columns", self.names())
            if self.at("OUTPUT"):
                self.unsupported("two OUTPUT clauses")
        return node

    def _update(self) -> exp.Expression:
        self.expect("UPDATE")
        top = self._top() if self.at("TOP") else None
        target = self.object_name()
        hints = self.table_hints()
        self.expect("SET")
        assignments = self.separated(self._assignment)
        output = self._output()
        source = self._sources() if self.accept("FROM") else None
        where = self._modification_where()
        return nodes.UpdateStatement(
            target=target,
            assignments=assignments,
            source=source,
            where=where,
            output=output,
            top=top,
            hints=tuple(hints),
        )

    def _modification_where(self) -> exp.Expression | None:
        if not self.accept("WHERE"):
            return None
        if self.at("CURRENT", "OF"):
            self.unsupported("WHERE CURRENT OF")
        return self.condition()

    def _assignment(self) -> exp.Expression:
        if self.token.kind is TokenKind.VARIABLE:
            self.unsupported("SET @variable = … in UPDATE")
        target = self._name_or_call()
        if not isinstance(target, exp.Column):
            self.unsupported("column.WRITE and methods in SET")
        operator = self.advance()
        if operator.upper == "=":
            value = self.scalar()
        elif operator.upper in _COMPOUND:
            value = _COMPOUND[operator.upper](this=target.copy(), expression=self.scalar())
        else:
            self.fail(operator)
        return nodes.Assignment(this=target, expression=value)

    def _delete(self) -> exp.Expression:
        self.expect("DELETE")
        top = self._top() if self.at("TOP") else None
        self.accept("FROM")
        target = self.object_name()
        hints = self.table_hints()
        output = self._output()
        source = self._sources() if self.accept("FROM") else None
        where = self._modification_where()
        return nodes.DeleteStatement(
            target=target, source=source, where=where, output=output, top=top, hints=tuple(hints)
        )

    def _merge(self) -> exp.Expression:
        self.expect("MERGE")
        top = self._top() if self.at("TOP") else None
        self.accept("INTO")
        target = self.object_name()
        self.table_hints()
        alias = None if self.at("USING") else self._alias()
        self.expect("USING")
        source = self._source()
        self.expect("ON")
        on = self.condition()
        actions = []
        while self.at("WHEN"):
            actions.append(self._merge_action())
        if not actions:
            self.fail()
        output = self._output()
        if not self.at(";"):
            raise error(10713, line=self.token.line)
        return nodes.MergeStatement(
            target=target,
            alias=alias,
            source=source,
            on=on,
            actions=actions,
            output=output,
            top=top,
        )

    def _merge_action(self) -> exp.Expression:
        self.expect("WHEN")
        kind = "MATCHED"
        if self.accept("NOT"):
            kind = "NOT MATCHED"
        self.expect("MATCHED")
        if self.accept("BY", "SOURCE"):
            kind += " BY SOURCE"
        else:
            self.accept("BY", "TARGET")
        condition = self.condition() if self.accept("AND") else None
        self.expect("THEN")
        verb = self.advance().upper
        node = nodes.MergeAction(kind=kind, verb=verb, condition=condition)
        if verb == "UPDATE":
            self.expect("SET")
            node.set("assignments", self.separated(self._assignment))
        elif verb == "INSERT":
            if self.at("("):
                node.set("columns", self.names())
            if not self.accept("DEFAULT", "VALUES"):
                self.expect("VALUES")
                node.set("values", self._row())
        elif verb != "DELETE":
            self.fail(self.last)
        return node

"""sqlglot's parser of statements, taught T-SQL's INSERT, UPDATE, DELETE and MERGE.

Source: T-SQL reference, the pages of these statements and "OUTPUT clause".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from sqlglot import exp
from sqlglot.tokenizer_core import Token, TokenType

from ..errors import error
from . import nodes
from .queries_parser import ASSIGNING, COMPOUND, MODIFICATIONS, QueryParser


class StatementParser(QueryParser):
    #: What :meth:`_parse_statement` reads; everything else of a batch is not sqlglot's.
    STATEMENT_PARSERS: ClassVar[dict[TokenType, Callable[..., exp.Expression]]] = {
        TokenType.SELECT: lambda self: self.query(),
        TokenType.L_PAREN: lambda self: self.query(),
        TokenType.WITH: lambda self: self.with_statement(),
        TokenType.INSERT: lambda self: self.modification(),
        TokenType.UPDATE: lambda self: self.modification(),
        TokenType.DELETE: lambda self: self.modification(),
        TokenType.MERGE: lambda self: self.modification(),
    }

    def parse(self, raw_tokens: list[Token], sql: str) -> list[exp.Expr | None]:
        """The queries and modifications of a batch, with or without semicolons between."""
        self.begin(raw_tokens, sql)
        found: list[exp.Expr | None] = []
        while True:
            while self._match(TokenType.SEMICOLON):
                pass
            if self.at_end:
                return found
            found.append(self._parse_statement())

    def _parse_statement(self) -> exp.Expression:
        parser = self.STATEMENT_PARSERS.get(self._curr.token_type)
        return parser(self) if parser else self.fail()

    def with_statement(self) -> exp.Expression:
        """WITH belongs to a query or to a modification: look past its tables."""
        depth, distance = 0, 1
        while token := self.peek(distance):
            kind = token.token_type
            depth += (kind is TokenType.L_PAREN) - (kind is TokenType.R_PAREN)
            if depth == 0 and kind in self.STATEMENT_PARSERS and kind is not TokenType.L_PAREN:
                break
            distance += 1
        if self.peek(distance).token_type in MODIFICATIONS:
            return self.modification()
        return self.query()

    # --- data modification ----------------------------------------------------------------

    def modification(self) -> exp.Expression:
        """INSERT, UPDATE, DELETE or MERGE, with WITH before them."""
        ctes = self.common_tables() if self._curr.token_type is TokenType.WITH else None
        if self._match(TokenType.INSERT):
            node = self._insert()
        elif self._match(TokenType.UPDATE):
            node = self._update()
        elif self._match(TokenType.DELETE):
            node = self._delete()
        elif self._match(TokenType.MERGE):
            node = self._merge()
        else:
            self.fail()
        if ctes:
            node.set("ctes", ctes)
        self.query_hints(node)
        return node

    def _insert(self) -> exp.Expression:
        top = self.top()
        self._match(TokenType.INTO)
        target = self.object_name()
        hints = self.table_hints()
        listed = self._curr.token_type is TokenType.L_PAREN and not self.at_query()
        columns = self.names() if listed else None
        output = self._output()
        node = nodes.InsertStatement(
            target=target, columns=columns, output=output, hints=tuple(hints), top=top
        )
        if self.accept("DEFAULT", "VALUES"):
            return node
        if self.word in ("EXEC", "EXECUTE"):
            return node
        if not self.at_query():
            self.fail()
        node.set("query", self.query())
        return node

    def _output(self) -> exp.Expression | None:
        if not self.accept("OUTPUT"):
            return None
        node = nodes.Output(expressions=self._parse_csv(self.select_item))
        if self._match(TokenType.INTO):
            node.set("into", self.object_name())
            if self._curr.token_type is TokenType.L_PAREN:
                node.set("columns", self.names())
            if self.at("OUTPUT"):
                self.unsupported("two OUTPUT clauses")
        return node

    def _update(self) -> exp.Expression:
        top = self.top()
        target = self.object_name()
        hints = self.table_hints()
        self.expect_token(TokenType.SET)
        assignments = self._parse_csv(self._assignment)
        output = self._output()
        source = self.sources() if self._match(TokenType.FROM) else None
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
        if not self._match(TokenType.WHERE):
            return None
        if self.at("CURRENT", "OF"):
            self.unsupported("WHERE CURRENT OF")
        return self.condition()

    def _assignment(self) -> exp.Expression:
        if self.at_variable():
            self.unsupported("SET @variable = … in UPDATE")
        if not self.at_name():
            self.fail()
        target = self._parse_column()
        if not isinstance(target, exp.Column):
            self.unsupported("column.WRITE and methods in SET")
        operator = self.word
        if operator not in ASSIGNING:
            self.fail()
        self._advance()
        value = self.scalar()
        if operator in COMPOUND:
            value = COMPOUND[operator](this=target.copy(), expression=value)
        return nodes.Assignment(this=target, expression=value)

    def _delete(self) -> exp.Expression:
        top = self.top()
        self._match(TokenType.FROM)
        target = self.object_name()
        hints = self.table_hints()
        output = self._output()
        source = self.sources() if self._match(TokenType.FROM) else None
        where = self._modification_where()
        return nodes.DeleteStatement(
            target=target, source=source, where=where, output=output, top=top, hints=tuple(hints)
        )

    def _merge(self) -> exp.Expression:
        top = self.top()
        self._match(TokenType.INTO)
        target = self.object_name()
        self.table_hints()
        alias = None if self.at("USING") else self.alias_name()
        self.expect("USING")
        source = self.source_item()
        self.expect_token(TokenType.ON)
        on = self.condition()
        actions = []
        while self._match(TokenType.WHEN):
            actions.append(self._merge_action())
        if not actions:
            self.fail()
        output = self._output()
        if self._curr.token_type is not TokenType.SEMICOLON:
            raise error(10713, line=(self._curr or self._prev).line)
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
        kind = "MATCHED"
        if self._match(TokenType.NOT):
            kind = "NOT MATCHED"
        self.expect("MATCHED")
        if self.accept("BY", "SOURCE"):
            kind += " BY SOURCE"
        else:
            self.accept("BY", "TARGET")
        condition = self.condition() if self._match(TokenType.AND) else None
        self.expect_token(TokenType.THEN)
        verb = self.word
        if verb not in ("INSERT", "UPDATE", "DELETE"):
            self.fail()
        self._advance()
        node = nodes.MergeAction(kind=kind, verb=verb, condition=condition)
        if verb == "UPDATE":
            self.expect_token(TokenType.SET)
            node.set("assignments", self._parse_csv(self._assignment))
        elif verb == "INSERT":
            if self._curr.token_type is TokenType.L_PAREN:
                node.set("columns", self.names())
            if not self.accept("DEFAULT", "VALUES"):
                self.expect_token(TokenType.VALUES)
                node.set("values", self.row())
        return node

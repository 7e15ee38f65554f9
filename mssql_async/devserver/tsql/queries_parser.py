"""sqlglot's parser of queries, taught T-SQL's SELECT and FROM.

Source: T-SQL reference, "SELECT" and its clauses, "FROM", "WITH common table expression",
"Hints (Transact-SQL) - Table".

sqlglot takes the clauses of a query in any order and most of them from any dialect; here
they stand in T-SQL's order, and a query ends where no clause of it can follow: the next
statement needs no semicolon.
"""

from __future__ import annotations

from typing import Any

from sqlglot import exp
from sqlglot.tokenizer_core import TokenType

from ..errors import error
from . import nodes
from .calls_parser import identifier
from .expressions_parser import ExpressionParser
from .tokenizer import NAMES, STRINGS

_MOST_RECURSIONS = 32767
_HINTS_WITH_VALUES = ("INDEX", "FORCESEEK", "SPATIAL_WINDOW_MAX_CELLS")
_HINTS = frozenset(
    {
        *_HINTS_WITH_VALUES,
        "FASTFIRSTROW",
        "FORCESCAN",
        "HOLDLOCK",
        "IGNORE_CONSTRAINTS",
        "IGNORE_TRIGGERS",
        "KEEPDEFAULTS",
        "KEEPIDENTITY",
        "NOEXPAND",
        "NOLOCK",
        "NOWAIT",
        "PAGLOCK",
        "READCOMMITTED",
        "READCOMMITTEDLOCK",
        "READPAST",
        "READUNCOMMITTED",
        "REPEATABLEREAD",
        "ROWLOCK",
        "SERIALIZABLE",
        "SNAPSHOT",
        "TABLOCK",
        "TABLOCKX",
        "UPDLOCK",
        "XLOCK",
    }
)
_JOIN_HINTS = ("LOOP", "HASH", "MERGE", "REMOTE")
#: Hints that may stand without WITH.
_BARE_HINTS = frozenset(
    {
        "NOLOCK",
        "UPDLOCK",
        "HOLDLOCK",
        "TABLOCK",
        "TABLOCKX",
        "ROWLOCK",
        "READPAST",
        "XLOCK",
    }
)
#: Functions that make a rowset when they stand in FROM.
_ROWSET_FUNCTIONS = frozenset({"OPENJSON", "STRING_SPLIT", "GENERATE_SERIES"})
_SYSTEM_FUNCTIONS = frozenset({"DM_EXEC_SQL_TEXT", "DM_EXEC_INPUT_BUFFER"})
"""Table-valued functions of the schema sys."""
_REMOTE_ROWSETS = frozenset(
    {"OPENQUERY", "OPENROWSET", "OPENXML", "OPENDATASOURCE", "CONTAINSTABLE", "FREETEXTTABLE"}
)
#: Assignments that read what they assign to.
COMPOUND: dict[str, type[exp.Expression]] = {
    "+=": exp.Add,
    "-=": exp.Sub,
    "*=": exp.Mul,
    "/=": exp.Div,
    "%=": exp.Mod,
}
ASSIGNING = frozenset({"=", *COMPOUND})
MODIFICATIONS = frozenset({TokenType.INSERT, TokenType.UPDATE, TokenType.DELETE, TokenType.MERGE})
_SIDES = frozenset({TokenType.INNER, TokenType.LEFT, TokenType.RIGHT, TokenType.FULL})
_WITHOUT_CONDITION = ("CROSS", "CROSS APPLY", "OUTER APPLY")


class QueryParser(ExpressionParser):
    # --- queries --------------------------------------------------------------------------

    def query(self) -> exp.Expression:
        """A query expression with its WITH, ORDER BY and OFFSET."""
        ctes = self.common_tables() if self._curr.token_type is TokenType.WITH else None
        node = self._union()
        if self._match(TokenType.ORDER_BY):
            self.expect("BY")
            node.set("order", self.order_items())
            if self.accept("OFFSET"):
                self._offset(node)
        if self._curr.token_type is TokenType.FOR and self.word_after() in (
            "XML",
            "JSON",
            "BROWSE",
        ):
            self.unsupported(f"FOR {self.word_after()}")
        self.query_hints(node)
        if ctes:
            node.set("ctes", ctes)
        return node

    def _offset(self, node: exp.Expression) -> None:
        node.set("offset", self.scalar())
        self._rows()
        if self._match(TokenType.FETCH):
            if not self.accept("FIRST"):
                self.expect("NEXT")
            node.set("fetch", self.scalar())
            self._rows()
            self.expect("ONLY")

    def _rows(self) -> None:
        if not self.accept("ROWS"):
            self.expect("ROW")

    def query_hints(self, node: exp.Expression) -> None:
        """OPTION (…): hints steer plans, never results, so they are read and let go; all but
        the limit of recursions."""
        if not self._match_pair(TokenType.OPTION, TokenType.L_PAREN):
            return
        mark = self.mark
        self._skip_to_parenthesis()
        end = self.mark
        self.return_to(mark)
        while self.mark < end:
            if self.accept("MAXRECURSION"):
                node.set("most_recursions", self._recursions())
            else:
                self.advance()

    def _recursions(self) -> int:
        number = self.integer()
        if number > _MOST_RECURSIONS:
            raise error(310, number, _MOST_RECURSIONS, line=self.last.line)
        return number

    def _skip_to_parenthesis(self) -> None:
        """Step behind the parenthesis that closes the one just read."""
        depth = 1
        while depth:
            if self.at_end:
                self.fail()
            kind = self.advance().token_type
            depth += (kind is TokenType.L_PAREN) - (kind is TokenType.R_PAREN)

    def common_tables(self) -> list[exp.Expression]:
        self.expect_token(TokenType.WITH)
        return self._parse_csv(self._common_table)

    def _common_table(self) -> exp.Expression:
        name = self.name()
        columns = self.names() if self._curr.token_type is TokenType.L_PAREN else None
        self.expect("AS", "(")
        query = self._query_to_parenthesis()
        return nodes.CommonTable(this=name, columns=columns, query=query)

    def _union(self) -> exp.Expression:
        left = self._intersection()
        while self._curr.token_type in (TokenType.UNION, TokenType.EXCEPT):
            kind = self.advance().text.upper()
            if kind == "UNION" and self._match(TokenType.ALL):
                kind = "UNION ALL"
            left = nodes.SetOperation(this=left, expression=self._intersection(), kind=kind)
        return left

    def _intersection(self) -> exp.Expression:
        left = self._query_term()
        while self._match(TokenType.INTERSECT):
            left = nodes.SetOperation(this=left, expression=self._query_term(), kind="INTERSECT")
        return left

    def _query_term(self) -> exp.Expression:
        if self._match(TokenType.L_PAREN):
            return self._query_to_parenthesis()
        if self._match(TokenType.VALUES):
            return nodes.ValuesQuery(expressions=self._parse_csv(self.row))
        return self._select()

    def row(self) -> exp.Expression:
        return exp.Tuple(expressions=self._parse_wrapped_csv(self.scalar))

    def _select(self) -> exp.Expression:
        self.expect_token(TokenType.SELECT)
        node = nodes.SelectQuery(expressions=[])
        if self._match(TokenType.DISTINCT):
            node.set("distinct", True)
        else:
            self._match(TokenType.ALL)
        if top := self.top():
            node.set("top", top)
        node.set("expressions", self._parse_csv(self.select_item))
        if self._match(TokenType.INTO):
            node.set("into", self.object_name())
        if self._match(TokenType.FROM):
            node.set("source", self.sources())
        if self._match(TokenType.WHERE):
            node.set("where", self.condition())
        if self._match(TokenType.GROUP_BY):
            self._group(node)
        if self._match(TokenType.HAVING):
            node.set("having", self.condition())
        return node

    def _group(self, node: exp.Expression) -> None:
        self.expect("BY")
        if self.word in ("ROLLUP", "CUBE", "GROUPING"):
            sets = "GROUPING SETS"
            self.unsupported(f"GROUP BY {sets if self.word == 'GROUPING' else self.word}")
        node.set("group", self._parse_csv(self.scalar))
        if self._curr.token_type is TokenType.WITH and self.word_after() in ("ROLLUP", "CUBE"):
            self.unsupported(f"GROUP BY … WITH {self.word_after()}")

    def top(self) -> exp.Expression | None:
        if not self._match(TokenType.TOP):
            return None
        if self._match(TokenType.L_PAREN):
            amount = self.scalar()
            self._match_r_paren()
        else:
            amount = self._parse_primary()
        if self._match(TokenType.PERCENT):
            self.unsupported("TOP … PERCENT")
        if self.accept("WITH", "TIES"):
            self.unsupported("TOP … WITH TIES")
        return nodes.Top(this=amount)

    def select_item(self) -> exp.Expression:
        if self._match(TokenType.STAR):
            return exp.Star()
        kind, following = self._curr.token_type, self._next.token_type
        if following is TokenType.EQ and (kind in NAMES or kind is TokenType.STRING):
            # alias = expression
            name = self.advance().text
            self._advance()
            return exp.Alias(this=self.scalar(), alias=identifier(name))
        if kind is TokenType.PARAMETER and self.word_after() in ASSIGNING:
            return self._variable_assignment()
        value = self.scalar()
        if isinstance(value, exp.Column) and isinstance(value.this, exp.Star):
            return value
        alias = self.alias_name(strings=True)
        return value if alias is None else exp.Alias(this=value, alias=identifier(alias))

    def _variable_assignment(self) -> exp.Expression:
        name = self.advance().text
        operator = self.advance().text
        value = self.scalar()
        if operator in COMPOUND:
            value = COMPOUND[operator](this=exp.Parameter(this=name), expression=value)
        return nodes.Assignment(this=exp.Parameter(this=name), expression=value)

    def alias_name(self, *, strings: bool = False) -> str | None:
        """``[AS] name``; a select list also takes a string."""
        kind = self._curr.token_type
        if kind is TokenType.ALIAS:
            self._advance()
            if strings and self._curr.token_type in STRINGS:
                return self.advance().text
            return self.name()
        if kind in NAMES or (strings and kind is TokenType.STRING):
            return self.advance().text
        return None

    def order_items(self) -> list[exp.Expression]:
        return self._parse_csv(self._order_item)

    def _order_item(self) -> exp.Expression:
        value = self.scalar()
        descending = self._match(TokenType.DESC)
        if not descending:
            self._match(TokenType.ASC)
        return nodes.OrderItem(this=value, descending=bool(descending))

    # --- FROM -----------------------------------------------------------------------------

    def sources(self) -> exp.Expression:
        left = self._joined()
        while self._match(TokenType.COMMA):
            left = nodes.JoinSource(this=left, expression=self._joined(), kind="CROSS")
        return left

    def _joined(self, *, before_on: bool = False) -> exp.Expression:
        """Joined tables. In ``a JOIN b JOIN c ON … ON …`` the inner join comes first: what
        stands between JOIN and its ON is read with ``before_on``."""
        left = self.source_item()
        while not (before_on and self._curr.token_type is TokenType.ON):
            kind = self._join_kind()
            if kind is None:
                if before_on:
                    self.fail()
                return left
            if kind in _WITHOUT_CONDITION:
                left = nodes.JoinSource(this=left, expression=self.source_item(), kind=kind)
                continue
            right = self._joined(before_on=True)
            self.expect_token(TokenType.ON)
            left = nodes.JoinSource(this=left, expression=right, kind=kind, on=self.condition())
        return left

    def _join_kind(self) -> str | None:
        kind = self._curr.token_type
        if kind is TokenType.JOIN:
            self._advance()
            return "INNER"
        if kind is TokenType.CROSS:
            return (
                "CROSS"
                if self.accept("CROSS", "JOIN")
                else "CROSS APPLY"
                if self.accept("CROSS", "APPLY")
                else None
            )
        if kind is TokenType.OUTER:
            return "OUTER APPLY" if self.accept("OUTER", "APPLY") else None
        if kind not in _SIDES:
            return None
        self._advance()
        if kind is not TokenType.INNER:
            self._match(TokenType.OUTER)
        if self.word in _JOIN_HINTS:
            self._advance()
        self.expect_token(TokenType.JOIN)
        return kind.name

    def source_item(self) -> exp.Expression:
        if self._curr.token_type is TokenType.L_PAREN:
            return self._parenthesized_source()
        word = self.word
        if word in _ROWSET_FUNCTIONS and self._next.token_type is TokenType.L_PAREN:
            return self._rowset_function(self.advance().text)
        if word in _REMOTE_ROWSETS:
            self.unsupported(word)
        name = self.object_name()
        hints: list[str] = []
        if self._match(TokenType.L_PAREN, advance=False):
            if name.schema.lower() == "sys" and name.name.upper() in _SYSTEM_FUNCTIONS:
                return self._rowset_function(name.name)
            if self.word_after() not in _BARE_HINTS:
                self.unsupported(f"the table-valued function {name}")
            hints = self._hint_list()
        if self.at("FOR", "SYSTEM_TIME"):
            self.unsupported("FOR SYSTEM_TIME")
        if self._curr.token_type is TokenType.TABLE_SAMPLE:
            self.unsupported(self.word)
        alias = self.alias_name()
        hints += self.table_hints()
        if self._curr.token_type in (TokenType.PIVOT, TokenType.UNPIVOT):
            self.unsupported(self.word)
        return nodes.TableSource(name=name, alias=alias, hints=tuple(hints))

    def table_hints(self) -> list[str]:
        """``WITH (…)``, if that comes next."""
        if self._match_pair(TokenType.WITH, TokenType.L_PAREN, advance=False):
            self._advance()
            return self._hint_list()
        return []

    def _hint_list(self) -> list[str]:
        self._match_l_paren()
        hints = []
        while not self._match(TokenType.R_PAREN):
            hint = self.word
            if not hint:
                self.fail()
            self._advance()
            if hint == ",":
                continue
            if hint not in _HINTS:
                raise error(321, self.last.text, line=self.last.line)
            hints.append(hint)
            if hint not in _HINTS_WITH_VALUES:
                continue
            if self._match(TokenType.L_PAREN):
                self._skip_to_parenthesis()
            elif self._match(TokenType.EQ):
                self.advance()
        return hints

    def _parenthesized_source(self) -> exp.Expression:
        following = self._next.token_type
        if following in MODIFICATIONS:
            self.unsupported("a data modification statement in FROM")
        if not self.at_query() and following is not TokenType.VALUES:
            self._advance()
            inner = self.sources()
            self._match_r_paren()
            return inner
        self._advance()
        query = self._query_to_parenthesis()
        alias = self.alias_name()
        if alias is None:
            self.fail()
        columns = self.names() if self._curr.token_type is TokenType.L_PAREN else None
        return nodes.QuerySource(query=query, alias=alias, columns=columns)

    def _rowset_function(self, function: str) -> exp.Expression:
        call = self.call(function)
        schema = None
        if call.args["this"] == "OPENJSON" and self.accept("WITH", "("):
            schema = tuple(self._parse_csv(self._openjson_column))
            self._match_r_paren()
        alias = self.alias_name()
        listed = alias and self._curr.token_type is TokenType.L_PAREN
        columns = self.names() if listed else None
        return nodes.FunctionSource(call=call, alias=alias, columns=columns, schema=schema)

    def _openjson_column(self) -> tuple[str, Any, str | None, bool]:
        name = self.name()
        to = self.data_type()
        path = self.string() if self._curr.token_type is TokenType.STRING else None
        return name, to, path, self.accept("AS", "JSON")

"""sqlglot's parser of expressions, taught T-SQL's operators, conditions and calls.

Source: T-SQL reference, "Operator precedence", "Search condition", "Expressions".

Which operators, literals and functions there are is said in sqlglot's own tables; a method
takes the place of sqlglot's where that reads another language: it lets ``THEN`` be missing,
rewrites ``ISNULL`` into ``COALESCE``, or keeps no account of what stood there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, cast

from sqlglot import exp
from sqlglot.tokenizer_core import Token, TokenType

from ..errors import error
from ..sqltypes import Kind, SqlType
from . import nodes
from .calls_parser import CallParser, identifier
from .tokenizer import NAMES

_AFTER_A_QUERY = {
    TokenType.R_PAREN,
    TokenType.UNION,
    TokenType.EXCEPT,
    TokenType.INTERSECT,
    TokenType.ORDER_BY,
}
_QUANTIFIERS = {TokenType.ANY, TokenType.SOME, TokenType.ALL}
_ODBC_FUNCTIONS = {
    "UCASE": "UPPER",
    "LCASE": "LOWER",
    "LENGTH": "LEN",
    "IFNULL": "ISNULL",
    "NOW": "GETDATE",
    "CURDATE": "CURRENT_DATE",
    "DATABASE": "DB_NAME",
    "TRUNCATE": "ROUND",
}
_ODBC_LITERALS = {
    "D": SqlType(Kind.DATE),
    "T": SqlType(Kind.TIME, scale=7),
    "TS": SqlType(Kind.DATETIME),
}


class ExpressionParser(CallParser):
    """Parses expressions; queries inside them come from the subclass."""

    COMPARISON: ClassVar[dict[TokenType, Any]] = {
        TokenType.EQ: exp.EQ,
        TokenType.NEQ: exp.NEQ,
        TokenType.LT: exp.LT,
        TokenType.LTE: exp.LTE,
        TokenType.GT: exp.GT,
        TokenType.GTE: exp.GTE,
    }
    #: + - & | ^ have one precedence in T-SQL.
    TERM: ClassVar = {
        TokenType.PLUS: exp.Add,
        TokenType.DASH: exp.Sub,
        TokenType.AMP: exp.BitwiseAnd,
        TokenType.PIPE: exp.BitwiseOr,
        TokenType.CARET: exp.BitwiseXor,
    }
    FACTOR: ClassVar = {
        TokenType.STAR: exp.Mul,
        TokenType.SLASH: exp.Div,
        TokenType.MOD: exp.Mod,
    }
    UNARY_PARSERS: ClassVar = {
        TokenType.DASH: lambda self: exp.Neg(this=self._parse_unary()),
        TokenType.PLUS: lambda self: self._parse_unary(),
        TokenType.TILDE: lambda self: exp.BitwiseNot(this=self._parse_unary()),
    }
    #: What follows the left side of a condition, after an optional NOT.
    RANGE_PARSERS: ClassVar = {
        TokenType.BETWEEN: lambda self, this: self._parse_between(this),
        TokenType.IN: lambda self, this: self._parse_in(this),
        TokenType.LIKE: lambda self, this: self._like(this),
    }
    PRIMARY_PARSERS: ClassVar[dict[TokenType, Callable[..., exp.Expression]]] = {
        TokenType.NUMBER: lambda _, token: exp.Literal(this=token.text, is_string=False),
        TokenType.STRING: lambda _, token: exp.Literal(this=token.text, is_string=True),
        TokenType.NATIONAL_STRING: lambda _, token: exp.National(this=token.text),
        TokenType.HEX_STRING: lambda _, token: _binary(token.text[2:]),
        TokenType.MONEY: lambda _, token: _money(token.text[1:].strip()),
        TokenType.PARAMETER: lambda self, token: self._variable(token),
        TokenType.SESSION_PARAMETER: lambda _, token: exp.SessionParameter(this=token.text),
        TokenType.NULL: lambda _, __: exp.Null(),
        TokenType.DEFAULT: lambda _, __: nodes.DefaultValue(),
        TokenType.L_BRACE: lambda self, _: self._odbc_escape(),
        TokenType.CASE: lambda self, _: self._parse_case(),
    }

    def query(self) -> exp.Expression:
        raise NotImplementedError

    def any_expression(self) -> exp.Expression:
        """An expression or a condition; the compiler tells which may stand where."""
        return self._parse_disjunction()

    # --- conditions -----------------------------------------------------------------------

    def _parse_disjunction(self) -> exp.Expression:
        """An expression or a condition; the compiler tells which may stand where."""
        return _balanced(super()._parse_disjunction(), exp.Or)

    def _parse_conjunction(self) -> exp.Expression:
        return _balanced(super()._parse_conjunction(), exp.And)

    def _parse_equality(self, parse_is: bool = True) -> exp.Expression:
        """NOT and one predicate; predicates do not follow one another in T-SQL."""
        if self._match(TokenType.NOT):
            return exp.Not(this=self._parse_equality())
        if self._match_pair(TokenType.EXISTS, TokenType.L_PAREN):
            return exp.Exists(this=self._query_to_parenthesis())
        left = cast("exp.Expression", self._parse_term())
        comparison = self.COMPARISON.get(self._curr.token_type)
        if comparison is not None:
            self._advance()
            return self._comparison(left, comparison)
        if self._match(TokenType.IS):
            return self._parse_is(left)
        following = self._curr.token_type
        negated = following is TokenType.NOT
        parser = self.RANGE_PARSERS.get(self._next.token_type if negated else following)
        if parser is None:
            return left
        self._advance(2 if negated else 1)
        return _negate(parser(self, left), negated)

    def _comparison(self, left: exp.Expression, node: type[exp.Expression]) -> exp.Expression:
        if self._curr.token_type in _QUANTIFIERS and self._next.token_type is TokenType.L_PAREN:
            every = self._curr.token_type is TokenType.ALL
            self._advance(2)
            query = self._query_to_parenthesis()
            return nodes.Quantified(this=left, operator=node, every=every, query=query)
        return node(this=left, expression=self.scalar())

    def _parse_is(self, this: exp.Expr | None) -> exp.Expression:
        negated = self._match(TokenType.NOT)
        if self.accept("DISTINCT"):
            self.expect("FROM")
            node = exp.NullSafeEQ if negated else exp.NullSafeNEQ
            return node(this=this, expression=self.scalar())
        self.expect_token(TokenType.NULL)
        return _negate(exp.Is(this=this, expression=exp.Null()), negated)

    def _parse_between(self, this: exp.Expr | None) -> exp.Between:
        low = self.scalar()
        self.expect_token(TokenType.AND)
        return exp.Between(this=this, low=low, high=self.scalar())

    def _like(self, this: exp.Expression) -> exp.Like:
        pattern = self.scalar()
        escape = self.scalar() if self._match(TokenType.ESCAPE) else None
        return exp.Like(this=this, expression=pattern, escape=escape)

    def _parse_in(self, this: exp.Expr | None, alias: bool = False) -> exp.In:
        self._match_l_paren()
        if self.at_query():
            return exp.In(this=this, query=self._query_to_parenthesis())
        node = exp.In(this=this, expressions=self._parse_csv(self.scalar))
        self._match_r_paren()
        return node

    def _query_to_parenthesis(self) -> exp.Expression:
        query = self.query()
        self._match_r_paren()
        return query

    def at_query(self) -> bool:
        """Whether a query starts here, possibly in more parentheses."""
        distance = 0
        while self.peek(distance).token_type is TokenType.L_PAREN:
            distance += 1
        kind = self.peek(distance).token_type
        return kind in (TokenType.SELECT, TokenType.WITH) or (
            distance == 0 and kind is TokenType.VALUES
        )

    def require_condition(self, node: exp.Expression) -> exp.Expression:
        """``node``, which must be a condition (4145)."""
        inner = node
        while isinstance(inner, exp.Paren):
            inner = inner.this
        if not isinstance(inner, nodes.PREDICATES):
            near = self.last if self.at_end else self.token
            raise error(4145, near.text, line=near.line)
        return node

    def condition(self) -> exp.Expression:
        return self.require_condition(self._parse_disjunction())

    # --- expressions ----------------------------------------------------------------------

    def operand(self) -> exp.Expression:
        """A constant, a name or a call with its sign."""
        return cast("exp.Expression", self._parse_unary())

    def scalar(self) -> exp.Expression:
        return cast("exp.Expression", self._parse_term())

    def _parse_factor(self, parse_mod: bool = True) -> exp.Expr | None:
        left = self._parse_unary()
        while node := self.FACTOR.get(self._curr.token_type):
            self._advance()
            left = node(this=left, expression=self._parse_unary())
        return left

    def _parse_type(
        self, parse_interval: bool = True, fallback_to_identifier: bool = False
    ) -> exp.Expression:
        """An operand with what may follow it; sqlglot looks for a type before a literal."""
        node = self._parse_primary()
        while True:
            if self._match(TokenType.COLLATE):
                node = exp.Collate(this=node, expression=identifier(self.name()))
            elif self._curr.token_type is TokenType.VAR and self.accept("AT", "TIME", "ZONE"):
                node = exp.AtTimeZone(this=node, zone=self._parse_unary())
            else:
                return node

    def _parse_primary(self) -> exp.Expression:
        token = self._curr
        if token.token_type in NAMES:
            return self._parse_column()
        if token.token_type is TokenType.L_PAREN:
            return self._parenthesized()
        parser = self.PRIMARY_PARSERS.get(token.token_type)
        if parser is None:
            return self._keyword(token)
        self._advance()
        return parser(self, token)

    def _parenthesized(self) -> exp.Expression:
        if self.at_query() and not self._at_operand():
            self._advance()
            return exp.Subquery(this=self._query_to_parenthesis())
        self._advance()
        inner = self._parse_disjunction()
        self._match_r_paren()
        return exp.Paren(this=inner)

    def _at_operand(self) -> bool:
        """Whether the parenthesis after the one that opens here is an operand, as in
        ``((SELECT 1) + 1)``, where a query seems to start."""
        distance, depth = 1, 0
        while True:
            kind = self.peek(distance).token_type
            if kind is TokenType.L_PAREN:
                depth += 1
            elif kind is TokenType.R_PAREN:
                depth -= 1
            if depth == 0:
                return kind is TokenType.R_PAREN and (
                    self.peek(distance + 1).token_type not in _AFTER_A_QUERY
                )
            if not self.peek(distance):
                return False
            distance += 1

    def _variable(self, token: Token) -> exp.Expression:
        if token.text == "@":
            self.fail(token)
        if self._curr.token_type is TokenType.DOT:
            self.unsupported("methods of xml and CLR types")
        return exp.Parameter(this=token.text)

    def _odbc_escape(self) -> exp.Expression:
        """``{d '…'}``, ``{t '…'}``, ``{ts '…'}``, ``{fn f(x)}``."""
        word = self.word
        node: exp.Expression
        if word == "FN":
            self._advance()
            node = self._parse_primary()
            if isinstance(node, nodes.Call):
                node.set("this", _ODBC_FUNCTIONS.get(node.this, node.this))
        elif word in _ODBC_LITERALS:
            self._advance()
            text = exp.Literal(this=self.string(), is_string=True)
            node = nodes.Convert(this=text, to=_ODBC_LITERALS[word])
        else:
            self.fail()
        self.expect_token(TokenType.R_BRACE)
        return node

    def _parse_case(self) -> exp.Expression:
        operand = None if self._curr.token_type is TokenType.WHEN else self.scalar()
        ifs = []
        while self._match(TokenType.WHEN):
            condition = self._parse_disjunction()
            self.expect_token(TokenType.THEN)
            ifs.append(exp.If(this=condition, true=self.scalar()))
        if not ifs:
            self.fail()
        default = self.scalar() if self._match(TokenType.ELSE) else None
        self.expect_token(TokenType.END)
        return exp.Case(this=operand, ifs=ifs, default=default)


def _negate(node: exp.Expression, negated: bool | None) -> exp.Expression:
    return exp.Not(this=node) if negated else node


def _balanced(chain: exp.Expr | None, node: type[exp.Expression]) -> exp.Expression:
    """AND and OR as a balanced tree: Django makes chains of thousands, and neither
    Python's stack nor SQLite's expression depth (1000) would bear a list."""
    terms: list[Any] = []
    while type(chain) is node:
        terms.append(chain.expression)
        chain = chain.this
    terms.append(chain)
    terms.reverse()
    return _joined(terms, node)


def _joined(terms: list[exp.Expression], node: type[exp.Expression]) -> exp.Expression:
    if len(terms) == 1:
        return terms[0]
    middle = len(terms) // 2
    return node(this=_joined(terms[:middle], node), expression=_joined(terms[middle:], node))


def _binary(digits: str) -> exp.Expression:
    return exp.HexString(this=digits if len(digits) % 2 == 0 else "0" + digits)


def _money(amount: str) -> exp.Expression:
    return exp.Literal(this=amount or "0", is_string=False, money=True)

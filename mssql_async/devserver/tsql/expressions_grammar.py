"""The grammar of expressions and search conditions.

Source: T-SQL reference, "Operator precedence", "Search condition", "Expressions".
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from ..errors import error
from . import nodes
from .lexer import RESERVED, TokenKind
from .stream import TokenStream

_COMPARISONS: dict[str, type[exp.Expression]] = {
    "=": exp.EQ,
    "<>": exp.NEQ,
    "!=": exp.NEQ,
    "<": exp.LT,
    "<=": exp.LTE,
    "!>": exp.LTE,
    ">": exp.GT,
    ">=": exp.GTE,
    "!<": exp.GTE,
}
#: + - & | ^ have one precedence in T-SQL.
_ADDITIVE: dict[str, type[exp.Expression]] = {
    "+": exp.Add,
    "-": exp.Sub,
    "&": exp.BitwiseAnd,
    "|": exp.BitwiseOr,
    "^": exp.BitwiseXor,
}
_MULTIPLICATIVE: dict[str, type[exp.Expression]] = {"*": exp.Mul, "/": exp.Div, "%": exp.Mod}
#: Functions without parentheses.
_BARE = frozenset(
    {
        "CURRENT_TIMESTAMP",
        "CURRENT_DATE",
        "CURRENT_USER",
        "SESSION_USER",
        "SYSTEM_USER",
        "USER",
    }
)
#: Reserved words that are function names before a parenthesis.
_RESERVED_FUNCTIONS = frozenset({"COALESCE", "NULLIF", "LEFT", "RIGHT", "IDENTITY"})
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
_ODBC_LITERALS = {"D": "DATE", "T": "TIME", "TS": "DATETIME"}


class ExpressionGrammar(TokenStream):
    """Parses expressions; queries inside them come from the subclass."""

    def query(self) -> exp.Expression:
        raise NotImplementedError

    def order_items(self) -> list[exp.Expression]:
        raise NotImplementedError

    # --- conditions -----------------------------------------------------------------------

    def expression(self) -> exp.Expression:
        """An expression or a condition; the compiler tells which may stand where."""
        return self._chain(self._conjunction, "OR", exp.Or)

    def _conjunction(self) -> exp.Expression:
        return self._chain(self._negation, "AND", exp.And)

    def _chain(self, one, word: str, node: type[exp.Expression]) -> exp.Expression:  # type: ignore[no-untyped-def]
        terms: list[exp.Expression] = [one()]
        while self.accept(word):
            terms.append(one())
        return _balanced(terms, node)

    def _negation(self) -> exp.Expression:
        if self.accept("NOT"):
            return exp.Not(this=self._negation())
        return self._condition()

    def _condition(self) -> exp.Expression:
        if self.token.upper == "EXISTS" and self.peek().upper == "(":
            self.expect("EXISTS", "(")
            query = self.query()
            self.expect(")")
            return exp.Exists(this=query)
        left = self.scalar()
        while True:
            upper = self.token.upper
            if upper in _COMPARISONS:
                self.advance()
                left = self._comparison(left, _COMPARISONS[upper])
            elif upper == "IS":
                self.advance()
                negated = self.accept("NOT")
                if self.accept("DISTINCT", "FROM"):
                    self.unsupported("IS [NOT] DISTINCT FROM")
                self.expect("NULL")
                left = _negate(exp.Is(this=left, expression=exp.Null()), negated)
            elif upper in ("IN", "BETWEEN", "LIKE") or (
                upper == "NOT" and self.peek().upper in ("IN", "BETWEEN", "LIKE")
            ):
                negated = self.accept("NOT")
                left = _negate(self._membership(left), negated)
            else:
                return left

    def _comparison(self, left: exp.Expression, node: type[exp.Expression]) -> exp.Expression:
        if self.token.upper in ("ANY", "SOME", "ALL") and self.peek().upper == "(":
            every = self.advance().upper == "ALL"
            self.expect("(")
            query = self.query()
            self.expect(")")
            return nodes.Quantified(this=left, operator=node, every=every, query=query)
        return node(this=left, expression=self.scalar())

    def _membership(self, left: exp.Expression) -> exp.Expression:
        word = self.advance().upper
        if word == "BETWEEN":
            low = self.scalar()
            self.expect("AND")
            return exp.Between(this=left, low=low, high=self.scalar())
        if word == "LIKE":
            pattern = self.scalar()
            escape = self.scalar() if self.accept("ESCAPE") else None
            return exp.Like(this=left, expression=pattern, escape=escape)
        self.expect("(")
        if self._at_query():
            node = exp.In(this=left, query=self.query())
        else:
            node = exp.In(this=left, expressions=self.separated(self.scalar))
        self.expect(")")
        return node

    def _at_query(self) -> bool:
        """Whether a query starts here, possibly in more parentheses."""
        distance = 0
        while self.peek(distance).upper == "(":
            distance += 1
        return self.peek(distance).upper in ("SELECT", "WITH") or (
            distance == 0 and self.token.upper == "VALUES"
        )

    # --- expressions ----------------------------------------------------------------------

    def scalar(self) -> exp.Expression:
        left = self._product()
        while self.token.upper in _ADDITIVE:
            node = _ADDITIVE[self.advance().upper]
            left = node(this=left, expression=self._product())
        return left

    def _product(self) -> exp.Expression:
        left = self._signed()
        while self.token.upper in _MULTIPLICATIVE:
            node = _MULTIPLICATIVE[self.advance().upper]
            left = node(this=left, expression=self._signed())
        return left

    def _signed(self) -> exp.Expression:
        if self.accept("-"):
            return exp.Neg(this=self._signed())
        if self.accept("+"):
            return self._signed()
        if self.accept("~"):
            return exp.BitwiseNot(this=self._signed())
        return self._postfix(self._primary())

    def _postfix(self, node: exp.Expression) -> exp.Expression:
        while True:
            if self.accept("COLLATE"):
                name = self.name()
                node = exp.Collate(this=node, expression=exp.Identifier(this=name, quoted=True))
            elif self.at("AT", "TIME", "ZONE"):
                self.expect("AT", "TIME", "ZONE")
                node = exp.AtTimeZone(this=node, zone=self._signed())
            else:
                return node

    def _primary(self) -> exp.Expression:
        token = self.token
        kind = token.kind
        if kind is TokenKind.QUOTED or (kind is TokenKind.WORD and token.upper not in RESERVED):
            return self._name_or_call()
        if kind is TokenKind.VARIABLE:
            return self._variable()
        if kind is TokenKind.NUMBER:
            self.advance()
            return exp.Literal(this=token.text, is_string=False)
        if kind is TokenKind.STRING:
            self.advance()
            return exp.Literal(this=token.text, is_string=True)
        if kind is TokenKind.NATIONAL:
            self.advance()
            return exp.National(this=token.text)
        if kind is TokenKind.BINARY:
            self.advance()
            digits = token.text[2:]
            return exp.HexString(this=digits if len(digits) % 2 == 0 else "0" + digits)
        if kind is TokenKind.MONEY:
            self.advance()
            amount = token.text[1:].strip() or "0"
            return exp.Literal(this=amount, is_string=False, money=True)
        if token.upper == "(":
            return self._parenthesized()
        if token.upper == "{":
            return self._odbc_escape()
        if kind is TokenKind.WORD:
            return self._keyword()
        return self.fail()

    def _parenthesized(self) -> exp.Expression:
        if self._at_query():
            self.expect("(")
            query = self.query()
            self.expect(")")
            return exp.Subquery(this=query)
        self.expect("(")
        inner = self.expression()
        self.expect(")")
        return exp.Paren(this=inner)

    def _variable(self) -> exp.Expression:
        token = self.advance()
        if token.text.startswith("@@"):
            return exp.SessionParameter(this=token.text)
        if token.text == "@":
            self.fail(token)
        if self.at("."):
            self.unsupported("methods of xml and CLR types")
        return exp.Parameter(this=token.text)

    def _odbc_escape(self) -> exp.Expression:
        """``{d '…'}``, ``{t '…'}``, ``{ts '…'}``, ``{fn f(x)}``."""
        self.expect("{")
        word = self.advance().upper
        if word == "FN":
            node = self._primary()
            if isinstance(node, nodes.Call):
                node.set("this", _ODBC_FUNCTIONS.get(node.this, node.this))
        elif word in _ODBC_LITERALS:
            from .parser import parse_type

            text = exp.Literal(this=self.string(), is_string=True)
            node = nodes.Convert(this=text, to=parse_type(_ODBC_LITERALS[word]))
        else:
            self.fail(self.last)
        self.expect("}")
        return node

    def _keyword(self) -> exp.Expression:
        token = self.token
        upper = token.upper
        if upper == "NULL":
            self.advance()
            return exp.Null()
        if upper == "CASE":
            return self._case()
        if upper in ("CONVERT", "TRY_CONVERT"):
            return self._convert()
        if upper in _BARE:
            self.advance()
            return nodes.Call(this=upper, expressions=[], bare=True)
        if upper in _RESERVED_FUNCTIONS and self.peek().upper == "(":
            self.advance()
            return self._call(token.text)
        if upper == "DEFAULT":
            self.advance()
            return nodes.DefaultValue()
        return self.fail()

    def _case(self) -> exp.Expression:
        self.expect("CASE")
        operand = None if self.at("WHEN") else self.scalar()
        ifs = []
        while self.accept("WHEN"):
            condition = self.expression()
            self.expect("THEN")
            ifs.append(exp.If(this=condition, true=self.scalar()))
        if not ifs:
            self.fail()
        default = self.scalar() if self.accept("ELSE") else None
        self.expect("END")
        return exp.Case(this=operand, ifs=ifs, default=default)

    def _convert(self) -> exp.Expression:
        """CONVERT(type, value [, style]) and TRY_CONVERT."""
        attempt = self.advance().upper.startswith("TRY")
        self.expect("(")
        to = self.type(default_length=30)
        self.expect(",")
        value = self.scalar()
        style = self.scalar() if self.accept(",") else None
        self.expect(")")
        return nodes.Convert(this=value, to=to, style=style, attempt=attempt)

    def _cast(self) -> exp.Expression:
        """CAST(value AS type), TRY_CAST, PARSE, TRY_PARSE."""
        word = self.advance().upper
        if word.endswith("PARSE"):
            self.unsupported(word)
        self.expect("(")
        value = self.scalar()
        self.expect("AS")
        to = self.type(default_length=30)
        self.expect(")")
        return nodes.Convert(this=value, to=to, attempt=word.startswith("TRY"))

    # --- names and calls ------------------------------------------------------------------

    def _name_or_call(self) -> exp.Expression:
        token = self.token
        following = self.peek().upper
        if following == "(":
            if token.upper in ("CAST", "TRY_CAST", "PARSE", "TRY_PARSE"):
                return self._cast()
            self.advance()
            return self._call(token.text)
        if token.upper in ("NEXT",) and following == "VALUE":
            self.unsupported("NEXT VALUE FOR")
        parts = [self.advance().text]
        while self.token.upper == ".":
            self.advance()
            if self.token.upper == "*":
                self.advance()
                return _column([*parts, "*"])
            if self.token.upper == ".":
                parts.append("")
                continue
            if self.token.kind not in (TokenKind.WORD, TokenKind.QUOTED):
                self.fail()
            # After a dot even a keyword can be a method or a function name.
            parts.append(self.advance().text)
        if self.token.upper == "(":
            if len(parts) > 2:
                self.unsupported("a call through a name of more than two parts")
            return self._call(parts[-1], schema=parts[0])
        if self.at(":", ":") or self.at("::"):
            self.unsupported("static methods of CLR types")
        return _column(parts)

    def _call(self, name: str, schema: str = "") -> exp.Expression:
        self.expect("(")
        call = nodes.Call(this=name.upper(), expressions=[], schema=schema)
        if schema:
            call.set("written", name)
        else:
            call.set("written", name)
        if self.accept("*"):
            call.set("star", True)
        elif not self.at(")"):
            if self.accept("DISTINCT"):
                call.set("distinct", True)
            else:
                self.accept("ALL")
            call.set("expressions", self.separated(self._argument))
            if call.args["this"] == "TRIM" and self.accept("FROM"):
                call.set("expressions", [self.scalar(), *call.expressions])
            if call.args["this"] in ("JSON_OBJECT", "JSON_ARRAY"):
                for words in (("NULL", "ON", "NULL"), ("ABSENT", "ON", "NULL")):
                    if self.accept(*words):
                        call.set("nulls", words[0])
        self.expect(")")
        if self.accept("WITHIN"):
            self.expect("GROUP", "(", "ORDER", "BY")
            call.set("within", self.order_items())
            self.expect(")")
        if self.at("IGNORE", "NULLS") or self.at("RESPECT", "NULLS"):
            self.unsupported("IGNORE NULLS | RESPECT NULLS")
        if self.accept("OVER"):
            call.set("over", self._over())
        return call

    def _argument(self) -> exp.Expression:
        """An argument; IIF's first is a condition, JSON_OBJECT's are pairs."""
        value = self.expression()
        if self.accept(":"):
            return exp.Tuple(expressions=[value, self.scalar()])
        return value

    def _over(self) -> exp.Expression:
        if self.at_name():
            self.unsupported("named windows")
        self.expect("(")
        partition: Sequence[exp.Expression] = ()
        order: Sequence[exp.Expression] = ()
        frame = None
        if self.accept("PARTITION", "BY"):
            partition = self.separated(self.scalar)
        if self.accept("ORDER", "BY"):
            order = self.order_items()
        if self.token.upper in ("ROWS", "RANGE"):
            unit = self.advance().upper
            if self.accept("BETWEEN"):
                start = self._bound()
                self.expect("AND")
                frame = (unit, start, self._bound())
            else:
                frame = (unit, self._bound(), ("CURRENT ROW", None))
        self.expect(")")
        return nodes.Over(partition=list(partition), order=list(order), frame=frame)

    def _bound(self) -> tuple[str, exp.Expression | None]:
        if self.accept("CURRENT", "ROW"):
            return "CURRENT ROW", None
        amount = None if self.accept("UNBOUNDED") else self.scalar()
        direction = self.advance().upper
        if direction not in ("PRECEDING", "FOLLOWING"):
            self.fail(self.last)
        return direction, amount

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
        return self.require_condition(self.expression())


def _negate(node: exp.Expression, negated: bool) -> exp.Expression:
    return exp.Not(this=node) if negated else node


def _balanced(terms: list[exp.Expression], node: type[exp.Expression]) -> exp.Expression:
    """AND and OR as a balanced tree: Django makes chains of thousands, and neither
    Python's stack nor SQLite's expression depth (1000) would bear a list."""
    if len(terms) == 1:
        return terms[0]
    middle = len(terms) // 2
    return node(this=_balanced(terms[:middle], node), expression=_balanced(terms[middle:], node))


def _column(parts: list[str]) -> exp.Column:
    def identifier(text: str) -> exp.Identifier:
        return exp.Identifier(this=text, quoted=True)

    if len(parts) > 4:
        raise error(4104, ".".join(parts))
    this: exp.Expression = exp.Star() if parts[-1] == "*" else identifier(parts[-1])
    qualifiers = [identifier(part) for part in reversed(parts[:-1])]
    return exp.Column(this=this, **dict(zip(("table", "db", "catalog"), qualifiers, strict=False)))

"""sqlglot's parser of names and function calls, taught T-SQL's.

Source: T-SQL reference, "Database identifiers", "CAST and CONVERT", "OVER clause", and the
pages of the functions whose arguments are more than a list.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, cast

from sqlglot import exp
from sqlglot.tokenizer_core import Token, TokenType

from ..errors import error
from . import nodes
from .data_types import TypeParser
from .tokenizer import NAMES, RESERVED

#: Functions without parentheses.
_BARE = (
    "CURRENT_TIMESTAMP",
    "CURRENT_DATE",
    "CURRENT_USER",
    "SESSION_USER",
    "SYSTEM_USER",
    "USER",
)
#: Reserved words that are function names before a parenthesis.
_RESERVED_FUNCTIONS = frozenset({"COALESCE", "NULLIF", "LEFT", "RIGHT", "IDENTITY"})
#: Conditions of full-text search.
_FULL_TEXT = frozenset({"CONTAINS", "FREETEXT"})


class CallParser(TypeParser):
    """Parses names and calls; the expressions in them come from the subclass."""

    #: No function is known: all keep their name and their arguments as they were written.
    FUNCTIONS: ClassVar = {}
    #: Calls with a syntax of their own.
    FUNCTION_PARSERS: ClassVar = {
        "CAST": lambda self: self._parse_cast(True),
        "TRY_CAST": lambda self: self._parse_cast(False),
        "CONVERT": lambda self: self._parse_convert(True),
        "TRY_CONVERT": lambda self: self._parse_convert(False),
        "PARSE": lambda self: self.unsupported("PARSE"),
        "TRY_PARSE": lambda self: self.unsupported("TRY_PARSE"),
    }
    NO_PAREN_FUNCTION_PARSERS: ClassVar[dict[str, Callable[..., Any]]] = dict.fromkeys(
        _BARE, lambda self: self._bare()
    )

    def scalar(self) -> exp.Expression:
        raise NotImplementedError

    def order_items(self) -> list[exp.Expression]:
        raise NotImplementedError

    def _parse_column(self) -> exp.Expression:
        """A name of up to four parts, a call, or ``t.*``."""
        token = self._curr
        if self._next.token_type is TokenType.L_PAREN:
            self._advance()
            word = token.text.upper()
            if token.token_type is TokenType.VAR and word in self.FUNCTION_PARSERS:
                return self._special_call(word)
            return self.call(token.text)
        if token.token_type is TokenType.VAR:
            if token.text[0] == "$":
                self.unsupported(token.text)
            if self.at("NEXT", "VALUE"):
                self.unsupported("NEXT VALUE FOR")
        self._advance()
        parts = [token.text]
        while self._match(TokenType.DOT):
            token = self._curr
            if self._match(TokenType.STAR):
                return _column([*parts, "*"])
            if token.token_type is TokenType.DOT:
                parts.append("")
                continue
            # After a dot even a keyword can be a method or a function name.
            if token.token_type not in NAMES and self.word not in RESERVED:
                self.fail()
            self._advance()
            parts.append(token.text)
        if self._curr.token_type is TokenType.L_PAREN:
            if len(parts) > 2:
                self.unsupported("a call through a name of more than two parts")
            return self.call(parts[-1], schema=parts[0])
        if self._curr.token_type is TokenType.DCOLON:
            self.unsupported("static methods of CLR types")
        return _column(parts)

    def _special_call(self, word: str) -> exp.Expression:
        self._match_l_paren()
        node = self.FUNCTION_PARSERS[word](self)
        self._match_r_paren()
        return cast("exp.Expression", node)

    def _parse_cast(self, strict: bool, safe: bool | None = None) -> exp.Expression:
        value = self.scalar()
        self.expect_token(TokenType.ALIAS)
        to = self.data_type(default_length=30)
        return nodes.Convert(this=value, to=to, attempt=not strict)

    def _parse_convert(self, strict: bool, safe: bool | None = None) -> exp.Expression:
        to = self.data_type(default_length=30)
        self.expect_token(TokenType.COMMA)
        value = self.scalar()
        style = self.scalar() if self._match(TokenType.COMMA) else None
        return nodes.Convert(this=value, to=to, style=style, attempt=not strict)

    def _bare(self) -> exp.Expression:
        return nodes.Call(this=self._prev.text.upper(), expressions=[], bare=True)

    def call(self, name: str, schema: str = "") -> exp.Expression:
        """The call of a function whose name has been read."""
        self._match_l_paren()
        call = nodes.Call(this=name.upper(), expressions=[], schema=schema, written=name)
        if self._match(TokenType.STAR):
            call.set("star", True)
        elif self._curr.token_type is not TokenType.R_PAREN:
            self._arguments(call)
        self._match_r_paren()
        return cast("exp.Expression", self._parse_window(call))

    def _arguments(self, call: nodes.Call) -> None:
        if self._match(TokenType.DISTINCT):
            call.set("distinct", True)
        else:
            self._match(TokenType.ALL)
        arguments = self._parse_csv(self._argument)
        name = call.args["this"]
        if name == "TRIM" and self._match(TokenType.FROM):
            arguments = [self.scalar(), *arguments]
        call.set("expressions", arguments)
        if name in ("JSON_OBJECT", "JSON_ARRAY"):
            for words in (("NULL", "ON", "NULL"), ("ABSENT", "ON", "NULL")):
                if self.accept(*words):
                    call.set("nulls", words[0])

    def _argument(self) -> exp.Expression:
        """An argument; IIF's first is a condition, JSON_OBJECT's are pairs."""
        value = cast("exp.Expression", self._parse_disjunction())
        if self._match(TokenType.COLON):
            return exp.Tuple(expressions=[value, self.scalar()])
        return value

    def _parse_window(self, this: exp.Expr | None, alias: bool = False) -> exp.Expr | None:
        """What follows a call: WITHIN GROUP and OVER."""
        if this is None:
            return None
        if self._curr.token_type is TokenType.VAR:
            if self.accept("WITHIN"):
                self.expect("GROUP", "(", "ORDER", "BY")
                this.set("within", self.order_items())
                self._match_r_paren()
            if self.at("IGNORE", "NULLS") or self.at("RESPECT", "NULLS"):
                self.unsupported("IGNORE NULLS | RESPECT NULLS")
        if self._match(TokenType.OVER):
            this.set("over", self._over())
        return this

    def _over(self) -> exp.Expression:
        if self.at_name():
            self.unsupported("named windows")
        self._match_l_paren()
        partition: Sequence[exp.Expression] = ()
        order: Sequence[exp.Expression] = ()
        frame = None
        if self.accept("PARTITION", "BY"):
            partition = self._parse_csv(self.scalar)
        if self.accept("ORDER", "BY"):
            order = self.order_items()
        if self.word in ("ROWS", "RANGE"):
            unit = self.advance().text.upper()
            if self._match(TokenType.BETWEEN):
                start = self._bound()
                self.expect_token(TokenType.AND)
                frame = (unit, start, self._bound())
            else:
                frame = (unit, self._bound(), ("CURRENT ROW", None))
        self._match_r_paren()
        return nodes.Over(partition=list(partition), order=list(order), frame=frame)

    def _bound(self) -> tuple[str, exp.Expression | None]:
        if self.accept("CURRENT", "ROW"):
            return "CURRENT ROW", None
        amount = None if self.accept("UNBOUNDED") else self.scalar()
        direction = self.word
        if direction not in ("PRECEDING", "FOLLOWING"):
            self.fail()
        self._advance()
        return direction, amount

    def _keyword(self, token: Token) -> exp.Expression:
        """A reserved word that names a function."""
        word = token.text.upper()
        if word not in RESERVED:
            self.fail()
        if parser := self.NO_PAREN_FUNCTION_PARSERS.get(word):
            self._advance()
            return cast("exp.Expression", parser(self))
        if word in self.FUNCTION_PARSERS:
            self._advance()
            return self._special_call(word)
        if word in _RESERVED_FUNCTIONS and self._next.token_type is TokenType.L_PAREN:
            self._advance()
            return self.call(token.text)
        if word in _FULL_TEXT and self._next.token_type is TokenType.L_PAREN:
            self.unsupported(word)
        return self.fail()


def identifier(text: str) -> exp.Identifier:
    return exp.Identifier(this=text, quoted=True)


def _column(parts: list[str]) -> exp.Column:
    if len(parts) > 4:
        raise error(4104, ".".join(parts))
    this: exp.Expression = exp.Star() if parts[-1] == "*" else identifier(parts[-1])
    qualifiers: list[Any] = [identifier(part) for part in reversed(parts[:-1])]
    return exp.Column(this=this, **dict(zip(("table", "db", "catalog"), qualifiers, strict=False)))

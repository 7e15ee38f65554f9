"""Expressions and conditions into SQLite SQL, each with its T-SQL type.

Source: T-SQL reference, "Expressions", "Operators", "CASE", "COLLATE", "LIKE", "IN".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar, TypeGuard

from sqlglot import exp

from ..errors import NotSupportedByStandIn, error
from ..sqltypes import (
    BINARY_KINDS,
    BIT,
    DATETIME_KINDS,
    DECIMAL_KINDS,
    FLOAT,
    FLOAT_KINDS,
    INT,
    INTEGER_KINDS,
    MAX,
    MONEY,
    STRING_KINDS,
    UNICODE_KINDS,
    Collation,
    Kind,
    SqlType,
    varbinary,
)
from . import nodes, strings, types
from .conversions import INTEGER_RANGES
from .job import Job
from .names import Names, column_value
from .typed import (
    NULL,
    Typed,
    align,
    common_collation,
    compared,
    constant,
    convert,
    literal,
    operand,
)

_COMPARISONS: dict[type[exp.Expr], tuple[str, str]] = {
    exp.EQ: ("=", "equal to"),
    exp.NEQ: ("<>", "not equal to"),
    exp.NullSafeEQ: ("IS", "equal to"),
    exp.NullSafeNEQ: ("IS NOT", "not equal to"),
    exp.LT: ("<", "less than"),
    exp.LTE: ("<=", "less than or equal to"),
    exp.GT: (">", "greater than"),
    exp.GTE: (">=", "greater than or equal to"),
}
_ARITHMETIC: dict[type[exp.Expr], tuple[str, str]] = {
    exp.Add: ("+", "add"),
    exp.Sub: ("-", "subtract"),
    exp.Mul: ("*", "multiply"),
    exp.Div: ("/", "divide"),
    exp.Mod: ("%", "modulo"),
}
_BITWISE: dict[type[exp.Expr], str] = {
    exp.BitwiseAnd: "&",
    exp.BitwiseOr: "|",
    exp.BitwiseXor: "^",
}
_DECIMAL_FUNCTIONS = {
    "+": "ts_dec_add",
    "-": "ts_dec_sub",
    "*": "ts_dec_mul",
    "/": "ts_dec_div",
    "%": "ts_dec_mod",
}
_CHECKS = {
    Kind.BIT: "ts_int",
    Kind.TINYINT: "ts_tinyint",
    Kind.SMALLINT: "ts_smallint",
    Kind.INT: "ts_int",
    Kind.BIGINT: "ts_bigint",
}


_HIJRI = (130, 131)


class Expressions:
    """Compiles expressions. Subqueries are the subclass's business."""

    def __init__(self, job: Job) -> None:
        self.job = job

    # --- what queries add -----------------------------------------------------------------

    def scalar_subquery(self, query: exp.Expression, names: Names) -> Typed:
        raise NotImplementedError

    def exists(self, query: exp.Expression, names: Names) -> str:
        raise NotImplementedError

    def in_query(self, left: Typed, query: exp.Expression, names: Names) -> str:
        raise NotImplementedError

    def quantified(self, node: exp.Expression, names: Names) -> str:
        raise NotImplementedError

    # --- expressions ----------------------------------------------------------------------

    def scalar(self, node: exp.Expression, names: Names) -> Typed:
        """An expression."""
        handler = self._SCALARS.get(type(node))
        if handler is not None:
            return handler(self, node, names)
        if isinstance(node, nodes.PREDICATES):
            # A condition is not a value: SQL Server stumbles over its operator.
            raise error(102, _near(node))
        raise NotSupportedByStandIn(type(node).__name__)

    def _literal(self, node: exp.Expression, names: Names) -> Typed:
        text = node.args["this"]
        if node.args["is_string"]:
            # Without N a constant has the code page of the database.
            text = strings.to_code_page(text)
            return constant(text, types.string_constant(text))
        if node.args.get("money"):
            return convert(constant(text, types.number_type(text)), MONEY)
        of = types.number_type(text)
        if of.kind is Kind.FLOAT:
            number = float(text if text[-1] not in "eE+-" else text + "0")
            if math.isinf(number):
                raise error(168, text, 8)
            return constant(number, of)
        if of.kind is Kind.INT:
            return replace(constant(int(text), of), digits=len(text.lstrip("0")) or 1)
        from . import decimals

        value = decimals.fit(decimals.number(text), of.precision or 38, of.scale or 0)
        return constant(value, of)

    def _national(self, node: exp.Expression, names: Names) -> Typed:
        text = node.args["this"]
        return constant(text, types.national_constant(text))

    def _hex(self, node: exp.Expression, names: Names) -> Typed:
        data = bytes.fromhex(node.args["this"])
        return constant(data, varbinary(len(data) if 0 < len(data) <= 8000 else MAX if data else 1))

    def _null(self, node: exp.Expression, names: Names) -> Typed:
        return NULL

    def _paren(self, node: exp.Expression, names: Names) -> Typed:
        inner = self.scalar(node.this, names)
        if inner.column or inner.constant or inner.variable:
            return inner
        return replace(inner, sql=f"({inner.sql})")

    def _parameter(self, node: exp.Expression, names: Names) -> Typed:
        return self.job.variable(node.args["this"])

    def _session_parameter(self, node: exp.Expression, names: Names) -> Typed:
        from . import functions

        return functions.global_variable(node.args["this"])

    def _column(self, node: exp.Expression, names: Names) -> Typed:
        qualifiers = [
            node.args[part].this for part in ("table", "db", "catalog") if node.args.get(part)
        ]
        if isinstance(node.this, exp.Star):
            raise error(102, "*")
        source, column = names.find(node.this.this, qualifiers)
        if column.computed is not None:
            return self._computed(column.computed, column.type, source.alias, names)
        return column_value(column)

    def _computed(self, text: str, of: SqlType, alias: str, names: Names) -> Typed:
        """A computed column where it is read: its expression over the same row."""
        from .parser import parse_expression

        level: Names | None = names
        while level is not None:
            for source in level.sources:
                if source.alias == alias:
                    inner = Names()
                    inner.add(source)
                    value = self.scalar(parse_expression(text), inner)
                    converted = convert(value, of, explicit=True)
                    return replace(converted, column=False, implicit=True)
            level = level.parent
        raise error(207, text)

    def _collate(self, node: exp.Expression, names: Names) -> Typed:
        value = self.scalar(node.this, names)
        name = node.args["expression"].this
        if name.upper() == "DATABASE_DEFAULT":
            name = None
        elif not strings.is_collation(name):
            raise error(448, name)
        if value.type.kind not in STRING_KINDS:
            raise error(447, value.type.kind.value)
        of = value.type.with_collation(name)
        sql = value.sql
        if value.column and types.collation(of) is not types.collation(value.type):
            return replace(value, type=of, explicit=True, column=False)
        return replace(value, sql=sql, type=of, explicit=True)

    def _at_time_zone(self, node: exp.Expression, names: Names) -> Typed:
        value = self.scalar(node.this, names)
        zone = self.scalar(node.args["zone"], names)
        if value.type.kind not in DATETIME_KINDS or value.type.kind in (Kind.DATE, Kind.TIME):
            raise error(8116, value.type.kind.value, 1, "AT TIME ZONE")
        scale = {Kind.DATETIME: 3, Kind.SMALLDATETIME: 0}.get(value.type.kind, value.type.scale)
        offset = 1 if value.type.kind is Kind.DATETIMEOFFSET else 0
        return Typed(
            f"ts_at_time_zone({value.sql}, {zone.sql}, {offset})",
            SqlType(Kind.DATETIMEOFFSET, scale=scale),
        )

    def _subquery(self, node: exp.Expression, names: Names) -> Typed:
        return self.scalar_subquery(node.this, names)

    def _convert(self, node: exp.Expression, names: Names) -> Typed:
        value = self.scalar(node.this, names)
        to: SqlType = node.args["to"]
        style_node = node.args.get("style")
        attempt = bool(node.args.get("attempt"))
        if style_node is None:
            return _cast(convert(value, to, attempt=attempt, explicit=True))
        style = convert(self.scalar(style_node, names), INT)
        if not style.constant:
            raise NotSupportedByStandIn("CONVERT with a style that is not a constant")
        if style.value is None:
            return Typed("NULL", to, constant=True)
        number = int(style.value)
        if number in _HIJRI and value.type.kind in DATETIME_KINDS:
            raise NotSupportedByStandIn("CONVERT with the Hijri styles 130 and 131")
        if not _styled(value.type, to):
            return _cast(convert(value, to, attempt=attempt, explicit=True))
        return _cast(convert(value, to, style=number, attempt=attempt, explicit=True))

    # --- operators ------------------------------------------------------------------------

    def _negative(self, node: exp.Expression, names: Names) -> Typed:
        value = self.scalar(node.this, names)
        of = value.type
        if value.null:
            return value
        if of.kind in STRING_KINDS or of.kind in DATETIME_KINDS or of.kind in BINARY_KINDS:
            raise error(8117, of.kind.value, "minus")
        if of.kind is Kind.TINYINT:
            of = SqlType(Kind.SMALLINT)
        if value.constant and _negates(value.value, of):
            return replace(constant(-value.value, of), digits=value.digits)
        if value.constant and isinstance(value.value, str) and of.kind in DECIMAL_KINDS:
            text = value.value[1:] if value.value.startswith("-") else f"-{value.value}"
            if text == "-2147483648":
                return constant(-(2**31), INT)
            return constant(text if text.strip("-0.") else text.lstrip("-"), of)
        if of.kind in DECIMAL_KINDS:
            return replace(_plain(value), sql=f"ts_dec_neg({value.sql})")
        if of.kind in FLOAT_KINDS:
            return replace(_plain(value), sql=f"(-({value.sql}))")
        return replace(_plain(value), sql=f"{_CHECKS[of.kind]}(-({value.sql}))", type=of)

    def _complement(self, node: exp.Expression, names: Names) -> Typed:
        value = self.scalar(node.this, names)
        if value.type.kind not in INTEGER_KINDS:
            raise error(8117, value.type.kind.value, "'~'")
        if value.type.kind is Kind.BIT:
            return replace(_plain(value), sql=f"(1 - {value.sql})")
        if value.type.kind is Kind.TINYINT:
            return replace(_plain(value), sql=f"(255 - {value.sql})")
        return replace(_plain(value), sql=f"(~{value.sql})")

    def _bitwise(self, node: exp.Expression, names: Names) -> Typed:
        operator = _BITWISE[type(node)]
        left = self.scalar(node.this, names)
        right = self.scalar(node.args["expression"], names)
        left, right = _adopt(left, right)
        for side in (left, right):
            if side.type.kind not in INTEGER_KINDS and not (
                side.type.kind in BINARY_KINDS or side.type.kind in STRING_KINDS
            ):
                raise error(402, left.type.kind.value, right.type.kind.value, f"'{operator}'")
        of = types.higher(left.type, right.type)
        if of.kind not in INTEGER_KINDS:
            raise error(402, left.type.kind.value, right.type.kind.value, f"'{operator}'")
        left, right = convert(left, of), convert(right, of)
        if operator == "^":
            sql = f"(({left.sql} | {right.sql}) - ({left.sql} & {right.sql}))"
        else:
            sql = f"({left.sql} {operator} {right.sql})"
        return Typed(sql, of, nullable=left.nullable or right.nullable)

    def _arithmetic(self, node: exp.Expression, names: Names) -> Typed:
        left = self.scalar(node.this, names)
        right = self.scalar(node.args["expression"], names)
        return self.arithmetic(type(node), left, right)

    def arithmetic(self, kind: type[exp.Expr], left: Typed, right: Typed) -> Typed:
        operator, name = _ARITHMETIC[kind]
        left, right = _adopt(left, right)
        a, b = left.type, right.type
        if a.kind in STRING_KINDS and b.kind in STRING_KINDS:
            if operator != "+":
                raise error(402, a.kind.value, b.kind.value, name)
            return self._concatenation(left, right)
        if a.kind in BINARY_KINDS and b.kind in BINARY_KINDS:
            if operator != "+":
                raise error(402, a.kind.value, b.kind.value, name)
            size = (a.length or 1) + (b.length or 1)
            big = MAX in (a.length, b.length) or size > 8000
            return Typed(
                f"CAST({left.sql} || {right.sql} AS BLOB)",
                varbinary(MAX if big else size),
                nullable=left.nullable or right.nullable,
            )
        top = types.higher(a, b)
        if top.kind in DATETIME_KINDS:
            return self._date_arithmetic(operator, name, left, right)
        if (
            top.kind in STRING_KINDS
            or top.kind in BINARY_KINDS
            or top.kind is Kind.UNIQUEIDENTIFIER
        ):
            raise error(402, a.kind.value, b.kind.value, name)
        for side in (left, right):
            if side.type.kind in DATETIME_KINDS or side.type.kind is Kind.SQL_VARIANT:
                raise error(402, a.kind.value, b.kind.value, name)
        if top.kind in FLOAT_KINDS:
            return self._float_arithmetic(operator, left, right, top)
        if top.kind in DECIMAL_KINDS:
            return self._decimal_arithmetic(operator, left, right, top)
        return self._integer_arithmetic(operator, name, left, right, top)

    def _integer_arithmetic(
        self, operator: str, name: str, left: Typed, right: Typed, top: SqlType
    ) -> Typed:
        left, right = convert(left, top), convert(right, top)
        nullable = left.nullable or right.nullable
        if top.kind is Kind.BIT:
            raise error(402, "bit", "bit", name)
        if operator == "/":
            sql = f"ts_int_div({left.sql}, {right.sql})"
            if not right.constant or right.value == -1:
                # The least integer by -1 is one more than there is.
                sql = f"{_CHECKS[top.kind]}({sql})"
            return Typed(sql, top, nullable=nullable)
        if operator == "%":
            return Typed(f"ts_int_mod({left.sql}, {right.sql})", top, nullable=nullable)
        check = _CHECKS[top.kind]
        return Typed(f"{check}({left.sql} {operator} {right.sql})", top, nullable=nullable)

    def _decimal_arithmetic(self, operator: str, left: Typed, right: Typed, top: SqlType) -> Typed:
        nullable = left.nullable or right.nullable
        money = (Kind.MONEY, Kind.SMALLMONEY)
        if top.kind in money:
            left, right = convert(left, MONEY), convert(right, MONEY)
            sql = f"{_DECIMAL_FUNCTIONS[operator]}({left.sql}, {right.sql}, 19, 4)"
            return Typed(sql, top, nullable=nullable)
        a = _decimal_operand(left, right.type)
        b = _decimal_operand(right, left.type)
        of = types.decimal_result(operator, a.type, b.type)
        sql = f"{_DECIMAL_FUNCTIONS[operator]}({a.sql}, {b.sql}, {of.precision}, {of.scale})"
        return Typed(sql, of, nullable=nullable)

    def _float_arithmetic(self, operator: str, left: Typed, right: Typed, top: SqlType) -> Typed:
        of = FLOAT if FLOAT.kind in (left.type.kind, right.type.kind) else top
        if left.type.kind is Kind.REAL and right.type.kind in types.EXACT_KINDS:
            of = SqlType(Kind.REAL)
        if operator == "%":
            raise error(402, left.type.kind.value, right.type.kind.value, "modulo")
        left, right = convert(left, FLOAT), convert(right, FLOAT)
        nullable = left.nullable or right.nullable
        if operator == "/":
            sql = f"ts_float_div({left.sql}, {right.sql})"
        else:
            sql = f"ts_float({left.sql} {operator} {right.sql})"
        if of.kind is Kind.REAL:
            sql = f"ts_cast({sql}, 'float>real')"
        return Typed(sql, of, nullable=nullable)

    def _date_arithmetic(self, operator: str, name: str, left: Typed, right: Typed) -> Typed:
        """datetime ± days: only the old types know it."""
        a, b = left.type, right.type
        old = (Kind.DATETIME, Kind.SMALLDATETIME)
        for of, other in ((a, b), (b, a)):
            if of.kind in DATETIME_KINDS and of.kind not in old:
                if other.kind in DATETIME_KINDS:
                    raise error(402, a.kind.value, b.kind.value, name)
                raise error(206, a.kind.value, b.kind.value)
        if operator not in "+-":
            raise error(402, a.kind.value, b.kind.value, name)
        top = types.higher(a, b)
        left, right = convert(left, top), convert(right, top)
        sql = f"ts_datetime_arithmetic({left.sql}, {right.sql}, '{operator}')"
        return Typed(sql, top, nullable=left.nullable or right.nullable)

    def _concatenation(self, left: Typed, right: Typed) -> Typed:
        chosen = common_collation(left, right, "add")
        of = types.concatenation(left.type, right.type).with_collation(chosen)
        sql = f"({left.sql} || {right.sql})"
        total = (left.type.length or 1) + (right.type.length or 1)
        if not types.is_max(of) and total > (of.length or 0):
            sql = f"ts_cut({sql}, {of.length})"
        return Typed(
            sql,
            of,
            nullable=left.nullable or right.nullable,
            explicit=left.explicit or right.explicit,
            implicit=left.implicit or right.implicit,
        )

    # --- CASE and its relatives -----------------------------------------------------------

    def _case(self, node: exp.Expression, names: Names) -> Typed:
        subject = node.args.get("this")
        conditions: list[str] = []
        values: list[Typed] = []
        for branch in node.args["ifs"]:
            if subject is None:
                conditions.append(self.predicate(branch.this, names))
            else:
                left = self.scalar(subject, names)
                right = self.scalar(branch.this, names)
                conditions.append(compared(left, right, "=", "equal to"))
            values.append(self.scalar(branch.args["true"], names))
        default = node.args.get("default")
        values.append(NULL if default is None else self.scalar(default, names))
        of = unified(values)
        converted = [convert(value, of) for value in values]
        parts = [
            f"WHEN {condition} THEN {value.sql}"
            for condition, value in zip(conditions, converted, strict=False)
        ]
        sql = f"CASE {' '.join(parts)} ELSE {converted[-1].sql} END"
        nullable = any(value.nullable for value in values)
        return with_collation(Typed(sql, of, nullable=nullable), values)

    # --- conditions -----------------------------------------------------------------------

    def predicate(self, node: exp.Expression, names: Names) -> str:
        """A condition, as SQL that is 1, 0 or NULL."""
        if isinstance(node, exp.Paren):
            return f"({self.predicate(node.this, names)})"
        if isinstance(node, exp.And | exp.Or):
            word = "AND" if isinstance(node, exp.And) else "OR"
            left = self.predicate(node.this, names)
            right = self.predicate(node.args["expression"], names)
            return f"({left} {word} {right})"
        if isinstance(node, exp.Not):
            if isinstance(node.this, exp.Is):
                # In this form SQLite sees that a filtered index applies.
                return f"({self.scalar(node.this.this, names).sql} IS NOT NULL)"
            return f"(NOT {self.predicate(node.this, names)})"
        comparison = _COMPARISONS.get(type(node))
        if comparison is not None:
            left_value = self.scalar(node.this, names)
            right_value = self.scalar(node.args["expression"], names)
            return compared(left_value, right_value, *comparison)
        if isinstance(node, exp.In):
            return self._in(node, names)
        if isinstance(node, exp.Between):
            return self._between(node, names)
        if isinstance(node, exp.Like):
            return self._like(node, names)
        if isinstance(node, exp.Is):
            return f"({self.scalar(node.this, names).sql} IS NULL)"
        if isinstance(node, exp.Exists):
            return self.exists(node.this, names)
        if isinstance(node, nodes.Quantified):
            return self.quantified(node, names)
        raise error(4145, _near(node))

    def _in(self, node: exp.Expression, names: Names) -> str:
        left = self.scalar(node.this, names)
        query = node.args.get("query")
        if query is not None:
            return self.in_query(left, query, names)
        values = [self.scalar(value, names) for value in node.expressions]
        # One IN as far as the values compare in the same way, OR for the rest.
        groups: dict[tuple[str, Collation | None], list[str]] = {}
        for value in values:
            a, b, wanted = align(left, value, "equal to")
            groups.setdefault((operand(a, wanted), wanted), []).append(b.sql)
        parts = [f"{side} IN ({', '.join(found)})" for (side, _), found in groups.items()]
        return f"({' OR '.join(parts)})"

    def _between(self, node: exp.Expression, names: Names) -> str:
        value = self.scalar(node.this, names)
        low = self.scalar(node.args["low"], names)
        high = self.scalar(node.args["high"], names)
        above = compared(value, low, ">=", "greater than or equal to")
        below = compared(value, high, "<=", "less than or equal to")
        return f"({above} AND {below})"

    def _like(self, node: exp.Expression, names: Names) -> str:
        value = as_string(self.scalar(node.this, names), "like")
        pattern = as_string(self.scalar(node.args["expression"], names), "like")
        escape_node = node.args.get("escape")
        chosen = common_collation(value, pattern, "like")
        mode = strings.collation_of(chosen).value
        escape = "NULL"
        if escape_node is not None:
            escape = as_string(self.scalar(escape_node, names), "like").sql
        unicode = int(bool(UNICODE_KINDS & {value.type.kind, pattern.type.kind}))
        return f"ts_like({value.sql}, {pattern.sql}, {escape}, {literal(mode)}, {unicode})"

    # --- calls ----------------------------------------------------------------------------

    def _call(self, node: exp.Expression, names: Names) -> Typed:
        from . import functions

        return functions.compile_call(self, node, names)

    #: How each node is compiled.
    _SCALARS: ClassVar[dict[type[exp.Expr], Callable[[Any, Any, Names], Typed]]] = {
        exp.Literal: _literal,
        exp.National: _national,
        exp.HexString: _hex,
        exp.Null: _null,
        exp.Paren: _paren,
        exp.Parameter: _parameter,
        exp.SessionParameter: _session_parameter,
        exp.Column: _column,
        exp.Collate: _collate,
        exp.AtTimeZone: _at_time_zone,
        exp.Subquery: _subquery,
        exp.Neg: _negative,
        exp.BitwiseNot: _complement,
        exp.Case: _case,
        nodes.Convert: _convert,
        nodes.Call: _call,
        **dict.fromkeys(_ARITHMETIC, _arithmetic),
        **dict.fromkeys(_BITWISE, _bitwise),
    }

    def scalars(self, values: Sequence[exp.Expression], names: Names) -> list[Typed]:
        return [self.scalar(value, names) for value in values]


def _cast(value: Typed) -> Typed:
    """What CAST gives is no column any more, whatever it was made of."""
    return replace(value, digits=None, column=False, identity=False)


def _negates(value: object, of: SqlType) -> TypeGuard[int | float]:
    """Whether a constant has an opposite in its type, which is then known."""
    if isinstance(value, float):
        return True
    if not isinstance(value, int) or of.kind is Kind.BIT:
        return False
    return -value <= INTEGER_RANGES[of.kind][1]


def _near(node: exp.Expr) -> str:
    comparison = _COMPARISONS.get(type(node))
    if comparison is not None:
        return comparison[0]
    words: dict[type[exp.Expr], str] = {
        exp.And: "AND",
        exp.Or: "OR",
        exp.Not: "NOT",
        exp.In: "IN",
        exp.Like: "LIKE",
    }
    return words.get(type(node), type(node).__name__.upper())


def _plain(value: Typed) -> Typed:
    """No longer a bare column, constant or variable."""
    return Typed("", value.type, nullable=value.nullable)


def _adopt(left: Typed, right: Typed) -> tuple[Typed, Typed]:
    """A literal NULL takes the other side's type."""
    if left.null and not right.null:
        return replace(left, type=right.type, null=False), right
    if right.null and not left.null:
        return left, replace(right, type=left.type, null=False)
    return left, right


def _decimal_operand(value: Typed, other: SqlType) -> Typed:
    if value.type.kind in STRING_KINDS:
        return convert(value, types.as_decimal(other))
    of = types.as_decimal(value.type, value.digits)
    return convert(replace(value, digits=None), of)


def unified(values: Sequence[Typed]) -> SqlType:
    """The type several values meet in; literal NULLs have no say.

    :raises SqlError: 8133 where there is nothing but NULLs.
    """
    known = [value.type for value in values if not value.null]
    if not known:
        raise error(8133)
    return types.unify(known)


def with_collation(result: Typed, values: Sequence[Typed]) -> Typed:
    """The collation of a string made of others."""
    if result.type.kind not in STRING_KINDS:
        return result
    chosen = next((v for v in values if v.explicit), None) or next(
        (v for v in values if v.implicit and v.type.kind in STRING_KINDS), None
    )
    if chosen is None:
        return result
    return replace(
        result,
        type=result.type.with_collation(chosen.type.collation),
        explicit=chosen.explicit,
        implicit=chosen.implicit,
    )


def as_string(value: Typed, function: str) -> Typed:
    """An argument as a string: numbers and dates convert, binaries do not."""
    of = value.type
    if value.null:
        return replace(value, type=SqlType(Kind.VARCHAR, length=1), null=False)
    if of.kind in STRING_KINDS:
        return value
    if of.kind in BINARY_KINDS:
        return convert(value, SqlType(Kind.VARCHAR, length=of.length or 8000), explicit=True)
    if of.kind is Kind.SQL_VARIANT:
        raise error(8116, "sql_variant", 1, function)
    return convert(value, SqlType(Kind.VARCHAR, length=shown_length(of)))


def shown_length(of: SqlType) -> int:
    """How many characters a value of a type shows as at most."""
    lengths = {
        Kind.BIT: 1,
        Kind.TINYINT: 3,
        Kind.SMALLINT: 6,
        Kind.INT: 12,
        Kind.BIGINT: 20,
        Kind.MONEY: 22,
        Kind.SMALLMONEY: 12,
        Kind.REAL: 23,
        Kind.FLOAT: 23,
        Kind.DATE: 10,
        Kind.TIME: 16,
        Kind.SMALLDATETIME: 19,
        Kind.DATETIME: 26,
        Kind.DATETIME2: 27,
        Kind.DATETIMEOFFSET: 34,
        Kind.UNIQUEIDENTIFIER: 36,
    }
    if of.kind in (Kind.DECIMAL, Kind.NUMERIC):
        return (of.precision or 38) + 3
    return lengths.get(of.kind, of.length or 30)


def _styled(source: SqlType, to: SqlType) -> bool:
    """Whether CONVERT's style has a say between these types."""
    if to.kind in STRING_KINDS:
        return (
            source.kind in DATETIME_KINDS
            or source.kind in FLOAT_KINDS
            or source.kind in BINARY_KINDS
            or source.kind in (Kind.MONEY, Kind.SMALLMONEY)
        )
    if source.kind in STRING_KINDS:
        return to.kind in DATETIME_KINDS or to.kind in BINARY_KINDS
    return False


TRUE = Typed("1", BIT, nullable=False)

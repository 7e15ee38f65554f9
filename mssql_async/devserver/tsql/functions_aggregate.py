"""Aggregates and window functions. Source: T-SQL reference, "Aggregate functions",
"Ranking functions", "Analytic functions", "SELECT - OVER clause"."""

from __future__ import annotations

from dataclasses import replace

from sqlglot import exp

from ..errors import error
from ..sqltypes import (
    BIGINT,
    DECIMAL_KINDS,
    FLOAT,
    FLOAT_KINDS,
    INT,
    MAX,
    NUMBER_KINDS,
    STRING_KINDS,
    UNICODE_KINDS,
    Kind,
)
from . import types
from .expressions import as_string, with_collation
from .functions import CallSite, function
from .names import Names
from .typed import Typed, convert, literal


def _inside(call: CallSite) -> Names:
    """The names for an aggregate's argument: no aggregate within an aggregate."""
    if call.node.args.get("over") is not None:
        return call.names
    inner = Names(call.names.parent)
    inner.sources = call.names.sources
    inner.aggregates = 130
    return inner


def _argument(call: CallSite) -> Typed:
    if call.node.args.get("star"):
        raise error(102, "*")
    value = call.compiler.scalar(call.raw[0], _inside(call))
    return replace(value, type=INT, null=False) if value.null else value


def over(call: CallSite) -> str:
    """The OVER clause, or nothing."""
    node = call.node.args.get("over")
    if node is None:
        return ""
    parts = []
    partition = [call.compiler.scalar(value, call.names) for value in node.args["partition"]]
    if partition:
        parts.append("PARTITION BY " + ", ".join(value.collated() for value in partition))
    order = node.args["order"]
    if order:
        items = []
        for item in order:
            value = call.compiler.scalar(item.this, call.names)
            items.append(value.collated() + (" DESC" if item.args["descending"] else ""))
        parts.append("ORDER BY " + ", ".join(items))
    frame = node.args.get("frame")
    if frame is not None:
        unit, start, end = frame
        parts.append(f"{unit} BETWEEN {_bound(call, start)} AND {_bound(call, end)}")
    return f" OVER ({' '.join(parts)})"


def _bound(call: CallSite, bound: tuple[str, exp.Expression | None]) -> str:
    direction, amount = bound
    if direction == "CURRENT ROW":
        return direction
    if amount is None:
        return f"UNBOUNDED {direction}"
    value = convert(call.compiler.scalar(amount, call.names), INT)
    return f"{value.sql} {direction}"


def _distinct(call: CallSite) -> str:
    if call.node.args.get("distinct"):
        if call.node.args.get("over") is not None:
            raise error(10759)
        return "DISTINCT "
    return ""


@function("COUNT", "COUNT_BIG", least=1, aggregate=True)
def _count(call: CallSite) -> Typed:
    of = INT if call.node.args["this"] == "COUNT" else BIGINT
    if call.node.args.get("star"):
        return Typed(f"COUNT(*){over(call)}", of, nullable=False)
    value = _argument(call)
    argument = value.collated() if call.node.args.get("distinct") else value.sql
    return Typed(f"COUNT({_distinct(call)}{argument}){over(call)}", of, nullable=False)


@function("APPROX_COUNT_DISTINCT", least=1, aggregate=True)
def _approximate_count(call: CallSite) -> Typed:
    return Typed(f"COUNT(DISTINCT {_argument(call).collated()})", BIGINT, nullable=False)


@function("SUM", least=1, aggregate=True)
def _sum(call: CallSite) -> Typed:
    value = _argument(call)
    of = types.sum_type(value.type)
    window = over(call)
    if of.kind in DECIMAL_KINDS:
        sql = f"ts_sum_decimal({_distinct(call)}{value.collated()}){window}"
        return Typed(sql, of)
    if of.kind in FLOAT_KINDS:
        value = convert(value, FLOAT)
        return Typed(f"ts_float(SUM({_distinct(call)}{value.sql}){window})", of)
    check = "ts_int" if of.kind is Kind.INT else "ts_bigint"
    return Typed(f"{check}(SUM({_distinct(call)}{value.sql}){window})", of)


@function("AVG", least=1, aggregate=True)
def _avg(call: CallSite) -> Typed:
    value = _argument(call)
    of = types.average_type(value.type)
    window = over(call)
    distinct = _distinct(call)
    if of.kind in (Kind.DECIMAL, Kind.NUMERIC):
        return Typed(f"ts_avg_decimal({distinct}{value.collated()}){window}", of)
    if of.kind is Kind.MONEY:
        return Typed(f"ts_avg_money({distinct}{value.collated()}){window}", of)
    if of.kind in FLOAT_KINDS:
        value = convert(value, FLOAT)
        return Typed(f"AVG({distinct}{value.sql}){window}", of)
    total = f"SUM({distinct}{value.sql}){window}"
    check = "ts_int" if of.kind is Kind.INT else "ts_bigint"
    return Typed(f"({check}({total}) / COUNT({distinct}{value.sql}){window})", of)


@function("MIN", "MAX", least=1, aggregate=True)
def _extreme(call: CallSite) -> Typed:
    value = _argument(call)
    name = call.node.args["this"]
    if value.type.kind in (Kind.BIT, Kind.TEXT, Kind.NTEXT, Kind.IMAGE, Kind.XML):
        raise error(8117, value.type.kind.value, name.lower())
    result = Typed(f"{name}({value.collated()}){over(call)}", value.type)
    return with_collation(result, [value])


@function("STDEV", "STDEVP", "VAR", "VARP", least=1, aggregate=True)
def _deviation(call: CallSite) -> Typed:
    value = _argument(call)
    if value.type.kind not in NUMBER_KINDS or value.type.kind is Kind.BIT:
        raise error(8117, value.type.kind.value, call.node.args["this"].lower())
    value = convert(value, FLOAT)
    name = f"ts_{call.node.args['this'].lower()}"
    return Typed(f"{name}({_distinct(call)}{value.sql}){over(call)}", FLOAT)


@function("STRING_AGG", least=2, aggregate=True)
def _string_agg(call: CallSite) -> Typed:
    inner = _inside(call)
    if call.node.args.get("over") is not None:
        raise error(4113, "STRING_AGG")
    raw = call.compiler.scalar(call.raw[0], inner)
    value = as_string(raw, "string_agg")
    separator = as_string(call.compiler.scalar(call.raw[1], inner), "string_agg")
    unicode = value.type.kind in UNICODE_KINDS
    if raw.type.kind not in STRING_KINDS:
        of = types.string_type(4000, unicode=True)
    elif types.is_max(value.type):
        of = types.string_type(MAX, unicode=unicode, collation=value.type.collation)
    else:
        of = types.string_type(
            4000 if unicode else 8000, unicode=unicode, collation=value.type.collation
        )
    if call.node.args.get("distinct"):
        raise error(102, "distinct")
    keys: list[str] = []
    spec: list[str] = []
    for item in call.node.args.get("within") or ():
        key = call.compiler.scalar(item.this, inner)
        wanted = types.collation(key.type)
        spec.append(("-" if item.args["descending"] else "+") + (wanted.value if wanted else ""))
        keys.append(key.sql)
    arguments = ", ".join([value.sql, separator.sql, literal(",".join(spec)), *keys])
    return with_collation(Typed(f"ts_string_agg({arguments})", of), [value])


# --- ranking and analytic functions -------------------------------------------------------


def _require_order(call: CallSite) -> None:
    if not call.node.args["over"].args["order"]:
        raise error(4112, call.name)


@function("ROW_NUMBER", "RANK", "DENSE_RANK", least=0, window=True)
def _ranking(call: CallSite) -> Typed:
    _require_order(call)
    return Typed(f"{call.node.args['this']}(){over(call)}", BIGINT, nullable=False)


@function("CUME_DIST", "PERCENT_RANK", least=0, window=True)
def _distribution(call: CallSite) -> Typed:
    _require_order(call)
    return Typed(f"{call.node.args['this']}(){over(call)}", FLOAT, nullable=False)


@function("NTILE", least=1, window=True)
def _ntile(call: CallSite) -> Typed:
    _require_order(call)
    return Typed(f"NTILE({call.argument(0, INT).sql}){over(call)}", BIGINT, nullable=False)


@function("LAG", "LEAD", least=1, most=3, window=True)
def _offset(call: CallSite) -> Typed:
    _require_order(call)
    value = call.args[0]
    arguments = [value.sql]
    if len(call.args) > 1:
        arguments.append(convert(call.args[1], BIGINT).sql)
    if len(call.args) > 2:
        arguments.append(convert(call.args[2], value.type).sql)
    sql = f"{call.node.args['this']}({', '.join(arguments)}){over(call)}"
    return with_collation(Typed(sql, value.type), [value])


@function("FIRST_VALUE", "LAST_VALUE", least=1, window=True)
def _edge(call: CallSite) -> Typed:
    _require_order(call)
    value = call.args[0]
    sql = f"{call.node.args['this']}({value.sql}){over(call)}"
    return with_collation(Typed(sql, value.type), [value])


def is_aggregate(node: exp.Expr) -> bool:
    """Whether a call aggregates the rows of its own query."""
    from .functions import FUNCTIONS
    from .nodes import Call

    if not isinstance(node, Call) or node.args.get("over") is not None:
        return False
    found = FUNCTIONS.get(node.args["this"])
    return found is not None and found.aggregate

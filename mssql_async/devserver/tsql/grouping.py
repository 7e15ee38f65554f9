"""What may stand in the select list of a grouped query (error 8120).

Source: T-SQL reference, "GROUP BY": a column outside of aggregates has to be grouped by.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlglot import exp

from ..errors import error
from . import nodes
from .functions_aggregate import is_aggregate
from .names import Names

Shape = tuple[object, ...]
_QUERIES = (nodes.SelectQuery, nodes.SetOperation, nodes.ValuesQuery)


def _column_key(node: exp.Column, names: Names) -> Shape | None:
    """Which column of this query's own sources a node reads; None for outer ones."""
    qualifiers = [
        node.args[part].this for part in ("table", "db", "catalog") if node.args.get(part)
    ]
    found = names.find_here(node.this.this, qualifiers)
    if found is None:
        return None
    source, column = found
    return ("column", id(source), column.name.casefold())


def _shape(node: object, names: Names) -> Shape:
    """An expression such that equal ones are equal, however their columns are written."""
    if isinstance(node, exp.Paren):
        return _shape(node.this, names)
    if isinstance(node, exp.Column) and not isinstance(node.this, exp.Star):
        key = _column_key(node, names)
        if key is not None:
            return key
        return ("name", node.this.this.casefold())
    if isinstance(node, exp.Expression):
        inner = tuple(
            (name, _shape(value, names))
            for name, value in sorted(node.args.items())
            if name != "written" and value is not None and value is not False and value != []
        )
        return (type(node).__name__, inner)
    if isinstance(node, list | tuple):
        return tuple(_shape(item, names) for item in node)
    return (node,)


def check_group_list(items: Iterable[exp.Expression]) -> None:
    """:raises SqlError: 144 for an aggregate or a subquery in GROUP BY."""
    for item in items:
        for node in item.walk():
            if isinstance(node, _QUERIES) or is_aggregate(node):
                raise error(144)


def check_grouping(query: exp.Expression, names: Names) -> None:
    """:raises SqlError: 8120 for a column that is neither grouped by nor aggregated."""
    grouped = {_shape(item, names) for item in query.args.get("group") or ()}
    for item in query.expressions:
        value = item.args["expression"] if isinstance(item, nodes.Assignment) else item
        _check(value.this if isinstance(value, exp.Alias) else value, names, grouped)
    having = query.args.get("having")
    if having is not None:
        _check(having, names, grouped)
    aliases = {
        item.args["alias"].this.casefold()
        for item in query.expressions
        if isinstance(item, exp.Alias)
    }
    for item in query.args.get("order") or ():
        node = item.this
        bare = isinstance(node, exp.Column) and not node.args.get("table")
        if not (bare and node.this.this.casefold() in aliases):
            _check(node, names, grouped)


def _check(node: exp.Expr, names: Names, grouped: set[Shape]) -> None:
    if isinstance(node, exp.Star) or is_aggregate(node):
        return
    if grouped and _shape(node, names) in grouped:
        return
    if isinstance(node, exp.Column):
        if isinstance(node.this, exp.Star):
            return
        key = _column_key(node, names)
        if key is not None:
            raise error(8120, _shown(node, names))
        return
    if isinstance(node, exp.Subquery | exp.Exists):
        return
    if isinstance(node, nodes.Call):
        for position, argument in enumerate(node.expressions):
            if position == 0 and _is_part(node):
                continue
            _check(argument, names, grouped)
        return
    if isinstance(node, exp.In):
        _check(node.this, names, grouped)
        for value in node.expressions:
            _check(value, names, grouped)
        return
    for value in node.args.values():
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, exp.Expression):
                _check(child, names, grouped)


def _shown(node: exp.Column, names: Names) -> str:
    qualifiers = [node.args["table"].this] if node.args.get("table") else []
    source, column = names.find(node.this.this, qualifiers)
    return f"{source.alias}.{column.name}"


def _is_part(call: exp.Expression) -> bool:
    """Whether the first argument is a date part, not a column."""
    return call.args["this"] in (
        "DATEADD",
        "DATEDIFF",
        "DATEDIFF_BIG",
        "DATEPART",
        "DATENAME",
        "DATETRUNC",
    )

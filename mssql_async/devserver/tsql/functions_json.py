"""JSON functions. Source: T-SQL reference, "JSON functions (Transact-SQL)"."""

from __future__ import annotations

from sqlglot import exp

from ..errors import error
from ..sqltypes import (
    DATETIME_KINDS,
    INT,
    MAX,
    NUMBER_KINDS,
    STRING_KINDS,
    Kind,
    nvarchar,
)
from .expressions import as_string
from .functions import CallSite, function
from .nodes import Call
from .typed import Typed

_JSON = nvarchar(MAX)
_MAKERS = frozenset({"JSON_QUERY", "JSON_MODIFY", "JSON_OBJECT", "JSON_ARRAY"})


def _text(call: CallSite, position: int) -> str:
    value = call.args[position]
    if value.type.kind not in STRING_KINDS and not value.null:
        raise error(8116, value.type.kind.value, position + 1, call.name.lower())
    return as_string(value, call.name.lower()).sql


@function("ISJSON", least=1, most=2)
def _isjson(call: CallSite) -> Typed:
    kind = "''"
    if len(call.raw) == 2:
        word = call.raw[1]
        if not isinstance(word, exp.Column):
            raise error(102, "isjson")
        kind = f"'{word.this.this.upper()}'"
        value = as_string(call.compiler.scalar(call.raw[0], call.names), "isjson")
        return Typed(f"ts_isjson({value.sql}, {kind})", INT, nullable=value.nullable)
    return Typed(f"ts_isjson({_text(call, 0)}, {kind})", INT, nullable=call.nullable)


@function("JSON_VALUE", least=2)
def _json_value(call: CallSite) -> Typed:
    return Typed(f"ts_json_value({_text(call, 0)}, {_text(call, 1)})", nvarchar(4000))


@function("JSON_QUERY", least=1, most=2)
def _json_query(call: CallSite) -> Typed:
    path = _text(call, 1) if len(call.args) == 2 else "'$'"
    return Typed(f"ts_json_query({_text(call, 0)}, {path})", _JSON)


@function("JSON_PATH_EXISTS", least=2)
def _json_path_exists(call: CallSite) -> Typed:
    return Typed(f"ts_json_path_exists({_text(call, 0)}, {_text(call, 1)})", INT)


@function("JSON_MODIFY", least=3)
def _json_modify(call: CallSite) -> Typed:
    value = _encoded(call, call.raw[2], call.args[2])
    return Typed(f"ts_json_modify({_text(call, 0)}, {_text(call, 1)}, {value})", _JSON)


@function("JSON_ARRAY", least=0, most=None)
def _json_array(call: CallSite) -> Typed:
    keep = call.node.args.get("nulls") == "NULL"
    parts = [_encoded(call, raw, value) for raw, value in zip(call.raw, call.args, strict=True)]
    arguments = "".join(f", {part}" for part in parts)
    return Typed(f"ts_json_array({int(keep)}{arguments})", _JSON, nullable=False)


@function("JSON_OBJECT", least=0, most=None)
def _json_object(call: CallSite) -> Typed:
    keep = call.node.args.get("nulls") != "ABSENT"
    arguments = ""
    for pair in call.raw:
        if not isinstance(pair, exp.Tuple):
            raise error(102, "json_object")
        key, node = pair.expressions
        name = as_string(call.compiler.scalar(key, call.names), "json_object")
        value = call.compiler.scalar(node, call.names)
        arguments += f", {name.sql}, {_encoded(call, node, value)}"
    return Typed(f"ts_json_object({int(keep)}{arguments})", _JSON, nullable=False)


def _encoded(call: CallSite, node: exp.Expression, value: Typed) -> str:
    """A value as JSON text (NULL stays NULL): strings are quoted, JSON is not."""
    inner = node
    while isinstance(inner, exp.Paren):
        inner = inner.this
    if isinstance(inner, Call) and inner.args["this"] in _MAKERS:
        return value.sql
    if value.null:
        return "NULL"
    kind = value.type.kind
    if kind is Kind.BIT:
        return f"CASE {value.sql} WHEN 1 THEN 'true' WHEN 0 THEN 'false' END"
    if kind in NUMBER_KINDS:
        return f"ts_json_number({value.sql})"
    text = as_string(value, call.name.lower())
    if kind in DATETIME_KINDS:
        return f"ts_json_string(replace({text.sql}, ' ', 'T'))"
    return f"ts_json_string({text.sql})"

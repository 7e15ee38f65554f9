"""String functions. Source: T-SQL reference, "String functions"."""

from __future__ import annotations

from dataclasses import replace

from ..errors import error
from ..sqltypes import (
    BIGINT,
    BINARY_KINDS,
    INT,
    MAX,
    STRING_KINDS,
    UNICODE_KINDS,
    Kind,
    SqlType,
    nvarchar,
    varbinary,
    varchar,
)
from . import strings, types
from .expressions import as_string
from .functions import CallSite, function
from .typed import Typed, common_collation, literal


def _text(call: CallSite, position: int = 0) -> Typed:
    return as_string(call.args[position], call.name.lower())


def _varying(of: SqlType, length: int | None = None) -> SqlType:
    """varchar or nvarchar, as long as the input unless ``length`` says so."""
    size = (MAX if types.is_max(of) else of.length or 1) if length is None else length
    return types.string_type(size, unicode=of.kind in UNICODE_KINDS, collation=of.collation)


def _like(source: Typed, sql: str, of: SqlType) -> Typed:
    """A string made of another: it keeps the collation and its rank."""
    return Typed(
        sql, of, nullable=source.nullable, explicit=source.explicit, implicit=source.implicit
    )


def _counting(of: SqlType) -> SqlType:
    return BIGINT if of.length == MAX else INT


def _mode(left: Typed, right: Typed, operation: str) -> str:
    return literal(strings.collation_of(common_collation(left, right, operation)).value)


@function("UPPER", "LOWER", least=1)
def _case(call: CallSite) -> Typed:
    value = _text(call)
    name = "ts_upper" if call.node.args["this"] == "UPPER" else "ts_lower"
    return _like(value, f"{name}({value.sql})", _varying(value.type))


@function("REVERSE", least=1)
def _reverse(call: CallSite) -> Typed:
    value = _text(call)
    return _like(value, f"ts_reverse({value.sql})", _varying(value.type))


@function("LTRIM", "RTRIM", least=1, most=2)
def _trim_side(call: CallSite) -> Typed:
    value = _text(call)
    side = call.node.args["this"].lower()
    if len(call.args) == 1:
        return _like(value, f"{side}({value.sql}, ' ')", _varying(value.type))
    return _like(value, f"{side}({value.sql}, {_text(call, 1).sql})", _varying(value.type))


@function("TRIM", least=1, most=2)
def _trim(call: CallSite) -> Typed:
    """TRIM(x) and TRIM(characters FROM x)."""
    value = _text(call)
    characters = _text(call, 1).sql if len(call.args) == 2 else "' '"
    if len(call.args) == 2:
        # The grammar put what follows FROM first.
        value, characters = _text(call, 0), _text(call, 1).sql
    return _like(value, f"trim({value.sql}, {characters})", _varying(value.type))


@function("LEN", least=1)
def _len(call: CallSite) -> Typed:
    of = call.args[0].type
    if of.kind in BINARY_KINDS:
        return Typed(f"length({call.args[0].sql})", _counting(of), nullable=call.nullable)
    value = _text(call)
    return Typed(f"ts_len({value.sql})", _counting(of), nullable=value.nullable)


@function("DATALENGTH", least=1)
def _datalength(call: CallSite) -> Typed:
    value = call.args[0]
    of = value.type
    if of.kind in STRING_KINDS:
        if of.kind in UNICODE_KINDS:
            sql = f"ts_datalength({value.sql}, 2)"
        else:
            utf8 = "UTF8" in (of.collation or "").upper()
            sql = f"ts_datalength({value.sql}, {3 if utf8 else 1})"
        return Typed(sql, _counting(of), nullable=value.nullable)
    if of.kind in BINARY_KINDS:
        return Typed(f"length({value.sql})", _counting(of), nullable=value.nullable)
    sizes = {
        Kind.BIT: 1, Kind.TINYINT: 1, Kind.SMALLINT: 2, Kind.INT: 4, Kind.BIGINT: 8,
        Kind.REAL: 4, Kind.FLOAT: 8, Kind.MONEY: 8, Kind.SMALLMONEY: 4, Kind.DATE: 3,
        Kind.SMALLDATETIME: 4, Kind.DATETIME: 8, Kind.UNIQUEIDENTIFIER: 16,
    }  # fmt: skip
    if of.kind in (Kind.DECIMAL, Kind.NUMERIC):
        precision = of.precision or 18
        size = 5 if precision <= 9 else 9 if precision <= 19 else 13 if precision <= 28 else 17
    elif of.kind in (Kind.TIME, Kind.DATETIME2, Kind.DATETIMEOFFSET):
        scale = 7 if of.scale is None else of.scale
        size = (3 if scale < 3 else 4 if scale < 5 else 5) + {
            Kind.TIME: 0, Kind.DATETIME2: 3, Kind.DATETIMEOFFSET: 5
        }[of.kind]  # fmt: skip
    else:
        size = sizes.get(of.kind, 8)
    return Typed(f"CASE WHEN {value.sql} IS NULL THEN NULL ELSE {size} END", INT)


@function("SUBSTRING", least=2, most=3)
def _substring(call: CallSite) -> Typed:
    value = call.args[0]
    start = call.argument(1, BIGINT).sql
    size = call.argument(2, BIGINT) if len(call.args) == 3 else None
    if value.type.kind in BINARY_KINDS:
        of = varbinary(value.type.length or MAX)
        sql = f"ts_substring({value.sql}, {start}, {size.sql if size else 2**31})"
        return Typed(sql, of, nullable=call.nullable)
    value = _text(call)
    of = _varying(value.type)
    if size is not None and size.constant and isinstance(size.value, int) and of.length != MAX:
        of = _varying(value.type, max(min(size.value, of.length or 1), 1))
    sql = f"ts_substring({value.sql}, {start}, {size.sql if size else 2**31})"
    return replace(_like(value, sql, of), nullable=call.nullable)


@function("LEFT", "RIGHT", least=2)
def _side(call: CallSite) -> Typed:
    value = _text(call)
    size = call.argument(1, INT)
    name = "ts_left" if call.node.args["this"] == "LEFT" else "ts_right"
    of = _varying(value.type)
    if size.constant and isinstance(size.value, int) and of.length != MAX:
        of = _varying(value.type, max(min(size.value, of.length or 1), 1))
    return replace(_like(value, f"{name}({value.sql}, {size.sql})", of), nullable=call.nullable)


@function("CHARINDEX", least=2, most=3)
def _charindex(call: CallSite) -> Typed:
    sought, text = _text(call, 0), _text(call, 1)
    start = call.argument(2, INT).sql if len(call.args) == 3 else "1"
    mode = _mode(sought, text, "charindex")
    return Typed(
        f"ts_charindex({sought.sql}, {text.sql}, {start}, {mode})",
        _counting(text.type),
        nullable=call.nullable,
    )


@function("PATINDEX", least=2)
def _patindex(call: CallSite) -> Typed:
    pattern, text = _text(call, 0), _text(call, 1)
    mode = _mode(pattern, text, "patindex")
    return Typed(
        f"ts_patindex({pattern.sql}, {text.sql}, {mode})",
        _counting(text.type),
        nullable=call.nullable,
    )


@function("REPLACE", least=3)
def _replace(call: CallSite) -> Typed:
    text, old, new = (_text(call, position) for position in range(3))
    unicode = any(value.type.kind in UNICODE_KINDS for value in (text, old, new))
    chosen = common_collation(text, old, "replace")
    if not old.explicit and new.explicit:
        chosen = new.type.collation
    size = MAX if types.is_max(text.type) else 4000 if unicode else 8000
    of = types.string_type(size, unicode=unicode, collation=chosen)
    mode = literal(strings.collation_of(chosen).value)
    return replace(
        _like(text, f"ts_replace({text.sql}, {old.sql}, {new.sql}, {mode})", of),
        nullable=call.nullable,
        explicit=text.explicit or old.explicit or new.explicit,
    )


@function("TRANSLATE", least=3)
def _translate(call: CallSite) -> Typed:
    text, old, new = (_text(call, position) for position in range(3))
    sql = f"ts_translate({text.sql}, {old.sql}, {new.sql})"
    return replace(_like(text, sql, _varying(text.type)), nullable=call.nullable)


@function("STUFF", least=4)
def _stuff(call: CallSite) -> Typed:
    text, new = _text(call, 0), _text(call, 3)
    start, size = call.argument(1, INT), call.argument(2, INT)
    of = types.concatenation(text.type, new.type)
    new_sql = f"coalesce({new.sql}, '')"
    return replace(
        _like(text, f"ts_stuff({text.sql}, {start.sql}, {size.sql}, {new_sql})", of), nullable=True
    )


@function("REPLICATE", least=2)
def _replicate(call: CallSite) -> Typed:
    text = _text(call)
    count = call.argument(1, INT)
    unicode = text.type.kind in UNICODE_KINDS
    size = MAX if types.is_max(text.type) else 4000 if unicode else 8000
    of = types.string_type(size, unicode=unicode, collation=text.type.collation)
    return replace(_like(text, f"ts_replicate({text.sql}, {count.sql}, {size})", of), nullable=True)


@function("SPACE", least=1)
def _space(call: CallSite) -> Typed:
    return Typed(f"ts_replicate(' ', {call.argument(0, INT).sql}, 8000)", varchar(8000))


@function("CONCAT", least=2, most=254)
def _concat(call: CallSite) -> Typed:
    """CONCAT: NULL is the empty string."""
    return _joined(call, [as_string(value, "concat") for value in call.args], None)


@function("CONCAT_WS", least=3, most=254)
def _concat_ws(call: CallSite) -> Typed:
    values = [as_string(value, "concat_ws") for value in call.args]
    return _joined(call, values[1:], values[0])


def _joined(call: CallSite, values: list[Typed], separator: Typed | None) -> Typed:
    from .expressions import with_collation

    everything = values if separator is None else [separator, *values]
    unicode = any(value.type.kind in UNICODE_KINDS for value in everything)
    big = any(types.is_max(value.type) for value in everything)
    size = sum(value.type.length or 1 for value in values)
    if separator is not None:
        size += (separator.type.length or 1) * (len(values) - 1)
    limit = 4000 if unicode else 8000
    of = types.string_type(MAX if big else min(size, limit), unicode=unicode)
    if separator is None:
        parts = [f"coalesce({value.sql}, '')" if value.nullable else value.sql for value in values]
        sql = f"({' || '.join(parts)})"
    else:
        sql = f"ts_concat_ws({', '.join(value.sql for value in everything)})"
    if not big and size > limit:
        sql = f"ts_cut({sql}, {limit})"
    return with_collation(Typed(sql, of, nullable=False), everything)


@function("ASCII", "UNICODE", least=1)
def _code(call: CallSite) -> Typed:
    name = "ts_ascii" if call.node.args["this"] == "ASCII" else "ts_unicode"
    value = _text(call)
    return Typed(f"{name}({value.sql})", INT, nullable=True)


@function("CHAR", least=1)
def _char(call: CallSite) -> Typed:
    return Typed(f"ts_char({call.argument(0, INT).sql})", SqlType(Kind.CHAR, length=1))


@function("NCHAR", least=1)
def _nchar(call: CallSite) -> Typed:
    return Typed(f"ts_nchar({call.argument(0, INT).sql})", SqlType(Kind.NCHAR, length=1))


@function("QUOTENAME", least=1, most=2)
def _quotename(call: CallSite) -> Typed:
    mark = _text(call, 1).sql if len(call.args) == 2 else "'['"
    return Typed(f"ts_quotename({_text(call).sql}, {mark})", nvarchar(258))


@function("STR", least=1, most=3)
def _str(call: CallSite) -> Typed:
    size = call.argument(1, INT) if len(call.args) > 1 else None
    digits = call.argument(2, INT).sql if len(call.args) > 2 else "0"
    value = call.argument(0, SqlType(Kind.FLOAT)).sql
    length = size.value if size is not None and isinstance(size.value, int) else 10
    return Typed(f"ts_str({value}, {size.sql if size else 10}, {digits})", varchar(max(length, 1)))


@function("STRING_ESCAPE", least=2)
def _string_escape(call: CallSite) -> Typed:
    return Typed(f"ts_string_escape({_text(call).sql}, {_text(call, 1).sql})", nvarchar(MAX))


@function("HASHBYTES", least=2)
def _hashbytes(call: CallSite) -> Typed:
    algorithm, value = call.args
    if value.type.kind in STRING_KINDS:
        utf8 = "UTF8" in (value.type.collation or "").upper()
        width = 2 if value.type.kind in UNICODE_KINDS else 3 if utf8 else 1
    elif value.type.kind in BINARY_KINDS:
        width = 0
    else:
        raise error(8116, value.type.kind.value, 2, "hashbytes")
    return Typed(f"ts_hashbytes({algorithm.sql}, {value.sql}, {width})", varbinary(8000))


@function("DBO.REGEXP_LIKE", least=3)
def _regexp_like(call: CallSite) -> Typed:
    """The CLR function mssql-django installs: REGEXP_LIKE(input, pattern, case_sensitive)."""
    text, pattern = _text(call), _text(call, 1)
    return Typed(f"ts_regexp_like({text.sql}, {pattern.sql}, {call.argument(2, INT).sql})", INT)


@function("NEWID", least=0)
def _newid(call: CallSite) -> Typed:
    return Typed("ts_newid()", SqlType(Kind.UNIQUEIDENTIFIER), nullable=False)

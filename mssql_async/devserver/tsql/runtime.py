"""What compiled SQL needs of a SQLite connection: collations, functions, aggregates.

:func:`install` registers them. SQLite reports an exception of a function only as "user-
defined function raised exception", so T-SQL errors wait in :meth:`Runtime.take_error`.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from typing import Any, cast

from ..errors import SqlError, error
from ..sqltypes import DATETIME_KINDS, STRING_KINDS, Collation, Kind, SqlType, StorageValue
from . import (
    conversions,
    dates,
    decimals,
    json_text,
    runtime_aggregates,
    runtime_dates,
    runtime_math,
    runtime_text,
    strings,
)
from .plan import Host
from .runtime_dates import type_named

Function = Callable[..., StorageValue]

_COLLATIONS = {
    **strings.COMPARE,
    Collation.DECIMAL: decimals.compare,
    Collation.OFFSET: strings.compare_offset,
    Collation.GUID: strings.compare_guid,
}


class Runtime:
    """The functions of one connection, which work for one host."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.interrupted = False
        """Set by the session when the client wants no more: the next function call ends
        the statement. (SQLite's own interrupt would undo the whole transaction of DML.)"""
        self._error: SqlError | None = None
        self._clock: int | None = None

    def begin_statement(self) -> None:
        """The clock is read once for a statement, however often it is named: GETDATE() and its
        like are runtime constants, which SQL Server evaluates before the first row."""
        self._clock = None

    def take_error(self) -> SqlError | None:
        """The T-SQL error that ended the statement, if one did; it is taken once."""
        found, self._error = self._error, None
        return found

    def translate(self, failure: sqlite3.Error) -> SqlError | None:
        """The T-SQL error behind a failure of SQLite, as far as this module knows it."""
        found = self.take_error()
        if found is None and "integer overflow" in str(failure):
            return error(8115, "expression", "bigint")
        return found

    def stash(self, failure: SqlError) -> None:
        if self._error is None:
            self._error = failure

    # --- registering ----------------------------------------------------------------------

    def install(self, connection: sqlite3.Connection) -> None:
        for collation, compare in _COLLATIONS.items():
            connection.create_collation(collation.value, compare)
        for name, (function, count) in _PURE.items():
            guarded = self._guarded(function, strict=name not in _TAKES_NULL)
            connection.create_function(name, count, guarded, deterministic=True)
        for name, (function, count) in self._own().items():
            guarded = self._guarded(function, strict=False)
            connection.create_function(name, count, guarded, deterministic=name in _REPEATABLE)
        for name, aggregate in runtime_aggregates.WINDOW_AGGREGATES.items():
            connection.create_window_function(name, 1, self._guarded_aggregate(aggregate))
        for name, (aggregate, count) in runtime_aggregates.AGGREGATES.items():
            connection.create_aggregate(name, count, self._guarded_aggregate(aggregate))

    def _guarded(self, function: Function, *, strict: bool) -> Function:
        """``function`` with its errors stashed; a strict one is NULL for a NULL."""
        stash = self.stash

        def run(*arguments: Any) -> StorageValue:
            if self.interrupted:
                raise InterruptedError
            if strict and None in arguments:
                return None
            try:
                return function(*arguments)
            except SqlError as failure:
                stash(failure)
                raise

        return run

    def _guarded_aggregate(self, aggregate: type) -> Any:
        stash = self.stash

        def guard(name: str) -> Callable[..., Any]:
            method = getattr(aggregate, name)

            def run(self: object, *arguments: Any) -> Any:
                try:
                    return method(self, *arguments)
                except SqlError as failure:
                    stash(failure)
                    raise

            return run

        methods = ("step", "inverse", "value", "finalize")
        present = {name: guard(name) for name in methods if hasattr(aggregate, name)}
        return type(aggregate.__name__, (aggregate,), present)

    # --- functions that know the session ----------------------------------------------------

    def _own(self) -> dict[str, tuple[Function, int]]:
        host = self.host
        return {
            "ts_cast": (self._cast, 2),
            "ts_try_cast": (self._try_cast, 2),
            "ts_session": (
                lambda name, *arguments: host.session_function(name, arguments),
                -1,
            ),
            "ts_identity": (host.next_identity, 1),
            "ts_note_identity": (self._note_identity, 2),
            "ts_null": (_refuse_null, 3),
            "ts_raise": (_raise, -1),
            "ts_moment": (self._moment, 1),
            "ts_isdate": (
                lambda value: runtime_dates.is_date(value, host.date_format),
                1,
            ),
            "ts_datepart": (self._datepart, 2),
            "ts_datename": (self._datename, 2),
            "ts_datetrunc": (self._datetrunc, 3),
            "ts_now": (self._now, 1),
            "ts_newid": (runtime_text.new_id, 0),
            "ts_rand": (runtime_math.rand, -1),
        }

    def _cast(self, value: StorageValue, key: str) -> StorageValue:
        if value is None:
            return None
        found = _CONVERTERS.get(key)
        if found is None:
            found = _converter(key)
        convert, dated = found
        return convert(value, self.host.date_format) if dated else convert(value)

    def _try_cast(self, value: StorageValue, key: str) -> StorageValue:
        try:
            return self._cast(value, key)
        except SqlError:
            return None

    def _note_identity(self, object_id: int, value: StorageValue) -> StorageValue:
        if isinstance(value, str):
            value = int(value.split(".")[0])
        if isinstance(value, int):
            self.host.note_identity(object_id, value)
        return value

    def _now(self, type_text: str) -> StorageValue:
        if self._clock is None:
            self._clock = dates.now_utc()
        return runtime_dates.settled(self._clock, 0, type_named(type_text))

    def _moment(self, text: str | None) -> StorageValue:
        if text is None:
            return None
        return runtime_dates.moment_of_string(text, self.host.date_format)

    def _datepart(self, part: str, text: str | None) -> StorageValue:
        if text is None:
            return None
        moment, offset = runtime_dates.local(text)
        return dates.part(part, moment, self.host.date_first, offset)

    def _datename(self, part: str, text: str | None) -> StorageValue:
        if text is None:
            return None
        moment, offset = runtime_dates.local(text)
        return dates.part_name(part, moment, self.host.date_first, offset)

    def _datetrunc(self, part: str, text: str | None, type_text: str) -> StorageValue:
        if text is None:
            return None
        moment, offset = runtime_dates.local(text)
        cut = dates.truncated(part, moment, self.host.date_first)
        return runtime_dates.settled(cut, offset, type_named(type_text))


def _refuse_null(table: str, column: str, verb: str) -> StorageValue:
    raise error(515, column, table, verb)


def _raise(number: int, *arguments: Any) -> StorageValue:
    raise error(number, *arguments)


def fit_string(value: str | bytes, limit: int, pad: int, table: str, column: str) -> StorageValue:
    """A string for a column; error 2628 where characters other than blanks would be lost."""
    if isinstance(value, bytes):
        if len(value) > limit:
            shown = value[:limit].decode("cp1252", "replace")
            raise error(2628, table, column, shown)
        return value.ljust(limit, b"\0") if pad else value
    size = strings.length(value)
    if size > limit:
        kept = strings.cut(value, limit)
        if value[len(kept) :].strip(" "):
            raise error(2628, table, column, kept)
        return kept
    return value + " " * (limit - size) if pad and size < limit else value


def rows_number(value: StorageValue, clause: str) -> StorageValue:
    """The number of TOP, OFFSET or FETCH."""
    if value is None:
        raise error(1014)
    number = int(value)
    if clause == "OFFSET" and number < 0:
        raise error(10742)
    if clause == "FETCH" and number < 1:
        raise error(10743)
    if number < 0:
        raise error(1014)
    return number


def once(count: int) -> StorageValue:
    """A row that MERGE changes, and how often it was found."""
    if count > 1:
        raise error(8672)
    return 1


def deeper(depth: int, most: int) -> StorageValue:
    """One recursion more of a common table; ``most`` is MAXRECURSION, 0 for no limit."""
    if most and depth >= most:
        raise error(530, most)
    return depth + 1


_CONVERTERS: dict[str, tuple[conversions.Converter, bool]] = {}


def _converter(key: str) -> tuple[conversions.Converter, bool]:
    """The converter a compiled statement names, e.g. ``nvarchar(10)>datetime2(7):120``."""
    source_text, target_text = key.split(">")
    style = None
    if ":" in target_text:
        target_text, style_text = target_text.split(":")
        style = int(style_text)
    source, target = _utf8_type(source_text), _utf8_type(target_text)
    dated = source.kind in STRING_KINDS and target.kind in DATETIME_KINDS
    found = conversions.converter(source, target, style)
    if len(_CONVERTERS) > 4096:
        _CONVERTERS.clear()
    _CONVERTERS[key] = found, dated
    return found, dated


def _utf8_type(text: str) -> SqlType:
    if text.endswith("~utf8"):
        return type_named(text[:-5]).with_collation("LATIN1_GENERAL_100_CI_AS_SC_UTF8")
    return type_named(text)


def _like(value: str, pattern: str, escape: str | None, mode: str, unicode: int) -> StorageValue:
    if value is None or pattern is None:
        return None
    try:
        return 1 if strings.like(value, pattern, escape, mode, unicode=bool(unicode)) else 0
    except strings.BadEscape:
        raise error(506, escape, "LIKE") from None


def _rows_of(width: int, *values: StorageValue) -> str:
    """Rows of ``width`` values, for ``json_each``: a text for each, which :func:`_cell` reads."""
    shown = [{"x": value.hex()} if isinstance(value, bytes) else value for value in values]
    return json.dumps(
        [json.dumps(shown[start : start + width]) for start in range(0, len(shown), width)]
    )


def _cell(row: str, position: int) -> StorageValue:
    found = json.loads(row)[position]
    return bytes.fromhex(found["x"]) if isinstance(found, dict) else cast("StorageValue", found)


_INTEGERS = {
    "ts_tinyint": Kind.TINYINT,
    "ts_smallint": Kind.SMALLINT,
    "ts_int": Kind.INT,
    "ts_bigint": Kind.BIGINT,
}

#: Functions of their arguments alone: name -> function and number of arguments.
_PURE: dict[str, tuple[Function, int]] = {
    **{
        name: (runtime_math.integer_check(*conversions.INTEGER_RANGES[kind], kind.value), 1)
        for name, kind in _INTEGERS.items()
    },
    **{f"ts_{name}": (found, -1) for name, found in runtime_math.FLOAT_FUNCTIONS.items()},
    "ts_abs": (runtime_math.absolute, 1),
    "ts_float": (runtime_math.float_check, 1),
    "ts_int_div": (runtime_math.integer_divide, 2),
    "ts_int_mod": (runtime_math.integer_modulo, 2),
    "ts_float_div": (runtime_math.float_divide, 2),
    "ts_dec_add": (decimals.add, 4),
    "ts_dec_sub": (decimals.subtract, 4),
    "ts_dec_mul": (decimals.multiply, 4),
    "ts_dec_div": (decimals.divide, 4),
    "ts_dec_mod": (decimals.modulo, 4),
    "ts_dec_neg": (runtime_math.decimal_negative, 1),
    "ts_dec_sign": (runtime_math.decimal_sign, 2),
    "ts_dec_ceil": (runtime_math.decimal_ceiling, 2),
    "ts_dec_floor": (runtime_math.decimal_floor, 2),
    "ts_int_round": (runtime_math.integer_round, 3),
    "ts_dec_round": (runtime_math.decimal_round, 5),
    "ts_float_round": (runtime_math.float_round, 3),
    "ts_power": (runtime_math.power, 2),
    "ts_log": (runtime_math.logarithm, -1),
    "ts_like": (_like, 5),
    "ts_cut": (strings.cut, 2),
    "ts_fit": (fit_string, 5),
    "ts_rows": (rows_number, 2),
    "ts_once": (once, 1),
    "ts_deeper": (deeper, 2),
    "ts_upper": (strings.upper, 1),
    "ts_lower": (strings.lower, 1),
    "ts_reverse": (lambda text: text[::-1], 1),
    "ts_len": (runtime_text.length, 1),
    "ts_datalength": (runtime_text.data_length, 2),
    "ts_substring": (runtime_text.substring, 3),
    "ts_left": (runtime_text.left, 2),
    "ts_right": (runtime_text.right, 2),
    "ts_charindex": (runtime_text.char_index, 4),
    "ts_patindex": (runtime_text.pat_index, 3),
    "ts_replace": (runtime_text.replace, 4),
    "ts_translate": (runtime_text.translate, 3),
    "ts_stuff": (runtime_text.stuff, 4),
    "ts_replicate": (runtime_text.replicate, 3),
    "ts_concat_ws": (runtime_text.concat_ws, -1),
    "ts_ascii": (runtime_text.ascii_code, 1),
    "ts_unicode": (runtime_text.unicode_code, 1),
    "ts_char": (runtime_text.char, 1),
    "ts_nchar": (runtime_text.nchar, 1),
    "ts_quotename": (runtime_text.quote_name, 2),
    "ts_str": (runtime_text.str_function, 3),
    "ts_string_escape": (runtime_text.string_escape, 2),
    "ts_hashbytes": (runtime_text.hash_bytes, 3),
    "ts_regexp_like": (runtime_text.regexp_like, 3),
    "ts_isnumeric": (runtime_text.is_numeric, 1),
    "ts_datetime_fraction": (runtime_dates.fraction_of_datetime, 2),
    "ts_dateadd": (runtime_dates.date_add, 4),
    "ts_datediff": (runtime_dates.date_diff, 3),
    "ts_datediff_big": (runtime_dates.date_diff_big, 3),
    "ts_eomonth": (runtime_dates.end_of_month, 2),
    "ts_fromparts": (runtime_dates.from_parts, -1),
    "ts_switchoffset": (runtime_dates.switch_offset, 2),
    "ts_todatetimeoffset": (runtime_dates.to_offset, 2),
    "ts_at_time_zone": (runtime_dates.at_time_zone, 3),
    "ts_datetime_arithmetic": (runtime_dates.arithmetic, 3),
    "ts_unhex": (bytes.fromhex, 1),
    "ts_isjson": (lambda text, kind: int(json_text.is_json(text, kind)), 2),
    "ts_json_value": (json_text.value, 2),
    "ts_json_query": (json_text.query, 2),
    "ts_json_path_exists": (json_text.exists, 2),
    "ts_json_modify": (json_text.modify, 3),
    "ts_json_array": (json_text.array, -1),
    "ts_json_object": (json_text.make_object, -1),
    "ts_json_string": (json_text.escaped, 1),
    "ts_json_number": (json_text.number, 1),
    "ts_openjson": (json_text.opened, 2),
    "ts_openjson_rows": (json_text.opened_rows, 2),
    "ts_string_split": (runtime_text.string_split, 2),
    "ts_series": (runtime_math.series, 3),
    "ts_values": (_rows_of, -1),
    "ts_cell": (_cell, 2),
}
_TAKES_NULL = frozenset(
    {
        "ts_like",
        "ts_rows",
        "ts_concat_ws",
        "ts_regexp_like",
        "ts_isnumeric",
        "ts_json_array",
        "ts_json_object",
        "ts_openjson",
        "ts_openjson_rows",
        "ts_values",
        *_INTEGERS,
    }
)
#: Of the functions that know the session, those whose answer holds within a statement.
_REPEATABLE = frozenset(
    {
        "ts_cast",
        "ts_try_cast",
        "ts_moment",
        "ts_isdate",
        "ts_datepart",
        "ts_datename",
        "ts_datetrunc",
    }
)


def install(connection: sqlite3.Connection, host: Host) -> Runtime:
    """Make a SQLite connection able to run what the compiler emits."""
    found = Runtime(host)
    found.install(connection)
    return found

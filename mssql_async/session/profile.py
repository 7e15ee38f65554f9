"""What a context sets in its session when it begins, as the pool can set it again.

Receivers of ``connection_created`` set languages, time-outs, a tenant. While they run, such a
statement is recorded instead of making the session dirty: it belongs to the context's profile,
and the pool brings every connection that it lends to this context to that profile.
"""

from __future__ import annotations

import re
from typing import Any

from ..pool.connector import Replay

_STRING = r"N?'(?:[^']|'')*'"
_NAME = r"(?:\w+|\[(?:[^\]]|\]\])+\])"
_VALUE = rf"(?:{_STRING}|-?\w+(?:\.\d+)?)"
#: Options that mean the same whenever they are set, and need nothing but themselves. Not those
#: that keep statements from being run, nor IDENTITY_INSERT, nor what has each statement begin a
#: transaction that nobody knows of: IMPLICIT_TRANSACTIONS, and ANSI_DEFAULTS, which sets it.
_OPTIONS = (
    "ANSI_NULL_DFLT_OFF|ANSI_NULL_DFLT_ON|ANSI_NULLS|ANSI_PADDING|ANSI_WARNINGS"
    "|ARITHABORT|ARITHIGNORE|CONCAT_NULL_YIELDS_NULL|CONTEXT_INFO|CURSOR_CLOSE_ON_COMMIT"
    "|DATEFIRST|DATEFORMAT|DEADLOCK_PRIORITY|FORCEPLAN|LANGUAGE|LOCK_TIMEOUT|NOCOUNT"
    "|NUMERIC_ROUNDABORT|QUERY_GOVERNOR_COST_LIMIT|QUOTED_IDENTIFIER|ROWCOUNT|TEXTSIZE|XACT_ABORT"
)
_ISOLATION = (
    r"TRANSACTION\s+ISOLATION\s+LEVEL\s+"
    r"(?:READ\s+(?:UN)?COMMITTED|REPEATABLE\s+READ|SNAPSHOT|SERIALIZABLE)"
)
_ARGUMENT = rf"(?:@\w+\s*=\s*)?(?:\?|{_VALUE})"
_SESSION_CONTEXT = (
    r"EXEC(?:UTE)?\s+(?:\[?sys\]?\.)?\[?sp_set_session_context\]?"
    rf"\s+{_ARGUMENT}(?:\s*,\s*{_ARGUMENT})*"
)
_ONE = rf"(?:SET\s+(?:(?:{_OPTIONS})\s+{_VALUE}|{_ISOLATION})|USE\s+{_NAME}|{_SESSION_CONTEXT})"
_REPLAYABLE = re.compile(rf"\s*{_ONE}(?:\s*;\s*{_ONE}|\s*\n\s*{_ONE})*[\s;]*", re.IGNORECASE)
#: With parameters a batch is a procedure of its own, and its SETs end with it; these do not.
_WITH_PARAMETERS = re.compile(
    rf"\s*(?:SET\s+CONTEXT_INFO\s+\?|{_SESSION_CONTEXT})[\s;]*", re.IGNORECASE
)

_PLACEHOLDER = re.compile(rf"{_STRING}|\?")

_MOST_CHARACTERS = 4000
"""What a session's context takes as one value: 8000 bytes."""

_INT = range(-(2**31), 2**31)
_MOST_REMEMBERED = 256


def replayable(sql: str, parameters: Any) -> Replay | None:
    """The statement as a part of a profile, or ``None`` where it cannot be one: only what sets
    options, the session's context or the database, gives no rows and needs nothing around it.

    Parameters become literals of the same type, so that the pool can replay the profile in
    one batch, and so that profiles compare as the server would: 1 is not ``True``.
    """
    if not parameters:
        return Replay(sql) if _REPLAYABLE.fullmatch(sql) and "?" not in sql else None
    if _WITH_PARAMETERS.fullmatch(sql) is None:
        return None
    literals = [_literal(value) for value in parameters]
    if None in literals or _PLACEHOLDER.findall(sql).count("?") != len(literals):
        return None
    rest = iter(literals)
    text = _PLACEHOLDER.sub(lambda match: str(next(rest)) if match[0] == "?" else match[0], sql)
    return Replay(text)


def _literal(value: Any) -> str | None:
    """T-SQL for a value, of the type that the driver would give it; ``None`` without one."""
    if value is None:
        return "NULL"
    kind = type(value)  # exactly: a bool is an int, a moment is a date
    text: str | None = None
    if kind is str and len(value) <= _MOST_CHARACTERS and "\0" not in value:
        text = "N'" + value.replace("'", "''") + "'"
    elif kind is int and value in _INT:
        text = str(value)
    elif kind is bytes and len(value) <= 2 * _MOST_CHARACTERS:
        text = "0x" + value.hex()
    return text


class ProvenSettings:
    """Which SQL texts have succeeded as settings before.

    Those need not be sent to be recorded. One that was never tried is, so that its error comes
    up where the receiver can see it.
    """

    def __init__(self) -> None:
        self._texts: dict[str, None] = {}

    def __contains__(self, sql: str) -> bool:
        return sql in self._texts

    def __bool__(self) -> bool:
        return bool(self._texts)

    def add(self, sql: str) -> None:
        if len(self._texts) >= _MOST_REMEMBERED:
            self.forget()  # texts with values inside of them; parameters would be remembered
        self._texts[sql] = None

    def forget(self) -> None:
        self._texts.clear()

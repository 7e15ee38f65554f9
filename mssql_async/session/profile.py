"""What a context sets in its session when it begins, as the pool can set it again.

Receivers of ``connection_created`` set languages, time-outs, a tenant. While they run, such a
statement is recorded instead of making the session dirty: it belongs to the context's profile,
and the pool brings every connection that it lends to this context to that profile.
"""

from __future__ import annotations

import datetime
import re
import uuid
from typing import Any

from ..pool.connector import Replay

_STRING = r"N?'(?:[^']|'')*'"
_NAME = r"(?:\w+|\[(?:[^\]]|\]\])+\])"
_VALUE = rf"(?:{_STRING}|-?\w+(?:\.\d+)?)"
#: Options that mean the same whenever they are set, and need nothing but themselves. Not those
#: that keep statements from being run, and not IMPLICIT_TRANSACTIONS and IDENTITY_INSERT.
_OPTIONS = (
    "ANSI_DEFAULTS|ANSI_NULL_DFLT_OFF|ANSI_NULL_DFLT_ON|ANSI_NULLS|ANSI_PADDING|ANSI_WARNINGS"
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

#: Types whose equal values are the same to the server as well: not bool beside int, not
#: Decimal beside float, not moments of different time zones.
_COMPARABLE = frozenset({bytes, datetime.date, int, str, type(None), uuid.UUID})

_MOST_REMEMBERED = 256


def replayable(sql: str, parameters: Any) -> Replay | None:
    """The statement as a part of a profile, or ``None`` where it cannot be one: only what sets
    options, the session's context or the database, gives no rows and needs nothing around it."""
    if not parameters:
        return Replay(sql) if _REPLAYABLE.fullmatch(sql) and "?" not in sql else None
    if _WITH_PARAMETERS.fullmatch(sql) is None:
        return None
    if any(type(value) not in _COMPARABLE for value in parameters):
        return None
    return Replay(sql, tuple(parameters))


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

"""What a statement may leave behind in its session, judged by its text.

Errs to the safe side: only what is known to leave nothing is clean. A dirty session costs
one round trip when its lease ends; a session wrongly called clean would leak.
"""

from __future__ import annotations

import enum
import re
from functools import lru_cache


class Effect(enum.Enum):
    CLEAN = "clean"
    DIRTY = "dirty"
    SAVEPOINT = "savepoint"
    """Made or rolled back to a savepoint: gone with the transaction it belongs to."""


#: Literals, quoted names and comments say nothing about what a statement does.
_OPAQUE = re.compile(
    r"N?'(?:[^']|'')*'|\[(?:[^\]]|\]\])*\]|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/", re.DOTALL
)
_SAVEPOINT = re.compile(
    r"\s*(?:SAVE|ROLLBACK)\s+TRAN(?:SACTION)?\s+(?:\w+|\?)\s*;?\s*", re.IGNORECASE
)
_LEADING = re.compile(r"[\s;(]*([A-Za-z_]+)")
_CLEAN_LEADERS = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "WITH", "DECLARE"})
#: Words that change a session, run other code, or open a transaction or a cursor, wherever
#: they stand.
_DIRTY_WORDS = re.compile(
    r"#|\b(?:USE|EXEC|EXECUTE|BEGIN|COMMIT|ROLLBACK|SAVE|CREATE|ALTER|DROP|TRUNCATE|OPEN|CURSOR"
    r"|DBCC|KILL|REVERT|SETUSER|GRANT|DENY|REVOKE|BACKUP|RESTORE|OPENROWSET|OPENQUERY|GO"
    r"|RECONFIGURE|SHUTDOWN|BULK|RECEIVE|SEND)\b",
    re.IGNORECASE,
)
#: SET of an option, as opposed to UPDATE … SET column = … and SET @variable = ….
_SET_OPTION = re.compile(r"\bSET\s+([A-Za-z_]\w*)(?!\w)(?!\s*(?:[.=]|[-+*/%&|^]=))", re.IGNORECASE)


@lru_cache(maxsize=4096)
def effect_of(sql: str, parameterised: bool) -> Effect:
    """What ``sql`` may leave behind.

    ``parameterised`` statements run inside the server's ``sp_prepexec`` or
    ``sp_executesql``, where ``SET NOCOUNT`` ends with the call, as with a procedure (T-SQL
    reference, "SET statements"): the dialect's inserts and updates begin with it.
    """
    text = _OPAQUE.sub(lambda match: " " if match[0][0] in "-/" else " ? ", sql)
    if _SAVEPOINT.fullmatch(text):
        return Effect.SAVEPOINT
    options = [name.upper() for name in _SET_OPTION.findall(text)]
    if any(option != "NOCOUNT" or not parameterised for option in options):
        return Effect.DIRTY
    text = re.sub(r"\bSET\s+NOCOUNT\s+(?:ON|OFF)\b", " ", text, flags=re.IGNORECASE)
    leading = _LEADING.match(text)
    if leading is None or leading[1].upper() not in _CLEAN_LEADERS:
        return Effect.DIRTY
    return Effect.DIRTY if _DIRTY_WORDS.search(text) else Effect.CLEAN

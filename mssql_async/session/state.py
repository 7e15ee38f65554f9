"""What a statement may leave behind in its session, judged by its text.

Errs to the safe side: only what is known to leave nothing is clean. A dirty session costs
one round trip when its lease ends; a session wrongly called clean would leak.

What no text can show: a trigger or a procedure of the database's own may call
``SET CONTEXT_INFO`` or ``sp_set_session_context`` while a plain ``INSERT`` runs.
"""

from __future__ import annotations

import enum
import re
import unicodedata
from functools import lru_cache


class Effect(enum.Enum):
    CLEAN = "clean"
    DIRTY = "dirty"
    """The session is reset before anybody else gets it."""
    SAVEPOINT = "savepoint"
    """Made or rolled back to a savepoint: gone with the transaction it belongs to."""
    RETIRES = "retires"
    """Another identity, which no reset takes back: the server ends a connection that is reset
    while it impersonates (error 18059), and an application role lasts as long as the session."""


#: Longer texts are rare and big (a bulk insert): few are kept. Characters.
_LONG = 4 * 1024
_VERY_LONG = 64 * 1024


def effect_of(sql: str, parameterised: bool) -> Effect:
    """What ``sql`` may leave behind.

    ``parameterised`` statements run inside the server's ``sp_prepexec`` or
    ``sp_executesql``, as procedures do: ``SET`` options are put back when the call returns
    (T-SQL reference, "SET statements") and local temporary tables are dropped ("CREATE
    TABLE"). Of the options only those are trusted that the dialect uses.
    """
    length = len(sql)
    if length <= _LONG:
        return _effect_of(sql, parameterised)
    if length <= _VERY_LONG:
        return _effect_of_long(sql, parameterised)
    return _judge(sql, parameterised)


@lru_cache(maxsize=1024)
def _effect_of(sql: str, parameterised: bool) -> Effect:
    return _judge(sql, parameterised)


@lru_cache(maxsize=32)
def _effect_of_long(sql: str, parameterised: bool) -> Effect:
    return _judge(sql, parameterised)


# --- the text without what says nothing of what it does --------------------------------------

#: What stands for a literal and for a quoted name. Neither may be in a statement.
_LITERAL, _NAME = "\x02", "\x03"
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
#: Each takes an unterminated one to the end, and never gives back what it took: linear.
_OPAQUE = re.compile(
    r"'[^']*+(?:''[^']*+)*+(?:'|\Z)"
    r"|\[[^\]]*+(?:\]\][^\]]*+)*+(?:\]|\Z)"
    r'|"[^"]*+(?:""[^"]*+)*+(?:"|\Z)'
    r"|--[^\n]*+"
    r"|/\*"
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")
#: What might end a line for the server, though ``\n`` is all that is sure to.
_DOUBTFUL_LINE_END = re.compile("\r(?!$)|[\x0b\x0c\x85\u2028\u2029]")


def _bare(sql: str) -> str | None:
    """``sql`` with comments as blanks, and literals and quoted names as marks. A quoted name of
    a temporary object stays ``#``. None where it cannot be told how the server reads it."""
    if _CONTROL.search(sql):
        return None
    parts: list[str] = []
    position = 0
    while match := _OPAQUE.search(sql, position):
        start, end = match.span()
        parts.append(sql[position:start])
        opening = sql[start]
        if opening == "/":
            end = _end_of_comment(sql, end)
            if end < 0:
                return None
            parts.append(" ")
        elif opening == "-":
            if _DOUBTFUL_LINE_END.search(match[0]):
                return None
            parts.append(" ")
        elif end - start < 2 or sql[end - 1] != _CLOSING[opening]:
            return None
        elif opening == "'":
            parts.append(_LITERAL)
        else:
            name = match[0][1:-1]
            temporary = "##" if name.startswith("##") else "#" if name.startswith("#") else ""
            parts.append(temporary + _NAME)
        position = end
    parts.append(sql[position:])
    bare = "".join(parts)
    if not bare.isascii():
        # What folds to ASCII (full-width letters, say) is read as if it were.
        bare = unicodedata.normalize("NFKC", bare)
        if _OPAQUE.search(bare):
            return None
    return bare


_CLOSING = {"'": "'", "[": "]", '"': '"'}


def _end_of_comment(sql: str, position: int) -> int:
    """Where the block comment ends that is open at ``position``; -1: nowhere. They nest."""
    depth = 1
    for edge in _COMMENT_EDGE.finditer(sql, position):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return edge.end()
    return -1


# --- what it does ----------------------------------------------------------------------------

_FLAGS = re.IGNORECASE | re.ASCII
_LEADING = re.compile(r"[\s;(]*([a-z_]\w*)(?!\w)(?!\s*[.:])", _FLAGS)
#: Statements that begin otherwise are unknown, or calls of procedures.
_LEADERS = frozenset(
    {
        *("SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "WITH", "DECLARE", "SET", "TRUNCATE"),
        *("IF", "WHILE", "BEGIN", "RETURN", "PRINT", "RAISERROR", "THROW", "WAITFOR", "GOTO"),
        *("CREATE", "ALTER", "DROP", "GRANT", "DENY", "REVOKE", "EXEC", "EXECUTE", "DBCC"),
    }
)
#: A module's text is not run when it is created, and is all of its batch (T-SQL reference,
#: "Batches": what follows is part of the definition). A temporary procedure is not meant.
_MODULES = r"(?:PROC|PROCEDURE|FUNCTION|TRIGGER|VIEW)(?!\w)"
_MODULE = re.compile(
    rf"\s*(?:CREATE(?:\s+OR\s+ALTER)?|ALTER)\s+{_MODULES}"
    rf"\s*+(?:[\w{_NAME}]+\s*+\.\s*+)*+[\w{_NAME}]",
    _FLAGS,
)
_SAVEPOINT = re.compile(
    rf"\s*(?:SAVE|ROLLBACK)\s+TRAN(?:SACTION)?(?:\s+[a-z_]\w*|\s*[{_NAME}?])\s*;?\s*", _FLAGS
)
_IMPERSONATES = re.compile(r"(?<![\w@])(?:EXEC|EXECUTE)\s+AS(?!\w)|(?<!\w)SETUSER(?!\w)", _FLAGS)
_MAY_IMPERSONATE = re.compile(r"EXEC|SETUSER", _FLAGS)

#: Words that may change a session, run other code, or open a transaction or a cursor, wherever
#: they stand.
_WORDS = (
    "USE|SET|EXEC|EXECUTE|CREATE|ALTER|DROP|DBCC"
    "|COMMIT|ROLLBACK|SAVE|TRAN|TRANSACTION|DISTRIBUTED|DIALOG|CONVERSATION|CALL"
    "|OPEN|CLOSE|CURSOR|DEALLOCATE|KILL|REVERT|BACKUP|RESTORE|DUMP|LOAD|DATABASE|DISK"
    "|OPENROWSET|OPENQUERY|OPENDATASOURCE|BULK|RECEIVE|SEND|RECONFIGURE|SHUTDOWN|CHECKPOINT|GO"
)
_NUMBER = r"(?:0x[0-9a-f]*|\d+(?:e\d*)?)(?!\w)"
_SUSPECT_WORDS = frozenset(_WORDS.split("|"))
#: The first group is a plain word; other runs may be several things for the server.
_RUN = re.compile(r"([a-z_]\w*)(?![\w@#$])|[\w@#$]+", _FLAGS)
_SUSPECT = re.compile(
    # No blank is needed around them: SELECT'a'USE x and EXEC@x do what they say.
    rf"(?<![\w@])(?P<word>{_WORDS})(?!\w)"
    r"|(?P<temporary>##?)"
    # A number that runs into a word, where the server sees two: SELECT 1USE x.
    rf"|(?<![\w@#$])(?!{_NUMBER})\d\w*"
    # A lone $ is an amount of money: the word behind it is a word of its own.
    r"|\$(?!(?:action|identity|rowguid|partition|node_id|edge_id|from_id|to_id)(?!\w))[a-z_]",
    _FLAGS,
)
#: Permanent objects whose definition leaves nothing in the session. Not databases, logins and
#: users, keys and the like.
_LASTING = (
    r"(?:TABLE|COLUMN|CONSTRAINT|INDEX|UNIQUE\s+INDEX"
    r"|(?:UNIQUE\s+)?(?:NON)?CLUSTERED\s+(?:COLUMNSTORE\s+)?INDEX"
    r"|SCHEMA|SEQUENCE|TYPE|SYNONYM|STATISTICS)(?!\w)"
)
#: System procedures that read the catalog or change the database and leave nothing in the
#: session (T-SQL reference, "System stored procedures": catalog, database engine and
#: replication are listed apart). The server prefers its own to a user's of the same name.
_HARMLESS_PROCEDURE = (
    r"(?:sys\s*\.\s*)?"
    r"(?:sp_rename|sp_(?:add|update|drop)extendedproperty|sp_refreshview|sp_recompile"
    r"|sp_updatestats|sp_spaceused|sp_depends|sp_who2?|sp_lock"
    r"|sp_columns|sp_tables|sp_pkeys|sp_fkeys|sp_statistics|sp_special_columns|sp_databases"
    r"|sp_stored_procedures|sp_sproc_columns|sp_table_privileges|sp_column_privileges"
    r"|sp_server_info|sp_datatype_info"
    r"|sp_describe_first_result_set|sp_describe_undeclared_parameters"
    r"|sp_help(?:text|index|constraint|db|file|filegroup|language|sort|user|role|rolemember"
    r"|srvrole|srvrolemember|logins|server|stats|trigger)?)"
    r"(?!\w)(?!\s*\.)"
)
_BARE_CALL = re.compile(rf"\s*{_HARMLESS_PROCEDURE}", _FLAGS)
_ASSIGNS = r"\s*(?:[.=]|[-+*/%&|^]=)"


def _patterns(**patterns: str) -> dict[str, re.Pattern[str]]:
    return {word: re.compile(pattern, _FLAGS) for word, pattern in patterns.items()}


#: What must follow one of the words to make it harmless.
_HARMLESS = _patterns(
    USE=r"\s+HINT\s*\(",
    # Of a variable, a table's options, a column (to a value), a foreign key's action.
    SET=(
        r"(?:\s*@|\s*\(|\s+(?:NULL|DEFAULT)(?!\w)"
        rf"|\s*{_NAME}{_ASSIGNS}|\s+[a-z_]\w*{_ASSIGNS})"
    ),
    EXEC=rf"\s+{_HARMLESS_PROCEDURE}",
    EXECUTE=rf"\s+{_HARMLESS_PROCEDURE}",
    # Modules only where a batch begins. A temporary procedure outlives even the call it was
    # created in, as temporary tables do not.
    CREATE=rf"\s+{_LASTING}",
    ALTER=rf"\s+{_LASTING}",
    DROP=rf"\s+(?:{_LASTING}|{_MODULES})",
    DBCC=r"\s+CHECKIDENT(?!\w)",
)
_HARMLESS_IF_PARAMETERISED = _patterns(
    SET=(
        r"\s+(?:NOCOUNT"
        rf"|IDENTITY_INSERT\s*(?:[\w{_NAME}]+\s*\.\s*){{0,2}}[\w{_NAME}]+)\s*(?:ON|OFF)(?!\w)"
    ),
)


def _judge(sql: str, parameterised: bool) -> Effect:
    if "setapprole" in sql.lower():
        return Effect.RETIRES
    bare = _bare(sql)
    if bare is None:
        return Effect.RETIRES if _MAY_IMPERSONATE.search(sql) else Effect.DIRTY
    if _MODULE.match(bare):
        return Effect.CLEAN
    if _MAY_IMPERSONATE.search(bare) and _IMPERSONATES.search(bare):
        return Effect.RETIRES
    if _SAVEPOINT.fullmatch(bare):
        return Effect.SAVEPOINT
    leading = _LEADING.match(bare)
    known = leading is not None and leading[1].upper() in _LEADERS
    if not known and not _BARE_CALL.match(bare):
        return Effect.DIRTY
    for run in _RUN.finditer(bare):
        if run[1]:
            word = run[1].upper()
            if word in _SUSPECT_WORDS and not _is_harmless(word, bare, run.end(), parameterised):
                return Effect.DIRTY
            continue
        for suspect in _SUSPECT.finditer(bare, run.start(), run.end()):
            if suspect["temporary"]:
                harmless = parameterised and suspect["temporary"] == "#"
            else:
                word = (suspect["word"] or "").upper()
                harmless = _is_harmless(word, bare, suspect.end(), parameterised)
            if not harmless:
                return Effect.DIRTY
    return Effect.CLEAN


def _is_harmless(word: str, bare: str, end: int, parameterised: bool) -> bool:
    """Whether what follows a suspect word at ``end`` makes it leave nothing."""
    always = _HARMLESS.get(word)
    if always is not None and always.match(bare, end):
        return True
    inside = _HARMLESS_IF_PARAMETERISED.get(word) if parameterised else None
    return inside is not None and inside.match(bare, end) is not None

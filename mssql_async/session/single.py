"""Whether a text is one statement, which the server carries out as a whole or not at all.

Where it cannot be told the answer is no. Only statements that may lose a conflict matter after
another one: queries, changes of data, definitions, and what runs any of these.
"""

from __future__ import annotations

import re
from functools import lru_cache

#: Literals, quoted names and comments. What is left of them, in a comment within a comment, is a
#: mark of :data:`_DOUBTFUL`.
_OPAQUE = re.compile(
    r"'(?:[^']|'')*'|\[(?:[^\]]|\]\])*\]|\"(?:[^\"]|\"\")*\"|/\*(?:(?!/\*|\*/).)*\*/|--[^\r\n]*",
    re.DOTALL,
)
#: Names have letters of all scripts; no word of the language does. Of other signs it is not known
#: which ones separate words.
_FOREIGN = re.compile(r"[^\W\x00-\x7f]+")
_MERGE_JOIN = re.compile(r"(?<!\w)MERGE\s+JOIN(?!\w)")
_DOUBTFUL = re.compile(r"['\"\[\]]|--|/\*|\*/")
_PARENTHESES = re.compile(r"\([^()]*\)")
_WORD = re.compile(r"(?<![\w@#$])[A-Z]\w*")

#: What the dialect writes around a statement; neither can lose a conflict.
_BEFORE = re.compile(r"\A(?:\s*SET\s+NOCOUNT\s+(?:ON|OFF)(?:\s*;|\s))+")
_AFTER = re.compile(
    r";\s*SELECT CAST\(SCOPE_IDENTITY\(\) AS bigint\)(?: WHERE 1 = (?:%s|\?))?\s*;?\s*\Z",
    re.IGNORECASE,
)
#: Around an INSERT that brings its keys.
_WITH_KEYS = re.compile(
    r"\A\s*SET IDENTITY_INSERT (?P<table>[^;]+?) ON\s*;(?P<insert>.*);\s*"
    r"SET IDENTITY_INSERT (?P=table) OFF\s*;?\s*\Z",
    re.DOTALL,
)

_CHANGES = frozenset({"INSERT", "UPDATE", "DELETE"})
#: Reserved, so that no unquoted name can be one of them; each begins another statement, or a block.
_OTHERS = frozenset(
    {
        *("ALTER", "BACKUP", "BEGIN", "BULK", "COMMIT", "CREATE", "DBCC", "DECLARE", "DENY"),
        *("DROP", "EXEC", "EXECUTE", "GRANT", "IF", "MERGE", "OPEN", "RESTORE", "REVERT", "REVOKE"),
        *("ROLLBACK", "SAVE", "TRUNCATE", "USE", "WAITFOR", "WHILE"),
    }
)
_JOINS_SELECTS = frozenset({"UNION", "ALL", "EXCEPT", "INTERSECT"})


@lru_cache(maxsize=512)
def only_reads(sql: str) -> bool:
    """Whether nothing but ``SELECT`` is in it; not ``SELECT INTO``, which makes a table."""
    words = _words(sql)
    return _leader(words) == "SELECT" and {"INTO", "SET", *_CHANGES, *_OTHERS}.isdisjoint(words)


@lru_cache(maxsize=512)
def is_single(sql: str) -> bool:
    """Whether it is one ``SELECT``, ``INSERT``, ``UPDATE`` or ``DELETE``."""
    with_keys = _WITH_KEYS.match(sql)
    text = with_keys["insert"] if with_keys else sql
    text = _BEFORE.sub("", _flat(_AFTER.sub("", text)), count=1)
    if ";" in text.rstrip("; \t\r\n"):
        return False
    words = _WORD.findall(text)
    leader = _leader(words)
    if leader is None or not _OTHERS.isdisjoint(words):
        return False
    return (
        sum(word in _CHANGES for word in words) == (leader in _CHANGES)
        and words.count("SET") == (leader == "UPDATE")
        and _queries(words) <= _queries_within(leader, words)
    )


def _queries_within(leader: str, words: list[str]) -> int:
    """How many queries outside of parentheses are parts of the statement itself."""
    return int(leader == "SELECT" or (leader == "INSERT" and "VALUES" not in words))


def _queries(words: list[str]) -> int:
    """Those of a union count as one."""
    before = ["", *words]
    return sum(
        word == "SELECT" and last not in _JOINS_SELECTS
        for last, word in zip(before, words, strict=False)
    )


def _leader(words: list[str]) -> str | None:
    """The word that says what it does; common table expressions may stand before."""
    if words[:1] == ["WITH"]:
        return next((word for word in words if word == "SELECT" or word in _CHANGES), None)
    return words[0] if words and (words[0] == "SELECT" or words[0] in _CHANGES) else None


def _words(sql: str) -> list[str]:
    return _WORD.findall(_flat(sql))


def _flat(sql: str) -> str:
    """In capitals, without what is quoted or in parentheses; empty where that cannot be told."""
    flat = _FOREIGN.sub("_", _OPAQUE.sub(" ", sql))
    if not flat.isascii() or _DOUBTFUL.search(flat):
        return ""
    flat, bare = _MERGE_JOIN.sub("JOIN", flat.upper()), ""
    while flat != bare:
        bare, flat = flat, _PARENTHESES.sub(" ", flat)
    return "" if "(" in flat or ")" in flat else flat

"""Hides what looks like a password, a key or a token in texts of others.

Statements, errors of drivers and command lines are shown to people, and kept in files, so nobody
should have to rely on there being no secret in them. Texts that only speak of one stay readable.
"""

from __future__ import annotations

import re
from typing import Any

HIDDEN = "…"

#: The end of a name; whatever stands before it (``MSSQL_PASSWORD``, ``clientSecret``) is part of
#: the name, and what would come after it (``password_changed_at``) makes it another one.
_NAME = r"""(?:
    pass(?:word|wd|phrase|code) | pwd | [_-]pass | pgpass | secret | token
    | (?:secret|api|access|account|private|encryption|signing|sas)[_-]?key
    | shared_?access_?(?:key|signature)
)\d*"""

#: A parameter, or a column of T-SQL in brackets: no value.
_NO_VALUE = r"""(?!
    (?: %s | %\(\w+\)s | \? | @p\d+ | (?<=\s)(?:@\w+|:\w+|NULL|DEFAULT|None) ) (?=[\s,;)\]}'"]|$)
    | (?<=\s)\[\w+\]
)"""

_QUOTED = r"""
    (?P<escape>\\+)(?P<mark>['"]) .*? (?:(?P=escape)(?P=mark)|$)
    | [NbruBRU]{0,2}'(?:[^'\\]|\\.|'')*(?:'|\\?$)
    | [brBR]{0,2}"(?:[^"\\]|\\.|"")*(?:"|\\?$)
    | \{(?:[^}]|\}\})*(?:\}|$)
"""

_ASSIGNED = re.compile(
    rf"""
    (?P<said>
        (?P<name>{_NAME}) (?:\\*["'])? \]? \s* (?: :=|=>|={{1,2}}|(?<!:):(?!:) ) \s*
    )
    {_NO_VALUE}
    (?:{_QUOTED}
        # In a connection string up to the semicolon, whatever there is.
        | (?:(?<=pwd=)|(?<=password=))[^;'"\n]{{1,300}}(?=;) | [^\s;]{{1,300}}(?=;)
        # Elsewhere a comma ends it where something else follows.
        | (?:[^\s;,'"]|,(?=[^\s'"]))+
    )
    """,
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)

_OTHERS = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        # A header's.
        r"(?P<said>\bauthorization[\"']?\s*[:=]\s*[\"']?)[^\"'\r\n]+",
        r"(?P<said>\bbearer\s+)(?=\S{0,300}\d|eyJ|\S{16})[\w.~+/=-]{3,}",
        # An address's: between the user and the host. A port is none.
        r"(?P<said>\b[a-z][\w+.-]{0,30}://[^\s:/@'\"]{0,100}:)(?!\d+[/?#])[^\s'\"]{1,300}(?=@)",
        r"(?P<said>[?&]sig=)[^\s&'\";]+",
        # A JSON web token, wherever it is.
        r"(?P<said>\b)eyJ[\w-]{5,}(?:\.[\w-]*){0,2}",
    )
]

_KEY = re.compile(rf"{_NAME}s?$", re.IGNORECASE | re.VERBOSE)


def without_secrets(value: Any) -> Any:
    """The same plain value; whatever in its texts looks like a secret is hidden, and in a
    dictionary whatever text has a key that says so."""
    if isinstance(value, str):
        return _in_text(value)
    if isinstance(value, dict):
        return {
            without_secrets(key): _hidden(each) if _is_secret(key) else without_secrets(each)
            for key, each in value.items()
        }
    if isinstance(value, (list, tuple)):
        return type(value)(map(without_secrets, value))
    return value


def _in_text(text: str) -> str:
    for pattern in (_ASSIGNED, *_OTHERS):
        text = pattern.sub(rf"\g<said>{HIDDEN}", text)
    return text


def _is_secret(key: object) -> bool:
    return isinstance(key, str) and _KEY.search(key) is not None


def _hidden(value: Any) -> Any:
    """Numbers stay: those of contexts are called tokens, too."""
    if isinstance(value, (str, bytes)):
        return HIDDEN if value else value
    if isinstance(value, dict):
        return {key: _hidden(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_hidden, value))
    return value

"""Whom a fault is for, and which statements: sessions by what they say of themselves."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from ..tds.counters import SessionInfo


@dataclass(frozen=True, slots=True)
class Sessions:
    """A choice of sessions. Combine choices with ``&``, ``|`` and ``~``."""

    description: str
    matches: Callable[[SessionInfo], bool] = field(repr=False)
    everybody: bool = False
    """Also those that are not logged in yet, where a fault reaches that far."""

    def __str__(self) -> str:
        return self.description

    def __and__(self, other: Sessions) -> Sessions:
        return Sessions(
            f"({self} and {other})", lambda info: self.matches(info) and other.matches(info)
        )

    def __or__(self, other: Sessions) -> Sessions:
        return Sessions(
            f"({self} or {other})", lambda info: self.matches(info) or other.matches(info)
        )

    def __invert__(self) -> Sessions:
        return Sessions(f"not {self}", lambda info: not self.matches(info))

    @classmethod
    def all(cls) -> Sessions:
        return _ALL

    @classmethod
    def spid(cls, *spids: int) -> Sessions:
        """Those with these numbers (``@@SPID``)."""
        shown = ", ".join(map(str, spids))
        return cls(f"session {shown}", lambda info: info.spid in spids)

    @classmethod
    def program(cls, name: str) -> Sessions:
        """Those whose connection string said ``APP=name``; case does not matter."""
        folded = name.casefold()
        return cls(f"program {name!r}", lambda info: info.program_name.casefold() == folded)

    @classmethod
    def process(cls, process_id: int) -> Sessions:
        """Those of the client process with this number (``os.getpid()``)."""
        return cls(f"process {process_id}", lambda info: info.host_process_id == process_id)

    @classmethod
    def database(cls, name: str) -> Sessions:
        """Those whose current database it is."""
        folded = name.casefold()
        return cls(f"database {name!r}", lambda info: info.database.casefold() == folded)

    @classmethod
    def user(cls, name: str) -> Sessions:
        folded = name.casefold()
        return cls(f"user {name!r}", lambda info: info.user.casefold() == folded)

    @classmethod
    def where(
        cls, predicate: Callable[[SessionInfo], bool], description: str = "a predicate"
    ) -> Sessions:
        """``predicate`` may be called on any thread and must not wait."""
        return cls(description, predicate)


_ALL = Sessions("all sessions", lambda _info: True, everybody=True)


Pattern = str | re.Pattern[str]
"""A statement's text: with ``%`` for anything and ``_`` for any character, as in LIKE, or
a regular expression that is searched for."""


def compile_pattern(pattern: Pattern) -> Callable[[str], bool]:
    """A test for a statement's text.

    Case does not matter to a LIKE pattern, nor do line breaks; brackets mean themselves,
    because they quote the names in the statements that are looked for.
    """
    if isinstance(pattern, re.Pattern):
        return lambda text: pattern.search(text) is not None
    wildcards = {"%": ".*", "_": "."}
    expression = "".join(wildcards.get(each) or re.escape(each) for each in pattern)
    compiled = re.compile(expression, re.IGNORECASE | re.DOTALL)
    return lambda text: compiled.fullmatch(text) is not None


def pattern_text(pattern: Pattern) -> str:
    """The pattern as listings show it."""
    return f"/{pattern.pattern}/" if isinstance(pattern, re.Pattern) else repr(pattern)

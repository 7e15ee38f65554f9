"""Strings as SQL Server sees them: UTF-16 lengths, code page 1252, collations, LIKE.

Source: T-SQL reference, "Collation and Unicode support", "LIKE", "char and varchar".
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from ..sqltypes import Collation

# --- lengths ------------------------------------------------------------------------------


def length(text: str) -> int:
    """Characters as SQL Server counts them: UTF-16 code units."""
    if text.isascii():
        return len(text)
    return len(text) + sum(1 for character in text if character > "\uffff")


def cut(text: str, units: int) -> str:
    """The first ``units`` UTF-16 code units, never half a surrogate pair."""
    if len(text) <= units and text.isascii():
        return text
    if length(text) <= units:
        return text
    if not any(character > "\uffff" for character in text):
        return text[:units]
    return text.encode("utf-16-le")[: units * 2].decode("utf-16-le", "ignore")


def upper(text: str) -> str:
    """UPPER: one character for one, so that 'ß' stays."""
    if text.isascii():
        return text.upper()
    return "".join(u if len(u := c.upper()) == 1 else c for c in text)


def lower(text: str) -> str:
    if text.isascii():
        return text.lower()
    return "".join(u if len(u := c.lower()) == 1 else c for c in text)


_UNDECOMPOSED = str.maketrans("łŁđĐøØıħĦŧŦ", "lLdDoOihHtT")


def to_code_page(text: str) -> str:
    """What of a Unicode string survives in varchar: best fit, else ``?``."""
    if text.isascii():
        return text
    try:
        text.encode("cp1252")
    except UnicodeEncodeError:
        return "".join(_best_fit(character) for character in text)
    return text


@lru_cache(maxsize=1024)
def _best_fit(character: str) -> str:
    for candidate in (
        character,
        unicodedata.normalize("NFD", character)[:1],
        character.translate(_UNDECOMPOSED),
    ):
        try:
            candidate.encode("cp1252")
        except UnicodeEncodeError:
            continue
        return candidate
    return "?" * length(character)


def encoded(text: str, *, unicode: bool, utf8: bool = False) -> bytes:
    """The bytes of a string as SQL Server stores it."""
    if unicode:
        return text.encode("utf-16-le", "surrogatepass")
    return text.encode("utf-8") if utf8 else text.encode("cp1252", "replace")


def decoded(data: bytes, *, unicode: bool) -> str:
    if unicode:
        return (data + b"\0" * (len(data) % 2)).decode("utf-16-le", "replace")
    return data.decode("cp1252", "replace")


# --- collations ---------------------------------------------------------------------------


@lru_cache(maxsize=256)
def collation_of(name: str | None) -> Collation:
    """The SQLite collation of a T-SQL collation name."""
    upper = (name or "").upper()
    if "_BIN" in upper:
        return Collation.TEXT_BIN
    if "_CS" in upper:
        return Collation.TEXT_CS
    return Collation.TEXT_CI_AI if "_CI_AI" in upper else Collation.TEXT_CI


def is_collation(name: str) -> bool:
    """Whether a name has the form of a collation's."""
    return bool(re.fullmatch(r"(?i)[A-Z][A-Z0-9_]*_(BIN2?|C[IS]_A[IS](_[A-Z0-9]+)*)", name))


#: ASCII in dictionary order: blanks and signs, digits, letters.
_ORDER = {
    ord(character): chr(position)
    for position, character in enumerate(
        " _-,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~$0123456789abcdefghijklmnopqrstuvwxyz", start=32
    )
}


@lru_cache(maxsize=65536)
def _folded_key(text: str) -> tuple[str, ...]:
    """Primary weights (letters without case and accents), then accents."""
    text = text.rstrip(" ")
    if text.isascii():
        return (text.lower().translate(_ORDER),)
    decomposed = unicodedata.normalize("NFD", text.casefold())
    base = "".join(c for c in decomposed if not unicodedata.combining(c))
    accents = "".join(
        ("\x02" + c if unicodedata.combining(c) else "\x01") for c in decomposed
    ).rstrip("\x01")
    primary = base.translate(_ORDER)
    return (primary, accents) if accents else (primary,)


@lru_cache(maxsize=65536)
def _unaccented_key(text: str) -> str:
    return _folded_key(text)[0]


@lru_cache(maxsize=65536)
def _cased_key(text: str) -> tuple[tuple[str, ...], str]:
    """As without case, and between equals lower case first."""
    text = text.rstrip(" ")
    return _folded_key(text), text.swapcase()


def compare_ci(left: str, right: str) -> int:
    if left == right:
        return 0
    a, b = _folded_key(left), _folded_key(right)
    return (a > b) - (a < b)


def compare_ci_ai(left: str, right: str) -> int:
    if left == right:
        return 0
    a, b = _unaccented_key(left), _unaccented_key(right)
    return (a > b) - (a < b)


def compare_cs(left: str, right: str) -> int:
    if left == right:
        return 0
    a, b = _cased_key(left), _cased_key(right)
    return (a > b) - (a < b)


def compare_bin(left: str, right: str) -> int:
    a, b = left.rstrip(" "), right.rstrip(" ")
    return (a > b) - (a < b)


COMPARE = {
    Collation.TEXT_CI: compare_ci,
    Collation.TEXT_CI_AI: compare_ci_ai,
    Collation.TEXT_CS: compare_cs,
    Collation.TEXT_BIN: compare_bin,
}


def _without_accents(text: str) -> str:
    if text.isascii():
        return text
    decomposed = unicodedata.normalize("NFD", text)
    return "".join(c for c in decomposed if not unicodedata.combining(c))


# --- LIKE ---------------------------------------------------------------------------------


class BadEscape(ValueError):
    """The escape is not one character."""


@lru_cache(maxsize=4096)
def like_pattern(pattern: str, escape: str | None, mode: str) -> re.Pattern[str] | None:
    """LIKE as a regular expression; None for a pattern that matches nothing."""
    if escape is not None and len(escape) != 1:
        raise BadEscape(escape)
    if mode == Collation.TEXT_CI_AI.value:
        pattern = _without_accents(pattern)
    parts: list[str] = []
    position = 0
    while position < len(pattern):
        character = pattern[position]
        position += 1
        if character == escape and position < len(pattern):
            parts.append(re.escape(pattern[position]))
            position += 1
        elif character == "%":
            parts.append(".*")
        elif character == "_":
            parts.append(".")
        elif character == "[":
            found = _character_class(pattern, position, escape)
            if found is None:
                return None
            text, position = found
            parts.append(text)
        else:
            parts.append(re.escape(character))
    flags = re.DOTALL
    if mode in (Collation.TEXT_CI.value, Collation.TEXT_CI_AI.value):
        flags |= re.IGNORECASE
    return re.compile("".join(parts), flags)


def _character_class(pattern: str, start: int, escape: str | None) -> tuple[str, int] | None:
    """A class from after its ``[``, and where it ends; None where it never closes."""
    position = start
    negated = pattern.startswith("^", position)
    if negated:
        position += 1
    members: list[str] = []
    while position < len(pattern):
        character = pattern[position]
        if character == "]":
            if not members:
                return ("." if negated else r"(?!)"), position + 1
            return f"[{'^' if negated else ''}{''.join(members)}]", position + 1
        if character == escape and position + 1 < len(pattern):
            position += 1
            character = pattern[position]
        position += 1
        if pattern.startswith("-", position) and pattern[position + 1 : position + 2] not in (
            "",
            "]",
        ):
            last = pattern[position + 1]
            position += 2
            if last >= character:
                members.append(f"{re.escape(character)}-{re.escape(last)}")
            continue
        members.append(re.escape(character))
    return None


def like(value: str, pattern: str, escape: str | None, mode: str, *, unicode: bool) -> bool:
    """LIKE. Blanks at the end of a pattern count; of a value, those of Unicode strings do:
    "When you use Unicode data … with LIKE, trailing blanks are significant; however, for
    non-Unicode data, trailing blanks aren't significant" ("LIKE (Transact-SQL)")."""
    regex = like_pattern(pattern, escape, mode)
    if regex is None:
        return False
    if mode == Collation.TEXT_CI_AI.value:
        value = _without_accents(value)
    if regex.fullmatch(value) is not None:
        return True
    return not unicode and value.endswith(" ") and regex.fullmatch(value.rstrip(" ")) is not None


@lru_cache(maxsize=1024)
def regular_expression(pattern: str, *, ignore_case: bool) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE if ignore_case else 0)


# --- uniqueidentifier ---------------------------------------------------------------------


def guid_key(text: str) -> str:
    """SQL Server compares the last six bytes first, then the groups before them."""
    return (
        text[24:36]
        + text[19:23]
        + text[16:18]
        + text[14:16]
        + text[11:13]
        + text[9:11]
        + text[6:8]
        + text[4:6]
        + text[2:4]
        + text[0:2]
    )


def compare_guid(left: str, right: str) -> int:
    if left == right:
        return 0
    a, b = guid_key(left.upper()), guid_key(right.upper())
    return (a > b) - (a < b)


def compare_offset(left: str, right: str) -> int:
    """datetimeoffset by the UTC instant it begins with."""
    a, b = left[:27], right[:27]
    return (a > b) - (a < b)

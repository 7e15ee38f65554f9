"""Collations on the wire and the code page of char, varchar and text (MS-TDS 2.2.5.1.2).

A COLLATION is five bytes: 20 bits of LCID, 8 flags, 4 bits of version, and the SQL
sort order's id. The flags and ids are those of SQL Server's ``COLLATIONPROPERTY``.
"""

from __future__ import annotations

import codecs
import functools

from ..sqltypes import DEFAULT_COLLATION_NAME

_LCID_US_ENGLISH = 0x0409
_IGNORE_CASE = 0x0010_0000
_IGNORE_ACCENT = 0x0020_0000
_IGNORE_KANA = 0x0040_0000
_IGNORE_WIDTH = 0x0080_0000
_BINARY = 0x0100_0000
_BINARY2 = 0x0200_0000
_UTF8 = 0x0400_0000

#: SQL collations sort by tables of their own; everything else has sort id 0.
_SORT_IDS = {
    "SQL_LATIN1_GENERAL_CP1_CS_AS": 51,
    "SQL_LATIN1_GENERAL_CP1_CI_AS": 52,
    "SQL_LATIN1_GENERAL_CP1_CI_AI": 54,
}


@functools.lru_cache(maxsize=256)
def collation_bytes(name: str | None, *, utf8: bool) -> bytes:
    """The five bytes of a collation, ``None`` being the server's default.

    Locales are not told apart: the stand-in sorts all of them alike. ``utf8`` says
    whether the client can read UTF-8 in varchar; without it the flag is kept back.
    """
    upper = (name or DEFAULT_COLLATION_NAME).upper()
    parts = upper.split("_")
    if "BIN2" in parts:
        flags = _BINARY2
    elif "BIN" in parts:
        flags = _BINARY
    else:
        flags = 0
        if "CI" in parts:
            flags |= _IGNORE_CASE
        if "AI" in parts:
            flags |= _IGNORE_ACCENT
        if "KS" not in parts:
            flags |= _IGNORE_KANA
        if "WS" not in parts:
            flags |= _IGNORE_WIDTH
    if utf8 and is_utf8(name):
        flags |= _UTF8
    version = 2 if "100" in parts or "140" in parts else 0
    number = _LCID_US_ENGLISH | flags | version << 28
    return number.to_bytes(4, "little") + bytes([_SORT_IDS.get(upper, 0)])


DEFAULT_COLLATION_BYTES = collation_bytes(None, utf8=False)


def is_utf8(name: str | None) -> bool:
    return name is not None and name.upper().endswith("_UTF8")


@functools.lru_cache(maxsize=256)
def is_case_sensitive(name: str | None) -> bool:
    return "CI" not in (name or DEFAULT_COLLATION_NAME).upper().split("_")


def has_utf8_flag(collation: bytes) -> bool:
    return bool(int.from_bytes(collation[:4], "little") & _UTF8)


# Windows maps the five bytes that ISO leaves out of code page 1252 to the control
# characters of the same number; Python's codec refuses them.
_CONTROLS = frozenset({0x81, 0x8D, 0x8F, 0x90, 0x9D})


def _encode_as_windows_does(error: UnicodeError) -> tuple[bytes | str, int]:
    if isinstance(error, UnicodeEncodeError):
        replacement = bytearray()
        for character in error.object[error.start : error.end]:
            code = ord(character)
            if code in _CONTROLS:
                replacement.append(code)
            else:
                # SQL Server sees UTF-16: a character outside the BMP is two units.
                replacement += b"??" if code > 0xFFFF else b"?"
        return bytes(replacement), error.end
    if isinstance(error, UnicodeDecodeError):
        return error.object[error.start : error.end].decode("latin-1"), error.end
    raise error


_ERRORS = "mssql_async.cp1252"
codecs.register_error(_ERRORS, _encode_as_windows_does)


def encode_ansi(text: str) -> bytes:
    """Text in code page 1252; what it does not have becomes ``?``, as in SQL Server."""
    return text.encode("cp1252", _ERRORS)


def decode_ansi(data: bytes) -> str:
    return data.decode("cp1252", _ERRORS)


def encode_utf8(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def decode_utf8(data: bytes) -> str:
    return data.decode("utf-8", "replace")

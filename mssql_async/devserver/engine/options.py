"""What SET changes in a session, with SQL Server's defaults for an ODBC client.

Source: SQL Server documentation, "SET statements (Transact-SQL)", "@@OPTIONS". An option
whose other value would change results in a way the stand-in does not implement is
refused by name, never ignored.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import NotSupportedByStandIn, SqlError
from ..protocols import Isolation

DATE_FORMATS = frozenset({"mdy", "dmy", "ymd", "ydm", "myd", "dym"})

_LANGUAGES = {
    "us_english": ("us_english", "mdy", 7),
    "english": ("us_english", "mdy", 7),
    "british": ("British", "dmy", 1),
    "british english": ("British", "dmy", 1),
    "deutsch": ("Deutsch", "dmy", 1),
    "german": ("Deutsch", "dmy", 1),
    "français": ("Français", "dmy", 1),
    "french": ("Français", "dmy", 1),
    "español": ("Español", "dmy", 1),
    "spanish": ("Español", "dmy", 1),
    "italiano": ("Italiano", "dmy", 1),
    "italian": ("Italiano", "dmy", 1),
    "polski": ("polski", "dmy", 1),
    "polish": ("polski", "dmy", 1),
}
"""Name, DATEFORMAT and DATEFIRST. Messages and DATENAME stay English."""

# Options whose only supported value is the ANSI one that every ODBC connection has.
_FIXED = {
    "ANSI_NULLS": "ON",
    "ANSI_PADDING": "ON",
    "ANSI_WARNINGS": "ON",
    "ANSI_NULL_DFLT_ON": "ON",
    "ANSI_NULL_DFLT_OFF": "OFF",
    "CONCAT_NULL_YIELDS_NULL": "ON",
    "NUMERIC_ROUNDABORT": "OFF",
    "QUOTED_IDENTIFIER": "ON",
    "NOEXEC": "OFF",
    "FMTONLY": "OFF",
    "PARSEONLY": "OFF",
    "SHOWPLAN_ALL": "OFF",
    "SHOWPLAN_TEXT": "OFF",
    "SHOWPLAN_XML": "OFF",
    "FORCEPLAN": "OFF",
    "STATISTICS IO": "OFF",
    "STATISTICS TIME": "OFF",
    "STATISTICS XML": "OFF",
    "STATISTICS PROFILE": "OFF",
    "REMOTE_PROC_TRANSACTIONS": "OFF",
    "OFFSETS": "OFF",
}

_SWITCHES = {
    "NOCOUNT": "no_count",
    "XACT_ABORT": "xact_abort",
    "IMPLICIT_TRANSACTIONS": "implicit_transactions",
    "ARITHABORT": "arithmetic_abort",
    "ARITHIGNORE": "arithmetic_ignore",
    "CURSOR_CLOSE_ON_COMMIT": "cursor_close_on_commit",
}

_DEADLOCK_PRIORITIES = {"LOW": -5, "NORMAL": 0, "HIGH": 5}

_WRONG_VALUE = 2742
_UNLIMITED_TEXT = 2147483647


@dataclass(slots=True)
class SessionOptions:
    """A session's settings; a new object is the state after a reset."""

    no_count: bool = False
    xact_abort: bool = False
    implicit_transactions: bool = False
    arithmetic_abort: bool = False
    arithmetic_ignore: bool = False
    cursor_close_on_commit: bool = False
    date_format: str = "mdy"
    date_first: int = 7
    language: str = "us_english"
    lock_timeout: int = -1
    text_size: int = _UNLIMITED_TEXT
    row_count: int = 0
    deadlock_priority: int = 0
    isolation: Isolation = Isolation.READ_COMMITTED

    def set(self, name: str, value: str, line: int) -> None:
        """``SET name value``.

        :raises NotSupportedByStandIn: for options and values that are not implemented.
        """
        value = value.strip().strip("'\"")
        if name in _SWITCHES:
            setattr(self, _SWITCHES[name], _switch(name, value, line))
        elif name == "ANSI_DEFAULTS":
            if not _switch(name, value, line):
                raise NotSupportedByStandIn("SET ANSI_DEFAULTS OFF", line)
            self.implicit_transactions = self.cursor_close_on_commit = True
        elif name in _FIXED:
            if value.upper() != _FIXED[name]:
                raise NotSupportedByStandIn(f"SET {name} {value.upper()}", line)
        elif name == "DATEFORMAT":
            if value.lower() not in DATE_FORMATS:
                raise _wrong(name, value, line)
            self.date_format = value.lower()
        elif name == "DATEFIRST":
            self.date_first = _number(name, value, line, 1, 7)
        elif name == "LANGUAGE":
            self._set_language(value, line)
        elif name == "LOCK_TIMEOUT":
            self.lock_timeout = _number(name, value, line, -1, 2**31 - 1)
        elif name == "TEXTSIZE":
            size = _number(name, value, line, -1, _UNLIMITED_TEXT)
            if size not in (-1, 0, _UNLIMITED_TEXT):
                raise NotSupportedByStandIn(f"SET TEXTSIZE {size}", line)
            self.text_size = _UNLIMITED_TEXT if size == -1 else size
        elif name == "ROWCOUNT":
            self.row_count = _number(name, value, line, 0, 2**31 - 1)
        elif name == "DEADLOCK_PRIORITY":
            priority = _DEADLOCK_PRIORITIES.get(value.upper())
            self.deadlock_priority = (
                priority if priority is not None else _number(name, value, line, -10, 10)
            )
        else:
            raise NotSupportedByStandIn(f"SET {name}", line)

    def _set_language(self, value: str, line: int) -> None:
        language = value.lower().removeprefix("n'").strip("[]'")
        if language not in _LANGUAGES:
            raise NotSupportedByStandIn(f"SET LANGUAGE {value}", line)
        self.language, self.date_format, self.date_first = _LANGUAGES[language]

    @property
    def bits(self) -> int:
        """``@@OPTIONS``."""
        bits = 8 | 16 | 32 | 256 | 1024 | 4096
        for bit, on in (
            (2, self.implicit_transactions),
            (4, self.cursor_close_on_commit),
            (64, self.arithmetic_abort),
            (128, self.arithmetic_ignore),
            (512, self.no_count),
            (16384, self.xact_abort),
        ):
            if on:
                bits |= bit
        return bits


def _switch(name: str, value: str, line: int) -> bool:
    upper = value.upper()
    if upper not in ("ON", "OFF"):
        raise _wrong(name, value, line)
    return upper == "ON"


def _number(name: str, value: str, line: int, lowest: int, highest: int) -> int:
    try:
        number = int(value)
    except ValueError:
        raise _wrong(name, value, line) from None
    if not lowest <= number <= highest:
        raise _wrong(name, value, line)
    return number


def _wrong(name: str, value: str, line: int) -> SqlError:
    return SqlError(
        _WRONG_VALUE,
        f"SET {name} statement requires a valid value; '{value}' is not one.",
        16,
        1,
        line,
    )

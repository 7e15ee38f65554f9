"""The probe: one statement with which a context looks at the session that it is on.

It needs no rights: everybody sees the own row of ``sys.dm_exec_sessions``. It changes nothing, so
that no backend has a reason to reset or to keep the session because of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mssql_async.contrib.leaks.record import Session, State

#: What the probe looks for: scenarios that leave something leave it under that name.
TABLE = "#leaks"
LOCK = "leaks"
CONTEXT_KEY = "leaks"

HARNESS_ASKS = "/* the leak harness asks */"
"""Begins what no context has asked for, so that whoever sees it at the server knows."""

#: As text, to the millisecond, as everybody here asks for it who compares sessions.
LOGIN_TIME = "CONVERT(varchar(23), s.login_time, 126)"

_IMPLICIT_TRANSACTIONS = 2
"""The bit of ``@@OPTIONS``: how ODBC's driver begins transactions, so that it says nothing while
one is open."""

_ISOLATION = {
    "READ UNCOMMITTED": "1",
    "READ COMMITTED": "2",
    "REPEATABLE READ": "3",
    "SERIALIZABLE": "4",
    "SNAPSHOT": "5",
}

#: Name -> expression, of the settings. Names as the watcher has them.
_SETTINGS = {
    "isolation level": "s.transaction_isolation_level",
    "language": "s.language",
    "date format": "s.date_format",
    "date first": "s.date_first",
    "lock timeout": "s.lock_timeout",
    "deadlock priority": "s.deadlock_priority",
    "text size": "s.text_size",
    "options": "@@OPTIONS",
    "database": "DB_NAME()",
    "user": "SUSER_SNAME()",
    "context info": "CONTEXT_INFO()",
    # The driver shows a null of sql_variant as text.
    "session context": f"CAST(SESSION_CONTEXT(N'{CONTEXT_KEY}') AS nvarchar(128))",
    "temporary table": f"OBJECT_ID('tempdb..{TABLE}')",
    "application lock": f"APPLOCK_MODE('public', '{LOCK}', 'Session')",
    "transaction state": "XACT_STATE()",
}

SESSION_QUESTION = (
    f"{HARNESS_ASKS} SELECT @@SPID, {LOGIN_TIME} "
    "FROM sys.dm_exec_sessions AS s WHERE s.session_id = @@SPID"
)
"""Tells which session it is, and nothing of its state."""
PROBE = (
    f"SELECT %s, @@SPID, {LOGIN_TIME}, @@TRANCOUNT, {', '.join(_SETTINGS.values())} "
    "FROM sys.dm_exec_sessions AS s WHERE s.session_id = @@SPID"
)
_NUMBERS_ELSEWHERE = {
    "postgresql": "pg_backend_pid()",
    "mysql": "CONNECTION_ID()",
    "oracle": "SYS_CONTEXT('USERENV', 'SID')",
}
"""How a session's number is asked for where the server is no SQL Server, and this is known."""
_FROM = {"oracle": " FROM dual"}
PROBES_ELSEWHERE = {
    vendor: f"SELECT %s, {number}{_FROM.get(vendor, '')}"
    for vendor, number in _NUMBERS_ELSEWHERE.items()
}
"""The nonce, and the session's number."""
_PROBE_ELSEWHERE = "SELECT %s"

_NAMES = tuple(_SETTINGS)
_FIRST = 4
"""Columns before the settings."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What the probe has brought."""

    nonce: str
    session: Session
    state: State


def question(vendor: str) -> str:
    return PROBE if vendor == "microsoft" else PROBES_ELSEWHERE.get(vendor, _PROBE_ELSEWHERE)


def unnumbered(vendor: str, connection: int | None) -> Session | None:
    """For a database that does not number its sessions, the process's own number of the
    connection; ``None``: it does, or there is none."""
    if connection is None or vendor == "microsoft" or vendor in PROBES_ELSEWHERE:
        return None
    return Session(connection, word="connection")


def number_question(vendor: str) -> str:
    """One that tells nothing but the session's number; empty: it is not known how to ask.

    From no table, as that would begin a transaction where implicit ones are switched on (T-SQL
    reference, SET IMPLICIT_TRANSACTIONS).
    """
    number = "@@SPID" if vendor == "microsoft" else _NUMBERS_ELSEWHERE.get(vendor)
    return f"{HARNESS_ASKS} SELECT {number}{_FROM.get(vendor, '')}" if number else ""


def read_elsewhere(row: Any, session: Session | None) -> Looked:
    """Of a row of another question."""
    if len(row) > 1:
        session = Session(int(row[1]))
    return Looked(str(row[0]), session or Session(0), State())


def read(row: Any) -> Looked:
    """Of a row of :data:`PROBE`."""
    nonce, spid, login_time, transactions = row[:_FIRST]
    values = dict(zip(_NAMES, row[_FIRST:], strict=True))
    options = int(values["options"])
    if transactions:
        options &= ~_IMPLICIT_TRANSACTIONS
    values["options"] = options
    values["context info"] = bytes(values["context info"] or b"").rstrip(b"\0").hex()
    values["temporary table"] = "" if values["temporary table"] is None else "there"
    # 1 only repeats @@TRANCOUNT.
    values["transaction state"] = "doomed" if values["transaction state"] == -1 else ""
    settings = tuple((name, "" if v is None else str(v)) for name, v in values.items())
    return Looked(str(nonce), Session(int(spid), str(login_time)), State(settings, transactions))


def as_shown(name: str, value: object) -> tuple[str, str]:
    """A setting as the probe would show it: what a scenario says that it has set."""
    name = name.replace("_", " ")
    text = str(value)
    if name == "isolation level":
        text = _ISOLATION.get(" ".join(text.upper().split()), text)
    return name, text

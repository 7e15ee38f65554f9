"""What pyodbc does not offer by name: reading errors, the reset flag, the liveness flag.

``docs/faults.md`` has what the driver says on which occasion.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import re
import sys
from dataclasses import dataclass
from functools import cache
from typing import Any

import pyodbc

SQL_ATTR_RESET_CONNECTION = 116
SQL_RESET_CONNECTION_YES = 1
SQL_COPT_SS_CONNECTION_DEAD = 1244
"""Asks Microsoft's driver to look at the socket; no message is sent (wire.md)."""

SQL_ATTR_CONNECTION_DEAD = 1209
"""ODBC's own attribute: what a driver remembers. It looks at nothing, so it knows only once a
statement has failed."""

_SQL_SUCCESS_CODES = (0, 1)

#: Errors after which this server will not serve the connection again, whatever their SQLSTATE
#: and even where it stays open. Texts and severities: SQL Server documentation, "Database
#: engine errors"; for Azure's "Troubleshoot connectivity issues and other errors".
RETIRING_ERRORS = frozenset(
    {
        # The session is over: killed, shutdown, terminated for what it used up (log, locks,
        # memory, tempdb, time), access token expired (dotnet/SqlClient#2792).
        *(596, 6005, 37396, 40549, 40550, 40551, 40552, 40553),
        # The database is served elsewhere: read-only after a failover; replica of an
        # availability group that does not answer, or not to us, or has no role, or no quorum.
        *(3906, 976, 978, 983, 988),
        # Azure: reconfigured, busy, not available; resource limits, which are of severity 20.
        *(40143, 40197, 40501, 40540, 40613, 10928, 10929),
        # Driver and server do not agree which transaction is open (sqlalchemy#6073).
        *(3971, 3989),
    }
)

#: The server has rolled the transaction back because of another one, and the same again may
#: succeed.
LOST_CONFLICTS = frozenset(
    {
        1205,  # deadlock victim: "Rerun the transaction"
        3960,  # SNAPSHOT: somebody else has changed the row since: "Retry the transaction"
        3961,  # SNAPSHOT: DDL has changed the object since the transaction began
        3966,  # SNAPSHOT: victim when the version store was shrunk: "Retry the transaction"
        # Memory-optimised tables ("Transactions with memory-optimized tables", which lists them
        # as what makes a transaction fail, to be run again from its beginning).
        41301,  # the transaction it depended on did not commit
        41302,  # somebody else has changed the row since: "The transaction was aborted"
        41305,  # REPEATABLE READ validation, at the commit
        41325,  # SERIALIZABLE validation, at the commit
        41839,  # too many commit dependencies
    }
)

#: ``LOCK_TIMEOUT`` has passed. The transaction is still there.
LOCK_TIMEOUT = 1222

CONFLICTS = LOST_CONFLICTS | {LOCK_TIMEOUT}

#: Errors after which the transaction is gone, or good for nothing but ROLLBACK, with XACT_ABORT
#: off. Every other one ends its statement only, as far as its number says.
TRANSACTION_ENDING_ERRORS = frozenset(
    {
        *LOST_CONFLICTS,
        # SNAPSHOT: begun under another level ("will cause the transaction to abort", SET
        # TRANSACTION ISOLATION LEVEL); row version gone; DDL inside of it. Their texts say so:
        # "transaction failed".
        *(3951, 3958, 3964),
        # Doomed (XACT_STATE() is -1), and found doomed where a batch begins or ends.
        *(3930, 3931, 3939, 3998),
        # Ended inside of a trigger or CLR routine, or with a MARS batch.
        *(3609, 3616, 3992, 3993, 3997),
        # Text that is no number, date, money or uniqueidentifier ends the batch and rolls back,
        # unlike a number that overflows (E. Sommarskog, "Error and Transaction Handling in SQL
        # Server", part two).
        *(235, 241, 244, 245, 248, 295, 8114, 8169),
        # Not as many transactions open as somebody believed: this one has ended, or there is
        # another inside of it that nobody will commit. Savepoints vanish with theirs.
        *(266, 628, 3902, 3903, 6401),
    }
)

PROOF_TIMEOUT = 3
"""Seconds that a reset, or the rollback of a context that is over, may take. A peer that is
frozen or unplugged answers nothing; the driver then waits twice as long again for its cancel to
be acknowledged."""

#: The drivers' own SQLSTATEs for a link that is gone: ODBC's "Appendix A", SMux (08S02),
#: HYT01 and 08007 in FreeTDS, HY117 ("suspended due to unknown transaction state"). The
#: server's errors 911 and 916, a wrong name in USE, arrive as 08004: that one is not here.
LINK_STATES = frozenset({"08001", "08003", "08007", "08S01", "08S02", "HY117", "HYT01"})

#: IMC01 to IMC07: the driver has tried, or not tried, to bring an idle connection back.
_NOT_RECOVERED = "IMC"

_DEADLOCK_STATE = "40001"
"""Class 40 also has 40003, "statement completion unknown", which nobody may run again."""

#: The driver has stopped a statement by an attention: time-out, and "operation canceled".
_ATTENTION_STATES = frozenset({"HYT00", "HY008"})

_CANCELLED_TOO_LATE = "01S05"
"""ODBC's "cancel treated as FreeStmt/Close". As an error it stands where a statement's own was: a
cancel that the driver kept waiting until the statement was over has put its record there before
pyodbc could read the other (measured with driver 18)."""

# pyodbc writes "[state] text (number) (function)" for the first record of an error and
# "; [state] text (number)" for the others. A text begins with who wrote it, in brackets: what the
# server wrote comes behind the first _FROM_SERVER, and may begin with a bracket itself.
_NEXT_RECORD = re.compile(r"; (?=\[[0-9A-Z]{5}\] \[)")
_RECORD = re.compile(
    r"\[(?P<state>[0-9A-Z]{5})\] "
    r"(?P<origin>(?:\[(?!SQL Server\])[^\]]*\])*+(?:\[SQL Server\])?)(?P<text>.*) "
    r"\((?P<number>-?\d+)\)(?: \(SQL\w+\))?",
    re.DOTALL,
)
_FROM_SERVER = "[SQL Server]"
_MICROSOFTS = "[Microsoft]"


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One record of an error: what ODBC's ``SQLGetDiagRec`` told pyodbc."""

    state: str
    """SQLSTATE. The driver's table gives it for the numbers that it knows; other errors of the
    server are 42000, and HY000 from severity 19 on (measured for every number to 50000)."""

    number: int
    """The server's error number, where the server wrote the text. Else the driver's: 0, or the
    operating system's, whose 64, 121 and 233 mean other things to SQL Server."""

    from_server: bool

    fatal: bool
    """Of severity 19 or more: "stop the execution of the current batch", and from 20 on the
    server hangs up ("Database engine error severities")."""


def diagnostics(error: BaseException) -> tuple[Diagnostic, ...]:
    """The records of a driver error, the first one first; of an error that has only a SQLSTATE
    that alone, and none of other errors."""
    if not error.args:
        return ()
    parts = _NEXT_RECORD.split(str(error.args[-1]))
    matches = [_RECORD.fullmatch(part) for part in parts]
    found = tuple(_diagnostic(match) for match in matches if match is not None)
    if not found and len(error.args) > 1:
        return (Diagnostic(str(error.args[0]), 0, from_server=False, fatal=False),)
    return found


def _diagnostic(match: re.Match[str]) -> Diagnostic:
    state, origin = match["state"], match["origin"]
    from_server = origin.endswith(_FROM_SERVER)
    # FreeTDS signs everything as the server's, and has HY000 for other things too.
    fatal = from_server and state == "HY000" and origin.startswith(_MICROSOFTS)
    return Diagnostic(state, int(match["number"]), from_server, fatal)


def error_numbers(error: BaseException) -> frozenset[int]:
    """The error numbers in a driver error. A number inside of a text is none."""
    return frozenset(diagnostic.number for diagnostic in diagnostics(error))


def ends_connection(error: BaseException, raw: Any = None) -> bool:
    """Whether an error says that the connection must not be used again.

    With ``raw``, the driver's connection, the driver is asked too, which sends nothing and needs
    no text: it also knows of answers that it could not read and of time-outs whose cancel was
    not acknowledged.
    """
    if any(map(_says_so, diagnostics(error))):
        return True
    return raw is not None and peer_hung_up(raw)


def _says_so(diagnostic: Diagnostic) -> bool:
    if diagnostic.fatal or diagnostic.state.startswith(_NOT_RECOVERED):
        return True
    if diagnostic.state in LINK_STATES:
        return True
    return diagnostic.from_server and diagnostic.number in RETIRING_ERRORS


def was_cut_off(error: BaseException) -> bool:
    """Whether an established link broke, unlike one that could not be established (08001)."""
    return any(diagnostic.state == "08S01" for diagnostic in diagnostics(error))


def is_conflict(error: BaseException) -> bool:
    """Whether another session's work made the statement fail, so that it may succeed if the
    whole transaction is run again.

    pyodbc has no class of its own for these: a deadlock arrives as a bare ``Error``, a lock
    time-out as a ``ProgrammingError``.
    """
    return _is_any_of(error, CONFLICTS)


def was_overwritten(error: BaseException) -> bool:
    """Whether a cancel has taken the place of what the statement itself said. It may have been
    anything."""
    return any(diagnostic.state == _CANCELLED_TOO_LATE for diagnostic in diagnostics(error)[:1])


def ended_transaction(error: BaseException, *, xact_abort: bool = False) -> bool:
    """Whether an error has ended the transaction it happened in, or left it good for nothing
    but ROLLBACK. The driver would silently begin another one with the next statement.

    :param xact_abort: whether the session has ``SET XACT_ABORT ON``; then errors that end only
        their statement do it too ("SET XACT_ABORT"), and so does the attention by which a
        statement is stopped.

    No driver has to be asked, and none can be: Microsoft's keeps what the server told it
    (ENVCHANGE) to itself, and that an attribute "cannot be set now" (HY011) is not it: it says
    so after a rollback in T-SQL, and not before the first statement.
    """
    if xact_abort and any(
        diagnostic.from_server or diagnostic.state in _ATTENTION_STATES
        for diagnostic in diagnostics(error)
    ):
        return True
    return was_overwritten(error) or _is_any_of(error, TRANSACTION_ENDING_ERRORS)


def _is_any_of(error: BaseException, numbers: frozenset[int]) -> bool:
    return any(
        diagnostic.state == _DEADLOCK_STATE
        or (diagnostic.from_server and diagnostic.number in numbers)
        for diagnostic in diagnostics(error)
    )


def is_microsofts(raw: pyodbc.Connection) -> bool:
    """Whether the driver is one of Microsoft's. Sends nothing."""
    name = str(raw.getinfo(pyodbc.SQL_DRIVER_NAME)).upper()
    return name.startswith(("MSODBCSQL", "LIBMSODBCSQL", "SQLNCLI"))


def request_reset(raw: pyodbc.Connection) -> None:
    """Have the next message carry RESETCONNECTION (MS-TDS 2.2.3.1.2): no message of its own."""
    raw.set_attr(SQL_ATTR_RESET_CONNECTION, SQL_RESET_CONNECTION_YES)


def bounded(seconds: int) -> int:
    """A statement time limit of at most :data:`PROOF_TIMEOUT`; 0 means none to the driver."""
    return min(seconds, PROOF_TIMEOUT) if seconds else PROOF_TIMEOUT


def peer_hung_up(raw: pyodbc.Connection) -> bool:
    """Whether the driver knows that the connection is dead. Sends nothing.

    Microsoft's driver looks at the socket. Another one only remembers what has failed. False
    where nobody can tell: a pyodbc without ``hdbc`` (before 5.5). The round trip outside the
    health-check window covers those.
    """
    handle = getattr(raw, "hdbc", None)
    if handle is None or _get_connect_attribute() is None:
        return bool(getattr(raw, "closed", False))
    flag = _attribute(handle, SQL_COPT_SS_CONNECTION_DEAD)
    if flag is None:
        flag = _attribute(handle, SQL_ATTR_CONNECTION_DEAD)
    return flag == 1


def _attribute(handle: Any, attribute: int) -> int | None:
    """An attribute of a connection; ``None`` where the driver does not know it."""
    value = ctypes.c_uint32(0)
    code = _get_connect_attribute()(
        handle, attribute, ctypes.byref(value), ctypes.sizeof(value), None
    )
    return value.value if code in _SQL_SUCCESS_CODES else None


@cache
def _get_connect_attribute() -> Any:
    # PyDLL keeps the GIL: the call takes less time than giving it up.
    function = driver_manager_function("SQLGetConnectAttr", ctypes.PyDLL)
    if function is not None:
        function.argtypes = [
            ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p,
        ]  # fmt: skip
    return function


def driver_manager_function(name: str, loader: type[ctypes.CDLL] = ctypes.CDLL) -> Any:
    """A function of the driver manager that pyodbc is linked to, or ``None``.

    Functions that may do I/O need ``ctypes.CDLL``, which lets go of the interpreter
    meanwhile. The caller sets ``argtypes``.
    """
    if sys.platform == "win32":
        libraries = ["odbc32"]
    elif sys.platform == "darwin":
        libraries = ["libodbc.2.dylib", ctypes.util.find_library("odbc") or ""]
    else:
        libraries = ["libodbc.so.2", ctypes.util.find_library("odbc") or ""]
    for library in filter(None, libraries):
        try:
            function = getattr(loader(library), name)
        except (OSError, AttributeError):
            continue
        function.restype = ctypes.c_short
        return function
    return None

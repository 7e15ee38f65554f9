"""What pyodbc does not offer by name: reading errors, the reset flag, the liveness flag."""

from __future__ import annotations

import ctypes
import ctypes.util
import re
import sys
from functools import cache
from typing import Any

import pyodbc

SQL_ATTR_RESET_CONNECTION = 116
SQL_RESET_CONNECTION_YES = 1
SQL_COPT_SS_CONNECTION_DEAD = 1244
"""Asks Microsoft's driver to look at the socket; no message is sent (wire.md)."""

_SQL_SUCCESS_CODES = (0, 1)
# pyodbc writes "text (number) (function)" for the first record of an error and
# "; [state] text (number)" for the others: numbers inside the texts are no error numbers.
_NUMBER = re.compile(r"\((\d{1,6})\)(?= \(SQL|; \[|$)")

#: Errors after which this server will not serve the connection again, whatever their SQLSTATE:
#: read-only after a failover, database unavailable, shutdown, killed sessions, Azure's
#: "service is busy" and "being reconfigured" (SQL Server, "Database engine errors").
RETIRING_ERRORS = frozenset({596, 3906, 6005, 10928, 10929, 40143, 40197, 40501, 40540, 40613})

#: Deadlock victim, lock request time-out, snapshot update conflict.
CONFLICTS = frozenset({1205, 1222, 3960})

#: Deadlock victim and snapshot conflict end the transaction, a lock time-out its statement only.
_ENDS_TRANSACTION = frozenset({1205, 3960})

PROOF_TIMEOUT = 3
"""Seconds that a reset, or the rollback of a context that is over, may take. A peer that is
frozen or unplugged answers nothing; the driver then waits twice as long again for its cancel to
be acknowledged."""

#: SQLSTATEs that mean the link is gone. Class 08 altogether, plus the time-out of the link.
_LINK_STATES = ("08", "HYT01")


def error_numbers(error: BaseException) -> frozenset[int]:
    """SQL Server's error numbers in a driver error: the driver appends each in parentheses."""
    text = str(error.args[-1]) if error.args else str(error)
    return frozenset(int(number) for number in _NUMBER.findall(text))


def ends_connection(error: BaseException) -> bool:
    """Whether an error says that the connection must not be used again."""
    state = str(error.args[0]) if error.args else ""
    return state.startswith(_LINK_STATES) or not RETIRING_ERRORS.isdisjoint(error_numbers(error))


def is_conflict(error: BaseException) -> bool:
    """Whether another session's work made the statement fail, so that it may succeed if the
    whole transaction is run again.

    pyodbc has no class of its own for these: a deadlock arrives as a bare ``Error``, a lock
    time-out as a ``ProgrammingError``.
    """
    state = str(error.args[0]) if error.args else ""
    return state.startswith("40") or not CONFLICTS.isdisjoint(error_numbers(error))


def ended_transaction(error: BaseException) -> bool:
    """Whether the server has rolled the whole transaction back because of an error."""
    state = str(error.args[0]) if error.args else ""
    return state.startswith("40") or not _ENDS_TRANSACTION.isdisjoint(error_numbers(error))


def request_reset(raw: pyodbc.Connection) -> None:
    """Have the next message carry RESETCONNECTION (MS-TDS 2.2.3.1.2): no message of its own."""
    raw.set_attr(SQL_ATTR_RESET_CONNECTION, SQL_RESET_CONNECTION_YES)


def bounded(seconds: int) -> int:
    """A statement time limit of at most :data:`PROOF_TIMEOUT`; 0 means none to the driver."""
    return min(seconds, PROOF_TIMEOUT) if seconds else PROOF_TIMEOUT


def peer_hung_up(raw: pyodbc.Connection) -> bool:
    """Whether the peer is known to have closed the connection. Sends nothing.

    False where nobody can tell: another driver, or a pyodbc without ``hdbc`` (before
    5.5). The round trip outside the health-check window covers those.
    """
    handle = getattr(raw, "hdbc", None)
    get_attribute = _get_connect_attribute()
    if handle is None or get_attribute is None:
        return bool(getattr(raw, "closed", False))
    value = ctypes.c_uint32(0)
    code = get_attribute(
        handle, SQL_COPT_SS_CONNECTION_DEAD, ctypes.byref(value), ctypes.sizeof(value), None
    )
    return code in _SQL_SUCCESS_CODES and value.value == 1


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

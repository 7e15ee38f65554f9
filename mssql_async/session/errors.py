"""What the session layer raises. All under the driver's classes, which Django wraps in its own."""

from __future__ import annotations

import threading

import pyodbc

from ..pool import odbc

#: "Function sequence error", ODBC's SQLSTATE for a call at the wrong time.
SEQUENCE_ERROR = "HY010"

#: "Operation canceled", as the driver says it of a statement that was.
CANCELED = "HY008"


class LeaseOver(pyodbc.ProgrammingError):  # type: ignore[misc]
    """A connection or a cursor was used after its lease had ended with its context."""


class TransactionLost(pyodbc.OperationalError):  # type: ignore[misc]
    """The server has ended the transaction that the context believes to be in."""


class UsedByAnotherContext(pyodbc.ProgrammingError):  # type: ignore[misc]
    """A lease was used by a context that does not own it. Nothing was sent."""


def lease_over(state: str) -> LeaseOver:
    return LeaseOver(
        SEQUENCE_ERROR,
        f"This connection is {state}: its lease ended with its context. "
        "Get a cursor from django.db.connection again instead of keeping one.",
    )


def transaction_lost(error: Exception) -> TransactionLost:
    return TransactionLost(
        SEQUENCE_ERROR,
        "The server has rolled this transaction back because of an earlier error: roll back "
        f"before anything else is done on this connection. The error was: {error}",
    )


def used_by_another(lease: object, owner: object, user: object) -> UsedByAnotherContext:
    return UsedByAnotherContext(
        SEQUENCE_ERROR,
        f"{lease!r} belongs to {_name(owner)} and was used by {_name(user)}. A connection serves "
        "one context at a time: use django.db.connections in the context that runs the query, "
        "and hand rows over instead of a connection, a cursor or a queryset's iterator.",
    )


def _name(owner: object) -> str:
    for thread in threading.enumerate():
        if thread.ident == owner:
            return f"thread {thread.name!r}"
    return f"thread {owner}" if isinstance(owner, int) else repr(owner)


def no_rows() -> pyodbc.ProgrammingError:
    """As the driver's module says it."""
    return pyodbc.ProgrammingError("No results.  Previous SQL was not a query.")


def as_raised(error: Exception) -> Exception:
    """The error that reaches the caller: a conflict with another session is an
    ``OperationalError``, which pyodbc does not make it (a deadlock is a bare ``Error``), and one
    that a cancel has overwritten says that."""
    raised: Exception = error
    if odbc.was_overwritten(error):
        raised = pyodbc.OperationalError(
            CANCELED, "The statement was cancelled, and whatever else it said is lost."
        )
    elif (
        isinstance(error, pyodbc.Error)
        and not isinstance(error, pyodbc.OperationalError)
        and odbc.is_conflict(error)
    ):
        raised = pyodbc.OperationalError(*error.args)
    if raised is not error:
        raised.__cause__ = error
    return raised

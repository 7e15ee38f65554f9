"""sp_getapplock and sp_releaseapplock.

Source: SQL Server documentation, "sp_getapplock", "sp_releaseapplock". Status: 0 granted
at once, 1 granted after waiting, -1 timed out, -2 cancelled, -3 deadlock victim, -999
wrong parameters.
"""

from __future__ import annotations

from collections.abc import Iterator

from ...errors import SqlError, error, message_text
from ...results import Message
from ..applicationlocks import application_lock_key, lock_mode
from ..steps import Step
from .call import Call, text, whole

_TIMED_OUT, _DEADLOCK = 1222, 1205


def sp_getapplock(call: Call) -> Iterator[Step]:
    session = call.session
    bound = call.bind("@resource", "@lockmode", "@lockowner", "@locktimeout", "@dbprincipal")
    resource = call.need(bound, "@resource").text
    mode = lock_mode(call.need(bound, "@lockmode").text)
    owner = (text(bound.get("@lockowner")) or "Transaction").casefold()
    timeout = whole(bound.get("@locktimeout"), session.options.lock_timeout)
    if mode is None or owner not in ("transaction", "session"):
        call.status = -999
        return
    if owner == "transaction" and not session.transaction.is_open:
        # A message of severity 10: the call returns, and only its status tells.
        call.status = -999
        yield Message(15626, message_text(15626), severity=10)
        return
    key = application_lock_key(session, resource)
    if session.engine.locks.try_acquire(session, key, mode):
        call.status = 0
    else:
        if timeout == 0:
            call.status = -1
            return
        yield from call.execution.may_wait()
        try:
            session.engine.locks.acquire(
                session, key, mode, None if timeout < 0 else timeout / 1000
            )
        except SqlError as problem:
            if problem.number == _TIMED_OUT:
                call.status = -1
                return
            if problem.number == _DEADLOCK:
                call.status = -3
                return
            raise
        call.status = 1
    session.application_locks.append((key, mode, owner == "transaction"))


def sp_releaseapplock(call: Call) -> Iterator[Step]:
    session = call.session
    bound = call.bind("@resource", "@lockowner", "@dbprincipal")
    resource = call.need(bound, "@resource").text
    of_transaction = (text(bound.get("@lockowner")) or "Transaction").casefold() == "transaction"
    key = application_lock_key(session, resource)
    for position, (held, mode, owned) in enumerate(session.application_locks):
        if held == key and owned == of_transaction:
            del session.application_locks[position]
            session.engine.locks.release(session, key, mode)
            call.status = 0
            return
    yield from call.caller.failed(call.frame, None, error(1223, "public", resource))
    call.status = -999

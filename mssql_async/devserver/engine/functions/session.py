"""Functions about the session: its transaction, last error, identity values, settings.

Source: SQL Server documentation, "System functions", "Configuration functions",
"APPLOCK_MODE", "SESSIONPROPERTY".
"""

from __future__ import annotations

from collections.abc import Callable

from ...errors import SqlError, error
from ...schema import Table
from ...sqltypes import StorageValue
from ..applicationlocks import application_lock_key, lock_mode
from ..catalog import fold
from ..identities import IdentityCounters
from ..locks import strongest
from ..sessionstate import SessionState
from .objects import find_object
from .registry import FUNCTIONS, Arguments, Function, argument, function, parse_name, text


@function("@@trancount")
def _trancount(session: SessionState, arguments: Arguments) -> StorageValue:
    return session.transaction.depth


@function("xact_state")
def _xact_state(session: SessionState, arguments: Arguments) -> StorageValue:
    return session.transaction.status.value


@function("current_transaction_id")
def _transaction_id(session: SessionState, arguments: Arguments) -> StorageValue:
    return session.transaction.number


@function("@@rowcount", "rowcount_big")
def _rowcount(session: SessionState, arguments: Arguments) -> StorageValue:
    return session.row_count


@function("@@error")
def _error(session: SessionState, arguments: Arguments) -> StorageValue:
    return session.last_error


@function("@@dbts")
def _last_rowversion(session: SessionState, arguments: Arguments) -> StorageValue:
    return session.current_database.identities.last_rowversion()


@function("next_rowversion")
def _next_rowversion(session: SessionState, arguments: Arguments) -> StorageValue:
    """No function of T-SQL: what a modification calls for each row that it writes."""
    counters = session.identity_counters or session.temporary_identities
    return counters.next_rowversion()


@function("@@identity")
def _last_identity(session: SessionState, arguments: Arguments) -> StorageValue:
    return _decimal(session.last_identity)


@function("scope_identity")
def _scope_identity(session: SessionState, arguments: Arguments) -> StorageValue:
    return _decimal(session.frame.scope_identity)


def _decimal(value: int | None) -> StorageValue:
    """The storage form of numeric(38,0), the type of the identity functions."""
    return None if value is None else str(value)


def _identity_table(
    session: SessionState, arguments: Arguments
) -> tuple[Table, IdentityCounters] | None:
    name = parse_name(text(argument(arguments, 0)))
    thing = find_object(session, name) if name is not None else None
    if name is None or thing is None or not isinstance(thing.item, Table):
        return None
    if name.is_temporary:
        return thing.item, session.temporary_identities
    database = session.engine.databases.find(name.database or session.database)
    return (thing.item, database.identities) if database is not None else None


@function("ident_current")
def _ident_current(session: SessionState, arguments: Arguments) -> StorageValue:
    found = _identity_table(session, arguments)
    if found is None or found[0].identity_column is None:
        return None
    current = found[1].current(found[0].object_id)
    if current is None:
        identity = found[0].identity_column.identity
        current = identity.seed if identity is not None else None
    return _decimal(current)


@function("ident_seed")
def _ident_seed(session: SessionState, arguments: Arguments) -> StorageValue:
    found = _identity_table(session, arguments)
    column = found[0].identity_column if found else None
    return _decimal(column.identity.seed) if column and column.identity else None


@function("ident_incr")
def _ident_incr(session: SessionState, arguments: Arguments) -> StorageValue:
    found = _identity_table(session, arguments)
    column = found[0].identity_column if found else None
    return _decimal(column.identity.increment) if column and column.identity else None


def _error_part(part: Callable[[SqlError], StorageValue]) -> Function:
    def function(session: SessionState, arguments: Arguments) -> StorageValue:
        current = session.frame.current_error
        return None if current is None else part(current)

    return function


FUNCTIONS["error_number"] = _error_part(lambda problem: problem.number)


FUNCTIONS["error_message"] = _error_part(lambda problem: problem.text)


FUNCTIONS["error_severity"] = _error_part(lambda problem: problem.severity)


FUNCTIONS["error_state"] = _error_part(lambda problem: problem.state)


FUNCTIONS["error_line"] = _error_part(lambda problem: problem.line)


FUNCTIONS["error_procedure"] = _error_part(lambda problem: problem.procedure or None)


@function("@@spid")
def _spid(session: SessionState, arguments: Arguments) -> StorageValue:
    return session.spid


@function("@@nestlevel")
def _nest_level(session: SessionState, arguments: Arguments) -> StorageValue:
    return session.frame.level


@function("original_login", "suser_name", "suser_sname", "system_user")
def _login_name(session: SessionState, arguments: Arguments) -> StorageValue:
    return session.login.user or "sa"


@function("app_name", "program_name")
def _app_name(session: SessionState, arguments: Arguments) -> StorageValue:
    return session.login.program_name


@function("host_name")
def _host_name(session: SessionState, arguments: Arguments) -> StorageValue:
    return session.login.host_name


@function("@@lock_timeout")
def _lock_timeout(session: SessionState, arguments: Arguments) -> StorageValue:
    return session.options.lock_timeout


@function("@@datefirst")
def _date_first(session: SessionState, arguments: Arguments) -> StorageValue:
    return session.options.date_first


@function("@@language")
def _language(session: SessionState, arguments: Arguments) -> StorageValue:
    return session.options.language


@function("@@textsize")
def _text_size(session: SessionState, arguments: Arguments) -> StorageValue:
    return session.options.text_size


@function("@@options")
def _options(session: SessionState, arguments: Arguments) -> StorageValue:
    return session.options.bits


@function("context_info")
def _context_info(session: SessionState, arguments: Arguments) -> StorageValue:
    return session.context_info


@function("session_context")
def _session_context(session: SessionState, arguments: Arguments) -> StorageValue:
    found = session.context.get(fold(text(argument(arguments, 0))))
    return found[0] if found else None


@function("sessionproperty")
def _session_property(session: SessionState, arguments: Arguments) -> StorageValue:
    name = text(argument(arguments, 0)).upper()
    if name == "ARITHABORT":
        return int(session.options.arithmetic_abort)
    fixed = {
        "ANSI_NULLS": 1,
        "ANSI_PADDING": 1,
        "ANSI_WARNINGS": 1,
        "CONCAT_NULL_YIELDS_NULL": 1,
        "NUMERIC_ROUNDABORT": 0,
        "QUOTED_IDENTIFIER": 1,
    }
    return fixed.get(name)


@function("connectionproperty")
def _connection_property(session: SessionState, arguments: Arguments) -> StorageValue:
    properties: dict[str, StorageValue] = {
        "net_transport": "TCP",
        "protocol_type": "TSQL",
        "auth_scheme": "SQL",
        "client_net_address": session.login.client_address or None,
        "physical_net_transport": "TCP",
        "local_net_address": "127.0.0.1",
    }
    return properties.get(text(argument(arguments, 0)).lower())


@function("applock_mode")
def _applock_mode(session: SessionState, arguments: Arguments) -> StorageValue:
    key = application_lock_key(session, text(argument(arguments, 1)))
    of_transaction = text(argument(arguments, 2)).casefold() == "transaction"
    mode = strongest(
        mode
        for held, mode, owned in session.application_locks
        if held == key and owned == of_transaction
    )
    return mode.value if mode is not None else "NoLock"


@function("applock_test")
def _applock_test(session: SessionState, arguments: Arguments) -> StorageValue:
    mode = lock_mode(text(argument(arguments, 2)))
    if mode is None:
        raise error(1023, 3, "APPLOCK_TEST")
    key = application_lock_key(session, text(argument(arguments, 1)))
    return int(session.engine.locks.would_grant(session, key, mode))

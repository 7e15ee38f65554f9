"""What an operator looks at: sessions, connections, requests, transactions and locks.

Source: SQL Server documentation, "sys.dm_exec_sessions", "sys.dm_exec_connections",
"sys.dm_exec_requests", "sys.dm_tran_session_transactions", "sys.dm_tran_active_transactions",
"sys.dm_tran_locks". What the stand-in does not measure (times of the processor, reads,
memory) is 0. Its write lock on a database is a row of type DATABASE with mode X.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator
from typing import cast

from .. import clock
from ..commands import command_name
from ..instance import Instance, SessionStatus, VisibleSession
from ..locks import LockMode, LockWait
from ..submitted import sql_handle
from .definition import Context, Row, system_view

_TDS_7_4 = 0x74000004
_TCP_ENDPOINT = 4
_MODES = {
    LockMode.EXCLUSIVE: "X",
    LockMode.SHARED: "S",
    LockMode.UPDATE: "U",
    LockMode.INTENT_SHARED: "IS",
    LockMode.INTENT_EXCLUSIVE: "IX",
}


@system_view(
    "sys.dm_exec_sessions",
    "session_id smallint, login_time datetime, host_name nvarchar128, program_name nvarchar128, "
    "host_process_id int, client_version int, client_interface_name nvarchar128, "
    "login_name nvarchar128, nt_domain nvarchar128, nt_user_name nvarchar128, "
    "status varchar, context_info varbinary, cpu_time int, memory_usage int, "
    "total_scheduled_time int, total_elapsed_time int, endpoint_id int, "
    "last_request_start_time datetime, "
    "last_request_end_time datetime, reads bigint, writes bigint, logical_reads bigint, "
    "is_user_process bit, text_size int, language nvarchar128, date_format nvarchar60, "
    "date_first smallint, quoted_identifier bit, arithabort bit, ansi_null_dflt_on bit, "
    "ansi_defaults bit, ansi_warnings bit, ansi_padding bit, ansi_nulls bit, "
    "concat_null_yields_null bit, "
    "transaction_isolation_level smallint, lock_timeout int, deadlock_priority int, "
    "row_count bigint, prev_error int, original_login_name nvarchar128, "
    "group_id int, database_id smallint, authenticating_database_id int, "
    "open_transaction_count int",
    of_catalog=False,
)
def _sessions(context: Context) -> Iterator[Row]:
    for session in context.session.engine.sessions():
        login, options = session.login, session.options
        defaults = options.implicit_transactions and options.cursor_close_on_commit
        yield (
            *(session.spid, session.login_time, login.host_name, login.program_name),
            *(login.host_process_id, 7, login.client_library, login.user, "", ""),
            *(session.status.value, session.context_info, 0, 0, 0, 0, _TCP_ENDPOINT),
            *(clock.at(session.last_request_start), clock.at(session.last_request_end)),
            *(0, 0, 0, 1),
            *(options.text_size, options.language, options.date_format, options.date_first),
            *(1, int(options.arithmetic_abort), 1, int(defaults), 1, 1, 1, 1),
            int(options.isolation),
            *(options.lock_timeout, options.deadlock_priority, session.row_count),
            *(session.last_error, login.user, 2, session.current_database.database_id, 1),
            session.transaction.depth,
        )


@system_view(
    "sys.dm_exec_connections",
    "session_id int, most_recent_session_id int, connect_time datetime, "
    "net_transport nvarchar60, protocol_type nvarchar60, protocol_version int, "
    "endpoint_id int, encrypt_option nvarchar60, "
    "auth_scheme nvarchar60, node_affinity smallint, num_reads int, num_writes int, "
    "last_read datetime, last_write datetime, net_packet_size int, "
    "client_net_address varchar48, client_tcp_port int, "
    "local_net_address varchar48, local_tcp_port int, connection_id guid, "
    "parent_connection_id guid, most_recent_sql_handle varbinary64",
    of_catalog=False,
)
def _connections(context: Context) -> Iterator[Row]:
    engine = context.session.engine
    messages = _messages(engine)
    for session in engine.sessions():
        login = session.login
        scheme = "SQL" if login.access_token is None else "AAD"
        read = messages.get(session.spid, 0)
        answered = read - 1 if session.status is SessionStatus.RUNNING else read
        address, port = _endpoint(login.client_address)
        yield (
            *(session.spid, session.spid, session.login_time, "TCP", "TSQL", _TDS_7_4),
            *(_TCP_ENDPOINT, str(login.encrypted).upper(), scheme, 0, read, max(answered, 0)),
            *(clock.at(session.last_request_start), clock.at(session.last_request_end)),
            *(login.packet_size, address, port),
            *("127.0.0.1", None, str(session.number_of_connection).upper(), None),
            _handle(session),
        )


def _endpoint(client: str) -> tuple[str, int | None]:
    """The address and the port of ``"127.0.0.1:50123"``; the port may be missing."""
    address, _, port = client.rpartition(":")
    return (address, int(port)) if address and port.isdigit() else (client, None)


def _messages(engine: Instance) -> dict[int, int]:
    """Messages of each session's client, which stand for the reads of its connection."""
    if engine.server is None:
        return {}
    return {info.spid: sum(info.messages.values()) for info in engine.server.sessions()}


def _handle(session: VisibleSession) -> bytes | None:
    """The handle of what the session runs, or ran last."""
    text = session.submitted.text(session.prepared)
    return sql_handle(text) if text else None


@system_view(
    "sys.dm_exec_requests",
    "session_id smallint, request_id int, start_time datetime, status nvarchar60, "
    "command nvarchar60, sql_handle varbinary64, statement_start_offset int, "
    "statement_end_offset int, plan_handle varbinary64, database_id smallint, user_id int, "
    "connection_id guid, blocking_session_id smallint, "
    "wait_type nvarchar60, wait_time int, last_wait_type nvarchar60, wait_resource nvarchar256, "
    "open_transaction_count int, open_resultset_count int, transaction_id bigint, "
    "percent_complete int, cpu_time int, total_elapsed_time int, reads bigint, writes bigint, "
    "logical_reads bigint, text_size int, language nvarchar128, date_format nvarchar60, "
    "date_first smallint, transaction_isolation_level smallint, lock_timeout int, "
    "deadlock_priority int, row_count bigint, prev_error int, nest_level int, group_id int",
    of_catalog=False,
)
def _requests(context: Context) -> Iterator[Row]:
    engine = context.session.engine
    now = time.time()
    for session in engine.sessions():
        if session.status is not SessionStatus.RUNNING:
            continue
        options = session.options
        blocker, wait, since, resource = _wait_of(session, engine.locks.wait_of(session))
        elapsed = int((now - session.last_request_start) * 1000)
        yield (
            *(session.spid, 0, clock.at(session.last_request_start)),
            "suspended" if wait else "running",
            *(command_name(session.statement), _handle(session), 0, -1, None),
            *(session.current_database.database_id, 1),
            *(str(session.number_of_connection).upper(), blocker),
            *(wait, int((now - since) * 1000) if wait else 0, wait or "", resource),
            *(session.transaction.depth, 1, session.transaction.number, 0, 0, elapsed, 0, 0, 0),
            *(options.text_size, options.language, options.date_format, options.date_first),
            *(int(options.isolation), options.lock_timeout, options.deadlock_priority),
            *(session.row_count, session.last_error, session.frame.level, 2),
        )


def _wait_of(session: VisibleSession, lock: LockWait | None) -> tuple[int, str | None, float, str]:
    """Who blocks the session, the type of its wait, since when, and for what it waits."""
    if lock is not None:
        kind, *_, name = cast("tuple[str, ...]", lock.key)
        resource = f"APPLICATION: {name}" if kind == "application" else "DATABASE"
        return lock.blocker, f"LCK_M_{_MODES[lock.mode]}", lock.since, resource
    wait = session.wait
    if wait is not None:
        return 0, wait.type, wait.since, ""
    return 0, None, 0.0, ""


@system_view(
    "sys.dm_tran_session_transactions",
    "session_id int, transaction_id bigint, transaction_descriptor varbinary, "
    "enlist_count int, is_user_transaction bit, is_local bit, is_enlisted bit, is_bound bit, "
    "open_transaction_count int",
    of_catalog=False,
)
def _session_transactions(context: Context) -> Iterator[Row]:
    for session in context.session.engine.sessions():
        transaction = session.transaction
        if transaction.is_open:
            yield (
                *(session.spid, transaction.number, transaction.descriptor, 1, 1, 1, 0, 0),
                transaction.depth,
            )


@system_view(
    "sys.dm_tran_active_transactions",
    "transaction_id bigint, name nvarchar60, transaction_begin_time datetime, "
    "transaction_type int, transaction_state int",
    of_catalog=False,
)
def _active_transactions(context: Context) -> Iterator[Row]:
    for session in context.session.engine.sessions():
        transaction = session.transaction
        if transaction.is_open:
            name = transaction.name or "user_transaction"
            yield (transaction.number, name, clock.at(transaction.began), 1, 2)


@system_view(
    "sys.dm_tran_locks",
    "resource_type nvarchar60, resource_subtype nvarchar60, resource_database_id int, "
    "resource_description nvarchar256, resource_associated_entity_id bigint, "
    "resource_lock_partition int, "
    "request_mode nvarchar60, request_type nvarchar60, request_status nvarchar60, "
    "request_reference_count smallint, "
    "request_session_id int, request_exec_context_id int, request_request_id int, "
    "request_owner_type nvarchar60, request_owner_id bigint",
    of_catalog=False,
)
def _locks(context: Context) -> Iterator[Row]:
    engine = context.session.engine
    databases = {database.schema_name: database.database_id for database in engine.databases}
    sessions = {session.spid: session for session in engine.sessions()}
    for lock in engine.locks.snapshot():
        kind, schema, *rest = cast("tuple[str, ...]", lock.key)
        session = sessions.get(lock.spid)
        of_session = session is not None and (lock.key, lock.mode, False) in (
            session.application_locks
        )
        yield (
            "APPLICATION" if kind == "application" else "DATABASE",
            "",
            databases.get(schema),
            _application_resource(rest[0]) if rest else "",
            *(0, 0, _MODES[lock.mode], "LOCK", "GRANT" if lock.granted else "WAIT"),
            *(1, lock.spid, 0, 0),
            "SESSION" if of_session else "TRANSACTION",
            0 if of_session or session is None else session.transaction.number,
        )


def _application_resource(name: str) -> str:
    """``principal:[first 32 characters]:(hash)``."""
    return f"0:[{name[:32]}]:({zlib.crc32(name.encode()):08x})"

"""Views of the engine's state: databases, configuration, sessions, locks."""

from __future__ import annotations

import datetime
import os
import zoneinfo
from collections.abc import Iterator
from typing import cast

from .. import clock
from .definition import Context, Row, system_view

_TIME_ZONES = {
    "UTC": "UTC",
    "GMT Standard Time": "Europe/London",
    "W. Europe Standard Time": "Europe/Berlin",
    "Romance Standard Time": "Europe/Paris",
    "Central Europe Standard Time": "Europe/Budapest",
    "Central European Standard Time": "Europe/Warsaw",
    "E. Europe Standard Time": "Europe/Chisinau",
    "FLE Standard Time": "Europe/Kyiv",
    "Turkey Standard Time": "Europe/Istanbul",
    "Russian Standard Time": "Europe/Moscow",
    "Eastern Standard Time": "America/New_York",
    "Central Standard Time": "America/Chicago",
    "Mountain Standard Time": "America/Denver",
    "Pacific Standard Time": "America/Los_Angeles",
    "E. South America Standard Time": "America/Sao_Paulo",
    "India Standard Time": "Asia/Kolkata",
    "China Standard Time": "Asia/Shanghai",
    "Tokyo Standard Time": "Asia/Tokyo",
    "Korea Standard Time": "Asia/Seoul",
    "Singapore Standard Time": "Asia/Singapore",
    "AUS Eastern Standard Time": "Australia/Sydney",
    "New Zealand Standard Time": "Pacific/Auckland",
}


@system_view(
    "sys.databases",
    "name sysname, database_id int, source_database_id int, create_date datetime, "
    "compatibility_level tinyint, collation_name sysname, user_access tinyint, "
    "user_access_desc nvarchar60, is_read_only bit, is_auto_close_on bit, is_auto_shrink_on bit, "
    "state tinyint, state_desc nvarchar60, is_in_standby bit, "
    "snapshot_isolation_state tinyint, snapshot_isolation_state_desc nvarchar60, "
    "is_read_committed_snapshot_on bit, recovery_model tinyint, recovery_model_desc nvarchar60, "
    "is_fulltext_enabled bit, is_trustworthy_on bit, is_broker_enabled bit, is_encrypted bit, "
    "owner_sid varbinary",
    of_catalog=False,
)
def _databases(context: Context) -> Iterator[Row]:
    for database in context.session.engine.databases:
        options = database.options
        yield (
            *(database.name, database.database_id, None, database.created, 160),
            database.collation,
            *((1, "SINGLE_USER") if options.single_user else (0, "MULTI_USER")),
            *(int(options.read_only), 0, 0, 0, "ONLINE", 0),
            *((1, "ON") if options.allow_snapshot_isolation else (0, "OFF")),
            *(int(options.read_committed_snapshot), 3, "SIMPLE", 0, 0, 0, 0, None),
        )


@system_view(
    "sys.configurations",
    "configuration_id int, name nvarchar128, value variant, minimum variant, maximum variant, "
    "value_in_use variant, description nvarchar256, is_dynamic bit, is_advanced bit",
    of_catalog=False,
)
def _configurations(context: Context) -> Iterator[Row]:
    for setting in context.session.engine.configuration.settings():
        yield (
            *(setting.number, setting.name, setting.value, setting.lowest, setting.highest),
            *(setting.value_in_use, setting.name, 1, int(setting.advanced)),
        )


@system_view(
    "sys.time_zone_info",
    "name sysname, current_utc_offset varchar, is_currently_dst bit",
    of_catalog=False,
)
def _time_zone_info(context: Context) -> Iterator[Row]:
    now = datetime.datetime.now(datetime.UTC)
    for name, zone_name in _TIME_ZONES.items():
        try:
            local = now.astimezone(zoneinfo.ZoneInfo(zone_name))
        except zoneinfo.ZoneInfoNotFoundError:
            continue
        minutes = int((local.utcoffset() or datetime.timedelta()).total_seconds()) // 60
        sign = "-" if minutes < 0 else "+"
        offset = f"{sign}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
        yield (name, offset, int(bool(local.dst())))


@system_view(
    "sys.dm_exec_sessions",
    "session_id smallint, login_time datetime, host_name nvarchar128, program_name nvarchar128, "
    "host_process_id int, client_interface_name nvarchar128, login_name nvarchar128, "
    "status varchar, context_info varbinary, cpu_time int, memory_usage int, "
    "total_elapsed_time int, last_request_start_time datetime, "
    "last_request_end_time datetime, reads bigint, writes bigint, logical_reads bigint, "
    "is_user_process bit, text_size int, language nvarchar128, date_format nvarchar60, "
    "date_first smallint, quoted_identifier bit, arithabort bit, ansi_nulls bit, "
    "transaction_isolation_level smallint, lock_timeout int, deadlock_priority int, "
    "row_count bigint, prev_error int, original_login_name nvarchar128, database_id smallint, "
    "open_transaction_count int",
    of_catalog=False,
)
def _sessions(context: Context) -> Iterator[Row]:
    for session in context.session.engine.sessions():
        login, options = session.login, session.options
        yield (
            *(session.spid, session.login_time, login.host_name, login.program_name),
            *(login.host_process_id, login.client_library, login.user),
            *(session.status.value, None, 0, 0, 0),
            *(clock.at(session.last_request_start), clock.at(session.last_request_end)),
            *(0, 0, 0, 1),
            *(options.text_size, options.language, options.date_format, options.date_first),
            *(1, int(options.arithmetic_abort), 1, int(options.isolation)),
            *(options.lock_timeout, options.deadlock_priority, session.row_count),
            *(session.last_error, login.user, session.current_database.database_id),
            session.transaction.depth,
        )


@system_view(
    "sys.dm_os_sys_info",
    "cpu_count int, hyperthread_ratio int, physical_memory_kb bigint, "
    "sqlserver_start_time datetime",
    of_catalog=False,
)
def _system_information(context: Context) -> Iterator[Row]:
    yield (os.cpu_count() or 1, 1, 8 * 1024 * 1024, context.session.engine.started)


@system_view(
    "sys.dm_exec_connections",
    "session_id int, most_recent_session_id int, connect_time datetime, "
    "net_transport nvarchar60, protocol_type nvarchar60, encrypt_option nvarchar60, "
    "auth_scheme nvarchar60, client_net_address varchar, client_tcp_port int, "
    "local_net_address varchar, local_tcp_port int, connection_id guid, net_packet_size int",
    of_catalog=False,
)
def _connections(context: Context) -> Iterator[Row]:
    for session in context.session.engine.sessions():
        yield (
            *(session.spid, session.spid, session.login_time, "TCP", "TSQL", "FALSE", "SQL"),
            *(session.login.client_address, None, "127.0.0.1", None, None),
            session.login.packet_size,
        )


@system_view(
    "sys.dm_exec_requests",
    "session_id smallint, request_id int, start_time datetime, status nvarchar60, "
    "command nvarchar60, database_id smallint, user_id int, blocking_session_id smallint, "
    "wait_type nvarchar60, wait_time int, open_transaction_count int, percent_complete int, "
    "transaction_id bigint, transaction_isolation_level smallint, lock_timeout int",
    of_catalog=False,
)
def _requests(context: Context) -> Iterator[Row]:
    engine = context.session.engine
    for session in engine.sessions():
        if session.status.value != "running":
            continue
        blocker = engine.locks.blocker_of(session)
        yield (
            *(session.spid, 0, clock.at(session.last_request_start)),
            "suspended" if blocker else "running",
            *(session.statement_command or "SELECT", session.current_database.database_id, 1),
            *(blocker, "LCK_M_X" if blocker else None, 0),
            *(session.transaction.depth, 0, session.transaction.number),
            *(int(session.options.isolation), session.options.lock_timeout),
        )


@system_view(
    "sys.dm_tran_session_transactions",
    "session_id int, transaction_id bigint, transaction_descriptor varbinary, "
    "enlist_count int, is_user_transaction bit, is_local bit, is_enlisted bit, is_bound bit, "
    "open_transaction_count int",
    of_catalog=False,
)
def _session_transactions(context: Context) -> Iterator[Row]:
    for session in context.session.engine.sessions():
        if session.transaction.is_open:
            yield (
                *(session.spid, session.transaction.number, None, 0, 1, 1, 0, 0),
                session.transaction.depth,
            )


@system_view(
    "sys.dm_tran_active_transactions",
    "transaction_id bigint, name nvarchar60, transaction_type int, transaction_state int",
    of_catalog=False,
)
def _active_transactions(context: Context) -> Iterator[Row]:
    for session in context.session.engine.sessions():
        if session.transaction.is_open:
            name = session.transaction.name or "user_transaction"
            yield (session.transaction.number, name, 1, 2)


@system_view(
    "sys.dm_tran_locks",
    "resource_type nvarchar60, resource_subtype nvarchar60, resource_database_id int, "
    "resource_description nvarchar256, resource_associated_entity_id bigint, "
    "request_mode nvarchar60, request_type nvarchar60, request_status nvarchar60, "
    "request_session_id int, request_owner_type nvarchar60",
    of_catalog=False,
)
def _locks(context: Context) -> Iterator[Row]:
    engine = context.session.engine
    by_schema = {database.schema_name: database.database_id for database in engine.databases}
    modes = {
        "Exclusive": "X",
        "Shared": "S",
        "Update": "U",
        "IntentShared": "IS",
        "IntentExclusive": "IX",
    }
    for lock in engine.locks.snapshot():
        key = cast("tuple[str, ...]", lock.key)
        application = key[0] == "application"
        yield (
            "APPLICATION" if application else "DATABASE",
            "",
            by_schema.get(str(key[1])),
            str(key[-1]) if application else "",
            0,
            modes[lock.mode.value],
            "LOCK",
            "GRANT" if lock.granted else "WAIT",
            lock.spid,
            "TRANSACTION",
        )


@system_view(
    "sys.server_principals",
    "name sysname, principal_id int, type char1, type_desc nvarchar60, is_disabled bit",
    of_catalog=False,
)
def _server_principals(context: Context) -> Iterator[Row]:
    for number, name in enumerate(context.session.engine.config.logins, start=1):
        yield (name, number, "S", "SQL_LOGIN", 0)


@system_view(
    "sys.database_principals",
    "name sysname, principal_id int, type char1, type_desc nvarchar60, default_schema_name sysname",
)
def _database_principals(context: Context) -> Iterator[Row]:
    yield ("public", 0, "R", "DATABASE_ROLE", None)
    yield ("dbo", 1, "S", "SQL_USER", "dbo")
    yield ("guest", 2, "S", "SQL_USER", "guest")

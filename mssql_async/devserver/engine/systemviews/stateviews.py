"""Views of the server: databases, configuration, principals, time zones."""

from __future__ import annotations

import datetime
import os
import zoneinfo
from collections.abc import Iterator

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
    "sys.dm_os_sys_info",
    "cpu_count int, hyperthread_ratio int, physical_memory_kb bigint, "
    "sqlserver_start_time datetime",
    of_catalog=False,
)
def _system_information(context: Context) -> Iterator[Row]:
    yield (os.cpu_count() or 1, 1, 8 * 1024 * 1024, context.session.engine.started)


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

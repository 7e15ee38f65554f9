"""Functions about the server and its databases.

Source: SQL Server documentation, "SERVERPROPERTY", "DATABASEPROPERTYEX", "Security
functions" (everybody is dbo).
"""

from __future__ import annotations

from ...sqltypes import StorageValue
from ..sessionstate import SessionState
from .registry import FUNCTIONS, Arguments, argument, function, text, whole


@function("@@version")
def _version(session: SessionState, arguments: Arguments) -> StorageValue:
    version = session.engine.config.product_version
    return f"Microsoft SQL Server 2022 (stand-in of mssql_async) - {version} (X64)"


@function("@@servername")
def _server_name(session: SessionState, arguments: Arguments) -> StorageValue:
    return session.engine.config.server_name


_CONSTANTS: dict[str, StorageValue] = {
    "@@servicename": "MSSQLSERVER",
    "@@max_connections": 32767,
    "@@max_precision": 38,
    "@@microsoftversion": 268439617,
    "@@langid": 0,
    "@@procid": 0,
    "@@cursor_rows": 0,
    "@@fetch_status": 0,
    "@@remserver": None,
    "@@total_errors": 0,
    "@@timeticks": 31250,
    "session_user": "dbo",
    "current_user": "dbo",
    "user": "dbo",
    "user_name": "dbo",
    "user_id": 1,
    "database_principal_id": 1,
    "suser_id": 1,
    "suser_sid": b"\x01",
    "is_member": 1,
    "is_rolemember": 1,
    "is_srvrolemember": 1,
    "has_perms_by_name": 1,
    "permissions": 1,
    "pwdcompare": 0,
    "fulltextserviceproperty": 0,
    "host_id": "1",
    "schema_version": 0,
    "connections": 0,
}


for _name, _value in _CONSTANTS.items():
    FUNCTIONS[_name] = lambda session, arguments, value=_value: value  # type: ignore[misc]


@function("serverproperty")
def _server_property(session: SessionState, arguments: Arguments) -> StorageValue:
    config = session.engine.config
    properties: dict[str, StorageValue] = {
        "productversion": config.product_version,
        "productmajorversion": config.product_version.split(".")[0],
        "productminorversion": config.product_version.split(".")[1],
        "productbuild": config.product_version.split(".")[2],
        "productlevel": "RTM",
        "productupdatelevel": None,
        "edition": "Developer Edition (64-bit)",
        "editionid": -2117995310,
        "engineedition": 3,
        "servername": config.server_name,
        "machinename": config.server_name,
        "computernamephysicalnetbios": config.server_name,
        "instancename": None,
        "collation": "SQL_Latin1_General_CP1_CI_AS",
        "collationid": 872468488,
        "comparisonstyle": 196609,
        "lcid": 1033,
        "sqlcharset": 1,
        "sqlcharsetname": "iso_1",
        "sqlsortorder": 52,
        "sqlsortordername": "nocase_iso",
        "isclustered": 0,
        "ishadrenabled": 0,
        "isfulltextinstalled": 0,
        "isintegratedsecurityonly": 0,
        "issingleuser": 0,
        "isxtpsupported": 0,
        "islocaldb": 0,
        "ispolybaseinstalled": 0,
        "licensetype": "DISABLED",
        "processid": 1,
        "resourceversion": config.product_version,
        "buildclrversion": "v4.0.30319",
        "instancedefaultdatapath": "",
    }
    return properties.get(text(argument(arguments, 0)).lower())


@function("db_name")
def _db_name(session: SessionState, arguments: Arguments) -> StorageValue:
    if not arguments:
        return session.database
    number = whole(arguments[0])
    database = session.engine.databases.by_id(number) if number is not None else None
    return database.name if database is not None else None


@function("original_db_name")
def _original_db_name(session: SessionState, arguments: Arguments) -> StorageValue:
    return session.login_database.name


@function("db_id")
def _db_id(session: SessionState, arguments: Arguments) -> StorageValue:
    name = text(arguments[0]) if arguments else session.database
    database = session.engine.databases.find(name)
    return database.database_id if database is not None else None


@function("has_dbaccess")
def _has_dbaccess(session: SessionState, arguments: Arguments) -> StorageValue:
    return 1 if session.engine.databases.find(text(argument(arguments, 0))) else None


@function("databasepropertyex", "databaseproperty")
def _database_property(session: SessionState, arguments: Arguments) -> StorageValue:
    database = session.engine.databases.find(text(argument(arguments, 0)))
    if database is None:
        return None
    options = database.options
    properties: dict[str, StorageValue] = {
        "collation": database.collation,
        "status": "ONLINE",
        "recovery": "SIMPLE",
        "updateability": "READ_ONLY" if options.read_only else "READ_WRITE",
        "useraccess": "SINGLE_USER" if options.single_user else "MULTI_USER",
        "version": 957,
        "edition": None,
        "serviceobjective": None,
        "isreadcommittedsnapshoton": int(options.read_committed_snapshot),
        "issnapshotisolationstate": int(options.allow_snapshot_isolation),
        "isansinullsenabled": 1,
        "isfulltextenabled": 0,
        "comparisonstyle": 196609,
        "lcid": 1033,
        "sqlsortorder": 52,
    }
    return properties.get(text(argument(arguments, 1)).lower())

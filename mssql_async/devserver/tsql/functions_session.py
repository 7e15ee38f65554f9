"""Functions and ``@@`` variables that ask the session, the server or the catalog.

Source: T-SQL reference, "Metadata functions", "Security functions", "System functions",
"Configuration functions". They are typed here and answered by
:meth:`~mssql_async.devserver.tsql.plan.Host.session_function`.
"""

from __future__ import annotations

from ..errors import error
from ..sqltypes import (
    BIGINT,
    DATETIME,
    DECIMAL_KINDS,
    INT,
    MAX,
    SMALLINT,
    SQL_VARIANT,
    SYSNAME,
    TINYINT,
    SqlType,
    numeric,
    nvarchar,
    varbinary,
)
from .functions import CallSite, function, once
from .typed import Typed, literal

_IDENTITY = numeric(38, 0)

#: ``@@name`` -> type.
GLOBAL_VARIABLES: dict[str, SqlType] = {
    "@@spid": SMALLINT,
    "@@trancount": INT,
    "@@rowcount": INT,
    "@@identity": _IDENTITY,
    "@@error": INT,
    "@@version": nvarchar(300),
    "@@servername": SYSNAME,
    "@@servicename": SYSNAME,
    "@@language": SYSNAME,
    "@@langid": SMALLINT,
    "@@datefirst": TINYINT,
    "@@lock_timeout": INT,
    "@@max_precision": TINYINT,
    "@@max_connections": INT,
    "@@options": INT,
    "@@textsize": INT,
    "@@nestlevel": INT,
    "@@procid": INT,
    "@@fetch_status": INT,
    "@@cursor_rows": INT,
    "@@dbts": varbinary(8),
    "@@microsoftversion": INT,
    "@@connections": INT,
    "@@cpu_busy": INT,
    "@@idle": INT,
    "@@io_busy": INT,
    "@@timeticks": INT,
    "@@total_errors": INT,
    "@@total_read": INT,
    "@@total_write": INT,
}

#: Function -> type, least and most arguments.
_FUNCTIONS: dict[str, tuple[SqlType, int, int]] = {
    "SCOPE_IDENTITY": (_IDENTITY, 0, 0),
    "IDENT_CURRENT": (_IDENTITY, 1, 1),
    "IDENT_SEED": (_IDENTITY, 1, 1),
    "IDENT_INCR": (_IDENTITY, 1, 1),
    "XACT_STATE": (SMALLINT, 0, 0),
    "ROWCOUNT_BIG": (BIGINT, 0, 0),
    "CURRENT_TRANSACTION_ID": (BIGINT, 0, 0),
    "DB_NAME": (SYSNAME, 0, 1),
    "DB_ID": (SMALLINT, 0, 1),
    "ORIGINAL_DB_NAME": (SYSNAME, 0, 0),
    "OBJECT_ID": (INT, 1, 2),
    "OBJECT_NAME": (SYSNAME, 1, 2),
    "OBJECT_SCHEMA_NAME": (SYSNAME, 1, 2),
    "OBJECT_DEFINITION": (nvarchar(MAX), 1, 1),
    "SCHEMA_NAME": (SYSNAME, 0, 1),
    "SCHEMA_ID": (INT, 0, 1),
    "COL_NAME": (SYSNAME, 2, 2),
    "COL_LENGTH": (SMALLINT, 2, 2),
    "COLUMNPROPERTY": (INT, 3, 3),
    "OBJECTPROPERTY": (INT, 2, 2),
    "OBJECTPROPERTYEX": (SQL_VARIANT, 2, 2),
    "INDEXPROPERTY": (INT, 3, 3),
    "INDEX_COL": (SYSNAME, 3, 3),
    "TYPE_NAME": (SYSNAME, 1, 1),
    "TYPE_ID": (INT, 1, 1),
    "TYPEPROPERTY": (INT, 2, 2),
    "SERVERPROPERTY": (SQL_VARIANT, 1, 1),
    "DATABASEPROPERTYEX": (SQL_VARIANT, 2, 2),
    "DATABASEPROPERTY": (INT, 2, 2),
    "COLLATIONPROPERTY": (SQL_VARIANT, 2, 2),
    "CONNECTIONPROPERTY": (SQL_VARIANT, 1, 1),
    "SESSIONPROPERTY": (SQL_VARIANT, 1, 1),
    "SESSION_CONTEXT": (SQL_VARIANT, 1, 1),
    "CONTEXT_INFO": (varbinary(128), 0, 0),
    "APP_NAME": (SYSNAME, 0, 0),
    "PROGRAM_NAME": (SYSNAME, 0, 0),
    "HOST_NAME": (SYSNAME, 0, 0),
    "HOST_ID": (nvarchar(10), 0, 0),
    "SUSER_SNAME": (SYSNAME, 0, 1),
    "SUSER_NAME": (SYSNAME, 0, 1),
    "SUSER_ID": (INT, 0, 1),
    "SUSER_SID": (varbinary(85), 0, 2),
    "USER_NAME": (SYSNAME, 0, 1),
    "USER_ID": (INT, 0, 1),
    "DATABASE_PRINCIPAL_ID": (INT, 0, 1),
    "ORIGINAL_LOGIN": (SYSNAME, 0, 0),
    "CURRENT_USER": (SYSNAME, 0, 0),
    "SESSION_USER": (SYSNAME, 0, 0),
    "SYSTEM_USER": (SYSNAME, 0, 0),
    "USER": (SYSNAME, 0, 0),
    "HAS_DBACCESS": (INT, 1, 1),
    "HAS_PERMS_BY_NAME": (INT, 3, 5),
    "IS_SRVROLEMEMBER": (INT, 1, 2),
    "IS_MEMBER": (INT, 1, 1),
    "IS_ROLEMEMBER": (INT, 1, 2),
    "PERMISSIONS": (INT, 0, 2),
    "STATS_DATE": (DATETIME, 2, 2),
    "APPLOCK_MODE": (nvarchar(32), 3, 3),
    "APPLOCK_TEST": (SMALLINT, 4, 4),
    "ERROR_NUMBER": (INT, 0, 0),
    "ERROR_MESSAGE": (nvarchar(4000), 0, 0),
    "ERROR_SEVERITY": (INT, 0, 0),
    "ERROR_STATE": (INT, 0, 0),
    "ERROR_LINE": (INT, 0, 0),
    "ERROR_PROCEDURE": (SYSNAME, 0, 0),
    "FULLTEXTSERVICEPROPERTY": (INT, 1, 1),
    "FILE_NAME": (SYSNAME, 1, 1),
    "GETANSINULL": (SMALLINT, 0, 1),
    "CERT_ID": (INT, 1, 1),
    "PUBLISHINGSERVERNAME": (SYSNAME, 0, 0),
    "TRIGGER_NESTLEVEL": (INT, 0, 3),
}


def _answer(sql: str, of: SqlType, *, fixed: bool) -> Typed:
    if of.kind in DECIMAL_KINDS:
        # The host may say 5 or "5".
        sql = f"CAST({sql} AS TEXT)"
    return Typed(once(sql) if fixed else sql, of)


def global_variable(name: str) -> Typed:
    """``@@name``. Error 137 where there is none."""
    folded = name.lower()
    of = GLOBAL_VARIABLES.get(folded)
    if of is None:
        raise error(137, name)
    return _answer(f"ts_session({literal(folded)})", of, fixed=True)


def _build(call: CallSite) -> Typed:
    name = call.node.args["this"]
    of, _least, _most = _FUNCTIONS[name]
    arguments = "".join(f", {value.sql}" for value in call.args)
    # Of constants and variables the answer holds for the whole statement.
    fixed = all(value.constant or value.variable for value in call.args)
    return _answer(f"ts_session({literal(name.lower())}{arguments})", of, fixed=fixed)


for _name, (_type, _least, _most) in _FUNCTIONS.items():
    function(_name, least=_least, most=_most)(_build)

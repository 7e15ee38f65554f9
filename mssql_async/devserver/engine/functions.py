"""Functions and ``@@`` variables whose value depends on the session, server or catalog.

Source: SQL Server documentation, "Metadata functions", "System functions", "Configuration
functions", "Security functions", "Cursor, session and error functions (Transact-SQL)".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..errors import SqlError, error
from ..schema import Column, Identity, Index, IndexKind, ObjectName, Table, View
from ..sqltypes import STRING_KINDS, StorageValue
from ..tsql.parser import parse_object_name
from .catalog import DBO, Catalog, CatalogObject, ObjectType, fold, primary_key
from .databases import TEMPDB, Database
from .identities import IdentityCounters
from .systemviews.types import SYSTEM_TYPES

if TYPE_CHECKING:
    from .session import EngineSession

_TEMPDB_ID = 2
Arguments = Sequence[StorageValue]
Function = Callable[["EngineSession", Arguments], StorageValue]

FUNCTIONS: dict[str, Function] = {}


def _function(*names: str) -> Callable[[Function], Function]:
    def register(function: Function) -> Function:
        for name in names:
            FUNCTIONS[name] = function
        return function

    return register


class SessionHost:
    """See :class:`mssql_async.devserver.tsql.plan.Host`."""

    def __init__(self, session: EngineSession) -> None:
        self._session = session
        self.target: Table | None = None
        self.counters: IdentityCounters | None = None
        """The table that the running statement writes to, and its database's counters."""

    def session_function(self, name: str, arguments: Sequence[StorageValue]) -> StorageValue:
        function = FUNCTIONS.get(name)
        if function is None:
            raise error(195, name.upper(), "built-in function name")
        return function(self._session, arguments)

    def next_identity(self, object_id: int) -> int:
        identity = self._identity()
        if self.counters is None:
            raise error(208, str(object_id))
        value = self.counters.next(object_id, identity)
        self._session.frame.scope_identity = value
        self._session.last_identity = value
        return value

    def note_identity(self, object_id: int, value: int) -> None:
        if self.counters is None:
            raise error(208, str(object_id))
        self.counters.note(object_id, self._identity(), int(value))
        self._session.frame.scope_identity = int(value)
        self._session.last_identity = int(value)

    def _identity(self) -> Identity:
        column = self.target.identity_column if self.target is not None else None
        return (column.identity if column is not None else None) or Identity()

    @property
    def date_first(self) -> int:
        return self._session.options.date_first

    @property
    def date_format(self) -> str:
        return self._session.options.date_format

    @property
    def check_interrupt(self) -> bool:
        return self._session.interrupted.is_set()


# --- helpers -------------------------------------------------------------------------------


def _text(value: StorageValue) -> str:
    return "" if value is None else str(value)


def _integer(value: StorageValue) -> int | None:
    if value is None:
        return None
    try:
        return int(float(value)) if isinstance(value, str) else int(value)
    except ValueError:
        raise error(245, "nvarchar", value, "int") from None


def _argument(arguments: Arguments, position: int) -> StorageValue:
    return arguments[position] if len(arguments) > position else None


def _parse_name(text: str) -> ObjectName | None:
    try:
        return parse_object_name(text)
    except SqlError:
        return None


def find_object(session: EngineSession, name: ObjectName) -> CatalogObject | None:
    """The object of that name where the session stands."""
    if name.is_temporary:
        table = session.transaction.temporary.tables.get(fold(name.name))
        if table is None:
            return None
        return CatalogObject(ObjectType.TABLE, table.object_id, DBO, table.name, None, table)
    catalog = _catalog(session, name.database)
    return catalog.object(name.schema or DBO, name.name) if catalog is not None else None


def _catalog(session: EngineSession, database: str) -> Catalog | None:
    if not database:
        return session.catalog
    found = session.engine.databases.find(database)
    return session.transaction.catalog(found) if found is not None else None


def _object(session: EngineSession, object_id: StorageValue) -> CatalogObject | None:
    number = _integer(object_id)
    if number is None:
        return None
    if number < 0:
        for table in session.transaction.temporary.tables.values():
            if table.object_id == number:
                return CatalogObject(ObjectType.TABLE, number, DBO, table.name, None, table)
        return None
    return session.catalog.object_by_id(number)


def _columns_of(thing: CatalogObject | None) -> tuple[Column, ...]:
    return thing.item.columns if thing and isinstance(thing.item, Table | View) else ()


def _column_named(thing: CatalogObject | None, name: str) -> Column | None:
    folded = fold(name)
    return next((c for c in _columns_of(thing) if fold(c.name) == folded), None)


def _index(session: EngineSession, object_id: StorageValue, index_id: int) -> Index | None:
    thing = _object(session, object_id)
    if thing is None or not isinstance(thing.item, Table):
        return None
    return next((index for index in thing.item.indexes if index.index_id == index_id), None)


# --- transactions, errors, identity --------------------------------------------------------


@_function("@@trancount")
def _trancount(session: EngineSession, arguments: Arguments) -> StorageValue:
    return session.transaction.depth


@_function("xact_state")
def _xact_state(session: EngineSession, arguments: Arguments) -> StorageValue:
    return session.transaction.status.value


@_function("current_transaction_id")
def _transaction_id(session: EngineSession, arguments: Arguments) -> StorageValue:
    return session.transaction.number


@_function("@@rowcount", "rowcount_big")
def _rowcount(session: EngineSession, arguments: Arguments) -> StorageValue:
    return session.row_count


@_function("@@error")
def _error(session: EngineSession, arguments: Arguments) -> StorageValue:
    return session.last_error


@_function("@@identity")
def _last_identity(session: EngineSession, arguments: Arguments) -> StorageValue:
    return _decimal(session.last_identity)


@_function("scope_identity")
def _scope_identity(session: EngineSession, arguments: Arguments) -> StorageValue:
    return _decimal(session.frame.scope_identity)


def _decimal(value: int | None) -> StorageValue:
    """The storage form of numeric(38,0), the type of the identity functions."""
    return None if value is None else str(value)


def _identity_table(
    session: EngineSession, arguments: Arguments
) -> tuple[Table, IdentityCounters] | None:
    name = _parse_name(_text(_argument(arguments, 0)))
    thing = find_object(session, name) if name is not None else None
    if name is None or thing is None or not isinstance(thing.item, Table):
        return None
    if name.is_temporary:
        return thing.item, session.temporary_identities
    database = session.engine.databases.find(name.database or session.database)
    return (thing.item, database.identities) if database is not None else None


@_function("ident_current")
def _ident_current(session: EngineSession, arguments: Arguments) -> StorageValue:
    found = _identity_table(session, arguments)
    if found is None or found[0].identity_column is None:
        return None
    current = found[1].current(found[0].object_id)
    if current is None:
        identity = found[0].identity_column.identity
        current = identity.seed if identity is not None else None
    return _decimal(current)


@_function("ident_seed")
def _ident_seed(session: EngineSession, arguments: Arguments) -> StorageValue:
    found = _identity_table(session, arguments)
    column = found[0].identity_column if found else None
    return _decimal(column.identity.seed) if column and column.identity else None


@_function("ident_incr")
def _ident_incr(session: EngineSession, arguments: Arguments) -> StorageValue:
    found = _identity_table(session, arguments)
    column = found[0].identity_column if found else None
    return _decimal(column.identity.increment) if column and column.identity else None


def _error_part(part: Callable[[SqlError], StorageValue]) -> Function:
    def function(session: EngineSession, arguments: Arguments) -> StorageValue:
        current = session.frame.current_error
        return None if current is None else part(current)

    return function


FUNCTIONS["error_number"] = _error_part(lambda problem: problem.number)
FUNCTIONS["error_message"] = _error_part(lambda problem: problem.text)
FUNCTIONS["error_severity"] = _error_part(lambda problem: problem.severity)
FUNCTIONS["error_state"] = _error_part(lambda problem: problem.state)
FUNCTIONS["error_line"] = _error_part(lambda problem: problem.line)
FUNCTIONS["error_procedure"] = _error_part(lambda problem: problem.procedure or None)


# --- session and server --------------------------------------------------------------------


@_function("@@spid")
def _spid(session: EngineSession, arguments: Arguments) -> StorageValue:
    return session.spid


@_function("@@nestlevel")
def _nest_level(session: EngineSession, arguments: Arguments) -> StorageValue:
    return session.frame.level


@_function("@@version")
def _version(session: EngineSession, arguments: Arguments) -> StorageValue:
    version = session.engine.config.product_version
    return f"Microsoft SQL Server 2022 (stand-in of mssql_async) - {version} (X64)"


@_function("@@servername")
def _server_name(session: EngineSession, arguments: Arguments) -> StorageValue:
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
    "@@dbts": b"\x00" * 8,
    "host_id": "1",
    "schema_version": 0,
    "connections": 0,
}
for _name, _value in _CONSTANTS.items():
    FUNCTIONS[_name] = lambda session, arguments, value=_value: value  # type: ignore[misc]


@_function("original_login", "suser_name", "suser_sname", "system_user")
def _login_name(session: EngineSession, arguments: Arguments) -> StorageValue:
    return session.login.user or "sa"


@_function("app_name", "program_name")
def _app_name(session: EngineSession, arguments: Arguments) -> StorageValue:
    return session.login.program_name


@_function("host_name")
def _host_name(session: EngineSession, arguments: Arguments) -> StorageValue:
    return session.login.host_name


@_function("@@lock_timeout")
def _lock_timeout(session: EngineSession, arguments: Arguments) -> StorageValue:
    return session.options.lock_timeout


@_function("@@datefirst")
def _date_first(session: EngineSession, arguments: Arguments) -> StorageValue:
    return session.options.date_first


@_function("@@language")
def _language(session: EngineSession, arguments: Arguments) -> StorageValue:
    return session.options.language


@_function("@@textsize")
def _text_size(session: EngineSession, arguments: Arguments) -> StorageValue:
    return session.options.text_size


@_function("@@options")
def _options(session: EngineSession, arguments: Arguments) -> StorageValue:
    return session.options.bits


@_function("context_info")
def _context_info(session: EngineSession, arguments: Arguments) -> StorageValue:
    return session.context_info


@_function("session_context")
def _session_context(session: EngineSession, arguments: Arguments) -> StorageValue:
    found = session.context.get(fold(_text(_argument(arguments, 0))))
    return found[0] if found else None


@_function("sessionproperty")
def _session_property(session: EngineSession, arguments: Arguments) -> StorageValue:
    name = _text(_argument(arguments, 0)).upper()
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


@_function("connectionproperty")
def _connection_property(session: EngineSession, arguments: Arguments) -> StorageValue:
    properties: dict[str, StorageValue] = {
        "net_transport": "TCP",
        "protocol_type": "TSQL",
        "auth_scheme": "SQL",
        "client_net_address": session.login.client_address or None,
        "physical_net_transport": "TCP",
        "local_net_address": "127.0.0.1",
    }
    return properties.get(_text(_argument(arguments, 0)).lower())


@_function("serverproperty")
def _server_property(session: EngineSession, arguments: Arguments) -> StorageValue:
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
    return properties.get(_text(_argument(arguments, 0)).lower())


# --- databases -----------------------------------------------------------------------------


@_function("db_name")
def _db_name(session: EngineSession, arguments: Arguments) -> StorageValue:
    if not arguments:
        return session.database
    number = _integer(arguments[0])
    database = session.engine.databases.by_id(number) if number is not None else None
    return database.name if database is not None else None


@_function("original_db_name")
def _original_db_name(session: EngineSession, arguments: Arguments) -> StorageValue:
    return session.login_database.name


@_function("db_id")
def _db_id(session: EngineSession, arguments: Arguments) -> StorageValue:
    name = _text(arguments[0]) if arguments else session.database
    database = session.engine.databases.find(name)
    return database.database_id if database is not None else None


@_function("has_dbaccess")
def _has_dbaccess(session: EngineSession, arguments: Arguments) -> StorageValue:
    return 1 if session.engine.databases.find(_text(_argument(arguments, 0))) else None


@_function("databasepropertyex", "databaseproperty")
def _database_property(session: EngineSession, arguments: Arguments) -> StorageValue:
    database = session.engine.databases.find(_text(_argument(arguments, 0)))
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
    return properties.get(_text(_argument(arguments, 1)).lower())


# --- objects -------------------------------------------------------------------------------


@_function("schema_name")
def _schema_name(session: EngineSession, arguments: Arguments) -> StorageValue:
    if not arguments:
        return DBO
    number = _integer(arguments[0])
    for schema in session.catalog.contents.schemas.values():
        if schema.schema_id == number:
            return schema.name
    return None


@_function("schema_id")
def _schema_id(session: EngineSession, arguments: Arguments) -> StorageValue:
    schema = session.catalog.schema(_text(arguments[0]) if arguments else DBO)
    return schema.schema_id if schema is not None else None


_OBJECT_CODES = {
    "U": ObjectType.TABLE,
    "V": ObjectType.VIEW,
    "PK": ObjectType.PRIMARY_KEY,
    "UQ": ObjectType.UNIQUE,
    "F": ObjectType.FOREIGN_KEY,
    "C": ObjectType.CHECK,
    "D": ObjectType.DEFAULT,
    "FS": ObjectType.CLR_FUNCTION,
}


@_function("object_id")
def _object_id(session: EngineSession, arguments: Arguments) -> StorageValue:
    from .systemviews import system_view_object_id  # the views' builders use this module

    text = _argument(arguments, 0)
    name = _parse_name(_text(text)) if text is not None else None
    if name is None:
        return None
    thing = find_object(session, name)
    if thing is None:
        return system_view_object_id(name.schema, name.name)
    code = _argument(arguments, 1)
    if code is not None and _OBJECT_CODES.get(_text(code).strip().upper()) is not thing.type:
        return None
    return thing.object_id


@_function("object_name")
def _object_name(session: EngineSession, arguments: Arguments) -> StorageValue:
    catalog: Catalog | None = session.catalog
    if len(arguments) > 1:
        database_id = _integer(arguments[1])
        if database_id == _TEMPDB_ID:
            catalog = None
        elif database_id is not None:
            database = session.engine.databases.by_id(database_id)
            catalog = session.transaction.catalog(database) if database else None
    number = _integer(_argument(arguments, 0))
    if number is None:
        return None
    if number < 0:
        thing = _object(session, number)
    else:
        thing = catalog.object_by_id(number) if catalog is not None else None
    return thing.name if thing is not None else None


@_function("object_schema_name")
def _object_schema_name(session: EngineSession, arguments: Arguments) -> StorageValue:
    thing = _object(session, _argument(arguments, 0))
    return thing.schema if thing is not None else None


@_function("object_definition")
def _object_definition(session: EngineSession, arguments: Arguments) -> StorageValue:
    thing = _object(session, _argument(arguments, 0))
    if thing is None:
        return None
    if isinstance(thing.item, View):
        return f"CREATE VIEW {thing.schema}.{thing.name} AS {thing.item.definition}"
    return getattr(thing.item, "expression", None)


@_function("col_name")
def _col_name(session: EngineSession, arguments: Arguments) -> StorageValue:
    number = _integer(_argument(arguments, 1))
    for column in _columns_of(_object(session, _argument(arguments, 0))):
        if column.column_id == number:
            return column.name
    return None


@_function("col_length")
def _col_length(session: EngineSession, arguments: Arguments) -> StorageValue:
    from .systemviews.types import max_length

    name = _parse_name(_text(_argument(arguments, 0)))
    thing = find_object(session, name) if name is not None else None
    column = _column_named(thing, _text(_argument(arguments, 1)))
    return max_length(column.type) if column is not None else None


@_function("columnproperty")
def _column_property(session: EngineSession, arguments: Arguments) -> StorageValue:
    from .systemviews.types import numeric_precision, numeric_scale

    column = _column_named(
        _object(session, _argument(arguments, 0)), _text(_argument(arguments, 1)).strip("[]")
    )
    if column is None:
        return None
    properties: dict[str, StorageValue] = {
        "allowsnull": int(column.nullable),
        "columnid": column.column_id,
        "isidentity": int(column.identity is not None),
        "iscomputed": int(column.computed is not None),
        "isrowguidcol": 0,
        "issparse": 0,
        "ishidden": 0,
        "isdeterministic": 1 if column.computed is not None else None,
        "usesansitrim": 1 if column.type.kind in STRING_KINDS else None,
        "precision": numeric_precision(column.type) or column.type.length,
        "scale": numeric_scale(column.type),
        "ordinal": column.column_id,
        "isindexable": int(column.type.length != -1),
    }
    return properties.get(_text(_argument(arguments, 2)).lower())


@_function("objectproperty", "objectpropertyex")
def _object_property(session: EngineSession, arguments: Arguments) -> StorageValue:
    thing = _object(session, _argument(arguments, 0))
    if thing is None:
        return None
    table = thing.item if isinstance(thing.item, Table) else None
    properties: dict[str, StorageValue] = {
        "istable": int(thing.type is ObjectType.TABLE),
        "isusertable": int(thing.type is ObjectType.TABLE),
        "isview": int(thing.type is ObjectType.VIEW),
        "isprimarykey": int(thing.type is ObjectType.PRIMARY_KEY),
        "isuniquecnst": int(thing.type is ObjectType.UNIQUE),
        "isforeignkey": int(thing.type is ObjectType.FOREIGN_KEY),
        "ischeckcnst": int(thing.type is ObjectType.CHECK),
        "isdefaultcnst": int(thing.type is ObjectType.DEFAULT),
        "isconstraint": int(
            thing.type not in (ObjectType.TABLE, ObjectType.VIEW, ObjectType.CLR_FUNCTION)
        ),
        "isprocedure": 0,
        "istrigger": 0,
        "isscalarfunction": int(thing.type is ObjectType.CLR_FUNCTION),
        "ismsshipped": 0,
        "issystemtable": 0,
        "ownerid": 1,
        "schemaid": getattr(session.catalog.schema(thing.schema), "schema_id", None),
    }
    if table is not None:
        properties.update(
            {
                "tablehasidentity": int(table.identity_column is not None),
                "tablehasprimarykey": int(primary_key(table) is not None),
                "tablehasforeignkey": int(bool(table.foreign_keys)),
                "tablehascheckcnst": int(bool(table.checks)),
                "tablehasindex": int(bool(table.indexes)),
                "tablehasuniquecnst": int(
                    any(i.kind is IndexKind.UNIQUE_CONSTRAINT for i in table.indexes)
                ),
                "tablehasclustindex": int(any(index.clustered for index in table.indexes)),
                "tablehasdefaultcnst": int(any(c.default for c in table.columns)),
                "tablehasforeignref": int(any(session.catalog.references_to(table))),
            }
        )
    return properties.get(_text(_argument(arguments, 1)).lower())


@_function("index_col")
def _index_col(session: EngineSession, arguments: Arguments) -> StorageValue:
    name = _parse_name(_text(_argument(arguments, 0)))
    thing = find_object(session, name) if name is not None else None
    index_id, position = _integer(_argument(arguments, 1)), _integer(_argument(arguments, 2))
    if thing is None or index_id is None or position is None:
        return None
    index = _index(session, thing.object_id, index_id)
    if index is None or not 1 <= position <= len(index.columns):
        return None
    return index.columns[position - 1].name


@_function("indexproperty")
def _index_property(session: EngineSession, arguments: Arguments) -> StorageValue:
    thing = _object(session, _argument(arguments, 0))
    if thing is None or not isinstance(thing.item, Table):
        return None
    wanted = fold(_text(_argument(arguments, 1)))
    index = next((i for i in thing.item.indexes if fold(i.name) == wanted), None)
    if index is None:
        return None
    properties: dict[str, StorageValue] = {
        "indexid": index.index_id,
        "isclustered": int(index.clustered),
        "isunique": int(index.kind.unique),
        "isdisabled": 0,
        "ishypothetical": 0,
        "isstatistics": 0,
    }
    return properties.get(_text(_argument(arguments, 2)).lower())


@_function("type_name")
def _type_name(session: EngineSession, arguments: Arguments) -> StorageValue:
    number = _integer(_argument(arguments, 0))
    return next((t.name for t in SYSTEM_TYPES if t.user_type_id == number), None)


@_function("type_id")
def _type_id(session: EngineSession, arguments: Arguments) -> StorageValue:
    name = _text(_argument(arguments, 0)).strip("[]").lower().removeprefix("sys.")
    return next((t.user_type_id for t in SYSTEM_TYPES if t.name == name), None)


@_function("applock_mode")
def _applock_mode(session: EngineSession, arguments: Arguments) -> StorageValue:
    from .procedures.applocks import application_lock_key

    mode = session.engine.locks.held_mode(
        session, application_lock_key(session, _text(_argument(arguments, 1)))
    )
    return mode.value if mode is not None else "NoLock"


@_function("applock_test")
def _applock_test(session: EngineSession, arguments: Arguments) -> StorageValue:
    from .procedures.applocks import application_lock_key, lock_mode

    mode = lock_mode(_text(_argument(arguments, 2)))
    if mode is None:
        raise error(1023, 3, "APPLOCK_TEST")
    key = application_lock_key(session, _text(_argument(arguments, 1)))
    return int(session.engine.locks.would_grant(session, key, mode))


def target_database(session: EngineSession, name: ObjectName) -> Database | None:
    """The database that a name points into; tempdb for temporary tables."""
    if name.is_temporary:
        return session.engine.databases.find(TEMPDB)
    return session.engine.databases.find(name.database or session.database)

"""What names mean to the compiler: the session's view of catalogs and variables."""

from __future__ import annotations

from ..schema import ObjectName, Table, View
from ..sqltypes import SqlType
from ..tsql.plan import ResolvedTable, SystemView
from .catalog import DBO, fold
from .databases import TEMPDB, Database
from .frames import Frame
from .sessionstate import SessionState
from .storage import quote
from .systemviews import find_system_view


class CompileScope:
    """Resolves names for one compilation, and remembers what the plan depends on."""

    def __init__(self, session: SessionState, frame: Frame) -> None:
        self._session = session
        self._frame = frame
        self.databases: dict[Database, None] = {}
        self.uses_temporary = False
        self.uses_table_variables = False
        self._homes: dict[int, Database] = {}

    @property
    def database(self) -> str:
        return self._session.current_database.name

    @property
    def default_schema(self) -> str:
        return DBO

    def home(self, table: Table) -> Database | None:
        """The database that a resolved table is in; ``None`` for temporary ones."""
        return self._homes.get(id(table))

    def find_table(self, name: ObjectName) -> ResolvedTable | None:
        if name.name.startswith("@"):
            self.uses_table_variables = True
            table = self._frame.tables.get(name.name.casefold())
            return self._temporary(table)
        if name.is_temporary:
            self.uses_temporary = True
            return self._temporary(self._session.transaction.temporary.tables.get(fold(name.name)))
        database = self._database(name)
        if database is None:
            return None
        table = self._session.transaction.catalog(database).table(name.schema or DBO, name.name)
        if table is None:
            return None
        self._homes[id(table)] = database
        return ResolvedTable(table, f"{quote(database.schema_name)}.{quote(table.storage_name)}")

    @staticmethod
    def _temporary(table: Table | None) -> ResolvedTable | None:
        if table is None:
            return None
        return ResolvedTable(table, f"temp.{quote(table.storage_name)}")

    def find_view(self, name: ObjectName) -> View | None:
        if name.is_temporary or name.name.startswith("@"):
            return None
        database = self._database(name)
        if database is None:
            return None
        return self._session.transaction.catalog(database).view(name.schema or DBO, name.name)

    def find_system_view(self, name: ObjectName) -> SystemView | None:
        view = find_system_view(name.schema, name.name)
        if view is None or not name.database:
            return view
        if fold(name.database) == fold(self.database):
            return view
        if self._session.find_database(name.database) is None:
            return None
        return SystemView(f"{name.database}.{view.name}", view.columns)

    def variable_type(self, name: str) -> SqlType | None:
        return self._frame.types.get(name.casefold())

    def identity_insert(self, table: Table) -> bool:
        return self._session.identity_insert_on(table)

    def _database(self, name: ObjectName) -> Database | None:
        if not name.database:
            database: Database | None = self._session.current_database
        elif fold(name.database) == TEMPDB and name.is_temporary:
            return None
        else:
            database = self._session.find_database(name.database)
        if database is not None:
            self.databases[database] = None
        return database

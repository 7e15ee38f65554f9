"""Where a definition statement works: a name as a database, a schema and a table."""

from __future__ import annotations

from ...errors import NotSupportedByStandIn, error
from ...schema import ObjectName, Table
from ..catalog import DBO, Catalog, fold
from ..databases import TEMPDB, Database
from ..identities import IdentityCounters
from ..sessionstate import SessionState
from ..storage import quote


class Place:
    """A name resolved for a definition statement: its database, schema and table."""

    def __init__(self, session: SessionState, name: ObjectName) -> None:
        self.session = session
        self.name = name
        self.temporary = name.is_temporary
        self.database: Database | None = None
        self.schema = name.schema or DBO
        if name.name.startswith("##"):
            raise NotSupportedByStandIn("global temporary tables (##)")
        if not self.temporary:
            self.database = session.current_database
            if name.database:
                self.database = session.find_database(name.database)
                if self.database is None:
                    raise error(911, name.database)

    @property
    def home(self) -> Database:
        """The database; there is none for temporary tables."""
        if self.database is None:
            raise ValueError(f"{self.name} is temporary")
        return self.database

    @property
    def catalog(self) -> Catalog:
        return self.session.transaction.catalog(self.home)

    @property
    def table(self) -> Table | None:
        if self.temporary:
            return self.session.transaction.temporary.tables.get(fold(self.name.name))
        return self.catalog.table(self.schema, self.name.name)

    def required(self, number: int = 4902) -> Table:
        """:raises SqlError: 4902 (ALTER TABLE), 1088 … when there is no such table."""
        table = self.table
        if table is None:
            raise error(number, str(self.name))
        return table


def sqlite_name(place: Place, table: Table) -> str:
    schema = "temp" if place.database is None else quote(place.database.schema_name)
    return f"{schema}.{quote(table.storage_name)}"


def display(place: Place, table: Table) -> str:
    """A table as messages write it: with its database and schema."""
    database = place.database.name if place.database is not None else TEMPDB
    return f"{database}.{table.schema}.{table.name}"


def check_new_name(place: Place) -> None:
    if place.temporary:
        if place.table is not None:
            raise error(2714, place.name.name, state=6)
    elif place.catalog.object(place.schema, place.name.name) is not None:
        raise error(2714, place.name.name, state=6)


def define_identity(place: Place, table: Table) -> None:
    column = table.identity_column
    if column is not None and column.identity is not None:
        identity_counters(place).define(table.object_id, column.identity)


def identity_counters(place: Place) -> IdentityCounters:
    return place.session.temporary_identities if place.database is None else place.home.identities

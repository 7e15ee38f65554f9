"""Finding what a metadata function is asked about."""

from __future__ import annotations

from ...schema import Column, Index, ObjectName, Table, View
from ...sqltypes import StorageValue
from ..catalog import DBO, Catalog, CatalogObject, ObjectType, fold
from ..sessionstate import SessionState
from .registry import whole


def find_object(session: SessionState, name: ObjectName) -> CatalogObject | None:
    """The object of that name where the session stands."""
    if name.is_temporary:
        table = session.transaction.temporary.tables.get(fold(name.name))
        if table is None:
            return None
        return CatalogObject(ObjectType.TABLE, table.object_id, DBO, table.name, None, table)
    catalog = _catalog(session, name.database)
    return catalog.object(name.schema or DBO, name.name) if catalog is not None else None


def _catalog(session: SessionState, database: str) -> Catalog | None:
    if not database:
        return session.catalog
    found = session.engine.databases.find(database)
    return session.transaction.catalog(found) if found is not None else None


def object_by_id(session: SessionState, object_id: StorageValue) -> CatalogObject | None:
    number = whole(object_id)
    if number is None:
        return None
    if number < 0:
        for table in session.transaction.temporary.tables.values():
            if table.object_id == number:
                return CatalogObject(ObjectType.TABLE, number, DBO, table.name, None, table)
        return None
    return session.catalog.object_by_id(number)


def columns_of(thing: CatalogObject | None) -> tuple[Column, ...]:
    return thing.item.columns if thing and isinstance(thing.item, Table | View) else ()


def column_named(thing: CatalogObject | None, name: str) -> Column | None:
    folded = fold(name)
    return next((c for c in columns_of(thing) if fold(c.name) == folded), None)


def index_by_id(session: SessionState, object_id: StorageValue, index_id: int) -> Index | None:
    thing = object_by_id(session, object_id)
    if thing is None or not isinstance(thing.item, Table):
        return None
    return next((index for index in thing.item.indexes if index.index_id == index_id), None)

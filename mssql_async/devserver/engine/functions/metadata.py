"""Functions about schemas, tables, columns, indexes and types.

Source: SQL Server documentation, "Metadata functions (Transact-SQL)".
"""

from __future__ import annotations

from ...schema import IndexKind, Table, View
from ...sqltypes import STRING_KINDS, StorageValue
from ..catalog import DBO, Catalog, ObjectType, fold, primary_key
from ..sessionstate import SessionState
from ..systemviews import system_view_object_id
from ..systemviews.types import SYSTEM_TYPES, max_length, numeric_precision, numeric_scale
from .objects import column_named, columns_of, find_object, index_by_id, object_by_id
from .registry import Arguments, argument, function, parse_name, text, whole

_TEMPDB_ID = 2


@function("schema_name")
def _schema_name(session: SessionState, arguments: Arguments) -> StorageValue:
    if not arguments:
        return DBO
    number = whole(arguments[0])
    for schema in session.catalog.contents.schemas.values():
        if schema.schema_id == number:
            return schema.name
    return None


@function("schema_id")
def _schema_id(session: SessionState, arguments: Arguments) -> StorageValue:
    schema = session.catalog.schema(text(arguments[0]) if arguments else DBO)
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


@function("object_id")
def _object_id(session: SessionState, arguments: Arguments) -> StorageValue:
    given = argument(arguments, 0)
    name = parse_name(text(given)) if given is not None else None
    if name is None:
        return None
    thing = find_object(session, name)
    if thing is None:
        return system_view_object_id(name.schema, name.name)
    code = argument(arguments, 1)
    if code is not None and _OBJECT_CODES.get(text(code).strip().upper()) is not thing.type:
        return None
    return thing.object_id


@function("object_name")
def _object_name(session: SessionState, arguments: Arguments) -> StorageValue:
    catalog: Catalog | None = session.catalog
    if len(arguments) > 1:
        database_id = whole(arguments[1])
        if database_id == _TEMPDB_ID:
            catalog = None
        elif database_id is not None:
            database = session.engine.databases.by_id(database_id)
            catalog = session.transaction.catalog(database) if database else None
    number = whole(argument(arguments, 0))
    if number is None:
        return None
    if number < 0:
        thing = object_by_id(session, number)
    else:
        thing = catalog.object_by_id(number) if catalog is not None else None
    return thing.name if thing is not None else None


@function("object_schema_name")
def _object_schema_name(session: SessionState, arguments: Arguments) -> StorageValue:
    thing = object_by_id(session, argument(arguments, 0))
    return thing.schema if thing is not None else None


@function("object_definition")
def _object_definition(session: SessionState, arguments: Arguments) -> StorageValue:
    thing = object_by_id(session, argument(arguments, 0))
    if thing is None:
        return None
    if isinstance(thing.item, View):
        return f"CREATE VIEW {thing.schema}.{thing.name} AS {thing.item.definition}"
    return getattr(thing.item, "expression", None)


@function("col_name")
def _col_name(session: SessionState, arguments: Arguments) -> StorageValue:
    number = whole(argument(arguments, 1))
    for column in columns_of(object_by_id(session, argument(arguments, 0))):
        if column.column_id == number:
            return column.name
    return None


@function("col_length")
def _col_length(session: SessionState, arguments: Arguments) -> StorageValue:
    name = parse_name(text(argument(arguments, 0)))
    thing = find_object(session, name) if name is not None else None
    column = column_named(thing, text(argument(arguments, 1)))
    return max_length(column.type) if column is not None else None


@function("columnproperty")
def _column_property(session: SessionState, arguments: Arguments) -> StorageValue:
    column = column_named(
        object_by_id(session, argument(arguments, 0)), text(argument(arguments, 1)).strip("[]")
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
    return properties.get(text(argument(arguments, 2)).lower())


@function("objectproperty", "objectpropertyex")
def _object_property(session: SessionState, arguments: Arguments) -> StorageValue:
    thing = object_by_id(session, argument(arguments, 0))
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
    return properties.get(text(argument(arguments, 1)).lower())


@function("index_col")
def _index_col(session: SessionState, arguments: Arguments) -> StorageValue:
    name = parse_name(text(argument(arguments, 0)))
    thing = find_object(session, name) if name is not None else None
    index_id, position = whole(argument(arguments, 1)), whole(argument(arguments, 2))
    if thing is None or index_id is None or position is None:
        return None
    index = index_by_id(session, thing.object_id, index_id)
    if index is None or not 1 <= position <= len(index.columns):
        return None
    return index.columns[position - 1].name


@function("indexproperty")
def _index_property(session: SessionState, arguments: Arguments) -> StorageValue:
    thing = object_by_id(session, argument(arguments, 0))
    if thing is None or not isinstance(thing.item, Table):
        return None
    wanted = fold(text(argument(arguments, 1)))
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
    return properties.get(text(argument(arguments, 2)).lower())


@function("type_name")
def _type_name(session: SessionState, arguments: Arguments) -> StorageValue:
    number = whole(argument(arguments, 0))
    return next((t.name for t in SYSTEM_TYPES if t.user_type_id == number), None)


@function("type_id")
def _type_id(session: SessionState, arguments: Arguments) -> StorageValue:
    name = text(argument(arguments, 0)).strip("[]").lower().removeprefix("sys.")
    return next((t.user_type_id for t in SYSTEM_TYPES if t.name == name), None)

"""``sys.*``: the catalog views of one database."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import cast

from ...schema import Check, Column, Default, ForeignKey, Index, IndexKind, Table, View
from ...sqltypes import STRING_KINDS, StorageValue
from ..catalog import DBO, Catalog, CatalogObject, ObjectType, primary_key
from .definition import Context, Row, system_view
from .types import SYSTEM_TYPES, max_length, numeric_precision, numeric_scale, system_type

_EPOCH = "2022-10-08 06:31:58.0000000"
_LONGEST_NAME = 128
_SUFFIXES = 0xFFFF_FFFF_FFFF
_OBJECT = (
    "name sysname, object_id int, principal_id int, schema_id int, parent_object_id int, "
    "type char2, type_desc nvarchar60, create_date datetime, modify_date datetime, "
    "is_ms_shipped bit, is_published bit, is_schema_published bit"
)


def _schema_id(catalog: Catalog, name: str) -> int:
    schema = catalog.schema(name)
    return schema.schema_id if schema is not None else 1


def _object_row(catalog: Catalog, thing: CatalogObject) -> Row:
    created = catalog.contents.created.get(thing.object_id, _EPOCH)
    return (
        thing.name,
        thing.object_id,
        None,
        _schema_id(catalog, thing.schema),
        thing.parent.object_id if thing.parent is not None else 0,
        thing.type.code.ljust(2),
        thing.type.description,
        created,
        created,
        0,
        0,
        0,
    )


def _of(catalog: Catalog, *types: ObjectType) -> Iterator[CatalogObject]:
    return (thing for thing in catalog.objects() if thing.type in types)


def _temporary_tables(context: Context) -> Iterator[CatalogObject]:
    """The temporary tables of all sessions, where tempdb is looked at: "to make the names
    unique the Database Engine appends a numeric suffix", behind underscores ("CREATE TABLE")."""
    if not context.of_tempdb:
        return
    for session in context.session.engine.sessions():
        for table in session.transaction.temporary.tables.values():
            suffix = f"{table.object_id & _SUFFIXES:012X}"
            name = table.name.ljust(_LONGEST_NAME - len(suffix), "_") + suffix
            yield CatalogObject(ObjectType.TABLE, table.object_id, DBO, name, None, table)


@system_view("sys.objects", _OBJECT)
def _objects(context: Context) -> Iterator[Row]:
    for thing in (*context.catalog.objects(), *_temporary_tables(context)):
        yield _object_row(context.catalog, thing)


@system_view("sys.all_objects", _OBJECT)
def _all_objects(context: Context) -> Iterable[Row]:
    return _objects(context)


@system_view(
    "sys.tables",
    f"{_OBJECT}, lob_data_space_id int, filestream_data_space_id int, max_column_id_used int, "
    "lock_on_bulk_load bit, uses_ansi_nulls bit, is_replicated bit, is_memory_optimized bit, "
    "durability tinyint, durability_desc nvarchar60, temporal_type tinyint, "
    "temporal_type_desc nvarchar60, history_table_id int, is_external bit, is_node bit, "
    "is_edge bit, is_filetable bit",
)
def _tables(context: Context) -> Iterator[Row]:
    for thing in (*_of(context.catalog, ObjectType.TABLE), *_temporary_tables(context)):
        table = cast("Table", thing.item)
        used = max((column.column_id for column in table.columns), default=0)
        yield (
            *_object_row(context.catalog, thing),
            *(0, None, used, 0, 1, 0, 0, 0, "SCHEMA_AND_DATA", 0),
            *("NON_TEMPORAL_TABLE", None, 0, 0, 0, 0),
        )


@system_view(
    "sys.views",
    f"{_OBJECT}, is_replicated bit, has_replication_filter bit, has_opaque_metadata bit, "
    "has_unchecked_assembly_data bit, with_check_option bit, is_date_correlation_view bit",
)
def _views(context: Context) -> Iterator[Row]:
    for thing in _of(context.catalog, ObjectType.VIEW):
        yield (*_object_row(context.catalog, thing), 0, 0, 0, 0, 0, 0)


@system_view(
    "sys.sql_modules",
    "object_id int, definition text, uses_ansi_nulls bit, uses_quoted_identifier bit, "
    "is_schema_bound bit, is_recompiled bit, null_on_null_input bit",
)
def _sql_modules(context: Context) -> Iterator[Row]:
    for view in context.catalog.views:
        text = f"CREATE VIEW [{view.schema}].[{view.name}] AS {view.definition}"
        yield (view.object_id, text, 1, 1, 0, 0, 0)


@system_view("sys.schemas", "name sysname, schema_id int, principal_id int")
def _schemas(context: Context) -> Iterator[Row]:
    for schema in context.catalog.contents.schemas.values():
        owner = schema.schema_id if schema.schema_id <= 4 else 1
        yield (schema.name, schema.schema_id, owner)


def _collation(context: Context, column: Column) -> str | None:
    if column.type.kind not in STRING_KINDS or not system_type(column.type).collated:
        return None
    return column.type.collation or context.database.collation


_COLUMN = (
    "object_id int, name sysname, column_id int, system_type_id tinyint, user_type_id int, "
    "max_length smallint, precision tinyint, scale tinyint, collation_name sysname, "
    "is_nullable bit, is_ansi_padded bit, is_rowguidcol bit, is_identity bit, is_computed bit, "
    "is_filestream bit, is_replicated bit, is_non_sql_subscribed bit, is_merge_published bit, "
    "is_dts_replicated bit, is_xml_document bit, xml_collection_id int, default_object_id int, "
    "rule_object_id int, is_sparse bit, is_column_set bit, generated_always_type tinyint, "
    "generated_always_type_desc nvarchar60, is_hidden bit, is_masked bit"
)


def _column_row(context: Context, owner: Table | View, column: Column) -> Row:
    kind = system_type(column.type)
    default = column.default.object_id if column.default is not None else 0
    return (
        owner.object_id,
        column.name,
        column.column_id,
        kind.system_type_id,
        kind.user_type_id,
        max_length(column.type),
        numeric_precision(column.type),
        numeric_scale(column.type),
        _collation(context, column),
        int(column.nullable),
        int(kind.collated or kind.name in ("binary", "varbinary")),
        0,
        int(column.identity is not None),
        int(column.computed is not None),
        *(0, 0, 0, 0, 0, 0, 0, default, 0, 0, 0, 0, "NOT_APPLICABLE", 0, 0),
    )


def _owners(context: Context) -> list[Table | View]:
    temporary = (cast("Table", thing.item) for thing in _temporary_tables(context))
    return [*context.catalog.tables, *context.catalog.views, *temporary]


@system_view("sys.columns", _COLUMN)
def _columns(context: Context) -> Iterator[Row]:
    for owner in _owners(context):
        for column in owner.columns:
            yield _column_row(context, owner, column)


@system_view("sys.all_columns", _COLUMN)
def _all_columns(context: Context) -> Iterable[Row]:
    return _columns(context)


@system_view(
    "sys.identity_columns",
    f"{_COLUMN}, seed_value variant, increment_value variant, last_value variant, "
    "is_not_for_replication bit",
    of_catalog=False,
)
def _identity_columns(context: Context) -> Iterator[Row]:
    for table in context.catalog.tables:
        for column in table.columns:
            if column.identity is not None:
                yield (
                    *_column_row(context, table, column),
                    column.identity.seed,
                    column.identity.increment,
                    context.database.identities.last_value(table.object_id),
                    0,
                )


@system_view(
    "sys.computed_columns",
    f"{_COLUMN}, definition text, uses_database_collation bit, is_persisted bit",
)
def _computed_columns(context: Context) -> Iterator[Row]:
    for table in context.catalog.tables:
        for column in table.columns:
            if column.computed is not None:
                row = _column_row(context, table, column)
                yield (*row, column.computed, 1, int(column.persisted))


@system_view(
    "sys.types",
    "name sysname, system_type_id tinyint, user_type_id int, schema_id int, principal_id int, "
    "max_length smallint, precision tinyint, scale tinyint, collation_name sysname, "
    "is_nullable bit, is_user_defined bit, is_assembly_type bit, default_object_id int, "
    "rule_object_id int, is_table_type bit",
)
def _types(context: Context) -> Iterator[Row]:
    for kind in SYSTEM_TYPES:
        nullable = int(kind.name != "sysname")
        yield (
            *(kind.name, kind.system_type_id, kind.user_type_id, 4, None),
            *(kind.max_length, kind.precision, kind.scale),
            context.database.collation if kind.collated else None,
            *(nullable, 0, 0, 0, 0, 0),
        )


@system_view(
    "sys.indexes",
    "object_id int, name sysname, index_id int, type tinyint, type_desc nvarchar60, "
    "is_unique bit, data_space_id int, ignore_dup_key bit, is_primary_key bit, "
    "is_unique_constraint bit, fill_factor tinyint, is_padded bit, is_disabled bit, "
    "is_hypothetical bit, is_ignored_in_optimization bit, allow_row_locks bit, "
    "allow_page_locks bit, has_filter bit, filter_definition text, compression_delay int, "
    "suppress_dup_key_messages bit, auto_created bit, optimize_for_sequential_key bit",
)
def _indexes(context: Context) -> Iterator[Row]:
    for table in context.catalog.tables:
        if not any(index.clustered for index in table.indexes):
            heap = (table.object_id, None, 0, 0, "HEAP", 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1)
            yield (*heap, 0, None, None, 0, 0, 0)
        for index in sorted(table.indexes, key=lambda index: index.index_id):
            yield (
                *(table.object_id, index.name, index.index_id, 1 if index.clustered else 2),
                "CLUSTERED" if index.clustered else "NONCLUSTERED",
                *(int(index.kind.unique), 1, 0, int(index.kind is IndexKind.PRIMARY_KEY)),
                *(int(index.kind is IndexKind.UNIQUE_CONSTRAINT), 0, 0, 0, 0, 0, 1, 1),
                *(int(index.filter is not None), index.filter, None, 0, 0, 0),
            )


@system_view(
    "sys.index_columns",
    "object_id int, index_id int, index_column_id int, column_id int, key_ordinal tinyint, "
    "partition_ordinal tinyint, is_descending_key bit, is_included_column bit, "
    "column_store_order_ordinal tinyint",
)
def _index_columns(context: Context) -> Iterator[Row]:
    for table in context.catalog.tables:
        for index in sorted(table.indexes, key=lambda index: index.index_id):
            number = 0
            for number, key in enumerate(index.columns, start=1):
                column = table.column(key.name)
                column_id = column.column_id if column is not None else 0
                descending = int(key.descending)
                yield (
                    *(table.object_id, index.index_id, number, column_id, number),
                    *(0, descending, 0, 0),
                )
            for extra, name in enumerate(index.include, start=number + 1):
                column = table.column(name)
                column_id = column.column_id if column is not None else 0
                yield (table.object_id, index.index_id, extra, column_id, 0, 0, 0, 1, 0)


@system_view(
    "sys.key_constraints",
    f"{_OBJECT}, unique_index_id int, is_system_named bit, is_enforced bit",
)
def _key_constraints(context: Context) -> Iterator[Row]:
    for thing in _of(context.catalog, ObjectType.PRIMARY_KEY, ObjectType.UNIQUE):
        index = cast("Index", thing.item)
        named = int(thing.name.startswith(("PK__", "UQ__")))
        yield (*_object_row(context.catalog, thing), index.index_id, named, 1)


def _column_id(table: Table | None, name: str | None) -> int:
    column = table.column(name) if table is not None and name is not None else None
    return column.column_id if column is not None else 0


@system_view(
    "sys.foreign_keys",
    f"{_OBJECT}, referenced_object_id int, key_index_id int, is_disabled bit, "
    "is_not_for_replication bit, is_not_trusted bit, delete_referential_action tinyint, "
    "delete_referential_action_desc nvarchar60, update_referential_action tinyint, "
    "update_referential_action_desc nvarchar60, is_system_named bit",
)
def _foreign_keys(context: Context) -> Iterator[Row]:
    actions = {"NO_ACTION": 0, "CASCADE": 1, "SET_NULL": 2, "SET_DEFAULT": 3}
    for thing in _of(context.catalog, ObjectType.FOREIGN_KEY):
        foreign_key = cast("ForeignKey", thing.item)
        parent = context.catalog.referenced_table(foreign_key)
        delete, update = foreign_key.on_delete.value, foreign_key.on_update.value
        key = key_index(parent, foreign_key.referenced_columns)
        yield (
            *_object_row(context.catalog, thing),
            parent.object_id if parent is not None else None,
            key.index_id if key is not None else None,
            *(int(not foreign_key.enabled), 0, int(not foreign_key.trusted)),
            *(actions[delete], delete, actions[update], update),
            int(foreign_key.name.startswith("FK__")),
        )


def key_index(table: Table | None, names: tuple[str, ...]) -> Index | None:
    """The unique index that a foreign key over these columns relies on."""
    wanted = {name.casefold() for name in names}
    if table is not None:
        for index in table.indexes:
            columns = {column.name.casefold() for column in index.columns}
            if index.kind.unique and index.filter is None and columns == wanted:
                return index
    return None


@system_view(
    "sys.foreign_key_columns",
    "constraint_object_id int, constraint_column_id int, parent_object_id int, "
    "parent_column_id int, referenced_object_id int, referenced_column_id int",
)
def _foreign_key_columns(context: Context) -> Iterator[Row]:
    for table in context.catalog.tables:
        for foreign_key in table.foreign_keys:
            parent = context.catalog.referenced_table(foreign_key)
            pairs = zip(foreign_key.columns, foreign_key.referenced_columns, strict=True)
            for number, (column, key) in enumerate(pairs, start=1):
                yield (
                    *(foreign_key.object_id, number, table.object_id, _column_id(table, column)),
                    *(parent.object_id if parent else None, _column_id(parent, key)),
                )


@system_view(
    "sys.check_constraints",
    f"{_OBJECT}, is_disabled bit, is_not_for_replication bit, is_not_trusted bit, "
    "parent_column_id int, definition text, uses_database_collation bit, is_system_named bit",
)
def _check_constraints(context: Context) -> Iterator[Row]:
    for thing in _of(context.catalog, ObjectType.CHECK):
        check = cast("Check", thing.item)
        yield (
            *_object_row(context.catalog, thing),
            *(int(not check.enabled), 0, int(not check.trusted)),
            *(_column_id(thing.parent, check.column), check.expression, 1),
            int(check.name.startswith("CK__")),
        )


@system_view(
    "sys.default_constraints",
    f"{_OBJECT}, parent_column_id int, definition text, is_system_named bit",
)
def _default_constraints(context: Context) -> Iterator[Row]:
    for thing in _of(context.catalog, ObjectType.DEFAULT):
        default = cast("Default", thing.item)
        yield (
            *_object_row(context.catalog, thing),
            thing.column.column_id if thing.column is not None else 0,
            default.expression,
            int(default.name.startswith("DF__")),
        )


@system_view(
    "sys.extended_properties",
    "class tinyint, class_desc nvarchar60, major_id int, minor_id int, name sysname, value variant",
)
def _extended_properties(context: Context) -> Iterator[Row]:
    words = {0: "DATABASE", 1: "OBJECT_OR_COLUMN", 3: "SCHEMA", 7: "INDEX"}
    for entry in context.catalog.contents.properties.values():
        yield (
            *(entry.object_class, words[entry.object_class], entry.major_id, entry.minor_id),
            *(entry.name, entry.value),
        )


@system_view("sys.assemblies", "name sysname, principal_id int, assembly_id int, clr_name text")
def _assemblies(context: Context) -> Iterator[Row]:
    for assembly in context.catalog.contents.assemblies.values():
        yield (assembly.name, 1, assembly.assembly_id, assembly.name)


@system_view("sys.triggers", f"{_OBJECT}, is_disabled bit, is_instead_of_trigger bit")
def _triggers(context: Context) -> Iterator[Row]:
    return iter(())


@system_view("sys.procedures", f"{_OBJECT}, is_auto_executed bit")
def _procedures(context: Context) -> Iterator[Row]:
    return iter(())


@system_view("sys.sequences", f"{_OBJECT}, start_value variant, increment variant")
def _sequences(context: Context) -> Iterator[Row]:
    return iter(())


@system_view("sys.synonyms", f"{_OBJECT}, base_object_name nvarchar128")
def _synonyms(context: Context) -> Iterator[Row]:
    return iter(())


@system_view(
    "sys.partitions",
    "partition_id bigint, object_id int, index_id int, partition_number int, hobt_id bigint, "
    "rows bigint",
    of_catalog=False,
)
def _partitions(context: Context) -> Iterator[Row]:
    """One partition for each index, or for the heap; ``rows`` is counted."""
    connection = context.session.connection
    schema = context.database.schema_name
    for table in context.catalog.tables:
        storage = table.storage_name.replace('"', '""')
        count: StorageValue = None
        if context.session.is_attached(context.database):
            (count,) = connection.execute(f'SELECT count(*) FROM "{schema}"."{storage}"').fetchone()
        ids = [index.index_id for index in table.indexes]
        if primary_key(table) is None and not any(index.clustered for index in table.indexes):
            ids.insert(0, 0)
        for index_id in ids:
            number = table.object_id * 100 + index_id
            yield (number, table.object_id, index_id, 1, number, count)

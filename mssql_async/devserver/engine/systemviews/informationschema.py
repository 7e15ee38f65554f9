"""``INFORMATION_SCHEMA.*``: the ISO views of one database."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ...schema import IndexKind, Table, View
from ...sqltypes import FLOAT_KINDS, NUMBER_KINDS, STRING_KINDS, UNICODE_KINDS, Kind
from .catalogviews import key_index
from .definition import Context, Row, system_view
from .types import (
    character_length,
    datetime_precision,
    numeric_precision,
    numeric_scale,
    system_type,
)


@system_view(
    "INFORMATION_SCHEMA.SCHEMATA",
    "CATALOG_NAME nvarchar128, SCHEMA_NAME nvarchar128, SCHEMA_OWNER nvarchar128, "
    "DEFAULT_CHARACTER_SET_CATALOG sysname, DEFAULT_CHARACTER_SET_SCHEMA sysname, "
    "DEFAULT_CHARACTER_SET_NAME sysname",
)
def _schemata(context: Context) -> Iterator[Row]:
    for schema in context.catalog.contents.schemas.values():
        yield (context.database.name, schema.name, "dbo", None, None, "iso_1")


@system_view(
    "INFORMATION_SCHEMA.TABLES",
    "TABLE_CATALOG nvarchar128, TABLE_SCHEMA nvarchar128, TABLE_NAME sysname, TABLE_TYPE varchar",
)
def _tables(context: Context) -> Iterator[Row]:
    for table in context.catalog.tables:
        yield (context.database.name, table.schema, table.name, "BASE TABLE")
    for view in context.catalog.views:
        yield (context.database.name, view.schema, view.name, "VIEW")


@system_view(
    "INFORMATION_SCHEMA.VIEWS",
    "TABLE_CATALOG nvarchar128, TABLE_SCHEMA nvarchar128, TABLE_NAME sysname, "
    "VIEW_DEFINITION text, CHECK_OPTION varchar, IS_UPDATABLE varchar",
)
def _views(context: Context) -> Iterator[Row]:
    for view in context.catalog.views:
        text = f"CREATE VIEW [{view.schema}].[{view.name}] AS {view.definition}"
        yield (context.database.name, view.schema, view.name, text, "NONE", "NO")


@system_view(
    "INFORMATION_SCHEMA.COLUMNS",
    "TABLE_CATALOG nvarchar128, TABLE_SCHEMA nvarchar128, TABLE_NAME sysname, "
    "COLUMN_NAME sysname, ORDINAL_POSITION int, COLUMN_DEFAULT text, IS_NULLABLE varchar, "
    "DATA_TYPE nvarchar128, CHARACTER_MAXIMUM_LENGTH int, CHARACTER_OCTET_LENGTH int, "
    "NUMERIC_PRECISION tinyint, NUMERIC_PRECISION_RADIX smallint, NUMERIC_SCALE int, "
    "DATETIME_PRECISION smallint, CHARACTER_SET_CATALOG sysname, CHARACTER_SET_SCHEMA sysname, "
    "CHARACTER_SET_NAME sysname, COLLATION_CATALOG sysname, COLLATION_SCHEMA sysname, "
    "COLLATION_NAME sysname, DOMAIN_CATALOG sysname, DOMAIN_SCHEMA sysname, DOMAIN_NAME sysname",
)
def _columns(context: Context) -> Iterator[Row]:
    owners: list[Table | View] = [*context.catalog.tables, *context.catalog.views]
    for owner in owners:
        for position, column in enumerate(owner.columns, start=1):
            kind = column.type.kind
            length = character_length(column.type)
            octets = length
            if length is not None and kind in UNICODE_KINDS and 0 < length < 1 << 30:
                octets = 2 * length
            number = kind in NUMBER_KINDS and kind is not Kind.BIT
            text = kind in STRING_KINDS and system_type(column.type).collated
            yield (
                *(context.database.name, owner.schema, owner.name, column.name, position),
                column.default.expression if column.default is not None else None,
                "YES" if column.nullable else "NO",
                *(kind.value, length, octets),
                numeric_precision(column.type) if number else None,
                (2 if kind in FLOAT_KINDS else 10) if number else None,
                numeric_scale(column.type) if number and kind not in FLOAT_KINDS else None,
                *(datetime_precision(column.type), None, None),
                ("UNICODE" if kind in UNICODE_KINDS else "iso_1") if text else None,
                *(None, None),
                (column.type.collation or context.database.collation) if text else None,
                *(None, None, None),
            )


_CONSTRAINT = (
    "CONSTRAINT_CATALOG nvarchar128, CONSTRAINT_SCHEMA nvarchar128, CONSTRAINT_NAME sysname"
)
_TABLE = "TABLE_CATALOG nvarchar128, TABLE_SCHEMA nvarchar128, TABLE_NAME sysname"


def _keys(table: Table) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Name, type and columns of the primary, unique and foreign keys."""
    for index in table.indexes:
        columns = tuple(column.name for column in index.columns)
        if index.kind is IndexKind.PRIMARY_KEY:
            yield index.name, "PRIMARY KEY", columns
        elif index.kind is IndexKind.UNIQUE_CONSTRAINT:
            yield index.name, "UNIQUE", columns
    for foreign_key in table.foreign_keys:
        yield foreign_key.name, "FOREIGN KEY", foreign_key.columns


@system_view(
    "INFORMATION_SCHEMA.TABLE_CONSTRAINTS",
    f"{_CONSTRAINT}, {_TABLE}, CONSTRAINT_TYPE varchar, IS_DEFERRABLE varchar, "
    "INITIALLY_DEFERRED varchar",
)
def _table_constraints(context: Context) -> Iterator[Row]:
    catalog = context.database.name
    for table in context.catalog.tables:
        names = [(name, kind) for name, kind, _ in _keys(table)]
        names += [(check.name, "CHECK") for check in table.checks]
        for name, kind in names:
            place = (catalog, table.schema)
            yield (*place, name, *place, table.name, kind, "NO", "NO")


@system_view(
    "INFORMATION_SCHEMA.KEY_COLUMN_USAGE",
    f"{_CONSTRAINT}, {_TABLE}, COLUMN_NAME sysname, ORDINAL_POSITION int",
)
def _key_column_usage(context: Context) -> Iterator[Row]:
    for table in context.catalog.tables:
        place = (context.database.name, table.schema)
        for name, _, columns in _keys(table):
            for position, column in enumerate(columns, start=1):
                yield (*place, name, *place, table.name, column, position)


@system_view(
    "INFORMATION_SCHEMA.CONSTRAINT_COLUMN_USAGE",
    f"{_TABLE}, COLUMN_NAME nvarchar128, {_CONSTRAINT}",
)
def _constraint_column_usage(context: Context) -> Iterator[Row]:
    for table in context.catalog.tables:
        place = (context.database.name, table.schema)
        for name, _, columns in _keys(table):
            for column in columns:
                yield (*place, table.name, column, *place, name)
        for check in table.checks:
            for column in _mentioned(table, check.expression):
                yield (*place, table.name, column, *place, check.name)


_WORDS = re.compile(r"'(?:[^']|'')*'|\[((?:[^\]]|\]\])+)\]|\"((?:[^\"]|\"\")+)\"|([A-Za-z_@#]\w*)")


def _mentioned(table: Table, expression: str) -> list[str]:
    """The columns that a CHECK names, in the order of the table."""
    words = {
        (match.group(1) or match.group(2) or match.group(3) or "").casefold()
        for match in _WORDS.finditer(expression)
    }
    return [column.name for column in table.columns if column.name.casefold() in words]


@system_view("INFORMATION_SCHEMA.CONSTRAINT_TABLE_USAGE", f"{_TABLE}, {_CONSTRAINT}")
def _constraint_table_usage(context: Context) -> Iterator[Row]:
    for table in context.catalog.tables:
        place = (context.database.name, table.schema)
        for name, _, _ in _keys(table):
            yield (*place, table.name, *place, name)
        for check in table.checks:
            yield (*place, table.name, *place, check.name)


@system_view(
    "INFORMATION_SCHEMA.REFERENTIAL_CONSTRAINTS",
    f"{_CONSTRAINT}, UNIQUE_CONSTRAINT_CATALOG nvarchar128, UNIQUE_CONSTRAINT_SCHEMA nvarchar128, "
    "UNIQUE_CONSTRAINT_NAME sysname, MATCH_OPTION varchar, UPDATE_RULE varchar, "
    "DELETE_RULE varchar",
)
def _referential_constraints(context: Context) -> Iterator[Row]:
    for table in context.catalog.tables:
        for foreign_key in table.foreign_keys:
            parent = context.catalog.referenced_table(foreign_key)
            key = key_index(parent, foreign_key.referenced_columns)
            yield (
                *(context.database.name, table.schema, foreign_key.name, context.database.name),
                parent.schema if parent is not None else None,
                key.name if key is not None else None,
                "SIMPLE",
                foreign_key.on_update.value.replace("_", " "),
                foreign_key.on_delete.value.replace("_", " "),
            )


@system_view("INFORMATION_SCHEMA.CHECK_CONSTRAINTS", f"{_CONSTRAINT}, CHECK_CLAUSE text")
def _check_constraints(context: Context) -> Iterator[Row]:
    for table in context.catalog.tables:
        for check in table.checks:
            yield (context.database.name, table.schema, check.name, check.expression)


@system_view(
    "INFORMATION_SCHEMA.ROUTINES",
    "SPECIFIC_CATALOG nvarchar128, SPECIFIC_SCHEMA nvarchar128, SPECIFIC_NAME nvarchar128, "
    "ROUTINE_CATALOG nvarchar128, ROUTINE_SCHEMA nvarchar128, ROUTINE_NAME nvarchar128, "
    "ROUTINE_TYPE nvarchar128",
)
def _routines(context: Context) -> Iterator[Row]:
    for function in context.catalog.contents.functions.values():
        place = (context.database.name, function.schema, function.name)
        yield (*place, *place, "FUNCTION")

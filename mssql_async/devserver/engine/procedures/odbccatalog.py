"""The catalog procedures that ODBC's catalog functions call.

Source: SQL Server documentation, "Catalog stored procedures (Transact-SQL)":
sp_datatype_info, sp_tables, sp_columns, sp_pkeys, sp_fkeys, sp_statistics,
sp_special_columns. The ``_100`` forms are what drivers of SQL Server 2008 and later call.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ... import sqltypes
from ...results import ResultColumn
from ...schema import Column, IndexKind, Table, View
from ...sqltypes import SqlType, StorageValue
from ..catalog import DBO, Catalog, fold, primary_key
from ..steps import Step
from . import odbctypes
from .call import Argument, Call, text, whole

_SHORT: dict[str, SqlType] = {
    "name": sqltypes.SYSNAME,
    "smallint": sqltypes.SMALLINT,
    "int": sqltypes.INT,
    "tinyint": sqltypes.TINYINT,
    "varchar": sqltypes.varchar(254),
    "varchar32": sqltypes.varchar(32),
    "default": sqltypes.nvarchar(4000),
    "filter": sqltypes.varchar(128),
}

Row = tuple[StorageValue, ...]


def _columns(spec: str) -> tuple[ResultColumn, ...]:
    made = []
    for part in spec.split(","):
        name, kind = part.split()
        made.append(ResultColumn(name, _SHORT[kind]))
    return tuple(made)


def _pattern(argument: Argument | None, use_pattern: bool = True) -> re.Pattern[str]:
    """A search pattern of ODBC: ``%``, ``_``, ``[…]``, backslash escapes; NULL is all."""
    given = text(argument)
    if given is None:
        return re.compile(".*", re.DOTALL)
    if not use_pattern:
        return re.compile(re.escape(given), re.IGNORECASE)
    out, position = [], 0
    while position < len(given):
        char = given[position]
        if char == "%":
            out.append(".*")
        elif char == "_":
            out.append(".")
        elif char == "\\" and position + 1 < len(given):
            position += 1
            out.append(re.escape(given[position]))
        elif char == "[" and "]" in given[position:]:
            end = given.index("]", position)
            inside = given[position + 1 : end]
            negated = inside.startswith("^")
            body = re.escape(inside.lstrip("^")).replace(r"\-", "-")
            out.append(f"[{'^' if negated else ''}{body}]")
            position = end
        else:
            out.append(re.escape(char))
        position += 1
    return re.compile("".join(out), re.IGNORECASE | re.DOTALL)


def _exact(argument: Argument | None) -> str | None:
    given = text(argument)
    return None if given is None else fold(given)


def _catalog(call: Call) -> Catalog:
    return call.session.catalog


_DATATYPE_INFO = _columns(
    "TYPE_NAME name, DATA_TYPE smallint, PRECISION int, LITERAL_PREFIX varchar32, "
    "LITERAL_SUFFIX varchar32, CREATE_PARAMS varchar32, NULLABLE smallint, "
    "CASE_SENSITIVE smallint, SEARCHABLE smallint, UNSIGNED_ATTRIBUTE smallint, "
    "MONEY smallint, AUTO_INCREMENT smallint, LOCAL_TYPE_NAME name, MINIMUM_SCALE smallint, "
    "MAXIMUM_SCALE smallint, SQL_DATA_TYPE smallint, SQL_DATETIME_SUB smallint, "
    "NUM_PREC_RADIX int, INTERVAL_PRECISION smallint, USERTYPE smallint"
)
_ODBC2_CODES = {91: 9, 93: 11, -154: -9, -155: -9}


def sp_datatype_info(call: Call) -> Iterator[Step]:
    bound = call.bind("@data_type", "@odbcver")
    wanted = whole(bound.get("@data_type"))
    version = whole(bound.get("@odbcver"), 2)
    rows: list[Row] = []
    for info in odbctypes.TYPE_INFO:
        row = list(info.row)
        if version < 3:
            row[1] = _ODBC2_CODES.get(info.code, info.code)
        if wanted in (0, info.code, row[1]):
            rows.append(tuple(row))
    rows.sort(key=lambda row: (int(row[1] or 0), str(row[0]) != "nvarchar"))
    yield from call.result(_DATATYPE_INFO, rows)


_TABLES = _columns(
    "TABLE_QUALIFIER name, TABLE_OWNER name, TABLE_NAME name, TABLE_TYPE varchar32, REMARKS varchar"
)


def sp_tables(call: Call) -> Iterator[Step]:
    bound = call.bind(
        "@table_name", "@table_owner", "@table_qualifier", "@table_type", "@fusepattern"
    )
    name = _pattern(bound.get("@table_name"))
    owner = _pattern(bound.get("@table_owner"))
    kinds = text(bound.get("@table_type"))
    wanted = (
        None if kinds is None else {part.strip().strip("'").upper() for part in kinds.split(",")}
    )
    qualifier = text(bound.get("@table_qualifier"))
    session = call.session
    rows: list[Row] = []
    if qualifier == "%" and text(bound.get("@table_name")) == "":
        rows = [(d.name, None, None, None, None) for d in session.engine.databases]
        yield from call.result(_TABLES, rows)
        return
    catalog = _catalog(call)
    things: list[tuple[Table | View, str]] = [(table, "TABLE") for table in catalog.tables]
    things += [(view, "VIEW") for view in catalog.views]
    for thing, kind in things:
        if wanted is not None and kind not in wanted and "%" not in wanted:
            continue
        if name.fullmatch(thing.name) and owner.fullmatch(thing.schema):
            rows.append((session.database, thing.schema, thing.name, kind, None))
    rows.sort(key=lambda row: (str(row[3]), str(row[0]), str(row[1]), str(row[2])))
    yield from call.result(_TABLES, rows)


_COLUMN_HEAD = (
    "TABLE_QUALIFIER name, TABLE_OWNER name, TABLE_NAME name, COLUMN_NAME name, "
    "DATA_TYPE smallint, TYPE_NAME name, PRECISION int, LENGTH int, SCALE smallint, "
    "RADIX smallint, NULLABLE smallint, REMARKS varchar, COLUMN_DEF default, "
    "SQL_DATA_TYPE smallint, SQL_DATETIME_SUB smallint, CHAR_OCTET_LENGTH int, "
    "ORDINAL_POSITION int, IS_NULLABLE varchar"
)
_COLUMNS = _columns(f"{_COLUMN_HEAD}, SS_DATA_TYPE tinyint")
_COLUMNS_100 = _columns(
    f"{_COLUMN_HEAD}, SS_IS_SPARSE smallint, SS_IS_COLUMN_SET smallint, "
    "SS_IS_COMPUTED smallint, SS_IS_IDENTITY smallint, SS_UDT_CATALOG_NAME name, "
    "SS_UDT_SCHEMA_NAME name, SS_UDT_ASSEMBLY_TYPE_NAME default, "
    "SS_XML_SCHEMACOLLECTION_CATALOG_NAME name, SS_XML_SCHEMACOLLECTION_SCHEMA_NAME name, "
    "SS_XML_SCHEMACOLLECTION_NAME name, SS_DATA_TYPE tinyint"
)
_SS_DATA_TYPES = {
    "bit": (50, 50),
    "tinyint": (48, 38),
    "smallint": (52, 38),
    "int": (56, 38),
    "bigint": (63, 108),
    "decimal": (55, 106),
    "numeric": (63, 108),
    "money": (60, 110),
    "smallmoney": (122, 110),
    "real": (59, 109),
    "float": (62, 109),
    "datetime": (61, 111),
    "smalldatetime": (58, 111),
    "char": (47, 39),
    "nchar": (47, 39),
    "varchar": (39, 39),
    "nvarchar": (39, 39),
    "text": (35, 35),
    "ntext": (35, 35),
    "binary": (45, 37),
    "timestamp": (45, 37),
    "varbinary": (37, 37),
    "image": (34, 34),
    "uniqueidentifier": (37, 37),
    "sql_variant": (39, 39),
    "xml": (0, 0),
}


def _column_row(call: Call, owner: Table | View, column: Column, modern: bool) -> Row:
    sql_type = column.type
    code, sub = odbctypes.sql_data_type(sql_type)
    type_name = sql_type.kind.value
    if column.identity is not None:
        type_name = f"{type_name}{'()' if type_name in ('decimal', 'numeric') else ''} identity"
    default = column.default.expression if column.default is not None else None
    row: Row = (
        *(call.session.database, owner.schema, owner.name, column.name),
        *(odbctypes.CODES[sql_type.kind], type_name, odbctypes.column_size(sql_type)),
        *(odbctypes.buffer_length(sql_type), odbctypes.decimal_digits(sql_type)),
        *(odbctypes.radix(sql_type), int(column.nullable), None, default, code, sub),
        *(odbctypes.octet_length(sql_type), column.column_id),
        "YES" if column.nullable else "NO",
    )
    data_type = _SS_DATA_TYPES.get(sql_type.kind.value, (0, 0))[int(column.nullable)]
    if not modern:
        return (*row, data_type)
    computed = int(column.computed is not None)
    identity = int(column.identity is not None)
    return (*row, 0, 0, computed, identity, None, None, None, None, None, None, data_type)


def _list_columns(call: Call, modern: bool) -> Iterator[Step]:
    bound = call.bind(
        "@table_name",
        "@table_owner",
        "@table_qualifier",
        "@column_name",
        *(("@namescope",) if modern else ()),
        "@odbcver",
        "@fusepattern",
    )
    use_pattern = bool(whole(bound.get("@fusepattern"), 1))
    table = _pattern(bound.get("@table_name"), use_pattern)
    owner = _pattern(bound.get("@table_owner"), use_pattern)
    wanted = _pattern(bound.get("@column_name"), use_pattern)
    catalog = _catalog(call)
    rows: list[Row] = []
    things: list[Table | View] = [*catalog.tables, *catalog.views]
    for thing in things:
        if table.fullmatch(thing.name) and owner.fullmatch(thing.schema):
            rows.extend(
                _column_row(call, thing, column, modern)
                for column in thing.columns
                if wanted.fullmatch(column.name)
            )
    rows.sort(key=lambda row: (str(row[0]), str(row[1]), str(row[2]), int(row[16] or 0)))
    yield from call.result(_COLUMNS_100 if modern else _COLUMNS, rows)


def sp_columns(call: Call) -> Iterator[Step]:
    yield from _list_columns(call, modern=False)


def sp_columns_100(call: Call) -> Iterator[Step]:
    yield from _list_columns(call, modern=True)


def _table(call: Call, name: Argument | None, owner: Argument | None) -> Table | None:
    wanted, schema = _exact(name), _exact(owner) or DBO
    return next(
        (
            table
            for table in _catalog(call).tables
            if fold(table.name) == wanted and fold(table.schema) == schema
        ),
        None,
    )


_PKEYS = _columns(
    "TABLE_QUALIFIER name, TABLE_OWNER name, TABLE_NAME name, COLUMN_NAME name, "
    "KEY_SEQ smallint, PK_NAME name"
)


def sp_pkeys(call: Call) -> Iterator[Step]:
    bound = call.bind("@table_name", "@table_owner", "@table_qualifier")
    table = _table(call, bound.get("@table_name"), bound.get("@table_owner"))
    key = primary_key(table) if table is not None else None
    rows: list[Row] = []
    if table is not None and key is not None:
        for number, column in enumerate(key.columns, start=1):
            place = (call.session.database, table.schema, table.name)
            rows.append((*place, column.name, number, key.name))
    yield from call.result(_PKEYS, rows)


_FKEYS = _columns(
    "PKTABLE_QUALIFIER name, PKTABLE_OWNER name, PKTABLE_NAME name, PKCOLUMN_NAME name, "
    "FKTABLE_QUALIFIER name, FKTABLE_OWNER name, FKTABLE_NAME name, FKCOLUMN_NAME name, "
    "KEY_SEQ smallint, UPDATE_RULE smallint, DELETE_RULE smallint, FK_NAME name, PK_NAME name, "
    "DEFERRABILITY smallint"
)
_RULES = {"CASCADE": 0, "NO_ACTION": 1, "SET_NULL": 2, "SET_DEFAULT": 3}


def sp_fkeys(call: Call) -> Iterator[Step]:
    bound = call.bind(
        "@pktable_name",
        "@pktable_owner",
        "@pktable_qualifier",
        "@fktable_name",
        "@fktable_owner",
        "@fktable_qualifier",
    )
    parent_name, child_name = _exact(bound.get("@pktable_name")), _exact(bound.get("@fktable_name"))
    catalog = _catalog(call)
    rows: list[Row] = []
    for child in catalog.tables:
        if child_name is not None and fold(child.name) != child_name:
            continue
        for foreign_key in child.foreign_keys:
            parent = catalog.referenced_table(foreign_key)
            if parent is None or (parent_name is not None and fold(parent.name) != parent_name):
                continue
            key = primary_key(parent)
            pairs = zip(foreign_key.referenced_columns, foreign_key.columns, strict=True)
            for number, (key_column, column) in enumerate(pairs, start=1):
                rows.append(
                    (
                        *(call.session.database, parent.schema, parent.name, key_column),
                        *(call.session.database, child.schema, child.name, column, number),
                        _RULES[foreign_key.on_update.value],
                        _RULES[foreign_key.on_delete.value],
                        *(foreign_key.name, key.name if key is not None else None, 7),
                    )
                )
    yield from call.result(_FKEYS, rows)


_STATISTICS = _columns(
    "TABLE_QUALIFIER name, TABLE_OWNER name, TABLE_NAME name, NON_UNIQUE smallint, "
    "INDEX_QUALIFIER name, INDEX_NAME name, TYPE smallint, SEQ_IN_INDEX smallint, "
    "COLUMN_NAME name, COLLATION varchar32, CARDINALITY int, PAGES int, FILTER_CONDITION filter"
)


def sp_statistics(call: Call) -> Iterator[Step]:
    bound = call.bind(
        "@table_name", "@table_owner", "@table_qualifier", "@index_name", "@is_unique", "@accuracy"
    )
    table = _table(call, bound.get("@table_name"), bound.get("@table_owner"))
    only_unique = (text(bound.get("@is_unique")) or "N").upper() == "Y"
    wanted = _pattern(bound.get("@index_name"))
    rows: list[Row] = []
    if table is not None:
        place = (call.session.database, table.schema, table.name)
        rows.append((*place, None, None, None, 0, None, None, None, None, None, None))
        for index in sorted(table.indexes, key=lambda index: (not index.kind.unique, index.name)):
            if (only_unique and not index.kind.unique) or not wanted.fullmatch(index.name):
                continue
            for number, column in enumerate(index.columns, start=1):
                rows.append(
                    (
                        *(*place, int(not index.kind.unique), table.name, index.name),
                        *(1 if index.clustered else 3, number, column.name),
                        *("D" if column.descending else "A", None, None, index.filter),
                    )
                )
    yield from call.result(_STATISTICS, rows)


_SPECIAL = _columns(
    "SCOPE smallint, COLUMN_NAME name, DATA_TYPE smallint, TYPE_NAME name, PRECISION int, "
    "LENGTH int, SCALE smallint, PSEUDO_COLUMN smallint"
)


def sp_special_columns(call: Call) -> Iterator[Step]:
    bound = call.bind(
        "@table_name",
        "@table_owner",
        "@table_qualifier",
        "@col_type",
        "@scope",
        "@nullable",
        "@odbcver",
    )
    table = _table(call, bound.get("@table_name"), bound.get("@table_owner"))
    rows: list[Row] = []
    if table is not None and (text(bound.get("@col_type")) or "R").upper() == "R":
        unique = next((i for i in table.indexes if i.kind is IndexKind.PRIMARY_KEY), None) or next(
            (i for i in table.indexes if i.kind.unique), None
        )
        for key in unique.columns if unique is not None else ():
            column = table.column(key.name)
            if column is None:
                continue
            sql_type = column.type
            rows.append(
                (
                    *(1, column.name, odbctypes.CODES[sql_type.kind], sql_type.kind.value),
                    *(odbctypes.column_size(sql_type), odbctypes.buffer_length(sql_type)),
                    *(odbctypes.decimal_digits(sql_type), 1),
                )
            )
    yield from call.result(_SPECIAL, rows)


_SPROCS = _columns(
    "PROCEDURE_QUALIFIER name, PROCEDURE_OWNER name, PROCEDURE_NAME name, NUM_INPUT_PARAMS int, "
    "NUM_OUTPUT_PARAMS int, NUM_RESULT_SETS int, REMARKS varchar, PROCEDURE_TYPE smallint"
)


def sp_stored_procedures(call: Call) -> Iterator[Step]:
    yield from call.result(_SPROCS, [])


_DATABASES = _columns("DATABASE_NAME name, DATABASE_SIZE int, REMARKS varchar")


def sp_databases(call: Call) -> Iterator[Step]:
    rows: list[Row] = [
        (database.name, max(1, database.path.stat().st_size // 1024), None)
        for database in call.session.engine.databases
    ]
    yield from call.result(_DATABASES, rows)

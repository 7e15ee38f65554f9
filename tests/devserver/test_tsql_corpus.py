"""Every query and modification that mssql-django sent while it migrated and worked."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from mssql_async.devserver.sqltypes import StorageValue
from mssql_async.devserver.tsql import compiler
from mssql_async.devserver.tsql import statements as st
from mssql_async.devserver.tsql.parser import parse_batch

from .test_tsql_parser import numbered
from .tsql_world import World

CORPUS = json.loads((Path(__file__).parent / "test_tsql_django_sql.json").read_text())

PARAMETERS: dict[str, tuple[str, StorageValue]] = {
    "str": ("nvarchar(20)", "2024"),
    "int": ("int", 1),
    "Decimal": ("numeric(5,2)", "1.50"),
    "datetime": ("datetimeoffset(6)", "2024-01-02 03:04:05.0000000+00:00"),
    "bool": ("bit", 1),
    "float": ("float", 1.5),
    "bytearray": ("varbinary(10)", b"ab"),
    "NoneType": ("nvarchar(1)", None),
}
NAME = "nvarchar(128)"
VIEWS = {
    "INFORMATION_SCHEMA.TABLES": f"TABLE_SCHEMA {NAME} TABLE_NAME {NAME} TABLE_TYPE varchar(10)",
    "INFORMATION_SCHEMA.KEY_COLUMN_USAGE": f"constraint_name {NAME} table_schema {NAME} "
    f"table_name {NAME} column_name {NAME} ordinal_position int",
    "INFORMATION_SCHEMA.TABLE_CONSTRAINTS": f"constraint_name {NAME} table_schema {NAME} "
    f"table_name {NAME} constraint_type varchar(11)",
    "INFORMATION_SCHEMA.CONSTRAINT_COLUMN_USAGE": f"constraint_name {NAME} table_schema {NAME} "
    f"constraint_schema {NAME} table_name {NAME} column_name {NAME}",
    "INFORMATION_SCHEMA.CONSTRAINT_TABLE_USAGE": f"constraint_name {NAME} table_name {NAME} "
    f"constraint_schema {NAME}",
    "INFORMATION_SCHEMA.REFERENTIAL_CONSTRAINTS": f"constraint_name {NAME} "
    f"constraint_schema {NAME} unique_constraint_name {NAME} delete_rule varchar(11)",
    "sys.tables": f"name {NAME} object_id int schema_id int",
    "sys.extended_properties": f"name {NAME} major_id int minor_id int value sql_variant",
    "sys.columns": f"name {NAME} object_id int column_id int collation_name {NAME} is_identity bit",
    "sys.indexes": f"name {NAME} object_id int index_id int is_unique bit "
    "is_unique_constraint bit is_primary_key bit type tinyint type_desc nvarchar(60)",
    "sys.index_columns": "object_id int index_id int index_column_id int column_id int "
    "is_descending_key bit",
    "sys.schemas": f"name {NAME} schema_id int",
    "sys.foreign_key_columns": "parent_object_id int parent_column_id int "
    "referenced_object_id int referenced_column_id int",
    "sys.default_constraints": f"name {NAME} parent_object_id int parent_column_id int",
}


@pytest.fixture(scope="module")
def world() -> World:
    """The tables as they are after the migrations."""
    world = World()
    for name, text in VIEWS.items():
        words = text.split()
        world.system(name, dict(zip(words[::2], words[1::2], strict=True)), [])
    for entry in CORPUS["migrate"]:
        for statement in parse_batch(numbered(entry["sql"])):
            if isinstance(statement, st.CreateTable):
                world.create(statement.text)
            elif isinstance(statement, st.AlterColumn | st.DropFromTable):
                _alter(world, statement)
    return world


def _alter(world: World, statement: st.AlterColumn | st.DropFromTable) -> None:
    key = statement.table.name.lower()
    table = world.tables[key]
    if isinstance(statement, st.AlterColumn):
        to = statement.column
        columns = [
            replace(c, type=to.type, nullable=to.nullable is not False)
            if c.name == to.name and to.type is not None
            else c
            for c in table.columns
        ]
    else:
        columns = [c for c in table.columns if c.name not in statement.columns]
        for name in statement.columns:
            world.connection.execute(f'ALTER TABLE "{table.name}" DROP COLUMN "{name}"')
    world.tables[key] = replace(table, columns=tuple(columns))


@pytest.mark.parametrize(
    "entry",
    [
        entry
        for group in CORPUS.values()
        for entry in group
        if not entry["sql"].lstrip().startswith(("CREATE", "ALTER", "EXEC", "SAVE", "ROLLBACK"))
    ],
    ids=lambda entry: entry["sql"].strip()[:60],
)
def test_it_compiles_and_runs(world: World, entry: dict[str, object]) -> None:
    world.variables.clear()
    parameters = entry["params"]
    assert isinstance(parameters, list)
    for position, kind in enumerate(parameters, start=1):
        type_text, value = PARAMETERS[kind]
        world.declare(f"@P{position}", type_text, value)
    world.connection.execute("BEGIN")
    try:
        for statement in parse_batch(numbered(str(entry["sql"]))):
            if isinstance(statement, st.Declare):
                for name, to, _ in statement.variables:
                    world.declare(name, str(to), 1)
            elif isinstance(statement, st.Query | st.Insert | st.Update | st.Delete):
                if isinstance(statement, st.Insert):
                    # A NULL arrives with the type of its column.
                    _type_nulls(world, statement)
                plan = compiler.compile_statement(statement, world)
                if not (isinstance(statement, st.Insert) and None in _values(world)):
                    world.execute(plan)
    finally:
        world.connection.execute("ROLLBACK")


def _values(world: World) -> list[StorageValue]:
    return [value for _, value in world.variables.values()]


def _type_nulls(world: World, statement: st.Insert) -> None:
    table = world.tables[statement.tree.args["target"].name.lower()]
    query = statement.tree.args["query"]
    for row in query.expressions:
        for name, cell in zip(statement.tree.args["columns"], row.expressions, strict=True):
            column = table.column(name)
            assert column is not None
            if world.variables[cell.this.lower()][1] is None:
                world.variables[cell.this.lower()] = column.type, None

"""Expressions over the rows of a table: checks, filters, defaults, computed columns; and
columns that change their type."""

from __future__ import annotations

import sqlite3

import pytest

from mssql_async.devserver.errors import NotSupportedByStandIn, SqlError
from mssql_async.devserver.schema import Column
from mssql_async.devserver.sqltypes import StorageValue
from mssql_async.devserver.tsql import compiler
from mssql_async.devserver.tsql.parser import parse_expression, parse_type

from .tsql_world import World


@pytest.fixture
def world() -> World:
    world = World()
    world.create("CREATE TABLE t (id int NOT NULL, name nvarchar(5) NULL, n numeric(5,2) NULL)")
    return world


@pytest.mark.parametrize(
    ("check", "name", "n", "expected"),
    [
        ("([n] >= 0)", "a", "1.00", 1),
        ("([n] >= 0)", "a", "-1.00", 0),
        ("([n] >= 0)", "a", None, None),
        ("(LEN([name]) > (1) AND [name] LIKE 'A%')", "ab", None, 1),
        ('ISJSON ("name") = 1', "{}", None, 1),
        ("[name] IN ('X', 'y')", "x", None, 1),
        ("[n] IS NOT NULL OR [name] IS NULL", None, None, 1),
    ],
)
def test_a_check_runs_in_a_trigger(
    world: World, check: str, name: StorageValue, n: StorageValue, expected: StorageValue
) -> None:
    sql = compiler.compile_table_expression(check, world.tables["t"], "NEW", predicate=True)
    world.connection.execute("CREATE TABLE log (found)")
    world.connection.execute(
        f"CREATE TRIGGER r BEFORE INSERT ON t BEGIN INSERT INTO log SELECT {sql}; END"
    )
    world.connection.execute("INSERT INTO t VALUES (1, ?, ?)", (name, n))
    assert world.connection.execute("SELECT found FROM log").fetchall() == [(expected,)]


def test_a_filter_makes_a_partial_index_that_queries_use(world: World) -> None:
    text = "[name] IS NOT NULL AND [n] IS NOT NULL"
    sql = compiler.compile_table_expression(text, world.tables["t"], "", predicate=True)
    world.connection.execute(f"CREATE UNIQUE INDEX i ON t (name, n) WHERE {sql}")
    world.run("INSERT INTO t VALUES (1, N'a', 1), (2, NULL, 1), (3, NULL, 1)")
    with pytest.raises(sqlite3.IntegrityError):
        world.run("INSERT INTO t VALUES (4, N'A ', 1.0)")
    plan = world.compile("SELECT id FROM t WHERE name = 'a' AND n = 1")
    steps = world.connection.execute(f"EXPLAIN QUERY PLAN {plan.sql}").fetchall()
    assert any("USING INDEX i" in step[3] for step in steps)


def test_a_computed_column_has_the_type_of_its_expression(world: World) -> None:
    found = compiler.type_table_expression("[n] * 2", world.tables["t"])
    assert (str(found.type), found.nullable) == ("numeric(7,2)", True)


def test_table_expressions_know_no_variables_and_no_other_tables(world: World) -> None:
    for text in ("@x > 1", "EXISTS (SELECT 1 FROM t)"):
        with pytest.raises(NotSupportedByStandIn):
            compiler.compile_table_expression(text, world.tables["t"], "NEW", predicate=True)
    with pytest.raises(SqlError, match="nope"):
        compiler.compile_table_expression("nope = 1", world.tables["t"], "NEW", predicate=True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1 = 1", 1), ("1 = 2", 0), ("NULL = 1", None), ("EXISTS (SELECT 1 FROM t)", 0)],
)
def test_a_predicate_is_one_row(world: World, text: str, expected: StorageValue) -> None:
    plan = compiler.compile_predicate(parse_expression(text), world)
    assert world.execute(plan) == [(expected,)]


def test_an_expression_is_converted_to_its_target(world: World) -> None:
    world.declare("@x", "int", 5)
    plan = compiler.compile_expression(parse_expression("@x + 1"), world, parse_type("varchar(9)"))
    assert world.execute(plan) == [("6",)]
    assert str(plan.columns[0].type) == "varchar(9)"


@pytest.mark.parametrize(
    ("source", "target", "value", "expected"),
    [
        ("int", "varchar(5)", 7, "7"),
        ("nvarchar(9)", "int", "12", 12),
        ("numeric(5,2)", "numeric(6,1)", "1.25", "1.3"),
        ("date", "datetime2(0)", "2024-01-02", "2024-01-02 00:00:00.0000000"),
        ("datetime2(7)", "datetimeoffset(7)", "2024-01-02 00:00:00.0000000",
         "2024-01-02 00:00:00.0000000+00:00"),
    ],
)  # fmt: skip
def test_a_column_changes_its_type(
    world: World, source: str, target: str, value: StorageValue, expected: StorageValue
) -> None:
    sql = compiler.convert_expression("?1", parse_type(source), parse_type(target))
    assert world.connection.execute(f"SELECT {sql}", (value,)).fetchone() == (expected,)


@pytest.mark.parametrize(
    ("target", "nullable", "value", "number"),
    [
        ("nvarchar(2)", True, "abc", 2628),
        ("nvarchar(9)", False, None, 515),
        ("int", True, "abc", 245),
    ],
)
def test_a_column_does_not_change_where_a_value_would_be_lost(
    world: World, target: str, nullable: bool, value: StorageValue, number: int
) -> None:
    before = Column("c", parse_type("nvarchar(9)"))
    after = Column("c", parse_type(target), nullable=nullable)
    sql = compiler.convert_stored("?1", before, after, "shop.dbo.t")
    with pytest.raises(sqlite3.OperationalError):
        world.connection.execute(f"SELECT {sql}", (value,)).fetchone()
    found = world.runtime.take_error()
    assert found is not None
    assert found.number == number
    assert world.runtime.take_error() is None


@pytest.mark.parametrize(
    ("type_text", "declared"),
    [
        ("int", '"c" INTEGER'),
        ("nvarchar(5)", '"c" TEXT COLLATE MSSQL_CI_AS'),
        ("nvarchar(5) COLLATE Latin1_General_CS_AS", '"c" TEXT COLLATE MSSQL_CS_AS'),
        ("numeric(5,2)", '"c" TEXT COLLATE MSSQL_DECIMAL'),
        ("datetimeoffset", '"c" TEXT COLLATE MSSQL_OFFSET'),
        ("uniqueidentifier", '"c" TEXT COLLATE MSSQL_GUID'),
        ("float", '"c" REAL'),
        ("varbinary(max)", '"c" BLOB'),
        ("sql_variant", '"c" BLOB'),
        ("datetime2", '"c" TEXT'),
    ],
)
def test_a_column_is_declared_with_affinity_and_collation(type_text: str, declared: str) -> None:
    assert compiler.column_definition(Column("c", parse_type(type_text))) == declared

"""System views, metadata functions and system procedures."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mssql_async.devserver.engine import SqlEngine
from mssql_async.devserver.engine.systemviews.definition import VIEWS
from mssql_async.devserver.protocols import Parameter
from mssql_async.devserver.sqltypes import SMALLINT, TINYINT
from tests.devserver.engine_door import Door, numbers, opened, text


@pytest.fixture(scope="module")
def engine() -> Iterator[SqlEngine]:
    with opened() as engine:
        yield engine


@pytest.fixture(scope="module")
def door(engine: SqlEngine) -> Door:
    door = Door(engine)
    door.run(
        """
        CREATE TABLE author (id bigint IDENTITY(1, 1) CONSTRAINT pk_author PRIMARY KEY,
            name nvarchar(50) NOT NULL CONSTRAINT uq_name UNIQUE);
        CREATE TABLE book (id int PRIMARY KEY, title nvarchar(max) NULL,
            price decimal(8, 2) NOT NULL CONSTRAINT df_price DEFAULT 9.5,
            author_id bigint NULL CONSTRAINT fk_author REFERENCES author (id),
            made datetimeoffset NULL, uid uniqueidentifier NULL, data varbinary(20) NULL,
            code char(3) COLLATE Latin1_General_CS_AS NULL, dbl float NULL,
            CONSTRAINT ck_price CHECK (price > 0));
        CREATE INDEX ix_author ON book (author_id DESC) INCLUDE (price) WHERE author_id > 5;
        """
    )
    return door


@pytest.mark.parametrize("name", sorted(VIEWS))
def test_every_view_has_rows_as_wide_as_its_columns(door: Door, name: str) -> None:
    definition = VIEWS[name]
    outcome = door.run(f"SELECT * FROM {definition.view.name}")
    assert outcome.columns == tuple(column.name for column in definition.view.columns)


class TestViews:
    def test_columns(self, door: Door) -> None:
        rows = door.rows(
            "SELECT c.name, t.name, c.max_length, c.precision, c.scale, c.is_nullable "
            "FROM sys.columns c JOIN sys.types t ON t.user_type_id = c.user_type_id "
            "WHERE c.object_id = OBJECT_ID('book') ORDER BY c.column_id"
        )
        assert rows[:5] == [
            ("id", "int", 4, 10, 0, 0),
            ("title", "nvarchar", -1, 0, 0, 1),
            ("price", "decimal", 5, 8, 2, 0),
            ("author_id", "bigint", 8, 19, 0, 1),
            ("made", "datetimeoffset", 10, 34, 7, 1),
        ]
        assert door.value("SELECT collation_name FROM sys.columns WHERE name = 'code'") == (
            "Latin1_General_CS_AS"
        )

    def test_indexes_and_their_columns(self, door: Door) -> None:
        rows = door.rows(
            "SELECT i.name, i.is_unique, i.has_filter, c.name, ic.is_descending_key, "
            "ic.is_included_column FROM sys.indexes i JOIN sys.index_columns ic "
            "ON ic.object_id = i.object_id AND ic.index_id = i.index_id JOIN sys.columns c "
            "ON c.object_id = ic.object_id AND c.column_id = ic.column_id "
            "WHERE i.name IN ('ix_author', 'uq_name') ORDER BY i.name, ic.index_column_id"
        )
        assert rows == [
            ("ix_author", 0, 1, "author_id", 1, 0),
            ("ix_author", 0, 1, "price", 0, 1),
            ("uq_name", 1, 0, "name", 0, 0),
        ]

    def test_foreign_keys(self, door: Door) -> None:
        assert door.rows(
            "SELECT name, OBJECT_NAME(parent_object_id), OBJECT_NAME(referenced_object_id), "
            "delete_referential_action_desc FROM sys.foreign_keys"
        ) == [("fk_author", "book", "author", "NO_ACTION")]

    def test_constraints_of_information_schema(self, door: Door) -> None:
        rows = door.rows(
            "SELECT CONSTRAINT_NAME, CONSTRAINT_TYPE FROM INFORMATION_SCHEMA.TABLE_CONSTRAINTS "
            "WHERE CONSTRAINT_NAME NOT LIKE 'PK[_][_]%' ORDER BY 1"
        )
        assert rows == [
            ("ck_price", "CHECK"),
            ("fk_author", "FOREIGN KEY"),
            ("pk_author", "PRIMARY KEY"),
            ("uq_name", "UNIQUE"),
        ]
        assert door.rows(
            "SELECT COLUMN_NAME FROM INFORMATION_SCHEMA.CONSTRAINT_COLUMN_USAGE "
            "WHERE CONSTRAINT_NAME = 'ck_price'"
        ) == [("price",)]

    def test_another_databases_views(self, door: Door) -> None:
        assert door.value("SELECT COUNT(*) FROM master.sys.tables") == 0
        assert door.value("SELECT COUNT(*) FROM app.sys.tables WHERE name = 'book'") == 1

    def test_databases_and_locks(self, door: Door) -> None:
        names = {row[0] for row in door.rows("SELECT name FROM sys.databases")}
        assert {"master", "tempdb", "app"} <= names
        door.run("BEGIN TRAN; INSERT author VALUES ('locks')")
        assert door.rows(
            "SELECT resource_type, request_mode, request_status FROM sys.dm_tran_locks "
            "WHERE request_session_id = @@SPID"
        ) == [("DATABASE", "X", "GRANT")]
        door.run("ROLLBACK")


class TestFunctions:
    @pytest.mark.parametrize(
        ("expression", "value"),
        [
            ("OBJECT_NAME(OBJECT_ID('dbo.book'))", "book"),
            ("OBJECT_ID('nothing')", None),
            ("OBJECT_ID('fk_author', 'F') - OBJECT_ID('dbo.fk_author')", 0),
            ("OBJECT_ID('book', 'V')", None),
            ("COL_NAME(OBJECT_ID('book'), 2)", "title"),
            ("COLUMNPROPERTY(OBJECT_ID('[author]'), 'id', 'IsIdentity')", 1),
            ("COLUMNPROPERTY(OBJECT_ID('book'), 'title', 'AllowsNull')", 1),
            ("OBJECTPROPERTY(OBJECT_ID('author'), 'TableHasIdentity')", 1),
            ("COL_LENGTH('author', 'name')", 100),
            ("SCHEMA_NAME()", "dbo"),
            ("SCHEMA_ID('dbo')", 1),
            ("DB_NAME(DB_ID('master'))", "master"),
            ("TYPE_NAME(231)", "nvarchar"),
            ("DATABASEPROPERTYEX('app', 'Collation')", "SQL_Latin1_General_CP1_CI_AS"),
            ("SERVERPROPERTY('EngineEdition')", 3),
            ("SUSER_SNAME()", "sa"),
            ("CURRENT_USER", "dbo"),
            ("@@NESTLEVEL", 0),
        ],
    )
    def test_values(self, door: Door, expression: str, value: object) -> None:
        assert door.value(f"SELECT {expression}") == value

    def test_an_unknown_one_is_named(self, door: Door) -> None:
        assert door.attempt("SELECT NO_SUCH_FUNCTION(1)").errors[0].number in (195, 4121)


class TestProcedures:
    def test_datatype_info_answers_the_drivers_first_question(self, door: Door) -> None:
        outcome = door.call(
            "[sys].sp_datatype_info_100",
            Parameter("", SMALLINT, 12),
            Parameter("ODBCVer", TINYINT, 4),
        )
        assert len(outcome.columns) == 20
        assert [row[0] for row in outcome.rows] == ["varchar"]
        assert outcome.status == 0

    def test_columns_as_odbc_sees_them(self, door: Door) -> None:
        outcome = door.call("sp_columns_100", text("book"), text("dbo"))
        assert [(row[3], row[4], row[5], row[6], row[10]) for row in outcome.rows][:5] == [
            ("id", 4, "int", 10, 0),
            ("title", -9, "nvarchar", 0, 1),
            ("price", 3, "decimal", 8, 0),
            ("author_id", -5, "bigint", 19, 1),
            ("made", -155, "datetimeoffset", 34, 1),
        ]
        identity = door.call("sp_columns_100", text("author"), text(None), text(None), text("i%"))
        assert identity.rows[0][5] == "bigint identity"

    def test_keys_and_statistics(self, door: Door) -> None:
        assert door.run("EXEC sp_pkeys 'author'").rows[0][3:] == ("id", 1, "pk_author")
        (foreign,) = door.run("EXEC sp_fkeys @fktable_name = 'book'").rows
        assert (foreign[2], foreign[3], foreign[6], foreign[7]) == (
            "author",
            "id",
            "book",
            "author_id",
        )
        names = [row[5] for row in door.run("EXEC sp_statistics 'author'").rows]
        assert names == [None, "pk_author", "uq_name"]

    def test_tables_by_pattern(self, door: Door) -> None:
        outcome = door.run("EXEC sp_tables 'b%', @table_type = \"'TABLE'\"")
        assert [row[2] for row in outcome.rows] == ["book"]

    def test_undeclared_parameters_get_the_types_of_their_place(self, door: Door) -> None:
        def types(sql: str) -> list[str]:
            outcome = door.call("sp_describe_undeclared_parameters", text(sql))
            assert outcome.errors == []
            assert len(outcome.columns) == 24
            return [row[3] for row in outcome.rows]

        assert types("SELECT * FROM book WHERE price > @P1 AND title LIKE @P2") == [
            "decimal(8,2)",
            "nvarchar(max)",
        ]
        assert types("INSERT INTO book (id, data, made) VALUES (@P1, @P2, @P3)") == [
            "int",
            "varbinary(20)",
            "datetimeoffset(7)",
        ]
        assert types("UPDATE b SET b.uid = @P1 FROM book AS b WHERE b.id IN (@P2, @P3)") == [
            "uniqueidentifier",
            "int",
            "int",
        ]
        assert types("SELECT @P1") == ["nvarchar(4000)"]

    def test_extended_properties(self, door: Door) -> None:
        place = "'SCHEMA', 'dbo', 'TABLE', 'book'"
        door.run(f"EXEC sp_addextendedproperty 'MS_Description', 'about books', {place}")
        door.run(
            f"EXEC sp_addextendedproperty 'MS_Description', 'cost', {place}, 'COLUMN', 'price'"
        )
        assert (
            door.error(f"EXEC sp_addextendedproperty 'MS_Description', 'x', {place}").number
            == 15233
        )
        door.run(f"EXEC sp_updateextendedproperty 'ms_description', 'all books', {place}")
        assert door.rows(
            "SELECT minor_id, value FROM sys.extended_properties "
            "WHERE major_id = OBJECT_ID('book') ORDER BY minor_id"
        ) == [(0, "all books"), (3, "cost")]
        door.run(f"EXEC sp_dropextendedproperty 'MS_Description', {place}")
        assert door.error(f"EXEC sp_dropextendedproperty 'MS_Description', {place}").number == 15217

    def test_session_context(self, door: Door) -> None:
        door.run("EXEC sp_set_session_context N'tenant', 7, @read_only = 1")
        assert door.value("SELECT SESSION_CONTEXT(N'TENANT')") == 7
        assert door.error("EXEC sp_set_session_context N'tenant', 8").number == 15664

    def test_configuration_is_remembered(self, door: Door) -> None:
        door.run("sp_configure 'clr enabled', 1")
        door.run("RECONFIGURE")
        assert (
            door.value("SELECT value_in_use FROM sys.configurations WHERE name = 'clr enabled'")
            == 1
        )
        assert door.error("EXEC sp_configure 'warp drive', 1").number == 15123

    def test_what_only_drivers_may_call_does_not_exist(self, door: Door) -> None:
        assert numbers(door.call("sp_reset_connection")) == [2812]

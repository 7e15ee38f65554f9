"""INSERT, UPDATE, DELETE, MERGE: what they store, refuse and give back."""

from __future__ import annotations

import pytest

from mssql_async.devserver.results import Command
from mssql_async.devserver.tsql.plan import LockIntent

from .tsql_world import World


@pytest.fixture
def world() -> World:
    world = World()
    world.create(
        "CREATE TABLE t (id int NOT NULL IDENTITY(1,1), name nvarchar(5) NOT NULL, "
        "code char(3) NULL, price numeric(6,2) NULL, n int NOT NULL DEFAULT ((7)), "
        "at datetime2(3) NULL DEFAULT (sysdatetime()), twice AS (n * 2), bin varbinary(3) NULL, "
        "g uniqueidentifier NULL DEFAULT (newid()))"
    )
    world.create("CREATE TABLE other (id int NOT NULL, label varchar(10) NULL)")
    world.create("CREATE TABLE lonely (id bigint NOT NULL IDENTITY(1,1))")
    world.run("INSERT INTO t (name, price) VALUES (N'a', 1), (N'b', 2.5), (N'c', NULL)")
    world.run("INSERT INTO other VALUES (1, 'one'), (3, 'three')")
    return world


def test_values_take_the_form_of_their_columns(world: World) -> None:
    world.run("INSERT INTO t (name, code, price, n, at, bin) "
              "VALUES ('x', 'y', 1.005, '12', '2024-01-02T03:04:05.6789', 0x0102)")  # fmt: skip
    assert world.run("SELECT name, code, price, n, at, bin FROM t WHERE id = 4") == [
        ("x", "y  ", "1.01", 12, "2024-01-02 03:04:05.6790000", b"\x01\x02")
    ]


def test_columns_left_out_get_identity_default_or_null(world: World) -> None:
    world.run("INSERT INTO t (name) VALUES (N'x')")
    assert world.run("SELECT id, code, n, twice FROM t WHERE name = 'x'") == [(4, None, 7, 14)]
    assert world.run("SELECT CAST(SCOPE_IDENTITY() AS bigint)") == [(4,)]
    assert world.run("SELECT COUNT(*) FROM t WHERE at IS NULL OR g IS NULL") == [(0,)]


def test_the_keyword_default_stands_for_a_default(world: World) -> None:
    world.run("INSERT INTO t (name, n, code) VALUES (N'x', DEFAULT, DEFAULT), (N'y', 1, 'z')")
    assert world.run("SELECT n, code FROM t WHERE id > 3") == [(7, None), (1, "z  ")]
    world.run("UPDATE t SET n = DEFAULT WHERE id = 5")
    assert world.run("SELECT n FROM t WHERE id = 5") == [(7,)]


def test_default_values_make_a_row(world: World) -> None:
    world.run("INSERT INTO lonely DEFAULT VALUES; INSERT INTO lonely DEFAULT VALUES")
    assert world.run("SELECT id FROM lonely") == [(1,), (2,)]


def test_a_query_fills_a_table(world: World) -> None:
    world.run("INSERT INTO other (id, label) SELECT id, name FROM t WHERE price > 1")
    assert world.run("SELECT id, label FROM other") == [(1, "one"), (3, "three"), (2, "b")]


def test_identity_follows_the_order_of_the_query(world: World) -> None:
    world.run("INSERT INTO t (name) SELECT label FROM other ORDER BY label DESC")
    assert world.run("SELECT id, name FROM t WHERE id > 3") == [(4, "three"), (5, "one")]


def test_explicit_identity_values_need_the_setting(world: World) -> None:
    assert world.error("INSERT INTO t (id, name) VALUES (9, N'x')").number == 544
    world.identity_inserts.add(world.tables["t"].object_id)
    world.run("INSERT INTO t (id, name) VALUES (9, N'x')")
    assert world.error("INSERT INTO t (name) VALUES (N'x')").number == 545
    world.identity_inserts.clear()
    world.run("INSERT INTO t (name) VALUES (N'y')")
    assert world.run("SELECT id FROM t WHERE name = 'y'") == [(10,)]


@pytest.mark.parametrize(
    ("sql", "number", "fragment"),
    [
        ("INSERT INTO t (name) VALUES (NULL)", 515, "'name', table 'shop.dbo.t'"),
        ("INSERT INTO t (code) VALUES ('x')", 515, "INSERT fails"),
        ("UPDATE t SET name = NULL", 515, "UPDATE fails"),
        ("UPDATE t SET name = code", 515, "'name'"),
        ("INSERT INTO t (name) SELECT label FROM other o RIGHT JOIN t ON t.id = o.id", 515, "name"),
        ("INSERT INTO t (name) VALUES (N'123456')", 2628, "'name'. Truncated value: '12345'"),
        ("INSERT INTO t (name, code) VALUES (N'x', 'abcd')", 2628, "Truncated value: 'abc'"),
        ("UPDATE t SET name = name + N'12345'", 2628, "'shop.dbo.t'"),
        ("INSERT INTO t (name, bin) VALUES (N'x', 0x01020304)", 2628, "'bin'"),
        ("INSERT INTO t (name, price) VALUES (N'x', 12345.5)", 8115, "numeric"),
        ("INSERT INTO t (name, n) VALUES (N'x', 'abc')", 245, "'abc'"),
        ("INSERT INTO t (name, n) VALUES (N'x', 3000000000)", 8115, "int"),
        ("INSERT INTO t (name, at) VALUES (N'x', 'soon')", 241, "date"),
        ("INSERT INTO t (name, bin) VALUES (N'x', 'abc')", 257, "varbinary"),
        ("INSERT INTO t (name, g) VALUES (N'x', 'abc')", 8169, "uniqueidentifier"),
        ("INSERT INTO t (nope) VALUES (1)", 207, "nope"),
        ("INSERT INTO nope (a) VALUES (1)", 208, "nope"),
        ("INSERT INTO t (name, name) VALUES (1, 2)", 264, "name"),
        ("INSERT INTO t (name, n) VALUES (N'x')", 109, "more columns"),
        ("INSERT INTO t (name) VALUES (N'x', 1)", 110, "fewer columns"),
        ("INSERT INTO t (name, n) SELECT 'x'", 120, "fewer items"),
        ("INSERT INTO t (name) SELECT 'x', 1", 121, "more items"),
        ("INSERT INTO t VALUES (1)", 213, "table definition"),
        ("INSERT INTO t (name, twice) VALUES (N'x', 1)", 271, "twice"),
        ("UPDATE t SET twice = 1", 271, "twice"),
        ("UPDATE t SET id = 1", 8102, "'id'"),
        ("UPDATE t SET n = 1, N = 2", 264, "N"),
        ("UPDATE t SET n = 1 / 0", 8134, "zero"),
        ("DELETE FROM nope", 208, "nope"),
        ("DELETE FROM t WHERE nope = 1", 207, "nope"),
    ],
)  # fmt: skip
def test_what_cannot_be_stored_is_refused(
    world: World, sql: str, number: int, fragment: str
) -> None:
    before = world.run("SELECT * FROM t")
    failure = world.error(sql)
    assert failure.number == number
    assert fragment in failure.text
    assert world.run("SELECT * FROM t") == before


def test_blanks_beyond_the_end_of_a_column_are_dropped(world: World) -> None:
    world.run("INSERT INTO t (name) VALUES (N'abc      ')")
    assert world.run("SELECT DATALENGTH(name) FROM t WHERE id = 4") == [(10,)]


def test_an_update_reads_the_old_values(world: World) -> None:
    world.run("UPDATE t SET n = n + id, name = UPPER(name), price = price * n WHERE id <= 2")
    assert world.run("SELECT name, n, price FROM t") == [
        ("A", 8, "7.00"), ("B", 9, "17.50"), ("c", 7, None),
    ]  # fmt: skip


def test_an_update_joins_other_tables(world: World) -> None:
    world.run("UPDATE x SET x.name = o.label FROM t x JOIN other o ON o.id = x.id")
    assert world.run("SELECT name FROM t") == [("one",), ("b",), ("three",)]
    world.run("UPDATE t SET n = (SELECT COUNT(*) FROM other WHERE other.id = t.id) FROM t")
    assert world.run("SELECT n FROM t") == [(1,), (0,), (1,)]
    world.run("UPDATE t SET n += o.id FROM other o WHERE o.id = t.id")
    assert world.run("SELECT n FROM t") == [(2,), (0,), (4,)]


def test_rows_go_with_and_without_joins(world: World) -> None:
    world.run("DELETE x FROM t AS x JOIN other o ON o.id = x.id WHERE o.label = 'one'")
    assert world.run("SELECT id FROM t") == [(2,), (3,)]
    world.run("DELETE TOP (1) FROM t")
    world.run("DELETE other WHERE id IN (SELECT id FROM t)")
    assert world.run("SELECT id FROM other") == [(1,)]


def test_output_gives_back_what_was_written(world: World) -> None:
    rows = world.run("INSERT INTO t (name) OUTPUT INSERTED.id, inserted.twice VALUES ('x'), ('y')")
    assert rows == [(4, 14), (5, 14)]
    plan = world.compile("UPDATE t SET n = 1 OUTPUT inserted.id AS i, inserted.n + 1 WHERE id = 1")
    assert [(c.name, str(c.type)) for c in plan.columns] == [("i", "int"), ("", "int")]
    assert world.execute(plan) == [(1, 2)]
    assert world.run("DELETE FROM t OUTPUT deleted.* WHERE id = 2")[0][:2] == (2, "b")


def test_output_into_stores_what_was_written(world: World) -> None:
    plan = world.compile("INSERT INTO t (name) OUTPUT INSERTED.id, N'x' INTO other VALUES (N'z')")
    assert plan.columns == ()
    assert plan.output_into is not None
    world.execute(plan)
    assert world.run("SELECT id, label FROM other WHERE label = 'x'") == [(4, "x")]


def test_the_old_values_of_an_update_are_refused_by_name(world: World) -> None:
    assert "OUTPUT deleted" in world.error("UPDATE t SET n = 1 OUTPUT deleted.n").text


def test_the_bulk_insert_of_empty_rows_that_mssql_django_sends(world: World) -> None:
    sql = """
        WITH SEED_ROWS AS (SELECT 1 AS x UNION ALL SELECT 1 AS x)
            MERGE INTO [lonely]
            USING (
                SELECT TOP 3 * FROM (SELECT 1 as x FROM SEED_ROWS AS _0, SEED_ROWS AS _1) FAKE_ROWS
            ) FAKE_DATA
            ON 1 = 0
            WHEN NOT MATCHED THEN
            INSERT DEFAULT VALUES
        OUTPUT INSERTED.[id];
    """
    assert world.run(sql) == [(1,), (2,), (3,)]


def test_merge_of_one_action(world: World) -> None:
    world.run("MERGE t AS d USING other AS s ON d.id = s.id WHEN NOT MATCHED THEN "
              "INSERT (name, n) VALUES (s.label, s.id);")  # fmt: skip
    assert world.run("SELECT COUNT(*) FROM t") == [(3,)]
    world.run("MERGE t AS d USING other AS s ON d.id = s.id WHEN MATCHED THEN UPDATE SET n = 0;")
    assert world.run("SELECT n FROM t") == [(0,), (7,), (0,)]
    world.run("MERGE t AS d USING other AS s ON d.id = s.id WHEN MATCHED AND s.id > 1 THEN DELETE;")
    assert world.run("SELECT id FROM t") == [(1,), (2,)]
    refused = (
        "MERGE t USING other s ON 1 = 0 WHEN MATCHED THEN DELETE "
        "WHEN NOT MATCHED THEN INSERT (name) VALUES ('x');"
    )
    assert "several actions" in world.error(refused).text


@pytest.mark.parametrize(
    ("sql", "command"),
    [
        ("INSERT INTO other VALUES (9, NULL)", Command.INSERT),
        ("UPDATE other SET label = ''", Command.UPDATE),
        ("DELETE FROM other", Command.DELETE),
        ("MERGE other USING t ON 1 = 0 WHEN MATCHED THEN DELETE;", Command.MERGE),
        ("SELECT 1", Command.SELECT),
    ],
)
def test_a_plan_tells_its_command_target_and_lock(world: World, sql: str, command: Command) -> None:
    plan = world.compile(sql)
    assert plan.command is command
    if command is Command.SELECT:
        assert (plan.target, plan.lock) == (None, LockIntent.NONE)
    else:
        assert plan.target == world.tables["other"]
        assert plan.lock is LockIntent.UPDATE


def test_a_thousand_rows_in_one_insert(world: World) -> None:
    values = ", ".join(f"({i}, 'x')" for i in range(1000))
    world.run(f"DELETE other; INSERT INTO other (id, label) VALUES {values}")
    assert world.run("SELECT COUNT(*), SUM(id) FROM other") == [(1000, 499500)]

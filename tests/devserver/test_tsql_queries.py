"""SELECT: names, joins, grouping, set operations, subqueries, paging, locks, system views."""

from __future__ import annotations

import pytest

from mssql_async.devserver.schema import ObjectName, View
from mssql_async.devserver.sqltypes import StorageValue
from mssql_async.devserver.tsql.plan import LockIntent, SystemRowsBind, VariableBind

from .tsql_world import World


@pytest.fixture(scope="module")
def world() -> World:
    world = World()
    world.create(
        "CREATE TABLE author (id bigint NOT NULL IDENTITY(1,1), name nvarchar(100) NOT NULL)"
    )
    world.create(
        "CREATE TABLE book (id bigint NOT NULL IDENTITY(1,1), title nvarchar(200) NOT NULL, "
        "price numeric(8,2) NOT NULL, pages int NOT NULL, created datetimeoffset NOT NULL, "
        "data nvarchar(max) NULL, flag bit NOT NULL, rate float NULL, author_id bigint NOT NULL, "
        "uid char(32) NULL, twice AS (pages * 2))"
    )
    world.run(
        "INSERT INTO author (name) VALUES (N'Ann'), (N'Bob'), (N'Ćma');"
        "INSERT INTO book (title, price, pages, created, data, flag, rate, author_id, uid) VALUES "
        "(N'One', 1.5, 10, '2024-01-05T23:30:00+00:00', N'{\"a\": [1, 2], \"n\": 10}', "
        "1, 2.5, 1, 'x'), "
        "(N'Two', 2.5, 20, '2024-03-10T01:00:00+02:00', N'{\"a\": [3], \"n\": 9}', "
        "0, NULL, 1, NULL), "
        "(N'three', 10, 30, '2024-03-11T12:00:00', NULL, 1, 1e0, 2, NULL)"
    )
    world.connection.execute("CREATE INDEX by_title ON book (title)")
    world.declare("@P1", "int", 2)
    world.declare("@P2", "nvarchar(20)", "one")
    world.declare("@P3", "numeric(3,1)", "2.5")
    world.declare("@P4", "datetime2(7)", "2024-03-01 00:00:00.0000000")
    world.declare("@none", "nvarchar(1)", None)
    return world


Rows = list[tuple[StorageValue, ...]]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        # names, aliases, columns
        ("SELECT TITLE FROM Book WHERE ID = 1", [("One",)]),
        ("SELECT shop.dbo.book.id FROM dbo.book WHERE dbo.book.id = 1", [(1,)]),
        ("SELECT x = b.id FROM book AS b WHERE b.id = 1", [(1,)]),
        ("SELECT twice FROM book ORDER BY twice DESC", [(60,), (40,), (20,)]),
        ("SELECT b.twice + 1 FROM book b WHERE b.twice = 20", [(21,)]),
        # comparison by type and collation
        ("SELECT id FROM book WHERE title = @P2", [(1,)]),
        ("SELECT id FROM book WHERE title = 'ONE   '", [(1,)]),
        ("SELECT id FROM book WHERE title COLLATE Latin1_General_CS_AS = 'one'", []),
        ("SELECT id FROM author WHERE name = N'ćMA'", [(3,)]),
        ("SELECT id FROM author WHERE name = N'cma'", []),
        ("SELECT id FROM author WHERE name COLLATE Latin1_General_CI_AI = N'cma'", [(3,)]),
        ("SELECT id FROM book WHERE price = @P3", [(2,)]),
        ("SELECT id FROM book WHERE price > 9", [(3,)]),
        ("SELECT id FROM book WHERE price IN (1.50, 10)", [(1,), (3,)]),
        ("SELECT id FROM book WHERE price BETWEEN 2 AND 3e0", [(2,)]),
        ("SELECT id FROM book WHERE pages = '10'", [(1,)]),
        ("SELECT id FROM book WHERE flag = 'true'", [(1,), (3,)]),
        ("SELECT id FROM book WHERE uid = 'X'", [(1,)]),
        ("SELECT id FROM book WHERE created < @P4", [(1,)]),
        ("SELECT id FROM book WHERE created = '2024-03-09T23:00:00Z'", [(2,)]),
        ("SELECT id FROM book WHERE rate IS NULL", [(2,)]),
        ("SELECT id FROM book WHERE rate IS DISTINCT FROM 1", [(1,), (2,)]),
        ("SELECT id FROM book WHERE rate IS NOT DISTINCT FROM NULL", [(2,)]),
        ("SELECT id FROM book WHERE NOT title IS DISTINCT FROM 'ONE'", [(1,)]),
        ("SELECT id FROM book WHERE uid IS DISTINCT FROM @none", [(1,)]),
        ("SELECT 1 WHERE NULL IS NOT DISTINCT FROM NULL", [(1,)]),
        ("SELECT id FROM book WHERE NOT (rate > 2)", [(3,)]),
        ("SELECT id FROM book WHERE title = @none", []),
        # LIKE
        ("SELECT id FROM book WHERE title LIKE 'T%'", [(2,), (3,)]),
        ("SELECT id FROM book WHERE title LIKE '[a-o]n_'", [(1,)]),
        ("SELECT id FROM book WHERE title NOT LIKE '%[^a-z]%'", [(1,), (2,), (3,)]),
        (r"SELECT id FROM book WHERE title LIKE 'o\ne' ESCAPE '\'", [(1,)]),
        # joins
        (
            "SELECT a.name, b.title FROM author a LEFT JOIN book b ON b.author_id = a.id "
            "ORDER BY a.name, b.id",
            [("Ann", "One"), ("Ann", "Two"), ("Bob", "three"), ("Ćma", None)],
        ),
        (
            "SELECT COUNT(*) FROM author a FULL JOIN book b ON a.id = b.id, author c",
            [(9,)],
        ),
        (
            "SELECT a.id FROM author a JOIN book b JOIN author c ON c.id = b.author_id "
            "ON a.id = c.id WHERE b.id = 3",
            [(2,)],
        ),
        # grouping
        (
            "SELECT author_id, COUNT_BIG(*) AS n, SUM(price) FROM book GROUP BY author_id "
            "HAVING COUNT(*) > 1 ORDER BY 2 DESC",
            [(1, 2, "4.00")],
        ),
        ("SELECT UPPER(LEFT(title, 1)) FROM book GROUP BY LEFT(title, 1) ORDER BY 1",
         [("O",), ("T",)]),
        ("SELECT COUNT(DISTINCT LEFT(title, 1)) FROM book", [(2,)]),
        ("SELECT AVG(pages), AVG(price), MAX(title), MIN(price) FROM book",
         [(20, "4.666666", "Two", "1.50")]),
        ("SELECT SUM(pages) FROM book WHERE 1 = 0", [(None,)]),
        (
            "SELECT STRING_AGG(title, ', ') WITHIN GROUP (ORDER BY price DESC) FROM book",
            [("three, Two, One",)],
        ),
        ("SELECT YEAR(created) FROM book GROUP BY YEAR(created) ORDER BY YEAR(created)", [(2024,)]),
        # distinct, order, paging
        ("SELECT DISTINCT author_id FROM book ORDER BY author_id DESC", [(2,), (1,)]),
        ("SELECT title AS pages FROM book ORDER BY pages", [("One",), ("three",), ("Two",)]),
        ("SELECT TOP 1 title FROM book ORDER BY price DESC", [("three",)]),
        ("SELECT TOP (@P1) id FROM book ORDER BY id DESC", [(3,), (2,)]),
        ("SELECT id FROM book ORDER BY id OFFSET 1 ROWS FETCH NEXT 1 ROW ONLY", [(2,)]),
        ("SELECT id FROM book ORDER BY id OFFSET @P1 ROWS", [(3,)]),
        ("SELECT id FROM book ORDER BY rate", [(2,), (3,), (1,)]),
        ("SELECT title FROM book ORDER BY CASE WHEN title = 'two' THEN 0 ELSE 1 END, id",
         [("Two",), ("One",), ("three",)]),
        # set operations
        ("SELECT COUNT(*) FROM (SELECT 'a' AS x UNION SELECT 'A' UNION ALL SELECT 'b') q", [(2,)]),
        ("SELECT 1 EXCEPT SELECT 2 INTERSECT SELECT 1", [(1,)]),
        ("SELECT 1 UNION SELECT 2.5 ORDER BY 1 DESC", [("2.5",), ("1.0",)]),
        ("(SELECT TOP 1 id FROM book ORDER BY id DESC) UNION SELECT 9", [(3,), (9,)]),
        ("SELECT id AS i FROM author UNION SELECT 9 ORDER BY id DESC", [(9,), (3,), (2,), (1,)]),
        # subqueries
        ("SELECT ((SELECT MAX(id) FROM book) / 2), (((SELECT 4))), ((SELECT 2) + 1)", [(1, 4, 3)]),
        ("SELECT 1 WHERE ((SELECT TOP 1 id FROM book ORDER BY id) IS NOT NULL AND 1 = 1)", [(1,)]),
        ("SELECT COUNT(*) FROM book WHERE id IN ((SELECT 1) UNION (SELECT 2))", [(2,)]),
        (
            "SELECT name, (SELECT TOP 1 title FROM book WHERE author_id = author.id "
            "ORDER BY price DESC) FROM author ORDER BY id",
            [("Ann", "Two"), ("Bob", "three"), ("Ćma", None)],
        ),
        ("SELECT id FROM author WHERE id IN (SELECT author_id FROM book WHERE price > 5)", [(2,)]),
        ("SELECT id FROM author a WHERE NOT EXISTS (SELECT 1 FROM book WHERE author_id = a.id)",
         [(3,)]),
        ("SELECT id FROM book WHERE 5 > ALL (SELECT price FROM book WHERE author_id = 1)",
         [(1,), (2,), (3,)]),
        ("SELECT id FROM author WHERE id = ANY (SELECT author_id FROM book)", [(1,), (2,)]),
        ("SELECT (SELECT MAX(v) FROM (VALUES (pages), (15)) AS t(v)) FROM book",
         [(15,), (20,), (30,)]),
        ("SELECT q.n FROM (SELECT id + 1 AS n FROM book) q WHERE q.n > 2 ORDER BY n", [(3,), (4,)]),
        # common table expressions
        ("WITH b (i) AS (SELECT id FROM book) SELECT COUNT(*) FROM b x JOIN b y ON x.i = y.i",
         [(3,)]),
        ("WITH n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 5) SELECT SUM(i) FROM n",
         [(15,)]),
        ("WITH n AS (SELECT 0 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 100) "
         "SELECT COUNT(*) FROM n", [(101,)]),
        ("WITH n AS (SELECT 0 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 500) "
         "SELECT COUNT(*) FROM n OPTION (MAXRECURSION 500, RECOMPILE)", [(501,)]),
        ("WITH n AS (SELECT 0 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 500) "
         "SELECT COUNT(*) FROM n OPTION (MAXRECURSION 0)", [(501,)]),
        ("WITH n AS (SELECT 1 AS i UNION ALL SELECT 10 UNION ALL SELECT i + 1 FROM n WHERE i < 3 "
         "UNION ALL SELECT i - 1 FROM n WHERE i > 8) SELECT SUM(i) FROM n", [(33,)]),
        ("WITH n AS (SELECT CAST('a' AS varchar(9)) AS s UNION ALL SELECT CAST(s + 'b' AS "
         "varchar(9)) FROM n WHERE LEN(s) < 3) SELECT MAX(s) FROM n WHERE s = 'ABB'", [("abb",)]),
        # windows
        (
            "SELECT title, ROW_NUMBER() OVER (PARTITION BY author_id ORDER BY price DESC) "
            "FROM book ORDER BY id",
            [("One", 2), ("Two", 1), ("three", 1)],
        ),
        ("SELECT LAG(price, 1, 0) OVER (ORDER BY id) FROM book", [("0.00",), ("1.50",), ("2.50",)]),
        (
            "SELECT SUM(price) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) "
            "FROM book",
            [("1.50",), ("4.00",), ("12.50",)],
        ),
        # rowsets
        ("SELECT b.id, j.value FROM book b CROSS APPLY OPENJSON(b.data, '$.a') j",
         [(1, "1"), (1, "2"), (2, "3")]),
        ("SELECT n FROM OPENJSON('[{\"n\": 1}, {\"n\": 2}]') WITH (n int)", [(1,), (2,)]),
        ("SELECT id, t.d FROM book CROSS APPLY (SELECT pages * 2 AS d) t WHERE t.d > 50",
         [(3, 60)]),
        ("SELECT value FROM STRING_SPLIT('a,b', ',')", [("a",), ("b",)]),
        ("SELECT value FROM GENERATE_SERIES(1, 3)", [(1,), (2,), (3,)]),
        # JSON
        ("SELECT id FROM book ORDER BY TRY_CONVERT(float, JSON_VALUE(data, '$.n')) DESC",
         [(1,), (2,), (3,)]),
        ("SELECT COALESCE(JSON_QUERY(data, '$.a'), JSON_VALUE(data, '$.a')) FROM book",
         [("[1, 2]",), ("[3]",), (None,)]),
    ],
)  # fmt: skip
def test_a_query_gives_its_rows(world: World, sql: str, expected: Rows) -> None:
    assert world.run(sql) == expected


@pytest.mark.parametrize(
    ("sql", "number"),
    [
        ("SELECT nope FROM book", 207),
        ("SELECT book.nope FROM book", 207),
        ("SELECT b.id FROM book", 4104),
        ("SELECT * FROM nope", 208),
        ("SELECT id FROM book a JOIN book b ON a.id = b.id", 209),
        ("SELECT id FROM book b, author b", 1011),
        ("SELECT x.* FROM book", 107),
        ("SELECT title, SUM(price) FROM book", 8120),
        ("SELECT COUNT(*) FROM book GROUP BY MAX(id)", 144),
        ("SELECT COUNT(*) FROM book GROUP BY (SELECT pages)", 144),
        (
            "SELECT COUNT(*) FROM book b "
            "GROUP BY CASE WHEN EXISTS (SELECT 1 FROM author a WHERE a.id = b.id) THEN 1 END",
            144,
        ),
        ("SELECT COUNT(*) FROM book GROUP BY (SELECT MAX(v) FROM (VALUES (id), (2)) AS g(v))", 144),
        ("SELECT title FROM book GROUP BY id", 8120),
        ("SELECT id FROM book GROUP BY id ORDER BY title", 8120),
        ("SELECT SUM(SUM(price)) FROM book", 130),
        ("SELECT id FROM book WHERE SUM(price) > 1", 147),
        ("SELECT id FROM book WHERE ROW_NUMBER() OVER (ORDER BY id) = 1", 4108),
        ("SELECT ROW_NUMBER() FROM book", 10753),
        ("SELECT LEN(title) OVER (ORDER BY id) FROM book", 4113),
        ("SELECT DISTINCT title FROM book ORDER BY price", 145),
        ("SELECT id FROM book ORDER BY 3", 108),
        ("SELECT id FROM (SELECT id FROM book ORDER BY id) q", 1033),
        ("SELECT 1 FROM (SELECT id + 1 FROM book) q", 8155),
        ("SELECT 1 FROM (SELECT id, id FROM book) q", 8156),
        ("SELECT 1 FROM (SELECT id FROM book) q (a, b)", 8159),
        ("SELECT 1 UNION SELECT 1, 2", 205),
        ("SELECT 1 UNION SELECT 2 ORDER BY 1 + 1", 104),
        ("SELECT id AS i FROM author UNION SELECT 9 ORDER BY author.id", 104),
        ("SELECT id AS i FROM author UNION SELECT 9 ORDER BY name", 104),
        ("SELECT ((SELECT 1) + 1", 102),
        ("SELECT (SELECT id FROM book)", 512),
        ("SELECT (SELECT id, title FROM book)", 116),
        ("SELECT @nope", 137),
        ("SELECT @@nope", 137),
        ("SELECT nope(1)", 195),
        ("SELECT dbo.nope(1)", 4121),
        ("SELECT LEN(1, 2)", 174),
        ("SELECT SUBSTRING('a')", 189),
        ("SELECT CASE WHEN 1 = 1 THEN NULL END", 8133),
        ("SELECT SUM(title) FROM book", 8117),
        ("SELECT MAX(flag) FROM book", 8117),
        ("SELECT DATEADD(zork, 1, created) FROM book", 155),
        ("SELECT 'a' COLLATE nope", 448),
        ("SELECT 1 COLLATE Latin1_General_CI_AS", 447),
        ("SELECT 1 WHERE 'a' COLLATE Latin1_General_CS_AS = 'b' COLLATE Latin1_General_CI_AS", 468),
        ("SELECT TOP ('x') id FROM book", 1060),
        ("SELECT id FROM book ORDER BY id OFFSET -1 ROWS", 10742),
        ("SELECT id FROM book WHERE created = 1", 206),
        ("SELECT @P1 = 1, 2", 141),
        ("SELECT title + 1 FROM book", 245),
        ("SELECT *", 263),
        ("WITH n AS (SELECT i FROM n) SELECT * FROM n", 252),
        ("WITH n AS (SELECT i FROM n UNION ALL SELECT i FROM n) SELECT * FROM n", 246),
        (
            "WITH n AS (SELECT 'a' AS s UNION ALL SELECT s + 'b' FROM n WHERE LEN(s) < 3) "
            "SELECT * FROM n",
            240,
        ),
        ("WITH n AS (SELECT 1 AS i UNION ALL SELECT i + 1.5 FROM n) SELECT * FROM n", 240),
        ("WITH n AS (SELECT 1 AS i UNION ALL SELECT i FROM n) SELECT * FROM n", 530),
        (
            "WITH n AS (SELECT 0 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 101) "
            "SELECT COUNT(*) FROM n",
            530,
        ),
        (
            "WITH n AS (SELECT 0 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 5) "
            "SELECT COUNT(*) FROM n OPTION (MAXRECURSION 4)",
            530,
        ),
        ("SELECT 1 OPTION (MAXRECURSION 40000)", 310),
    ],
)
def test_a_query_is_refused_with_its_number(world: World, sql: str, number: int) -> None:
    assert world.error(sql).number == number


def test_a_failed_query_tells_its_line(world: World) -> None:
    assert world.error("SELECT 1\nSELECT nope FROM book").line == 2


def test_an_index_serves_a_parameter_of_another_string_type(world: World) -> None:
    plan = world.compile("SELECT id FROM book WHERE title = @P2")
    steps = world.connection.execute(f"EXPLAIN QUERY PLAN {plan.sql}", ["x"]).fetchall()
    assert any("USING INDEX by_title" in step[3] for step in steps)


def test_columns_tell_name_type_nullability_and_identity(world: World) -> None:
    plan = world.compile("SELECT id, title AS t, rate, price * 2, 5 FROM book")
    assert [(c.name, str(c.type), c.nullable, c.identity) for c in plan.columns] == [
        ("id", "bigint", False, True),
        ("t", "nvarchar(200)", False, False),
        ("rate", "float", True, False),
        ("", "numeric(10,2)", False, False),
        ("", "int", False, False),
    ]


def test_the_missing_side_of_an_outer_join_is_nullable(world: World) -> None:
    plan = world.compile("SELECT a.id, b.id FROM author a LEFT JOIN book b ON a.id = b.id")
    assert [column.nullable for column in plan.columns] == [False, True]


def test_star_takes_the_columns_of_every_source_in_order(world: World) -> None:
    plan = world.compile("SELECT *, b.* FROM author a CROSS JOIN (SELECT 1 AS x) b")
    assert [column.name for column in plan.columns] == ["id", "name", "x", "x"]


def test_a_plan_binds_each_variable_once(world: World) -> None:
    plan = world.compile("SELECT @P1, @P2, @p1")
    assert plan.binds == (VariableBind("@P1"), VariableBind("@P2"))


def test_a_plan_binds_nothing_it_does_not_use(world: World) -> None:
    plan = world.compile("SELECT id FROM book WHERE EXISTS (SELECT @P1 AS a) AND title = @P2")
    assert plan.binds == (VariableBind("@P2"),)


def test_assignments_take_the_types_of_their_variables(world: World) -> None:
    world.declare("@a", "nvarchar(5)", None)
    world.declare("@b", "int", None)
    plan = world.compile("SELECT @a = id, @b = '7' FROM book WHERE id = 1")
    assert (plan.assigns, plan.columns) == (("@a", "@b"), ())
    assert world.execute(plan) == [("1", 7)]


def test_select_into_names_its_table(world: World) -> None:
    plan = world.compile("SELECT TOP 0 CAST(id AS bigint) AS id, title INTO #t FROM book")
    assert plan.into == ObjectName("#t")
    assert [column.identity for column in plan.columns] == [False, False]


@pytest.mark.parametrize(
    ("hints", "lock"),
    [
        ("", LockIntent.NONE),
        ("WITH (NOLOCK)", LockIntent.NONE),
        ("(NOLOCK)", LockIntent.NONE),
        ("WITH (HOLDLOCK)", LockIntent.NONE),
        ("WITH (ROWLOCK, UPDLOCK)", LockIntent.UPDATE),
        ("WITH (NOWAIT, ROWLOCK, UPDLOCK)", LockIntent.UPDATE_NOWAIT),
        ("WITH (ROWLOCK, UPDLOCK, READPAST)", LockIntent.UPDATE_SKIP),
        ("WITH (TABLOCKX)", LockIntent.UPDATE),
    ],
)
def test_hints_become_a_lock_intent(world: World, hints: str, lock: LockIntent) -> None:
    assert world.compile(f"SELECT id FROM book {hints} WHERE id = 1").lock is lock


def test_system_views_arrive_as_rows_bound_once(world: World) -> None:
    world.system(
        "sys.things",
        {"name": "nvarchar(128)", "object_id": "int", "flag": "bit"},
        [["Alpha", 1, 1], ["Beta", 2, 0], ["none", None, None]],
    )
    sql = (
        "SELECT a.name, b.name FROM sys.things a JOIN [sys].[things] b "
        "ON b.object_id = a.object_id + 1 WHERE a.name = 'ALPHA'"
    )
    plan = world.compile(sql)
    assert plan.uses_system_views
    assert plan.binds == (SystemRowsBind("sys.things"),)
    assert world.execute(plan) == [("Alpha", "Beta")]


def test_a_view_is_read_as_its_definition(world: World) -> None:
    world.views["cheap"] = View(
        7, "dbo", "cheap", "SELECT id, title AS name FROM book WHERE price < 5"
    )
    assert world.run("SELECT c.NAME FROM dbo.cheap c ORDER BY id") == [("One",), ("Two",)]


def test_a_guard_keeps_an_error_from_happening(world: World) -> None:
    world.declare("@zero", "int", 0)
    sql = "SELECT CASE WHEN @zero <> 0 THEN 1 / @zero ELSE -1 END, ISNULL(5, 1 / @zero)"
    assert world.run(sql) == [(-1, 5)]


def test_now_is_one_moment_for_all_rows(world: World) -> None:
    rows = world.run("SELECT SYSDATETIME(), RAND() FROM book")
    assert len(set(rows)) == 1
    assert len(set(world.run("SELECT NEWID() FROM book"))) == 3


def test_two_thousand_conditions_and_branches_compile(world: World) -> None:
    many = " OR ".join(f"id = {i}" for i in range(2000))
    assert len(world.run(f"SELECT id FROM book WHERE {many}")) == 3
    whens = " ".join(f"WHEN id = {i} THEN {i}" for i in range(1000))
    assert world.run(f"SELECT CASE {whens} END FROM book") == [(1,), (2,), (3,)]
    values = ", ".join(f"({i})" for i in range(1000))
    assert world.run(f"SELECT COUNT(*) FROM (VALUES {values}) AS v (i)") == [(1000,)]


class TestAggregatesOfTheQueryAround:
    """In a row of VALUES, as mssql-django writes GREATEST and LEAST."""

    def test_they_aggregate_its_rows(self, world: World) -> None:
        assert world.run(
            "SELECT author_id, (SELECT MAX(v) FROM (VALUES (AVG(rate)), (author_id)) AS g(v)), "
            "(SELECT MIN(v) FROM (VALUES (SUM(price)), (MAX(pages))) AS g(v)) "
            "FROM book GROUP BY author_id "
            "HAVING (SELECT MAX(v) FROM (VALUES (COUNT(*)), (0)) AS g(v)) > 0 ORDER BY author_id"
        ) == [(1, 2.5, "4.00"), (2, 2.0, "10.00")]

    def test_values_of_all_types_come_as_they_are(self, world: World) -> None:
        assert world.run(
            "SELECT (SELECT MAX(v) FROM (VALUES (MIN(rate) / 3e0), (NULL)) AS g(v)), "
            "(SELECT TOP 1 w FROM (VALUES (1, CAST(MAX(title) AS varbinary(9))), (2, NULL)) "
            "AS g(v, w) ORDER BY v), "
            "(SELECT COUNT(*) FROM (VALUES (MIN(title)), (MIN(title))) AS g(v) WHERE v = 'ONE') "
            "FROM book"
        ) == [(1 / 3, "Two".encode("utf-16-le"), 2)]

    def test_where_a_query_takes_none_it_takes_none_of_them(self, world: World) -> None:
        sql = (
            "SELECT id FROM book WHERE (SELECT MAX(v) FROM (VALUES (AVG(pages)), (1)) AS g(v)) > 1"
        )
        assert world.error(sql).number == 147

    def test_a_column_beside_them_is_to_be_grouped_by(self, world: World) -> None:
        sql = "SELECT id, (SELECT MAX(v) FROM (VALUES (AVG(pages)), (1)) AS g(v)) FROM book"
        assert world.error(sql).number == 8120

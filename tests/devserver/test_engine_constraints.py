"""Keys, foreign keys, checks, and the definitions that make, change and drop them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.devserver.engine_door import Door, numbers, opened


@pytest.fixture
def door() -> Iterator[Door]:
    with opened() as engine:
        yield Door(engine)


class TestUniqueKeys:
    def test_violations_name_constraint_table_and_value(self, door: Door) -> None:
        door.run("CREATE TABLE t (a int, b nvarchar(9), CONSTRAINT uq UNIQUE (a, b))")
        door.run("INSERT t VALUES (1, 'x')")
        assert door.error("INSERT t VALUES (2, 'y'), (1, 'X')").text == (
            "Violation of UNIQUE KEY constraint 'uq'. Cannot insert duplicate key in object "
            "'dbo.t'. The duplicate key value is (1, X)."
        )

    def test_a_primary_key_of_one_integer(self, door: Door) -> None:
        door.run("CREATE TABLE t (id int CONSTRAINT pk PRIMARY KEY, a int); INSERT t VALUES (7, 1)")
        message = door.error("INSERT t VALUES (7, 2)")
        assert message.number == 2627
        assert message.text.startswith("Violation of PRIMARY KEY constraint 'pk'.")
        assert message.text.endswith("The duplicate key value is (7).")

    def test_a_unique_index_has_an_error_of_its_own(self, door: Door) -> None:
        door.run("CREATE TABLE t (a int); CREATE UNIQUE INDEX ix ON t (a); INSERT t VALUES (1)")
        assert door.error("INSERT t VALUES (1)").text == (
            "Cannot insert duplicate key row in object 'dbo.t' with unique index 'ix'. The "
            "duplicate key value is (1)."
        )

    def test_nulls_are_equal_in_a_unique_key(self, door: Door) -> None:
        door.run("CREATE TABLE t (a int NULL UNIQUE, b int NULL); INSERT t VALUES (NULL, 1)")
        message = door.error("INSERT t VALUES (NULL, 2)")
        assert message.number == 2627
        assert message.text.endswith("(<NULL>).")

    def test_a_filtered_index_looks_at_its_rows_only(self, door: Door) -> None:
        door.run("CREATE TABLE t (a int NULL, b int NULL)")
        door.run("CREATE UNIQUE INDEX ix ON t (a, b) WHERE [a] IS NOT NULL AND [b] IS NOT NULL")
        door.run("INSERT t VALUES (1, NULL), (1, NULL), (1, 2)")
        assert door.error("INSERT t VALUES (1, 2)").number == 2601

    def test_duplicates_keep_an_index_from_being_made(self, door: Door) -> None:
        door.run("CREATE TABLE t (a int); INSERT t VALUES (3), (3)")
        assert (
            "The duplicate key value is (3)." in door.error("CREATE UNIQUE INDEX ix ON t (a)").text
        )
        outcome = door.attempt("ALTER TABLE t ADD CONSTRAINT uq UNIQUE (a)")
        assert numbers(outcome) == [1505, 1750]
        assert door.value("SELECT COUNT(*) FROM sys.indexes WHERE name IN ('ix', 'uq')") == 0


class TestKeysThatChangePlaces:
    """Keys are unique when a statement has ended, whatever they were while it ran."""

    @pytest.fixture(autouse=True)
    def rows(self, door: Door) -> None:
        door.run("CREATE TABLE t (id int PRIMARY KEY, n varchar(5)); CREATE TABLE o (k int)")
        door.run("INSERT t VALUES (1, 'a'), (2, 'b'), (3, 'c'); INSERT o VALUES (4)")

    @pytest.mark.parametrize(
        "update",
        [
            "UPDATE t SET id = 4 - id",
            "DECLARE @k int = 4; UPDATE t SET id = @k - id",
            "UPDATE t SET id = k - id FROM t CROSS JOIN o",
            "UPDATE TOP (3) t SET id = 4 - id",
        ],
    )
    def test_of_the_whole_table(self, door: Door, update: str) -> None:
        assert door.run(update).counts[-1] == 3
        assert door.rows("SELECT id, n FROM t ORDER BY id") == [(1, "c"), (2, "b"), (3, "a")]

    def test_and_tell_what_they_became(self, door: Door) -> None:
        moved = door.run("UPDATE t SET id = id + 1 OUTPUT inserted.id, inserted.n WHERE id < 4")
        assert sorted(moved.rows) == [(2, "a"), (3, "b"), (4, "c")]

    def test_unless_one_is_there_twice(self, door: Door) -> None:
        assert door.error("UPDATE t SET id = id + 1 WHERE id < 3").number == 2627
        assert door.rows("SELECT id, n FROM t ORDER BY id") == [(1, "a"), (2, "b"), (3, "c")]

    def test_and_the_rows_that_refer_to_them_follow(self, door: Door) -> None:
        door.run("CREATE TABLE c (t int REFERENCES t (id) ON UPDATE CASCADE, n varchar(5))")
        door.run("CREATE TABLE d (t int REFERENCES t (id)); INSERT d VALUES (1)")
        door.run("INSERT c VALUES (1, 'a'), (3, 'c'); UPDATE t SET id = 4 - id")
        assert door.rows("SELECT t, n FROM c ORDER BY t") == [(1, "c"), (3, "a")]
        assert door.error("UPDATE t SET id = id + 1").number == 547


class TestModificationsThroughCommonTables:
    @pytest.fixture(autouse=True)
    def rows(self, door: Door) -> None:
        door.run("CREATE TABLE t (id int IDENTITY PRIMARY KEY, a int, b varchar(5))")
        door.run("INSERT t (a, b) VALUES (1, 'x'), (1, 'y'), (2, 'z')")

    def test_duplicates_are_deleted_by_their_row_number(self, door: Door) -> None:
        deleted = door.run(
            "WITH c AS (SELECT ROW_NUMBER() OVER (PARTITION BY a ORDER BY id) AS n FROM t) "
            "DELETE FROM c WHERE n > 1"
        )
        assert deleted.counts == [1]
        assert door.rows("SELECT b FROM t ORDER BY id") == [("x",), ("z",)]

    def test_the_last_rows_are_deleted_in_their_order(self, door: Door) -> None:
        deleted = door.run(
            "WITH c AS (SELECT TOP 2 * FROM t ORDER BY id DESC) DELETE c OUTPUT deleted.b"
        )
        assert sorted(deleted.rows) == [("y",), ("z",)]

    def test_columns_are_updated_under_their_new_names(self, door: Door) -> None:
        updated = door.run(
            "WITH c (i, v, k) AS (SELECT id, b, a * 10 FROM t AS u WHERE a = 1) "
            "UPDATE c SET v = CAST(k + i AS varchar(5)) WHERE i > 1"
        )
        assert updated.counts == [1]
        assert door.rows("SELECT b FROM t ORDER BY id") == [("x",), ("12",), ("z",)]

    def test_what_is_no_column_of_the_table_is_not_updated(self, door: Door) -> None:
        assert door.error("WITH c AS (SELECT a + 1 AS k FROM t) UPDATE c SET k = 1").number == 4406
        assert door.error("WITH c AS (SELECT a FROM t) UPDATE c SET b = '1'").number == 207

    def test_rows_are_counted_where_a_common_table_is_only_read(self, door: Door) -> None:
        read = "WITH c AS (SELECT 1 AS a)"
        assert door.run(f"{read} UPDATE t SET b = 'n' FROM c WHERE c.a = t.a").counts == [2]
        assert door.run(f"{read} DELETE t WHERE a IN (SELECT a FROM c)").counts == [2]

    def test_merge_changes_no_row_twice(self, door: Door) -> None:
        merge = "MERGE t USING (VALUES (2, 'p'), ({}, 'q')) AS s (a, b) ON s.a = t.a WHEN MATCHED "
        for action in ("THEN UPDATE SET b = s.b;", "THEN DELETE;"):
            assert door.error(merge.format(2) + action).number == 8672
        assert door.run(merge.format(3) + "THEN UPDATE SET b = s.b;").counts == [1]
        assert door.value("SELECT b FROM t WHERE a = 2") == "p"


class TestRowVersions:
    def test_every_insert_and_update_takes_the_next_of_the_database(self, door: Door) -> None:
        door.run("CREATE TABLE t (id int, r rowversion); CREATE TABLE u (r rowversion, n int)")
        door.run("INSERT t (id) VALUES (1), (2); INSERT u (n) VALUES (1); UPDATE t SET id = 3")
        first, second = (row[0] for row in door.rows("SELECT r FROM t ORDER BY r"))
        other = door.value("SELECT r FROM u")
        assert other < first < second
        assert door.value("SELECT @@DBTS") == second
        door.run("UPDATE u SET n = t.id FROM t WHERE t.id = 3 AND u.n = 1")
        assert door.value("SELECT r FROM u") > second

    def test_an_update_that_lost_the_race_finds_no_row(self, door: Door) -> None:
        door.run("CREATE TABLE t (id int, r rowversion); INSERT t (id) VALUES (1)")
        door.run("SELECT r INTO #seen FROM t; UPDATE t SET id = 1")
        assert door.run("UPDATE t SET id = 2 WHERE r = (SELECT r FROM #seen)").counts == [0]

    def test_merge_cascades_and_a_new_column_take_one_too(self, door: Door) -> None:
        door.run("CREATE TABLE p (id int PRIMARY KEY); INSERT p VALUES (1)")
        door.run(
            "CREATE TABLE c (p int REFERENCES p (id) ON UPDATE CASCADE, n int);"
            "INSERT c VALUES (1, 1), (1, 2); ALTER TABLE c ADD r rowversion"
        )
        before = [row[0] for row in door.rows("SELECT r FROM c")]
        assert len(set(before)) == 2
        door.run("UPDATE p SET id = 2")
        after = [row[0] for row in door.rows("SELECT r FROM c")]
        assert min(after) > max(before)
        door.run(
            "MERGE c USING (SELECT 1 AS n) AS s ON c.n = s.n WHEN MATCHED THEN UPDATE SET n = 3;"
        )
        assert door.value("SELECT r FROM c WHERE n = 3") > max(after)


class TestForeignKeys:
    @pytest.fixture(autouse=True)
    def tables(self, door: Door) -> None:
        door.run(
            "CREATE TABLE parent (id int PRIMARY KEY, n int);"
            "CREATE TABLE child (id int PRIMARY KEY, parent_id int NULL "
            "CONSTRAINT fk REFERENCES parent (id)); INSERT parent VALUES (1, 0), (2, 0)"
        )

    def test_a_child_needs_its_parent(self, door: Door) -> None:
        door.run("INSERT child VALUES (1, 1), (2, NULL)")
        assert door.error("INSERT child VALUES (3, 9)").text == (
            'The INSERT statement conflicted with the FOREIGN KEY constraint "fk". The conflict '
            'occurred in database "app", table "dbo.parent", column \'id\'.'
        )
        assert door.error("UPDATE child SET parent_id = 9").text.startswith("The UPDATE statement")
        assert door.rows("SELECT id, parent_id FROM child ORDER BY id") == [(1, 1), (2, None)]

    def test_a_parent_with_children_stays(self, door: Door) -> None:
        door.run("INSERT child VALUES (1, 1)")
        assert door.error("DELETE parent").text == (
            'The DELETE statement conflicted with the REFERENCE constraint "fk". The conflict '
            'occurred in database "app", table "dbo.child", column \'parent_id\'.'
        )
        assert door.value("SELECT COUNT(*) FROM parent") == 2
        assert door.error("UPDATE parent SET id = 5 WHERE id = 1").number == 547

    def test_it_is_checked_when_the_statement_ends(self, door: Door) -> None:
        door.run("CREATE TABLE tree (id int PRIMARY KEY, up int NULL REFERENCES tree (id))")
        door.run("INSERT tree VALUES (1, 2), (2, 1), (3, 3)")
        door.run("DELETE tree WHERE id IN (1, 2)")
        assert door.rows("SELECT id FROM tree") == [(3,)]
        assert "FOREIGN KEY SAME TABLE" in door.error("INSERT tree VALUES (4, 5)").text

    def test_cascades_delete_update_and_set_null(self, door: Door) -> None:
        door.run(
            "CREATE TABLE a (parent_id int REFERENCES parent (id) ON DELETE "
            "CASCADE ON UPDATE CASCADE);"
            "CREATE TABLE b (parent_id int REFERENCES parent (id) ON DELETE SET NULL);"
            "CREATE TABLE c (n int DEFAULT 2 REFERENCES parent (id) ON DELETE SET DEFAULT);"
            "INSERT a VALUES (1), (1), (2); INSERT b VALUES (1); INSERT c VALUES (1)"
        )
        assert door.run("DELETE parent WHERE id = 1").counts == [1]
        assert door.rows("SELECT parent_id FROM a") == [(2,)]
        assert door.rows("SELECT parent_id FROM b") == [(None,)]
        assert door.rows("SELECT n FROM c") == [(2,)]
        door.run("DELETE c; UPDATE parent SET id = 8 WHERE id = 2")
        assert door.rows("SELECT parent_id FROM a") == [(8,)]

    def test_cycles_of_cascades_are_refused(self, door: Door) -> None:
        outcome = door.attempt(
            "CREATE TABLE n (id int PRIMARY KEY, up int REFERENCES n ON DELETE CASCADE)"
        )
        assert numbers(outcome) == [1785, 1750]

    def test_a_disabled_one_is_not_checked_until_it_is_again(self, door: Door) -> None:
        door.run("ALTER TABLE child NOCHECK CONSTRAINT fk; INSERT child VALUES (1, 77)")
        assert door.rows("SELECT is_disabled, is_not_trusted FROM sys.foreign_keys") == [(1, 1)]
        assert door.error("ALTER TABLE child WITH CHECK CHECK CONSTRAINT ALL").number == 547
        door.run("ALTER TABLE child CHECK CONSTRAINT fk")
        assert door.rows("SELECT is_disabled, is_not_trusted FROM sys.foreign_keys") == [(0, 1)]
        assert door.error("INSERT child VALUES (2, 78)").number == 547
        door.run("DELETE child; ALTER TABLE child WITH CHECK CHECK CONSTRAINT ALL")
        assert door.rows("SELECT is_disabled, is_not_trusted FROM sys.foreign_keys") == [(0, 0)]

    def test_it_protects_table_key_and_column(self, door: Door) -> None:
        assert door.error("DROP TABLE parent").number == 3726
        assert door.error("TRUNCATE TABLE parent").number == 4712
        key = door.value(
            "SELECT name FROM sys.key_constraints WHERE parent_object_id = OBJECT_ID('parent')"
        )
        assert numbers(door.attempt(f"ALTER TABLE parent DROP CONSTRAINT [{key}]")) == [3725, 3727]
        assert numbers(door.attempt("ALTER TABLE child DROP COLUMN parent_id")) == [5074, 4922]

    def test_it_must_point_at_a_key_of_the_same_type(self, door: Door) -> None:
        assert door.error("CREATE TABLE x (a int REFERENCES parent (n))").number == 1776
        assert door.error("CREATE TABLE x (a bigint REFERENCES parent (id))").number == 1778
        assert door.error("CREATE TABLE x (a int REFERENCES nowhere (id))").number == 1767

    def test_existing_rows_are_looked_at_unless_told_not_to(self, door: Door) -> None:
        door.run("CREATE TABLE late (p int); INSERT late VALUES (50)")
        add = "ADD CONSTRAINT late_fk FOREIGN KEY (p) REFERENCES parent (id)"
        assert door.error(f"ALTER TABLE late {add}").text.startswith("The ALTER TABLE statement")
        door.run(f"ALTER TABLE late WITH NOCHECK {add}")
        assert door.error("UPDATE late SET p = 51").number == 547

    def test_renaming_the_parent_keeps_it(self, door: Door) -> None:
        door.run("EXEC sp_rename 'parent', 'elder'; EXEC sp_rename 'elder.id', 'number', 'COLUMN'")
        assert door.error("INSERT child VALUES (3, 9)").text.endswith(
            "table \"dbo.elder\", column 'number'."
        )
        door.run("INSERT child VALUES (3, 1)")


class TestChecks:
    def test_false_fails_and_unknown_passes(self, door: Door) -> None:
        door.run(
            "CREATE TABLE t (a int CONSTRAINT positive CHECK (a > 0)); INSERT t VALUES (1), (NULL)"
        )
        assert door.error("INSERT t VALUES (0)").text == (
            'The INSERT statement conflicted with the CHECK constraint "positive". The conflict '
            'occurred in database "app", table "dbo.t", column \'a\'.'
        )
        assert door.error("UPDATE t SET a = -1").number == 547
        assert door.rows("SELECT a FROM t ORDER BY a") == [(None,), (1,)]

    def test_one_over_two_columns(self, door: Door) -> None:
        door.run("CREATE TABLE t (a int, b int, CONSTRAINT ordered CHECK (a <= b))")
        door.run("INSERT t VALUES (1, 2)")
        assert door.error("UPDATE t SET a = 3").number == 547


class TestTables:
    def test_names_are_unique_within_their_schema(self, door: Door) -> None:
        door.run("CREATE TABLE t (a int CONSTRAINT c CHECK (a > 0))")
        assert door.error("CREATE TABLE T (b int)").number == 2714
        assert door.error("CREATE TABLE u (b int CONSTRAINT c CHECK (b > 0))").number == 2714
        door.run("CREATE SCHEMA s; CREATE TABLE s.t (b int); INSERT s.t VALUES (5)")
        assert door.value("SELECT b FROM s.t") == 5
        assert door.error("CREATE TABLE nowhere.t (a int)").number == 2760
        assert door.error("CREATE TABLE d (a int, A int)").number == 2705

    def test_dropping_what_is_not_there(self, door: Door) -> None:
        assert door.error("DROP TABLE t").text == (
            "Cannot drop the table 't', because it does not exist or you do not have permission."
        )
        door.run("DROP TABLE IF EXISTS t")
        assert door.error("DROP INDEX ix ON t").number == 3701

    def test_made_up_names_look_like_sql_servers(self, door: Door) -> None:
        door.run(
            "CREATE TABLE customers (id int PRIMARY KEY, name int UNIQUE DEFAULT 1 "
            "CHECK (name > 0))"
        )
        names = {
            row[0].rsplit("__", 1)[0]
            for row in door.rows("SELECT name FROM sys.objects WHERE type <> 'U'")
        }
        assert names == {
            "PK__customer",
            "UQ__customer",
            "DF__customers__name",
            "CK__customers__name",
        }

    def test_a_column_is_added_with_its_default(self, door: Door) -> None:
        door.run("CREATE TABLE t (a int); INSERT t VALUES (1), (2)")
        assert door.error("ALTER TABLE t ADD b int NOT NULL").number == 4901
        door.run("ALTER TABLE t ADD b nvarchar(5) NOT NULL DEFAULT 'x', c int NULL DEFAULT 3")
        assert door.rows("SELECT a, b, c FROM t ORDER BY a") == [(1, "x", None), (2, "x", None)]
        door.run("INSERT t (a) VALUES (3)")
        assert door.rows("SELECT b, c FROM t WHERE a = 3") == [("x", 3)]
        door.run(
            "ALTER TABLE t ADD d int NULL CONSTRAINT df DEFAULT 4 WITH VALUES, e int DEFAULT 5"
        )
        assert door.rows("SELECT d, e FROM t") == [(4, None)] * 3

    def test_an_identity_is_added_to_existing_rows(self, door: Door) -> None:
        door.run(
            "CREATE TABLE t (a int); INSERT t VALUES (7), (8); ALTER TABLE t ADD id int IDENTITY"
        )
        door.run("INSERT t VALUES (9)")
        assert door.rows("SELECT a, id FROM t ORDER BY id") == [(7, 1), (8, 2), (9, 3)]

    def test_a_columns_type_is_changed_with_its_values(self, door: Door) -> None:
        door.run(
            "CREATE TABLE t (id int IDENTITY PRIMARY KEY, a nvarchar(10)); INSERT t VALUES ('12')"
        )
        door.run("ALTER TABLE t ALTER COLUMN a int NOT NULL")
        assert door.rows("SELECT a + 1 FROM t") == [(13,)]
        assert door.error("INSERT t VALUES (NULL)").number == 515

    def test_values_that_do_not_fit_keep_the_column_as_it_was(self, door: Door) -> None:
        door.run("CREATE TABLE t (a nvarchar(10) NULL); INSERT t VALUES ('long one'), (NULL)")
        assert door.error("ALTER TABLE t ALTER COLUMN a nvarchar(3) NULL").number == 2628
        assert door.error("ALTER TABLE t ALTER COLUMN a nvarchar(10) NOT NULL").number == 515
        assert door.error("ALTER TABLE t ALTER COLUMN a int NULL").number == 245
        assert door.value("SELECT MAX(a) FROM t") == "long one"

    def test_dependants_stand_in_the_way(self, door: Door) -> None:
        door.run("CREATE TABLE t (a int, b int, c AS (a + 1)); CREATE INDEX ix ON t (b)")
        assert numbers(door.attempt("ALTER TABLE t DROP COLUMN b")) == [5074, 4922]
        assert numbers(door.attempt("ALTER TABLE t DROP COLUMN a")) == [5074, 4922]
        assert numbers(door.attempt("ALTER TABLE t ALTER COLUMN b bigint")) == [5074, 4922]
        door.run("DROP INDEX ix ON t; ALTER TABLE t DROP COLUMN b")
        assert door.run("INSERT t VALUES (1); SELECT * FROM t").rows == [(1, 2)]

    def test_renames(self, door: Door) -> None:
        door.run("CREATE TABLE t (a int CONSTRAINT c CHECK (a > 0)); INSERT t VALUES (1)")
        door.run("CREATE INDEX ix ON t (a)")
        outcome = door.run("EXEC sp_rename 't.a', 'b', 'COLUMN'")
        assert [info.number for info in outcome.infos] == [15477]
        door.run(
            "EXEC sp_rename 'dbo.t.ix', 'iy', 'INDEX'; EXEC sp_rename 't', 'u'; "
            "EXEC sp_rename 'c', 'd'"
        )
        assert door.rows("SELECT b FROM u") == [(1,)]
        assert '"d"' in door.error("INSERT u VALUES (0)").text
        assert door.value("SELECT name FROM sys.indexes WHERE name LIKE 'i_'") == "iy"
        assert door.error("EXEC sp_rename 'nothing', 'x'").number == 15225

    def test_computed_columns(self, door: Door) -> None:
        door.run("CREATE TABLE t (a int, b AS (a * 2), c AS (CONCAT(a, '!')) PERSISTED)")
        door.run("INSERT t VALUES (4)")
        assert door.rows("SELECT b, c FROM t") == [(8, "4!")]

    def test_views(self, door: Door) -> None:
        door.run("CREATE TABLE t (a int, b int); INSERT t VALUES (1, 2), (3, 4)")
        door.run("CREATE VIEW v AS SELECT a, a + b AS total FROM t")
        assert door.rows("SELECT total FROM v WHERE a = 3") == [(7,)]
        door.run("ALTER VIEW v AS SELECT b FROM t")
        assert door.rows("SELECT b FROM v ORDER BY b") == [(2,), (4,)]
        assert door.error("DROP TABLE v").number == 3705
        door.run("DROP VIEW v")
        assert door.error("CREATE VIEW w AS SELECT a + 1 FROM t").number == 4511


def test_mssql_djangos_regular_expressions_can_be_installed(door: Door) -> None:
    door.run("CREATE ASSEMBLY regex_clr FROM 0x4D5A WITH PERMISSION_SET = SAFE")
    door.run(
        "create function [dbo].[REGEXP_LIKE] (@input nvarchar(max), @pattern nvarchar(max), "
        "@caseSensitive int) RETURNS INT AS "
        "EXTERNAL NAME regex_clr.UserDefinedFunctions.REGEXP_LIKE"
    )
    assert door.value("SELECT COUNT(*) FROM sys.assemblies WHERE name = 'regex_clr'") == 1
    assert door.value("SELECT dbo.REGEXP_LIKE('abc', '^a.c$', 1)") == 1
    door.run("IF OBJECT_ID('REGEXP_LIKE') IS NOT NULL DROP FUNCTION [dbo].[REGEXP_LIKE]")
    door.run("DROP ASSEMBLY regex_clr")
    assert (
        door.error("CREATE FUNCTION f (@x int) RETURNS int AS BEGIN RETURN 1 END").number == 40517
    )
    assert door.error("CREATE PROCEDURE p AS SELECT 1").number == 40517

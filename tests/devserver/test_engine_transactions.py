"""Transactions: counting, savepoints, atomicity, dooming, and DDL in them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mssql_async.devserver.engine import SqlEngine
from mssql_async.devserver.protocols import TransactionOperation
from mssql_async.devserver.results import Environment
from tests.devserver.engine_door import Door, integer, numbers, opened


@pytest.fixture(scope="module")
def engine() -> Iterator[SqlEngine]:
    with opened() as engine:
        yield engine


@pytest.fixture
def door(engine: SqlEngine) -> Iterator[Door]:
    door = Door(engine)
    door.run("DROP TABLE IF EXISTS t; CREATE TABLE t (id int IDENTITY PRIMARY KEY, a int UNIQUE)")
    yield door
    door.close()


def values(door: Door) -> list[int]:
    return [row[0] for row in door.rows("SELECT a FROM t ORDER BY a")]


class TestCounting:
    def test_nested_transactions_count_and_the_outermost_commits(self, door: Door) -> None:
        door.run("BEGIN TRAN; BEGIN TRAN; INSERT t VALUES (1); COMMIT")
        assert door.value("SELECT @@TRANCOUNT") == 1
        door.run("COMMIT")
        assert door.value("SELECT @@TRANCOUNT") == 0
        assert values(door) == [1]

    def test_rollback_ends_all_levels(self, door: Door) -> None:
        door.run("BEGIN TRAN; BEGIN TRAN; INSERT t VALUES (1); ROLLBACK")
        assert door.value("SELECT @@TRANCOUNT") == 0
        assert values(door) == []

    @pytest.mark.parametrize(
        ("sql", "number"),
        [
            ("COMMIT", 3902),
            ("ROLLBACK", 3903),
            ("SAVE TRAN s", 628),
            ("BEGIN TRAN; ROLLBACK TRAN nothing", 6401),
        ],
    )
    def test_what_has_no_counterpart_is_an_error(self, door: Door, sql: str, number: int) -> None:
        assert door.error(sql).number == number

    def test_implicit_transactions_begin_with_the_first_access(self, door: Door) -> None:
        door.run("SET IMPLICIT_TRANSACTIONS ON; SELECT 1")
        assert door.value("SELECT @@TRANCOUNT") == 0
        door.run("INSERT t VALUES (1)")
        assert door.value("SELECT @@TRANCOUNT") == 1
        door.run("ROLLBACK; SET IMPLICIT_TRANSACTIONS OFF")
        assert values(door) == []

    def test_beginning_and_ending_are_announced_with_a_descriptor(self, door: Door) -> None:
        begin = door.transact(TransactionOperation.BEGIN)
        (change,) = begin.changes
        assert change.kind is Environment.BEGIN_TRANSACTION
        assert isinstance(change.new, bytes)
        assert len(change.new) == 8
        assert door.run("BEGIN TRAN; COMMIT").changes == []
        commit = door.transact(TransactionOperation.COMMIT)
        assert commit.changes[0].kind is Environment.COMMIT_TRANSACTION
        assert commit.changes[0].old == change.new
        rollback = door.run("BEGIN TRAN; ROLLBACK")
        assert [c.kind for c in rollback.changes] == [
            Environment.BEGIN_TRANSACTION,
            Environment.ROLLBACK_TRANSACTION,
        ]

    def test_a_commit_may_ask_for_the_next_transaction_at_once(self, door: Door) -> None:
        door.transact(TransactionOperation.BEGIN)
        outcome = door.transact(TransactionOperation.COMMIT, begin=True)
        assert [c.kind for c in outcome.changes] == [
            Environment.COMMIT_TRANSACTION,
            Environment.BEGIN_TRANSACTION,
        ]
        assert door.value("SELECT @@TRANCOUNT") == 1

    def test_the_manager_reports_a_missing_transaction(self, door: Door) -> None:
        assert numbers(door.transact(TransactionOperation.COMMIT)) == [3902]


class TestSavepoints:
    def test_the_latest_of_a_name_wins_and_stays(self, door: Door) -> None:
        door.run("BEGIN TRAN; INSERT t VALUES (1); SAVE TRAN s; INSERT t VALUES (2)")
        door.run("SAVE TRAN s; INSERT t VALUES (3); ROLLBACK TRAN s")
        assert values(door) == [1, 2]
        door.run("INSERT t VALUES (4); ROLLBACK TRAN s; COMMIT")
        assert values(door) == [1, 2]

    def test_names_heed_case(self, door: Door) -> None:
        """ "SAVE TRANSACTION": savepoint names are "always case sensitive"."""
        door.run("BEGIN TRAN Outer_; SAVE TRAN s")
        assert door.error("ROLLBACK TRAN S").number == 6401
        assert door.error("ROLLBACK TRAN outer_").number == 6401
        door.run("ROLLBACK TRAN Outer_")
        assert door.value("SELECT @@TRANCOUNT") == 0

    def test_the_name_of_an_inner_transaction_is_nobodys(self, door: Door) -> None:
        door.run("BEGIN TRAN a; BEGIN TRAN b")
        assert door.error("ROLLBACK TRAN b").number == 6401
        assert door.value("SELECT @@TRANCOUNT") == 2
        door.run("COMMIT TRAN whatever; ROLLBACK TRAN a")
        assert door.value("SELECT @@TRANCOUNT") == 0

    def test_a_rollback_to_one_does_not_count_down(self, door: Door) -> None:
        door.run("BEGIN TRAN; BEGIN TRAN; SAVE TRAN s; INSERT t VALUES (1); ROLLBACK TRAN s")
        assert door.rows("SELECT @@TRANCOUNT, XACT_STATE()") == [(2, 1)]
        assert values(door) == []
        door.run("ROLLBACK")

    def test_a_rollback_to_one_keeps_the_locks(self, door: Door) -> None:
        door.run("BEGIN TRAN; SAVE TRAN s; INSERT t VALUES (1); ROLLBACK TRAN s")
        assert door.session.transaction.holds(door.session.current_database)
        door.run("ROLLBACK")

    def test_one_before_the_first_write_undoes_all_of_it(self, door: Door) -> None:
        door.run("BEGIN TRAN; SAVE TRAN s; INSERT t VALUES (1); ROLLBACK TRAN s")
        assert values(door) == []
        assert door.value("SELECT @@TRANCOUNT") == 1
        door.run("INSERT t VALUES (2); COMMIT")
        assert values(door) == [2]

    def test_definitions_are_undone_with_it(self, door: Door) -> None:
        door.run("BEGIN TRAN; INSERT t VALUES (1); SAVE TRAN s; ALTER TABLE t ADD b int NULL")
        assert door.run("SELECT b FROM t").rows == [(None,)]
        door.run("ROLLBACK TRAN s")
        assert door.error("SELECT b FROM t").number == 207
        door.run("COMMIT")
        assert values(door) == [1]


class TestAtomicity:
    def test_a_failing_statement_undoes_itself_and_nothing_else(self, door: Door) -> None:
        outcome = door.attempt(
            "BEGIN TRAN; INSERT t VALUES (1); INSERT t VALUES (2), (1); INSERT t VALUES (3); COMMIT"
        )
        assert numbers(outcome) == [2627]
        assert values(door) == [1, 3]

    def test_an_error_in_an_expression_undoes_the_rows_before_it(self, door: Door) -> None:
        door.run("INSERT t VALUES (1), (2)")
        outcome = door.attempt("BEGIN TRAN; UPDATE t SET a = 100 / (2 - a); COMMIT")
        assert numbers(outcome) == [8134]
        assert values(door) == [1, 2]

    def test_xact_abort_rolls_back_everything_and_ends_the_batch(self, door: Door) -> None:
        outcome = door.attempt(
            "SET XACT_ABORT ON; BEGIN TRAN; INSERT t VALUES (1); INSERT t VALUES (1); "
            "SELECT 'after'"
        )
        assert numbers(outcome) == [2627]
        assert outcome.sets == []
        assert outcome.changes[-1].kind is Environment.ROLLBACK_TRANSACTION
        assert door.value("SELECT @@TRANCOUNT") == 0
        assert values(door) == []

    def test_xact_abort_does_not_heed_a_batch_that_cannot_be_parsed(self, door: Door) -> None:
        """ "SET XACT_ABORT": "Compile errors, such as syntax errors, aren't affected"."""
        door.run("SET XACT_ABORT ON; BEGIN TRAN; INSERT t VALUES (1)")
        assert door.error("INSERT INTO INTO t").number in (102, 156)
        assert numbers(door.execute("SELECT FROM FROM"))[0] in (102, 156)
        assert door.value("SELECT @@TRANCOUNT") == 1
        door.run("ROLLBACK")

    def test_xact_abort_heeds_a_name_that_does_not_resolve(self, door: Door) -> None:
        door.run("SET XACT_ABORT ON; BEGIN TRAN; INSERT t VALUES (1)")
        assert door.error("INSERT missing VALUES (1)").number == 208
        assert door.rows("SELECT @@TRANCOUNT, XACT_STATE()") == [(0, 0)]

    def test_without_it_such_a_name_ends_the_batch_and_leaves_the_transaction(
        self, door: Door
    ) -> None:
        door.run("BEGIN TRAN; INSERT t VALUES (1)")
        outcome = door.attempt("INSERT missing VALUES (1); INSERT t VALUES (2)")
        assert (numbers(outcome), values(door)) == ([208], [1])
        assert door.rows("SELECT @@TRANCOUNT, XACT_STATE()") == [(1, 1)]
        door.run("ROLLBACK")

    def test_raiserror_does_not_trigger_xact_abort(self, door: Door) -> None:
        door.attempt("SET XACT_ABORT ON; BEGIN TRAN; INSERT t VALUES (1); RAISERROR('x', 16, 1)")
        assert door.value("SELECT @@TRANCOUNT") == 1
        door.run("ROLLBACK")

    def test_a_failed_conversion_rolls_the_transaction_back(self, door: Door) -> None:
        door.attempt("BEGIN TRAN; INSERT t VALUES (1); SELECT CAST('x' AS int)")
        assert door.value("SELECT @@TRANCOUNT") == 0
        assert values(door) == []

    def test_a_doomed_transaction_reads_but_neither_writes_nor_commits(self, door: Door) -> None:
        outcome = door.attempt(
            """
            BEGIN TRAN; INSERT t VALUES (1)
            BEGIN TRY SELECT CAST('x' AS int) END TRY
            BEGIN CATCH
                SELECT XACT_STATE()
                BEGIN TRY INSERT t VALUES (2) END TRY BEGIN CATCH SELECT ERROR_NUMBER() END CATCH
                BEGIN TRY COMMIT END TRY BEGIN CATCH SELECT ERROR_NUMBER() END CATCH
                ROLLBACK
            END CATCH
            """
        )
        assert outcome.errors == []
        assert outcome.sets[-3:] == [[(-1,)], [(3930,)], [(3930,)]]
        assert values(door) == []

    def test_a_doomed_transaction_does_not_outlive_its_batch(self, door: Door) -> None:
        outcome = door.attempt(
            "SET XACT_ABORT ON; BEGIN TRAN; INSERT t VALUES (1); "
            "BEGIN TRY SELECT 1/0 END TRY BEGIN CATCH SELECT 'caught' END CATCH"
        )
        assert numbers(outcome) == [3998]
        assert values(door) == []

    def test_two_unique_values_can_change_places(self, door: Door) -> None:
        door.run("INSERT t VALUES (1), (2), (3)")
        door.run("UPDATE t SET a = 4 - a")
        assert values(door) == [1, 2, 3]
        assert door.error("UPDATE t SET a = 7").number == 2627
        assert values(door) == [1, 2, 3]


class TestIdentity:
    def test_values_are_not_given_back_by_a_rollback(self, door: Door) -> None:
        door.run("BEGIN TRAN; INSERT t VALUES (1); ROLLBACK; INSERT t VALUES (2)")
        assert door.rows("SELECT id, a FROM t") == [(2, 2)]

    def test_a_failed_insert_uses_up_one_value(self, door: Door) -> None:
        door.run("INSERT t VALUES (1)")
        door.attempt("INSERT t VALUES (1)")
        door.run("INSERT t VALUES (2)")
        assert door.rows("SELECT id FROM t ORDER BY id") == [(1,), (3,)]

    def test_scope_identity_knows_its_scope(self, door: Door) -> None:
        outcome = door.run(
            "INSERT t VALUES (1); EXEC ('INSERT t VALUES (2)'); "
            "SELECT SCOPE_IDENTITY(), @@IDENTITY, IDENT_CURRENT('t')"
        )
        assert outcome.rows == [("1", "2", "2")]

    def test_explicit_values_need_identity_insert_and_move_the_counter(self, door: Door) -> None:
        assert door.error("INSERT t (id, a) VALUES (50, 1)").number == 544
        door.run(
            "SET IDENTITY_INSERT t ON; INSERT t (id, a) VALUES (50, 1); SET IDENTITY_INSERT t OFF"
        )
        door.run("INSERT t VALUES (2)")
        assert door.rows("SELECT id FROM t ORDER BY id") == [(50,), (51,)]

    def test_truncate_starts_over_and_a_rollback_of_it_does_not(self, door: Door) -> None:
        door.run("INSERT t VALUES (1), (2)")
        door.run("BEGIN TRAN; TRUNCATE TABLE t; ROLLBACK; INSERT t VALUES (3)")
        assert door.rows("SELECT id FROM t ORDER BY id") == [(1,), (2,), (3,)]
        door.run("TRUNCATE TABLE t; INSERT t VALUES (4)")
        assert door.rows("SELECT id FROM t") == [(1,)]

    def test_reseeding_counts_from_there(self, door: Door) -> None:
        door.run(
            "INSERT t VALUES (1); DELETE t; DBCC CHECKIDENT ('[t]', RESEED, 0); INSERT t VALUES (2)"
        )
        assert door.rows("SELECT id FROM t") == [(1,)]


class TestDefinitions:
    def test_they_are_seen_by_their_session_and_by_others_after_the_commit(
        self, engine: SqlEngine, door: Door
    ) -> None:
        other = Door(engine)
        door.run("BEGIN TRAN; CREATE TABLE fresh (a int); INSERT fresh VALUES (1)")
        assert door.value("SELECT a FROM fresh") == 1
        assert other.error("SELECT a FROM fresh").number == 208
        door.run("COMMIT")
        assert other.value("SELECT a FROM fresh") == 1
        door.run("DROP TABLE fresh")
        other.close()

    def test_a_rollback_takes_them_back(self, door: Door) -> None:
        door.run("INSERT t VALUES (1)")
        door.run(
            "BEGIN TRAN; DROP TABLE t; CREATE TABLE t (b nvarchar(5)); CREATE "
            "TABLE u (c int); ROLLBACK"
        )
        assert values(door) == [1]
        assert door.value("SELECT OBJECT_ID('u')") is None

    def test_a_failed_one_leaves_nothing_behind(self, door: Door) -> None:
        door.run("INSERT t VALUES (1), (2)")
        failed = "ALTER TABLE t ADD CONSTRAINT small CHECK (a < 2)"
        assert door.error(failed).number == 547
        assert door.value("SELECT COUNT(*) FROM sys.check_constraints WHERE name = 'small'") == 0
        door.run("INSERT t VALUES (3)")

    def test_a_database_is_not_made_in_a_transaction(self, door: Door) -> None:
        assert door.error("BEGIN TRAN; CREATE DATABASE nope").number == 226
        door.run("ROLLBACK")


def test_a_procedure_call_keeps_the_transaction_open(door: Door) -> None:
    door.transact(TransactionOperation.BEGIN)
    door.execute("INSERT t VALUES (@P1)", "@P1 int", integer(9))
    assert door.value("SELECT @@TRANCOUNT") == 1
    door.transact(TransactionOperation.ROLLBACK)
    assert values(door) == []

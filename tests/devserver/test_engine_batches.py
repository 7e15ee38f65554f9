"""Batches: control of flow, errors, variables, dynamic SQL, and what the client is told."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mssql_async.devserver.engine import SqlEngine
from mssql_async.devserver.results import Command, Done, Message
from tests.devserver.engine_door import Door, integer, numbers, opened, text


@pytest.fixture(scope="module")
def engine() -> Iterator[SqlEngine]:
    with opened() as engine:
        yield engine


@pytest.fixture
def door(engine: SqlEngine) -> Iterator[Door]:
    door = Door(engine)
    yield door
    door.close()


class TestStatements:
    def test_each_statement_says_what_it_was_and_how_many_rows_it_touched(self, door: Door) -> None:
        outcome = door.run(
            "CREATE TABLE #t (a int); INSERT #t VALUES (1), (2); UPDATE #t SET a = "
            "3; SELECT a FROM #t"
        )
        assert [(done.command, done.count) for done in outcome.dones] == [
            (Command.CREATE_TABLE, None),
            (Command.INSERT, 2),
            (Command.UPDATE, 2),
            (Command.SELECT, 2),
        ]

    def test_nocount_holds_the_counts_back_but_not_rowcount(self, door: Door) -> None:
        outcome = door.run("SET NOCOUNT ON; SELECT 1 UNION SELECT 2; SELECT @@ROWCOUNT")
        assert outcome.counts == []
        assert outcome.sets[1] == [(2,)]

    def test_a_batch_without_results_still_says_that_it_ended(self, door: Door) -> None:
        assert door.run("DECLARE @x int").events == [Done()]

    def test_a_syntax_error_anywhere_keeps_the_whole_batch_from_running(self, door: Door) -> None:
        outcome = door.attempt("PRINT 'ran'; SELEC 1")
        assert numbers(outcome) == [102]
        assert outcome.infos == []

    @pytest.mark.parametrize(
        ("sql", "number"),
        [
            ("BEGIN TRAN; SAVE TRAN " + "s" * 33, 103),
            ("BEGIN TRAN " + "s" * 33, 103),
            ("SELECT 1; CREATE VIEW v AS SELECT 1 AS a", 111),
            ("IF 1 = 1 CREATE SCHEMA s", 111),
            ("SELECT 1 FROM sys.tables WITH (NOSUCHHINT)", 321),
        ],
    )
    def test_the_grammar_has_its_limits(self, door: Door, sql: str, number: int) -> None:
        assert door.error(sql).number == number
        assert door.value("SELECT @@TRANCOUNT") == 0

    def test_a_name_of_32_characters_is_no_longer_than_it_may(self, door: Door) -> None:
        name = "s" * 32
        door.run(f"BEGIN TRAN {name}; SAVE TRAN {name}; ROLLBACK TRAN {name}; ROLLBACK")

    def test_a_missing_table_is_found_only_when_its_statement_runs(self, door: Door) -> None:
        outcome = door.attempt("SELECT 1; SELECT * FROM missing; SELECT 2")
        assert outcome.sets == [[(1,)]]
        assert numbers(outcome) == [208]

    @pytest.mark.parametrize(
        ("wrong", "number"),
        [
            ("SELECT nosuch FROM #there", 207),
            ("SELECT x.a FROM #there", 4104),
            ("SELECT a FROM #there AS x, #there AS y", 209),
            ("SELECT @nosuch", 137),
            ("IF EXISTS (SELECT nosuch FROM #there) SELECT 1", 207),
            ("BEGIN TRY IF 1 = 2 UPDATE #there SET nosuch = 1 END TRY BEGIN CATCH END CATCH", 207),
            ("ALTER TABLE #there ADD nosuch int; SELECT nosuch FROM #there", 207),
        ],
    )
    def test_a_name_that_a_table_does_not_have_keeps_the_batch_from_running(
        self, door: Door, wrong: str, number: int
    ) -> None:
        door.run("CREATE TABLE #there (a int)")
        outcome = door.attempt(f"DECLARE @a int = 1; INSERT #there VALUES (@a);\n{wrong}")
        assert [(e.number, e.line) for e in outcome.errors] == [(number, 2)]
        assert door.value("SELECT COUNT(*) FROM #there") == 0

    def test_it_keeps_the_body_of_a_procedure_from_running_and_may_be_caught(
        self, door: Door
    ) -> None:
        door.run("CREATE TABLE #there (a int)")
        outcome = door.run(
            "BEGIN TRY EXEC ('INSERT #there VALUES (1); SELECT nosuch FROM #there') END TRY "
            "BEGIN CATCH SELECT ERROR_NUMBER(), (SELECT COUNT(*) FROM #there) END CATCH"
        )
        assert outcome.rows == [(207, 0)]

    def test_it_ends_no_transaction_even_with_xact_abort(self, door: Door) -> None:
        door.run("SET XACT_ABORT ON; BEGIN TRAN")
        assert door.error("PRINT 'x'; SELECT nosuch FROM sys.tables").number == 207
        assert door.value("SELECT @@TRANCOUNT") == 1

    def test_names_of_a_table_that_the_batch_makes_are_looked_up_when_it_is_there(
        self, door: Door
    ) -> None:
        outcome = door.attempt(
            "CREATE TABLE #new (a int); INSERT #new VALUES (1); SELECT a FROM #new; "
            "SELECT nosuch FROM #new"
        )
        assert outcome.rows == [(1,)]
        assert numbers(outcome) == [207]

    def test_an_error_of_a_statement_lets_the_next_one_run(self, door: Door) -> None:
        outcome = door.attempt("SELECT 1/0; SELECT 2")
        assert numbers(outcome) == [8134]
        assert outcome.sets[-1] == [(2,)]

    def test_a_failed_conversion_ends_the_batch(self, door: Door) -> None:
        outcome = door.attempt("SELECT CAST('x' AS int); SELECT 2")
        assert numbers(outcome) == [245]
        assert [(2,)] not in outcome.sets

    def test_errors_carry_the_line_of_their_statement(self, door: Door) -> None:
        assert door.error("SELECT 1\n\nSELECT 1/0").line == 3

    def test_a_terminated_statement_is_announced_after_its_error(self, door: Door) -> None:
        door.run("CREATE TABLE #t (a int NOT NULL)")
        outcome = door.attempt("INSERT #t VALUES (NULL)")
        assert [e.number for e in outcome.events if isinstance(e, Message)] == [515, 3621]
        assert outcome.dones == [Done(Command.INSERT, None, failed=True)]

    def test_use_changes_the_database_and_says_so(self, door: Door) -> None:
        outcome = door.run("USE master; SELECT DB_NAME()")
        assert outcome.value == "master"
        assert [(c.new, c.old) for c in outcome.changes] == [("master", "app")]
        assert [info.number for info in outcome.infos] == [5701]

    def test_an_unknown_database_is_named(self, door: Door) -> None:
        assert door.error("USE nowhere").number == 911

    def test_options_that_are_not_implemented_are_refused_by_name(self, door: Door) -> None:
        message = door.error("SET ANSI_NULLS OFF")
        assert message.number == 40517
        assert "ANSI_NULLS OFF" in message.text

    def test_rowcount_limits_what_is_sent(self, door: Door) -> None:
        outcome = door.run("SET ROWCOUNT 2; SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3")
        assert len(outcome.rows) == 2

    def test_a_large_result_comes_in_chunks(self, door: Door) -> None:
        outcome = door.run(
            "WITH n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 100) "
            "SELECT a.i FROM n AS a CROSS JOIN n AS b"
        )
        assert len(outcome.rows) == 10_000
        assert outcome.counts == [10_000]


class TestControlOfFlow:
    def test_if_while_break_and_continue(self, door: Door) -> None:
        outcome = door.run(
            """
            DECLARE @i int = 0, @sum int = 0
            WHILE @i < 10
            BEGIN
                SET @i = @i + 1
                IF @i = 3 CONTINUE
                IF @i > 5 BREAK
                SET @sum = @sum + @i
            END
            SELECT @i, @sum
            """
        )
        assert outcome.rows == [(6, 12)]

    def test_else_and_exists(self, door: Door) -> None:
        assert door.value("IF EXISTS (SELECT 1 WHERE 1 = 2) SELECT 'a' ELSE SELECT 'b'") == "b"

    def test_return_ends_the_batch(self, door: Door) -> None:
        assert door.run("SELECT 1; RETURN; SELECT 2").sets == [[(1,)]]

    def test_select_assigns_the_last_row(self, door: Door) -> None:
        assert (
            door.value("DECLARE @x int; SELECT @x = v FROM (VALUES (1), (2)) AS t(v); SELECT @x")
            == 2
        )

    def test_variables_are_gone_after_the_batch(self, door: Door) -> None:
        door.run("DECLARE @x int = 1")
        assert door.error("SELECT @x").number == 137

    def test_a_variable_is_declared_once(self, door: Door) -> None:
        assert door.error("DECLARE @x int; DECLARE @X int").number == 134


class TestErrorHandling:
    def test_catch_knows_the_error(self, door: Door) -> None:
        outcome = door.run(
            "BEGIN TRY SELECT 1/0 END TRY BEGIN CATCH "
            "SELECT ERROR_NUMBER(), ERROR_SEVERITY(), ERROR_MESSAGE() END CATCH; "
            "SELECT ERROR_NUMBER()"
        )
        assert outcome.sets[-2] == [(8134, 16, "Divide by zero error encountered.")]
        assert outcome.sets[-1] == [(None,)]

    def test_a_missing_table_is_not_caught_in_its_own_scope_but_by_the_caller(
        self, door: Door
    ) -> None:
        own = "BEGIN TRY SELECT * FROM missing END TRY BEGIN CATCH SELECT 'caught' END CATCH"
        assert numbers(door.attempt(own)) == [208]
        caller = (
            "BEGIN TRY EXEC sp_executesql N'SELECT * FROM missing' END TRY "
            "BEGIN CATCH SELECT ERROR_NUMBER() END CATCH"
        )
        assert door.value(caller) == 208

    def test_throw_raises_again_and_ends_the_batch(self, door: Door) -> None:
        outcome = door.attempt(
            "BEGIN TRY SELECT 1/0 END TRY BEGIN CATCH THROW; END CATCH; SELECT 'after'"
        )
        assert numbers(outcome) == [8134]
        assert [("after",)] not in outcome.sets

    def test_throw_with_a_number_of_ones_own(self, door: Door) -> None:
        message = door.error("THROW 51000, 'mine', 7")
        assert (message.number, message.text, message.severity, message.state) == (
            51000,
            "mine",
            16,
            7,
        )

    def test_raiserror_formats_and_lets_the_batch_go_on(self, door: Door) -> None:
        outcome = door.attempt("RAISERROR('%s: %d%%', 16, 2, 'load', 93); SELECT 'after'")
        assert outcome.errors[0].text == "load: 93%"
        assert outcome.errors[0].number == 50000
        assert outcome.sets == [[("after",)]]

    def test_raiserror_of_low_severity_and_print_are_information(self, door: Door) -> None:
        outcome = door.run("RAISERROR('psst', 10, 1); PRINT 'hello'")
        assert [info.text for info in outcome.infos] == ["psst", "hello"]

    def test_error_variable_holds_the_last_statements_number(self, door: Door) -> None:
        outcome = door.attempt("SELECT 1/0; SELECT @@ERROR; SELECT @@ERROR")
        assert outcome.sets[-2:] == [[(8134,)], [(0,)]]

    @pytest.mark.parametrize(
        "statement",
        [
            "USE app",
            "SET NOCOUNT OFF",
            "SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
            "PRINT 'x'",
            "RAISERROR('x', 10, 1)",
            "BEGIN TRAN; COMMIT",
            "BEGIN TRAN",
            "SAVE TRAN s",
            "ROLLBACK",
            "CREATE TABLE #reset (a int)",
            "TRUNCATE TABLE #reset",
            "WAITFOR DELAY '00:00:00'",
            "IF 1 = 1 SET NOCOUNT OFF",
            "IF 1 = 2 SELECT 1",
        ],
    )
    def test_what_counts_no_rows_leaves_rowcount_and_error_at_zero(
        self, door: Door, statement: str
    ) -> None:
        door.run("CREATE TABLE #reset (a int)" if "TRUNCATE" in statement else "SELECT 1")
        if statement in ("SAVE TRAN s", "ROLLBACK"):
            door.run("BEGIN TRAN")
        counted = door.run(f"SELECT 1 UNION SELECT 2; {statement}; SELECT @@ROWCOUNT")
        assert counted.sets[-1] == [(0,)]
        if "CREATE" in statement:
            door.run("DROP TABLE #reset")
        if statement == "ROLLBACK":
            door.run("BEGIN TRAN")
        failed = door.attempt(f"SELECT 1/0; {statement}; SELECT @@ERROR")
        assert failed.sets[-1] == [(0,)]

    def test_a_statement_that_failed_has_touched_no_row(self, door: Door) -> None:
        door.run("CREATE TABLE #once (a int PRIMARY KEY)")
        outcome = door.attempt(
            "INSERT #once VALUES (1), (2); INSERT #once VALUES (1); SELECT @@ROWCOUNT"
        )
        assert outcome.sets[-1] == [(0,)]

    def test_an_assignment_counts_one_and_execute_keeps_what_its_statements_left(
        self, door: Door
    ) -> None:
        two = "SELECT 1 UNION SELECT 2"
        assert door.run(f"{two}; DECLARE @a int = 3; SELECT @@ROWCOUNT").sets[-1] == [(1,)]
        assert door.run(f"{two}; DECLARE @a int; SELECT @@ROWCOUNT").sets[-1] == [(2,)]
        assert door.run(f"EXEC ('{two}'); SELECT @@ROWCOUNT").sets[-1] == [(2,)]
        failed = door.attempt("EXEC sp_executesql N'SELECT 1/0'; SELECT @@ERROR")
        assert failed.sets[-1] == [(8134,)]

    def test_a_delay_is_a_time_of_day(self, door: Door) -> None:
        for wrong in ("25:00:00", "24:00:00", "00:60:00", "00:00:61", "x"):
            assert door.error(f"WAITFOR DELAY '{wrong}'").number == 148

    def test_sp_executesql_returns_the_error_of_its_last_statement(self, door: Door) -> None:
        run = "DECLARE @r int; EXEC @r = sp_executesql N'{}'; SELECT @r"
        assert door.attempt(run.format("SELECT 1/0")).sets[-1] == [(8134,)]
        assert door.attempt(run.format("SELECT 1/0; SELECT 1")).sets[-1] == [(0,)]
        assert door.attempt(run.format("SELECT 1; RETURN")).sets[-1] == [(0,)]

    def test_sp_executesql_takes_unicode_only(self, door: Door) -> None:
        assert door.error("EXEC sp_executesql 'SELECT 1'").number == 214

    def test_errors_nest(self, door: Door) -> None:
        outcome = door.run(
            "BEGIN TRY SELECT 1/0 END TRY BEGIN CATCH "
            "  BEGIN TRY SELECT CAST('x' AS int) END TRY BEGIN CATCH SELECT "
            "ERROR_NUMBER() END CATCH "
            "  SELECT ERROR_NUMBER() "
            "END CATCH"
        )
        assert outcome.sets[-2:] == [[(245,)], [(8134,)]]


class TestVariables:
    def test_a_declaration_in_a_loop_declares_once(self, door: Door) -> None:
        outcome = door.run(
            "DECLARE @i int = 0; WHILE @i < 3 BEGIN DECLARE @n int; DECLARE @t TABLE (a int); "
            "SET @i += 1; SET @n = ISNULL(@n, 0) + @i; INSERT @t VALUES (@i) END; "
            "SELECT @n, (SELECT COUNT(*) FROM @t)"
        )
        assert outcome.rows == [(6, 3)]

    def test_a_name_is_declared_once_in_a_batch(self, door: Door) -> None:
        assert door.error("DECLARE @a int, @a int").number == 134
        assert door.error("DECLARE @a int; DECLARE @a int").number == 134
        assert door.run("DECLARE @a int = 1; SELECT @a").value == 1


class TestTemporaryTables:
    def test_they_live_as_long_as_the_session_and_belong_to_it(
        self, engine: SqlEngine, door: Door
    ) -> None:
        door.run("CREATE TABLE #mine (a int); INSERT #mine VALUES (1)")
        assert door.value("SELECT a FROM #mine") == 1
        other = Door(engine)
        assert other.error("SELECT a FROM #mine").number == 208
        other.close()

    def test_select_into_makes_one(self, door: Door) -> None:
        door.run("SELECT 1 AS a, CAST('x' AS nvarchar(5)) AS b INTO #copy")
        assert door.rows("SELECT a, b FROM #copy") == [(1, "x")]

    def test_identity_and_defaults_work_in_them(self, door: Door) -> None:
        door.run("CREATE TABLE #t (id int IDENTITY(5, 2), n int DEFAULT 7)")
        door.run("INSERT #t DEFAULT VALUES; INSERT #t DEFAULT VALUES")
        assert door.rows("SELECT id, n FROM #t") == [(5, 7), (7, 7)]

    def test_table_variables_end_with_the_batch_and_survive_a_rollback(self, door: Door) -> None:
        outcome = door.run(
            "DECLARE @t TABLE (a int PRIMARY KEY); BEGIN TRAN; INSERT @t VALUES (1); ROLLBACK; "
            "SELECT a FROM @t"
        )
        assert outcome.rows == [(1,)]
        assert door.error("SELECT a FROM @t").number == 1087

    def test_output_into_a_table_variable(self, door: Door) -> None:
        door.run("CREATE TABLE #t (id int IDENTITY, n int)")
        outcome = door.run(
            "DECLARE @new TABLE (id int); INSERT #t (n) OUTPUT INSERTED.id INTO "
            "@new VALUES (1), (2); "
            "SELECT id FROM @new ORDER BY id"
        )
        assert outcome.rows == [(1,), (2,)]

    def test_insert_exec_stores_what_a_call_returns(self, door: Door) -> None:
        door.run("CREATE TABLE #t (a int, b nvarchar(5))")
        door.run("INSERT #t EXEC sp_executesql N'SELECT 1, ''x'' UNION ALL SELECT 2, ''y'''")
        assert door.rows("SELECT a, b FROM #t") == [(1, "x"), (2, "y")]


class TestDynamicSql:
    def test_parameters_and_outputs(self, door: Door) -> None:
        outcome = door.execute(
            "SELECT @a + @b; SET @b = @a * 10",
            "@a int, @b int OUTPUT",
            integer(4, "@a"),
            integer(3, "@b", output=True),
        )
        assert outcome.rows == [(7,)]
        assert outcome.outputs == [40]
        assert outcome.status == 0

    def test_exec_assigns_outputs_to_variables(self, door: Door) -> None:
        assert (
            door.value(
                "DECLARE @x int; EXEC sp_executesql N'SET @o = 5', N'@o int OUTPUT', "
                "@o = @x OUTPUT; "
                "SELECT @x"
            )
            == 5
        )

    def test_a_missing_parameter_is_named(self, door: Door) -> None:
        assert numbers(door.execute("SELECT @a", "@a int")) == [8178]

    def test_exec_of_a_string_has_a_scope_of_its_own(self, door: Door) -> None:
        assert door.error("DECLARE @x int = 1; EXEC ('SELECT @x')").number == 137

    def test_an_unknown_procedure_is_named(self, door: Door) -> None:
        assert door.error("EXEC no_such_thing 1").number == 2812
        assert numbers(door.call("no_such_thing")) == [2812]

    def test_nesting_ends_somewhere(self, door: Door) -> None:
        body = "SELECT 1"
        for _ in range(6):
            body = f"EXEC ('{body.replace(chr(39), chr(39) * 2)}')"
        assert door.run(body).rows == [(1,)]


class TestPreparedStatements:
    def test_prepare_execute_unprepare(self, door: Door) -> None:
        prepared = door.call(
            "sp_prepare", integer(None, output=True), text("@P1 int"), text("SELECT @P1 * 2")
        )
        (handle,) = prepared.outputs
        assert door.call("sp_execute", integer(handle), integer(21)).value == 42
        assert door.call("sp_unprepare", integer(handle)).errors == []
        assert numbers(door.call("sp_execute", integer(handle), integer(1))) == [8179]

    def test_prepexec_runs_and_returns_a_handle(self, door: Door) -> None:
        outcome = door.call(
            "sp_prepexec",
            integer(None, output=True),
            text("@P1 nvarchar(3)"),
            text("SELECT @P1"),
            text("abcdef"),
        )
        assert outcome.value == "abc"
        assert isinstance(outcome.outputs[0], int)

    def test_values_are_converted_to_the_declared_type(self, door: Door) -> None:
        outcome = door.execute("SELECT @P1 + 1", "@P1 int", text("41"))
        assert outcome.value == 42

    def test_a_table_changed_in_between_is_noticed(self, door: Door) -> None:
        door.run("CREATE TABLE #t (a int); INSERT #t VALUES (1)")
        (handle,) = door.call(
            "sp_prepare", integer(None, output=True), text(""), text("SELECT * FROM #t")
        ).outputs
        assert door.call("sp_execute", integer(handle)).rows == [(1,)]
        door.run("ALTER TABLE #t ADD b int NULL")
        assert door.call("sp_execute", integer(handle)).rows == [(1, None)]


class TestTheClock:
    """GETDATE() and its like are runtime constants: read before the first row, once."""

    def test_a_statement_reads_it_once(self, door: Door) -> None:
        door.run("CREATE TABLE #t (n int, since datetime2(7) DEFAULT SYSUTCDATETIME())")
        door.run(f"INSERT #t (n) VALUES {', '.join('(1)' for _ in range(100))}")
        assert door.value("SELECT COUNT(DISTINCT since) FROM #t") == 1
        [row] = door.rows("SELECT SYSDATETIME(), SYSDATETIME(), SYSUTCDATETIME()")
        assert len(set(row)) == 1

    def test_the_next_one_reads_it_again(self, door: Door) -> None:
        """The control: a clock that stood still would never leave the loop before its bound."""
        assert (
            door.value(
                "DECLARE @began datetime2(7) = SYSDATETIME(), @n int = 0; "
                "WHILE @began = SYSDATETIME() AND @n < 1000 SET @n += 1; SELECT @n"
            )
            < 1000
        )

"""What an error does to connections and transactions, through Django's wrapper."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pyodbc
import pytest
from django.db import Error, IntegrityError, OperationalError, transaction
from django.db.transaction import TransactionManagementError

from mssql_async.base import DatabaseWrapper
from mssql_async.devserver import DevServer
from mssql_async.devserver.faults import Drop, Sessions
from mssql_async.pool.odbc import LINK_STATES, RETIRING_ERRORS, TRANSACTION_ENDING_ERRORS
from mssql_async.session.errors import TransactionLost
from mssql_async.session.lease import LeasedConnection

from .conftest import wrapper_for
from .default_alias import default_database
from .test_connections import ask, do
from .test_faults import idle_connections, in_transaction

#: Errors that say nothing of the connection, whatever class pyodbc gives them.
HARMLESS = [102, 208, 229, 245, 547, 701, 911, 916, 1205, 1222, 2627, 3960, 8179, 9002, 40544]


def logins_of_all_at_once(server: DevServer, wrappers: list[DatabaseWrapper]) -> int:
    """How many logins it takes to give each of them a connection."""
    server.reset_counters()
    for wrapper in wrappers:
        in_transaction(wrapper, "SELECT 1")
    logins = server.counters.logins
    for wrapper in wrappers:
        wrapper.close()
    return logins


class TestErrorsThatEndConnections:
    @pytest.mark.parametrize("number", sorted(RETIRING_ERRORS))
    def test_the_whole_generation_is_retired(self, server: DevServer, number: int) -> None:
        wrappers = idle_connections(server, 3)
        server.faults.fail_statement("SELECT 41", number)
        with pytest.raises(Error, match=str(number)):
            ask(wrappers[0], "SELECT 41")
        wrappers[0].close()
        assert logins_of_all_at_once(server, wrappers) == 3

    @pytest.mark.parametrize("number", HARMLESS)
    def test_other_errors_cost_no_login(self, server: DevServer, number: int) -> None:
        """The control of the test above."""
        wrappers = idle_connections(server, 3)
        server.faults.fail_statement("SELECT 41", number, text="It failed.")
        with pytest.raises(Error, match=str(number)):
            ask(wrappers[0], "SELECT 41")
        wrappers[0].close()
        assert logins_of_all_at_once(server, wrappers) == 0

    def test_a_text_that_quotes_such_an_error_costs_none(self, server: DevServer) -> None:
        wrappers = idle_connections(server, 2)
        with pytest.raises(Error):
            do(wrappers[0], "RAISERROR (N'as in (3906); [08S01] (596)', 16, 1)")
        wrappers[0].close()
        assert logins_of_all_at_once(server, wrappers) == 0

    @pytest.mark.parametrize("how", list(Drop))
    def test_so_does_a_link_that_breaks_in_a_statement(self, server: DevServer, how: Drop) -> None:
        wrappers = idle_connections(server, 3)
        server.faults.drop_at("SELECT 41", how)
        with pytest.raises(OperationalError, match="08S01"):
            ask(wrappers[0], "SELECT 41")
        wrappers[0].close()
        assert logins_of_all_at_once(server, wrappers) == 3


class TestTimeOuts:
    @pytest.fixture
    def hurried(self, server: DevServer) -> Iterator[DatabaseWrapper]:
        wrapper = wrapper_for(server, OPTIONS={"query_timeout": 1})
        yield wrapper
        wrapper.close()

    def test_a_peer_that_does_not_answer_the_cancel_is_not_asked_again(
        self, server: DevServer, hurried: DatabaseWrapper
    ) -> None:
        (frozen,) = ask(hurried, "SELECT @@SPID")
        with server.faults.freeze(Sessions.spid(frozen)):
            with pytest.raises(OperationalError, match="HYT00"):
                ask(hurried, "SELECT 1")
            (other,) = ask(hurried, "SELECT @@SPID")
        assert other != frozen
        assert server.counters.logins == 2

    def test_one_that_answers_it_is(self, server: DevServer, hurried: DatabaseWrapper) -> None:
        """The control of the test above."""
        (slow,) = ask(hurried, "SELECT @@SPID")
        with pytest.raises(OperationalError, match="HYT00"):
            do(hurried, "WAITFOR DELAY '01:00:00'")
        assert ask(hurried, "SELECT @@SPID") == (slow,)
        assert server.counters.logins == 1


@contextmanager
def atomic(wrapper: DatabaseWrapper) -> Iterator[None]:
    """``transaction.atomic`` as it commits and rolls back, for a wrapper without an alias."""
    wrapper.set_autocommit(False)
    try:
        yield
        wrapper.commit()
    except BaseException:
        wrapper.rollback()
        raise
    finally:
        wrapper.set_autocommit(True)


#: Statements that fail, and whether they take the transaction with them.
STATEMENTS = {
    245: ("SELECT CAST('x' AS int)", True),
    241: ("SELECT CAST('x' AS datetime)", True),
    8114: ("SELECT CAST('x' AS decimal(9, 2))", True),
    8169: ("SELECT CAST('x' AS uniqueidentifier)", True),
    3998: (
        "DECLARE @n int; BEGIN TRY SET @n = CAST('x' AS int) END TRY "
        "BEGIN CATCH SET @n = 0 END CATCH",
        True,
    ),
    3903: ("ROLLBACK; ROLLBACK", True),
    8134: ("SELECT 1 / 0", False),
    8115: ("SELECT CAST(1000 AS decimal(3, 1))", False),
    242: ("SELECT CAST('2026-13-01' AS datetime)", False),
    2627: ("INSERT INTO ledger VALUES (1)", False),
    515: ("INSERT INTO ledger VALUES (NULL)", False),
    208: ("SELECT * FROM nowhere", False),
    50000: ("RAISERROR (N'mine', 16, 1)", False),
}


class TestTransactions:
    @pytest.fixture
    def block(self, wrapper: DatabaseWrapper) -> Iterator[DatabaseWrapper]:
        """A wrapper within ``atomic``, with a row that is not committed."""
        do(wrapper, "CREATE TABLE ledger (id int PRIMARY KEY)")
        in_transaction(wrapper, "INSERT INTO ledger VALUES (1)")
        wrapper.in_atomic_block = True
        yield wrapper
        wrapper.in_atomic_block = wrapper.needs_rollback = False
        wrapper.rollback()
        wrapper.set_autocommit(True)

    @pytest.mark.parametrize("number", [n for n, (_, ends) in STATEMENTS.items() if ends])
    def test_a_block_whose_transaction_is_gone_goes_no_further(
        self, block: DatabaseWrapper, number: int
    ) -> None:
        assert number in TRANSACTION_ENDING_ERRORS
        with pytest.raises(Error, match=rf"\({number}\)"):
            do(block, STATEMENTS[number][0])
        with pytest.raises(TransactionManagementError):
            do(block, "INSERT INTO ledger VALUES (2)")
        # Nor where somebody takes that for granted no more than the lease itself does.
        block.needs_rollback = False
        with pytest.raises(OperationalError, match="has rolled this transaction back"):
            do(block, "INSERT INTO ledger VALUES (3)")
        with pytest.raises(TransactionLost):
            block.connection.commit()
        # Rightly so: what it had written is not there any more.
        block.connection.rollback()
        assert ask(block, "SELECT COUNT(*) FROM ledger") == (0,)

    def test_also_one_that_shows_in_a_later_result_only(self, block: DatabaseWrapper) -> None:
        with block.cursor() as cursor:
            cursor.execute("SELECT 1; SELECT CAST('x' AS int)")
            with pytest.raises(Error, match=r"\(245\)"):
                while cursor.nextset():
                    pass
        with pytest.raises(OperationalError, match="has rolled this transaction back"):
            do(block, "INSERT INTO ledger VALUES (2)")
        block.connection.rollback()
        assert ask(block, "SELECT COUNT(*) FROM ledger") == (0,)

    @pytest.mark.parametrize(
        "batch",
        [
            "UPDATE ledger SET id = 2; UPDATE ledger SET id = CAST('x' AS int)",
            "SELECT 1; SELECT CAST('x' AS int)",
            "SELECT value FROM GENERATE_SERIES(1, 20000); SELECT CAST('x' AS int)",
            "SELECT CASE value WHEN 9000 THEN CAST('x' AS int) END FROM GENERATE_SERIES(1, 20000)",
        ],
    )
    def test_or_that_nobody_reads_up_to(
        self, server: DevServer, block: DatabaseWrapper, batch: str
    ) -> None:
        server.reset_counters()
        do(block, batch)
        assert server.counters.messages == {"batch": 1}
        with pytest.raises(OperationalError, match="has rolled this transaction back"):
            do(block, "INSERT INTO ledger VALUES (2)")
        with pytest.raises(TransactionLost):
            block.connection.commit()
        block.connection.rollback()
        assert ask(block, "SELECT COUNT(*) FROM ledger") == (0,)

    def test_a_lease_that_did_not_listen_would_commit_the_second_half(
        self, block: DatabaseWrapper, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The positive control of the test above."""
        monkeypatch.setattr(LeasedConnection, "_hear_out", lambda *_: False)
        do(block, "UPDATE ledger SET id = 2; UPDATE ledger SET id = CAST('x' AS int)")
        do(block, "INSERT INTO ledger VALUES (7)")
        block.connection.commit()
        assert ask(block, "SELECT id FROM ledger") == (7,)

    def test_with_xact_abort_any_error_is_one_of_them(self, block: DatabaseWrapper) -> None:
        do(block, "SET XACT_ABORT ON")
        with pytest.raises(IntegrityError):
            do(block, "INSERT INTO ledger VALUES (1)")
        with pytest.raises(OperationalError, match="has rolled this transaction back"):
            do(block, "INSERT INTO ledger VALUES (2)")
        block.connection.rollback()
        assert ask(block, "SELECT COUNT(*) FROM ledger") == (0,)

    def test_and_so_is_a_time_out(self, server: DevServer) -> None:
        hurried = wrapper_for(server, OPTIONS={"query_timeout": 1})
        do(hurried, "CREATE TABLE ledger (id int PRIMARY KEY)")
        with pytest.raises(OperationalError, match="has rolled"), atomic(hurried):
            do(hurried, "SET XACT_ABORT ON")
            do(hurried, "INSERT INTO ledger VALUES (1)")
            with pytest.raises(OperationalError, match="HYT00"):
                do(hurried, "WAITFOR DELAY '01:00:00'")
            do(hurried, "INSERT INTO ledger VALUES (2)")
        assert ask(hurried, "SELECT COUNT(*) FROM ledger") == (0,)
        hurried.close()

    @pytest.fixture
    def default(self, server: DevServer) -> Iterator[DatabaseWrapper]:
        with default_database(server) as wrapper:
            yield wrapper

    def test_a_wrong_name_in_use_ends_neither_the_block_nor_the_session(
        self, default: DatabaseWrapper
    ) -> None:
        """08004, which for other drivers is a server that refuses the connection."""
        do(default, "CREATE TABLE ledger (id int)")
        do(default, "CREATE TABLE #mine (n int)")
        with transaction.atomic():
            do(default, "INSERT INTO ledger VALUES (1)")
            with pytest.raises(OperationalError, match=r"\(911\)"):
                do(default, "USE nosuch")
            do(default, "INSERT INTO ledger VALUES (2)")
        assert ask(default, "SELECT COUNT(*) FROM ledger") == (2,)
        assert ask(default, "SELECT COUNT(*) FROM #mine") == (0,)

    @pytest.mark.parametrize("state", ["08004", "08S01"])
    def test_django_forgets_a_connection_whose_link_is_gone_and_no_other(
        self, wrapper: DatabaseWrapper, state: str
    ) -> None:
        wrapper.ensure_connection()
        wrapper._on_error(pyodbc.OperationalError(state, "whatever"))
        assert (wrapper.connection is None) is (state in LINK_STATES)

    @pytest.mark.parametrize("number", [n for n, (_, ends) in STATEMENTS.items() if not ends])
    def test_another_error_leaves_the_block_as_it_was(
        self, block: DatabaseWrapper, number: int
    ) -> None:
        """The control of the test above."""
        assert number not in TRANSACTION_ENDING_ERRORS
        with pytest.raises(Error, match=rf"\({number}\)"):
            do(block, STATEMENTS[number][0])
        do(block, "INSERT INTO ledger VALUES (2)")
        assert ask(block, "SELECT COUNT(*) FROM ledger") == (2,)

    def test_a_duplicate_that_is_caught_may_be_committed_around(
        self, server: DevServer, block: DatabaseWrapper
    ) -> None:
        with pytest.raises(IntegrityError):
            do(block, "INSERT INTO ledger VALUES (1)")
        block.in_atomic_block = False
        block.commit()
        other = wrapper_for(server)
        assert ask(other, "SELECT COUNT(*) FROM ledger") == (1,)
        other.close()

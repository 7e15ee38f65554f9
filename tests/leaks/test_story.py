"""What a context tells of itself, on a backend that works and on broken twins of it."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context, copy_context
from typing import Any

import pytest
from django.db import DatabaseError, connections, transaction
from pytest_django import DjangoDbBlocker

from loadtests.leaks import probe
from loadtests.leaks.adapters import PoolAdapter
from loadtests.leaks.recorder import Recorder
from loadtests.leaks.signals import Signals, SignalServer, join
from loadtests.leaks.story import Story
from loadtests.leaks.transactions import OpenTransaction, open_transaction
from mssql_async.contrib.leaks.detectors import find_all
from mssql_async.contrib.leaks.findings import Detector
from mssql_async.contrib.leaks.record import (
    AnswerKind,
    Fate,
    Kind,
    Record,
    Session,
    Sight,
    Use,
    Written,
)
from mssql_async.devserver import DevServer
from mssql_async.pool.registry import close_pools
from tests.backend.conftest import wrapper_for

SESSION = Session(51, "2024-01-01T00:00:00")
PATIENCE = 30.0


@pytest.fixture
def server(django_db_blocker: DjangoDbBlocker) -> Iterator[DevServer]:
    with django_db_blocker.unblock(), DevServer() as own:
        yield own
        close_pools(lambda parameters: parameters.address == (own.host, own.port))


@contextmanager
def connected(server: DevServer, **options: Any) -> Iterator[None]:
    """The default database is that server, in this thread."""
    before = connections["default"]
    connections["default"] = wrapper_for(server, OPTIONS=options)
    try:
        yield
    finally:
        connections["default"].close()
        connections["default"] = before


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    recorder, adapter = Recorder(), PoolAdapter()
    recorder.adapter = adapter
    yield recorder
    adapter.close()


_tokens = itertools.count(1000)


def story_of(recorder: Recorder, token: int = 0) -> Story:
    """A context of its own, or that number's."""
    token = token or next(_tokens)
    return Story(token, "a test", Kind.TEST, recorder=recorder, signals=Signals())


@pytest.fixture
def story(server: DevServer, recorder: Recorder) -> Iterator[Story]:
    with connected(server), story_of(recorder) as story:
        yield story


def setting(sight: Sight, name: str) -> str:
    return dict(sight.state.settings)[name]


class TestProbe:
    def test_it_says_which_session_it_was(self, story: Story) -> None:
        sight = story.probe()
        with connections["default"].cursor() as cursor:
            cursor.execute("SELECT @@SPID")
            assert cursor.fetchall() == [(sight.session.spid,)]
        assert sight.session.login_time

    def test_it_leaves_the_session_as_it_was(self, story: Story) -> None:
        before = story.probe()
        assert story.probe().state == before.state
        assert not connections["default"].connection.pinned

    def test_its_place_is_the_line_of_the_application(self, story: Story) -> None:
        sight = story.probe()
        assert sight.place.startswith("tests/leaks/test_story.py:")
        assert sight.place.endswith(" in test_its_place_is_the_line_of_the_application")

    def test_it_asks_for_what_was_never_asked_before(
        self, story: Story, recorder: Recorder
    ) -> None:
        story.probe()
        story.probe()
        first, second = recorder.drain().answers
        assert (first.kind, first.expected) == (AnswerKind.ROW, first.got)
        assert first.expected != second.expected

    def test_it_runs_on_a_cursor_that_is_open(self, story: Story) -> None:
        with connections["default"].cursor() as cursor:
            assert story.probe(cursor=cursor).session.spid

    @pytest.mark.parametrize(
        ("name", "sql", "value"),
        [
            ("isolation level", "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", "serializable"),
            ("language", "SET LANGUAGE Deutsch", "Deutsch"),
            ("date format", "SET DATEFORMAT dmy", "dmy"),
            ("date first", "SET DATEFIRST 3", 3),
            ("lock_timeout", "SET LOCK_TIMEOUT 4321", 4321),
            ("deadlock priority", "SET DEADLOCK_PRIORITY LOW", -5),
            ("database", "USE master", "master"),
            ("context info", "SET CONTEXT_INFO 0x1702", "1702"),
            ("session context", "EXEC sp_set_session_context N'leaks', N'17'", "17"),
            ("temporary table", "CREATE TABLE #leaks (word int)", "there"),
            (
                "application lock",
                "EXEC sp_getapplock 'leaks', 'Shared', 'Session'",
                "Shared",
            ),
        ],
    )
    def test_it_sees_what_a_context_changes_and_expects_that(
        self, story: Story, name: str, sql: str, value: object
    ) -> None:
        shown, expected = probe.as_shown(name, value)
        assert setting(story.probe(), shown) != expected
        story.change(name, sql, value)
        sight = story.probe()
        assert setting(sight, shown) == expected
        assert sight.expected == ((shown, expected),)

    def test_another_context_expects_nothing_of_that(
        self, story: Story, recorder: Recorder
    ) -> None:
        story.table()
        with story.child(Kind.TASK) as child:
            assert child.probe().expected == ()


class TestAnswers:
    def test_messages_come_back_as_they_were_printed(
        self, story: Story, recorder: Recorder
    ) -> None:
        story.message()
        (answer,) = recorder.drain().answers
        assert (answer.kind, answer.got) == (AnswerKind.MESSAGE, answer.expected)

    def test_errors_come_back_as_they_were_raised(self, story: Story, recorder: Recorder) -> None:
        story.error()
        (answer,) = recorder.drain().answers
        assert (answer.kind, answer.got) == (AnswerKind.ERROR, answer.expected)

    @pytest.mark.parametrize("ask", ["message", "error"])
    def test_both_name_their_session_though_their_lease_is_over(
        self, story: Story, recorder: Recorder, ask: str
    ) -> None:
        getattr(story, ask)()
        session = story.probe().session
        record = recorder.drain()
        (answer, _probed) = record.answers
        assert answer.session == session
        first, second = record.units
        assert first.session == session
        assert first.acquired_at is not None
        assert first.acquired_at <= first.began_at <= first.ended_at <= second.began_at

    def test_a_transaction_sees_its_error(self, story: Story) -> None:
        with pytest.raises(DatabaseError), story.transaction():
            story.error()

    def test_an_answer_to_something_else_is_kept_as_it_is(
        self, story: Story, recorder: Recorder
    ) -> None:
        assert story.ask("SELECT %s", ["theirs"], "mine") == "theirs"
        record = recorder.drain()
        assert [finding.detector for finding in find_all(record)] == [Detector.RESULT_MIX_UP]


class TestTransactions:
    def test_one_is_a_unit_from_its_first_statement_to_its_last(
        self, story: Story, recorder: Recorder
    ) -> None:
        with story.transaction():
            first, last = story.probe(), story.probe()
        units = recorder.drain().units
        (whole,) = [unit for unit in units if unit.use is Use.TRANSACTION]
        assert whole.session == first.session == last.session
        assert whole.began_at <= first.at < last.at <= whole.ended_at
        assert (first.in_transaction, first.state.transactions) == (True, 1)
        assert (first.is_first, last.is_first) == (True, False)

    def test_what_follows_it_is_outside(self, story: Story) -> None:
        with story.transaction():
            pass
        sight = story.probe()
        assert (sight.in_transaction, sight.state.transactions) == (False, 0)

    def test_functions_of_on_commit_are_outside_as_well(self, story: Story) -> None:
        seen: list[Sight] = []
        with story.transaction():
            story.probe()
            transaction.on_commit(lambda: seen.append(story.probe()))
        assert [sight.in_transaction for sight in seen] == [False]

    @pytest.fixture
    def fate_after(self, recorder: Recorder) -> Callable[[OpenTransaction], Fate]:
        """Of a row written in a transaction that is over."""

        def fate(over: OpenTransaction) -> Fate:
            assert not over.is_open
            (written,) = recorder.drain().written
            return written.fate

        return fate

    def test_rows_are_committed_with_it(
        self, story: Story, fate_after: Callable[[OpenTransaction], Fate]
    ) -> None:
        with story.transaction() as one:
            one.written.append(row())
        assert fate_after(one) is Fate.COMMITTED

    def test_rows_are_rolled_back_with_it(
        self, story: Story, fate_after: Callable[[OpenTransaction], Fate]
    ) -> None:
        with pytest.raises(KeyError), story.transaction() as one:
            one.written.append(row())
            raise KeyError
        assert fate_after(one) is Fate.ROLLED_BACK

    def test_rows_are_rolled_back_where_nothing_is_raised(
        self, story: Story, fate_after: Callable[[OpenTransaction], Fate]
    ) -> None:
        with story.transaction() as one:
            one.written.append(row())
            transaction.set_rollback(True)
        assert fate_after(one) is Fate.ROLLED_BACK

    def test_rows_of_a_savepoint_go_with_that(
        self, story: Story, fate_after: Callable[[OpenTransaction], Fate]
    ) -> None:
        with story.transaction() as one:
            story.probe()
            with pytest.raises(KeyError), story.transaction() as inner:
                inner.written.append(row())
                raise KeyError
        assert fate_after(one) is Fate.ROLLED_BACK

    def test_nobody_knows_of_a_commit_that_fails(
        self,
        story: Story,
        fate_after: Callable[[OpenTransaction], Fate],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def fail() -> None:
            raise DatabaseError("cut off")

        with pytest.raises(DatabaseError), story.transaction() as one:
            story.probe()
            one.written.append(row())
            monkeypatch.setattr(connections["default"], "_commit", fail)
        assert fate_after(one) is Fate.OPEN

    def test_the_transaction_around_a_view_ends_after_it(
        self, story: Story, recorder: Recorder
    ) -> None:
        with transaction.atomic():
            with story.requested() as one:
                one.written.append(row())
            assert recorder.drain().written == []
        assert [each.fate for each in recorder.drain().written] == [Fate.COMMITTED]

    def test_one_that_a_context_leaves_open_has_an_unknown_end(
        self, story: Story, recorder: Recorder
    ) -> None:
        story.begun().written.append(row())
        story.end()
        assert [each.fate for each in recorder.drain().written] == [Fate.OPEN]

    def test_two_threads_of_a_context_have_a_transaction_each(
        self, server: DevServer, story: Story
    ) -> None:
        sights: list[Sight] = []

        def beside() -> None:
            with connected(server):
                sights.append(story.probe())

        with story.transaction():
            mine = story.probe()
            thread = threading.Thread(target=beside)
            thread.start()
            thread.join()
        (theirs,) = sights
        assert theirs.session != mine.session
        assert not theirs.in_transaction


class TestACallThatWasGivenUp:
    """Its thread may still be in a block when its task goes on elsewhere, with the context
    variables of that thread, which asgiref hands back."""

    @contextmanager
    def still_in_a_block(self, server: DevServer, story: Story) -> Iterator[Context]:
        variables, is_in_it, may_end = copy_context(), threading.Event(), threading.Event()

        def call() -> None:
            with connected(server), story.transaction():
                is_in_it.set()
                may_end.wait(PATIENCE)

        thread = threading.Thread(target=variables.run, args=[call])
        thread.start()
        assert is_in_it.wait(PATIENCE)
        try:
            yield variables.copy()
        finally:
            may_end.set()
            thread.join()

    def go_on(self, story: Story, other: Story) -> None:
        for each in (story, other, story):
            each.probe()

    def test_shares_no_session_with_those_who_come_between_what_its_task_does_next(
        self, server: DevServer, story: Story, recorder: Recorder
    ) -> None:
        with self.still_in_a_block(server, story) as variables:
            variables.run(self.go_on, story, story_of(recorder))
        record = recorder.drain()
        assert not find_all(record, (Detector.SHARED_SESSION, Detector.TRANSACTION_BLEED))
        assert len({unit.session for unit in record.units}) == 1
        assert [unit.use for unit in record.units] == [Use.STATEMENT] * 3

    def test_would_seem_to_where_nobody_asks_which_thread_it_is_in(
        self,
        server: DevServer,
        story: Story,
        recorder: Recorder,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(
            Story, "_transaction_here", lambda story, alias: open_transaction(story.token, alias)
        )
        with self.still_in_a_block(server, story) as variables:
            variables.run(self.go_on, story, story_of(recorder))
        assert find_all(recorder.drain(), (Detector.SHARED_SESSION,))


def row() -> Written:
    return Written(17, "17-1", Fate.COMMITTED, 0.0, SESSION, 1)


class TestCursors:
    def test_a_cursor_has_its_session_until_its_last_row(
        self, story: Story, recorder: Recorder
    ) -> None:
        story.probe()  # now it is known which session that is
        with story.cursor_unit() as cursor:
            cursor.execute("SELECT 1 UNION ALL SELECT 2")
            cursor.fetchone()
            held = recorder.drain()
            cursor.fetchall()
        (unit,) = recorder.drain().units
        assert held.units[-1].use is Use.STATEMENT
        assert (unit.use, unit.session) == (Use.CURSOR, held.sights[0].session)
        assert unit.statement == "SELECT 1 UNION ALL SELECT 2"


class TestTimes:
    """Forty threads share a connection, which goes from hand to hand."""

    def record(self, server: DevServer, recorder: Recorder) -> Record:
        together = threading.Barrier(40)

        def work(token: int) -> None:
            with connected(server, pool={"max_size": 1}), story_of(recorder, token) as story:
                together.wait()
                for _ in range(5):
                    story.probe()

        threads = [threading.Thread(target=work, args=(token,)) for token in range(1, 41)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        record = recorder.drain()
        assert len(record.units) == 200
        assert len({unit.session for unit in record.units}) == 1
        return record

    def test_those_of_two_contexts_on_a_session_never_overlap(
        self, server: DevServer, recorder: Recorder
    ) -> None:
        record = self.record(server, recorder)
        assert find_all(record, [Detector.SHARED_SESSION]) == []

    def test_the_control_that_counts_waiting_as_use_overlaps(
        self, server: DevServer, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lease = PoolAdapter.lease

        def since_ever(self: PoolAdapter, wrapper: Any) -> tuple[int, float] | None:
            found = lease(self, wrapper)
            return None if found is None else (found[0], 0.0)

        monkeypatch.setattr(PoolAdapter, "lease", since_ever)
        record = self.record(server, recorder)
        assert find_all(record, [Detector.SHARED_SESSION])


class TestContexts:
    def test_a_context_is_told_of_once_it_has_ended(self, recorder: Recorder) -> None:
        story = story_of(recorder)
        assert [told.ended_at for told in recorder.drain().stories] == [None]
        assert recorder.running == 1
        story.end("KeyError")
        (told,) = recorder.drain().stories
        assert (told.token, told.outcome, recorder.running) == (story.token, "KeyError", 0)
        assert told.ended_at is not None
        assert recorder.drain().stories == []

    def test_what_a_view_raises_is_its_outcome(self, recorder: Recorder) -> None:
        story = story_of(recorder)
        story.failed(KeyError())
        story.end("ok")
        assert [told.outcome for told in recorder.drain().stories] == ["KeyError"]

    def test_children_have_numbers_of_their_own(self, recorder: Recorder) -> None:
        one, two = story_of(recorder, 1), story_of(recorder, 2)
        first = one.child(Kind.TASK)
        family = [one, first, one.child(Kind.TASK), first.child(Kind.THREAD), two.child(Kind.TASK)]
        assert len({story.token for story in family}) == 5
        assert [told.parent for told in recorder.drain().stories] == [0, 0, 1, 1, first.token, 2]


class TestSignals:
    def test_who_waits_in_a_thread_goes_on(self) -> None:
        signals = Signals()
        thread = threading.Thread(target=signals.tell, args=(17, "here"))
        thread.start()
        signals.until(17, "here")
        thread.join()
        assert signals.was_told(17, "here")

    async def test_who_waits_in_a_loop_goes_on(self) -> None:
        signals = Signals()
        thread = threading.Thread(target=signals.tell, args=(17, "here"))
        thread.start()
        await signals.wait(17, "here")
        thread.join()
        assert signals.was_told(17, "here")

    async def test_who_waits_in_vain_is_told_so(self) -> None:
        signals = Signals()
        signals.tell(18, "here")
        with pytest.raises(TimeoutError, match="context 17 of 'here'"):
            await signals.wait(17, "here", timeout=0.01)
        with pytest.raises(TimeoutError, match="context 17 of 'here'"):
            signals.until(17, "here", timeout=0.01)

    def test_words_go_both_ways_between_processes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        theirs, ours = Signals(), Signals()
        with SignalServer(ours) as server:
            for name, value in server.environment().items():
                monkeypatch.setenv(name, value)
            join(theirs)
            theirs.tell(17, "here")
            ours.until(17, "here")
            ours.tell(17, "gone")
            theirs.until(17, "gone")

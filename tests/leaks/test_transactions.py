"""What a context knows of its transactions, also where it did not wait for their end."""

from __future__ import annotations

from contextvars import copy_context

import pytest

from loadtests.leaks.recorder import Recorder
from loadtests.leaks.transactions import OpenTransaction, enter, open_transaction
from mssql_async.contrib.leaks.record import Fate, Session, Written


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def written(transaction: OpenTransaction) -> Written:
    return Written(transaction.token, "1-1", Fate.COMMITTED, 0.0, Session(51), transaction.process)


def test_a_thread_that_goes_on_is_in_the_transaction_that_its_context_has_left(
    recorder: Recorder,
) -> None:
    def thread() -> None:
        transaction = OpenTransaction(1, "default", recorder.process)
        enter(transaction)
        transaction.written.append(written(transaction))
        transaction.leave(recorder)
        assert open_transaction(1, "default") is transaction
        assert not transaction.is_open
        transaction.over(Fate.ROLLED_BACK, recorder)
        assert open_transaction(1, "default") is None

    copy_context().run(thread)
    assert [each.fate for each in recorder.written] == [Fate.OPEN], "nobody knew by then"


def test_a_transaction_that_is_over_cannot_be_left(recorder: Recorder) -> None:
    def thread() -> None:
        transaction = OpenTransaction(1, "default", recorder.process)
        enter(transaction)
        transaction.written.append(written(transaction))
        transaction.over(Fate.COMMITTED, recorder)
        transaction.leave(recorder)
        assert open_transaction(1, "default") is None

    copy_context().run(thread)
    assert [each.fate for each in recorder.written] == [Fate.COMMITTED]

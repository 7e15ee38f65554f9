"""What every statement does around its work: wait, lock, write, and say that it is done.

Everything here is generators of events. Where a step may have to wait, the generator
first says so (:class:`~.steps.Control`), so that a caller that must not block can hand
the rest to a thread that may.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..errors import error
from ..results import Command, Done, Environment, EnvironmentChange
from .databases import Database
from .sessionstate import SessionState
from .steps import Control, Step


class Execution:
    """The statements of one session, as far as they are all alike."""

    def __init__(self, session: SessionState) -> None:
        self.session = session

    def done(self, command: Command, count: int | None = None) -> Done:
        """The end of a statement; NOCOUNT holds the count back."""
        if self.session.options.no_count:
            count = None
        return Done(command, count)

    # --- transactions

    def begin(self, name: str) -> Iterator[Step]:
        descriptor = self.session.transaction.begin(name)
        if descriptor is not None:
            yield EnvironmentChange(Environment.BEGIN_TRANSACTION, descriptor, b"")

    def commit(self) -> Iterator[Step]:
        session = self.session
        descriptor = session.transaction.commit()
        if descriptor is not None:
            session.release_application_locks(of_transaction=True)
            yield EnvironmentChange(Environment.COMMIT_TRANSACTION, b"", descriptor)

    def roll_back(self) -> Iterator[Step]:
        session = self.session
        descriptor = session.transaction.rollback()
        session.release_application_locks(of_transaction=True)
        if descriptor is not None:
            yield EnvironmentChange(Environment.ROLLBACK_TRANSACTION, b"", descriptor)

    def roll_back_named(self, name: str) -> Iterator[Step]:
        transaction = self.session.transaction
        if not transaction.is_open:
            raise error(3903)
        outermost = name == transaction.name
        if name and not (outermost and not transaction.has_savepoint(name)):
            transaction.rollback_to(name)
        else:
            yield from self.roll_back()

    def begin_implicitly(self) -> Iterator[Step]:
        """SET IMPLICIT_TRANSACTIONS ON: the statement opens the transaction."""
        session = self.session
        if session.options.implicit_transactions and not session.transaction.is_open:
            yield from self.begin("")

    def lock(self, database: Database) -> Iterator[Step]:
        """Take a database's write lock, waiting where that is allowed."""
        session = self.session
        if session.transaction.hold(database):
            return
        yield from self.may_wait()
        timeout = session.options.lock_timeout
        session.transaction.wait_for(database, None if timeout < 0 else timeout / 1000)

    def may_wait(self) -> Iterator[Step]:
        """Go on only on a thread that may wait."""
        yield Control.FLUSH
        while not self.session.may_wait:
            yield Control.WAIT

    def write(self, work: Callable[[], object]) -> None:
        """See :meth:`Transaction.write`; a doomed transaction writes no more (3930)."""
        transaction = self.session.transaction
        if transaction.status.value < 0:
            raise error(3930)
        self.session.pending.clear()
        transaction.write(work)

    def define(self, database: Database | None, work: Callable[[], object]) -> Iterator[Step]:
        """Run a definition statement: lock, transaction, all or nothing."""
        yield from self.begin_implicitly()
        yield from self.may_wait()
        if database is not None:
            if database.options.read_only:
                raise error(3906, database.name)
            yield from self.lock(database)
        self.write(work)
        self.session.last_error = 0

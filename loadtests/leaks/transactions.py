"""What a context knows of its transactions and of what it has changed in its session.

Kept in context variables: they go where the transaction goes, along awaits and into the threads of
``sync_to_async``, and not where it does not, into other threads beside it.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field, replace

from mssql_async.contrib.leaks.record import Fate, Session, Token, Unit, Use, Written

from .recorder import Recorder


@dataclass(slots=True)
class OpenTransaction:
    """From its begin until somebody knows what has become of it."""

    token: Token
    alias: str
    process: int
    thread: int = 0
    """The only one that statements of it can run in, as with Django's own blocks; 0: any."""
    written: list[Written] = field(default_factory=list)
    is_open: bool = True
    was_seen: bool = False
    """Whether the context has looked at its session in it."""
    was_left: bool = False
    """Whether the context has ended in it. One that was cancelled does not wait for its thread,
    which may go on in it for a while."""
    _unit: Unit | None = None

    def saw(
        self, session: Session, began_at: float, ended_at: float, statement: str, place: str,
        acquired_at: float | None,
    ) -> None:  # fmt: skip
        """A statement has run in it."""
        unit = self._unit
        if unit is None:
            self._unit = Unit(
                self.token, session, Use.TRANSACTION, began_at, ended_at, self.process,
                statement, place, self.alias, acquired_at,
            )  # fmt: skip
        elif unit.session == session:
            self._unit = replace(unit, ended_at=ended_at)

    def undo_since(self, count: int) -> None:
        """A savepoint was rolled back, with all rows but the first ``count``."""
        self.written[count:] = [
            replace(each, fate=Fate.ROLLED_BACK) for each in self.written[count:]
        ]

    def over(self, fate: Fate, recorder: Recorder) -> None:
        """Only the first word counts. ``Fate.OPEN``: nobody knows."""
        self.was_left = False
        if not self.is_open:
            return
        self.is_open = False
        if self._unit is not None:
            recorder.units.append(self._unit)
        recorder.written.extend(replace(each, fate=_fate(each.fate, fate)) for each in self.written)

    def leave(self, recorder: Recorder) -> None:
        """The context ends, and nobody has told what becomes of it."""
        if self.is_open:
            self.over(Fate.OPEN, recorder)
            self.was_left = True


def _fate(of_row: Fate, of_transaction: Fate) -> Fate:
    """Of a row, which may have been undone with a savepoint."""
    if of_transaction is Fate.ROLLED_BACK or of_row is Fate.ROLLED_BACK:
        return Fate.ROLLED_BACK
    return of_transaction


_transactions: ContextVar[tuple[OpenTransaction, ...]] = ContextVar(
    "leaks_transactions", default=()
)
_changes: ContextVar[tuple[tuple[Token, str, str, str], ...]] = ContextVar(
    "leaks_changes", default=()
)


def enter(transaction: OpenTransaction) -> None:
    open_ones = tuple(each for each in _transactions.get() if each.is_open)
    _transactions.set((*open_ones, transaction))


def open_transaction(token: Token, alias: str) -> OpenTransaction | None:
    """The context's own, innermost; not its parent's. It may be one that the context has left."""
    for transaction in reversed(_transactions.get()):
        is_there = transaction.is_open or transaction.was_left
        if is_there and transaction.token == token and transaction.alias == alias:
            return transaction
    return None


def note_change(token: Token, alias: str, name: str, value: str) -> None:
    _changes.set((*_changes.get(), (token, alias, name, value)))


def changes(token: Token, alias: str) -> tuple[tuple[str, str], ...]:
    """Name and value of what the context has changed; the last one of each name."""
    found = _changes.get()
    if not found:
        return ()
    mine = {name: value for whose, where, name, value in found if (whose, where) == (token, alias)}
    return tuple(mine.items())

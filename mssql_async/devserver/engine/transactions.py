"""A session's transaction: T-SQL's counting and savepoints over SQLite's transaction.

T-SQL's transaction begins with BEGIN TRANSACTION; SQLite's only with the first write,
so that reads see what others have committed meanwhile (READ COMMITTED with row
versioning, the default of Azure SQL). From then on every database that the transaction
touches is write-locked: nobody else can commit there, what SQLite shows is the latest.

Source: SQL Server documentation, "Transaction locking and row versioning guide", "SAVE
TRANSACTION", "ROLLBACK TRANSACTION", "SET TRANSACTION ISOLATION LEVEL". Differences: the
write lock is on the whole database; REPEATABLE READ and SERIALIZABLE take it with the
first read; SNAPSHOT reports 3960 when anything in the database changed, not only the row.
"""

from __future__ import annotations

import enum
import itertools
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ..errors import error
from ..schema import Table
from .catalog import Catalog
from .databases import Database
from .locks import LockManager, LockOwner

_descriptors = itertools.count(1)
_temp_versions = itertools.count(1)

STATEMENT_SAVEPOINT = "mssql_statement"
_BUSY_SNAPSHOT = 517  # SQLITE_BUSY_SNAPSHOT


class TransactionStatus(enum.Enum):
    """The value is ``XACT_STATE()``."""

    NONE = 0
    ACTIVE = 1
    DOOMED = -1


@dataclass(frozen=True, slots=True)
class TemporaryTables:
    """A session's temporary tables by folded name, replaced as a whole like a catalog."""

    tables: dict[str, Table] = field(default_factory=dict)
    version: int = field(default_factory=lambda: next(_temp_versions))


@dataclass(frozen=True, slots=True)
class _Definitions:
    """What definition statements changed so far: restored when they are undone."""

    catalogs: dict[Database, Catalog]
    temporary: TemporaryTables
    undo_length: int = 0


@dataclass(frozen=True, slots=True)
class _Savepoint:
    name: str
    sqlite_name: str | None
    """``None`` when SQLite's transaction had not begun: then all of it is undone."""
    definitions: _Definitions


class Transaction:
    """The transaction state of one session. Not thread-safe: the session serializes."""

    def __init__(
        self, connection: sqlite3.Connection, owner: LockOwner, locks: LockManager
    ) -> None:
        self._connection = connection
        self._owner = owner
        self._locks = locks
        self.depth = 0
        self.status = TransactionStatus.NONE
        self.name = ""
        self.descriptor = b""
        self.number = 0
        self.began = 0.0
        self.temporary = TemporaryTables()
        self.catalogs: dict[Database, Catalog] = {}
        """Catalogs changed by this transaction, not yet visible to others."""
        self.snapshot: dict[Database, Catalog] | None = None
        """Under SNAPSHOT isolation: the catalogs as of the first access."""
        self._held: dict[Database, None] = {}
        self._savepoints: list[_Savepoint] = []
        self._at_start = _Definitions({}, self.temporary)
        self._savepoint_numbers = itertools.count(1)
        self._undo: list[Callable[[], None]] = []
        """How to take back what lives outside of SQLite (a counter that was reset)."""
        self.around_rollback: Callable[[Callable[[], None]], None] = lambda undo: undo()
        """Set by the session: keeps table variables, which no rollback touches."""

    def __repr__(self) -> str:
        return f"<Transaction {self.status.name} depth={self.depth}>"

    @property
    def is_open(self) -> bool:
        return self.depth > 0

    @property
    def is_writing(self) -> bool:
        """Whether SQLite's transaction has begun."""
        return self._connection.in_transaction

    def catalog(self, database: Database) -> Catalog:
        """The catalog as this session sees it now."""
        changed = self.catalogs.get(database)
        if changed is not None:
            return changed
        if self.snapshot is not None and database in self.snapshot:
            return self.snapshot[database]
        return database.catalog

    # --- T-SQL's transaction

    def begin(self, name: str = "") -> bytes | None:
        """BEGIN TRANSACTION; the new descriptor when it is the outermost one."""
        self.depth += 1
        if self.depth > 1:
            return None
        self.status = TransactionStatus.ACTIVE
        self.name = name
        self.number = next(_descriptors)
        self.began = time.time()
        self.descriptor = self.number.to_bytes(8, "little")
        self._at_start = _Definitions(dict(self.catalogs), self.temporary)
        return self.descriptor

    def commit(self) -> bytes | None:
        """COMMIT; the descriptor of the transaction when it really ended.

        :raises SqlError: 3902 without a transaction, 3930 when it is doomed.
        """
        if not self.depth:
            raise error(3902)
        if self.status is TransactionStatus.DOOMED:
            raise error(3930)
        if self.depth > 1:
            self.depth -= 1
            return None
        if self.is_writing:
            self._connection.execute("COMMIT")
        self._publish()
        return self._end()

    def rollback(self) -> bytes | None:
        """Undo everything; the descriptor of the transaction, if there was one."""
        was_open = self.depth > 0

        def undo() -> None:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

        self.around_rollback(undo)
        self._take_back(0)
        if was_open:
            self.temporary = self._at_start.temporary
        self.catalogs.clear()
        descriptor = self._end()
        return descriptor if was_open else None

    def _end(self) -> bytes:
        descriptor = self.descriptor
        self.depth = 0
        self.status = TransactionStatus.NONE
        self.name = ""
        self.descriptor = b""
        self.number = 0
        self.snapshot = None
        self._undo.clear()
        self._savepoints.clear()
        self.release_locks()
        return descriptor

    def save(self, name: str) -> None:
        """SAVE TRANSACTION. :raises SqlError: 628 without a transaction."""
        if not self.depth:
            raise error(628)
        if self.status is TransactionStatus.DOOMED:
            raise error(3930)
        sqlite_name = None
        if self.is_writing:
            sqlite_name = f"mssql_{next(self._savepoint_numbers)}"
            self._connection.execute(f"SAVEPOINT {sqlite_name}")
        self._savepoints.append(_Savepoint(name, sqlite_name, self._definitions()))

    def has_savepoint(self, name: str) -> bool:
        return any(savepoint.name == name for savepoint in self._savepoints)

    def rollback_to(self, name: str) -> None:
        """ROLLBACK to the latest savepoint of that name, which stays. Locks stay too.
        Names of savepoints and transactions heed case, whatever the collation.

        :raises SqlError: 6401 when there is none, 3931 when the transaction is doomed.
        """
        for position in reversed(range(len(self._savepoints))):
            if self._savepoints[position].name == name:
                break
        else:
            raise error(6401, name)
        if self.status is TransactionStatus.DOOMED:
            raise error(3931)
        savepoint = self._savepoints[position]

        def undo() -> None:
            if savepoint.sqlite_name is not None:
                self._connection.execute(f"ROLLBACK TO {savepoint.sqlite_name}")
            elif self.is_writing and self.snapshot is None:
                self._connection.execute("ROLLBACK")
            elif self.is_writing:
                # A snapshot began with SQLite's transaction, so it has a savepoint of its own.
                self._connection.execute(f"ROLLBACK TO {_SNAPSHOT_SAVEPOINT}")

        self.around_rollback(undo)
        del self._savepoints[position + 1 :]
        self._restore(savepoint.definitions)

    def doom(self) -> None:
        if self.depth:
            self.status = TransactionStatus.DOOMED

    def forget_temporary_tables(self) -> None:
        self.temporary = TemporaryTables()
        self._at_start = _Definitions({}, self.temporary)

    # --- statements

    def hold(self, database: Database) -> bool:
        """Take the write lock without waiting; false when somebody else has it."""
        if database in self._held:
            return True
        if not self._locks.try_acquire(self._owner, lock_key(database)):
            return False
        self._held[database] = None
        return True

    def wait_for(self, database: Database, timeout: float | None) -> None:
        """Take the write lock, waiting for it."""
        if database not in self._held:
            self._locks.acquire(self._owner, lock_key(database), timeout=timeout)
            self._held[database] = None

    def holds(self, database: Database) -> bool:
        return database in self._held

    def release_locks(self) -> None:
        for database in self._held:
            self._locks.release(self._owner, lock_key(database))
        self._held.clear()

    def begin_snapshot(self, databases: list[Database]) -> None:
        """Fix what the transaction sees, for SNAPSHOT isolation."""
        if self.snapshot is None:
            if not self._connection.in_transaction:
                self._connection.execute("BEGIN")
            self._connection.execute(f"SAVEPOINT {_SNAPSHOT_SAVEPOINT}")
            self.snapshot = {}
        for database in databases:
            if database not in self.snapshot:
                if not database.options.allow_snapshot_isolation:
                    raise error(3952, database.name)
                catalog = database.catalog
                self._connection.execute(
                    f'SELECT count(*) FROM "{database.schema_name}".sqlite_schema'
                ).fetchone()
                self.snapshot[database] = catalog

    def write(self, work: Callable[[], object]) -> None:
        """Run one writing statement: all of it or nothing. The locks are held already.

        Outside of a T-SQL transaction it is a transaction of its own.
        """
        connection = self._connection
        if self.depth == 0:
            before = self._definitions()
            connection.execute("BEGIN")
            try:
                work()
                connection.execute("COMMIT")
            except BaseException:
                self.around_rollback(self._rollback_sqlite)
                self._restore(before)
                raise
            self._undo.clear()
            self._publish()
            self.release_locks()
            return
        if not connection.in_transaction:
            connection.execute("BEGIN")
        connection.execute(f"SAVEPOINT {STATEMENT_SAVEPOINT}")
        before = self._definitions()
        try:
            work()
        except BaseException as problem:
            if connection.in_transaction:
                connection.execute(f"ROLLBACK TO {STATEMENT_SAVEPOINT}")
                connection.execute(f"RELEASE {STATEMENT_SAVEPOINT}")
                self._restore(before)
            if getattr(problem, "sqlite_errorcode", None) == _BUSY_SNAPSHOT:
                name = next(iter(self.snapshot or ())).name if self.snapshot else ""
                raise error(3960, "", name, state=2) from problem
            raise
        connection.execute(f"RELEASE {STATEMENT_SAVEPOINT}")

    def _rollback_sqlite(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _definitions(self) -> _Definitions:
        return _Definitions(dict(self.catalogs), self.temporary, len(self._undo))

    def on_undo(self, action: Callable[[], None]) -> None:
        """Call ``action`` if what the running statement does is undone later."""
        self._undo.append(action)

    def _take_back(self, length: int) -> None:
        while len(self._undo) > length:
            self._undo.pop()()

    def _restore(self, definitions: _Definitions) -> None:
        self._take_back(definitions.undo_length)
        self.catalogs = dict(definitions.catalogs)
        self.temporary = definitions.temporary

    def _publish(self) -> None:
        for database, catalog in self.catalogs.items():
            database.catalog = catalog
        self.catalogs.clear()


_SNAPSHOT_SAVEPOINT = "mssql_snapshot"


def lock_key(database: Database) -> tuple[str, str]:
    return ("database", database.schema_name)

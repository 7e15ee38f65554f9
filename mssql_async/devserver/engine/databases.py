"""The databases of an engine: one SQLite file each.

The files are in WAL mode, so that readers see what was committed when their statement
began while a writer goes on. Each file is held open by a connection of its own (the
keeper): SQLite would otherwise delete the WAL with every last session that leaves.
"""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote as percent_encode
from urllib.parse import unquote as percent_decode

from ..errors import error
from ..schema import Table
from ..sqltypes import DEFAULT_COLLATION_NAME
from . import catalogstore, clock
from .catalog import Catalog, fold
from .identities import IdentityCounters
from .storage import quote

MASTER = "master"
TEMPDB = "tempdb"
_SYSTEM_DATABASE_IDS = {MASTER: 1, TEMPDB: 2}
_FIRST_USER_DATABASE_ID = 5
_SQLITE_SUFFIXES = ("-wal", "-shm", "-journal")

Connector = Callable[[str], sqlite3.Connection]
"""Opens a SQLite file with the T-SQL functions and collations registered."""

_incarnations = itertools.count(1)


@dataclass(slots=True)
class DatabaseOptions:
    """What ALTER DATABASE … SET can change."""

    read_only: bool = False
    single_user: bool = False
    allow_snapshot_isolation: bool = True
    read_committed_snapshot: bool = True


@dataclass(slots=True, eq=False)
class Database:
    """One database. ``catalog`` is the committed one, replaced as a whole."""

    name: str
    database_id: int
    path: Path
    keeper: sqlite3.Connection = field(repr=False)
    catalog: Catalog
    collation: str = DEFAULT_COLLATION_NAME
    created: str = field(default_factory=clock.now)
    options: DatabaseOptions = field(default_factory=DatabaseOptions)
    identities: IdentityCounters = field(default_factory=IdentityCounters, repr=False)
    dropped: bool = False
    schema_name: str = field(default_factory=lambda: f"db{next(_incarnations)}")
    """The name under which sessions attach the file; a new one for each incarnation."""

    @property
    def is_system(self) -> bool:
        return fold(self.name) in _SYSTEM_DATABASE_IDS


class Databases:
    """Finds, creates and drops databases; safe to use from any thread."""

    def __init__(self, main_file: Path | None, main_name: str, connect: Connector) -> None:
        self._connect = connect
        self._mutex = threading.RLock()
        self._databases: dict[str, Database] = {}
        self._scratch = tempfile.TemporaryDirectory(
            prefix="mssql-async-devserver-", dir=_scratch_parent(), ignore_cleanup_errors=True
        )
        self._scratch_path = Path(self._scratch.name)
        self._main_file = main_file.absolute() if main_file is not None else None
        try:
            for name in (MASTER, TEMPDB):
                self._open(name, self._scratch_path / name)
            if self._main_file is not None:
                self._open(main_name, self._main_file)
                for name, path in self._siblings(self._main_file):
                    self._open(name, path)
            if self.find(main_name) is None:
                self.create(main_name)
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[Database]:
        with self._mutex:
            return iter(sorted(self._databases.values(), key=lambda d: d.database_id))

    def find(self, name: str) -> Database | None:
        return self._databases.get(fold(name))

    def by_id(self, database_id: int) -> Database | None:
        return next((d for d in self if d.database_id == database_id), None)

    @property
    def master(self) -> Database:
        return self._databases[MASTER]

    def create(self, name: str, collation: str | None = None) -> Database:
        """:raises SqlError: 1801 when there is one of that name."""
        with self._mutex:
            if fold(name) in self._databases:
                raise error(1801, name, state=3)
            database = self._open(name, self._path_for(name))
            if collation:
                database.collation = collation
                catalogstore.store_option(database.keeper, '"main"', "collation", collation)
            return database

    def drop(self, database: Database) -> None:
        """Forget a database and delete its file. Nobody may be in it any more."""
        with self._mutex:
            del self._databases[fold(database.name)]
        database.dropped = True
        database.keeper.close()
        _delete(database.path)

    def rename(self, database: Database, name: str) -> None:
        """ALTER DATABASE … MODIFY NAME; the file keeps its name until the engine closes."""
        with self._mutex:
            if fold(name) in self._databases and fold(name) != fold(database.name):
                raise error(1801, name, state=3)
            del self._databases[fold(database.name)]
            database.name = name
            self._databases[fold(name)] = database
            catalogstore.store_option(database.keeper, '"main"', "name", name)

    def close(self) -> None:
        with self._mutex:
            databases = list(self._databases.values())
            self._databases.clear()
        for database in databases:
            with contextlib.suppress(sqlite3.Error):
                database.keeper.executemany(
                    f"INSERT OR REPLACE INTO {catalogstore.IDENTITY_TABLE} VALUES (?, ?)",
                    [
                        *database.identities.used_values(),
                        (
                            catalogstore.ROWVERSION_ID,
                            int.from_bytes(database.identities.last_rowversion()),
                        ),
                    ],
                )
            database.keeper.close()
        self._scratch.cleanup()

    def _path_for(self, name: str) -> Path:
        if self._main_file is None:
            return self._scratch_path / f"user-{percent_encode(fold(name), safe=' ')}"
        encoded = percent_encode(fold(name), safe=" ")
        return self._main_file.with_name(f"{self._main_file.name}.{encoded}")

    def _siblings(self, main_file: Path) -> list[tuple[str, Path]]:
        """Databases that an earlier engine with the same file created."""
        prefix = main_file.name + "."
        return [
            (percent_decode(path.name.removeprefix(prefix)), path)
            for path in sorted(main_file.parent.iterdir())
            if path.name.startswith(prefix) and not path.name.endswith(_SQLITE_SUFFIXES)
        ]

    def _open(self, name: str, path: Path) -> Database:
        keeper = self._connect(str(path))
        try:
            keeper.execute("PRAGMA journal_mode = WAL")
            keeper.execute("PRAGMA synchronous = OFF")
            keeper.execute("BEGIN IMMEDIATE")
            catalogstore.create_tables(keeper, '"main"')
            options = catalogstore.load_options(keeper, '"main"')
            if "name" not in options:
                catalogstore.store_option(keeper, '"main"', "name", name)
            keeper.execute("COMMIT")
            catalog = catalogstore.load(keeper, '"main"')
        except BaseException:
            keeper.close()
            raise
        name = options.get("name", name)
        database = Database(name, self._free_id(name), path, keeper, catalog)
        database.collation = options.get("collation", DEFAULT_COLLATION_NAME)
        _load_identities(database)
        self._databases[fold(name)] = database
        return database

    def _free_id(self, name: str) -> int:
        system = _SYSTEM_DATABASE_IDS.get(fold(name))
        if system is not None:
            return system
        taken = {database.database_id for database in self._databases.values()}
        return next(n for n in itertools.count(_FIRST_USER_DATABASE_ID) if n not in taken)


def _load_identities(database: Database) -> None:
    """Counters as they were written down at the last close, and never behind the rows."""
    written = dict(
        database.keeper.execute(f"SELECT object_id, value FROM {catalogstore.IDENTITY_TABLE}")
    )
    database.identities.note_rowversion(written.get(catalogstore.ROWVERSION_ID, 0).to_bytes(8))
    for table in database.catalog.contents.tables.values():
        _load_rowversion(database, table)
        column = table.identity_column
        if column is None or column.identity is None:
            continue
        database.identities.define(table.object_id, column.identity)
        aggregate = "max" if column.identity.increment > 0 else "min"
        (edge,) = database.keeper.execute(
            f"SELECT {aggregate}({quote(column.name)}) FROM {quote(table.storage_name)}"
        ).fetchone()
        for value in (written.get(table.object_id), edge):
            if value is not None:
                database.identities.note(table.object_id, column.identity, int(value))


def _load_rowversion(database: Database, table: Table) -> None:
    column = table.rowversion_column
    if column is None:
        return
    (edge,) = database.keeper.execute(
        f"SELECT max({quote(column.name)}) FROM {quote(table.storage_name)}"
    ).fetchone()
    if edge is not None:
        database.identities.note_rowversion(edge)


def _scratch_parent() -> str | None:
    """RAM where there is some: nothing of a temporary database outlives the engine."""
    shared_memory = Path("/dev/shm")  # noqa: S108  a directory of our own is made in it
    probe = shared_memory / ".mssql-async-probe"
    try:
        probe.touch()
        probe.unlink(missing_ok=True)
    except OSError:
        return None
    return str(shared_memory)


def _delete(path: Path) -> None:
    for suffix in ("", *_SQLITE_SUFFIXES):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).unlink()

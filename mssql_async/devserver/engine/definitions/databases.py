"""CREATE, ALTER and DROP DATABASE.

Source: T-SQL reference, "CREATE DATABASE", "DROP DATABASE", "ALTER DATABASE SET options".
"""

from __future__ import annotations

from collections.abc import Iterator

from ...errors import NotSupportedByStandIn, SqlError, error
from ...results import Command
from ...tsql import statements as st
from ..databases import Database
from ..execution import Execution
from ..steps import Step

_NO_EFFECT = frozenset(
    {
        "RECOVERY",
        "AUTO_CLOSE",
        "AUTO_SHRINK",
        "AUTO_CREATE_STATISTICS",
        "AUTO_UPDATE_STATISTICS",
        "AUTO_UPDATE_STATISTICS_ASYNC",
        "PAGE_VERIFY",
        "DELAYED_DURABILITY",
        "QUERY_STORE",
        "TARGET_RECOVERY_TIME",
        "TRUSTWORTHY",
    }
)
"""Options about storage, statistics and tuning: no result depends on them."""


def _not_in_transaction(execution: Execution, what: str) -> None:
    if execution.session.transaction.is_open:
        raise SqlError(226, f"{what} statement not allowed within multi-statement transaction.")


def create_database(execution: Execution, statement: st.CreateDatabase) -> Iterator[Step]:
    _not_in_transaction(execution, "CREATE DATABASE")
    yield from execution.may_wait()
    execution.session.engine.databases.create(statement.name, statement.collation)
    execution.session.last_error = 0
    yield execution.done(Command.OTHER)


def drop_database(execution: Execution, name: str, if_exists: bool) -> Iterator[Step]:
    _not_in_transaction(execution, "DROP DATABASE")
    session = execution.session
    database = session.engine.databases.find(name)
    if database is None:
        if not if_exists:
            raise error(3701, "drop", "database", name)
    else:
        if database.is_system:
            raise error(3708, "drop", "database", database.name)
        if session.engine.sessions_in(database):
            raise error(3702, database.name, state=3)
        yield from execution.may_wait()
        session.detach(database)
        session.engine.databases.drop(database)
    session.last_error = 0
    yield execution.done(Command.OTHER)


def alter_database(execution: Execution, statement: st.AlterDatabase) -> Iterator[Step]:
    session = execution.session
    name = statement.name or session.database
    database = session.engine.databases.find(name)
    if database is None:
        raise error(5011, name, state=9)
    _not_in_transaction(execution, "ALTER DATABASE")
    yield from execution.may_wait()
    words = [word for word in statement.options if word not in ("=", ",", "(", ")")]
    termination: list[str] = []
    if "WITH" in words:
        termination = words[words.index("WITH") + 1 :]
        words = words[: words.index("WITH")]
    _set(execution, database, words, termination, statement.line)
    session.last_error = 0
    yield execution.done(Command.OTHER)


def _set(
    execution: Execution,
    database: Database,
    words: list[str],
    termination: list[str],
    line: int,
) -> None:
    options = database.options
    match words:
        case ["SINGLE_USER" | "RESTRICTED_USER"]:
            if words[0] == "RESTRICTED_USER":
                raise NotSupportedByStandIn("ALTER DATABASE … SET RESTRICTED_USER", line)
            _clear(execution, database, termination)
            options.single_user = True
        case ["MULTI_USER"]:
            options.single_user = False
        case ["READ_ONLY"]:
            _clear(execution, database, termination)
            options.read_only = True
        case ["READ_WRITE"]:
            options.read_only = False
        case ["ALLOW_SNAPSHOT_ISOLATION", ("ON" | "OFF") as value]:
            options.allow_snapshot_isolation = value == "ON"
        case ["READ_COMMITTED_SNAPSHOT", "ON"]:
            options.read_committed_snapshot = True
        case ["COMPATIBILITY_LEVEL", ("150" | "160")]:
            pass
        case [option, *_] if option in _NO_EFFECT:
            pass
        case _:
            raise NotSupportedByStandIn(f"ALTER DATABASE … SET {' '.join(words)}", line)


def _clear(execution: Execution, database: Database, termination: list[str]) -> None:
    """Make the others leave, or refuse (5070) where the statement does not say how."""
    engine = execution.session.engine
    others = [s for s in engine.sessions_in(database) if s.spid != execution.session.spid]
    if not others:
        return
    if termination[:1] != ["ROLLBACK"]:
        raise SqlError(
            5070,
            "Database state cannot be changed while other users are using the database "
            f"'{database.name}'",
            16,
            2,
        )
    for other in others:
        other.kill()

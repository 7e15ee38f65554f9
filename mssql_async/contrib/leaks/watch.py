"""One test, watched: what it holds at its end and did not hold at its beginning.

The pools tell who holds leases, Django's wrappers tell of open transactions and of connections of
threads that have ended, the process of its threads and descriptors, and the server, if it is
asked, of its sessions. What belonged to the test's surroundings when its function began (the
transaction of a ``TestCase``, a fixture's lease) is none of its leaks, and idle connections of a
pool are nobody's.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import os
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ...pool import PooledConnection
from ...pool.lenders import LentConnection
from ...pool.origin import Origin
from ...pool.origin import place as place_of_frame
from ...pool.pool import Pool
from ...pool.registry import connection_sources
from . import atserver, process
from .detectors import find_all
from .detectors.index import shown
from .findings import Detector, Finding, Party
from .record import Held, Kind, Known, Record, Session, Story
from .wrappers import Wrappers, django_is_ready, is_in_memory, is_ours

#: Detectors that can find anything in one test.
CHECKED = frozenset(
    {
        Detector.RETAINED_LEASE,
        Detector.ORPHAN_SESSION,
        Detector.STATE_BLEED,
        Detector.TRANSACTION_BLEED,
        Detector.GROWTH,
    }
)

#: Seconds between two looks at what may be about to go.
_PAUSE = 0.01

#: Seconds that a task gets to end once it is cancelled.
_PATIENCE = 5.0

_numbers = itertools.count(1)
_STANDARD = tuple(f"{sysconfig.get_path(name)}{os.sep}" for name in ("stdlib", "platstdlib"))


@dataclass(frozen=True, slots=True)
class Check:
    """What a test is checked for.

    ``server``: whether the server is asked for its sessions. ``grace``: seconds that other
    threads, and the server, get to let go of what they hold.
    """

    detectors: frozenset[Detector] = CHECKED
    server: bool = True
    grace: float = 0.5


@dataclass(frozen=True, slots=True)
class _Lease:
    """A lease that is held, and what is known of its holder."""

    lent: LentConnection
    pool: str
    owner: Any = None
    """The context's :class:`~mssql_async.session.lease.LeasedConnection`."""
    wrapper: Any = None

    @property
    def key(self) -> tuple[int, float]:
        return self.lent.number, self.lent.lent_at

    @property
    def thread(self) -> threading.Thread | None:
        ident = self.lent.holder if self.owner is None else self.owner.owner
        return next((each for each in threading.enumerate() if each.ident == ident), None)

    @property
    def task(self) -> asyncio.Task[Any] | None:
        """The pending one of the context that keeps the worker on which it is held."""
        workers = sys.modules.get("mssql_async.context.workers")
        thread = self.thread
        worker = None if workers is None or thread is None else workers.Worker.of_thread(thread)
        context = None if worker is None or worker.pinned_by is None else worker.pinned_by()
        task = None if context is None or context.task is None else context.task()
        return None if task is None or task.done() else task


@dataclass(slots=True)
class _Before:
    """What there was when the test began."""

    leases: set[tuple[int, float]]
    dirty: set[tuple[int, float]]
    blocks: dict[int, tuple[Any, ...]]
    """id of a wrapper -> its open atomic blocks."""
    no_autocommit: set[int]
    acquired: int
    tasks: Collection[asyncio.Task[Any]]
    threads: set[threading.Thread]
    descriptors: process.Descriptors
    handlers: process.Handlers
    files: set[str]
    """Of databases; a test database loses its name when it goes."""
    look: atserver.Look | None


@dataclass(frozen=True, slots=True)
class _Replaced:
    """What took the place of something from before while the test was running. What goes later,
    with fixtures of wider scopes, makes no place."""

    threads: Collection[threading.Thread] = ()
    descriptors: Mapping[int, str] = field(default_factory=dict)


class Watch:
    """Watches from its making on.

    :param name: of the test, for people.
    :param may_not_look: told once a server does not show its sessions.
    """

    def __init__(
        self, name: str, check: Check, wrappers: Wrappers, may_not_look: Callable[[], None]
    ) -> None:
        self.check = check
        self._wrappers = wrappers
        self._may_not_look = may_not_look
        self._tasks: list[asyncio.Task[Any]] = []
        """That hold a lease and were pending when the test's function returned."""
        self._told: set[tuple[int, float]] = set()
        """Leases of theirs."""
        self._replaced = _Replaced()
        self._story = Story(
            next(_numbers), name, Kind.TEST, time.time(), os.getpid(),
            task=threading.current_thread().name,
        )  # fmt: skip
        if self._story.task == threading.main_thread().name:
            self._story.task = ""
        wrappers.install()
        wrappers.look_here()
        wrappers.forget()
        wrappers.watching = True
        wrappers.statements = 0
        Pool.notes_in_full = True
        self._before = self._look_before()

    def _look_before(self) -> _Before:
        leases = _leases(self._wrappers)
        growth = Detector.GROWTH in self.check.detectors
        look = self._look() if self._asks_the_server else None
        files = _files() if growth else set()
        return _Before(
            leases={lease.key for lease in leases},
            dirty={lease.key for lease in leases if lease.owner and lease.owner.is_dirty},
            blocks={id(each): tuple(each.atomic_blocks) for each in self._wrappers.all()},
            no_autocommit={id(each) for each in self._wrappers.all() if not each.autocommit},
            acquired=_acquired(),
            tasks=process.tasks(),
            threads=process.threads() if growth else set(),
            descriptors=(
                process.descriptors(ports=_ports(), files=files)
                if growth
                else process.Descriptors()
            ),
            handlers=process.handlers() if growth else [],
            files=files,
            look=look,
        )

    def end(self) -> None:
        """The test is over, whatever has come of it."""
        self._wrappers.watching = False
        self._wrappers.forget()
        Pool.notes_in_full = False

    @property
    def used_a_database(self) -> bool:
        """By now; to be asked before :meth:`rest`, which uses one itself."""
        return bool(
            self._wrappers.statements
            or self._wrappers.connected
            or _acquired() > self._before.acquired
        )

    # --- three looks -----------------------------------------------------------------------

    def pending_tasks(self) -> list[Finding]:
        """Leases of tasks that nobody has awaited. To be asked before their event loop is
        closed, which cancels them."""
        found = []
        for lease in self._new_leases():
            task = lease.task
            if task is not None:
                found.append(self._of_lease(lease, task))
                self._tasks.append(task)
                self._told.add(lease.key)
        return self._chosen(found)

    def held(self, *, ended: bool = True) -> list[Finding]:
        """What contexts hold. To be asked before the test's own transaction is rolled back, or,
        with ``ended=False``, while the test is still going on."""
        if ended:
            self._replaced = self._look_for_replacements()
        findings = self._held()
        if findings and any(
            lease.thread is not threading.current_thread() for lease in self._new_leases()
        ):
            deadline = time.monotonic() + self.check.grace
            while findings and time.monotonic() < deadline:
                time.sleep(_PAUSE)
                findings = self._held()
        return findings if ended else [_not_ended(finding) for finding in findings]

    def _look_for_replacements(self) -> _Replaced:
        if Detector.GROWTH not in self.check.detectors:
            return _Replaced()
        return _Replaced(
            process.restarted_since(self._before.threads, process.threads()),
            process.reopened_since(self._before.descriptors, **self._of_databases()),
        )

    def give_back(self) -> None:
        """End what the test has left open in this thread and in its tasks, so that the next one
        does not come upon it, nor those who empty the tables wait for it: a leak fails one test."""
        _end(self._tasks)
        self._tasks.clear()
        here = threading.get_ident()
        held = {id(lease.wrapper) for lease in self._new_leases()}
        for wrapper in self._wrappers.all():
            if getattr(wrapper, "_thread_ident", None) != here:
                continue
            with contextlib.suppress(Exception):  # it has failed already, and is told of
                for block in reversed(self._own_blocks(wrapper)):
                    wrapper.needs_rollback = True
                    block.__exit__(None, None, None)
                if id(wrapper) in held and not wrapper.in_atomic_block:
                    wrapper.close()

    def rest(self) -> list[Finding]:
        """What is left after the test's fixtures have been torn down."""
        found = [*self._of_dead_threads()]
        if Detector.GROWTH in self.check.detectors:
            found += self._in_the_end(self._left_threads)
            found += self._in_the_end(self._left_descriptors)
        return self._chosen(found)

    def orphans(self) -> list[Finding]:
        """Sessions at the server that no pool knows. To be asked while there is a server: the
        last test's fixtures take it away."""
        return self._in_the_end(self._orphans) if self._asks_the_server else []

    def _in_the_end(self, look: Callable[[], list[Finding]]) -> list[Finding]:
        """A last look, where others were given time and the collector has run."""
        found = look()
        if not found:
            return found
        gc.collect()
        deadline = time.monotonic() + self.check.grace
        while (found := look()) and time.monotonic() < deadline:
            time.sleep(_PAUSE)
        return found

    def _chosen(self, findings: Iterable[Finding]) -> list[Finding]:
        return [finding for finding in findings if finding.detector in self.check.detectors]

    # --- leases and transactions -------------------------------------------------------------

    def _held(self) -> list[Finding]:
        leases = [lease for lease in self._new_leases() if not _is_idle(lease)]
        found = [self._of_lease(lease) for lease in leases if lease.key not in self._told]
        found += self._dirtied_surroundings()
        told = {
            id(lease.wrapper)
            for lease in _leases(self._wrappers)
            if lease in leases or self._is_of_an_older_task(lease)
        }
        found += [
            finding
            for wrapper in self._wrappers.all()
            if id(wrapper) not in told
            for finding in self._open_transactions(wrapper)
        ]
        return self._chosen(found)

    def _new_leases(self) -> list[_Lease]:
        """Those that are neither from before, nor of a task from before, nor part of a transaction
        around the test."""
        return [
            lease
            for lease in _leases(self._wrappers)
            if lease.key not in self._before.leases
            and not self._is_in_a_test_s(lease.wrapper)
            and not self._is_of_an_older_task(lease)
        ]

    def _is_of_an_older_task(self, lease: _Lease) -> bool:
        """Whether a task has it that was there when the test began, such as a fixture's."""
        return lease.task in self._before.tasks

    def _is_in_a_test_s(self, wrapper: Any) -> bool:
        """Whether the transaction that is open there was not begun by the test itself."""
        return (
            wrapper is not None
            and wrapper.in_atomic_block
            and len(self._own_blocks(wrapper)) < len(wrapper.atomic_blocks)
        )

    def _own_blocks(self, wrapper: Any) -> list[Any]:
        """Blocks that are open, and that neither the surroundings nor a TestCase have begun."""
        before = {id(block) for block in self._before.blocks.get(id(wrapper), ())}
        return [
            block
            for block in wrapper.atomic_blocks
            if id(block) not in before and not getattr(block, "_from_testcase", False)
        ]

    def _of_lease(self, lease: _Lease, task: Any = None) -> Finding:
        owner = lease.owner
        if owner is not None and owner.is_dirty and not owner.in_transaction:
            return self._of_state(lease, task)
        what = _name(lease)
        if owner is not None and (owner.in_transaction or _in_atomic(lease.wrapper)):
            what += " with an open transaction"
        elif owner is not None and owner.has_unread_rows:
            what += " with unread rows of an open cursor"
        what += _by(lease, task)
        held = Held(
            os.getpid(), time.time(), self._story.token, None, _since(lease),
            _place(lease.lent.origin) or _at(task), what,
        )  # fmt: skip
        [finding] = find_all(self._record(held=[held]), [Detector.RETAINED_LEASE])
        return _with_statement(finding, "" if owner is None else owner.last_statement)

    def _of_state(self, lease: _Lease, task: Any = None) -> Finding:
        owner = lease.owner
        statement = owner.dirtied_by or owner.last_statement
        return self._finding(
            Detector.STATE_BLEED,
            f"test {self._story.token} has left state in the session of {_name(lease)}, which "
            f"has not been given back{_by(lease, task)}.",
            statement=statement, place=_place(lease.lent.origin) or _at(task), at=_since(lease),
        )  # fmt: skip

    def _dirtied_surroundings(self) -> Iterator[Finding]:
        """State in a session of the test's own transaction outlives that."""
        for lease in _leases(self._wrappers):
            if (
                lease.owner is not None
                and lease.owner.is_dirty
                and lease.key not in self._before.dirty
                and (
                    lease.key in self._before.leases or self._is_in_a_test_s(lease.wrapper)
                )
                and not self._is_of_an_older_task(lease)
            ):  # fmt: skip
                yield self._of_state(lease)

    def _open_transactions(self, wrapper: Any) -> Iterator[Finding]:
        if wrapper.connection is None and not wrapper.in_atomic_block:
            return
        seen = self._wrappers.seen.get(wrapper)
        statement, place = ("", "") if seen is None else (seen.statement, _place(seen.origin))
        own = len(self._own_blocks(wrapper)) if wrapper.in_atomic_block else 0
        if own:
            blocks = "block" if own == 1 else f"blocks ({own})"
            inside = ", inside of its own transaction" if self._is_in_a_test_s(wrapper) else ""
            what = f"an open atomic {blocks} on the database {wrapper.alias!r}{inside}"
        elif (
            not wrapper.in_atomic_block
            and not wrapper.autocommit
            and wrapper.settings_dict.get("AUTOCOMMIT", True)
            and id(wrapper) not in self._before.no_autocommit
        ):
            what = f"autocommit off on the database {wrapper.alias!r}, which keeps a transaction"
        else:
            return
        if is_ours(wrapper) and wrapper.connection is not None:
            statement = wrapper.connection.last_statement
        yield self._finding(
            Detector.TRANSACTION_BLEED, f"test {self._story.token} has left {what}.",
            statement=statement, place=place,
        )  # fmt: skip

    def _of_dead_threads(self) -> Iterator[Finding]:
        for wrapper in self._wrappers.connected:
            seen = self._wrappers.seen.get(wrapper)
            if seen is None or wrapper.connection is None or is_in_memory(wrapper):
                continue
            thread = seen.thread()
            if thread is not None and thread.is_alive():
                continue
            held = Held(
                os.getpid(), time.time(), self._story.token, None, None, _place(seen.origin),
                f"a connection to {wrapper.alias!r} of the thread {seen.thread_name!r}, "
                "which has ended",
            )  # fmt: skip
            [finding] = find_all(self._record(held=[held]), [Detector.RETAINED_LEASE])
            # It is said: whoever comes next finds it closed.
            yield _with_statement(finding, seen.statement)

    # --- the process -------------------------------------------------------------------------

    def _left_threads(self) -> list[Finding]:
        left = process.threads() - self._before.threads - set(self._replaced.threads)
        if left:
            left -= process.idle_workers()
        if not left:
            return []
        names = ", ".join(sorted(repr(each.name) for each in left))
        return [
            self._finding(
                Detector.GROWTH,
                f"test {self._story.token} has left {len(left)} "
                f"{'thread' if len(left) == 1 else 'threads'} running: {names}.",
            )
        ]

    def _left_descriptors(self) -> list[Finding]:
        opened = process.opened_since(self._before.descriptors, **self._of_databases())
        written = process.written_by(self._before.handlers) if opened else set()
        left = {
            number: what
            for number, what in opened.items()
            if number not in written and self._replaced.descriptors.get(number) != what
        }
        if not left:
            return []
        what = ", ".join(f"{number} ({file})" for number, file in left.items())
        return [
            self._finding(
                Detector.GROWTH,
                f"test {self._story.token} has left {len(left)} file "
                f"{'descriptor' if len(left) == 1 else 'descriptors'} open: {what}.",
            )
        ]

    def _of_databases(self) -> dict[str, Any]:
        """How their connections are told from other descriptors."""
        return {"ports": _ports(), "files": self._before.files | _files()}

    # --- the server --------------------------------------------------------------------------

    @property
    def _asks_the_server(self) -> bool:
        return self.check.server and Detector.ORPHAN_SESSION in self.check.detectors

    def _look(self) -> atserver.Look | None:
        others = sum(
            1
            for wrapper in self._wrappers.all()
            if wrapper.vendor == "microsoft"
            and wrapper.connection is not None
            and not is_ours(wrapper)
        )
        try:
            return atserver.look(open_one=True, also_known=others)
        except atserver.MayNotLook:
            self.check = replace(self.check, server=False)
            self._may_not_look()
            return None

    def _orphans(self) -> list[Finding]:
        now = self._look()
        before = self._before.look or atserver.Look()
        if now is None or now.unknown <= before.unknown:
            return []
        # Those that were there before are not the test's.
        new = {
            session: seen
            for session, seen in now.sessions.items()
            if session not in before.sessions
        }
        too_many = min(now.unknown - before.unknown, len(new))
        if not too_many:
            return []
        known = tuple(each for each in atserver.name_known(now) if each in new)
        record = self._record(
            known=[Known(os.getpid(), time.time(), len(new) - too_many, known)],
            at_rest=list(new.values()),
        )
        return [
            replace(finding, culprit=self._party(statement=_statement_of(finding.session)))
            for finding in find_all(record, [Detector.ORPHAN_SESSION])
        ]

    # --- words -------------------------------------------------------------------------------

    def _record(self, **seen: Any) -> Record:
        self._story.ended_at = time.time()
        return Record(scenario=self._story.scenario, stories=[self._story], **seen)

    def _finding(
        self, detector: Detector, message: str, *, statement: str = "", place: str = "",
        at: float | None = None,
    ) -> Finding:  # fmt: skip
        culprit = self._party(statement=statement, place=place, at=at)
        return Finding(detector, message, self._story.scenario, 0, time.time(), culprit)

    def _party(self, *, statement: str = "", place: str = "", at: float | None = None) -> Party:
        return Party.of(
            self._record(), self._story.token, statement=shown(statement), place=place, at=at
        )  # fmt: skip


# --- leases and who holds them -------------------------------------------------------------------


def _leases(wrappers: Wrappers) -> list[_Lease]:
    """All that are held in this process."""
    lent = [(each, pool.name) for pool in connection_sources() for each in pool.leases()]
    if not lent:
        return []
    owners: dict[int, Any] = {}
    module = sys.modules.get("mssql_async.session.lease")
    for owner in module.live_leases() if module is not None else ():
        held: list[PooledConnection] = owner.held
        owners.update({connection.number: owner for connection in held})
    connected = {id(each.connection): each for each in wrappers.all() if each.connection}
    return [
        _Lease(each, pool, owner := owners.get(each.number), connected.get(id(owner)))
        for each, pool in lent
    ]


def _acquired() -> int:
    return sum(pool.statistics().acquired for pool in connection_sources())


def _in_atomic(wrapper: Any) -> bool:
    return wrapper is not None and bool(wrapper.in_atomic_block)


def _is_idle(lease: _Lease) -> bool:
    """Whether nothing keeps it from being given back, and its thread has not ended: it goes with
    the next statement, or contexts of this database hold theirs to the end on purpose
    (``OPTIONS["pool"]["lease"]``)."""
    owner = lease.owner
    return (
        owner is not None
        and not (owner.in_transaction or owner.is_dirty or owner.has_unread_rows)
        and not _in_atomic(lease.wrapper)
        and lease.thread is not None
    )


def _name(lease: _Lease) -> str:
    of = "" if lease.pool == "default" else f" of {lease.pool!r}"
    return f"connection #{lease.lent.number}{of}"


def _by(lease: _Lease, task: Any) -> str:
    if task is not None:
        return f" by the pending task {task.get_name()!r}"
    thread = lease.thread
    if thread is None:
        return " by a thread that has ended"
    return "" if thread is threading.main_thread() else f" in the thread {thread.name!r}"


def _at(task: Any) -> str:
    """Where a task waits, in code that somebody can change."""
    found, coroutine = "", None if task is None else task.get_coro()
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None)
        if frame is not None and _is_the_users(frame.f_code.co_filename):
            code = frame.f_code
            found = f"{code.co_filename}:{frame.f_lineno} in {code.co_qualname}"
        coroutine = getattr(coroutine, "cr_await", None)
    return found


def _end(tasks: list[asyncio.Task[Any]]) -> None:
    """Cancel them, and let their event loops see to that, where those stand still."""
    for task in tasks:
        loop = task.get_loop()
        if not (task.done() or loop.is_running() or loop.is_closed()):
            task.cancel()
            loop.run_until_complete(asyncio.wait([task], timeout=_PATIENCE))


def _since(lease: _Lease) -> float:
    return time.time() - (time.monotonic() - lease.lent.lent_at)


def _place(origin: Origin) -> str:
    """The innermost frame of somebody's own code, or nothing."""
    for frame in origin:
        if _is_the_users(frame[0].co_filename):
            return place_of_frame((frame,))
    return ""


_PACKAGES = tuple(
    f"-packages{os.sep}{name}"
    for name in ("django", "mssql", "asgiref", "_pytest", "pytest", "pluggy", "pyodbc")
)
_THIS_PACKAGE = f"{Path(__file__).parent.parent.parent}{os.sep}"


def _is_the_users(file: str) -> bool:
    if file.startswith(("<", _THIS_PACKAGE)) or any(name in file for name in _PACKAGES):
        return False
    return "-packages" in file or not file.startswith(_STANDARD)


def _with_statement(finding: Finding, statement: str) -> Finding:
    culprit = finding.culprit
    if culprit is None:
        return finding
    return replace(finding, culprit=replace(culprit, statement=shown(statement)))


def _not_ended(finding: Finding) -> Finding:
    return replace(
        finding, message=finding.message.replace(" has ended and still holds ", " holds ")
    )


def _statement_of(session: Session | None) -> str:
    return "" if session is None else atserver.last_statement(session)


def _databases() -> list[dict[str, Any]]:
    """Those of the settings."""
    if not django_is_ready():
        return []
    from django.db import connections

    return list(connections.settings.values())


def _files() -> set[str]:
    """Of the databases that are files."""
    names = [
        where.get("NAME")
        for settings in _databases()
        if str(settings.get("ENGINE")).endswith("sqlite3")
        for where in (settings, settings.get("TEST") or {})
    ]
    return {os.path.abspath(name) for name in names if name}  # noqa: PTH100 - as SQLite does


def _ports() -> set[int]:
    """Of the databases that listen somewhere."""
    ports = set()
    for settings in _databases():
        port = str(settings.get("PORT") or "")
        if port.isdigit():
            ports.add(int(port))
        elif "mssql" in str(settings.get("ENGINE")):
            ports.add(1433)
    return ports

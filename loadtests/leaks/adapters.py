"""What the process under test knows of its own connections.

For mssql_async, and what is built on it, the pools are asked; for any other Django backend the
wrappers that have connected, which Django tells of by a signal. A connection is named by
something that is never used again (:data:`Connection`), so that what was seen on it can be told
of it later.
"""

from __future__ import annotations

import itertools
import threading
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from django.db.backends.signals import connection_created

from mssql_async.context import worker_statistics
from mssql_async.contrib.leaks.record import Held, Known, Session, Token
from mssql_async.pool import Pool, PooledConnection
from mssql_async.pool.lenders import LentConnection
from mssql_async.pool.registry import connection_sources, pool_statistics

from .clock import EPOCH, now
from .executed import LastStatements
from .leases import LeaseEnded, LeaseWatch
from .numbers import SessionNumbers
from .place import ASKED, CURRENT, current_place, place_in
from .probe import unnumbered

if TYPE_CHECKING:
    from .recorder import Recorder

#: Which connection of this process.
Connection = int


class Adapter(Protocol):
    def lease(self, wrapper: Any) -> tuple[Connection, float] | None:
        """What a statement of this wrapper runs on at this moment, and since when nobody else
        can (seconds since the epoch; 0: always). ``None``: nothing is held, or it is not known."""

    def ended_lease(self, wrapper: Any, since: float) -> LeaseEnded | None:
        """One that a statement of this thread's, which began then, had of that wrapper, and that
        is over by now."""

    def session_of(self, connection: Connection) -> Session | None:
        """As the harness itself has asked for it; ``None``: it has not, or it got no answer."""

    def connections(self) -> list[Connection]:
        """All that are open."""

    def is_at_rest(self) -> bool:
        """Whether nothing opens, closes, waits or runs in it; leases may still be held."""

    def held(self, recorder: Recorder) -> list[Held]:
        """What should have been given back, given that every context has ended."""

    def known(self, recorder: Recorder) -> Known: ...

    def take_asked(self) -> int:
        """How many statements it has had executed since the last time, to find out which session
        a connection has."""

    def waiting(self) -> int:
        """Callers that wait for a connection."""

    def in_use(self) -> int: ...


class PoolAdapter:
    """The pools of mssql_async."""

    def __init__(self) -> None:
        self._leases = LeaseWatch()
        self._statements = LastStatements(self._number_of)

    def lease(self, wrapper: Any) -> tuple[Connection, float] | None:
        leased = wrapper.connection
        held: list[PooledConnection] = [] if leased is None else leased.held
        if len(held) != 1:
            return None  # with two, a cursor streams beside it: which one answers is not known
        connection = held[0]
        # The lender reads the clock before it waits for its lock; whoever had the connection
        # before gave it back at idle_since.
        since: float = max(connection.lent_at, connection.idle_since)
        return connection.number, EPOCH + since

    def ended_lease(self, wrapper: Any, since: float) -> LeaseEnded | None:
        return self._leases.ended(wrapper.connection, since)

    def session_of(self, connection: Connection) -> Session | None:
        return self._leases.session_of(connection)

    def connections(self) -> list[Connection]:
        return [number for source in connection_sources() for number in source.open_connections()]

    def is_at_rest(self) -> bool:
        workers = worker_statistics()
        if workers is not None and (
            workers.waiting or workers.quarantined or workers.idle < workers.workers
        ):
            return False
        return not any(pool.in_use or pool.opening or pool.waiting for pool in pool_statistics())

    def held(self, recorder: Recorder) -> list[Held]:
        at = now()
        return [
            Held(
                recorder.process,
                at,
                recorder.user_of(lease.number) or self._leases.holder_of(lease.number),
                recorder.session_of(lease.number),
                EPOCH + lease.lent_at,
                _place(lease, recorder),
                statement=recorder.statement_of(lease.number) or self._statements.of(lease.number),
            )
            for source in connection_sources()
            for lease in source.leases()
        ]

    def known(self, recorder: Recorder) -> Known:
        numbers = self.connections()
        self._leases.forget_all_but({*numbers})
        self._statements.forget_all_but({*numbers})
        return _known(numbers, recorder)

    def take_asked(self) -> int:
        return self._leases.take_asked()

    def close(self) -> None:
        """Watch no more."""
        self._leases.close()
        self._statements.close()

    def _number_of(self, wrapper: Any) -> Connection | None:
        lease = self.lease(wrapper)
        return None if lease is None else lease[0]

    def waiting(self) -> int:
        return sum(pool.waiting for pool in pool_statistics())

    def in_use(self) -> int:
        return sum(pool.in_use for pool in pool_statistics())


def _place(lease: LentConnection, recorder: Recorder) -> str:
    """As the story tells it, if it is that very lease that it tells of: the pool's own stack may
    end in a thread that works for somebody."""
    number, since = lease.number, EPOCH + lease.lent_at
    return recorder.place_of(number, since) or place_in(lease.origin) or recorder.place_of(number)


@dataclass(slots=True)
class _Opened:
    """A connection of a wrapper, from the moment that Django told of it."""

    wrapper: weakref.ref[Any]
    raw: int
    """The driver's connection object, by its id: the wrapper has another one after closing."""
    token: Token
    since: float
    place: str
    statement: str
    """What it was opened for; empty: not known."""
    thread: weakref.ref[threading.Thread]

    def living(self) -> Any:
        """The wrapper, if it has this connection still."""
        wrapper = self.wrapper()
        if wrapper is None or id(wrapper.connection) != self.raw:
            return None
        return wrapper


class WrapperAdapter:
    """The wrappers of any other backend. Each connects for itself, and keeps what it has until
    somebody closes it or the collector of cycles comes by."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._opened: dict[Connection, _Opened] = {}
        self._number_of: weakref.WeakKeyDictionary[Any, Connection] = weakref.WeakKeyDictionary()
        self._lock = threading.Lock()
        self._sessions = SessionNumbers()
        self._statements = LastStatements(self._number_of.get)
        connection_created.connect(self._note)

    def _note(self, connection: Any, **kwargs: Any) -> None:
        number = next(self._numbers)
        opened = _Opened(
            weakref.ref(connection),
            id(connection.connection),
            CURRENT.get(),
            now(),
            current_place(),
            ASKED.get().statement,
            weakref.ref(threading.current_thread()),
        )
        with self._lock:
            self._opened[number] = opened
            before = self._number_of.get(connection)
            if before is not None:
                self._opened.pop(before, None)
            self._number_of[connection] = number

    def lease(self, wrapper: Any) -> tuple[Connection, float] | None:
        if wrapper.connection is None:
            return None
        number = self._number_of.get(wrapper)
        return None if number is None else (number, 0.0)

    def ended_lease(self, wrapper: Any, since: float) -> LeaseEnded | None:
        """A wrapper keeps what it has."""
        return None

    def session_of(self, connection: Connection) -> Session | None:
        return self._sessions.of(connection)

    def _living(self) -> dict[Connection, tuple[_Opened, Any]]:
        found: dict[Connection, tuple[_Opened, Any]] = {}
        with self._lock:
            for number, opened in list(self._opened.items()):
                wrapper = opened.living()
                if wrapper is None:
                    del self._opened[number]
                else:
                    found[number] = opened, wrapper
        return found

    def connections(self) -> list[Connection]:
        return list(self._living())

    def is_at_rest(self) -> bool:
        """There is nothing that runs without a context."""
        return True

    def held(self, recorder: Recorder) -> list[Held]:
        """Connections that a context has opened and left open. Not those that ``CONN_MAX_AGE``
        is there for: that another context has used after the first, outside a transaction."""
        at, living = now(), self._living()
        left = {
            number: (opened, wrapper)
            for number, (opened, wrapper) in living.items()
            if opened.token and not self._serves_others(number, wrapper, recorder)
        }
        self._sessions.forget_all_but(living.keys())
        self._statements.forget_all_but(living.keys())
        self._sessions.ask(
            {
                number: wrapper
                for number, (opened, wrapper) in left.items()
                if recorder.session_of(number) is None
                and not recorder.is_open(recorder.user_of(number) or opened.token)
            }
        )
        return [
            Held(
                recorder.process,
                at,
                recorder.user_of(number) or opened.token,
                recorder.session_of(number) or unnumbered(wrapper.vendor, number),
                opened.since,
                recorder.place_of(number) or opened.place,
                _what(opened, wrapper, answers=not self._sessions.is_silent(number)),
                recorder.statement_of(number) or self._statements.of(number) or opened.statement,
            )
            for number, (opened, wrapper) in left.items()
        ]

    def _serves_others(self, number: Connection, wrapper: Any, recorder: Recorder) -> bool:
        return (
            recorder.was_used_by_several(number)
            and wrapper.settings_dict["CONN_MAX_AGE"] != 0
            and not _in_transaction(wrapper)
        )

    def known(self, recorder: Recorder) -> Known:
        return _known(self.connections(), recorder)

    def take_asked(self) -> int:
        return self._sessions.take_asked()

    def waiting(self) -> int:
        return 0

    def in_use(self) -> int:
        return len(self._living())

    def close(self) -> None:
        """Listen no more."""
        connection_created.disconnect(self._note)
        self._statements.close()


def _in_transaction(wrapper: Any) -> bool:
    return bool(wrapper.in_atomic_block or not wrapper.autocommit)


def _what(opened: _Opened, wrapper: Any, *, answers: bool) -> str:
    thread = opened.thread()
    whose = "of a thread that has ended" if thread is None or not thread.is_alive() else "unused"
    if not answers:
        whose += ", and it does not answer"
    if _in_transaction(wrapper):
        return f"a connection with an open transaction ({whose})"
    return f"a connection ({whose})"


def _known(connections: list[Connection], recorder: Recorder) -> Known:
    sessions = (recorder.session_of(each) for each in connections)
    named = tuple(session for session in sessions if session is not None)
    return Known(recorder.process, now(), len(connections), named)


def adapter_for(*, ours: bool) -> Adapter:
    """For the engine of this process; to be made before anything connects."""
    if not ours:
        return WrapperAdapter()
    # Two frames, as usual, may both be the harness's own.
    Pool.notes_in_full = True
    return PoolAdapter()

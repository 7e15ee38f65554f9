"""A source of connections that keeps none: ``DATABASE_CONNECTION_POOLING = False``."""

from __future__ import annotations

from threading import get_ident

from . import origin
from .breaker import Breaker, Verdict
from .connection import ConnectionState, PooledConnection
from .connector import NO_PROFILE, Connector, Opened, Profile
from .lenders import Held, LentConnection, lent
from .openings import describe_error
from .runtime import SYSTEM, Runtime
from .settings import PoolSettings
from .statistics import Counters, PoolStatistics


class NullPool:
    """Every acquire opens and every release really closes. Unbounded, as without a pool."""

    def __init__(
        self,
        connector: Connector,
        settings: PoolSettings | None = None,
        *,
        name: str = "default",
        runtime: Runtime = SYSTEM,
    ) -> None:
        self.name = name
        self.settings = settings or PoolSettings()
        self._connector = connector
        self._runtime = runtime
        self._lock = runtime.lock()
        self._lent: set[PooledConnection] = set()
        self._counters = Counters()
        self._last_connect_error: str | None = None

    def __repr__(self) -> str:
        return f"<NullPool {self.name!r}: {len(self._lent)} in use>"

    def acquire(
        self,
        profile: Profile = NO_PROFILE,
        *,
        wait: bool = True,
        waited: float = 0.0,
        held: Held | None = None,
    ) -> PooledConnection:
        """Open a connection, with the retries of the settings; ``wait`` and ``held`` are of no
        matter.
        ``waited`` seconds of ``acquire_timeout`` are used up already.

        :raises Exception: what the connector raises, with an explanation.
        """
        started = self._runtime.now()
        opened = self._open(started + self.settings.acquire_timeout - waited)
        now = self._runtime.now()
        connection = PooledConnection(
            opened.raw,
            generation=0,
            opened_at=now,
            expires_at=None,
            credential=opened.credential,
            cancels_wait=opened.cancels_wait,
        )
        with self._lock:
            self._counters.opened += 1
            self._counters.create.add(now - started)
        if profile:
            try:
                self._connector.reset(opened.raw, profile)
            except BaseException:
                self._close(connection)
                raise
            connection.profile = profile
        connection.holder = get_ident()
        connection.origin = origin.capture(2)
        with self._lock:
            self._lent.add(connection)
            self._counters.acquired += 1
        return connection

    def _open(self, deadline: float) -> Opened:
        breaker = Breaker(self.settings.retry)
        while True:
            try:
                return self._connector.open(deadline)
            except Exception as error:
                now = self._runtime.now()
                transient = self._connector.is_transient(error)
                with self._lock:
                    self._counters.connect_errors += 1
                    self._last_connect_error = describe_error(error)
                verdict = breaker.failed(now, error, transient=transient, deadline=deadline)
                if verdict is Verdict.GIVE_UP or breaker.next_attempt_at is None:
                    raise self._connector.explain(error, breaker.attempts) from error
            # The caller's own thread, which holds nothing.
            self._runtime.sleep(max(breaker.next_attempt_at - now, 0.0))

    def release(self, connection: PooledConnection, *, reset: bool = False) -> None:
        """Close it. ``reset`` is of no matter: the session ends."""
        with self._lock:
            self._lent.discard(connection)
            self._counters.use.add(self._runtime.now() - connection.lent_at)
        self._close(connection)

    def _close(self, connection: PooledConnection) -> None:
        with self._lock:
            self._counters.closed += 1
        connection.state = ConnectionState.CLOSED
        self._connector.close(connection.raw)

    def abandon(self, connection: PooledConnection) -> None:
        """As :meth:`.pool.Pool.abandon`. From a finalizer, so without the lock: each of these
        is one step of the interpreter or a count for people."""
        self._lent.discard(connection)
        self._counters.abandoned += 1
        self._counters.closed += 1
        connection.state = ConnectionState.CLOSED
        self._connector.close(connection.raw)

    def condemn(self, connection: PooledConnection) -> None:
        """It is closed at its return anyway."""
        connection.broken = True

    def call_off(self, thread: int) -> None:
        """Nobody waits here."""

    def forsake(self, connection: PooledConnection) -> None:
        """Nothing waits for its place."""
        connection.broken = True

    def close(self) -> None:
        """Nothing is kept, so nothing is closed."""

    def warm(self) -> None:
        """Nothing is kept, so nothing is opened ahead."""

    def is_unused(self) -> bool:
        """Whether nothing is lent: there is nothing else to forget."""
        return not self._lent

    def open_connections(self) -> list[int]:
        """The numbers of those that are lent: there are no others."""
        with self._lock:
            return [connection.number for connection in self._lent]

    def leases(self) -> list[LentConnection]:
        """Who holds a connection at this moment. The longest first."""
        with self._lock:
            held = list(self._lent)
        return lent(held)

    def statistics(self) -> PoolStatistics:
        """The connections that are lent right now; there are no others."""
        with self._lock:
            c, lent = self._counters, len(self._lent)
            return PoolStatistics(
                name=self.name, state="open", breaker="closed", max_size=0, size=lent,
                in_use=lent, idle=0, opening=0, waiting=0, generation=0, acquired=c.acquired,
                opened=c.opened, closed=c.closed, connect_errors=c.connect_errors, proved=0,
                proofs_failed=0, hung_up=0, waits=0, timeouts=0, refused=0,
                abandoned=c.abandoned, leaks=0, wait_time=c.wait.snapshot(),
                use_time=c.use.snapshot(), create_time=c.create.snapshot(),
                last_connect_error=self._last_connect_error,
            )  # fmt: skip

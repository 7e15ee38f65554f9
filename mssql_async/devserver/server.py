"""The server: listens on a socket, keeps its connections, counts what they say.

:class:`TdsServer` lives on one event loop; :class:`DevServer` is the public, blocking
API, which runs it with an engine on a thread of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from . import eventloop
from .accesstokens import AccessTokens, utc_now
from .certificates import CannotMakeCertificate, Certificate
from .config import (
    DEVELOPMENT_DATABASE,
    DEVELOPMENT_PASSWORD,
    DEVELOPMENT_USER,
    PRODUCT_VERSION,
    EngineConfig,
)
from .faults import Clock, Faults
from .protocols import Engine
from .stage import Controllable, ServerStage
from .tds.connection import (
    LOGIN_TIMEOUT,
    ConnectionSettings,
    TdsConnection,
    reset_connection,
)
from .tds.counters import Counters, SessionInfo
from .tds.packets import WRITE_BUFFER_HIGH
from .tds.tls import ServerTls
from .tds.tokens import LayoutCache

logger = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
MAX_WORKERS = 10_000
"""Threads that may wait for locks at a time: as many as there may be sessions, because
the one that is not given a thread may be the one that holds the lock."""
STOP_TIMEOUT = 10.0
"""Seconds the running requests have to notice that they were interrupted."""


class TdsServer:
    """Serves one engine to TDS clients. All methods belong to the event loop that
    called :meth:`start`, except the read-only properties.

    The engine stays its owner's: :meth:`stop` closes every session but not the engine.
    """

    def __init__(
        self,
        engine: Engine,
        host: str = LOOPBACK,
        port: int = 0,
        *,
        server_name: str = "",
        product_version: str = PRODUCT_VERSION,
        login_timeout: float = LOGIN_TIMEOUT,
        tls: ServerTls | None = None,
        access_tokens: AccessTokens | None = None,
        faults_clock: Clock = time.monotonic,
    ) -> None:
        """Without ``tls`` everything is in clear; without ``access_tokens`` none logs in."""
        self._host = host
        self._port = port
        self._workers = ThreadPoolExecutor(MAX_WORKERS, thread_name_prefix="mssql-devserver")
        self._connections: dict[TdsConnection, asyncio.Task[None]] = {}
        self._stage = ServerStage(engine, self._connections)
        self.faults = Faults(self._stage, faults_clock)
        self._settings = ConnectionSettings(
            engine,
            self._workers,
            Counters(),
            LayoutCache(),
            self.faults,
            server_name=server_name,
            product_version=product_version,
            login_timeout=login_timeout,
            tls=tls,
            access_tokens=access_tokens or AccessTokens(),
            on_login=self._announce_change,
        )
        if isinstance(engine, Controllable):
            engine.attach_server(self)
        self._server: asyncio.Server | None = None
        self._stopping = False
        self._sessions_changed = threading.Condition()

    def __repr__(self) -> str:
        state = "stopped" if self._server is None else "listening"
        return f"<TdsServer {self._host}:{self._port} {state}>"

    @property
    def host(self) -> str:
        return self._host

    @property
    def port(self) -> int:
        """The port it listens on; chosen by the system where 0 was asked for."""
        return self._port

    @property
    def tls(self) -> ServerTls | None:
        return self._settings.tls

    @property
    def counters(self) -> Counters:
        """A snapshot of the counters since the start or the last reset."""
        return self._settings.totals.snapshot()

    def reset_counters(self) -> Counters:
        """Start counting anew; gives what was counted until now."""
        counted, self._settings.totals = self._settings.totals, Counters()
        return counted.snapshot()

    def sessions(self) -> list[SessionInfo]:
        """The logged-in sessions, by SPID."""
        infos = [connection.session_info for connection in list(self._connections)]
        return sorted((info for info in infos if info is not None), key=lambda info: info.spid)

    def wait_for_sessions(self, count: int, timeout: float) -> bool:
        """Block the calling thread until there are ``count`` sessions; ``False`` when
        ``timeout`` seconds were not enough. Not for the event loop's own thread."""
        with self._sessions_changed:
            return self._sessions_changed.wait_for(lambda: len(self.sessions()) == count, timeout)

    async def start(self) -> None:
        """
        :raises OSError: the address cannot be listened on.
        """
        self._stage.begin()
        self._server = await asyncio.start_server(self._accept, self._host, self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def kill(self, spid: int | None = None) -> int:
        """Hang up on the session ``spid``, or on everybody; says on how many, once their
        sessions are closed."""
        victims = {
            connection: task
            for connection, task in self._connections.items()
            if spid is None or connection.spid == spid
        }
        for connection in victims:
            connection.abort()
        if victims:
            _done, pending = await asyncio.wait(set(victims.values()), timeout=STOP_TIMEOUT)
            for connection, task in victims.items():
                if task in pending:
                    logger.error("%r did not end within %s s", connection, STOP_TIMEOUT)
        return len(victims)

    async def stop(self) -> None:
        """Stop listening, hang up on everybody, wait until every session is closed."""
        self._stopping = True
        server, self._server = self._server, None
        if server is not None:
            server.close()
        await self.kill()
        self._stage.end()
        self._workers.shutdown(wait=not self._connections)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if self._stopping or task is None:
            writer.transport.abort()
            return
        if self.faults.refuses_connections():
            reset_connection(writer.transport)
            return
        writer.transport.set_write_buffer_limits(high=WRITE_BUFFER_HIGH)
        connection = TdsConnection(self._settings, reader, writer)
        self._connections[connection] = task
        try:
            await connection.serve()
        finally:
            del self._connections[connection]
            self._announce_change()

    def _announce_change(self) -> None:
        with self._sessions_changed:
            self._sessions_changed.notify_all()


class DevServer:
    """The embedded server on a thread of its own, ready when the constructor returns.

    ::

        with DevServer() as server:
            pyodbc.connect(server.connection_string())

    Without a ``database_file`` the database is temporary and gone after :meth:`close`.
    It listens on loopback unless told otherwise; the default password is documented
    and protects nothing. Not for production.

    Clients choose whether to encrypt (``Encrypt=no``, ``yes`` or ``strict``) unless
    ``require_encryption`` is set. With ``Encrypt=no`` nothing is encrypted, so that a proxy
    can count messages; ``encrypt_logins`` encrypts the login even then, as SQL Server does.
    The certificate is made at start, for the names of loopback and ``host``, unless
    ``certificate`` gives one; clients that check it trust :attr:`certificate_pem`. Without
    TLS, because ``tls`` is false or the package ``cryptography`` is missing, only
    ``Encrypt=no`` gets in.

    Besides the user with the password, whoever brings one of the ``accepted_tokens`` logs
    in (``SQL_COPT_SS_ACCESS_TOKEN``): a mapping of tokens to their expiry, ``None`` for
    never; see :meth:`accept_token`. ``clock`` gives the time for that.

    A client in the same process must let other threads run while it waits for a reply.
    pyodbc does, but for ``fast_executemany``, which keeps the interpreter to itself while
    it asks for the parameters' types: use it against a server in another process
    (``python -m mssql_async.devserver``).

    :raises OSError: the address cannot be listened on.
    :raises ssl.SSLError: the certificate and its key do not belong together.
    :raises CannotMakeCertificate: encryption is required and ``cryptography`` missing.
    """

    def __init__(
        self,
        database_file: Path | None = None,
        *,
        port: int = 0,
        host: str = LOOPBACK,
        user: str = DEVELOPMENT_USER,
        password: str = DEVELOPMENT_PASSWORD,
        database: str = DEVELOPMENT_DATABASE,
        engine: Engine | None = None,
        tls: bool = True,
        certificate: Certificate | None = None,
        require_encryption: bool = False,
        encrypt_logins: bool = False,
        accepted_tokens: Mapping[str, datetime.datetime | None] | None = None,
        clock: Callable[[], datetime.datetime] = utc_now,
        faults_clock: Clock = time.monotonic,
    ) -> None:
        """``engine`` replaces the one that would be opened; it is closed all the same."""
        self.user = user
        self.database = database
        self._password = password
        self._tokens = AccessTokens(accepted_tokens, user=user, clock=clock)
        server_tls = None
        if tls:
            server_tls = open_tls(
                host, certificate, required=require_encryption, encrypt_logins=encrypt_logins
            )
        if engine is None:
            engine = open_configured_engine(
                EngineConfig(
                    database_file=database_file, database=database, logins={user: password}
                )
            )
        stop = asyncio.Event()
        started: Future[tuple[TdsServer, asyncio.AbstractEventLoop]] = Future()
        self._thread = threading.Thread(
            target=_serve_in_thread,
            args=(engine, host, port, server_tls, self._tokens, faults_clock, started, stop),
            name="mssql-devserver",
            # A program that forgot to close the server ends all the same: the finalizer
            # runs at exit too.
            daemon=True,
        )
        self._thread.start()
        self._server, self._loop = started.result()
        self._finalizer = weakref.finalize(
            self, _stop_thread, self._thread, self._loop, stop, os.getpid()
        )

    def __repr__(self) -> str:
        state = "running" if self._thread.is_alive() else "closed"
        return f"<DevServer {self.host}:{self.port} {state}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def host(self) -> str:
        return self._server.host

    @property
    def port(self) -> int:
        return self._server.port

    @property
    def password(self) -> str:
        return self._password

    @property
    def faults(self) -> Faults:
        """What may be made to go wrong; see ``docs/faults.md``."""
        return self._server.faults

    @property
    def certificate_pem(self) -> str | None:
        """What clients that check certificates have to trust, ``None`` without TLS.

        Microsoft's driver takes the name of a file that holds it as ``ServerCertificate``.
        """
        tls = self._server.tls
        return tls.certificate_pem if tls is not None else None

    def accept_token(
        self,
        token: str,
        *,
        user: str | None = None,
        expires_at: datetime.datetime | None = None,
    ) -> None:
        """Let whoever brings the access token ``token`` log in as ``user``, by default the
        server's own, before ``expires_at``. Doing it again changes both."""
        self._tokens.accept(token, user=user, expires_at=expires_at)

    def revoke_token(self, token: str) -> None:
        """Let ``token`` in no longer. Sessions that used it go on, as with SQL Server."""
        self._tokens.revoke(token)

    @property
    def counters(self) -> Counters:
        """A snapshot of what was counted since the start or the last reset."""
        return self._server.counters

    def reset_counters(self) -> Counters:
        """Start counting anew; gives what was counted until now."""
        return self._server.reset_counters()

    def sessions(self) -> list[SessionInfo]:
        """The sessions that are logged in now, by SPID."""
        return self._server.sessions()

    def kill(self, spid: int | None = None) -> int:
        """Hang up on the session ``spid``, or on everybody, as a failover would; says on
        how many, once their sessions are closed."""
        return asyncio.run_coroutine_threadsafe(self._server.kill(spid), self._loop).result()

    def wait_for_sessions(self, count: int, timeout: float = 10.0) -> bool:
        """Wait until exactly ``count`` sessions are logged in: a session ends a moment
        after its client hung up. ``False`` when ``timeout`` seconds were not enough."""
        return self._server.wait_for_sessions(count, timeout)

    def connection_string(
        self, database: str | None = None, driver: str = "ODBC Driver 18 for SQL Server"
    ) -> str:
        """An ODBC connection string, password included. It encrypts where it must."""
        tls = self._server.tls
        encrypt = "no" if tls is None or not tls.required else "yes;TrustServerCertificate=yes"
        return (
            f"Driver={{{driver}}};Server={self.host},{self.port};UID={self.user};"
            f"PWD={{{self._password.replace('}', '}}')}}};"
            f"Database={database or self.database};Encrypt={encrypt}"
        )

    def close(self) -> None:
        """Hang up on everybody, stop the server, close the engine. Idempotent.

        In a forked child it does nothing: the server is the parent's.
        """
        self._finalizer()


def _stop_thread(
    thread: threading.Thread, loop: asyncio.AbstractEventLoop, stop: asyncio.Event, process: int
) -> None:
    if os.getpid() != process:
        return
    with contextlib.suppress(RuntimeError):  # the loop is closed already
        loop.call_soon_threadsafe(stop.set)
    thread.join()


def open_configured_engine(config: EngineConfig) -> Engine:
    # Only here: the wire can be used and tested without the engine and its T-SQL parser.
    from .engine import open_engine

    return open_engine(config)


def open_tls(
    host: str,
    certificate: Certificate | None = None,
    *,
    required: bool = False,
    encrypt_logins: bool = False,
) -> ServerTls | None:
    """TLS with ``certificate``, or with one made for ``host``. ``None``, and a warning in
    the log, where that cannot be made.

    :raises CannotMakeCertificate: it cannot be made, and encryption is required.
    """
    if certificate is None:
        try:
            certificate = Certificate.self_signed(host)
        except CannotMakeCertificate as failure:
            if required:
                raise
            logger.warning("TLS is not available, clients need Encrypt=no: %s", failure)
            return None
    return ServerTls.of(certificate, required=required, encrypt_logins=encrypt_logins)


def _serve_in_thread(
    engine: Engine,
    host: str,
    port: int,
    tls: ServerTls | None,
    access_tokens: AccessTokens,
    faults_clock: Clock,
    started: Future[tuple[TdsServer, asyncio.AbstractEventLoop]],
    stop: asyncio.Event,
) -> None:
    try:
        eventloop.run(_serve(engine, host, port, tls, access_tokens, faults_clock, started, stop))
    except BaseException as failure:
        if started.done():
            raise
        started.set_exception(failure)
    finally:
        engine.close()


async def _serve(
    engine: Engine,
    host: str,
    port: int,
    tls: ServerTls | None,
    access_tokens: AccessTokens,
    faults_clock: Clock,
    started: Future[tuple[TdsServer, asyncio.AbstractEventLoop]],
    stop: asyncio.Event,
) -> None:
    server = TdsServer(
        engine, host, port, tls=tls, access_tokens=access_tokens, faults_clock=faults_clock
    )
    try:
        await server.start()
        started.set_result((server, asyncio.get_running_loop()))
        await stop.wait()
    finally:
        await server.stop()

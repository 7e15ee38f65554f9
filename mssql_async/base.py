"""What Django loads for ``ENGINE = "mssql_async"``: mssql-django's wrapper on a pool.

The dialect (compiler, schema editor, introspection, functions) is inherited and never
copied; what changes is where connections come from and what they cost.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from .driver import DRIVER_18, Driver, find_driver, require_pyodbc

require_pyodbc()

import pyodbc  # noqa: E402 - only now is it known to load
from django.conf import settings  # noqa: E402
from django.core import checks  # noqa: E402
from django.db import DatabaseError, connections  # noqa: E402
from django.db.backends.base.base import NO_DB_ALIAS  # noqa: E402
from django.db.backends.signals import connection_created  # noqa: E402
from django.db.backends.utils import debug_transaction  # noqa: E402
from django.utils.functional import cached_property  # noqa: E402
from mssql import base as mssql  # noqa: E402
from mssql.introspection import SQL_TIMESTAMP_WITH_TIMEZONE  # noqa: E402

from .checks import check_databases  # noqa: E402
from .commithooks import CommitHook, open_block, register_in  # noqa: E402
from .context.chains import held_in_vain  # noqa: E402
from .context.elsewhere import current_span  # noqa: E402
from .context.left import Left  # noqa: E402
from .context.traces import traces  # noqa: E402
from .context.worker import current_worker  # noqa: E402
from .creation import DatabaseCreation  # noqa: E402
from .errors import PoolTimeout, error_number, from_pool  # noqa: E402
from .features import DatabaseFeatures  # noqa: E402
from .operations import DatabaseOperations  # noqa: E402
from .options import backend_options  # noqa: E402
from .pool import (  # noqa: E402
    NO_PROFILE,
    ConnectParameters,
    PooledConnection,
    PoolError,
    Profile,
    odbc,
)
from .pool.lenders import ConnectionSource  # noqa: E402
from .pool.odbc_connector import OdbcConnector  # noqa: E402
from .pool.registry import connection_source  # noqa: E402
from .pool.secrets import SecretText  # noqa: E402
from .session.lease import LeasedConnection, LeaseState  # noqa: E402
from .session.nulls import TypedParameters  # noqa: E402
from .session.profile import ProvenSettings  # noqa: E402
from .session.scope import LeaseScope  # noqa: E402

logger = logging.getLogger("mssql_async.context")

checks.register(check_databases)
# Nothing is pooled twice: unixODBC's own pool keeps session state (pyodbc#1277).
pyodbc.pooling = False

#: mssql-django calls it transient, as Azure says it when a database fails over.
CANNOT_OPEN_DATABASE = frozenset({4060})

#: Major version of SQL Server 2014, and of every Azure SQL.
AMBIGUOUS_VERSION = 12

#: Keywords of ``extra_params`` that name a server other than HOST.
_NAME_A_SERVER = frozenset({"server", "address", "addr", "failover_partner"})

#: What of an entry of ``DATABASES`` is nobody's business.
_SECRETS = ("PASSWORD", "TOKEN")

#: Every SQLSTATE that means the link is gone, not just the two mssql-django knows.
_LINK_STATES = tuple(sorted(odbc.LINK_STATES))

#: Alias -> what receivers of ``connection_created`` have set there before.
_proven_settings: defaultdict[str, ProvenSettings] = defaultdict(ProvenSettings)

_wrappers: weakref.WeakSet[DatabaseWrapper] = weakref.WeakSet()

#: Driver or data source of the settings -> whether it is one of Microsoft's.
_microsofts_drivers: dict[str | None, bool] = {}


class DatabaseWrapper(mssql.DatabaseWrapper):  # type: ignore[misc]
    """A database alias in one thread.

    ``connection`` is a :class:`LeasedConnection`: it holds one of the pool's connections
    while a statement or a transaction needs it, and at the latest until the request ends.
    """

    connection: Any  # a LeasedConnection, or None between two requests
    creation_class = DatabaseCreation
    features_class = DatabaseFeatures
    ops_class = DatabaseOperations
    _codes_for_networkerror: ClassVar[tuple[str, ...]] = _LINK_STATES

    def __init__(self, settings_dict: dict[str, Any], alias: str = "default") -> None:
        super().__init__(settings_dict, alias)
        _wrappers.add(self)
        self._options = backend_options(settings_dict, alias)
        # Statements are compiled before a connection is taken, and bulk_create decides before.
        self.features.can_return_rows_from_bulk_insert = self._options.return_rows_bulk_insert
        self._is_microsoft_driver = _microsofts_drivers.get(self._driver_key, False)
        self._parameters: tuple[Any, Any] = (None, None)
        """Connection parameters of Django's kind, and what was made of them."""
        # So that the dialect reads no result to its end before it gives the first row: the
        # lease does what MARS would be needed for.
        self.supports_mars = True
        self._received_wrappers: list[Any] = []
        """Execute wrappers that receivers of ``connection_created`` have installed."""
        self._span = 0
        """In a thread that serves contexts without being their worker: the number of the one
        that it serves; 0: of none."""

    # --- where connections come from -----------------------------------------------------

    def get_connection_params(self) -> dict[str, Any]:
        """Django's and the dialect's, their secrets with a ``repr`` that shows nothing: error
        reports print the local variables of everything that connects."""
        conn_params: dict[str, Any] = super().get_connection_params()
        for name in _SECRETS:
            if isinstance(conn_params.get(name), str):
                conn_params[name] = SecretText(conn_params[name])
        options = conn_params.get("OPTIONS") or {}
        if isinstance(options.get("extra_params"), str):  # PWD=...
            extra_params = SecretText(options["extra_params"])
            conn_params["OPTIONS"] = {**options, "extra_params": extra_params}
        return conn_params

    def get_new_connection(self, conn_params: dict[str, Any]) -> LeasedConnection:
        """A lease from the pool of these parameters.

        :raises PoolTimeout: no connection became free in time.
        :raises django.db.OperationalError: the server cannot be reached, among others; the
            text names the server and the setting to look at.
        """
        source = self._connection_source(conn_params)
        proven = _proven_settings[self.alias]
        worker = current_worker()
        # A worker that nothing asks is to look, too: it may be pinned by just that.
        told = {} if worker is None else {"on_orphan": worker.look_again}
        lease = LeasedConnection(
            _DjangosErrors(source),
            self._options.lease,
            acquire=False,
            may_be_shared=lambda: self.allow_thread_sharing,
            proven=proven,
            **told,
        )
        # Django's own check goes by the thread that made the wrapper, not the one that connects.
        lease.owner = self._thread_ident
        if worker is not None:
            worker.leases.add(lease)  # what a cancellation of its calls stops
        if not (proven and connection_created.has_listeners(type(self))):
            lease.acquire()
        # Else with a profile to come that the pool may have a connection for: see connect().
        return lease

    # What connects. Not ensure_connection() itself, which Django's tests replace on the base class
    # with a function that calls it here.

    def _cursor(self, *args: Any) -> Any:
        self._begin_span()
        return super()._cursor(*args)

    def get_autocommit(self) -> bool:
        self._begin_span()
        return bool(super().get_autocommit())

    def set_autocommit(self, autocommit: bool, *args: Any, **kwargs: Any) -> None:
        self._begin_span()
        super().set_autocommit(autocommit, *args, **kwargs)

    def connect(self) -> None:
        """Connect, and take what the receivers of ``connection_created`` set into the profile
        of this context: every connection it gets is at that profile."""
        self._begin_span()
        are_all_received = self.execute_wrappers == self._received_wrappers
        try:
            super().connect()
        finally:
            if self.connection is not None:
                self.connection.end_profile()
        if are_all_received:
            self._received_wrappers = list(self.execute_wrappers)
        try:
            self.connection.acquire()
        except BaseException:
            self.connection = None
            raise

    def warm_pool(self) -> None:
        """Open the smallest number of connections of this alias's pool now."""
        self._connection_source(self.get_connection_params()).warm()

    def _connection_source(self, conn_params: dict[str, Any]) -> ConnectionSource:
        made_from, parameters = self._parameters
        if made_from != conn_params:
            # Tests rename the database in place, and extra_params beneath OPTIONS may change.
            parameters = self._connect_parameters(conn_params)
            made_from = {**conn_params, "OPTIONS": {**(conn_params.get("OPTIONS") or {})}}
            self._parameters = made_from, parameters
        return connection_source(
            parameters,
            self._options.pool,
            _make_connector,
            # The connection without a database exists to create and drop databases.
            pooled=self.alias != NO_DB_ALIAS
            and bool(getattr(settings, "DATABASE_CONNECTION_POOLING", True)),
            name=self.alias,
        )

    def _connect_parameters(self, conn_params: dict[str, Any]) -> ConnectParameters:
        options = self._options
        if conn_params.get("USER") and conn_params.get("PASSWORD") is None:
            conn_params = {**conn_params, "PASSWORD": ""}
        token = conn_params.get("TOKEN")
        if options.token_provider is not None:
            # The dialect asks for the operating system's user where it sees no token.
            conn_params = {**conn_params, "TOKEN": None}
        if not conn_params.get("HOST") and not _names_a_server(conn_params):
            # The dialect's "SERVER=,1433" is no server.
            conn_params = {**conn_params, "HOST": "localhost"}
        driver = find_driver() if options.needs_a_driver else Driver(options.driver or DRIVER_18)
        connection_string = driver.in_connection_string(
            self._build_connection_string(conn_params, driver.name)
        )
        return ConnectParameters(
            connection_string=connection_string,
            target=_target(conn_params),
            database=conn_params["NAME"],
            address=_address(conn_params),
            setup=options.session_setup,
            access_token=None if token is None else mssql.prepare_token_for_odbc(token),
            token_provider=options.token_provider,
            connection_timeout=options.connection_timeout,
            query_timeout=options.query_timeout,
            transient_errors=frozenset(map(int, self._transient_error_numbers)),
            definite_at_first=frozenset() if options.retries_are_explicit else CANNOT_OPEN_DATABASE,
            setencoding=options.setencoding,
            setdecoding=options.setdecoding,
            unicode_results=options.unicode_results,
        )

    def init_connection_state(self) -> None:
        """What the dialect knows of a connection. Nothing is sent: the session was set up
        when it was opened or reset."""
        self._is_microsoft_driver = self._driver_is_microsofts()
        if self._is_microsoft_driver:
            self.driver_charset = None
        self.connection.begin_profile()

    @property
    def _driver_key(self) -> str | None:
        return self._options.dsn or self._options.driver

    def _driver_is_microsofts(self) -> bool:
        which = self._driver_key
        if which not in _microsofts_drivers:
            _microsofts_drivers[which] = odbc.is_microsofts(self.connection)
        return _microsofts_drivers[which]

    @cached_property
    def sql_server_version(self) -> int:
        """The dialect's number of the version, a year. The login has said it: nothing is sent,
        except where that is 12, which is SQL Server 2014, Azure SQL and Fabric alike."""
        if self.alias not in self._known_versions:
            major = self._major_version_of_the_login()
            if major != AMBIGUOUS_VERSION and major in self._sql_server_versions:
                self._known_versions[self.alias] = self._sql_server_versions[major]
        version: int = super().sql_server_version
        return version

    def _major_version_of_the_login(self) -> int:
        was_connected = self.connection is not None
        self.ensure_connection()
        try:
            with self.wrap_database_errors:
                version = str(self.connection.getinfo(pyodbc.SQL_DBMS_VER))
            return int(version.partition(".")[0]) if self._is_microsoft_driver else 0
        finally:
            if not was_connected:
                self.close()

    def forget_the_parents(self) -> None:
        """In a forked child: the connection is the parent's. Forget it, with its transaction."""
        if self.connection is not None and self.connection.state is LeaseState.INHERITED:
            self.connection = None
            self.in_atomic_block = False
            self.closed_in_transaction = False

    def close_if_unusable_or_obsolete(self) -> None:
        """The request is over (or a new one begins): give the connection back.

        Django calls this around every request. Contexts never own persistent connections: with
        ``CONN_MAX_AGE`` only the empty lease stays, so that receivers of ``connection_created``
        are called no more often than they would be. A transaction that is still going on, as
        in tests, is left alone.
        """
        if self.in_atomic_block:
            return
        lease = self.connection
        if lease is None:
            return  # closing nothing would still be refused in the thread of an event loop
        if lease.state is LeaseState.FREE and self.settings_dict["CONN_MAX_AGE"] != 0:
            super().close_if_unusable_or_obsolete()
        else:
            self.close()

    # --- contexts on a worker (mssql_async.context.surroundings) -----------------------------

    @property
    def at_rest(self) -> bool:
        """Whether nothing here belongs to the context whose call is over."""
        lease = self.connection
        return (
            not self.in_atomic_block
            # The next connection gets from the same receivers what this one has got.
            and self.execute_wrappers == self._received_wrappers
            and (
                lease is None
                or (lease.state is LeaseState.FREE and self.autocommit == lease.autocommit)
            )
            and (lease is None or self.autocommit == self.settings_dict["AUTOCOMMIT"])
        )

    def rest(self) -> bool:
        """A call is over: whether its context needs this thread no more. A connection that was
        only asked for (``ensure_connection``) is no reason; an open cursor is, which can execute
        again only here, though it holds nothing that others could want."""
        lease = self.connection
        if lease is not None and lease.state is LeaseState.HELD and not self.in_atomic_block:
            lease.release_unless_pinned()
        kept = lease is not None and lease.has_open_cursors
        return self.at_rest and not self.is_recorded and not kept

    @property
    def is_recorded(self) -> bool:
        """Whether the context of a worker records its queries (``CaptureQueriesContext``), or has:
        without ``DEBUG`` nothing else writes the log."""
        return bool(self.force_debug_cursor or (self.queries_log and not settings.DEBUG))

    @property
    def has_session(self) -> bool:
        """Whether a block that begins on this alias is to see what is here: a transaction, state
        of the session, what watches its queries. Rows that somebody has yet to read are not."""
        lease = self.connection
        return (
            self.in_atomic_block
            or bool(self.execute_wrappers)
            or self.is_recorded
            or (
                lease is not None
                and (lease.has_session or self.autocommit != self.settings_dict["AUTOCOMMIT"])
            )
        )

    @property
    def has_unread_rows(self) -> bool:
        return self.connection is not None and bool(self.connection.has_unread_rows)

    def tidy(self) -> None:
        """End what was given up elsewhere: cursors and iterators that nobody will read on."""
        if self.connection is not None:
            self.connection.tidy()

    def begin_context(self) -> None:
        """The calls of another context begin on this thread. Cursors that the last one kept
        are of no use from now on, and receivers of ``connection_created`` see the new one."""
        self.queries_log.clear()
        if self.in_atomic_block:
            return
        self.force_debug_cursor = False
        if self.connection is not None:
            self.close()
        if self.execute_wrappers:
            # Receivers are to find none, as in the thread that Django starts for each request.
            del connections[self.alias]

    def end_context(self) -> Left | None:
        """The context is over: give back what it still holds, and say what that was."""
        lease = self.connection
        left = None if lease is None else self._left(lease)
        self.force_debug_cursor = False
        self.queries_log.clear()
        if lease is not None:
            lease.close()
        if self.in_atomic_block or self.execute_wrappers or not self.autocommit:
            # Django has no way back from the middle of a block: the next context gets a new
            # wrapper.
            self.connection = None
            del connections[self.alias]
        else:
            self.close()
        return left

    def _left(self, lease: LeasedConnection) -> Left | None:
        held = tuple((one.number, one.origin) for one in lease.held)
        if self.in_atomic_block:
            return Left("an open transaction (atomic)", True, held)
        if not held or self._options.lease is LeaseScope.CONTEXT:
            return None
        if not self.autocommit:
            return Left("an open transaction (autocommit is off)", True, held)
        if lease.has_unread_rows:
            return Left("a cursor with unread rows", True, held)
        return Left("session state (SET, a temporary table, a lock, ...)", False, held)

    # --- contexts on threads that are no workers (mssql_async.context.elsewhere) --------------

    def _begin_span(self) -> None:
        """The next use may be another context's than the last one."""
        if not self._span and current_worker() is not None:
            return
        span = current_span()
        number = 0 if span is None else span.number
        if number == self._span:
            return
        if self._span:
            self._end_span()
        elif not self.at_rest:
            return  # it is in the middle of something of the thread's own
        self._span = number
        if span is not None:
            span.add(self)

    def _end_span(self) -> None:
        """Give back what the context that was here before has left."""
        lease, self._span = self.connection, 0
        if lease is None:
            return
        left = self._left(lease)
        if left is not None:
            logger.warning(
                "A context still held %s on the database %r in the thread %r, which went on to "
                "other work; it was rolled back and given back.%s",
                left.what, self.alias, threading.current_thread().name, left.where(),
            )  # fmt: skip
        lease.close()
        self.connection = None  # connect() has Django forget the rest
        self.in_atomic_block = False

    def leave_span(self, number: int) -> None:
        """See :class:`~.context.elsewhere.Wrapper`."""
        lease = self.connection
        if number == self._span and lease is not None:
            lease.owner_is_gone()

    def is_usable(self) -> bool:
        """Whether the next statement would find a working connection.

        :raises PoolTimeout: all are in use, so nobody can tell.
        """
        lease = self.connection
        try:
            if lease.state is LeaseState.FREE:
                lease.acquire()  # the pool proves what it lends
                lease.release_unless_pinned()
            else:
                with lease.cursor() as cursor:
                    cursor.execute("SELECT 1")
        except PoolTimeout:
            raise
        except (pyodbc.Error, DatabaseError):
            return False
        return True

    def _on_error(self, error: pyodbc.Error) -> None:
        # The dialect forgets a connection whose link is gone. In a transaction outside of
        # ``atomic`` the next statement would run on another one, in autocommit.
        if self.autocommit or self.in_atomic_block:
            super()._on_error(error)
        if self.in_atomic_block and odbc.ended_transaction(error):
            # The server has rolled back; the driver would silently begin another transaction,
            # and the block would commit its second half only.
            self.needs_rollback = True

    def create_cursor(self, name: str | None = None) -> Any:
        # In a block, too: it may be used after the block.
        cursor_class = _TracedCursor if traces() else _Cursor
        return cursor_class(self.connection.cursor(), self)

    # --- functions that wait for a commit ----------------------------------------------------

    def on_commit(self, func: Callable[[], Any], robust: bool = False) -> None:
        """Also for functions that are asynchronous, or return something awaitable. Called in
        a block of :func:`mssql_async.transaction.async_atomic` it needs no ``sync_to_async``."""
        if callable(func) and not isinstance(func, CommitHook):
            func = CommitHook(func)
        block = open_block()
        if block is not None and isinstance(func, CommitHook):
            register_in(block, self.alias, func, robust)
        else:
            super().on_commit(func, robust)

    # --- transactions: without the dialect's questions about @@TRANCOUNT -----------------

    def _commit(self) -> None:
        with self._telling_of_a_commit():
            super()._commit()

    def _set_autocommit(self, autocommit: bool) -> None:
        # What is still open is committed. After commit() and rollback(), nothing is.
        commits = autocommit and self.connection.in_transaction
        telling = self._telling_of_a_commit() if commits else contextlib.nullcontext()
        with telling, self.wrap_database_errors:
            self.connection.autocommit = autocommit

    @contextlib.contextmanager
    def _telling_of_a_commit(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            if error_number(error) is None:
                for trace in traces():
                    trace.may_have_committed(self.alias)
            raise
        for trace in traces():
            trace.committed(self.alias)

    def _savepoint(self, sid: str) -> None:
        with self.cursor() as cursor:
            cursor.execute(self.ops.savepoint_create_sql(sid))

    def _savepoint_commit(self, sid: str) -> None:
        # SQL Server has no statement for it. The log has a line, as for the COMMIT that the driver
        # sends: ``assertNumQueries`` counts as with other databases, and as with the dialect.
        with debug_transaction(self, f"-- RELEASE SAVEPOINT {sid}"):
            pass

    def _savepoint_rollback(self, sid: str) -> None:
        with self.cursor() as cursor:
            cursor.execute(self.ops.savepoint_rollback_sql(sid))


class _Cursor(mssql.CursorWrapper):  # type: ignore[misc]
    """Has the lease know the types of nulls, which nobody above has to see."""

    def format_params(self, params: Any) -> Any:
        formatted = super().format_params(params)
        return params.typed(formatted) if type(params) is TypedParameters else formatted


class _TracedCursor(_Cursor):
    """Tells of what is executed outside of a transaction."""

    def execute(self, sql: str, params: Any = None) -> Any:
        with self._telling(sql):
            return super().execute(sql, params)

    def executemany(self, sql: str, params_list: Any = ()) -> Any:
        with self._telling(sql, many=True):
            return super().executemany(sql, params_list)

    def callproc(self, procname: str, params: Any = ()) -> Any:
        with self._telling(f"EXEC {procname}"):
            return self.cursor.callproc(procname, params)

    @contextlib.contextmanager
    def _telling(self, sql: str, *, many: bool = False) -> Iterator[None]:
        alone = self.connection.autocommit
        try:
            yield
        except BaseException as error:
            for trace in traces() if alone else ():
                trace.failed_alone(self.connection.alias, sql, error, many=many)
            raise
        for trace in traces() if alone else ():
            trace.executed_alone(self.connection.alias, sql)


class _DjangosErrors:
    """A source of connections whose errors are Django's."""

    def __init__(self, source: ConnectionSource) -> None:
        self._source = source

    def acquire(
        self, profile: Profile = NO_PROFILE, *, wait: bool = True
    ) -> PooledConnection | None:
        worker = current_worker()
        waited = 0.0 if worker is None else worker.take_waited()
        try:
            return self._source.acquire(profile, wait=wait, waited=waited, held=held_in_vain)
        except PoolError as error:
            raise from_pool(error) from error

    def release(self, connection: PooledConnection, *, reset: bool = False) -> None:
        self._source.release(connection, reset=reset)

    def abandon(self, connection: PooledConnection) -> None:
        self._source.abandon(connection)

    def condemn(self, connection: PooledConnection) -> None:
        self._source.condemn(connection)

    def forsake(self, connection: PooledConnection) -> None:
        self._source.forsake(connection)

    def call_off(self, thread: int) -> None:
        self._source.call_off(thread)


def _forget_the_parents() -> None:
    for wrapper in list(_wrappers):
        wrapper.forget_the_parents()


if hasattr(os, "register_at_fork"):  # after that of the leases, which knows them
    os.register_at_fork(after_in_child=_forget_the_parents)


def _make_connector(parameters: ConnectParameters) -> OdbcConnector:
    return OdbcConnector(parameters, {SQL_TIMESTAMP_WITH_TIMEZONE: mssql.handle_datetimeoffset})


def _address(conn_params: dict[str, Any]) -> tuple[str, int] | None:
    """Host and port, unless the driver finds the server in a way of its own: a DSN, an
    instance name, a protocol prefix, a failover partner."""
    options = conn_params.get("OPTIONS") or {}
    host = str(conn_params.get("HOST") or "localhost")
    port = str(conn_params.get("PORT") or "")
    plain = not any(mark in host for mark in "\\:,;({")
    if options.get("dsn") or not plain or not port.isdigit() or _names_a_server(conn_params):
        return None
    return host, int(port)


def _names_a_server(conn_params: dict[str, Any]) -> bool:
    """Whether ``extra_params`` does."""
    options = conn_params.get("OPTIONS") or {}
    extra = mssql.DatabaseWrapper._parse_extra_params(options.get("extra_params"))  # noqa: SLF001
    return not _NAME_A_SERVER.isdisjoint(extra)


def _target(conn_params: dict[str, Any]) -> str:
    """What errors call the server: where it is and who asks, no secret."""
    options = conn_params.get("OPTIONS") or {}
    if options.get("dsn"):
        where = f"DSN {options['dsn']!r}"
    else:
        port = f",{conn_params['PORT']}" if conn_params.get("PORT") else ""
        where = f"SQL Server at {conn_params.get('HOST') or 'localhost'}{port}"
    if "TOKEN" in conn_params:
        who = "with an access token"
    elif conn_params.get("USER"):
        who = f"as {conn_params['USER']!r}"
    else:
        who = "as the operating system's user"
    return f"{where}, database {conn_params['NAME']!r}, {who}"

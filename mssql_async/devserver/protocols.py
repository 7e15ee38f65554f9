"""What the wire (``tds``) asks of what runs the statements (``engine``), and back.

``tds`` speaks to an engine through these protocols only, so that each side is
tested without the other.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from .errors import SqlError
from .results import Event
from .sqltypes import SqlType, StorageValue


@dataclass(frozen=True, slots=True)
class LoginRequest:
    """What LOGIN7 said (MS-TDS 2.2.6.4). Secrets are left out of ``repr``.

    An ``access_token`` that reaches an engine has been accepted already, and ``user`` is
    the principal it stands for; a password is the engine's to compare.
    """

    user: str = ""
    password: str = field(default="", repr=False)
    access_token: str | None = field(default=None, repr=False)
    database: str = ""
    host_name: str = ""
    program_name: str = ""
    client_library: str = ""
    language: str = ""
    host_process_id: int = 0
    packet_size: int = 4096
    read_only_intent: bool = False
    client_address: str = ""
    encrypted: bool = False
    """Whether what follows the login goes through TLS."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of an RPC. ``name`` includes the ``@`` and may be empty."""

    name: str
    type: SqlType
    value: StorageValue
    output: bool = False
    default: bool = False


class TransactionOperation(enum.IntEnum):
    """RequestType of a transaction manager request (MS-TDS 2.2.6.9)."""

    BEGIN = 5
    COMMIT = 7
    ROLLBACK = 8
    SAVE = 9


class Isolation(enum.IntEnum):
    """Isolation levels, numbered as in MS-TDS and ``sys.dm_exec_sessions``."""

    UNCHANGED = 0
    READ_UNCOMMITTED = 1
    READ_COMMITTED = 2
    REPEATABLE_READ = 3
    SERIALIZABLE = 4
    SNAPSHOT = 5


@dataclass(frozen=True, slots=True)
class TransactionRequest:
    """A transaction manager request. ``begin`` is set on COMMIT and ROLLBACK that
    ask for a new transaction at once (fBeginXact); ``isolation`` applies to BEGIN and
    to that new transaction."""

    operation: TransactionOperation
    name: str = ""
    isolation: Isolation = Isolation.UNCHANGED
    begin: bool = False


class WouldWait(Exception):
    """The next step has to wait for a lock or may take long, and must not do so here.

    Raised by :meth:`Run.advance` only when ``may_wait`` is false; nothing was done.
    """


class CutOff(Exception):
    """The connection is being dropped: the statement must not run, nor anything after it."""


StatementHook = Callable[[str], SqlError | None]
"""Asked, with its text, before each statement of a session, on the thread that will run
it: the error that the statement has instead of being run, if any. Raises :class:`CutOff`."""


class Run(Protocol):
    """One request being executed: a TDS message and its reply."""

    def advance(self, *, may_wait: bool) -> Sequence[Event] | None:
        """The next events, or ``None`` at the end. Never an empty sequence.

        With ``may_wait`` true it may block for as long as a lock wait or a statement
        takes, so call it on a worker thread; calls for one session never overlap, but
        may come from different threads. A chunk holds at most about a thousand rows.
        Errors of T-SQL are :class:`~mssql_async.devserver.results.Message` events, not
        exceptions; an exception other than :class:`WouldWait` is a bug of the server.
        """

    def close(self) -> None:
        """The client wants no more of it. Ends the statement; idempotent."""


class Session(Protocol):
    """A logged-in session."""

    @property
    def spid(self) -> int: ...

    @property
    def database(self) -> str: ...

    @property
    def language(self) -> str:
        """What LOGIN7 asked for, if the server knows it, or SET LANGUAGE."""

    def batch(self, sql: str) -> Run:
        """Run a SQL batch."""

    def call(self, procedure: str, parameters: Sequence[Parameter]) -> Run:
        """Run a procedure by name (``sp_executesql``, ``sp_prepexec``, ``[sys].sp_…``).

        The reply's DONEPROC is the wire's business: the run's last events are
        :class:`ReturnStatus` and then one :class:`OutputValue` for each parameter
        that has ``output`` set.
        """

    def transact(self, request: TransactionRequest) -> Run:
        """Run a transaction manager request."""

    def reset(self, *, keep_transaction: bool) -> None:
        """Do what RESETCONNECTION (or RESETCONNECTIONSKIPTRAN) asks, before the
        request whose header carried it (MS-TDS 2.2.3.1.2). Never waits."""

    def interrupt(self) -> None:
        """Stop the running request at once (attention). Callable from any thread."""

    def when_killed(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` once, from any thread, when the session is killed (KILL,
        ``ALTER DATABASE … WITH ROLLBACK IMMEDIATE``, shutdown). SQL Server then drops
        the connection without a word; so should the wire."""

    def before_statements(self, hook: StatementHook) -> None:
        """Ask ``hook`` before every statement from now on."""

    def close(self) -> None:
        """The client is gone: roll back, release everything. Idempotent, any thread."""


class Engine(Protocol):
    """Where sessions come from."""

    def login(self, request: LoginRequest) -> Session:
        """Open a session.

        :raises SqlError: 18456 for wrong credentials, 4060 for an unknown database.
        """

    def close(self) -> None:
        """Close every session and release files."""

"""An engine that answers from a script: the wire's counterpart in its own tests.

A script maps the text of a statement to steps. A step is a list of events that
``advance`` gives back, a :class:`Block` that waits on a worker thread, or an exception
to raise. Statements with parameters that no script knows give their parameters back as
one row, with the types they came in.
"""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from mssql_async.devserver.errors import SqlError, error
from mssql_async.devserver.protocols import (
    LoginRequest,
    Parameter,
    StatementHook,
    TransactionOperation,
    TransactionRequest,
    WouldWait,
)
from mssql_async.devserver.results import (
    Columns,
    Command,
    Done,
    Environment,
    EnvironmentChange,
    Event,
    Message,
    OutputValue,
    ResultColumn,
    ReturnStatus,
    Rows,
)
from mssql_async.devserver.sqltypes import INT, SMALLINT, Kind, SqlType, StorageValue, nvarchar

PASSWORD = "Passw0rd!"
PATIENCE = 30
"""Seconds after which a test that waits for a thread is broken."""


@dataclass
class Block:
    """A step that waits: until released, and then gives ``events``, or until the session
    is interrupted, and then gives ``last_words``."""

    events: Sequence[Event] = ()
    last_words: Sequence[Event] | None = None
    entered: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)
    interrupted: bool = False


Step = Sequence[Event] | Block | Exception


def result(
    columns: Sequence[tuple[str, SqlType]],
    *rows: Sequence[StorageValue],
    count: int | None = None,
) -> list[Event]:
    """A whole result set and the end of its statement."""
    return [
        Columns(tuple(ResultColumn(name, sql_type) for name, sql_type in columns)),
        Rows([tuple(row) for row in rows]),
        Done(Command.SELECT, len(rows) if count is None else count),
    ]


def message_of(failure: SqlError) -> Message:
    return Message(failure.number, failure.text, failure.severity, failure.state, failure.line)


class FakeRun:
    def __init__(self, session: FakeSession, steps: Sequence[Step]) -> None:
        self._session = session
        self._steps: Iterator[Step] = iter(steps)
        self._blocked: Block | None = None
        self._busy = threading.Lock()
        self.closed = False

    def advance(self, *, may_wait: bool) -> Sequence[Event] | None:
        assert self._busy.acquire(blocking=False), "two threads in one session"
        try:
            return self._advance(may_wait=may_wait)
        finally:
            self._busy.release()

    def _advance(self, *, may_wait: bool) -> Sequence[Event] | None:
        assert not self.closed
        step = self._blocked or next(self._steps, None)
        if isinstance(step, Exception):
            raise step
        if isinstance(step, Block):
            self._blocked = step
            if not may_wait:
                raise WouldWait
            self._wait(step)
            self._blocked = None
            if step.interrupted:
                return step.last_words
            return step.events or self._advance(may_wait=may_wait)
        return step

    def _wait(self, step: Block) -> None:
        session = self._session
        session.waiting = step
        step.entered.set()
        assert step.released.wait(PATIENCE), "a blocked step was never released"
        session.waiting = None

    def close(self) -> None:
        assert not self._busy.locked(), "closed while another thread advances it"
        self.closed = True
        self._session.closed_runs += 1


class FakeSession:
    def __init__(self, engine: FakeEngine, request: LoginRequest, spid: int) -> None:
        self.engine = engine
        self.login = request
        self.requests: list[object] = []
        self.resets: list[bool] = []
        self.waiting: Block | None = None
        self.runs = 0
        self.closed_runs = 0
        self.closed = threading.Event()
        self.kill: Callable[[], None] = lambda: None
        self._spid = spid
        self._database = request.database or "master"
        self._prepared: dict[int, str] = {}
        self._handles = itertools.count(1)
        self._descriptors = itertools.count(0xB75E)
        self._transaction = b""

    @property
    def spid(self) -> int:
        return self._spid

    @property
    def database(self) -> str:
        return self._database

    @property
    def language(self) -> str:
        return "us_english"

    def batch(self, sql: str) -> FakeRun:
        self.requests.append(sql)
        if sql.startswith("USE "):
            old, self._database = self._database, sql[4:]
            change = EnvironmentChange(Environment.DATABASE, self._database, old)
            return self._run([[change, Done()]])
        if sql in self.engine.script:
            return self._run(self.engine.script[sql])
        return self._run([[message_of(error(102, sql[:20])), Done(failed=True)]])

    def call(self, procedure: str, parameters: Sequence[Parameter]) -> FakeRun:
        self.requests.append((procedure, tuple(parameters)))
        name = re.sub(r"[\[\]]", "", procedure).rpartition(".")[2]
        handler: Callable[[Sequence[Parameter]], list[Step]] | None = getattr(
            self, f"_{name}", None
        )
        if handler is not None:
            return self._run(handler(parameters))
        if procedure in self.engine.script:
            return self._run(self.engine.script[procedure])
        return self._run([[message_of(error(2812, procedure)), ReturnStatus(-6)]])

    def transact(self, request: TransactionRequest) -> FakeRun:
        self.requests.append(request)
        events: list[Event] = []
        if request.operation is TransactionOperation.BEGIN:
            events += [self._begin(), Done(Command.BEGIN_TRANSACTION)]
        elif request.operation is TransactionOperation.SAVE:
            events.append(Done())
        elif not self._transaction:
            events += [message_of(error(3902)), Done(failed=True)]
        else:
            commit = request.operation is TransactionOperation.COMMIT
            events.append(self._end(commit=commit))
            if request.begin:
                events.append(self._begin())
            events.append(Done(Command.COMMIT if commit else Command.ROLLBACK))
        return self._run([events])

    def reset(self, *, keep_transaction: bool) -> None:
        self.resets.append(keep_transaction)
        self._prepared.clear()
        self._database = self.login.database or "master"
        if not keep_transaction:
            self._transaction = b""

    def interrupt(self) -> None:
        step = self.waiting
        if step is not None:
            step.interrupted = True
            step.released.set()

    def when_killed(self, callback: Callable[[], None]) -> None:
        self.kill = callback

    def before_statements(self, hook: StatementHook) -> None:
        self.statement_hook = hook

    def close(self) -> None:
        self.closed.set()

    def _run(self, steps: Sequence[Step]) -> FakeRun:
        self.runs += 1
        return FakeRun(self, steps)

    def _begin(self) -> EnvironmentChange:
        self._transaction = next(self._descriptors).to_bytes(8, "little")
        return EnvironmentChange(Environment.BEGIN_TRANSACTION, self._transaction, b"")

    def _end(self, *, commit: bool) -> EnvironmentChange:
        old, self._transaction = self._transaction, b""
        kind = Environment.COMMIT_TRANSACTION if commit else Environment.ROLLBACK_TRANSACTION
        return EnvironmentChange(kind, b"", old)

    # --- procedures ------------------------------------------------------------------

    def _sp_prepexec(self, parameters: Sequence[Parameter]) -> list[Step]:
        sql = str(parameters[2].value)
        handle = next(self._handles)
        self._prepared[handle] = sql
        steps = self._statement(sql, parameters[3:])
        return [*steps, [ReturnStatus(), OutputValue(0, "", INT, handle)]]

    def _sp_prepare(self, parameters: Sequence[Parameter]) -> list[Step]:
        handle = next(self._handles)
        self._prepared[handle] = str(parameters[2].value)
        return [[ReturnStatus(), OutputValue(0, "", INT, handle)]]

    def _sp_execute(self, parameters: Sequence[Parameter]) -> list[Step]:
        sql = self._prepared.get(int(parameters[0].value or 0))
        if sql is None:
            failure = message_of(error(8179, parameters[0].value))
            return [[failure, ReturnStatus(8179)]]
        return [*self._statement(sql, parameters[1:]), [ReturnStatus()]]

    def _sp_unprepare(self, parameters: Sequence[Parameter]) -> list[Step]:
        self._prepared.pop(int(parameters[0].value or 0), None)
        return [[ReturnStatus()]]

    def _sp_executesql(self, parameters: Sequence[Parameter]) -> list[Step]:
        values = parameters[2:]
        outputs: list[Event] = [
            OutputValue(position + 2, value.name, value.type, value.value)
            for position, value in enumerate(values)
            if value.output
        ]
        steps = self._statement(str(parameters[0].value), values)
        return [*steps, [ReturnStatus(), *outputs]]

    def _sp_datatype_info_100(self, parameters: Sequence[Parameter]) -> list[Step]:
        size = {-9: 4000, 12: 8000, -3: 8000, 93: 27}.get(int(parameters[0].value or 0), 0)
        columns = [("TYPE_NAME", nvarchar(128)), ("DATA_TYPE", SMALLINT), ("PRECISION", INT)]
        return [result(columns, ("type", parameters[0].value, size)), [ReturnStatus()]]

    def _sp_describe_undeclared_parameters(self, parameters: Sequence[Parameter]) -> list[Step]:
        columns = [
            ("parameter_ordinal", INT),
            ("name", nvarchar(128)),
            ("suggested_system_type_id", INT),
            ("suggested_system_type_name", nvarchar(256)),
            ("suggested_max_length", SMALLINT),
            ("suggested_precision", SqlType(Kind.TINYINT)),
            ("suggested_scale", SqlType(Kind.TINYINT)),
        ]
        row = (1, "@P1", 231, "nvarchar(1)", 2, 0, 0)
        return [result(columns, row), [ReturnStatus()]]

    def _statement(self, sql: str, values: Sequence[Parameter]) -> list[Step]:
        if sql in self.engine.script:
            return list(self.engine.script[sql])
        columns = [(value.name.lstrip("@"), value.type) for value in values]
        return [result(columns, [value.value for value in values])]


class FakeEngine:
    def __init__(self, script: dict[str, Sequence[Step]] | None = None) -> None:
        self.script: dict[str, Sequence[Step]] = {
            "SELECT 1": [result([("", INT)], (1,))],
            **(script or {}),
        }
        self.sessions: list[FakeSession] = []
        self.closed = False
        self._spids = itertools.count(51)

    @property
    def session(self) -> FakeSession:
        """The newest one."""
        return self.sessions[-1]

    def login(self, request: LoginRequest) -> FakeSession:
        if request.access_token is None and (request.user, request.password) != ("sa", PASSWORD):
            raise error(18456, request.user)
        if request.database == "missing":
            raise error(4060, request.database)
        session = FakeSession(self, request, next(self._spids))
        self.sessions.append(session)
        return session

    def close(self) -> None:
        self.closed = True

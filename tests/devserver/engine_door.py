"""The engine as its tests see it: run T-SQL through a session, collect what comes out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from mssql_async.devserver import sqltypes
from mssql_async.devserver.config import DEVELOPMENT_PASSWORD, DEVELOPMENT_USER, EngineConfig
from mssql_async.devserver.engine import SqlEngine, open_engine
from mssql_async.devserver.errors import SqlError
from mssql_async.devserver.protocols import (
    Isolation,
    LoginRequest,
    Parameter,
    Run,
    TransactionOperation,
    TransactionRequest,
)
from mssql_async.devserver.results import (
    Columns,
    Done,
    EnvironmentChange,
    Event,
    Message,
    OutputValue,
    ReturnStatus,
    Rows,
)

Row = tuple[Any, ...]


@dataclass
class Outcome:
    """Everything a request said."""

    events: list[Event] = field(default_factory=list)

    @property
    def sets(self) -> list[list[Row]]:
        found: list[list[Row]] = []
        for event in self.events:
            if isinstance(event, Columns):
                found.append([])
            elif isinstance(event, Rows):
                found[-1].extend(event.rows)
        return found

    @property
    def rows(self) -> list[Row]:
        return self.sets[0]

    @property
    def value(self) -> Any:
        return self.rows[0][0]

    @property
    def columns(self) -> tuple[str, ...]:
        return next(tuple(c.name for c in e.columns) for e in self.events if isinstance(e, Columns))

    @property
    def errors(self) -> list[Message]:
        return [e for e in self.events if isinstance(e, Message) and e.severity > 10]

    @property
    def infos(self) -> list[Message]:
        return [e for e in self.events if isinstance(e, Message) and e.severity <= 10]

    @property
    def dones(self) -> list[Done]:
        return [e for e in self.events if isinstance(e, Done)]

    @property
    def counts(self) -> list[int | None]:
        return [done.count for done in self.dones if done.count is not None]

    @property
    def changes(self) -> list[EnvironmentChange]:
        return [e for e in self.events if isinstance(e, EnvironmentChange)]

    @property
    def outputs(self) -> list[Any]:
        return [e.value for e in self.events if isinstance(e, OutputValue)]

    @property
    def status(self) -> int:
        return next(e.value for e in self.events if isinstance(e, ReturnStatus))


class Door:
    """One session. ``run`` raises the first error; ``attempt`` returns whatever came."""

    def __init__(self, engine: SqlEngine, database: str = "", **login: Any) -> None:
        self.session = engine.login(
            LoginRequest(
                user=DEVELOPMENT_USER, password=DEVELOPMENT_PASSWORD, database=database, **login
            )
        )

    def attempt(self, sql: str) -> Outcome:
        return collect(self.session.batch(sql))

    def run(self, sql: str) -> Outcome:
        return checked(self.attempt(sql))

    def error(self, sql: str) -> Message:
        """The first error of a batch that must fail."""
        return self.attempt(sql).errors[0]

    def value(self, sql: str) -> Any:
        return self.run(sql).value

    def rows(self, sql: str) -> list[Row]:
        return self.run(sql).rows

    def call(self, procedure: str, *parameters: Parameter) -> Outcome:
        return collect(self.session.call(procedure, parameters))

    def execute(self, sql: str, declarations: str = "", *parameters: Parameter) -> Outcome:
        """sp_executesql."""
        head = [text(sql), text(declarations)] if declarations else [text(sql)]
        return self.call("sp_executesql", *head, *parameters)

    def transact(
        self,
        operation: TransactionOperation,
        name: str = "",
        *,
        isolation: Isolation = Isolation.UNCHANGED,
        begin: bool = False,
    ) -> Outcome:
        request = TransactionRequest(operation, name, isolation, begin)
        return collect(self.session.transact(request))

    def close(self) -> None:
        self.session.close()


def text(value: str | None, name: str = "", *, output: bool = False) -> Parameter:
    return Parameter(name, sqltypes.nvarchar(sqltypes.MAX), value, output)


def integer(value: int | None, name: str = "", *, output: bool = False) -> Parameter:
    return Parameter(name, sqltypes.INT, value, output)


def collect(run: Run) -> Outcome:
    outcome = Outcome()
    while (events := run.advance(may_wait=True)) is not None:
        assert events
        outcome.events.extend(events)
    return outcome


def checked(outcome: Outcome) -> Outcome:
    for message in outcome.errors:
        raise SqlError(message.number, message.text, message.severity, message.state, message.line)
    return outcome


@contextmanager
def opened(config: EngineConfig | None = None) -> Iterator[SqlEngine]:
    engine = open_engine(config or EngineConfig())
    try:
        yield engine
    finally:
        engine.close()


def numbers(outcome: Outcome) -> Sequence[int]:
    return [message.number for message in outcome.errors]

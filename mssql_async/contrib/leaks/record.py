"""What was seen while contexts ran: by the application, by the pool, by the server.

Plain data, so that a process under test can send it and a detector can be tried on paper. All
times are seconds since the epoch (:func:`time.time`), which every process of a machine shares.
Every class turns into a list of plain values and back (:func:`to_plain`, :func:`from_plain`).
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any, Self

#: A context's number in a run. Whoever starts the context chooses it; 0: nobody's.
Token = int


class Kind(enum.StrEnum):
    """What kind of context a story tells of."""

    REQUEST = "request"
    WEBSOCKET = "websocket"
    TASK = "task"
    THREAD = "thread"
    TEST = "test"


class Use(enum.StrEnum):
    """For how long a context has a session to itself."""

    STATEMENT = "statement"
    CURSOR = "cursor"
    """From execution to the last row, or to its closing."""
    TRANSACTION = "transaction"
    """From its begin to its commit or roll-back."""


class AnswerKind(enum.StrEnum):
    ROW = "row"
    MESSAGE = "message"
    ERROR = "error"


class Fate(enum.StrEnum):
    """What becomes of a row that a context has written."""

    COMMITTED = "committed"
    ROLLED_BACK = "rolled back"
    OPEN = "open"
    """Its transaction is not over yet, or its end is not known (a client that hung up)."""


@dataclass(frozen=True, slots=True)
class Session:
    """One session of the server, told apart from a later one with the same number."""

    spid: int
    login_time: str = ""
    """As the server says it; a number may come back after a session has ended."""

    def __str__(self) -> str:
        return f"session {self.spid}"


@dataclass(frozen=True, slots=True)
class State:
    """What a session carries, as far as one statement can see it (the probe).

    ``settings`` are pairs of a name and a value: isolation level, language, date format and
    first day, lock timeout, options, database, user, context info, session context, the
    probe's temporary tables and application locks, identity insert.
    """

    settings: tuple[tuple[str, str], ...] = ()
    transactions: int = 0
    """``@@TRANCOUNT``"""

    def differences(self, other: State, ignoring: Iterable[str] = ()) -> list[tuple[str, str, str]]:
        """Name, value here, value there, of each setting that is not the same."""
        mine, theirs, ignored = dict(self.settings), dict(other.settings), set(ignoring)
        return [
            (name, mine.get(name, ""), theirs.get(name, ""))
            for name in sorted({*mine, *theirs} - ignored)
            if mine.get(name, "") != theirs.get(name, "")
        ]


@dataclass(slots=True)
class Story:
    """One context from its begin to its end, as the application knows it."""

    token: Token
    scenario: str
    kind: Kind
    began_at: float
    process: int
    ended_at: float | None = None
    """``None``: it has not ended."""
    parent: Token = 0
    """The context that started it, if one did."""
    task: str = ""
    """The name of its task or thread."""
    outcome: str = ""
    """How it ended: "ok", "cancelled", or the name of an exception class."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A context had a session to itself for a while, or should have had."""

    token: Token
    session: Session
    use: Use
    began_at: float
    ended_at: float
    process: int
    statement: str = ""
    """The first one, shortened."""
    place: str = ""
    """Where in the application it began, which is where its lease was acquired."""
    alias: str = "default"


@dataclass(frozen=True, slots=True)
class Sight:
    """What a context saw of its session's state."""

    token: Token
    session: Session
    at: float
    process: int
    state: State
    is_first: bool
    """Whether it is the first of a unit: then the state is what somebody else left."""
    expected: tuple[tuple[str, str], ...] = ()
    """Settings that the context has changed itself, and to what."""
    in_transaction: bool = False
    """Whether the context has begun a transaction that is open now."""
    statement: str = ""
    place: str = ""
    alias: str = "default"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for a question that only one answer fits."""

    token: Token
    session: Session
    at: float
    process: int
    kind: AnswerKind
    expected: str
    got: str
    statement: str = ""
    place: str = ""


@dataclass(frozen=True, slots=True)
class Written:
    """A row that a context wrote, and what it knows of its fate."""

    token: Token
    row: str
    """Unique in the run."""
    fate: Fate
    at: float
    session: Session
    process: int
    place: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """A context saw a row of another one."""

    token: Token
    row: str
    at: float
    session: Session
    process: int
    statement: str = ""
    place: str = ""


@dataclass(frozen=True, slots=True)
class Held:
    """A lease that somebody holds when nobody should: every context of its process has ended."""

    process: int
    at: float
    token: Token
    """The last context known to have used it."""
    session: Session | None
    since: float | None
    place: str
    """Where it was acquired."""
    what: str = "a lease"


@dataclass(frozen=True, slots=True)
class Known:
    """The connections that the pools (or wrappers) of a process know of, at rest."""

    process: int
    at: float
    count: int
    sessions: tuple[Session, ...] = ()
    """Those of them whose session was seen."""


@dataclass(frozen=True, slots=True)
class ServerSession:
    """One session as the server sees it (``sys.dm_exec_sessions``) at one moment."""

    at: float
    session: Session
    process: int
    """Its client's."""
    program: str
    status: str
    transactions: int = 0
    database: str = ""
    settings: tuple[tuple[str, str], ...] = ()
    locks: tuple[str, ...] = ()
    """Application locks that it holds."""
    temporary: tuple[str, ...] = ()
    """Its temporary tables, where the server tells whose they are."""
    statement: str = ""


@dataclass(frozen=True, slots=True)
class Sample:
    """The size of a process at rest: nothing runs in it."""

    process: int
    at: float
    contexts: int
    """How many it has run by now."""
    threads: int
    descriptors: int
    sessions: int
    memory: int
    """Resident, in bytes."""


@dataclass(slots=True)
class Record:
    """All that was seen of some contexts. ``at_rest`` is what the server shows after all have
    ended, ``rows`` what the table holds then."""

    scenario: str = ""
    seed: int = 0
    program: str = ""
    """What the sessions under test call themselves at the server."""
    baseline: dict[str, State] = field(default_factory=dict)
    """Alias -> what a new session of it looks like."""
    stories: list[Story] = field(default_factory=list)
    units: list[Unit] = field(default_factory=list)
    sights: list[Sight] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    written: list[Written] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    held: list[Held] = field(default_factory=list)
    known: list[Known] = field(default_factory=list)
    at_rest: list[ServerSession] = field(default_factory=list)
    rows: list[str] | None = None
    """``None``: nobody looked."""
    samples: list[Sample] = field(default_factory=list)
    """Of the whole run so far, not of these contexts only."""

    def story_of(self, token: Token) -> Story | None:
        return next((story for story in self.stories if story.token == token), None)

    def add(self, other: Self) -> None:
        """Take in what another process has recorded."""
        for name in _LISTS:
            getattr(self, name).extend(getattr(other, name))
        self.baseline.update(other.baseline)
        if other.rows is not None:
            self.rows = [*(self.rows or ()), *other.rows]


_LISTS = (
    "stories",
    "units",
    "sights",
    "answers",
    "written",
    "seen",
    "held",
    "known",
    "at_rest",
    "samples",
)


def to_plain(value: Any) -> Any:
    """Of a record or a part of it: lists, strings, numbers and ``None``, as JSON has them."""
    if isinstance(value, enum.StrEnum):
        return value.value
    if isinstance(value, (list, tuple)):
        return [to_plain(each) for each in value]
    if isinstance(value, dict):
        return {key: to_plain(each) for key, each in value.items()}
    if hasattr(value, "__dataclass_fields__"):
        return [to_plain(getattr(value, each.name)) for each in fields(value)]
    return value

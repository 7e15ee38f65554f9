"""What was seen while contexts ran: by the application, by the pool, by the server.

Plain data, so that a process under test can send it and a detector can be tried on paper. All
times are seconds since the epoch (:func:`time.time`), which every process of a machine shares.
Every class turns into a list of plain values and back (:func:`to_plain`, :func:`from_plain`).
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache
from operator import attrgetter
from types import UnionType
from typing import Any, Self, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")

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
    word: str = "session"
    """"connection" where the server does not number its sessions, and the process does."""

    def __str__(self) -> str:
        return f"{self.word} {self.spid}"


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
    """Where in the application its lease was acquired: by the first statement of it."""
    alias: str = "default"
    acquired_at: float | None = None
    """Since when the context has had the session; ``None``: not known."""


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
    statement: str = ""


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
    statement: str = ""
    """The last one known to have run on it."""


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
    watched_from: float = 0.0
    """Samples from then on are looked at for growth; older ones tell how large a process has
    been before, as by threads that ended when there was nothing to do for them."""
    asked: int = 0
    """Statements of the harness's own on the sessions under test."""

    def story_of(self, token: Token) -> Story | None:
        return next((story for story in self.stories if story.token == token), None)

    def add(self, other: Self) -> None:
        """Take in what another process has recorded."""
        for name in _LISTS:
            getattr(self, name).extend(getattr(other, name))
        self.baseline.update(other.baseline)
        if other.rows is not None:
            self.rows = [*(self.rows or ()), *other.rows]
        self.asked += other.asked


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
    kind: Any = type(value)
    if kind in _PLAIN:
        return value
    if kind is list or kind is tuple:
        return [to_plain(each) for each in value]
    if kind is dict:
        return {key: to_plain(each) for key, each in value.items()}
    if isinstance(value, enum.StrEnum):
        return value.value
    if is_dataclass(value):
        return _writer(kind)(value)
    raise TypeError(f"{kind.__name__} is no part of a record.")


def from_plain(cls: type[T], value: Any) -> T:
    """:func:`to_plain`'s way back.

    :raises TypeError: it is no ``cls`` that was made plain; ``ValueError`` likewise.
    """
    hint: Any = cls
    read = _reader(hint)
    found: T = value if read is None else read(value)
    return found


# How each class is written and read is found out once, because a wave has 50,000 units. The
# fields that are plain anyway are not looked at.

_PLAIN = frozenset({str, int, float, bool, type(None)})


@cache
def _writer(cls: Any) -> Callable[[Any], list[Any]]:
    hints = get_type_hints(cls)
    names = [each.name for each in fields(cls)]
    values_of = attrgetter(*names)
    turned = [n for n, name in enumerate(names) if _reader(hints[name]) is not None]

    def write(value: Any) -> list[Any]:
        values = list(values_of(value))
        for n in turned:
            values[n] = to_plain(values[n])
        return values

    return write


@cache
def _reader(hint: Any) -> Callable[[Any], Any] | None:
    """What reads a value of that type; ``None``: the value is what it is."""
    if hint in _PLAIN:
        return None
    if isinstance(hint, type) and issubclass(hint, enum.StrEnum):
        return hint
    if is_dataclass(hint):
        return _object_reader(hint)
    origin, parts = get_origin(hint), get_args(hint)
    if origin is UnionType:  # all unions here are with None
        return _optional_reader(_reader(next(part for part in parts if part is not type(None))))
    if origin is tuple and parts[1:] == (str,):
        return tuple
    if origin in (list, tuple):
        return _sequence_reader(origin, _reader(parts[0]))
    if origin is dict:
        return _mapping_reader(_reader(parts[1]))
    raise TypeError(f"{hint} is no part of a record.")


def _object_reader(cls: Any) -> Callable[[Any], Any]:
    hints = get_type_hints(cls)
    readers = [
        (n, reader)
        for n, each in enumerate(fields(cls))
        if (reader := _reader(hints[each.name])) is not None
    ]

    def read(value: Any) -> Any:
        values = list(value)
        if len(values) > most:
            raise TypeError(f"{len(values)} values are too many for {cls.__name__}.")
        for n, reader in readers:
            if n < len(values):  # an older one may lack the last, which have defaults
                values[n] = reader(values[n])
        return cls(*values)

    most = len(fields(cls))
    return read


def _sequence_reader(
    make: Any, reader: Callable[[Any], Any] | None
) -> Callable[[Any], Any]:  # fmt: skip
    return make if reader is None else lambda value: make(map(reader, value))


def _mapping_reader(reader: Callable[[Any], Any] | None) -> Callable[[Any], Any]:
    if reader is None:
        return dict
    return lambda value: {key: reader(each) for key, each in value.items()}


def _optional_reader(reader: Callable[[Any], Any] | None) -> Callable[[Any], Any] | None:
    return None if reader is None else lambda value: None if value is None else reader(value)

"""What a scenario is: an application's part, a client's part, and what may go wrong meanwhile.

A scenario is one file in ``scenarios/``. Its module's docstring says what it shows; its class
has the code that is put to the test (:meth:`Scenario.view` and so on, run by the application's
process) and the code that puts it to the test (:meth:`Scenario.visit`, run by the harness).
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from django.http import HttpRequest, HttpResponseBase

if TYPE_CHECKING:
    from .faults import Faults
    from .story import Story


class Need(enum.Enum):
    """What a scenario cannot do without; where that is missing it is skipped, and says why."""

    FAULTS = "the embedded server, which has faults on order"
    KILL = "the right to KILL sessions"
    OURS = "mssql_async"
    SQL_SERVER = "SQL Server, or what stands in for it"
    PROCESSES = "processes of its own (--over uvicorn)"
    FORK = "a system that can fork"


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back over HTTP. ``status`` 0: the connection ended before an answer."""

    status: int
    body: bytes = b""


class Talk(Protocol):
    """A WebSocket, from the client's side."""

    async def send(self, text: str) -> None: ...

    async def receive(self) -> str | None:
        """``None``: the application has closed it."""

    async def close(self) -> None: ...

    def vanish(self) -> None:
        """End the connection without a word, as a client does that loses its network."""


class Stream(Protocol):
    """A response whose body is read as it comes."""

    status: int

    async def read(self) -> bytes | None:
        """What comes next; ``None``: the end."""

    def vanish(self) -> None:
        """Hang up."""


class Visit(Protocol):
    """One context's client. Whatever it does carries the context's token, so that the
    application tells the same story; paths are relative to the scenario."""

    number: int
    """Counts from 0 within the run of the scenario."""
    rand: Any
    """A :class:`random.Random` of its own: seed and number decide it."""

    async def get(self, part: str = "", **query: object) -> Reply: ...

    async def hang_up_after(self, seconds: float, part: str = "", **query: object) -> Reply:
        """Send a request and vanish after a while, whatever has come by then."""

    async def hang_up_once(self, waiting: str, part: str = "", **query: object) -> Reply:
        """Send a request and vanish as soon as the application has told of that (see
        :meth:`.story.Story.tell`), which no clock decides."""

    def stream(self, part: str = "", **query: object) -> AbstractAsyncContextManager[Stream]: ...

    def websocket(self, part: str = "", **query: object) -> AbstractAsyncContextManager[Talk]: ...


class Scenario:
    """Base of all. What a scenario does not define it does not have."""

    name: ClassVar[str] = ""
    """The module's; set by the catalogue."""
    needs: ClassVar[Sequence[Need]] = ()
    alias: ClassVar[str] = "default"
    """Whose ``ATOMIC_REQUESTS`` and pool it runs with; see ``subject/settings.py``: "default",
    "other" (another database), "atomic" (``ATOMIC_REQUESTS``), "small" (two connections at most,
    a short ``acquire_timeout``), "token" (access tokens that expire)."""
    statuses: ClassVar[Sequence[int]] = (200,)
    """The answers that are in order; 0: none, because the client hung up or was cut off. Any
    other is counted as an error, which is not a leak, but does not pass unseen."""
    share: ClassVar[float] = 1.0
    """Of the contexts of a run it gets so many times an ordinary scenario's: below 1 where each
    of them takes long."""
    most_at_once: ClassVar[int] = 1_000_000
    """Of its contexts at a time, whatever concurrency was asked for."""

    # --- the application's part; sync or async ------------------------------------------------

    def view(self, request: HttpRequest, story: Story) -> HttpResponseBase | Awaitable[Any]:
        """``GET /<scenario>/``. A scenario may have further views: ``view_<part>``."""
        raise NotImplementedError

    # async def websocket(self, story, receive, send): the socket is accepted already.

    # --- the client's part ---------------------------------------------------------------------

    async def visit(self, visit: Visit) -> Reply | None:
        """One context. By default it asks for the view once."""
        return await visit.get()

    async def disturb(self, faults: Faults, over: Callable[[], bool]) -> None:
        """Runs beside all visits, and is cancelled when they are over: kills sessions, freezes
        the server and so on. What it began it has to end (``try``/``finally``)."""

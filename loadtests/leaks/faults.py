"""What scenarios let go wrong while their contexts run (:meth:`.scenario.Scenario.disturb`).

Everything goes through T-SQL on a connection of its own, so that the embedded server may live in
another process, and so that ``KILL`` works on a real one. Only the sessions under test are hit,
which are known by the name of their program; the harness's own are spared, but by a failover.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TypeVar

import pyodbc

from . import clock
from .outcome import Mark
from .scenario import Need
from .server import CannotDo, Server
from .subject import tokens

T = TypeVar("T")

MOST_MARKS = 2000
"""Further faults are not drawn."""
_NO_SUCH_SESSION = ("6104", "6106", "6107")
"""Cannot use KILL to kill your own process; not an active process ID; only user processes."""
_SESSIONS = (
    "SELECT session_id FROM sys.dm_exec_sessions WHERE program_name = ? AND is_user_process = 1 "
    "ORDER BY session_id"
)


class Faults:
    """Orders faults. All methods are coroutines of the harness's loop; none blocks it.

    Methods that need the embedded server raise :class:`CannotDo` on a real one; scenarios that
    call them say ``needs = (Need.FAULTS,)`` and are skipped there.
    """

    def __init__(self, server: Server, program: str, tokens_file: Path | None = None) -> None:
        self._server = server
        self._tokens = tokens_file
        self._program = program
        self._connection: pyodbc.Connection | None = None
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="leaks-faults")
        self.marks: list[Mark] = []
        """What was done and when, for the pictures."""

    def lacks(self, need: Need) -> bool:
        """Whether this server cannot do what a scenario needs of it."""
        return need is Need.FAULTS and not self._server.is_embedded

    # --- sessions ------------------------------------------------------------------------------

    async def sessions(self) -> list[int]:
        """The sessions under test, lowest first."""

        def ask(connection: pyodbc.Connection) -> list[int]:
            self._server.own_statements += 1
            return [row[0] for row in connection.execute(_SESSIONS, self._program)]

        return await self._run(ask)

    async def kill(self, spid: int) -> bool:
        """End a session from outside. ``False``: it was over already.

        :raises CannotDo: the login has no right to.
        """

        def ask(connection: pyodbc.Connection) -> bool:
            self._server.own_statements += 1
            try:
                connection.execute(f"KILL {int(spid)}")
            except pyodbc.Error as error:
                text = str(error)
                if any(f"({number})" in text for number in _NO_SUCH_SESSION):
                    return False
                if "(6102)" in text:
                    raise CannotDo("This login has no right to KILL sessions.") from None
                raise
            return True

        killed = await self._run(ask)
        if killed:
            self._mark(f"KILL {spid}")
        return killed

    async def kill_random(self, rand: random.Random | None = None) -> int | None:
        """End one of the sessions under test; says which. ``None``: there was none."""
        sessions = await self.sessions()
        if not sessions:
            return None
        victim = (rand or random).choice(sessions)
        return victim if await self.kill(victim) else None

    async def drop(self, how: str = "fin", spid: int | None = None) -> None:
        """Hang up on all sessions under test, or on one: ``fin``, ``rst`` or ``mid_reply``."""
        await self._order("drop_sessions", how=how, **self._whom(spid))

    async def freeze(self, spid: int | None = None) -> None:
        """Answer nothing and keep the sockets open, until :meth:`thaw`."""
        await self._order("freeze", **self._whom(spid))

    async def thaw(self) -> None:
        await self._order("thaw")

    @asynccontextmanager
    async def frozen(self, spid: int | None = None) -> AsyncIterator[None]:
        """Frozen for the time of the block."""
        began_at = clock.now()
        await self.freeze(spid)
        try:
            yield
        finally:
            await _to_its_end(self.thaw())
            self._lasted(began_at)

    async def delay(self, seconds: float) -> int:
        """Let every reply come so much later, until it is cancelled; gives the fault's number."""
        return await self._order("delay", seconds=seconds, **self._whom(None))

    @asynccontextmanager
    async def delayed(self, seconds: float) -> AsyncIterator[None]:
        """Slow for the time of the block."""
        began_at = clock.now()
        number = await self.delay(seconds)
        try:
            yield
        finally:
            await _to_its_end(self.cancel(number))
            self._lasted(began_at)

    # --- logins --------------------------------------------------------------------------------

    async def refuse_logins(
        self, error: int = 40613, *, seconds: float | None = None, times: int | None = None
    ) -> int:
        """For so long, so often, or until it is cancelled; gives the fault's number."""
        given: dict[str, object] = {"error": error}
        if seconds is not None:
            given["seconds"] = seconds
        if times is not None:
            given["times"] = times
        return await self._order("refuse_logins", **given)

    @asynccontextmanager
    async def refusing(self, error: int = 40613) -> AsyncIterator[None]:
        """No logins for the time of the block."""
        began_at = clock.now()
        number = await self.refuse_logins(error)
        try:
            yield
        finally:
            await _to_its_end(self.cancel(number))
            self._lasted(began_at)

    async def fail_over(self, seconds: float = 0.0, *, error: int = 40613) -> None:
        """Everybody's connection is torn down; logins get ``error`` for so many seconds."""
        await self._order("fail_over", seconds=seconds, error=error)

    async def issue_token(self, valid_for: float = 3600.0) -> None:
        """Make an access token that lasts so many seconds, and give it to the application, whose
        alias "token" logs in with it. The one before lasts as long as it was to."""
        if self._tokens is None:
            raise CannotDo("This run has no access tokens.")
        token = secrets.token_urlsafe(24)
        self._server.accept_token(token, valid_for)
        tokens.write(self._tokens, token, time.time() + valid_for)
        self._mark(f"access token for {valid_for:g} s")

    # --- statements ----------------------------------------------------------------------------

    async def deadlock(self, pattern: str = "%", *, nth: int = 1, times: int = 1) -> int:
        """Make the ``nth`` statement that is LIKE that a victim, and so many after it (0: all)."""
        return await self._order(
            "deadlock", pattern=pattern, nth=nth, times=times, **self._whom(None)
        )

    async def drop_at(self, pattern: str, how: str = "rst", *, nth: int = 1, times: int = 1) -> int:
        """Hang up on whoever runs that statement. ``mid_reply`` runs it and cuts its answer."""
        return await self._order(
            "drop_at", pattern=pattern, how=how, nth=nth, times=times, **self._whom(None)
        )

    async def fail_statement(
        self, pattern: str, error: int, *, text: str = "", nth: int = 1, times: int = 1
    ) -> int:
        """Let that statement fail instead of being run."""
        given: dict[str, object] = {"text": text} if text else {}
        return await self._order(
            "fail_statement", pattern=pattern, error=error, nth=nth, times=times, **given,
            **self._whom(None),
        )  # fmt: skip

    async def chaos(self, seed: int, every: int = 10) -> int:
        """Before every so-manieth statement drop a session, whose choice is the seed's."""
        return await self._order("chaos", seed=seed, every=every, **self._whom(None))

    # --- the end -------------------------------------------------------------------------------

    async def cancel(self, number: int | None = None) -> None:
        """End one fault, or all that are in force."""
        given: dict[str, object] = {} if number is None else {"id": number}
        await self._order("cancel_fault", **given)

    async def end_all(self) -> None:
        """What a scenario has forgotten to end does not reach the next one."""
        if self._server.is_embedded:
            await self.cancel()

    def close(self) -> None:
        self._worker.submit(self._hang_up)
        self._worker.shutdown()

    # --- how -----------------------------------------------------------------------------------

    def _whom(self, spid: int | None) -> dict[str, object]:
        return {"spid": spid} if spid is not None else {"program": self._program}

    async def _order(self, procedure: str, **given: object) -> int:
        if not self._server.is_embedded:
            raise CannotDo(f"Only {Need.FAULTS.value}.")
        arguments = ", ".join(f"@{name} = {_literal(value)}" for name, value in given.items())

        def ask(connection: pyodbc.Connection) -> int:
            cursor = connection.execute(f"EXEC devserver.{procedure} {arguments}".strip())
            row = cursor.fetchone() if cursor.description else None
            return row[0] if row else 0

        number = await self._run(ask)
        if procedure not in ("cancel_fault", "thaw"):
            told = {name: value for name, value in given.items() if name != "program"}
            shown = ", ".join(f"{name} {value}" for name, value in told.items())
            self._mark(f"{procedure.replace('_', ' ')}{': ' if shown else ''}{shown}")
        return number

    async def _run(self, work: Callable[[pyodbc.Connection], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._worker, self._once, work)

    def _once(self, work: Callable[[pyodbc.Connection], T]) -> T:
        """In the worker. A failover has ended the connection: then once more on another."""
        if self._connection is not None:
            try:
                return work(self._connection)
            except pyodbc.OperationalError:
                self._hang_up()
        self._connection = self._server.connect()
        return work(self._connection)

    def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(pyodbc.Error):
                connection.close()

    def _mark(self, what: str) -> None:
        if len(self.marks) < MOST_MARKS:
            self.marks.append(Mark(clock.now(), what))

    def _lasted(self, began_at: float) -> None:
        """The first mark since then has become one with an end."""
        for place, mark in enumerate(self.marks):
            if mark.at >= began_at and mark.ended_at is None:
                self.marks[place] = Mark(mark.at, mark.what, clock.now())
                return


async def _to_its_end(work: Coroutine[object, object, None]) -> None:
    """Also when the scenario is being cancelled: a server must not stay frozen."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


def _literal(value: object) -> str:
    if isinstance(value, str):
        return "N'" + value.replace("'", "''") + "'"
    return str(value)

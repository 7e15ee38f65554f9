"""Where the application under test runs: in this process, or in processes of Uvicorn's."""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import aiohttp

from loadtests.bench.peers import ROOT
from mssql_async.contrib.leaks.record import Record, from_plain

from .drive import Clients, describe
from .inprocess import InProcess, LoopThreads
from .oversockets import COMMAND, NotServed, OverSockets, Served, serving
from .recorder import RECORDER
from .signals import SignalServer
from .subject.config import SubjectConfig
from .subject.databases import MICROSOFT
from .watcher import Inside

T = TypeVar("T")

ANSWERING = 30.0
"""Seconds that a process has to hand over its record, once it is at rest."""


class NotPrepared(Exception):
    """The database could not be made ready; why is on standard error."""


class Site(Protocol):
    @property
    def clients(self) -> Clients: ...

    @property
    def loops(self) -> Sequence[asyncio.AbstractEventLoop]:
        """Further ones that contexts are spread over."""

    async def collect(self, patience: float) -> Record:
        """What all processes have recorded, once they are at rest or the seconds are over.

        :raises NotServed: one of them is no more.
        """

    def inside(self) -> Inside:
        """From any thread."""


def prepare_database(config: SubjectConfig) -> None:
    """Tables and databases, made by a process that then ends, with a backend that works.

    :raises NotPrepared: they cannot be made.
    """
    engine = "mssql_async" if config.vendor == MICROSOFT else config.engine
    sound = replace(
        config, engine=engine, control="", pool={}, program=f"{config.program} prepares"
    )
    done = subprocess.run(
        [*COMMAND, "prepare"],
        env={**os.environ, **sound.to_environment()},
        cwd=ROOT,
        check=False,
    )
    if done.returncode:
        raise NotPrepared("The database could not be prepared, see above.")


@asynccontextmanager
async def in_process(config: SubjectConfig, loops: int) -> AsyncIterator[Site]:
    """The application in this process; Django can be set up in it once only."""
    from .subject.asgi import make_application

    with LoopThreads(loops - 1) as further:
        yield _Here(InProcess(make_application(config)), further.loops)


class _Here:
    def __init__(self, clients: InProcess, loops: Sequence[asyncio.AbstractEventLoop]) -> None:
        self.clients = clients
        self.loops = loops

    async def collect(self, patience: float) -> Record:
        return await in_thread(lambda: RECORDER.collect(patience))

    def inside(self) -> Inside:
        adapter = RECORDER.adapter
        if adapter is None:
            return Inside(threading.active_count())
        return Inside(threading.active_count(), adapter.waiting(), adapter.in_use())


@asynccontextmanager
async def over_sockets(config: SubjectConfig, processes: int, server: str) -> AsyncIterator[Site]:
    """
    :param server: the package that serves.
    :raises NotServed: a process does not start.
    """
    with SignalServer() as signals:
        environment = {**config.to_environment(), **signals.environment()}
        async with (
            serving(server, environment, processes) as served,
            OverSockets([port for each in served for port in each.ports]) as clients,
        ):
            yield _There(clients, served)


class _There:
    loops: Sequence[asyncio.AbstractEventLoop] = ()

    def __init__(self, clients: OverSockets, served: Sequence[Served]) -> None:
        self.clients = clients
        self._served = served

    async def collect(self, patience: float) -> Record:
        await self.clients.hang_up()
        path = f"/__leaks__/collect?patience={patience:g}"
        asking = (self.clients.ask(port, path, patience + ANSWERING) for port in self.clients.ports)
        try:
            answers: list[Any] = await asyncio.gather(*asking)
        except (aiohttp.ClientError, TimeoutError) as error:
            for each in self._served:
                if (status := each.process.returncode) is not None:
                    raise NotServed(
                        f"A process under test has ended with status {status}."
                    ) from None
            raise NotServed(
                f"A process under test does not hand over its record: {describe(error)}"
            ) from error
        record = Record()
        for answer in answers:
            record.add(from_plain(Record, answer))
        return record

    def inside(self) -> Inside:
        threads = [_threads_of(each.process.pid) for each in self._served]
        known = [count for count in threads if count is not None]
        return Inside(sum(known) if known else None)


def _threads_of(process: int) -> int | None:
    """``None`` where nobody says."""
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    found = next((line for line in lines.splitlines() if line.startswith("Threads:")), "")
    return int(found.split()[1]) if found else None


async def in_thread(work: Callable[[], T]) -> T:
    """In a thread of its own, as those of the loop's executor are the application's too."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[T] = loop.create_future()

    def tell(result: T | None, error: BaseException | None) -> None:
        if ended.cancelled():
            return
        if error is not None:
            ended.set_exception(error)
        else:
            ended.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, error = None, None
        try:
            result = work()
        except BaseException as raised:
            error = raised
        loop.call_soon_threadsafe(tell, result, error)

    threading.Thread(target=run, name="leaks-harness", daemon=True).start()
    return await ended

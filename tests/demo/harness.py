"""Runs the demo as its users do: as a process, over HTTP. Needs nothing but Python."""

from __future__ import annotations

import os
import queue
import select
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).resolve().parents[2]
SECONDS_TO_START = 120
SECONDS_TO_STOP = 20

CAN_LIST_PROCESSES = Path("/proc/self/environ").exists()


class DidNotStart(Exception):
    """The demo ended, or was still silent when the patience was over."""


class Demo:
    """A running demo; ``address`` is what it printed.

    Every process it starts, however far down, inherits a mark in its environment by
    which :meth:`processes` finds it, and ``TMPDIR`` where one is given.
    """

    def __init__(
        self,
        command: Sequence[str] = (sys.executable, "-m", "demo_asgi", "--port", "0"),
        *,
        environment: Mapping[str, str] | None = None,
        temporary: Path | None = None,
        patience: float = SECONDS_TO_START,
    ) -> None:
        self._mark = f"DEMO_RUN={uuid.uuid4()}"
        environment = dict(os.environ if environment is None else environment)
        environment.pop("DJANGO_SETTINGS_MODULE", None)
        environment.update([self._mark.split("=")])
        if temporary is not None:
            environment["TMPDIR"] = str(temporary)
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.output: list[str] = []
        self.errors: list[str] = []
        self._addresses: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._readers = [
            threading.Thread(target=self._read_output, daemon=True),
            threading.Thread(target=self._read_errors, daemon=True),
        ]
        for reader in self._readers:
            reader.start()
        try:
            address = self._addresses.get(timeout=patience)
        except queue.Empty:
            address = None
        if address is None:
            self.kill()
            raise DidNotStart("\n".join([*self.output, *self.errors]))
        self.address = address.rstrip("/")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()

    def processes(self) -> list[int]:
        """Ids of the processes that belong to this demo and still run."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if self._mark.encode() in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
            except OSError:
                continue  # ended meanwhile, or somebody else's
        return found

    def launcher(self) -> int:
        """The id of the process that runs ``demo_asgi``, which `make` may have started."""
        for pid in self.processes():
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if b"-m" in arguments and b"demo_asgi" in arguments and b"make" not in arguments[0]:
                return pid
        return self.process.pid

    def stop(self, sign: signal.Signals = signal.SIGINT) -> int:
        """Ask the demo to stop, as Ctrl-C does; the exit status of the command."""
        os.kill(self.launcher(), sign)
        return self.wait()

    def wait(self) -> int:
        """Wait for the end and for all that was printed; the exit status."""
        status = self.process.wait(SECONDS_TO_STOP)
        for reader in self._readers:
            reader.join(SECONDS_TO_STOP)
        return status

    def kill(self) -> None:
        """End whatever is left."""
        for pid in {*self.processes(), self.process.pid}:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.wait()

    def _read_output(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.output.append(line.rstrip("\n"))
            if line.startswith("http"):
                self._addresses.put(line.strip())
        self._addresses.put(None)

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.errors.append(line.rstrip("\n"))


def wait_for_end(pids: Sequence[int], seconds: float = SECONDS_TO_STOP) -> bool:
    """Wait until processes, which need not be our children, have ended. Linux only."""
    for pid in pids:
        try:
            watch = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            if not select.select([watch], [], [], seconds)[0]:
                return False
        finally:
            os.close(watch)
    return True

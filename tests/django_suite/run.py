"""Runs one of Django's test modules: a server, Django's ``runtests.py``, and what it wrote."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mssql_async.driver import find_driver

from .modules import ENTRY_POINT
from .outcomes import JOURNAL_VARIABLE, LEFT_OUT_VARIABLE, ModuleReport, read_journal
from .source import ROOT

SECONDS_TO_START = 60
SECONDS_TO_STOP = 20
LINES_SHOWN = 40


class ServerDidNotStart(Exception):
    """The embedded server said nothing in time."""


@dataclass(frozen=True, slots=True)
class Suite:
    """How to run modules. ``limit`` is in seconds and per module."""

    tests: Path
    engine: str = "mssql_async"
    limit: float = 1200
    patterns: tuple[str, ...] = ()
    left_out: frozenset[str] = frozenset()
    verbose: bool = False

    def run(self, label: str) -> ModuleReport:
        """Run a module, or a class or test of one by its dotted name.

        :raises ServerDidNotStart: the embedded server did not.
        """
        with tempfile.TemporaryDirectory(prefix="django-suite-") as folder:
            environment = self._environment(label, Path(folder))
            with _server(environment) as port:
                environment["MSSQL_PORT"] = str(port)
                began = time.monotonic()
                status, output = self._runtests(label, environment, Path(folder) / "output")
                seconds = time.monotonic() - began
            tests, complete = read_journal(Path(environment[JOURNAL_VARIABLE]))
        if self.verbose:
            print(output)
        broken = ""
        if not complete:
            broken = f"it ended with {status} before its end:\n" + _end_of(output)
        return ModuleReport(label, tests, seconds, broken)

    def _environment(self, label: str, folder: Path) -> dict[str, str]:
        environment = dict(os.environ)
        for name in ("DJANGO_SETTINGS_MODULE", "MSSQL_HOST", "MSSQL_DATABASE"):
            environment.pop(name, None)
        environment.update(
            PYTHONPATH=os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
            DJANGO_SUITE_ENGINE=self.engine,
            DJANGO_SUITE_ENTRY_POINT="1" if label.endswith(ENTRY_POINT) else "",
            MSSQL_PASSWORD=secrets.token_urlsafe(),
            **{
                JOURNAL_VARIABLE: str(folder / "journal"),
                LEFT_OUT_VARIABLE: " ".join(sorted(self.left_out)),
            },
        )
        library = find_driver().library
        if library is not None:
            # The stock backend, and Django's tests of the command line, know it by name only.
            (folder / "odbcinst.ini").write_text(
                f"[ODBC Driver 18 for SQL Server]\nDriver={library}\n", "utf-8"
            )
            environment["ODBCSYSINI"] = str(folder)
        return environment

    def _runtests(self, label: str, environment: dict[str, str], to: Path) -> tuple[int, str]:
        command = [
            sys.executable, "-X", "faulthandler", "runtests.py",
            "--settings=tests.django_suite.settings", "--parallel=1", "--noinput",
            *(f"-k{pattern}" for pattern in self.patterns),
            label.removesuffix(ENTRY_POINT),
        ]  # fmt: skip
        with to.open("wb") as output:
            process = subprocess.Popen(
                command,
                cwd=self.tests,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            try:
                process.wait(self.limit)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGABRT)  # faulthandler says where it was
                process.wait()
            except BaseException:
                process.kill()
                process.wait()
                raise
        return process.returncode, to.read_text("utf-8", errors="replace")


@contextlib.contextmanager
def _server(environment: dict[str, str]) -> Iterator[int]:
    """An embedded server in a process of its own; gives its port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "mssql_async.devserver", "--port", "0", "--no-tls"],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    # A server that says nothing is ended, and then reading it comes to an end.
    watchdog = threading.Timer(SECONDS_TO_START, process.kill)
    watchdog.start()
    try:
        said = process.stdout.readline()
        watchdog.cancel()
        found = re.search(r"on 127\.0\.0\.1:(\d+),", said)
        if found is None:
            raise ServerDidNotStart(said.strip() or "the embedded server did not start")
        yield int(found[1])
    finally:
        watchdog.cancel()
        process.terminate()
        try:
            process.wait(SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def _end_of(output: str) -> str:
    return "\n".join(output.splitlines()[-LINES_SHOWN:])

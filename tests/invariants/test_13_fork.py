"""Invariant 13: after fork the child starts empty and never touches the parent's connections.

tests/backend, tests/session and tests/pool fork with a lease of the forking thread; here it is
another thread's, which the child has not got.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from mssql_async.devserver import DevServer
from mssql_async.pool import ConnectParameters, PoolSettings, registry
from tests.pool.stubs import StubConnector

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


def sessions(server: DevServer, *arguments: str) -> list[str]:
    process = subprocess.run(
        [sys.executable, "-m", "tests.invariants.forking", str(server.port), *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return process.stdout.splitlines()


def test_the_end_of_another_threads_copy_is_not_its_end(server: DevServer) -> None:
    before, after = sessions(server)
    assert before.endswith(", 1)")  # in a transaction
    assert after == before


def test_a_child_that_took_it_for_the_end_would_close_the_parents_connection(
    server: DevServer,
) -> None:
    """The positive control of the test above."""
    _, after = sessions(server, "broken")
    assert after == "OperationalError"


class TestAChildThatEndsAsProgramsDo:
    """On its way out the interpreter finalizes what it can find; ``os._exit`` has none of it."""

    def run(self, server: DevServer, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "tests.invariants.exiting", str(server.port), *arguments],
            capture_output=True,
            text=True,
            timeout=60,
        )

    @pytest.mark.parametrize(
        ("how", "what"),
        [
            *(("exit", what) for what in ("idle", "transaction", "unread", "thread")),
            *((how, "transaction") for how in ("grandchild", "multiprocessing")),
        ],
    )
    def test_leaves_the_parents_connection_alone(
        self, server: DevServer, how: str, what: str
    ) -> None:
        process = self.run(server, how, what)
        assert not process.returncode, process.stderr
        before, after = process.stdout.splitlines()
        assert after == before

    def test_would_have_closed_it_if_only_lists_had_kept_it(self, server: DevServer) -> None:
        """The positive control: the parent's transaction is gone."""
        process = self.run(server, "exit", "transaction", "broken")
        assert process.returncode
        assert "08S01" in process.stderr


def child_gets_a_pool() -> bool:
    """Of a parent in whose registry another thread is just then."""
    with registry._lock:
        child = os.fork()
        if child == 0:
            # Nothing of pytest may run in here. A child that hangs is killed.
            signal.alarm(10)
            parameters = ConnectParameters(connection_string="", target="a child's own")
            code = 1
            try:
                registry.connection_source(parameters, PoolSettings(), lambda _: StubConnector())
                code = 0
            finally:
                os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == 0


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
class TestTheRegistry:
    def test_is_not_locked_in_the_child_though_it_was_in_the_parent(self) -> None:
        assert child_gets_a_pool()

    def test_with_the_parents_lock_the_child_would_wait_for_ever(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The control of the test above."""
        kept = threading.Lock()
        monkeypatch.setattr(registry, "_lock", kept)
        monkeypatch.setattr("mssql_async.pool.registry.threading.Lock", lambda: kept)
        assert not child_gets_a_pool()

"""A benchmark that is ended before its time takes with it what it started."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from loadtests.bench.delay import relay_process
from loadtests.bench.ending import BROKEN_OFF
from loadtests.bench.peers import ROOT

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
PATIENCE = 60

#: Runs a child as the benchmarks do, which says when it is there and is ended while it waits.
PARENT = """
import subprocess, sys
from loadtests.bench.ending import APART, run_main

def main():
    waiting = [sys.executable, "-c", "print('there', flush=True); input()"]
    with subprocess.Popen(waiting, stdin=subprocess.PIPE, process_group=APART) as child:
        try:
            child.wait()
        finally:
            child.terminate()
            print("closed", child.wait(), flush=True)
    return 0

sys.exit(run_main(main))
"""
#: The same, through another program that runs it.
GRANDPARENT = f"""
import sys
from loadtests.bench.ending import run_main, run_through

sys.exit(run_main(lambda: run_through([sys.executable, "-c", {PARENT!r}])))
"""


@contextmanager
def started(program: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        process_group=0,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "there\n"
        yield process


@pytest.mark.parametrize("program", [PARENT, GRANDPARENT], ids=["itself", "through another"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_program_and_what_it_started(program: str, number: signal.Signals) -> None:
    with started(program) as process:
        process.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE)
    assert out == f"closed {-signal.SIGTERM}\n"
    assert set(err.splitlines()) == {"broken off"}  # no traceback
    assert process.returncode == BROKEN_OFF


def test_ctrl_c_which_all_of_a_terminal_hear_is_heard_once() -> None:
    with started(GRANDPARENT) as process:
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
    assert out == f"closed {-signal.SIGTERM}\n"
    assert set(err.splitlines()) == {"broken off"}


def test_a_relay_ends_with_its_input_even_while_connections_are_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        command = [sys.executable, "-m", "loadtests.bench.delay", "127.0.0.1", str(port), "1"]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        ) as relay:
            assert relay.stdin is not None
            assert relay.stdout is not None
            relay_port = int(relay.stdout.readline())
            with socket.create_connection(("127.0.0.1", relay_port), PATIENCE) as caller:
                accepted, _ = server.accept()
                with accepted:
                    relay.stdin.close()
                    assert relay.wait(PATIENCE) == 0
                    assert caller.recv(1) == b""


def test_a_relay_that_is_used_no_more_is_gone() -> None:
    with relay_process("127.0.0.1", 1, 1.0) as port:
        pass
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), PATIENCE)

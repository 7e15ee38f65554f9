"""How a benchmark ends before its time: by Ctrl-C or SIGTERM, with all that it started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence

BROKEN_OFF = 130
"""Exit status, as a shell's after Ctrl-C."""

#: ``process_group`` of what a benchmark starts: a terminal's Ctrl-C is for the benchmark only,
#: which ends the others in order.
APART: int | None = None if os.name == "nt" else 0

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run_main(main: Callable[[], int]) -> int:
    """Its exit status. SIGTERM raises ``KeyboardInterrupt`` in it, as Ctrl-C does, so that it
    closes what is open."""
    for each in _SIGNALS:
        signal.signal(each, _end)
    try:
        return main()
    except KeyboardInterrupt:
        print("broken off", file=sys.stderr)
        return BROKEN_OFF


def _end(number: int, frame: object) -> None:
    for each in _SIGNALS:  # a second one would break off the closing
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


def run_through(command: Sequence[str | os.PathLike[str]]) -> int:
    """Run a program that ends as this one does; its exit status.

    :raises KeyboardInterrupt: this one is to end; the other has ended, and written what it has.
    """
    with subprocess.Popen(command) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.terminate()
            process.wait()
            raise

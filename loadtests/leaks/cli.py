"""``python -m loadtests leaks``: run scenarios, or the controls that prove what it would find.

Exit status: 0 nothing was found, or every control was caught; 1 there are findings, or a control
was missed; 2 it proves nothing, because it could not run, or not to its end, or contexts hung, or
most contexts of a scenario have failed (with ``--strict``: any of them).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from rich.console import Console

from loadtests.bench.peers import ROOT
from loadtests.bench.requests_sites import Database, place_for
from mssql_async.contrib.leaks.findings import Detector
from mssql_async.errors import DriverNotFound

from . import clock
from .catalogue import catalogue, title_of
from .controls import Control
from .options import IN_PROCESS, WAYS, RunOptions
from .outcome import ControlResult, Outcome, ScenarioResult
from .oversockets import NotServed
from .report.html import write_html
from .report.json import read_json, write_json
from .report.terminal import LiveProgress, print_verdict
from .run import UnknownScenario, fresh_seed, outcome_of, run, versions
from .server import ServerFailed
from .sites import NotPrepared
from .subject.config import SubjectConfig, configure
from .subject.databases import NoDatabase, entry_of

CLEAN, FOUND, FAILED = 0, 1, 2
ALL = "all"
STANDARD_OUTPUT = Path("-")
CONTROL_CONTEXT, CONTROL_REST = 15.0, 4.0
"""Seconds that a context of a control has, and a wave to come to rest."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Gives the exit status."""
    parser = _parser()
    given = parser.parse_args(arguments)
    if given.control == ALL and (ignored := _ignored_by_all(given)):
        parser.error(f"--control {ALL} runs each control as that says, without {ignored}")
    if given.list:
        _list()
        return CLEAN
    if (status := _run_where_the_driver_is_known(given, arguments)) is not None:
        return status
    # `finally` blocks end the processes under test and the embedded server.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = Console(stderr=given.json == STANDARD_OUTPUT)
    try:
        outcome = _outcome(given, console)
    except (
        UnknownScenario, UnknownControl, ServerFailed, NotPrepared, NotServed, DriverNotFound,
        NoDatabase,
    ) as error:  # fmt: skip
        return _failed(str(error))
    except KeyboardInterrupt:
        return _failed("interrupted")
    print_verdict(outcome, console)
    try:
        if given.json is not None:
            write_json(outcome, sys.stdout if given.json == STANDARD_OUTPUT else given.json)
        if given.html is not None:
            write_html(outcome, given.html)
    except OSError as error:
        return _failed(f"the report could not be written: {error}")
    if given.control and not outcome.broken_off:
        return FOUND if outcome.silent else CLEAN
    if not outcome.is_clean:
        return FOUND
    why = _proves_nothing(outcome, strict=given.strict)
    return _failed(f"{why}; that nothing was found proves nothing") if why else CLEAN


def _failed(why: str) -> int:
    print(f"loadtests leaks: {why}", file=sys.stderr)
    return FAILED


def _proves_nothing(outcome: Outcome, *, strict: bool) -> str:
    """Why nobody may rely on it that nothing was found; "" if one may."""
    ran = [each for each in outcome.scenarios if not each.skipped]
    if outcome.broken_off:
        return outcome.broken_off.rstrip(".")
    if not ran:
        return "no scenario could run"
    for what, which in (
        ("contexts of {} hung", [each for each in ran if each.hung]),
        ("most contexts of {} failed", [each for each in ran if each.failed > each.contexts / 2]),
        ("contexts of {} failed", [each for each in ran if strict and each.failed]),
    ):
        if which:
            return what.format(", ".join(each.name for each in which))
    return ""


def _ignored_by_all(given: argparse.Namespace) -> str:
    options = ("engine", "databases", "conn_max_age", "contexts", "concurrency", "wave")
    words = [f"--{name.replace('_', '-')}" for name in options if getattr(given, name) is not None]
    return ", ".join(["names of scenarios", *words] if given.names else words)


def _run_where_the_driver_is_known(
    given: argparse.Namespace, arguments: Sequence[str] | None
) -> int | None:
    """Stock mssql-django in this process needs its driver registered before the driver manager
    is first asked anything: then the run is made by another process, whose status this is."""
    if given.engine != "mssql" or given.over not in (None, IN_PROCESS):
        return None
    try:
        with place_for(Database("", "")) as place:
            if "ODBCSYSINI" not in place.driver:
                return None
            given_again = sys.argv[2:] if arguments is None else arguments
            command = [sys.executable, "-m", "loadtests", "leaks", *given_again]
            environment = {**os.environ, **place.driver}
            return subprocess.run(command, env=environment, check=False).returncode
    except DriverNotFound as error:
        print(f"loadtests leaks: {error}", file=sys.stderr)
        return FAILED


def _outcome(given: argparse.Namespace, console: Console) -> Outcome:
    seed = fresh_seed() if given.seed is None else given.seed
    if given.control == ALL:
        return _all_controls(given, seed, console)
    options = _options(given, seed)
    if not given.quiet:
        console.print(f"seed {seed}", highlight=False)
    began = time.perf_counter()
    outcome = outcome_of(options)
    with LiveProgress(console, quiet=given.quiet) as progress:
        try:
            _run_until_told_to_end(run(options, progress, outcome))
        except (KeyboardInterrupt, NotServed) as error:
            # What was found until then is worth having, if it has come to that.
            if not outcome.scenarios:
                raise
            outcome.broken_off = str(error) or "The run was interrupted."
    if given.control:
        control = control_of(given.control)
        outcome.controls = [_result(control, outcome, time.perf_counter() - began)]
    return outcome


def _run_until_told_to_end(running: Coroutine[Any, Any, None]) -> None:
    """SIGTERM ends it as Ctrl-C does, by cancelling it: an exception would be raised in whichever
    task is at work at that moment, and be that one's.

    :raises KeyboardInterrupt: it was told to.
    """
    is_told = handles = False

    async def main() -> None:
        task = asyncio.current_task()
        assert task is not None

        def end() -> None:
            nonlocal is_told
            is_told = True
            task.cancel()

        nonlocal handles
        with suppress(NotImplementedError):  # Windows
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end)
            handles = True
        await running

    try:
        asyncio.run(main())
    except asyncio.CancelledError:
        if is_told:
            raise KeyboardInterrupt from None
        raise
    finally:
        if handles:  # the loop has put the system's own in its place
            signal.signal(signal.SIGTERM, signal.default_int_handler)


def _options(given: argparse.Namespace, seed: int) -> RunOptions:
    """A control has its own idea of what brings it to light; the command line has the last word.

    :raises UnknownControl: there is none of that name.
    :raises NoDatabase: see :func:`.subject.databases.entry_of`.
    """
    options = RunOptions(seed=seed)
    if given.control:
        control = control_of(given.control)
        options = replace(
            options,
            control=control.name,
            names=tuple(control.scenarios),
            contexts=control.contexts,
            concurrency=control.concurrency,
            # What is broken stays so: there is little to wait for.
            context_patience=CONTROL_CONTEXT,
            rest_patience=CONTROL_REST,
        )
    asked = {
        name: value
        for name in (
            "engine", "databases", "conn_max_age", "contexts", "concurrency", "over", "processes",
            "loops", "wave", "context_patience", "rest_patience",
        )
        if (value := getattr(given, name)) is not None
    }  # fmt: skip
    if asked.get("conn_max_age") == _NO_AGE:
        asked["conn_max_age"] = None
    if given.databases:
        entry = entry_of(given.databases)
        said = {"engine": entry["ENGINE"], "conn_max_age": entry.get("CONN_MAX_AGE", 0)}
        asked = {**said, **asked}
    if given.names:
        asked["names"] = tuple(given.names)
    return replace(options, **asked)


def _all_controls(given: argparse.Namespace, seed: int, console: Console) -> Outcome:
    """Each in a process of its own, which it breaks for good."""
    outcome = Outcome(
        command=["python", "-m", "loadtests", "leaks", "--control", ALL, "--seed", str(seed)],
        started_at=clock.now(),
        seed=seed,
        over=given.over or IN_PROCESS,
        versions=versions(),
    )
    with LiveProgress(console, quiet=given.quiet) as progress:
        for name, control in controls().items():
            progress.scenario_began(name, control.contexts)
            began = time.perf_counter()
            ran = _in_a_process(name, given, seed)
            result = _result(control, ran, time.perf_counter() - began)
            outcome.controls.append(result)
            if ran is not None:
                outcome.server = outcome.server or ran.server
            progress.scenario_ended(
                ScenarioResult(
                    name,
                    control.title,
                    contexts=0 if ran is None else ran.contexts,
                    seconds=result.seconds,
                    errors={} if ran is not None else {"it could not run": 1},
                )
            )
    outcome.ended_at = clock.now()
    return outcome


def _in_a_process(name: str, given: argparse.Namespace, seed: int) -> Outcome | None:
    """``None``: it could not run; why is on standard error."""
    with tempfile.TemporaryDirectory(prefix="leaks-") as folder:
        file = Path(folder, "outcome.json")
        command = [
            *(sys.executable, "-m", "loadtests", "leaks", "--quiet"),
            *("--control", name, "--seed", str(seed), "--json", str(file)),
        ]
        for option in ("over", "processes", "loops"):
            if (value := getattr(given, option)) is not None:
                command += [f"--{option}", str(value)]
        subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=False)
        return read_json(file) if file.exists() else None


def _result(control: Control, outcome: Outcome | None, seconds: float) -> ControlResult:
    found = 0 if outcome is None else outcome.found_by(control.detector)
    return ControlResult(control.name, control.detector, bool(found), found, seconds, control.title)


class UnknownControl(Exception):
    """There is none of that name."""


_TELL_CONTROLS = """
import json
from django.conf import settings
settings.configure()
from loadtests.leaks.controls import catalogue
print(json.dumps([
    [c.name, c.detector, c.title, list(c.scenarios), c.contexts, c.concurrency]
    for c in catalogue().values()
]))
"""


@cache
def controls() -> dict[str, Control]:
    """All of them, told by another process: their modules want Django to be set up, which in
    this one is done once, and later."""
    done = subprocess.run(
        [sys.executable, "-c", _TELL_CONTROLS], cwd=ROOT, stdout=subprocess.PIPE, check=True
    )
    return {
        name: Control(Detector(detector), scenarios, contexts, concurrency, name, title)
        for name, detector, title, scenarios, contexts, concurrency in json.loads(done.stdout)
    }


def control_of(name: str) -> Control:
    """
    :raises UnknownControl: saying which there are.
    """
    if name not in controls():
        raise UnknownControl(f"There is no control {name!r}; there are: {', '.join(controls())}.")
    return controls()[name]


def _list() -> None:
    configure(SubjectConfig(Database("", "")))  # scenarios are modules of a Django project
    for heading, titles in (
        ("Scenarios", {name: title_of(each) for name, each in catalogue().items()}),
        ("Controls", {name: each.title for name, each in controls().items()}),
    ):
        print(f"{heading}:")
        width = max(map(len, titles), default=0)
        for name, title in titles.items():
            print(f"  {name:{width}}  {title.replace('``', '')}")


_NO_AGE = -1


def _age(text: str) -> int:
    """Seconds; "none" keeps connections for ever."""
    if text.lower() == "none":
        return _NO_AGE
    return _count(text, least=0)


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds above 0")
    return number


def _file(text: str) -> Path:
    """Something that can be written once the run is over, as far as can be told now."""
    path = Path(text)
    if path == STANDARD_OUTPUT:
        return path
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"{text} cannot be written")
    return path


def _count(text: str, least: int = 1) -> int:
    number = int(text)
    if number < least:
        raise argparse.ArgumentTypeError(f"{number} is less than {least}")
    return number


def _parser() -> argparse.ArgumentParser:
    default = RunOptions()
    parser = argparse.ArgumentParser(
        prog="python -m loadtests leaks",
        description="Look for leaks from one context into another, on the embedded server or on "
        "the one that MSSQL_HOST, MSSQL_PORT, MSSQL_USER, MSSQL_PASSWORD, MSSQL_DATABASE and "
        "MSSQL_EXTRA_PARAMS name.",
        epilog="Exit status: 0 nothing found, 1 findings or a control that was missed, 2 it could "
        "not run, or not to its end, or contexts hung, or most contexts of a scenario failed.",
    )
    add = parser.add_argument
    add("names", nargs="*", metavar="scenario", help="which ones; default: all")
    add("--list", action="store_true", help="say what there is, and end")
    add("--engine", help=f"mssql_async, mssql or any Django backend ({default.engine})")
    add(
        "--databases", metavar="WHERE",
        help="for other databases: a JSON file, or module:attribute, with Django's DATABASES or "
        "its entry 'default'",
    )  # fmt: skip
    add(
        "--conn-max-age", type=_age, metavar="SECONDS",
        help="Django's CONN_MAX_AGE, 'none' for ever (0)",
    )  # fmt: skip
    add("--contexts", type=_count, metavar="N", help=f"of the whole run ({default.contexts})")
    add("--concurrency", type=_count, metavar="N", help=f"at a time ({default.concurrency})")
    add("--over", choices=WAYS, help=f"where the application runs ({default.over})")
    add("--processes", type=_count, metavar="N", help=f"of the server ({default.processes})")
    add("--loops", type=_count, metavar="N", help=f"event loops in-process ({default.loops})")
    add("--wave", type=_count, metavar="N", help="contexts at most that are looked at together")
    add(
        "--context-patience", type=_seconds, metavar="SECONDS",
        help=f"that a context may take ({default.context_patience:g})",
    )  # fmt: skip
    add(
        "--rest-patience", type=_seconds, metavar="SECONDS",
        help=f"that contexts have to end before leases count as kept ({default.rest_patience:g})",
    )  # fmt: skip
    add("--seed", type=int, help="decides every choice; default: a fresh one, which is printed")
    add("--control", metavar="NAME", help="break the backend on purpose: a name, or 'all'")
    add(
        "--strict", action="store_true",
        help="end with status 2 if any context failed, not only if most of a scenario did",
    )  # fmt: skip
    add("--json", type=_file, metavar="FILE", help="write the outcome for machines; - is stdout")
    add("--html", type=_file, metavar="FILE", help="write the report for people")
    add("--quiet", action="store_true", help="no progress, only the verdict")
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""All benchmarks in one go: ``python -m loadtests.bench``.

Each part is a program of its own, runs by itself and prints its tables; what they wrote is put
into one file, and drawn. What the figures mean is in docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from . import plots
from .ending import BROKEN_OFF, run_through
from .machine import Machine
from .peers import ROOT
from .written import write

MODULE = "loadtests.bench"
FOLDER = Path("build/bench")
QUICK_FOLDER = FOLDER / "quick"
"""Elsewhere, so that figures of a full run are not lost."""
RESULTS = "results.json"


@dataclass(frozen=True, slots=True)
class Part:
    """A benchmark. ``quick``: its arguments where only a sign of life is wanted."""

    name: str
    module: str
    quick: tuple[str, ...] = ("--quick",)


PARTS = (
    Part(
        "pool",
        "loadtests.bench.pool",
        ("--alone", "--turns", "20", "--cycles", "200", "--seconds", "0.2", "--rounds", "1"),
    ),
    Part("requests", "loadtests.bench.requests"),
    Part("scale", "loadtests.bench.scale"),
    Part("parallel", "loadtests.bench.parallel"),
)


@dataclass(slots=True)
class Run:
    results: dict[str, Any]
    failed: list[str] = field(default_factory=list)
    """Parts that did not end well; they have said why."""
    broken_off: bool = False


def run(
    parts: Sequence[Part],
    folder: Path,
    command: str,
    *,
    quick: bool = False,
    further: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> Run:
    """The results of the parts, by name, and what went wrong. What an earlier run found for
    other parts is kept: each has its own date and command."""
    folder.mkdir(parents=True, exist_ok=True)
    results = read(folder / RESULTS) if (folder / RESULTS).exists() else {}
    results["machine"] = asdict(Machine.this(command))
    done = Run(results)
    for part in parts:
        results.pop(part.name, None)
        arguments = [*(part.quick if quick else ()), *further.get(part.name, ())]
        _say(" ".join([f"{part.name}: python -m", part.module, *arguments]))
        start = time.monotonic()
        file = folder / f"{part.name}.json"
        file.unlink(missing_ok=True)
        try:
            if run_through([sys.executable, "-m", part.module, "--json", str(file), *arguments]):
                done.failed.append(part.name)
        except KeyboardInterrupt:
            done.broken_off = True
        if file.exists():  # of one that was broken off, what it had found
            results[part.name] = read(file)
            file.unlink()
        # After each, so that a run that is broken off is not lost.
        write(results, folder / RESULTS)
        _say(f"{part.name}: {time.monotonic() - start:.0f} s")
        if done.broken_off:
            break
    return done


def read(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def draw(results: Mapping[str, Any], folder: Path) -> None:
    for picture in plots.write(results, folder):
        print(_shown(picture))


def _shown(path: Path) -> str:
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


def _say(text: str) -> None:
    print(f"\n=== {text}", flush=True)


# --- the command ---------------------------------------------------------------------------


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description=__doc__)
    names = [part.name for part in PARTS]
    parser.add_argument(
        "--only", nargs="+", choices=names, default=names, metavar="PART",
        help=f"of {', '.join(names)}; what an earlier run found for the others is kept",
    )  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="a sign of life of each, no figures")
    parser.add_argument(
        "--plots", type=Path, metavar="FILE", help="measure nothing: draw that file's results"
    )
    parser.add_argument(
        "--limit", type=float, metavar="MINUTES",
        help="after which the requests' part, the longest, begins nothing more",
    )  # fmt: skip
    parser.add_argument(
        "--tell", nargs=2, action="append", default=[], metavar=("PART", "ARGUMENTS"),
        help="further arguments of a part, such as: --tell requests '--rounds 5'",
    )  # fmt: skip
    parser.add_argument(
        "--folder", type=Path,
        help=f"for {RESULTS} and pictures ({FOLDER}; with --quick {QUICK_FOLDER})",
    )  # fmt: skip
    parser.add_argument(
        "--pictures", type=Path, metavar="FOLDER", help="for the pictures, if elsewhere"
    )
    options = parser.parse_args(arguments)
    for part, _ in options.tell:
        if part not in names:
            parser.error(f"argument --tell: there is no part {part!r}: {', '.join(names)}")
    options.folder = options.folder or (QUICK_FOLDER if options.quick else FOLDER)
    return options


def further_arguments(options: argparse.Namespace) -> dict[str, list[str]]:
    """Of the parts, by name."""
    found: dict[str, list[str]] = {}
    if options.limit is not None:
        found["requests"] = ["--limit", f"{options.limit:g}"]
    for part, arguments in options.tell:
        found.setdefault(part, []).extend(shlex.split(arguments))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = parse(given)
    pictures: Path = options.pictures or options.folder
    if options.plots:
        try:
            results = read(options.plots)
        except (OSError, ValueError) as error:
            print(f"{options.plots} cannot be read: {error}", file=sys.stderr)
            return 2
        draw(results, pictures)
        return 0
    parts = [part for part in PARTS if part.name in options.only]
    command = shlex.join(["python", "-m", MODULE, *given])
    done = run(
        parts,
        options.folder,
        command,
        quick=options.quick,
        further=further_arguments(options),
    )
    _say(_shown(options.folder / RESULTS))
    draw(done.results, pictures)
    for name in done.failed:
        print(f"{name} failed, see above", file=sys.stderr)
    if done.broken_off:
        return BROKEN_OFF
    return 1 if done.failed else 0

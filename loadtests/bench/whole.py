"""All benchmarks in one go: ``python -m loadtests.bench``.

Each part is a program of its own, runs by itself and prints its tables; what they wrote is put
into one file, and drawn. What the figures mean is in docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from . import plots
from .machine import Machine
from .peers import ROOT

MODULE = "loadtests.bench"
FOLDER = Path("build/bench")
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


def run(
    parts: Sequence[Part], folder: Path, command: str, *, quick: bool = False
) -> tuple[dict[str, Any], list[str]]:
    """The results of the parts, by name, and the names of those that failed. What an earlier run
    found for other parts is kept: each has its own date and command."""
    folder.mkdir(parents=True, exist_ok=True)
    results = read(folder / RESULTS) if (folder / RESULTS).exists() else {}
    results["machine"] = asdict(Machine.this(command))
    failed = []
    for part in parts:
        results.pop(part.name, None)
        _say(f"{part.name}: python -m {part.module}")
        start = time.monotonic()
        found = _found(part, folder / f"{part.name}.json", quick=quick)
        if found is None:
            failed.append(part.name)
        else:
            results[part.name] = found
        _say(f"{part.name}: {time.monotonic() - start:.0f} s")
        # After each, so that a run that is broken off is not lost.
        write(results, folder / RESULTS)
    return results, failed


def _found(part: Part, file: Path, *, quick: bool) -> dict[str, Any] | None:
    """Run a part; ``None``: it has failed, and said why."""
    file.unlink(missing_ok=True)
    arguments = ["--json", str(file), *(part.quick if quick else ())]
    command = [sys.executable, "-m", part.module, *arguments]
    if subprocess.run(command, check=False).returncode or not file.exists():
        return None
    found = read(file)
    file.unlink()
    return found


def read(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def write(results: Mapping[str, Any], file: Path) -> None:
    file.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


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
        "--folder", type=Path, default=FOLDER, help=f"for {RESULTS} and pictures ({FOLDER})"
    )
    parser.add_argument(
        "--pictures", type=Path, metavar="FOLDER", help="for the pictures, if elsewhere"
    )
    return parser.parse_args(arguments)


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
    command = " ".join(["python -m", MODULE, *given])
    results, failed = run(parts, options.folder, command, quick=options.quick)
    _say(_shown(options.folder / RESULTS))
    draw(results, pictures)
    for name in failed:
        print(f"{name} failed, see above", file=sys.stderr)
    return 1 if failed else 0

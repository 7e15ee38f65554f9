"""A virtual environment for what the benchmarks compare with.

Peers are no dependencies of the project: they are installed into ``.venv-bench``, beside the
environment that runs the benchmark, whose packages (Django, pyodbc, this project) are seen
from there too. The benchmark then starts once more, in that environment.

``python -m loadtests.bench.peers MODULE [ARGUMENT …]`` runs any other module there, with all
that requests are compared with: the tests of those, for example.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Sequence
from pathlib import Path

from .ending import run_main, run_through
from .rivals import REQUIREMENTS

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = ROOT / ".venv-bench"

#: The pools of other projects, at the versions that the documented figures were taken with.
POOLS = (
    "aioodbc==0.5.0",
    "psycopg[binary]==3.3.9",
    "psycopg-pool==3.3.3",
    "SQLAlchemy[asyncio]==2.1.9",
)


def is_inside(environment: Path = ENVIRONMENT) -> bool:
    """Whether this process runs in the peers' environment already."""
    return Path(sys.prefix).resolve() == environment.resolve()


def run_with(requirements: Sequence[str], module: str, arguments: Sequence[str]) -> int:
    """Run ``python -m module`` in the environment, made or brought up to date first, and return
    its exit status. What cannot be installed is missing there.

    :raises subprocess.CalledProcessError: there can be no environment.
    """
    python = prepare(requirements)
    return run_through([python, "-m", module, *arguments])


def prepare(requirements: Sequence[str], environment: Path = ENVIRONMENT) -> Path:
    """The environment's interpreter, with those requirements installed that can be."""
    python = environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp = environment / ".prepared"
    base = f"Python {sys.version} in {sys.prefix}"
    installed = _lines(stamp)
    if installed[:1] != [_one_line(base)]:
        print(f"making {environment}", file=sys.stderr)
        venv.create(environment, clear=True, with_pip=True)
        _see_packages_of_this_environment(python)
        installed = [_one_line(base)]
    missing = [each for each in requirements if each not in installed]
    if missing:
        print(f"installing {', '.join(missing)} into {environment}", file=sys.stderr)
        installed += _install(python, missing)
        stamp.write_text("\n".join(installed) + "\n", encoding="utf-8")
    return python


def _install(python: Path, requirements: Sequence[str]) -> list[str]:
    """All at once; if that fails one by one, so that only those are missing that cannot be
    installed, as pip has then said. Returns those that are there."""
    command: list[str | Path] = [python, "-m", "pip", "install", "--quiet", "--retries", "1"]
    if not subprocess.run([*command, *requirements], check=False).returncode:
        return list(requirements)
    return [
        each
        for each in requirements
        if not subprocess.run([*command, each], check=False).returncode
    ]


def _see_packages_of_this_environment(python: Path) -> None:
    """Add this environment's packages behind the other's own.

    ``--system-site-packages`` would add those of the interpreter that this environment was
    itself made with. ``addsitedir`` also follows the links of editable installations.
    """
    asked = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    folder = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
    seen = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
    lines = [f"import site; site.addsitedir({path!r})" for path in seen]
    Path(folder, "of_the_other_environment.pth").write_text("\n".join(lines) + "\n")


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def _one_line(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    sys.exit(run_main(lambda: run_with(REQUIREMENTS, sys.argv[1], sys.argv[2:])))

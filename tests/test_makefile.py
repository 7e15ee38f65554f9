"""`make` on machines that lack this and that, played by stubs: nothing is installed here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ["cat", "cksum", "mkdir", "rm", "sh", "tr", "xargs", "cp", "echo"]

pytestmark = pytest.mark.skipif(os.name != "posix", reason="make and sh")

# Where a stub stands for Python, `-m venv` and `-m pip` only leave a trace.
PYTHON = """#!/bin/sh
case "$1 $2" in
    '-m venv') echo "venv" >>"$LOG"; mkdir -p "$4/bin"; cp "$0" "$4/bin/python"; exit ;;
    '-m pip') shift 2; echo "pip $*" >>"$LOG"; exit ;;
    '-c import sys; print(sys.executable)') echo "$0"; exit ;;
esac
PYTHONPATH="$STUBS" exec "{python}" "$@"
"""

SITECUSTOMIZE = """
import ctypes, os, sys

real, missing = ctypes.CDLL, os.environ["MISSING"].split()

class Library(real):
    def __init__(self, name, *args, **options):
        if any(name and part in name for part in missing):
            if not os.path.exists(os.environ["LOG"] + ".installed"):
                raise OSError(name)
        elif name and not name.startswith("lib"):
            super().__init__(name, *args, **options)

ctypes.CDLL = Library
if "ensurepip" in missing:
    sys.modules["ensurepip"] = None
"""


@dataclass
class Machine:
    """A machine whose programs are stubs; ``log`` is what they were asked to do."""

    folder: Path
    user: int = 1000
    system: str = "Linux"
    manager: str = "apt-get"
    missing: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.bin = self.folder / "bin"
        self.bin.mkdir()
        for tool in TOOLS:
            found = shutil.which(tool)
            assert found is not None
            (self.bin / tool).symlink_to(found)
        self.add("python3.11", PYTHON.replace("{python}", sys.executable))
        self.add("id", f"#!/bin/sh\necho {self.user}\n")
        self.add("uname", f"#!/bin/sh\necho {self.system}\n")
        self.add(
            self.manager,
            '#!/bin/sh\necho "${0##*/} $*" >>"$LOG"\n'
            'case "$*" in *install*) : >"$LOG.installed" ;; esac\n',
        )
        (self.folder / "sitecustomize.py").write_text(SITECUSTOMIZE)

    def add(self, name: str, text: str) -> None:
        """Put a program on the path."""
        path = self.bin / name
        path.write_text(text)
        path.chmod(0o755)

    @property
    def log(self) -> list[str]:
        path = self.folder / "log"
        return path.read_text().splitlines() if path.exists() else []

    def bootstrap(self, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.bin / "sh"), "scripts/bootstrap.sh", str(self.folder / "venv")],
            cwd=ROOT,
            env={
                "PATH": str(self.bin),
                "LOG": str(self.folder / "log"),
                "STUBS": str(self.folder),
                "MISSING": " ".join(self.missing),
                "LD_LIBRARY_PATH": os.environ.get("LD_LIBRARY_PATH", ""),
                **variables,
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


def _make(*arguments: str) -> str:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    # `make test` may be what runs this test: its children would know that they are nested.
    nested = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}
    environment = {name: text for name, text in os.environ.items() if name not in nested}
    result = subprocess.run(
        ["make", *arguments],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return result.stdout


def test_make_alone_lists_its_targets() -> None:
    text = _make()
    for target in ("demo", "test", "lint", "clean", "help"):
        assert f"  {target} " in text


@pytest.mark.parametrize("target", ["demo", "test", "lint", "django-suite"])
def test_targets_set_up_first_and_then_run_in_the_environment_named(target: str) -> None:
    first, *others = _make("-n", target, "VENV=elsewhere", "ARGS=--version").splitlines()
    assert first == "sh scripts/bootstrap.sh elsewhere"
    assert others
    assert all(line.startswith("elsewhere/bin/python -m ") for line in others)


def test_a_machine_that_has_everything_gets_an_environment_once(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    for _ in range(2):
        result = machine.bootstrap()
        assert result.returncode == 0, result.stderr
    [made, installed] = machine.log
    assert made == "venv"
    assert installed.endswith("--editable .[test,lint]")


def test_another_django_is_installed_into_the_environment_that_is_there(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    for django in ("5.2", "5.2", ">=6.0,<6.1"):
        assert machine.bootstrap(DJANGO=django).returncode == 0
    made, first, second = machine.log
    assert made == "venv"
    assert first.endswith(" Django==5.2.*")
    assert second.endswith(" Django>=6.0,<6.1")


def test_an_environment_that_lost_its_python_is_made_anew(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    assert machine.bootstrap().returncode == 0
    (tmp_path / "venv/bin/python").unlink()
    (tmp_path / "venv/.bootstrapped").unlink()
    assert machine.bootstrap().returncode == 0
    assert [line.split()[0] for line in machine.log] == ["venv", "pip", "venv", "pip"]


def test_root_on_debian_gets_the_missing_packages(tmp_path: Path) -> None:
    machine = Machine(tmp_path, user=0, missing=["libodbc.", "libgssapi", "libssl"])
    result = machine.bootstrap()
    assert result.returncode == 0, result.stderr
    update, install, *_ = machine.log
    assert update == "apt-get update -qq"
    assert install.endswith(" unixodbc libgssapi-krb5-2 ca-certificates openssl")


def test_root_is_told_when_the_installation_did_not_help(tmp_path: Path) -> None:
    machine = Machine(tmp_path, user=0, missing=["ensurepip"])
    result = machine.bootstrap()
    assert result.returncode != 0
    assert "still missing" in result.stderr
    assert "venv" not in machine.log


def test_others_on_debian_get_the_one_line_to_run(tmp_path: Path) -> None:
    machine = Machine(tmp_path, missing=["libodbc.", "libgssapi", "ensurepip"])
    result = machine.bootstrap()
    assert result.returncode == 1
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert result.stderr.splitlines()[-1].strip() == (
        "sudo apt-get update && "
        f"sudo apt-get install -y unixodbc libgssapi-krb5-2 python{version}-venv"
    )
    assert machine.log == []


@pytest.mark.parametrize(
    ("system", "manager", "line"),
    [
        ("Darwin", "brew", "brew install unixodbc"),
        ("Linux", "dnf", "sudo dnf install unixODBC"),
        ("Linux", "zypper", "sudo zypper install unixODBC"),
        ("Linux", "pacman", "sudo pacman -S unixodbc"),
        ("Linux", "apk", "sudo apk add unixodbc"),
    ],
)
def test_other_systems_get_their_own_line(
    tmp_path: Path, system: str, manager: str, line: str
) -> None:
    machine = Machine(tmp_path, system=system, manager=manager, missing=["libodbc."])
    result = machine.bootstrap()
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].strip() == line
    assert machine.log == []


def test_unknown_systems_are_told_what_is_missing(tmp_path: Path) -> None:
    result = Machine(tmp_path, manager="unheard-of", missing=["libodbc."]).bootstrap()
    assert result.returncode == 1
    assert "unixodbc" in result.stderr


@pytest.mark.parametrize(
    ("python", "word"), [("no-such-python", "no such"), ("old-python", "3.11")]
)
def test_a_python_that_will_not_do_is_named(tmp_path: Path, python: str, word: str) -> None:
    machine = Machine(tmp_path)
    machine.add("old-python", "#!/bin/sh\nexit 1\n")
    result = machine.bootstrap(PYTHON=python)
    assert result.returncode == 1
    assert python in result.stderr
    assert word in result.stderr


def test_without_a_python_the_minimum_is_named(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    (machine.bin / "python3.11").unlink()
    result = machine.bootstrap()
    assert result.returncode == 1
    assert "Python 3.11 or newer" in result.stderr

"""What a figure depends on: the machine, its load, the versions, the command."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import mssql_async


@dataclass(frozen=True, slots=True)
class Machine:
    """Where and when a benchmark ran."""

    date: str
    command: str
    python: str
    system: str
    processor: str
    cores: int
    load: float | None
    """How many processes wanted to run in the minute before; None where nobody counts."""
    revision: str
    """The commit of this project; empty outside of a checkout."""
    versions: dict[str, str]

    @classmethod
    def this(cls, command: str, distributions: Sequence[str] = ()) -> Machine:
        versions = {name: metadata.version(name) for name in ("pyodbc", *distributions)}
        return cls(
            date=datetime.now(UTC).isoformat(timespec="seconds"),
            command=command,
            python=f"{platform.python_implementation()} {platform.python_version()}",
            system=platform.platform(terse=True),
            processor=_processor(),
            cores=os.cpu_count() or 1,
            load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
            revision=_revision(),
            versions={"mssql_async": mssql_async.__version__, **versions},
        )

    def in_words(self) -> str:
        load = "" if self.load is None else f", load {self.load:.1f} before"
        return "\n".join(
            [
                f"{self.date}  {self.command}",
                f"{self.python}, {self.processor}, {self.cores} cores{load}, {self.system}",
                ", ".join(f"{name} {version}" for name, version in self.versions.items())
                + (f", revision {self.revision}" if self.revision else ""),
            ]
        )


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _revision() -> str:
    """The commit, with a mark where files differ from it."""
    try:
        asked = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return asked.stdout.strip()

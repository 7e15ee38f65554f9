"""Django's source distribution, which unlike its wheel contains the tests."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "django-suite"
SUMS = Path(__file__).with_name("SHA256SUMS")
SECONDS_TO_FETCH = 300


class CannotFetch(Exception):
    """pip could not get the source distribution: most often there is no network."""


class WrongContent(Exception):
    """The source distribution is not the one whose SHA-256 is on record."""


def suite(version: str, cache: Path = CACHE) -> Path:
    """The folder ``tests`` of that version of Django, fetched where it is not there yet.

    :raises CannotFetch: the package index cannot be reached, or does not have it.
    :raises WrongContent: what came, or what was kept, is not what Django published.
    """
    place = cache / f"django-{version}"
    if not place.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            archive = _fetch(version, Path(folder))
            verify(archive)
            unpacked = Path(folder) / "unpacked"
            with tarfile.open(archive) as tar:
                tar.extractall(unpacked, filter="data")
            [top] = unpacked.iterdir()
            try:
                # At once, so that a run beside this one sees all of it or nothing.
                top.rename(place)
            except OSError:
                if not place.exists():
                    raise
    return place / "tests"


def _fetch(version: str, folder: Path) -> Path:
    """pip's own download: its index, proxy and certificates apply, and it compares what comes
    with the hash that the index publishes."""
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
        "--no-input", "--no-deps", "--no-binary", "django", "--dest", str(folder),
        f"Django=={version}",
    ]  # fmt: skip
    try:
        result = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS_TO_FETCH,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise CannotFetch(f"pip did not end within {SECONDS_TO_FETCH} s") from None
    if "DO NOT MATCH THE HASHES" in result.stderr:
        raise WrongContent(result.stderr.strip())
    archives = list(folder.glob("*.tar.gz"))
    if result.returncode != 0 or not archives:
        raise CannotFetch(result.stderr.strip() or f"pip ended with {result.returncode}")
    return archives[0]


def verify(archive: Path, sums: Path = SUMS) -> bool:
    """Compare an archive with the hash on record; false where there is none of that version.

    :raises WrongContent: they differ.
    """
    lines = (line.split() for line in sums.read_text("ascii").splitlines())
    expected = {name: digest for digest, name in lines}.get(archive.name.lower())
    if expected is None:
        return False
    with archive.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise WrongContent(f"{archive.name} has the SHA-256 {found}, on record is {expected}")
    return True


def forget(version: str, cache: Path = CACHE) -> None:
    """Remove what was kept of that version."""
    shutil.rmtree(cache / f"django-{version}", ignore_errors=True)

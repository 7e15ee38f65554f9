"""The demo as a process, and the accounts that it shows."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from tests.demo.harness import Demo

ON_REAL_SERVER = "MSSQL_HOST" in os.environ


@pytest.fixture(scope="package")
def demo() -> Iterator[Demo]:
    """The demo that the tests of this package share; they leave it running."""
    with Demo() as demo:
        yield demo


@pytest.fixture
async def client(demo: Demo) -> AsyncIterator[httpx.AsyncClient]:
    """Speaks to the demo and expects JSON."""
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=demo.address, timeout=60, limits=limits) as client:
        yield client


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    """A folder for temporary files, empty again when everybody cleaned up."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    return folder

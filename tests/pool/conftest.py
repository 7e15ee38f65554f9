"""What the tests of the pool share."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from .stubs import StubConnector, StubRuntime


@pytest.fixture
def connector() -> StubConnector:
    return StubConnector()


@pytest.fixture
def clock() -> StubRuntime:
    return StubRuntime()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(64) as executor:
        yield executor

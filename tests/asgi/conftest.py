"""Each test here has a project of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_django import DjangoDbBlocker

from tests.conftest import ON_REAL_SERVER
from tests.context.project import Project, project


@pytest.fixture(name="project")
def _project(django_db_blocker: DjangoDbBlocker) -> Iterator[Project]:
    if ON_REAL_SERVER:
        pytest.skip("needs an embedded server")
    with django_db_blocker.unblock(), project() as made:
        yield made

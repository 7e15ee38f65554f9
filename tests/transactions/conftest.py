"""The tests of a file share a project with the tables of the shop."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection, connections
from pytest_django import DjangoDbBlocker

from tests.conftest import ON_REAL_SERVER
from tests.context.project import Project, project, until
from tests.shop.models import Author, Book, Tag

OTHER = "other"
"""A second alias of the same database."""


@pytest.fixture(scope="module")
def shared_project(django_db_blocker: DjangoDbBlocker) -> Iterator[Project]:
    if ON_REAL_SERVER:
        pytest.skip("needs an embedded server")
    with django_db_blocker.unblock(), project() as made:
        connections.settings[OTHER] = dict(connections.settings["default"])
        with connection.schema_editor() as editor:
            for model in (Author, Tag, Book):
                editor.create_model(model)
        try:
            yield made
        finally:
            del connections.settings[OTHER]


@pytest.fixture(name="project")
def _project(shared_project: Project, django_db_blocker: DjangoDbBlocker) -> Iterator[Project]:
    with django_db_blocker.unblock():
        for model in (Book, Author, Tag):
            model.objects.all().delete()
        connection.close()
        shared_project.server.reset_counters()
        yield shared_project
        shared_project.server.faults.cancel()
        assert until(shared_project.is_quiet), (
            f"{shared_project.workers!r}, {shared_project.in_use} leases, "
            f"{shared_project.running} at the server"
        )
        assert not any(session.in_transaction for session in shared_project.server.sessions())

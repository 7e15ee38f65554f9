"""A wrapper in the place of Django's default one, so that models and ``atomic`` use it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from django.db import connections, models

from mssql_async.base import DatabaseWrapper
from mssql_async.devserver import DevServer

from .conftest import wrapper_for


@contextlib.contextmanager
def default_database(server: DevServer, **settings: Any) -> Iterator[DatabaseWrapper]:
    """``connections["default"]`` of this thread is a wrapper for ``server`` meanwhile."""
    before = connections["default"]
    wrapper = wrapper_for(server, **settings)
    connections["default"] = wrapper
    try:
        yield wrapper
    finally:
        connections["default"] = before
        wrapper.close()


def make_tables(wrapper: DatabaseWrapper, *tables: type[models.Model]) -> None:
    with wrapper.schema_editor() as editor:
        for table in tables:
            editor.create_model(table)

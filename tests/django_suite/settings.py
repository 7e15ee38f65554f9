"""What Django's ``runtests.py`` gets as settings. The run says in the environment where its
server is, and which backend to load."""

from __future__ import annotations

import os
from typing import Any

import django

ENGINE_VARIABLE = "DJANGO_SUITE_ENGINE"
ENTRY_POINT_VARIABLE = "DJANGO_SUITE_ENTRY_POINT"


def _database(name: str) -> dict[str, Any]:
    return {
        "ENGINE": os.environ[ENGINE_VARIABLE],
        "HOST": "127.0.0.1",
        "PORT": os.environ["MSSQL_PORT"],
        "USER": "sa",
        "PASSWORD": os.environ["MSSQL_PASSWORD"],
        "NAME": name,
        "OPTIONS": {
            # The one that the run registers for the stock backend; ours finds it.
            "driver": "ODBC Driver 18 for SQL Server",
            "extra_params": "Encrypt=no",
            # As in the dialect's own runs of this suite.
            "return_rows_bulk_insert": True,
        },
    }


DATABASES = {"default": _database("app"), "other": _database("other")}
# Fast; Django's own settings for its tests do the same.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
if django.VERSION < (6, 0):  # whose tests expect the old default
    DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
SECRET_KEY = "for tests only"
TEST_RUNNER = "tests.django_suite.recorder.RecordingRunner"
USE_TZ = False

if os.environ.get(ENTRY_POINT_VARIABLE):
    # Django's tests import the function by name from there.
    import django.core.asgi

    import mssql_async.asgi

    vars(django.core.asgi)["get_asgi_application"] = mssql_async.asgi.get_asgi_application

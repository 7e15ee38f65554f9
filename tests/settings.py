"""Django settings of the test suite.

The server is the one that ``MSSQL_HOST``, ``MSSQL_PORT``, ``MSSQL_USER``, ``MSSQL_PASSWORD``,
``MSSQL_DATABASE`` and ``MSSQL_EXTRA_PARAMS`` name. Without ``MSSQL_HOST`` the suite starts the
embedded one and fills in where it listens (``conftest.py``).
"""

from __future__ import annotations

import os
from typing import Any

DATABASES: dict[str, dict[str, Any]] = {
    "default": {
        "ENGINE": "mssql_async",
        "NAME": os.environ.get("MSSQL_DATABASE", "app"),
        "HOST": os.environ.get("MSSQL_HOST", "127.0.0.1"),
        "PORT": os.environ.get("MSSQL_PORT", "1433" if "MSSQL_HOST" in os.environ else ""),
        "USER": os.environ.get("MSSQL_USER", "sa"),
        "PASSWORD": os.environ.get("MSSQL_PASSWORD", ""),
        "OPTIONS": {"extra_params": os.environ.get("MSSQL_EXTRA_PARAMS", "Encrypt=no")},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "tests.shop",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
ROOT_URLCONF = "tests.urls"
SECRET_KEY = "for tests only"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
TIME_ZONE = "America/Chicago"
USE_TZ = True

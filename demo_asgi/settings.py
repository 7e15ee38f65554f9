"""Settings of the demo: the server comes from ``MSSQL_*``, everything else is fixed.

``python -m demo_asgi`` fills those variables in for its embedded server, so that these
settings need not know which one it is.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.utils import get_random_secret_key


def database_from(environ: Mapping[str, str]) -> dict[str, Any]:
    """``DATABASES["default"]`` for the server that ``environ`` names.

    :raises ImproperlyConfigured: no server is named.
    """
    host = environ.get("MSSQL_HOST")
    if not host:
        raise ImproperlyConfigured(
            "MSSQL_HOST is not set: name a SQL Server, or start the demo with its own "
            "by `python -m demo_asgi`."
        )
    database: dict[str, Any] = {
        "ENGINE": "mssql_async",
        "HOST": host,
        "PORT": environ.get("MSSQL_PORT", ""),
        "NAME": environ.get("MSSQL_DATABASE", "app"),
        "USER": environ.get("MSSQL_USER", ""),
        "PASSWORD": environ.get("MSSQL_PASSWORD", ""),
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {
            # A demo that cannot reach its server says so within seconds.
            "connection_timeout": 5,
            "connection_retries": 1,
            "connection_retry_backoff_time": 1,
        },
    }
    if extra_params := environ.get("MSSQL_EXTRA_PARAMS"):
        database["OPTIONS"]["extra_params"] = extra_params
    if token := environ.get("MSSQL_ACCESS_TOKEN"):
        database["TOKEN"] = token
        database["USER"] = database["PASSWORD"] = ""
    return database


DEMO_EMBEDDED_SERVER = os.environ.get("DEMO_EMBEDDED_SERVER") == "1"
"""The database is the embedded server's: nobody else's data, gone at the end."""

SECRET_KEY = os.environ.get("DJANGO_SECRET_KEY") or get_random_secret_key()
DEBUG = False
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]"]
ALLOWED_HOSTS += [host for host in os.environ.get("DEMO_ALLOWED_HOSTS", "").split(",") if host]

DATABASES = {"default": database_from(os.environ)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "demo_asgi.ledger",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
ROOT_URLCONF = "demo_asgi.urls"
ASGI_APPLICATION = "demo_asgi.asgi.application"
STATIC_URL = "static/"

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(levelname)s %(name)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    # Refused transfers are the demo's daily business, not worth a line each.
    "loggers": {"django.request": {"level": "ERROR"}},
}

"""Settings of the project. The environment says which backend serves it, and from where:
see :meth:`loadtests.bench.requests_sites.Candidate.environment`."""

from __future__ import annotations

import os
from typing import Any

SERVED_BY_OURS = os.environ["BENCH_ENGINE"] == "mssql_async"

_options: dict[str, Any] = {"extra_params": os.environ["MSSQL_EXTRA_PARAMS"]}
if "BENCH_DRIVER" in os.environ:
    _options["driver"] = os.environ["BENCH_DRIVER"]

DATABASES = {
    "default": {
        "ENGINE": os.environ["BENCH_ENGINE"],
        "NAME": os.environ["MSSQL_DATABASE"],
        "HOST": os.environ["MSSQL_HOST"],
        "PORT": os.environ["MSSQL_PORT"],
        "USER": os.environ["MSSQL_USER"],
        "PASSWORD": os.environ["MSSQL_PASSWORD"],
        "CONN_MAX_AGE": int(os.environ["BENCH_CONN_MAX_AGE"]),
        "OPTIONS": _options,
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ROOT_URLCONF = "loadtests.bench.project.urls"
SECRET_KEY = "for benchmarks only"  # noqa: S105
ALLOWED_HOSTS = ["*"]
USE_TZ = True
INSTALLED_APPS = ["loadtests.bench.project"]
MIDDLEWARE: list[str] = []

if os.environ.get("BENCH_MIDDLEWARE"):
    # What `django-admin startproject` writes.
    INSTALLED_APPS += [
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "django.contrib.messages",
    ]
    MIDDLEWARE += [
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ]

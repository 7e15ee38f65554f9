"""The project's settings, with other views."""

from __future__ import annotations

import os

from ..project.settings import *  # noqa: F403
from ..project.settings import DATABASES

DATABASES["default"]["CONN_HEALTH_CHECKS"] = bool(os.environ.get("BENCH_CONN_HEALTH_CHECKS"))
ROOT_URLCONF = "loadtests.bench.waiting.urls"

"""The ASGI application, with this project's entry point or with Django's."""

from __future__ import annotations

import os

from django.utils.module_loading import import_string

application = import_string(os.environ["BENCH_ENTRY"])()

"""The ASGI application, with this project's entry point or with Django's."""

from __future__ import annotations

import os
from typing import Any

import django.core.asgi

application: Any
if os.environ["BENCH_ENTRY"] == "mssql_async":
    import mssql_async.asgi

    application = mssql_async.asgi.get_asgi_application()
else:
    application = django.core.asgi.get_asgi_application()

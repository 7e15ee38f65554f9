"""``python -m loadtests.bench.rivals NAME``: the application of that module under Uvicorn."""

from __future__ import annotations

import sys
from importlib import import_module

from ..serving import serve_asgi

if __name__ == "__main__":
    serve_asgi(import_module(f"{__package__}.{sys.argv[1]}").application)

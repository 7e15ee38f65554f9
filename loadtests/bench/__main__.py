"""``python -m loadtests.bench``: see :mod:`loadtests.bench.whole`."""

from __future__ import annotations

import sys

from .ending import run_main
from .whole import main

if __name__ == "__main__":
    sys.exit(run_main(main))

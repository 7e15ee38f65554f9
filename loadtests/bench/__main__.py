"""``python -m loadtests.bench``: see :mod:`loadtests.bench.whole`."""

from __future__ import annotations

import sys

from .whole import main

if __name__ == "__main__":
    sys.exit(main())

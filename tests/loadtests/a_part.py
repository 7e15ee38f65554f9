"""Stands for a benchmark that a whole run starts: ``python -m tests.loadtests.a_part``. It
writes an invented result; what it was told goes into it. ``--fail``: it breaks."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from .a_run import a_run

if __name__ == "__main__":
    if "--fail" in sys.argv:
        sys.exit("broken on purpose")
    file = Path(sys.argv[sys.argv.index("--json") + 1])
    file.write_text(json.dumps({**a_run()[file.stem], "arguments": sys.argv[1:]}))
    print(f"the table of {file.stem}")

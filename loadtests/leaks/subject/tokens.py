"""``OPTIONS["token_provider"]`` of the alias "token": a sidecar of the harness writes tokens to a
file, as one does next to an application in a cluster."""

from __future__ import annotations

import json
import os
from pathlib import Path

from .config import TOKENS


def provide() -> tuple[str, float]:
    """The token, and until when it lasts, in seconds since the epoch.

    :raises OSError: there is no file.
    """
    token, expires_on = json.loads(Path(os.environ[TOKENS]).read_text(encoding="utf-8"))
    return token, expires_on


def write(path: Path, token: str, expires_on: float) -> None:
    """What the harness does; at once, so that nobody reads half of it."""
    fresh = path.with_suffix(".fresh")
    fresh.touch(mode=0o600)
    fresh.write_text(json.dumps([token, expires_on]), encoding="utf-8")
    fresh.replace(path)

"""Functions and ``@@`` variables whose value depends on the session, server or catalog."""

from __future__ import annotations

from . import metadata, requests, server, session  # noqa: F401  their functions register themselves
from .host import SessionHost

__all__ = ["SessionHost"]

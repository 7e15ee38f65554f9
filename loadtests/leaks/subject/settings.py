"""Settings for a process of its own; the environment has them (:mod:`.config`)."""

from __future__ import annotations

from .config import SubjectConfig

globals().update(SubjectConfig.from_environment().settings())

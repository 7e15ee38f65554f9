"""The report for machines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TextIO

from ..outcome import Outcome
from .words import fit_to_show

#: Goes up when what was there changes its meaning or goes away, not when something is added.
SCHEMA = 1
_FORMAT = "mssql_async leaks"


class UnknownReport(ValueError):
    """A file is no report of the leak harness, or one of a version that is not known here."""


def write_json(outcome: Outcome, to: Path | str | TextIO) -> None:
    """Into a file, or what is open already. Raises ``OSError``."""
    plain = {
        "format": _FORMAT,
        "schema": SCHEMA,
        "verdict": {
            "clean": outcome.is_clean,
            "findings": outcome.found,
            "errors": outcome.failed,
            "broken_off": outcome.broken_off,
            "silent_controls": [control.name for control in outcome.silent],
        },
        "outcome": fit_to_show(outcome).to_dict(),
    }
    text = json.dumps(plain, ensure_ascii=False, indent=1) + "\n"
    if isinstance(to, Path | str):
        Path(to).write_text(text, encoding="utf-8")
    else:
        to.write(text)


def read_json(path: Path | str) -> Outcome:
    """Raises ``OSError``, and :class:`UnknownReport` if this is not what :func:`write_json`
    writes."""
    try:
        plain = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise UnknownReport(f"{path} is not JSON: {error}") from None
    if not isinstance(plain, dict) or plain.get("format") != _FORMAT:
        raise UnknownReport(f"{path} is not a report of the leak harness")
    if plain.get("schema") != SCHEMA:
        raise UnknownReport(
            f"{path} has schema {plain.get('schema')!r}; this version reads schema {SCHEMA}"
        )
    try:
        return Outcome.from_dict(plain["outcome"])
    except (KeyError, TypeError, ValueError) as error:
        raise UnknownReport(
            f"{path} has schema {SCHEMA}, but does not follow it: {type(error).__name__}: {error}"
        ) from error

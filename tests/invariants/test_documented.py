"""``docs/invariants.md`` names tests and guards that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TABLE = (ROOT / "docs" / "invariants.md").read_text()

_TEST = re.compile(r"`([\w/]+\.py)::(\w+)`")
_GUARD = re.compile(r"`([\w/]+\.py):(\w+(?:\.\w+)?)`")


def defines(path: Path, name: str) -> bool:
    """Whether a module has a function or class of this name; of ``Class.name`` both."""
    text = path.read_text() if path.exists() else ""
    return all(
        re.search(rf"^\s*(?:class|def|async def) {part}\b", text, re.MULTILINE)
        for part in name.split(".")
    )


def missing(table: str) -> list[str]:
    """What a table names and nobody has."""
    tests = [(ROOT / "tests" / path, name) for path, name in _TEST.findall(table)]
    guards = [
        (ROOT / ("tests" if path.startswith("pool/world") else "mssql_async") / path, name)
        for path, name in _GUARD.findall(table)
    ]
    return [f"{path.name}: {name}" for path, name in tests + guards if not defines(path, name)]


def test_they_do() -> None:
    assert len(_TEST.findall(TABLE)) > 60
    assert missing(TABLE) == []


@pytest.mark.parametrize("named", ["test_kills.py::test_nobody", "pool/pool.py:Pool._is_unfit"])
def test_one_that_did_not_would_be_found(named: str) -> None:
    """The control of the test above."""
    assert len(missing(f"{TABLE} `{named}`")) == 1


def test_each_has_a_row_with_a_guard_a_test_and_a_control() -> None:
    rows = [line.strip("|").split("|") for line in TABLE.splitlines() if re.match(r"\| \d", line)]
    assert [int(row[0]) for row in rows] == list(range(1, 15))
    for number, _, guard, test, control in rows:
        assert _GUARD.search(guard), number
        assert _TEST.search(test), number
        assert _TEST.search(control), number

"""What the engine does not do it refuses by name: the list of docs/devserver.md."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import mssql_async.devserver
from mssql_async.devserver.engine import SqlEngine
from mssql_async.devserver.tsql.functions import REFUSED as REFUSED_FUNCTIONS
from mssql_async.devserver.tsql.parser import UNSUPPORTED as REFUSED_STATEMENTS
from tests.devserver.engine_door import Door, numbers, opened
from tests.devserver.refusals import AREAS, WIRE

REFUSED = [
    (name, sql)
    for refusals in AREAS.values()
    for name, statements in refusals.items()
    for sql in statements
]
SOURCES = Path(mssql_async.devserver.__file__).parent
REFUSING = {"unsupported", "NotSupportedByStandIn"}
#: A name's variable part, in the sources and on the page.
ANY = "…"


@pytest.fixture(scope="module")
def engine() -> Iterator[SqlEngine]:
    with opened() as engine:
        door = Door(engine)
        door.run("CREATE TABLE t (id int PRIMARY KEY, n int); CREATE TABLE u (id int)")
        door.run("CREATE VIEW v AS SELECT id, n FROM t")
        door.close()
        yield engine


def says(text: str, name: str) -> bool:
    pattern = ".*".join(re.escape(part) for part in name.split(ANY))
    return bool(re.match(rf"'?{pattern}'? is not supported", text))


@pytest.mark.parametrize(("name", "sql"), REFUSED)
def test_it_is_refused_by_name_and_changes_nothing(engine: SqlEngine, name: str, sql: str) -> None:
    door = Door(engine)
    outcome = door.attempt(sql)
    assert numbers(outcome) == [40517]
    assert says(outcome.errors[0].text, name), outcome.errors[0].text
    assert door.rows("SELECT @@TRANCOUNT, COUNT(*) FROM t") == [(0, 0)]
    door.close()


@pytest.mark.parametrize("name", sorted(REFUSED_FUNCTIONS))
def test_so_is_a_function(engine: SqlEngine, name: str) -> None:
    message = Door(engine).error(f"SELECT {name}(n) FROM t")
    assert (message.number, says(message.text, name)) == (40517, True)


def test_every_statement_that_its_first_word_refuses_is_listed() -> None:
    assert {name for name, _ in REFUSED} >= REFUSED_STATEMENTS


def shown(argument: ast.expr) -> str | None:
    """What a refusal in the sources is called, with ``…`` for what only its run knows; None
    where that is all of it."""
    if isinstance(argument, ast.Constant):
        return str(argument.value)
    if isinstance(argument, ast.JoinedStr):
        parts = [str(p.value) if isinstance(p, ast.Constant) else ANY for p in argument.values]
        return "".join(parts)
    return None


def refusals_in(source: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and node.args:
            called = node.func.attr if isinstance(node.func, ast.Attribute) else None
            if isinstance(node.func, ast.Name):
                called = node.func.id
            name = shown(node.args[0])
            if called in REFUSING and name is not None:
                found.add(name)
    return found


def unlisted(names: set[str]) -> set[str]:
    """Those that no name of the list could be."""
    listed = [*WIRE, *(name for refusals in AREAS.values() for name in refusals)]
    patterns = {name: ".*".join(map(re.escape, name.split(ANY))) for name in names}
    return {name for name in names if not any(re.match(patterns[name], known) for known in listed)}


def test_every_refusal_in_the_sources_is_listed() -> None:
    names = set().union(*(refusals_in(path.read_text("utf-8")) for path in SOURCES.rglob("*.py")))
    assert len(names) > 50
    assert unlisted(names) == set()


def test_one_that_is_not_is_found() -> None:
    source = 'self.unsupported(f"SELECT {word} twice")\nraise NotSupportedByStandIn("PIVOT")'
    assert unlisted(refusals_in(source)) == {"SELECT … twice"}


@pytest.mark.parametrize("name", ["sp_help", "sp_helptext", "sp_spaceused", "xp_cmdshell"])
def test_an_unknown_procedure_could_not_be_found(engine: SqlEngine, name: str) -> None:
    message = Door(engine).error(f"EXEC {name}")
    assert (message.number, name in message.text) == (2812, True)


@pytest.mark.parametrize("name", ["geography", "geometry", "hierarchyid"])
def test_a_type_of_the_clr_cannot_be_found(engine: SqlEngine, name: str) -> None:
    assert Door(engine).error(f"CREATE TABLE c (c {name})").number == 2715

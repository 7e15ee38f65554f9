"""sqlglot with our dialect reads T-SQL exactly as the hand-made grammar does."""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlglot import exp

from mssql_async.devserver.errors import SqlError
from mssql_async.devserver.tsql import parser as hand_made
from mssql_async.devserver.tsql import statements as st
from mssql_async.devserver.tsql.dialect import (
    DIALECT,
    parse_expression,
    parse_statements,
    reading,
)

from . import tsql_corpus as corpus
from .test_tsql_parser import numbered

_HERE = Path(__file__).parent


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def assert_same(ours: exp.Expression, theirs: exp.Expression) -> None:
    assert ours == theirs
    assert repr(ours) == repr(theirs)
    assert shape(ours) == shape(theirs)


def shape(value: Any) -> Any:
    """A tree to the last argument, which ``==`` and ``repr`` of sqlglot overlook in part."""
    if isinstance(value, exp.Expression):
        arguments = {name: shape(argument) for name, argument in value.args.items()}
        return type(value), arguments, value.comments
    if isinstance(value, list | tuple):
        return type(value), [shape(item) for item in value]
    return type(value), value


def hand_made_trees(sql: str) -> list[exp.Expression]:
    """The trees of a batch's queries and modifications, wherever they stand in it."""
    return [statement.tree for statement in queries_and_modifications(hand_made.parse_batch(sql))]


def queries_and_modifications(value: Any) -> list[Any]:
    if isinstance(value, st.Query | st.Insert | st.Update | st.Delete | st.Merge):
        return [value]
    if isinstance(value, tuple):
        return [found for item in value for found in queries_and_modifications(item)]
    if isinstance(value, st.Statement):
        return [
            found
            for field in value.__dataclass_fields__
            for found in queries_and_modifications(getattr(value, field))
        ]
    return []


def django_statements() -> list[str]:
    """Every query and modification mssql-django sent while migrating and being used."""
    recorded = json.loads((_HERE / "test_tsql_django_sql.json").read_text(encoding="utf-8"))
    found: dict[str, None] = {}
    for entry in (entry for entries in recorded.values() for entry in entries):
        batch = hand_made.parse_batch(numbered(entry["sql"]))
        found.update(dict.fromkeys(found.text for found in queries_and_modifications(batch)))
    return list(found)


def refusal(parse: Callable[[str], object], sql: str) -> tuple[int, int | None] | None:
    try:
        parse(sql)
    except SqlError as refused:
        return refused.number, refused.line
    return None


# --- the same trees -------------------------------------------------------------------------


@pytest.mark.parametrize("sql", lines(corpus.EXPRESSIONS + corpus.CONDITIONS))
def test_an_expression_becomes_the_same_tree(sql: str) -> None:
    assert_same(parse_expression(sql), hand_made.parse_expression(sql))


@pytest.mark.parametrize("sql", lines(corpus.QUERIES + corpus.MODIFICATIONS))
def test_a_statement_becomes_the_same_tree(sql: str) -> None:
    (ours,) = parse_statements(sql)
    (theirs,) = hand_made_trees(sql)
    assert_same(ours, theirs)


@pytest.mark.parametrize("sql", django_statements())
def test_a_statement_of_django_becomes_the_same_tree(sql: str) -> None:
    (ours,) = parse_statements(sql)
    (theirs,) = hand_made_trees(sql)
    assert_same(ours, theirs)


def test_statements_need_no_semicolon_between_them() -> None:
    statements = lines(corpus.QUERIES + corpus.MODIFICATIONS)
    # WITH may only begin a statement whose predecessor has its semicolon.
    statements = [sql for sql in statements if not sql.startswith(("WITH", "("))]
    batch = "\n".join(line.split(" -- ")[0] for line in statements)
    ours, theirs = parse_statements(batch), hand_made_trees(batch)
    assert len(ours) == len(theirs) == len(statements)
    for our, their in zip(ours, theirs, strict=True):
        assert_same(our, their)


def test_a_chain_of_thousands_of_conditions_is_balanced() -> None:
    sql = " OR ".join(f"(a = {n} AND b = {n})" for n in range(5000))
    ours = parse_expression(sql)
    depth, node = 0, ours
    while isinstance(node, exp.Or):
        depth, node = depth + 1, node.this
    assert depth < 15
    assert repr(ours) == repr(hand_made.parse_expression(sql))


# --- the same refusals ------------------------------------------------------------------------


@pytest.mark.parametrize(("sql", "number", "line"), corpus.REFUSED)
def test_what_sql_server_refuses_is_refused(sql: str, number: int, line: int) -> None:
    assert refusal(parse_statements, sql) == (number, line)
    assert refusal(hand_made.parse_batch, sql) == (number, line)


@pytest.mark.parametrize(
    ("sql", "number"),
    [
        # Predicates do not follow one another.
        ("SELECT 1 WHERE a = b = c", 102),
        ("SELECT 1 WHERE a = b IN (1)", 156),
        ("SELECT 1 WHERE a IS NULL = 1", 102),
        ("SELECT 1 WHERE a IN (1) NOT IN (2)", 156),
        ("SELECT 1 WHERE a = 1 LIKE 'x'", 156),
        # What is assigned to is a column.
        ("UPDATE t SET 1 = 2", 102),
        ("UPDATE t SET select = 2", 156),
        ("UPDATE t SET = (1)", 102),
        # A reserved word is not a type that could not be found.
        ("SELECT CAST(a AS select)", 156),
        # What follows ORDER is at fault, not ORDER.
        ("SELECT a FROM t ORDER a", 102),
        ("SELECT $action", 40517),
    ],
)
def test_what_the_hand_made_grammar_lets_pass_is_refused(sql: str, number: int) -> None:
    assert refusal(parse_statements, sql) == (number, 1)
    assert refusal(hand_made.parse_batch, sql) != (number, 1)


def test_an_unclosed_hint_does_not_hang() -> None:
    assert refusal(parse_statements, "SELECT a FROM t WITH (INDEX(1") == (102, 1)


def test_damaged_statements_are_never_read_as_something_else() -> None:
    """What the hand-made grammar refuses is refused, and what both read is the same."""
    chance = random.Random(20)
    statements = [
        [sql[token.start : token.end + 1] for token in DIALECT.tokenize(sql)]
        for sql in lines(corpus.QUERIES + corpus.MODIFICATIONS)
        # An unclosed INDEX( or FORCESEEK( hangs the hand-made grammar.
        if "INDEX" not in sql and "FORCESEEK" not in sql
    ]
    words = sorted({word for statement in statements for word in statement})
    accepted = 0
    for _ in range(4000):
        damaged = list(chance.choice(statements))
        for _ in range(chance.choice((1, 1, 2))):
            at = chance.randrange(len(damaged))
            damaged[at : at + chance.randrange(2)] = chance.choices(words, k=chance.randrange(2))
            damaged = damaged or [";"]
        sql = chance.choice((" ", "\n", " /* x\n */ ")).join(damaged)
        theirs = refusal(hand_made.parse_batch, sql)
        if theirs is not None:
            assert refusal(parse_statements, sql) is not None, sql
        elif refusal(parse_statements, sql) is None:
            accepted += 1
            ours = parse_statements(sql)
            for our, their in zip(ours, hand_made_trees(sql), strict=True):
                assert_same(our, their)
    assert accepted > 200


# --- inside a batch ---------------------------------------------------------------------------


def test_a_query_says_where_it_ends() -> None:
    sql = "SELECT a\nFROM t x DECLARE @v INT = 1"
    parser = reading(sql)
    tree = parser.query()
    assert tree.args["source"].args["alias"] == "x"
    assert parser.source(0) == "SELECT a\nFROM t x"
    assert parser.at("DECLARE")
    assert parser.token.line == 2


def test_an_expression_in_the_middle_of_a_batch_is_read() -> None:
    parser = reading("DECLARE @v INT = @P1 + 1 SELECT @v; SELECT 2")
    parser.expect("DECLARE")
    assert parser.advance().text == "@v"
    parser.data_type()
    parser.expect("=")
    assert repr(parser.scalar()) == repr(hand_made.parse_expression("@P1 + 1"))
    assert [type(tree).__name__ for tree in (parser.query(), parser.accept(";"), parser.query())]
    assert parser.at_end


# --- as a dialect of sqlglot --------------------------------------------------------------------


def test_nothing_is_logged(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        for sql in lines(corpus.QUERIES + corpus.MODIFICATIONS):
            parse_statements(sql)
        for sql, _, _ in corpus.REFUSED:
            refusal(parse_statements, sql)
    assert not caplog.records
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("sql", "texts"),
    [
        ("0x 0x1F 0X1f", ["0x", "0x1F", "0X1f"]),
        (".5 1. 1.5e-3 1e", [".5", "1.", "1.5e-3", "1e"]),
        ("$1.5 $ -2 £3 €", ["$1.5", "$ -2", "£3", "€"]),
        ("1a 0x1Fg $1b $1e5", ["1", "a", "0x1F", "g", "$1", "b", "$1", "e5"]),
        ("a!<b!>c!=d<>e", ["a", "!<", "b", "!>", "c", "!=", "d", "<>", "e"]),
        ("N'a''b' 'c' [d]]e] \"f\"\"g\"", ["a'b", "c", "d]e", 'f"g']),
        ("@a @@b #c ##d a@b#c$d $action", ["@a", "@@b", "#c", "##d", "a@b#c$d", "$action"]),
        ("a/* /* */ */b--c\nd", ["a", "b", "d"]),
        ("\ufeffa\u00a0b", ["a", "b"]),
        ("+=-=*=/=%=&=|=^=::", ["+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "::"]),
    ],
)
def test_text_is_cut_as_t_sql_cuts_it(sql: str, texts: list[str]) -> None:
    tokens = DIALECT.tokenize(sql)
    assert [token.text for token in tokens] == texts
    # Each says where it stands; what is between them is blank.
    end = 0
    for token in tokens:
        assert token.start >= end
        end = token.end + 1


def test_a_token_says_the_line_it_starts_on() -> None:
    tokens = DIALECT.tokenize("a 'b\nc' /* \n */ [d\r\ne]\r\nf -- g\n@h")
    assert [(token.text, token.line) for token in tokens] == [
        ("a", 1),
        ("b\nc", 1),
        ("d\r\ne", 3),
        ("f", 5),
        ("@h", 6),
    ]

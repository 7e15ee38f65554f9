"""What our dialect of sqlglot makes of T-SQL."""

from __future__ import annotations

import logging
import random
from pathlib import Path

import pytest
from sqlglot import exp

from mssql_async.devserver.errors import SqlError
from mssql_async.devserver.tsql.dialect import DIALECT
from mssql_async.devserver.tsql.parser import parse_expression
from mssql_async.devserver.tsql.statements_parser import StatementParser

from .tsql_brief import brief
from .tsql_refused import REFUSED


def recorded(file: str) -> dict[str, str]:
    """A line of T-SQL for every rule of the grammar, and under each its tree."""
    lines = iter((Path(__file__).parent / file).read_text("utf-8").splitlines())
    return {sql: tree.strip() for sql, tree in zip(lines, lines, strict=True)}


EXPRESSIONS = recorded("tsql_expressions.txt")
STATEMENTS = recorded("tsql_statements.txt")


def refusal(sql: str) -> tuple[int, int | None] | None:
    try:
        DIALECT.parse(sql)
    except SqlError as refused:
        return refused.number, refused.line
    return None


# --- trees ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sql", "tree"), EXPRESSIONS.items())
def test_an_expression_becomes_its_tree(sql: str, tree: str) -> None:
    assert brief(parse_expression(sql)) == tree


@pytest.mark.parametrize(("sql", "tree"), STATEMENTS.items())
def test_a_statement_becomes_its_tree(sql: str, tree: str) -> None:
    (found,) = DIALECT.parse(sql)
    assert brief(found) == tree


def test_statements_need_no_semicolon_between_them() -> None:
    # WITH may only begin a statement whose predecessor has its semicolon.
    statements = [sql for sql in STATEMENTS if not sql.startswith(("WITH", "("))]
    batch = "\n".join(sql.split(" -- ")[0] for sql in statements)
    assert [brief(tree) for tree in DIALECT.parse(batch)] == [STATEMENTS[sql] for sql in statements]


def test_a_chain_of_thousands_of_conditions_is_balanced() -> None:
    node = parse_expression(" OR ".join(f"(a = {n} AND b = {n})" for n in range(5000)))
    assert len(list(node.find_all(exp.And))) == 5000
    depth = 0
    while isinstance(node, exp.Or):
        depth, node = depth + 1, node.this
    assert depth < 15


# --- refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("sql", "number", "line"), REFUSED)
def test_what_sql_server_refuses_is_refused(sql: str, number: int, line: int) -> None:
    assert refusal(sql) == (number, line)


def test_damaged_statements_are_read_or_refused() -> None:
    """Nothing but a tree or an error of SQL Server comes out, in no time."""
    chance = random.Random(20)
    statements = [
        [sql[token.start : token.end + 1] for token in DIALECT.tokenize(sql)] for sql in STATEMENTS
    ]
    words = sorted({word for statement in statements for word in statement})
    refused = 0
    for _ in range(4000):
        damaged = list(chance.choice(statements))
        for _ in range(chance.choice((1, 1, 2))):
            at = chance.randrange(len(damaged))
            damaged[at : at + chance.randrange(2)] = chance.choices(words, k=chance.randrange(2))
            damaged = damaged or [";"]
        sql = chance.choice((" ", "\n", " /* x\n */ ")).join(damaged)
        refused += refusal(sql) is not None
    assert refused > 2000


# --- inside a batch ---------------------------------------------------------------------------


def test_a_query_says_where_it_ends() -> None:
    sql = "SELECT a\nFROM t x DECLARE @v INT = 1"
    parser = StatementParser(dialect=DIALECT)
    parser.read(sql)
    tree = parser.query()
    assert tree.args["source"].args["alias"] == "x"
    assert parser.source(0) == "SELECT a\nFROM t x"
    assert parser.at("DECLARE")
    assert parser.token.line == 2


# --- as a dialect of sqlglot --------------------------------------------------------------------


def test_nothing_is_logged(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        for sql in STATEMENTS:
            DIALECT.parse(sql)
        for sql, _, _ in REFUSED:
            refusal(sql)
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

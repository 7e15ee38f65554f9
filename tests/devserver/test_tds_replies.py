"""Which tokens end what (MS-TDS 2.2.7), byte by byte where drivers depend on it."""

from __future__ import annotations

from typing import Any

import pytest

from mssql_async.devserver import sqltypes as t
from mssql_async.devserver.results import (
    Columns,
    Command,
    Done,
    Environment,
    EnvironmentChange,
    Event,
    Message,
    OutputValue,
    ResultColumn,
    ReturnStatus,
    Rows,
)
from mssql_async.devserver.tds.encoding import Dialect, UnencodableValueError
from mssql_async.devserver.tds.replies import Reply
from mssql_async.devserver.tds.tokens import LayoutCache, TokenWriter

from .fake_engine import result
from .raw_client import parse_tokens

MORE, ERROR, IN_TRANSACTION, COUNT = 0x01, 0x02, 0x04, 0x10
BOOM = Message(50000, "boom", severity=16)
DESCRIPTOR = bytes.fromhex("5eb7000000000000")


class Writing:
    """A reply, and the tokens that came out of it."""

    def __init__(self, transaction: bytes = b"") -> None:
        self.buffer = bytearray()
        self.writer = TokenWriter(self.buffer, Dialect(), LayoutCache(), "server")
        self.reply = Reply(self.writer, transaction)

    def tokens(self) -> list[tuple[Any, ...]]:
        return list(parse_tokens(bytes(self.buffer)))

    def named(self, *names: str) -> list[tuple[Any, ...]]:
        return [token for token in self.tokens() if token[0] in names]


def batch(*events: Event, transaction: bytes = b"") -> Writing:
    writing = Writing(transaction)
    writing.reply.add(events)
    writing.reply.end_batch()
    return writing


def procedure(*events: Event) -> Writing:
    writing = Writing()
    writing.reply.begin_procedure()
    writing.reply.add(events)
    writing.reply.end_procedure(more=False)
    return writing


def test_select_1_has_the_bytes_of_the_recorded_traffic() -> None:
    writing = batch(*result([("", t.INT)], (1,)))
    assert writing.buffer.hex() == (
        "810100000000000900260400d10401000000fd1000c1000100000000000000"
    )


def test_an_empty_batch_still_ends() -> None:
    assert batch().tokens() == [("done", 0, 0, 0)]


def test_all_but_the_last_statement_say_that_more_follows() -> None:
    events = [Done(Command.INSERT, 2), *result([("n", t.INT)], (1,)), Done(Command.UPDATE, 0)]
    assert batch(*events).named("done") == [
        ("done", MORE | COUNT, Command.INSERT, 2),
        ("done", MORE | COUNT, Command.SELECT, 1),
        ("done", COUNT, Command.UPDATE, 0),
    ]


def test_a_statement_without_a_count_says_so() -> None:
    assert batch(Done(Command.SET)).tokens() == [("done", 0, Command.SET, 0)]


def test_an_error_marks_the_next_done_and_no_other() -> None:
    assert batch(BOOM, Done(Command.SELECT), Done(Command.SELECT, 1)).named("done") == [
        ("done", ERROR | MORE, Command.SELECT, 0),
        ("done", COUNT, Command.SELECT, 1),
    ]


def test_a_failed_statement_marks_its_done() -> None:
    assert batch(BOOM, Done(Command.INSERT, failed=True)).named("done") == [
        ("done", ERROR, Command.INSERT, 0)
    ]


def test_an_error_after_the_last_done_marks_the_final_one() -> None:
    assert batch(Done(Command.INSERT, 1), BOOM).tokens() == [
        ("done", MORE | COUNT, Command.INSERT, 1),
        ("error", 50000, "boom", 16, 1, 1, ""),
        ("done", ERROR, 0, 0),
    ]


def test_a_message_up_to_severity_ten_is_information_and_ten_is_sent_as_zero() -> None:
    assert batch(Message(0, "hello", severity=10)).tokens() == [
        ("info", 0, "hello", 0, 1, 1, ""),
        ("done", 0, 0, 0),
    ]


def test_statements_of_a_procedure_end_in_doneinproc_and_the_procedure_in_doneproc() -> None:
    writing = procedure(
        *result([("n", t.INT)], (1,)), ReturnStatus(0), OutputValue(0, "", t.INT, 7)
    )
    assert writing.tokens()[2:] == [
        ("doneinproc", MORE | COUNT, Command.SELECT, 1),
        ("status", 0),
        ("output", 0, "", t.INT, 7),
        ("doneproc", 0, Command.EXECUTE, 0),
    ]


def test_a_prepared_statements_reply_has_the_bytes_of_the_recorded_traffic() -> None:
    writing = procedure(
        *result([("v", t.INT)], (1,)), ReturnStatus(0), OutputValue(0, "", t.INT, 2)
    )
    assert writing.buffer.hex() == (
        "81010000000000090026040176 00".replace(" ", "")
        + "d10401000000"
        + "ff1100c1000100000000000000"
        + "7900000000"
        + "ac0000000100000000090026040402000000"
        + "fe0000e0000000000000000000"
    )


def test_an_error_without_a_done_marks_doneproc() -> None:
    assert procedure(BOOM, ReturnStatus(1)).tokens()[-1] == (
        "doneproc",
        ERROR,
        Command.EXECUTE,
        0,
    )


def test_an_open_transaction_shows_in_every_done() -> None:
    begin = EnvironmentChange(Environment.BEGIN_TRANSACTION, DESCRIPTOR, b"")
    writing = batch(begin, Done(Command.BEGIN_TRANSACTION))
    assert writing.reply.transaction == DESCRIPTOR
    assert writing.tokens() == [
        ("env", 8, DESCRIPTOR, b""),
        ("done", IN_TRANSACTION, Command.BEGIN_TRANSACTION, 0),
    ]
    assert batch(Done(), transaction=DESCRIPTOR).tokens() == [("done", IN_TRANSACTION, 0, 0)]


@pytest.mark.parametrize("kind", [Environment.COMMIT_TRANSACTION, Environment.ROLLBACK_TRANSACTION])
def test_the_end_of_a_transaction_is_announced(kind: Environment) -> None:
    writing = batch(EnvironmentChange(kind, b"", DESCRIPTOR), Done(), transaction=DESCRIPTOR)
    assert writing.reply.transaction == b""
    assert writing.buffer.hex().startswith(f"e30b00{kind:02x}0008" + DESCRIPTOR.hex())
    assert writing.tokens()[-1] == ("done", 0, 0, 0)


def test_an_interrupted_reply_ends_in_failure() -> None:
    writing = Writing()
    writing.reply.add(result([("n", t.INT)], (1,)))
    writing.reply.add_after_interruption(
        [BOOM, EnvironmentChange(Environment.ROLLBACK_TRANSACTION, b"", DESCRIPTOR), Done()]
    )
    writing.reply.end_interrupted()
    assert writing.tokens()[2:] == [
        ("done", MORE | COUNT, Command.SELECT, 1),
        ("env", 10, b"", DESCRIPTOR),
        ("done", ERROR, 0, 0),
    ]


def test_a_fatal_error_is_remembered() -> None:
    writing = batch(Message(596, "The session is in the kill state.", severity=21))
    assert writing.reply.fatal


def test_columns_say_what_they_are() -> None:
    columns = Columns(
        (
            ResultColumn("id", t.BIGINT, nullable=False, identity=True),
            ResultColumn("code", t.varchar(5).with_collation("Latin1_General_CS_AS")),
        )
    )
    ((_name, (first, second)),) = batch(columns).named("columns")
    assert first == ("id", t.BIGINT, 0x18)
    assert second == ("code", t.varchar(5), 0x0B)


def test_the_same_columns_are_laid_out_once() -> None:
    layouts, dialect = LayoutCache(), Dialect()
    columns = Columns((ResultColumn("id", t.INT),))
    assert layouts.layout(columns, dialect) is layouts.layout(columns, dialect)
    for _ in range(LayoutCache.LIMIT * 2):
        layouts.layout(Columns((ResultColumn("id", t.INT),)), dialect)


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ((1, "abcd"), "column 'name': value of 8 bytes in a type of 6"),
        (("secret", "abc"), r"column 'id': str is no storage form of int \(error\)"),
        ((1,), "row of 1 values for 2 columns"),
    ],
)
def test_a_row_that_does_not_fit_is_left_out_and_blamed(
    row: tuple[t.StorageValue, ...], complaint: str
) -> None:
    writing = Writing()
    columns = Columns((ResultColumn("id", t.INT), ResultColumn("name", t.nvarchar(3))))
    with pytest.raises(UnencodableValueError, match=complaint) as caught:
        writing.reply.add([columns, Rows([(1, "abc"), row])])
    assert "secret" not in str(caught.value)
    assert writing.named("row") == [("row", (1, "abc"))]


def test_endless_names_and_texts_are_cut_to_what_a_token_holds() -> None:
    endless = "x" * 100_000
    writing = batch(
        Message(50000, endless, severity=16, procedure=endless),
        Columns((ResultColumn(endless, t.INT),)),
    )
    ((_token, _number, text, *_rest, name),) = writing.named("error")
    assert len(text) == 16_000
    assert len(name) == 255
    ((_columns, ((column, _type, _flags),)),) = writing.named("columns")
    assert len(column) == 255

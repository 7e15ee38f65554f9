"""Requests, with the bytes of Microsoft's ODBC driver 18.6."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssql_async.devserver import sqltypes as t
from mssql_async.devserver.errors import NotSupportedByStandIn, SqlError
from mssql_async.devserver.protocols import (
    Isolation,
    Parameter,
    TransactionOperation,
    TransactionRequest,
)
from mssql_async.devserver.tds.packets import ClientMessage, PacketType, ProtocolError, Status
from mssql_async.devserver.tds.requests import (
    BatchRequest,
    CallRequest,
    ProcedureCall,
    TransactionManagerRequest,
    message_name,
    parse_request,
)

from .raw_client import all_headers

HEADERS = "16000000120000000200000000000000000001000000"
SELECT_1 = HEADERS + "530045004c0045004300540020003100"
DATATYPE_INFO = (
    HEADERS
    + "1a005b007300790073005d002e00730070005f00640061007400610074007900700065005f0069006e006600"
    + "6f005f00310030003000000000002602020c000840004f004400420043005600650072000026010104"
)
PREPEXEC = (
    HEADERS + "ffff0d00000000012604000000e7ffff0904d00034feffffffffffffff2e0000004000500031002000"
    "69006e0074002c0040005000320020006e007600610072006300680061007200280032002900000000000000e7ff"
    "ff0904d00034feffffffffffffff1e000000530045004c0045004300540020004000500031002c00200040005000"
    "3200000000000000260404010000000000e704000904d0003402006100"
)
UNPREPARE = HEADERS + "ffff0f000000000026040411000000"
IN_TRANSACTION = "160000001200000002005eb700000000000001000000"
BEGIN = HEADERS + "05000000"
COMMIT_AND_BEGIN = IN_TRANSACTION + "070000010000"
ROLLBACK = IN_TRANSACTION + "08000000"
DESCRIPTOR = bytes.fromhex("5eb7000000000000")


def message(kind: PacketType, body: str | bytes, status: int = 1) -> ClientMessage:
    data = bytes.fromhex(body) if isinstance(body, str) else body
    return ClientMessage(kind, status, data, len(data) + 8)


def rpc(body: str) -> ClientMessage:
    return message(PacketType.RPC, body)


def tran(body: str) -> ClientMessage:
    return message(PacketType.TRANSACTION_MANAGER, body)


def test_a_batch_is_its_text() -> None:
    assert parse_request(message(PacketType.SQL_BATCH, SELECT_1)) == BatchRequest("SELECT 1", b"")


def test_a_batch_carries_the_transaction_of_its_client() -> None:
    request = parse_request(message(PacketType.SQL_BATCH, IN_TRANSACTION))
    assert request == BatchRequest("", DESCRIPTOR)


def test_a_procedure_is_called_by_its_name() -> None:
    assert parse_request(rpc(DATATYPE_INFO)) == CallRequest(
        [
            ProcedureCall(
                "[sys].sp_datatype_info_100",
                [Parameter("", t.SMALLINT, 12), Parameter("@ODBCVer", t.TINYINT, 4)],
            )
        ],
        b"",
    )


def test_a_procedure_is_called_by_its_number() -> None:
    assert parse_request(rpc(PREPEXEC)) == CallRequest(
        [
            ProcedureCall(
                "sp_prepexec",
                [
                    Parameter("", t.INT, None, output=True),
                    Parameter("", t.nvarchar(t.MAX), "@P1 int,@P2 nvarchar(2)"),
                    Parameter("", t.nvarchar(t.MAX), "SELECT @P1, @P2"),
                    Parameter("", t.INT, 1),
                    Parameter("", t.nvarchar(2), "a"),
                ],
            )
        ],
        b"",
    )


@pytest.mark.parametrize("separator", ["ff", "80"])
def test_several_procedures_are_called_in_one_message(separator: str) -> None:
    second = UNPREPARE.removeprefix(HEADERS)
    request = parse_request(rpc(UNPREPARE + separator + second + separator + second))
    assert isinstance(request, CallRequest)
    assert [call.procedure for call in request.calls] == ["sp_unprepare"] * 3
    assert all(len(call.parameters) == 1 for call in request.calls)


def test_a_default_parameter_is_marked() -> None:
    request = parse_request(
        rpc(HEADERS + "0100700000000440006100620063000226040 0".replace(" ", ""))
    )
    assert isinstance(request, CallRequest)
    assert request.calls[0].parameters == [Parameter("@abc", t.INT, None, default=True)]


@pytest.mark.parametrize(
    ("body", "request_"),
    [
        (BEGIN, TransactionRequest(TransactionOperation.BEGIN)),
        (
            HEADERS + "0500" + "05" + "04" + "74003100",
            TransactionRequest(TransactionOperation.BEGIN, "t1", Isolation.SNAPSHOT),
        ),
        (COMMIT_AND_BEGIN, TransactionRequest(TransactionOperation.COMMIT, begin=True)),
        (
            IN_TRANSACTION + "0800" + "00" + "01" + "04" + "00",
            TransactionRequest(
                TransactionOperation.ROLLBACK, "", Isolation.SERIALIZABLE, begin=True
            ),
        ),
        (ROLLBACK, TransactionRequest(TransactionOperation.ROLLBACK)),
        (
            IN_TRANSACTION + "0900" + "04" + "73003100",
            TransactionRequest(TransactionOperation.SAVE, "s1"),
        ),
    ],
    ids=["begin", "begin named", "commit", "rollback and begin", "rollback", "save"],
)
def test_transactions_are_managed(body: str, request_: TransactionRequest) -> None:
    parsed = parse_request(tran(body))
    assert isinstance(parsed, TransactionManagerRequest)
    assert parsed.request == request_


@pytest.mark.parametrize("operation", [0, 1, 6])
def test_distributed_transactions_are_refused_by_name(operation: int) -> None:
    with pytest.raises(NotSupportedByStandIn, match="distributed transaction"):
        parse_request(tran(HEADERS + struct.pack("<H", operation).hex() + "0000"))


@pytest.mark.parametrize(
    "received",
    [
        rpc(""),
        rpc("16"),
        rpc("03000000"),
        rpc("ffffff7f" + "00" * 20),
        rpc("16000000050000000200" + "00" * 20),
        rpc("16000000ffffff000200" + "00" * 20),
        rpc("0c0000000800000002000000"),
        rpc(HEADERS),
        rpc(HEADERS + "ffff63000000"),
        rpc(HEADERS + "ffff0d"),
        rpc(HEADERS + "ff7f4100"),
        rpc(PREPEXEC[:-2]),
        message(PacketType.SQL_BATCH, SELECT_1 + "00"),
        tran(HEADERS),
        tran(HEADERS + "6300"),
        tran(HEADERS + "05000"[:4] + "09" + "00"),
        tran(HEADERS + "0700" + "00"),
        tran(HEADERS + "0500" + "00" + "03" + "610062"),
        message(PacketType.LOGIN7, SELECT_1),
    ],
)
def test_what_is_no_request_is_a_protocol_error(received: ClientMessage) -> None:
    with pytest.raises(ProtocolError):
        parse_request(received)


def test_encrypted_parameters_are_refused_by_name() -> None:
    with pytest.raises(NotSupportedByStandIn, match="Always Encrypted"):
        parse_request(rpc(HEADERS + "ffff0d000000000826040401000000"))


def test_an_rpc_that_must_not_be_executed_is_refused() -> None:
    with pytest.raises(NotSupportedByStandIn, match="NoExecFlag"):
        parse_request(rpc(UNPREPARE + "fe" + UNPREPARE.removeprefix(HEADERS)))


@pytest.mark.parametrize(
    ("received", "name"),
    [
        (message(PacketType.SQL_BATCH, SELECT_1), "batch"),
        (message(PacketType.SQL_BATCH, SELECT_1, 1 | Status.RESET_CONNECTION), "batch+reset"),
        (rpc(PREPEXEC), "rpc.sp_prepexec"),
        (rpc(DATATYPE_INFO), "rpc.[sys].sp_datatype_info_100"),
        (message(PacketType.RPC, UNPREPARE, 1 | 0x10), "rpc.sp_unprepare+resetskip"),
        (tran(BEGIN), "tran.begin"),
        (tran(COMMIT_AND_BEGIN), "tran.commit"),
        (tran(ROLLBACK), "tran.rollback"),
        (tran(HEADERS + "6300"), "tran.?"),
        (rpc(""), "rpc.?"),
        (message(PacketType.ATTENTION, b""), "attention"),
        (message(PacketType.BULK_LOAD, b""), "bulk"),
    ],
)
def test_messages_are_counted_by_name(received: ClientMessage, name: str) -> None:
    assert message_name(received) == name


REQUEST_TYPES = st.sampled_from(
    [PacketType.SQL_BATCH, PacketType.RPC, PacketType.TRANSACTION_MANAGER]
)


@given(REQUEST_TYPES, st.binary(max_size=200), st.booleans())
def test_garbage_is_a_protocol_error_or_a_request(
    kind: PacketType, body: bytes, with_headers: bool
) -> None:
    received = message(kind, all_headers() + body if with_headers else body)
    message_name(received)
    with contextlib.suppress(ProtocolError, SqlError):
        parse_request(received)


@given(st.integers(0, len(PREPEXEC) // 2 - 1), st.integers(0, 255))
def test_a_call_with_one_wrong_byte_is_read_or_refused(position: int, value: int) -> None:
    body = bytearray.fromhex(PREPEXEC)
    body[position] = value
    with contextlib.suppress(ProtocolError, SqlError):
        parse_request(message(PacketType.RPC, bytes(body)))

"""Requests of a logged-in client: batches, procedure calls, transactions (MS-TDS 2.2.6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import NotSupportedByStandIn
from ..protocols import Isolation, Parameter, TransactionOperation, TransactionRequest
from .decoding import read_type
from .input import Input, decode_utf16
from .packets import ClientMessage, PacketType, ProtocolError, Status

#: ProcIDs (2.2.6.6), by which drivers call the procedures they use most.
PROCEDURES = {
    1: "sp_cursor",
    2: "sp_cursoropen",
    3: "sp_cursorprepare",
    4: "sp_cursorexecute",
    5: "sp_cursorprepexec",
    6: "sp_cursorunprepare",
    7: "sp_cursorfetch",
    8: "sp_cursoroption",
    9: "sp_cursorclose",
    10: "sp_executesql",
    11: "sp_prepare",
    12: "sp_execute",
    13: "sp_prepexec",
    14: "sp_prepexecrpc",
    15: "sp_unprepare",
}

_BULK_LOAD = "INSERT BULK"
_BY_PROC_ID = 0xFFFF
_NEXT_CALL = frozenset({0x80, 0xFF})
_NEXT_CALL_NOT_EXECUTED = 0xFE
_BY_REFERENCE = 0x01
_DEFAULT = 0x02
_ENCRYPTED = 0x08
_TRANSACTION_HEADER = 2
_TRANSACTION_HEADER_SIZE = 12
_NO_TRANSACTION = b"\x00" * 8
_BEGIN_AGAIN = 0x01
_RESET = int(Status.RESET_CONNECTION)
_RESET_SKIP = int(Status.RESET_CONNECTION_SKIP_TRANSACTION)

_TRANSACTION_NAMES = {
    0: "get_dtc",
    1: "propagate",
    5: "begin",
    6: "promote",
    7: "commit",
    8: "rollback",
    9: "save",
}
_KIND_NAMES = {
    PacketType.SQL_BATCH: "batch",
    PacketType.OLD_LOGIN: "oldlogin",
    PacketType.RPC: "rpc",
    PacketType.ATTENTION: "attention",
    PacketType.BULK_LOAD: "bulk",
    PacketType.FEDERATED_AUTHENTICATION_TOKEN: "fedauth",
    PacketType.TRANSACTION_MANAGER: "tran",
    PacketType.LOGIN7: "login7",
    PacketType.SSPI: "sspi",
    PacketType.PRELOGIN: "prelogin",
}


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """``transaction`` is here and below the descriptor that the client believes in,
    ``b""`` for none."""

    sql: str
    transaction: bytes


@dataclass(frozen=True, slots=True)
class ProcedureCall:
    procedure: str
    parameters: Sequence[Parameter]


@dataclass(frozen=True, slots=True)
class CallRequest:
    """One or more procedure calls in one message."""

    calls: Sequence[ProcedureCall]
    transaction: bytes


@dataclass(frozen=True, slots=True)
class TransactionManagerRequest:
    request: TransactionRequest
    transaction: bytes


Request = BatchRequest | CallRequest | TransactionManagerRequest


def parse_request(message: ClientMessage) -> Request:
    """
    :raises ProtocolError: the message is not what its type says.
    :raises SqlError: it is, and asks for what this server does not do.
    """
    source = Input(message.body)
    transaction = _read_headers(source)
    match message.type:
        case PacketType.SQL_BATCH:
            sql = decode_utf16(source.rest())
            if sql[:40].lstrip()[:11].upper() == _BULK_LOAD:
                # No T-SQL, but how clients announce a bulk load (2.2.6.1).
                raise NotSupportedByStandIn(_BULK_LOAD)
            return BatchRequest(sql, transaction)
        case PacketType.RPC:
            return CallRequest(_read_calls(source), transaction)
        case PacketType.TRANSACTION_MANAGER:
            return TransactionManagerRequest(_read_transaction_request(source), transaction)
        case _:
            raise ProtocolError(f"message of type {message.type.name} is no request")


def message_name(message: ClientMessage) -> str:
    """What a message is called in the counters: ``batch``, ``rpc.sp_prepexec``,
    ``tran.begin``, with ``+reset`` where it resets the connection first.

    The same names as ``tools/tdsproxy.py`` writes. Never raises.
    """
    name = _KIND_NAMES[message.type]
    if message.type in (PacketType.RPC, PacketType.TRANSACTION_MANAGER):
        try:
            source = Input(message.body)
            source.take(max(0, source.u32() - 4))
            if message.type is PacketType.RPC:
                name = f"rpc.{_read_procedure(source)}"
            else:
                name = f"tran.{_TRANSACTION_NAMES.get(source.u16(), '?')}"
        except ProtocolError:
            name += ".?"
    if message.status & _RESET:
        name += "+reset"
    if message.status & _RESET_SKIP:
        name += "+resetskip"
    return name


def _read_headers(source: Input) -> bytes:
    """ALL_HEADERS (2.2.5.3); gives the transaction descriptor."""
    total = source.u32()
    if not 4 <= total <= source.end:
        raise ProtocolError(f"ALL_HEADERS of {total} bytes in a message of {source.end}")
    transaction = b""
    while source.position < total:
        length, kind = source.u32(), source.u16()
        data = source.take(length - 6) if length >= 6 else None
        if data is None or source.position > total:
            raise ProtocolError(f"header of {length} bytes in ALL_HEADERS of {total}")
        if kind == _TRANSACTION_HEADER:
            if len(data) != _TRANSACTION_HEADER_SIZE:
                raise ProtocolError(f"transaction descriptor header of {length} bytes")
            transaction = b"" if data[:8] == _NO_TRANSACTION else data[:8]
    return transaction


def _read_calls(source: Input) -> list[ProcedureCall]:
    calls = []
    while not source.exhausted:
        calls.append(_read_call(source))
    if not calls:
        raise ProtocolError("RPC message without a call")
    return calls


def _read_procedure(source: Input) -> str:
    length = source.u16()
    if length != _BY_PROC_ID:
        return source.text(length)
    number = source.u16()
    name = PROCEDURES.get(number)
    if name is None:
        raise ProtocolError(f"RPC by unknown ProcID {number}")
    return name


def _read_call(source: Input) -> ProcedureCall:
    procedure = _read_procedure(source)
    # Recompilation and the client's knowledge of the metadata change no result here:
    # sending the metadata again is always allowed.
    source.u16()
    parameters: list[Parameter] = []
    while not source.exhausted:
        # A name's length and a separator share their place; no name is that long.
        length = source.u8()
        if length in _NEXT_CALL:
            break
        if length == _NEXT_CALL_NOT_EXECUTED:
            raise NotSupportedByStandIn("RPC batch with NoExecFlag")
        name = source.text(length)
        status = source.u8()
        if status & _ENCRYPTED:
            raise NotSupportedByStandIn("Always Encrypted parameter")
        sql_type, read = read_type(source)
        parameters.append(
            Parameter(
                name,
                sql_type,
                read(source),
                output=bool(status & _BY_REFERENCE),
                default=bool(status & _DEFAULT),
            )
        )
    return ProcedureCall(procedure, parameters)


def _read_transaction_request(source: Input) -> TransactionRequest:
    """The payload of a transaction manager request (2.2.6.9)."""
    number = source.u16()
    try:
        operation = TransactionOperation(number)
    except ValueError:
        name = _TRANSACTION_NAMES.get(number)
        if name is None:
            raise ProtocolError(f"transaction manager request of type {number}") from None
        raise NotSupportedByStandIn(f"distributed transaction ({name})") from None
    match operation:
        case TransactionOperation.BEGIN:
            isolation = _read_isolation(source)
            return TransactionRequest(operation, _read_name(source), isolation)
        case TransactionOperation.SAVE:
            return TransactionRequest(operation, _read_name(source))
        case _:
            name, flags = _read_name(source), source.u8()
            if not flags & _BEGIN_AGAIN:
                return TransactionRequest(operation, name)
            isolation = _read_isolation(source)
            _read_name(source)
            return TransactionRequest(operation, name, isolation, begin=True)


def _read_isolation(source: Input) -> Isolation:
    number = source.u8()
    try:
        return Isolation(number)
    except ValueError:
        raise ProtocolError(f"isolation level {number}") from None


def _read_name(source: Input) -> str:
    """B_VARBYTE holding UTF-16."""
    return decode_utf16(source.take(source.u8()))

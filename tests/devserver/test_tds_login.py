"""PRELOGIN and LOGIN7, with the bytes of Microsoft's ODBC driver 18.6."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssql_async.devserver.tds.login7 import parse_login7
from mssql_async.devserver.tds.packets import ProtocolError
from mssql_async.devserver.tds.prelogin import (
    Encryption,
    Prelogin,
    answer_encryption,
    build_prelogin,
    parse_prelogin,
)
from mssql_async.devserver.tds.types import TdsVersion

from .raw_client import ODBC_PRELOGIN, login7

ODBC_LOGIN7 = bytes.fromhex(
    "56010000040000740000000000000007942d000000000000e003001000000000090400005e00020062000200"
    "660009007800070086001200aa000400ae000400b6000000b6000500ffffffffffff00000000c000000000000000"
    "0000000076006d0073006100a0a5b3a592a592a5d2a5a6a582a5e3a5b7a563006100700074007500720065007400"
    "630070003a003100320037002e0030002e0030002e0031002c003100360033003300c00000004f00440042004300"
    "7300700069006b006500107a00000031007c004d0053002d004f004400420043007c00310038002e0036002e0032"
    "002e0031007c007800380036005f00360034007c004c0069006e00750078007c004c0069006e0075007800200036"
    "002e00310038002e00340034002d00660063002d0076003700380032007c0055006e006b006e006f0077006e0001"
    "000000000901000000010a01000000010b00000000ff"
)


def prelogin(**options: bytes) -> bytes:
    numbers = {"version": 0, "encryption": 1, "mars": 4, "federated": 6, "nonce": 7}
    head, data = b"", b""
    for name, value in options.items():
        offset = 5 * len(options) + 1 + len(data)
        head += struct.pack(">BHH", numbers[name], offset, len(value))
        data += value
    return head + b"\xff" + data


def federation(options: int, token: str) -> bytes:
    raw = token.encode("utf-16-le")
    data = bytes([options]) + struct.pack("<I", len(raw)) + raw
    return b"\x02" + struct.pack("<I", len(data)) + data + b"\xff"


def test_the_driver_without_encryption_asks_for_an_encrypted_login_at_most() -> None:
    parsed = parse_prelogin(ODBC_PRELOGIN)
    assert parsed == Prelogin(Encryption.OFF, federated_authentication=False)
    assert not parsed.demands_encryption


OFF, ON, REQUIRED = Encryption.OFF, Encryption.ON, Encryption.REQUIRED
NOT_SUPPORTED = Encryption.NOT_SUPPORTED


@pytest.mark.parametrize(
    ("client", "server", "answer"),
    [
        (OFF, OFF, OFF),
        (OFF, ON, REQUIRED),
        (OFF, NOT_SUPPORTED, NOT_SUPPORTED),
        (ON, OFF, ON),
        (ON, ON, ON),
        (ON, NOT_SUPPORTED, NOT_SUPPORTED),
        (NOT_SUPPORTED, OFF, NOT_SUPPORTED),
        (NOT_SUPPORTED, ON, REQUIRED),
        (NOT_SUPPORTED, NOT_SUPPORTED, NOT_SUPPORTED),
        (REQUIRED, OFF, ON),
        (REQUIRED, ON, ON),
        (REQUIRED, NOT_SUPPORTED, NOT_SUPPORTED),
    ],
)
def test_encryption_is_negotiated_by_the_table_of_the_specification(
    client: Encryption, server: Encryption, answer: Encryption
) -> None:
    assert answer_encryption(client, server) is answer
    for certificate in (0, 0x80) if client is not NOT_SUPPORTED else (0,):
        wish = prelogin(version=b"\x12" + b"\x00" * 5, encryption=bytes([client | certificate]))
        parsed = parse_prelogin(wish)
        assert parsed.encryption is client
        assert parsed.demands_encryption == (client in (ON, REQUIRED))
        assert parse_prelogin(build_prelogin(parsed, "16.0.4165.4", answer)).encryption is answer


def test_the_answer_names_sql_server_2022_and_no_mars() -> None:
    answer = build_prelogin(Prelogin(), "16.0.4165.4")
    options = "00001a00060100200001020021000103002200000400220001ff"
    version, no_encryption, instance, no_mars = "100010450004", "02", "00", "00"
    assert answer.hex() == options + version + no_encryption + instance + no_mars


def test_a_wish_for_federated_authentication_is_granted() -> None:
    wish = prelogin(version=b"\x12" + b"\x00" * 5, federated=b"\x01")
    assert parse_prelogin(wish).federated_authentication
    answer = build_prelogin(parse_prelogin(wish), "16.0.4165.4")
    assert parse_prelogin(answer).federated_authentication


def test_a_nonce_is_answered_with_another() -> None:
    wish = parse_prelogin(prelogin(version=b"\x12" + b"\x00" * 5, nonce=b"c" * 32))
    assert wish.nonce == b"c" * 32
    answer = build_prelogin(wish, "16.0.4165.4", nonce=b"s" * 32)
    assert parse_prelogin(answer).nonce == b"s" * 32
    assert parse_prelogin(build_prelogin(wish, "16.0.4165.4")).nonce == b""


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"\x00",
        prelogin(encryption=b"\x00"),
        prelogin(version=b"\x12" + b"\x00" * 5, encryption=b"\x09"),
        prelogin(version=b"\x12" + b"\x00" * 5, encryption=b"\x82"),
        prelogin(version=b"\x12" + b"\x00" * 5, nonce=b"short"),
        ODBC_PRELOGIN[:40],
        bytes.fromhex("160301020001"),
    ],
)
def test_what_is_no_prelogin_is_a_protocol_error(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_prelogin(body)


def test_the_drivers_login_is_understood() -> None:
    login = parse_login7(ODBC_LOGIN7, "127.0.0.1:5000")
    request = login.request
    assert (request.user, request.password, request.database) == ("sa", "Passw0rd!", "spike")
    assert (request.host_name, request.program_name) == ("vm", "capture")
    assert request.client_library == "ODBC"
    assert request.host_process_id == 11668
    assert request.packet_size == 4096
    assert request.access_token is None
    assert not request.read_only_intent
    assert request.client_address == "127.0.0.1:5000"
    assert login.version is TdsVersion.V7_4
    assert login.utf8
    assert not login.integrated_security


def test_secrets_are_in_no_repr() -> None:
    login = parse_login7(login7(password="Tr0ub4dor", features=federation(2, "eyJ0b2tlbg")))
    assert login.request.password == "Tr0ub4dor"
    assert login.request.access_token == "eyJ0b2tlbg"
    assert "Tr0ub4dor" not in repr(login)
    assert "eyJ0b2tlbg" not in repr(login)


def test_read_only_intent_is_seen() -> None:
    assert parse_login7(login7(type_flags=0x20)).request.read_only_intent


@pytest.mark.parametrize(
    ("asked", "agreed"), [(0, 4096), (1, 512), (512, 512), (8000, 8000), (65535, 32767)]
)
def test_the_packet_size_is_kept_within_bounds(asked: int, agreed: int) -> None:
    assert parse_login7(login7(packet_size=asked)).packet_size == agreed


@pytest.mark.parametrize(
    ("client", "version"),
    [
        (0x70000000, None),
        (0x71000001, None),
        (0x72090002, TdsVersion.V7_2),
        (0x730A0003, TdsVersion.V7_3A),
        (0x730B0003, TdsVersion.V7_3B),
        (0x74000004, TdsVersion.V7_4),
        (0x74000005, TdsVersion.V7_4),
    ],
)
def test_the_version_is_at_most_the_clients(client: int, version: TdsVersion | None) -> None:
    assert parse_login7(login7(tds_version=client)).version is version


def test_a_federated_login_without_a_token_is_recognised() -> None:
    features = b"\x02\x02\x00\x00\x00\x04\x01\xff"  # ADAL with a workflow byte
    login = parse_login7(login7(features=features))
    assert login.unsupported_federation
    assert login.request.access_token is None


def test_unknown_features_are_passed_over() -> None:
    features = b"\x55\x03\x00\x00\x00abc" + federation(2, "token")
    assert parse_login7(login7(features=features)).request.access_token == "token"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x00" * 93,
        ODBC_LOGIN7[:-1],
        ODBC_LOGIN7 + b"\x00",
        ODBC_LOGIN7[:36] + struct.pack("<HH", 0x7FFF, 10) + ODBC_LOGIN7[40:],
        login7(features=b"\x02\x00\xff\xff\xff\xff"),
        login7(features=b"\x01"),
        login7(features=b"\x02\x05\x00\x00\x00\x02\xff\xff\xff\x7f\xff"),
    ],
)
def test_what_is_no_login_is_a_protocol_error(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_login7(body)


@given(st.binary(max_size=400))
def test_garbage_is_a_protocol_error_or_nothing_worse(body: bytes) -> None:
    for parse in (parse_prelogin, parse_login7):
        with contextlib.suppress(ProtocolError):
            parse(body)


@given(st.integers(0, len(ODBC_LOGIN7) - 1), st.integers(0, 255))
def test_a_login_with_one_wrong_byte_is_read_or_refused(position: int, value: int) -> None:
    body = bytearray(ODBC_LOGIN7)
    body[position] = value
    with contextlib.suppress(ProtocolError):
        parse_login7(bytes(body))

"""Values between their storage form and the wire (MS-TDS 2.2.5)."""

from __future__ import annotations

import contextlib
import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssql_async.devserver import sqltypes as t
from mssql_async.devserver.errors import NotSupportedByStandIn
from mssql_async.devserver.sqltypes import Kind, SqlType, StorageValue
from mssql_async.devserver.tds import temporal
from mssql_async.devserver.tds.collations import collation_bytes, decode_ansi, encode_ansi
from mssql_async.devserver.tds.decoding import read_type
from mssql_async.devserver.tds.encoding import (
    Dialect,
    UnencodableValueError,
    encoding_of,
    return_value_type,
)
from mssql_async.devserver.tds.input import Input
from mssql_async.devserver.tds.packets import ProtocolError
from mssql_async.devserver.tds.types import TdsVersion

DIALECT = Dialect()
UTF8 = Dialect(utf8=True)
LEGACY = {Kind.TEXT, Kind.NTEXT, Kind.IMAGE}


def encoded(sql_type: SqlType, value: StorageValue) -> bytes:
    return encoding_of(sql_type, DIALECT).encode(value)


def there_and_back(
    sql_type: SqlType, value: StorageValue, dialect: Dialect = DIALECT
) -> tuple[SqlType, StorageValue]:
    """What a client that sent back what it got would say."""
    encoding = encoding_of(sql_type, dialect)
    source = Input(encoding.info + encoding.encode(value))
    seen, read = read_type(source)
    back = read(source)
    assert source.exhausted
    return seen, back


FULL_TYPES = [
    t.BIT,
    t.TINYINT,
    t.SMALLINT,
    t.INT,
    t.BIGINT,
    t.decimal(9, 2),
    t.numeric(38, 10),
    t.MONEY,
    t.SMALLMONEY,
    t.REAL,
    t.FLOAT,
    t.char(5),
    t.varchar(20),
    t.varchar(t.MAX),
    t.nchar(5),
    t.nvarchar(20),
    t.nvarchar(t.MAX),
    SqlType(Kind.XML),
    t.binary(4),
    t.varbinary(20),
    t.varbinary(t.MAX),
    t.DATE,
    t.time(7),
    t.time(0),
    t.SMALLDATETIME,
    t.DATETIME,
    t.datetime2(7),
    t.datetime2(3),
    t.datetimeoffset(7),
    t.UNIQUEIDENTIFIER,
    t.SQL_VARIANT,
]


@pytest.mark.parametrize("sql_type", FULL_TYPES, ids=str)
def test_null_of_every_type_survives(sql_type: SqlType) -> None:
    assert there_and_back(sql_type, None)[1] is None


@pytest.mark.parametrize(
    "sql_type", [known for known in FULL_TYPES if known not in (t.MONEY, t.SMALLMONEY)], ids=str
)
def test_every_type_is_recognised(sql_type: SqlType) -> None:
    assert there_and_back(sql_type, None)[0] == sql_type


@pytest.mark.parametrize(
    ("sql_type", "value"),
    [
        (t.BIT, 1),
        (t.BIT, 0),
        (t.TINYINT, 255),
        (t.SMALLINT, -(2**15)),
        (t.INT, 2**31 - 1),
        (t.BIGINT, -(2**63)),
        (t.decimal(4, 2), "12.34"),
        (t.decimal(38, 0), "9" * 38),
        (t.decimal(38, 38), "-0." + "9" * 38),
        (t.numeric(38, 10), "-1.5000000000"),
        (t.numeric(19, 0), "-" + "9" * 19),
        (t.numeric(28, 4), "999999999999999999999999.9999"),
        (t.MONEY, "922337203685477.5807"),
        (t.MONEY, "-922337203685477.5808"),
        (t.MONEY, "-0.0001"),
        (t.SMALLMONEY, "-214748.3648"),
        (t.REAL, 1.5),
        (t.FLOAT, -1e308),
        (t.char(5), "ab   "),
        (t.varchar(20), ""),
        (t.varchar(20), "naïve €"),
        (t.varchar(t.MAX), "x" * 100_000),
        (t.nvarchar(20), "żółć 🐘"),
        (t.nvarchar(20), "\ud83d"),
        (t.nvarchar(t.MAX), ""),
        (t.nvarchar(t.MAX), "🐘" * 50_000),
        (SqlType(Kind.XML), "<a>é</a>"),
        (t.binary(4), b"\x00\x01\x02\x03"),
        (t.varbinary(20), b""),
        (t.varbinary(t.MAX), bytes(range(256)) * 1000),
        (t.DATE, "0001-01-01"),
        (t.DATE, "9999-12-31"),
        (t.time(7), "23:59:59.9999999"),
        (t.time(3), "12:34:56.1230000"),
        (t.time(0), "12:34:56.0000000"),
        (t.SMALLDATETIME, "2079-06-06 23:59:00.0000000"),
        (t.DATETIME, "1753-01-01 00:00:00.0000000"),
        (t.DATETIME, "9999-12-31 23:59:59.9970000"),
        (t.datetime2(7), "2026-11-23 12:34:56.1234567"),
        (t.datetime2(0), "0001-01-01 00:00:00.0000000"),
        (t.datetimeoffset(7), "2026-11-23 10:34:56.1234567+02:00"),
        (t.datetimeoffset(4), "2026-11-23 23:34:56.1234000-14:00"),
        (t.UNIQUEIDENTIFIER, "6F9619FF-8B86-D011-B42D-00C04FC964FF"),
        (t.SQL_VARIANT, 7),
        (t.SQL_VARIANT, 2**40),
        (t.SQL_VARIANT, 0.25),
        (t.SQL_VARIANT, "żółć"),
        (t.SQL_VARIANT, b"\x00\xff"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_values_survive(sql_type: SqlType, value: StorageValue) -> None:
    assert there_and_back(sql_type, value)[1] == value


@pytest.mark.parametrize(
    ("sql_type", "value", "wire"),
    [
        (t.INT, 7, "0407000000"),
        (t.BIGINT, 9000000000, "08001a711802000000"),
        (t.FLOAT, 1.5, "08000000000000f83f"),
        (t.REAL, 1.5, "040000c03f"),
        (t.MONEY, "1.2500", "0800000000d4300000"),
        (t.char(5), "ab   ", "05006162202020"),
        (t.nvarchar(20), "żółć", "08007c01f30042010701"),
        (t.nvarchar(t.MAX), "max", "0600000000000000060000006d0061007800" + "00000000"),
        (t.DATE, "2026-11-23", "03664a0b"),
        (t.time(7), "12:34:56.1234570", "058aee977669"),
        (t.DATETIME, "2026-11-23 12:34:56.1200000", "080bb500006459cf00"),
        (t.SMALLDATETIME, "2026-11-23 12:34:00.0000000", "040bb5f202"),
        (t.datetime2(7), "2026-11-23 12:34:56.1234570", "088aee977669664a0b"),
        (
            t.UNIQUEIDENTIFIER,
            "6F9619FF-8B86-D011-B42D-00C04FC964FF",
            "10ff19966f868b11d0b42d00c04fc964ff",
        ),
    ],
    ids=str,
)
def test_values_have_the_bytes_of_the_recorded_traffic(
    sql_type: SqlType, value: StorageValue, wire: str
) -> None:
    assert encoded(sql_type, value).hex() == wire


@pytest.mark.parametrize(
    ("time", "jiffies"),
    [
        ("00:00:00.0010000", 0),
        ("00:00:00.0020000", 1),
        ("00:00:00.0033333", 1),
        ("00:00:00.0040000", 1),
        ("00:00:00.0050000", 2),
        ("00:00:00.0080000", 2),
        ("00:00:00.0090000", 3),
        ("00:00:00.9950000", 299),
    ],
)
def test_datetime_rounds_to_the_nearest_three_hundredth(time: str, jiffies: int) -> None:
    assert temporal.datetime_numbers(f"1900-01-01 {time}") == (0, jiffies)


def test_a_datetimes_thousandths_end_in_0_3_or_7() -> None:
    shown = [temporal.datetime_text(0, jiffies)[-10:] for jiffies in (0, 1, 2, 3, 299)]
    assert shown == [f"00.{digits}0000" for digits in ("000", "003", "007", "010", "997")]
    for text in shown:
        days, jiffies = temporal.datetime_numbers(f"1900-01-01 00:00:{text}")
        assert temporal.datetime_text(days, jiffies)[-10:] == text


def test_the_last_moment_of_a_day_rounds_into_the_next_one() -> None:
    assert temporal.datetime_numbers("1999-12-31 23:59:59.9990000") == (36524, 0)
    assert temporal.smalldatetime_numbers("1999-12-31 23:59:45.0000000") == (36524, 0)


@given(st.decimals(places=10, allow_nan=False, allow_infinity=False, min_value=-(10**27)))
def test_decimals_are_exact_to_38_digits(value: object) -> None:
    text = f"{value:f}"
    if text.startswith("-") and not text.strip("-0."):
        text = text[1:]
    if len(text.strip("-").replace(".", "")) > 38:
        with pytest.raises(UnencodableValueError):
            encoded(t.numeric(38, 10), text)
    else:
        assert there_and_back(t.numeric(38, 10), text)[1] == text


@given(st.datetimes(min_value=datetime.datetime(1, 1, 1)), st.integers(0, 9))  # noqa: DTZ001
def test_every_datetime2_survives(moment: datetime.datetime, digit: int) -> None:
    text = f"{moment.isoformat(' ', 'microseconds')}{digit}"
    assert there_and_back(t.datetime2(7), text)[1] == text


@given(st.text(alphabet=st.characters(exclude_categories=())))
def test_every_unicode_text_survives(text: str) -> None:
    assert there_and_back(t.nvarchar(t.MAX), text)[1] == text


@given(st.binary(max_size=8000))
def test_every_byte_survives(data: bytes) -> None:
    assert there_and_back(t.varbinary(8000), data)[1] == data


@given(st.uuids())
def test_every_guid_has_the_mixed_byte_order(value: object) -> None:
    text = str(value).upper()
    assert encoded(t.UNIQUEIDENTIFIER, text)[1:] == value.bytes_le  # type: ignore[attr-defined]
    assert there_and_back(t.UNIQUEIDENTIFIER, text)[1] == text


def test_a_decimal_with_another_number_of_digits_keeps_its_value() -> None:
    assert there_and_back(t.decimal(9, 2), "5")[1] == "5.00"
    assert there_and_back(t.decimal(9, 2), "-1.5")[1] == "-1.50"
    assert there_and_back(t.decimal(9, 0), "7.0")[1] == "7"


# --- code page 1252 ----------------------------------------------------------------------


def test_what_the_code_page_lacks_becomes_a_question_mark() -> None:
    assert encode_ansi("ż€ł") == b"?\x80?"


def test_a_character_outside_the_bmp_is_two_question_marks() -> None:
    assert encode_ansi("a🐘b") == b"a??b"


def test_all_256_bytes_of_the_code_page_survive() -> None:
    every = bytes(range(256))
    assert encode_ansi(decode_ansi(every)) == every


def test_a_utf8_collation_keeps_every_character_for_a_client_that_reads_utf8() -> None:
    sql_type = t.varchar(40).with_collation("Latin1_General_100_CI_AS_SC_UTF8")
    assert there_and_back(sql_type, "żółć 🐘", UTF8)[1] == "żółć 🐘"
    assert there_and_back(sql_type, "żółć", DIALECT)[1] == "?ó??"


def test_the_default_collation_has_sql_servers_five_bytes() -> None:
    assert collation_bytes(None, utf8=True).hex() == "0904d00034"
    assert collation_bytes("Latin1_General_CI_AS", utf8=True).hex() == "0904d00000"


# --- types on the wire -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql_type", "info"),
    [
        (t.BIT, "6801"),
        (t.INT, "2604"),
        (t.decimal(18, 4), "6a091204"),
        (t.numeric(38, 10), "6c11260a"),
        (t.varchar(20), "a714000904d00034"),
        (t.nvarchar(20), "e728000904d00034"),
        (t.nvarchar(t.MAX), "e7ffff0904d00034"),
        (t.nvarchar(4001), "e7ffff0904d00034"),
        (t.varbinary(t.MAX), "a5ffff"),
        (t.datetime2(7), "2a07"),
        (SqlType(Kind.NTEXT), "63feffff7f0904d00034"),
        (SqlType(Kind.IMAGE), "22ffffff7f"),
        (SqlType(Kind.ROWVERSION), "ad0800"),
    ],
    ids=str,
)
def test_types_have_their_type_info(sql_type: SqlType, info: str) -> None:
    assert encoding_of(sql_type, DIALECT).info.hex() == info


def test_text_values_stand_behind_a_text_pointer() -> None:
    wire = encoded(SqlType(Kind.NTEXT), "ab")
    assert wire[0] == 16
    assert wire[1 + 16 + 8 :] == b"\x04\x00\x00\x00a\x00b\x00"
    assert encoded(SqlType(Kind.NTEXT), None) == b"\x00"
    assert encoding_of(SqlType(Kind.TEXT), DIALECT).table_name == b"\x01\x00\x00"


@pytest.mark.parametrize("kind", sorted(LEGACY, key=str))
def test_a_return_value_is_never_text(kind: Kind) -> None:
    assert return_value_type(SqlType(kind)).length == t.MAX


def test_clients_before_tds_7_3_get_dates_as_text() -> None:
    old = Dialect(TdsVersion.V7_2)
    for sql_type, value, shown in (
        (t.DATE, "2026-11-23", "2026-11-23"),
        (t.time(3), "12:34:56.1230000", "12:34:56.123"),
        (t.datetime2(0), "2026-11-23 12:34:56.0000000", "2026-11-23 12:34:56"),
        (t.datetime2(7), "2026-11-23 12:34:56.1234567", "2026-11-23 12:34:56.1234567"),
        (
            t.datetimeoffset(2),
            "2026-11-23 23:30:00.5000000+02:00",
            "2026-11-24 01:30:00.50 +02:00",
        ),
    ):
        seen, back = there_and_back(sql_type, value, old)
        assert back == shown
        assert seen == t.nvarchar(len(shown))


@pytest.mark.parametrize(
    ("sql_type", "value"),
    [
        (t.nvarchar(3), "abcd"),
        (t.varchar(3), "abcd"),
        (t.varbinary(2), b"abc"),
        (t.decimal(4, 2), "123.45"),
        (t.SQL_VARIANT, "x" * 4001),
    ],
    ids=str,
)
def test_a_value_longer_than_its_type_is_not_sent(sql_type: SqlType, value: str) -> None:
    with pytest.raises(UnencodableValueError):
        encoded(sql_type, value)


# --- what clients send -------------------------------------------------------------------


def parameter(wire: str) -> tuple[SqlType, StorageValue]:
    source = Input(bytes.fromhex(wire))
    sql_type, read = read_type(source)
    value = read(source)
    assert source.exhausted
    return sql_type, value


@pytest.mark.parametrize(
    ("wire", "sql_type", "value"),
    [
        ("68010101", t.BIT, 1),
        ("260404fdffffff", t.INT, -3),
        ("6d0808000000000000f83f", t.FLOAT, 1.5),
        ("6c1104021101d2040000000000000000000000000000", t.numeric(4, 2), "12.34"),
        ("e70c000904d000340600610062006300", t.nvarchar(6), "abc"),
        ("e70000 0904d00034 0000", t.nvarchar(1), ""),
        ("a701000904d00034ffff", t.varchar(1), None),
        ("a5020002000102", t.varbinary(2), b"\x01\x02"),
        ("2803664a0b", t.DATE, "2026-11-23"),
        ("2a070880ee977669664a0b", t.datetime2(7), "2026-11-23 12:34:56.1234560"),
        (
            "241010ff19966f868b11d0b42d00c04fc964ff",
            t.UNIQUEIDENTIFIER,
            "6F9619FF-8B86-D011-B42D-00C04FC964FF",
        ),
        ("ef0600 0904d00034 0200 6100", t.nchar(3), "a  "),
        ("af0300 0904d00034 0100 61", t.char(3), "a  "),
        ("ad0300 0100 61", t.binary(3), b"a\x00\x00"),
        ("63ffffff7f0904d00034 04000000 61006200", SqlType(Kind.NTEXT), "ab"),
        ("63ffffff7f0904d00034 ffffffff", SqlType(Kind.NTEXT), None),
        ("22ffffff7f 02000000 0102", SqlType(Kind.IMAGE), b"\x01\x02"),
        ("23ffffff7f0904d00034 02000000 e980", SqlType(Kind.TEXT), "é€"),
        (
            "f100 0a00000000000000 0a000000 fffe3c0061002f003e00 00000000",
            SqlType(Kind.XML),
            "<a/>",
        ),
        ("38 07000000", t.INT, 7),
        ("1f", t.INT, None),
        ("6e04 04 10270000", t.SMALLMONEY, "1.0000"),
        ("62491f0000 06000000 3800 07000000", t.SQL_VARIANT, 7),
        ("62491f0000 09000000 6a02 0502 017b000000", t.SQL_VARIANT, "1.23"),
        ("62491f0000 06000000 2901 00 400b00", t.SQL_VARIANT, "00:48:00.0000000"),
        ("62491f0000 0b000000 a707 0904d00034 0800 6162", t.SQL_VARIANT, "ab"),
        ("62491f0000 00000000", t.SQL_VARIANT, None),
    ],
    ids=str,
)
def test_parameters_are_understood(wire: str, sql_type: SqlType, value: StorageValue) -> None:
    assert parameter(wire.replace(" ", "")) == (sql_type, value)


@pytest.mark.parametrize("total", ["feffffffffffffff", "0600000000000000"])
def test_a_max_value_may_come_in_chunks_of_any_size(total: str) -> None:
    chunks = "02000000610001000000620300000000630000000000"
    wire = "e7ffff0904d00034" + total + chunks
    assert parameter(wire) == (t.nvarchar(t.MAX), "abc")


@pytest.mark.parametrize(
    "wire",
    [
        "",
        "99",
        "2603",
        "260403fdffff",
        "680202",
        "6c112728",
        "6c11020311",
        "6c0504020501ffffffff",
        "2908",
        "290703000000",
        "28 03 ffffff",
        "2b07 0a 0000000000 000000 4903",
        "e70300 0904d00034",
        "e71f41 0904d00034",
        "efffff 0904d00034",
        "e70200 0904d00034 0400 61006200",
        "e70400 0904d00034 0300 616200",
        "e7ffff 0904d00034 0400000000000000 04000000 6100",
        "63ffffff7f 0904d00034 feffffff",
        "62491f0000 05000000 3800 070000",
        "62491f0000 02000000 9900",
        "6f08 08 00000000 ffffffff",
        "3a 0000 ffff",
    ],
)
def test_what_is_no_value_of_its_type_is_a_protocol_error(wire: str) -> None:
    with pytest.raises(ProtocolError):
        parameter(wire.replace(" ", ""))


@pytest.mark.parametrize("wire", ["f3000000", "f0", "f101"])
def test_types_the_stand_in_does_not_have_are_refused_by_name(wire: str) -> None:
    with pytest.raises(NotSupportedByStandIn):
        parameter(wire)


@given(st.binary(max_size=60))
def test_garbage_is_a_protocol_error_or_a_value(data: bytes) -> None:
    source = Input(data)
    with contextlib.suppress(ProtocolError, NotSupportedByStandIn):
        _type, read = read_type(source)
        read(source)


@given(st.sampled_from(FULL_TYPES), st.binary(max_size=40))
def test_garbage_behind_every_type_is_a_protocol_error_or_a_value(
    sql_type: SqlType, data: bytes
) -> None:
    source = Input(encoding_of(sql_type, DIALECT).info + data)
    _type, read = read_type(source)
    with contextlib.suppress(ProtocolError):
        read(source)

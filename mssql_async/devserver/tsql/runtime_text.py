"""What SQLite calls for string functions. See :mod:`.functions_text`."""

from __future__ import annotations

import hashlib
import json
import math
import re
import uuid
from decimal import Decimal

from ..errors import error
from ..sqltypes import Collation
from . import strings
from .decimals import CONTEXT


def _units(text: str) -> list[str] | str:
    """A string one UTF-16 unit at a time."""
    if text.isascii() or not any(character > "\uffff" for character in text):
        return text
    data = text.encode("utf-16-le", "surrogatepass")
    return [chr(data[i] | data[i + 1] << 8) for i in range(0, len(data), 2)]


def _joined(units: list[str] | str) -> str:
    if isinstance(units, str):
        return units
    data = b"".join(ord(unit).to_bytes(2, "little") for unit in units)
    return data.decode("utf-16-le", "replace")


def length(text: str) -> int:
    return strings.length(text.rstrip(" "))


def data_length(text: str, width: int) -> int:
    if width == 2:
        return 2 * strings.length(text)
    return len(text.encode("utf-8")) if width == 3 else strings.length(text)


def substring(value: str | bytes, start: int, size: int) -> str | bytes:
    if size < 0:
        raise error(537)
    first = max(start - 1, 0)
    last = max(start - 1 + size, 0)
    if isinstance(value, bytes):
        return value[first:last]
    return _joined(_units(value)[first:last])


def left(text: str, size: int) -> str:
    if size < 0:
        raise error(537)
    return _joined(_units(text)[:size])


def right(text: str, size: int) -> str:
    if size < 0:
        raise error(536)
    units = _units(text)
    return _joined(units[max(len(units) - size, 0) :])


def _folds(mode: str) -> bool:
    return mode in (Collation.TEXT_CI.value, Collation.TEXT_CI_AI.value)


def char_index(sought: str, text: str, start: int, mode: str) -> int:
    if not sought:
        return 0
    begin = max(start, 1) - 1
    if _folds(mode):
        if sought.isascii() and text.isascii():
            return text.lower().find(sought.lower(), begin) + 1
        match = re.compile(re.escape(sought), re.IGNORECASE).search(text, begin)
        return 0 if match is None else match.start() + 1
    return text.find(sought, begin) + 1


def pat_index(pattern: str, text: str, mode: str) -> int:
    anchored_start = not pattern.startswith("%")
    anchored_end = not pattern.endswith("%") or len(pattern) < 2
    inner = pattern if anchored_start else pattern[1:]
    inner = inner if anchored_end else inner[:-1]
    regex = strings.like_pattern(inner, None, mode)
    if regex is None:
        return 0
    if anchored_end:
        candidates = [0] if anchored_start else range(len(text) + 1)
        for start in candidates:
            if regex.fullmatch(text, start):
                return start + 1
        return 0
    match = regex.match(text) if anchored_start else regex.search(text)
    return 0 if match is None else match.start() + 1


def replace(text: str, old: str, new: str, mode: str) -> str:
    if not old:
        return text
    if not _folds(mode):
        return text.replace(old, new)
    return re.sub(re.escape(old), lambda _: new, text, flags=re.IGNORECASE)


def translate(text: str, old: str, new: str) -> str:
    if len(old) != len(new):
        raise error(9828)
    table: dict[int, str] = {}
    for a, b in zip(old, new, strict=True):
        for form in (a, a.swapcase()):
            table.setdefault(ord(form), b)
    return text.translate(table)


def stuff(text: str, start: int, size: int, new: str) -> str | None:
    units = _units(text)
    if start < 1 or start > len(units) or size < 0:
        return None
    return _joined(units[: start - 1]) + new + _joined(units[start - 1 + size :])


def replicate(text: str, count: int, limit: int) -> str | None:
    if count < 0:
        return None
    if limit < 0:
        return text * count
    # Longer would be cut off anyway.
    most = limit // max(len(text), 1) + 1
    return strings.cut(text * min(count, most), limit)


def concat_ws(separator: str | None, *values: str | None) -> str:
    return (separator or "").join(value for value in values if value is not None)


def ascii_code(text: str) -> int | None:
    if not text:
        return None
    return strings.to_code_page(text[0]).encode("cp1252", "replace")[0]


def unicode_code(text: str) -> int | None:
    units = _units(text)
    return ord(units[0]) if units else None


def char(code: int) -> str | None:
    if not 0 <= code <= 255:
        return None
    return bytes([code]).decode("cp1252", "replace") if code >= 128 else chr(code)


def nchar(code: int) -> str | None:
    return chr(code) if 0 <= code <= 65535 else None


_QUOTES = {
    "[": ("[", "]"), "]": ("[", "]"), "'": ("'", "'"), '"': ('"', '"'), "(": ("(", ")"),
    ")": ("(", ")"), "<": ("<", ">"), ">": ("<", ">"), "{": ("{", "}"), "}": ("{", "}"),
    "`": ("`", "`"),
}  # fmt: skip


def quote_name(text: str, mark: str) -> str | None:
    if len(text) > 128 or mark not in _QUOTES:
        return None
    start, end = _QUOTES[mark]
    return f"{start}{text.replace(end, end * 2)}{end}"


def str_function(value: float, size: int, digits: int) -> str | None:
    if size < 1:
        return None
    if math.isinf(value):
        return "*" * size
    number = Decimal(repr(value)).quantize(Decimal(1).scaleb(-min(digits, 16)), context=CONTEXT)
    text = format(number, "f")
    if len(text) > size:
        whole = text.split(".")[0]
        if len(whole) > size:
            return "*" * size
        room = max(size - len(whole) - 1, 0)
        text = format(round(number, room), "f")
    return text.rjust(size)


def string_escape(text: str, kind: str) -> str:
    if kind.lower() != "json":
        raise error(8116, kind, 2, "string_escape")
    from .json_text import escaped

    return escaped(text)[1:-1].replace("/", "\\/")


_ALGORITHMS = {
    "MD5": "md5", "SHA": "sha1", "SHA1": "sha1", "SHA2_256": "sha256", "SHA2_512": "sha512",
    "MD4": "md4", "MD2": "md2",
}  # fmt: skip


def hash_bytes(algorithm: str, value: str | bytes, width: int) -> bytes | None:
    name = _ALGORITHMS.get(algorithm.upper())
    if name is None or name in ("md4", "md2"):
        return None
    if isinstance(value, str):
        value = strings.encoded(value, unicode=width == 2, utf8=width == 3)
    return hashlib.new(name, value, usedforsecurity=False).digest()


def regexp_like(text: str | None, pattern: str | None, case_sensitive: int | None) -> int:
    if text is None or pattern is None:
        return 0
    try:
        regex = strings.regular_expression(pattern, ignore_case=not case_sensitive)
    except re.error as failure:
        raise error(6522, "REGEXP_LIKE", str(failure)) from None
    return 1 if regex.search(text) else 0


def is_numeric(value: str | None) -> int:
    if value is None:
        return 0
    text = value.strip()
    if text[:1] in ("$", "£", "€", "¥"):
        # "ISNUMERIC returns 1 for some characters that are not numbers, such as plus (+),
        # minus (-), and valid currency symbols such as the dollar sign ($)."
        text = text[1:].strip()
        if not text:
            return 1
    if re.fullmatch(r"[+-]?[$£€¥]?(\d[\d,]*\.?\d*|\.\d+)([eEdD][+-]?\d*)?", text, re.ASCII):
        return 1
    return 1 if re.fullmatch(r"[+-]|\.|[+-]\.", text) else 0


def new_id() -> str:
    return str(uuid.uuid4()).upper()


def string_split(text: str, separator: str) -> str:
    """The rows of STRING_SPLIT as JSON."""
    if len(separator) != 1:
        raise error(214, "separator", "nchar(1)/nvarchar(1)")
    return json.dumps(text.split(separator))

"""JSON as SQL Server keeps it: text. Paths find parts of it without rewriting them.

Source: T-SQL reference, "JSON Path Expressions", "JSON_VALUE", "JSON_QUERY",
"JSON_MODIFY".
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache

from ..errors import error

_DECODER = json.JSONDecoder()
_BLANK = re.compile(r"[ \t\r\n]*")
_STEP = re.compile(r'\.(?:"((?:[^"\\]|\\.)*)"|([A-Za-z_][\w$]*))|\[(\d+)\]')
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?")


@dataclass(frozen=True, slots=True)
class Path:
    steps: tuple[str | int, ...]
    strict: bool = False
    append: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """A value's place in the text: ``kind`` is ``object``, ``array``, ``string``,
    ``number``, ``true``, ``false`` or ``null``."""

    start: int
    end: int
    kind: str


@lru_cache(maxsize=2048)
def parse_path(text: str) -> Path:
    """:raises SqlError: 13607 for what is no path."""
    rest = text.strip()
    append = False
    if rest.startswith("append "):
        append, rest = True, rest[7:].strip()
    strict = rest.startswith("strict ")
    if strict or rest.startswith("lax "):
        rest = rest.split(" ", 1)[1].strip()
    if not rest.startswith("$"):
        raise error(13607, rest[:1], 0)
    steps: list[str | int] = []
    position = 1
    while position < len(rest):
        match = _STEP.match(rest, position)
        if match is None:
            raise error(13607, rest[position], position)
        if match[3] is not None:
            steps.append(int(match[3]))
        elif match[1] is not None:
            steps.append(json.loads(f'"{match[1]}"', strict=False))
        else:
            steps.append(match[2])
        position = match.end()
    return Path(tuple(steps), strict, append)


def escaped(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def is_json(text: str, kind: str = "") -> bool:
    """ISJSON: an object or an array, or the kind asked for."""
    blank = _BLANK.match(text)
    start = blank.end() if blank else 0
    if not kind and text[start : start + 1] not in ("{", "["):
        return False
    try:
        value = json.loads(text, parse_constant=_no_constant, strict=False)
    except (ValueError, RecursionError):
        return False
    wanted: dict[str, tuple[type, ...]] = {
        "OBJECT": (dict,),
        "ARRAY": (list,),
        "SCALAR": (int, float, str),
    }
    if kind in wanted:
        return isinstance(value, wanted[kind]) and not isinstance(value, bool)
    return kind in ("", "VALUE")


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _bad(text: str, position: int) -> Exception:
    return error(13609, text[position : position + 1], position)


def _skip(text: str, position: int) -> int:
    match = _BLANK.match(text, position)
    return match.end() if match else position


def _value_at(text: str, position: int) -> Found:
    position = _skip(text, position)
    first = text[position : position + 1]
    kinds = {"{": "object", "[": "array", '"': "string", "t": "true", "f": "false", "n": "null"}
    try:
        _, end = _DECODER.raw_decode(text, position)
    except (ValueError, RecursionError):
        raise _bad(text, position) from None
    return Found(position, end, kinds.get(first, "number"))


def members(text: str, found: Found) -> list[tuple[str | int, Found]]:
    """The members of an object or array, with their keys or indexes."""
    result: list[tuple[str | int, Found]] = []
    position = _skip(text, found.start + 1)
    closing = "}" if found.kind == "object" else "]"
    if text[position : position + 1] == closing:
        return result
    while True:
        key: str | int = len(result)
        if found.kind == "object":
            try:
                key, position = _DECODER.raw_decode(text, position)
            except ValueError:
                raise _bad(text, position) from None
            position = _skip(text, position)
            if text[position : position + 1] != ":":
                raise _bad(text, position)
            position += 1
        value = _value_at(text, position)
        result.append((key, value))
        position = _skip(text, value.end)
        mark = text[position : position + 1]
        if mark == closing:
            return result
        if mark != ",":
            raise _bad(text, position)
        position = _skip(text, position + 1)


def find(text: str, path: Path) -> Found | None:
    """The value a path leads to.

    :raises SqlError: 13609 where the text is not JSON.
    """
    found = _value_at(text, 0)
    for step in path.steps:
        if found.kind != ("array" if isinstance(step, int) else "object"):
            return None
        for key, value in members(text, found):
            if key == step:
                found = value
                break
        else:
            return None
    return found


def scalar(text: str, found: Found) -> str | None:
    """A scalar as JSON_VALUE gives it: numbers as written, null as NULL."""
    if found.kind == "string":
        decoded: str = json.loads(text[found.start : found.end], strict=False)
        return decoded
    if found.kind == "null":
        return None
    return text[found.start : found.end]


def value(text: str, path_text: str) -> str | None:
    """JSON_VALUE."""
    path = parse_path(path_text)
    found = find(text, path)
    if found is None:
        if path.strict:
            raise error(13608)
        return None
    if found.kind in ("object", "array"):
        if path.strict:
            raise error(13623)
        return None
    shown = scalar(text, found)
    if shown is not None and len(shown) > 4000:
        if path.strict:
            raise error(13625)
        return None
    return shown


def query(text: str, path_text: str) -> str | None:
    """JSON_QUERY: an object or array, as written."""
    path = parse_path(path_text)
    found = find(text, path)
    if found is None:
        if path.strict:
            raise error(13608)
        return None
    if found.kind not in ("object", "array"):
        if path.strict:
            raise error(13624)
        return None
    return text[found.start : found.end]


def exists(text: str, path_text: str) -> int:
    """JSON_PATH_EXISTS."""
    try:
        return 1 if find(text, parse_path(path_text)) is not None else 0
    except Exception:
        return 0


def modify(text: str, path_text: str, replacement: str | None) -> str:
    """JSON_MODIFY. ``replacement`` is JSON; NULL deletes a key in lax mode."""
    path = parse_path(path_text)
    if not path.steps:
        raise error(13607, "", 1)
    found = find(text, path)
    if path.append:
        if found is not None and found.kind == "array":
            inner = text[found.start + 1 : found.end - 1]
            comma = "," if inner.strip() else ""
            new = f"[{inner}{comma}{'null' if replacement is None else replacement}]"
            return text[: found.start] + new + text[found.end :]
        return text
    if found is not None:
        if replacement is None and not path.strict:
            return _without(text, path)
        new = "null" if replacement is None else replacement
        return text[: found.start] + new + text[found.end :]
    if path.strict:
        raise error(13608)
    if replacement is None:
        return text
    holder = find(text, Path(path.steps[:-1]))
    last = path.steps[-1]
    if holder is None:
        return text
    if isinstance(last, str) and holder.kind == "object":
        inner = text[holder.start + 1 : holder.end - 1]
        comma = "," if inner.strip() else ""
        new = f"{{{inner}{comma}{escaped(last)}:{replacement}}}"
        return text[: holder.start] + new + text[holder.end :]
    return text


def _without(text: str, path: Path) -> str:
    holder = find(text, Path(path.steps[:-1]))
    if holder is None:
        return text
    kept = []
    for key, member in members(text, holder):
        shown = text[member.start : member.end]
        if holder.kind == "array":
            kept.append("null" if key == path.steps[-1] else shown)
        elif key != path.steps[-1]:
            kept.append(f"{escaped(str(key))}:{shown}")
    new = "[" + ",".join(kept) + "]" if holder.kind == "array" else "{" + ",".join(kept) + "}"
    return text[: holder.start] + new + text[holder.end :]


def number(shown: float | int | str) -> str:
    if isinstance(shown, float):
        text = f"{shown:.15e}"
        return text if _NUMBER.fullmatch(text) else "null"
    return str(shown)


def array(keep_nulls: int, *values: str | None) -> str:
    kept = [v for v in values if v is not None or keep_nulls]
    return "[" + ",".join("null" if v is None else v for v in kept) + "]"


def make_object(keep_nulls: int, *pairs: str | None) -> str:
    parts = []
    for key, shown in zip(pairs[::2], pairs[1::2], strict=True):
        if shown is None and not keep_nulls:
            continue
        parts.append(f"{escaped(key or '')}:{'null' if shown is None else shown}")
    return "{" + ",".join(parts) + "}"


_TYPES = {"null": 0, "string": 1, "number": 2, "true": 3, "false": 3, "array": 4, "object": 5}


def opened(text: str | None, path_text: str | None) -> str:
    """OPENJSON's rows as JSON: ``[[key, value, type], …]``."""
    if text is None:
        return "[]"
    path = parse_path(path_text or "$")
    found = find(text, path)
    if found is None or found.kind not in ("object", "array"):
        if found is None and path.strict:
            raise error(13608)
        return "[]"
    rows = []
    for key, member in members(text, found):
        shown: str | None = text[member.start : member.end]
        if member.kind not in ("object", "array"):
            shown = scalar(text, member)
        rows.append([str(key), shown, _TYPES[member.kind]])
    return json.dumps(rows, ensure_ascii=False)


def opened_rows(text: str | None, path_text: str | None) -> str:
    """The rows of OPENJSON … WITH: the members of an array, or one object, as text."""
    if text is None:
        return "[]"
    path = parse_path(path_text or "$")
    found = find(text, path)
    if found is None or found.kind not in ("object", "array"):
        if found is None and path.strict:
            raise error(13608)
        return "[]"
    places = [found] if found.kind == "object" else [m for _, m in members(text, found)]
    return json.dumps([text[place.start : place.end] for place in places], ensure_ascii=False)

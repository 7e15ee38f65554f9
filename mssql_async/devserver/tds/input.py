"""Reading little-endian fields from a message's body without ever running past it."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from .packets import ProtocolError

_U16 = struct.Struct("<H").unpack_from
_U32 = struct.Struct("<I").unpack_from
_I32 = struct.Struct("<i").unpack_from
_U64 = struct.Struct("<Q").unpack_from


class Input:
    """A position in a message. Every read past its end raises :class:`ProtocolError`."""

    __slots__ = ("data", "end", "position")

    def __init__(self, data: bytes, position: int = 0) -> None:
        self.data = data
        self.position = position
        self.end = len(data)

    @property
    def exhausted(self) -> bool:
        return self.position >= self.end

    def take(self, count: int) -> bytes:
        start = self.position
        stop = start + count
        if stop > self.end:
            raise ProtocolError(
                f"message ends {stop - self.end} bytes too early, at byte {self.end}"
            )
        self.position = stop
        return self.data[start:stop]

    def u8(self) -> int:
        position = self.position
        if position >= self.end:
            raise ProtocolError(f"message ends too early, at byte {self.end}")
        self.position = position + 1
        return self.data[position]

    def u16(self) -> int:
        return self._number(_U16, 2)

    def u32(self) -> int:
        return self._number(_U32, 4)

    def i32(self) -> int:
        return self._number(_I32, 4)

    def u64(self) -> int:
        return self._number(_U64, 8)

    def text(self, characters: int) -> str:
        """UTF-16 text of that many code units. Lone surrogates are legal in SQL Server."""
        return self.take(characters * 2).decode("utf-16-le", "surrogatepass")

    def b_varchar(self) -> str:
        """Text behind a one-byte count of code units (B_VARCHAR)."""
        return self.text(self.u8())

    def us_varchar(self) -> str:
        """Text behind a two-byte count of code units (US_VARCHAR)."""
        return self.text(self.u16())

    def rest(self) -> bytes:
        return self.take(self.end - self.position)

    def _number(self, unpack: Callable[[bytes, int], tuple[Any, ...]], size: int) -> int:
        position = self.position
        if position + size > self.end:
            raise ProtocolError(f"message ends too early, at byte {self.end}")
        self.position = position + size
        number: int = unpack(self.data, position)[0]
        return number


def decode_utf16(data: bytes) -> str:
    """UTF-16LE with lone surrogates.

    :raises ProtocolError: for half a code unit.
    """
    if len(data) & 1:
        raise ProtocolError("UTF-16 text of an odd number of bytes")
    return data.decode("utf-16-le", "surrogatepass")

"""The settings of sp_configure.

Source: SQL Server documentation, "Server configuration options", "sp_configure".
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import error
from .catalog import fold


@dataclass(slots=True)
class Setting:
    number: int
    name: str
    lowest: int
    highest: int
    value: int
    value_in_use: int
    advanced: bool = False


class Configuration:
    """sp_configure's settings: remembered, without effect on the stand-in."""

    def __init__(self) -> None:
        rows = (
            (518, "show advanced options", 0, 1, 0, False),
            (1562, "clr enabled", 0, 1, 0, False),
            (1587, "clr strict security", 0, 1, 1, True),
            (16387, "SMO and DMO XPs", 0, 1, 1, True),
            (1539, "max degree of parallelism", 0, 32767, 0, True),
            (1544, "max server memory (MB)", 128, 2147483647, 2147483647, True),
            (1541, "query wait (s)", -1, 2147483647, -1, True),
            (109, "fill factor (%)", 0, 100, 0, True),
            (117, "remote access", 0, 1, 1, False),
            (115, "nested triggers", 0, 1, 1, False),
            (1534, "user options", 0, 32767, 0, False),
            (103, "user connections", 0, 32767, 0, True),
            (16390, "xp_cmdshell", 0, 1, 0, True),
        )
        self._settings = {
            fold(name): Setting(number, name, low, high, value, value, advanced)
            for number, name, low, high, value, advanced in rows
        }

    def settings(self) -> list[Setting]:
        return sorted(self._settings.values(), key=lambda setting: setting.number)

    def find(self, name: str) -> Setting:
        """:raises SqlError: 15123."""
        found = [s for key, s in self._settings.items() if key.startswith(fold(name))]
        if len(found) != 1:
            raise error(15123, name)
        return found[0]

    def reconfigure(self) -> None:
        for setting in self._settings.values():
            setting.value_in_use = setting.value

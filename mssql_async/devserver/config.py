"""What an engine is opened with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

DEVELOPMENT_USER = "sa"
DEVELOPMENT_PASSWORD = "Passw0rd!"  # noqa: S105  documented, for loopback only
"""The documented default password. It satisfies SQL Server's complexity policy and
protects nothing: a stand-in that is reachable by others must be given another one."""

DEVELOPMENT_DATABASE = "app"
PRODUCT_VERSION = "16.0.4165.4"
"""SQL Server 2022, what ``SERVERPROPERTY('ProductVersion')`` answers."""


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Settings of one engine, checked by whoever builds them.

    ``database_file`` is the SQLite file behind ``database``; with ``None`` the engine
    keeps its files in a temporary directory and removes it on close. ``database`` is
    created at start when it does not exist; ``master`` always exists. ``logins`` maps
    user names (compared without case) to passwords.
    """

    database_file: Path | None = None
    database: str = DEVELOPMENT_DATABASE
    logins: Mapping[str, str] = field(
        default_factory=lambda: {DEVELOPMENT_USER: DEVELOPMENT_PASSWORD}, repr=False
    )
    server_name: str = "mssql-async-devserver"
    product_version: str = PRODUCT_VERSION

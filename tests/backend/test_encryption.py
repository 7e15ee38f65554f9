"""TLS and access tokens through ``DATABASES``, as a project would set them."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest
from django.db.utils import InterfaceError, OperationalError

from mssql_async.devserver import DevServer

from .conftest import wrapper_for

pytest.importorskip("cryptography", reason="a self-signed certificate needs cryptography")

TRUSTING = "Encrypt=yes;TrustServerCertificate=yes"
TOKEN = "eyJ0eXAiOiJKV1QifQ.backend"
LONG_AGO = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)


def ask(server: DevServer, sql: str, extra_params: str, **settings: Any) -> object:
    wrapper = wrapper_for(server, OPTIONS={"extra_params": extra_params}, **settings)
    try:
        with wrapper.cursor() as cursor:
            return cursor.execute(sql).fetchone()[0]
    finally:
        wrapper.close()


def ask_by_token(server: DevServer, token: str, extra_params: str = TRUSTING) -> object:
    return ask(server, "SELECT SUSER_SNAME()", extra_params, USER="", PASSWORD="", TOKEN=token)


def test_a_project_encrypts(server: DevServer, tmp_path: Path) -> None:
    trust = tmp_path / "server.pem"
    trust.write_text(server.certificate_pem or "")
    for extra_params in (TRUSTING, f"Encrypt=strict;ServerCertificate={trust}"):
        assert ask(server, "SELECT 42", extra_params) == 42
    with pytest.raises(OperationalError, match="certificate verify failed"):
        ask(server, "SELECT 42", "Encrypt=yes")


@pytest.mark.parametrize("extra_params", [TRUSTING, "Encrypt=no;TrustServerCertificate=yes"])
def test_a_project_logs_in_by_access_token(server: DevServer, extra_params: str) -> None:
    server.accept_token(TOKEN, user="app@contoso.example")
    assert ask_by_token(server, TOKEN, extra_params) == "app@contoso.example"


def test_an_expired_token_is_told_as_sql_server_tells_it(server: DevServer) -> None:
    server.accept_token(TOKEN, expires_at=LONG_AGO)
    with pytest.raises(InterfaceError, match=r"principal>'\. Token is expired") as caught:
        ask_by_token(server, TOKEN)
    assert TOKEN not in str(caught.value)
    with pytest.raises(InterfaceError, match="token-identified principal"):
        ask_by_token(server, "unknown")

"""What an error report shows of a login that failed: everything but the secrets."""

from __future__ import annotations

import html
import re
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import pytest
from django.db.utils import Error
from django.views.debug import ExceptionReporter

from mssql_async.base import DatabaseWrapper
from mssql_async.devserver import DevServer
from mssql_async.pool import secrets
from mssql_async.pool.tokens import TokenCache, TokenError

from .conftest import wrapper_for

SECRET = "hunter2SECRETSECRET"
ENCRYPTED = "Encrypt=yes;TrustServerCertificate=yes"


def token() -> tuple[str, float]:
    return SECRET, time.time() + 3600


#: A password, where it is written in the text, and a token, by the three roads it may take.
LOGINS: dict[str, dict[str, Any]] = {
    "PASSWORD": {"PASSWORD": SECRET},
    "extra_params": {
        "USER": "", "PASSWORD": "", "Trusted_Connection": "no",
        "OPTIONS": {"extra_params": f"Encrypt=no;UID=sa;PWD={SECRET}"},
    },
    "TOKEN": {
        "USER": "", "PASSWORD": "", "TOKEN": SECRET, "OPTIONS": {"extra_params": ENCRYPTED},
    },
    "token_provider": {
        "USER": "", "PASSWORD": "",
        "OPTIONS": {"extra_params": ENCRYPTED, "token_provider": token},
    },
}  # fmt: skip


def failed_login(server: DevServer, **settings: Any) -> BaseException:
    with pytest.raises(Error) as raised:
        wrapper_for(server, **settings).ensure_connection()
    return raised.value


def chain_of(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def frames_of(traceback: TracebackType | None) -> Iterator[Any]:
    while traceback is not None:
        yield traceback.tb_frame
        traceback = traceback.tb_next


def legible(shown: str) -> str:
    """UTF-16 as text, and what was broken into lines in one piece."""
    return re.sub(r"'\s*b'|\\x00", "", shown)


def shown_by_frames(error: BaseException) -> list[str]:
    """Every local variable of the backend's, Django's and the dialect's frames."""
    return [
        legible(f"{frame.f_code.co_qualname}: {name} = {value!r}")
        for one in chain_of(error)
        for frame in frames_of(one.__traceback__)
        if frame.f_code.co_filename != __file__
        for name, value in frame.f_locals.items()
    ]


def shown_by_django(error: BaseException) -> str:
    """The debug page and the mail."""
    reporter = ExceptionReporter(None, type(error), error, error.__traceback__)
    # This file's own frames have the secret in their constants.
    frames = reporter.get_traceback_frames
    reporter.get_traceback_frames = lambda: [  # type: ignore[method-assign]
        frame for frame in frames() if frame["filename"] not in (__file__, wrapper_for_file)
    ]
    return legible(html.unescape(reporter.get_traceback_html()) + reporter.get_traceback_text())


wrapper_for_file = wrapper_for.__code__.co_filename


@pytest.mark.parametrize("how", LOGINS)
def test_no_report_of_a_failed_login_shows_the_secret(server: DevServer, how: str) -> None:
    pytest.importorskip("cryptography", reason="tokens travel encrypted")
    with server.faults.refuse_logins(18456, times=None):
        error = failed_login(server, **LOGINS[how])
    shown = shown_by_frames(error)
    assert any("get_new_connection: conn_params" in line for line in shown)  # they are looked at
    assert [line for line in shown if SECRET in line] == []
    report = shown_by_django(error)
    assert "conn_params" in report
    assert SECRET not in report


@pytest.mark.parametrize("how", LOGINS)
def test_secrets_with_their_own_repr_would_be_found(
    server: DevServer, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control."""
    pytest.importorskip("cryptography", reason="tokens travel encrypted")
    monkeypatch.setattr(secrets.SecretText, "__repr__", str.__repr__)
    monkeypatch.setattr(secrets.SecretBytes, "__repr__", bytes.__repr__)
    with server.faults.refuse_logins(18456, times=None):
        error = failed_login(server, **LOGINS[how])
    assert [line for line in shown_by_frames(error) if SECRET in line]
    assert SECRET in shown_by_django(error)


def test_a_token_that_is_refused_for_its_shape_is_not_shown_either() -> None:
    cache = TokenCache(lambda: (f"Bearer {SECRET}", time.time() + 3600), start=_on_the_spot)
    with pytest.raises(TokenError, match="white space") as raised:
        cache.get(time.monotonic() + 10)
    assert [line for line in shown_by_frames(raised.value) if SECRET in line] == []


def test_what_is_logged_in_with_is_the_secret_itself(server: DevServer) -> None:
    wrapper: DatabaseWrapper = wrapper_for(server)
    password = wrapper.get_connection_params()["PASSWORD"]
    assert password == server.password
    assert f"{password}" == server.password
    assert server.password not in repr(password)
    wrapper.ensure_connection()
    wrapper.close()


def _on_the_spot(job: Any) -> bool:
    job()
    return True

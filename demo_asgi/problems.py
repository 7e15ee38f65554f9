"""Why the demo cannot start, in one line and without a secret."""

from __future__ import annotations

import re
from collections.abc import Mapping

from django.core.exceptions import ImproperlyConfigured

LONGEST = 300

INSTALL_ODBC = (
    "the ODBC libraries are missing: `make demo` installs them, or install unixODBC "
    "(Debian: apt-get install unixodbc libgssapi-krb5-2)"
)


class DemoError(Exception):
    """The demo cannot start; the text is all the user needs."""


def explain(error: BaseException, environ: Mapping[str, str]) -> str:
    """Say what to change. ``environ`` holds the ``MSSQL_*`` variables in use."""
    if isinstance(error, DemoError):
        return str(error)
    if isinstance(error, ImproperlyConfigured):
        return _redact(_one_line(error), environ)
    text = _whole_text(error)
    host = environ.get("MSSQL_HOST", "")
    server = ":".join(part for part in (host, environ.get("MSSQL_PORT", "")) if part)
    database = environ.get("MSSQL_DATABASE", "")
    user = environ.get("MSSQL_USER", "")
    for pattern, line in (
        (r"\(4060\)|Cannot open database",
         f'the database "{database}" on {server} does not exist or is not open to '
         f"this login: create it, or set MSSQL_DATABASE"),
        (r"\(18456\)|Login failed|\[28000\]",
         f"{server} refused the access token: renew MSSQL_ACCESS_TOKEN"
         if environ.get("MSSQL_ACCESS_TOKEN")
         else f'the login of "{user}" at {server} failed: check MSSQL_USER and MSSQL_PASSWORD'),
        (r"certificate verify failed|self.signed certificate",
         f"the certificate of {server} is not trusted: install its authority, or set "
         "MSSQL_EXTRA_PARAMS=TrustServerCertificate=yes"),
        (r"SSL Provider|OpenSSL",
         f"no encrypted connection to {server}: check OpenSSL here and TLS there, or set "
         "MSSQL_EXTRA_PARAMS (Encrypt=no turns encryption off)"),
        (r"libodbc|libgssapi|Can't open lib|IM00[23]", INSTALL_ODBC),
        (r"08001|08S01|HYT00|HYT01|timed? ?out|[Nn]etwork-related",
         f"cannot reach SQL Server at {server}: check MSSQL_HOST and MSSQL_PORT, and that it runs"),
    ):  # fmt: skip
        if re.search(pattern, text):
            return line
    return _redact(f"{type(error).__name__}: {_one_line(error)}", environ)[:LONGEST]


def _whole_text(error: BaseException) -> str:
    parts: list[str] = []
    link: BaseException | None = error
    while link is not None:
        parts.append(str(link))
        link = link.__cause__ or link.__context__
    return "\n".join(parts)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _redact(text: str, environ: Mapping[str, str]) -> str:
    for name in ("MSSQL_PASSWORD", "MSSQL_ACCESS_TOKEN", "DJANGO_SECRET_KEY"):
        if secret := environ.get(name):
            text = text.replace(secret, "***")
    return re.sub(r"(?i)\b(pwd|password)\s*=\s*(\{[^}]*\}|[^;\s]*)", r"\1=***", text)

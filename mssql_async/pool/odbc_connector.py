"""Opening, resetting and closing SQL Server connections through pyodbc."""

from __future__ import annotations

import contextlib
import math
import re
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyodbc

from . import odbc
from .connector import ConnectParameters, Opened, Profile
from .errors import PoolError
from .tokens import TokenCache

SQL_COPT_SS_ACCESS_TOKEN = 1256

_DRIVERS_LOGIN_TIMEOUT = 15
_LISTENERS_TIME = 5.0
"""Seconds that a server may take to accept a connection before the driver is asked instead."""
#: Costs the server nothing and leaves the session as it is.
_PROBE = "SELECT 1"


class OdbcConnector:
    """Opens SQL Server connections through pyodbc.

    :param output_converters: ODBC type number to converter, registered on each connection.
    :param tokens: the access tokens to log in with; by default those of the parameters'
        provider, if there is one.
    """

    def __init__(
        self,
        parameters: ConnectParameters,
        output_converters: Mapping[int, Callable[[bytes], Any]] | None = None,
        *,
        tokens: TokenCache | None = None,
    ) -> None:
        self._parameters = parameters
        provider = parameters.token_provider
        self._tokens = TokenCache(provider) if tokens is None and provider is not None else tokens
        self._converters = dict(output_converters or {})
        self._has_connected = False
        self._is_microsofts = False

    def __repr__(self) -> str:
        return f"<OdbcConnector to {self._parameters.target}>"

    @property
    def credential(self) -> int:
        return 0 if self._tokens is None else self._tokens.credential

    def open(self, deadline: float) -> Opened:
        """One attempt; a second one with a new access token, where the server refused one
        that had been kept.

        :raises pyodbc.Error: the driver's, unexplained.
        :raises TokenError: there is no access token to log in with.
        """
        tokens = self._tokens
        if tokens is None:
            raw = self._connect(self._parameters.access_token, deadline)
            return Opened(raw, cancels_wait=self._is_microsofts)
        token = tokens.get(deadline)
        try:
            raw = self._connect(token.encoded, deadline)
        except pyodbc.Error as error:
            if not _refuses_token(error):
                raise
            # Revoked, or expired by the server's clock: the provider may have another.
            tokens.reject(token.credential)
            refused, token = token, tokens.get(deadline)
            if token.credential == refused.credential:
                raise
            raw = self._connect(token.encoded, deadline)
        return Opened(
            raw,
            expires_at=token.expires_at,
            credential=token.credential,
            cancels_wait=self._is_microsofts,
        )

    def _connect(self, access_token: bytes | None, deadline: float) -> pyodbc.Connection:
        p = self._parameters
        options: dict[str, Any] = {
            "autocommit": True,
            "timeout": self._login_timeout(deadline),
        }
        if access_token is not None:
            options["attrs_before"] = {SQL_COPT_SS_ACCESS_TOKEN: access_token}
        if p.unicode_results:
            options["unicode_results"] = True
        raw = pyodbc.connect(p.connection_string, **options)
        try:
            for sql_type, converter in self._converters.items():
                raw.add_output_converter(sql_type, converter)
            for entry in p.setencoding:
                raw.setencoding(**dict(entry))
            for entry in p.setdecoding:
                raw.setdecoding(**dict(entry))
            raw.timeout = p.query_timeout
            # One batch; also what carries the reset flag, so it is never empty.
            _run(raw, p.setup or _PROBE)
            if not self._has_connected:
                self._is_microsofts = odbc.is_microsofts(raw)
        except BaseException:
            self.close(raw)
            raise
        self._has_connected = True
        return raw

    def _login_timeout(self, deadline: float) -> int:
        """Seconds that are the driver's, less what asking for a listener took."""
        p = self._parameters
        started = time.monotonic()
        spent = 0.0
        if p.address is not None and not self._has_connected:
            bound = _login_timeout(p.connection_timeout, deadline - started)
            _require_listener(p.address, min(_LISTENERS_TIME, (bound or _LISTENERS_TIME * 2) / 2))
            spent = time.monotonic() - started
        allowed = p.connection_timeout and max(math.ceil(p.connection_timeout - spent), 1)
        return _login_timeout(allowed, deadline - started - spent)

    def is_transient(self, error: BaseException) -> bool:
        p = self._parameters
        worth_it = p.transient_errors
        if not self._has_connected:
            worth_it -= p.definite_at_first
        elif odbc.was_cut_off(error):
            return True  # by a server that has served before, and nothing was asked of it yet
        return not worth_it.isdisjoint(odbc.error_numbers(error))

    def explain(self, error: BaseException, attempts: int) -> BaseException:
        target = self._parameters.target
        if isinstance(error, PoolError):
            return type(error)(f"Cannot log in to {target}. {error}")
        if not isinstance(error, pyodbc.Error):
            return error
        advice = None
        if self._tokens is not None and _refuses_token(error):
            advice = _ADVICE_TO_TOKENS
        explained: BaseException = _explained(error, target, attempts, advice)
        return explained

    def reset(self, raw: pyodbc.Connection, profile: Profile) -> None:
        """The profile's statements without parameters ride in the batch of the reset; each one
        with parameters is a message of its own."""
        odbc.request_reset(raw)
        raw.timeout = odbc.bounded(self._parameters.query_timeout)
        batch = [self._parameters.setup or _PROBE]
        for sql, parameters in profile:
            if parameters:
                _run(raw, "; ".join(batch))
                _run(raw, sql, parameters)
                batch = []
            else:
                batch.append(sql)
        if batch:
            _run(raw, "; ".join(batch))
        raw.timeout = self._parameters.query_timeout

    def prove(self, raw: pyodbc.Connection) -> None:
        raw.timeout = odbc.bounded(self._parameters.query_timeout)
        _run(raw, _PROBE)
        raw.timeout = self._parameters.query_timeout

    def peer_hung_up(self, raw: pyodbc.Connection) -> bool:
        return odbc.peer_hung_up(raw)

    def close(self, raw: pyodbc.Connection) -> None:
        with contextlib.suppress(pyodbc.Error):
            if not raw.autocommit:
                # pyodbc rolls back first, for which a frozen peer would have it wait for ever.
                raw.timeout = odbc.bounded(raw.timeout)
            raw.close()


def _run(raw: pyodbc.Connection, sql: str, parameters: Sequence[Any] = ()) -> None:
    cursor = raw.cursor()
    try:
        cursor.execute(sql, *parameters)
        while cursor.nextset():  # an error of a later statement of the batch shows up here
            pass
    finally:
        cursor.close()


def _login_timeout(connection_timeout: int, left: float) -> int:
    """Seconds for the driver's login; 0 leaves it to the driver, which takes 15."""
    bound = max(math.ceil(left), 1)
    if connection_timeout:
        return min(connection_timeout, bound)
    return bound if bound < _DRIVERS_LOGIN_TIMEOUT else 0


def _require_listener(address: tuple[str, int], seconds: float) -> None:
    """Fail at once where the name has no address or the port is closed.

    Only until the first connection: later a server that refuses may be restarting, and then
    the driver's patience is what the caller wants. Anything but a clear no is left to the
    driver, which may know better ways to its server.

    :param seconds: for all addresses of the name together.
    :raises pyodbc.OperationalError: SQLSTATE 08001.
    """
    host, port = address
    until = time.monotonic() + seconds
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise pyodbc.OperationalError(
            "08001", f"The host name {host!r} has no address ({error.strerror})."
        ) from error
    refused: ConnectionRefusedError | None = None
    for family, kind, protocol, _, where in found:
        try:
            with socket.socket(family, kind, protocol) as attempt:
                attempt.settimeout(max(until - time.monotonic(), 0.001))
                attempt.connect(where)
        except ConnectionRefusedError as error:
            refused = error
        except TimeoutError:
            return
        except OSError:  # such as a machine without IPv6: the next one decides
            continue
        else:
            return
    if refused is not None:
        raise pyodbc.OperationalError(
            "08001", f"Nothing listens on port {port} of {host!r} (connection refused)."
        ) from refused


_ADVICE_TO_INSTALL = (
    "The driver manager has no driver of the name in OPTIONS['driver'], or cannot load it. Correct "
    "or remove OPTIONS['driver'] (pyodbc.drivers() lists the names), or install Microsoft's driver "
    "'msodbcsql18' (learn.microsoft.com/sql/connect/odbc); 'pip install mssql-python-odbc' ships "
    "one, which is found where no other is named."
)
#: unixODBC says so with SQLSTATE 01000, which is that of any warning.
_CANNOT_LOAD = re.compile(r"can't open lib|file not found", re.IGNORECASE)
#: SQLSTATE -> what to look at. Class 28 is a refused login, 08 an unreachable server,
#: HYT00 and HYT01 time-outs; IM002 and IM003 a missing driver.
_ADVICE = {
    "28000": "Check USER and PASSWORD (or the access token) of this database's settings.",
    "08001": (
        "Check HOST and PORT, that the server is running and reachable, and the encryption "
        "settings (driver 18 encrypts unless OPTIONS['extra_params'] says 'Encrypt=no', and "
        "refuses self-signed certificates without 'TrustServerCertificate=yes')."
    ),
    "HYT00": "Check HOST and PORT, and OPTIONS['connection_timeout'].",
    "IM002": f"Check OPTIONS['dsn'], if there is one. {_ADVICE_TO_INSTALL}",
    "IM003": _ADVICE_TO_INSTALL,
}
_ADVICE_BY_NUMBER = {
    4060: "Check NAME: the database must exist and this login must be allowed to use it.",
}
_ADVICE_TO_TOKENS = (
    "The server refused the access token, and OPTIONS['token_provider'] gave no other one: check "
    "that its principal is a user of this database, and compare both machines' clocks."
)
#: Login failed (for whatever reason; the server does not always say), the token has expired.
_REFUSED_TOKEN = frozenset({18456, 37396})
_NOISE = re.compile(r"\[(?:Microsoft|unixODBC|Driver Manager|ODBC Driver[^\]]*|SQL Server)\]")


def _refuses_token(error: BaseException) -> bool:
    return not _REFUSED_TOKEN.isdisjoint(odbc.error_numbers(error))


def _explained(
    error: pyodbc.Error, target: str, attempts: int, advice: str | None = None
) -> pyodbc.Error:
    """The same error class and SQLSTATE, with a text for people."""
    state = str(error.args[0]) if error.args else "HY000"
    numbers = odbc.error_numbers(error)
    said = _NOISE.sub("", str(error.args[-1] if error.args else error))
    said = " ".join(said.split())
    advice = advice or next(
        (text for number, text in _ADVICE_BY_NUMBER.items() if number in numbers),
        _ADVICE_TO_INSTALL if _CANNOT_LOAD.search(said) else _ADVICE.get(state, ""),
    )
    tried = f" after {attempts} attempts" if attempts > 1 else ""
    return type(error)(state, f"Cannot connect to {target}{tried}. {advice} Driver: {said}")

"""``python -m mssql_async.devserver``: the embedded server in the foreground."""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import os
import signal
import ssl
import sys
from collections.abc import Sequence
from pathlib import Path

from . import eventloop, faultcommand
from .certificates import CannotMakeCertificate, Certificate
from .config import (
    DEVELOPMENT_DATABASE,
    DEVELOPMENT_PASSWORD,
    DEVELOPMENT_USER,
    EngineConfig,
)
from .server import LOOPBACK, TdsServer, open_configured_engine, open_tls
from .tds.tls import ServerTls

PASSWORD_VARIABLE = "MSSQL_PASSWORD"  # noqa: S105  the name of a variable
DEFAULT_PORT = 1433


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM, or order a fault; gives the exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given[:1] == ["fault"]:
        return faultcommand.main(given[1:])
    options = _parser().parse_args(given)
    password = options.password or os.environ.get(PASSWORD_VARIABLE) or DEVELOPMENT_PASSWORD
    config = EngineConfig(
        database_file=options.database_file,
        database=options.database,
        logins={options.user: password},
    )
    try:
        tls = _tls(options)
    except (OSError, ValueError, CannotMakeCertificate) as failure:
        print(f"no TLS: {failure}", file=sys.stderr)
        return 1
    try:
        serving = _serve(config, options.host, options.port, tls, options.user, password)
        return eventloop.run(serving)
    except OSError as failure:
        print(f"cannot listen on {options.host}:{options.port}: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mssql_async.devserver",
        description="The embedded SQL Server stand-in of mssql_async: for development, not "
        "for production. 'fault --help' tells how to make a running one fail.",
    )
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="0 for a free one")
    parser.add_argument("--host", default=LOOPBACK, help=f"default {LOOPBACK}")
    parser.add_argument(
        "--database-file",
        type=Path,
        help="SQLite file to keep the database in; without it the database is temporary",
    )
    parser.add_argument("--database", default=DEVELOPMENT_DATABASE)
    parser.add_argument("--user", default=DEVELOPMENT_USER)
    parser.add_argument(
        "--password", help=f"better given in the environment as {PASSWORD_VARIABLE}"
    )
    encryption = parser.add_argument_group(
        "encryption",
        "Clients choose it (Encrypt=no, yes or strict). The certificate is made at start.",
    )
    encryption.add_argument("--certificate", type=Path, help="PEM file of one of your own")
    encryption.add_argument("--key", type=Path, help="its key, where that is in another file")
    encryption.add_argument(
        "--write-certificate",
        type=Path,
        metavar="FILE",
        help="where to put the certificate that clients are to trust (ServerCertificate=FILE)",
    )
    encryption.add_argument(
        "--require-encryption", action="store_true", help="let nobody in without it"
    )
    encryption.add_argument(
        "--encrypt-logins",
        action="store_true",
        help="encrypt the login even of clients that want no encryption, as SQL Server does",
    )
    encryption.add_argument("--no-tls", action="store_true", help="have no encryption at all")
    return parser


def _tls(options: argparse.Namespace) -> ServerTls | None:
    """
    :raises OSError: a file cannot be read or written, or does not fit the other.
    :raises ValueError: a file or an option does not make sense.
    :raises CannotMakeCertificate: ``cryptography`` is missing and encryption required.
    """
    if options.no_tls:
        if (
            options.require_encryption
            or options.encrypt_logins
            or options.certificate
            or options.write_certificate
        ):
            raise ValueError("--no-tls contradicts the other options of encryption")
        return None
    certificate = None
    if options.certificate is not None:
        certificate = Certificate.from_files(options.certificate, options.key)
    elif options.key is not None:
        raise ValueError("--key needs --certificate")
    try:
        tls = open_tls(
            options.host,
            certificate,
            required=options.require_encryption,
            encrypt_logins=options.encrypt_logins,
        )
    except ssl.SSLError as failure:
        raise ValueError(f"certificate and key: {failure.reason or failure}") from None
    if options.write_certificate is not None:
        if tls is None:
            raise ValueError("there is no certificate to write")
        options.write_certificate.write_text(tls.certificate_pem, "ascii")
    return tls


async def _serve(
    config: EngineConfig, host: str, port: int, tls: ServerTls | None, user: str, password: str
) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        # Not loop.add_signal_handler: Windows has none.
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.set))
    engine = open_configured_engine(config)
    try:
        server = TdsServer(engine, host, port, tls=tls)
        try:
            await server.start()
            _announce(server, config, user, password)
            await stop.wait()
        finally:
            await server.stop()
    finally:
        engine.close()
    return 0


def _announce(server: TdsServer, config: EngineConfig, user: str, password: str) -> None:
    shown = password if password == DEVELOPMENT_PASSWORD else "<password>"
    required = server.tls is not None and server.tls.required
    encrypt = "yes;TrustServerCertificate=yes" if required else "no"
    print(
        f"mssql_async embedded server on {server.host}:{server.port}, connect with "
        f"Driver={{ODBC Driver 18 for SQL Server}};Server={server.host},{server.port};"
        f"UID={user};PWD={shown};Database={config.database};Encrypt={encrypt}",
        flush=True,
    )
    if not _is_loopback(server.host):
        print(
            f"warning: {server.host} can be reached from other machines"
            f"{_exposed(server.tls)}; this is no server for production",
            file=sys.stderr,
            flush=True,
        )


def _exposed(tls: ServerTls | None) -> str:
    if tls is None:
        return ", and neither the traffic nor the password on its way is encrypted"
    return "" if tls.required else ", and encrypts only for those who ask (--require-encryption)"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


if __name__ == "__main__":
    sys.exit(main())

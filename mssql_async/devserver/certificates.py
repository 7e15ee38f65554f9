"""The server's TLS certificate: given, or self-signed at start as SQL Server does.

Making one needs the package ``cryptography`` (``pip install 'mssql-async[devserver]'``);
without it, and without a certificate of one's own, the server speaks in clear.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

_VALIDITY = datetime.timedelta(days=365)
_CLOCK_SKEW = datetime.timedelta(days=1)
"""A client in a container or a virtual machine may live a little earlier."""
_NAMES = ("localhost", "127.0.0.1", "::1")


class CannotMakeCertificate(Exception):
    """The package ``cryptography`` is not installed."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate, with its chain if it has one, and its unencrypted private key."""

    certificate_pem: str
    key_pem: str = field(repr=False)

    @classmethod
    def from_files(cls, certificate: Path, key: Path | None = None) -> Certificate:
        """Read PEM files. Without ``key`` the first file holds both.

        :raises OSError: a file cannot be read.
        :raises ValueError: a file does not hold what it should.
        """
        certificate_pem = certificate.read_text("ascii")
        key_pem = (key or certificate).read_text("ascii")
        if "-----BEGIN CERTIFICATE-----" not in certificate_pem:
            raise ValueError(f"{certificate} holds no certificate in PEM format")
        if "PRIVATE KEY-----" not in key_pem:
            raise ValueError(f"{key or certificate} holds no private key in PEM format")
        return cls(certificate_pem, key_pem)

    @classmethod
    def self_signed(cls, host: str = "localhost") -> Certificate:
        """Make one for ``host`` and every name of the local machine's loopback.

        :raises CannotMakeCertificate: ``cryptography`` is missing.
        """
        try:
            from cryptography import x509
            from cryptography.hazmat.primitives import hashes, serialization
            from cryptography.hazmat.primitives.asymmetric import ec
            from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
        except ImportError as failure:
            raise CannotMakeCertificate(
                "a self-signed certificate needs the package cryptography: "
                "pip install 'mssql-async[devserver]'"
            ) from failure
        # P-256, not the RSA of SQL Server: made in a millisecond, and every client knows it.
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "SSL_Self_Signed_Fallback")])
        now = datetime.datetime.now(datetime.UTC)
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        names = [
            x509.DNSName(each) if isinstance(each, str) else x509.IPAddress(each)
            for each in _alternative_names((*_NAMES, host))
        ]
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _CLOCK_SKEW)
            .not_valid_after(now + _VALIDITY)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(identifier, critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls(
            certificate.public_bytes(serialization.Encoding.PEM).decode("ascii"),
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ).decode("ascii"),
        )


def _alternative_names(
    hosts: Iterable[str],
) -> list[str | ipaddress.IPv4Address | ipaddress.IPv6Address]:
    found: dict[str | ipaddress.IPv4Address | ipaddress.IPv6Address, None] = {}
    for host in hosts:
        try:
            found[ipaddress.ip_address(host)] = None
        except ValueError:
            found[host] = None
    return list(found)

"""Throw-away keys for a federation on one machine: a certificate authority, a server certificate, and node keys.

Every run makes its own. The authority's private key is used once and never written down, so that nobody, not even the
owner of the run's folder, can make a second server that the sites would believe.
"""

import datetime
import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hedgerow.disk import disk_errors

__all__ = ["Certificates", "create_certificates"]

LIFETIME = datetime.timedelta(days=2)
CLOCK_SKEW = datetime.timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """Where the keys of one federation lie: PEM for TLS, OpenSSH for the nodes (one pair per site, in site order)."""

    authority: Path
    server: Path
    server_key: Path
    node_keys: tuple[Path, ...]
    node_public_keys: tuple[Path, ...]


def create_certificates(
    folder: Path,
    *,
    sites: int,
    lifetime: datetime.timedelta = LIFETIME,
    now: datetime.datetime | None = None,
) -> Certificates:
    """Make an authority, a server certificate for this machine's loopback names, and a key pair for each site.

    The certificate names `localhost` and 127.0.0.1 only, and is valid from five minutes ago for `lifetime`. All keys
    are EC P-384, the curve that Flower's node authentication uses. Private keys are readable by their owner only.

    Raises:
        Exhausted: E503 no space left, E504 the folder cannot be written.
    """
    start = (now or datetime.datetime.now(datetime.UTC)) - CLOCK_SKEW
    end = start + CLOCK_SKEW + lifetime
    authority_key, server_key = _new_key(), _new_key()
    authority = _authority(authority_key, start, end)
    server = _server(server_key.public_key(), authority, authority_key, start, end)
    with disk_errors("the keys", folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = Certificates(
            authority=_write(folder / "ca.pem", authority.public_bytes(serialization.Encoding.PEM)),
            server=_write(folder / "server.pem", server.public_bytes(serialization.Encoding.PEM)),
            server_key=_write(
                folder / "server.key", _private(server_key, serialization.PrivateFormat.PKCS8), secret=True
            ),
            node_keys=tuple(folder / f"site-{site}.key" for site in range(sites)),
            node_public_keys=tuple(folder / f"site-{site}.pub" for site in range(sites)),
        )
        for private, public in zip(made.node_keys, made.node_public_keys, strict=True):
            key = _new_key()
            _write(private, _private(key, serialization.PrivateFormat.OpenSSH), secret=True)
            _write(
                public,
                key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH),
            )
    return made


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP384R1())


def _private(key: ec.EllipticCurvePrivateKey, form: serialization.PrivateFormat) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _authority(key: ec.EllipticCurvePrivateKey, start: datetime.datetime, end: datetime.datetime) -> x509.Certificate:
    name, public = _name("Hedgerow local federation"), key.public_key()
    return (
        _builder(name, name, public, start, end)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .sign(key, hashes.SHA384())
    )


def _server(
    public: ec.EllipticCurvePublicKey,
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
    start: datetime.datetime,
    end: datetime.datetime,
) -> x509.Certificate:
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    return (
        _builder(_name("localhost"), authority.subject, public, start, end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA384())
    )


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public: ec.EllipticCurvePublicKey,
    start: datetime.datetime,
    end: datetime.datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _write(path: Path, content: bytes, *, secret: bool = False) -> Path:
    """Write a new file; a secret one is never readable by others, not even for the moment before a chmod."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if secret else 0o644), "wb") as file:
        file.write(content)
    return path

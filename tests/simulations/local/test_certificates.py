"""Keys of a local federation: who believes whom, for how long, and who can read them."""

import datetime
import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_private_key, load_ssh_public_key

from hedgerow.errors import Exhausted
from hedgerow.simulations.local.certificates import Certificates, create_certificates


def shake_hands(server: Certificates, believed: Path, name: str) -> None:
    """A TLS handshake in memory: raises if a client that believes `believed` does not accept the server as `name`."""
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.load_cert_chain(server.server, server.server_key)
    theirs = ssl.create_default_context(cafile=str(believed))
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [ours.wrap_bio(up, down, server_side=True), theirs.wrap_bio(down, up, server_hostname=name)]
    left = set(range(2))
    for _ in range(10):
        for end in sorted(left, reverse=True):
            try:
                ends[end].do_handshake()
                left.discard(end)
            except ssl.SSLWantReadError:
                continue
    assert not left


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
def test_a_site_that_believes_the_authority_accepts_the_server(tmp_path: Path, name: str) -> None:
    made = create_certificates(tmp_path, sites=0)
    shake_hands(made, made.authority, name)


def test_a_server_under_another_name_or_another_authority_is_not_accepted(tmp_path: Path) -> None:
    made, other = create_certificates(tmp_path / "a", sites=0), create_certificates(tmp_path / "b", sites=0)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(made, made.authority, "example.org")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(other, made.authority, "localhost")


def test_the_certificates_end_when_they_should(tmp_path: Path) -> None:
    now = datetime.datetime(2026, 11, 24, tzinfo=datetime.UTC)
    made = create_certificates(tmp_path, sites=0, now=now, lifetime=datetime.timedelta(hours=3))
    for path in (made.authority, made.server):
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        assert certificate.not_valid_after_utc == now + datetime.timedelta(hours=3)
        assert certificate.not_valid_before_utc < now


def test_private_keys_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    made = create_certificates(tmp_path / "keys", sites=2)
    for path in (made.server_key, *made.node_keys):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700


def test_the_authoritys_private_key_is_nowhere_on_disk(tmp_path: Path) -> None:
    made = create_certificates(tmp_path, sites=1)
    authority = x509.load_pem_x509_certificate(made.authority.read_bytes()).public_key()
    files = [path for path in tmp_path.iterdir() if b"PRIVATE KEY" in path.read_bytes()]
    assert sorted(files) == sorted([made.server_key, *made.node_keys])
    server = serialization.load_pem_private_key(made.server_key.read_bytes(), None)
    assert server.public_key() != authority
    assert load_ssh_private_key(made.node_keys[0].read_bytes(), None).public_key() != authority


def test_each_site_has_its_own_openssh_key_on_the_curve_of_flowers_authentication(tmp_path: Path) -> None:
    made = create_certificates(tmp_path, sites=3)
    publics = [load_ssh_public_key(path.read_bytes()) for path in made.node_public_keys]
    for public, private in zip(publics, made.node_keys, strict=True):
        assert isinstance(public, ec.EllipticCurvePublicKey) and public.curve.name == "secp384r1"
        assert load_ssh_private_key(private.read_bytes(), None).public_key() == public
    assert len({path.read_bytes() for path in made.node_public_keys}) == 3


def test_keys_are_never_written_over_others(tmp_path: Path) -> None:
    create_certificates(tmp_path, sites=0)
    with pytest.raises(Exhausted, match="E504"):
        create_certificates(tmp_path, sites=0)

"""Whom driver and agents believe to vouch for the API server: the authorities that Kubernetes' own clients believe."""

import ipaddress
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from cni_migrate.identities.agent import apiserver as of_identities
from cni_migrate.knet.agent import apiserver as of_knet
from cni_migrate.kube import connect
from cni_migrate.kube.kubeconfig import Access

PEM = serialization.Encoding.PEM

Trust = Callable[[Path], ssl.SSLContext]


def _driver(ca: Path) -> ssl.SSLContext:
    access = Access(origin="a test", server="https://127.0.0.1", config={}, ca=ca.read_text(encoding="ascii"))
    return connect._tls(access, None, None, over_tls=True)


def _knet(ca: Path) -> ssl.SSLContext:
    return of_knet.trust(ca)


def _identities(ca: Path) -> ssl.SSLContext:
    return of_identities.trust(ca)


class Holder:
    """Who has a certificate: an authority, or the server. As old tools make them, without extensions about keys."""

    def __init__(self, name: str, by: "Holder | None" = None, *, authority: bool = True) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        now, signer = datetime.now(UTC), by or self
        extension: x509.BasicConstraints | x509.SubjectAlternativeName = x509.BasicConstraints(True, None)
        if not authority:
            extension = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(self.name)
            .issuer_name(signer.name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(extension, critical=authority)
            .sign(signer.key, hashes.SHA256())
        )

    def shown(self, path: Path, *, private: bool = False) -> Path:
        """The certificate as a file, with its key if that is `private`."""
        text = self.certificate.public_bytes(PEM)
        if private:
            text += self.key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        path.write_bytes(text)
        return path


def _greet(client: ssl.SSLContext, server: Path) -> None:
    """One TLS handshake in memory.

    Raises:
        ssl.SSLError: the client does not believe the server.
    """
    there = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    there.load_cert_chain(server)
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(down, up, server_hostname="127.0.0.1"),
        there.wrap_bio(up, down, server_side=True),
    ]
    for _ in range(4):
        for one in list(ends):
            try:
                one.do_handshake()
                ends.remove(one)
            except ssl.SSLWantReadError:
                continue
    assert not ends


@pytest.fixture
def as_new_pythons(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Python does by itself from 3.13 on (its documentation: ssl.create_default_context)."""
    made = ssl.create_default_context

    def strict(*args: Any, **more: Any) -> ssl.SSLContext:
        context = made(*args, **more)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", strict)


ALL = pytest.mark.parametrize("trust", [_driver, _knet, _identities], ids=["driver", "knet", "identities"])


@ALL
def test_an_authority_that_another_one_has_signed(trust: Trust, tmp_path: Path) -> None:
    """A company's, of which the cluster's `ca.crt` has but its own part (kubeadm: "Custom certificates")."""
    own = Holder("kubernetes", Holder("company"))
    server = Holder("kube-apiserver", own, authority=False).shown(tmp_path / "server.pem", private=True)
    _greet(trust(own.shown(tmp_path / "ca.crt")), server)


@ALL
@pytest.mark.usefixtures("as_new_pythons")
def test_an_old_authority(trust: Trust, tmp_path: Path) -> None:
    """Made before anybody asked for key usages and key identifiers; Go does not ask for them."""
    own = Holder("kubernetes")
    server = Holder("kube-apiserver", own, authority=False).shown(tmp_path / "server.pem", private=True)
    _greet(trust(own.shown(tmp_path / "ca.crt")), server)


@ALL
def test_nobody_else(trust: Trust, tmp_path: Path) -> None:
    """Another authority vouches for nothing, whatever it is called."""
    server = Holder("kube-apiserver", Holder("kubernetes"), authority=False).shown(tmp_path / "s.pem", private=True)
    with pytest.raises(ssl.SSLCertVerificationError):
        _greet(trust(Holder("kubernetes").shown(tmp_path / "ca.crt")), server)

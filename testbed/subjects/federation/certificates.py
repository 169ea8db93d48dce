"""The certificates and keys of one deployment, made when it starts and deleted with its folder.

A certificate authority signs one certificate for 127.0.0.1, by which the SuperLink and the SuperNodes prove who they
are. Each SuperNode has a private key; only a node whose public key was registered is accepted by the SuperLink.
"""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

HOST = "127.0.0.1"
AUTHORITY, CERTIFICATE, KEY, SECRET = "authority.pem", "certificate.pem", "key.pem", "secret"
VALID = timedelta(days=7)
SKEW = timedelta(minutes=10)
"""How far a clock may be set back while a deployment runs."""


def write(folder: Path, nodes: int) -> None:
    """Writes the authority, the certificate with its key, the secret of the task starters, and a key pair a node."""
    ours, theirs = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = _signed("testbed deployment", ours.public_key(), ours, None)
    certificate = _signed(HOST, theirs.public_key(), ours, authority)
    (folder / AUTHORITY).write_bytes(authority.public_bytes(Encoding.PEM))
    (folder / CERTIFICATE).write_bytes(certificate.public_bytes(Encoding.PEM))
    _private(folder / KEY, theirs.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    _private(folder / SECRET, secrets.token_hex(32).encode())
    for node in range(nodes):
        node_key(folder / f"node{node}")


def server(authority_folder: Path, folder: Path, names: tuple[str, ...]) -> None:
    """Writes the certificate of a server with its key to `folder`, and that of its authority, which others trust, to
    `authority_folder`. The server is known by 127.0.0.1 and by these names."""
    ours, theirs = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = _signed("testbed range", ours.public_key(), ours, None)
    certificate = _signed(names[0], theirs.public_key(), ours, authority, names)
    (authority_folder / AUTHORITY).write_bytes(authority.public_bytes(Encoding.PEM))
    (folder / CERTIFICATE).write_bytes(certificate.public_bytes(Encoding.PEM))
    _private(folder / KEY, theirs.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def stations(trusted: Path, link: Path, nodes: Sequence[Path], name: str) -> None:
    """Writes what the stations of a federation need, each into a folder of its own.

    A station gets a certificate, its key, a secret for the processes that start its tasks, and the authority's
    certificate, which also goes to `trusted`. A node gets its private key, and the SuperLink, which is known by `name`,
    all public ones.
    """
    ours = ec.generate_private_key(ec.SECP256R1())
    authority = _signed("testbed federation", ours.public_key(), ours, None)
    for folder, known in ((link, name), *((node, HOST) for node in nodes)):
        own = ec.generate_private_key(ec.SECP256R1())
        made = _signed(
            known, own.public_key(), ours, authority, (name, "localhost") if folder == link else ("localhost",)
        )
        (folder / CERTIFICATE).write_bytes(made.public_bytes(Encoding.PEM))
        _private(folder / KEY, own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        _private(folder / SECRET, secrets.token_hex(32).encode())
    for folder in (trusted, link, *nodes):
        (folder / AUTHORITY).write_bytes(authority.public_bytes(Encoding.PEM))
    for number, node in enumerate(nodes):
        node_key(node / f"node{number}")
        public = (node / f"node{number}").with_suffix(".pub")
        (link / public.name).write_bytes(public.read_bytes())


def node_key(path: Path) -> None:
    """Writes a SuperNode's private key to `path`, and its public key beside it with the suffix .pub."""
    key = ec.generate_private_key(ec.SECP384R1())
    _private(path, key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    path.with_suffix(".pub").write_bytes(key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH))


def _signed(
    name: str,
    key: ec.EllipticCurvePublicKey,
    signer: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate | None,
    names: tuple[str, ...] = ("localhost",),
) -> x509.Certificate:
    """A certificate for loopback, signed by its issuer, or one of an authority, which has none."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + VALID)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .add_extension(_usage(issuer is None), critical=True)
    )
    if issuer:
        known = [x509.IPAddress(ipaddress.ip_address(HOST)), *map(x509.DNSName, names)]
        made = made.add_extension(x509.SubjectAlternativeName(known), critical=False)
        made = made.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    return made.sign(signer, hashes.SHA256())


def _usage(authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _private(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)

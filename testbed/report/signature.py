# pyright: strict
"""A signature by Ed25519 over a bundle's list of checksums, with a key file of the user's.

openssl genpkey -algorithm ed25519 -out site.pem        the private key, for `testbed bundle --sign site.pem`
openssl pkey -in site.pem -pubout -out site.pub         the public key, for `testbed verify --signer site.pub`
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from pathlib import Path
from typing import Any, cast

from testbed.core.errors import UsageError

ALGORITHM = "ed25519"


def sign(content: bytes, key_file: Path) -> bytes:
    """The signature of the content, as the text of its file. Raises `UsageError` for a file that holds no such key."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(_read(key_file), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise _no_key(key_file, "a private Ed25519 key in PEM without a password")
    fields = {
        "algorithm": ALGORITHM,
        "public_key": _text(key.public_key().public_bytes_raw()),
        "signature": _text(key.sign(content)),
    }
    return (json.dumps(fields, indent=2) + "\n").encode()


def signer(signature: bytes, content: bytes) -> bytes | None:
    """The public key (32 bytes) by which this signature is one of the content; None if it is not."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        fields = cast("dict[str, Any]", json.loads(signature))
        public = base64.b64decode(fields["public_key"], validate=True)
        Ed25519PublicKey.from_public_bytes(public).verify(base64.b64decode(fields["signature"], validate=True), content)
    except (ValueError, KeyError, TypeError, RecursionError, binascii.Error, InvalidSignature):
        return None
    return public


def public_key(key_file: Path) -> bytes:
    """The bytes of a public key's file. Raises `UsageError` for a file that holds none."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(_read(key_file))
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise _no_key(key_file, "a public Ed25519 key in PEM")
    return key.public_bytes_raw()


def fingerprint(public: bytes) -> str:
    """A short name of a public key, to compare by eye."""
    return hashlib.sha256(public).hexdigest()[:16]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(
            "TB-SIGN-001", "The key file cannot be read.", f"The system says: {error.strerror}.", "Check the path."
        ) from None


def _no_key(path: Path, wanted: str) -> UsageError:
    return UsageError(
        "TB-SIGN-002",
        f"The file {path.name} is not {wanted}.",
        "A bundle is signed by Ed25519.",
        "Make a key with: openssl genpkey -algorithm ed25519 -out site.pem. Its public part: "
        "openssl pkey -in site.pem -pubout -out site.pub.",
    )


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()

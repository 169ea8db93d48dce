"""Signatures by Ed25519: made with the user's key file, and good for one content and one key."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.core.errors import UsageError
from testbed.report import signature

serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
ed25519 = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")


def keys(folder: Path) -> tuple[Path, Path]:
    """A new private key and its public key, in PEM as openssl writes them."""
    private = ed25519.Ed25519PrivateKey.generate()
    pem = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "site.pem").write_bytes(private.private_bytes(*pem))
    public = private.public_key().public_bytes(pem[0], serialization.PublicFormat.SubjectPublicKeyInfo)
    (folder / "site.pub").write_bytes(public)
    return folder / "site.pem", folder / "site.pub"


def test_a_signature_fits_its_content_and_its_key_only(tmp_path: Path) -> None:
    private, public = keys(tmp_path)
    signed = signature.sign(b"content", private)
    assert signature.signer(signed, b"content") == signature.public_key(public)
    assert signature.signer(signed, b"Content") is None
    assert signature.sign(b"content", private) == signed
    (tmp_path / "other").mkdir()
    assert signature.public_key(keys(tmp_path / "other")[1]) != signature.public_key(public)


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b"null", b'{"public_key": "x", "signature": "y"}', b"[" * 5000])
def test_what_is_no_signature_has_no_signer(text: bytes) -> None:
    assert signature.signer(text, b"content") is None


def test_a_file_that_holds_no_such_key_is_refused_without_its_content(tmp_path: Path) -> None:
    private, public = keys(tmp_path)
    (tmp_path / "no.pem").write_text("secret words")
    for file in (public, tmp_path / "no.pem"):
        with pytest.raises(UsageError, match="TB-SIGN-002") as refused:
            signature.sign(b"", file)
        assert "secret" not in str(refused.value)
    with pytest.raises(UsageError, match="TB-SIGN-002"):
        signature.public_key(private)
    with pytest.raises(UsageError, match="TB-SIGN-001"):
        signature.sign(b"", tmp_path / "none.pem")

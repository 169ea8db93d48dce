"""The certificates of a deployment: TLS on loopback succeeds with its own authority, and with no other."""

from __future__ import annotations

import socket
import ssl
import stat
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_ssh_private_key, load_ssh_public_key

from testbed.subjects.federation import certificates
from testbed.subjects.federation.certificates import AUTHORITY, CERTIFICATE, HOST, KEY, SECRET


def greeted(served: Path, trusted: Path) -> bytes:
    """What a TLS client that trusts one authority hears from a server that has another one's certificate."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(served / CERTIFICATE, served / KEY)
    with socket.create_server((HOST, 0)) as listener:

        def answer() -> None:
            raw, _ = listener.accept()
            try:
                with server.wrap_socket(raw, server_side=True) as connection:
                    connection.sendall(b"welcome")
            except OSError:
                raw.close()

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            context = ssl.create_default_context(cafile=str(trusted / AUTHORITY))
            context.verify_flags |= ssl.VERIFY_X509_STRICT
            with (
                socket.create_connection(listener.getsockname()) as raw,
                context.wrap_socket(raw, server_hostname=HOST) as connection,
            ):
                return connection.recv(16)
        finally:
            thread.join()


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    made = tmp_path / "one", tmp_path / "other"
    for folder in made:
        folder.mkdir()
        certificates.write(folder, 2)
    return made


def test_a_client_trusts_the_certificate_of_its_own_authority_alone(folders: tuple[Path, Path]) -> None:
    one, other = folders
    assert greeted(one, one) == b"welcome"
    with pytest.raises(ssl.SSLCertVerificationError):
        greeted(one, other)


def test_each_node_has_a_key_pair_of_its_own_and_only_its_owner_reads_secrets(folders: tuple[Path, Path]) -> None:
    one, other = folders
    publics: set[bytes] = set()
    for path in (one / "node0", one / "node1", other / "node0"):
        private = load_ssh_private_key(path.read_bytes(), None)
        public = path.with_suffix(".pub").read_bytes()
        assert load_ssh_public_key(public) == private.public_key()
        publics.add(public)
    assert len(publics) == 3
    assert (one / SECRET).read_bytes() != (other / SECRET).read_bytes()
    for name in (KEY, SECRET, "node0", "node1"):
        assert stat.S_IMODE((one / name).stat().st_mode) == 0o600

"""A supervisor whose second node reaches the SuperLink through a relay, and the relay, whose link can be cut."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from pathlib import Path

from testbed.subjects.federation import certificates
from testbed.subjects.federation.supervisor import Supervisor, main

RELAY = "TESTBED_TEST_RELAY"
"""The environment variable that names the relay's address."""


class Detour(Supervisor):
    def reached(self, node: int) -> str:
        return os.environ[RELAY] if node == 1 else self.link


class Relay:
    """Passes bytes on to the SuperLink of the deployment below `folder`, until it is cut. Then nothing comes through,
    and no connection is closed, as when a cable is pulled."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.cut = folder, threading.Event()
        self.door = socket.create_server((certificates.HOST, 0))
        self.address = f"{certificates.HOST}:{self.door.getsockname()[1]}"
        self.open: list[socket.socket] = [self.door]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # of a door that was closed
            while True:
                near, _ = self.door.accept()
                self.open.append(near)
                if not self.cut.is_set():
                    self._connect(near)

    def _connect(self, near: socket.socket) -> None:
        try:
            far = socket.create_connection(link(self.folder))
        except (OSError, ValueError):  # the SuperLink was killed, or its folder is gone
            near.close()
            return
        self.open.append(far)
        for one, other in ((near, far), (far, near)):
            threading.Thread(target=self._pass, args=(one, other), daemon=True).start()

    def _pass(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while (given := one.recv(1 << 16)) and not self.cut.is_set():
                other.sendall(given)
            if not self.cut.is_set():
                other.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        for one in self.open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


def link(folder: Path) -> tuple[str, int]:
    """Where the SuperLink of the deployment below a folder answers."""
    (settings,) = folder.glob("*/server/flwr/config.toml")
    host, _, port = settings.read_text().split('address = "')[1].split('"')[0].rpartition(":")
    return host, int(port)


if __name__ == "__main__":
    main(Detour)

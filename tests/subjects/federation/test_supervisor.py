"""The supervisor of a deployment: the app that it lets run, and the order in which it starts apps."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from testbed.subjects.federation import compat
from testbed.subjects.federation.deployed import write_app
from testbed.subjects.federation.supervisor import free_ports


def test_the_app_of_every_deployment_is_the_same_to_the_byte_and_a_changed_one_is_not(tmp_path: Path) -> None:
    one, other = (write_app(tmp_path / name) for name in ("one", "other"))
    assert compat.bundle_of(one) == compat.bundle_of(other)
    (other / "deployment" / "client.py").write_text("app = None\n")
    assert compat.bundle_of(one) != compat.bundle_of(other)


SETTLED = """
import importlib
from testbed.subjects.federation import compat

compat.deployed("another digest", print)
for module in ("flwr.superlink.runtime.run_serverapp", "flwr.supernode.runtime.run_clientapp"):
    try:
        importlib.import_module(module).install_from_fab(b"an app", skip_prompt=True)
    except PermissionError:
        print("refused")
"""


def test_server_and_nodes_refuse_any_other_app() -> None:
    done = subprocess.run([sys.executable, "-c", SETTLED], capture_output=True, text=True, timeout=240)
    assert done.stdout.split() == ["refused", "refused"], done.stderr


def test_ports_are_free_and_all_different() -> None:
    assert len(set(free_ports(20))) == 20


SCRIPT = """
import os, sys, time
from pathlib import Path
from testbed.subjects.federation.supervisor import Supervisor

folder = Path(sys.argv[1])
supervisor = Supervisor(folder, 2)


def app():
    note = folder / "notes"
    with note.open("a") as file:
        file.write(f"{sys.argv[1]} starts\\n")
    time.sleep(1)
    with note.open("a") as file:
        file.write(f"{sys.argv[1]} ends\\n")


supervisor.commands = {"flwr-clientapp": app}
for part in ("node0", "node1"):
    (folder / part).mkdir()
for part, name in (("node0", "first"), ("node0", "second"), ("node1", "other")):
    os.environ["TESTBED_PART"] = part
    supervisor._launch(["flwr-clientapp", name])
while len(supervisor.ended) < 3:
    supervisor.watch()
assert [e.code for e in supervisor.ended] == [0, 0, 0]
"""


def test_the_next_app_of_a_node_starts_when_the_one_before_has_ended_and_nodes_do_not_wait_for_each_other(
    tmp_path: Path,
) -> None:
    """An app pushes its state after its answer. If the next one started in between, it would read an old state."""
    with subprocess.Popen([sys.executable, "-c", SCRIPT, str(tmp_path)], stdin=subprocess.PIPE) as supervisor:
        assert supervisor.wait(240) == 0
    notes = (tmp_path / "notes").read_text().splitlines()
    assert notes.index("first ends") < notes.index("second starts")
    assert notes.index("other starts") < notes.index("first ends")

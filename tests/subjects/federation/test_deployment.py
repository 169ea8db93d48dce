"""The same apps as processes on loopback: the same findings, the same errors, and nothing left behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from testbed.core import Act, Cohort, Parameters, user_code
from testbed.core.errors import RunError, UsageError
from testbed.harness.run import run
from testbed.harness.scenario import find
from testbed.subjects.federation import certificates, deployed, deployment
from testbed.subjects.federation.deployed import write_app
from testbed.subjects.federation.deployment import Deployment, standing
from testbed.subjects.federation.federation import Federation
from testbed.subjects.federation.secure import SecureAggregation
from testbed.subjects.federation.supervisor import PROCESSES, free_ports
from tests.subjects.federation.test_engine import SPEC, parts, protocol

slow = pytest.mark.slow


def processes(folder: Path) -> list[int]:
    """The processes of the deployment in this folder: its supervisor and all forks have it in their command line."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and entry.name != str(os.getpid()):
            with contextlib.suppress(OSError):
                if str(folder).encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
    return found


def gone(folder: Path, port: int, patience: float = 60) -> bool:
    """Have all processes, files and the port of a deployment gone?"""
    limit = time.monotonic() + patience
    while time.monotonic() < limit:
        with socket.socket() as probe:
            closed = probe.connect_ex((certificates.HOST, port)) != 0
        if closed and not list(folder.glob("testbed-*")) and not processes(folder):
            return True
        time.sleep(0.2)
    return False


def working(folder: Path, patience: float = 300) -> tuple[dict[str, int], int]:
    """The processes of the deployment below a folder, and its port, as soon as a client's app is at work."""
    limit = time.monotonic() + patience
    while time.monotonic() < limit:
        for file in folder.glob(f"*/{PROCESSES}"):
            named = {name: int(pid) for pid, name in (x.split(" ", 1) for x in file.read_text().splitlines())}
            if any(file.parent.glob("node1/asleep")):
                settings = (file.parent / "server" / "flwr" / "config.toml").read_text()
                return named, int(settings.split("127.0.0.1:")[1].split('"')[0])
        time.sleep(0.2)
    raise AssertionError("the deployment did not start")


def asleep(round_: int, client: int, sent: Parameters, returned: Parameters) -> Parameters:
    """An answer that does not come. It leaves a file, by which a test sees that it was asked for."""
    Path(os.environ[deployed.FOLDER], "asleep").touch()
    time.sleep(600)
    return returned


def never_ends() -> None:
    Federation(SPEC, protocol(), 3).run(parts(2), "deployment", Act(answer=asleep, nodes=(1,)))


@pytest.fixture(scope="module")
def kept() -> Generator[None]:
    """All federations of three clients share one deployment, as those of one run do."""
    with standing():
        yield


def test_a_small_deployment_agrees_with_one_process_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    federation = Federation(SPEC, protocol(rounds=1), 3)
    here, there = (federation.run(parts(1), engine) for engine in ("in-process", "deployment"))
    same(here.exchanges[0].returned, there.exchanges[0].returned)
    same(here.final, there.final)
    assert processes(tmp_path) == []
    assert list(tmp_path.glob("testbed-*")) == []


@slow
@pytest.mark.parametrize("kind", ["fedsgd", "fedavg"])
def test_a_deployed_federation_ends_at_the_same_model_to_the_byte(kind: str, kept: None) -> None:
    here, there = (Federation(SPEC, protocol(kind), 3).run(parts(), engine) for engine in ("in-process", "deployment"))
    assert [e.key for e in here.exchanges] == [e.key for e in there.exchanges]
    for one, other in zip(here.exchanges, there.exchanges, strict=True):
        assert one.metrics == other.metrics
        assert one.status == other.status
        same(one.sent, other.sent)
        same(one.returned, other.returned)
    same(here.final, there.final)


@slow
def test_secure_aggregation_gives_the_same_sums(kept: None) -> None:
    """Its clients keep keys and shares in their state from one message to the next."""
    federation = Federation(SPEC, protocol(), 3, secure=SecureAggregation())
    here, there = (federation.run(parts(), engine) for engine in ("in-process", "deployment"))
    assert [e.key for e in here.exchanges] == [e.key for e in there.exchanges]
    for one, other in zip(here.exchanges, there.exchanges, strict=True):
        same(one.returned, other.returned)
    same(here.final, there.final)


def same(one: Parameters | None, other: Parameters | None) -> None:
    assert one is not None
    assert other is not None
    assert {k: v.tobytes() for k, v in one.items()} == {k: v.tobytes() for k, v in other.items()}


@slow
def test_what_a_malicious_server_remembers_comes_back(kept: None) -> None:
    noted = {"target": np.array([1.0], np.float32)}

    def observe(round_: int, client: int, returned: Parameters) -> None:
        noted[f"round{round_}.client{client}"] = next(iter(returned.values()))

    act = Act(observe=observe, remember=noted)
    seen = Federation(SPEC, protocol(), 3).run(parts(), "deployment", act, "noting")
    assert seen.act == "noting"
    assert {f"round{r}.client{c}" for r in range(1, protocol().rounds + 1) for c in range(3)} < set(seen.memory)


@slow
def test_a_client_that_fails_fails_the_run_with_the_same_error_as_in_one_process() -> None:
    other = Cohort(np.zeros((8, 5), np.float32), np.zeros(8, np.int64), np.arange(8).astype(str))
    told: list[str] = []
    for engine in ("in-process", "deployment"):
        with pytest.raises(RunError, match="TB-RUN-001") as caught:
            Federation(SPEC, protocol(), 3).run([*parts()[:2], other], engine)
        told.append(str(caught.value))
    assert told[0] == told[1]


SMALL = {"data": "digits", "clients": 2, "rounds": 2}
MEMBERSHIP = {"data": "breast-cancer", "clients": 2, "members": 60, "controls": 60, "rounds": 2, "epochs": 1}
SCENARIOS = [
    ("curious_server", SMALL),
    ("curious_server", {**SMALL, "noise": 0.01}),
    ("malicious_server", SMALL),
    ("federated_membership", {**MEMBERSHIP, "hidden": 8, "runs": 2}),
]


@slow
@pytest.mark.parametrize(("name", "params"), SCENARIOS, ids=[f"{n}-{i}" for i, (n, _) in enumerate(SCENARIOS)])
def test_a_deployed_federation_gives_the_same_findings(name: str, params: dict[str, object]) -> None:
    here, there = (run(find(name), params, seed=4, engine=e) for e in ("in-process", "deployment"))
    assert here.result.findings == there.result.findings
    assert there.result.run.engine == "deployment"


@slow
@pytest.mark.parametrize("victim", ["node1 flower-supernode", "server flower-superlink", "node1 flwr-clientapp"])
def test_a_process_that_dies_ends_the_run_soon_and_nothing_is_left(
    victim: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    seen: list[tuple[float, int]] = []

    def kill() -> None:
        named, port = working(tmp_path)
        seen.append((time.monotonic(), port))
        os.kill(named[victim], signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    part, command = victim.split()
    with pytest.raises(RunError, match=rf"TB-DEPLOY-002: .* by signal 9: {command} of {part}"):
        never_ends()
    thread.join()
    ((killed, port),) = seen
    assert time.monotonic() - killed < 60
    assert gone(tmp_path, port)


@slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda n: n.name)
def test_nothing_is_left_when_the_command_is_interrupted_or_killed(number: signal.Signals, tmp_path: Path) -> None:
    home, folder = tmp_path / "home", tmp_path / "tmp"
    home.mkdir()
    folder.mkdir()
    code = "from tests.subjects.federation.test_deployment import never_ends; never_ends()"
    environment = {**os.environ, "TMPDIR": str(folder), "HOME": str(home)}
    with subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.DEVNULL) as command:
        _, port = working(folder)
        command.send_signal(number)
        assert command.wait(60) != 0
    assert gone(folder, port)
    assert list(home.iterdir()) == []


@pytest.fixture(scope="module")
def single() -> Generator[Deployment]:
    one = Deployment(1)
    yield one
    one.stop()


@slow
def test_all_ports_are_on_loopback(single: Deployment) -> None:
    ours: set[str] = set()
    for pid in processes(single.folder):
        for file in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                ours.add(str(file.readlink()))
    listening = [
        fields[1]
        for table in ("tcp", "tcp6", "udp", "udp6")
        for fields in (line.split() for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:])
        if f"socket:[{fields[9]}]" in ours and (table.startswith("udp") or fields[3] == "0A")
    ]
    assert len(listening) == 2  # the SuperLink's and the SuperNode's
    assert {place.split(":")[0] for place in listening} == {"0100007F"}


def flower(command: list[object], home: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """One of Flower's commands, as somebody else on this machine would type it."""
    environment = {**os.environ, **deployment.SETTINGS, "FLWR_HOME": str(home)}
    asked = [str(Path(sys.executable).with_name(str(command[0]))), *map(str, command[1:])]
    return subprocess.run(asked, env=environment, capture_output=True, text=True, timeout=240, **options)


def reached(single: Deployment) -> tuple[str, Path]:
    """The address of the SuperLink and the certificate of its authority, which are no secrets."""
    settings = (single.folder / "server" / "flwr" / "config.toml").read_text()
    return settings.split('address = "')[1].split('"')[0], single.folder / deployed.KEYS / certificates.AUTHORITY


@slow
def test_a_node_with_a_wrong_key_is_refused(single: Deployment, tmp_path: Path) -> None:
    link, authority = reached(single)
    certificates.node_key(tmp_path / "key")
    asked = ["flower-supernode", "--superlink", link, "--root-certificates", authority, "--isolation", "process"]
    asked += ["--auth-supernode-private-key", tmp_path / "key", "--port", free_ports(1)[0]]
    done = flower(asked, tmp_path)
    assert done.returncode != 0
    assert "Failed to activate SuperNode" in done.stdout + done.stderr


@slow
def test_somebody_elses_app_is_refused(single: Deployment, tmp_path: Path) -> None:
    link, authority = reached(single)
    app = write_app(tmp_path / "theirs")
    (app / "deployment" / "server.py").write_text(f"open({str(tmp_path / 'stolen')!r}, 'w').close()\napp = None\n")
    (tmp_path / "config.toml").write_text(f'[superlink.there]\naddress = "{link}"\nroot-certificates = "{authority}"\n')
    begun = flower(["flwr", "run", app, "there", "--format", "json"], tmp_path)
    number, limit = json.loads(begun.stdout)["run-id"], time.monotonic() + 120
    status = "pending"
    while not status.startswith("finished") and time.monotonic() < limit:
        listed = flower(["flwr", "list", "there", "--run-id", number, "--format", "json"], tmp_path)
        status = json.loads(listed.stdout)["runs"][0]["status"]
    assert status == "finished:failed"
    said = flower(["flwr", "log", number, "there", "--show"], tmp_path)
    assert "another app than the one of this deployment" in said.stdout + said.stderr
    assert not (tmp_path / "stolen").exists()


def test_more_clients_than_the_machine_can_hold_as_processes_are_refused() -> None:
    with pytest.raises(UsageError, match=r"TB-DEPLOY-010: 31 clients .*simulation"):
        Deployment(31)


def test_what_cannot_be_sent_to_another_process_is_refused() -> None:
    with pytest.raises(UsageError, match=r"TB-DEPLOY-008: .*TypeError.*in-process"):
        deployment.pickled(threading.Lock())


def test_a_users_own_code_travels_to_processes_that_cannot_import_it(tmp_path: Path) -> None:
    (tmp_path / "own_answer_of_a_user.py").write_text("STEP = 3\n\n\ndef moved(x):\n    return x + STEP\n")
    own = user_code.module(str(tmp_path / "own_answer_of_a_user.py"))
    (tmp_path / "sent").write_bytes(deployment.pickled(own.moved))
    (tmp_path / "own_answer_of_a_user.py").unlink()
    code = "import pickle, sys; print(pickle.load(open(sys.argv[1], 'rb'))(4))"
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "sent")], capture_output=True, text=True)
    assert done.stdout == "7\n", done.stderr

"""A whole exercise in containers, played by a script: python -m tests.range.rehearsal FOLDER

It runs within `docker/rehearse.sh inside`, and writes what happened to FOLDER/told.json. What does not work on a host
without cgroups is taken out of the compose file: the limits of memory, processors and processes. docker/lint.py checks
them.
Podman 4.3 has no timer for health checks where systemd does not run, so that they are called from here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from testbed.range import containers

NAME = "heist"
LIMITS = ("mem_limit", "cpus", "pids_limit")
HOSPITALS = ("north", "harbour", "forest")
DESK = "/range/game/red-1"
PORTS = (8000, 8443, 9092, 9094)
PATIENCE_S = 900.0

CONNECTS = """
import json, socket, sys
found = []
for host in json.loads(sys.argv[1]):
    for port in (8000, 8443, 9092, 9094):
        try:
            socket.create_connection((host, port), timeout=0.5).close()
            found.append([host, port])
        except OSError:
            pass
print(json.dumps(found))
"""
READS = """
import json, os
found = {}
for place in ("/range/game/scorer", "/range/game/white", "/range/game/blue-1", "/range/keys", "/range/federation"):
    found[place] = [os.path.join(a, f) for a, _, files in os.walk(place) for f in files]
print(json.dumps(found))
"""
WRITES = """
import json, os
found = []
for place in ("/", "/range", "/range/game", "/range/game/white", "/range/game/scorer", "/range/game/blue-1",
              "/range/authority", "/opt/testbed", "/etc", "/usr/bin", "/tmp", "/range/game/red-1"):
    try:
        with open(os.path.join(place, "written"), "w"):
            found.append(place)
        os.unlink(os.path.join(place, "written"))
    except OSError:
        pass
print(json.dumps(found))
"""
ENDS = """
import os, signal
for line in open("/tmp/station/processes").read().splitlines():
    pid, part, command = line.split(" ", 2)
    if command == "flower-superlink":
        last = int(pid)
os.kill(last, signal.SIGKILL)
"""
ROOT = """
import json, os
status = dict(l.split(":\\t", 1) for l in open("/proc/self/status").read().splitlines() if ":\\t" in l)
print(json.dumps([os.getuid(), int(status["CapEff"], 16), int(status["CapBnd"], 16), int(status["NoNewPrivs"])]))
"""
FLAG = (
    "from testbed.range.truth import Truth; from pathlib import Path; "
    "print(Truth.read(Path('/range/game/scorer/truth-1.npz')).flags[1])"
)


def podman(*arguments: str, check: bool = True) -> str:
    done = subprocess.run(["podman", *arguments], capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        raise SystemExit(f"podman {' '.join(arguments)}: {done.stderr[-2000:]}")
    return done.stdout.strip()


def command(*arguments: str, check: bool = True) -> tuple[int, str]:
    line = [sys.executable, "-m", "testbed", "range", *arguments]
    begun = time.monotonic()
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    print(f"{time.monotonic() - begun:6.1f} s  {' '.join(arguments)}", file=sys.stderr, flush=True)
    if check and done.returncode != 0:
        raise SystemExit(f"{' '.join(arguments)}: {done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done.returncode, done.stdout


def within(service: str, *command: str) -> Any:
    """What a command prints within a service's container, as JSON."""
    return json.loads(podman("exec", container(service), *command))


def container(service: str) -> str:
    return f"{NAME}_{service}_1"


def services() -> list[str]:
    lines = podman("ps", "-a", "--format", "{{.Names}}").splitlines()
    return sorted(line.removeprefix(f"{NAME}_").removesuffix("_1") for line in lines if line.startswith(f"{NAME}_"))


def healthy(patience: float = PATIENCE_S) -> dict[str, bool]:
    """Which services' health checks succeed, after as long as they may take."""
    limit, well = time.monotonic() + patience, dict[str, bool]()
    while time.monotonic() < limit:
        for name in services():
            if name != "init" and not well.get(name):
                checked = ["podman", "healthcheck", "run", container(name)]
                well[name] = subprocess.run(checked, capture_output=True, check=False).returncode == 0
        if well and all(well.values()):
            break
        time.sleep(1)
    return well


def addresses() -> dict[str, list[str]]:
    """The addresses of every container."""
    found: dict[str, list[str]] = {}
    for name in services():
        told = json.loads(podman("inspect", container(name)))[0]["NetworkSettings"].get("Networks") or {}
        found[name] = [n["IPAddress"] for n in told.values() if n.get("IPAddress")]
    return found


def seen_by_red() -> dict[str, Any]:
    """What red's container reaches, reads and writes."""
    where = addresses()
    hosts = [*(a for name, at in where.items() if name != "red" for a in at), *where]
    named = {a: name for name, at in where.items() for a in at}
    reached = within("red", "python", "-c", CONNECTS, json.dumps(hosts))
    return {
        "hosts": len(hosts),
        "reached": sorted({(named.get(host, host), port) for host, port in reached}),
        "reads": within("red", "python", "-c", READS),
        "writes": within("red", "python", "-c", WRITES),
        "root": within("red", "python", "-c", ROOT),
    }


def killed(service: str) -> tuple[int, str]:
    """What a round says during which a container is killed. The engine starts it again, or does not."""
    before = set(podman("exec", container("link"), "ls", "/range/federation/server").split())
    line = [sys.executable, "-m", "testbed", "range", "inject", NAME, "round"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as playing:
        limit = time.monotonic() + PATIENCE_S
        while time.monotonic() < limit and playing.poll() is None:
            now = set(podman("exec", container("link"), "ls", "/range/federation/server").split())
            if any(name.isdigit() for name in now - before):
                break
            time.sleep(0.5)
        podman("kill", container(service))
        time.sleep(3)
        podman("start", container(service), check=False)
        _, said = playing.communicate(timeout=PATIENCE_S)
    return playing.returncode, said


def claim(*arguments: str) -> str:
    time.sleep(2.2)  # two claims of a side are two seconds apart
    return command("claim", NAME, *arguments)[1].strip()


def played(rounds: int) -> dict[str, Any]:
    """The exercise, level by level. Blue lets the first round go undefended, and then defends."""
    told: dict[str, Any] = {"injects": []}
    inject = lambda *what: told["injects"].append(command("inject", NAME, *what)[1].strip())  # noqa: E731
    inject("round")
    loot = f"{DESK}/loot/round-01.analytic_linear.npz"
    command("attack", NAME, "analytic_linear", "--round", "1")
    told["pictures"] = [claim("reconstruction", loot, "--hospital", h) for h in HOSPITALS]
    told["flags"] = [claim("flag", "FAAAAA"), claim("flag", podman("exec", container("scorer"), "python", "-c", FLAG))]
    told["alarms"] = [claim("detection", "imprint", "--round", "1")]
    if rounds > 1:
        told["fault"] = killed("hospital-harbour")
        podman("exec", container("link"), "python", "-c", ENDS)
        inject("round")
    if rounds > 2:
        command("defend", NAME, "none", "--guards", "repeated_rows,weight_law")
        inject("round")
        told["alarms"].append(claim("detection", "imprint", "--round", "3"))
    if rounds > 3:
        command("defend", NAME, "none")
        inject("round")
        command("attack", NAME, "update_product", "--round", "4")
        told["membership"] = [claim("membership", f"{DESK}/loot/round-04.update_product.csv")]
    if rounds > 4:
        command("defend", NAME, "topk:0.01+gaussian:0.5")
        inject("drop", "forest")
        inject("round")
    told["score"] = json.loads(command("score", NAME, "--json")[1])
    told["rescored"] = json.loads(command("rescore", NAME, "--json")[1])
    return told


def main() -> None:
    folder = Path(sys.argv[1])
    rounds = int(os.environ.get("TESTBED_REHEARSAL_ROUNDS") or 5)
    base = yaml.safe_load(containers.COMPOSE.read_text("utf-8"))
    template = base["x-federation"]
    for service in (*base["services"].values(), template["link"], template["hospital"]):
        for limit in LIMITS:
            service.pop(limit, None)
        service.pop("build", None)
    (folder / "base.yml").write_text(yaml.safe_dump(base), encoding="utf-8")
    os.environ |= {
        "TESTBED_COMPOSE": str(folder / "base.yml"),
        "TESTBED_RANGE": str(folder / "range"),
        "COLUMNS": "400",
    }
    told: dict[str, Any] = {}
    begun = time.monotonic()
    try:
        command("up", "gradient-heist", "--runtime", "containers", "--name", NAME, "--port", "8099")
        told["healthy"] = healthy()
        told["seconds_to_healthy"] = round(time.monotonic() - begun, 1)
        told["red"] = seen_by_red()
        told |= played(rounds)
    finally:
        for name in services() if "score" not in told else ():
            print(f"== {name}\n{podman('logs', '--tail', '15', container(name), check=False)}", file=sys.stderr)
        (folder / "told.json").write_text(json.dumps(told, indent=1), encoding="utf-8")
        command("down", NAME, "--remove", check=False)
        left = [podman(kind, "ls", "--format", "{{.Name}}", check=False) for kind in ("volume", "network")]
        told["left"] = [n for n in [*services(), *" ".join(left).split()] if NAME in n]
        (folder / "told.json").write_text(json.dumps(told, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()

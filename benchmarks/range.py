"""What it costs to start, reset and stop an exercise: `python benchmarks/range.py [EXERCISE ...]`.

Each command is a process of its own, as an instructor types it. CPU seconds are those of the command and of the servers
that it started, until they answer. Wall time depends on what else the machine does; CPU seconds hardly do.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from testbed.findings.assemble import environment
from testbed.range import instance, processes
from testbed.range.exercise import shipped

TICKS = os.sysconf("SC_CLK_TCK")


def used(pid: int) -> float:
    """CPU seconds of a process that runs."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def servers(name: str) -> dict[int, float]:
    """CPU seconds of the scorer and the board so far, by process."""
    known = instance.find(name)
    doors = [processes.door(known, service) for service in processes.SERVICES]
    return {door.pid: used(door.pid) for door in doors if door is not None}


def timed(name: str, *commands: tuple[str, ...]) -> tuple[float, float]:
    """Wall time and CPU seconds of commands, one after the other, with what their servers used."""
    before = servers(name) if name in instance.names() else {}
    started, cpu = time.perf_counter(), 0.0
    for command in commands:
        child = subprocess.Popen([sys.executable, "-m", "testbed", "range", *command], stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise SystemExit(f"testbed range {' '.join(command)} ended with {child.returncode}")
        cpu += usage.ru_utime + usage.ru_stime
    wall = time.perf_counter() - started
    return wall, cpu + sum(seconds - before.get(pid, 0.0) for pid, seconds in servers(name).items())


def main() -> None:
    machine = environment()
    print(f"{machine.system}, {machine.cores} cores, Python {machine.python}, {machine.packages}")
    print(f"load {os.getloadavg()[0]:.1f} at the start")
    print("| exercise | up to first score | reset | down |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        os.environ[instance.HOME] = folder
        for name in sys.argv[1:] or sorted(shipped()):
            try:
                times = (
                    timed(name, ("up", name), ("score", name, "--json")),
                    timed(name, ("reset", name)),
                    timed(name, ("down", name)),
                )
            finally:
                if name in instance.names():
                    processes.stop(instance.find(name))
            cells = " | ".join(f"{cpu:.1f} CPU s, {wall:.1f} s" for wall, cpu in times)
            print(f"| `{name}` | {cells} |", flush=True)


if __name__ == "__main__":
    main()

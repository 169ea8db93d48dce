"""Many commands at the price of one start: a fresh interpreter loads the command line, and forks for each command."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

FORKS = """
import json, os, sys, tempfile, traceback
from testbed.cli import main

def child(arguments, places):
    for number, place in enumerate(places, 1):
        os.dup2(os.open(place, os.O_WRONLY | os.O_CREAT), number)
    sys.argv[:] = ["testbed", *arguments]
    code = 0
    try:
        main()
    except SystemExit as left:
        code = left.code or 0
    except BaseException:
        traceback.print_exc()
        code = 99
    print(" ".join(sys.modules), file=open(places[0] + ".modules", "w"), flush=True)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)

with tempfile.TemporaryDirectory() as folder:
    told = []
    for number, arguments in enumerate(json.loads(sys.argv[1])):
        places = [os.path.join(folder, f"{number}.{name}") for name in ("out", "err")]
        pid = os.fork()
        if not pid:
            child(arguments, places)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        told.append([code, *(open(place).read() for place in (*places, places[0] + ".modules"))])
print(json.dumps(told))
"""


@dataclass(frozen=True)
class Done:
    """What a command left: its exit code, its two streams, and the packages that its process had loaded."""

    code: int
    out: str
    err: str
    packages: frozenset[str]


def forked(
    commands: Sequence[Sequence[str]], first: str = "", environment: Mapping[str, str] | None = None
) -> list[Done]:
    """Each command in a process that has loaded `testbed.cli` and nothing else; `first` is run before that."""
    script = [sys.executable, "-c", first + FORKS, json.dumps([list(c) for c in commands])]
    done = subprocess.run(script, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    made = [
        Done(code, out, err, frozenset(name.split(".")[0] for name in modules.split()))
        for code, out, err, modules in json.loads(done.stdout)
    ]
    assert all(one.code != 99 for one in made), [one.err for one in made]
    return made

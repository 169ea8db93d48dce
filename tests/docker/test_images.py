"""The images as a hospital would use them: no network, nothing writable but the folder that is given."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from testbed.cli.doctor import population

ROOT = Path(__file__).parents[2]
REHEARSE = ROOT / "docker" / "rehearse.sh"


def test_the_dockerfile_runs_as_nobody_and_has_two_targets() -> None:
    text = (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8")
    for target in ("release", "federated"):
        stage = text.partition(f"AS {target}\n")[2].partition("FROM ")[0]
        assert "USER 10001" in stage
        assert 'ENTRYPOINT ["testbed"]' in stage


@pytest.fixture(scope="module")
def rehearsal() -> Path:
    if any(shutil.which(tool) is None for tool in ("podman", "debootstrap", "crun")) or os.geteuid() != 0:
        pytest.skip("needs root and podman, crun and debootstrap from Debian's packages")
    return REHEARSE


def call(rehearsal: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(rehearsal), *arguments], capture_output=True, text=True, check=False)


def findings(folder: Path) -> Any:
    return json.loads((folder / "share" / "result.json").read_text(encoding="utf-8"))["findings"]


@pytest.mark.slow
def test_a_release_is_evaluated_in_the_container_as_it_is_outside(rehearsal: Path, tmp_path: Path) -> None:
    everybody = population(2400, 9)
    for i, name in enumerate(("original", "control", "synthetic")):
        everybody.iloc[i * 800 : (i + 1) * 800].to_csv(tmp_path / f"{name}.csv", index=False)
    tmp_path.chmod(0o777)
    built = call(rehearsal, "build", "release")
    assert built.returncode == 0, built.stderr[-2000:]
    command = ["evaluate", "--seed", "2"]
    for name in ("original", "control", "synthetic"):
        command += [f"--{name}", f"{name}.csv"]
    inside = call(rehearsal, "run", "release", str(tmp_path), *command, "--out", "/work/inside")
    assert inside.returncode in (0, 3), inside.stderr[-2000:]
    outside = subprocess.run(
        [sys.executable, "-m", "testbed", *command, "--out", "outside"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert outside.returncode == inside.returncode
    assert findings(tmp_path / "inside") == findings(tmp_path / "outside")


@pytest.mark.slow
def test_the_release_image_holds_no_torch_and_the_federated_one_runs_a_federation(
    rehearsal: Path, tmp_path: Path
) -> None:
    tmp_path.chmod(0o777)
    for target, held in (("release", False), ("federated", True)):
        built = call(rehearsal, "build", target)
        assert built.returncode == 0, built.stderr[-2000:]
        asked = call(rehearsal, "run", target, str(tmp_path), "doctor", "--json")
        assert asked.returncode == 0, asked.stderr[-2000:]
        assert ("torch" in json.loads(asked.stdout)["packages"]) == held
    command = ["run", "curious_server", "-s", "clients=2", "-s", "rounds=3", "--out", "/work/run"]
    ran = call(rehearsal, "run", "federated", str(tmp_path), *command)
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert findings(tmp_path / "run")[0]["measure"]["value"] == 1.0

"""The container runtime: what it asks of an engine, and what it says where none works."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from testbed.cli.range_ import range_app
from testbed.core.errors import RunError, UsageError
from testbed.range import container, containers, instance, loot
from testbed.range.desk import Desk
from testbed.range.instance import HOME
from testbed.subjects.federation import certificates
from tests.range.small import written

ENGINE = """#!/bin/sh
printf '%s\\n' "$TESTBED_EXERCISE $TESTBED_BOARD_PORT $*" >> "$CALLS"
case "$*" in *"$FAILS"*) exit 9;; esac
"""


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with nothing but a docker that writes down what it is asked."""
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "docker").write_text(ENGINE, encoding="utf-8")
    (tools / "docker").chmod((tools / "docker").stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tools))
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    monkeypatch.setenv("FAILS", "none of them")
    monkeypatch.setenv(HOME, str(tmp_path / "range"))
    return tmp_path / "calls"


def asked(calls: Path) -> list[str]:
    """What the engine was asked about a project, since the last look."""
    lines = calls.read_text("utf-8").splitlines() if calls.exists() else []
    calls.unlink(missing_ok=True)
    return [line.partition(" -p ")[2] for line in lines if " -p " in line]


def run(*arguments: str) -> Any:
    return CliRunner().invoke(range_app, list(arguments), catch_exceptions=True)


def test_an_exercise_in_containers_is_one_project_whose_commands_run_inside(calls: Path) -> None:
    made = run("up", "gradient-heist", "--runtime", "containers", "--name", "Team3", "--port", "9001")
    assert made.exit_code == 0, made.output
    assert "http://127.0.0.1:9001" in made.output
    first = calls.read_text("utf-8")
    assert "gradient-heist 9001 compose -f" in first
    assert asked(calls) == ["team3 up -d --wait", "team3 ps"]
    for typed, inside in (
        (["inject", "team3", "round", "--team", "1"], "range testbed range inject game round --team 1"),
        (["score", "team3", "--json"], "range testbed range score game --json"),
        (["report", "team3"], "range testbed range report game"),
        (["attack", "team3", "imprint", "--round", "3"], "red testbed range attack game imprint --round 3"),
        (["claim", "team3", "flag", "FABCDE"], "red testbed range claim game flag FABCDE"),
        (["claim", "--round", "3", "team3", "detection", "x"], "blue testbed range claim --round 3 game detection x"),
        (["defend", "team3", "topk:0.1"], "blue testbed range defend game topk:0.1"),
    ):
        assert run(*typed).exit_code == 0
        assert asked(calls) == [f"team3 exec -T {inside}"]
    assert run("up", "team3").exit_code == 0  # again, without naming the runtime
    assert asked(calls) == ["team3 up -d --wait", "team3 ps"]
    assert "gradient-heist in containers" in run("status").output
    asked(calls)
    assert run("reset", "team3").exit_code == 0
    assert asked(calls) == ["team3 down -v", "team3 up -d --wait", "team3 ps"]
    assert run("down", "team3").output == "stopped\n"
    assert containers.names() == ["team3"]
    assert run("down", "team3", "--remove").output == "stopped\n"
    assert asked(calls) == ["team3 down", "team3 down -v"]
    assert list(instance.home().iterdir()) == []


def test_the_file_that_is_started_is_that_of_the_exercise_and_compose_prints_it(calls: Path) -> None:
    assert run("up", "trees", "--runtime", "containers", "--name", "grove").exit_code == 0
    assert run("up", "gradient-heist", "--runtime", "containers", "--name", "heist").exit_code == 0
    made = {n: yaml.safe_load((instance.home() / n / containers.FILE).read_text("utf-8")) for n in ("grove", "heist")}
    assert set(made["heist"]["services"]) - set(made["grove"]["services"]) == {
        "link",
        *(f"hospital-{h}" for h in ("north", "harbour", "forest")),
    }
    assert f"-f {instance.home() / 'heist' / containers.FILE} -p heist up" in calls.read_text("utf-8")
    printed = run("compose", "gradient-heist")
    assert yaml.safe_load(printed.output) == made["heist"]
    assert Path(made["heist"]["services"]["red"]["build"]["context"], "pyproject.toml").is_file()


def test_a_command_that_fails_inside_fails_outside(calls: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("up", "gradient-heist", "--runtime", "containers").exit_code == 0
    monkeypatch.setenv("FAILS", "exec -T")
    assert run("score", "gradient-heist").exit_code == 9
    monkeypatch.setenv("FAILS", "up -d")
    with pytest.raises(RunError, match="TB-RANGE-063"):
        containers.up("gradient-heist", None, None, 1)
    monkeypatch.setenv("FAILS", "down")
    assert "could not" in run("down", "gradient-heist", "--remove").output
    assert containers.names() == ["gradient-heist"]  # what may still run is not forgotten


def test_what_is_missing_is_said(calls: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAILS", "info")
    with pytest.raises(UsageError, match=r"TB-RANGE-058.*docker info fails.*podman: not installed"):
        containers.up("gradient-heist", None, None, 1)
    monkeypatch.setenv("PATH", os.devnull)
    with pytest.raises(UsageError, match=r"TB-RANGE-058.*docker: not installed.*--runtime processes"):
        containers.up("gradient-heist", None, None, 1)
    assert not instance.home().exists()


def test_what_cannot_be_in_containers_is_refused_before_anything_starts(calls: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "exercise.yaml").write_text("", encoding="utf-8")
    (instance.home() / "taken").mkdir(parents=True)
    for given, error in (
        (("gradient-hiest", None, None, 1), "TB-RANGE-002"),
        ((str(own), None, None, 1), "TB-RANGE-060"),
        (("gradient-heist", None, 2, 1), "TB-RANGE-059"),
        (("gradient-heist", "taken", None, 1), "TB-RANGE-061"),
        (("gradient-heist", "../x", None, 1), "TB-RANGE-061"),
    ):
        with pytest.raises(UsageError, match=error):
            containers.up(*given)
    assert "TB-RANGE-024" in str(run("up", "gradient-heist", "--runtime", "containrs").exception)
    run("up", "gradient-heist", "--runtime", "containers")
    assert "TB-RANGE-064" in str(run("reset", "gradient-heist", "--to", "x.tar").exception)
    assert [line for line in asked(calls) if "down" in line] == []


def test_the_compose_file_serves_each_role_its_own_places() -> None:
    compose = yaml.safe_load(containers.COMPOSE.read_text("utf-8"))
    for name, one in compose["services"].items():
        places = {v.split(":")[1] for v in one["volumes"]}
        assert places <= {f"/range/{container.GAME}", "/range/authority", "/range/certificate"} | {
            f"/range/{container.GAME}/{folder}" for folder in ("scorer", "white", "red-1", "blue-1")
        }, name
    assert containers.SERVICE_OF.keys() <= {c.name or c.callback.__name__ for c in range_app.registered_commands}  # pyright: ignore
    assert {"range", "red", "blue"} <= compose["services"].keys()


def test_a_servers_certificate_is_for_its_names_and_its_key_for_its_owner(tmp_path: Path) -> None:
    from cryptography import x509

    for folder in ("a", "c"):
        (tmp_path / folder).mkdir()
    certificates.server(tmp_path / "a", tmp_path / "c", container.NAMES)
    assert [p.name for p in (tmp_path / "a").iterdir()] == [certificates.AUTHORITY]
    made = x509.load_pem_x509_certificate((tmp_path / "c" / certificates.CERTIFICATE).read_bytes())
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["scorer", "localhost"]
    assert (tmp_path / "c" / certificates.KEY).stat().st_mode & 0o777 == 0o600
    authority = x509.load_pem_x509_certificate((tmp_path / "a" / certificates.AUTHORITY).read_bytes())
    made.verify_directly_issued_by(authority)


def test_a_record_that_is_no_instance_is_none(calls: Path) -> None:
    assert containers.find("../x") is None
    assert containers.find("nothing") is None
    assert containers.forwarded("score", ["nothing", "--json"]) is None
    (instance.home() / "one").mkdir(parents=True)
    (instance.home() / "one" / containers.RECORD).write_text(
        json.dumps({"exercise": "gradient-heist", "engine": "docker", "port": 1}), encoding="utf-8"
    )
    assert containers.forwarded("score", ["--json"]) is None
    assert containers.forwarded("score", ["one"]) == 0


def test_the_parts_of_the_containers_speak_tls_and_trust_their_own_authority_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "range"
    for folder in (container.AUTHORITY, container.CERTIFICATE, container.GAME, f"{container.GAME}/scorer"):
        (root / folder).mkdir(parents=True, exist_ok=True)  # as the volumes are mounted
    source = str(written(tmp_path / "small", limits={"seconds_between": 0.0, "utility_floor": 0.0}))
    container.prepare(source, root)
    game = instance.find_at(root / container.GAME)
    tokens = (game.scorer / "tokens.json").read_bytes()
    container.prepare(source, root)  # a project that is started again stays as it was
    assert (game.scorer / "tokens.json").read_bytes() == tokens
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = {"TESTBED_RANGE_HOST": "127.0.0.1", "TESTBED_RANGE_TLS": str(root / container.CERTIFICATE)}
    line = [sys.executable, "-m", "testbed.range.door", str(game.folder), str(port)]
    url, authority = f"https://127.0.0.1:{port}", root / container.AUTHORITY / certificates.AUTHORITY
    with subprocess.Popen(line, env={**os.environ, **told}) as serving:
        try:
            monkeypatch.setenv(HOME, str(root))
            monkeypatch.setenv("TESTBED_SCORER", url)
            monkeypatch.setenv("TESTBED_SCORER_CA", str(authority))
            ended = time.monotonic() + 60
            while container.main(["healthy"]) != 0:
                assert time.monotonic() < ended
                time.sleep(0.05)
            assert not (game.folder / "door.json").exists()  # its place is known, and the volume is not its own
            monkeypatch.setattr(container, "_stopped", lambda: True)
            assert container.main(["attend", "white"]) == container.main(["attend", "white"]) == 0
            assert [e["event"] for e in Desk(game, "white").view()["events"]] == ["start"]
            assert not loot.claim(game, 1, "flag", "FAAAAA", loot.Where())
            other = tmp_path / "other"
            (other / "c").mkdir(parents=True)
            certificates.server(other, other / "c", container.NAMES)
            monkeypatch.setenv("TESTBED_SCORER_CA", str(other / certificates.AUTHORITY))
            assert container.main(["healthy"]) == 1
            with pytest.raises(UsageError, match="TB-RANGE-017"):
                Desk(game, "white").score()
        finally:
            serving.terminate()
    assert container.main(["healthy"]) == 1
    assert container.main(["healthy", "a", "b"]) == container.main([]) == container.main(["attend", "pink"]) == 2

"""Each rule of the containers is kept by compose.yml, and a file that breaks it is caught."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from testbed.range import composed, exercise

ROOT = Path(__file__).parents[2]
COMPOSE, DOCKERFILE = ROOT / "docker" / "compose.yml", ROOT / "docker" / "Dockerfile"


def loaded() -> ModuleType:
    spec = importlib.util.spec_from_file_location("lint", ROOT / "docker" / "lint.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


LINT = loaded()
HEIST = exercise.federated(exercise.load("gradient-heist"))
AS_IT_IS: dict[str, Any] = composed.compose(composed.read(COMPOSE), HEIST)
"""The file of the exercise that has the most services."""
TEXT = json.dumps(AS_IT_IS)
SERVICES = sorted(AS_IT_IS["services"])


def changed(**keys: Any) -> Callable[[dict[str, Any], str], None]:
    """A change of one service: keys that are set, or taken away with None."""

    def change(compose: dict[str, Any], name: str) -> None:
        service = compose["services"][name]
        for key, value in keys.items():
            service.pop(key, None)
            if value is not None:
                service[key] = value

    return change


def added(key: str, *entries: Any) -> Callable[[dict[str, Any], str], None]:
    def change(compose: dict[str, Any], name: str) -> None:
        service = compose["services"][name]
        service[key] = [*(service.get(key) or []), *entries]

    return change


def based_on(base: str | None) -> Callable[[dict[str, Any], str], None]:
    def change(compose: dict[str, Any], name: str) -> None:
        compose["services"][name]["build"]["args"] = {"BASE": base} if base else {}

    return change


BREAKS: dict[str, tuple[Callable[[dict[str, Any], str], None], str]] = {
    "root written": (changed(read_only=None), "read_only"),
    "root written, said": (changed(read_only=False), "read_only"),
    "no tmpfs": (changed(tmpfs=None), "tmpfs"),
    "capabilities": (changed(cap_drop=None), "cap_drop"),
    "some capabilities": (changed(cap_drop=["NET_RAW"]), "cap_drop"),
    "one capability again": (changed(cap_add=["NET_ADMIN"]), "cap_add"),
    "new privileges": (changed(security_opt=None), "no-new-privileges"),
    "seccomp": (added("security_opt", "seccomp=unconfined"), "switched off"),
    "apparmor": (added("security_opt", "apparmor:unconfined"), "switched off"),
    "label": (added("security_opt", "label=disable"), "switched off"),
    "root": (changed(user="0:0"), "root"),
    "root by name": (changed(user="root"), "root"),
    "the image's user": (changed(user=None), "root"),
    "privileged": (changed(privileged=True), "privileged"),
    "device": (changed(devices=["/dev/mem:/dev/mem"]), "devices"),
    "host's processes": (changed(pid="host"), "namespace"),
    "host's memory": (changed(ipc="host"), "namespace"),
    "host's users": (changed(userns_mode="host"), "namespace"),
    "host's network": (changed(network_mode="host", networks=None), "network_mode"),
    "another's network": (changed(network_mode="service:scorer", networks=None), "network_mode"),
    "a name outside": (changed(extra_hosts=["host.docker.internal:host-gateway"]), "outside"),
    "engine's socket": (added("volumes", "/var/run/docker.sock:/var/run/docker.sock"), "place of the host"),
    "engine's socket, long": (
        added("volumes", {"type": "bind", "source": "/run/podman/podman.sock", "target": "/s"}),
        "place of the host",
    ),
    "host's folder": (added("volumes", "./runs:/runs:ro"), "place of the host"),
    "host's home": (added("volumes", "~/x:/x"), "place of the host"),
    "no memory limit": (changed(mem_limit=None), "mem_limit"),
    "memory without end": (changed(mem_limit="64g"), "mem_limit"),
    "memory of nothing": (changed(mem_limit="0g"), "mem_limit"),
    "no pids limit": (changed(pids_limit=None), "pids_limit"),
    "pids without end": (changed(pids_limit=-1), "pids_limit"),
    "no cpu limit": (changed(cpus=None), "cpus"),
    "too many cpus": (changed(cpus=64), "cpus"),
    "default network": (changed(networks=None, network_mode=None), "default network"),
    "published": (changed(ports=["8443:8443"]), "published"),
    "published to all": (changed(ports=["0.0.0.0:80:8000"]), "published"),
    "published, long": (changed(ports=[{"target": 8000, "published": 80}]), "published"),
    "secret": (changed(environment={"BLUE_TOKEN": "abc"}), "secret"),
    "secret in a list": (changed(environment=["DB_PASSWORD=abc"]), "secret"),
    "secrets in a file": (changed(env_file=[".env"]), "env_file"),
    "fetched image": (changed(pull_policy="always"), "fetched"),
    "foreign image": (changed(build=None), "built here"),
    "no tag": (changed(image="localhost/testbed"), "no tag"),
    "latest": (changed(image="localhost/testbed:latest"), "no tag"),
    "base not named": (based_on(None), "pinned"),
    "base latest": (based_on("docker.io/library/python:latest"), "pinned"),
    "base roughly": (based_on("docker.io/library/python:3.11"), "pinned"),
    "base by a variable": (based_on("${BASE}"), "pinned"),
}


def broken(change: Callable[[dict[str, Any]], None]) -> list[str]:
    compose = json.loads(TEXT)
    change(compose)
    return LINT.check(compose)


def test_the_range_breaks_no_rule(capsys: pytest.CaptureFixture[str]) -> None:
    assert all(LINT.check(made) == [] for made in LINT.generated().values())
    assert LINT.dockerfile(DOCKERFILE.read_text("utf-8")) == []
    assert LINT.main([]) == 0
    assert "no rule broken" in capsys.readouterr().out


@pytest.mark.parametrize("name", list(BREAKS))
def test_a_service_that_breaks_a_rule_is_caught_whichever_it_is(name: str) -> None:
    change, told = BREAKS[name]
    for service in SERVICES:
        found = broken(lambda compose, s=service: change(compose, s))
        if name == "published" and service == "board":
            assert found  # on all addresses
        assert [f for f in found if f.startswith(f"{service}:") and told in f], (service, found)


@pytest.mark.parametrize("service", [s for s in SERVICES if s != "init"])
def test_a_service_without_watch_or_order_is_caught(service: str) -> None:
    first = next(iter(AS_IT_IS["services"][service]["depends_on"]))
    for change, told in (
        (changed(healthcheck=None), "health check"),
        (changed(healthcheck={"disable": True}), "health check"),
        (changed(healthcheck={"test": ["NONE"]}), "health check"),
        (changed(depends_on=None), "waits"),
        (changed(depends_on=[first]), "waits"),
        (changed(depends_on={first: {"condition": "service_started"}}), "does not wait"),
        (changed(depends_on={"scorrer": {"condition": "service_healthy"}}), "no service"),
    ):
        found = broken(lambda compose, c=change: c(compose, service))
        assert [f for f in found if f.startswith(f"{service}:") and told in f], (told, found)


@pytest.mark.parametrize("network", [n for n in AS_IT_IS["networks"] if n != "edge"])
def test_a_network_that_leads_outside_is_caught(network: str) -> None:
    for value in ({}, None, {"internal": False}, {"internal": True, "external": True}):
        assert [f for f in broken(lambda c, v=value: c["networks"].update({network: v})) if network in f]
    second = broken(lambda c: c["networks"].update({"wide": {}}))
    assert [f for f in second if "wide" in f]


@pytest.mark.parametrize("service", [s for s in SERVICES if s not in ("board", "init")])
def test_who_is_put_on_the_open_network_is_caught(service: str) -> None:
    assert [f for f in broken(lambda c: added("networks", "edge")(c, service)) if "network edge" in f]


HOSPITALS = [s for s in SERVICES if s.startswith("hospital-")]


@pytest.mark.parametrize("hospital", HOSPITALS)
@pytest.mark.parametrize("service", [s for s in SERVICES if s not in ("link", "init")])
def test_who_is_put_on_a_hospitals_network_is_caught(hospital: str, service: str) -> None:
    ward = f"ward-{hospital.removeprefix('hospital-')}"
    if service != hospital:
        found = broken(lambda c: added("networks", ward)(c, service))
        assert [f for f in found if f.startswith(f"{hospital}: it is on a network with {service}")]


@pytest.mark.parametrize("service", [s for s in SERVICES if s not in ("link", "init", "range")])
def test_who_is_put_on_the_coordinators_network_is_caught(service: str) -> None:
    found = broken(lambda c: added("networks", "coordination")(c, service))
    assert [f for f in found if f.startswith(("link: it is on a network with", f"{service}: it is on a network"))]


def test_hospitals_without_a_superlink_or_without_keys_are_caught() -> None:
    assert [f for f in broken(lambda c: c["services"].pop("link")) if "without a SuperLink" in f]
    for service in (*HOSPITALS, "link"):
        found = broken(lambda c, s=service: c["services"][s].update(volumes=c["services"][s]["volumes"][:1]))
        assert f"{service}: it has no keys of its own, so that it cannot speak TLS" in found


@pytest.mark.parametrize("side", ["red", "blue"])
@pytest.mark.parametrize("other", ["judge-white", "judge-red", "judge-blue", "judge-board"])
def test_a_team_on_a_network_of_others_is_caught(side: str, other: str) -> None:
    if other == f"judge-{side}":
        found = broken(lambda c: added("networks", other)(c, "range"))
    else:
        found = broken(lambda c: added("networks", other)(c, side))
    assert [f for f in found if f.startswith(f"{side}: it is on a network with")]


def test_a_volume_of_another_service_is_caught() -> None:
    secret = {volume: LINT.owners(volume) for volume in AS_IT_IS["volumes"] if LINT.owners(volume)}
    assert len(secret) == 13
    for volume, owners in secret.items():
        for service in set(SERVICES) - owners:
            found = broken(lambda c, s=service, v=volume: added("volumes", f"{v}:/x:ro")(c, s))
            assert f"{service}: it mounts {volume}, which is not its own" in found
    trusted = {volume: LINT.writers(volume) for volume in AS_IT_IS["volumes"] if LINT.writers(volume)}
    assert len(trusted) == 8
    for volume, writers in trusted.items():
        for service in set(SERVICES) - writers:
            found = broken(lambda c, s=service, v=volume: added("volumes", f"{v}:/x")(c, s))
            assert f"{service}: it may write to {volume} (:ro)" in found
    for foreign in ({"external": True}, {"driver_opts": {"type": "none", "device": "/", "o": "bind"}}):
        assert broken(lambda c, f=foreign: c["volumes"].update(red=f))
    for first, second in (("link", "link-files"), ("ward-north-fi", "ward-north-files"), ("truth-2", "truth")):
        found = broken(lambda c, f=first: c["volumes"].update({f: {}}))
        assert [f for f in found if "Podman takes one for the other" in f and first in f and second in f]
    odd = composed.compose(composed.read(COMPOSE), HEIST.model_copy(update={"hospitals": ["north", "north-east", "n"]}))
    assert LINT.check(odd) == []
    for key in ("secrets", "configs"):
        assert broken(lambda c, k=key: c.update({k: {"token": {"file": "./token"}}}))


@pytest.mark.parametrize(
    "change",
    [
        ("ARG BASE=docker.io/library/python:3.11.14-slim-bookworm", "ARG BASE=python:latest"),
        ("ARG BASE=docker.io/library/python:3.11.14-slim-bookworm", ""),
        ("FROM ${BASE} AS base", "FROM debian:12 AS base"),
        ("FROM ${BASE} AS base", "FROM ${BASE}"),
        ("USER 10001", "USER root"),
        ("USER 10001\n", ""),
        ("COPY testbed testbed", "ADD https://example.org/testbed.tar testbed"),
        ("AS scorer", "AS judge"),
    ],
)
def test_an_image_that_breaks_a_rule_is_caught(change: tuple[str, str]) -> None:
    text = DOCKERFILE.read_text("utf-8")
    assert change[0] in text
    assert LINT.dockerfile(text.replace(*change))

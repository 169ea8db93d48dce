#!/usr/bin/env python3
"""The rules of the range's containers, checked in two files: python docker/lint.py [COMPOSE.YML [DOCKERFILE]]

Without arguments it checks docker/compose.yml, and the file that `testbed range compose` makes of it for each exercise.

Each rule is a function that yields what breaks it. Exit code 1 if one is broken.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
PUBLISHED, ONCE = "board", "init"
"""The one service that a browser reaches, and the one that ends when its work is done."""
OF_VOLUME = {
    "truth": {"init", "scorer", "range"},
    "white": {"init", "range"},
    "red": {"init", "range", "red", "board"},
    "blue": {"init", "range", "blue", "board"},
    "certificate": {"init", "scorer"},
}
"""Who may mount a volume that holds secrets. `range` generates the people, so it knows them anyway."""
WRITERS = {"common": {"init", "range"}, "authority": {"init"}, "certificate": {"init"}, "red": {"init", "range", "red"}}
"""Who may write to a volume that others trust. Red's board only shows."""
LINK, COORDINATOR, HOSPITAL = "link", "range", "hospital-"
"""The SuperLink, whoever asks it for runs, and what the names of the hospitals' services begin with."""
SECRET = re.compile(r"(token|secret|password|passwd|key|credential)", re.IGNORECASE)
MOST_BYTES, MOST_CPUS, MOST_PIDS = 8 * 2**30, 4.0, 512
SIZES = {"k": 2**10, "m": 2**20, "g": 2**30}

Compose = dict[str, Any]
Rule = Callable[[Compose], Iterator[str]]
RULES: list[Rule] = []


def rule(check: Rule) -> Rule:
    RULES.append(check)
    return check


def services(compose: Compose) -> Iterator[tuple[str, dict[str, Any]]]:
    yield from (compose.get("services") or {}).items()


def owners(volume: str) -> set[str] | None:
    """Who may mount a volume that holds secrets; None if all may."""
    if volume.startswith("ward-"):
        hospital, _, kind = volume.removeprefix("ward-").rpartition("-")
        return {"init" if kind == "keys" else COORDINATOR, HOSPITAL + hospital}
    of_link = {f"{LINK}-files": {LINK, COORDINATOR}, f"{LINK}-keys": {LINK, "init"}}
    return of_link.get(volume) or OF_VOLUME.get(volume)


def writers(volume: str) -> set[str] | None:
    """Who may write to a volume that others trust; None if all may that mount it."""
    return {"init"} if volume.endswith("-keys") else WRITERS.get(volume)


def members(compose: Compose, network: str) -> set[str]:
    """The services on a network."""
    return {name for name, service in services(compose) if network in names(service.get("networks"))}


def names(value: Any) -> set[str]:
    """The names in a list, or the keys of a mapping."""
    return set(value or ())


def mounts(service: dict[str, Any]) -> Iterator[tuple[str, str, bool]]:
    """Source, target and whether it may be written to, of each mount."""
    for entry in service.get("volumes") or ():
        if isinstance(entry, dict):
            yield str(entry.get("source", "")), str(entry.get("target", "")), not entry.get("read_only", False)
        else:
            source, target, *mode = str(entry).split(":")
            yield source, target, "ro" not in (mode or [""])[0].split(",")


@rule
def hardened(compose: Compose) -> Iterator[str]:
    for name, service in services(compose):
        if service.get("read_only") is not True:
            yield f"{name}: its root can be written to (read_only: true)"
        if not any(str(t).startswith("/tmp") for t in service.get("tmpfs") or ()):
            yield f"{name}: it has no tmpfs at /tmp"
        if service.get("cap_drop") != ["ALL"] or service.get("cap_add"):
            yield f"{name}: it has capabilities (cap_drop: [ALL], and no cap_add)"
        options = [str(o) for o in service.get("security_opt") or ()]
        if "no-new-privileges:true" not in options:
            yield f"{name}: it can gain privileges (no-new-privileges:true)"
        if any("unconfined" in o or o.endswith("disable") for o in options):
            yield f"{name}: a protection is switched off (security_opt)"
        user = str(service.get("user", "")).split(":")[0]
        if not user.isdigit() or int(user) == 0:
            yield f"{name}: it runs as root, or as a user without a number (user)"
        if service.get("privileged"):
            yield f"{name}: it is privileged"
        if service.get("devices") or service.get("device_cgroup_rules"):
            yield f"{name}: it has devices of the host"


@rule
def apart_from_the_host(compose: Compose) -> Iterator[str]:
    for name, service in services(compose):
        for key in ("pid", "ipc", "uts", "userns_mode", "cgroup_parent"):
            if service.get(key):
                yield f"{name}: it shares a namespace ({key})"
        if service.get("network_mode") not in (None, "none"):
            yield f"{name}: its network is not its own (network_mode)"
        if service.get("extra_hosts") or service.get("external_links"):
            yield f"{name}: it is led to hosts outside"
        for source, _, _ in mounts(service):
            if source not in (compose.get("volumes") or {}):
                yield f"{name}: it mounts a place of the host, or a volume without a name"
    for name, volume in (compose.get("volumes") or {}).items():
        if volume:
            yield f"volume {name}: it is not the project's own (external, or with options of a driver)"


@rule
def limited(compose: Compose) -> Iterator[str]:
    for name, service in services(compose):
        size = re.fullmatch(r"(\d+)([kmg])b?", str(service.get("mem_limit", "")).lower())
        if size is None or not 0 < int(size[1]) * SIZES[size[2]] <= MOST_BYTES:
            yield f"{name}: it has no limit of memory, or one above {MOST_BYTES} bytes (mem_limit)"
        for key, most in (("cpus", MOST_CPUS), ("pids_limit", MOST_PIDS)):
            value = service.get(key)
            if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= most:
                yield f"{name}: it has no limit, or one above {most:g} ({key})"


@rule
def watched_and_in_order(compose: Compose) -> Iterator[str]:
    known = dict(services(compose))
    for name, service in services(compose):
        if name == ONCE:
            continue
        check = service.get("healthcheck") or {}
        if check.get("disable") or (check.get("test") or ["NONE"])[0] not in ("CMD", "CMD-SHELL"):
            yield f"{name}: it has no health check"
        needs = service.get("depends_on") or {}
        if isinstance(needs, list) or not needs:
            yield f"{name}: it waits for no other service to be ready (depends_on with a condition)"
            continue
        for other, how in needs.items():
            wanted = "service_completed_successfully" if other == ONCE else "service_healthy"
            if (how or {}).get("condition") != wanted:
                yield f"{name}: it does not wait until {other} is ready (condition: {wanted})"
            if other not in known:
                yield f"{name}: it waits for {other}, which is no service"


@rule
def networks_are_closed(compose: Compose) -> Iterator[str]:
    known = compose.get("networks") or {}
    for name, network in known.items():
        outside = members(compose, name) - {PUBLISHED}
        if (network or {}).get("internal") is not True and (outside or name != "edge"):
            yield f"network {name}: it leads outside (internal: true)"
        if (network or {}).get("external"):
            yield f"network {name}: it belongs to another project"
    for name, service in services(compose):
        if not service.get("networks") and service.get("network_mode") != "none":
            yield f"{name}: it is on the default network, which leads outside"
        for entry in service.get("ports") or ():
            where = entry.get("host_ip", "") if isinstance(entry, dict) else str(entry)
            if name != PUBLISHED or not str(where).startswith("127.0.0.1"):
                yield f"{name}: a port is published; only the {PUBLISHED}'s may be, on 127.0.0.1"


@rule
def teams_meet_the_scorer_alone(compose: Compose) -> Iterator[str]:
    for name, service in services(compose):
        if name not in ("red", "blue"):
            continue
        for network in names(service.get("networks")):
            if others := members(compose, network) - {name, "scorer"}:
                yield f"{name}: it is on a network with {', '.join(sorted(others))} ({network})"


@rule
def hospitals_are_private(compose: Compose) -> Iterator[str]:
    """A hospital meets the SuperLink alone, and the SuperLink meets hospitals and the coordinator."""
    known = dict(services(compose))
    hospitals = {name for name in known if name.startswith(HOSPITAL)}
    for name in hospitals:
        for network in names(known[name].get("networks")):
            if others := members(compose, network) - {name, LINK}:
                yield f"{name}: it is on a network with {', '.join(sorted(others))} ({network})"
    for network in names(known.get(LINK, {}).get("networks")):
        if others := members(compose, network) - hospitals - {LINK, COORDINATOR}:
            yield f"{LINK}: it is on a network with {', '.join(sorted(others))} ({network})"
    if hospitals and LINK not in known:
        yield f"{LINK}: there are hospitals without a SuperLink"
    for name in hospitals | ({LINK} & known.keys()):
        if not any(source.endswith("-keys") for source, _, _ in mounts(known[name])):
            yield f"{name}: it has no keys of its own, so that it cannot speak TLS"


@rule
def secrets_have_one_place(compose: Compose) -> Iterator[str]:
    for name, service in services(compose):
        for source, _, writes in mounts(service):
            if name not in (owners(source) or {name}):
                yield f"{name}: it mounts {source}, which is not its own"
            if writes and name not in (writers(source) or {name}):
                yield f"{name}: it may write to {source} (:ro)"
        given = service.get("environment") or {}
        for entry in given if isinstance(given, list) else given.items():
            key, value = entry if isinstance(entry, tuple) else str(entry).partition("=")[::2]
            if SECRET.search(str(key)) and value:
                yield f"{name}: a secret stands in its environment ({key})"
        if service.get("env_file"):
            yield f"{name}: its secrets come from a file (env_file); they are made at the start"
    volumes = sorted(compose.get("volumes") or {})
    for one, other in pairwise(volumes):
        if other.startswith(one):
            yield f"volume {one}: {other} begins with its name, so that Podman takes one for the other and keeps it"
    if compose.get("secrets") or compose.get("configs"):
        yield "compose: secrets or configs come from files; they are made at the start, in volumes"


@rule
def images_are_built_here(compose: Compose) -> Iterator[str]:
    for name, service in services(compose):
        build = service.get("build") or {}
        if not isinstance(build, dict) or "BASE" not in (build.get("args") or {}) or not build.get("target"):
            yield f"{name}: its image is not built here from a pinned base (build with target and the argument BASE)"
        elif (pinned := _pinned(str(build["args"]["BASE"]))) is not None:
            yield f"{name}: {pinned}"
        if service.get("pull_policy") != "never":
            yield f"{name}: its image could be fetched from elsewhere (pull_policy: never)"
        if str(service.get("image", "")).endswith(":latest") or ":" not in str(service.get("image", "")).split("}")[-1]:
            yield f"{name}: its image has no tag"


def _pinned(base: str) -> str | None:
    """What is wrong with a base: it must have a digest, or a whole version. A variable's default counts."""
    default = re.fullmatch(r"\$\{\w+:-(.+)\}", base)
    name = default[1] if default else base
    if re.search(r"@sha256:[0-9a-f]{64}$", name) or re.search(r":\d+\.\d+\.\d+[\w.-]*$", name):
        return None
    return f"its base is not pinned ({name})"


def dockerfile(text: str) -> list[str]:
    """What breaks the rules in a Dockerfile: stages from one pinned base, and none that runs as root."""
    lines = re.sub(r"\\\n", " ", text).splitlines()
    base = next((line.split("=", 1)[1].strip() for line in lines if line.startswith("ARG BASE=")), "")
    found = [f"Dockerfile: {told}" for told in [_pinned(base)] if told]
    stages: dict[str, str] = {}
    user: dict[str, str] = {}
    now = ""
    for line in lines:
        if (begun := re.match(r"FROM\s+(\S+)\s+AS\s+(\S+)", line)) is not None:
            if begun[1] != "${BASE}" and begun[1] not in stages:
                found.append(f"Dockerfile: stage {begun[2]} is built on another base ({begun[1]})")
            now = begun[2]
            stages[now], user[now] = begun[1], user.get(begun[1], "0")
        elif line.startswith("FROM"):
            found.append("Dockerfile: a stage has no name")
        elif line.startswith("USER"):
            user[now] = line.split()[1]
        elif line.startswith("ADD "):
            found.append(f"Dockerfile: stage {now} fetches or unpacks something (ADD)")
    if len(stages) < 2:
        found.append("Dockerfile: it has one stage, so that what builds is in what runs")
    final = ("release", "federated", "range", "red", "blue", "scorer")
    rooted = [stage for stage in final if user.get(stage, "0").split(":")[0] in ("0", "root")]
    return found + [f"Dockerfile: {stage} is missing, or runs as root" for stage in rooted]


def check(compose: Compose) -> list[str]:
    """Everything in a compose file that breaks a rule."""
    return [told for one in RULES for told in one(compose)]


def generated() -> dict[str, Compose]:
    """The compose file as it stands, and as it is for each exercise, by their names."""
    from testbed.range import composed, exercise

    base = composed.read(HERE / "compose.yml")
    made = {name: composed.compose(base, exercise.load(name)) for name in exercise.shipped()}
    return {"compose.yml": base, **made}


def main(arguments: list[str]) -> int:
    images = Path(arguments[1]) if len(arguments) > 1 else HERE / "Dockerfile"
    found = dockerfile(images.read_text(encoding="utf-8"))
    if arguments:
        found += check(yaml.safe_load(Path(arguments[0]).read_text(encoding="utf-8")))
    else:
        found += [f"{name}: {told}" for name, compose in generated().items() for told in check(compose)]
    for told in found:
        print(told)
    print(
        f"{len(found)} rules broken" if found else f"no rule broken ({len(RULES)} groups of rules, and the Dockerfile)"
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

# pyright: strict
"""The compose file of one exercise: docker/compose.yml, and in a federation a SuperLink and a SuperNode a hospital."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import yaml

from testbed.core.errors import UsageError
from testbed.range.exercise import Exercise, FederatedExercise

TEMPLATE = "x-federation"
LINK, COORDINATION = "link", "coordination"
HOSPITAL = re.compile(r"^[a-z][a-z0-9-]{0,30}$")
Compose = dict[str, Any]


def compose(base: Mapping[str, Any], exercise: Exercise) -> Compose:
    """The compose file of this exercise: the base, unless it is about a federation and the base has x-federation.

    Raises `UsageError` for a hospital whose name cannot be that of a host.
    """
    made = _copy({k: v for k, v in base.items() if not k.startswith("x-")})
    template = base.get(TEMPLATE)
    if template is None or not isinstance(exercise, FederatedExercise):
        return made
    hospitals = exercise.hospitals
    if wrong := [h for h in hospitals if not HOSPITAL.match(h)]:
        raise UsageError(
            "TB-RANGE-077",
            f"The hospital {wrong[0]!r} cannot be a container.",
            "Its name becomes that of a host and of a network.",
            "Name it in the exercise with small letters, digits and -, at most 31; or use --runtime processes.",
        )
    link = _filled(template["link"], {"HOSPITALS": str(len(hospitals))})
    white, init = made["services"]["range"], made["services"]["init"]
    for one in (white, init):
        one["environment"] = {**one.get("environment", {}), **template["environment"]}
    init["volumes"] += [f"{LINK}-keys:/range/keys/server"]
    white["networks"] += [COORDINATION]
    white["volumes"] += [f"{LINK}-files:/range/federation/server"]
    white["depends_on"][LINK] = {"condition": "service_healthy"}
    made["services"][LINK] = link
    networks, volumes = made["networks"], made["volumes"]
    networks[COORDINATION] = {"internal": True}
    volumes |= {f"{LINK}-files": {}, f"{LINK}-keys": {}}
    for number, name in enumerate(hospitals):
        ward, words = f"ward-{name}", {"HOSPITALS": str(len(hospitals)), "HOSPITAL": name, "NUMBER": str(number)}
        made["services"][f"hospital-{name}"] = _filled(template["hospital"], words)
        networks[ward] = {"internal": True}
        volumes |= {f"{ward}-files": {}, f"{ward}-keys": {}}
        link["networks"].append(ward)
        init["volumes"].append(f"{ward}-keys:/range/keys/node{number}")
        white["volumes"].append(f"{ward}-files:/range/federation/node{number}")
        white["depends_on"][f"hospital-{name}"] = {"condition": "service_healthy"}
    return made


def read(path: Path) -> Compose:
    """The base in a file, with the folder from which images are built as a whole path."""
    told: Compose = yaml.safe_load(path.read_text(encoding="utf-8"))
    parts = [*told["services"].values(), *(v for v in told.get(TEMPLATE, {}).values() if "build" in v)]
    for service in parts:
        build = cast("dict[str, Any] | None", service.get("build"))
        if build is not None:
            service["build"] = {**build, "context": str((path.parent / build["context"]).resolve())}
    return told


def text(made: Compose) -> str:
    """The compose file's text."""
    return "# Made by testbed range for one exercise; docker/lint.py checks it.\n" + yaml.safe_dump(
        made, sort_keys=False
    )


def _copy(value: Any) -> Any:
    """The value with nothing shared between its parts, as the anchors of a file are."""
    return copy.deepcopy(json.loads(json.dumps(value)))


def _filled(template: Any, words: Mapping[str, str]) -> Any:
    filled = json.dumps(template)
    for word, meant in words.items():
        filled = re.sub(rf"{word}(?![A-Z])", meant, filled)
    return json.loads(filled)

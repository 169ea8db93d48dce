# pyright: strict
"""The desks as web pages, rendered from what the scorer shows a side. No script, and nothing from outside."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment

from testbed.core import catalogue, plain_files
from testbed.core.defence import FEDERATED, OF_TREES
from testbed.range.exercise import FederatedExercise, TreeExercise
from testbed.range.instance import Instance, Side
from testbed.range.play import able_to_act
from testbed.range.state import STATE
from testbed.report import serving, templates

POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""The content security policy of every page: no script, nothing from elsewhere, and no page around it."""
HEADERS = serving.HEADERS | {
    "content-security-policy": POLICY,
    "referrer-policy": "same-origin",  # under no-referrer a browser sends its own forms with the origin null
}
SIDES: Mapping[Side, str] = {"red": "Red team", "blue": "Blue team", "white": "Instructor"}
REPORT = "result.json"


@dataclass(frozen=True, slots=True)
class Message:
    """What the last form had as an answer: good news or bad, in words."""

    good: bool
    text: str


def entrance(instance: Instance, message: Message | None = None) -> str:
    """The page on which a desk's token is given."""
    return _rendered("entrance.html.j2", title=instance.exercise.title, message=message)


def desk(instance: Instance, told: Mapping[str, Any], csrf: str, message: Message | None) -> str:
    """The page of one desk. `told` is what the scorer shows this side."""
    side: Side = told["side"]
    more: dict[str, Any] = {}
    if side == "red":
        more = _red(instance, int(told["team"]))
    elif side == "blue":
        more = _blue(instance, int(told["team"]))
    else:
        exercise = instance.exercise
        federation = isinstance(exercise, FederatedExercise)
        more = {
            "able": (instance.white / STATE).is_file(),
            "acts": able_to_act() if federation else [],
            "hospitals": exercise.hospitals if isinstance(exercise, FederatedExercise) else [],
        }
    return _rendered(
        "desk.html.j2",
        told=told,
        who=SIDES[side] + (f" {told['team']}" if told["team"] else ""),
        name=instance.name,
        federation=isinstance(instance.exercise, FederatedExercise),
        trees=isinstance(instance.exercise, TreeExercise),
        csrf=csrf,
        message=message,
        **more,
    )


def _red(instance: Instance, team: int) -> dict[str, Any]:
    loot = instance.desk("red", team) / "loot"
    exercise = instance.exercise
    return {
        "pictures": plain_files.listed(loot, ".png"),
        "reconstructions": plain_files.listed(loot, ".npz", ".npy"),
        "tables": plain_files.listed(loot, ".csv"),
        "hospitals": exercise.hospitals if isinstance(exercise, FederatedExercise) else [],
        "given": exercise.hints,
    }


def _blue(instance: Instance, team: int) -> dict[str, Any]:
    desk, trees = instance.desk("blue", team), isinstance(instance.exercise, TreeExercise)
    possible = OF_TREES if trees else FEDERATED
    return {
        "defences": sorted(
            e.name for e in catalogue.entries("defence") if e.arguments.get("where", "update") in possible
        ),
        "guards": [] if trees else sorted(e.name for e in catalogue.entries("guard")),
        "acts": able_to_act(),
        "reports": reports(desk),
    }


def reports(desk: Path) -> list[str]:
    """The folders of reports on blue's desk."""
    try:
        folders = sorted(p.name for p in desk.iterdir() if plain_files.NAME.fullmatch(p.name) and not p.is_symlink())
    except OSError:
        return []
    return [name for name in folders if plain_files.listed(desk / name / "share", REPORT)]


@functools.cache
def style() -> str:
    """The style sheet of all pages."""
    return resources.files("testbed.range").joinpath("desk.css").read_text(encoding="utf-8")


@functools.cache
def _environment() -> Environment:
    return templates.environment("range")


def _rendered(template: str, **values: Any) -> str:
    return _environment().get_template(template).render(**values)

# pyright: strict
"""The machines of an exercise for platforms that build them: a topology of CyberRangeCZ, a scenario in OCR-SDL.

Both have the places of docker/compose.yml: the scorer is on one network with each side, and no side meets another one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml

from testbed.range.exercise import Candidate, Exercise, ReleaseExercise, Stage, TreeRound
from testbed.range.instance import Instance

SCORER = "scorer"
ROLES = {"red": "Red", "blue": "Blue", "white": "White"}
"""The sides, and what OCR-SDL calls their roles."""
IMAGE, USER = "debian-12-x86_64", "debian"
LONGEST_NAME = 35
"""Characters of a node's name in OCR-SDL at most."""


@dataclass(frozen=True, slots=True)
class Machine:
    """A host: the sides on whose network it is, and what it needs."""

    name: str
    sides: tuple[str, ...]
    flavor: str
    memory: str
    cpus: int
    about: str


MACHINES = (
    Machine(SCORER, tuple(ROLES), "standard.small", "2 GiB", 1, "holds the truth and answers claims"),
    Machine("range-node", ("white",), "standard.large", "8 GiB", 2, "plays the rounds; the instructor's desk"),
    Machine("red-desk", ("red",), "standard.medium", "4 GiB", 2, "the red team's desk"),
    Machine("blue-desk", ("blue",), "standard.medium", "4 GiB", 2, "the blue team's desk"),
)


def topology(instance: Instance) -> str:
    """A `topology.yml` of CyberRangeCZ: a network and a router for each side, none of which leads to the internet."""
    box = {"image": IMAGE, "mgmt_user": USER}
    nets = {side: f"10.{60 + number}.20" for number, side in enumerate(ROLES)}
    told: dict[str, Any] = {
        "name": instance.exercise.id if instance.exercise.id[0].isalpha() else f"exercise-{instance.exercise.id}",
        "hosts": [
            {
                "name": m.name,
                "base_box": dict(box),
                "flavor": m.flavor,
                "block_internet": True,
                "hidden": m.name == SCORER,
            }
            for m in MACHINES
        ],
        "routers": [{"name": f"{side}-router", "base_box": dict(box), "flavor": "standard.small"} for side in nets],
        "wan": {"name": "outside", "cidr": "100.100.100.0/24"},
        "networks": [
            {"name": f"{side}-switch", "cidr": f"{net}.0/24", "accessible_by_user": side != "white"}
            for side, net in nets.items()
        ],
        "net_mappings": [
            {"host": m.name, "network": f"{side}-switch", "ip": f"{nets[side]}.{10 + number}"}
            for number, m in enumerate(MACHINES)
            for side in m.sides
        ],
        "router_mappings": [
            {"router": f"{side}-router", "network": f"{side}-switch", "ip": f"{net}.1"} for side, net in nets.items()
        ],
        "groups": [{"name": "user-accessible", "nodes": ["red-desk", "blue-desk"]}],
    }
    return yaml.safe_dump(told, sort_keys=False)


def ocr_sdl(instance: Instance, team: int) -> dict[str, str]:
    """A scenario in the language of Open Cyber Range (OCR-SDL): machines, sides, stages with their times, and points.

    All metrics are manual, because the scorer judges and the instructor enters its points. No answer stands in it.
    """
    exercise = instance.exercise
    stages = [(f"stage-{number}", stage, _worth(exercise, stage)) for number, stage in enumerate(exercise.stages, 1)]
    counted = [(key, stage, worth) for key, stage, worth in stages if worth]
    each = exercise.minutes // len(stages)
    told: dict[str, Any] = {
        "name": exercise.id,
        "description": f"{exercise.story.strip()} All patients are generated; nobody of them exists.",
        "nodes": {
            **{f"{side}-switch": {"type": "Switch"} for side in ROLES},
            **{
                m.name: {
                    "type": "VM",
                    "description": m.about,
                    "source": IMAGE,
                    "resources": {"ram": m.memory, "cpu": m.cpus},
                    "roles": {"user": USER},
                }
                for m in MACHINES
            },
        },
        "infrastructure": {
            **{f"{side}-switch": 1 for side in ROLES},
            **{m.name: _placed(m) for m in MACHINES},
        },
        "entities": {
            f"{side}-team": {"name": f"{side} team {team}", "role": role, "mission": MISSIONS[side]}
            | ({"tlos": [f"{key}-learnt" for key, _, _ in counted]} if side == _winner(exercise) else {})
            for side, role in ROLES.items()
        },
        "metrics": {
            f"{key}-points": {"name": stage.title, "type": "Manual", "artifact": True, "max-score": worth}
            for key, stage, worth in counted
        },
        "evaluations": {
            f"{key}-judged": {"description": stage.title, "metrics": [f"{key}-points"], "min-score": 50}
            for key, stage, _ in counted
        },
        "tlos": {f"{key}-learnt": {"name": stage.title, "evaluation": f"{key}-judged"} for key, stage, _ in counted},
        "goals": {"goal": {"name": exercise.title, "tlos": [f"{key}-learnt" for key, _, _ in counted]}},
        "injects": {
            f"{key}-inject": {
                "source": "testbed-range",
                "from-entity": "white-team",
                "to-entities": ["red-team", "blue-team"],
                "description": f"testbed range inject {instance.name} round",
            }
            for key, _, _ in stages
        },
        "events": {
            key: {"name": stage.title, "source": "testbed-range", "injects": [f"{key}-inject"]}
            for key, stage, _ in stages
        },
        "scripts": {
            "timetable": {
                "start-time": "0 min",
                "end-time": f"{exercise.minutes} min",
                "speed": 1.0,
                "events": {key: f"{each * number} min" for number, (key, _, _) in enumerate(stages)},
            }
        },
        "stories": {"exercise": {"speed": 1.0, "scripts": ["timetable"]}},
    }
    return {"scenario.yml": yaml.safe_dump(told, sort_keys=False)}


MISSIONS = {
    "red": "find out whose records were used, and what stood in them",
    "blue": "protect the patients without spoiling the result",
    "white": "plays the rounds, gives hints, and debriefs",
}


def _winner(exercise: Exercise) -> str:
    """The side whose right answers a stage's points are for."""
    return "blue" if isinstance(exercise, ReleaseExercise) else "red"


def _worth(exercise: Exercise, stage: Stage) -> int:
    points = exercise.points
    if isinstance(stage, Candidate):
        return points.decision
    if isinstance(stage, TreeRound):
        return points.count
    return points.flag if stage.flag is not None else points.membership if stage.membership else points.reconstruction


def _placed(machine: Machine) -> dict[str, Any]:
    needs = {"dependencies": [SCORER]} if machine.name != SCORER else {}
    return {"count": 1, "links": [f"{side}-switch" for side in machine.sides], **needs}

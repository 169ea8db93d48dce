# pyright: strict
"""A running exercise in the forms of other platforms: CTFd, CyberRangeCZ (KYPO), OCR-SDL, and blue's CACAO playbook.

The files hold a team's flags and the instructor's solutions, so they go to the instructor's folder.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from testbed.core.errors import UsageError, perhaps
from testbed.range import platforms
from testbed.range.exercise import Candidate, ReleaseExercise, TreeExercise, TreeRound
from testbed.range.instance import Instance, write_secret
from testbed.range.scorer import truths_of

HINT_OF = re.compile(r"^(?:Round|Candidate|Tier) (\d+):")
"""How a hint says for which stage it is."""
BY_THE_SCORER = "The scorer of testbed range judges this; the instructor gives the points."
AUTHOR = "testbed range"


@dataclass(frozen=True, slots=True)
class Task:
    """One stage of the exercise as another platform knows it. `answer` is None where the scorer alone can judge."""

    number: int
    title: str
    text: str
    worth: int
    answer: str | None
    hints: tuple[str, ...]
    attempts: int
    """Wrong answers after which it is closed; a decision is final."""


def tasks(instance: Instance, team: int) -> Iterator[Task]:
    """The stages of a team's exercise, in their order."""
    exercise, points = instance.exercise, instance.exercise.points
    flags = truths_of(instance.scorer, [team])[team].flags
    for number, stage in enumerate(exercise.stages, 1):
        hints = tuple(h for h in exercise.hints if (m := HINT_OF.match(h)) and int(m[1]) == number)
        attempts, worth, answer = exercise.limits.claims, points.membership, None
        what = f"Claim the membership of the named people in round {number}. {BY_THE_SCORER}"
        if isinstance(stage, Candidate):
            attempts, worth, answer = 1, points.decision, "hold" if stage.leaks else "release"
            what = f"May candidate {number} go out? Evaluate it, then answer release or hold. The answer is final."
        elif isinstance(stage, TreeRound):
            worth = points.count
            what = (
                f"Count the patients in every leaf of round {number}: those who are well, and the ill. {BY_THE_SCORER}"
            )
        elif stage.flag is not None:
            worth, answer = points.flag, flags[number]
            what = f"A patient of round {number} carries a label that begins with F. Read it from a reconstruction."
        elif not stage.membership:
            worth = points.reconstruction
            what = f"Reconstruct patients of round {number}. {BY_THE_SCORER}"
        yield Task(number, stage.title, what, worth, answer, hints, attempts)


def ctfd(instance: Instance, team: int) -> dict[str, str]:
    """A folder with a `challenge.yml` for each stage, as ctfcli installs them, by the files' names."""
    exercise, files = instance.exercise, dict[str, str]()
    for task in tasks(instance, team):
        told: dict[str, Any] = {
            "name": f"{exercise.title} {task.number}: {task.title}",
            "author": AUTHOR,
            "category": exercise.id,
            "description": f"{exercise.story.strip()}\n\n{task.text}",
            "attribution": "All patients are generated; nobody of them exists.",
            "value": task.worth,
            "type": "standard",
            "attempts": task.attempts,
            "flags": [] if task.answer is None else [{"type": "static", "content": task.answer, "data": INSENSITIVE}],
            "hints": [{"content": hint, "cost": -exercise.points.hint} for hint in task.hints],
            "tags": ["privacy", exercise.id],
            "state": "hidden",
            "version": "0.1",
        }
        files[f"{exercise.id}-{task.number:02d}/challenge.yml"] = yaml.safe_dump(told, sort_keys=False)
    return files


INSENSITIVE = "case_insensitive"


def kypo(instance: Instance, team: int) -> dict[str, str]:
    """`training.json` and `topology.yml` of CyberRangeCZ. What its platform cannot judge is an information level."""
    exercise = instance.exercise
    each = exercise.minutes // len(exercise.stages)
    shown = {"estimated_duration": 5}
    levels: list[dict[str, Any]] = [
        {"title": "The story", "level_type": "INFO_LEVEL", "content": exercise.story.strip(), **shown},
        {
            "title": "Your desk",
            "level_type": "ACCESS_LEVEL",
            "passkey": "start",
            "cloud_content": "Read the brief in your team's folder, then answer **start**.",
            "local_content": "Read the brief in your team's folder, then answer **start**.",
            **shown,
        },
    ]
    for task in tasks(instance, team):
        level = {"title": task.title, "content": task.text, "estimated_duration": each}
        if task.answer is None:
            levels.append({**level, "level_type": "INFO_LEVEL"})
            continue
        cost = min(task.worth, -exercise.points.hint)
        hints = [
            {"title": f"Hint {i + 1}", "content": text, "hint_penalty": cost, "order": i}
            for i, text in enumerate(task.hints)
        ]
        levels.append(
            {
                **level,
                "level_type": "TRAINING_LEVEL",
                "answer": task.answer,
                "answer_variable_name": None,
                "variant_answers": False,
                "solution": f"The answer is {task.answer}. How it is found stands in instructor.md.",
                "solution_penalized": True,
                "hints": hints,
                "incorrect_answer_limit": task.attempts,
                "max_score": min(100, task.worth),
                "minimal_possible_solve_time": 1,
                "attachments": [],
                "reference_solution": [],
                "mitre_techniques": [],
                "expected_commands": ["testbed"],
                "commands_required": False,
            }
        )
    told = {
        "title": exercise.title,
        "description": f"{exercise.story.strip()} All patients are generated; nobody of them exists.",
        "prerequisites": ["testbed is installed on the team's machine"],
        "outcomes": ["what leaks from a federation or a released table, and how it is noticed"],
        "state": "UNRELEASED",
        "show_stepper_bar": True,
        "variant_sandboxes": False,
        "estimated_duration": exercise.minutes,
        "levels": [{**level, "order": order} for order, level in enumerate(levels)],
    }
    return {"training.json": json.dumps(told, indent=2) + "\n", "topology.yml": platforms.topology(instance)}


def cacao(instance: Instance, team: int) -> dict[str, str]:
    """A CACAO 2.0 playbook of what blue does, from the first stage to the last."""
    exercise, steps = instance.exercise, _steps(instance, team)
    key = f"{instance.name}/{team}"
    agent, start, end = (f"{kind}--{_uuid(key, kind)}" for kind in ("group", "start", "end"))
    actions = [f"action--{_uuid(key, str(i))}" for i in range(len(steps))]
    workflow: dict[str, Any] = {start: {"type": "start", "on_completion": actions[0]}}
    for (title, what), own, following in zip(steps, actions, [*actions[1:], end], strict=True):
        command = {"type": "manual", "command": what, "playbook_activity": ACTIVITY}
        workflow[own] = {
            "type": "action", "name": title, "commands": [command], "agent": agent, "on_completion": following
        }  # fmt: skip
    workflow[end] = {"type": "end"}
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    told = {
        "type": "playbook",
        "spec_version": "cacao-2.0",
        "id": f"playbook--{_uuid(key, 'playbook')}",
        "name": f"{exercise.title}: blue team {team}",
        "description": exercise.story.strip(),
        "playbook_types": ["detection"],
        "playbook_activities": [ACTIVITY],
        "created_by": f"identity--{_uuid('testbed', 'identity')}",
        "created": now,
        "modified": now,
        "workflow_start": start,
        "workflow": workflow,
        "agent_definitions": {agent: {"type": "group", "name": f"blue team {team}"}},
    }
    return {"playbook.json": json.dumps(told, indent=2) + "\n"}


def _steps(instance: Instance, team: int) -> list[tuple[str, str]]:
    """What blue does in its order: a title, and what is to be done."""
    name, exercise = instance.name, instance.exercise
    steps = [("Read the brief", "Read brief-blue.md on your desk.")]
    for number, stage in enumerate(exercise.stages, 1):
        if isinstance(exercise, ReleaseExercise):
            report = f"report-{number:02d}"
            tables = f"--original original.csv --control control.csv --synthetic release-{number:02d}.csv"
            look = f"testbed evaluate {tables} --data-class synthetic --out {report}"
            claim = f"testbed range claim {name} decision hold --round {number} --report {report} --team {team}"
            steps.append((f"Evaluate candidate {number}: {stage.title}", look))
            decide = f"Read {report}/share/report.html. Then {claim}, or release in place of hold"
            steps.append((f"Decide about candidate {number}", decide))
        elif isinstance(exercise, TreeExercise):
            choose = f"Choose defences of trees: testbed range defend {name} DEFENCE --team {team}"
            steps.append((f"Before round {number}: {stage.title}", choose))
            steps.append((f"After round {number}", "Read rounds.jsonl: how good the model is, and what was used"))
        else:
            choose = f"testbed range defend {name} DEFENCE --guards GUARDS --team {team}"
            claim = f"testbed range claim {name} detection TECHNIQUE --round {number} --team {team}"
            steps.append((f"Before round {number}: {stage.title}", f"Choose defences and guards: {choose}"))
            read = f"Read rounds.jsonl: alarms and accuracy. If the coordinator attacked: {claim}"
            steps.append((f"After round {number}", read))
    return steps


ACTIVITY = "analyze-collected-data"


def _uuid(*words: str) -> uuid.UUID:
    """An identifier that is the same for the same words, in the form of version 4, which CACAO asks for."""
    return uuid.UUID(bytes=hashlib.sha256("/".join(words).encode()).digest()[:16], version=4)


FORMATS: Mapping[str, Callable[[Instance, int], dict[str, str]]] = {
    "cacao": cacao,
    "ctfd": ctfd,
    "kypo": kypo,
    "ocr-sdl": platforms.ocr_sdl,
}
"""The forms, by the name that the command gives."""


def write(instance: Instance, to: str, team: int = 1, out: Path | None = None) -> list[Path]:
    """Writes the exercise in another platform's form; by default into the instructor's folder. Returns the files."""
    if to not in FORMATS:
        raise UsageError(
            "TB-RANGE-051",
            f"There is no export {to!r}.",
            "An exercise is written for one of four platforms.",
            f"Did you mean one of these? {perhaps(to, FORMATS)}",
        )
    instance.desk("blue", team)
    folder = out or instance.white / "export" / f"{to}-{team}"
    written: list[Path] = []
    for name, text in FORMATS[to](instance, team).items():
        path = folder / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_secret(path, text)
        written.append(path)
    return written

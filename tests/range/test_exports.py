"""Exports: each has what its platform demands, the answers are the team's own, and nobody else can read them."""

from __future__ import annotations

import ipaddress
import itertools
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from testbed.core import Cohort
from testbed.core.errors import UsageError
from testbed.range import exports, releases
from testbed.range import instance as instances
from testbed.range.exercise import ReleaseExercise
from testbed.range.instance import Instance
from testbed.range.truth import Truth
from tests.range.small import Played, played

IDENTIFIER = re.compile(r"[a-z][a-z0-9-]+--[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
"""An identifier of CACAO 2.0, with a UUID of version 4, as section 10.10 of the specification asks for steps."""


@pytest.fixture
def heist(tmp_path: Path) -> Played:
    return played(tmp_path)


@pytest.fixture
def release(tmp_path: Path) -> Instance:
    made = instances.create(tmp_path / "open", "open-release", 1)
    assert isinstance(made.exercise, ReleaseExercise)
    releases.truth(releases.crowd(made.exercise, 1)).write(made.scorer / "truth-1.npz")
    return made


@pytest.fixture
def grove(tmp_path: Path) -> Instance:
    """The exercise about boosted trees, in which the scorer alone can judge."""
    made = instances.create(tmp_path / "trees", "trees", 1)
    nobody = Cohort(np.zeros((0, 1), np.float32), np.zeros(0, np.int64), np.zeros(0, "<U1"))
    Truth(nobody, nobody, (), np.zeros(0, bool), {}).write(made.scorer / "truth-1.npz")
    return made


def challenges(files: list[Path]) -> list[dict[str, Any]]:
    return [yaml.safe_load(path.read_text("utf-8")) for path in files]


def test_ctfd_gets_a_challenge_for_each_stage_with_the_flags_of_the_team(heist: Played, tmp_path: Path) -> None:
    files = exports.write(heist.instance, "ctfd", 2, tmp_path / "out")
    told = challenges(files)
    assert [p.name for p in files] == ["challenge.yml"] * len(heist.exercise.rounds)
    for one in told:
        # What ctfcli's lint demands, and the types that its API takes.
        for name in ("name", "author", "category", "description", "attribution"):
            assert isinstance(one[name], str)
            assert one[name]
        assert isinstance(one["value"], int)
        assert one["type"] == "standard"
        assert one["state"] in ("hidden", "visible")
        assert all(set(h) == {"content", "cost"} and h["cost"] >= 0 for h in one["hints"])
        assert all(f["type"] == "static" and f["data"] == "case_insensitive" for f in one["flags"])
    assert len({one["name"] for one in told}) == len(told)
    flags = {number: one["flags"][0]["content"] for number, one in enumerate(told, 1) if one["flags"]}
    assert flags == heist.people[2].truth.flags
    assert not set(flags.values()) & set(heist.people[1].truth.flags.values())
    assert [h["content"] for h in told[1]["hints"]] == [heist.exercise.hints[1]]


def test_ctfd_takes_one_final_decision_for_each_candidate(release: Instance) -> None:
    told = challenges(exports.write(release, "ctfd"))
    assert [one["flags"][0]["content"] for one in told] == ["release", "hold", "hold", "release"]
    assert {one["attempts"] for one in told} == {1}
    assert {one["value"] for one in told} == {release.exercise.points.decision}


def test_kypo_gets_levels_in_an_unbroken_order_each_with_what_its_type_demands(
    heist: Played, release: Instance, grove: Instance
) -> None:
    demanded = {
        "INFO_LEVEL": {"content"},
        "ACCESS_LEVEL": {"passkey", "cloud_content", "local_content"},
        "TRAINING_LEVEL": {
            "answer", "answer_variable_name", "variant_answers", "content", "solution", "solution_penalized", "hints",
            "incorrect_answer_limit", "max_score",
        },
    }  # fmt: skip
    answers: list[list[str]] = []
    for game in (heist.instance, release, grove):
        path, _ = exports.write(game, "kypo")
        told = json.loads(path.read_text("utf-8"))
        assert {"title", "description", "prerequisites", "outcomes", "state", "levels"} <= told.keys()
        assert told["state"] == "UNRELEASED"
        assert [level["order"] for level in told["levels"]] == list(range(len(told["levels"])))
        for level in told["levels"]:
            assert demanded[level["level_type"]] | {"title", "order", "estimated_duration"} <= level.keys()
        trained = [level for level in told["levels"] if level["level_type"] == "TRAINING_LEVEL"]
        answers.append([level["answer"] for level in trained])
        for level in trained:
            assert 0 < level["max_score"] <= 100
            assert [h["order"] for h in level["hints"]] == list(range(len(level["hints"])))
            assert all({"title", "content", "hint_penalty"} <= h.keys() for h in level["hints"])
    assert answers == [list(heist.people[1].truth.flags.values()), ["release", "hold", "hold", "release"], []]


@pytest.mark.parametrize("name", ["heist", "release", "grove"])
def test_a_playbook_leads_from_its_start_through_every_step_to_its_end(
    name: str, request: pytest.FixtureRequest
) -> None:
    made: Any = request.getfixturevalue(name)
    game: Instance = made.instance if isinstance(made, Played) else made
    (path,) = exports.write(game, "cacao")
    told = json.loads(path.read_text("utf-8"))
    assert (told["type"], told["spec_version"]) == ("playbook", "cacao-2.0")
    assert IDENTIFIER.fullmatch(told["id"])
    assert IDENTIFIER.fullmatch(told["created_by"])
    for time in (told["created"], told["modified"]):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", time)
    steps: dict[str, Any] = told["workflow"]
    assert all(IDENTIFIER.fullmatch(key) and key.startswith(step["type"]) for key, step in steps.items())
    passed = [told["workflow_start"]]
    while (following := steps[passed[-1]].get("on_completion")) is not None:
        assert following not in passed
        passed.append(following)
    assert passed == list(steps)
    assert [steps[key]["type"] for key in passed] == ["start", *["action"] * (len(steps) - 2), "end"]
    for key in passed[1:-1]:
        assert steps[key]["agent"] in told["agent_definitions"]
        assert all(c["type"] == "manual" and c["command"] for c in steps[key]["commands"])
    named = {c["playbook_activity"] for key in passed[1:-1] for c in steps[key]["commands"]}
    assert named == set(told["playbook_activities"])
    # Blue may read its playbook: no answer stands in it.
    assert (
        not [f for f in made.people[1].truth.flags.values() if f in path.read_text("utf-8")] if name == "heist" else 1
    )


def test_an_export_is_the_instructors_alone(heist: Played) -> None:
    for form in exports.FORMATS:
        for path in exports.write(heist.instance, form):
            assert path.is_relative_to(heist.instance.white)
            assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(UsageError, match=r"TB-RANGE-051.*ctfd"):
        exports.write(heist.instance, "ctf")
    with pytest.raises(UsageError, match="TB-RANGE-004"):
        exports.write(heist.instance, "ctfd", 3)


def test_kypo_gets_a_topology_in_which_no_side_meets_another(heist: Played, release: Instance, grove: Instance) -> None:
    for game in (heist.instance, release, grove):
        path = exports.write(game, "kypo")[1]
        told = yaml.safe_load(path.read_text("utf-8"))
        assert path.name == "topology.yml"
        # The rules of crczp-topology-definition 2.0, by which the platform loads it.
        nodes = [one["name"] for key in ("hosts", "routers", "networks") for one in told[key]]
        names = [told["name"], told["wan"]["name"], *nodes]
        assert len(set(names)) == len(names)
        assert all(re.fullmatch("[a-z][a-z0-9A-Z-]*", n) for n in [*names, *(g["name"] for g in told["groups"])])
        nets = {one["name"]: ipaddress.ip_network(one["cidr"]) for one in told["networks"]}
        every = [*nets.values(), ipaddress.ip_network(told["wan"]["cidr"])]
        assert not [1 for a, b in itertools.combinations(every, 2) if a.overlaps(b)]
        mapped = [*told["net_mappings"], *told["router_mappings"]]
        assert all(ipaddress.ip_address(m["ip"]) in nets[m["network"]] for m in mapped)
        assert len({m["ip"] for m in mapped}) == len(mapped)
        assert {m.get("host") or m["router"] for m in mapped} == {
            one["name"] for k in ("hosts", "routers") for one in told[k]
        }
        assert all(set(g["nodes"]) <= set(nodes) for g in told["groups"])
        # And those of this range.
        on = {n: {m["host"] for m in told["net_mappings"] if m["network"] == n} for n in nets}
        assert on["red-switch"] == {"scorer", "red-desk"}
        assert on["blue-switch"] == {"scorer", "blue-desk"}
        assert len({m["network"] for m in told["router_mappings"]}) == len(told["routers"])
        assert all(h["block_internet"] for h in told["hosts"])
        assert {n["name"] for n in told["networks"] if n["accessible_by_user"]} == {"red-switch", "blue-switch"}


def test_ocr_gets_a_scenario_whose_every_name_leads_somewhere(
    heist: Played, release: Instance, grove: Instance
) -> None:
    for game in (heist.instance, release, grove):
        (path,) = exports.write(game, "ocr-sdl")
        told: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))
        # The rules of Open Cyber Range's SDL parser 0.21: which entries there are, and what they refer to.
        assert set(told) <= {
            "name", "description", "nodes", "features", "infrastructure", "conditions", "vulnerabilities", "metrics",
            "evaluations", "tlos", "entities", "goals", "injects", "events", "scripts", "stories",
        }  # fmt: skip
        nodes, places = told["nodes"], told["infrastructure"]
        assert set(places) == set(nodes)
        assert all(len(name) <= 35 for name in nodes)
        for name, node in nodes.items():
            if node["type"] == "Switch":
                assert set(node) == {"type"}
                assert places[name] == 1  # a switch stands once
                continue
            assert re.fullmatch(r"\d+ GiB", node["resources"]["ram"])
            assert node["resources"]["cpu"] > 0
            assert places[name]["count"] > 0
            assert {nodes[link]["type"] for link in places[name]["links"]} == {"Switch"}
            assert set(places[name].get("dependencies", [])) <= set(nodes) - {name}
        assert {e["role"] for e in told["entities"].values()} == {"Red", "Blue", "White"}
        assert all(
            m["type"] == "Manual" and m["max-score"] > 0 and "condition" not in m for m in told["metrics"].values()
        )
        for one in told["evaluations"].values():
            assert set(one["metrics"]) <= set(told["metrics"])
            assert 0 <= one["min-score"] <= 100
        assert all(t["evaluation"] in told["evaluations"] for t in told["tlos"].values())
        for of in (told["goals"], told["entities"]):
            assert all(set(one.get("tlos", [])) <= set(told["tlos"]) for one in of.values())
        for one in told["injects"].values():
            assert {one["from-entity"], *one["to-entities"]} <= set(told["entities"])
        assert all(set(e["injects"]) <= set(told["injects"]) for e in told["events"].values())
        for script in told["scripts"].values():
            begin, end = (int(script[k].removesuffix(" min")) for k in ("start-time", "end-time"))
            assert set(script["events"]) == set(told["events"])
            assert all(begin <= int(t.removesuffix(" min")) <= end for t in script["events"].values())
            assert end == game.exercise.minutes
        assert all(set(s["scripts"]) <= set(told["scripts"]) for s in told["stories"].values())
        assert len(told["events"]) == len(game.exercise.stages)
        assert not [f for f in heist.people[1].truth.flags.values() if f in path.read_text("utf-8")]

"""Who reaches whom, and who reads and writes what, in the compose file of each exercise: walked, and compared with a
table that was written by hand."""

from __future__ import annotations

from typing import Any

import pytest

from testbed.core.errors import UsageError
from testbed.range import composed, containers, exercise

BASE = composed.read(containers.COMPOSE)
MADE = {name: composed.compose(BASE, exercise.load(name)) for name in exercise.shipped()}
OF_ALL = {
    "init": set[str](),
    "scorer": {"range", "red", "blue", "board"},
    "range": {"scorer"},
    "red": {"scorer"},
    "blue": {"scorer"},
    "board": {"scorer"},
}
HOSPITALS = {"hospital-north", "hospital-harbour", "hospital-forest"}
WITH_HOSPITALS = {
    **OF_ALL,
    "range": {"scorer", "link"},
    "link": {"range", *HOSPITALS},
    **{hospital: {"link"} for hospital in HOSPITALS},
}
REACHED = {
    "gradient-heist": WITH_HOSPITALS,
    "three-tiers": WITH_HOSPITALS,
    "open-release": OF_ALL,
    "trees": OF_ALL,
}
READERS = {
    "truth": {"init", "scorer", "range"},
    "white": {"init", "range"},
    "red": {"init", "range", "red", "board"},
    "blue": {"init", "range", "blue", "board"},
    "certificate": {"init", "scorer"},
    "link-files": {"link", "range"},
    "link-keys": {"init", "link"},
    **{f"ward-{h}-files": {f"hospital-{h}", "range"} for h in ("north", "harbour", "forest")},
    **{f"ward-{h}-keys": {f"hospital-{h}", "init"} for h in ("north", "harbour", "forest")},
}


def reached(compose: dict[str, Any], name: str) -> set[str]:
    """The services to which this one has a route: those on one of its networks, since nobody forwards."""
    own = set(compose["services"][name].get("networks", ()))
    return {o for o, s in compose["services"].items() if o != name and own & set(s.get("networks", ()))}


def mounted(compose: dict[str, Any], name: str) -> tuple[set[str], set[str]]:
    """The volumes that a service reads, and those of them that it writes."""
    entries = [v.split(":") for v in compose["services"][name].get("volumes", ())]
    return {e[0] for e in entries}, {e[0] for e in entries if "ro" not in e[2:]}


@pytest.mark.parametrize("name", sorted(MADE))
def test_each_service_reaches_those_of_the_table_and_nobody_else(name: str) -> None:
    assert {service: reached(MADE[name], service) for service in MADE[name]["services"]} == REACHED[name]


@pytest.mark.parametrize("name", sorted(MADE))
def test_only_the_boards_network_leads_out_and_only_on_this_machine(name: str) -> None:
    compose = MADE[name]
    open_ = {n for n, told in compose["networks"].items() if not told.get("internal")}
    assert [s for s, told in compose["services"].items() if open_ & set(told.get("networks", ()))] == ["board"]
    ports = {s: told["ports"] for s, told in compose["services"].items() if told.get("ports")}
    assert list(ports) == ["board"]
    assert all(p.startswith("127.0.0.1:") for p in ports["board"])


@pytest.mark.parametrize("name", sorted(MADE))
def test_the_teams_read_no_truth_and_write_to_their_own_desk_alone(name: str) -> None:
    compose = MADE[name]
    for side in ("red", "blue"):
        reads, writes = mounted(compose, side)
        assert reads == {"common", "authority", side}
        assert writes == {side}
        assert compose["services"][side]["read_only"]
    readers = {v: {s for s in compose["services"] if v in mounted(compose, s)[0]} for v in compose["volumes"]}
    for volume, told in readers.items():
        assert told == READERS.get(volume, told), volume
    assert readers["common"] == set(OF_ALL)


def test_a_hospital_holds_its_own_keys_and_files_and_nothing_else() -> None:
    compose = MADE["gradient-heist"]
    for number, name in enumerate(("north", "harbour", "forest")):
        service = compose["services"][f"hospital-{name}"]
        assert service["volumes"] == [
            f"ward-{name}-files:/range/federation/node{number}",
            f"ward-{name}-keys:/range/keys:ro",
        ]
        assert service["command"][-3:] == ["node", str(number), "3"]


def test_order_the_hospitals_wait_for_the_link_and_the_coordinator_for_all() -> None:
    services = MADE["gradient-heist"]["services"]
    assert set(services["range"]["depends_on"]) == {"scorer", "link", *HOSPITALS}
    for hospital in HOSPITALS:
        assert services[hospital]["depends_on"] == {"link": {"condition": "service_healthy"}}


def test_hospitals_that_cannot_be_hosts_are_refused_and_names_do_not_collide() -> None:
    heist = exercise.federated(exercise.load("gradient-heist"))
    for wrong in ("North", "a b", "x_y", "-x", "", "a" * 40, "$HOME"):
        with pytest.raises(UsageError, match="TB-RANGE-077"):
            composed.compose(BASE, heist.model_copy(update={"hospitals": ["north", wrong]}))
    odd = composed.compose(BASE, heist.model_copy(update={"hospitals": ["red", "link", "scorer"]}))
    assert reached(odd, "red") == {"scorer"}
    assert {"hospital-red", "hospital-link", "hospital-scorer", "red", "link", "scorer"} <= odd["services"].keys()
    assert reached(odd, "hospital-red") == {"link"}

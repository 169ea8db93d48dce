"""Guards in every federated scenario: refused clients are not read, and honest rounds give few alarms."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from testbed.core import (
    Act,
    Cohort,
    Evidence,
    Exchange,
    ModelSpec,
    Parameters,
    Protocol,
    Reconstruction,
    Threat,
    Transcript,
)
from testbed.core.errors import RunError, UsageError
from testbed.data.cohorts import source
from testbed.defences.guards import named
from testbed.defences.guards.registry import find, guards
from testbed.findings.measures import unmeasured
from testbed.findings.schema import Estimate, Unmeasured
from testbed.harness.cells import planned
from testbed.harness.federation.alarms import counted, false_alarms, signals, unhidden
from testbed.harness.federation.assess import assess
from testbed.harness.federation.recorded import Pooled, Recorded, Truth
from testbed.harness.run import run
from testbed.harness.scenario import find as scenario
from testbed.harness.scenario import parse
from testbed.subjects.federation.federation import Federation
from testbed.subjects.federation.secure import SecureAggregation

PEOPLE = source("digits").people
SPEC = ModelSpec("mlp", {"shape": [1, 8, 8], "classes": 10, "hidden": [16]})
PARTS = [PEOPLE.take(np.arange(i * 20, (i + 1) * 20)) for i in range(4)]
FEDERATED = [
    "curious_client",
    "curious_server",
    "curious_server_membership",
    "federated_membership",
    "federated_synthesizer",
    "hospital_tables",
    "language_model",
    "malicious_client",
    "malicious_server",
    "property_inference",
    "secure_aggregation",
]


@pytest.mark.parametrize("name", FEDERATED)
def test_every_federated_scenario_takes_guards_and_refuses_a_misspelt_one_before_it_starts(name: str) -> None:
    assert parse(name, ["guards=weight_law"])["guards"] == "weight_law"
    with pytest.raises(UsageError) as refused:
        parse(name, ["guards=weight_laws"])
    assert refused.value.id == "TB-GUARD-001"


def test_guards_are_named_with_their_values_and_named_again() -> None:
    made = named.configured("layer_drift:3,action=warn+rare_neurons:rare=0.1")
    assert [(g.name, g.threshold, g.action) for g in made] == [
        ("layer_drift", 3.0, "warn"),
        ("rare_neurons", find("rare_neurons").threshold, "refuse"),
    ]
    assert made[1].params["rare"] == 0.1
    assert named.configured(named.text_of(made)) == made
    assert named.configured("none") == ()


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("weight_law+weight_law", "008"),
        ("none+weight_law", "008"),
        ("weight_law:1,2", "009"),
        ("weight_law:action=explode", "002"),
        ("weight_law:speed=3", "003"),
    ],
)
def test_guards_that_cannot_be_meant_are_refused(text: str, error: str) -> None:
    with pytest.raises(UsageError) as refused:
        named.configured(text)
    assert refused.value.id == f"TB-GUARD-{error}"


def test_guards_of_the_server_are_refused_under_secure_aggregation() -> None:
    with pytest.raises(UsageError) as refused:
        Federation(SPEC, Protocol("fedsgd", 4), guards=named.configured("opposed_update"), secure=SecureAggregation())
    assert refused.value.id == "TB-GUARD-007"


def test_people_of_a_client_that_refused_count_as_asked_about_and_not_read() -> None:
    people = {(1, 0): PARTS[0].take(np.arange(2)), (1, 1): PARTS[1].take(np.arange(3))}
    view = Transcript(
        (Exchange(1, 0, None, {}, status="ok"), Exchange(1, 1, None, None, status="refused")), SPEC, Protocol()
    )
    read = Reconstruction({(1, 0): people[1, 0].x})
    rows = replace(Evidence.rows("true", "used", success=[1, 1, 0, 0, 0]), requested=5, performed=2)
    assert counted(rows, read, people, view).performed == 5
    failed = replace(view, exchanges=(view.exchanges[0], replace(view.exchanges[1], status="error")))
    assert counted(rows, read, people, failed).performed == 2


def silenced(but: int) -> Act:
    """Sends every client but one a model whose first layer never fires."""

    def craft(round_: int, client: int, given: Parameters) -> Parameters:
        return given if client == but else {k: np.zeros_like(v) - (v.ndim == 1) for k, v in given.items()}

    return Act(craft=craft)


def secured(act: Act | None, threshold: float, guard: str = "dead_neurons") -> Transcript:
    protocol = Protocol("fedsgd", 20, learning_rate=0.1, rounds=1)
    made = Federation(SPEC, protocol, guards=named.configured(guard), secure=SecureAggregation(threshold))
    return made.run(PARTS, "in-process", act)


def test_a_client_that_refuses_is_not_in_the_sum_and_too_few_answers_are_no_sum() -> None:
    assert [e.status for e in secured(silenced(0), 0.5).exchanges] == ["refused"]

    def but_one(round_: int, client: int, given: Parameters) -> Parameters:
        crafted = silenced(-1).craft
        assert crafted is not None
        return crafted(round_, client, given) if client == 3 else given

    seen = secured(Act(craft=but_one), 0.5)
    assert [e.status for e in seen.exchanges] == ["ok"]
    three = Federation(SPEC, Protocol("fedsgd", 20, learning_rate=0.1, rounds=1), secure=SecureAggregation(0.5))
    mean = three.run(PARTS[:3]).exchanges[0].returned
    assert mean is not None
    for name, values in (seen.exchanges[0].returned or {}).items():
        assert values == pytest.approx(mean[name], abs=1e-4)  # the protocol rounds


def test_a_client_that_fails_still_ends_a_federation_with_guards() -> None:
    def broken(round_: int, client: int, sent: Parameters, returned: Parameters) -> dict[str, Any]:
        raise ValueError("of the client's own")

    act = Act(answer=broken, nodes=(3,))
    with pytest.raises(RunError, match="failed"):
        Federation(SPEC, Protocol("fedsgd", 20, rounds=1), guards=named.configured("weight_law")).run(
            PARTS, "in-process", act
        )


def test_false_alarms_are_those_of_honest_rounds_of_the_same_federation() -> None:
    protocol = Protocol("fedsgd", 10, learning_rate=0.1, rounds=2, clients=4)
    watching = named.configured("cohort_size:0.2+weight_law+opposed_update")
    found = {u.name: u.measure for u in false_alarms(Federation(SPEC, protocol, guards=watching), PEOPLE, 20)}
    rates = {name: m.value for name, m in found.items() if isinstance(m, Estimate)}
    assert rates["honest rounds with an alarm of cohort_size"] == 1  # one in four clients is above .2
    assert rates["honest rounds with an alarm of weight_law"] == 0
    assert rates["honest rounds with an alarm of any guard of the client"] == 1
    assert rates["honest rounds with an alarm of opposed_update"] == 0
    assert false_alarms(Federation(SPEC, protocol), PEOPLE, 20) == []


def test_signals_of_a_whole_transcript_are_what_clients_see_one_message_after_the_other() -> None:
    latest: dict[int, Parameters] = {}

    def craft(round_: int, client: int, sent: Parameters) -> Parameters:
        return latest.get(client, sent)

    def observe(round_: int, client: int, returned: Parameters) -> None:
        latest[client] = returned

    protocol = Protocol("fedavg", 10, learning_rate=0.1, rounds=2, clients=4)
    act = Act(craft=craft, observe=observe)
    seen = Federation(SPEC, protocol).run(PARTS, "in-process", act)
    echoed = find("echoed_model")()
    alarms = [echoed.alarms(s) for s in signals(echoed, seen, PARTS)]
    assert alarms == [False] * 4 + [True] * 4
    refusing = Federation(SPEC, protocol, guards=(echoed,)).run(PARTS, "in-process", Act(craft=craft, observe=observe))
    assert alarms[4:] == [e.status == "refused" for e in refusing.exchanges if e.round == 2]


def test_guards_cannot_tell_where_a_network_has_nothing_for_them_and_break_no_run() -> None:
    """Every guard on a transformer, and on a generator of tables."""
    for data, spec in (
        (
            Cohort(np.ones((20, 6), np.float32), np.zeros(20, int), np.arange(20).astype(str)),
            ModelSpec("transformer", {"shape": [6], "classes": 2, "vocabulary": 9, "width": 16, "causal": False}),
        ),
        (
            Cohort(np.eye(4, dtype=np.float32)[np.arange(20) % 4], np.zeros(20, int), np.arange(20).astype(str)),
            ModelSpec("autoregressive", {"shape": [4], "classes": 2, "blocks": [2, 2], "hidden": 8}),
        ),
    ):
        watching = tuple(g() for g in guards() if g.name != "model_consistency")
        protocol = Protocol("fedavg", 10, learning_rate=0.01, rounds=2)
        seen = Federation(spec, protocol, guards=watching).run([data] * 4)
        assert {e.status for e in seen.exchanges} <= {"ok", "refused"}


SMALL = {"rounds": 2, "guards": "weight_law"}


def test_a_server_whose_clients_refuse_reads_nobody_and_the_report_says_how_often_guards_are_wrong() -> None:
    result = run(scenario("malicious_server"), SMALL).result
    hidden, openly, curious = result.findings
    for finding in (hidden, openly):
        assert isinstance(finding.measure, Estimate)
        assert isinstance(finding.positive_control, Estimate)
        assert finding.measure.value < 0.5 < finding.positive_control.value
        assert "naive_attacker" not in finding.validity.flags
    assert isinstance(openly.measure, Estimate)
    assert openly.measure.value == 0
    assert openly.attack.performed == openly.attack.requested
    assert not openly.primary
    assert hidden.primary
    assert isinstance(curious.measure, Estimate)
    assert curious.measure.value > 0.5  # it changes nothing that a guard could notice
    assert result.utility[-1].name == "honest rounds with an alarm of weight_law"
    assert [d.adaptive for d in result.defences] == [True]


def test_an_attacker_who_acts_openly_before_guards_is_said_to_be_naive() -> None:
    nothing = Unmeasured(unmeasured="none", needs="nothing")
    found = [unmeasured(planned(name), nothing) for name in ACTING]
    for guard, marked in {"weight_law": [True, False], "opposed_update": [False, True]}.items():
        flags = [f.validity.flags for f in unhidden(found, named.configured(guard))]
        assert ["naive_attacker" in one for one in flags] == marked


ACTING = ("fishing", "client_gradient_ascent")


def test_nobody_is_told_apart_if_all_clients_refuse() -> None:
    people = Cohort(PEOPLE.x[:60], PEOPLE.y[:60], PEOPLE.persons[:60])
    used = np.arange(60) < 30
    truth = Truth((), Threat("server", knows=frozenset({"architecture", "target_records"})), PEOPLE, 0, 10)
    truth = replace(truth, pooled={"true": Pooled(people, used, np.zeros(60, int))})
    sent = Federation(SPEC, Protocol("fedavg", 10, rounds=1)).run(PARTS).exchanges[0].sent
    view = Transcript((Exchange(1, 0, sent, None, status="refused"),), SPEC, Protocol("fedavg"))
    plan = planned("update_product").area()
    (found,) = assess(Recorded({"true": view}, truth), (plan,)).findings
    assert isinstance(found.measure, Estimate)
    assert found.measure.value == 0.5
    failed = replace(view, exchanges=(replace(view.exchanges[0], status="error"),))
    (unknown,) = assess(Recorded({"true": failed}, truth), (plan,)).findings
    assert isinstance(unknown.measure, Unmeasured)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["simulation", "deployment"])
@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("malicious_server", SMALL),
        ("secure_aggregation", {"rounds": 2, "attack": "loki", "guards": "weight_law"}),
        (
            "curious_server_membership",
            {"data": "heart", "members": 60, "clients": 4, "rounds": 2, "guards": "opposed_update"},
        ),
    ],
)
def test_every_engine_gives_the_same_findings_with_guards(name: str, params: dict[str, Any], engine: str) -> None:
    one, other = run(scenario(name), params).result, run(scenario(name), params, engine=engine).result
    assert [f.measure for f in one.findings] == [f.measure for f in other.findings]
    assert one.utility == other.utility

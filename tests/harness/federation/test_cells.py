"""The cells of a federation are fair: whoever is asked about could be told apart by nothing but their use."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from testbed import models
from testbed.attacks.inversion.aggregate_difference import left_over
from testbed.attacks.membership.signals import over_rounds
from testbed.attacks.registry import find
from testbed.core import Array, Batch, Cohort, Exchange, ModelSpec, Protocol, Split, Threat, Transcript, Unavailable
from testbed.core.defence import Defence
from testbed.core.errors import UsageError
from testbed.data.cohorts import Source
from testbed.defences.gaussian import gaussian
from testbed.defences.random_update import random_update
from testbed.findings.plan import Plan
from testbed.harness.federation.leaky import Leaky
from testbed.harness.federation.people import groups, sited
from testbed.harness.federation.prepare import described
from testbed.harness.federation.property_worlds import halves
from testbed.harness.federation.trial import Trial
from testbed.subjects.federation.federation import Federation, SecureAggregation

SPEC = ModelSpec("mlp", {"shape": [4], "classes": 3, "hidden": [5]})
SERVER = Threat("server", knows=frozenset({"architecture", "target_records"}))
PLAN = Plan(
    rule="TB-MEMBERSHIP-001", risk="membership", attack="client_loss", metric="auc", unit="record", primary=True
)


def sorted_people(n: int = 600) -> Source:
    """A file in order of what it is about, as many are."""
    y = np.repeat(np.arange(3), n // 3)
    x = np.random.default_rng(0).random((n, 4)).astype(np.float32) + y[:, None]
    people = Cohort(x.astype(np.float32), y, np.arange(n).astype(str))
    return Source("sorted", "sorted", people, np.arange(n) % 4, 3, "", "public")


def of_parties(skewed: bool) -> tuple[Trial, Split]:
    split = groups(sorted_people(), 120, 120, 200, 3)
    assert isinstance(split.members, Cohort)
    party = split.members.y if skewed else np.arange(120) % 3
    made = Split(split.members, split.controls, split.auxiliary, party, split.decoys)
    federation = Federation(SPEC, Protocol("fedavg", 10, 1, learning_rate=0.1, rounds=1, clients=3), 0)
    return Trial(made, federation, SERVER, (PLAN,), positive=Leaky(federation, members=30)), made


def test_those_known_to_leak_are_a_sample_of_all_members_whatever_the_files_order() -> None:
    trial, _ = of_parties(skewed=False)
    pooled = trial.record("in-process").truth.pooled["positive"]
    used = np.bincount(pooled.people.y[pooled.used], minlength=3) / pooled.used.sum()
    assert (used > 0.15).all()


def test_where_all_is_to_be_learnt_by_heart_classes_are_drawn_anew_for_everybody_asked_about() -> None:
    trial, split = of_parties(skewed=False)
    pooled = (
        replace(trial, positive=Leaky(trial.federation, members=30, by_heart=True))
        .record("in-process")
        .truth.pooled["positive"]
    )
    assert isinstance(split.members, Cohort)
    assert isinstance(split.controls, Cohort)
    everybody = (*zip(split.members.persons, split.members.y, strict=True),)
    everybody += (*zip(split.controls.persons, split.controls.y, strict=True),)
    true = {str(person): int(label) for person, label in everybody}
    same = np.array([true[p] for p in pooled.people.persons.tolist()]) == pooled.people.y
    for group in (pooled.used, ~pooled.used):
        assert 0.1 < same[group].mean() < 0.6


def test_other_people_are_spread_over_clients_as_the_members_are() -> None:
    trial, split = of_parties(skewed=True)
    assert isinstance(split.members, Cohort)
    from testbed.harness.federation.trial import _alike, by_party

    assert split.party is not None
    assert isinstance(split.auxiliary, Cohort)
    parts = by_party(split.members, split.party)
    others = _alike(split.auxiliary, parts, np.random.default_rng(0))
    for mine, theirs in zip(parts, others, strict=True):
        assert np.bincount(mine.y, minlength=3).tolist() == np.bincount(theirs.y, minlength=3).tolist()
    persons = np.concatenate([p.persons for p in others])
    assert len(set(persons.tolist())) == len(persons)
    assert trial.federation.protocol.clients == 3


def test_a_client_is_asked_about_nobody_of_its_own_site() -> None:
    known = sorted_people()
    split, theirs = sited(known, groups(known, 120, 120, 200, 3), "site", 4, 0.5, 0)
    assert theirs is not None
    trial = Trial(
        split,
        Federation(SPEC, Protocol("fedavg", 10, 1, learning_rate=0.1, rounds=2, clients=4), 0),
        Threat("client", knows=frozenset({"architecture", "target_records"}), nodes=(0,)),
        (replace(PLAN, attack="global_models"),),
        control_party=theirs,
    )
    pooled = trial.record("in-process").truth.pooled["true"]
    assert pooled.suspected is not None
    assert set(pooled.suspected[pooled.used].tolist()) == set(pooled.suspected[~pooled.used].tolist()) == {1, 2, 3}
    with pytest.raises(UsageError, match="TB-SPLIT-011"):
        sited(known, groups(known, 120, 120, 200, 3), "site", 9, 0.5, 0)


def test_a_record_of_which_nothing_was_seen_ranks_in_the_middle() -> None:
    values = np.array([[-0.6, np.nan, -0.2, -0.4], [-0.6, np.nan, np.nan, -0.4]])
    assert over_rounds(values).tolist() == pytest.approx([-0.6, -0.4, -0.2, -0.4])
    assert over_rounds(np.full((2, 3), np.nan)).tolist() == [0, 0, 0]


def test_nobody_is_both_in_the_worlds_and_the_attackers() -> None:
    visits = sorted_people().people
    visits = Cohort(visits.x, visits.y, (np.arange(600) // 3).astype(str))
    ours, theirs = halves(visits, 5)
    assert not set(ours.persons.tolist()) & set(theirs.persons.tolist())
    assert len(ours) + len(theirs) == 600


def test_a_defences_epsilon_is_an_upper_bound_over_all_rounds() -> None:
    def epsilon(defence: Defence, rounds: int) -> Any:
        federation = Federation(SPEC, Protocol("fedsgd", 6, rounds=rounds, clients=3), 0, (defence,))
        return described(federation, 6, "server")[0].epsilon

    one, ten = (epsilon(gaussian(noise=20.0, clip=1.0), r) for r in (1, 10))
    assert one.metric == ten.metric == "epsilon_upper"
    # Balle and Wang 2018: the exact epsilon of sensitivity 2 under a deviation of 20, at delta 1e-5.
    assert one.value == pytest.approx(0.334, abs=0.02)
    assert ten.value > 2 * one.value
    assert hasattr(epsilon(random_update(), 3), "unmeasured")


def part(seed: int, n: int = 6) -> Cohort:
    rng = np.random.default_rng(seed)
    return Cohort(rng.random((n, 4)).astype(np.float32), rng.integers(0, 3, n), np.arange(n).astype(str))


def test_a_federation_under_secure_aggregation_begins_where_it_is_told_to() -> None:
    start = {k: v + 0.25 for k, v in models.get_parameters(models.build(SPEC, 9)).items()}
    protocol = Protocol("fedsgd", 6, learning_rate=0.1, rounds=1, clients=3)
    made = Federation(SPEC, protocol, 0, secure=SecureAggregation(), start=start).run([part(i) for i in range(3)])
    sent = made.exchanges[0].sent
    assert sent is not None
    assert all((sent[k] == v).all() for k, v in start.items())


def frozen_first() -> object:
    network = models.build(SPEC, 1)
    next(iter(network.parameters())).requires_grad_(requires_grad=False)
    return network


def test_a_layer_that_nobody_trains_stays_as_it_was() -> None:
    models.register("frozen_first", frozen_first)  # type: ignore[arg-type]
    protocol = Protocol("fedsgd", 6, learning_rate=0.1, rounds=2, clients=2)
    made = Federation(ModelSpec("frozen_first", {}), protocol, 0).run([part(0), part(1)])
    models.FACTORIES.pop("frozen_first")
    assert made.final is not None
    first = next(iter(made.final))
    assert made.exchanges[0].sent is not None
    assert made.final.keys() == made.exchanges[0].sent.keys()
    assert (made.final[first] == made.exchanges[0].sent[first]).all()


def view_of(clients: list[float]) -> Transcript:
    sent = models.get_parameters(models.build(SPEC, 0))
    exchanges = tuple(Exchange(1, i, sent, sent, {"num-examples": n}) for i, n in enumerate(clients))
    return Transcript(exchanges, SPEC, Protocol("fedavg", 4, learning_rate=0.1, rounds=1, clients=3), "client", sent)


def test_what_is_left_of_an_aggregate_is_not_guessed_where_clients_hold_unequal_numbers() -> None:
    attack = find("aggregate_difference")
    threat = Threat("client", knows=frozenset({"architecture", "hyper_parameters"}), nodes=(0, 1))
    question = Batch(((1, 2),), (4,), 3)
    with pytest.raises(Unavailable, match="unequal_examples"):
        attack.run(view_of([4, 12]), question, None, 0, threat)
    assert left_over(view_of([4, 12]), 24)


def unbiased() -> object:
    import torch

    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 5, bias=False), torch.nn.ReLU(), torch.nn.Linear(5, 3, bias=False))


def test_labels_are_not_read_off_a_bias_that_is_not_there() -> None:
    models.register("unbiased", unbiased)  # type: ignore[arg-type]
    protocol = Protocol("fedsgd", 2, learning_rate=0.1, rounds=1, clients=1)
    seen = Federation(ModelSpec("unbiased", {}), protocol, 0).run([part(0, 2)])
    question = Batch(((1, 0),), (4,), 3, (2,))
    threat = Threat("server", knows=frozenset({"architecture", "batch_size", "labels"}))
    labels: tuple[Array, ...] = (part(0, 2).y,)
    try:
        with pytest.raises(Unavailable, match="no_labels"):
            find("cosine_tv").run(seen, question, None, 0, threat, {"iterations": 2})
        told = replace(question, labels=labels)
        assert find("cosine_tv").run(seen, told, None, 0, threat, {"iterations": 2}).batches
    finally:
        models.FACTORIES.pop("unbiased")

"""Where nothing leaks, an interval must hold zero as often as it says: 200 seeds, fixed beforehand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from scenarios.federated_analytics import BY_CLIENT, DECIDES
from testbed import judge
from testbed.attacks.registry import find
from testbed.core import (
    Act,
    Cohort,
    Evidence,
    Group,
    ModelSpec,
    Protocol,
    Reconstruction,
    Release,
    Split,
    Table,
    Threat,
)
from testbed.core.randomness import keyed_rng
from testbed.data import load_table
from testbed.data.cohorts import source
from testbed.data.splits import split_people
from testbed.data.tables.encode import encode
from testbed.findings import statistics
from testbed.findings.measures import rates
from testbed.findings.plan import Plan
from testbed.findings.schema import Estimate, Finding
from testbed.harness import cells
from testbed.harness.cells import planned
from testbed.harness.federation import owned as owners
from testbed.harness.federation.analytics_trial import AnalyticsTrial
from testbed.harness.federation.assess import assess
from testbed.harness.federation.hospital_trial import Hospitals
from testbed.harness.federation.owned import Owned
from testbed.harness.federation.people import groups
from testbed.harness.federation.prepare import mlp
from testbed.harness.federation.similarities import choose
from testbed.harness.federation.split_trial import GROUPS, SplitTrial
from testbed.harness.federation.tree_trial import TreeTrial
from testbed.harness.federation.trial import Trial
from testbed.harness.release import singling_out
from testbed.harness.release.examine import examine
from testbed.harness.release.generator import Groups, known_generator
from testbed.harness.release.setting import Options, Setting
from testbed.judge.reconstructions import Key, Similarities
from testbed.judge.similarity import OF_PICTURES, OF_TABLES, Similarity
from testbed.models.summaries import STATISTICS, Statistic
from testbed.subjects.federation.analytics import Analytics
from testbed.subjects.federation.federation import Federation
from testbed.subjects.federation.split import SplitLearning
from testbed.subjects.federation.tap import seen_by
from testbed.subjects.federation.trees import TreeFederation
from tests.conftest import thirds

SEEDS = range(200)


def tally(findings: Callable[[int], list[Finding]]) -> dict[str, Counter[str]]:
    """By rule, in how many seeds each bound was measured and was right about an excess of zero."""
    counted: dict[str, Counter[str]] = {}
    for seed in SEEDS:
        for finding in findings(seed):
            if isinstance(finding.excess, Estimate):
                own = counted.setdefault(f"{finding.rule} {finding.attack.name}", Counter())
                own["n"] += 1
                own["low"] += finding.excess.low <= 0
                own["high"] += finding.excess.high >= 0
    return counted


def check(counted: dict[str, Counter[str]]) -> None:
    """Each bound claims 95 %, one-sided: the exact 99 % interval of its coverage must reach that."""
    assert counted
    for rule, own in counted.items():
        for bound in ("low", "high"):
            _, reached = statistics.clopper_pearson(own[bound], own["n"], 0.995)
            assert reached >= 0.95, f"{rule}: the {bound} bound was right in {own[bound]} of {own['n']} seeds"


def fresh(seed: int) -> list[Finding]:
    people = thirds(600, 1000 + seed)
    frames = encode(people.original, people.fresh, people.control)
    split = Split(frames.original, frames.control, None)
    return examine(split, Release(frames.synthetic), Options(attacks=300, seed=seed)).findings


@pytest.mark.slow
def test_attacks_on_a_release_that_leaks_nothing() -> None:
    check(tally(fresh))


def fresh_patients(seed: int) -> list[Finding]:
    """Real people, of whom the same few are rare in many ways, so that many descriptions share their fate."""
    parts = split_people(load_table("thyroid"), dict.fromkeys("abc", 1 / 3), seed=5000 + seed)
    frames = encode(parts["a"], parts["b"], parts["c"])
    setting = Setting(frames.original, frames.control, Release(frames.synthetic), 2000, seed, lambda _: None)
    return cells.findings(singling_out.singling_out(setting))


@pytest.mark.slow
def test_descriptions_of_the_same_people() -> None:
    check(tally(fresh_patients))


def of_a_generator_that_keeps_nothing(seed: int) -> list[Finding]:
    """What is released are other people, whomever the generator was given."""
    people, others = thirds(200, 3000 + seed), thirds(400, 7000 + seed)
    frames = [encode(people.original, f, people.control) for f in (people.fresh, others.original, others.fresh)]
    control = frames[0].control
    assert control is not None
    held = Groups(frames[0].original, control, frames[0].synthetic, frames[1].synthetic)

    def recipe(given: Table, rng: np.random.Generator, act: Act | None = None) -> Release:
        return Release(frames[2].synthetic.take(rng.permutation(400)[: len(given)]))

    return known_generator(held, recipe, 100, 8, seed, lambda _: None)[0]


@pytest.mark.slow
def test_attacks_that_hold_a_generator_that_leaks_nothing() -> None:
    check(tally(of_a_generator_that_keeps_nothing))


def of_others(seed: int) -> list[Finding]:
    """Membership asked of people of whom none was used: the federation trained on somebody else."""
    known = source("breast-cancer")
    people = groups(known, 150, 150, 150, seed)
    assert people.auxiliary is not None
    asked = Split(people.members, people.controls, people.auxiliary, np.arange(150) % 2)
    used = Split(people.auxiliary, people.controls, people.members, np.arange(150) % 2)
    protocol = Protocol("fedavg", 8, local_epochs=2, learning_rate=0.1, rounds=2, clients=2)
    threat = Threat("server", knows=frozenset({"architecture", "target_records"}))
    plans = tuple(
        Plan(
            rule=f"TB-MEMBERSHIP-{i:03d}",
            risk="membership",
            attack=attack,
            metric="tpr_at_fpr",
            unit="record",
            primary=True,
        )
        for i, attack in enumerate(("update_product", "loss_threshold"), 1)
    )
    federation = Federation(mlp(known, 16), protocol, seed)
    seen = Trial(used, federation, threat, plans).record("in-process")
    truth = Trial(asked, federation, threat, plans).record("in-process").truth
    return assess(replace(seen, truth=truth)).findings


@pytest.mark.slow
def test_membership_attacks_on_a_federation_of_other_people() -> None:
    check(tally(of_others))


def evaluations_of_others(seed: int) -> list[Finding]:
    """Losses and accuracies of other people than those asked about, under the federation's models or random ones."""
    known = source("breast-cancer")
    people = groups(known, 150, 150, 150, seed)
    assert people.auxiliary is not None
    asked = Split(people.members, people.controls, people.auxiliary, np.arange(150) % 15)
    used = Split(people.auxiliary, people.controls, people.members, np.arange(150) % 15)
    protocol = Protocol("fedavg", 8, local_epochs=1, learning_rate=0.1, rounds=4, clients=15)
    federation = Federation(mlp(known, 16), protocol, seed, evaluates=True)
    found: list[Finding] = []
    for attack in ("evaluation_metrics", "random_evaluations"):
        malicious = attack.startswith("random")
        threat = Threat("server", malicious=malicious, knows=frozenset({"architecture", "target_records"}))
        plans = (planned(attack, primary=True),)
        seen = Trial(used, federation, threat, plans).record("in-process", cells=("true",))
        truth = Trial(asked, federation, threat, plans).record("in-process", cells=("true",)).truth
        found += assess(replace(seen, truth=truth)).findings
    return found


@pytest.mark.slow
def test_evaluations_of_other_people() -> None:
    check(tally(evaluations_of_others))


@pytest.mark.slow
def test_the_area_under_the_curve_of_scores_that_know_nothing() -> None:
    right = 0
    for seed in SEEDS:
        rng = keyed_rng(seed, "scores")
        found = statistics.auc(rng.normal(size=150), rng.normal(size=150))
        right += found.low <= 0.5 <= found.high
    assert statistics.clopper_pearson(right, len(SEEDS), 0.995)[1] >= 0.95


def of_nobodys_records(seed: int, batches: int, by: tuple[Similarity, ...]) -> list[Finding]:
    """Claims that were drawn without looking at anybody, in line-ups of ten, the similarity chosen by halves."""
    rng = np.random.default_rng([seed, batches])
    x = rng.uniform(size=(2 * batches + 9, 8)).astype(np.float32)
    everybody = Cohort(x, np.zeros(len(x), np.int64), np.arange(len(x)).astype(str))
    held, control = ({(1, i): everybody.take([j + i]) for i in range(batches)} for j in (0, batches))
    line_up = judge.LineUp(everybody.take(np.arange(2 * batches, len(x))))
    claim = Reconstruction({key: rng.uniform(size=(1, 8)) for key in held})

    def judged(people: Mapping[Key, Cohort], group: Group, similarity: Similarities) -> Evidence:
        return judge.reconstruction(claim, people, line_up, "true", group, similarity)

    choice = choose(judged, held, control, by, seed)
    rows = Evidence.join(judged(held, "used", choice.of(held)), judged(control, "unused", choice.of(control)))
    plan = Plan(
        rule="TB-RECONSTRUCTION-001",
        risk="reconstruction",
        attack="analytic_linear",
        metric="line_up_top1",
        unit="record",
        primary=True,
    )
    return [rates(plan, rows, design=choice.design)]


@pytest.mark.slow
@pytest.mark.parametrize("by", [OF_PICTURES, OF_TABLES], ids=["pictures", "tables"])
@pytest.mark.parametrize("batches", [2, 20, 200])
def test_a_similarity_that_was_chosen_by_halves(batches: int, by: tuple[Similarity, ...]) -> None:
    check(tally(lambda seed: of_nobodys_records(seed, batches, by)))


@pytest.mark.parametrize("by", [OF_PICTURES, OF_TABLES], ids=["pictures", "tables"])
def test_choosing_a_similarity_does_not_favour_the_people_who_were_used(by: tuple[Similarity, ...]) -> None:
    excesses = [of_nobodys_records(seed, 12, by)[0].excess for seed in range(60)]
    values = np.array([e.value for e in excesses if isinstance(e, Estimate)])
    assert abs(values.mean()) < 4 * values.std(ddof=1) / np.sqrt(len(values))  # a true mean of 0 fails 1 in 16,000


def trees_of_others(seed: int) -> list[Finding]:
    """Two hospitals' trees, and claims about their people that are judged on other people of the same hospitals."""
    rng = keyed_rng(seed, "trees")
    everybody: list[list[Cohort]] = []
    for group in ("members", "controls", "others"):
        x = rng.integers(0, 40, (80, 3)).astype(np.float32)
        y = (x[:, 0] + rng.normal(0, 12, 80) > 20).astype(np.int64)
        persons = np.array([f"{group} {i}" for i in range(80)])
        everybody.append([Cohort(x[c::2], y[c::2], persons[c::2]) for c in range(2)])
    members, controls, others = everybody
    federation = TreeFederation(3, 2, rounds=3, least=0.0, seed=seed)
    plans = tuple(planned(name, unit="predicate") for name in ("tree_leaves", "tree_thresholds"))
    people = Hospitals(members, controls, others, others[0])
    trial = TreeTrial(people, federation, Threat("server"), plans)
    view = federation.run(others)
    return assess(trial.recorded({"true": view, "blind": view}, trial.threat, plans)).findings


@pytest.mark.slow
def test_claims_about_the_people_of_other_trees_are_as_often_right_of_either_group() -> None:
    check(tally(trees_of_others))


def statistics_of_others(seed: int, statistic: Statistic) -> list[Finding]:
    """Statistics of two hospitals, and claims about their people that are judged on other people of the same ones."""
    rng = keyed_rng(seed, statistic)
    x = rng.integers(0, 40, (340, 3)).astype(np.float32) / 40
    y = (x[:, 0] + rng.normal(0, 0.3, 340) > 0.5).astype(np.int64)
    everybody = Cohort(x, y, np.arange(340).astype(str))
    members, controls, others = (
        [everybody.take(np.arange(start + c, start + 80, 2)) for c in (0, 1)] for start in (0, 80, 160)
    )
    people = Hospitals(members, controls, others, everybody.take(np.arange(240, 340)))
    analytics = Analytics(statistic, 3, 2, 21 if statistic == "histograms" else 1, seed=seed)
    plans = (planned(DECIDES[statistic], unit="predicate"),)
    trial = AnalyticsTrial(people, analytics, Threat("server"), plans)
    view = analytics.run(others)
    found = assess(trial.recorded({"true": view, "blind": view}, trial.threat, plans)).findings
    if statistic in BY_CLIENT:
        client = Threat("client", nodes=(1,))
        by_client = (planned(BY_CLIENT[statistic], unit="predicate"),)
        own = {cell: seen_by(view, client) for cell in ("true", "blind")}
        found += assess(trial.recorded(own, client, by_client)).findings  # type: ignore[arg-type]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("statistic", STATISTICS)
def test_claims_about_the_people_of_other_statistics_are_as_often_right_of_either_group(statistic: Statistic) -> None:
    check(tally(lambda seed: statistics_of_others(seed, statistic)))


def labels_of_others(seed: int) -> list[Finding]:
    """Split learning on other people than those of whom the attacker is asked: their gradients say nothing of these."""
    rng = keyed_rng(seed, "labels")
    x = rng.random((480, 4)).astype(np.float32)
    y = (x[:, 0] + x[:, 2] + rng.normal(0, 0.5, 480) > 1.1).astype(np.int64)
    everybody = Cohort(x, y, np.arange(480).astype(str))
    people = {name: everybody.take(np.arange(i * 120, i * 120 + 120)) for i, name in enumerate(GROUPS)}
    split = SplitLearning(4, 2, rounds=12, batch=40, seed=seed)
    plans = tuple(planned(name, metric="rate") for name in ("cut_direction", "cut_norm"))
    trial = SplitTrial(people, split, Threat("client", knows=frozenset({"auxiliary"}), nodes=(0,)), plans)
    view, _ = split.run(people["blind"])
    return trial.judged({"true": view, "blind": view}, {}).findings


@pytest.mark.slow
def test_labels_are_as_often_right_of_either_group_if_the_gradients_are_other_peoples() -> None:
    check(tally(labels_of_others))


PLAIN = ModelSpec("mlp", {"shape": [6], "classes": 2, "hidden": [8]})
"""The network of apps whose owner judges them."""
OF_OWNERS = ("analytic_linear", "loss_threshold", "update_product", "evaluation_metrics", "query_metrics")


def strangers(count: int, seed: int, group: int) -> Cohort:
    rng = np.random.default_rng([seed, group])
    x = rng.normal(size=(count, 6)).astype(np.float32)
    return Cohort(x, rng.integers(0, 2, count), np.array([f"{group} {i}" for i in range(count)]))


def judged_by_an_owner_of_others(seed: int, attack: str, folder: Path) -> list[Finding]:
    """A recording judged with files of people on whom its clients neither trained nor evaluated."""
    exact = attack == "analytic_linear"
    clients, each, rounds = (20, 1, 1) if exact else (10, 15, 4)
    rules = Protocol(
        "fedsgd" if exact else "fedavg", 1 if exact else 5, learning_rate=0.3, rounds=rounds, clients=clients
    )
    parts = [strangers(each, seed, client) for client in range(clients)]
    view = Federation(PLAIN, rules, seed, evaluates=not exact).run(parts)
    if attack == "query_metrics":
        view = replace(view, asked=tuple(replace(e, kind="query") for e in view.asked))
    files = {str(client): strangers(each, seed, 100 + client) for client in range(clients)}
    for name, people in {**files, "controls": strangers(250, seed, 200)}.items():
        np.savez(folder / f"{name}.npz", x=people.x, y=people.y)
    owned = Owned([f"{client}={folder}/{client}.npz" for client in range(clients)], folder / "controls.npz")
    plan = planned(attack, primary=True)
    made = owners.recorded(view, find(attack), plan, owned, lambda _: 2, seed)
    return assess(replace(made, views={"true": made.views["true"]}), (plan,)).findings


@pytest.mark.slow
@pytest.mark.parametrize("attack", OF_OWNERS)
def test_recordings_judged_with_the_records_of_other_people(attack: str, tmp_path: Path) -> None:
    check(tally(lambda seed: judged_by_an_owner_of_others(seed, attack, tmp_path)))

"""What a server's attacks read under each axis of realism: the signals are those of the client's own gradients."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from testbed import models
from testbed.attacks.heads import Heads
from testbed.attacks.inversion.aggregate_difference import left_over
from testbed.attacks.inversion.updates import gradients, moved_by
from testbed.attacks.membership.signals import Signals, over_rounds
from testbed.attacks.registry import find
from testbed.core import Array, Batch, Cohort, Exchange, ModelSpec, Protocol, Records, Threat, Transcript, Unavailable
from testbed.subjects.federation.apps import batches
from testbed.subjects.federation.attendance import TRAINED, Attendance
from testbed.subjects.federation.federation import Federation, by_party

SPEC = ModelSpec("mlp", {"shape": [40], "classes": 3, "hidden": [24]})
RULES = Protocol("fedavg", 2, local_epochs=3, learning_rate=0.1, rounds=4, clients=5)
CLIENTS, EACH, SEED = 5, 6, 2
PARTY = np.repeat(np.arange(CLIENTS), EACH)


def drawn(seed: int) -> Cohort:
    rng = np.random.default_rng(seed)
    n = CLIENTS * EACH
    return Cohort(rng.normal(size=(n, 40)).astype(np.float32), rng.integers(0, 3, n), np.arange(n).astype(str))


def federation(axis: dict[str, object], **attendance: object) -> Federation:
    return Federation(SPEC, replace(RULES, **axis), SEED, attendance=Attendance(**attendance))  # type: ignore[arg-type]


def run(axis: dict[str, object], **attendance: object) -> Transcript:
    return federation(axis, **attendance).run(by_party(drawn(0), PARTY))


AXES: dict[str, tuple[dict[str, object], dict[str, object]]] = {
    "participation": ({}, {"participation": 0.4}),
    "dropouts": ({}, {"dropouts": 0.4}),
    "stragglers": ({}, {"stragglers": 0.6}),
    "late": ({}, {"stragglers": 0.4, "late": True}),
    "fedprox": ({"proximal_mu": 1.0}, {}),
    "fedadam": ({"server": "adam", "server_rate": 0.01}, {}),
    "scaffold": ({"controls": True}, {}),
    "personal": ({"personal": 1}, {}),
    "all of them": ({"proximal_mu": 1.0, "personal": 1}, {"participation": 0.8, "dropouts": 0.2, "stragglers": 0.5}),
}


@pytest.mark.parametrize("name", AXES)
def test_members_stand_out_where_their_client_took_part_and_nowhere_else(name: str) -> None:
    axis, attendance = AXES[name]
    seen = run(axis, **attendance)
    turns = federation(axis, **attendance).turns(CLIENTS)
    answered = np.ones((4, CLIENTS), bool) if turns is None else np.isin(turns, TRAINED)
    used = answered.any(0)[PARTY]
    members, others = Signals(seen, drawn(0)), Signals(seen, drawn(1))
    taken = answered[np.ix_(np.array(members.rounds) - 1, np.array(members.clients))]
    assert (np.isnan(members.product).all(2) == ~taken).all()
    inside, outside = (over_rounds(s.of_suspected(s.cosine, PARTY))[used] for s in (members, others))
    wins = stats.mannwhitneyu(inside, outside).statistic / len(inside) / len(outside)
    assert wins > 0.9


def own_gradients(seen: Transcript, client: int, round_: int, sent: dict[str, Array]) -> dict[str, Array]:
    """The mean gradient along a client's path under SCAFFOLD, by a plain loop that is told the controls."""
    people = by_party(drawn(0), PARTY)[client]
    server = {k: torch.from_numpy(np.array(v)) for k, v in sent.items() if k.startswith("control.")}
    before = [e for e in seen.exchanges if e.client == client and e.round < round_]
    at = {k: torch.from_numpy(np.array(v)) for k, v in sent.items() if not k.startswith("control.")}
    own = {
        k: sum((torch.from_numpy(np.array((e.returned or {})[f"control.{k}"])) for e in before), torch.zeros(()))
        for k in at
    }
    model, found = models.build(SPEC), list[dict[str, torch.Tensor]]()
    for rows in batches(RULES, SEED, client, round_, len(people)):
        at = {k: v.detach().requires_grad_() for k, v in at.items()}
        loss = models.loss_of(model, at, torch.tensor(people.x[rows]), torch.tensor(people.y[rows]))
        found.append(dict(zip(at, torch.autograd.grad(loss, list(at.values())), strict=True)))
        at = {k: v - 0.1 * (found[-1][k] + server[f"control.{k}"] - own[k]) for k, v in at.items()}
    return {k: torch.stack([g[k] for g in found]).mean(0).numpy() for k in at}


def test_under_scaffold_the_signals_are_those_of_the_clients_own_gradients() -> None:
    seen = run({"controls": True})
    exchange = next(e for e in seen.exchanges if e.key == (3, 1))
    expected = own_gradients(seen, 1, 3, dict(exchange.sent or {}))
    signals = Signals(seen, drawn(0))
    update = next(u for r, c, _, _, u in signals.seen if (r, c) == (2, 1))
    for name, values in expected.items():
        np.testing.assert_allclose(update[name], -0.1 * 9 * values, atol=1e-5)
    plain = {k: np.asarray((exchange.returned or {})[k]) - np.asarray((exchange.sent or {})[k]) for k in expected}
    assert max(np.abs(plain[k] - update[k]).max() for k in plain) > 1e-2


@pytest.mark.parametrize(("mu", "steps"), [(0.0, 4), (2.0, 1), (2.0, 4)])
def test_a_gradient_that_stays_the_same_is_computed_exactly_under_the_proximal_pull(mu: float, steps: int) -> None:
    rules = replace(RULES, proximal_mu=mu or None, learning_rate=0.2)
    gradient, w = np.array([1.0, -3.0]), np.zeros(2)
    for _ in range(steps):
        w = w - 0.2 * (gradient + mu * (w - 0.0))
    answer = Exchange(1, 0, {"w": np.zeros(2)}, {"w": w}, {"local-steps": float(steps)})
    np.testing.assert_allclose(-w / moved_by(rules, answer, 100), gradient)


def test_the_steps_that_a_straggler_left_out_are_not_counted() -> None:
    seen = run({}, stragglers=0.6)
    told = {e.key: e.metrics["local-steps"] for e in seen.exchanges}
    assert len(set(told.values())) > 1
    keys = tuple(told)
    for key, exchange, gradient in gradients(seen, Batch(keys, (40,), 3, sizes=(EACH,) * len(keys))):
        for name, values in gradient.items():
            moved = np.asarray((exchange.sent or {})[name], float) - (exchange.returned or {})[name]
            np.testing.assert_allclose(values, moved / (0.1 * told[key]))


def test_where_layers_are_personal_an_attacker_fits_its_own_and_differentiates_the_shared_ones() -> None:
    seen = run({"personal": 1})
    people = drawn(0)
    signals = Signals(seen, people)
    assert [len(u) for *_, u in signals.seen] == [2] * len(signals.seen)
    r, c, sent, _, update = signals.seen[7]
    heads, small = Heads(models.build(SPEC), people), 1e-2

    def losses(step: float) -> Array:
        at = heads.at({k: (np.asarray(v) + step * update[k]).astype(np.float32) for k, v in sent.items()}, sent)
        return models.losses_of(heads.network, at, torch.tensor(people.x), torch.tensor(people.y)).detach().numpy()

    np.testing.assert_allclose(signals.product[r, c], (losses(-small) - losses(small)) / (2 * small), atol=2e-3)
    np.testing.assert_allclose(signals.before[r, c], losses(0.0), atol=1e-6)
    turned = people.take(np.arange(len(people))[::-1].copy())
    np.testing.assert_allclose(Signals(seen, turned).product[r, c][::-1], signals.product[r, c], atol=1e-6)


def test_clients_are_not_compared_where_too_few_of_them_answer_in_a_round() -> None:
    server = Threat("server", knows=frozenset({"architecture", "target_records"}))
    question, compare = Records(drawn(0), PARTY), find("fedmia")
    with pytest.raises(Unavailable, match="too_few_clients"):
        compare.run(run({}, participation=0.6), question, None, 0, server)
    assert np.ptp(compare.run(run({}, participation=0.8), question, None, 0, server).values) > 0


@pytest.mark.parametrize("axis", [{"server": "adam", "server_rate": 0.01}, {"controls": True}])
def test_a_sum_is_not_computed_from_models_that_are_no_mean(axis: dict[str, object]) -> None:
    with pytest.raises(Unavailable, match="mean"):
        left_over(run(axis))

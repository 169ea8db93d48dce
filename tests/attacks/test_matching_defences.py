"""Gradient matching by an attacker who knows the defence, beside the same attacker who does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch
from flwr.clientapp.typing import Mod

from testbed import judge, models
from testbed.attacks.inversion.gradient_matching import tasks
from testbed.attacks.inversion.possible import BETWEEN, Possible
from testbed.attacks.registry import find
from testbed.core import Array, Batch, ModelSpec, Protocol, Threat
from testbed.core.defence import Bounds, Defence
from testbed.defences import named
from testbed.defences.registry import defence
from testbed.defences.updates import on_update
from testbed.harness.federation.naive import learns, told
from testbed.subjects.federation.apps import batches
from testbed.subjects.federation.federation import Federation
from testbed.subjects.federation.local import gradient as local_gradient
from testbed.subjects.federation.tap import seen_by
from tests.attacks.test_inversion import digits, gradient_of
from tests.conformance.defences import sends, update_of

MLP = ModelSpec("mlp", {"shape": [1, 8, 8], "classes": 10, "hidden": [32]})
CNN = ModelSpec("cnn", {"shape": [1, 8, 8], "classes": 10, "channels": [8, 16]})
KNOWS = Threat("server", knows=frozenset({"architecture", "batch_size", "auxiliary", "defence"}))
INF = np.inf


def test_what_is_possible_agrees_and_what_is_not_differs_by_its_distance() -> None:
    # Twelve numbers are known exactly, and show that the attacker's own gradient is half as long as the one sent.
    low = torch.cat([torch.full((12,), 2.0), torch.tensor([1.0, 1.0, -0.5, -0.5, -INF])])
    high = torch.cat([torch.full((12,), 2.0), torch.tensor([INF, INF, 0.5, 0.5, INF])])
    sent = torch.cat([torch.full((12,), 2.0), torch.tensor([1.0, 1.0, 0.0, 0.0, 0.0])])
    own = torch.cat([torch.full((12,), 1.0), torch.tensor([7.0, 0.25, 0.1, 0.75, 9.0])])
    (found,) = Possible([low], [high]).compared([own], [sent])
    assert found[:12].tolist() == pytest.approx([2.0] * 12)
    # 14 is beyond 1, so possible; 0.5 is not: it lacks 0.5. 0.2 is possible; 1.5 exceeds its end 0.5 by 1.
    assert (found - sent)[12:].tolist() == pytest.approx([0.0, -0.5, BETWEEN * 0.2, 1.0 + BETWEEN * 0.5, 0.0])


def test_if_nothing_is_known_exactly_the_numbers_sent_are_compared_without_those_that_say_nothing() -> None:
    sent, own = torch.tensor([3.0, -4.0, 0.0]), torch.tensor([0.6, 0.8, 5.0])
    (found,) = Possible([torch.tensor([0.0, -INF, -INF])], [torch.tensor([INF, 0.0, INF])]).compared([own], [sent])
    assert found.tolist() == pytest.approx([3.0, 4.0, 0.0])


def alike(
    defences: tuple[Defence, ...],
    attack: str = "cosine_tv",
    spec: ModelSpec = CNN,
    people: int = 2,
    labels: bool = False,
    **params: int,
) -> dict[bool, float]:
    """The mean correlation of each record with its reconstruction, by whether the attacker knows the defences."""
    found: dict[bool, list[float]] = {True: [], False: []}
    for i in range(people):
        person, others = digits(60).take(np.arange(i, i + 1)), digits(60).take(np.arange(40, 60))
        view = gradient_of(spec, person)
        (exchange,) = view.exchanges
        update = dict(exchange.returned or {})
        for one in defences:
            update = update_of(sends(one, update))
        seen = replace(view, exchanges=(replace(exchange, returned=update),))
        question = Batch(((1, 0),), (1, 8, 8), 10, (1,), (person.y,) if labels else None, defences=defences)
        for knows in found:
            threat = KNOWS if knows else replace(KNOWS, knows=KNOWS.knows - {"defence"})
            claim = find(attack).run(seen, question, others, 0, threat, dict(params))
            for record, guess in judge.pairs(claim.batches[1, 0], person):
                found[knows].append(float(np.corrcoef(record.ravel(), guess.ravel())[0, 1]))
    return {knows: float(np.mean(values)) for knows, values in found.items()}


def test_a_clipped_percentile_filter_hides_no_picture_from_one_who_knows_both() -> None:
    by = alike(named.configured("percentile+clip:0.05"), iterations=60)
    assert by[True] > 0.97
    assert by[True] > by[False] + 0.05


def test_soteria_hides_no_picture_from_one_who_leaves_its_columns_out() -> None:
    (soteria,) = named.configured("soteria:0.8")
    found: dict[bool, list[float]] = {True: [], False: []}
    for i in range(2):
        person = digits(60).take(np.arange(i, i + 1))
        view = gradient_of(CNN, person)
        (exchange,) = view.exchanges
        model = models.build(CNN, 0)
        changed = soteria.build(0)(local_gradient, np.random.default_rng(0))(
            model, torch.tensor(person.x), torch.tensor(person.y)
        )
        sent = {k: v.numpy() for k, v in changed.items()}
        seen = replace(view, exchanges=(replace(exchange, returned=sent),))
        question = Batch(((1, 0),), (1, 8, 8), 10, (1,), defences=(soteria,))
        for knows in found:
            threat = KNOWS if knows else replace(KNOWS, knows=KNOWS.knows - {"defence"})
            claim = find("cosine_tv").run(seen, question, digits(20), 0, threat, {"iterations": 60})
            found[knows].append(float(np.corrcoef(person.x.ravel(), claim.batches[1, 0].ravel())[0, 1]))
    assert np.mean(found[True]) > 0.97
    assert np.mean(found[True]) > np.mean(found[False]) + 0.02


@defence(bounds=lambda update, **_: _unknown_where_nothing_was_sent(update))
def own_mask(*, seed: int, every: int = 2) -> Mod:
    """A user's own defence in a file of its own: it sends one of `every` numbers."""

    def change(update: dict[str, Array], rng: np.random.Generator) -> dict[str, Array]:
        return {k: np.where(np.arange(v.size).reshape(v.shape) % every == 0, v, 0.0) for k, v in update.items()}

    return on_update(change, seed, "own_mask")


def _unknown_where_nothing_was_sent(update: Mapping[str, Array]) -> Bounds:
    low = {k: np.where(v == 0, -np.inf, v) for k, v in update.items()}
    return low, {k: np.where(v == 0, np.inf, v) for k, v in update.items()}


def test_a_users_own_defence_is_met_by_its_bounds_alone() -> None:
    by = alike((own_mask(every=5),), labels=True, iterations=60)
    assert by[True] > 0.97
    assert by[True] > by[False] + 0.05


def test_a_clipped_gradient_has_its_length_and_its_labels_back() -> None:
    people, (clip,) = digits(60).take(np.arange(3)), named.configured("clip:0.001")
    view = gradient_of(CNN, people)
    (exchange,) = view.exchanges
    sent = update_of(sends(clip, exchange.returned or {}))
    seen = replace(view, exchanges=(replace(exchange, returned=sent),))
    question = Batch(((1, 0),), (1, 8, 8), 10, (3,), defences=(clip,))
    (knows,) = tasks(seen, question, None, np.random.default_rng(0))
    (naive,) = tasks(seen, replace(question, defences=None), None, np.random.default_rng(0))
    assert knows.y.tolist() == sorted(people.y.tolist())
    assert naive.y.tolist() != knows.y.tolist()
    order = np.argsort(people.y, kind="stable")
    loss = models.loss_of(knows.model, knows.parameters, torch.tensor(people.x[order]), knows.y)
    own = torch.autograd.grad(loss, list(knows.parameters.values()))
    lengths = [
        float(torch.cat([(a - b).flatten() for a, b in zip(task.compared(own), task.target, strict=True)]).norm())
        for task in (knows, naive)
    ]
    assert lengths[0] < 1e-5
    assert lengths[1] > 0.1


def left_by_a_client(text: str, clients: int, knows: bool) -> float:
    """The mean correlation of what client 0 reads of the last client's records, one a round; all others collude."""
    people = digits(40)
    defences = named.configured(text)
    protocol = Protocol("fedsgd", 1, learning_rate=0.1, rounds=4, clients=2)
    parties = [people.take(np.arange(4 * i, 4 * i + 4)) for i in range(clients)]
    seen = Federation(MLP, protocol, 0, defences).run(parties)
    threat = Threat("client", knows=frozenset({"architecture", "hyper_parameters", "defence"}), nodes=(0,))
    threat = threat if knows else replace(threat, knows=threat.knows - {"defence"})
    keys = tuple((r, clients - 1) for r in range(1, 5))
    question = Batch(keys, (1, 8, 8), 10, defences=defences)
    claim = find("aggregate_difference").run(seen_by(seen, threat), question, None, 0, threat)
    found: list[float] = []
    for round_, client in claim.batches:
        (rows,) = batches(protocol, 0, client, round_, 4)
        record = parties[client].x[rows].ravel()
        found.append(float(np.corrcoef(record, claim.batches[round_, client].ravel())[0, 1]))
    return float(np.mean(found))


def test_a_client_that_is_left_with_one_other_knows_its_filter() -> None:
    assert left_by_a_client("percentile", 2, True) > 0.95
    assert left_by_a_client("percentile", 2, True) > left_by_a_client("percentile", 2, False) + 0.05
    assert left_by_a_client("topk:0.1", 2, True) > 0.95


def test_a_mean_of_several_filtered_updates_and_one_that_the_server_changed_have_no_bounds() -> None:
    for text, clients in (("percentile", 3), ("percentile+median", 2)):
        assert left_by_a_client(text, clients, True) == left_by_a_client(text, clients, False)


def test_an_attack_that_learns_on_the_defended_federation_adapts_without_being_told() -> None:
    assert learns(find("white_box"))
    assert not told(find("white_box"))
    assert not learns(find("update_product"))
    assert not told(find("update_product"))

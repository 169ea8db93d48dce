"""Each axis of realism against a plain loop of torch, and what its messages hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from testbed import models
from testbed.core import Array, Cohort, ModelSpec, Protocol, Transcript
from testbed.core.errors import UsageError
from testbed.defences.guards.named import configured
from testbed.defences.registry import find
from testbed.subjects.federation.apps import batches
from testbed.subjects.federation.attendance import Attendance, Turn, worked
from testbed.subjects.federation.federation import Federation, by_party

SPEC = ModelSpec("mlp", {"shape": [3], "classes": 2, "hidden": [4]})
RATE, SEED, CLIENTS = 0.5, 3, 4
HEAD = ["3.weight", "3.bias"]
Model = dict[str, torch.Tensor]
PLAIN = Protocol("fedavg", 3, local_epochs=2, learning_rate=RATE, rounds=2)


def parts() -> list[Cohort]:
    """Four clients of 4 to 9 records."""
    rng = np.random.default_rng(0)
    party = np.repeat(np.arange(CLIENTS), [4, 6, 7, 9])
    people = Cohort(rng.random((26, 3), np.float32), rng.integers(0, 2, 26), np.arange(26).astype(str))
    return by_party(people, party)


def begin() -> Model:
    return {k: torch.from_numpy(v) for k, v in models.get_parameters(models.build(SPEC, SEED)).items()}


def gradient(model: Model, data: Cohort, rows: Array) -> Model:
    at = {k: v.detach().clone().requires_grad_() for k, v in model.items()}
    hidden = torch.relu(torch.tensor(data.x[rows]) @ at["1.weight"].T + at["1.bias"])
    loss = torch.nn.functional.cross_entropy(hidden @ at["3.weight"].T + at["3.bias"], torch.tensor(data.y[rows]))
    return dict(zip(at, torch.autograd.grad(loss, list(at.values())), strict=True))


def trained(
    model: Model,
    client: int,
    round_: int,
    steps: list[Array] | None = None,
    extra: Callable[[Model], Model] | None = None,
) -> Model:
    """Plain local steps; `extra` gives what is added to the gradient at these weights."""
    w, data = dict(model), parts()[client]
    for rows in list(batches(PLAIN, SEED, client, round_, len(data))) if steps is None else steps:
        g, more = gradient(w, data, rows), extra(w) if extra else {}
        w = {k: w[k] - RATE * (g[k] + more.get(k, torch.zeros(()))) for k in w}
    return w


def mean(answers: dict[int, Model], plain: bool = False) -> Model:
    """The mean of the clients' models by their numbers of records, or the plain one."""
    sizes = [1 if plain else len(parts()[c]) for c in answers]
    weights = torch.tensor(sizes) / sum(sizes)
    return {
        k: torch.einsum("c,c...->...", weights, torch.stack([a[k] for a in answers.values()]))
        for k in next(iter(answers.values()))
    }


def close(found: object, expected: Model) -> None:
    assert isinstance(found, dict)
    assert list(found) == list(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values.numpy(), rtol=0, atol=1e-6)


def run(protocol: Protocol = PLAIN, /, **attendance: object) -> Transcript:
    return federation(protocol, **attendance).run(parts())


def federation(protocol: Protocol, **attendance: object) -> Federation:
    return Federation(SPEC, protocol, SEED, attendance=Attendance(**attendance))  # type: ignore[arg-type]


def turns(rounds: int = 2, **attendance: object) -> Array:
    return Attendance(**attendance).turns(SEED, rounds, CLIENTS)  # type: ignore[arg-type]


def keys(seen: Transcript, status: str = "ok") -> set[tuple[int, int]]:
    return {e.key for e in seen.exchanges if e.status == status}


def at(drawn: Array, *kinds: Turn) -> set[tuple[int, int]]:
    return {(int(r) + 1, int(c)) for r, c in np.argwhere(np.isin(drawn, kinds))}


def test_under_partial_participation_only_clients_drawn_are_sent_anything() -> None:
    drawn = turns(participation=0.5)
    assert (drawn != Turn.ABSENT).sum(1).tolist() == [2, 2]
    model = begin()
    for round_ in (1, 2):
        asked = [c for r, c in at(drawn, Turn.ANSWERS) if r == round_]
        model = mean({c: trained(model, c, round_) for c in sorted(asked)})
    seen = run(participation=0.5)
    assert {e.key for e in seen.exchanges} == at(drawn, Turn.ANSWERS)
    close(seen.final, model)


def test_a_client_that_drops_out_sends_nothing_and_the_mean_is_over_the_others() -> None:
    drawn = turns(dropouts=0.5)
    model = begin()
    for round_ in (1, 2):
        answered = sorted(c for r, c in at(drawn, Turn.ANSWERS) if r == round_)
        model = mean({c: trained(model, c, round_) for c in answered})
    seen = run(dropouts=0.5)
    assert keys(seen, "dropped") == at(drawn, Turn.DROPPED) != set()
    assert all(e.returned is None and e.sent is not None for e in seen.exchanges if e.status == "dropped")
    assert keys(seen) == at(drawn, Turn.ANSWERS)
    close(seen.final, model)


def test_a_straggler_sends_the_weights_after_some_of_its_steps_and_how_many_these_were() -> None:
    drawn = turns(stragglers=0.5)
    model, made = begin(), dict[tuple[int, int], int]()
    for round_ in (1, 2):
        answers: dict[int, Model] = {}
        for client in range(CLIENTS):
            whole = list(batches(PLAIN, SEED, client, round_, len(parts()[client])))
            done = worked(drawn[round_ - 1, client], SEED, client, round_, whole)
            assert (0 < len(done) < len(whole)) == (drawn[round_ - 1, client] == Turn.PARTIAL)
            made[round_, client] = len(done)
            answers[client] = trained(model, client, round_, done)
        model = mean(answers)
    seen = run(stragglers=0.5)
    assert {e.key: e.metrics["local-steps"] for e in seen.exchanges} == made
    close(seen.final, model)


def test_a_late_answer_counts_a_round_later_and_stands_beside_the_model_that_it_began_from() -> None:
    drawn = turns(stragglers=0.4, late=True)
    assert (drawn[0] == Turn.LATE).any()
    sent = {1: begin()}
    first = {c: trained(sent[1], c, 1) for c in range(CLIENTS)}
    sent[2] = mean({c: first[c] for c in range(CLIENTS) if drawn[0, c] == Turn.ANSWERS})
    second = {c: trained(sent[2], c, 2) for c in range(CLIENTS) if drawn[1, c] == Turn.ANSWERS}
    late = [c for c in range(CLIENTS) if drawn[0, c] == Turn.LATE]
    assert not set(late) & set(second)
    seen = run(stragglers=0.4, late=True)
    close(seen.final, mean({**second, **{c: first[c] for c in late}}))
    old = [e for e in seen.exchanges if e.metrics.get("arrived-round")]
    assert [(e.key, e.metrics["arrived-round"], e.status) for e in old] == [((1, c), 2.0, "ok") for c in late]
    for exchange in old:
        close(dict(exchange.sent or {}), sent[1])
        close(dict(exchange.returned or {}), first[exchange.client])


def test_fedprox_pulls_each_step_back_to_the_model_that_was_sent() -> None:
    model = begin()
    for round_ in (1, 2):
        answers: dict[int, Model] = {}
        for client in range(CLIENTS):
            start = dict(model)
            answers[client] = trained(
                model, client, round_, extra=lambda w, start=start: {k: 0.7 * (w[k] - start[k]) for k in w}
            )
        model = mean(answers)
    seen = run(replace(PLAIN, proximal_mu=0.7))
    close(seen.final, model)
    assert {e.config["proximal-mu"] for e in seen.exchanges} == {0.7}


@pytest.mark.parametrize("kind", ["fedavg", "fedsgd"])
def test_fedadam_moves_the_model_by_adam_and_changes_nothing_of_what_a_client_does(kind: str) -> None:
    rules = replace(PLAIN, kind=kind, server="adam", server_rate=0.02)  # type: ignore[arg-type]
    seen = run(rules)
    model = begin()
    m = {k: torch.zeros_like(v) for k, v in model.items()}
    v = {k: torch.zeros_like(v) for k, v in model.items()}
    for round_ in (1, 2):
        answers: dict[int, Model] = {}
        for client, data in enumerate(parts()):
            if kind == "fedavg":
                answers[client] = trained(model, client, round_)
            else:
                g = gradient(model, data, next(batches(rules, SEED, client, round_, len(data))))
                answers[client] = {k: model[k] - RATE * g[k] for k in g}
        delta = {k: value - model[k] for k, value in mean(answers).items()}
        m = {k: 0.9 * m[k] + 0.1 * delta[k] for k in m}
        v = {k: 0.99 * v[k] + 0.01 * delta[k] ** 2 for k in v}
        rate = 0.02 * (1 - 0.99 ** (round_ + 1)) ** 0.5 / (1 - 0.9 ** (round_ + 1))  # as Flower corrects the bias
        model = {k: model[k] + rate * m[k] / (v[k].sqrt() + 1e-3) for k in model}
        if kind == "fedavg":
            for exchange in (e for e in seen.exchanges if e.round == round_):
                close(dict(exchange.returned or {}), answers[exchange.client])
    close(seen.final, model)
    assert {a.dtype for e in seen.exchanges for a in (e.sent or {}).values()} == {np.dtype(np.float32)}


def test_scaffold_sends_two_arrays_each_way() -> None:
    model = begin()
    zero = {k: torch.zeros_like(v) for k, v in model.items()}
    server, own = zero, [zero] * CLIENTS
    drawn = turns(participation=0.75)
    seen = run(replace(PLAIN, controls=True), participation=0.75)
    for round_ in (1, 2):
        answers, moved = dict[int, Model](), dict[int, Model]()
        for client in sorted(c for r, c in at(drawn, Turn.ANSWERS) if r == round_):
            steps = list(batches(PLAIN, SEED, client, round_, len(parts()[client])))
            extra = {k: server[k] - own[client][k] for k in model}
            answers[client] = trained(model, client, round_, extra=lambda _, extra=extra: extra)
            new = {k: own[client][k] - server[k] + (model[k] - answers[client][k]) / (len(steps) * RATE) for k in model}
            moved[client] = {k: new[k] - own[client][k] for k in model}
            own[client] = new
            exchange = next(e for e in seen.exchanges if e.key == (round_, client))
            close(dict(exchange.sent or {}), {**model, **{f"control.{k}": x for k, x in server.items()}})
            both = {**answers[client], **{f"control.{k}": x for k, x in moved[client].items()}}
            close(dict(exchange.returned or {}), both)
        model = mean(answers, plain=True)
        server = {k: server[k] + len(moved) / CLIENTS * v for k, v in mean(moved, plain=True).items()}
    close(seen.final, model)


@pytest.mark.parametrize("kind", ["fedavg", "fedsgd"])
def test_personal_layers_stay_with_their_client_and_are_in_no_message(kind: str) -> None:
    rules = replace(PLAIN, kind=kind, personal=1)  # type: ignore[arg-type]
    seen = run(rules)
    shared = {k: v for k, v in begin().items() if k not in HEAD}
    heads = [{k: begin()[k] for k in HEAD} for _ in range(CLIENTS)]
    for round_ in (1, 2):
        answers: dict[int, Model] = {}
        for client, data in enumerate(parts()):
            full = {**shared, **heads[client]}
            if kind == "fedavg":
                after = trained(full, client, round_)
            else:
                g = gradient(full, data, next(batches(rules, SEED, client, round_, len(data))))
                after = {k: full[k] - RATE * g[k] for k in full}
            heads[client] = {k: after[k] for k in HEAD}
            answers[client] = {k: after[k] for k in shared}
        shared = mean(answers)
    close(seen.final, shared)
    assert {tuple(part or ()) for e in seen.exchanges for part in (e.sent, e.returned)} == {("1.weight", "1.bias")}


AXES: list[tuple[Protocol, dict[str, object]]] = [
    (replace(PLAIN, proximal_mu=0.7), {"participation": 0.5, "stragglers": 0.5}),
    (replace(PLAIN, server="adam", server_rate=0.02), {"dropouts": 0.3}),
    (replace(PLAIN, controls=True, personal=1), {"participation": 0.75}),
    (PLAIN, {"stragglers": 0.4, "late": True}),
]


@pytest.mark.slow
def test_flowers_simulation_gives_the_same_bytes_under_every_axis() -> None:
    for rules, attendance in AXES:
        ours, simulated = (federation(rules, **attendance).run(parts(), e) for e in ("in-process", "simulation"))
        assert keys(ours) == keys(simulated)
        assert {k: v.tobytes() for k, v in (ours.final or {}).items()} == {
            k: v.tobytes() for k, v in (simulated.final or {}).items()
        }


@pytest.mark.parametrize(
    ("rules", "attendance", "defence", "error"),
    [
        ({"kind": "fedsgd", "proximal_mu": 0.1}, {}, None, "TB-RUN-015"),
        ({"kind": "fedsgd", "controls": True}, {}, None, "TB-RUN-015"),
        ({"kind": "fedsgd"}, {"stragglers": 0.5}, None, "TB-RUN-015"),
        ({"controls": True, "server": "adam"}, {}, None, "TB-RUN-016"),
        ({"controls": True, "momentum": 0.9}, {}, None, "TB-RUN-016"),
        ({"controls": True}, {}, "gaussian", "TB-RUN-011"),
        ({"server": "adam"}, {}, "median", "TB-RUN-019"),
        ({}, {"stragglers": 0.5, "late": True}, "median", "TB-RUN-020"),
        ({"controls": True}, {"stragglers": 0.5, "late": True}, None, "TB-RUN-020"),
        ({}, {"dropouts": 0.5}, "secagg", "TB-RUN-014"),
        ({"personal": 1}, {}, "secagg", "TB-RUN-014"),
        ({}, {"late": True}, None, "TB-RUN-010"),
        ({}, {"participation": 0.0}, None, "TB-RUN-018"),
        ({"personal": 2}, {}, None, "TB-MODEL-005"),
    ],
)
def test_what_does_not_go_together_is_refused(
    rules: dict[str, object], attendance: dict[str, object], defence: str | None, error: str
) -> None:
    params = {"noise": 0.5} if defence == "gaussian" else {}
    protects = () if defence is None else (find(defence)(**params),)
    with pytest.raises(UsageError, match=error):
        Federation(SPEC, replace(PLAIN, **rules), SEED, protects, attendance=Attendance(**attendance)).run(parts())  # type: ignore[arg-type]


def test_guards_need_whole_models() -> None:
    for rules in ({"personal": 1}, {"controls": True}):
        with pytest.raises(UsageError, match=r"TB-RUN-0(11|21)"):
            Federation(SPEC, replace(PLAIN, **rules), SEED, guards=configured("nested_neurons"))  # type: ignore[arg-type]

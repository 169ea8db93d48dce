"""Every attack on a federation reads a transcript from its file as it reads one in memory; and one of a foreign app."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import testbed
from testbed import models
from testbed.attacks.inversion.gradient_matching import tasks
from testbed.attacks.membership.signals import Signals
from testbed.attacks.registry import Attack, attacks, find
from testbed.core import (
    Batch,
    Claim,
    Classes,
    Cohort,
    Groups,
    Labels,
    ModelSpec,
    Parameters,
    Property,
    Protocol,
    Reconstruction,
    Records,
    Representatives,
    Scores,
    Sources,
    Threat,
    Transcript,
    Unavailable,
    Values,
)
from testbed.subjects.federation import compat, transcript
from testbed.subjects.federation.federation import Federation
from testbed.subjects.federation.tap import seen_by
from tests import conformance
from tests.conformance import as_bytes
from tests.subjects.federation import foreign_app

ON_FEDERATIONS = [a for a in attacks() if a.position != "recipient"]
SHADOWS = {"property_inference": {"shadows": 10}, "property_from_models": {"shadows": 10}}


def quick(a: Attack) -> dict[str, Any]:
    """Parameters with which an attack takes seconds."""
    return {**a.traits.get("quick", {}), **SHADOWS.get(a.name, {})}


BY_AGAIN = {"white_box"}
"""Needs the federation itself, to run it again; a transcript does not hold it, and the attack says so."""


ENOUGH: dict[str, dict[str, Any]] = {
    "cosine_tv": {"iterations": 60},
    "fedavg_unrolling": {"iterations": 40},
    "see_through": {"iterations": 60, "seeds": 2},
    "tabular_inversion": {"iterations": 150, "restarts": 1},
}
"""Steps in which a search comes near enough to the patients of a foreign app."""


def by_name(a: Attack) -> str:
    return a.name


def claimed(a: Attack, made: conformance.World, view: Transcript) -> bytes:
    """The claim's bytes, or why there is none."""

    def run() -> Claim:
        return a.run(view, made.question, made.auxiliary, conformance.SEED, made.threat, quick(a))

    if a.name not in BY_AGAIN:
        return as_bytes(run())
    with pytest.raises(Unavailable, match="no_recipe"):
        run()
    return b"no_recipe"


@pytest.mark.parametrize("a", ON_FEDERATIONS, ids=by_name)
def test_a_transcript_from_its_file_gives_the_same_claim(a: Attack, tmp_path: Path) -> None:
    """To the last bit; and the act that it was recorded under is told in the file."""
    made = conformance.world(a)
    view = made.view(1.0)
    transcript.write(tmp_path / "t", view)
    read = transcript.read(tmp_path / "t")
    assert read.act == (a.name if a.act else None)
    # Of a reconstruction, the claim in memory is the one that the conformance suite made.
    here = conformance.claimed(a) if a.claim is Reconstruction else claimed(a, made, view)
    assert here == claimed(a, made, read)


@pytest.mark.slow
@pytest.mark.parametrize("a", ON_FEDERATIONS, ids=by_name)
def test_a_transcript_of_the_simulation_engine_gives_the_same_claim(
    a: Attack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flower's simulation runtime records what this process records; the attack reads it from the file."""
    here = conformance.world(a)
    monkeypatch.setattr(conformance, "ENGINE", "simulation")
    monkeypatch.setattr(conformance, "WORLDS", 2)  # of which the first is read
    transcript.write(tmp_path / "t", conformance.fresh(a).view(1.0))
    assert claimed(a, here, here.view(1.0)) == claimed(a, here, transcript.read(tmp_path / "t"))


PATIENTS = Cohort(foreign_app.PATIENTS, np.arange(4) % 3, np.arange(4).astype(str))
TRIAGE = ModelSpec("tests.subjects.federation.foreign_app:make_triage")
WITHIN = {"analytic_linear": 1e-3, "spear": 1e-5, "cocktail_party": 1e-4}
"""How far off the cells may be on average that an exact attack rebuilds; of others .2, where chance is off by 1/3."""
OF_TREES = dict.fromkeys(("passed_on_leaves", "tree_leaves", "tree_thresholds"), "no_trees")
OF_STATISTICS = {
    **dict.fromkeys(("curve_events", "pooled_curve_events"), "no_survival"),
    **dict.fromkeys(("round_difference", "pooled_difference"), "no_histogram"),
    **dict.fromkeys(("cut_direction", "cut_norm"), "no_cut"),
    "reported_quantiles": "no_quantiles",
    "site_inference": "no_known_sites",
    "evaluation_metrics": "no_evaluations",
    "query_metrics": "no_query_metrics",
}
"""Attacks on statistics, evaluations and split networks, and one that needs known hospitals, with the reason that they
give of an app that trains a whole network."""
REFUSED = {"dager": "no_transformer", "white_box": "no_recipe", **OF_TREES, **OF_STATISTICS}
"""What cannot be read of an app whose clients return the weights of fully connected layers."""


@pytest.fixture(scope="session")  # between this file's tests of two attacks stand those of other files
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that somebody's app wrote, of two rounds, whose model has names of its own."""
    protocol = Protocol("fedavg", batch_size=1, local_steps=1, learning_rate=0.1, rounds=2, clients=4)
    with compat.quiet():
        app, strategy = foreign_app.make_server(lambda inner: testbed.record(inner, protocol=protocol), rounds=2)
    compat.run_in_process(app, foreign_app.client, 4)
    path = tmp_path_factory.mktemp("foreign") / "t"
    transcript.write(path, strategy.transcript())
    return path


def others() -> Cohort:
    x = np.random.default_rng(1).random((60, 12)).astype(np.float32)
    return Cohort(x, np.arange(60) % 3, np.arange(60).astype(str))


def asked(a: Attack, view: Transcript) -> Any:
    if a.risk == "property" and a.claim is Scores:
        return Property(1, 4, (0.2, 0.8), (1,) * 4)
    if a.claim in (Reconstruction, Groups, Values):
        keys = tuple(e.key for e in view.exchanges)
        return Batch(keys, (12,), 3, (1,) * len(keys))
    if a.traits.get("suits") == "cut":
        return Labels(PATIENTS.x, np.arange(4))
    if a.claim is Representatives:
        return Classes(3, np.zeros(12), np.ones(12))
    return Records(PATIENTS, np.arange(4))


READING = [a for a in ON_FEDERATIONS if not a.act and a.name != "aggregate_difference"]


@pytest.mark.parametrize("a", READING, ids=by_name)
def test_every_reading_attack_reads_a_foreign_app(a: Attack, recorded: Path) -> None:
    """One person a client: what is exact is exact, and who is asked about gets a score."""
    models.register(TRIAGE.factory, foreign_app.make_triage)
    nodes = (0,) if a.position == "client" else ()
    threat = Threat(a.position, False, conformance.EVERYTHING | {"recipe"}, nodes=nodes)
    view = seen_by(replace(transcript.read(recorded), model=TRIAGE), threat)
    if a.name in REFUSED:
        with pytest.raises(Unavailable, match=REFUSED[a.name]):
            a.run(view, asked(a, view), others(), 0, threat)
        return
    claim = a.run(view, asked(a, view), others(), 0, threat, ENOUGH.get(a.name, quick(a)))
    match claim:
        case Reconstruction(batches=batches):
            assert set(batches) == {e.key for e in view.exchanges}
            for (_, client), rebuilt in batches.items():
                assert np.abs(rebuilt[0] - PATIENTS.x[client]).mean() < WITHIN.get(a.name, 0.2)
        case Scores(values=values):
            assert values.shape == (1 if a.risk == "property" else 4,)
            assert np.isfinite(values).all()
        case Sources(clients=clients):
            assert clients.tolist() == [0, 1, 2, 3]
        case Representatives(records=made):
            assert made.shape == (3, 12)
        case _:
            pytest.fail(f"{a.name} claims something else")


def test_all_but_one_client_of_a_foreign_app_read_the_last_one(recorded: Path) -> None:
    models.register(TRIAGE.factory, foreign_app.make_triage)
    threat = Threat("client", knows=conformance.EVERYTHING, nodes=(0, 1, 2))
    view = seen_by(replace(transcript.read(recorded), model=TRIAGE), threat)
    claim = find("aggregate_difference").run(view, Batch(((1, 3), (2, 3)), (12,), 3, (1, 1)), others(), 0, threat)
    assert set(claim.batches) == {(1, 3), (2, 3)}
    for rebuilt in claim.batches.values():
        assert np.abs(rebuilt[0] - PATIENTS.x[3]).mean() < 1e-3


WARD = ModelSpec("tests.subjects.federation.foreign_app:make_ward")
ON_WARDS = {"dager": "no_transformer", "white_box": "no_recipe", "spear": "not_unmixed", **OF_TREES, **OF_STATISTICS}
BY_BIAS = {"analytic_linear"}
"""A bias before normalisation has no gradient but rounding, which another processor may make exactly nothing."""


@pytest.fixture(scope="session")
def ward() -> Transcript:
    """Of an app whose clients send the whole state: running statistics and a layer that nobody trains as well."""
    models.register(WARD.factory, foreign_app.make_ward)
    protocol = Protocol("fedavg", batch_size=2, local_steps=1, learning_rate=0.1, rounds=2, clients=4)
    with compat.quiet():
        app, strategy = foreign_app.make_server(
            lambda inner: testbed.record(inner, protocol=protocol), rounds=2, model=foreign_app.Ward
        )
    compat.run_in_process(app, foreign_app.ward_client, 4)
    return replace(strategy.transcript(), model=WARD)


def test_records_are_judged_by_the_whole_model_that_was_sent(ward: Transcript) -> None:
    seen = Signals(ward, PATIENTS)
    for e in ward.exchanges:
        assert e.sent is not None
        assert e.returned is not None
        for signal, state in ((seen.before, e.sent), (seen.after, e.returned)):
            network = foreign_app.make_ward().eval()
            network.load_state_dict({k: torch.tensor(np.array(v)) for k, v in state.items()})
            losses = torch.nn.functional.cross_entropy(
                network(torch.tensor(PATIENTS.x)), torch.tensor(PATIENTS.y), reduction="none"
            )
            assert np.allclose(signal[e.round - 1, e.client], losses.detach().numpy(), atol=1e-6)


def test_a_client_may_return_no_more_than_it_trains(ward: Transcript) -> None:
    """What it was sent besides is then part of its model, whatever was asked for before."""
    trained = models.trained(foreign_app.make_ward())
    exchanges = tuple(
        replace(e, returned=None if e.returned is None else {k: e.returned[k] for k in trained}) for e in ward.exchanges
    )
    first, later = (Signals(replace(ward, exchanges=exchanges), PATIENTS) for _ in range(2))
    _ = later.before
    assert np.array_equal(first.after, later.after)
    e = ward.exchanges[-1]
    assert e.sent is not None
    assert e.returned is not None
    network = foreign_app.make_ward().eval()
    state = {**e.sent, **{k: e.returned[k] for k in trained}}
    network.load_state_dict({k: torch.tensor(np.array(v)) for k, v in state.items()})
    losses = torch.nn.functional.cross_entropy(
        network(torch.tensor(PATIENTS.x)), torch.tensor(PATIENTS.y), reduction="none"
    )
    assert np.allclose(first.after[e.round - 1, e.client], losses.detach().numpy(), atol=1e-6)


def normalised() -> torch.nn.Module:
    return torch.nn.Sequential(
        torch.nn.Linear(12, 8),
        torch.nn.BatchNorm1d(8),
        torch.nn.ReLU(),
        torch.nn.Unflatten(1, (2, 4)),
        torch.nn.InstanceNorm1d(2, track_running_stats=True),
        torch.nn.Flatten(),
        torch.nn.Linear(8, 3),
    )


def test_clients_of_the_testbed_normalise_as_an_attack_takes_them_to() -> None:
    models.register("normalised", normalised)
    protocol = Protocol("fedsgd", 2, learning_rate=0.1, rounds=1, clients=1)
    pair = PATIENTS.take(np.arange(2))
    seen = Federation(ModelSpec("normalised", {}), protocol, 0).run([pair])
    question = Batch(((1, 0),), (12,), 3, (2,), labels=(pair.y,))
    made = list(tasks(seen, question, None, np.random.default_rng(0)))
    models.FACTORIES.pop("normalised")
    theirs = torch.tensor(pair.x)
    assert made[0].distance(theirs) < 1e-5 < made[0].distance(theirs.flip(1))


def frozen_first() -> torch.nn.Module:
    network = torch.nn.Sequential(torch.nn.Linear(12, 6), torch.nn.ReLU(), torch.nn.Linear(6, 3))
    network[0].requires_grad_(requires_grad=False)
    return network


@pytest.mark.parametrize("name", ["gradient_ascent", "client_gradient_ascent", "client_mislabelling"])
def test_who_acts_leaves_what_is_not_trained_as_it_was(name: str) -> None:
    models.register("frozen_first", frozen_first)
    spec = ModelSpec("frozen_first", {})
    a = find(name)
    assert a.act is not None
    act = a.act(Records(PATIENTS, np.arange(4)), others(), np.random.default_rng(0), spec)
    protocol = Protocol("fedavg", 2, learning_rate=0.1, rounds=2, clients=2)
    parts = [PATIENTS.take(np.arange(2)), PATIENTS.take(np.arange(2, 4))]
    seen = Federation(spec, protocol, 0).run(parts, "in-process", replace(act, nodes=(0,)), name)
    models.FACTORIES.pop("frozen_first")
    start = next(iter(seen.exchanges)).sent
    assert start is not None
    for e in seen.exchanges:
        assert e.sent is not None
        assert e.returned is not None
        assert all((state["0.weight"] == start["0.weight"]).all() for state in (e.sent, e.returned))
        assert e.returned.keys() == start.keys()


def test_an_update_is_matched_as_the_client_trained(ward: Transcript) -> None:
    """On its batch's own statistics, and in what it trained: then only its records give its gradient."""
    keys = tuple(e.key for e in ward.exchanges)
    labels = tuple(PATIENTS.y[list(foreign_app.PAIRS[client])] for _, client in keys)
    question = Batch(keys, (12,), 3, (2,) * len(keys), labels=labels)
    for task in tasks(ward, question, others(), np.random.default_rng(0)):
        assert list(task.parameters) == [n for n, p in foreign_app.Ward().named_parameters() if p.requires_grad]
        theirs = torch.tensor(PATIENTS.x[list(foreign_app.PAIRS[task.key[1]])])
        assert task.distance(theirs) < 1e-5 < task.distance(theirs.flip(1))


@pytest.mark.parametrize("a", READING, ids=by_name)
def test_every_reading_attack_reads_such_an_app(a: Attack, ward: Transcript) -> None:
    nodes = (0,) if a.position == "client" else ()
    threat = Threat(a.position, False, conformance.EVERYTHING | {"recipe"}, nodes=nodes)
    view = seen_by(ward, threat)
    question = asked(a, view)
    if a.claim is Reconstruction or a.risk == "property":
        question = replace(question, sizes=(2,) * len(question.sizes))
    if a.name in ON_WARDS:
        with pytest.raises(Unavailable, match=ON_WARDS[a.name]):
            a.run(view, question, others(), 0, threat)
        return
    claim = a.run(view, question, others(), 0, threat, quick(a))
    if isinstance(claim, Reconstruction):
        missing = set(question.keys) ^ set(claim.batches)
        assert not missing or (a.name in BY_BIAS and missing < set(question.keys))
        assert all(np.isfinite(rebuilt).all() for rebuilt in claim.batches.values())
    if isinstance(claim, Scores):
        assert np.isfinite(claim.values).all()


def test_arrays_sent_by_number_are_named_by_the_model(ward: Transcript) -> None:
    def numbered(parameters: Parameters | None, trained: bool) -> Parameters | None:
        kept = {} if parameters is None else parameters
        names = [n for n, p in foreign_app.Ward().named_parameters() if p.requires_grad] if trained else list(kept)
        return {str(i): kept[name] for i, name in enumerate(names)}

    network = foreign_app.make_ward()
    sent = ward.exchanges[0].sent
    assert sent is not None
    assert models.by_name(numbered(sent, False) or {}, network).keys() == sent.keys()
    trained = models.by_name(numbered(sent, True) or {}, network)
    assert list(trained) == models.trained(network)
    assert models.by_name({"0": np.zeros(3)}, network).keys() == {"0"}

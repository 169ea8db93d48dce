"""Membership from reported losses and accuracies: its formula, few people found, foreign recordings judged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from testbed import models
from testbed.attacks.membership.evaluations import evaluation_metrics, likelihood, reported
from testbed.attacks.registry import find
from testbed.core import Asked, Cohort, ModelSpec, Protocol, Records, Threat, Transcript, Unavailable
from testbed.core.errors import UsageError
from testbed.findings.schema import Estimate
from testbed.harness.federation import owned as owners
from testbed.harness.federation.foreign import Foreign
from testbed.harness.federation.replay import replay
from testbed.subjects.federation import transcript
from testbed.subjects.federation.federation import Federation

FACTORY = (
    "def net():\n    from torch import nn\n    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))\n"
)
THREAT = Threat("server", knows=frozenset({"architecture", "target_records"}))
AUXILIARY = Threat("server", knows=THREAT.knows | {"auxiliary"})
SPEC = ModelSpec("mlp", {"shape": [6], "classes": 3, "hidden": [8]})
RULES = Protocol("fedavg", 4, learning_rate=0.1)


def people(count: int, seed: int = 0) -> Cohort:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(count, 6)).astype(np.float32), rng.integers(0, 3, count)
    return Cohort(x, y, np.array([f"{seed}.{i}" for i in range(count)]))


def net(seed: int) -> nn.Module:
    """A network with random weights, enlarged so that people differ in their loss."""
    torch.manual_seed(seed)
    made = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    with torch.no_grad():
        for weights in made.parameters():
            weights *= 3
    return made


def told(model: nn.Module, own: Cohort) -> dict[str, float]:
    """What a client reports, by torch alone."""
    with torch.no_grad():
        outputs, y = model(torch.tensor(own.x)), torch.tensor(own.y)
        loss = nn.functional.cross_entropy(outputs, y)
        return {"eval_loss": float(loss), "acc": 100 * float((outputs.argmax(1) == y).double().mean())}


def test_the_likelihood_is_that_of_two_normal_distributions() -> None:
    """With as many other people as that, their covariance is known, and the ratio is that of two densities."""
    from scipy.stats import multivariate_normal

    rng = np.random.default_rng(3)
    others = rng.normal(size=(400, 3)) @ rng.normal(size=(3, 3)) + 2
    each, size = others[:5], 7.0
    metrics = each.mean(0)
    mean, covariance = others.mean(0), np.cov(others.T, bias=True)
    inside = [
        multivariate_normal.logpdf(metrics, mean + (one - mean) / size, covariance * (size - 1) / size**2)
        for one in each
    ]
    outside = multivariate_normal.logpdf(metrics, mean, covariance / size)
    made = likelihood(metrics, each, others, size, 0.0)
    np.testing.assert_allclose(made - made[0], np.array(inside) - inside[0], rtol=1e-6)
    expected = np.array(inside) - outside + 1.5 * np.log((size - 1) / size)  # less the ratio of the determinants
    np.testing.assert_allclose(made, expected, rtol=1e-6)


def test_metrics_are_found_by_the_words_in_their_names() -> None:
    assert reported({"eval_loss": 0.5, "Test-Acc": 75.0, "num-examples": 4.0}) == {"loss": 0.5, "accuracy": 0.75}
    assert reported({"loss": float("nan"), "n": 2.0}) == {}


def recorded(folder: Path, own: Cohort, rounds: int) -> Path:
    """Two clients evaluate a few models; only the first one's people matter."""
    others = people(len(own), 9)
    with transcript.Writer(folder / "t.transcript", protocol=RULES) as writer:
        for round_ in range(1, rounds + 1):
            model = net(round_)
            for client, held in enumerate((own, others)):
                metrics = {**told(model, held), "num-examples": float(len(held))}
                writer.evaluated(round_, client, list(model.parameters()), metrics)
    return folder / "t.transcript"


def test_a_foreign_recording_of_evaluations_alone_is_judged_with_its_owners_records(tmp_path: Path) -> None:
    own, files = people(4), {"own": people(4), "others": people(4, 9), "controls": people(200, 5)}
    for name, held in files.items():
        np.savez(tmp_path / f"{name}.npz", x=held.x, y=held.y)
    (tmp_path / "net.py").write_text(FACTORY)
    records = [f"0={tmp_path}/own.npz", f"1={tmp_path}/others.npz"]
    owned = owners.given(records, tmp_path / "controls.npz")
    foreign = Foreign(f"{tmp_path}/net.py:net", (6,))
    done = replay(recorded(tmp_path, own, 15), "evaluation_metrics", owned=owned, foreign=foreign)
    (found,) = done.result.findings
    assert isinstance(found.measure, Estimate)
    assert isinstance(found.control, Estimate)
    assert found.measure.value >= 7 / 8
    assert found.control.value <= 0.1
    with pytest.raises(UsageError, match="TB-REPLAY-041"):  # no client trained, so no update can be asked about
        replay(tmp_path / "t.transcript", "update_product", owned=owned, foreign=foreign)


def test_the_people_of_a_client_of_four_are_found_among_sixty() -> None:
    asked, evaluated = people(60, 1), people(4, 2)
    answers: list[Asked] = []
    for round_ in range(30):
        model = net(round_)
        sent = dict(zip(names(), (p.detach().numpy() for p in model.parameters()), strict=True))
        answers.append(Asked(round_, 0, sent, None, {**told(model, evaluated), "num-examples": 4.0}))
    view = Transcript((), SPEC, RULES, asked=tuple(answers))
    both = Cohort(*(np.concatenate([getattr(p, f) for p in (asked, evaluated)]) for f in ("x", "y", "persons")))
    scores = evaluation_metrics.run(view, Records(both), people(500, 3), 0, AUXILIARY).values
    assert set(np.argsort(-scores)[:4]) == {60, 61, 62, 63}


def test_evaluations_change_nothing_of_the_training_and_report_what_torch_computes() -> None:
    parts = [people(6, 1), people(6, 2)]
    plain = Federation(SPEC, replace(RULES, rounds=2), 3).run(parts)
    seen = Federation(SPEC, replace(RULES, rounds=2), 3, evaluates=True).run(parts)
    assert transcript.to_bytes(replace(seen, asked=())) == transcript.to_bytes(plain)
    assert [(e.key, e.kind) for e in seen.asked] == [((r, c), "evaluate") for r in (1, 2) for c in (0, 1)]
    last = seen.asked[-1]
    model = models.build(SPEC)
    model.load_state_dict({k: torch.tensor(v) for k, v in (seen.final or {}).items()})
    expected = told(model, parts[1])
    assert last.metrics["loss"] == pytest.approx(expected["eval_loss"], rel=1e-6)
    assert last.metrics["accuracy"] == pytest.approx(expected["acc"] / 100)
    assert last.metrics["num-examples"] == 6


def names() -> list[str]:
    return list(models.get_parameters(models.build(SPEC)))


def test_without_evaluations_it_says_what_it_lacks() -> None:
    with pytest.raises(Unavailable, match="no_evaluations"):
        find("evaluation_metrics").run(Transcript((), SPEC, RULES), Records(people(3)), None, 0, THREAT)

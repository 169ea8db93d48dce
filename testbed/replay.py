"""Record once, attack many: an attack on a recorded transcript, judged if the truth is at hand."""

from __future__ import annotations

import importlib
import io
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from testbed import findings, models
from testbed.attacks.kit import Attack, find
from testbed.core import Batch, ModelSpec, Reconstruction, Threat, Transcript, Unavailable
from testbed.errors import UsageError
from testbed.federation import transcript as transcripts
from testbed.findings import Plan
from testbed.harness import truth as truths
from testbed.harness.assess import assess
from testbed.harness.federation import Recorded
from testbed.harness.pictures import sheets
from testbed.policy import Policy
from testbed.report import results
from testbed.report.schema import Subject, ThreatModel, Unmeasured
from testbed.scenario import Done, Outcome

QUESTION = "What does this recorded federation give away?"
NO_TRUTH = Unmeasured(unmeasured="no_truth", needs="the records behind the transcript (--truth truth.npz)")


def replay(
    path: Path,
    attack_name: str,
    *,
    pairs: Sequence[str] = (),
    truth_path: Path | None = None,
    model: str | None = None,
    policy: Policy | None = None,
    seed: int = 0,
    progress: Callable[[str], None] = lambda _: None,
) -> Done:
    """Attack a transcript. With the truth of its run the findings equal that run's, for the same parameters."""
    started = time.monotonic()
    attack = find(attack_name)
    params = _params(attack, pairs)
    if not path.is_file():
        raise UsageError(
            "TB-REPLAY-001", "There is no transcript there.", f"{path.name} was not found.", "Check the path."
        )
    view = transcripts.read(path)
    if model is not None:
        view = replace(view, model=_foreign(model, view.model))
    if truth_path is None:
        return _unjudged(view, attack, params, policy, seed, started)
    truth, described = truths.read(truth_path)
    seed = truth.seed  # by which the run drew what it drew
    planned = [p for p in truth.plans if p.attack == attack.name]
    plans = tuple(replace(p, params={**p.params, **params}) for p in planned)
    if not plans:
        # What another attack was asked must be what this one claims: of whom, or whether, a record was used.
        alike = [p for p in truth.plans if p.risk == attack.risk and find(p.attack).claim is attack.claim]
        known = {p.risk for p in truth.plans}
        if not alike:
            raise UsageError(
                "TB-REPLAY-002",
                f"The truth file cannot judge {attack.name}.",
                f"It holds the truth for: {', '.join(sorted(known))}, as other attacks there claim it.",
                "Choose an attack that makes such a claim.",
            )
        plans = (replace(alike[0], attack=attack.name, params=params),)
    views = truths.beside(path, view, truth_path)
    recorded = Recorded(views, truth)
    assessed = assess(recorded, plans, progress)
    subject = Subject.model_validate({**described["subject"], "type": "transcript"})
    pictures = sheets(assessed.claims, recorded, subject)
    result = results.assemble(
        command="replay",
        scenario="replay",
        question=QUESTION,
        engine="none",
        seed=seed,
        params={"attack": attack.name, **params},
        started=started,
        subject=subject,
        threat=ThreatModel.model_validate(described["threat"]),
        findings=assessed.findings,
        policy=policy,
        pictures=pictures,
    )
    return Done(result, Outcome(assessed.findings, assessed.evidence, {}, pictures))


def _params(attack: Attack, pairs: Sequence[str]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for pair in pairs:
        key, _, text = pair.partition("=")
        kind = type(attack.defaults.get(key, ""))
        try:
            given[key] = kind(text)
        except ValueError:
            raise UsageError(
                "TB-REPLAY-003",
                f"{key} does not take this value.",
                f"It is of the kind {kind.__name__}.",
                "Correct it.",
            ) from None
    attack.configured(given)
    return given


def _foreign(name: str, spec: ModelSpec | None) -> ModelSpec:
    """Register a user's own factory, `module:function`, under its own name."""
    module, separator, function = name.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        factory = getattr(importlib.import_module(module), function) if separator else None
    except (ImportError, AttributeError):
        factory = None
    finally:
        sys.path.pop(0)
    if not callable(factory):
        raise UsageError(
            "TB-REPLAY-004",
            f"{name!r} names no model factory.",
            "It must be importable from here, and a function that returns the network.",
            "Write --model package.module:function.",
        )
    models.register(name, cast(Callable[..., Any], factory))
    return ModelSpec(name, spec.arguments if spec else {})


def _unjudged(
    view: Transcript, attack: Attack, params: dict[str, Any], policy: Policy | None, seed: int, started: float
) -> Done:
    """The claim alone: it goes to evidence/, and nothing is said about its success."""
    if attack.claim is not Reconstruction:
        raise UsageError(
            "TB-REPLAY-005",
            f"{attack.name} needs records to ask about.",
            "A transcript alone does not say whose membership is in doubt.",
            "Give --truth.",
        )
    plan = Plan("TB-RECONSTRUCTION-001", "reconstruction", attack.name, "line_up_top1", "record", params=params)
    threat = Threat(attack.position, attack.malicious, attack.needs, attack.access)
    files: dict[str, bytes] = {}
    why = NO_TRUTH
    try:
        claim = attack.run(view, _question(view), None, seed, threat, params)
        files["claim.npz"] = _claim(claim)
    except Unavailable as reason:
        why = Unmeasured(unmeasured=reason.code, needs=reason.needs)
    found = findings.unmeasured(plan, why, len(view.exchanges), len(files))
    subject = Subject(
        type="transcript", name="a recorded federation", data_class="real", licence="not stated", size_band="not stated"
    )
    described = ThreatModel(
        position=view.position,
        malicious=attack.malicious,
        knows=sorted(attack.needs),
        access=attack.access,
        sees="what the transcript holds",
        not_tested=["whether what was rebuilt is right: the truth was not given"],
    )
    result = results.assemble(
        command="replay",
        scenario="replay",
        question=QUESTION,
        engine="none",
        seed=seed,
        params={"attack": attack.name, **params},
        started=started,
        subject=subject,
        threat=described,
        findings=[found],
        policy=policy,
    )
    return Done(result, Outcome([found], {}, files))


def _question(view: Transcript) -> Batch:
    """All exchanges; the record's shape from the model's arguments, else from the first fully connected layer."""
    keys = tuple(e.key for e in view.exchanges)
    sizes = None if view.protocol.batch_size is None else (view.protocol.batch_size,) * len(keys)
    if view.model is not None and {"shape", "classes"} <= set(view.model.arguments) | (
        {"shape", "classes"} if "inner" in view.model.arguments else set()
    ):
        shape, classes = models.input_of(view.model)
        return Batch(keys, shape, classes, sizes)
    layers = [v.shape for e in view.exchanges if e.sent for v in e.sent.values() if v.ndim == 2]
    if not layers:
        raise Unavailable("no_linear_input_layer", "a model whose first layer is fully connected and has a bias")
    return Batch(keys, (int(layers[0][1]),), int(layers[-1][0]), sizes)


def _claim(claim: Reconstruction) -> bytes:
    buffer = io.BytesIO()
    arrays = {f"round{r}.client{c}": batch for (r, c), batch in claim.batches.items()}
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()

"""An attack on a recorded transcript, judged if the truth is given. One recording serves many attacks."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from testbed import models
from testbed.attacks.registry import Attack, find
from testbed.core import Batch, ModelSpec, Parameters, Reconstruction, Threat, Transcript, Unavailable, user_code
from testbed.core.errors import UsageError
from testbed.core.parameters import typed
from testbed.findings import measures
from testbed.findings.assemble import assemble
from testbed.findings.policy import Policy
from testbed.findings.schema import Subject, ThreatModel, Unmeasured
from testbed.harness.cells import planned
from testbed.harness.federation import truth_file as truths
from testbed.harness.federation.assess import assess
from testbed.harness.federation.pictures import sheets
from testbed.harness.federation.recorded import Recorded
from testbed.harness.outcome import Done, Outcome
from testbed.subjects.federation import transcript as transcripts

QUESTION = "What does this recorded federation reveal?"
NO_TRUTH = Unmeasured(unmeasured="no_truth", needs="the records behind the transcript (--truth truth.npz)")


def replay(
    path: Path,
    attack_name: str,
    *,
    pairs: Sequence[str] = (),
    truth_path: Path | None = None,
    model: str | None = None,
    shape: Sequence[int] = (),
    policy: Policy | None = None,
    seed: int = 0,
    progress: Callable[[str], None] = lambda _: None,
) -> Done:
    """The result of an attack on a transcript. With the truth of its run, the findings equal those of that run.

    Without it, the claim goes to evidence/ and the findings are unmeasured. Its parameters are the options of the
    command replay. Raises `UsageError` for a transcript, a model or an attack that cannot be used, and for a truth file
    that cannot judge the attack.
    """
    started = time.monotonic()
    attack = find(attack_name)
    if attack.subject != "transcript":
        raise UsageError(
            "TB-REPLAY-008",
            f"The attack {attack.name} reads no transcript.",
            f"It attacks a {attack.subject}.",
            "Choose one of testbed list attacks --subject transcript. A model is audited by testbed audit-model, a "
            "released table by testbed evaluate.",
        )
    params = _params(attack, pairs)
    if not path.is_file():
        raise UsageError(
            "TB-REPLAY-001", "The transcript does not exist.", f"{path.name} was not found.", "Check the path."
        )
    view = transcripts.read(path)
    if model is not None:
        view = _named(replace(view, model=_foreign(model, view.model)))
    if truth_path is None:
        return _unjudged(view, attack, params, shape, policy, seed, started)
    truth, described = truths.read(truth_path)
    seed = truth.seed  # the run's seed, so that everything is drawn as in the run
    planned = [p for p in truth.plans if p.attack == attack.name]
    plans = tuple(replace(p, params={**p.params, **params}) for p in planned)
    if not plans:
        # The question of another attack serves this one only if both make the same kind of claim.
        alike = [p for p in truth.plans if p.risk == attack.risk and find(p.attack).claim is attack.claim]
        known = {p.risk for p in truth.plans}
        if not alike:
            raise UsageError(
                "TB-REPLAY-002",
                f"The truth file cannot judge {attack.name}.",
                f"It holds the truth for these risks: {', '.join(sorted(known))}.",
                "Choose an attack on one of these risks that makes the same kind of claim as the run's own attack.",
            )
        plans = (replace(alike[0], attack=attack.name, params=params),)
    views = truths.beside(path, view, truth_path)
    recorded = Recorded(views, truth)
    assessed = assess(recorded, plans, progress)
    subject = Subject.model_validate({**described["subject"], "type": "transcript"})
    pictures = sheets(assessed.claims, recorded, subject)
    result = assemble(
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


def shape_of(text: str) -> tuple[int, ...]:
    """The shape written as `3,32,32`, as numbers. Raises `UsageError` for any other text."""
    parts = text.split(",")
    if not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise UsageError(
            "TB-REPLAY-007", "This is not the shape of a record.", "A shape is numbers of 1 or more.", "Write 3,32,32."
        )
    return tuple(int(part) for part in parts)


def _params(attack: Attack, pairs: Sequence[str]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for pair in pairs:
        key, _, text = pair.partition("=")
        given[key] = typed(key, text, attack.defaults.get(key, ""))
    attack.configured(given)
    return given


def _foreign(name: str, spec: ModelSpec | None) -> ModelSpec:
    """The model of a user's own factory, `module:function`, which is registered under its own name."""
    factory = user_code.function(
        name, "TB-REPLAY-004", "Write --model package.module:function; the function returns the network."
    )
    models.register(name, factory)
    return ModelSpec(name, spec.arguments if spec else {})


def _named(view: Transcript) -> Transcript:
    """The transcript with the model's names for its arrays, if the app sent them by number."""
    assert view.model is not None
    network = models.build(view.model)

    def named(parameters: Parameters | None) -> Parameters | None:
        return None if parameters is None else models.by_name(parameters, network)

    exchanges = (replace(e, sent=named(e.sent), returned=named(e.returned)) for e in view.exchanges)
    return replace(view, exchanges=tuple(exchanges), final=named(view.final))


def _unjudged(
    view: Transcript,
    attack: Attack,
    params: dict[str, Any],
    shape: Sequence[int],
    policy: Policy | None,
    seed: int,
    started: float,
) -> Done:
    """The claim without a judgement: it goes to evidence/, and its success is unmeasured."""
    if attack.claim is not Reconstruction:
        raise UsageError(
            "TB-REPLAY-005",
            f"The attack {attack.name} needs records to ask about.",
            "A transcript alone does not tell whose membership is in question.",
            "Give the truth file of the run with --truth.",
        )
    plan = planned(attack.name, metric="line_up_top1", primary=True, params=params)
    threat = Threat(attack.position, attack.malicious, attack.needs, attack.access)
    files: dict[str, bytes] = {}
    why = NO_TRUTH
    try:
        claim = attack.run(view, _question(view, shape), None, seed, threat, params)
        files["claim.npz"] = _claim(claim)
    except Unavailable as reason:
        why = Unmeasured(unmeasured=reason.code, needs=reason.needs)
    found = measures.unmeasured(plan, why, len(view.exchanges), len(files))
    subject = Subject(
        type="transcript", name="a recorded federation", data_class="real", licence="not stated", size_band="not stated"
    )
    described = ThreatModel(
        position=view.position,
        malicious=attack.malicious,
        knows=sorted(attack.needs),
        access=attack.access,
        sees="the contents of the transcript",
        not_tested=["whether the reconstructed records are correct: the truth was not given"],
    )
    result = assemble(
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


def _question(view: Transcript, shape: Sequence[int]) -> Batch:
    """The question about all exchanges. A record's shape is the one given, the model's, or its first layer's."""
    keys = tuple(e.key for e in view.exchanges)
    sizes = None if view.protocol.batch_size is None else (view.protocol.batch_size,) * len(keys)
    arguments = {} if view.model is None else view.model.arguments
    if not shape and view.model is not None and ({"shape", "classes"} <= arguments.keys() or "inner" in arguments):
        known, classes = models.input_of(view.model)
        return Batch(keys, known, classes, sizes)
    layers = [v.shape for e in view.exchanges if e.sent for v in e.sent.values() if v.ndim == 2]
    known_model = view.model is not None and view.model.factory in models.FACTORIES
    if not layers and not (shape and known_model):
        raise Unavailable("no_linear_input_layer", "a model whose first layer is fully connected and has a bias")
    taken = tuple(shape) or (int(layers[0][1]),)
    return Batch(keys, taken, _classes(view.model, taken) if known_model else int(layers[-1][0]), sizes)


def _classes(spec: ModelSpec | None, shape: tuple[int, ...]) -> int:
    """The number of values that the model gives for a record. Raises `UsageError` if it cannot take this shape."""
    assert spec is not None
    network = models.build(spec)
    for kind in (torch.float32, torch.int64):  # records, or numbers of words
        try:
            with torch.no_grad():
                made = network(torch.zeros(1, *shape, dtype=kind))
        except Exception:  # a user's own model may raise any error
            continue
        if isinstance(made, torch.Tensor) and made.ndim >= 2:
            return int(made.shape[-1])
    raise UsageError(
        "TB-REPLAY-006",
        "The model cannot take a record of this shape, or returns no values for it.",
        f"It was given a record of {' x '.join(map(str, shape))}, and must return a tensor (records, classes).",
        "Give the shape of the records that the model takes, such as --shape 3,32,32.",
    )


def _claim(claim: Reconstruction) -> bytes:
    buffer = io.BytesIO()
    arrays = {f"round{r}.client{c}": batch for (r, c), batch in claim.batches.items()}
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()

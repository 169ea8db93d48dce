"""An attack on a recorded transcript, judged if the truth is given. One recording serves many attacks."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from testbed import models
from testbed.attacks.inversion.controls import control_gradients
from testbed.attacks.registry import Attack, find
from testbed.core import (
    Groups,
    Guesses,
    Reconstruction,
    Threat,
    Transcript,
    Unavailable,
    Values,
    user_code,
)
from testbed.core.errors import UsageError
from testbed.core.parameters import typed
from testbed.core.shown import shown
from testbed.findings import measures
from testbed.findings.assemble import assemble, size_band
from testbed.findings.policy import Policy
from testbed.findings.schema import Metric, Subject, ThreatModel, Unmeasured
from testbed.harness.cells import planned
from testbed.harness.federation import owned as owners
from testbed.harness.federation import truth_file as truths
from testbed.harness.federation.answered import read_as
from testbed.harness.federation.asked import answers, kind_read, of_kind, read_by
from testbed.harness.federation.assess import assess
from testbed.harness.federation.explained import FLAG as UNEXPLAINED
from testbed.harness.federation.explained import explained
from testbed.harness.federation.foreign import NATIVE, Foreign, question, shape_and_classes
from testbed.harness.federation.owned import Owned
from testbed.harness.federation.pictures import sheets
from testbed.harness.federation.recorded import Recorded
from testbed.harness.outcome import Done, Outcome
from testbed.subjects.federation import spool
from testbed.subjects.federation import transcript as transcripts

READERS = {
    "evaluate": ("evaluations", "Evaluations are read", "evaluation_metrics"),
    "query": ("queries", "Losses and accuracies in answers to queries are read", "query_metrics"),
}
"""Kinds of messages that train nothing: their name, what an attack reads of them, and the attack."""
QUESTION = "What does this recorded federation reveal?"
NO_MODEL = [
    "whether records enter the first layer that arrives, or what earlier layers make of them: no --model was given"
]
OUTSIDE = 0.01
"""By which share of the range a claimed value must lie outside it to be told: exact attacks do not clip."""
NO_TRUTH = Unmeasured(
    unmeasured="no_truth",
    needs="the records behind the transcript (--truth truth.npz, or --records and --controls for your own app)",
)


def replay(
    path: Path,
    attack_name: str,
    *,
    pairs: Sequence[str] = (),
    truth_path: Path | None = None,
    owned: Owned | None = None,
    foreign: Foreign = NATIVE,
    policy: Policy | None = None,
    seed: int = 0,
    progress: Callable[[str], None] = lambda _: None,
) -> Done:
    """The result of an attack on a transcript. With the truth of its run, the findings equal those of that run.

    A foreign app is judged with the records of its owner (`owned`). Without a truth, the claim goes to evidence/ and
    the findings are unmeasured. Its parameters are the options of the command replay. Raises `UsageError` for a
    transcript, a model or an attack that cannot be used, and for a truth that cannot judge the attack.
    """
    started = time.monotonic()
    attack = find(attack_name)
    _readable(attack)
    params = _params(attack, pairs)
    if not path.is_file():
        left = spool.beside(path)
        raise UsageError(
            "TB-REPLAY-001",
            "The transcript does not exist.",
            f"{path.name} was not found.",
            f"Replay {left.name}, which a run that is not finished left." if left.is_file() else "Check the path.",
        )
    if owned is not None and truth_path is not None:
        raise UsageError(
            "TB-REPLAY-018",
            "Both a truth file and records were given.",
            "One transcript has one truth.",
            "Give --truth for a run of the testbed, and --records with --controls for an app of your own.",
        )
    view = foreign.known_to(transcripts.read(path))
    _holds(view, attack)
    for sentence in _remarks(view, attack):
        progress(sentence)
    if truth_path is not None:
        seed, told = _judged(path, view, attack, params, truth_path, progress)
    elif owned is not None:
        owned = replace(owned, within=owned.within or foreign.within)
        told = _judged_by_owner(read_as(view, foreign.answers), attack, params, owned, foreign, seed)
    else:
        told = _unjudged(read_as(view, foreign.answers), attack, params, foreign, seed)
    result = assemble(
        command="replay",
        scenario="replay",
        question=QUESTION,
        engine="none",
        seed=seed,
        params={"attack": attack.name, **params},
        started=started,
        subject=told.subject,
        threat=told.threat.model_copy(update={"not_tested": told.threat.not_tested + _missing(view, attack)}),
        findings=told.outcome.findings,
        policy=policy,
        pictures=told.outcome.pictures,
    )
    return Done(result, told.outcome)


def _readable(attack: Attack) -> None:
    """Raises `UsageError` for an attack that needs more than a transcript and the records behind it."""
    if attack.subject != "transcript":
        raise UsageError(
            "TB-REPLAY-008",
            f"The attack {attack.name} reads no transcript.",
            f"It attacks a {attack.subject}.",
            "Choose one of testbed list attacks --subject transcript. A model is audited by testbed audit-model, a "
            "released table by testbed evaluate.",
        )
    if attack.claim is Guesses:
        raise UsageError(
            "TB-REPLAY-039",
            f"The attack {attack.name} needs the attacker's own columns of each person.",
            "A transcript of split learning holds gradients, and neither those columns nor the labels.",
            "Run the scenario split_learning, on your own table if you like: -s data=mine.csv.",
        )
    if attack.traits.get("suits") == "released":
        raise UsageError(
            "TB-REPLAY-040",
            f"The attack {attack.name} needs people whose hospitals are known.",
            "A transcript holds the model, and nobody's hospital.",
            "Run the scenario site_inference, on your own table if you like: -s data=mine.csv.",
        )


def _holds(view: Transcript, attack: Attack) -> None:
    """Raises `UsageError` where the recording holds nothing that this attack reads, as that of an app of queries."""
    if answers(view, attack):
        return
    evaluations, queries = (len(of_kind(view, kind)) for kind in READERS)
    if evaluations:
        then = "Name --attack evaluation_metrics, which reads evaluations."
    elif view.exchanges:
        then = "Record rounds of evaluation, or name an attack that reads updates: testbed list attacks."
    elif queries:
        then = (
            "Name --attack query_metrics, which reads losses and accuracies that clients answer to queries. What "
            "statistics of hospitals tell: testbed run federated_analytics."
        )
    else:
        then = "Record an app that trains."
    raise UsageError(
        "TB-REPLAY-041",
        f"The recording holds nothing that {attack.name} reads.",
        f"It holds {len(view.exchanges)} answers to training, {evaluations} to evaluations and {queries} to queries.",
        then,
    )


def _remarks(view: Transcript, attack: Attack) -> list[str]:
    """What the user should know of a recording before an attack reads it."""
    remarks: list[str] = []
    if view.cut_after is not None:
        remarks.append(f"The recording ends at round {view.cut_after}: the run was killed. Later rounds are not in it.")
    unread = [kind for kind in READERS if kind != kind_read(attack) and of_kind(view, kind)]
    if held := [f"{len(of_kind(view, kind))} {READERS[kind][0]}" for kind in unread]:
        remarks.append(
            f"The recording also holds clients' answers to {' and '.join(held)}. {attack.name} does not read them."
        )
    return remarks + [f"{READERS[kind][1]} by --attack {READERS[kind][2]}." for kind in unread]


def _missing(view: Transcript, attack: Attack) -> list[str]:
    """What this attack did not read: rounds that a recording lacks, and messages that train nothing."""
    missing: list[str] = []
    if view.cut_after is not None:
        missing.append(f"the rounds after round {view.cut_after}: the run was killed, and its recording ends there")
    if kind_read(attack) != "evaluate" and of_kind(view, "evaluate"):
        missing.append("what clients answered when a model was evaluated, such as its loss on their records")
    if kind_read(attack) != "query" and of_kind(view, "query"):
        missing.append("what clients answered to queries of the app")
    elif any(np.size(v) > 1 for e in of_kind(view, "query") for v in (e.returned or {}).values()):
        missing.append("arrays of several numbers in the answers to queries, such as histograms or records' losses")
    if unread := _unread(view, attack):
        missing.append(f"arrays that are no part of the model, such as {', '.join(map(shown, unread[:3]))}")
    return missing


def _unread(view: Transcript, attack: Attack) -> list[str]:
    """Names of what clients send besides the parameters of a user's model, and what this attack does not read.

    Attacks that reconstruct read SCAFFOLD's control variates.
    """
    if view.model is None or not user_code.named(view.model.factory):
        return []
    known = models.build(view.model).state_dict().keys()
    read = attack.claim is Reconstruction and bool(control_gradients(view, models.trained_by(view.model)))
    names = {name for e in view.exchanges for name in e.returned or () if name not in known}
    return sorted(n for n in names if not (read and any(n.endswith(f".{k}") for k in known)))


@dataclass(frozen=True, slots=True)
class _Told:
    """What an attack told, and about whom."""

    subject: Subject
    threat: ThreatModel
    outcome: Outcome


def _params(attack: Attack, pairs: Sequence[str]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for pair in pairs:
        key, _, text = pair.partition("=")
        given[key] = typed(key, text, attack.defaults.get(key, ""))
    attack.configured(given)
    return given


def _judged(
    path: Path,
    view: Transcript,
    attack: Attack,
    params: dict[str, Any],
    truth_path: Path,
    progress: Callable[[str], None],
) -> tuple[int, _Told]:
    """The findings with the truth of the transcript's run, and the run's seed, so that everything is drawn as there."""
    truth, described = truths.read(truth_path)
    planned_ = [p for p in truth.plans if p.attack == attack.name]
    plans = tuple(replace(p, params={**p.params, **params}) for p in planned_)
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
    recorded = Recorded(truths.beside(path, view, truth_path), truth)
    assessed = assess(recorded, plans, progress)
    subject = Subject.model_validate({**described["subject"], "type": "transcript"})
    pictures = sheets(assessed.claims, recorded, subject)
    outcome = Outcome(assessed.findings, assessed.evidence, {}, pictures)
    return truth.seed, _Told(subject, ThreatModel.model_validate(described["threat"]), outcome)


def _judged_by_owner(
    view: Transcript, attack: Attack, params: dict[str, Any], owned: Owned, foreign: Foreign, seed: int
) -> _Told:
    """The findings on a foreign app, judged with the records that its owner gives."""
    plan = planned(attack.name, primary=True, params=params)

    def classes(shape: tuple[int, ...]) -> int:
        shaped = replace(foreign, shape=foreign.shape or shape) if foreign.model else foreign
        return shape_and_classes(view, shaped)[1]

    recorded = owners.recorded(view, attack, plan, owned, classes, seed, foreign.loss)
    assessed = assess(recorded, (plan,))
    if _unexplained(recorded, attack, seed):
        flagged = [measures.flagged(f, UNEXPLAINED) for f in assessed.findings]
        assessed = replace(assessed, findings=flagged)
    threat, (low, high) = recorded.truth.threat, recorded.truth.within
    described = ThreatModel(
        position=threat.position,
        malicious=threat.malicious,
        knows=sorted(threat.knows),
        access=threat.access,
        sees="the contents of the transcript",
        not_tested=[
            f"another loss than {foreign.loss or 'cross-entropy'}",
            "records with values outside the range of the controls"
            if owned.within is None
            else f"records with values outside {low:g} to {high:g}",
            "what the same federation shows of people whom it did not train on (the blind view)",
        ],
    )
    files = {f"{key}.claim.npz": _claim(claim) for key, claim in assessed.claims.items()}
    pooled = recorded.truth.pooled.get("true")
    people = sum(map(len, recorded.truth.batches["true"].values())) if pooled is None else len(pooled)
    return _Told(_recorded(size_band(people)), described, Outcome(assessed.findings, assessed.evidence, files))


def _unexplained(recorded: Recorded, attack: Attack, seed: int) -> bool:
    """Whether the records explain the answers no better than people do on whom nobody trained."""
    truth, view = recorded.truth, recorded.views["true"]
    held = truth.batches.get("true", {})
    if kind_read(attack) is not None:
        pooled = truth.pooled["true"]
        others = pooled.people.take(np.flatnonzero(~pooled.used))
        return explained(view, held, others, seed, read_by(view, attack, truth.plans[0].params)) is False
    if attack.claim is not Reconstruction:
        return False
    return truth.decoys is not None and explained(view, held, truth.decoys, seed) is False


def _recorded(size: str) -> Subject:
    return Subject(
        type="transcript", name="a recorded federation", data_class="real", licence="not stated", size_band=size
    )


def _unjudged(view: Transcript, attack: Attack, params: dict[str, Any], foreign: Foreign, seed: int) -> _Told:
    """The claim without a judgement: it goes to evidence/, and its success is unmeasured."""
    if attack.claim not in (Reconstruction, Groups, Values):
        raise UsageError(
            "TB-REPLAY-005",
            f"The attack {attack.name} needs records to ask about.",
            "A transcript alone does not tell whose membership is in question.",
            "Give --truth for a run of the testbed. For your own app give --records CLIENT=FILE and --controls FILE.",
        )
    metric: Metric = "line_up_top1" if attack.claim is Reconstruction else "rate"
    plan = planned(attack.name, metric=metric, primary=True, params=params)
    threat = Threat(attack.position, attack.malicious, attack.needs, attack.access)
    files: dict[str, bytes] = {}
    why, ranged = NO_TRUTH, list[str]()
    try:
        asked = question(view, foreign)
        claim = attack.run(view, asked, None, seed, threat, params)
        files["claim.npz"] = _claim(claim)
        ranged = _ranged(claim, asked.low, asked.high, assumed=foreign.within is None and view.model is not None)
    except Unavailable as reason:
        why = Unmeasured(unmeasured=reason.code, needs=reason.needs)
    found = measures.unmeasured(plan, why, len(view.exchanges), len(files))
    no_model = view.model is None and attack.claim is Reconstruction
    described = ThreatModel(
        position=view.position,
        malicious=attack.malicious,
        knows=sorted(attack.needs),
        access=attack.access,
        sees="the contents of the transcript",
        not_tested=["whether the reconstructed records are correct: the truth was not given"]
        + NO_MODEL * no_model
        + ranged,
    )
    return _Told(_recorded("not stated"), described, Outcome([found], {}, files))


def _ranged(claim: Reconstruction | Groups | Values, low: float, high: float, assumed: bool) -> list[str]:
    """What claimed records say of the range in which they are expected; `assumed` says that nobody named it."""
    if not isinstance(claim, Reconstruction) or not claim.batches:
        return []
    values = np.concatenate([np.ravel(b) for b in claim.batches.values()])
    slack = OUTSIDE * (high - low)
    outside = float(((values < low - slack) | (values > high + slack)).mean())
    if outside:
        return [
            f"whether records lie between {low:g} and {high:g}: {outside:.0%} of the claimed values do not (--range)"
        ]
    return [f"records with values outside {low:g} to {high:g}, which is assumed: no --range was given"] * assumed


def _claim(claim: Reconstruction | Groups | Values) -> bytes:
    buffer = io.BytesIO()
    match claim:
        case Reconstruction():
            parts = {"": claim.batches}
        case Groups():
            parts = {".bounds": claim.bounds, ".counts": claim.counts}
        case Values():
            parts = {".columns": claim.columns, ".values": claim.values}
    arrays = {f"round{r}.client{c}{name}": part for name, of in parts.items() for (r, c), part in of.items()}
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()

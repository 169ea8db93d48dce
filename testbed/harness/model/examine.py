"""The examination of a released model: membership, further risks, and its structure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestClassifier

from testbed.attacks.registry import Listed, fitting, listed
from testbed.core import Array, Cohort, Evidence, Joint, Predictor, Regressor, Survivor, Unavailable
from testbed.core.randomness import keyed_rng
from testbed.core.threads import one_thread
from testbed.findings import statistics
from testbed.findings.schema import Finding
from testbed.harness import cells
from testbed.harness.cells import Judged
from testbed.harness.model import risks, structure
from testbed.harness.model.forgotten import as_members, forgotten
from testbed.harness.model.kept_evidence import KeptEvidence, Measured
from testbed.harness.model.membership import membership
from testbed.harness.model.model_audit import ModelAudit, Options, knowledge
from testbed.harness.model.persons import left_out
from testbed.harness.model.stored_times import stored_times
from testbed.subjects.predictors.regression import inputs_and_truth
from testbed.subjects.predictors.subject import Subject


def examine(
    subject: Subject, options: Options | None = None, progress: Callable[[str], None] = lambda _: None
) -> tuple[list[Finding], dict[str, Evidence]]:
    """Findings and their evidence. Every attack on a model that is granted what it needs is run.

    The deciding membership attack is chosen on one half of the people and judged on the other half
    (`harness.model.deciding`). Candidates are the attacks that train models of this kind, if these can be trained, and
    else the attacks on answers alone. Attacks that know some memberships are always candidates. Raises `UsageError`
    for a secret that is no input.
    """
    options = options or Options()
    risks.chosen_secrets(subject, options.secrets)  # stops at a misspelt secret before anything is asked or trained
    kept = KeptEvidence.of(subject)

    def examined() -> Measured:
        # Matrices are small here. With one thread, sums have the same order on every machine, and no thread waits.
        with one_thread("blas"):
            judged, structural = _examined(subject, options, kept, progress)
        return Measured([*cells.findings(judged), *structural], cells.evidence_by_key(judged))

    measured = examined() if kept is None else kept.whole(options, _attacks(subject, options), examined)
    return measured.findings, measured.evidence


def _attacks(subject: Subject, options: Options) -> list[Listed]:
    """All attacks that this examination may run; `untrained` also names those that it lacks a recipe for."""
    if options.attack is not None:
        return [Listed.of(made) for made in fitting("model", knowledge(subject), options.attack)]
    granted = knowledge(subject) | {"recipe"}
    return [one for one in listed("model") if one.needs <= granted and not one.baseline]


def _examined(
    subject: Subject, options: Options, kept: KeptEvidence | None, progress: Callable[[str], None]
) -> tuple[list[Judged], list[Finding]]:
    audit = replace(ModelAudit.of(subject, options, progress), kept=kept)
    judged = list(_checks(audit))
    if not comparable(subject, options.seed):
        judged = [one.flagged("split_differs") for one in judged]
    if left_out(audit.halves.counted, audit.used):
        judged = [one.flagged("rows_judged_alone") if one.plan.risk == "membership" else one for one in judged]
    if subject.removed is not None and options.attack is None:
        progress("people who were removed")
        removed = forgotten(subject, options, progress)
        judged.append(removed if comparable(as_members(subject), options.seed) else removed.flagged("split_differs"))
    if not informed(subject):
        judged = [one.flagged("model_knows_nothing") if one.plan.primary else one for one in judged]
    structural: list[Finding] = []
    if options.attack is None and not options.quick:
        with suppress(Unavailable):  # if the budget of queries is spent
            structural = structure.checks(*_bare(subject), subject.given)
        if isinstance(subject.model, Survivor):
            structural += stored_times(subject.estimator, subject.members, subject.controls)
    return judged, structural


def _checks(audit: ModelAudit) -> Iterator[Judged]:
    yield from membership(audit)
    if audit.subject.described and not audit.options.quick:
        yield from risks.further(audit)


def _bare(subject: Subject) -> tuple[Predictor, Any, Cohort]:
    """The model by its own answers, the fitted object, and the members (without the outcome that a model predicts)."""
    model, members = subject.model, subject.members
    if isinstance(model, Joint):
        said = model.said
        inputs = Cohort(members.x[:, : -model.held], members.y, members.persons)
        return Predictor(lambda people: said(people.x), 1), subject.estimator, inputs
    if isinstance(model, Survivor):
        curves, outcome = model.curves, np.zeros((1, model.held))

        def ask(people: Cohort) -> Array:
            held = np.repeat(outcome, len(people), 0)
            return curves(Cohort(np.column_stack([people.x, held]), people.y, people.persons))

        inputs = Cohort(members.x[:, : -model.held], members.y, members.persons)
        return Predictor(ask, 1), subject.estimator, inputs
    if not isinstance(model, Regressor) or model.numbers is None:
        return model, subject.estimator, members
    predict = model.numbers
    x, _ = inputs_and_truth(members)
    return Predictor(lambda p: predict(p.x)[:, None], 1), subject.estimator, Cohort(x, members.y, members.persons)


def informed(subject: Subject) -> bool:
    """Does the model rank its own members by their classes, numbers or times of an event better than chance?

    By the AUC of each class against the others, at 95 %: one class is enough. A model that does not was hardly trained
    on these records as they are given. True if the budget of queries is spent.
    """
    members = subject.members
    try:
        answers = np.asarray(subject.model.ask(members), dtype=np.float64)
        if isinstance(subject.model, Survivor):
            columns = [_early(np.asarray(subject.model.curves(members)), members.x[:, -2:])]
        elif isinstance(subject.model, Regressor):
            truth = members.x[:, -1]
            said, truth = truth + np.asarray(subject.model.errors(members)), truth > np.median(truth)
            columns = [(said, truth)]
        else:
            columns = [(answers[:, c], members.y == c) for c in range(subject.model.classes)]
    except Unavailable:
        return True
    areas = [statistics.auc(said[own], said[~own]) for said, own in columns if own.any() and not own.all()]
    return not areas or max(area.low for area in areas) > 0.5


def _early(curves: Array, outcomes: Array) -> tuple[Array, Array]:
    """Each person's risk (m,), and whether the event happened early (m,), of people of whom this is known.

    The risk is minus the mean height of the curve. Early is until the median time of events.
    """
    ended = outcomes[:, 1] == 1
    middle = np.median(outcomes[ended, 0]) if ended.any() else np.inf
    early, later = ended & (outcomes[:, 0] <= middle), outcomes[:, 0] > middle
    return -curves.mean(1)[early | later], early[early | later]


def comparable(subject: Subject, seed: int) -> bool:
    """Are members and controls similar, if the model is not asked? By a forest's out-of-fold AUC, at 99 %.

    For a table of predictions, only the classes or the true numbers are compared.
    """
    groups = (subject.members, subject.controls)
    classes = np.concatenate([np.eye(subject.model.classes)[g.y] for g in groups])
    x = np.concatenate([g.x.reshape(len(g), -1) for g in groups])
    if subject.described:
        features = np.concatenate([x, classes], 1)
    else:
        features = x[:, -subject.model.held :] if subject.model.held else classes
    if subject.described:
        rng = keyed_rng(seed, "codes")  # words that only the second table holds have the last codes
        for place in subject.unordered:
            held, code = np.unique(features[:, place], return_inverse=True)
            features[:, place] = rng.permutation(len(held))[code]
    used = np.arange(len(features)) < len(subject.members)
    persons = np.unique(np.concatenate([g.persons for g in groups]), return_inverse=True)[1]
    fold = keyed_rng(seed, "folds").permutation(persons.max() + 1)[persons] % 2
    scores = np.empty(len(features))
    for part in (0, 1):
        train = fold != part
        if len(np.unique(used[train])) < 2:
            return True
        forest = RandomForestClassifier(100, min_samples_leaf=5, random_state=0).fit(features[train], used[train])
        said = forest.predict_proba(features[~train])[:, 1]
        scores[~train] = said - said.mean()
    several = len(np.unique(persons)) < len(persons)
    clusters = (persons[used], persons[~used]) if several else None
    found = statistics.auc(scores[used], scores[~used], level=0.99, clusters=clusters)
    return found.low <= 0.5

"""Split learning under attack: what the party without labels learns of them, in every cell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from testbed import judge
from testbed.attacks.registry import find
from testbed.core import Array, Cell, Cohort, Evidence, Guesses, Labels, Threat, Transcript
from testbed.core.randomness import keyed_rng
from testbed.data.cohorts import Source, divide
from testbed.defences import named
from testbed.findings import measures, statistics
from testbed.findings.plan import Plan
from testbed.findings.schema import Estimate, Finding, Utility
from testbed.harness import cells
from testbed.harness.cells import Ask, Judged
from testbed.harness.federation import naive
from testbed.harness.federation.recorded import Truth
from testbed.harness.outcome import Outcome
from testbed.subjects.federation import transcript
from testbed.subjects.federation.split import Joint, SplitLearning
from testbed.subjects.federation.tap import seen_by

GROUPS = ("members", "controls", "auxiliary", "blind")


@dataclass(frozen=True, slots=True)
class SplitTrial:
    """Split learning on the members, and the attacks of the party without labels.

    `blind` are the people on whom the blind cell's training runs. `undefended` is the same training without defences,
    the positive control; None if there are none.
    """

    people: dict[str, Cohort]
    split: SplitLearning
    threat: Threat
    plans: tuple[Plan, ...]
    undefended: SplitLearning | None = None

    @staticmethod
    def groups(source: Source, people: int, seed: int) -> dict[str, Cohort]:
        """As many people in each of `GROUPS`: `people` or, if there are fewer, a quarter of all."""
        each = min(people, len(np.unique(source.people.persons)) // len(GROUPS))
        drawn = divide(source.people, dict.fromkeys(GROUPS, each), keyed_rng(seed, "split learning"))
        return {name: source.people.take(rows) for name, rows in drawn.items()}

    def conduct(self, engine: str, progress: Callable[[str], None]) -> Outcome:
        """The findings of every planned attack, and the AUC with and without the defences."""
        runs: dict[Cell, tuple[SplitLearning, Cohort]] = {
            "true": (self.split, self.people["members"]),
            "blind": (self.split, self.people["blind"]),
        }
        if self.undefended is not None:
            runs["positive"] = self.undefended, self.people["members"]
        views: dict[Cell, Transcript] = {}
        joint: dict[Cell, Joint] = {}
        for cell, (split, people) in runs.items():
            progress(f"split learning: {cell} view on {engine}")
            views[cell], joint[cell] = split.run(people, engine)
        return self.judged(views, joint, progress)

    def judged(
        self,
        views: dict[Cell, Transcript],
        joint: dict[Cell, Joint],
        progress: Callable[[str], None] = lambda _: None,
    ) -> Outcome:
        """The outcome of these recorded views."""
        found: list[Judged] = []
        for plan in self.plans:
            progress(f"attack: {plan.attack}")
            found.append(self._judged(plan, views))
        files = {f"{cell}.transcript": transcript.to_bytes(view) for cell, view in views.items()}
        useful = [self._useful(cell, model) for cell, model in sorted(joint.items()) if cell != "blind"]
        return Outcome(cells.findings(found), cells.evidence_by_key(found), files, utility=useful)

    def _judged(self, plan: Plan, views: dict[Cell, Transcript]) -> Judged:
        members, controls = self.people["members"], self.people["controls"]
        asked = Cohort(*(np.concatenate([getattr(p, n) for p in (members, controls)]) for n in ("x", "y", "persons")))
        used = np.arange(len(asked)) < len(members)
        own = asked.x[:, : self.split.own]
        question = Labels(own, np.where(used, np.arange(len(asked)), -1), self.split.defences)
        plain = replace(question, defences=None)  # the positive control has no defence
        asks: dict[Cell, Ask] = {
            cell: Ask(seen_by(view, self.threat), plain if cell == "positive" else question, self.people["auxiliary"])
            for cell, view in views.items()
        }

        def rows(cell: Cell, claim: Guesses) -> Evidence:
            return judge.feature(claim, asked.y, used, cell, asked.persons)

        def evidence() -> Evidence:
            found = cells.evidence(plan, asks, rows, self.split.seed, naive.threat_of(plan, self.threat))
            if "positive" in views:
                return found
            true = found.where(found.view == "true")
            leaks = Evidence.rows("positive", "used", success=true.cell("true", "used").success)  # it is known to leak
            return Evidence.join(found, leaks)

        judged = cells.attempt(plan, evidence, lambda p, e: _told(measures.rates(p, e)))
        truth = Truth(self.plans, self.threat, self.people["auxiliary"], 0, 2, defences=self.split.defences)
        marked = judged.finding if plan.unaware else naive.marked(judged.finding, find(plan.attack), truth)
        return Judged(plan, marked, judged.evidence)

    def _useful(self, cell: Cell, joint: Joint) -> Utility:
        with_defences = cell == "true" and self.split.defences
        how = f"with {named.text_of(self.split.defences)}" if with_defences else "without a defence"
        tested = self.people["controls"]
        area = auc(joint.predict(tested.x), tested.y)
        return Utility(name=f"AUC on people nobody trained on, {how}", measure=area)


def auc(said: Array, truth: Array) -> Estimate:
    return measures.estimate("auc", statistics.auc(said[truth == 1], said[truth == 0]), "record")


def _told(finding: Finding) -> Finding:
    if not isinstance(finding.measure, Estimate):
        return finding
    got, others, blind = (measures.percent(m) for m in (finding.measure, finding.control, finding.baseline))
    plain = (
        f"The party without labels states the class of {got} of the people correctly on whom both parties train. Of "
        f"people outside, of whom it has the same columns and no gradient, it states {others} correctly. With "
        f"gradients of other people it is {blind}."
    )
    return finding.model_copy(update={"plain": plain})

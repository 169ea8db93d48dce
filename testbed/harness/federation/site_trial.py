"""Site inference under trial: does the released model give away people's hospitals, beyond what their records say?

**The null.** A record by itself says something of its hospital: hospitals see other patients. A model is a function of
the record, so an attacker who holds the model is right at least as often, and no rate above 1 in k is a leak. The null
is therefore a federation that is *told other hospitals*: the same people train under the same rules, but hospitals are
shuffled among people alike, and the attacker still names the true ones. Alike are people of one class for whom a
classifier on records alone, learnt on other people, names the same hospital; so each hospital keeps its number of
people of each kind. Records, people, and what being trained on does to an answer are the same there. What differs is
who was at which hospital, and nothing else.

If the model does not depend on who of people alike was where, the rate under the true model and the rates under
`shuffles` shuffled ones, each with a seed of its own, are draws from one distribution. So the rank of the first among
all is a p-value, (1 + shuffled rates at least as high) / (1 + shuffles), whatever the attack, the model or the records.
It does not ask that the classifier is a good one: a poor one makes groups coarser, so that shuffling also mixes what
hospitals have in common. A difference may then be about hospitals as a whole; people of the same hospitals on whom
nobody trained (the control) show that much, and the excess over them does not hold it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from testbed import judge, models
from testbed.attacks.membership import site_inference
from testbed.attacks.registry import find
from testbed.core import (
    Array,
    Cell,
    Cohort,
    Evidence,
    ModelSpec,
    Origins,
    Predictor,
    Protocol,
    Sources,
    Threat,
    Transcript,
)
from testbed.core.randomness import keyed_rng
from testbed.defences import named
from testbed.findings import measures, statistics
from testbed.findings.plan import Plan
from testbed.findings.schema import Estimate, Finding, Series
from testbed.findings.wording import WHICH_HOSPITAL
from testbed.harness import cells
from testbed.harness.cells import Judged
from testbed.harness.federation.hospital_trial import Hospitals, together
from testbed.harness.model.worth import worth
from testbed.harness.outcome import Outcome
from testbed.models.ensemble import Training, train
from testbed.subjects.federation import transcript
from testbed.subjects.federation.federation import Federation

BY_HEART = Training(epochs=200, batch_size=32, learning_rate=0.05, momentum=0.9)
"""How the positive control learns the hospital of each member, instead of the class."""
WIDE = 256
"""Its hidden neurons, so that it can learn them by heart."""
SURE = 0.05
"""The p-value above which an excess is flagged: shuffled hospitals explain it."""


@dataclass(frozen=True, slots=True)
class SiteTrial:
    """A federation of hospitals, and the attacks of whoever receives its final model.

    `shuffles` are the federations with shuffled hospitals. `undefended` is the same federation without defences, for
    the comparison of utility; None if there are none.
    """

    people: Hospitals
    federation: Federation
    threat: Threat
    plans: tuple[Plan, ...]
    shuffles: int
    undefended: Federation | None = None

    @property
    def site(self) -> Array:
        """The hospital of each member."""
        return _sites(self.people.members)

    def everybody(self) -> tuple[Cohort, Array, Array]:
        """All members and then all controls, with their hospitals, and the half (0 or 1) to which each belongs.

        The attacker knows the hospitals of one half and is asked about the other one, both ways round. Members and
        controls are known in equal numbers: so nothing that the attacker learns fits one group better.
        """
        groups = [*self.people.members, *self.people.controls]
        half = np.concatenate([np.arange(len(g)) % 2 for g in groups])
        return together(groups), np.concatenate([self.site, _sites(self.people.controls)]), half

    def conduct(self, engine: str, progress: Callable[[str], None]) -> Outcome:
        """The findings of every planned attack, of records alone, and the utility with the defences and without."""
        progress(f"federation: true view on {engine}")
        true = released(self.federation.run(self.people.members, engine))
        kinds = self.kinds()
        shuffled: list[Transcript] = []
        moved: list[float] = []
        for number in range(self.shuffles):
            progress(f"federation: hospitals shuffled, {number + 1} of {self.shuffles}")
            view, share = self.shuffled(kinds, number, engine)
            shuffled.append(view)
            moved.append(share)
        progress("the positive control")
        views: dict[Cell, Transcript] = {"true": true, "positive": self.taught()}
        outcome = self.judged(views, shuffled, float(np.mean(moved)), progress)
        useful = {"without a defence": true}
        if self.undefended is not None:
            useful = {
                "without a defence": released(self.undefended.run(self.people.members, engine)),
                f"with {named.text_of(self.federation.defences)}": true,
            }
        tested = {how: predictor(view) for how, view in useful.items()}
        of_use = worth(tested, together(self.people.controls), "people nobody trained on")
        files = {"true.transcript": transcript.to_bytes(true)}
        return replace(outcome, utility=of_use, files=files)

    def kinds(self) -> Array:
        """The kind (n,) of each member: the class, and the hospital that the record alone is likest to."""
        members = together(self.people.members)
        alone = find("site_inference")
        known = together(self.people.auxiliary)
        question = Origins(members, len(self.people.members), known, _sites(self.people.auxiliary))
        params = {"reads": site_inference.RECORDS}
        claim = alone.run(None, question, None, self.federation.seed, self.threat, params)
        return np.asarray(claim.clients) * (int(members.y.max()) + 1) + members.y

    def shuffled(self, kinds: Array, number: int, engine: str) -> tuple[Transcript, float]:
        """The model of the federation whose hospitals are shuffled, and the share of people who changed hospital."""
        members, site = together(self.people.members), self.site
        dealt = dealt_within(site, kinds, keyed_rng(self.federation.seed, "shuffled hospitals", number))
        parts = [members.take(np.flatnonzero(dealt == s)) for s in range(len(self.people.members))]
        seed = int(keyed_rng(self.federation.seed, "shuffled training", number).integers(2**31))
        view = replace(self.federation, seed=seed).run(parts, engine)
        return released(view), float((dealt != site).mean())

    def taught(self) -> Transcript:
        """A model that is known to leak: it learns each member's hospital by heart."""
        members = together(self.people.members)
        shape, _ = models.input_of(self.federation.model)
        spec = ModelSpec("mlp", {"shape": list(shape), "classes": len(self.people.members), "hidden": [WIDE]})
        seed = self.federation.seed
        everybody = np.ones((1, len(members)), bool)
        made = train(lambda: models.build(spec, seed), members.x, self.site, everybody, BY_HEART, seed)
        final = {name: values[0].detach().numpy().copy() for name, values in made.parameters.items()}
        return Transcript((), spec, Protocol(), "recipient", final)

    def judged(
        self,
        views: Mapping[Cell, Transcript],
        shuffled: list[Transcript],
        moved: float,
        progress: Callable[[str], None] = lambda _: None,
    ) -> Outcome:
        """The findings on these models. `moved` is the share of people who changed hospital in a shuffle."""
        alone = self._alone()
        found: list[Judged] = []
        for plan in self.plans:
            progress(f"attack: {plan.attack}, reads {plan.params['reads']}")
            found.append(self._judged(plan, views, shuffled, moved, alone.finding))
        found.append(alone)
        return Outcome(cells.findings(found), cells.evidence_by_key(found))

    def named(self, plan: Plan, view: Any, cell: Cell) -> Evidence:
        """Whether each person's hospital is named correctly by this model."""
        people, site, half = self.everybody()
        said = np.empty(len(people), int)
        for asked in (half == 0, half == 1):
            question = Origins(people.take(asked), len(self.people.members), people.take(~asked), site[~asked])
            attack = find(plan.attack)
            claim = attack.run(view, question, None, self.federation.seed, self.threat, dict(plan.params))
            said[asked] = claim.clients
        used = np.arange(len(site)) < len(self.site)
        return judge.sources(Sources(said), site, used, cell, people.persons)

    def _judged(
        self, plan: Plan, views: Mapping[Cell, Transcript], shuffled: list[Transcript], moved: float, alone: Finding
    ) -> Judged:
        rates: list[float] = []

        def evidence() -> Evidence:
            rows = [self.named(plan, view, "blind") for view in shuffled]
            rates.extend(float(r.cell("blind", "used").success.mean()) for r in rows)
            blind = replace(rows[0], success=np.mean([r.success for r in rows], axis=0))
            return Evidence.join(*(self.named(plan, view, cell) for cell, view in views.items()), blind)

        judged = cells.attempt(plan, evidence)
        if judged.evidence is None:
            return judged
        used = judged.evidence.cell("true", "used")
        p = rank_p(float(used.success.mean()), rates)
        return replace(judged, finding=_told(judged.finding, judged.evidence, p, len(rates), moved, alone))

    def _alone(self) -> Judged:
        """What records say of hospitals without any model: no leak of the training, and it informs."""
        params = {"reads": site_inference.RECORDS}
        plan = replace(self.plans[0], params={**self.plans[0].params, **params}, primary=False, variant="records")
        rows = self.named(plan, None, "true")
        rates = {g: statistics.proportion(c.success, c.cluster) for g, c in _groups(rows, "true").items()}
        got = measures.percent(measures.estimate("rate", rates["used"], plan.unit))
        plain = f"Without any model, a person's record and class alone name the hospital of {got} of the same people."
        finding = measures.diagnostic(plan, rates["used"], rates["unused"], plain)
        return Judged(plan, finding.model_copy(update={"target": f"{WHICH_HOSPITAL}, by records alone"}), rows)


def released(view: Transcript) -> Transcript:
    """What a recipient of the final model has of a federation: no exchange."""
    return replace(view, exchanges=(), asked=(), position="recipient")


def dealt_within(site: Array, kinds: Array, rng: np.random.Generator) -> Array:
    """The hospitals (n,) shuffled among people of the same kind, so that none gains or loses people of a kind."""
    dealt = np.array(site)
    for kind in np.unique(kinds):
        rows = np.flatnonzero(kinds == kind)
        dealt[rows] = rng.permutation(dealt[rows])
    return dealt


def rank_p(rate: float, shuffled: list[float]) -> float:
    """The p-value of a rate among those under shuffled hospitals: its rank from above, over one more than they are."""
    return (1 + sum(s >= rate for s in shuffled)) / (1 + len(shuffled))


def predictor(view: Transcript) -> Predictor:
    """The final model as something that answers with probabilities."""
    assert view.model is not None
    network = models.build(view.model)
    parameters = models.to_tensors(view.final or {}, network)

    def ask(people: Cohort) -> Array:
        with torch.no_grad():
            return torch.func.functional_call(network, parameters, (torch.tensor(people.x),)).softmax(1).numpy()

    return Predictor(ask, models.input_of(view.model)[1])


def _sites(people: list[Cohort]) -> Array:
    return np.repeat(np.arange(len(people)), [len(p) for p in people])


def _groups(evidence: Evidence, view: Cell) -> dict[str, Evidence]:
    return {"used": evidence.cell(view, "used"), "unused": evidence.cell(view, "unused")}


def _told(finding: Finding, evidence: Evidence, p: float, models_: int, moved: float, alone: Finding) -> Finding:
    """The finding with the shuffled models beside it: a sentence, a chart, and flags where they speak against it."""
    blind = _groups(evidence, "blind")
    shuffled = {g: statistics.proportion(c.success, c.cluster) for g, c in blind.items()}
    apart = statistics.excess(shuffled["used"], shuffled["unused"], level=0.99)
    flags = set(finding.validity.flags)
    if apart.low > 0 or apart.high < 0:
        flags.add("split_differs")
    if isinstance(finding.excess, Estimate) and finding.excess.low > 0 and p > SURE:
        flags.add("explained_by_shuffling")
    plain = (
        f"{finding.plain} In {models_} federations, hospitals were shuffled among people alike, so that "
        f"{100 * moved:.0f} % of them trained elsewhere. From those models it is {measures.percent(finding.baseline)} "
        f"of the people trained on; the chance of a rate as high as the one found is {p:.2g} if the model does not "
        "depend on who was where."
    )
    if isinstance(alone.measure, Estimate):
        plain += f" From the records alone it is {measures.percent(alone.measure)}."
    bars = {
        "trained on": finding.measure,
        "not trained on": finding.control,
        "trained on, hospitals shuffled": finding.baseline,
        "not trained on, hospitals shuffled": measures.estimate("rate", shuffled["unused"], "record"),
        "trained on, records alone": alone.measure,
        "not trained on, records alone": alone.control,
    }
    return finding.model_copy(
        update={
            "plain": plain,
            "validity": finding.validity.model_copy(update={"ok": not flags, "flags": sorted(flags)}),
            "series": [*finding.series, _chart({k: m for k, m in bars.items() if isinstance(m, Estimate)})],
        }
    )


def _chart(bars: Mapping[str, Estimate]) -> Series:
    return Series(
        name="Share of people whose hospital is named",
        kind="bars",
        x_label="share of people, with its interval",
        y_label="people and models",
        labels=list(bars),
        x=[m.value for m in bars.values()],
        low=[m.low for m in bars.values()],
        high=[m.high for m in bars.values()],
    )

"""Does training with differential privacy keep its promise? Audited in one run, with canaries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from testbed.cli.script import main
from testbed.core import Array, Cohort, Evidence, ModelSpec
from testbed.core.errors import UsageError
from testbed.core.randomness import keyed_rng
from testbed.data.cohorts import divide, source
from testbed.findings.plan import Plan
from testbed.findings.schema import Finding, ThreatModel
from testbed.harness.dp_audit.one_run import Rules, bound, private_training, seen_at_the_end, seen_throughout, told
from testbed.harness.federation.prepare import about, mlp
from testbed.harness.outcome import Outcome
from testbed.harness.scenario import Scenario, scenario

KINDS = ("gradient", "noise", "mislabelled")
NOT_TESTED = ["several runs", "what a client sends in a federation"]


@dataclass(frozen=True, slots=True)
class Audit:
    """A private training on the people `held`, and on those canaries of `put` that a fair coin `included`.

    `claim` is the epsilon that is said to hold, or 0 for the accountant's.
    """

    spec: ModelSpec
    rules: Rules
    kind: str
    held: Cohort
    put: Cohort
    included: Array
    guesses: int
    claim: float
    seed: int

    def scores(self, rules: Rules) -> tuple[float, dict[str, Array]]:
        """The accountant's epsilon of a training by these rules, and each canary's score by what is seen."""
        if self.kind == "gradient":
            made = private_training(self.spec, self.held, rules, self.seed, len(self.put), self.included)
            return made.epsilon, {"the final model": -made.marks}
        both = ((getattr(self.held, f), getattr(self.put, f)[self.included]) for f in ("x", "y", "persons"))
        made = private_training(self.spec, Cohort(*map(np.concatenate, both)), rules, self.seed)
        return made.epsilon, {
            "every step": seen_throughout(made, self.put, rules),
            "final model alone": seen_at_the_end(made, self.put),
        }

    def conduct(self, engine: str, progress: Callable[[str], None], store: Path | None) -> Outcome:
        """A bound on epsilon for each thing seen, beside one by coins that decided nothing and one without noise."""
        progress("private training")
        stated, scores = self.scores(self.rules)
        claimed = self.claim or stated
        progress("the same without noise")
        broken = self.scores(replace(self.rules, noise=0.0))[1] if self.rules.noise else scores
        included, guesses, delta, canaries = self.included, self.guesses, self.rules.delta, len(self.put)
        others = keyed_rng(self.seed, "other coins").random(canaries) < 0.5
        found: list[Finding] = []
        evidence: dict[str, Evidence] = {}
        for number, seen in enumerate(scores, 1):
            rule = f"TB-EPSILON-{100 + number}"
            plan = Plan(
                rule=rule,
                risk="epsilon",
                attack="one_run_audit",
                metric="epsilon_lower",
                unit="record",
                primary=number == 1,
                target=seen,
            )
            bounds = [
                bound(scores[seen], included, guesses, delta),
                bound(scores[seen], others, guesses, delta),
                bound(broken[seen], included, guesses, delta),
            ]
            found.append(told(plan, bounds, claimed, guesses, canaries, delta))
            evidence[rule] = Evidence.join(
                Evidence.rows("true", "used", score=scores[seen][included], item=np.flatnonzero(included)),
                Evidence.rows("true", "unused", score=scores[seen][~included], item=np.flatnonzero(~included)),
            )
        return Outcome(found, evidence)


@scenario(question="Does this training keep its promise of differential privacy, seen step by step or at its end?")
def training_audit(
    data: str = "support2",
    people: int = 1000,
    canaries: int = 1000,
    kind: str = "gradient",
    guesses: int = 100,
    noise: float = 1.0,
    clip: float = 1.0,
    epochs: int = 10,
    batch: int = 100,
    learning_rate: float = 0.5,
    hidden: int = 32,
    delta: float = 1e-5,
    claim: float = 0.0,
    seed: int = 0,
) -> Scenario:
    """DP-SGD by Opacus on a table and on canaries, each put in by a fair coin.

    `kind` of canary is gradient (one coordinate of the model's gradient, as long as the clipping bound: the worst case
    that the promise covers), noise (records of noise), or mislabelled (real records with a class drawn anew).

    The bound on epsilon holds at 95 % for a number of `guesses` fixed beforehand (Steinke et al. 2023). It stands
    beside the accountant's epsilon (or another `claim`), the largest bound that so many guesses can show, and the same
    audit with the noise switched off. `noise=0` with a claim audits a broken training.
    """
    known = source(data)
    if guesses < 2 or guesses > canaries or people + canaries > len(known.people) or noise < 0 or kind not in KINDS:
        raise UsageError(
            "TB-SCENARIO-011",
            "These parameters make no audit.",
            "Guesses are 2 or more and no more than the canaries; canaries and people are different records.",
            f"Kinds are {', '.join(KINDS)}; {data} has {len(known.people)} records; use fewer canaries or people.",
        )
    rules = Rules(epochs, batch, learning_rate, noise, clip, delta)
    rows = divide(known.people, {"people": people, "canaries": canaries}, keyed_rng(seed, "people"))
    held, put = known.people.take(rows["people"]), known.people.take(rows["canaries"])
    coin = keyed_rng(seed, "canaries")
    put = replace(put, y=coin.integers(0, known.classes, len(put)))
    included = coin.random(len(put)) < 0.5
    if kind == "noise":
        x = held.x.mean(0) + held.x.std() * coin.standard_normal(put.x.shape)
        put = replace(put, x=x.astype(np.float32))
    audit = Audit(mlp(known, hidden), rules, kind, held, put, included, guesses, claim, seed)
    return Scenario(
        about(known, f"{known.title}, trained by DP-SGD with noise {noise:g}", people, "model"),
        ThreatModel(
            position="server",
            malicious=False,
            knows=["architecture", "target_records"],
            access="white",
            sees="the model after every step of training, or its last alone",
            not_tested=NOT_TESTED,
        ),
        audit.conduct,
        engines=("none",),
    )


if __name__ == "__main__":
    main(training_audit)

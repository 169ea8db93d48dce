"""Does a federation whose clients clip and add noise keep its promise to whole clients? Audited in one run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from testbed.cli.script import main
from testbed.core import Cohort, Evidence, Protocol
from testbed.core.errors import UsageError
from testbed.core.randomness import keyed_rng
from testbed.data.cohorts import source
from testbed.findings import measures as findings_
from testbed.findings.plan import Plan
from testbed.findings.schema import Finding, ThreatModel, Validity
from testbed.harness.dp_audit import one_shot
from testbed.harness.dp_audit.one_run import bound, told
from testbed.harness.federation.people import groups
from testbed.harness.federation.prepare import about, mlp
from testbed.harness.federation.trial import by_party
from testbed.harness.outcome import Outcome
from testbed.harness.scenario import Scenario, scenario
from testbed.subjects.federation.federation import Federation

NOT_TESTED = ["clients drawn anew each round", "what the server sees of each client before it sums", "single records"]
SEES = "the first model and the last one, and which directions the canary clients may have sent"
BOUND = Plan(
    rule="TB-EPSILON-201",
    risk="epsilon",
    attack="one_run_audit",
    metric="epsilon_lower",
    unit="client",
    target="the final model",
    primary=True,
)
ESTIMATE = Plan(
    rule="TB-EPSILON-202",
    risk="epsilon",
    attack="one_shot_audit",
    metric="epsilon_lower",
    unit="client",
    primary=False,
    params={},
    target="the final model",
)


@dataclass(frozen=True, slots=True)
class Audit:
    """A federation of clients with these `parts`, whose clients clip and add noise, beside canary clients.

    `claim` is the epsilon that is said to hold, or 0 for the accountant's.
    """

    federation: Federation
    parts: list[Cohort]
    canaries: int
    guesses: int
    noise: float
    clip: float
    delta: float
    claim: float

    def shown(self, noise: float, engine: str) -> one_shot.Shown:
        return one_shot.conduct(self.federation, self.parts, self.canaries, noise, self.clip, engine)

    def conduct(self, engine: str, progress: Callable[[str], None], store: Path | None) -> Outcome:
        """The bound, which decides, and the estimate; both also by coins that decided nothing, and without noise."""
        progress("the federation with its canaries")
        shown = self.shown(self.noise, engine)
        progress("the same without noise")
        broken = self.shown(0.0, engine) if self.noise else shown
        claimed = self.claim or one_shot.accounted(self.noise, self.federation.protocol.rounds, self.delta)
        others = keyed_rng(self.federation.seed, "other coins").random(self.canaries) < 0.5
        whose = [(shown, shown.included), (shown, others), (broken, broken.included)]
        bounds = [bound(s.scores, coins, self.guesses, self.delta) for s, coins in whose]
        decided = told(BOUND, bounds, claimed, self.guesses, self.canaries, self.delta)
        informs = self.estimate([one_shot.Shown(s.scores, coins) for s, coins in whose], claimed)
        rows = Evidence.join(
            Evidence.rows("true", "used", score=shown.scores[shown.included], item=np.flatnonzero(shown.included)),
            Evidence.rows("true", "unused", score=shown.scores[~shown.included], item=np.flatnonzero(~shown.included)),
        )
        return Outcome([decided, informs], {BOUND.rule: rows, ESTIMATE.rule: rows})

    def estimate(self, cells: list[one_shot.Shown], claimed: float) -> Finding:
        """The one-shot estimate of epsilon; the cells are the audit, its control and its positive control."""
        estimates = [one_shot.estimated(cell, self.delta) for cell in cells]
        measures = [findings_.estimate("epsilon_lower", low, "client") for _, low in estimates]
        flags = ["claim_exceeded"] if estimates[0][1].value > claimed else []
        promise = f"the claim is {claimed:.2f}" if np.isfinite(claimed) else "nothing is promised"
        plain = (
            f"Taking scores as normal, epsilon is about {estimates[0][0]:.2f}, and at least {measures[0].value:.2f} "
            f"(delta {self.delta:g}, 95 % sure); {promise}. With the noise switched off it is about "
            f"{estimates[2][0]:.2f}, and about coins that decided nothing {estimates[1][0]:.2f}."
        )
        bare = findings_.unmeasured(ESTIMATE, findings_.NOT_APPLICABLE, self.canaries, self.canaries)
        return bare.model_copy(
            update={
                "measure": measures[0],
                "control": measures[1],
                "positive_control": measures[2],
                "validity": Validity(ok=not flags, flags=flags),
                "plain": plain,
            }
        )


@scenario(question="Does this federation's noise hide whole clients as well as it is said to?", position="server")
def federated_audit(
    data: str = "digits",
    clients: int = 20,
    each: int = 20,
    canaries: int = 200,
    guesses: int = 50,
    rounds: int = 5,
    epochs: int = 1,
    batch: int = 10,
    learning_rate: float = 0.1,
    hidden: int = 32,
    noise: float = 1.0,
    clip: float = 1.0,
    delta: float = 1e-5,
    claim: float = 0.0,
    seed: int = 0,
) -> Scenario:
    """Canary clients send random directions of the clipping bound's length, each by a fair coin (Andrew et al. 2023).

    `noise` is the sum's standard deviation over `clip`; each of the real clients adds its share of it. Two figures,
    beside the accountant's epsilon (or another `claim`): a bound that holds at 95 % for a number of `guesses` fixed
    beforehand (Steinke et al. 2023), and the one-shot estimate, which takes scores to be normal and needs far fewer
    canaries. The unit is the client. `noise=0` with a claim audits a federation whose noise is broken.
    """
    known = source(data)
    people = clients * each
    possible = clients >= 2 and each >= 1 and rounds >= 1 and noise >= 0 and clip > 0 and 0 < delta < 1 and claim >= 0
    if not possible or canaries < 20 or not 2 <= guesses <= canaries:
        raise UsageError(
            "TB-SCENARIO-015",
            "These parameters make no audit.",
            "Canaries are 20 or more, guesses 2 or more and no more than these; there are two clients, and a bound.",
            "Use more canaries, or fewer guesses; delta lies between 0 and 1, and a claim is not below 0.",
        )
    split = groups(known, people, people, people, seed)
    assert isinstance(split.members, Cohort)
    parts = by_party(split.members, np.arange(people) % clients)
    protocol = Protocol("fedavg", batch, epochs, learning_rate=learning_rate, rounds=rounds, clients=clients)
    audit = Audit(Federation(mlp(known, hidden), protocol, seed), parts, canaries, guesses, noise, clip, delta, claim)
    return Scenario(
        about(known, f"{known.title} ({protocol.kind}, {clients} clients, noise {noise:g})", people),
        ThreatModel(
            position="server",
            malicious=False,
            knows=["architecture", "hyper_parameters"],
            access="white",
            sees=SEES,
            not_tested=NOT_TESTED,
        ),
        audit.conduct,
    )


if __name__ == "__main__":
    main(federated_audit)

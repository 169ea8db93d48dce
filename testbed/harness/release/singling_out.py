"""Singling out: does a description formed on the release fit exactly one person of the original?"""

from __future__ import annotations

from dataclasses import replace

from testbed import judge
from testbed.attacks.registry import Attack, find
from testbed.core import Evidence, Fields, Predicates
from testbed.core.randomness import keyed_rng
from testbed.core.tables.index import Index
from testbed.findings import measures as findings_
from testbed.findings.plan import Plan, numbered
from testbed.findings.schema import Unmeasured
from testbed.harness.cells import Judged, planned
from testbed.harness.release.setting import PREDICATES, RECIPIENT, Setting

MARGIN = "half-way to the next released value"


def singling_out(setting: Setting) -> list[Judged]:
    """Findings of both attacks. The univariate one decides if the release gives it enough predicates, else the other.

    How many predicates are asked for does not matter for that.

    The multivariate attack with a margin only informs. It sees through noise that was added to everybody, but finds
    fewer people who are copied unchanged.
    """
    claims: list[tuple[Plan, Attack, list[Predicates]]] = []
    for attack in setting.attacks(Predicates):
        for margin in (0.0, *([attack.traits["margin"]] if attack.traits.get("margin") else [])):
            setting.progress(attack.name + (" with a margin" if margin else ""))
            params = {"margin": margin} if margin else {}
            plan = planned(attack.name, unit="predicate", params=params, target=MARGIN if margin else None)
            plan = replace(plan, rule=numbered(plan.rule, 1)) if margin else plan
            claims.append((plan, attack, _described(setting, attack, params)))
    decides = 0 if claims and _many(setting, claims[0][1], claims[0][2][0]) else 1
    # The indices are made when the attacks have freed theirs: for 1,000,000 rows each takes 400 MB.
    members = Index.of(setting.members)
    controls = None if setting.controls is None else Index.of(setting.controls)
    made = [(plan, *_judged(setting, attack, claim, members, controls)) for plan, attack, claim in claims]
    judged: list[Judged] = []
    for number, (plan, evidence, design) in enumerate(made):
        plan = replace(plan, primary=setting.attack is None and number == decides)
        if not len(evidence.cell("true", "used")):
            why = Unmeasured(unmeasured="no_guess_formed", needs="a release with rows that differ from all others")
            judged.append(Judged(plan, findings_.unmeasured(plan, why, setting.predicates, 0), evidence))
            continue
        finding = findings_.rates(plan, evidence, paired=controls is not None, design=design)
        judged.append(Judged(plan, finding, evidence))
    return judged


def _many(setting: Setting, attack: Attack, claim: Predicates) -> bool:
    """Whether the attack would form enough predicates on the release, had it been asked for the usual number."""
    enough = int(findings_.enough_formed(PREDICATES))
    if setting.predicates < enough:
        question = Fields(setting.release.table.columns, enough)
        claim = attack.run(setting.release, question, None, setting.seed, RECIPIENT)
    return len(claim.conjunctions) >= enough


def _described(setting: Setting, attack: Attack, params: dict[str, float]) -> list[Predicates]:
    """Three lists of claims: on the release, blind (random predicates), and on the subject known to leak."""
    question = Fields(setting.release.table.columns, setting.predicates)
    widths = {k: v for k, v in attack.defaults.items() if k in ("smallest", "largest")}
    return [
        attack.run(setting.release, question, None, setting.seed, RECIPIENT, params),
        find("random_predicates").run(setting.release, question, None, setting.seed, RECIPIENT, widths),
        attack.run(setting.leak, question, None, setting.seed, RECIPIENT, params),
    ]


def _judged(
    setting: Setting, attack: Attack, claims: list[Predicates], members: Index, controls: Index | None
) -> tuple[Evidence, float]:
    """The evidence of all cells, and the design effect of the claims on the release."""
    claim, blind, positive = claims
    wanted, size = setting.predicates, min(members.people, (controls or members).people)
    evidence = Evidence.join(
        judge.predicates(claim, members, controls, "true", wanted),
        judge.predicates(blind, members, None, "blind", wanted, size),
        judge.predicates(positive, members, None, "positive", wanted, size),
    )
    rng = keyed_rng(setting.seed, "relabelling", attack.name)
    return evidence, 1.0 if controls is None else judge.predicates_design(claim, members, controls, rng)

"""Singling out and linkability: a release's attacks in their cells."""

from __future__ import annotations

from testbed import judge
from testbed.attacks.registry import Attack, find
from testbed.core import Evidence, Fields, Predicates
from testbed.core.randomness import keyed_rng
from testbed.core.tables.index import Index
from testbed.findings import measures as findings_
from testbed.findings.plan import Plan
from testbed.findings.schema import Finding, Unmeasured
from testbed.harness.release.setting import RECIPIENT, Setting

# --- singling out ---------------------------------------------------------------------------------------

ASKED = (("singling_out_univariate", 0.0), ("singling_out_multivariate", 0.0), ("singling_out_multivariate", 0.5))
"""The attacks, and from how far towards the next released value their half-lines begin."""


def singling_out(setting: Setting) -> list[Finding]:
    """The univariate attack decides where the release lets it form enough predicates, else the multivariate one.

    With a margin the latter informs: it sees through noise on everybody, and less of people who are copied as they are.
    """
    claims: list[tuple[Attack, float, list[Predicates]]] = []
    for name, margin in ASKED:
        setting.progress(name + (" with a margin" if margin else ""))
        claims.append((find(name), margin, _described(setting, find(name), {"margin": margin} if margin else {})))
    # Made after the attacks have let go of theirs: at 1,000,000 rows each takes 400 MB.
    members = Index.of(setting.members)
    controls = None if setting.controls is None else Index.of(setting.controls)
    made = [(attack, margin, *_judged(setting, attack, made, members, controls)) for attack, margin, made in claims]
    enough = max(findings_.FEW_GUESSES, findings_.enough_formed(setting.predicates))
    first = made[0][2].performed >= enough
    found: list[Finding] = []
    for number, (attack, margin, evidence, design) in enumerate(made, 1):
        plan = Plan(
            rule=f"TB-SINGLING_OUT-{number:03d}",
            risk="singling_out",
            attack=attack.name,
            metric="rate",
            unit="predicate",
            primary=number == (1 if first else 2),
            params=attack.defaults | ({"margin": margin} if margin else {}),
            target="half-way to the next released value" if margin else None,
        )
        setting.evidence[plan.rule] = evidence
        if not len(evidence.cell("true", "used")):
            why = Unmeasured(unmeasured="no_guess_formed", needs="a release with rows that differ from all others")
            found.append(findings_.unmeasured(plan, why, setting.predicates, 0))
            continue
        found.append(findings_.rates(plan, evidence, paired=controls is not None, design=design))
    return found


def _described(setting: Setting, attack: Attack, params: dict[str, float]) -> list[Predicates]:
    """What is claimed of the release, blindly, and of the subject known to leak."""
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
    """The evidence of all cells, and the design effect of the release's."""
    claim, blind, positive = claims
    wanted, size = setting.predicates, min(members.people, (controls or members).people)
    evidence = Evidence.join(
        judge.predicates(claim, members, controls, "true", wanted),
        judge.predicates(blind, members, None, "blind", wanted, size),
        judge.predicates(positive, members, None, "positive", wanted, size),
    )
    rng = keyed_rng(setting.seed, "relabelling", attack.name)
    return evidence, 1.0 if controls is None else judge.predicates_design(claim, members, controls, rng)


# --- linkability ----------------------------------------------------------------------------------------

# pyright: strict
"""The recommendation: the cheapest setting that meets the policy against the strongest attacker run, or why none."""

from __future__ import annotations

from collections.abc import Sequence

from testbed.findings import schema
from testbed.findings.comparison.schema import Leak, Recommendation, Setting
from testbed.findings.comparison.settings import utility_of
from testbed.findings.numbers import number, short
from testbed.findings.policy import Policy
from testbed.findings.schema import Decision, Estimate, Limit, Reason, Unmeasured, Verdict

MOST_NAMES = 6
NAIVE = (
    "Only attackers that do not know the defence were run against it. An attacker that knows it may find more. "
    "What to do: run one that knows it."
)
HEURISTIC = "It gives no formal guarantee. The result holds for the attackers that were run, and for no others."
RULE = "TB-COMPARISON-001"


def recommended(settings: Sequence[Setting], policy: Policy | None, use: str | None) -> tuple[Recommendation, Decision]:
    """The recommendation in words, and the decision: pass if a setting can be chosen, fail if all fail, else review."""
    if policy is None:
        needs = Unmeasured(unmeasured="no_policy", needs="--policy FILE")
        text = "No policy was applied, so no setting is recommended. To decide, name a policy with --policy."
        return Recommendation(text=text), Decision(verdict="none", policy=needs, reasons=[])
    meets = [s for s in settings if s.verdict == "pass" and surely(s)]
    undecided = [s for s in settings if s.verdict == "review" or (s.verdict == "pass" and not surely(s))]
    if meets:
        verdict, chosen = _cheapest(meets, undecided, policy, use, len(settings))
    elif undecided:
        verdict, chosen = "review", Recommendation(text=_undecided(undecided, policy, len(settings)))
    else:
        verdict, chosen = "fail", Recommendation(text=_none(settings, policy))
    reason = Reason(rule=RULE, verdict=verdict, text=" ".join([chosen.text, *chosen.cautions]))
    return chosen, Decision(verdict=verdict, policy=schema.Policy(id=policy.id, sha256=policy.sha256), reasons=[reason])


def surely(setting: Setting) -> bool:
    """Is every bound below its limit even when corrected for the number of settings?"""
    limited = [(k.upper, k.limit.excess) for k in setting.leaks if isinstance(k.limit, Limit)]
    return all(upper is not None and upper < limit for upper, limit in limited)


def _cheapest(
    meets: Sequence[Setting], undecided: Sequence[Setting], policy: Policy, use: str | None, tests: int
) -> tuple[Verdict, Recommendation]:
    useful = [(s, u) for s in meets if (u := utility_of(s, use)) is not None]
    if len(useful) < len(meets) and len(meets) > 1:
        text = (
            f"{len(meets)} of {tests} settings meet the policy {policy.id}: {_names(meets)}. Which of them costs least "
        )
        text += (
            "cannot be told, because their utility was not measured. What to do: measure it, or let a person choose."
        )
        return "review", Recommendation(text=text)
    chosen = max(useful, key=lambda pair: pair[1].value)[0] if useful else meets[0]
    text = _chosen(chosen, len(meets), tests, policy, use)
    cautions = _cautions(chosen)
    own = utility_of(chosen, use)
    if own is not None:
        alike = [s for s, u in useful if s is not chosen and u.high >= own.low]
        if alike:
            cautions.append(f"Equally useful, as far as these runs can tell, and within the policy: {_names(alike)}.")
        better = [s for s in undecided if (u := utility_of(s, use)) is not None and u.value > own.value]
        if better:
            cautions.append(f"More useful, but it could not be decided whether they meet the policy: {_names(better)}.")
    naive = not all(p.adaptive for p in chosen.protections)
    return ("review" if naive else "pass"), Recommendation(setting=chosen.name, text=text, cautions=cautions)


def _chosen(chosen: Setting, meets: int, tests: int, policy: Policy, use: str | None) -> str:
    which = "the only setting" if meets == 1 else f"the cheapest of {meets} settings"
    text = f"{chosen.name} is {which} of {tests} tested" if meets == 1 else f"{chosen.name} is {which}"
    text += f" that meet{'s' if meets == 1 else ''} the policy {policy.id} against the strongest attacker run. "
    text += " ".join(_found(k, tests) for k in chosen.leaks)
    own = utility_of(chosen, use)
    if own is None:
        return f"{text} What it costs was not measured."
    text += f" Utility ({use}): {short(own)}."
    cost = next((u.cost for u in chosen.utility if u.name == use), None)
    if isinstance(cost, Estimate):
        text += f" That is {number(cost.value, 'excess')} less than under {chosen.reference}"
        text += f" (between {number(cost.low, 'excess')} and {number(cost.high, 'excess')})."
    elif chosen.reference == chosen.name:
        text += " It needs no defence against the attackers that were run."
    return text


def _found(leak: Leak, tests: int) -> str:
    risk = leak.risk.replace("_", " ")
    if not isinstance(leak.excess, Estimate) or not isinstance(leak.limit, Limit) or leak.upper is None:
        return f"On {risk}, {leak.attack} finds no reason to stop."
    together = f" for all {tests} settings together" if tests > 1 else ""
    return (
        f"On {risk}, {leak.attack} has an excess of {number(leak.excess.value, 'excess')}, and with 95 % confidence"
        f"{together} at most {number(leak.upper, 'excess')}. The limit is {number(leak.limit.excess, 'excess')}."
    )


def _cautions(chosen: Setting) -> list[str]:
    found: list[str] = []
    if not all(p.adaptive for p in chosen.protections):
        found.append(NAIVE)
    if chosen.protections and not any(p.guarantee == "formal" for p in chosen.protections):
        found.append(HEURISTIC)
    return found


def _undecided(undecided: Sequence[Setting], policy: Policy, tests: int) -> str:
    text = f"It cannot be told whether one of the {tests} settings meets the policy {policy.id}. "
    text += f"Undecided: {_names(undecided)}. "
    first = undecided[0]
    if first.verdict == "pass":
        return (
            f"{text}By itself {first.name} is within the limits, but not with a bound that holds for all {tests} "
            "settings together. What to do: run more replicates, or fewer settings."
        )
    why = first.reasons[0] if first.reasons else "a deciding attack was not measured."
    return f"{text}{first.name}: {why}"


def _none(settings: Sequence[Setting], policy: Policy) -> str:
    text = f"None of the {len(settings)} settings tested meets the policy {policy.id} against the strongest attacker "
    text += "run."
    worst = [(over, s.name, said) for s in settings for over, said in [_furthest(s)] if said]
    if worst:
        _, name, said = min(worst)
        text = f"{text} The nearest is {name}: {said}."
    return f"{text} What to do: try other defences or stronger ones, and do not release as it is."


def _furthest(setting: Setting) -> tuple[float, str]:
    """How far the worst lower bound of a setting is above its limit, and the sentence that says so."""
    worst, said = -2.0, ""
    for leak in setting.leaks:
        if isinstance(leak.excess, Estimate) and isinstance(leak.limit, Limit):
            over = leak.excess.low - leak.limit.excess
            if over > worst:
                worst = over
                said = f"on {leak.risk.replace('_', ' ')}, {leak.attack} has an excess of at least "
                said += f"{number(leak.excess.low, 'excess')}, and the limit is {number(leak.limit.excess, 'excess')}"
    return worst, said


def _names(settings: Sequence[Setting]) -> str:
    names = [s.name for s in settings]
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return "; ".join(names[:MOST_NAMES]) + more

"""The text rule: does the release hold texts of single people, more of members' than of controls'?

It looks three times, and the looks share the level. The first is for sequences of words: a note with a word in eighteen
changed shares most runs of five words with the note it was made from, and no exact comparison sees it. The second is
for words in any order (`text_order`): a note with its sentences or clauses moved shares most words. The third is for
letters in any order: a note with a slip in most words, or with umlauts written over, shares most runs of four letters.

All tests are exact. A run, or a released text, counts for one person of original and control pooled. So if the
generator remembers nobody, the people whose texts are released are as often members as chance draws.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from testbed.core import Array
from testbed.data.tables.free_text import RUNS, Bags, FreeText
from testbed.findings import measures as findings_
from testbed.findings import statistics
from testbed.findings.plan import Plan
from testbed.findings.schema import Finding, Validity
from testbed.harness.release.copy_rule import COPY_P
from testbed.harness.release.setting import Setting
from testbed.harness.release.text_order import moved

TRIED = ((5, 1), (5, 3), (5, 10), (12, 1), (12, 3))
"""Words of a run, and the own runs from which a person counts as reproduced. All are tried, and the p-value is
multiplied by their number."""
How = Literal["runs", "words", "letters"]
"""The looks: at runs of words, at words in any order, and at runs of letters in any order."""
SUSPECT_P = 0.01
"""Below this level a person must look at the texts."""


def copied_texts(setting: Setting) -> list[Finding]:
    """One finding for each column of free text. Without a control it is only said how many people's runs are there."""
    if setting.texts:
        setting.progress("free text")
    members = len(np.unique(setting.members.persons))
    controls = 0 if setting.controls is None else len(np.unique(setting.controls.persons))
    return [_finding(text, members, controls, len(setting.texts)) for text in setting.texts]


def _finding(text: FreeText, members: int, controls: int, columns: int) -> Finding:
    plan = Plan(
        rule="TB-COPYING-003",
        risk="copying",
        attack="copied_word_sequences",
        metric="rate",
        unit="person",
        primary=True,
        target=text.name,
    )
    p, (used, unused), how = all_looks(text, members, controls)
    p *= columns  # Bonferroni: each column may be copied
    measure = statistics.wilson(used, members)
    beside = statistics.wilson(unused, controls) if controls else None
    flags = [] if not controls else ["copied"] if p < COPY_P else ["copies_suspected"] if p < SUSPECT_P else []
    finding = findings_.diagnostic(plan, measure, beside, _told(text.name, flags, used, controls, how))
    return finding.model_copy(
        update={
            "attack": finding.attack.model_copy(update={"requested": members, "performed": members}),
            "validity": Validity(ok=bool(controls) and not flags, flags=flags + ([] if controls else ["no_control"])),
        }
        | ({} if controls else {"control": findings_.NO_CONTROL, "excess": findings_.NO_CONTROL})
    )


def all_looks(text: FreeText, members: int, controls: int) -> tuple[float, tuple[int, int], How]:
    """The p-value, the members and controls counted, and which look is the most certain one."""
    counts = own_runs(text, members, controls)
    p, (words, least) = least_probable(counts, controls > 0)
    used, unused = (int((c >= least).sum()) for c in counts[words])
    found: list[tuple[float, tuple[int, int], How]] = [(p, (used, unused), "runs")]
    if controls:
        looks: tuple[tuple[Mapping[str, Bags], How], ...] = (text.bags, "words"), (text.letters, "letters")
        for bags, how in looks:
            if bags:
                one = moved(bags["original"], bags["synthetic"], bags["control"], members, controls)
                found.append((one.p_value, (one.members, one.controls), how))
    p, people, how = min(found, key=lambda one: one[0])
    return min(1.0, len(found) * p), people, how


def own_runs(text: FreeText, members: int, controls: int) -> dict[int, tuple[Array, Array]]:
    """For each member and each control: how many released runs only that person's texts hold, by the words of a run."""
    groups = [text.original] + ([text.control] if text.control is not None else [])
    words, run = (np.concatenate([getattr(g, part) for g in groups]) for part in ("words", "run"))
    person = np.concatenate([g.person + i * members for i, g in enumerate(groups)])
    _, place, times = np.unique(run, return_inverse=True, return_counts=True)
    own = (times[place] == 1) & np.isin(run, text.synthetic.run)
    counts = {n: np.bincount(person[own & (words == n)], minlength=members + controls) for n in RUNS}
    return {n: (count[:members], count[members:]) for n, count in counts.items()}


def least_probable(counts: dict[int, tuple[Array, Array]], controlled: bool) -> tuple[float, tuple[int, int]]:
    """The p-value over all that is tried, and the words and the number of runs whose own p-value is the smallest."""
    if not controlled:
        return 1.0, TRIED[-1]
    tried: list[tuple[float, tuple[int, int]]] = []
    for words, least in TRIED:
        members, controls = counts[words]
        used, unused = int((members >= least).sum()), int((controls >= least).sum())
        p = statistics.labels_by_chance(used, used + unused, len(members), len(controls))
        tried.append((p, (words, least)))
    p, chosen = min(tried, key=lambda both: both[0])
    return min(1.0, p * len(TRIED)), chosen


def _told(name: str, flags: list[str], used: int, controls: int, look: How) -> str:
    what = f"sequences of words in {name!r} that stand in one person's text alone"
    if look != "runs":
        what = f"texts in {name!r} that have, in any order, the {look} of one person's text rather than anybody else's"
    if "copied" in flags:
        how = {"runs": "small changes", "words": "their parts moved", "letters": "another spelling"}[look]
        return (
            f"The release holds {what}. It holds more of the original's people than of the control's, beyond chance. "
            f"Texts were copied with {how}."
        )
    if flags:
        return (
            f"The release holds {what}, somewhat more often for people of the original than for people of the control. "
            "A person must look at these texts."
        )
    if not controls:
        whose = "some people's" if used else "nobody's"
        return f"The release repeats {whose} long sequences of words in {name!r}. Without a control this may be chance."
    return (
        f"The release holds no more sequences of words in {name!r} of single people of the original than chance "
        "explains, and no more texts made of their words in another order or spelling."
    )

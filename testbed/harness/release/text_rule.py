"""The text rule: does the release hold word sequences of single people, more of members' than of controls'?

A note of somebody with a word in eighteen changed shares most runs of five words with the note it was made from, and
no exact comparison sees it. The test is exact: each run counts for one person of original and control pooled, so if
the generator remembers nobody, the people whose runs are released are as often members as chance draws.
"""

from __future__ import annotations

import numpy as np

from testbed.core import Array
from testbed.data.tables.free_text import RUNS, FreeText
from testbed.findings import measures as findings_
from testbed.findings import statistics
from testbed.findings.plan import Plan
from testbed.findings.schema import Finding, Validity
from testbed.harness.release.copy_rule import COPY_P
from testbed.harness.release.setting import Setting

TRIED = ((5, 1), (5, 3), (5, 10), (12, 1), (12, 3))
"""Words of a run, and the own runs from which a person counts as reproduced. All are tried, and the p-value is
multiplied by their number."""
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
    counts = own_runs(text, members, controls)
    p, (words, least) = least_probable(counts, controls > 0)
    p *= columns  # Bonferroni: each column may be copied
    used, unused = (int((c >= least).sum()) for c in counts[words])
    measure = statistics.wilson(used, members)
    beside = statistics.wilson(unused, controls) if controls else None
    flags = [] if not controls else ["copied"] if p < COPY_P else ["copies_suspected"] if p < SUSPECT_P else []
    finding = findings_.diagnostic(plan, measure, beside, _told(text.name, flags, used, controls))
    return finding.model_copy(
        update={
            "attack": finding.attack.model_copy(update={"requested": members, "performed": members}),
            "validity": Validity(ok=bool(controls) and not flags, flags=flags + ([] if controls else ["no_control"])),
        }
        | ({} if controls else {"control": findings_.NO_CONTROL, "excess": findings_.NO_CONTROL})
    )


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


def _told(name: str, flags: list[str], used: int, controls: int) -> str:
    where = f"in {name!r}"
    if "copied" in flags:
        return (
            f"The release holds sequences of words {where} that stand in one person's text alone. It holds more of the "
            "original's people than of the control's, beyond chance. Texts were copied with small changes."
        )
    if flags:
        return (
            f"The release holds sequences of words {where} that stand in one person's text alone, somewhat more often "
            "for people of the original than for people of the control. A person must look at these texts."
        )
    if not controls:
        what = "some people's" if used else "nobody's"
        return f"The release repeats {what} long sequences of words {where}. Without a control this may be chance."
    return (
        f"The release holds no more sequences of words {where} of single people of the original than chance explains."
    )

"""Defences of a synthetic table: what attackers find who know them, and who do not, and what they cost.

python benchmarks/released_tables.py [SEEDS]
Heart, three groups of 306 people, independent marginals with a fifth of the rows copied from the original: unchanged,
or with one column taken from another row. Membership is the rate of members found at 10 % false positives, by
nearer_than_reference with half of the controls as its reference: the mean over the seeds, with its 95 % t interval.
`copies` and `near` count the seeds in which the copy rule and the near-copy rule fail the release. `marginals` is the
mean over columns of 1 minus the distance between released and real values. Each seed has other people.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from testbed.attacks.registry import find
from testbed.core import Array, Records, Release
from testbed.core.randomness import keyed_rng
from testbed.core.tables.neighbours import nearest
from testbed.core.tables.scale import Scale
from testbed.data import load_table
from testbed.data.splits import split_people
from testbed.data.tables.encode import Frames, encode
from testbed.defences import named
from testbed.defences.tables import drafted
from testbed.findings.assemble import environment
from testbed.harness.release.copies import copies
from testbed.harness.release.defended import beside, defended
from testbed.harness.release.near_copies import near_copies
from testbed.harness.release.setting import RECIPIENT, Targets
from testbed.harness.release.utility import likeness
from testbed.subjects.synthesis import synthesise
from testbed.subjects.synthesis.planted import planted

EXACT = ["none", "rounding:5", "rounding:20", "significant_digits:1", "bands:20", "suppress:30", "near_copy_filter"]
EXACT += ["near_copy_filter:0.5", "private_synthesis:1"]
ROWS = [("exact", d) for d in EXACT]
ROWS += [("one_changed", d) for d in ("none", "near_copy_filter")]
FPR, PLANTED, CAUGHT = 0.1, 0.2, 0.001
Groups = dict[str, pd.DataFrame]


def groups(seed: int) -> Groups:
    parts = split_people(load_table("heart"), dict.fromkeys(("original", "control", "outside"), 1 / 3), "id", seed)
    return {name: part.drop(columns="id").reset_index(drop=True) for name, part in parts.items()}


def released(people: Groups, plant: str, defence: str, seed: int) -> Any:
    """The defended table, made from the original under a defence."""
    original, outside = people["original"], people["outside"]
    chosen = named.configured(defence)
    if chosen and chosen[0].where == "generator":
        made = chosen[0].build(seed)(original, len(outside), outside)
        chosen = chosen[1:]
    else:
        made = synthesise("independent_marginals", original, len(original), keyed_rng(seed, "generator"))
        made = planted(made, original, PLANTED, keyed_rng(seed, "planted"), plant)
    return defended(drafted(made, original, outside), chosen)


def found(original: pd.DataFrame, release: pd.DataFrame, control: pd.DataFrame, seed: int) -> float:
    """The rate of members found at 10 % false positives."""
    coded = encode(original, release, control)
    assert coded.control is not None
    order = keyed_rng(seed, "halves").permutation(len(control))
    asked, reference = (coded.control.take(half) for half in np.array_split(order, 2))
    targets = Targets.draw(coded.original, asked, len(original), keyed_rng(seed, "targets"))
    attack = find("nearer_than_reference")
    scores = attack.run(Release(coded.synthetic), Records(targets.table), reference, seed, RECIPIENT).values
    used, others = scores[targets.used], scores[~targets.used]
    return float((used > np.quantile(others, 1 - FPR)).mean())


def columns_of(shown: Frames) -> Any:
    """Each column with its released and its real values."""
    return zip(shown.synthetic.columns, shown.synthetic.values, shown.original.values, strict=True)


def row(plant: str, defence: str, seed: int) -> dict[str, float]:
    people = groups(seed)
    original, control = people["original"], people["control"]
    made = released(people, plant, defence, seed)
    knows = made.alike(original), made.alike(control)
    coded = encode(original, made.release, control)
    assert coded.control is not None
    shown = beside(made.release, control)
    return {
        "knows": found(knows[0], made.release, knows[1], seed),
        "naive": found(original, made.release, control, seed),
        "copies": copies(coded.synthetic, coded.original, coded.control).p_value < CAUGHT,
        "near": near_copies(coded.synthetic, coded.original, coded.control, seed).p_value < CAUGHT,
        "rows": len(made.release) / len(original),
        "marginals": float(np.mean([likeness(c.kind, *pair) for c, *pair in columns_of(shown)])),
    }


def traces(quantile: float, seed: int) -> Array:
    """What the filter itself tells: two shares of members, each followed by that of controls.

    The first are people near whom no released row lies, by the filter's distance as people outside show it. The second
    are people whose rows the filter drops if they are handed in as rows of a release, among rows of people outside.
    """
    people = groups(seed)
    original, control, outside = (people[n] for n in ("original", "control", "outside"))
    text = f"near_copy_filter:{quantile}"
    made = released(people, "exact", text, seed)
    coded = encode(pd.concat([original, control]), made.release, outside)
    assert coded.control is not None
    scale, strangers = Scale.of(coded.synthetic), coded.original.take(np.arange(len(original), len(coded.original)))
    limit = np.quantile(nearest(coded.control, strangers, scale, 0)[1][:, 0], quantile)
    alone = nearest(coded.original, coded.synthetic, scale, 0)[1][:, 0] >= limit
    dropped: list[float] = []
    for asked in (original.head(100), control.head(100)):
        draft = drafted(pd.concat([asked, outside], ignore_index=True), original, outside)
        kept = defended(draft, named.configured(text)).release
        dropped.append(1 - len(asked.drop_duplicates().merge(kept.drop_duplicates())) / len(asked.drop_duplicates()))
    return np.array([alone[: len(original)].mean(), alone[len(original) :].mean(), *dropped])


def told(values: list[float]) -> str:
    mean = float(np.mean(values))
    more = float(stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return f"{mean:.0%} ({max(mean - more, 0):.0%} to {min(mean + more, 1):.0%})"


def main(seeds: int) -> None:
    machine, started = environment(), time.process_time()
    print(f"{machine.system}, {machine.cores} cores, Python {machine.python}, {machine.packages}, {seeds} seeds")
    heading = f"{'plant':12} {'defence':28} {'who knows it':18} {'who does not':18} {'copies':>7} {'near':>5}"
    print(f"{heading} {'rows':>5} marginals")
    for plant, defence in ROWS:
        every = [row(plant, defence, seed) for seed in range(seeds)]
        columns = {name: [one[name] for one in every] for name in every[0]}
        rates = " ".join(f"{told(columns[name]):18}" for name in ("knows", "naive"))
        rules = f"{sum(columns['copies']):>5.0f}/{seeds} {sum(columns['near']):>3.0f}/{seeds}"
        kept = f"{np.mean(columns['rows']):>5.0%} {np.mean(columns['marginals']):.2f}"
        print(f"{plant:12} {defence:28} {rates} {rules} {kept}", flush=True)
    print("\nwhat the filter itself tells of members, and of controls")
    for quantile in (0.05, 0.5):
        alone, beside, dropped, other = np.mean([traces(quantile, seed) for seed in range(seeds)], axis=0)
        print(f"near_copy_filter:{quantile:<5} no released row near: {alone:.0%}, {beside:.0%}", flush=True)
        print(f"{'':22} dropped if handed in: {dropped:.0%}, {other:.0%}", flush=True)
    print(f"{time.process_time() - started:.0f} CPU s")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)

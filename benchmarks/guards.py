"""How often guards are wrong over 1,000 honest rounds and more, and how often they notice who is malicious.

python benchmarks/guards.py [SETTING ...]

Thresholds were chosen by looking at `mlp-digits` alone. The other settings have other networks, other data or both.
Compared with: the same servers when they hide from the guards, and what they then still read.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from testbed.core import ModelSpec, Unavailable
from testbed.core.guard import Guard
from testbed.data.cohorts import Source, source
from testbed.defences.guards import registry
from testbed.findings import statistics
from testbed.findings.assemble import environment
from testbed.harness.federation.disguises import following, hidden_by, lawful, mixed, partly
from testbed.harness.federation.guard_figures import attackers, side_against
from testbed.harness.federation.guarded import Attacked, Setting, Watched, watch

SHORT, LONG = (50, 10), (13, 40)
"""Honest federations and their rounds; two clients of each are watched."""
EACH = 10
"""Federations for each attack."""
HIDING = {
    "imprint, 16 bins": Attacked("imprint", {"bins": 16}),
    "imprint, 8 bins": Attacked("imprint", {"bins": 8}),
    "imprint, 4 bins": Attacked("imprint", {"bins": 4}),
    "imprint, mixed rows, moving": Attacked("imprint", {"bins": 64}, hidden_by(mixed, following)),
    "imprint, 8 bins, mixed, moving": Attacked("imprint", {"bins": 8}, hidden_by(mixed, following)),
    "imprint, an eighth, lawful, moving": Attacked(
        "imprint", {"bins": 64}, hidden_by(partly(1 / 8), lawful, following)
    ),
    "imprint, nothing crafted": Attacked("imprint", {"bins": 64}, hidden_by(partly(0), lawful, following)),
    "trap_weights, moving": Attacked("trap_weights", {}, following),
    "trap_weights, half, moving": Attacked("trap_weights", {}, hidden_by(partly(1 / 2), following)),
    "trap_weights, a quarter, lawful, moving": Attacked(
        "trap_weights", {}, hidden_by(partly(1 / 4), lawful, following)
    ),
    "trap_weights, an eighth, lawful, moving": Attacked(
        "trap_weights", {}, hidden_by(partly(1 / 8), lawful, following)
    ),
    "trap_weights, nothing crafted": Attacked("trap_weights", {}, partly(0)),
}
"""Servers that know the guards; where nothing is crafted, they read what an honest model shows anyway."""


def settings() -> dict[str, Setting]:
    digits, heart, mnist = source("digits"), source("heart"), source("mnist5k")

    def spec(factory: str, known: Source, **arguments: object) -> ModelSpec:
        return ModelSpec(factory, {"shape": list(known.shape), "classes": known.classes, **arguments})

    return {
        "mlp-digits": Setting(digits, spec("mlp", digits, hidden=[64])),
        "mlp-heart": Setting(heart, spec("mlp", heart, hidden=[128, 48])),
        "cnn-digits": Setting(digits, spec("cnn", digits, channels=[8, 16])),
        "vit-digits": Setting(digits, spec("vit", digits, patch=2, width=32)),
        "mlp-mnist5k": Setting(mnist, spec("mlp", mnist, hidden=[256, 64])),
    }


def rate(alarms: np.ndarray) -> str:
    """A share of rounds with its 95 % interval, as if rounds were independent."""
    found = statistics.wilson(float(alarms.sum()), len(alarms))
    return f"{100 * found.value:5.1f} % ({100 * found.low:.1f} to {100 * found.high:.1f})"


def false_alarms(setting: Setting, guards: Sequence[Guard]) -> Watched:
    for label, (federations, rounds) in (("short", SHORT), ("long", LONG)):
        seen = watch(replace(setting, rounds=rounds), guards, federations, 1)
        for side in ("client", "server"):
            ours = [g for g in guards if g.side == side]
            every = seen.alarms(ours)
            touched = len(np.unique(every.federation[every.values > 0]))
            single = {g.name: seen.signals[g.name].alarms(g.threshold) for g in ours}
            worst = max(single, key=lambda name: single[name].mean())
            print(
                f"  honest, {label:5} any guard of the {side}: {rate(every.values)} of {len(every.values)} rounds, in "
                f"{touched} of {federations} federations; most by {worst}: {rate(single[worst])}",
                flush=True,
            )
    return seen


def noticed(setting: Setting, guards: Sequence[Guard], words: str, attacked: Attacked, honest: Watched) -> None:
    ours = [g for g in guards if g.side == side_against(attacked)]
    try:
        seen = watch(setting, ours, EACH, 2, attacked)
    except Unavailable as why:
        print(f"  {words:40} does not apply ({why.code})", flush=True)
        return
    every = seen.alarms(ours)
    areas = {}
    for g in ours:
        pair = [np.clip(np.nan_to_num(w.signals[g.name].values, nan=-1e30), -1e30, 1e30) for w in (seen, honest)]
        areas[g.name] = statistics.auc(*pair).value
    best = max(areas, key=lambda name: areas[name])
    by = {g.name: seen.signals[g.name].alarms(g.threshold).mean() for g in ours}
    told = ", ".join(f"{name} {100 * share:.0f}" for name, share in sorted(by.items(), key=lambda b: -b[1]) if share)
    read = ""
    if seen.read is not None:
        picked, luck = seen.read.picked, seen.read.by_luck
        kept = picked * seen.answered(ours)
        read = f"; reads {100 * picked.mean():.1f} % (luck {100 * luck.mean():.1f}), of guarded {100 * kept.mean():.1f}"
    first = every.values[every.round == 1].mean()
    print(
        f"  {words:40} {rate(every.values)}, first round {100 * first:.0f} %{read}; "
        f"AUC {best} {areas[best]:.3f}; {told}",
        flush=True,
    )


def main() -> None:
    machine = environment()
    print(f"{machine.system}, {machine.cores} cores, Python {machine.python}, {machine.packages}")
    guards = [g() for g in registry.guards() if g.name != "model_consistency"]  # it needs a notice board
    for name, setting in settings().items():
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        started = time.process_time()
        print(f"{name}: {setting.spec.factory}", flush=True)
        honest = false_alarms(setting, guards)
        for words, attacked in {**attackers(setting.clients), **HIDING}.items():
            noticed(setting, guards, words, attacked, honest)
        print(f"  {time.process_time() - started:.0f} CPU s")


if __name__ == "__main__":
    main()

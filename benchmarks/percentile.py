"""What NVIDIA FLARE's percentile filter leaves of a batch of one, by reader: the table in docs/defences.md.

Digits, a fully connected network 64-128-10, one local step on one record, 40 people (seed 0). The filter works on the
change of the weights, so a small learning rate keeps more numbers below its limit. A record is identified if its
reconstruction is nearer to it than to 999 other people's. The readers:

    naive     the record by total least squares, as if there were no filter
    largest   the row of weights of the neuron whose bias moved most
    whole     the same, among neurons of which no number stands at the limit
    knows     a record that fits all bounds that the filter leaves, as in the attack `analytic_linear`

Usage: python benchmarks/percentile.py
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from testbed import judge, models
from testbed.attacks.inversion.analytic_linear import consistent, solve
from testbed.core import Array, Cohort, ModelSpec, Reconstruction
from testbed.core.defence import Defence, before
from testbed.core.randomness import keyed_rng
from testbed.data.cohorts import source
from testbed.defences import named
from testbed.findings.assemble import environment
from testbed.harness.federation.people import groups
from testbed.subjects.federation.local import gradient

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.conformance.defences import sends, update_of

PEOPLE, LINE_UP, HIDDEN, SEED = 40, 1000, 128, 0
SETTINGS = (
    (0.01, "percentile"),
    (0.1, "percentile"),
    (1.0, "percentile"),
    (0.1, "percentile:90"),
    (1.0, "percentile:90"),
)
AT_THE_LIMIT = 0.01 * (1 - 1e-4)
Reader = Callable[[Array, Array, Array], Array | None]


def naive(sent: Array, low: Array, high: Array) -> Array | None:
    return solve(sent[:, :-1], sent[:, -1])


def largest(sent: Array, low: Array, high: Array) -> Array | None:
    neuron = sent[np.abs(sent[:, -1]).argmax()]
    return neuron[:-1] / neuron[-1] if neuron[-1] else None


def whole(sent: Array, low: Array, high: Array) -> Array | None:
    uncut = sent[(np.abs(sent) < AT_THE_LIMIT).all(1)]
    return largest(uncut, low, high) if len(uncut) else None


READERS: dict[str, Reader] = {
    "naive": naive,
    "largest": largest,
    "whole": whole,
    "knows": consistent,
}


def filtered(defence: Defence, spec: ModelSpec, record: Cohort, rate: float) -> dict[str, Array]:
    """The change of the weights by one step on this record, as it leaves the client."""
    model = models.build(spec, SEED)
    moved = gradient(model, torch.tensor(record.x), torch.tensor(record.y))
    return update_of(sends(defence, {k: np.float32(-rate) * g.numpy() for k, g in moved.items()}))


def layer(update: dict[str, Array]) -> Array:
    weight, bias = list(update.values())[:2]
    return np.column_stack([weight, bias]).astype(float)


def main() -> None:
    machine = environment()
    print(f"{machine.system}, Python {machine.python}, {machine.packages}, seed {SEED}; median PSNR")
    known = source("digits")
    split = groups(known, PEOPLE, 0, 0, SEED)
    people, others = split.members, split.decoys
    assert isinstance(people, Cohort)
    assert isinstance(others, Cohort)
    line_up = judge.LineUp(others.take(keyed_rng(SEED, "line-up").permutation(len(others.y))[: LINE_UP - 1]))
    spec = ModelSpec("mlp", {"shape": list(known.shape), "classes": known.classes, "hidden": [HIDDEN]})
    print(f"{'learning rate':>13}  {'filter':14}" + "".join(f"{name:>22}" for name in READERS) + "   cosine")
    truth = {(1, n): people.take(np.array([n])) for n in range(PEOPLE)}
    for rate, text in SETTINGS:
        defences = named.configured(text)
        claims: dict[str, dict[tuple[int, int], Array]] = {name: {} for name in READERS}
        cosines: list[float] = []
        for key, record in truth.items():
            update = filtered(defences[0], spec, record, rate)
            plain = filtered(named.configured("clip:1e9")[0], spec, record, rate)
            flat, other = (np.concatenate([v.ravel() for v in u.values()]).astype(float) for u in (update, plain))
            cosines.append(float(flat @ other / np.linalg.norm(flat) / np.linalg.norm(other)))
            bounds = before(defences, update)
            assert bounds is not None
            for name, reader in READERS.items():
                found = reader(layer(update), layer(dict(bounds[0])), layer(dict(bounds[1])))
                if found is not None:
                    claims[name][key] = found.reshape(1, *known.shape)
        told = ""
        for batches in claims.values():
            rows = judge.reconstruction(Reconstruction(batches), truth, line_up, "true", "used")
            decibels = np.median(np.nan_to_num(np.asarray(rows.score, float), nan=0.0))
            told += f"{100 * np.mean(rows.success):9.0f} % {min(decibels, 120):7.1f} dB"
        print(f"{rate:13g}  {text:14}{told}   {np.median(cosines):.3f}", flush=True)


if __name__ == "__main__":
    main()

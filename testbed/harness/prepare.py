"""What the federated scenarios share: people divided, a federation prepared, its outcome for the report."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from testbed.attacks.kit import keyed_rng
from testbed.core import Array, Cohort, ModelSpec, Reconstruction, Split
from testbed.data.cohorts import Source, divide
from testbed.federation.partition import partition
from testbed.federation.run import Defence
from testbed.harness import truth
from testbed.harness.federation import Trial, assess
from testbed.report import results, schema
from testbed.scenario import Outcome, Scenario

ATTACKER_RECORDS = 200
"""Auxiliary records that an attacker holds at least."""


def groups(source: Source, members: int, controls: int, auxiliary: int, seed: int) -> Split:
    """Members, controls and auxiliary people drawn at random; everybody else stands in line-ups."""
    rows = divide(
        source.people,
        {"members": members, "controls": controls, "auxiliary": auxiliary},
        keyed_rng(seed, "people"),
    )
    taken = {k: source.people.take(v) for k, v in rows.items()}
    persons = np.concatenate([p.persons for p in taken.values()])
    rest = np.flatnonzero(~np.isin(source.people.persons, persons))
    rest = keyed_rng(seed, "decoys").permutation(rest)
    return Split(taken["members"], taken["controls"], taken["auxiliary"], None, source.people.take(rest))


def even_parties(members: int, clients: int) -> Array:
    """Each client the same number of members, so that every one has a full batch in every round."""
    return np.arange(members) % clients


def sited(source: Source, split: Split, kind: str, clients: int, alpha: float, seed: int) -> tuple[Split, Array | None]:
    """Members with a client each, and the natural sites of the controls; people of smaller sites are left out."""
    members, controls = split.members, split.controls
    assert isinstance(members, Cohort)
    assert isinstance(controls, Cohort)
    if kind != "site" or source.sites is None:
        party = partition(kind, members.y, clients, keyed_rng(seed, "partition"), alpha=alpha)
        return Split(members, controls, split.auxiliary, party, split.decoys), None
    site_of = dict(zip(source.people.persons.tolist(), source.sites.tolist(), strict=True))
    both = np.concatenate([members.persons, controls.persons])
    party = partition(
        "site",
        np.concatenate([members.y, controls.y]),
        clients,
        keyed_rng(seed, "partition"),
        sites=np.array([site_of[p] for p in both.tolist()]),
    )
    mine, theirs = party[: len(members)], party[len(members) :]
    kept = Split(
        members.take(np.flatnonzero(mine >= 0)),
        controls.take(np.flatnonzero(theirs >= 0)),
        split.auxiliary,
        mine[mine >= 0],
        split.decoys,
    )
    return kept, theirs[theirs >= 0]


def mlp(source: Source, hidden: int) -> ModelSpec:
    return ModelSpec("mlp", {"shape": list(source.shape), "classes": source.classes, "hidden": [hidden]})


def cnn(source: Source) -> ModelSpec:
    return ModelSpec("cnn", {"shape": list(source.shape), "classes": source.classes, "channels": [8, 16]})


def defended(name: str, noise: float, clip: float) -> Defence | None:
    """The defence of a scenario's parameters; noise asks for the Gaussian one."""
    if name == "none" and noise == 0:
        return None
    if name in ("none", "gaussian"):
        return Defence("gaussian", {"noise": noise, "clip": clip})
    return Defence(name)


def prepared(
    source: Source,
    trial: Trial,
    sees: str,
    not_tested: list[str],
    utility: Callable[[Any], list[schema.Utility]] = lambda _: [],
) -> Scenario:
    """The scenario of a trial, with its report's facts."""
    subject = schema.Subject(
        type="federation",
        name=f"{source.title} ({trial.federation.protocol.kind})",
        data_class=results.data_class(source.data_class),
        licence=source.licence,
        size_band=results.size_band(len(trial.split.members)),
    )
    threat = schema.ThreatModel(
        position=trial.threat.position,
        malicious=trial.threat.malicious,
        knows=sorted(trial.threat.knows),
        access=trial.threat.access,
        sees=sees,
        not_tested=not_tested,
    )

    def conduct(engine: str, progress: Callable[[str], None], store: Path | None) -> Outcome:
        recorded = trial.record(engine, progress, store)
        assessed = assess(recorded, progress=progress)
        described = {"subject": subject.model_dump(), "threat": threat.model_dump()}
        pictures = [
            picture
            for rule, claim in assessed.claims.items()
            if len(source.shape) == 3 and (picture := _picture(rule, claim, recorded, source)) is not None
        ]
        return Outcome(
            assessed.findings,
            assessed.evidence,
            truth.files(recorded, described),
            pictures if source.data_class != "real" else [],
            utility(recorded),
        )

    return Scenario(
        subject, threat, conduct, [_described(trial.federation.defence)] if trial.federation.defence else []
    )


def _described(defence: Defence) -> schema.Defence:
    """A client-side defence for the report, with the epsilon of one round where a bound holds."""
    from testbed.defences.gaussian import epsilon_per_round

    why = schema.Unmeasured(unmeasured="no_guarantee", needs="a defence with a differential-privacy accountant")
    epsilon: schema.Measure = why
    if defence.name == "gaussian" and (bound := epsilon_per_round(defence.params["noise"])) is not None:
        epsilon = schema.Estimate(
            metric="epsilon_lower",
            value=bound,
            low=bound,
            high=bound,
            level=1.0,
            method="gaussian mechanism",
            unit="run",
            n=1,
        )
    return schema.Defence(name=defence.name, params=dict(defence.params), epsilon=epsilon)


def _picture(rule: str, claim: Reconstruction, recorded: Any, source: Source, most: int = 8) -> schema.Picture | None:
    """Records above, their reconstructions below, in the order that the judge matched them."""
    from testbed import judge

    above: list[Array] = []
    below: list[Array] = []
    for key, people in recorded.truth.batches["true"].items():
        rebuilt = claim.batches.get(key)
        if rebuilt is None or len(above) >= most:
            continue
        for record, guess in judge.pairs(rebuilt, people):
            above.append(record)
            below.append(np.clip(guess, 0, 1))
    if not above:
        return None
    rows = [np.concatenate(row[:most], axis=2) for row in (above, below)]
    sheet = np.concatenate(rows, axis=1).transpose(1, 2, 0)
    caption = f"{rule}: records that clients used (above) and what the attacker rebuilt of them (below)."
    return schema.Picture(caption=caption, licence=f"Licence of the data: {source.licence}.", png_base64=_png(sheet))


def _png(picture: Array, enlarged: int = 4) -> str:
    """A picture (height, width, channels) in [0, 1] as PNG, each pixel enlarged, without metadata."""
    from PIL import Image

    pixels = (np.clip(picture, 0, 1) * 255).astype(np.uint8).repeat(enlarged, 0).repeat(enlarged, 1)
    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()

"""What the conformance suite asks of defences of tables: a planted leak, and an attacker who knows the defence."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd

from testbed.attacks.registry import find
from testbed.core import Records, Release
from testbed.core.defence import Draft
from testbed.core.randomness import keyed_rng
from testbed.data.tables.encode import encode
from testbed.defences import named
from testbed.defences.tables import drafted
from testbed.findings import statistics
from testbed.harness.release.defended import defended
from testbed.harness.release.setting import RECIPIENT, Targets
from tests.conftest import thirds

PLANTED = 0.3
PEOPLE = 300


@cache
def _tables() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """A release with copies of members, the members and the controls, with dates, times and codes beside."""
    people = thirds(PEOPLE, seed=5)
    parts = people.leaky(PLANTED), people.original, people.control

    def more(frame: pd.DataFrame) -> pd.DataFrame:
        day = pd.to_datetime(frame["pressure"].mul(60).astype(int), unit="D").dt.strftime("%Y-%m-%d")
        code = frame["diagnosis"] + frame["age"].astype(int).astype(str)
        time = [f"{7 + minute // 60:02d}:{minute % 60:02d}" for minute in frame["pressure"].mul(4).astype(int)]
        return frame.assign(seen=day, code=code, time=time)

    return tuple(more(part) for part in parts)  # type: ignore[return-value]


def leaky_draft() -> Draft:
    release, original, control = (part.copy() for part in _tables())
    return drafted(release, original, control)


@cache
def presence(defence: str) -> float:
    """AUC of an attacker on membership who knows this defence. Half of the controls are the attacker's reference."""
    draft = leaky_draft()
    made = defended(draft, named.configured(defence))
    coded = encode(made.alike(draft.original), made.release, made.alike(draft.control))
    assert coded.control is not None
    asked, reference = (coded.control.take(np.arange(*ends)) for ends in ((0, PEOPLE // 2), (PEOPLE // 2, PEOPLE)))
    targets = Targets.draw(coded.original, asked, PEOPLE, keyed_rng(3, "targets"))
    attack = find("nearer_than_reference")
    scores = attack.run(Release(coded.synthetic), Records(targets.table), reference, 0, RECIPIENT).values
    return statistics.auc(scores[targets.used], scores[~targets.used]).value

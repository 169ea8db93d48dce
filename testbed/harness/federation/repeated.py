# pyright: strict
"""A positive control under the defence itself: one record is sent many times, and the answers are averaged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from testbed.core import Cohort, Evidence, Exchange, Transcript
from testbed.core.defence import Defence
from testbed.findings import statistics

if TYPE_CHECKING:  # a replay reads the control's transcript, and needs no Flower
    from testbed.subjects.federation.federation import Federation

REPEATS = 100
"""Times that each client sends its one record. The mean has a tenth of the noise of one answer."""
STANDING = 1e-12
"""The server's learning rate. It is so small that the model, and so a record's gradient, does not change."""
AVERAGED = "averaged_under_the_defence"
"""Key in an exchange's config: the number of answers of which its answer is the mean."""


def possible(positive: Federation, defences: tuple[Defence, ...]) -> bool:
    """Can this control be made? Only from gradients of single records: weights change with the model between rounds."""
    return (
        any(d.where != "rules" for d in defences)
        and positive.protocol.kind == "fedsgd"
        and positive.protocol.batch_size == 1
    )


def beside(
    undefended: Transcript, positive: Federation, defences: tuple[Defence, ...], people: Sequence[Cohort], engine: str
) -> Transcript:
    """The undefended transcript with one more exchange for each client: the mean of its answers under the defence."""
    rules = replace(positive.protocol, rounds=REPEATS, learning_rate=STANDING, server=None, server_rate=None)
    acting = tuple(d for d in defences if d.where != "rules")  # these would change the rounds and the batch of one
    seen = replace(positive, protocol=rules, defences=acting).run(only_one(people), engine)
    last = max((e.round for e in undefended.exchanges), default=0) + 1
    means = [_mean([e for e in seen.exchanges if e.client == c], last) for c in range(len(people))]
    return replace(undefended, exchanges=(*undefended.exchanges, *(m for m in means if m is not None)))


def only_one(people: Sequence[Cohort]) -> list[Cohort]:
    """Each client's first record."""
    return [p.take(np.arange(1)) for p in people]


def _mean(exchanges: Sequence[Exchange], round_: int) -> Exchange | None:
    answers = [e.returned for e in exchanges if e.returned is not None]
    if not answers:
        return None
    mean = {k: np.mean([a[k] for a in answers], axis=0, dtype=np.float64).astype(np.float32) for k in answers[0]}
    config = {AVERAGED: len(answers)}
    return Exchange(round_, exchanges[0].client, exchanges[0].sent, mean, config=config)


def under_defence(view: Transcript | None) -> list[tuple[int, int]]:
    """The exchanges of a positive cell that are means of many answers under the defence."""
    return [e.key for e in view.exchanges if AVERAGED in e.config] if view is not None else []


def decided(rows: Mapping[bool, Evidence], control: Evidence) -> tuple[Evidence, str, bool]:
    """The positive control, a sentence about it, and whether the attack succeeds there under the defence.

    `rows` are those with (True) and without (False) the defence.

    It is the control with the defence, if the attack succeeds there more often than on the `control`. Else, for example
    because the defence leaves nothing of an update, it is the one without the defence, and the sentence says so.
    """
    found = statistics.proportion(rows[True].success, rows[True].cluster)
    others = statistics.proportion(control.success, control.cluster) if len(control) else statistics.wilson(0, found.n)
    told = f"one record that is sent {REPEATS} times under the same defence, the answers averaged"
    if statistics.excess(found, others).low > 0:
        return rows[True], f" The positive control is {told}.", True
    return rows[False], f" The attack does not find {told}. So the positive control has no defence.", False

"""The positive control of a federation: one that is known to leak, on which every attack must succeed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from testbed import models
from testbed.core import Cohort
from testbed.subjects.federation.federation import Federation


@dataclass(frozen=True, slots=True)
class Leaky:
    """A federation known to leak, on `members` of the trial's members and its first `clients` clients; None means all.

    With `by_heart` all people have random classes, which a model can fit only by memorising them.
    """

    federation: Federation
    members: int | None = None
    clients: int | None = None
    by_heart: bool = False

    def parties(self, parts: list[Cohort], rng: np.random.Generator) -> list[Cohort]:
        """The clients' records, drawn from those of the trial's own clients: at least one record each."""
        share = 1.0 if self.members is None else self.members / sum(map(len, parts))
        few = [p.take(np.sort(rng.permutation(len(p))[: max(1, round(len(p) * share))])) for p in parts]
        return [self.known(p, rng) for p in few][: self.clients]

    def known(self, people: Cohort, rng: np.random.Generator) -> Cohort:
        """The people as this federation knows them: with random classes if they are learnt by heart."""
        if not self.by_heart:
            return people
        classes = models.input_of(self.federation.model)[1]
        return Cohort(people.x, rng.integers(0, classes, len(people)).astype(people.y.dtype), people.persons)

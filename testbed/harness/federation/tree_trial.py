"""A federation of boosted trees under attack."""

from __future__ import annotations

from collections.abc import Mapping

from testbed.core import Cell, Cohort, Threat, Transcript
from testbed.defences import named
from testbed.findings import statistics
from testbed.findings.measures import estimate
from testbed.findings.schema import Utility
from testbed.harness.federation.hospital_trial import HospitalTrial, together
from testbed.harness.federation.recorded import Key
from testbed.subjects.federation.trees import TreeFederation, predictions


class TreeTrial(HospitalTrial[TreeFederation]):
    """A federation of trees under attack. It is asked about the people behind each client's first trees."""

    __slots__ = ()

    def behind(self, view: Transcript, people: list[Cohort], threat: Threat) -> dict[Key, Cohort]:
        first: dict[int, Key] = {}
        for exchange in view.exchanges:
            if exchange.client not in threat.nodes:
                first.setdefault(exchange.client, exchange.key)
        return {key: people[key[1]] for key in sorted(first.values())}

    def useful(self, views: Mapping[Cell, Transcript]) -> list[Utility]:
        """The AUC on people nobody trained on, of the last model with the defences and without any."""
        tested = together(self.people.controls)
        cells: dict[Cell, str] = {"true": "without a defence"}
        if self.federation.defences:
            cells = {"positive": "without a defence", "true": f"with {named.text_of(self.federation.defences)}"}
        return [
            Utility(name=f"AUC on people nobody trained on, {how}", measure=auc(views[cell], tested))
            for cell, how in cells.items()
        ]


def auc(view: Transcript, tested: Cohort):
    said = predictions(view.final, tested.x)
    return estimate("auc", statistics.auc(said[tested.y == 1], said[tested.y == 0]), "record")

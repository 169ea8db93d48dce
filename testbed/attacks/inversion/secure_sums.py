"""Attacks of a malicious server on secure aggregation: unmasking clients, or suppressing all clients but one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from testbed.attacks.inversion.updates import first_linear_names
from testbed.attacks.registry import attack, find
from testbed.core import Act, Batch, Cohort, ModelSpec, Parameters, Reconstruction, Transcript


def unmask(question: Batch, auxiliary: Cohort, rng: np.random.Generator, model: ModelSpec) -> Act:
    """Claims that every living client also dropped out, to receive shares of both its secrets."""
    return Act(unmask=True)


@attack(
    subject="transcript",
    rule="TB-RECONSTRUCTION-105",
    risk="reconstruction",
    claim=Reconstruction,
    needs={"architecture"},
    position="server",
    reference="https://arxiv.org/abs/1611.04482",
    act=unmask,
    uses={"auxiliary"},
    suits="sums",
    sums=True,
)
def secagg_unmasking(
    view: Transcript, question: Batch, auxiliary: Cohort | None, rng: np.random.Generator, *, reader: str = "spear"
) -> Reconstruction:
    """Restore each client's masks from shares of both its secrets, and read its update with the attack `reader`.

    Threat model: a malicious server under secure aggregation that sends inconsistent lists of clients that dropped out;
    Bonawitz et al. 2017 add a consistency round against this. The update is exact, except for the protocol's rounding.
    Clients that check the lists (the defence consistent_unmasking) give no shares, and nothing is claimed.
    """
    return _read(reader, view, question, auxiliary, rng)


def suppress(question: Batch, auxiliary: Cohort, rng: np.random.Generator, model: ModelSpec, *, target: int = 0) -> Act:
    """Sends every client except the target a model whose first layer is never active."""
    width = math.prod(question.shape)

    def craft(round_: int, client: int, parameters: Parameters) -> Parameters:
        if client == target:
            return parameters
        weight, bias = first_linear_names(parameters, width)
        silent = np.full_like(parameters[bias], -1.0)
        return {**parameters, weight: np.zeros_like(parameters[weight]), bias: silent}

    return Act(None, craft, {"target": np.array([target])})


@attack(
    subject="transcript",
    rule="TB-RECONSTRUCTION-106",
    risk="reconstruction",
    claim=Reconstruction,
    needs={"architecture"},
    position="server",
    reference="https://arxiv.org/abs/2111.07380",
    act=suppress,
    uses={"auxiliary"},
    suits="sums",
    sums=True,
)
def model_inconsistency(
    view: Transcript, question: Batch, auxiliary: Cohort | None, rng: np.random.Generator, *, reader: str = "spear"
) -> Reconstruction:
    """Read the target's gradient of the first layer from the sum, in which all other clients' gradients of it are zero.

    Threat model: a malicious server under secure aggregation that sends clients different models (Pasquini et al.
    2022, gradient suppression). Neurons of a ReLU layer that are never active have no gradient. The sum's gradient of
    this layer is therefore the target's own, times the target's weight in the sum. The attack `reader` reads it.
    """
    return _read(reader, view, question, auxiliary, rng)


def _read(name: str, view: Transcript, question: Batch, auxiliary: Cohort | None, rng: np.random.Generator) -> Any:
    if all(e.returned is None for e in view.exchanges):
        return Reconstruction({})
    reader = find(name)
    return reader.read(view, question, auxiliary, rng, **reader.defaults)

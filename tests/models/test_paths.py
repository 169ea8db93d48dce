"""Each model follows from its own records and its own number, whichever way it is trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from testbed.core import Unavailable
from testbed.core.errors import UsageError
from testbed.models.ensemble import Training, train
from tests.models.test_ensemble import CLASSES, FEATURES, RULES, Odd, data, mlp, normalised


class ByBatch(nn.Module):
    """Normalises by its batch in its own way, which no type of layer tells."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(FEATURES, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made = self.layer(x)
        return made - made.mean(0)


def batch_normalised() -> nn.Module:
    return nn.Sequential(nn.Linear(FEATURES, 8), nn.BatchNorm1d(8, track_running_stats=False), nn.Linear(8, CLASSES))


def dropping() -> nn.Module:
    return nn.Sequential(nn.Linear(FEATURES, 8), nn.Dropout(0.5), nn.Linear(8, CLASSES))


@pytest.mark.parametrize("build", [ByBatch, batch_normalised, dropping])
def test_nobody_elses_record_and_no_other_model_touches_a_model(build: Callable[[], nn.Module]) -> None:
    x, y, included = data(models=4)
    included[:, 0] = False
    made = train(build, x, y, included, RULES, 7)
    assert made.path == "loop"
    changed = x.copy()
    changed[0] += 10
    assert made.parameters.keys() == train(build, changed, y, included, RULES, 7).parameters.keys()
    for other in (train(build, changed, y, included, RULES, 7), train(build, x, y, included, RULES, 7, memory=1)):
        assert all(torch.equal(made.parameters[k], v) for k, v in other.parameters.items())


def test_batches_of_one_train_where_a_model_can_take_them_and_are_refused_where_none_can() -> None:
    x, y, included = data(models=2)
    one = Training(2, 1, 0.05)
    looped = train(Odd, x, y, included, one, 7, path="loop")
    assert looped.outputs(x) == pytest.approx(train(Odd, x, y, included, one, 7, path="vmap").outputs(x), abs=1e-4)
    with pytest.raises(Unavailable, match="single_records"):
        train(normalised, x, y, included, one, 7)


def test_a_cache_that_cannot_be_written_is_told_before_anything_is_trained(tmp_path: Path) -> None:
    x, y, included = data()
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UsageError, match="TB-ENSEMBLE-004"):
            train(mlp, x, y, included, RULES, 7, cache=folder)

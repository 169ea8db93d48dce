"""Local steps: the same as Torch's own, to the byte, and without the import of its compiler."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from testbed.subjects.federation.local import Descent


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_the_steps_are_those_of_torch_to_the_byte(momentum: float) -> None:
    drawn = torch.Generator().manual_seed(3)
    start = [torch.randn(shape, generator=drawn) for shape in ((40, 7), (40,), (3,))]
    own, torchs, unused = ([torch.nn.Parameter(v.clone()) for v in start] for _ in range(3))
    steps = Descent(own, 0.07, momentum), torch.optim.SGD(torchs, lr=0.07, momentum=momentum)
    for _ in range(20):
        for one, other in zip(own[:2], torchs[:2], strict=True):  # the third parameter is not trained
            one.grad = torch.randn(one.shape, generator=drawn)
            other.grad = one.grad.clone()
        for optimizer in steps:
            optimizer.step()
    assert [p.detach().numpy().tobytes() for p in own] == [p.detach().numpy().tobytes() for p in torchs]
    assert torch.equal(own[2], unused[2])
    assert not torch.equal(own[0], unused[0])


TRAINED = """
import sys
import numpy as np
from testbed import models
from testbed.core import Cohort, ModelSpec, Protocol
from testbed.subjects.federation.local import local_update

spec = ModelSpec("mlp", {"shape": [3], "classes": 2, "hidden": [4]})
people = Cohort(np.zeros((8, 3), np.float32), np.zeros(8, np.int64), np.arange(8).astype(str))
local_update(spec, models.get_parameters(models.build(spec, 1)), people, Protocol("fedavg", 4), [np.arange(4)])
print("torch._dynamo" in sys.modules)
"""


def test_a_client_that_trains_does_not_load_torchs_compiler() -> None:
    done = subprocess.run([sys.executable, "-c", TRAINED], capture_output=True, text=True, timeout=240, check=True)
    assert done.stdout.strip() == "False"

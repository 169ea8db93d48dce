"""Ensembles: many networks of one architecture trained at once, as shadow and reference models.

Their parameters are stacked, so that one step of an optimiser is a step of all networks. There are three ways. Fully
connected networks use one batched matrix product a layer. Other networks whose output for a record depends only on that
record use `torch.func.vmap`. All others (with batch statistics or dropout) are trained one after the other. All three
ways train the same models, apart from the order of sums.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from testbed.core import Array, Unavailable
from testbed.core.errors import UsageError
from testbed.core.executor import IN_TURN, Spread
from testbed.core.private_files import writable
from testbed.core.randomness import keyed_rng
from testbed.models.paths import NORMALISED, called, path_for
from testbed.models.stacked import Descent, Outputs, losses, matrix

Path_ = Literal["auto", "matrix", "vmap", "loop"]
TRAINED = 3
"""The version of the training code: raised when equal rules give other models, so that old caches are not used."""
MEMORY = 2**29
"""The largest memory, in bytes, of parameters, gradients and optimiser states of all models trained at once."""


@dataclass(frozen=True, slots=True)
class Training:
    """The rules by which each model is trained. Raises `UsageError` for values with which nothing can be trained."""

    epochs: int = 20
    batch_size: int = 32
    learning_rate: float = 0.1
    optimizer: str = "sgd"
    momentum: float = 0.0
    weight_decay: float = 0.0
    schedule: str = "constant"
    """`constant`, or `cosine`: the learning rate rises in the first hundredth of all steps, and then falls with
    cos(7 pi progress / 16), as in the code of LiRA's authors."""

    def rate(self, progress: float) -> float:
        """The factor of the learning rate when this share of all steps is done."""
        if self.schedule == "constant":
            return 1.0
        return math.cos(progress * 7 * math.pi / 16) * min(1.0, 100 * progress)

    def __post_init__(self) -> None:
        wrong = self.epochs < 1 or self.batch_size < 1 or not self.learning_rate > 0
        unknown = self.optimizer not in ("sgd", "adam", "adamw") or self.schedule not in ("constant", "cosine")
        if wrong or unknown:
            raise UsageError(
                "TB-TRAINING-001",
                "No model can be trained by these rules.",
                "Epochs and batch size must be 1 or more, the learning rate positive, the optimiser sgd, adam or adamw,"
                " and the schedule constant or cosine.",
                "Use the rules with which the audited model was trained.",
            )


@dataclass(frozen=True, slots=True)
class Ensemble:
    """Trained networks: stacked parameters (models, ...) by name, and buffers, if they were trained one by one."""

    network: nn.Module
    parameters: dict[str, Tensor]
    buffers: dict[str, Tensor]
    path: str

    def __len__(self) -> int:
        return len(next(iter(self.parameters.values())))

    def outputs(self, x: Array, at_once: int = 1024) -> Array:
        """The outputs of each network, (models, n, outputs), in evaluation mode; `at_once` records at a time."""
        self.network.eval()
        device = next(iter(self.parameters.values())).device
        parts: list[Tensor] = []
        with torch.no_grad():
            for start in range(0, len(x), at_once):
                part = torch.tensor(x[start : start + at_once], device=device)
                parts.append(self._answers(part).cpu())
        return torch.cat(parts, 1).numpy()

    def state(self, number: int) -> dict[str, Tensor]:
        """The parameters and buffers of one network."""
        return {k: v[number] for k, v in (self.parameters | self.buffers).items()}

    def _answers(self, x: Tensor) -> Tensor:
        if self.path == "matrix":
            return matrix(self.network, self.parameters, x.flatten(1).expand(len(self), -1, -1))
        if self.path == "vmap":
            return torch.func.vmap(partial(called, self.network), in_dims=(0, None))(self.parameters, x)
        singly = [called(self.network, self.state(i), x) for i in range(len(self))]
        return torch.stack(singly)


def train(
    build: Callable[[], nn.Module],
    x: Array,
    y: Array,
    included: Array,
    training: Training,
    seed: int,
    *,
    outputs: Outputs = "logits",
    path: Path_ = "auto",
    device: str = "cpu",
    cache: Path | None = None,
    memory: int = MEMORY,
    start: Mapping[str, Tensor] | None = None,
    progress: Callable[[int, int], None] = lambda _, __: None,
    spread: Spread = IN_TURN,
) -> Ensemble:
    """An ensemble with one network for each row of `included` (models, n), trained on the records (n, ...) it marks.

    A model's initial weights and order of records depend only on `seed` and its own number, not on the other models.
    With `start`, all models begin with these parameters.

    As many models are trained at once as fit into `memory` bytes; `spread` may train several such parts in parallel.
    With a `cache` folder, each part is stored under a digest of everything that it depends on: an interrupted run can
    continue, and other data or rules never reuse its models. Its parameters are the data and rules of one ensemble, and
    how this machine is to train it. Raises `UsageError` if the cache cannot be written, `Unavailable` if a model cannot
    be trained on such batches.
    """
    network = build()
    chosen = path_for(network, x) if path == "auto" else path
    longest = int(included.sum(1).max())
    size = sum(p.numel() for p in network.parameters()) * 4 * 5
    at_once = max(1, min(-(-len(included) // spread.workers), memory // max(1, size))) if chosen != "loop" else 1
    work = _Work(build, x, y, included, training, seed, outputs, chosen, device, longest, start)
    ranges = [range(i, min(i + at_once, len(included))) for i in range(0, len(included), at_once)]
    if cache:
        writable(cache)
    kept = {r: cache / f"{work.digest(r)}.safetensors" for r in ranges} if cache else {}
    made = {r: held for r, file in kept.items() if (held := _cached(file)) is not None}
    missing = [r for r in ranges if r not in made]
    if made:
        progress(sum(map(len, made)), len(included))
    for number, part in spread(_part, work, missing):
        numbers = missing[number]
        made[numbers] = part
        if file := kept.get(numbers):
            file.parent.mkdir(parents=True, exist_ok=True)
            unfinished = file.with_suffix(".part")
            save_file({k: v.contiguous() for k, v in part.items()}, unfinished)
            unfinished.chmod(0o600)
            unfinished.replace(file)
        progress(sum(map(len, made)), len(included))
    parts = [made[r] for r in ranges]
    stacked = {k: torch.cat([p[k] for p in parts]).to(device) for k in parts[0]}
    names, buffers = ({n for n, _ in held} for held in (network.named_parameters(), network.named_buffers()))
    return Ensemble(
        network.to(device),
        {k: v for k, v in stacked.items() if k in names},
        {k: v for k, v in stacked.items() if k in buffers},
        chosen,
    )


def _cached(file: Path) -> dict[str, Tensor] | None:
    """The models stored in a file, or None if there is no file or it is damaged; they are then trained again."""
    try:
        return load_file(file) if file.is_file() else None
    except (SafetensorError, OSError):
        return None


@dataclass(frozen=True, slots=True)
class _Work:
    """The arguments that all parts of an ensemble share; `longest` is the largest number of training records."""

    build: Callable[[], nn.Module]
    x: Array
    y: Array
    included: Array
    training: Training
    seed: int
    outputs: Outputs
    path: str
    device: str
    longest: int
    start: Mapping[str, Tensor] | None

    def digest(self, numbers: range) -> str:
        """A digest of everything that this part depends on: code, architecture, data, membership, rules and numbers.

        The architecture enters by its description, its first weights, and its outputs with them.
        """
        first = _networks(self.build, self.seed, numbers[:1], self.start)[0].eval()
        with torch.no_grad():
            answers = first(torch.tensor(self.x[:4]))
        rest = (self.seed, numbers[0], self.longest, self.outputs)
        text = (
            metadata.version("leakage-testbed"),
            TRAINED,
            torch.__version__,
            repr(first),
            asdict(self.training),
            *rest,
        )
        digest = hashlib.sha256(repr(text).encode())
        state = (t.numpy() for t in (*first.state_dict().values(), answers))
        for values in (self.x, self.y, self.included[numbers], *state):
            digest.update(f"{values.dtype}{values.shape}".encode() + np.ascontiguousarray(values).tobytes())
        return digest.hexdigest()[:32]


def _part(work: _Work, numbers: range) -> dict[str, Tensor]:
    """The trained parameters and buffers of the models with these numbers, stacked, on the CPU."""
    training, seed, outputs, device, longest = work.training, work.seed, work.outputs, work.device, work.longest
    networks = _networks(work.build, seed, numbers, work.start)
    members = [np.flatnonzero(work.included[i]) for i in numbers]
    records, labels = torch.tensor(work.x, device=device), torch.tensor(work.y, device=device)
    if work.path == "loop":
        # A single record has no variance, so batch normalisation cannot use it.
        alone = int(any(isinstance(m, NORMALISED) for m in networks[0].modules()))
        for network, rows, number in zip(networks, members, numbers, strict=True):
            stepped = not len(rows)
            network.to(device).train()
            optimizer = _optimizer(list(network.parameters()), training)
            pace = _pace(optimizer, training, longest)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(int(keyed_rng(seed, "noise", number).integers(2**62)))
                for index, _ in _batches([rows], [number], training, seed, longest):
                    keep = torch.from_numpy(index[0][index[0] >= 0]).to(device)
                    optimizer.zero_grad(set_to_none=False)
                    if len(keep) > alone:
                        losses(network(records[keep]), labels[keep], outputs).mean().backward()
                        stepped = True
                    optimizer.step()
                    pace.step()
            if not stepped:
                raise Unavailable("single_records", "batches of two records or more, which the model normalises by")
        return {k: torch.stack([n.state_dict()[k].detach().cpu() for n in networks]) for k in networks[0].state_dict()}
    stacked: dict[str, Tensor] = {}
    for name, _ in networks[0].named_parameters():
        values = torch.stack([dict(n.named_parameters())[name].detach() for n in networks]).to(device)
        if work.path == "matrix" and values.ndim == 3:
            # The layout in which the product's gradient arrives; otherwise it is copied in every step.
            values = values.mT.contiguous().mT
        stacked[name] = values
    network = networks[0].to(device).train()
    if work.path == "matrix" and training.optimizer == "sgd" and training.momentum == 0:
        _descend(work, network, stacked, members, numbers)
        return {k: v.cpu() for k, v in stacked.items()}
    learnt = [stacked[name].requires_grad_() for name, p in network.named_parameters() if p.requires_grad]
    forward = (
        partial(matrix, network, stacked)
        if work.path == "matrix"
        else partial(torch.func.vmap(partial(called, network), randomness="different"), stacked)
    )
    optimizer = _optimizer(learnt, training)
    pace = _pace(optimizer, training, longest)
    flat = records.flatten(1) if work.path == "matrix" else records
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for index, weight in _batches(members, numbers, training, seed, longest):
            rows = torch.from_numpy(np.maximum(index, 0)).to(device)
            optimizer.zero_grad()
            each = losses(forward(flat[rows]), labels[rows], outputs)
            (each * torch.from_numpy(weight).to(device)).sum().backward()
            optimizer.step()
            pace.step()
    return {k: v.detach().cpu() for k, v in stacked.items()}


def _descend(
    work: _Work, network: nn.Module, stacked: dict[str, Tensor], members: Sequence[Array], numbers: Sequence[int]
) -> None:
    """Plain gradient descent of stacked linear layers, in place, without stored gradients or optimiser states."""
    training, device = work.training, work.device
    records, labels = torch.tensor(work.x, device=device).flatten(1), torch.tensor(work.y, device=device)
    steps = training.epochs * -(-work.longest // min(training.batch_size, work.longest))
    reached = torch.zeros((), device=device, requires_grad=True)
    for step, (index, weight) in enumerate(_batches(members, numbers, training, work.seed, work.longest)):
        rows = torch.from_numpy(np.maximum(index, 0)).to(device)
        rate = training.learning_rate * training.rate(step / steps)

        def linear(x: Tensor, weights: Tensor, bias: Tensor | None, rate: float = rate) -> Tensor:
            return cast(Tensor, Descent.apply(x, weights, bias, reached, rate, training.weight_decay))

        each = losses(matrix(network, stacked, records[rows], linear), labels[rows], work.outputs)
        (each * torch.from_numpy(weight).to(device)).sum().backward()


def _batches(
    members: Sequence[Array], numbers: Sequence[int], training: Training, seed: int, longest: int
) -> Iterator[tuple[Array, Array]]:
    """Row numbers (models, batch) of each step, and weights (models, batch) that average over each model's batch.

    A number of -1, with weight 0, means that the model has no more records in this epoch. An epoch has as many steps as
    `longest` records need.
    """
    size = min(training.batch_size, longest)
    steps = -(-longest // size)
    generators = [keyed_rng(seed, "order", i) for i in numbers]
    for _ in range(training.epochs):
        order = np.full((len(members), steps * size), -1, np.int64)
        for place, (rows, rng) in enumerate(zip(members, generators, strict=True)):
            order[place, : len(rows)] = rng.permutation(rows)
        for start in range(0, steps * size, size):
            index = order[:, start : start + size]
            there = index >= 0
            yield index, (there / np.maximum(there.sum(1, keepdims=True), 1)).astype(np.float32)


def _networks(
    build: Callable[[], nn.Module], seed: int, numbers: Sequence[int], start: Mapping[str, Tensor] | None
) -> list[nn.Module]:
    networks = [_fresh(build, seed, i) for i in numbers]
    for network in networks if start is not None else []:
        network.load_state_dict(dict(start or {}), strict=False)
    return networks


def _fresh(build: Callable[[], nn.Module], seed: int, number: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(keyed_rng(seed, "weights", number).integers(2**62)))
        network = build()
    for module in network.modules():
        # A factory may return trained or shared weights; layers that can be reset get new ones.
        if any(True for _ in module.parameters(recurse=False)) and not hasattr(module, "reset_parameters"):
            return network
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(keyed_rng(seed, "weights", number).integers(2**62)))
        for module in network.modules():
            frozen = any(not p.requires_grad for p in module.parameters(recurse=False))
            if hasattr(module, "reset_parameters") and not frozen:
                cast(Any, module).reset_parameters()
    return network


def _optimizer(parameters: list[Tensor], training: Training) -> torch.optim.Optimizer:
    rate, decay = training.learning_rate, training.weight_decay
    if training.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=rate, momentum=training.momentum, weight_decay=decay)
    kind = torch.optim.Adam if training.optimizer == "adam" else torch.optim.AdamW
    return kind(parameters, lr=rate, weight_decay=decay)


def _pace(optimizer: torch.optim.Optimizer, training: Training, longest: int) -> torch.optim.lr_scheduler.LambdaLR:
    steps = training.epochs * -(-longest // min(training.batch_size, longest))
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: training.rate(step / steps))

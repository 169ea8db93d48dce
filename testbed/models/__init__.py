"""The networks that federations train, by the name of their factory, so that a transcript can name its model."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from testbed.core import Array, ModelSpec, Parameters
from testbed.core.errors import InputError, UsageError
from testbed.models import fits, generative, networks, text, vision
from testbed.models.losses import Loss

FACTORIES: dict[str, Callable[..., nn.Module]] = {
    "mlp": networks.mlp,
    "cnn": networks.cnn,
    "lenet": networks.lenet,
    "resnet20": networks.resnet20,
    "vit": vision.VisionTransformer,
    "imprinted": networks.imprinted,
    "autoregressive": generative.Autoregressive,
    "transformer": text.Transformer,
}


DEVICE = os.environ.get("TESTBED_DEVICE", "cpu")
"""The device on which gradient matching computes; by default the CPU, where sums are exactly repeatable."""


def register(name: str, factory: Callable[..., nn.Module], loss: Loss | None = None) -> None:
    """Registers a user's own factory under a name, which transcripts may then use, with the loss that its app trains.

    Without one, the loss is the cross-entropy of the class.
    """

    def made(**arguments: Any) -> nn.Module:
        network = factory(**arguments)
        setattr(network, OWN_LOSS, loss)
        return network

    FACTORIES[name] = factory if loss is None else made


OWN_LOSS = "_testbed_loss"
"""The attribute of a network that holds the loss of its app."""


def build(spec: ModelSpec, seed: int | None = None) -> nn.Module:
    """The network in evaluation mode; its initial weights depend only on `seed`.

    Raises `UsageError` for a factory that is not registered, or for arguments that it does not accept.
    """
    if spec.factory not in FACTORIES:
        raise UsageError(
            "TB-MODEL-001",
            f"There is no model factory called {spec.factory!r}.",
            "A transcript only names its model; code is never loaded from a transcript.",
            f"Known: {', '.join(sorted(FACTORIES))}. Give your own with --model module:factory.",
        )
    with torch.random.fork_rng(devices=[]):
        _seeded(0 if seed is None else seed)
        try:
            model: Any = FACTORIES[spec.factory](**spec.arguments)
            if not isinstance(model, nn.Module):
                raise TypeError("not a module")
        except Exception as error:  # a user's factory may raise anything
            raise UsageError(
                "TB-MODEL-002",
                f"The factory {spec.factory!r} cannot make a network from these arguments.",
                f"It stopped with {type(error).__name__}.",
                "See its docstring in testbed.models. Your own factory must return a torch module.",
            ) from None
    return model.eval()


def _seeded(seed: int) -> None:
    """Seeds Torch's generators inside `fork_rng`. Where there is no accelerator, `torch.manual_seed` would queue a seed
    for each kind of one, with the whole call stack, at every call."""
    if torch.accelerator.is_available():
        torch.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)


def get_parameters(model: nn.Module) -> dict[str, Array]:
    """Trainable parameters by name, float32, in the model's order."""
    return {name: p.detach().cpu().numpy().copy() for name, p in model.named_parameters()}


def trained(model: nn.Module) -> list[str]:
    """Names of the parameters that are trained, in the model's order."""
    return [name for name, p in model.named_parameters() if p.requires_grad]


def last_layers(model: nn.Module, layers: int) -> list[str]:
    """Names of the parameters of the last `layers` modules that hold any, in the model's order.

    Raises `UsageError` if the model has no more layers than these.
    """
    of: dict[str, list[str]] = {}
    for name, _ in model.named_parameters():
        of.setdefault(name.rpartition(".")[0], []).append(name)
    if layers >= len(of):
        raise UsageError(
            "TB-MODEL-005",
            f"The model has {len(of)} layers, and {layers} of them cannot be personal.",
            "At least one layer is shared: without one, clients send nothing.",
            f"Use personal={max(0, len(of) - 1)} or fewer.",
        )
    return [name for names in list(of.values())[len(of) - layers :] for name in names]


def known(spec: ModelSpec | None) -> nn.Module | None:
    """The network of a transcript's model; None if the model is unknown."""
    return build(spec) if spec is not None and spec.factory in FACTORIES else None


def trained_by(spec: ModelSpec | None) -> list[str]:
    """Names of the trained parameters of a transcript's model; empty if the model is unknown."""
    network = known(spec)
    return [] if network is None else trained(network)


def to_tensors(parameters: Parameters, like: nn.Module) -> dict[str, Tensor]:
    """The trained parameters as tensors by name, for the model `like`.

    Other arrays that apps send (running statistics, frozen layers, a shared tensor under its second name) are copied
    into `like` itself, where they stay until the next call. The loss of `like` with the result is then that of the
    whole model. Arrays of the model's names under a prefix (`control.weight`) are left aside. Raises `InputError` if
    names, shapes or values do not fit the model.
    """
    state = like.state_dict(keep_vars=True)
    names = trained(like)
    fits.check(parameters, like)
    parameters = {k: v for k, v in parameters.items() if not fits.beside(k, v, state)}
    if not all(np.isfinite(v).all() for v in parameters.values()):
        raise InputError(
            "TB-MODEL-004",
            "Parameters hold values that are not finite.",
            "The training diverged, or the file is damaged; no attack can use them.",
            "Lower the learning rate, or record again.",
        )
    with torch.no_grad():
        for name in parameters.keys() - set(names):
            state[name].copy_(torch.from_numpy(np.array(parameters[name])))
    return {name: torch.from_numpy(np.array(parameters[name], dtype=np.float32)) for name in names}


def changed(parameters: Parameters, moved: Mapping[str, Tensor]) -> dict[str, Array]:
    """The parameters with those in `moved` replaced by their new values; the others stay as they were sent."""
    return {**parameters, **{name: v.detach().cpu().numpy() for name, v in moved.items()}}


def by_name(parameters: Parameters, like: nn.Module) -> Parameters:
    """Parameters by name, if an app sent them by number in the model's order; other parameters unchanged.

    Apps number all of a model's state, all its parameters, or only the trained ones. Numbers under a prefix, such as
    `control.0`, become names under it.
    """
    state = like.state_dict(keep_vars=True)
    numbered = {k: np.shape(v) for k, v in parameters.items() if k.isdecimal()}
    for names in (list(state), [name for name, _ in like.named_parameters()], trained(like)):
        if numbered == {str(i): tuple(state[name].shape) for i, name in enumerate(names)}:
            own = {name: parameters[str(i)] for i, name in enumerate(names)}
            others = {k: v for k, v in parameters.items() if not k.isdecimal()}
            return own | {_named(k, names): v for k, v in others.items()}
    return parameters


def _named(name: str, names: Sequence[str]) -> str:
    """`control.0` with the first of the names in the number's place; other names as they are."""
    prefix, dot, number = name.rpartition(".")
    fits = bool(dot) and number.isdecimal() and int(number) < len(names)
    return f"{prefix}.{names[int(number)]}" if fits else name


def as_trained(model: nn.Module, step: int) -> nn.Module:
    """The model as a client trains it, in steps of `step` records: normalisation uses each batch's own statistics.

    Exception: with single records, a model with one-dimensional batch normalisation keeps its running statistics.
    """
    layers = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._NormBase)]  # pyright: ignore[reportPrivateUsage]
    if step > 1 or not any(isinstance(m, nn.BatchNorm1d) for m in layers):
        for layer in layers:
            layer.track_running_stats = False
            layer.running_mean = layer.running_var = layer.num_batches_tracked = None
    return model


def loss_of(model: nn.Module, parameters: Mapping[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
    """Mean loss of a batch under these parameters."""
    return losses_of(model, parameters, x, y).mean()


def losses_of(model: nn.Module, parameters: Mapping[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
    """Loss of each record (n,): the model's own loss if it has one, otherwise the cross-entropy of the class."""
    return record_losses(model, cast(Tensor, torch.func.functional_call(model, dict(parameters), (x,))), x, y)


def record_losses(model: nn.Module, outputs: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Loss of each record (n,) from the model's outputs for it."""
    if isinstance(model, generative.Autoregressive):
        return model.losses(outputs, x)
    if isinstance(model, text.Transformer):
        return model.losses(outputs, x, y)
    own: Loss | None = getattr(model, OWN_LOSS, None)
    if own is not None:
        return own(outputs, y)
    return nn.functional.cross_entropy(outputs, y, reduction="none")


def input_of(spec: ModelSpec) -> tuple[tuple[int, ...], int]:
    """A record's shape and the number of classes, read from the model's arguments."""
    arguments: dict[str, Any] = dict(spec.arguments)
    inner = arguments.get("inner")
    if isinstance(inner, Mapping):
        arguments = dict(cast(Mapping[str, Any], inner))["arguments"]
    return tuple(int(s) for s in arguments["shape"]), int(arguments["classes"])

"""A torch module as a predictor, and as a recipe that trains it again."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from testbed.core import Act, Array, Cohort, Opened, Predictor, Regressor, Unavailable, user_code
from testbed.core.errors import InputError, UsageError
from testbed.subjects.predictors import torch_weights
from testbed.subjects.predictors.outputs import Outputs, as_probabilities, check_outputs, kind_of
from testbed.subjects.predictors.regression import Scale, inputs_and_truth, one_each

if TYPE_CHECKING:
    from testbed.core.executor import Spread
    from testbed.models.ensemble import Training


def torch_factory(factory: str) -> Callable[[], Any]:
    """The user's function, named `module:function`. Raises `UsageError` unless it returns a torch module."""
    import torch

    made = user_code.function(
        factory, "TB-SUBJECT-014", "Name one that returns a torch module when called without arguments."
    )
    try:
        wrong = "" if isinstance(made(), torch.nn.Module) else "It returns something else."
    except Exception as error:  # a user's factory may raise anything
        wrong = f"It stopped with {type(error).__name__}."
    if wrong:
        raise UsageError(
            "TB-SUBJECT-014",
            f"No model can be made by {factory!r}.",
            wrong,
            "It must return a torch module when called without arguments.",
        )
    return made


def materialised(build: Callable[[], Any], features: int) -> Callable[[], Any]:
    """A factory of the same modules, whose lazy layers are initialised for records of this many features."""
    import torch
    from torch.nn.parameter import UninitializedParameter

    def ready() -> Any:
        network = build()
        if any(isinstance(p, UninitializedParameter) for p in network.parameters()):
            with torch.no_grad():
                network.eval()(torch.zeros(2, features))
        return network.train()

    return ready


def trained(build: Callable[[], Any]) -> None:
    """Raises `UsageError` if a factory gives other parameters each time: such a module was not trained."""
    import torch

    one, other = build().state_dict(), build().state_dict()
    if any(isinstance(v, torch.Tensor) and not torch.equal(v, other[k]) for k, v in one.items()):
        raise UsageError(
            "TB-SUBJECT-051",
            "The module has no trained weights.",
            "The factory draws other parameters each time it is called. An untrained module gives nobody away.",
            "Give its weights with --weights, or load them in the factory.",
        )


def torch_predictor(
    build: Callable[[], Any], weights: Path | None, members: Array, outputs: str = "auto"
) -> tuple[Predictor, Outputs]:
    """The module that `build` makes, with these weights, as a predictor; and the kind of its outputs.

    The kind is decided once, by the outputs for `members` (n, features), see `kind_of`. Raises `InputError` for weights
    that do not fit, or for outputs of an unclear kind.
    """
    check_outputs(outputs)
    said = torch_outputs(build, weights)
    kind = kind_of(said(members), outputs)
    first = as_probabilities(said(members), kind)
    inside = Inside(_made(build, weights), kind)
    return Opened(lambda people: as_probabilities(said(people.x), kind), first.shape[1], inside), kind


class Inside:
    """What shows inside a network about people (n, signals); of each record it is computed once.

    Raises `Unavailable` if the network stops, or if a signal is not finite.
    """

    def __init__(self, network: Any, kind: Outputs, state: Any = None) -> None:
        self._network, self._state = network, state
        self._kind: Outputs = kind
        self._known: dict[bytes, Array] = {}

    def __call__(self, people: Cohort) -> Array:
        keys = [row.tobytes() + bytes(str(c), "ascii") for row, c in zip(people.x, people.y, strict=True)]
        if new := {key: place for place, key in enumerate(keys) if key not in self._known}:
            made = self._computed(people.take(np.array(list(new.values()))))
            self._known |= dict(zip(new, made, strict=True))
        return np.stack([self._known[key] for key in keys])

    def _computed(self, people: Cohort) -> Array:
        from testbed.models import inside

        try:
            made = inside.signals(self._network, people.x, people.y, self._kind, self._state, _tensor)
        except Exception:  # a user's module may raise anything
            raise Unavailable("not_differentiable", "a module that answers one record after the other") from None
        if not np.isfinite(made).all():
            raise Unavailable("not_differentiable", "a module whose gradients are finite")
        return made


def torch_outputs(build: Callable[[], Any], weights: Path | None) -> Callable[[Array], Array]:
    """A function from records (n, features) to the outputs (n, outputs) of the module that `build` makes.

    Raises `InputError` if the weights do not fit. The function raises it if the records do not fit.
    """
    import torch

    network = _made(build, weights)
    kind = next((p.dtype for p in network.parameters() if p.is_floating_point()), torch.float32)

    def said(x: Array) -> Array:
        try:
            with torch.no_grad():
                asked = torch.tensor(x, dtype=kind).split(1024)
                parts = [_tensor(network(part)).double().numpy() for part in asked]
            out = np.concatenate(parts)
            assert out.ndim in (1, 2)
        except Exception:
            raise InputError(
                "TB-SUBJECT-016",
                "The model does not take these records, or its answers are not one number for each class.",
                "It receives an array (n, features), the columns of the table.",
                "Give the columns used in training, and name the label with --label; or give its --predictions.",
            ) from None
        return out.reshape(len(x), -1)

    return said


def _made(build: Callable[[], Any], weights: Path | None) -> Any:
    """The module with these weights, in evaluation mode."""
    network = build()
    if weights is not None:
        torch_weights.put(network, weights)
    return network.eval()


def _tensor(out: Any) -> Any:
    """The outputs in what a module returns: a tensor, the first of several, or the logits of a named answer."""
    if isinstance(out, dict):
        out = out["logits"] if "logits" in out else next(iter(out.values()))
    out = getattr(out, "logits", out)
    return out[0] if isinstance(out, tuple | list) else out


DIVERGED = Unavailable("diverged", "training rules under which more such models give finite answers")


@dataclass(frozen=True, slots=True)
class TorchRecipe:
    """A recipe that trains such modules, many at once (`testbed.models.ensemble`).

    For modules that predict a number, `scale` says how the number is stored in records.
    """

    build: Callable[[], Any]
    training: Training
    outputs: Outputs
    classes: int
    cache: Path | None = None
    progress: Callable[[int, int], None] = lambda _, __: None
    scale: Scale | None = None
    spread: Spread | None = None

    def __call__(self, people: Cohort, rng: np.random.Generator, act: Act | None = None) -> Predictor:
        return self.many(people, np.ones((1, len(people)), bool), rng)[0]

    def many(self, people: Cohort, included: Array, rng: np.random.Generator) -> list[Predictor]:
        """A model for each row of `included` (models, n), trained on the people that the row marks.

        Raises `Unavailable` if the module cannot be trained.
        """
        from testbed.core.executor import IN_TURN
        from testbed.models import ensemble

        seed = int(rng.integers(2**31))
        x, y = people.x, people.y
        if self.scale is not None:
            x, kept = inputs_and_truth(people)
            y = self.scale.numbers(kept).astype(np.float32)
        try:
            made = ensemble.train(
                self.build,
                x.astype(np.float32),
                y,
                included,
                self.training,
                seed,
                outputs=self.outputs,
                cache=self.cache,
                progress=self.progress,
                spread=self.spread or IN_TURN,
            )
        except (RuntimeError, ValueError, TypeError, NotImplementedError):
            raise Unavailable("cannot_retrain", "a module that trains on batches of such records") from None
        answered: dict[bytes, Array] = {}

        def outputs(number: int, asked: Cohort) -> tuple[Array, Array]:
            # All models answer at once; the answers about the last two sets of records are stored.
            x, truth = (asked.x, asked.y) if self.scale is None else inputs_and_truth(asked)
            key = hashlib.sha256(x.tobytes()).digest()
            if key not in answered:
                while len(answered) > 1:
                    answered.pop(next(iter(answered)))
                answered[key] = made.outputs(x.astype(np.float32))
            said = answered[key][number].astype(np.float64).reshape(len(asked), -1)
            if not np.isfinite(said).all():
                raise DIVERGED
            return said, truth

        def ask(number: int, asked: Cohort) -> Array:
            said, truth = outputs(number, asked)
            if self.scale is None:
                return as_probabilities(said, self.outputs)
            return self.scale.likelihoods(one_each(said), truth)

        def errors(number: int, asked: Cohort) -> Array:
            assert self.scale is not None
            said, truth = outputs(number, asked)
            return self.scale.errors(one_each(said), truth)

        if self.scale is not None:
            return [Regressor(partial(ask, i), self.classes, partial(errors, i)) for i in range(len(included))]
        return [
            Opened(partial(ask, i), self.classes, Inside(made.network, self.outputs, made.state(i)))
            for i in range(len(included))
        ]


def eta(progress: Callable[[str], None]) -> Callable[[int, int], None]:
    """A callback that reports how many shadow models are trained and how long the rest takes, at most once a second."""
    started = last = time.monotonic()

    def told(done: int, total: int) -> None:
        nonlocal started, last
        now = time.monotonic()
        if done < total and now - last < 1:
            return
        left = (now - started) / done * (total - done)
        progress(f"shadow models: {done} of {total}" + (f", {left:.0f} s to go" if done < total else ""))
        last = now
        if done == total:
            started = now

    return told

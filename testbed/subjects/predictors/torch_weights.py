"""Weights of torch modules: which of the tensors in a file are those of a module?"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from testbed.core.errors import InputError, UsageError
from testbed.subjects.predictors import preparing
from testbed.subjects.predictors.estimator import existing
from testbed.subjects.predictors.model_files import format_of

DEEPEST = 2
"""Levels of dictionaries in dictionaries that are searched."""
FIRST = ("state_dict", "model_state_dict", "model")
"""Names under which training programs keep the weights, in the order in which they are tried."""


def put(network: Any, path: Path) -> None:
    """Loads the weights in a file into a module.

    The file is a state_dict written by `torch.save`, or `.safetensors`. The weights may lie in a checkpoint
    (`{"state_dict": ...}`, as Lightning writes it), and under a prefix that all of them have (`module.`, `_orig_mod.`,
    `_module.`, `model.`). Raises `InputError` if they do not fit.
    """
    existing(path, "weights")
    held = _read(path)
    wanted: dict[str, Any] = network.state_dict()
    for state in _candidates(held, 0):
        if (fitting := _without_prefix(state, wanted)) is not None:
            _check_alone(path, held, wanted)
            network.load_state_dict(fitting)
            return
    raise _unfit(path, held, wanted)


def _check_alone(path: Path, held: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raises `InputError` if what prepares records, such as means and deviations, stands beside the weights."""
    if found := [name for name in preparing.beside(held) if name not in wanted]:
        raise InputError(
            "TB-SUBJECT-064",
            f"The weights {path.name} stand beside what prepares records: {_listed(found)}.",
            "The module alone would be asked about records that it does not recognise, and hide everybody.",
            "Make it a part of the module (a buffer, used in forward), or give tables that were prepared as for the "
            "training and the weights alone: torch.save(model.state_dict(), path).",
        )


def _read(path: Path) -> Mapping[str, Any]:
    import torch

    kind = format_of(path)
    if kind == "safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    if kind in ("TorchScript", "torch.export"):
        raise UsageError(
            "TB-SUBJECT-047",
            f"The weights {path.name} are a whole model ({kind}).",
            "--weights takes the weights of the module that --factory makes.",
            "Give the file with --model, and leave --factory out.",
        )
    try:
        held: Any = torch.load(path, weights_only=True, map_location="cpu")
    except pickle.UnpicklingError:
        raise InputError(
            "TB-SUBJECT-048",
            f"The weights {path.name} hold objects beside tensors, which could run code when they are loaded.",
            "A whole module, or the settings of a training program, are such objects.",
            "Write the weights alone: torch.save(model.state_dict(), path). A whole module is given with --model.",
        ) from None
    except Exception as error:
        raise InputError(
            "TB-SUBJECT-049",
            f"The weights {path.name} cannot be read.",
            f"They are no file of torch.save and no safetensors; the reader stopped with {type(error).__name__}.",
            "Write them with torch.save(model.state_dict(), path).",
        ) from None
    if isinstance(held, Mapping):
        return held
    raise InputError(
        "TB-SUBJECT-052",
        f"The weights {path.name} are no dictionary of tensors.",
        f"The file holds a {type(held).__name__}.",
        "Write them with torch.save(model.state_dict(), path).",
    )


def _candidates(held: Mapping[str, Any], deep: int) -> Iterator[Mapping[str, Any]]:
    """The dictionaries of tensors in a dictionary, itself first."""
    import torch

    if any(isinstance(v, torch.Tensor) for v in held.values()):
        yield {str(k): v for k, v in held.items() if isinstance(v, torch.Tensor)}
    if deep < DEEPEST:
        names = sorted(held, key=lambda k: FIRST.index(k) if k in FIRST else len(FIRST))
        for name in names:
            if isinstance(inner := held[name], Mapping):
                yield from _candidates(inner, deep + 1)


def _without_prefix(state: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any] | None:
    """The tensors by the names of a module, if all of these stand in `state` under one prefix, in the right shapes."""
    if not wanted:
        return None
    first = next(iter(wanted))
    prefixes = [k[: len(k) - len(first)] for k in state if k.endswith(first)]
    for prefix in sorted(prefixes, key=len):
        own = {k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)}
        if own.keys() == wanted.keys() and all(own[k].shape == v.shape for k, v in wanted.items()):
            return {k: own[k] for k in wanted}
    return None


def _unfit(path: Path, held: Mapping[str, Any], wanted: Mapping[str, Any]) -> InputError:
    """The error for weights that do not fit. Names and shapes of parameters are no data of people."""
    state = next(_candidates(held, 0), {})
    same = [k for k in wanted if k in state]
    shapes = [k for k in same if state[k].shape != wanted[k].shape]
    missing = [k for k in wanted if k not in state]
    further = [k for k in state if k not in wanted]
    why = [f"{len(same)} of the module's {len(wanted)} names occur in the file."]
    if shapes:
        why.append(f"Another shape has {_listed(shapes)}.")
    if missing:
        why.append(f"Missing: {_listed(missing)}.")
    if further:
        why.append(f"Not of the module: {_listed(further)}.")
    return InputError(
        "TB-SUBJECT-015",
        f"The weights {path.name} do not fit the model.",
        " ".join(why),
        "They must be of the architecture that --factory makes. Write them with torch.save(model.state_dict(), path).",
    )


def _listed(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")

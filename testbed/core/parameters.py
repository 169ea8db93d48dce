"""The numbers that a parameter of a scenario or an attack may take, by its name and its default."""

from __future__ import annotations

import math
from typing import Any

from testbed.core.errors import UsageError

POSITIVE = {
    "learning_rate",
    "alpha",
    "clip",
    "epsilon",
    "delta",
    "threshold",
    "temperature",
    "gamma",
    "norm",
    "participation",
}
"""Parameters that must be above 0."""
SHARES = {"delta", "threshold", "few", "many", "planted_share", "share", "fraction", "quantile"} | {
    "participation",
    "dropouts",
    "stragglers",
}
"""Parameters that must be at most 1."""
PER_CENT = {"percentile"}
"""Parameters that must be at most 100."""
SWITCHED_OFF = {"momentum", "noise", "weight_decay", "jitter"}
"""Parameters that may be 0, which switches them off, even if their default is a whole number of 1 or more."""
MEANING = {
    "data": "the people: a name from testbed list data, or your own table (mine.csv)",
    "clients": "sites that train together",
    "rounds": "rounds of training",
    "batch": "records in a client's batch",
    "epochs": "times that a client, or a generator, trains on all its records; 0 is one gradient (FedSGD)",
    "learning_rate": "the step of the training",
    "hidden": "width of the network's hidden layer",
    "attack": "name of the attack, or your own (file.py:name)",
    "iterations": "steps of the attack's search",
    "restarts": "searches that the attack starts anew; the best one counts",
    "defence": "defences with values, as in topk:0.1+gaussian:0.5 (docs/defences.md), or none",
    "guards": "guards of clients and of the server, as in nested_neurons+weight_law (docs/guards.md), or none",
    "noise": "standard deviation of the noise of one defence that is named without values, in units of clip; 0 is none",
    "clip": "largest L2 norm of an update under a defence",
    "people": "people that are drawn from the data, at most",
    "members": "people whose records are used",
    "controls": "people whose records are not used",
    "each": "records of each client",
    "partition": "how people are dealt to clients: iid, dirichlet (by class), or site (as the data say)",
    "alpha": "of partition=dirichlet: the smaller, the more a client's classes differ from the others'",
    "perceptual": "whether pictures are also compared in a network's features",
    "shadows": "models that the attacker trains to compare with",
    "canaries": "made-up records, or clients, that are put in by a coin",
    "guesses": "guesses about canaries on which the bound of epsilon rests",
    "delta": "delta of the differential privacy that is claimed",
    "epsilon": "epsilon of the differential privacy that is claimed",
    "claim": "epsilon that is audited; 0 is the accountant's own",
    "generator": "name of the generator of synthetic rows",
    "planted_share": "share of the release that is replaced by rows of the original: a known leak",
    "secrets": "columns that the attacker predicts (a,b); none named means all",
    "attacks": "guesses of each attack; 0 is the default number",
    "runs": "repetitions, each with other people",
    "steps": "steps in which the attacker trains a generator in each round",
    "column": "column whose values are the property",
    "colluding": "clients that attack together",
    "worlds": "federations in which a coin chooses the property",
    "training_epochs": "epochs of the model that is trained beforehand",
    "length": "words of a sentence",
    "width": "width of the network",
    "columns": "columns of the synthetic table",
    "rows": "rows of the synthetic table",
    "algorithm": "plain, fedprox:MU, fedadam:RATE, both joined by +, or scaffold (docs/realism.md)",
    "participation": "share of clients that are invited in each round",
    "dropouts": "probability that an invited client sends nothing",
    "stragglers": "probability that an invited client stops after a part of its local steps",
    "late": "whether stragglers instead finish, and answer one round later",
    "personal": "last layers of the model that stay with each client, and are never sent",
    "reader": "attack that reads what the acts of the server uncover",
}
"""What the common parameters of scenarios mean. A parameter of one scenario alone is told in its docstring."""


def check(key: str, value: Any, default: Any, id: str) -> None:
    """Raises `UsageError` if the value is not a finite number or lies outside the parameter's range.

    Nothing is checked if the default is not a number, or is negative.
    """
    if isinstance(default, bool) or not isinstance(default, int | float) or default < 0:
        return
    if not isinstance(value, int | float):
        raise _out(key, f"a number, such as {default}", id)
    if not math.isfinite(value):
        raise _out(key, "a finite number", id)
    if isinstance(default, int) and default >= 1 and key not in SWITCHED_OFF and value < 1:
        raise _out(key, "1 or more", id)
    if value < 0 or (key in POSITIVE and value == 0):
        raise _out(key, "above 0" if key in POSITIVE else "0 or more", id)
    if key in SHARES and value > 1:
        raise _out(key, "at most 1", id)
    if key in PER_CENT and value > 100:
        raise _out(key, "at most 100", id)


def _out(key: str, range: str, id: str) -> UsageError:
    return UsageError(
        id, f"{key} must be {range}.", "No run is possible with another value.", "Choose one in that range."
    )


KINDS: dict[type, str] = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def typed(key: str, text: str, default: Any, of: str = "") -> Any:
    """A parameter's value read from text, of the same type as its default. Raises `UsageError` for any other text.

    `of` is what the parameter belongs to, for the message.
    """
    try:
        if isinstance(default, bool):
            return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[text.lower()]
        return type(default)(text)
    except (KeyError, ValueError):
        raise UsageError(
            "TB-SCENARIO-003",
            f"The parameter {key}{f' of {of}' if of else ''} does not take this value.",
            f"It must be {KINDS.get(type(default), 'of another kind')}.",
            f"Its default is {default!r}.",
        ) from None

"""A model behind an interface: any function of records, whose queries are counted and limited."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from testbed.core import Array, Cohort, Predictor, Unavailable, user_code
from testbed.core.errors import InputError
from testbed.subjects.predictors.outputs import Outputs, as_probabilities, kind_of

Function = Callable[[Array], Any]


def function(name: str) -> Function:
    """The user's function, named `module:function`. Raises `UsageError` if there is none."""
    return user_code.function(name, "TB-SUBJECT-025", "Name one that takes records (n, features) and answers for each.")


def _numbers(said: Any) -> Array:
    """Answers as float64, also those of a network that records gradients."""
    return np.asarray(said.detach().cpu() if hasattr(said, "detach") else said, dtype=np.float64)


class Api:
    """A counter around `function`: it asks about each record once, and about no more than `budget` records in all.

    Answers are stored, so a record that is asked about twice costs one query. `asked` is the number of queries.
    """

    def __init__(self, function: Function, budget: int | None = None) -> None:
        self._function, self._budget = function, budget
        self._answers: dict[bytes, Array] = {}

    @property
    def asked(self) -> int:
        """The number of records asked about so far."""
        return len(self._answers)

    def afford(self, x: Array) -> None:
        """Raises `Unavailable` if the budget does not cover these records (n, features); nothing is asked."""
        new = {row.tobytes() for row in x} - self._answers.keys()
        if self._budget is not None and self.asked + len(new) > self._budget:
            raise Unavailable("query_budget", f"{self.asked + len(new)} queries; the budget is {self._budget}")

    def __call__(self, x: Array) -> Array:
        """The function's answers (n, outputs). Raises `Unavailable` if the budget does not cover the new records."""
        self.afford(x)
        keys = [row.tobytes() for row in x]
        new = {k: row for k, row in zip(keys, x, strict=True) if k not in self._answers}
        if new:
            self._answers |= dict(zip(new, self._ask(np.stack(list(new.values()))), strict=True))
        return np.stack([self._answers[k] for k in keys]) if keys else np.empty((0, 1))

    def _ask(self, x: Array) -> Array:
        try:
            said = self._function(x)
        except Exception:  # networks of 32 bits refuse float64
            try:
                said = self._function(x.astype(np.float32))
            except Exception as error:
                raise _stopped(error, x) from None
        try:
            made = _numbers(said)
        except (TypeError, ValueError):
            raise _not_numbers(f"a {type(said).__name__} that is no array of numbers", x) from None
        if made.ndim not in (1, 2) or len(made) != len(x):
            raise _not_numbers(f"an array of shape {made.shape}", x)
        return made.reshape(len(x), -1)


def _stopped(error: Exception, x: Array) -> InputError:
    """The error for a function that raised one. Its text may quote a record, so only its type and its line are told."""
    where = user_code.where_it_broke(error)
    return _refused(
        f"The function stopped with {type(error).__name__}{f' in {where}' if where else ''}.",
        f"It was given an array of shape {x.shape}, in 64 and then in 32 bits: the columns of the table as numbers.",
        "Call it with such an array yourself to see the whole error. ",
    )


def _not_numbers(what: str, x: Array) -> InputError:
    asked = f"It was given an array of shape {x.shape}, and must return ({len(x)}, classes) or ({len(x)},)."
    return _refused(f"The function returned {what}.", asked, "")


def _refused(what: str, why: str, first: str) -> InputError:
    fix = "Return class probabilities or logits for every row in order, or with --outputs number a number."
    return InputError("TB-SUBJECT-026", what, why, f"{first}{fix}")


def api_predictor(api: Api, members: Array, outputs: str = "auto") -> Predictor:
    """The function as a model. The kind of its numbers is decided once, by the answers about `members` (`kind_of`).

    Raises `Unavailable` if the budget does not cover them.
    """
    first = api(members)
    kind: Outputs = kind_of(first, outputs)
    return Predictor(lambda people: _said(api, people, kind), as_probabilities(first, kind).shape[1])


def _said(api: Api, people: Cohort, kind: Outputs) -> Array:
    return as_probabilities(api(people.x.reshape(len(people), -1)), kind)

# pyright: strict
"""Evidence: the judged guesses of an attack, and the reason where there are none."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from testbed.core.people import Array, frozen

Cell = Literal["true", "blind", "positive"]
Group = Literal["used", "unused", "not_applicable"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """Judged guesses, one row each; every column is an array (n,).

    `view` is the cell (true, blind, positive), `group` says whether the person's records were used, `item` numbers what
    was guessed, `cluster` groups dependent guesses, `score` is the attack's certainty, `success` in [0, 1] how right it
    is. `requested` and `performed` count guesses. Raises `ValueError` for columns of unequal length or a success
    outside [0, 1].
    """

    view: Array
    group: Array
    item: Array
    cluster: Array
    score: Array
    success: Array
    requested: int
    performed: int
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        columns = ("view", "group", "item", "cluster", "score", "success")
        if len({len(getattr(self, c)) for c in columns}) != 1:
            raise ValueError("every column of evidence must be equally long")
        judged = self.success[~np.isnan(self.success)]
        if ((judged < 0) | (judged > 1)).any():
            raise ValueError("success must lie in [0, 1]")
        for c in columns:
            object.__setattr__(self, c, frozen(getattr(self, c)))

    def __len__(self) -> int:
        return len(self.item)

    def __repr__(self) -> str:
        return f"Evidence({len(self)} rows, {self.performed} of {self.requested} guesses performed)"

    def cell(self, view: Cell, group: Group) -> Evidence:
        """The rows of one view and group."""
        return self.where((self.view == view) & (self.group == group))

    def where(self, keep: Array) -> Evidence:
        """The rows that the mask `keep` (n,) selects."""
        return Evidence(
            self.view[keep],
            self.group[keep],
            self.item[keep],
            self.cluster[keep],
            self.score[keep],
            self.success[keep],
            self.requested,
            self.performed,
            self.notes,
        )

    def best_of_clusters(self) -> Evidence:
        """The best guess of each cluster, such as the best reconstruction of each batch."""
        order = np.lexsort((-self.score, -self.success))
        keys = np.stack([np.unique(c, return_inverse=True)[1] for c in (self.view, self.group, self.cluster)])
        _, first = np.unique(keys[:, order], axis=1, return_index=True)
        best = self.where(np.sort(order[first]))
        return replace(best, requested=len(best), performed=int((best.score != 0).sum()))

    def of_clusters(self) -> Evidence:
        """One row for each cluster: the mean of its scores and of its successes, with the item of its first row.

        The same evidence, bit for bit, if no cluster has several rows.
        """
        codes = [np.unique(c, return_inverse=True)[1].astype(np.int64) for c in (self.view, self.group, self.cluster)]
        keys = (codes[0] * 8 + codes[1]) * (len(self) + 1) + codes[2]
        _, first, own = np.unique(keys, return_index=True, return_inverse=True)
        if len(first) == len(self):
            return self
        order = np.argsort(first)
        sizes = np.bincount(own)
        score, success = (np.bincount(own, values) / sizes for values in (self.score, self.success))
        made = replace(self.where(first[order]), score=score[order], success=np.clip(success[order], 0, 1))
        return replace(made, requested=len(made), performed=len(made))

    @staticmethod
    def rows(
        view: Cell,
        group: Group,
        *,
        score: npt.ArrayLike | None = None,
        success: npt.ArrayLike | None = None,
        item: npt.ArrayLike | None = None,
        cluster: npt.ArrayLike | None = None,
        requested: int | None = None,
        notes: tuple[str, ...] = (),
    ) -> Evidence:
        """Rows of one cell. A score or a success that is not given is NaN; without clusters each item is its own."""
        given = np.asarray(score if success is None else success, dtype=float)
        n = len(given)
        items = np.arange(n) if item is None else np.asarray(item)
        return Evidence(
            np.full(n, view, dtype="U8"),
            np.full(n, group, dtype="U14"),
            items,
            items if cluster is None else np.asarray(cluster),
            np.full(n, np.nan) if score is None else np.asarray(score, dtype=float),
            np.full(n, np.nan) if success is None else np.asarray(success, dtype=float),
            n if requested is None else requested,
            n,
            notes,
        )

    @staticmethod
    def join(*parts: Evidence) -> Evidence:
        """All rows of all parts. Requested and performed are those of the first part, which is the attack cell."""
        return Evidence(
            *(
                np.concatenate([getattr(p, c) for p in parts])
                for c in ("view", "group", "item", "cluster", "score", "success")
            ),
            requested=parts[0].requested,
            performed=parts[0].performed,
            notes=tuple(dict.fromkeys(note for p in parts for note in p.notes)),
        )


class Unavailable(Exception):  # noqa: N818 - an outcome that is reported, not a mistake
    """Raised when an attack cannot make its claim on this view; the finding becomes `Unmeasured`.

    `code` names the reason, `needs` says what would be required.
    """

    def __init__(self, code: str, needs: str) -> None:
        super().__init__(f"{code}: {needs}")
        self.code, self.needs = code, needs

    def __reduce__(self) -> tuple[type[Unavailable], tuple[str, str]]:
        return type(self), (self.code, self.needs)

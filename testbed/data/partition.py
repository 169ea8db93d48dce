"""Partition of records over the clients of a federation: at random, skewed by class, or by natural site."""

from __future__ import annotations

import numpy as np

from testbed.core import Array
from testbed.core.errors import UsageError


def partition(
    kind: str,
    labels: Array,
    clients: int,
    rng: np.random.Generator,
    *,
    alpha: float = 0.5,
    sites: Array | None = None,
) -> Array:
    """The client of each record (n,), or -1 for a record that takes no part.

    Kinds: `iid` (at random, equal sizes), `dirichlet` (each class is shared out by a Dirichlet draw with `alpha`; Hsu
    et al. 2019), and `site` (one client a natural site, the largest sites first; records of other sites take no part).
    Raises `UsageError` if a client would have no record, if there are no natural sites, or for another kind.
    """
    if len(labels) < clients:
        raise UsageError(
            "TB-SPLIT-005",
            f"There are more clients ({clients}) than records.",
            "A client without records cannot take part.",
            "Use fewer clients.",
        )
    if kind == "iid":
        return rng.permutation(np.arange(len(labels)) % clients)
    if kind == "site":
        if sites is None:
            raise UsageError(
                "TB-SPLIT-006",
                "This data set names no natural sites.",
                "Its records cannot be given to the hospital they came from.",
                "Use -s partition=iid or -s partition=dirichlet.",
            )
        names, counts = np.unique(sites, return_counts=True)
        largest = names[np.argsort(-counts, kind="stable")][:clients]
        place = {name: i for i, name in enumerate(largest.tolist())}
        # Records of smaller sites than the federation has clients for take no part.
        return np.array([place.get(s, -1) for s in sites.tolist()])
    if kind == "dirichlet":
        return _dirichlet(labels, clients, rng, alpha)
    raise UsageError(
        "TB-SPLIT-007",
        f"There is no partition called {kind!r}.",
        "The partition decides which client holds which records.",
        "Use iid, dirichlet or site.",
    )


def _dirichlet(labels: Array, clients: int, rng: np.random.Generator, alpha: float) -> Array:
    owner = np.empty(len(labels), dtype=int)
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        shares = rng.dirichlet(np.full(clients, alpha))
        cuts = (np.cumsum(shares)[:-1] * len(rows)).astype(int)
        for client, part in enumerate(np.split(rows, cuts)):
            owner[part] = client
    for client in range(clients):
        if not (owner == client).any():
            largest = np.bincount(owner, minlength=clients).argmax()
            owner[np.flatnonzero(owner == largest)[0]] = client
    return owner

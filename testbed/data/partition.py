"""Who holds whose records: the same for everybody, skewed by class, or by natural site."""

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
    """The client of each record (n,): `iid`, `dirichlet` (class shares drawn with `alpha`; Hsu et al. 2019), `site`.

    Every client gets at least one record. Raises `UsageError` where that cannot be.
    """
    if len(labels) < clients:
        raise UsageError(
            "TB-SPLIT-005",
            f"There are more clients ({clients}) than records.",
            "A client without records takes no part.",
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
        "It decides which client holds whose records.",
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

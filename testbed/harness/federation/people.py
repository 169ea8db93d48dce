"""The division of people into members, controls and auxiliary people, and of members among clients."""

from __future__ import annotations

import numpy as np

from testbed.core import Array, Cohort, Split
from testbed.core.errors import UsageError
from testbed.core.randomness import keyed_rng
from testbed.data.cohorts import Source, divide
from testbed.data.partition import partition

ATTACKER_RECORDS = 200
"""Fewest auxiliary records of an attacker."""


def groups(source: Source, members: int, controls: int, auxiliary: int, seed: int) -> Split:
    """A split with members, controls and auxiliary people drawn at random. Everybody else may stand in line-ups."""
    rows = divide(
        source.people,
        {"members": members, "controls": controls, "auxiliary": auxiliary},
        keyed_rng(seed, "people"),
    )
    taken = {k: source.people.take(v) for k, v in rows.items()}
    persons = np.concatenate([p.persons for p in taken.values()])
    rest = np.flatnonzero(~np.isin(source.people.persons, persons))
    rest = keyed_rng(seed, "decoys").permutation(rest)
    return Split(taken["members"], taken["controls"], taken["auxiliary"], None, source.people.take(rest))


def hospitals(source: Source, clients: int, each: int, seed: int, controls: int | None = None) -> Split:
    """A split with `clients` parties of `each` members: the largest natural sites, or random parties if there are none.

    All parties have the same number of members, so each has a full batch in every round. From the rest, controls are
    drawn (as many as members, or `controls`), and enough auxiliary people for a federation of the same size.
    """
    sent = clients * each
    controls = sent if controls is None else controls
    if source.sites is None:
        split = groups(source, sent, controls, max(sent, ATTACKER_RECORDS), seed)
        return Split(split.members, split.controls, split.auxiliary, np.arange(sent) % clients, split.decoys)
    site_of = partition("site", source.people.y, clients, keyed_rng(seed, "partition"), sites=source.sites)
    _enough_sites(source, site_of, clients)
    members: list[Array] = []
    for client in range(clients):
        rows = np.flatnonzero(site_of == client)
        drawn = divide(source.people.take(rows), {"members": each}, keyed_rng(seed, "site", client))["members"]
        members.append(rows[drawn[:each]])
    own = np.concatenate(members)
    rest = np.flatnonzero(~np.isin(source.people.persons, source.people.persons[own]))
    others = Source(source.name, source.title, source.people.take(rest), None, source.classes, "", "public")
    split = groups(others, 0, controls, max(sent, ATTACKER_RECORDS), seed)
    party = np.repeat(np.arange(clients), each)
    return Split(source.people.take(own), split.controls, split.auxiliary, party, split.decoys)


def _enough_sites(source: Source, site_of: Array, clients: int) -> None:
    if site_of.max() < clients - 1:
        raise UsageError(
            "TB-SPLIT-011",
            f"{source.name} has {site_of.max() + 1} natural sites, fewer than the {clients} clients asked for.",
            "Each client is one site of the data.",
            "Use fewer clients, or a data set without sites.",
        )


def sited(source: Source, split: Split, kind: str, clients: int, alpha: float, seed: int) -> tuple[Split, Array | None]:
    """The split with a client for each member, and the controls' natural sites if the members are divided by site.

    People of sites that are not among the largest are then left out.
    """
    members, controls = split.members, split.controls
    assert isinstance(members, Cohort)
    assert isinstance(controls, Cohort)
    if kind != "site" or source.sites is None:
        party = partition(kind, members.y, clients, keyed_rng(seed, "partition"), alpha=alpha)
        return Split(members, controls, split.auxiliary, party, split.decoys), None
    site_of = dict(zip(source.people.persons.tolist(), source.sites.tolist(), strict=True))
    both = np.concatenate([members.persons, controls.persons])
    party = partition(
        "site",
        np.concatenate([members.y, controls.y]),
        clients,
        keyed_rng(seed, "partition"),
        sites=np.array([site_of[p] for p in both.tolist()]),
    )
    _enough_sites(source, party, clients)
    mine, theirs = party[: len(members)], party[len(members) :]
    kept = Split(
        members.take(np.flatnonzero(mine >= 0)),
        controls.take(np.flatnonzero(theirs >= 0)),
        split.auxiliary,
        mine[mine >= 0],
        split.decoys,
    )
    return kept, theirs[theirs >= 0]

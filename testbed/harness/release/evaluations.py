"""How often these people were evaluated on this machine: many reports on the same people can tell about single ones.

ReconSyn (Ganev and De Cristofaro 2023, arXiv 2312.05114) reconstructs outliers from the answers of privacy metrics
alone, by asking again and again. Two reports on originals that differ by one person tell about that person: whatever
number moved. So people are counted and not tables: see `data/overlap.py`.

The file holds keyed digests and sketches. Without the key of the site it reveals nothing about anybody.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from testbed.core.private_files import locked, put
from testbed.data import fingerprints, overlap
from testbed.findings.schema import Disclosure

MANY = 5
"""Number of evaluations of the same people from which the report warns."""
SCHEMA = "testbed.evaluations/1"
FOLDER = "evaluations"
NO_KEY = "the site's key could not be kept, so no evaluation can be recognised later"
NO_FILE = "the file of earlier evaluations could not be read or written"
DAMAGED = "the file of earlier evaluations was damaged and set aside: those in it are not in the count"
OTHER_KEY = "evaluations under another key of the site are not in the count"
Closest = Literal["one person", "a few people"]


@dataclass(frozen=True, slots=True)
class Counted:
    """How many evaluations of these people, with this one; None if they could not be counted.

    `missing` says why not, or which ones are not in the count. `closest` says by how many people an earlier original
    differs from this one, if they are fewer than a report may describe.
    """

    times: int | None
    missing: str | None = None
    closest: Closest | None = None


@dataclass(slots=True)
class _Original:
    people: int
    sketches: Mapping[str, overlap.Sketch]
    group: int
    releases: list[str] = field(default_factory=list[str])


@dataclass(slots=True)
class _Store:
    """The originals by their digest. Originals of one group are about the same people, directly or over a third one."""

    originals: dict[str, _Original]
    damaged: bool = False


def evaluations(
    original: pd.DataFrame, release: pd.DataFrame, folder: Path, *, person: str | None = None, min_cell: int
) -> Counted:
    """Counts this evaluation, and says how often these people were evaluated.

    Equal pairs of original and release count once. Processes that count at the same time wait for each other.
    """
    key = fingerprints.site_key()
    if key.name == fingerprints.NOT_KEPT:
        return Counted(None, NO_KEY)
    own = overlap.sketched(original, person, key)
    digests = fingerprints.of_table(original, key), fingerprints.of_table(release, key)
    place = folder / FOLDER
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = place / f"{key.name}.json"
        with locked(place, needed=True):
            store = _read(file)
            closest = _counted(store, own, digests, key, min_cell)
            put(file, json.dumps(_dump(store)).encode())
            others = any(p != file for p in place.glob("*.json"))
    except OSError:
        return Counted(None, NO_FILE)
    group = store.originals[digests[0]].group
    times = sum(len(o.releases) for o in store.originals.values() if o.group == group)
    missing = [text for text, holds in ((DAMAGED, store.damaged), (OTHER_KEY, others)) if holds]
    return Counted(times, "; ".join(missing) or None, closest)


def warnings(disclosure: Disclosure) -> list[str]:
    """What to tell whoever ran this evaluation."""
    found: list[str] = []
    if (times := disclosure.evaluations or 0) >= MANY:
        found.append(f"these people were evaluated {times} times here; do not tune a generator by its reports")
    if disclosure.not_counted:
        found.append(f"evaluations of these people could not be counted: {disclosure.not_counted}")
    if disclosure.closest:
        found.append(
            f"an original that was evaluated earlier differs from this one by {disclosure.closest}; "
            "pass on only one of the two reports"
        )
    return found


def _counted(
    store: _Store, own: overlap.Sketched, digests: tuple[str, str], key: fingerprints.Key, min_cell: int
) -> Closest | None:
    """Adds an evaluation to the store; returns by how many people the closest other original differs."""
    original, release = digests
    overlaps = {
        digest: overlap.compared(own, earlier.people, earlier.sketches, key)
        for digest, earlier in store.originals.items()
        if digest != original
    }
    if original not in store.originals:
        groups = {o.group for o in store.originals.values()}
        store.originals[original] = _Original(own.people, own.sketches, max(groups, default=0) + 1)
    same = {digest for digest, found in overlaps.items() if found.same} | {original}
    merged = {store.originals[digest].group for digest in same}
    for earlier in store.originals.values():
        earlier.group = min(merged) if earlier.group in merged else earlier.group
    if release not in store.originals[original].releases:
        store.originals[original].releases.append(release)
    apart = min((o.apart for o in overlaps.values() if o.same and o.apart > 0), default=float("inf"))
    return "one person" if apart == 1 else "a few people" if apart < min_cell else None


def _read(file: Path) -> _Store:
    """The store in a file, or an empty one. A damaged file is set aside."""
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        if told["schema"] != SCHEMA:
            raise ValueError
        return _Store(
            {digest: _original(fields) for digest, fields in told["originals"].items()}, bool(told["damaged"])
        )
    except FileNotFoundError:
        return _Store({})
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        file.replace(file.with_suffix(".damaged"))
        return _Store({}, damaged=True)


def _original(fields: dict[str, Any]) -> _Original:
    sketches = {name: overlap.sketch_of(dumped) for name, dumped in fields["sketches"].items()}
    return _Original(int(fields["people"]), sketches, int(fields["group"]), list(map(str, fields["releases"])))


def _dump(store: _Store) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "damaged": store.damaged,
        "originals": {
            digest: {
                "people": o.people,
                "sketches": {name: sketch.dump() for name, sketch in o.sketches.items()},
                "group": o.group,
                "releases": o.releases,
            }
            for digest, o in store.originals.items()
        },
    }

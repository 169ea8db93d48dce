"""Are two tables about the same people? Told by keyed sketches, in which nobody's row can be read.

A person is the multiset of their rows without the column of the person, so new pseudonyms make no new people. A sketch
is a MinHash by one permutation (Li, Owen and Zhang 2012, with the densification of Shrivastava 2017), of which
two bits a bin are kept (Li and König 2010). It estimates the share of people whom two tables have in common. Beside it
stand two sums over all people, of which the second checks the first: from them it follows exactly whether two tables
differ by one person.

All hashes are keyed. Without the key a sketch is random bits. With it, a known row can be compared with a sketch.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from testbed.data.fingerprints import Key, texts_of

Hashes = NDArray[np.uint64]

BINS = 1024
"""Bins of a sketch. With 1,024, two bits each, and nobody in common, the estimated share has a deviation of .018."""
CHANCE = 0.25
"""Probability that two bits agree by chance."""
SURE = 5 * (CHANCE * (1 - CHANCE) / BINS) ** 0.5 / (1 - CHANCE)
"""Five standard deviations of the estimate for tables without a common person."""
SAME = 0.5
"""Of the people of the smaller table, the share from which two tables are about the same people."""
DISTINCT = 0.9
"""A sketch without one of the columns is made if this share of the people still differ from all others."""
MOST_LEFT_OUT = 64
"""Columns that are left out in turn, at most; in a wider table, those whose keyed names are the smallest."""


@dataclass(frozen=True, slots=True)
class Sketch:
    """The people of a table by some of its columns: the bits of the bins, and two sums over the people, modulo 2^64."""

    bits: NDArray[np.uint8]
    first: int
    second: int

    def dump(self) -> list[Any]:
        """As JSON holds it."""
        packed = np.packbits((self.bits[:, None] >> np.array([0, 1], np.uint8)) & 1)
        return [base64.b64encode(packed.tobytes()).decode(), f"{self.first:016x}", f"{self.second:016x}"]


def sketch_of(dumped: Any) -> Sketch:
    """A sketch from JSON. Raises `ValueError` or `TypeError` for anything else."""
    text, first, second = dumped
    flat = np.unpackbits(np.frombuffer(base64.b64decode(text, validate=True), np.uint8)).reshape(BINS, 2)
    return Sketch((flat[:, 0] + 2 * flat[:, 1]).astype(np.uint8), int(first, 16), int(second, 16))


@dataclass(frozen=True, slots=True)
class Sketched:
    """The people of a table: their number, and a sketch by each set of columns, by the keyed name of the set.

    The sets are all columns, and all but one: a table that lost, gained or recoded a column is still about the
    same people. `hashes` are the people's own, by set; they are never stored.
    """

    people: int
    sketches: Mapping[str, Sketch]
    hashes: Mapping[str, Hashes]


@dataclass(frozen=True, slots=True)
class Overlap:
    """Whether two tables are about the same people, and by how many people they differ.

    0 and 1 are exact; a larger number is an estimate. Tables of other columns are compared by the columns of both.
    """

    same: bool
    apart: float = float("inf")


def sketched(frame: Any, person: str | None, key: Key) -> Sketched:
    """The sketches of a pandas table; `person` names the column of the person, if there is one."""
    salt = hmac.new(key.secret, b"sketches of people", hashlib.sha256).digest()
    of_person = None if person is None or person not in frame.columns else frame[person]
    columns = {str(n): i for i, n in enumerate(frame.columns) if of_person is None or n != person}
    names = {name: _name(name, salt) for name in columns}
    cells = {name: _cells(frame.iloc[:, i], names[name], salt) for name, i in columns.items()}
    whole = np.zeros(len(frame), np.uint64)
    for hashes in cells.values():
        whole += hashes
    all_names = sum(names.values()) % 2**64
    left_out = sorted(names, key=names.__getitem__)[:MOST_LEFT_OUT] if len(names) > 1 else []
    hashed = {f"{all_names:016x}": _people(whole, of_person, salt)}
    for name in left_out:
        hashes = _people(whole - cells[name], of_person, salt)
        if len(np.unique(hashes)) >= DISTINCT * len(hashes):
            hashed[f"{(all_names - names[name]) % 2**64:016x}"] = hashes
    counted = {name: _numbered(hashes) for name, hashes in hashed.items()}
    people = len(next(iter(counted.values())))
    return Sketched(people, {name: _sketch(hashes, salt) for name, hashes in counted.items()}, counted)


def compared(now: Sketched, people: int, sketches: Mapping[str, Sketch], key: Key) -> Overlap:
    """The overlap of a table with an earlier one of so many people, of which the sketches are kept."""
    salt = hmac.new(key.secret, b"sketches of people", hashlib.sha256).digest()
    overlaps = {
        name: _compared(now.hashes[name], sketch, (now.people, people), sketches[name], salt)
        for name, sketch in now.sketches.items()
        if name in sketches
    }
    if (whole := next(iter(now.sketches))) in overlaps and overlaps[whole].same:
        return overlaps[whole]
    return min(overlaps.values(), key=lambda o: (not o.same, o.apart), default=Overlap(False))


def _compared(hashes: Hashes, sketch: Sketch, people: tuple[int, int], earlier: Sketch, salt: bytes) -> Overlap:
    if min(people) == 0:
        return Overlap(False)
    if people[0] == people[1] and (sketch.first, sketch.second) == (earlier.first, earlier.second):
        return Overlap(True, 0)
    if _one_apart(hashes, sketch, people[0] - people[1], earlier, salt):
        return Overlap(True, 1)
    agree = float(np.mean(sketch.bits == earlier.bits))
    jaccard = min(max((agree - CHANCE) / (1 - CHANCE), 0.0), 1.0)
    common = min(jaccard / (1 + jaccard) * sum(people), *people)
    apart = max(sum(people) - 2 * common, abs(people[0] - people[1]), 2)
    return Overlap(jaccard > SURE and common >= SAME * min(people), apart)


def _one_apart(hashes: Hashes, sketch: Sketch, more: int, earlier: Sketch, salt: bytes) -> bool:
    """Do the tables differ by one person: one more, one less, or one in another's place (or with another value)?"""
    first = np.array([(sketch.first - earlier.first) % 2**64], np.uint64)
    second = np.array([(sketch.second - earlier.second) % 2**64], np.uint64)
    if more == 0:
        return bool(np.any(_mixed(hashes - first, salt, 2) == _mixed(hashes, salt, 2) - second))
    return (more == 1 and bool(_mixed(first, salt, 2) == second)) or (
        more == -1 and bool(_mixed(-first, salt, 2) == -second)
    )


def _name(name: str, salt: bytes) -> int:
    digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), key=salt, digest_size=8).digest()
    return int.from_bytes(digest, "little")


def _cells(values: Any, name: int, salt: bytes) -> Hashes:
    """A keyed hash of each cell with its column's name."""
    import pandas as pd

    if values.dtype.kind in "fiu":  # each number is written as text once
        numbers, different = pd.factorize(values, use_na_sentinel=False)
        texts = np.array(texts_of(pd.Series(different))(0, len(different)), dtype=object)[numbers]
    else:
        texts = np.array(texts_of(values)(0, len(values)), dtype=object)
    codes, distinct = pd.factorize(texts)
    key = hashlib.blake2b(name.to_bytes(8, "little"), key=salt, digest_size=32).digest()
    hashed = [hashlib.blake2b(t.encode("utf-8", "surrogatepass"), key=key, digest_size=8).digest() for t in distinct]
    return np.frombuffer(b"".join(hashed), "<u8").astype(np.uint64)[codes]


def _people(rows: Hashes, person: Any, salt: bytes) -> Hashes:
    """One hash a person: of the multiset of their rows. Rows without a person are people of their own."""
    import pandas as pd

    mixed = _mixed(rows, salt, 0)
    if person is None:
        return _mixed(mixed, salt, 3)
    codes, distinct = pd.factorize(person)
    sums = np.zeros(len(distinct), np.uint64)
    np.add.at(sums, codes[codes >= 0], mixed[codes >= 0])
    return _mixed(np.concatenate([sums, mixed[codes < 0]]), salt, 3)


def _numbered(hashes: Hashes) -> Hashes:
    """The hashes as a set: of people who are alike, the second, the third and so on have hashes of their own."""
    import pandas as pd

    if len(np.unique(hashes)) == len(hashes):
        return _mixed(hashes, b"", 1)
    times = pd.Series(hashes).groupby(hashes).cumcount().to_numpy().astype(np.uint64)
    return _mixed(hashes + times * np.uint64(0x9E3779B97F4A7C15), b"", 1)


def _sketch(hashes: Hashes, salt: bytes) -> Sketch:
    sums = [int(np.sum(h, dtype=np.uint64)) for h in (hashes, _mixed(hashes, salt, 2))]
    drawn = _mixed(hashes, salt, 4)
    bins, empty = (drawn % np.uint64(BINS)).astype(np.int64), np.uint64(2**64 - 1)
    least = np.full(BINS, empty)
    np.minimum.at(least, bins, drawn // np.uint64(BINS))
    full, number = least != empty, np.arange(BINS, dtype=np.uint64)
    filled, attempt = least.copy(), 0
    while full.any() and (filled == empty).any():
        attempt += 1
        other = (_mixed(number * np.uint64(2**32) + np.uint64(attempt), salt, 5) % np.uint64(BINS)).astype(np.int64)
        filled = np.where((filled == empty) & full[other], least[other], filled)
    return Sketch((_mixed(filled, salt, 6) & np.uint64(3)).astype(np.uint8), sums[0], sums[1])


def _mixed(values: Hashes, salt: bytes, use: int) -> Hashes:
    """A keyed permutation of 64-bit numbers (the finaliser of splitmix64, twice); `use` separates its purposes."""
    key = hashlib.blake2b(bytes([use]), key=salt, digest_size=16).digest()
    mixed = values
    for half in (key[:8], key[8:]):
        mixed = mixed ^ np.uint64(int.from_bytes(half, "little"))
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed = mixed ^ (mixed >> np.uint64(31))
    return mixed

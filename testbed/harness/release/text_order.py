"""Texts copied with their parts moved: whose words, in any order, does a released text have?

Each released text is compared with the texts of all real people, original and control together, as a set of words.
Rare words count more. A person's score tells how much nearer some released text is to this person than to the second
nearest person. The search does not know who is a member. If the generator remembers nobody, the people with the highest
scores are therefore members as often as chance draws them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from testbed.core import Array
from testbed.data.tables.free_text import Bags, spread
from testbed.findings import statistics

PRODUCTS = 2_000_000_000
"""Most pairs of a released and a real text that share a word, counted for each word: some 10 CPU seconds. The words in
most texts are passed over first, then released texts."""
KEPT = 0.6
"""Share of all words' information that is never passed over. If it costs too much, fewer released texts are taken."""
BLOCK = 20_000_000
"""Products that are in memory at once."""
SLACK = 2.0
"""Information (nats) that is added to each distance. It keeps the scores of short texts small: little is known of whom
they are, even if all their words agree."""
FEWEST, EXPECTED_CONTROLS = 8, 20
"""Fewest people that are tested, and most controls that chance would give among the people tested."""
NEARER = float(np.log(2))
"""Score from which a person is counted in the report: a released text is twice as near as to anybody else. It is lower
if the people of whom the test is surest have lower scores."""


@dataclass(frozen=True, slots=True)
class Moved:
    """The p-value of the test, and the numbers of members and of controls with a high score."""

    p_value: float
    members: int
    controls: int


def moved(original: Bags, released: Bags, control: Bags, members: int, controls: int) -> Moved:
    """The chance that the people with the highest scores are so often members, and how many have a high score."""
    person = np.concatenate([original.person, control.person + members])
    cells = len(original.person), len(control.person)
    word = np.concatenate([original.word, control.word])
    cell = np.concatenate([original.cell, control.cell + cells[0]])
    size = 1 + max(int(word.max(initial=0)), int(released.word.max(initial=0)))
    real = sparse.csr_matrix((np.ones(len(word), np.float32), (cell, word)), shape=(len(person), size))
    asked = sparse.csr_matrix(
        (np.ones(len(released.word), np.float32), (released.cell, released.word)), shape=(len(released.person), size)
    )
    scores = np.zeros(members + controls)
    for whose, score in _nearest(asked, real, person):
        np.maximum.at(scores, whose, score)
    # People who tie (their texts have as much information, shared as far) stand in the order of what they wrote.
    tie = np.zeros(len(scores), np.uint64)
    np.maximum.at(tie, person, _content(real))
    order = np.lexsort((tie, -scores))
    order = order[scores[order] > 0]
    most = int(EXPECTED_CONTROLS * (members + controls) / max(1, controls))
    p, first = statistics.first_by_chance(order[:most] < members, FEWEST, members, controls)
    high = scores >= min(NEARER, scores[order[first - 1]] if first else NEARER)
    return Moved(p, int(high[:members].sum()), int(high[members:].sum()))


def _nearest(asked: sparse.csr_matrix, real: sparse.csr_matrix, person: Array) -> Iterator[tuple[Array, Array]]:
    """For blocks of released texts: the person nearest to each, and the score. Texts that share no word are left out.

    The likeness of two texts is the cosine of their sets of words, each word's square weighted by its information. The
    distance is 1 minus the likeness, times the information of the released text.
    """
    used = np.asarray(asked.sum(0)).ravel(), np.asarray(real.sum(0)).ravel()
    both = (used[0] > 0) & (used[1] > 0)  # a word of one side alone tells nothing about whose a text is
    texts = _rows(asked) + _rows(real)
    information = np.where(both, np.log((texts + 1) / np.maximum(used[0] + used[1], 1)), 0.0)
    kept = _affordable(used[0] * used[1], information * used[0])
    weight = np.where(kept, information, 0.0)
    # So many released texts are compared, drawn by their words.
    share = min(1.0, PRODUCTS / max(1.0, float((used[0] * used[1])[kept].sum())))
    rows = np.sort(np.argsort(_content(asked), kind="stable")[: int(np.ceil(share * _rows(asked)))])
    own, theirs = _scaled(asked[rows], weight), _scaled(real, weight)
    total = np.asarray(asked[rows] @ weight).ravel()
    columns = theirs.T.tocsr()
    costs = np.cumsum(own.astype(bool) @ (used[1] * kept))
    for block in np.split(np.arange(len(rows)), np.searchsorted(costs, np.arange(BLOCK, costs[-1], BLOCK))):
        like = (own[block] @ columns).tocsr()
        some = np.flatnonzero(np.diff(like.indptr))
        if len(some):
            yield _scores(like[some], person, total[block[some]])


def _affordable(products: Array, information: Array) -> Array:
    """Which words are compared: those in the fewest pairs of texts, as many as the budget and `KEPT` allow."""
    order = np.argsort(products, kind="stable")
    cost, known = np.cumsum(products[order]), np.cumsum(information[order])
    kept = np.zeros(len(products), dtype=bool)
    kept[order[(cost <= PRODUCTS) | (known <= KEPT * known[-1])]] = True
    return kept


def _scaled(texts: sparse.csr_matrix, weight: Array) -> sparse.csr_matrix:
    """Each text as a vector of length 1, or of length 0 if it has no word of any information."""
    found = texts.multiply(np.sqrt(weight)[None, :]).tocsr()
    found.eliminate_zeros()
    length = np.sqrt(np.asarray(texts @ weight).ravel())
    return sparse.diags(1 / np.where(length > 0, length, 1.0)) @ found


def _scores(like: sparse.csr_matrix, person: Array, total: Array) -> tuple[Array, Array]:
    """The nearest person of each row of likenesses (none empty), and the score against the second nearest person."""
    starts, rows = like.indptr[:-1], np.repeat(np.arange(_rows(like)), np.diff(like.indptr))
    whose = person[like.indices]
    first = np.maximum.reduceat(like.data, starts)
    at = np.full(_rows(like), len(like.data))
    highest = np.flatnonzero(like.data == first[rows])
    np.minimum.at(at, rows[highest], highest)
    second = np.maximum.reduceat(np.where(whose == whose[at][rows], 0.0, like.data), starts)
    far, near = (total * np.maximum(0.0, 1 - np.round(part, 6)) + SLACK for part in (second, first))
    return whose[at], np.log(far) - np.log(near)


def _rows(texts: sparse.csr_matrix) -> int:
    return len(texts.indptr) - 1


def _content(texts: sparse.csr_matrix) -> Array:
    """A number for each text that follows from its words alone."""
    found = np.zeros(_rows(texts), np.uint64)
    with np.errstate(over="ignore"):
        np.add.at(found, np.repeat(np.arange(len(found)), np.diff(texts.indptr)), spread(texts.indices))
    return found

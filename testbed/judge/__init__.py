"""The judge: one function for each kind of claim compares it with the truth and returns evidence.

No other part of the testbed sees a claim together with the truth.
"""

from testbed.judge import described
from testbed.judge.membership import scores, sources
from testbed.judge.models import agreement, feature, named, representatives
from testbed.judge.reconstructions import LineUp, cells, pairs, reconstruction, tokens
from testbed.judge.tables import guesses, links, predicates, predicates_design

__all__ = [
    "LineUp",
    "agreement",
    "cells",
    "described",
    "feature",
    "guesses",
    "links",
    "named",
    "pairs",
    "predicates",
    "predicates_design",
    "reconstruction",
    "representatives",
    "scores",
    "sources",
    "tokens",
]

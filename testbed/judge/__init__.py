"""From claims to evidence: the only place where a claim meets the truth. One function per kind of claim."""

from testbed.judge.membership import scores, sources
from testbed.judge.models import agreement, feature, named, representatives
from testbed.judge.reconstructions import LineUp, cells, pairs, reconstruction, tokens
from testbed.judge.tables import guesses, links, predicates, predicates_design

__all__ = [
    "LineUp",
    "agreement",
    "cells",
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

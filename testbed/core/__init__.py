# pyright: strict
"""The values that flow through the testbed: people, threats, views, questions, claims and evidence.

An attack receives a view, a question and auxiliary records, and returns a claim. It never receives a `Split`: only the
harness and the judge know who is a member and which person stands behind an item of the question. Values are frozen
and their arrays are read-only, so an attack cannot change what it is judged on.
"""

from testbed.core.claims import (
    Claim,
    Guesses,
    Links,
    Predicates,
    Reconstruction,
    Representatives,
    Scores,
    Sources,
    Substitutes,
)
from testbed.core.evidence import Cell, Evidence, Group, Unavailable
from testbed.core.people import Array, Cohort, Column, Condition, Kind, People, Split, Table, frozen
from testbed.core.questions import (
    Batch,
    Classes,
    Feature,
    Fields,
    Gaps,
    Halves,
    Known,
    Property,
    Queries,
    Question,
    Records,
    unnamed,
)
from testbed.core.threat import KNOWLEDGE, Access, Position, Threat
from testbed.core.views import (
    Act,
    Exchange,
    ModelSpec,
    Parameters,
    Predictor,
    Protocol,
    Recipe,
    Regressor,
    Release,
    Status,
    Transcript,
    View,
)

__all__ = [
    "KNOWLEDGE",
    "Access",
    "Act",
    "Array",
    "Batch",
    "Cell",
    "Claim",
    "Classes",
    "Cohort",
    "Column",
    "Condition",
    "Evidence",
    "Exchange",
    "Feature",
    "Fields",
    "Gaps",
    "Group",
    "Guesses",
    "Halves",
    "Kind",
    "Known",
    "Links",
    "ModelSpec",
    "Parameters",
    "People",
    "Position",
    "Predicates",
    "Predictor",
    "Property",
    "Protocol",
    "Queries",
    "Question",
    "Recipe",
    "Reconstruction",
    "Records",
    "Regressor",
    "Release",
    "Representatives",
    "Scores",
    "Sources",
    "Split",
    "Status",
    "Substitutes",
    "Table",
    "Threat",
    "Transcript",
    "Unavailable",
    "View",
    "frozen",
    "unnamed",
]

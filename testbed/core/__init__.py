# pyright: strict
"""The values that flow through the testbed: who is at stake, who looks, what they see, what they claim.

An attack receives a view, a question and auxiliary records; it returns a claim. It never receives a
`Split`: members, controls and the pairing between a question's items and people stay with the harness and
the judge. Values are frozen and their arrays read-only, so that what an attack was shown is what it was
judged on.
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

# pyright: strict
"""The values that flow through the testbed: who is at stake, who looks, what they see, what they claim.

An attack receives a view, a question and auxiliary records; it returns a claim. It never receives a
`Split`: members, controls and the pairing between a question's items and people stay with the harness and
the judge. Values are frozen and their arrays read-only, so that what an attack was shown is what it was
judged on.
"""

from testbed.core.claims import (
    Batch,
    Claim,
    Fields,
    Gaps,
    Guesses,
    Halves,
    Links,
    Predicates,
    Question,
    Reconstruction,
    Records,
    Scores,
    Sources,
    unnamed,
)
from testbed.core.evidence import Cell, Evidence, Group, Unavailable
from testbed.core.people import Array, Cohort, Column, Condition, Kind, People, Split, Table, frozen
from testbed.core.views import (
    KNOWLEDGE,
    Access,
    Act,
    Exchange,
    ModelSpec,
    Parameters,
    Position,
    Predictor,
    Protocol,
    Recipe,
    Release,
    Status,
    Threat,
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
    "Cohort",
    "Column",
    "Condition",
    "Evidence",
    "Exchange",
    "Fields",
    "Gaps",
    "Group",
    "Guesses",
    "Halves",
    "Kind",
    "Links",
    "ModelSpec",
    "Parameters",
    "People",
    "Position",
    "Predicates",
    "Predictor",
    "Protocol",
    "Question",
    "Recipe",
    "Reconstruction",
    "Records",
    "Release",
    "Scores",
    "Sources",
    "Split",
    "Status",
    "Table",
    "Threat",
    "Transcript",
    "Unavailable",
    "View",
    "frozen",
    "unnamed",
]

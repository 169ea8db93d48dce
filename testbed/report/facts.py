# pyright: strict
"""The form of a dossier: what no measurement can tell, asked of the people who know it. All of it may be left out."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from testbed.core import settings
from testbed.core.errors import UsageError
from testbed.core.shown import shown


def _as_text(value: object) -> object:
    """Numbers and dates, which YAML reads as such, as the text that was written; invisible characters are refused."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = str(value) if isinstance(value, int | float | date) else value
    if isinstance(text, str) and shown(text, lines=True) != text:
        raise ValueError("invisible characters")
    return text


Answer = Annotated[str, BeforeValidator(_as_text), StringConstraints(strip_whitespace=True, max_length=2000)]


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Action(_Form):
    """Something that was done to protect people, and whether it guarantees anything or is expected to help."""

    what: Answer
    kind: Literal["guarantee", "heuristic"]


class Facts(_Form):
    """The answers of a dossier's form; each is free text of at most 2,000 characters. None: not given."""

    purpose: Answer | None = None
    sources: Answer | None = None
    period: Answer | None = None
    persons: Answer | None = None
    special_categories: Answer | None = None
    minimisation: Answer | None = None
    parameters: Answer | None = None
    recipients: Answer | None = None
    recipients_hold: Answer | None = None
    queries: Answer | None = None
    roles: Answer | None = None
    collusion: Answer | None = None
    earlier_releases: Answer | None = None
    tested_by: Answer | None = None
    state_of_the_art: Answer | None = None
    measures: Annotated[list[Action], Field(max_length=30)] = []
    usefulness: Answer | None = None
    residual_risk: Answer | None = None
    review_date: date | None = None
    review_triggers: Answer | None = None

    def text(self) -> str:
        """The form as YAML, with the answers that were given; the same facts give the same text."""
        given = self.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
        return yaml.safe_dump(given, sort_keys=False, allow_unicode=True, width=100)


LABELS = {
    "purpose": "What is it for, and who decides on it",
    "sources": "Where the data come from",
    "period": "From when the data are",
    "persons": "How many people they are about, and which",
    "special_categories": "Special categories (health, genetic, ...) and children",
    "minimisation": "What was left out, coarsened or replaced beforehand",
    "parameters": "How many parameters the model has, beside how many people",
    "recipients": "Who may receive it, under which agreement",
    "recipients_hold": "What else recipients hold about the same people",
    "queries": "How many queries a recipient may make, and who counts them",
    "roles": "Who is who in the federation, and who sees what",
    "collusion": "Who could put together what they see",
    "earlier_releases": "What was released before about the same people",
    "tested_by": "Who tested, and how independent they are",
    "state_of_the_art": "Which newer attacks are known that were not run",
    "usefulness": "How good it must be to be of use",
    "residual_risk": "Which risk remains, for whom, how severe, and why it is accepted",
    "review_date": "When this is looked at again",
    "review_triggers": "What makes it be looked at earlier",
}
"""What the form asks, in words."""


def read(path: Path) -> Facts:
    """The form in a YAML file. Raises `UsageError` if it cannot be read or says anything else."""
    try:
        text = path.read_text(encoding="utf-8") if path.stat().st_size <= 4 * settings.LARGEST else ""
    except (OSError, UnicodeDecodeError):
        text = ""
    if not text.strip():
        raise _bad("It is no text in UTF-8, is empty, or is larger than a form can be.")
    return parse(text)


def parse(text: str) -> Facts:
    """The form that is this YAML text. Raises `UsageError` as `read` does."""
    try:
        given: Any = settings.parse(text)
    except settings.SettingsError as error:
        raise _bad(str(error)) from None
    if not given or not isinstance(given, dict):
        raise _bad("It is not a list of names with answers.")
    try:
        answers = cast("dict[str, Any]", given)
        return Facts.model_validate({name: answer for name, answer in answers.items() if answer is not None})
    except ValidationError as error:
        places = sorted({str(e["loc"][0]) for e in error.errors() if e["loc"]})
        raise _bad(f"These are not in the form, or not answered as it asks: {', '.join(map(shown, places))}.") from None


def _bad(why: str) -> UsageError:
    return UsageError(
        "TB-FACTS-001",
        "The form of the dossier cannot be used.",
        why,
        "See docs/dossier.md for the form and an example.",
    )

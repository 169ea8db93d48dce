# pyright: strict
"""What red may claim (a flag, a reconstruction, scores of named people, counts), and blue (a detection, a decision)."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

LARGEST = 400_000
"""Bytes of a claim at most."""
Number = Annotated[float, Field(allow_inf_nan=False)]


class _Claim(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Flag(_Claim):
    """The label of the flagged patient, read from a reconstructed picture."""

    kind: Literal["flag"]
    code: str = Field(min_length=1, max_length=40)


class Picture(_Claim):
    """One reconstructed record of a hospital's patient in a round, its values in the record's order."""

    kind: Literal["reconstruction"]
    round: int = Field(ge=1, le=1000)
    hospital: str = Field(max_length=40)
    record: list[Number] = Field(min_length=1, max_length=100_000)


class Membership(_Claim):
    """A score for every named person; larger means surer that a hospital trained on this person."""

    kind: Literal["membership"]
    round: int = Field(ge=1, le=1000)
    scores: dict[str, Number] = Field(min_length=1, max_length=10_000)


class Count(_Claim):
    """For every leaf of the hospitals' first trees in a round: the patients who are well, and those who are ill."""

    kind: Literal["count"]
    round: int = Field(ge=1, le=1000)
    counts: dict[str, tuple[int, int]] = Field(min_length=1, max_length=10_000)


class Detection(_Claim):
    """Blue: in this round the coordinator attacked, by this technique (the attack's name)."""

    kind: Literal["detection"]
    round: int = Field(ge=1, le=1000)
    technique: str = Field(min_length=1, max_length=60, pattern=r"^[a-z0-9_]+$")


class Decision(_Claim):
    """Blue: this candidate release goes out, or is held; with the report on it, the result.json of testbed evaluate."""

    kind: Literal["decision"]
    round: int = Field(ge=1, le=1000)
    decision: Literal["release", "hold"]
    report: dict[str, Any]


Claim: TypeAlias = Annotated[Flag | Picture | Membership | Count | Detection | Decision, Field(discriminator="kind")]
OF_SIDE = {"red": ("flag", "reconstruction", "membership", "count"), "blue": ("detection", "decision")}
"""What each side may claim."""
_CLAIM: TypeAdapter[Claim] = TypeAdapter(Claim)


def parsed(body: bytes) -> Claim | str:
    """The claim in a message's body, or what is wrong with it: a place in the claim, and never a value of it."""
    try:
        return _CLAIM.validate_json(body, strict=True)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(p) for p in first["loc"][:2])
        return f"{first['type']} at {place or 'the whole message'}"
    except (ValueError, RecursionError):
        return "not JSON"


def digest(claim: Claim) -> str:
    """A name for a claim that depends on what it says alone, so that a repeated one is known."""
    if isinstance(claim, Flag):  # a flag that is typed in other letters is the same claim
        claim = claim.model_copy(update={"code": claim.code.strip().upper()})
    told = json.dumps(claim.model_dump(), sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()[:32]

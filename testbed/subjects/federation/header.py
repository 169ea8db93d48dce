"""The header of a transcript's file: its form, which is also its JSON Schema, and its versions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from testbed.core.errors import InputError

VERSION = 1
FORMAT = f"testbed.transcript/{VERSION}"
LARGEST = 2**31 - 1

Count = Annotated[int, Field(ge=0, le=LARGEST)]
Number = Annotated[int, Field(ge=-LARGEST, le=LARGEST)]
Finite = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Setting = bool | int | float | str
Tensors = dict[str, str]
"""The digest of each tensor by its name."""


class _Part(BaseModel):
    """A part of the header. Fields that it does not know are errors, and values are of their own type."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ProtocolPart(_Part):
    kind: Literal["fedsgd", "fedavg", "unknown"] = "unknown"
    batch_size: Annotated[int, Field(ge=1, le=LARGEST)] | None = None
    local_epochs: Count = 1
    local_steps: Count | None = None
    learning_rate: Finite | None = None
    optimizer: str = "sgd"
    momentum: Annotated[float, Field(allow_inf_nan=False)] = 0.0
    rounds: Count = 0
    clients: Count = 0
    proximal_mu: Finite | None = None
    server: Literal["adam"] | None = None
    server_rate: Finite | None = None
    controls: bool | None = None
    personal: Count | None = None


class ModelPart(_Part):
    factory: str
    arguments: dict[str, Any] = Field(default_factory=dict)


class ExchangePart(_Part):
    round: Number
    client: Number
    status: Literal["ok", "error", "dropped", "refused"] = "ok"
    metrics: dict[str, float] = Field(default_factory=dict)
    config: dict[str, Setting] = Field(default_factory=dict)
    sent: Tensors | None = None
    returned: Tensors | None = None


class Header(_Part):
    """Everything that a transcript's file holds besides tensors."""

    format: str
    position: Literal["server", "client"] = "server"
    protocol: ProtocolPart = ProtocolPart()
    model: ModelPart | None = None
    act: str | None = None
    exchanges: list[ExchangePart]
    final: Tensors | None = None
    memory: Tensors | None = None


class AskedPart(ExchangePart):
    kind: str


class More(_Part):
    """What a file may hold besides its header. Readers of before it was there pass over it."""

    cut_after: Number | None = None
    asked: list[AskedPart] = Field(default_factory=list[AskedPart])


class _Stamp(BaseModel):
    """The one field that every version has."""

    format: str


def parsed(text: str) -> Header:
    """The header written as JSON. Raises `InputError` for one of a newer version, or of another form."""
    try:
        stamp = re.fullmatch(r"testbed\.transcript/([1-9][0-9]{0,8})", _Stamp.model_validate_json(text).format)
        if stamp and int(stamp[1]) > VERSION:
            raise InputError(
                "TB-TRANSCRIPT-002",
                f"The transcript has version {stamp[1]}; this testbed reads up to version {VERSION}.",
                "A newer testbed wrote it, and may have meant what this one would misread.",
                "Install the testbed that wrote it, or a newer one.",
            )
        if stamp is None:
            raise damaged("its header names no version of a transcript")
        return Header.model_validate_json(text)
    except ValidationError as error:
        raise damaged(f"its header is wrong at {_place(error)}") from None


def beside(text: str) -> More:
    """What stands beside the header, written as JSON. Raises `InputError` for another form."""
    try:
        return More.model_validate_json(text)
    except ValidationError as error:
        raise damaged(f"what stands beside its header is wrong at {_place(error)}") from None


def damaged(where: str) -> InputError:
    """The error about a file that is no whole transcript."""
    return InputError(
        "TB-TRANSCRIPT-001",
        "The transcript cannot be read.",
        f"The file is damaged, incomplete, or not a transcript of this testbed: {where}.",
        "Record it again, or check how it was copied.",
    )


def fault_of(
    round_: Any, client: Any, metrics: Mapping[str, Any], config: Mapping[str, Any], status: Any
) -> str | None:
    """The field of an exchange that the header cannot hold, or None."""
    given = {"round": round_, "client": client, "metrics": dict(metrics), "config": dict(config), "status": status}
    try:
        ExchangePart.model_validate(given)
    except ValidationError as error:
        return _place(error)
    return None


PARTS = (Header, ProtocolPart, ModelPart, ExchangePart, AskedPart, More)
FIELDS = {name for part in PARTS for name in part.model_fields}


def _place(error: ValidationError) -> str:
    """Where the first fault is: fields of the form and places in lists, never a name or value from the file."""
    at = [str(step) for step in error.errors()[0]["loc"] if isinstance(step, int) or step in FIELDS]
    return ".".join(at) or "its outermost level"


def schema() -> dict[str, Any]:
    """The JSON Schema of the header."""
    return Header.model_json_schema()


def schema_of_more() -> dict[str, Any]:
    """The JSON Schema of what a file may hold besides."""
    return More.model_json_schema()

"""The lines of a spool: what is written of a federation while it runs, in the order in which it happens.

A spool is one file that only grows. A line is a JSON object; after the line of a tensor come the tensor's bytes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Annotated, Any, BinaryIO, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from testbed.subjects.federation.header import LARGEST, Count, ModelPart, Number, ProtocolPart, Setting
from testbed.subjects.federation.tensors import ALIGNED, TYPES, Place

FORMAT = "testbed.spool/1"
LONGEST = 1 << 26
"""Bytes of the longest line that is read."""


class _Line(BaseModel):
    """A line of the journal. Fields that it does not know are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Begun(_Line):
    """The first line."""

    line: Literal["begun"]
    format: Literal["testbed.spool/1"]
    position: Literal["server", "client"]
    protocol: ProtocolPart
    model: ModelPart | None


class Tensor(_Line):
    """A tensor, whose bytes follow the line."""

    line: Literal["tensor"]
    digest: Annotated[str, Field(pattern="^[0-9a-f]{24}$")]
    kind: str
    shape: Annotated[list[Count], Field(max_length=64)]


class Arrays(_Line):
    """The tensors of one message, by name. Later lines refer to this one by its place among its kind."""

    line: Literal["arrays"]
    tensors: dict[str, str]


class Client(_Line):
    """A node's number among the clients."""

    line: Literal["client"]
    node: int
    number: Number


class Exchanged(_Line):
    """A message to a node and its answer. A later line of the same id takes the place of an earlier one.

    `kind` is None for training, and the type of a message that trains nothing.
    """

    line: Literal["exchange"]
    id: Count
    round: Number
    node: int
    status: Literal["ok", "error", "dropped", "refused"]
    metrics: dict[str, float]
    config: dict[str, Setting]
    sent: Count | None
    returned: Count | None
    kind: str | None = None


class Whole(_Line):
    """Everything of this round lies before this line. `final` is the global model after it."""

    line: Literal["whole"]
    round: Number
    final: Count | None


Line: TypeAlias = Annotated[Begun | Tensor | Arrays | Client | Exchanged | Whole, Field(discriminator="line")]
_LINE: TypeAdapter[Line] = TypeAdapter(Line)


def text_of(line: Any) -> bytes:
    """A line as it is written."""
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"


def before_tensor(name: str, kind: str, shape: tuple[int, ...], at: int) -> bytes:
    """The line of a tensor that is written at this place of the file; spaces align the bytes that follow."""
    text = text_of({"line": "tensor", "digest": name, "kind": kind, "shape": shape})
    return text[:-1] + b" " * (-(at + len(text)) % ALIGNED) + b"\n"


def lines(file: BinaryIO, end: int) -> Iterator[tuple[Line, Place | None]]:
    """The lines of a spool, and the places of tensors. They end where the file is cut off or cannot be read."""
    file.seek(0)
    at = 0
    while text := file.readline(LONGEST):
        at += len(text)
        try:
            line = _LINE.validate_json(text) if text.endswith(b"\n") else None
        except ValidationError:
            return
        if line is None:
            return
        place = None
        if isinstance(line, Tensor):
            if line.kind not in TYPES or math.prod(line.shape) > LARGEST * LARGEST:
                return
            place = Place(TYPES[line.kind], tuple(line.shape), at)
            at += place.size
            if at > end:
                return
            file.seek(at)
        yield line, place

"""Jupyter notebooks: what their cells printed and drew is often rows of people."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import Any

from testbed.subjects.artefacts import marked_up, plain
from testbed.subjects.artefacts.pickled import Packed
from testbed.subjects.artefacts.pieces import Piece, Text, Where
from testbed.subjects.artefacts.structured import of_json, parsed, tree

PICTURES = ("image/png", "image/jpeg", "application/pdf")


def of_json_or_notebook(text: str, where: Where, packed: Packed) -> Iterator[Piece]:
    """The pieces of a notebook, or of other JSON."""
    made = parsed(text)
    if isinstance(made, dict) and isinstance(made.get("cells"), list) and "nbformat" in made:
        yield from _notebook(made, (*where[:-1], "notebook"), packed)
    elif made is None:
        yield from of_json(text, where, packed)
    else:
        yield from tree(made, where, packed)


def _notebook(made: dict[str, Any], where: Where, packed: Packed) -> Iterator[Piece]:
    """Sources, outputs, attachments and metadata of a Jupyter notebook."""
    for place, cell in enumerate(made["cells"], 1):
        if not isinstance(cell, dict):
            continue
        here = (*where, f"cell {place}")
        yield Text((*here, "source"), _joined(cell.get("source")))
        outputs = cell.get("outputs")
        for number, output in enumerate(outputs if isinstance(outputs, list) else [], 1):
            if isinstance(output, dict):
                yield from _output(output, (*here, f"output {number}"), packed)
        attachments = cell.get("attachments")
        for held in attachments.values() if isinstance(attachments, dict) else ():
            if isinstance(held, dict):
                yield from _shown(held, (*here, "attachment"), packed)
    yield from tree(
        [made.get("metadata"), [c.get("metadata") for c in made["cells"] if isinstance(c, dict)]], where, packed
    )


def _joined(text: Any) -> str:
    return "".join(map(str, text)) if isinstance(text, list) else text if isinstance(text, str) else ""


def _output(output: dict[str, Any], where: Where, packed: Packed) -> Iterator[Piece]:
    said = [_joined(output.get(k)) for k in ("text", "evalue", "traceback")]
    for text in filter(None, said):
        yield from plain.of_text(text, where, packed, output=True)
    if isinstance(output.get("data"), dict):
        yield from _shown(output["data"], where, packed)


def _shown(held: dict[str, Any], where: Where, packed: Packed) -> Iterator[Piece]:
    for kind, content in held.items():
        if kind in PICTURES:
            try:
                yield from packed((*where, "picture"), base64.b64decode(_joined(content)))
            except (binascii.Error, ValueError):
                continue
        elif kind == "text/html":
            yield from marked_up.of_html(_joined(content), where, packed, "output")
        elif isinstance(content, dict | list) and not (isinstance(content, list) and all(map(_is_text, content))):
            yield from tree(content, where, packed)
        else:
            yield from plain.of_text(_joined(content), where, packed, output=True)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)

# pyright: strict
"""Digests in a result: they show whether any part of it was altered after it was made.

`run.id` is a digest of all other fields, so the id on a printed report names one file only. Anyone can compute digests:
they show that nothing changed since, not who made the result. A signature shows that (`testbed bundle --sign`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from testbed.findings.comparison.schema import SCHEMA as COMPARISON
from testbed.findings.comparison.schema import Comparison, ComparisonProof
from testbed.findings.schema import Input, Proof, Result

EXEMPT = ("id", "created", "duration_s", "environment")
"""The fields of `run` that differ between equal runs."""
ID_LENGTH = 32
"""Hexadecimal digits of a run's id that is a digest. Ids of earlier versions are shorter and random."""
PARTS, OF_COMPARISONS = ("findings", "decision"), ("settings", "decision")
"""The fields of a result, and of a comparison, that have a digest of their own."""
REMOVED = "its digests were removed"


def sealed(
    result: Result, *, command: str | None = None, inputs: Sequence[Input] = (), key: str | None = None
) -> Result:
    """The result with its digests. What is not given (the command line, the inputs) is kept from an earlier sealing.

    Sealing twice changes nothing.
    """
    earlier = result.proof
    blank = Proof(
        command=command or (earlier.command if earlier else None),
        inputs=list(inputs) or (earlier.inputs if earlier else []),
        key=key or (earlier.key if earlier else None),
        findings="",
        decision="",
        content="",
    )
    made = _dumped(result.model_copy(update={"proof": blank}).dump())
    proof = blank.model_copy(update=_parts(made))
    made["proof"] = proof.model_dump(mode="json", exclude_none=True)
    run = result.run.model_copy(update={"id": _id(made)})
    return result.model_copy(update={"proof": proof, "run": run})


def sealed_comparison(made: Comparison) -> Comparison:
    """The comparison with its digests. Sealing twice changes nothing."""
    blank = ComparisonProof(settings="", decision="", content="")
    dumped = _dumped(made.model_copy(update={"proof": blank}).dump())
    found = blank.model_copy(update=_parts(dumped, OF_COMPARISONS))
    dumped["proof"] = found.model_dump(mode="json")
    run = made.run.model_copy(update={"id": _id(dumped)})
    return made.model_copy(update={"proof": found, "run": run})


def altered(content: Mapping[str, Any]) -> tuple[str, ...] | None:
    """What was altered in a result, or a comparison, as its JSON file holds it; empty if nothing.

    None if it has no digests at all.
    """
    names = OF_COMPARISONS if content.get("schema") == COMPARISON else PARTS
    found = _fields(content.get("proof"))
    run = _fields(content.get("run"))
    if found is None:
        return (REMOVED,) if run is not None and len(str(run.get("id"))) == ID_LENGTH else None
    if run is None:
        return ("its structure",)
    try:
        parts = _parts(content, names)
        wrong = [f"the {name}" for name in names if found.get(name) != parts[name]]
        if not wrong and found.get("content") != parts["content"]:
            wrong = [f"a field outside {' and '.join(names)}"]
        if not wrong and run.get("id") != _id(content):
            wrong = [f"one of run.{', run.'.join(EXEMPT)}"]
    except (KeyError, ValueError, TypeError):
        return ("its structure",)
    return tuple(wrong)


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The fields of a JSON object. Raises `ValueError` for a name that stands twice: readers would differ on it."""
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError
    return fields


def _dumped(made: dict[str, Any]) -> dict[str, Any]:
    """A result as JSON gives it back."""
    return cast("dict[str, Any]", json.loads(json.dumps(made)))


def _parts(content: Mapping[str, Any], names: Sequence[str] = PARTS) -> dict[str, str]:
    """The digests of the parts that have one of their own, and of all that does not differ between equal runs."""
    run = {name: value for name, value in content["run"].items() if name not in EXEMPT}
    own = {n: v for n, v in content["proof"].items() if n not in (*names, "content")}
    return {
        **{name: _digest(content[name]) for name in names},
        "content": _digest({**content, "run": run, "proof": own}),
    }


def _id(content: Mapping[str, Any]) -> str:
    run = {name: value for name, value in content["run"].items() if name != "id"}
    return _digest({**content, "run": run})[:ID_LENGTH]


def _digest(value: object) -> str:
    """SHA-256 of the value as JSON with sorted names, without blanks, in ASCII."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _fields(value: object) -> dict[str, Any] | None:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None

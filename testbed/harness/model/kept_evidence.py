"""Evidence that a folder keeps: a second audit of the same model, people and code computes nothing anew.

An entry holds findings and the evidence behind them. Its name is a digest of everything that they follow from. Its
first bytes are a digest of name and content under the site's key: an entry that is damaged, renamed, or was written
elsewhere is not believed, and is computed anew. No entry is a pickle.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import io
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from testbed.attacks.registry import Attack, Listed
from testbed.core import Cohort, Evidence, Threat, source_text
from testbed.core.private_files import put, writable
from testbed.data.fingerprints import site_key
from testbed.defences import named
from testbed.findings.assemble import version
from testbed.findings.plan import Plan
from testbed.findings.schema import Finding
from testbed.harness.cells import Judged
from testbed.harness.sweep.inputs import APART, content_digest, digest
from testbed.subjects.predictors.kept import contents, digest_of
from testbed.subjects.predictors.subject import Subject

FOLDER = "evidence"
"""The folder of the entries, within the folder that --cache names."""
EXAMINES = "testbed.harness.model.examine"
"""The module whose code, with all that it imports, makes evidence and findings."""
COLUMNS = ("view", "group", "item", "cluster", "score", "success")
MAY_PASS = frozenset({"cannot_retrain"})
"""Reasons for which a finding is unmeasured that may lie in the machine, such as too little memory. An audit with such
a finding is not kept as a whole."""
MAC = hashlib.sha256().digest_size


@dataclass(frozen=True, slots=True)
class Measured:
    """Findings, and the evidence of those that were measured, by its name."""

    findings: list[Finding]
    evidence: dict[str, Evidence]


@dataclass(frozen=True, slots=True)
class KeptEvidence:
    """The entries about one subject. `about` is a digest of the model, its people and the code that examines them."""

    folder: Path
    about: str
    secret: bytes = field(repr=False)

    @staticmethod
    def of(subject: Subject) -> KeptEvidence | None:
        """The entries about this subject, or None if nothing about it is kept.

        Behind a defence with secret noise nothing is: its noise is drawn anew for each audit. Raises `UsageError` if
        the folder cannot be written.
        """
        defences = () if subject.protection is None else subject.protection.defences
        if subject.kept is None or any(d.secret for d in defences):
            return None
        folder = subject.kept.folder / FOLDER
        writable(folder)
        groups = (subject.members, subject.controls, subject.others, subject.removed)
        about = {
            "version": version(),
            "code": code_of(EXAMINES),
            "model": subject.kept.model,
            "people": [None if group is None else _of_people(group) for group in groups],
            "inputs": [list(subject.features), list(subject.unordered), subject.described],
            "notes": dict(subject.notes),
            "defences": named.text_of(defences),
        }
        return KeptEvidence(folder, digest(about), site_key().secret)

    def attacked(self, attack: Attack, plan: Plan, seed: int, threat: Threat, work: Callable[[], Judged]) -> Judged:
        """The finding of one attack with its evidence, from its entry or by `work`. What is unmeasured is not kept."""
        name = self._name(plan=dataclasses.asdict(plan), seed=seed, threat=_told(threat), code=code_of_attack(attack))
        held = self._read(name)
        if held is not None and held.findings and held.evidence:
            return Judged(plan, held.findings[0], held.evidence[plan.key], tuple(held.findings[1:]))
        made = work()
        if made.evidence is not None:
            self._write(name, Measured(made.findings, {plan.key: made.evidence}))
        return made

    def whole(self, options: Any, attacks: Iterable[Listed], work: Callable[[], Measured]) -> Measured:
        """All findings of an examination with these options and attacks, from their entry or by `work`."""
        code = {attack.name: code_of(attack.module, Path(attack.file)) for attack in attacks}
        name = self._name(options={**dataclasses.asdict(options), "secrets": list(options.secrets)}, attacks=code)
        held = self._read(name)
        if held is not None:
            return held
        made = work()
        reasons = {getattr(finding.measure, "unmeasured", None) for finding in made.findings}
        if not reasons & MAY_PASS:
            self._write(name, made)
        return made

    def _name(self, **asked: Any) -> str:
        return digest({"about": self.about, **asked})

    def _read(self, name: str) -> Measured | None:
        """The entry of this name, or None if there is none that this site wrote under this name."""
        try:
            held = (self.folder / name).read_bytes()
        except OSError:
            return None
        if not hmac.compare_digest(held[:MAC], self._mac(name, held[MAC:])):
            return None
        try:
            return unpacked(held[MAC:])
        except (ValueError, KeyError, TypeError, OSError):  # written by this site, yet in another form
            return None

    def _write(self, name: str, made: Measured) -> None:
        content = packed(made)
        put(self.folder / name, self._mac(name, content) + content)

    def _mac(self, name: str, content: bytes) -> bytes:
        return hmac.new(self.secret, name.encode() + content, hashlib.sha256).digest()


def packed(made: Measured) -> bytes:
    """Findings and evidence as bytes, losslessly: arrays as NumPy writes them, the rest as JSON."""
    head = {
        "findings": [finding.model_dump(mode="json", exclude_unset=True) for finding in made.findings],
        "evidence": [[name, rows.requested, rows.performed, list(rows.notes)] for name, rows in made.evidence.items()],
    }
    arrays = {
        f"{place}.{column}": getattr(rows, column)
        for place, rows in enumerate(made.evidence.values())
        for column in COLUMNS
    }
    if any(values.dtype.hasobject for values in arrays.values()):
        raise TypeError("columns of evidence must be numbers or texts: NumPy would write objects as a pickle")
    text = np.frombuffer(json.dumps(head).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, head=text, **arrays)
    return buffer.getvalue()


def unpacked(content: bytes) -> Measured:
    """The inverse of `packed`. Raises `ValueError`, `KeyError`, `TypeError` or `OSError` for other bytes."""
    with np.load(io.BytesIO(content), allow_pickle=False) as held:
        head = json.loads(held["head"].tobytes())
        evidence = {
            name: Evidence(
                **{column: held[f"{place}.{column}"] for column in COLUMNS},
                requested=requested,
                performed=performed,
                notes=tuple(notes),
            )
            for place, (name, requested, performed, notes) in enumerate(head["evidence"])
        }
    return Measured([Finding.model_validate(finding) for finding in head["findings"]], evidence)


def code_of(module: str, file: Path | None = None) -> str:
    """A digest of the source of a module and of all that it imports from the testbed, or from beside a user's file."""
    path = file or source_text.file(module)
    assert path is not None
    closed = source_text.closure(path, module, APART)
    return digest({name: content_digest(each) for name, each in closed.items()})


def code_of_attack(attack: Attack) -> str:
    """The same of the module that holds an attack."""
    held = Listed.of(attack)
    return code_of(held.module, Path(held.file))


def _of_people(people: Cohort) -> str:
    named_ = hashlib.sha256("\0".join(map(str, people.persons.tolist())).encode()).hexdigest()
    return f"{contents(people)} {digest_of(people.x).hex()} {named_}"


def _told(threat: Threat) -> Mapping[str, Any]:
    return {f.name: _plain(getattr(threat, f.name)) for f in dataclasses.fields(threat)}


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, frozenset | set | tuple) else value

"""Kept evidence: a second audit computes nothing and finds the same; what is damaged or foreign is not believed."""

from __future__ import annotations

import json
import pickle
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier

from testbed.attacks.registry import Attack, find
from testbed.core import Evidence
from testbed.core.randomness import keyed_rng
from testbed.findings.schema import Finding
from testbed.harness.model import examine as examining
from testbed.harness.model import kept_evidence
from testbed.harness.model.defended import behind, chosen_defences
from testbed.harness.model.kept_evidence import KeptEvidence, Measured, packed, unpacked
from testbed.harness.model.model_audit import Options
from testbed.subjects.predictors.load import from_estimator
from testbed.subjects.predictors.subject import Kept, Subject
from tests.cli.test_cli import invoke

OPTIONS = Options(shadows=4, quick=True, deciding_only=True)
ONE = replace(OPTIONS, attack="rmia")


@pytest.fixture(autouse=True)
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESTBED_CACHE", str(tmp_path / "site"))
    monkeypatch.setattr(examining, "comparable", lambda *_: True)  # a forest that nothing here is about


def subject(cache: Path | None, depth: int = 3, moved: float = 0.0) -> Subject:
    rng = keyed_rng(0, "people")
    x = pd.DataFrame(rng.normal(size=(160, 2)), columns=["a", "b"]).assign(label=rng.integers(0, 2, 160))
    x.loc[0, "a"] += moved
    tree = DecisionTreeClassifier(max_depth=depth, random_state=0).fit(x[["a", "b"]][:80], x["label"][:80])
    kept = cache and Kept(cache, f"the file of a tree of depth {depth}")
    tables = {"members": x[:80], "controls": x[80:].reset_index(drop=True)}
    return from_estimator(tree, tables, "label", None, cache=kept)


def found(cache: Path | None, options: Options = OPTIONS) -> bytes:
    return packed(Measured(*examining.examine(subject(cache), options)))


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows by an attack's name whenever one runs."""
    names: list[str] = []
    run = Attack.run

    def counted(self: Attack, *given: Any) -> Any:
        names.append(self.name)
        return run(self, *given)

    monkeypatch.setattr(Attack, "run", counted)
    return names


def entries(folder: Path) -> list[Path]:
    return sorted((folder / "evidence").iterdir(), key=lambda file: file.stat().st_mtime_ns)


def test_a_second_audit_runs_no_attack_and_finds_the_same_byte_for_byte(tmp_path: Path, runs: list[str]) -> None:
    without = found(None, ONE)
    assert found(tmp_path / "kept", ONE) == without
    first, whole = entries(tmp_path / "kept")
    assert {stat.S_IMODE(file.stat().st_mode) for file in (first, whole)} == {0o600}
    assert stat.S_IMODE((tmp_path / "kept").stat().st_mode) == 0o700
    runs.clear()
    assert found(tmp_path / "kept", ONE) == without
    whole.unlink()  # as after another option: the attack is known
    assert found(tmp_path / "kept", ONE) == without
    assert not runs


@pytest.mark.slow
def test_so_is_what_decides(tmp_path: Path, runs: list[str]) -> None:
    without = found(None)
    assert found(tmp_path / "kept") == without
    entries(tmp_path / "kept")[-1].unlink()
    runs.clear()
    assert found(tmp_path / "kept") == without
    assert set(runs) == {"membership_classifier", "membership_regression"}  # they choose anew, by rehearsals
    runs.clear()
    assert found(tmp_path / "kept") == without
    assert not runs


def test_what_is_damaged_foreign_or_a_pickle_is_computed_anew(
    tmp_path: Path, runs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    without = found(tmp_path / "kept", ONE)
    kept = {file: file.read_bytes() for file in entries(tmp_path / "kept")}
    for number, spoil in enumerate((_cut, _changed, _emptied, _pickled)):
        for file, content in kept.items():
            file.write_bytes(spoil(content))
        runs.clear()
        assert found(tmp_path / "kept", ONE) == without, number
        assert set(runs) == {"rmia"}, number
    monkeypatch.setenv("TESTBED_CACHE", str(tmp_path / "elsewhere"))  # a folder that came from another site
    runs.clear()
    assert found(tmp_path / "kept", ONE) == without
    assert set(runs) == {"rmia"}


def _cut(content: bytes) -> bytes:
    return content[:-10]


def _changed(content: bytes) -> bytes:
    return content[:60] + bytes([content[60] ^ 1]) + content[61:]


def _emptied(_: bytes) -> bytes:
    return b""


def _pickled(_: bytes) -> bytes:
    return pickle.dumps(print)


def test_an_entry_under_the_name_of_another_is_not_believed(tmp_path: Path) -> None:
    kept = KeptEvidence(tmp_path, "about", b"secret")
    empty, options = Measured([], {}), OPTIONS
    kept.whole(options, [], lambda: empty)
    kept.whole(replace(options, seed=1), [], lambda: Measured([], {"TB-X": Evidence.rows("true", "used", score=[1.0])}))
    one, other = sorted(tmp_path.iterdir(), key=lambda file: file.stat().st_size)
    one.write_bytes(other.read_bytes())
    assert not kept.whole(options, [], lambda: empty).evidence


def test_whatever_decides_the_evidence_is_in_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def about(given: Subject) -> str:
        kept = KeptEvidence.of(given)
        assert kept is not None
        return kept.about

    plain = subject(tmp_path)
    assert about(subject(tmp_path)) == about(plain)
    swapped = replace(plain, split=replace(plain.split, members=plain.controls, controls=plain.members))
    others = [
        subject(tmp_path, depth=4),
        subject(tmp_path, moved=1e-9),
        swapped,
        behind(plain, chosen_defences("round:1", "public"), 0),
        replace(plain, kept=Kept(tmp_path, "other shadow models")),
    ]
    names = [about(plain), *(about(other) for other in others)]
    monkeypatch.setattr(kept_evidence, "code_of", lambda *_: "other code")
    names.append(about(plain))
    assert len(set(names)) == len(names)


def test_secret_noise_of_a_defence_is_never_kept(tmp_path: Path) -> None:
    defended = behind(subject(tmp_path), chosen_defences("round:1", "real"), 0)
    assert KeptEvidence.of(defended) is None


def test_the_code_of_an_attack_is_in_the_name_of_its_evidence() -> None:
    codes = {kept_evidence.code_of_attack(find(name)) for name in ("rmia", "label_gap", "membership_classifier")}
    assert len(codes) == 3


def test_evidence_and_findings_come_back_as_they_were() -> None:
    rows = Evidence.rows("true", "used", score=[0.1 + 0.2, np.inf, 1e-300], notes=("ä",), requested=5)
    (finding, *_), _ = examining.examine(subject(None), ONE)
    back = unpacked(packed(Measured([finding], {"TB-X": rows})))
    assert [f.model_dump_json() for f in back.findings] == [finding.model_dump_json()]
    assert isinstance(back.findings[0], Finding)
    for column in ("view", "group", "item", "cluster", "score", "success"):
        one, other = getattr(back.evidence["TB-X"], column), getattr(rows, column)
        assert one.dtype == other.dtype
        assert one.tobytes() == other.tobytes()
    assert (back.evidence["TB-X"].requested, back.evidence["TB-X"].notes) == (5, ("ä",))


def test_the_command_reads_a_file_twice_and_runs_its_attack_once(
    tmp_path: Path, runs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Objects that are read from one file of a forest differ in bytes that mean nothing."""
    table = pd.DataFrame(keyed_rng(0, "table").normal(size=(160, 2)), columns=["a", "b"])
    table = table.assign(label=(table["a"] > 0).astype(int))
    joblib.dump(
        RandomForestClassifier(5, random_state=0).fit(table[["a", "b"]][:80], table["label"][:80]), tmp_path / "m"
    )
    table[:80].to_csv(tmp_path / "members.csv", index=False)
    table[80:].to_csv(tmp_path / "controls.csv", index=False)
    tables = [text for role in ("members", "controls") for text in (f"--{role}", str(tmp_path / f"{role}.csv"))]
    told = ("--model", str(tmp_path / "m"), *tables, "--attack", "rmia", "--cache", str(tmp_path / "kept"))
    made: list[int] = []
    for number in range(2):
        invoke(monkeypatch, "audit-model", *told, "--quick", "--out", str(tmp_path / f"out{number}"))
        made.append(len(runs))
    assert made[0] == made[1] > 0
    one, other = (json.loads((tmp_path / f"out{n}/share/result.json").read_text())["findings"] for n in range(2))
    assert one == other

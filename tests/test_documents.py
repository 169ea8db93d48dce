"""What the documents list is what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from testbed.attacks.registry import attacks
from testbed.findings.validity import FLAGS
from testbed.harness.scenario import scenarios

ROOT = Path(__file__).parent.parent
BASELINES = {"marginal_guess", "random_predicates"}
"""What blind cells use: nobody's attack."""


def named(document: str) -> set[str]:
    return set(re.findall(r"`(\w+)`", (ROOT / document).read_text("utf-8")))


def test_every_attack_has_its_threat_model_and_every_scenario_its_position() -> None:
    listed = named("docs/threat-models.md") | {"singling_out_multivariate"}  # written as _multivariate
    assert {a.name for a in attacks()} - BASELINES <= listed
    assert {s.name for s in scenarios()} <= named("README.md")


def test_every_flag_is_told_what_to_do_about() -> None:
    assert set(FLAGS) <= named("docs/verdict.md")


@pytest.mark.parametrize("path", sorted((ROOT / "testbed/findings/policies").glob("*.yaml")), ids=lambda p: p.stem)
def test_the_examples_limits_are_those_of_the_document(path: Path) -> None:
    told = yaml.safe_load(path.read_text("utf-8"))
    row = next(r for r in (ROOT / "docs/policy.md").read_text("utf-8").splitlines() if r.startswith(f"| `{path.stem}`"))
    cells = [float(cell) for cell in row.split("|")[2:-1]]
    assert cells == [told["limits"]["singling_out"], told["limits"]["membership"], told["min_cell"]]


def test_links_between_documents_lead_somewhere() -> None:
    for document in [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), ROOT / "docker/README.md"]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text("utf-8")):
            assert (document.parent / target).exists(), f"{document.name}: {target}"

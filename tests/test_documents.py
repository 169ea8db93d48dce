"""What the documents list is what there is."""

from __future__ import annotations

import ast
import importlib
import re
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest
import yaml

from testbed.attacks import registry as attack_registry
from testbed.attacks.registry import Attack, attacks
from testbed.core.threat import KNOWLEDGE
from testbed.defences import registry as defences
from testbed.findings.schema import Estimate
from testbed.findings.validity import FLAGS
from testbed.harness.run import run
from testbed.harness.scenario import find, scenarios
from tests import test_conformance
from tests.test_architecture import STAGES

ROOT = Path(__file__).parent.parent
BASELINES = {"marginal_guess", "random_predicates"}
"""What blind cells use: nobody's attack."""


def named(document: str) -> set[str]:
    return set(re.findall(r"`(\w+)`", (ROOT / document).read_text("utf-8")))


def test_every_attack_has_its_threat_model_and_every_scenario_its_position() -> None:
    listed = named("docs/threat-models.md") | {"singling_out_multivariate"}  # written as _multivariate
    assert {a.name for a in attacks()} - BASELINES <= listed
    assert {s.name for s in scenarios()} <= named("README.md")


def test_each_attack_of_the_page_attacks_from_where_the_page_says() -> None:
    table = (ROOT / "docs/threat-models.md").read_text("utf-8").partition("| attack |")[2].partition("\n\n")[0]
    where = {n: row.split("|")[2] for row in table.splitlines()[2:] for n in re.findall(r"`(\w+)`", row.split("|")[1])}
    where["singling_out_multivariate"] = where.pop("_multivariate")  # short for it
    known = {a.name: a for a in attacks()}
    for name, position in where.items():
        assert known[name].position in position, name
        assert known[name].malicious == ("malicious" in position), name


def test_the_knowledge_that_the_page_explains_is_the_closed_set() -> None:
    table = (ROOT / "docs/threat-models.md").read_text("utf-8").partition("| word |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == KNOWLEDGE


def test_every_flag_is_told_what_to_do_about() -> None:
    assert set(FLAGS) <= named("docs/verdict.md")


@pytest.mark.parametrize("path", sorted((ROOT / "testbed/findings/policies").glob("*.yaml")), ids=lambda p: p.stem)
def test_the_examples_limits_are_those_of_the_document(path: Path) -> None:
    told = yaml.safe_load(path.read_text("utf-8"))
    row = next(r for r in (ROOT / "docs/policy.md").read_text("utf-8").splitlines() if r.startswith(f"| `{path.stem}`"))
    cells = [float(cell) for cell in row.split("|")[2:-1]]
    assert cells == [told["limits"]["singling_out"], told["limits"]["membership"], told["min_cell"]]


def test_the_citation_names_this_version_and_licence() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert (cited["version"], cited["license"]) == (project["version"], project["license"])


def test_links_between_documents_lead_somewhere() -> None:
    for document in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "docker/README.md"]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text("utf-8")):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_the_picture_of_the_house_shows_its_rooms_in_their_order() -> None:
    drawn = ElementTree.parse(ROOT / "docs/house.svg").getroot()
    rooms = [e for e in drawn.iter() if e.get("class") == "room"]
    by_height = sorted(rooms, key=lambda e: -float(e.attrib["y"]))
    assert tuple(e.text for e in by_height) == STAGES
    table = (ROOT / "docs/architecture.md").read_text("utf-8").partition("| room |")[2].partition("\n\n")[0]
    assert tuple(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == STAGES


def defined(file: Path) -> set[str]:
    """The functions and classes of a file, of classes also their methods as `Class.method`."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
            names |= {f"{node.name}.{n.name}" for n in node.body if isinstance(n, ast.FunctionDef)}
    return names


def test_the_files_and_functions_of_the_walks_exist() -> None:
    found = 0
    for line in (ROOT / "docs/architecture.md").read_text("utf-8").splitlines():
        if re.match(r"\| \d+\.", line):
            for group in line.split("|")[2].split(";"):
                path, *functions = re.findall(r"`([^`]+)`", group)
                file = next((f for f in (ROOT / path, ROOT / "testbed" / path) if f.exists()), None)
                assert file is not None, path
                names = defined(file) if file.is_file() else {p.name for p in file.iterdir()}
                assert set(functions) <= names, f"{path} has no {set(functions) - names}"
                found += 1
    assert found > 20


def test_the_new_paths_of_the_changelog_hold_what_it_says() -> None:
    layout = (ROOT / "CHANGELOG.md").read_text("utf-8").partition("### The new layout")[2]
    table = layout.partition("| before |")[2].partition("\n\n")[0]
    rows = [line.split("|")[1:4] for line in table.splitlines()[2:]]
    assert len(rows) > 40
    for _, now, names in rows:
        module = importlib.import_module(re.findall(r"`([\w.]+)`", now)[0])
        missing = [n for n in re.findall(r"`(\w+)`", re.sub(r"\(.*?\)", "", names)) if not hasattr(module, n)]
        assert not missing, f"{module.__name__} lacks {missing}"


def example(page: str, goes_to: str) -> str:
    """The whole file that a page gives after the words "goes to `<path>`:"."""
    text = (ROOT / page).read_text("utf-8")
    after = re.split(rf"goes to\s+`{re.escape(goes_to)}`:", text)
    assert len(after) == 2, f"{page} gives no file for {goes_to}"
    return after[1].partition("```python\n")[2].partition("```\n")[0]


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], ModuleType]:
    """Puts a page's file into a folder that counts as part of the package, and loads it; a test later it is gone."""

    def placed(package: str, goes_to: str) -> ModuleType:
        file = tmp_path / Path(goes_to).name
        file.write_text(example("docs/extending.md", goes_to), "utf-8")
        parent = importlib.import_module(package)
        monkeypatch.setattr(parent, "__path__", [*parent.__path__, str(tmp_path)])
        name = f"{package}.{file.stem}"
        monkeypatch.delitem(sys.modules, name, raising=False)
        importlib.invalidate_caches()
        monkeypatch.setitem(sys.modules, name, importlib.import_module(name))
        return sys.modules[name]

    return placed


def test_the_examples_defence_is_found_and_protects(put: Callable[[str, str], ModuleType]) -> None:
    put("testbed.defences", "testbed/defences/signs.py")
    assert "signs" in {d.name for d in defences.defences()}
    done = run(find("curious_server"), {"clients": 2, "rounds": 2, "defence": "signs"})
    assert [d.name for d in done.result.defences] == ["signs"]
    excess = done.result.findings[0].excess
    assert isinstance(excess, Estimate)
    assert excess.value < 1


def test_the_examples_scenario_is_found_and_finds_the_leak(put: Callable[[str, str], ModuleType]) -> None:
    put("testbed.scenarios", "scenarios/small_updates.py")
    finding = run(find("small_updates"), {"clients": 3}).result.findings[0]
    assert isinstance(finding.measure, Estimate)
    assert finding.measure.value == 1


def for_every_attack() -> list[Callable[[Attack], None]]:
    """The checks of the conformance suite that every attack goes through."""
    checks: list[Callable[[Attack], None]] = []
    for name, check in vars(test_conformance).items():
        asked = [m.args[1] for m in getattr(check, "pytestmark", []) if name.startswith("test_") and m.args[0] == "a"]
        if any(who is test_conformance.ALL or who is test_conformance.SEEING for who in asked):
            checks.append(check)
    return checks


def test_the_examples_attack_is_found_and_passes_the_conformance_suite(put: Callable[[str, str], ModuleType]) -> None:
    put("testbed.attacks.model", "testbed/attacks/model/prediction_entropy.py")
    found = attack_registry.find("prediction_entropy")
    assert found in list(attacks())
    checks = for_every_attack()
    assert len(checks) >= 8
    for check in checks:
        check(found)

"""What is read from source text is what importing it registers, and nothing is imported to read it."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from testbed.attacks import registry as attacks
from testbed.core import catalogue
from testbed.core.errors import ALONG, EXTRA_OF, InputError, UsageError
from testbed.defences import registry as defences
from testbed.harness import scenario as scenarios
from tests.cli.test_cli import WITHOUT_EXTRAS

ROOT = Path(__file__).parents[2]


def of(kind: catalogue.Kind) -> dict[str, catalogue.Entry]:
    return {e.name: e for e in catalogue.entries(kind)}


def test_every_attack_reads_the_same_from_its_text_as_when_it_is_loaded() -> None:
    loaded = {a.name: a for a in attacks.attacks() if a.read.__module__.startswith("testbed.")}
    assert of("attack").keys() == loaded.keys()
    for name, entry in of("attack").items():
        attack, given = loaded[name], entry.arguments
        assert entry.module == attack.read.__module__
        told = (given["position"], "act" in given, given["claim"], frozenset(given["needs"]), given["reference"])
        assert told == (attack.position, attack.malicious, attack.claim.__name__, attack.needs, attack.reference), name
        assert (given["risk"], given.get("access", "white")) == (attack.risk, attack.access)
        assert entry.defaults == attack.defaults, name
        assert [type(v) for v in entry.defaults.values()] == [type(v) for v in attack.defaults.values()]
        assert entry.summary == attack.summary
        assert (given["subject"], given["rule"], given.get("metric")) == (attack.subject, attack.rule, attack.metric)
        assert frozenset(given.get("uses", ())) == attack.uses
        assert {k: v for k, v in given.items() if k in attacks.TRAITS} == dict(attack.traits)


def test_every_scenario_reads_the_same_from_its_text_as_when_it_is_loaded() -> None:
    loaded = {s.name: s for s in scenarios.scenarios() if s.make.__module__.startswith("testbed.")}
    assert set(of("scenario")) >= loaded.keys()
    for name, entry in of("scenario").items():
        registered, given = scenarios.find(name), entry.arguments
        assert given["question"] == registered.question
        assert (given.get("position", "server"), given.get("malicious", False)) == (
            registered.position,
            registered.malicious,
        )
        assert entry.defaults == dict(registered.defaults), name
        assert entry.readable
        assert entry.summary == registered.summary


def test_every_defence_reads_the_same_from_its_text_as_when_it_is_loaded() -> None:
    loaded = {d.name: d for d in defences.defences() if d.make.__module__.startswith("testbed.")}
    assert of("defence").keys() == loaded.keys()
    for name, entry in of("defence").items():
        assert entry.defaults == dict(loaded[name].defaults)
        assert entry.summary == loaded[name].summary


def test_the_extras_read_from_the_text_are_those_without_which_the_module_cannot_be_imported() -> None:
    by_module = {e.module: e.extras for e in catalogue.entries()}
    script = f"{WITHOUT_EXTRAS}import importlib, json\nfailed = []\nfor name in {sorted(by_module)!r}:\n    try:\n"
    script += "        importlib.import_module(name)\n    except ModuleNotFoundError:\n        failed.append(name)\n"
    done = subprocess.run(
        [sys.executable, "-c", script + "print(json.dumps(failed))"], capture_output=True, text=True, check=True
    )
    assert set(json.loads(done.stdout)) == {module for module, extras in by_module.items() if extras}


def test_every_package_of_an_extra_is_known_as_such() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    for extra in declared.keys() - {"dev", "all"}:
        packages = {line.split("[")[0].split("=")[0].split(">")[0].removesuffix("-cpu") for line in declared[extra]}
        assert packages <= {package for package, brings in EXTRA_OF.items() if brings in (extra, *ALONG.get(extra, ()))}
    assert set(EXTRA_OF.values()) <= declared.keys()


OWN = '''
from testbed.attacks.registry import attack as entered
from testbed.core import Scores
import beside

NEEDS = {"target_records"} | beside.MORE
HIGH = -2 * 0.5

@entered(risk="membership", claim=Scores, needs=NEEDS, position="recipient", reference=beside.SOURCE)
def mine(view, question, auxiliary, rng, *, low: float = HIGH, steps: int = len("ab")):
    """One line.

    Threat model: anybody.
    """

def attack(**_):
    return lambda function: function

@attack(risk="none")
def not_registered(view): ...
'''


def test_constants_are_followed_into_the_modules_beside_and_what_must_be_run_stays_text(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text('MORE = {"auxiliary"}\nSOURCE = "a book"\nimport torch\n')
    (tmp_path / "own.py").write_text(OWN)
    (entry,) = catalogue.within(tmp_path / "own.py", "own")
    assert entry.name == "mine"
    assert entry.arguments["needs"] == {"target_records", "auxiliary"}
    assert entry.arguments["reference"] == "a book"
    assert entry.defaults == {"low": -1.0, "steps": catalogue.Unread("len('ab')")}
    assert not entry.readable
    assert entry.summary == "One line.\n\nThreat model: anybody."
    assert entry.extras == ("federated",)


def test_a_file_that_is_not_python_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken.py").write_text("def (:\n")
    monkeypatch.setenv("TESTBED_CODE", str(tmp_path))
    with pytest.raises(InputError, match=r"TB-CODE-002: broken.py is not Python. .* in line 1"):
        catalogue.entries()


def test_a_name_that_the_package_has_is_not_taken_by_a_users_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "beside.py").write_text('MORE = set()\nSOURCE = ""\n')
    (tmp_path / "own.py").write_text(OWN.replace("def mine", "def lira"))
    monkeypatch.setenv("TESTBED_CODE", str(tmp_path / "own.py"))
    with pytest.raises(UsageError, match="TB-CODE-003: There are two attacks called 'lira'"):
        catalogue.entries("attack")


def test_a_place_of_own_code_that_does_not_exist_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESTBED_CODE", "/nowhere/at/all")
    with pytest.raises(UsageError, match="TB-CODE-001"):
        catalogue.entries()

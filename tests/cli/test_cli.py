"""The public contract: commands, exit codes, files, and errors that quote nobody."""

from __future__ import annotations

import functools
import json
import stat
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pandas as pd
import pytest

from scenarios.curious_server import curious_server
from testbed.cli import main
from testbed.core import catalogue as known_names
from testbed.core.errors import UsageError
from testbed.core.parameters import MEANING
from tests.conftest import ROOT, Thirds
from tests.started import Done, forked

CANARY = "Zanzibarwort"


def invoke(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["testbed", *arguments])
    with pytest.raises(SystemExit) as left:
        main()
    return int(left.value.code or 0)


def written(people: Thirds, folder: Path) -> Path:
    people.original.assign(note="x").to_csv(folder / "o.csv", index=False)
    people.control.assign(note="x").to_csv(folder / "c.csv", index=False)
    people.fresh.assign(note="x").to_csv(folder / "s.csv", index=False)
    people.leaky(0.5).assign(note="x").to_parquet(folder / "leak.parquet", index=False)
    return folder


@pytest.fixture(scope="module")
def files(hospital: Thirds, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(hospital, tmp_path_factory.mktemp("tables"))


@pytest.fixture(scope="module")
def few(hospital: Thirds, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of few people, for tests that claim nothing of what is found."""
    first = Thirds(*(table.head(150) for table in (hospital.original, hospital.control, hospital.fresh)))
    return written(first, tmp_path_factory.mktemp("few"))


def evaluate(files: Path, synthetic: str, out: Path, *more: str, control: bool = True) -> list[str]:
    made = ["evaluate", "--original", str(files / "o.csv"), "--synthetic", str(files / synthetic), "--attacks", "250"]
    made += ["--control", str(files / "c.csv")] if control else []
    return [*made, "--out", str(out), *more]


def test_every_parameter_of_a_scenario_has_a_meaning() -> None:
    for entry in known_names.entries("scenario"):
        silent = [k for k in entry.defaults if k != "seed" and k not in MEANING and f"`{k}" not in entry.summary]
        assert not silent, f"{entry.name} says nothing of {silent}"


def test_evaluate_fails_a_leak_and_writes_its_folder(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert invoke(monkeypatch, *evaluate(files, "leak.parquet", out)) == 1
    assert {p.name for p in (out / "share").iterdir()} == {"result.json", "report.html"}
    assert stat.S_IMODE((out / "evidence").stat().st_mode) == 0o700
    assert "FAIL" in capsys.readouterr().out
    assert invoke(monkeypatch, "check", str(out)) == 1
    lax = tmp_path / "lax.yaml"
    lax.write_text("id: lax/1\nlimits: {singling_out: 1, linkability: 1, attribute_inference: 1}")
    assert invoke(monkeypatch, "check", str(out), "--policy", str(lax)) == 1  # the copy rule holds whatever the limits
    (out / "share" / "report.html").unlink()
    assert invoke(monkeypatch, "report", str(out)) == 0
    assert (out / "share" / "report.html").exists()


def test_json_goes_to_standard_output_and_progress_to_standard_error(
    few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(monkeypatch, *evaluate(few, "s.csv", tmp_path / "run", "--json", control=False)) == 3
    printed = capsys.readouterr()
    assert json.loads(printed.out)["decision"]["verdict"] == "review"
    assert "linkability" in printed.err


def test_equal_runs_differ_in_four_fields_only(few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = []
    for name in ("a", "b"):
        invoke(monkeypatch, *evaluate(few, "s.csv", tmp_path / name, "--seed", "5"))
        result = json.loads((tmp_path / name / "share" / "result.json").read_text())
        for field in ("id", "created", "duration_s", "environment"):
            del result["run"][field]
        texts.append(json.dumps(result))
    assert texts[0] == texts[1]


@pytest.mark.parametrize(
    ("arguments", "code", "id"),
    [
        (["evaluate", "--original", "o.csv"], 2, "--synthetic"),
        (["evaluate", "--original", "none.csv", "--synthetic", "s.csv"], 2, "TB-DATA-030"),
        (["evaluate", "--original", "o.csv", "--synthetic", "bad.csv"], 4, "TB-DATA-043"),
        (["evaluate", "--original", "o.csv", "--synthetic", "s.csv", "--secrets", "nope"], 2, "TB-DATA-060"),
        (["evaluate", "--original", "o.csv", "--synthetic", "s.csv", "--link", "age"], 2, "TB-DATA-063"),
        (["evaluate", "--original", "o.csv", "--synthetic", "s.csv", "--data-class", "secret"], 2, "TB-DATA-061"),
        (["evaluate", "--original", "o.csv", "--synthetic", "s.csv", "--policy", "nope"], 2, "TB-POLICY-001"),
        (["evaluate", "--original", "o.csv", "--synthetic", "s.csv", "--person", "nope"], 2, "TB-DATA-041"),
        (["evaluate", "--original", "o.csv", "--synthetic", "s.csv", "--attacks", "0"], 2, "TB-DATA-064"),
        (["evaluate", "--original", "o.csv", "--synthetic", "s.csv", "--meta", "o.csv"], 2, "TB-DATA-062"),
        (["run", "curious_sever"], 2, "Perhaps: curious_server"),
        (["run", "curious_server", "-s", "defence=gausian"], 2, "Perhaps: gaussian"),
        (["audit-model", "--predictions", "p.csv", "--label", "sick"], 2, "TB-SUBJECT-035"),
        (["run", "curious_server", "-s", "clents=3"], 2, "TB-SCENARIO-002"),
        (["run", "curious_server", "-s", "clients=many"], 2, "TB-SCENARIO-003"),
        (["run", "curious_server", "--engine", "mainframe"], 2, "TB-SCENARIO-004"),
        (["run", "curious_server", "--replicates", "2"], 2, "TB-SCENARIO-007"),
        (["run", "curious_server", "-s", "data=lee-background"], 2, "TB-DATA-070"),
        (["run", "curious_server", "-s", "clients=9000"], 2, "TB-SPLIT-010"),
        (["run", "curious_server", "-s", "attack=analytic_lin"], 2, "Perhaps: analytic_linear"),
        (["replay", "x.transcript", "--attack", "analytic_lin"], 2, "Perhaps: analytic_linear"),
        (["replay", "x.transcript", "--attack", "lira"], 2, "TB-REPLAY-008"),
        (["list", "weapons"], 2, "TB-CLI-001"),
        (["list", "attacks", "--risk", "fire"], 2, "TB-CLI-006"),
        (["list", "--position", "sever"], 2, "Perhaps: server"),
        (["list", "--risk", "reconstruction", "--position", "recipient"], 2, "there is the position: client, server"),
        (["describe", "nowhere.py"], 2, "TB-CLI-009"),
        (["describe", str(ROOT / "testbed/defences/gaussian.py") + ":other"], 2, "TB-CLI-010"),
        (["describe", "nothing"], 2, "TB-CLI-003"),
        (["describe", "rmi"], 2, "Perhaps: rmia"),
        (["report", "o.csv"], 4, "TB-RESULT-002"),
        (["check", "nowhere"], 2, "TB-RESULT-001"),
        (["data", "fetch", "nothing"], 2, "TB-DATA-001"),
        (["split", "--original", "o.csv", "--out", "x", "--fraction", "1.5"], 2, "TB-SPLIT-003"),
    ],
)
def test_mistakes_are_told_in_words(
    files: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    id: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    for path in files.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    pd.read_csv(tmp_path / "s.csv").drop(columns="age").to_csv(tmp_path / "bad.csv", index=False)
    before = sorted(p.name for p in tmp_path.iterdir())
    assert invoke(monkeypatch, *arguments) == code
    printed = capsys.readouterr()
    assert id in printed.err
    assert "Traceback" not in printed.err
    assert "why:" in printed.err or id.startswith("--")
    after = [n for n in sorted(p.name for p in tmp_path.iterdir()) if n != "runs"]
    assert after == before  # nothing half-written


def test_an_output_that_cannot_be_written_is_told_before_the_work(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.txt").write_text("mine")
    assert invoke(monkeypatch, *evaluate(files, "s.csv", tmp_path / "taken")) == 2
    (tmp_path / "file").write_text("x")
    assert invoke(monkeypatch, *evaluate(files, "s.csv", tmp_path / "file" / "run")) == 2
    assert "TB-OUT-00" in capsys.readouterr().err
    assert (tmp_path / "taken" / "thesis.txt").read_text() == "mine"


def test_an_instrument_that_is_not_installed_is_told_before_the_work(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    monkeypatch.setattr("testbed.harness.release.singling_out.singling_out", lambda _: pytest.fail("worked"))
    assert invoke(monkeypatch, *evaluate(files, "s.csv", tmp_path / "run", "--instrument", "anonymeter")) == 2
    assert "TB-CLI-004" in capsys.readouterr().err


def test_a_defect_is_told_without_its_text(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError(f"patient {CANARY}")

    monkeypatch.setattr("testbed.harness.release.evaluate.examine", broken)
    assert invoke(monkeypatch, *evaluate(files, "s.csv", tmp_path / "run")) == 6
    printed = capsys.readouterr().err
    assert CANARY not in printed
    assert "TB-INTERNAL-001" in printed


def test_canaries_reach_no_artefact_no_log_and_no_error(
    few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = pd.read_csv(few / "o.csv")
    frame.loc[7, "note"] = CANARY
    frame.loc[8, "creatinine"] = 987.654
    for path in few.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    frame.to_csv(tmp_path / "o.csv", index=False)
    invoke(monkeypatch, *evaluate(tmp_path, "s.csv", tmp_path / "run"))
    printed = capsys.readouterr()
    texts = [printed.out, printed.err, *(p.read_text() for p in (tmp_path / "run" / "share").iterdir())]
    assert invoke(monkeypatch, *evaluate(tmp_path, "none.csv", tmp_path / "run2")) == 2
    texts.append(capsys.readouterr().err)
    for text in texts:
        assert CANARY not in text
        assert "987.654" not in text


def test_the_module_runs_as_the_command_does() -> None:
    told = subprocess.run([sys.executable, "-m", "testbed", "--version"], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == metadata.version("leakage-testbed")


def test_split_holds_out_by_person(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pd.DataFrame({"id": [1, 1, 2, 3, 4, 4], "x": range(6)}).to_csv(tmp_path / "all.csv", index=False)
    arguments = ["split", "--original", str(tmp_path / "all.csv"), "--person", "id", "--out", str(tmp_path / "out")]
    assert invoke(monkeypatch, *arguments) == 0
    parts = [set(pd.read_csv(tmp_path / "out" / f"{name}.csv")["id"]) for name in ("original", "control")]
    assert parts[0] | parts[1] == {1, 2, 3, 4}
    assert not parts[0] & parts[1]
    assert invoke(monkeypatch, *arguments) == 2  # nothing is overwritten


def test_split_changes_no_cell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f'{i // 2:03d};00{i};{"None" if i % 3 else "NA"};{i},5;"a;b"' for i in range(40)]
    (tmp_path / "all.csv").write_text("\n".join(["person;code;grade;dose;text", *rows]) + "\n")
    given = ["split", "--original", str(tmp_path / "all.csv"), "--out", str(tmp_path), "--person", "person"]
    assert invoke(monkeypatch, *given) == 0
    parts = [(tmp_path / f"{part}.csv").read_text().splitlines() for part in ("original", "control")]
    assert sorted([*parts[0][1:], *parts[1][1:]]) == sorted(rows)
    assert not {line[:3] for line in parts[0]} & {line[:3] for line in parts[1][1:]}
    (tmp_path / "gaps.csv").write_text("person,x\n1,2\n,3\n2,4\n")
    given = ["split", "--out", str(tmp_path / "more"), "--person", "person", "--original"]
    assert invoke(monkeypatch, *given, str(tmp_path / "gaps.csv")) == 2
    assert "TB-SPLIT-009" in capsys.readouterr().err
    assert invoke(monkeypatch, *given, str(tmp_path / "all.csv"), "--fraction", "nan") == 2


def test_list_and_describe(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(monkeypatch, "list", "attacks", "--json") == 0
    entries = json.loads(capsys.readouterr().out)
    for entry in entries:
        assert {"kind", "name", "position", "malicious", "claim", "needs", "reference"} <= set(entry)
    assert {"analytic_linear", "cosine_tv", "imprint", "aggregate_difference", "linkability"} <= {
        e["name"] for e in entries
    }
    for kind in ("scenarios", "defences", "data"):
        assert invoke(monkeypatch, "list", kind) == 0
    capsys.readouterr()
    assert invoke(monkeypatch, "list", "defences", "--json") == 0
    of_server = {e["name"] for e in json.loads(capsys.readouterr().out) if e["position"] == "server"}
    assert of_server >= {"central_dp", "adaptive_clipping", "median", "krum", "trimmed_mean"}
    assert not of_server & {"gaussian", "dpsgd", "topk", "secagg"}
    for name in ("curious_server", "imprint", "support2", "gaussian"):
        assert invoke(monkeypatch, "describe", name) == 0
    assert "Threat model" in capsys.readouterr().out
    assert invoke(monkeypatch, "describe", "property_inference") == 0  # an attack and a scenario
    told = capsys.readouterr().out
    assert "few = 0.35" in told
    assert "Threat model" in told


def test_the_list_is_filtered_by_what_an_attack_is_after_and_from_where(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(monkeypatch, "list", "--risk", "membership", "--position", "client", "--json") == 0
    entries = json.loads(capsys.readouterr().out)
    assert {(e["kind"], e["risk"], e["position"]) for e in entries} == {("attack", "membership", "client")}
    assert {"global_models", "client_gradient_ascent"} <= {e["name"] for e in entries}
    assert {e["name"]: e["needs_extra"] for e in entries}["global_models"] == ["federated"]


@pytest.mark.parametrize("pair", [("gaussian", "0"), ("random_update", "0.01")])
def test_a_defence_that_would_do_nothing_is_refused(pair: tuple[str, str]) -> None:
    name, noise = pair
    with pytest.raises(UsageError, match="TB-SCENARIO-016"):
        curious_server(data="digits", defence=name, noise=float(noise))


def test_schema_and_doctor(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(monkeypatch, "schema") == 0
    assert json.loads(capsys.readouterr().out)["additionalProperties"] is False
    monkeypatch.setattr("testbed.cli.doctor.PEOPLE", 3000)
    assert invoke(monkeypatch, "doctor") == 0
    assert "this machine is fit" in capsys.readouterr().out


def test_the_folder_one_stands_in_is_refused_before_anything_is_done(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for out in (Path(), Path("..")):
        assert invoke(monkeypatch, *evaluate(files, "leak.parquet", out)) == 2
        assert "TB-OUT-009" in capsys.readouterr().err


WITHOUT_EXTRAS = """
import importlib.abc, importlib.machinery, sys

MISSING = {"anonymeter", "flwr", "opacus", "opendp", "ray", "safetensors", "sdv", "torch", "weasyprint"}

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in MISSING:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
"""


NEEDING = [
    ("list", 0, "singling_out_univariate"),
    ("describe hospital_release", 0, "planted_share"),
    ("run curious_server", 2, "leakage-testbed[federated]"),
    ("replay t --attack analytic_linear", 2, "leakage-testbed[federated]"),
    ("run nonsense", 2, "TB-SCENARIO-001"),
    ("describe curious_server", 0, "needs extra: federated (not installed)"),
    ("list attacks --position server", 0, "needs the extra federated: install leakage-testbed[federated]"),
]


@functools.cache
def without_extras() -> dict[str, Done]:
    commands = [command for command, _, _ in NEEDING]
    return dict(zip(commands, forked([c.split() for c in commands], WITHOUT_EXTRAS), strict=True))


@pytest.mark.parametrize(("command", "code", "said"), NEEDING)
def test_what_needs_an_extra_says_so_and_the_rest_works_without(command: str, code: int, said: str) -> None:
    done = without_extras()[command]
    assert done.code == code, done.err[-500:]
    assert said in done.out + done.err


def test_protect_writes_the_defended_table(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["protect", "--synthetic", str(files / "leak.parquet"), "--out", str(tmp_path / "made.csv")]
    real = ["--original", str(files / "o.csv"), "--control", str(files / "c.csv")]
    assert invoke(monkeypatch, *given, *real, "--defence", "near_copy_filter+rounding:5,columns=age/pressure") == 0
    told = capsys.readouterr()
    assert told.out.strip().endswith("made.csv")
    assert "'age': rounded to multiples of 5" in told.err
    made = pd.read_csv(tmp_path / "made.csv")
    assert (made["age"] % 5 == 0).all()
    assert 300 < len(made) < 350  # of 700 rows half were copies
    assert (tmp_path / "made.csv").read_text("utf-8").splitlines()[0].startswith("age,")


def test_protect_leaves_cells_that_it_does_not_change_as_they_were_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [f"{20 + i % 60};{i * 37 + 900:05d};{i % 40},5;{1 + i % 28:02d}.04.2021" for i in range(80)]
    (tmp_path / "s.csv").write_text("\n".join(["age;plz;crp;day", *lines]) + "\n", "utf-8")
    for name in ("m.csv", "m.parquet"):
        given = ["protect", "--synthetic", str(tmp_path / "s.csv"), "--out", str(tmp_path / name)]
        assert invoke(monkeypatch, *given, "--defence", "rounding:5,columns=age") == 0
    made = (tmp_path / "m.csv").read_text("utf-8").splitlines()
    assert [line.split(";")[1:] for line in made[1:]] == [line.split(";")[1:] for line in lines]
    assert made[2].split(";")[0] == "20"
    assert pd.read_parquet(tmp_path / "m.parquet")["plz"].str.len().eq(5).all()


@pytest.mark.parametrize(
    ("more", "error"),
    [
        (["--defence", "none"], "TB-DEFENCE-042"),
        (["--defence", "roundin:1"], "TB-DEFENCE-001"),
        (["--defence", "dpsgd:1"], "TB-DEFENCE-021"),
        (["--defence", "near_copy_filter"], "TB-DEFENCE-040"),
        (["--defence", "rounding:0"], "TB-DEFENCE-034"),
    ],
)
def test_protect_refuses_what_protects_no_table(
    files: Path,
    tmp_path: Path,
    more: list[str],
    error: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = ["protect", "--synthetic", str(files / "s.csv"), "--out", str(tmp_path / "made.csv"), *more]
    assert invoke(monkeypatch, *given) == 2
    assert error in capsys.readouterr().err
    assert not (tmp_path / "made.csv").exists()

"""`import testbed` offers what the commands do, lightly, and shows no row of data."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier

import testbed
from testbed.core.errors import UsageError
from testbed.findings.schema import Finding, Result
from testbed.report.finished import LARGEST_HTML, Finished
from tests.conftest import Thirds
from tests.report import examples

OFFERED = {
    "audit_model",
    "compare",
    "evaluate_release",
    "find_scenario",
    "load_policy",
    "record",
    "replay",
    "run",
    "safe",
    "sweep",
    "transcript",
}
CANARY = "Zanzibarwort"


def test_dir_shows_what_is_offered_and_loads_nothing() -> None:
    script = "import testbed, sys\nshown = dir(testbed)\n"
    script += "print(' '.join(shown)); print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    shown, modules = (line.split() for line in done.stdout.splitlines())
    assert set(shown) >= OFFERED == set(testbed.__all__)
    assert not {m.split(".")[0] for m in modules} & {"torch", "flwr", "pandas", "numpy", "scipy", "sklearn"}


@pytest.mark.parametrize("name", sorted(OFFERED))
def test_everything_offered_is_there(name: str) -> None:
    offered = getattr(testbed, name)
    assert callable(offered) or isinstance(offered, ModuleType)


def test_evaluating_needs_neither_torch_nor_flower() -> None:
    script = (
        "import testbed, sys\ntestbed.evaluate_release, testbed.audit_model, testbed.run\nprint(' '.join(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {m.split(".")[0] for m in done.stdout.split()} & {"torch", "flwr", "ray", "sdv"}


@pytest.fixture(scope="module")
def released(hospital: Thirds, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    frames = [f.assign(note=f"{CANARY}") for f in (hospital.original, hospital.leaky(0.5), hospital.control)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TESTBED_CACHE", str(tmp_path_factory.mktemp("cache")))
        return testbed.evaluate_release(*frames, name="ward 7", attacks=250, policy="example-open-release")


def test_a_finished_evaluation_is_as_the_commands(released: Finished, tmp_path: Path) -> None:
    assert released.result.decision.verdict == "fail"
    assert released.result.run.command == "evaluate"
    assert released.result.disclosure.evaluations == 1  # counted, as by the command: real data
    folder = released.write(tmp_path / "run")
    assert Result.model_validate(json.loads((folder / "share" / "result.json").read_text())) == released.result
    assert (folder / "evidence").is_dir()


def test_the_frame_holds_every_finding_as_the_result_does(released: Finished) -> None:
    frame = released.to_frame()
    assert list(frame["rule"]) == [f.rule for f in released.result.findings]
    for row, finding in zip(frame.to_dict("records"), released.result.findings, strict=True):
        measure: Any = finding.measure
        if hasattr(measure, "unmeasured"):
            assert np.isnan(row["value"])
            assert row["unmeasured"] == measure.unmeasured
        else:
            assert (row["value"], row["value_low"], row["value_high"]) == (measure.value, measure.low, measure.high)
            assert (row["metric"], row["n"], row["unmeasured"]) == (measure.metric, measure.n, None)
        assert (row["verdict"], row["plain"], row["primary"]) == (finding.verdict, finding.plain, finding.primary)


def test_what_is_shown_holds_no_row_of_data_and_no_script(released: Finished) -> None:
    page = released._repr_html_()
    assert repr(released).startswith("<evaluate: FAIL on 'ward 7' (example-open-release/1); ")
    assert len(repr(released)) < 200
    for text in (repr(released), page, released.to_frame().to_csv()):
        assert CANARY not in text
    assert len(page.encode()) < 15_000
    assert "<script" not in page
    assert not re.search(r"\bon\w+=|src=|href=", page)


def test_a_page_stays_small_and_escaped_whatever_users_write() -> None:
    result = examples.release()
    wild = "<script>alert(1)</script>\u202e" + "&" * 5000

    def renamed(finding: Finding) -> Finding:
        return finding.model_copy(update={"target": wild, "primary": True})

    many = [renamed(f) for f in result.findings] * 40
    subject = result.subject.model_copy(update={"name": wild})
    page = Finished(result.model_copy(update={"findings": many, "subject": subject}))._repr_html_()
    assert len(page.encode()) < LARGEST_HTML
    assert "<script" not in page
    assert "\u202e" not in page


def test_a_misspelt_option_is_an_error_with_the_closest_name() -> None:
    nobody = people(10, 1)
    with pytest.raises(UsageError, match="TB-API-001"):
        testbed.evaluate_release(nobody, nobody, atacks=3)
    with pytest.raises(UsageError, match="TB-API-001"):
        testbed.audit_model(len, nobody, nobody, shadow=3)


def people(rows: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.normal(size=(rows, 4)).round(4), columns=["a", "b", "c", "d"])
    return frame.assign(sick=rng.integers(0, 2, rows))


def test_a_fitted_forest_is_audited_from_two_frames() -> None:
    members, controls = people(120, 1), people(120, 2)
    forest = RandomForestClassifier(20, bootstrap=False, random_state=0).fit(members[list("abcd")], members["sick"])
    done = testbed.audit_model(forest, members, controls, label="sick", shadows=4, data_class="synthetic", seed=1)
    frame = done.to_frame()
    decides = frame[frame["primary"] & (frame["risk"] == "membership")]
    assert (decides["excess"] > 0.3).any()  # it knows its members by heart
    assert done.result.decision.verdict != "pass"
    assert done.result.run.command == "audit-model"


def test_a_function_and_a_network_are_audited_too_and_anything_else_is_refused() -> None:
    import torch

    members, controls = people(60, 1), people(60, 2)
    torch.manual_seed(0)  # a network of its own, before anything is audited
    told = {"label": "sick", "data_class": "synthetic"}
    asked = testbed.audit_model(lambda x: np.tile([0.4, 0.6], (len(x), 1)), members, controls, budget=100_000, **told)
    assert asked.result.run.params["queries"]
    network = testbed.audit_model(torch.nn.Linear(4, 2), members, controls, **told)
    assert len(network.to_frame())
    with pytest.raises(UsageError, match="TB-SUBJECT-050: A dict is no model"):
        testbed.audit_model({}, members, controls, **told)


def test_a_scenario_is_run_and_its_transcript_replayed_by_name(tmp_path: Path) -> None:
    done = testbed.run("curious_server", {"clients": 2, "rounds": 3}, seed=1)
    again = testbed.run(testbed.find_scenario("curious_server"), {"clients": 2, "rounds": 3}, seed=1)
    pd.testing.assert_frame_equal(done.to_frame(), again.to_frame())
    assert done.result.decision.verdict == "none"
    evidence = done.write(tmp_path / "run") / "evidence"
    replayed = testbed.replay(evidence / "true.transcript", "analytic_linear", truth=evidence / "truth.npz")
    measured = [f.measure for f in done.result.findings if f.attack.name == "analytic_linear"]
    assert [f.measure for f in replayed.result.findings] == measured
    unjudged = testbed.replay(evidence / "true.transcript", "analytic_linear")
    assert unjudged.to_frame()["unmeasured"].tolist() == ["no_truth"]


def test_a_misspelt_parameter_is_refused_from_python_as_from_the_command_line() -> None:
    with pytest.raises(UsageError, match="TB-SCENARIO-002: curious_server has no parameter 'clents'"):
        testbed.run("curious_server", {"clents": 3})
    with pytest.raises(UsageError, match="TB-SCENARIO-001"):
        testbed.run("curious_sever")

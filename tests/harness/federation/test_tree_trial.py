"""The scenario of federated trees: exact numbers beside their control, defences beside their price, and replays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from testbed.core.errors import InputError, UsageError
from testbed.findings.schema import Estimate, Unmeasured
from testbed.harness.federation.owned import given
from testbed.harness.federation.replay import replay
from testbed.harness.run import run
from testbed.harness.scenario import find
from testbed.subjects.federation import compat, transcript
from tests.subjects.federation import xgboost_app

SMALL: dict[str, Any] = {"rounds": 2}


def values(finding: Any) -> tuple[float, float]:
    assert isinstance(finding.measure, Estimate)
    assert isinstance(finding.control, Estimate)
    return finding.measure.value, finding.control.value


def test_leaves_are_exact_and_thresholds_are_often_also_other_peoples(tmp_path: Path) -> None:
    done = run(find("federated_trees"), SMALL)
    leaves, thresholds, passed = done.result.findings
    assert values(passed) == (1.0, pytest.approx(0.0, abs=0.4))
    assert values(leaves) == (1.0, pytest.approx(0.0, abs=0.2))
    assert values(thresholds)[0] == 1.0
    assert 0.3 < values(thresholds)[1] < 1
    (useful,) = done.result.utility
    assert isinstance(useful.measure, Estimate)
    assert 0.6 < useful.measure.value < 0.95
    for name, content in done.outcome.files.items():
        (tmp_path / name).write_bytes(content)
    again = replay(tmp_path / "true.transcript", "tree_leaves", truth_path=tmp_path / "truth.npz")
    assert again.result.findings[0].measure == leaves.measure
    assert again.result.findings[0].control == leaves.control


def test_numbers_are_found_without_sums_too_and_the_price_is_told() -> None:
    """The server knows how many records each client used; a client does not, and says what it lacks."""
    done = run(find("federated_trees"), {**SMALL, "defence": "bare_trees"})
    leaves, passed = done.result.findings[0], done.result.findings[-1]
    assert values(leaves)[0] > 0.8
    assert values(leaves)[1] < 0.3
    assert isinstance(passed.measure, Unmeasured)
    assert passed.measure.unmeasured == "no_sums"
    plain, defended = (u.measure for u in done.result.utility)
    assert isinstance(plain, Estimate)
    assert isinstance(defended, Estimate)
    assert plain.value == defended.value


@pytest.mark.parametrize("defence", ["leaf_noise:0.1", "round_thresholds:10", "bare_trees+leaf_noise:0.01"])
def test_an_attacker_who_knows_the_defence_states_more_and_is_no_naive_one(defence: str) -> None:
    done = run(find("federated_trees"), {**SMALL, "defence": defence})
    knowing = done.result.findings[0]
    unaware = next(f for f in done.result.findings[1:] if f.attack.name == "tree_leaves")
    assert knowing.primary
    assert values(knowing)[0] > values(unaware)[0]
    assert values(knowing)[1] < 0.2
    assert isinstance(knowing.positive_control, Estimate)
    assert knowing.positive_control.value == 1
    assert all("naive_attacker" not in f.validity.flags for f in (knowing, unaware))


def test_a_rule_of_growing_hides_nothing_that_an_attacker_could_adapt_to() -> None:
    done = run(find("federated_trees"), {**SMALL, "defence": "large_leaves:5+shallow_trees"})
    assert all("naive_attacker" not in f.validity.flags for f in done.result.findings)


def test_a_client_reads_what_the_client_before_it_grew() -> None:
    done = run(find("federated_trees"), {"rounds": 4, "order": "cyclic"})
    leaves, _, passed = done.result.findings
    assert values(leaves)[0] == values(passed)[0] == 1.0
    assert values(leaves)[1] == values(passed)[1]  # of one hospital: the others' first trees follow another's


@pytest.mark.parametrize(
    ("params", "id"),
    [
        ({"data": "digits"}, "TB-SCENARIO-046"),
        ({"data": "breast-cancer", "clients": 20}, "TB-SCENARIO-047"),
        ({"defence": "gaussian:1"}, "TB-DEFENCE-021"),
    ],
    ids=str,
)
def test_what_cannot_be_run_is_refused(params: dict[str, Any], id: str) -> None:
    with pytest.raises(UsageError, match=id):
        run(find("federated_trees"), {**SMALL, **params})


def test_a_transcript_of_flowers_own_example_is_read_and_judged_by_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "t"
    app, strategy = xgboost_app.make_server(rounds=2)
    with compat.quiet():
        compat.run_in_process(app, xgboost_app.client, len(xgboost_app.WARDS))
    transcript.write(path, strategy.transcript())
    claimed = replay(path, "tree_leaves")
    with np.load(_kept(tmp_path, claimed.outcome.files["claim.npz"])) as kept:
        assert kept["round1.client0.counts"].sum() == len(xgboost_app.WARDS[0][0])
    files: list[str] = []
    for number, (x, y) in enumerate(xgboost_app.WARDS):
        np.savez(tmp_path / f"{number}.npz", x=x, y=y)
        files.append(f"{number}={tmp_path / f'{number}.npz'}")
    np.savez(tmp_path / "controls.npz", x=xgboost_app.OTHERS[0], y=xgboost_app.OTHERS[1])
    owned = given(files, tmp_path / "controls.npz")
    for attack in ("tree_leaves", "tree_thresholds"):
        (finding,) = replay(path, attack, owned=owned).result.findings
        got, control = values(finding)
        assert got == 1.0
        assert control < 1
    np.savez(tmp_path / "few.npz", x=xgboost_app.OTHERS[0][:5], y=xgboost_app.OTHERS[1][:5])
    with pytest.raises(InputError, match="TB-REPLAY-025"):
        replay(path, "tree_leaves", owned=given(files, tmp_path / "few.npz"))


def _kept(folder: Path, content: bytes) -> Path:
    path = folder / "claim.npz"
    path.write_bytes(content)
    return path

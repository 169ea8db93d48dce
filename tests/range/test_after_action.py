"""The after-action report: what it says is what the log and the score say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from testbed.core.errors import InputError
from testbed.findings.schema import Estimate
from testbed.range import after_action
from testbed.range.events import LOG
from testbed.report import html
from testbed.report import store as results
from tests.range.small import BLUE, RED, Played, body, played


@pytest.fixture
def finished(tmp_path: Path) -> Played:
    game = played(tmp_path, limits={"seconds_between": 0.0})
    scorer, truth = game.scorer(), game.people[1].truth
    facts = {"title": "t", "answered": 3, "utility": 0.7, "defence": "topk:0.1", "guards": "", "alarms": 0}
    game.play(scorer, 1, 2, **facts)
    for item in range(3):
        assert scorer.claim(RED, game.picture(1, 2, "north", item)) == "yes"
    game.clock.now += 600
    game.play(scorer, 1, 3, **facts | {"act": "imprint"})
    assert scorer.claim(BLUE, body(kind="detection", round=3, technique="imprint")) == "yes"
    game.play(scorer, 1, 4, **facts | {"par": 0.1})
    scores = truth.used + np.random.default_rng(0).normal(0, 0.1, len(truth.used))
    told = dict(zip(truth.names, scores.tolist(), strict=True))
    assert scorer.claim(RED, body(kind="membership", round=4, scores=told)) == "yes"
    return game


def test_the_report_says_what_was_lost_scored_and_noticed(finished: Played, tmp_path: Path) -> None:
    out = after_action.write(finished.instance, tmp_path / "report")
    result = results.load(out)
    told = result.exercise
    assert told is not None
    assert (result.subject.type, result.decision.verdict) == ("exercise", "none")

    reconstruction, membership = result.findings
    assert isinstance(reconstruction.measure, Estimate)
    assert (reconstruction.measure.value, reconstruction.measure.n) == (0.0625, 48)  # 3 of 24 + 24
    assert reconstruction.series[0].x == [0.125, 0.0]
    assert isinstance(membership.measure, Estimate)
    assert (membership.measure.value, membership.measure.fpr) == (1.0, 0.05)

    first, second, _ = told.rounds
    assert (first.minute, first.defence, first.sent, first.lost, first.attacked) == (0.0, "topk:0.1", 24, 3, None)
    assert (second.minute, second.lost, second.attacked, second.detected) == (10.0, 0, "imprint", True)
    score = json.loads(finished.scorer().score())["teams"][0]
    points = {(s.team, s.side): s.points for s in told.scores}
    assert points[1, "red"] == score["red"]["points"]
    assert points[1, "blue"] == score["blue"]["points"]
    assert [e.points for e in told.timeline if e.who == "red"] == [10, 10, 10, 60]
    assert (out / "evidence" / LOG).read_bytes() == (finished.instance.scorer / LOG).read_bytes()


def test_the_report_can_be_read_and_holds_no_secret(finished: Played, tmp_path: Path) -> None:
    out = after_action.write(finished.instance, tmp_path / "report")
    page = (out / "share" / "report.html").read_text("utf-8")
    for words in ("Round by round", "imprint: reported by blue", "Timeline", "topk:0.1", "3 of 48 patients"):
        assert words in page
    shared = page + (out / "share" / "result.json").read_text("utf-8")
    hidden = [finished.instance.token(side, team) for side, team in finished.instance.sides()]
    hidden += [*finished.people[1].truth.flags.values(), *finished.people[1].truth.names]
    assert not [text for text in hidden if text in shared]
    assert html.render(results.load(out)) == page


def test_a_report_of_nothing_but_a_start_is_written(tmp_path: Path) -> None:
    game = played(tmp_path)
    out = after_action.write(game.instance)
    assert results.load(out).findings == []


def test_no_report_is_written_from_a_log_that_was_changed(finished: Played, tmp_path: Path) -> None:
    path = finished.instance.scorer / LOG
    path.write_text(path.read_text("utf-8").replace('"yes"', '"no"', 1), encoding="utf-8")
    with pytest.raises(InputError, match="TB-RANGE-001"):
        after_action.write(finished.instance, tmp_path / "report")
    assert not (tmp_path / "report").exists()

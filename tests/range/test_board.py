"""The desks as pages: each token opens its own, nothing on them is a script, and nothing leads out of the desk."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from testbed.core import plain_files
from testbed.range import board as boards
from testbed.range import desk as desks
from testbed.range import pages, state
from testbed.range.board import LASTS_S, MOST_SESSIONS, Board, Sessions
from testbed.range.door import application
from testbed.range.pages import Message
from testbed.range.scorer import Scorer
from tests.range.browsing import Browser, Page
from tests.range.small import BLUE, RED, WHITE, Clock, Played, body, played

NASTY = "<script>alert(1)</script>\u202e\"'><img src=x>"


@pytest.fixture
def game(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Played:
    made = played(tmp_path, limits={"seconds_between": 0.0, "claims": 20})
    state.State({"1": 1, "2": 2}, 1, {"1": 0, "2": 0}).keep(made.instance)
    return made


@contextmanager
def answering(scorer: Scorer, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The scorer answers in this process wherever a desk asks it."""
    app = application(scorer)

    class Client:
        def __init__(self, **_: Any) -> None:
            pass

        def __enter__(self) -> Client:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def request(self, method: str, url: str, **more: Any) -> httpx.Response:
            async def asked() -> httpx.Response:
                async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:
                    return await client.request(method, url, **more)

            return asyncio.run(asked())

    with monkeypatch.context() as patched:
        patched.setenv(desks.ADDRESS, "http://scorer")
        patched.setattr(desks.httpx, "Client", Client)
        yield


@pytest.fixture
def scorer(game: Played, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scorer]:
    made = game.scorer()
    with answering(made, monkeypatch):
        yield made


def at(game: Played, board: Board, side: Any, team: int = 0) -> Browser:
    browser = Browser(board)
    assert browser.enter(game.instance.token(side, team)).status_code == 303
    return browser


def loot(game: Played, name: str, content: bytes = b"") -> Path:
    folder = game.instance.desk("red", 1) / "loot"
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(content)
    return folder / name


def test_red_sees_its_rounds_par_loot_claims_and_score_and_nothing_of_others(game: Played, scorer: Scorer) -> None:
    game.play(scorer, 1, 1, title="one patient a hospital", utility=0.7, defence="topk:0.1")
    game.play(scorer, 1, 3, title="the coordinator changes", act="imprint")
    game.play(scorer, 1, 4, title="membership", par=0.21)
    scorer.claim(RED, body(kind="flag", code=game.people[1].truth.flags[1]))
    scorer.claim(BLUE, body(kind="detection", round=3, technique="imprint"))
    loot(game, "round-01.analytic_linear.north.png", b"\x89PNG")
    said = at(game, Board(game.instance), "red", 1).page().said
    for word in ("one patient a hospital", "0.21", "50 points", "round-01.analytic_linear.north.png", "flags: 1"):
        assert word in said
    for hidden in ("topk", "detection", "TB-", "event log", game.people[1].truth.flags[1]):
        assert hidden not in said.replace("detections", "")
    other = at(game, Board(game.instance), "red", 2).page().said
    assert "0 points" in other
    assert "0.21" not in other


def test_blue_sees_rounds_and_switches_and_not_what_the_coordinator_did(game: Played, scorer: Scorer) -> None:
    facts = {"answered": 3, "utility": 0.71, "defence": "topk:0.1", "guards": "repeated_rows", "alarms": 2}
    game.play(scorer, 1, 3, title="round three", act="imprint", **facts)
    scorer.note(BLUE, "defend", {"defence": "topk:0.2", "guards": "weight_law"}, 1)
    page = at(game, Board(game.instance), "blue", 1).page()
    for word in ("round three", "0.71", "3 hospitals", "topk:0.1", "topk:0.2", "weight_law"):
        assert word in page.said
    ticked = {a["value"] for a in page.all("input") if "checked" in a}
    assert ticked == {"weight_law"}
    offered = {a["value"] for a in page.all("option") if "value" in a}
    assert {"none", "topk", "median", "dpsgd", "secagg"} <= offered
    assert not {"rounding", "temperature", "shallow_trees", "pate"} & offered  # they protect no federation
    assert "imprint" not in page.text.replace("<option>imprint</option>", "")


def test_white_sees_scoreboard_log_and_injects(game: Played, scorer: Scorer) -> None:
    game.play(scorer, 1, 1)
    scorer.claim(RED, body(kind="flag", code="FAAAAA"))
    scorer.note(WHITE, "inject", {"what": "drop", "value": "forest"}, 2)
    said = at(game, Board(game.instance), "white").page().said
    for word in ("Scoreboard", "-3", "team 2", "drop", "forest", "answer: no", "act: None"):
        assert word in said


def test_a_page_needs_its_token_and_a_session_is_no_token(game: Played, scorer: Scorer) -> None:
    board = Board(game.instance)
    browser = Browser(board)
    assert "Score" not in browser.page().said
    for wrong in ("", "short", "x" * 32, game.instance.token("red", 1) + "x", "'; --" * 9):
        assert browser.enter(wrong).status_code == 403
    answer = browser.enter(f" {game.instance.token('red', 1)}\n")
    cookie = answer.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=strict"} <= set(cookie.split("; "))
    assert game.instance.token("red", 1) not in cookie + browser.get().text
    browser.send("/leave")
    assert "Score" not in browser.page().said


def test_a_form_of_another_page_is_refused(game: Played, scorer: Scorer) -> None:
    game.play(scorer, 1, 1)
    browser = at(game, Board(game.instance), "red", 1)
    claim = {"kind": "flag", "what": "FAAAAA"}
    assert browser.post("/claim", csrf="guessed", **claim).status_code == 403
    assert browser.post("/claim", **claim).status_code == 403
    csrf = browser.page().csrf()
    assert browser.post("/claim", origin="http://elsewhere.example", csrf=csrf, **claim).status_code == 403
    assert browser.post("/claim", origin="null", csrf=csrf, **claim).status_code == 403
    assert browser.get(headers={"host": "elsewhere.example"}).status_code == 400
    assert browser.get("/claim").status_code == 405
    assert "claim" not in {e.event for e in scorer.log.events}
    assert "says no" in browser.send("/claim", **claim).said


def test_red_claims_from_its_page(game: Played, scorer: Scorer) -> None:
    game.play(scorer, 1, 1)
    browser = at(game, Board(game.instance), "red", 1)
    said = browser.send("/claim", kind="flag", what=game.people[1].truth.flags[1]).said
    assert "The scorer says yes to this flag." in said
    assert "says yes" not in browser.page().said  # told once
    true = game.behind(1, 1, "north").x[:1]
    (game.instance.desk("red", 1) / "rounds.json").write_text("{}", encoding="utf-8")
    np.savez(loot(game, "round-01.mine.npz"), round=np.array(1), north=true)
    said = browser.send("/claim", kind="reconstruction", what="round-01.mine.npz", hospital="north", item="0").said
    assert "60 points" in said
    for wrong, told in (
        ({"kind": "reconstruction", "what": "none.npz"}, "TB-RANGE-056"),
        ({"kind": "reconstruction", "what": "../token"}, "TB-RANGE-056"),
        ({"kind": "reconstruction", "what": "round-01.mine.npz", "item": "-1"}, "TB-RANGE-055"),
        ({"kind": "detection", "what": "imprint", "round": "1"}, "TB-RANGE-054"),
        ({"kind": "decision", "what": "hold", "round": "1"}, "TB-RANGE-054"),
        ({"kind": "flag", "what": "F" * 99}, "TB-RANGE-007"),
        ({}, "TB-RANGE-054"),
    ):
        assert told in browser.send("/claim", **wrong).said
    assert "TB-RANGE-057" in browser.send("/defend", defence="none").said
    assert "TB-RANGE-057" in browser.send("/inject", inject="round").said
    assert [e.event for e in scorer.log.events].count("claim") == 2


def test_what_a_player_puts_on_the_desk_leads_nowhere(game: Played, scorer: Scorer, tmp_path: Path) -> None:
    game.play(scorer, 1, 1)
    truth = game.instance.scorer / "truth-1.npz"
    folder = loot(game, "plain.png", b"\x89PNG").parent
    (folder / "link.png").symlink_to(truth)
    (folder / "link.npz").symlink_to(truth)
    os.link(truth, folder / "hard.npz")
    os.link(truth, folder / "hard.png")
    os.mkfifo(folder / "pipe.png")
    (folder / f"{NASTY.replace('/', '')}.png").write_bytes(b"x")
    browser = at(game, Board(game.instance), "red", 1)
    assert [a["alt"][-9:] for a in browser.page().all("img")] == ["plain.png"]
    assert browser.get("/loot/plain.png").content == b"\x89PNG"
    for name in ("link.png", "hard.png", "pipe.png", "..%2ftoken", "%2e%2e/token", "link.npz", "none.png"):
        assert browser.get(f"/loot/{name}").status_code == 404, name
    for name in ("link.npz", "hard.npz"):
        told = browser.send("/claim", kind="reconstruction", what=name, hospital="patients")
        assert "TB-RANGE-056" in told.said
    for path in [*folder.iterdir()]:
        path.unlink()
    folder.rmdir()
    folder.symlink_to(game.instance.scorer)
    assert plain_files.listed(folder, ".npz") == []
    assert plain_files.content(folder, "truth-1.npz") is None
    assert Browser(Board(game.instance)).get("/loot/plain.png").status_code == 404
    assert at(game, Board(game.instance), "blue", 1).get("/loot/plain.png").status_code == 404


def test_blue_switches_from_its_page_and_no_file_of_its_own_runs(
    game: Played, scorer: Scorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[list[str]] = []

    def run(line: list[str], **_: Any) -> Any:
        ran.append(line[4:])
        return boards.subprocess.CompletedProcess(line, 0, "from the next round on\n", "")

    monkeypatch.setattr(boards.subprocess, "run", run)
    browser = at(game, Board(game.instance), "blue", 1)
    own = tmp_path / "mine.py"
    own.write_text("raise SystemExit('it ran')", encoding="utf-8")
    for wrong in (f"{own}:mine", str(own), "topkk:0.1", "topk:0.1+mine:f"):
        assert "TB-DEFENCE-001" in browser.send("/defend", defence=wrong).said, wrong
    assert "TB-GUARD-001" in browser.send("/defend", defence="none", guards="repeated_row").said
    assert ran == []
    page = browser.send("/defend", defence="topk:0.1", guards=["repeated_rows", "weight_law"])
    assert "from the next round on" in page.said
    options = ["--team", "1", "--guards", "repeated_rows,weight_law", "--", "heist"]
    assert ran == [["defend", *options, "topk:0.1"]]
    white = at(game, Board(game.instance), "white")
    white.send("/inject", inject="drop", drop="--help", team="2")
    white.send("/inject", **{"inject": "round", "swap-model": "imprint", "drop": "forest", "team": ""})
    assert ran[1:] == [["inject", "--team", "2", "--", "heist", "drop", "--help"], ["inject", "--", "heist", "round"]]


def test_a_failed_command_is_told_with_its_remedy(
    game: Played, scorer: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(line: list[str], **_: Any) -> Any:
        return boards.subprocess.CompletedProcess(line, 2, "", f"error TB-RANGE-039 {NASTY}")

    monkeypatch.setattr(boards.subprocess, "run", run)
    page = at(game, Board(game.instance), "white").send("/inject", inject="round")
    assert "TB-RANGE-039" in page.said
    assert not page.all("script", "img")


def test_every_text_is_escaped(game: Played, scorer: Scorer) -> None:
    game.play(scorer, 1, 1, title=NASTY, defence=NASTY, guards=NASTY, answered=3, utility=0.5, alarms=0)
    scorer.note(WHITE, "inject", {"what": NASTY, "value": NASTY}, 1)
    scorer.note(BLUE, "defend", {"defence": NASTY, "guards": NASTY.replace(",", "")}, 1)
    board = Board(game.instance)
    for side, team in game.instance.sides():
        page = at(game, board, side, team).page()
        assert not page.all("script")
        assert [a for a in page.all("img") if a.get("src") == "x"] == []
        assert "\u202e" not in page.text
        assert not re.search(r"<[^>]*\son\w+=", page.text)
    told = pages.desk(game.instance, scorer.view(RED), NASTY, Message(True, NASTY))
    assert "<script" not in told


def accessible(page: Page) -> None:
    """What a keyboard and a screen reader need, and what keeps a page to itself."""
    assert page.all("html")[0]["lang"] == "en"
    assert len(page.all("h1")) == 1
    assert len(page.all("title")) == 1
    assert page.all("a")[0] == {"class": "skip", "href": "#content"}
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(set(ids)) == len(ids)
    labelled = {a["for"] for a in page.all("label") if "for" in a}
    for field in page.all("input", "select"):
        assert field.get("type") in ("hidden", "checkbox") or field["id"] in labelled, field
    assert labelled <= set(ids)
    assert all(a.get("alt") for a in page.all("img"))
    assert all(a["scope"] in ("row", "col") for a in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table"))
    assert not page.all("script", "iframe", "object", "embed", "style", "base", "meta:refresh")
    assert not [a for _, a in page.tags if "style" in a or any(k.startswith("on") for k in a)]
    assert not [a for a in page.all("meta") if "http-equiv" in a]
    for _, a in page.tags:
        for key in ("href", "src", "action"):
            assert a.get(key, "/").startswith(("/", "#")), a
            assert not a.get(key, "/").startswith("//"), a
    assert all(a["method"] == "post" for a in page.all("form"))


def test_pages_can_be_used_by_keyboard_and_load_nothing_from_outside(game: Played, scorer: Scorer) -> None:
    facts = {"answered": 3, "utility": 0.71, "defence": "topk:0.1", "guards": "", "alarms": 2}
    game.play(scorer, 1, 1, title="one", **facts)
    scorer.claim(RED, game.picture(1, 1, "north"))
    for name in ("round-01.a.png", "round-01.a.npz", "round-01.b.csv"):
        loot(game, name)
    board = Board(game.instance)
    accessible(Browser(board).page())
    for side, team in game.instance.sides():
        browser = at(game, board, side, team)
        accessible(browser.page())
        answer = browser.get()
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "script" not in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"


def luminance(colour: str) -> float:
    """WCAG 2.1: relative luminance of #rrggbb."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_every_pair_of_colours_has_the_contrast_of_level_aa() -> None:
    css = pages.style()
    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", css))
    assert set(re.findall(r"var\(--(\w+)\)", css)) <= set(colours)
    assert not re.findall(
        r"#[0-9a-fA-F]{3,8}", css.partition("}")[2]
    )  # colours are named above, so that all are checked
    for name in ("ink", "muted", "link", "good", "bad"):
        for ground in ("paper", "wash"):
            assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground)
    for ground in ("red", "blue", "white", "link"):
        assert contrast(colours["paper"], colours[ground]) >= 4.5, ground
    assert contrast(colours["edge"], colours["paper"]) >= 3  # the border of a field
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


def test_sessions_are_few_and_end(game: Played) -> None:
    clock = Clock()
    sessions = Sessions(clock)
    other = sessions.new("t", "blue", 1)
    keys = [sessions.new("t", "red", 1) for _ in range(MOST_SESSIONS + 3)]
    assert [sessions.get(k) is not None for k in keys] == [False] * 3 + [True] * MOST_SESSIONS
    assert sessions.get(other) is not None
    clock.now += LASTS_S + 1
    assert sessions.get(other) is None


def test_a_reset_ends_the_sessions_and_a_stopped_scorer_is_told(game: Played, monkeypatch: pytest.MonkeyPatch) -> None:
    board = Board(game.instance)
    first = game.scorer()
    with answering(first, monkeypatch):
        browser = at(game, board, "red", 1)
        assert "Score" in browser.page().said
    stopped = browser.get()
    assert stopped.status_code == 503
    assert "TB-RANGE-017" in stopped.text
    with answering(first, monkeypatch):
        assert "Score" in browser.page().said  # and it goes on
        first._tokens.clear()  # pyright: ignore[reportPrivateUsage]
        assert "TB-RANGE-006" in browser.get().text
        assert "TB-RANGE-006" not in browser.get().text

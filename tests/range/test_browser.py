"""The desks in a real browser: by keyboard alone, readable, without an error and without a request to anywhere else."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from testbed.range import processes, state
from testbed.range.desk import Desk
from tests.range.small import Played, played

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PICTURES = "TESTBED_TEST_PICTURES"
"""The environment variable that names a folder for pictures of the pages, to look at."""
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="not run: no Chromium is installed")]

CONTRASTS = """
(() => {
  const rgb = (t) => { const m = t.match(/[\\d.]+/g).map(Number); return m.length < 4 ? [...m, 1] : m; };
  const linear = (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = (c) => c.slice(0, 3).reduce((sum, v, i) => sum + [0.2126, 0.7152, 0.0722][i] * linear(v / 255), 0);
  const low = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let n = walk.nextNode(); n; n = walk.nextNode()) {
    const e = n.parentElement;
    if (!n.textContent.trim() || !e.getClientRects().length) continue;
    let ground = e;
    while (rgb(getComputedStyle(ground).backgroundColor)[3] === 0) ground = ground.parentElement;
    const a = light(rgb(getComputedStyle(e).color));
    const b = light(rgb(getComputedStyle(ground).backgroundColor));
    if ((Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 4.5) low.push(n.textContent.trim());
  }
  return low;
})()
"""
"""The texts whose contrast with their ground is below that of level AA."""
FOCUSED = """
(() => {
  const e = document.activeElement;
  const s = getComputedStyle(e);
  return [e.tagName.toLowerCase(), e.id || e.name || e.textContent.trim(), s.outlineStyle, parseFloat(s.outlineWidth)];
})()
"""
REACHABLE = """
[...document.querySelectorAll('a[href], button, input:not([type=hidden]), select, summary')].length
"""


class Chromium:
    """A page of a browser, over its own debugging protocol."""

    def __init__(self, folder: Path) -> None:
        from websockets.sync.client import connect

        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--window-size=1100,1000"]
        quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
        self.process = subprocess.Popen(
            [str(CHROMIUM), *flags, *quiet, "--remote-debugging-port=0", f"--user-data-dir={folder}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        told = folder / "DevToolsActivePort"
        ended = time.monotonic() + 60
        while not (told.is_file() and told.read_text("utf-8").count("\n")):
            assert time.monotonic() < ended, "the browser did not start"
            time.sleep(0.05)
        port = told.read_text("utf-8").splitlines()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list") as answer:
            page = next(p for p in json.loads(answer.read()) if p["type"] == "page")
        self.open = contextlib.ExitStack()
        self.socket = self.open.enter_context(connect(page["webSocketDebuggerUrl"], max_size=None))
        self.numbers, self.events = itertools.count(1), list[dict[str, Any]]()
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            told = json.loads(self.socket.recv(timeout=60))
            if told.get("id") == number:
                assert "error" not in told, told
                return told["result"]
            self.events.append(told)

    def value(self, script: str) -> Any:
        return self.call("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def loaded(self, condition: str) -> None:
        ended = time.monotonic() + 30
        while not self.value(f"document.readyState === 'complete' && !!({condition})"):
            assert time.monotonic() < ended, f"{condition}: {self.value('document.body.innerText')}"
            time.sleep(0.05)

    def press(self, key: str, code: int, text: str = "") -> None:
        about: dict[str, Any] = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", **about, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **about)

    def tab(self) -> list[Any]:
        self.press("Tab", 9)
        return self.value(FOCUSED)

    def reach(self, name: str) -> None:
        """Tabs until the field or button of that name has the focus."""
        for _ in range(80):
            if self.tab()[1] == name:
                return
        raise AssertionError(f"{name} cannot be reached by keyboard")

    def picture(self, name: str) -> None:
        if os.environ.get(PICTURES):
            told = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
            (Path(os.environ[PICTURES]) / f"{name}.png").write_bytes(base64.b64decode(told["data"]))

    def requested(self) -> set[str]:
        return {e["params"]["request"]["url"] for e in self.events if e["method"] == "Network.requestWillBeSent"}

    def errors(self) -> list[Any]:
        said = [e["params"]["entry"] for e in self.events if e["method"] == "Log.entryAdded"]
        return said + [e for e in self.events if e["method"] in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled")]

    def close(self) -> None:
        self.open.close()
        self.process.terminate()
        self.process.wait(30)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chromium]:
    made = Chromium(tmp_path / "browser")
    yield made
    made.close()


@pytest.fixture
def game(tmp_path: Path) -> Iterator[Played]:
    made = played(tmp_path, limits={"seconds_between": 0.0, "claims": 20})
    state.State({"1": 1, "2": 2}, 1, {"1": 0, "2": 0}).keep(made.instance)
    facts = {"answered": 3, "utility": 0.71, "defence": "topk:0.1", "guards": "repeated_rows", "alarms": 2}
    made.play(made.scorer(), 1, 1, title="one patient a hospital", par=0.2, **facts)
    loot = made.instance.desk("red", 1) / "loot"
    loot.mkdir()
    shown = made.behind(1, 1, "north").x[:1]
    Image.fromarray((np.clip(shown[0, 0], 0, 1) * 255).astype(np.uint8)).resize((168, 168)).save(
        loot / "round-01.a.png"
    )
    (made.instance.desk("red", 1) / "rounds.json").write_text("{}", encoding="utf-8")
    np.savez(loot / "round-01.a.npz", round=np.array(1), north=shown)
    processes.start(made.instance)
    yield made
    processes.stop(made.instance)


def test_every_desk_is_used_by_keyboard_alone_and_asks_nobody_else(game: Played, browser: Chromium) -> None:
    door = processes.door(game.instance, processes.BOARD)
    assert door is not None
    for side, team in (("red", 1), ("blue", 1), ("white", 0)):
        browser.call("Page.navigate", url=door.url)
        browser.loaded("document.querySelector('#token')")
        browser.reach("token")
        browser.call("Input.insertText", text=game.instance.token(side, team))
        browser.press("Enter", 13, "\r")
        browser.loaded("document.querySelector('header form')")
        assert browser.value(CONTRASTS) == []
        assert browser.value("document.documentElement.scrollWidth <= window.innerWidth")
        browser.picture(side)
        reached = [browser.tab() for _ in range(browser.value(REACHABLE))]
        assert reached[0][1] == "Go to the content"
        assert len({tuple(r[:2]) for r in reached}) >= browser.value(REACHABLE) - len(reached) + 4
        assert all(r[2] != "none" and r[3] >= 2 for r in reached if r[0] != "body"), reached
        if side == "red":
            browser.reach("Claim the reconstruction")
            browser.press("Enter", 13, "\r")
            browser.loaded("document.querySelector('.message')")
            assert "says yes" in browser.value("document.querySelector('.message').textContent")
            assert browser.value(CONTRASTS) == []
            browser.picture("red-claimed")
            assert browser.value("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
        browser.reach("Leave this desk")
        browser.press("Enter", 13, "\r")
        browser.loaded("document.querySelector('#token')")
    assert browser.errors() == []
    assert {u.split("/")[2] for u in browser.requested() if not u.startswith("about:")} == {f"127.0.0.1:{door.port}"}
    assert json.loads(Desk(game.instance, "white").score())["teams"][0]["red"]["reconstructions"] == 1

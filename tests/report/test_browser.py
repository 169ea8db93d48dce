"""Reports and served pages in a real browser: readable, by keyboard, on paper, and asking nobody else."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.findings.schema import Result
from testbed.report import html, store
from tests.range.test_browser import CHROMIUM, CONTRASTS, REACHABLE, Chromium, browser
from tests.report import examples
from tests.report.test_listing import result

__all__ = ["browser"]
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="not run: no Chromium is installed")]
HIDDEN = """
[...document.querySelectorAll('details > :not(summary)')].filter(e => !e.checkVisibility()).length
"""
CUT = """
[...document.querySelectorAll('svg text')].filter(t => {
  const [a, b] = [t.getBoundingClientRect(), t.ownerSVGElement.getBoundingClientRect()];
  return a.left < b.left - 1 || a.right > b.right + 1 || a.top < b.top - 1 || a.bottom > b.bottom + 1;
}).map(t => t.textContent)
"""
"""The labels of charts that lie outside their chart."""


@pytest.fixture(params=["release", "federation", "membership"])
def made(request: pytest.FixtureRequest) -> Result:
    return getattr(examples, request.param)()


def shown(browser: Chromium, path: Path) -> None:
    browser.call("Page.navigate", url=path.as_uri())
    browser.loaded("document.querySelector('main')")


@pytest.mark.parametrize("lang", ["en", "sv"])
def test_a_report_is_readable_by_all_and_whole_on_paper(
    made: Result, lang: str, browser: Chromium, tmp_path: Path
) -> None:
    page = tmp_path / "report.html"
    page.write_text(html.render(made, lang), "utf-8")
    shown(browser, page)
    browser.picture(f"report-{made.subject.type}-{lang}")
    assert browser.value(CONTRASTS) == []
    assert browser.value(CUT) == []
    assert browser.value("document.documentElement.scrollWidth <= window.innerWidth")
    for _ in range(browser.value(REACHABLE)):  # each closed panel is opened by keyboard alone
        reached = browser.tab()
        assert reached[2] != "none", reached
        if reached[0] == "summary":
            browser.press("Enter", 13, "\r")
    assert browser.value("[...document.querySelectorAll('details')].every(d => d.open)")
    assert browser.value(CONTRASTS) == []
    shown(browser, page)
    assert browser.value(HIDDEN) > 0  # closed on a screen, and nothing hidden on paper
    browser.call("Emulation.setEmulatedMedia", media="print")
    assert browser.value(HIDDEN) == 0
    browser.call("Emulation.setEmulatedMedia", media="")
    browser.call("Emulation.setDeviceMetricsOverride", width=390, height=800, deviceScaleFactor=1, mobile=True)
    assert browser.value("document.documentElement.scrollWidth <= window.innerWidth")
    browser.call("Emulation.clearDeviceMetricsOverride")
    assert browser.errors() == []
    assert {u for u in browser.requested() if not u.startswith(("about:", "data:"))} == {page.as_uri()}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    for day, name in ((1, "first"), (2, "second")):
        store.write(tmp_path / "runs" / name, result(f"2026-01-0{day}T10:00:00+00:00", seed=day))
    command = [sys.executable, "-m", "testbed", "serve", str(tmp_path / "runs"), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    told = ""
    while not (found := re.search(r"http://127\.0\.0\.1:\d+/\S+", told)):
        line = process.stdout.readline()
        assert line, told
        told += line
    yield found[0]
    process.terminate()
    process.communicate(timeout=60)


def test_the_list_of_results_is_used_by_keyboard_and_asks_nobody_else(served: str, browser: Chromium) -> None:
    browser.call("Page.navigate", url=served)
    browser.loaded("document.querySelectorAll('input[type=checkbox]').length == 2")
    assert browser.value(CONTRASTS) == []
    reached = [browser.tab() for _ in range(browser.value(REACHABLE))]
    assert all(r[2] != "none" for r in reached if r[0] != "body"), reached
    for box in range(2):
        browser.value(f"document.querySelectorAll('input[type=checkbox]')[{box}].focus()")
        browser.press(" ", 32, " ")
    assert browser.value("document.querySelectorAll('input[type=checkbox]:checked').length") == 2
    browser.picture("served-list")
    browser.press("Enter", 13, "\r")
    browser.loaded("location.pathname.includes('compare')")
    assert browser.value(CONTRASTS) == []
    browser.picture("served-compare")
    browser.call("Page.navigate", url=served)
    browser.loaded("document.querySelector('table a')")
    browser.value("document.querySelector('table a').focus()")
    browser.press("Enter", 13, "\r")
    browser.loaded("location.href != " + repr(served))
    assert browser.value(CONTRASTS) == []
    browser.picture("served-result")
    assert browser.errors() == []
    assert {u.split("/")[2] for u in browser.requested() if not u.startswith("about:")} == {served.split("/")[2]}

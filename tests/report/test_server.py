"""The pages of `testbed serve`: who may ask, what is handed out, and what never is."""

from __future__ import annotations

import asyncio
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from testbed.core.errors import UsageError
from testbed.findings import proof
from testbed.report import opened, store
from testbed.report.server import Results
from tests.range.browsing import Page
from tests.report.test_listing import EXAMPLE, result

HERE = "http://127.0.0.1:8000"
SECRET = b"the truth about a person"
NASTY = "<script>alert(1)</script>\u202e\"'><img src=x>"


class Reader:
    """Somebody's browser at a server that answers in this process."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.made = folder, Results(folder, "token-of-this-test")
        self.app = self.made.application()

    def get(self, path: str = "", **more: Any) -> httpx.Response:
        return self.asked(f"/{self.made.token}/{path}", **more)

    def asked(self, path: str, method: str = "GET", **more: Any) -> httpx.Response:
        async def asked() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url=HERE, follow_redirects=True) as client:
                return await client.request(method, path, **more)

        return asyncio.run(asked())

    def key(self, path: str) -> str:
        return next(k for k, e in opened.found(self.folder).items() if e.path == path)

    def open(self, path: str, name: str) -> httpx.Response:
        return self.get(f"open/{name}?of={self.key(path)}")

    def page(self, path: str) -> Page:
        return Page(self.get(f"result?of={self.key(path)}").text)

    def listed(self, **asked: str) -> list[str]:
        return [a["aria-label"].removeprefix("Compare ") for a in self.page_of(asked).all("input") if "aria-label" in a]

    def page_of(self, asked: dict[str, str]) -> Page:
        return Page(self.get("?" + "&".join(f"{k}={quote(v)}" for k, v in asked.items())).text)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two results and an altered one; each test that changes it works on a copy."""
    top = tmp_path_factory.mktemp("served") / "runs"
    for day, name in ((1, "first"), (2, "second"), (3, "edited")):
        store.write(top / name, result(f"2026-01-0{day}T10:00:00+00:00", seed=day), files={"rows.npz": SECRET})
    file = top / "edited" / "share" / "result.json"
    file.write_text(file.read_text("utf-8").replace('"verdict": "none"', '"verdict": "pass"', 1), "utf-8")
    return top


@pytest.fixture
def reader(written: Path, tmp_path: Path) -> Reader:
    shutil.copytree(written, tmp_path / "runs")
    return Reader(tmp_path / "runs")


def test_results_are_listed_and_altered_ones_marked_as_verify_does(reader: Reader) -> None:
    page = Page(reader.get().text)
    assert reader.listed() == ["edited", "second", "first"]
    assert page.said.count("sealed") == 2
    assert [a["class"] for a in page.all("span") if "altered" in a.get("class", "")] == ["seal altered"]
    edited = reader.page("edited").said
    assert "DOES NOT HOLD This result was altered after it was made" in edited
    assert "cannot be relied on" in edited
    for name in ("report.html", "result.json"):
        assert reader.open("edited", name).status_code == 404
    assert "report holds report.html was made from this result" in reader.page("first").said


def test_the_list_is_filtered(reader: Reader) -> None:
    kind = result("").run.command
    assert reader.listed(kind=kind, state="complete") == ["second", "first"]
    assert reader.listed(kind="sweep") == []
    assert reader.listed(text="SECON", verdict="none") == ["second"]
    assert reader.listed(state="altered") == ["edited"]
    assert {a["value"] for a in reader.page_of({"text": NASTY}).all("input") if a.get("name") == "text"}


def test_a_report_is_handed_out_as_written_and_in_a_sandbox(reader: Reader) -> None:
    answer = reader.open("first", "report.html")
    assert answer.content == (reader.folder / "first" / "share" / "report.html").read_bytes()
    assert answer.headers["content-type"].startswith("text/html")
    allowed = answer.headers["content-security-policy"].split("; ")
    assert {"default-src 'none'", "sandbox", "form-action 'none'"} <= set(allowed)
    assert not [rule for rule in allowed if "script" in rule or "http" in rule or "*" in rule]
    download = reader.open("first", "result.json")
    assert download.headers["content-disposition"] == 'attachment; filename="result.json"'


def test_two_are_compared_side_by_side(reader: Reader) -> None:
    page = Page(reader.get(f"compare?of={reader.key('first')}&of={reader.key('second')}").text)
    found = result("").findings
    assert all(f.attack.name in page.said for f in found)
    assert "seed 1" in page.said
    assert "seed 2" in page.said
    assert "the same" in page.said or not page.said.count("By their digests")
    for wrong in ("", f"?of={reader.key('first')}", f"?of={reader.key('first')}&of=nothing"):
        assert reader.get(f"compare{wrong}").status_code == 404
    refused = reader.get(f"compare?of={reader.key('first')}&of={reader.key('edited')}")
    assert "TB-SERVE-003" in refused.text


def test_nobody_reads_without_the_token_or_under_another_name(reader: Reader) -> None:
    token = reader.made.token
    for path in ("/", "/wrong/", f"/{token}x/", f"/{token[:-1]}/", "/favicon.ico", "/style.css", f"//{token}", "/%00/"):
        answer = reader.asked(path)
        assert answer.status_code == 404, path
        assert "first" not in answer.text
        assert token not in answer.text
    for host in (
        "evil.example",
        "evil.example:8000",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "0.0.0.0",
        "",
    ):
        assert reader.get(headers={"host": host}).status_code == 400, host
    assert reader.get(headers={"host": "localhost:99"}).status_code == 200
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        assert reader.asked(f"/{token}/", method).status_code == 405
    assert len(Results(reader.folder).token) >= 32
    assert Results(reader.folder).token != Results(reader.folder).token


def test_only_files_that_may_be_passed_on_leave_the_folder(reader: Reader, tmp_path: Path) -> None:
    (tmp_path / "outside.html").write_bytes(SECRET)
    (reader.folder / "first" / "share" / "notes.html").write_bytes(SECRET)
    tries = ["notes.html", "rows.npz", "../evidence/rows.npz", "..%2fevidence%2frows.npz", "%2e%2e/evidence/rows.npz"]
    tries += ["..%252fevidence%252frows.npz", "%2e%2e%2f%2e%2e%2f%2e%2e%2foutside.html", "....//outside.html"]
    tries += [str(tmp_path / "outside.html"), quote(str(tmp_path / "outside.html"), ""), "report.html%00.npz"]
    tries += ["..\\evidence\\rows.npz", "result.json/../../evidence/rows.npz", "", "%2e", "%2e%2e"]
    for name in tries:
        answer = reader.open("first", name)
        assert answer.status_code == 404, name
        assert SECRET not in answer.content
    for of in ("../first", "first", "..", "%2e%2e", "evidence", str(tmp_path)):
        assert reader.get(f"open/report.html?of={of}").status_code == 404, of
        assert reader.get(f"result?of={of}").status_code == 404, of
    assert "share/ holds further files" in reader.page("first").said


@pytest.mark.parametrize("place", ["share", "share/report.html", "share/result.json", ""])
@pytest.mark.parametrize("hard", [False, True])
def test_a_link_is_not_followed(reader: Reader, tmp_path: Path, place: str, hard: bool) -> None:
    """A link in the folder to a good result elsewhere, which would be shown if it lay here."""
    run = reader.folder / "first"
    elsewhere = shutil.move(run, tmp_path / "elsewhere")
    if place:
        shutil.copytree(elsewhere, run)
    target, link = Path(elsewhere) / place, run / place
    if link.is_dir():
        shutil.rmtree(link)
    else:
        link.unlink(missing_ok=True)
    if hard and target.is_file():
        os.link(target, link)
    else:
        link.symlink_to(target)
    if place == "share/report.html":
        assert reader.open("first", "report.html").status_code == 404
        assert reader.open("first", "result.json").status_code == 200
    elif "first" in reader.listed():
        assert "unreadable" in reader.page("first").said
        assert reader.open("first", "report.html").status_code == 404
    assert result("").subject.name not in reader.page_of({"state": "unreadable"}).said


def test_evidence_is_never_served_even_if_it_looks_like_a_result(reader: Reader) -> None:
    shutil.copytree(reader.folder / "second", reader.folder / "evidence" / "inner")
    shutil.copytree(reader.folder / "second", reader.folder / "first" / "evidence" / "inner")
    assert reader.listed() == ["edited", "second", "first"]


def test_a_page_or_a_decision_that_was_altered_is_not_handed_out(reader: Reader) -> None:
    page = reader.folder / "first" / "share" / "report.html"
    page.write_text(page.read_text("utf-8").replace("NO VERDICT", "PASS"), "utf-8")
    assert reader.open("first", "report.html").status_code == 404
    assert reader.open("first", "result.json").status_code == 200
    assert "Not handed out, since it does not hold: report.html" in reader.page("first").said
    made = result("2026-01-05T10:00:00+00:00")
    forged = made.model_copy(update={"decision": made.decision.model_copy(update={"verdict": "pass"})})
    store.write(reader.folder / "forged", proof.sealed(forged))
    assert reader.open("forged", "report.html").status_code == 404
    assert "policy DOES NOT HOLD" in reader.page("forged").said
    earlier = {n: v for n, v in json.loads(EXAMPLE.read_text("utf-8")).items() if n != "proof"}
    earlier["run"] = {**earlier["run"], "id": "7eea25b59eb0"}
    (reader.folder / "old" / "share").mkdir(parents=True)
    (reader.folder / "old" / "share" / "result.json").write_text(json.dumps(earlier), "utf-8")
    assert "without proof" in reader.page("old").said
    assert reader.open("old", "result.json").status_code == 200


def test_texts_are_escaped_and_pages_run_nothing(reader: Reader) -> None:
    made = result("2026-01-06T10:00:00+00:00")
    subject = made.subject.model_copy(update={"name": NASTY})
    store.write(reader.folder / NASTY.replace("/", ""), proof.sealed(made.model_copy(update={"subject": subject})))
    keys = list(opened.found(reader.folder))
    paths = [
        "",
        f"?text={quote(NASTY)}&kind={quote(NASTY)}",
        f"result?of={keys[0]}",
        f"compare?of={keys[0]}&of={keys[2]}",
    ]
    for path in [*paths, "result", "open/x.html?of=1"]:
        answer = reader.get(path)
        page = Page(answer.text)
        assert not page.all("script", "img", "iframe", "style", "base"), path
        assert "\u202e" not in answer.text
        assert not re.search(r"<[^>]*\s(on\w+|style)=", answer.text)
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
        for _, a in page.tags:
            for name in ("href", "src", "action"):
                assert re.fullmatch(
                    r"(\.\./|\./)?(style\.css|compare|(result|open/[\w.]+)\?of=\w+)?", a.get(name, "")
                ), a


def test_a_sweeps_comparison_is_checked_against_its_own_parts(reader: Reader, tmp_path: Path) -> None:
    from testbed.report.comparison import compared

    made = compared([reader.folder / "first", reader.folder / "second"])
    made.write(reader.folder / "both")
    assert reader.open("both", "comparison.html").status_code == 200
    assert "comparison.html was made from comparison.json" in reader.page("both").said
    page = reader.folder / "both" / "share" / "comparison.html"
    page.write_text(page.read_text("utf-8").replace("NO VERDICT", "PASS"), "utf-8")
    assert reader.open("both", "comparison.html").status_code == 404
    assert reader.open("both", "comparison.csv").status_code == 200
    refused = reader.get(f"compare?of={reader.key('first')}&of={reader.key('both')}")
    assert "TB-SERVE-002" in refused.text


def test_a_folder_that_goes_away_is_told(reader: Reader) -> None:
    with pytest.raises(UsageError, match="TB-RUNS-001"):
        Results(reader.folder / "none")
    shutil.rmtree(reader.folder)
    answer = reader.get()
    assert answer.status_code == 404
    assert "TB-RUNS-001" in answer.text


def test_the_command_answers_on_loopback_and_ends_cleanly(written: Path) -> None:
    line = [sys.executable, "-c", "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"]
    line[-1] += "from testbed.cli import main; main()"
    with subprocess.Popen(
        [*line, "serve", str(written)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        try:
            assert running.stdout is not None
            assert select.select([running.stdout], [], [], 120)[0]
            address = running.stdout.readline().strip()
            assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{40,}/", address)
            with httpx.Client(trust_env=False) as client:
                assert "second" in client.get(address, timeout=60).text
                assert client.get(address, headers={"host": "evil.example"}, timeout=60).status_code == 400
                assert "server" not in client.get(address, timeout=60).headers
                running.send_signal(signal.SIGINT)  # the client still keeps its connection
                told = running.communicate(timeout=60)
        finally:
            running.kill()
    assert running.returncode == 0, told
    assert "ended" in told[1]
    assert "Traceback" not in told[1]
    assert address not in told[1]

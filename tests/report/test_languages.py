"""The report's frame in other languages: every text of it is translated, and nobody's text becomes HTML by it."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from typing import get_args

import pytest
from babel.messages import pofile
from jinja2.ext import extract_from_ast

from testbed.findings import terms
from testbed.findings.schema import Waiver
from testbed.report import bundle, folder, html, languages, store, templates
from testbed.report.verification import verify
from tests.cli.test_cli import invoke
from tests.range.browsing import Page
from tests.report.test_verification import run

__all__ = ["run"]

OTHERS = [lang for lang in languages.LANGUAGES if lang != languages.ENGLISH]
EXAMPLE = Path(__file__).parents[2] / "docs" / "result.example.json"


def template() -> str:
    return resources.files("testbed.report").joinpath("report.html.j2").read_text("utf-8")


def frame() -> set[str]:
    """Every text of the frame: those that the template marks, and the words that it shows of a result."""
    marked = {text for _, _, text in extract_from_ast(templates.environment().parse(template()))}
    words = {text for word, _, sentence in html.VERDICTS.values() for text in (word, sentence)} | set(
        html.TITLES.values()
    )
    words |= {risk.replace("_", " ") for risk in get_args(terms.Risk)} | set(
        get_args(Waiver.model_fields["state"].annotation)
    )
    words |= {*get_args(terms.Verdict), "no policy", "not applicable"} | {"real", "public", "synthetic"}
    return {text for text in marked if isinstance(text, str)} | words


@pytest.mark.parametrize("lang", OTHERS)
def test_every_text_of_the_frame_is_translated_and_nothing_else(lang: str) -> None:
    with resources.files("testbed.report").joinpath("locale", f"{lang}.po").open("rb") as file:
        held = {str(m.id): str(m.string) for m in pofile.read_po(file) if m.id}
    assert frame() - held.keys() == set()
    roles = {"original", "control"}
    assert held.keys() - frame() <= roles
    for text, translated in held.items():
        assert translated.strip(), text
        assert re.findall(r"</?\w+>|--\w+", text) == re.findall(r"</?\w+>|--\w+", translated), text
        assert "<" not in re.sub(r"</?code>", "", translated)
    known = languages.catalogue(lang)
    assert all(known.gettext(text) == held[text] for text in held)


def test_headings_and_heads_of_tables_are_all_marked() -> None:
    plain = re.findall(r"<(?:h2|h3|th|dt|summary|figcaption)[^>]*>([^<{}]*[A-Za-z][^<{}]*)", template())
    assert plain == []


@pytest.mark.parametrize("lang", OTHERS)
def test_the_frame_is_translated_and_sentences_about_the_result_say_that_they_are_english(lang: str) -> None:
    result = store.load(EXAMPLE)
    english, other = html.render(result), html.render(result, lang)
    page = Page(other)
    assert page.all("html")[0]["lang"] == lang
    assert languages.catalogue(lang).gettext(html.VERDICTS[result.decision.verdict][2]) in page.said
    assert "In plain words" not in page.said
    assert {a.get("lang") for a in page.all("ul")} >= {"en"}
    assert 'lang="en"' not in english.replace('<html lang="en">', "")
    numbers = [
        re.findall(r"\d[\d.,]*", re.sub(r"<style>.*?</style>|95.procent\w*|95 %", "", p, flags=re.S))
        for p in (english, other)
    ]
    assert sorted(numbers[0]) == sorted(numbers[1])  # the same figures, none lost and none added


def test_a_word_of_a_result_is_no_html_in_any_language() -> None:
    nasty = "<img src=x>"
    for lang in languages.LANGUAGES:
        assert languages.word(lang)(nasty) == nasty
        assert not hasattr(languages.word(lang)(nasty), "__html__")
        assert languages.word(lang)("") == ""
    assert not re.search(r"_\((?!\")", template())  # only texts of the template itself are taken for HTML
    with pytest.raises(KeyError):
        languages.catalogue("xx")


def test_a_swedish_report_lies_beside_the_english_one_and_is_verified(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(monkeypatch, "report", str(run), "--lang", "sv") == 0
    page = run / "share" / "report.sv.html"
    assert {c.name: c.holds for c in verify(run)}["report.sv.html"] is True
    assert re.fullmatch(folder.KNOWN["share"], page.name)
    assert page.name in bundle.files_of(run)
    page.write_text(page.read_text("utf-8").replace("Fynd", "Annat"), "utf-8")
    assert {c.name: c.holds for c in verify(run)}["report.sv.html"] is False
    assert invoke(monkeypatch, "report", str(run), "--lang", "sv", "--out", str(tmp_path / "r.pdf")) == 2
    assert not (tmp_path / "r.pdf").exists()
    assert invoke(monkeypatch, "report", str(run), "--lang", "xx") == 2

"""The report: one file, nothing outside it, every number the result's, readable by those who must sign it."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from testbed import core
from testbed.findings.numbers import interval
from testbed.findings.schema import Decision, Estimate, Finding, Picture, Result, Series, Unmeasured
from testbed.report import charts, gate, html
from tests.report import examples

BOTH = [examples.release, examples.federation, examples.membership]


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    return reader


@pytest.mark.parametrize("make", BOTH)
def test_one_file_without_scripts_or_anything_outside(make: Callable[[], Result]) -> None:
    text = html.render(make())
    assert "script" not in read(text).tags
    assert not {"link", "iframe", "img"} & set(read(text).tags) or "data:image/png" in text
    assert not re.search(r"(src|href)\s*=\s*[\"'](?!data:image/png|#)", text)
    assert len(text.encode()) < 150_000
    gate.check({"report.html": text.encode()}, make(), None)


def test_sixty_findings_stay_below_the_size(monkeypatch: pytest.MonkeyPatch) -> None:
    result = examples.release()
    many = [result.findings[i % len(result.findings)] for i in range(60)]
    assert len(html.render(result.model_copy(update={"findings": many})).encode()) < 150_000


@pytest.mark.parametrize("make", BOTH)
def test_every_chart_is_described_and_has_its_numbers_in_a_table(make: Callable[[], Result]) -> None:
    text = html.render(make())
    drawings = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert len(drawings) >= 2
    for drawing in drawings:
        root = ElementTree.fromstring(drawing)
        assert root.get("role") == "img"
        names = [child.tag.split("}")[-1] for child in root]
        assert names[:2] == ["title", "desc"]
    assert text.count("The numbers behind this chart") == len(drawings)
    for figure in re.findall(r"<figcaption>(.*?)</figcaption>", text, re.DOTALL):
        assert re.search("worse|more|Not a patient", figure)


@pytest.mark.parametrize("make", BOTH)
def test_no_coordinate_looks_like_a_measurement(make: Callable[[], Result]) -> None:
    for drawing in re.findall(r"<svg.*?</svg>", html.render(make()), re.DOTALL):
        attributes = " ".join(re.findall(r'="([^"]*)"', drawing))
        numbers = re.findall(r"-?\d+(?:\.\d+)?", re.sub(r"#[0-9a-f]{6}|http\S+", "", attributes))
        assert all(len(n.replace(".", "").replace("-", "").lstrip("0")) <= 4 for n in numbers)


def test_no_coordinate_of_the_longest_chart_looks_like_a_measurement() -> None:
    labels = [f"column{i}" for i in range(60)]
    values = [i / 70 for i in range(60)]
    longest = Series(
        name="x", kind="bars", x_label="excess", y_label="secret", labels=labels, x=values, low=values, high=values
    )
    chart = charts.series(longest)
    assert chart is not None
    numbers = re.findall(r"(?<![\w#])-?\d+(?:\.\d+)?", " ".join(re.findall(r'="([^"]*)"', str(chart.svg))))
    assert max(len(n.replace(".", "").replace("-", "").lstrip("0")) for n in numbers) <= 4


def test_charts_name_the_risk_and_not_the_attack_alone() -> None:
    for finding in examples.release().findings:
        assert charts.name_of(finding).startswith(finding.risk.replace("_", " "))


def test_a_line_is_drawn_on_its_own_axes_and_is_no_roc() -> None:
    half = Series(name="Agreement", kind="lines", x_label="queries", y_label="share", x=[50, 100], y=[0.5, 0.5])
    chart = charts.series(half)
    assert chart is not None
    assert [list(row) for row in chart.rows] == [["50", "50.0 %"], ["100", "50.0 %"]]
    assert "members" not in chart.caption
    points = re.findall(r'<polyline points="([^"]+)" fill', str(chart.svg))[0].split()
    (x1, y1), (x2, y2) = (map(float, p.split(",")) for p in points)
    assert (y1, y2) == (174, 174)  # half way up a square of 320 that begins at 14
    assert (x2 - 90) == 2 * (x1 - 90)


@pytest.mark.parametrize("make", BOTH)
def test_the_numbers_shown_are_the_results(make: Callable[[], Result]) -> None:
    result = make()
    words = " ".join(read(html.render(result)).words)
    for finding in result.findings[:5]:
        for measure in (finding.measure, finding.control, finding.excess):
            assert interval(measure) in words or (isinstance(measure, Unmeasured) and measure.unmeasured in words)


@pytest.mark.parametrize(
    ("verdict", "word"), [("pass", "PASS"), ("review", "REVIEW"), ("fail", "FAIL"), ("none", "NO VERDICT")]
)
def test_each_verdict_has_its_word_and_a_pass_says_what_it_is_not(verdict: str, word: str) -> None:
    result = examples.release()
    decision = Decision.model_validate({**result.decision.model_dump(), "verdict": verdict})
    text = html.render(result.model_copy(update={"decision": decision}))
    assert word in text
    assert ("not a finding of anonymity" in text) == (verdict == "pass")


@pytest.mark.parametrize("make", BOTH)
def test_forbidden_words_do_not_occur(make: Callable[[], Result]) -> None:
    words = " ".join(read(html.render(make())).words).lower()
    for forbidden in ("anonymous", "gdpr-compliant", "risk score"):
        assert forbidden not in words


def test_hostile_column_names_are_text() -> None:
    result = examples.release()
    hostile = "<script>alert('x')</script>\"&"
    changed = [f.model_copy(update={"target": hostile}) for f in result.findings]
    text = html.render(result.model_copy(update={"findings": changed}))
    assert "<script" not in text
    for drawing in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        ElementTree.fromstring(drawing)


def test_what_could_not_be_measured_is_said_and_is_no_zero() -> None:
    result = examples.release()
    why = Unmeasured(unmeasured="no_control", needs="people who were held out")
    bare = [f.model_copy(update={"control": why, "excess": why}) for f in result.findings]
    text = html.render(result.model_copy(update={"findings": bare}))
    assert "Could not be measured" in text
    assert "people who were held out" in text


def test_pictures_carry_their_licence_and_are_no_patients() -> None:
    result = examples.federation()
    assert result.disclosure.pictures
    text = html.render(result)
    assert "Not a patient" in text
    assert "CC BY 4.0" in text
    more = result.disclosure.model_copy(update={"pictures": [Picture(caption="<b>", licence="x", png_base64="AAAA")]})
    assert "<b>" not in html.render(result.model_copy(update={"disclosure": more}))


def test_a_report_prints_as_pdf() -> None:
    weasyprint = pytest.importorskip("weasyprint")
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pdf = weasyprint.HTML(string=html.render(examples.release())).write_pdf()
    assert pdf.startswith(b"%PDF")


def test_beside_a_true_positive_rate_stands_what_an_accusation_is_worth() -> None:
    found = [f for f in examples.membership().findings if getattr(f.measure, "metric", "") == "tpr_at_fpr"]
    assert found
    for finding in found:
        assert re.search(r"An accusation is right \d+ times in 100 if 1 of 100 suspects was in the data", finding.plain)


def test_findings_hold_an_interval_a_unit_and_n_or_say_why_not() -> None:
    for make in BOTH:
        for finding in make().findings:
            assert isinstance(finding, Finding)
            for name in ("measure", "control", "baseline", "excess", "residual", "positive_control"):
                measure = getattr(finding, name)
                assert isinstance(measure, Unmeasured) or (
                    isinstance(measure, Estimate) and measure.low <= measure.value <= measure.high and measure.n > 0
                )


def test_a_report_names_whatever_an_attacker_may_know() -> None:
    assert set(html.KNOWLEDGE) == core.KNOWLEDGE


def test_an_epsilon_is_no_share_of_guesses_and_stands_in_no_chart_of_them() -> None:
    of_a_share = next(f for f in examples.federation().findings if isinstance(f.measure, Estimate))
    assert isinstance(of_a_share.measure, Estimate)
    epsilon = of_a_share.measure.model_copy(update={"metric": "epsilon_lower", "value": 3.0, "low": 2.0, "high": 9.0})
    assert charts.cells([of_a_share.model_copy(update={"measure": epsilon})]) is None
    assert charts.cells([of_a_share]) is not None

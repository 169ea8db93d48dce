"""The dossier: of a model, a release and a federation; no scripts, no conclusion; made again from what it holds."""

from __future__ import annotations

import html as html_
import re
from collections.abc import Callable
from typing import get_args

import pytest

from testbed.findings.schema import Defence, Estimate, Result, Unmeasured
from testbed.findings.terms import Risk
from testbed.report import facts, gate, questions
from testbed.report.exports import dossier, dossier_pdf
from tests.report import examples
from tests.report.test_exports import example
from tests.report.test_questions import finding, subject

SUBJECTS = ("model", "synthetic_table", "federation")
FORM = facts.Facts(
    sources="Two <hospitals> & a registry\nof 2019",
    measures=[facts.Action(what="Early stopping", kind="heuristic")],
    residual_risk="</pre><script>alert(1)</script>",
)


def result(type_: str) -> Result:
    found = [finding(risk, f"TB-{risk.upper()}-001") for risk in get_args(Risk)]
    return subject(type_, findings=[*found, *example().findings])


def page(made: Result, given: facts.Facts | None = None) -> str:
    return dossier.export(made, given).decode()


@pytest.mark.parametrize("type_", SUBJECTS)
def test_every_question_stands_there_with_its_status_and_the_ids_of_its_findings(type_: str) -> None:
    text = html_.unescape(page(result(type_)))
    for item in questions.answered(result(type_)):
        assert item.question.text in text
        assert f"<td>{item.id}</td>" in text
        assert f'<td class="status">{item.status}</td>' in text
        assert all(f.rule in text for f in item.findings)
        assert all(rule in text for rule in item.others)
    for heading in ("2. The ", "step 5", "Step 6", "Step 7", "Sources", "review"):
        assert heading in text


@pytest.mark.parametrize("type_", SUBJECTS)
def test_the_page_passes_the_gate_and_calls_nothing_anonymous(type_: str) -> None:
    content = dossier.export(result(type_), FORM)
    gate.check({"result.dossier.html": content}, result(type_), None)
    said = re.sub(r"not a finding of anonymity|on the anonymity of", "", content.decode(), flags=re.IGNORECASE)
    assert not re.search(r"\banonym(ous|ised|ized|ity)\b|\bcompl(y|ies|iant)\b|\blawful", said, re.IGNORECASE)


def test_what_was_not_given_is_a_blank_line_and_what_was_given_stands_there() -> None:
    blank, filled = page(result("model")), page(result("model"), FORM)
    assert blank.count('class="blank"') > filled.count('class="blank"')
    assert "No form was given" in blank
    assert "Two &lt;hospitals&gt; &amp; a registry" in filled
    assert 'Early stopping</td><td class="status">heuristic' in filled
    assert "<script" not in filled


@pytest.mark.parametrize("given", [None, FORM, facts.Facts(period="2019")])
def test_the_page_is_made_again_from_the_form_that_stands_in_it(given: facts.Facts | None) -> None:
    content = dossier.export(result("model"), given)
    assert dossier.read_back(content) == given
    assert dossier.export(result("model"), dossier.read_back(content)) == content


def test_a_page_whose_form_was_edited_is_not_made_again() -> None:
    content = dossier.export(result("model"), FORM)
    edited = content.replace(b"Early stopping</td>", b"Encryption</td>")
    assert dossier.export(result("model"), dossier.read_back(edited)) != edited
    broken = re.sub(rb'<pre id="form">.*?</pre>', b'<pre id="form">[</pre>', content, flags=re.DOTALL)
    assert dossier.read_back(broken) is None


def test_a_proven_epsilon_is_a_guarantee_and_any_other_defence_a_heuristic() -> None:
    proven = Estimate(
        metric="epsilon_upper", value=3.0, low=3.0, high=3.0, level=1.0, method="RDP", unit="person", n=100
    )
    unproven = Unmeasured(unmeasured="no_guarantee", needs="a proof")
    defences = [
        Defence(name="dp_sgd", params={}, epsilon=proven, adaptive=True),
        Defence(name="compression", params={}, epsilon=unproven),
    ]
    text = page(result("model").model_copy(update={"defences": defences}))
    assert re.search(r"<td>dp_sgd</td>\s*<td class=\"status\">guarantee</td><td>epsilon 3 for a person", text)
    assert re.search(r"<td>compression</td>\s*<td class=\"status\">heuristic</td><td>a proof", text)


def test_a_result_without_proof_is_marked() -> None:
    assert "Without proof" not in page(example().model_copy())
    assert "Without proof" in page(example().model_copy(update={"proof": None}))


def test_the_pdf_is_made_of_the_page_that_the_gate_searches() -> None:
    pytest.importorskip("weasyprint")
    assert dossier_pdf.searched(example(), FORM) == {"dossier.html": dossier.export(example(), FORM)}
    content = dossier_pdf.export(example(), FORM)
    assert content.startswith(b"%PDF-")
    assert example().run.id.encode() in content


@pytest.mark.slow
@pytest.mark.parametrize("made", [examples.release, examples.federation, examples.membership])
def test_the_dossier_of_a_real_run_answers_what_the_run_asked(made: Callable[[], Result]) -> None:
    result = made()
    content = dossier.export(result, FORM)
    gate.check({"result.dossier.html": content}, result, None)
    assert dossier.export(result, dossier.read_back(content)) == content
    asked = {f.risk for f in result.findings if f.primary}
    answered = {f.risk for item in questions.answered(result) for f in item.findings}
    assert asked <= answered

"""The form of a dossier: what is given comes back as it was; anything else is refused, in words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from testbed.core import settings
from testbed.core.errors import UsageError
from testbed.report import facts

ROOT = Path(__file__).parents[2]


def test_the_documented_form_is_read_and_written_the_same(tmp_path: Path) -> None:
    text = re.search(r"```yaml\n(.*?)```", (ROOT / "docs" / "dossier.md").read_text(), re.DOTALL)
    assert text
    (tmp_path / "form.yaml").write_text(text[1])
    form = facts.read(tmp_path / "form.yaml")
    assert form.persons == "12,000 adults"
    assert str(form.review_date) == "2027-06-01"
    assert facts.parse(form.text()) == form


def test_numbers_and_dates_are_read_as_they_were_written() -> None:
    form = facts.parse("parameters: 4000\nperiod: 2019\nqueries:\n")
    assert (form.parameters, form.period, form.queries) == ("4000", "2019", None)


def test_every_answer_has_a_label_and_every_label_an_answer() -> None:
    assert set(facts.LABELS) == set(facts.Facts.model_fields) - {"measures"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("anonymous: true", "not in the form"),
        ("sources: [a, b]", "sources"),
        ("measures: [{what: x, kind: strong}]", "measures"),
        ("review_date: soon", "review_date"),
        ("sources: a\nsources: b", "twice"),
        ("sources: &a x\npersons: *a", "refers"),
        ("sources: 'a\u202eb'", "sources"),
        ("sources: [", "not YAML"),
        ("- a", "list of names"),
        ("1: x", "1"),
        ("? [a]\n: b", "a list or a mapping"),
        ("period: 2019-13-45", "not YAML"),
        ("parameters: " + "9" * 5000, "not YAML"),
        ("", "empty"),
        ("a" * (settings.LARGEST + 1), "larger"),
    ],
)
def test_a_form_that_says_anything_else_is_refused(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "form.yaml").write_text(text)
    with pytest.raises(UsageError, match="TB-FACTS-001") as refused:
        facts.read(tmp_path / "form.yaml")
    assert why in refused.value.why


def test_a_text_too_long_is_not_parsed() -> None:
    with pytest.raises(UsageError, match="TB-FACTS-001"):
        facts.parse("[" * (settings.LARGEST + 1))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="TB-FACTS-001"):
        facts.read(tmp_path / "none.yaml")

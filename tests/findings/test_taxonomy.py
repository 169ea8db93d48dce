"""Taxonomies: every risk has entries, each of a scheme that is named and in the form that the scheme writes."""

from __future__ import annotations

import re
from typing import get_args

import pytest

from testbed.findings.taxonomy import TAXONOMY, taxonomy
from testbed.findings.terms import Risk

FORMS = {
    "MITRE ATLAS": r"AML\.T\d{4}(\.\d{3})?",
    "NIST AI 100-2": r"NISTAML\.\d{2,3}",
    "OWASP ML": r"ML\d\d:2023",
    "WP29 Opinion 05/2014": r"singling out|linkability|inference",
    "StatBarn": r"[A-Z]\w+",
}


@pytest.mark.parametrize("risk", get_args(Risk))
def test_each_risk_has_entries_that_are_written_as_their_scheme_writes_them(risk: str) -> None:
    entries = taxonomy(risk)
    assert entries
    assert all(re.fullmatch(FORMS[entry.scheme], entry.id) for entry in entries)
    assert len({entry.scheme + entry.id for entry in entries}) == len(entries)


def test_no_entry_is_of_a_risk_that_does_not_exist() -> None:
    assert set(TAXONOMY) == set(get_args(Risk))
    assert taxonomy("weather") == []

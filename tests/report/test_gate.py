"""Nothing of a person leaves: the gate's own tests, and canaries through the whole command."""

from __future__ import annotations

import base64
import gzip
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from testbed.core.disclosure import People
from testbed.core.errors import DisclosureError
from testbed.data import load_table
from testbed.findings.schema import Picture, Result
from testbed.harness.release.evaluate import evaluate
from testbed.report import gate, html, store
from tests.conftest import Thirds

CANARY, NUMBER = "Zanzibarwort", 987.654


@pytest.fixture(scope="module")
def watched(hospital: Thirds) -> tuple[Result, People]:
    original = hospital.original.assign(note="none given", visit="2020-01-01", id=[f"P{i:06d}" for i in range(700)])
    original.loc[3, "note"] = CANARY
    original.loc[4, "creatinine"] = NUMBER
    original.loc[5, "visit"] = "1987-06-05"
    original.loc[6, "note"] = "Anna  Berglund"
    original.loc[7, "note"] = "12.03.1955"
    rest = {"note": "none given", "visit": "2020-01-01"}
    control = hospital.control.assign(**rest, id=[f"C{i:06d}" for i in range(700)])
    done = evaluate(original, hospital.fresh.assign(**rest), control, person="id", attacks=200)
    return done.result, done.people


def blocked(text: str, watched: tuple[Result, People], name: str = "report.html") -> bool:
    try:
        gate.check({name: text.encode()}, watched[0], watched[1])
    except DisclosureError as error:
        said = str(error)
    else:
        return False
    assert CANARY not in said
    assert str(NUMBER) not in said
    return True


def encoded(text: str) -> list[str]:
    raw = (text + " " * 40).encode()
    return [base64.b64encode(packed).decode() for packed in (raw, gzip.compress(raw, mtime=0), zlib.compress(raw))]


@pytest.mark.parametrize(
    "leak",
    [
        CANARY,
        CANARY.upper(),
        f"<b>{CANARY}</b>",
        "&#90;anzibarwort",
        "987.654",
        "987,654",
        "9.87654e2",
        "P000003",
        "1987-06-05",
        "05/06/1987",
        "5/6/1987",
        "5.6.1987",
        "1987/06/05",
        "6/5/1987",
        "\\u005aanzibarwort",
        "Anna Berglund",
        "Anna\n  Berglund",
        "1955-03-12",
        *encoded(f"patient {CANARY}"),
        *encoded("value 987.654"),
    ],
)
def test_a_persons_value_is_blocked_however_it_is_written(leak: str, watched: tuple[Result, People]) -> None:
    assert blocked(f"<p>something {leak} else</p>", watched)


PICTURE = '<img alt="a" src="data:image/png;base64,AAAA/onload="'


def test_a_pictures_bytes_are_no_handler_and_a_handler_beside_them_is(watched: tuple[Result, People]) -> None:
    assert not blocked(f"{PICTURE}>", watched)
    assert blocked(f'{PICTURE} onload="alert(1)">', watched)
    assert blocked(f"{PICTURE[:-1]}' onload='alert(1)'>", watched)


@pytest.mark.parametrize("harmless", ["none given", "2020-01-01", "98.7 %", "987.7", "n = 700", "the control group"])
def test_what_many_share_and_what_the_testbed_says_is_not_blocked(
    harmless: str, watched: tuple[Result, People]
) -> None:
    assert not blocked(f"<p>{harmless}</p>", watched)


@pytest.mark.parametrize(
    "active",
    [
        "<script>1</script>",
        "<img src='http://example.org/x.png'>",
        "<a href=https://example.org>x</a>",
        "<p onclick='x()'>",
        "<style>@import 'x.css'</style>",
        "<div style='background: url(x.png)'>",
        "<iframe></iframe>",
    ],
)
def test_active_and_external_content_is_blocked(active: str, watched: tuple[Result, People]) -> None:
    assert blocked(active, watched)


def test_pictures_of_real_people_are_blocked(watched: tuple[Result, People]) -> None:
    result = watched[0]
    shown = result.disclosure.model_copy(update={"pictures": [Picture(caption="x", licence="y", png_base64="AAAA")]})
    with pytest.raises(DisclosureError, match="pictures"):
        gate.check({}, result.model_copy(update={"disclosure": shown}), watched[1])


def test_canaries_appear_in_no_artefact(watched: tuple[Result, People], tmp_path: Path) -> None:
    folder = store.write(tmp_path / "run", watched[0], None, watched[1])
    for path in (folder / "share").iterdir():
        text = path.read_text(encoding="utf-8")
        assert CANARY not in text
        assert str(NUMBER) not in text


def test_the_report_of_that_result_passes(watched: tuple[Result, People]) -> None:
    assert not blocked(html.render(watched[0]), watched)
    assert not blocked(store.to_json(watched[0]), watched, "result.json")


def test_a_value_equal_to_a_word_of_the_report_does_not_block(hospital: Thirds) -> None:
    original = hospital.original.assign(arm="common")
    original.loc[0, "arm"] = "control"
    released = hospital.fresh.assign(arm="common")
    done = evaluate(original, released, hospital.control.assign(arm="common"), attacks=200)
    gate.check({"report.html": html.render(done.result).encode()}, done.result, done.people)


def test_nothing_is_left_where_the_gate_blocks(watched: tuple[Result, People], tmp_path: Path) -> None:
    result = watched[0]
    subject = result.subject.model_copy(update={"name": f"table of {CANARY}"})
    with pytest.raises(DisclosureError):
        store.write(tmp_path / "run", result.model_copy(update={"subject": subject}), None, watched[1])
    assert list(tmp_path.iterdir()) == []


def test_persons_are_counted_and_not_their_rows() -> None:
    rows = pd.DataFrame({"id": [1] * 20, "note": ["the same visit"] * 20})
    people = People([rows], "id")
    assert gate._found(iter(["x the same visit x"]), people, 10, set()) == "note"


def test_a_report_of_a_real_wide_table_is_not_blocked_and_holds_no_canary(tmp_path: Path) -> None:
    # 46 columns of measurements: anything that looks like a number of five digits would be somebody's.
    table = load_table("support2").sample(frac=1, random_state=1).reset_index(drop=True).assign(note="none given")
    original, control, release = (table.iloc[i * 1500 : (i + 1) * 1500].reset_index(drop=True) for i in range(3))
    original.loc[3, "note"] = CANARY
    original.loc[4, "crea"] = NUMBER
    done = evaluate(original, release.drop(columns="sno"), control, person="sno", attacks=200)
    folder = store.write(tmp_path / "run", done.result, None, done.people)
    assert done.result.subject.data_class == "real"
    for path in (folder / "share").iterdir():
        text = path.read_text(encoding="utf-8")
        assert CANARY not in text
        assert str(NUMBER) not in text


def test_what_only_looks_like_a_value_blocks_nothing(watched: tuple[Result, People]) -> None:
    for harmless in ("at 12.03. ok", "version 12.03.1", "on 1987-06-051"):
        assert not blocked(harmless, watched)


def test_facts_of_the_run_are_let_through_as_words_alone() -> None:
    known = gate._pattern(["2.3.3", "scipy"])
    assert known is not None
    assert known.sub(" ", "value 12.3.3 and anna@scipy.org, scipy 2.3.3.").split() == [
        *("value", "12.3.3", "and", "anna@scipy.org,", "."),
    ]


@pytest.mark.parametrize(
    "text", ["Astrid Zqoson", "astrid", "8105061234", "4003", "7003000", "6 May 1981", "zqoson_astrid"]
)
def test_what_a_user_typed_is_never_exempt_and_is_named(text: str) -> None:
    values = {"name": "Astrid Zqoson", "number": "19810506-1234", "born": "1981-05-06", "income": 7003000, "id": 4003}
    rest = {"name": "Common Name", "number": "20200101-1111", "born": "2020-01-01", "income": 1, "id": 1}
    people = People([pd.DataFrame([values, *[rest] * 30]).assign(id=range(4003, 4034))], "id")
    with pytest.raises(DisclosureError, match="TB-GATE-001") as refused:
        gate.typed({"name": "a harmless table", "policy's id": f"ours/{text}"}, people)
    assert "policy's id" in refused.value.what
    assert text not in str(refused.value)
    gate.typed({"licence": "CC BY 4.0", "policy's id": "our-hospital/3", "name": "report of the control"}, people)


def test_no_fact_of_a_result_that_a_user_typed_hides_a_value(watched: tuple[Result, People]) -> None:
    result, people = watched
    short = CANARY[:6]
    for update in ({"licence": CANARY}, {"licence": short, "name": CANARY}, {"notes": [CANARY]}):
        subject = result.subject.model_copy(update=update)
        with pytest.raises(DisclosureError):
            store.shared(result.model_copy(update={"subject": subject}), people)
    named = result.decision.policy.model_copy(update={"id": CANARY})
    decision = result.decision.model_copy(update={"policy": named})
    with pytest.raises(DisclosureError, match="policy's id"):
        store.shared(result.model_copy(update={"decision": decision}), people)


def test_people_are_counted_over_all_tables() -> None:
    nine = pd.DataFrame({"code": ["Q01.9"] * 9 + ["A"] * 30})
    gate.typed({"name": "Q01.9"}, People([nine, nine]))  # eighteen people share it
    with pytest.raises(DisclosureError):
        gate.typed({"name": "Q01.9"}, People([nine]))
    ten = pd.DataFrame({"code": ["Q01.9"] * 10 + ["A"] * 30})
    gate.typed({"name": "Q01.9"}, People([ten]))
    visits = pd.DataFrame({"id": range(9), "code": ["Q01.9"] * 9})
    with pytest.raises(DisclosureError):  # the same nine people in two tables that belong together
        gate.typed({"name": "Q01.9"}, People([visits, visits], "id"))


@pytest.mark.parametrize("ids", [[1234.5, 17.1, np.nan], [1e19, 4003.0, np.inf], [4003, 2**62, 5]])
def test_people_may_be_named_by_any_numbers(ids: list[float]) -> None:
    people = People([pd.DataFrame({"id": ids, "age": range(3)})], "id")
    gate.typed({"name": "a harmless table"}, people)
    with pytest.raises(DisclosureError):
        gate.typed({"name": "of 1234.5, 10000000000000000000 and 4003"}, people)


def test_two_cells_of_a_page_are_not_one_value() -> None:
    people = People([pd.DataFrame({"zip": ["114 55", *["999 99"] * 20]})])
    gate.search({"report.html": b"<td>114</td><td>55 %</td><p>of 114, 55 did; 114.55</p>"}, people, 10, [], set())
    with pytest.raises(DisclosureError):
        gate.search({"report.html": b"<td>114 55</td>"}, people, 10, [], set())

"""The verdicts that a hospital relies on: copies fail, fresh people do not, and without a control nothing passes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from testbed.core import Release, Split
from testbed.core.errors import UsageError
from testbed.data.tables.encode import encode
from testbed.findings.schema import Estimate, Finding
from testbed.harness.release.attribute_inference import attribute_inference
from testbed.harness.release.control import control_flags, overlap_p, shift_p
from testbed.harness.release.copies import copies
from testbed.harness.release.evaluate import evaluate, parse_link
from testbed.harness.release.examine import examine
from testbed.harness.release.setting import Options, Setting
from tests.conftest import Thirds, thirds

QUICK = 300


def verdict(original: pd.DataFrame, synthetic: pd.DataFrame, control: pd.DataFrame | None, **more: object) -> str:
    done = evaluate(original, synthetic, control, attacks=QUICK, seed=1, **more)  # type: ignore[arg-type]
    return done.result.decision.verdict


def rare_disease_register(seed: int, people: int = 400, unique: int = 6) -> pd.DataFrame:
    """A few categories, and six people whom nobody resembles."""
    rng = np.random.default_rng(seed)
    common = pd.DataFrame(
        {
            "sex": rng.choice(["f", "m"], people),
            "age_band": rng.choice(["0-17", "18-64", "65+"], people),
            "ward": rng.choice(["A", "B", "C", "D"], people),
        }
    )
    rare = pd.DataFrame(
        {"sex": ["f"] * unique, "age_band": ["65+"] * unique, "ward": [f"R{seed}{i}" for i in range(unique)]}
    )
    return pd.concat([common, rare], ignore_index=True)


def test_a_verbatim_copy_fails(hospital: Thirds) -> None:
    assert verdict(hospital.original, hospital.original, hospital.control) == "fail"
    shuffled = hospital.original.sample(frac=1, random_state=0)
    assert verdict(hospital.original, shuffled, hospital.control) == "fail"


def test_a_verbatim_copy_of_a_table_of_few_categories_fails() -> None:
    # Few guesses can be formed here; a peer divides by those asked for and reports 1.4 %.
    original = rare_disease_register(1)
    assert verdict(original, original, rare_disease_register(2)) == "fail"
    assert verdict(original, original, None) == "fail"


@pytest.mark.parametrize("seed", range(4))
def test_a_fresh_sample_of_the_same_population_does_not_fail(seed: int) -> None:
    people = thirds(600, seed)
    assert verdict(people.original, people.fresh, people.control) != "fail"


@pytest.mark.parametrize("seed", range(4))
def test_a_fresh_sample_of_few_categories_does_not_fail(seed: int) -> None:
    rng = np.random.default_rng(seed)
    everybody = rare_disease_register(seed, 1200, 0)
    parts = np.array_split(rng.permutation(len(everybody)), 3)
    original, control, fresh = (everybody.iloc[p].reset_index(drop=True) for p in parts)
    assert verdict(original, fresh, control) != "fail"


def test_without_a_control_it_is_review_and_never_pass(hospital: Thirds) -> None:
    assert verdict(hospital.original, hospital.fresh, None) == "review"


def test_planted_copies_fail_and_more_of_them_show_more(hospital: Thirds) -> None:
    values: list[list[float]] = []
    for share in (0.0, 0.2, 0.6):
        done = evaluate(hospital.original, hospital.leaky(share), hospital.control, attacks=QUICK, seed=1)
        values.append([f.excess.value for f in done.result.findings if f.primary and hasattr(f.excess, "value")])
        assert (done.result.decision.verdict == "fail") == (share > 0)
    for small, middle, large in zip(*values, strict=True):
        assert small - 0.03 <= middle <= large


def inferred(original: pd.DataFrame, release: pd.DataFrame, control: pd.DataFrame) -> list[Finding]:
    """The findings on secrets alone, in the order of an evaluation."""
    frames = encode(original, release, control)
    setting = Setting(frames.original, frames.control, Release(frames.synthetic), QUICK, 1, lambda _: None)
    return [judged.finding for judged in attribute_inference(setting, ()).judged]


def test_the_worst_secret_is_chosen_on_other_people_than_it_is_judged_on(hospital: Thirds) -> None:
    found = inferred(hospital.original, hospital.leaky(0.5), hospital.control)
    assert [f.primary for f in found] == [True] + [False] * (len(found) - 1)
    assert found[0].attack.performed == found[1].attack.performed == QUICK  # everybody is judged once


def test_the_best_of_many_secrets_is_no_leak_where_none_is() -> None:
    # The largest of 30 excesses without a leak lies above zero; chosen and decided on different people it does not.
    rng = np.random.default_rng(12)
    tables_ = [pd.DataFrame(rng.integers(0, 2, (300, 30))).add_prefix("s") for _ in range(3)]
    found = [f.excess for f in inferred(*tables_)]
    assert max(e.value for e in found[1:] if isinstance(e, Estimate)) > 0.04
    assert found[0].low <= 0 <= found[0].high  # type: ignore[union-attr]


def test_halves_of_people_keep_a_persons_rows_together() -> None:
    from testbed.core import Column, Table
    from testbed.harness.release.setting import Targets

    persons = np.repeat([f"p{i}" for i in range(20)], 3)
    rows = Table((Column("x", "numeric"),), (np.arange(60.0),), persons)
    half = Targets(rows, np.arange(60) < 30).half(np.random.default_rng(0))
    for group in (slice(0, 30), slice(30, 60)):
        assert len(set(persons[group][half[group]])) == 5
        assert not set(persons[group][half[group]]) & set(persons[group][~half[group]])


def test_denominators_count_what_was_performed() -> None:
    original = rare_disease_register(1)
    done = evaluate(original, original, rare_disease_register(2), attacks=500, seed=1)
    univariate = next(f for f in done.result.findings if f.attack.name == "singling_out_univariate")
    assert univariate.attack.requested == 500
    assert univariate.attack.performed == 6
    assert univariate.measure.value == 1.0  # type: ignore[union-attr]
    assert {"few_guesses", "few_formed"} <= set(univariate.validity.flags)


def test_equal_inputs_give_equal_findings(hospital: Thirds) -> None:
    frames = encode(hospital.original, hospital.leaky(0.3), hospital.control)
    straight = examine(Split(frames.original, frames.control, None), Release(frames.synthetic), Options(attacks=QUICK))
    again = examine(Split(frames.original, frames.control, None), Release(frames.synthetic), Options(attacks=QUICK))
    assert [f.model_dump() for f in straight.findings] == [f.model_dump() for f in again.findings]


def test_persons_in_both_tables_are_refused(hospital: Thirds) -> None:
    from testbed.core.errors import InputError

    original = hospital.original.assign(id=range(len(hospital.original)))
    control = hospital.control.assign(id=range(5, len(hospital.control) + 5))
    with pytest.raises(InputError, match="TB-SPLIT-001"):
        verdict(original, hospital.fresh, control, person="id")


def test_a_control_that_holds_the_originals_rows_is_flagged(hospital: Thirds) -> None:
    mixed = pd.concat([hospital.control.head(500), hospital.original.head(200)], ignore_index=True)
    frames = encode(hospital.original, hospital.fresh, mixed)
    assert frames.control is not None
    assert "control_overlap" in control_flags(frames.original, frames.control, np.random.default_rng(0))


def test_rows_that_chance_shares_are_no_overlap() -> None:
    original, control = rare_disease_register(1), rare_disease_register(2)
    frames = encode(original, original, control)
    assert frames.control is not None
    assert overlap_p(frames.original, frames.control, np.random.default_rng(0)) > 0.01


def test_a_control_from_elsewhere_is_flagged(hospital: Thirds) -> None:
    older = hospital.control.assign(age=hospital.control["age"] + 4)
    for control, shifted in ((older, True), (hospital.control, False)):
        frames = encode(hospital.original, hospital.fresh, control)
        assert frames.control is not None
        assert (shift_p(frames.original, frames.control, np.random.default_rng(0)) < 0.01) == shifted


def test_links_and_secrets_must_exist(hospital: Thirds) -> None:
    with pytest.raises(UsageError, match="TB-DATA-060"):
        verdict(hospital.original, hospital.fresh, hospital.control, secrets=["dignosis"])
    with pytest.raises(UsageError, match="TB-DATA-063"):
        parse_link("age,sex")
    assert parse_link("age, sex : stay") == (("age", "sex"), ("stay",))


def test_a_release_with_one_attribute_is_measured_as_far_as_it_goes() -> None:
    rng = np.random.default_rng(0)
    parts = [pd.DataFrame({"value": rng.normal(size=300).round(6)}) for _ in range(3)]
    done = evaluate(parts[0], parts[1], parts[2], attacks=QUICK)
    assert done.result.decision.verdict == "review"


def test_dates_quotes_gaps_and_mixed_values_are_values_like_any_other() -> None:
    def made(seed: int) -> pd.DataFrame:
        own = np.random.default_rng(seed)
        return pd.DataFrame(
            {
                "born": pd.to_datetime("1950-01-01") + pd.to_timedelta(own.integers(0, 20_000, 300), "D"),
                "name": own.choice(["O'Brien", 'the "Rock"', "Ånna", "a,b"], 300),
                "lab": np.where(own.random(300) < 0.2, np.nan, -own.gamma(2, 3, 300).round(2)),
                "mixed": [v if i % 3 else str(v) for i, v in enumerate(own.integers(0, 4, 300).tolist())],
                "flag": own.random(300) < 0.1,
            }
        )

    assert verdict(made(1), made(1), made(2)) == "fail"
    assert verdict(made(1), made(3), made(2)) != "fail"


def test_equal_rows_of_one_person_are_that_persons_alone() -> None:
    rng = np.random.default_rng(3)
    people = pd.DataFrame(rng.integers(0, 10**6, (300, 3))).add_prefix("x")
    twice = pd.concat([people, people], ignore_index=True).assign(id=[f"p{i}" for i in range(300)] * 2)
    control = pd.DataFrame(rng.integers(0, 10**6, (300, 3))).add_prefix("x").assign(id=[f"c{i}" for i in range(300)])
    done = evaluate(twice, people, control, person="id", attacks=QUICK)
    copies = next(f for f in done.result.findings if f.risk == "copying")
    assert copies.measure.value == 1.0  # type: ignore[union-attr]
    single = next(f for f in done.result.findings if f.attack.name == "singling_out_univariate")
    assert single.measure.value > 0.9  # type: ignore[union-attr]


@pytest.mark.parametrize("seed", range(3))
def test_many_visits_of_few_people_are_no_leak(seed: int) -> None:
    # Rows of a person hang together; taken for independent they make an interval far too narrow.
    rng = np.random.default_rng(900 + seed)

    def visits(name: str, people: int, each: int) -> pd.DataFrame:
        base = rng.normal(size=(people, 4)).repeat(each, 0)
        frame = pd.DataFrame(base + 0.05 * rng.normal(size=base.shape)).add_prefix("lab")
        return frame.assign(id=[f"{name}{i // each}" for i in range(people * each)])

    original, control, fresh = (visits(n, 60, 50) for n in "ocf")
    assert verdict(original, fresh.drop(columns="id"), control, person="id") != "fail"


def test_a_small_control_cannot_make_a_verbatim_release_pass(hospital: Thirds) -> None:
    done = evaluate(hospital.original, hospital.original, hospital.control.head(60), attacks=QUICK, seed=1)
    single = next(f for f in done.result.findings if f.risk == "singling_out" and f.primary)
    assert single.verdict != "pass"
    assert "small_control" in single.validity.flags


@pytest.mark.parametrize(("yes", "no"), [("yes", "no"), (1, 0)])
def test_a_secret_that_few_have_is_looked_at_for_those_few(hospital: Thirds, yes: object, no: object) -> None:
    rng = np.random.default_rng(1)

    def made(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(hiv=np.where(rng.random(len(frame)) < 0.06, yes, no))

    original, control, fresh = made(hospital.original), made(hospital.control), made(hospital.fresh)
    few = original[original["hiv"] == yes]
    release = pd.concat([few, fresh[fresh["hiv"] == no]], ignore_index=True)
    done = evaluate(original, release, control, seed=1)
    rare = next(f for f in done.result.findings if f.target == "rare values of hiv")
    assert rare.excess.low > 0.3  # type: ignore[union-attr]
    assert rare.adjusted_p < 0.01  # type: ignore[operator]
    alone = {"secrets": ["hiv"], "attacks": QUICK, "attack": "linear_reconstruction"}
    asked = evaluate(original, release, control, **alone).result.findings  # type: ignore[arg-type]
    assert [(f.attack.name, f.target) for f in asked] == [("linear_reconstruction", "hiv")]
    assert done.result.decision.verdict != "pass"


def test_a_table_of_many_columns_is_evaluated_and_its_rules_are_unique() -> None:
    rng = np.random.default_rng(0)
    parts = [pd.DataFrame(rng.normal(size=(80, 120)).round(1)).add_prefix("x") for _ in range(3)]
    result = evaluate(*parts, attacks=20).result
    rules = [f.rule for f in result.findings]
    assert len(set(rules)) == len(rules)
    assert "120 secrets" in next(f for f in result.findings if f.risk == "attribute_inference").plain


def in_32_bits(people: Thirds, share: float) -> pd.DataFrame:
    return people.leaky(share).astype(dict.fromkeys(measured(people), "float32"))


def noised(people: Thirds, share: float) -> pd.DataFrame:
    made = people.leaky(share)
    return made.assign(**{name: made[name] + 1e-9 for name in measured(people)[:1]})


def numbered_rows(people: Thirds, share: float) -> pd.DataFrame:
    return people.leaky(share).assign(record=np.random.default_rng(3).permutation(len(people.fresh)) + 70_000)


def measured(people: Thirds) -> list[str]:
    return [c for c in people.original.columns if people.original[c].dtype == np.float64]


@pytest.mark.parametrize("written", [in_32_bits, noised, numbered_rows])
def test_copies_are_copies_however_they_are_written(
    written: Callable[[Thirds, float], pd.DataFrame], hospital: Thirds
) -> None:
    """The numbers of a generator's framework, its noise, or a key of its own hide no copied person."""
    assert measured(hospital)
    tables = [hospital.original, hospital.control]
    if written is numbered_rows:
        tables = [
            t.assign(record=np.random.default_rng(i).permutation(len(t)) + 9000 * i) for i, t in enumerate(tables)
        ]
    for share, copied in ((0.1, True), (0.0, False)):
        frames = encode(tables[0], written(hospital, share), tables[1])
        found = copies(frames.synthetic, frames.original, frames.control)
        assert (found.p_value < 0.001) == copied
        assert copies(frames.synthetic, frames.original, None).members_reproduced == found.members_reproduced
        assert found.members_reproduced == round(share * len(hospital.fresh))


def test_copies_beside_a_small_control_are_for_a_person_to_look_at() -> None:
    people = thirds(1000, 1)
    small = people.control.head(200)
    for share, flags in ((0.014, ["copies_suspected"]), (0.0, [])):
        done = evaluate(people.original, people.leaky(share), small, attacks=QUICK, seed=1)
        found = next(f for f in done.result.findings if f.risk == "copying" and f.primary)
        assert found.validity.flags == flags
        assert found.verdict == ("review" if flags else "pass")

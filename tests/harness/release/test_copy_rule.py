"""What stands in a release of what people alone have: rows cut off or rounded, texts, record numbers, and ids."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from testbed.data.tables.encode import encode
from testbed.findings import statistics
from testbed.findings.schema import Finding
from testbed.harness.release.control import overlap_p
from testbed.harness.release.copies import copies
from testbed.harness.release.copy_rule import copied_rows
from testbed.harness.release.evaluate import evaluate
from testbed.harness.release.identifier_rule import direct_identifiers
from testbed.harness.release.singling_out import singling_out
from tests.harness.release.searched import searched

Frame = pd.DataFrame


def people(seed: int, n: int = 300) -> Frame:
    rng = np.random.default_rng(seed)
    return Frame(
        {
            "x": rng.normal(size=n).round(3),
            "y": rng.normal(size=n).round(3),
            "seen": pd.Timestamp("2019-01-01") + pd.to_timedelta(rng.integers(0, 24 * 900, n), unit="h"),
            "sex": rng.choice(["f", "m"], n),
            "dx": rng.choice([f"d{i}" for i in range(5)], n),
        }
    )


def tables() -> tuple[Frame, Frame, Frame]:
    return people(1), people(2), people(3)


def finding(made: tuple[Frame, Frame, Frame | None], rule: str, person: str | None = None) -> Finding | None:
    setting = searched(*made, person=person)
    if "SINGLING_OUT" in rule:
        found = [judged.finding for judged in singling_out(setting)]
    else:
        found = [copied_rows(setting), *direct_identifiers(setting)]
    return next((f for f in found if f.rule == rule), None)


@pytest.mark.parametrize(
    "cut",
    [
        lambda f: f.assign(seen=f.seen.dt.normalize()),
        lambda f: f.assign(x=np.trunc(f.x * 100) / 100),
    ],
)
def test_copies_that_were_cut_off_are_copies(cut: object) -> None:
    original, release, control = tables()
    release = pd.concat([release.iloc[20:], original.iloc[:20]], ignore_index=True)
    frames = encode(original, cut(release), control)  # type: ignore[operator]
    found = copies(frames.synthetic, frames.original, frames.control)
    assert found.members_reproduced >= 20
    assert found.p_value < 0.001
    fresh = encode(original, cut(people(4)), control)  # type: ignore[operator]
    assert copies(fresh.synthetic, fresh.original, fresh.control).p_value > 0.05


def test_a_trailing_blank_hides_no_copy() -> None:
    original, release, control = tables()
    release = pd.concat([release.iloc[20:], original.iloc[:20].assign(dx=original.dx[:20] + " ")], ignore_index=True)
    frames = encode(original, release, control)
    assert copies(frames.synthetic, frames.original, frames.control).p_value < 0.001


def notes(seed: int, n: int = 300) -> list[str]:
    rng = np.random.default_rng(seed)
    words = ["pain", "since", "left", "knee", "fever", "cough", "no", "mild", "walks", "rests", "slept", "ill"]
    return [" ".join(rng.choice(words, 9)) for _ in range(n)]


def test_texts_of_people_are_compared_by_themselves() -> None:
    original, release, control = (t.assign(note=notes(i)) for i, t in enumerate(tables()))
    assert evaluate(original, release, control, attacks=50).result.findings
    leaking = release.assign(note=[*original.note[:30], *release.note[30:]])
    found = finding((original, leaking, control), "TB-COPYING-001")
    assert found is not None
    assert "copied" in found.validity.flags
    assert "'note'" in found.plain
    honest = finding((original, release, control), "TB-COPYING-001")
    assert honest is not None
    assert not honest.validity.flags


def test_without_a_control_the_report_says_what_stands_there() -> None:
    original, release, _ = tables()
    found = finding((original, pd.concat([original.iloc[:290], release.iloc[:10]]), None), "TB-COPYING-001")
    assert found is not None
    assert "copies_suspected" in found.validity.flags
    assert "No more" not in found.plain


def hexes(seed: int, n: int = 300) -> list[str]:
    return [f"{v:08x}" for v in np.random.default_rng(seed).integers(0, 2**32, n)]


def test_a_release_that_keeps_the_originals_record_numbers_fails() -> None:
    original, release, control = (t.assign(mrn=hexes(i)) for i, t in enumerate(tables()))
    kept = finding((original, release.assign(mrn=original.mrn), control), "TB-COPYING-002", person="mrn")
    assert kept is not None
    assert "copied" in kept.validity.flags
    assert finding((original, release, control), "TB-COPYING-002", person="mrn") is None


def test_numbers_given_in_turn_are_nobodys() -> None:
    original, release, control = tables()
    rng = np.random.default_rng(0)
    made = [
        original.assign(pid=rng.permutation(300)),
        release.assign(pid=range(300)),
        control.assign(pid=range(300, 600)),
    ]
    assert finding((made[0], made[1], made[2]), "TB-COPYING-002", person="pid") is None
    for t in made:
        t["pid"] = t["pid"].map(lambda i: f"P{i:04}")
    assert finding((made[0], made[1], made[2]), "TB-COPYING-002", person="pid") is None


def personnummer(seed: int, n: int) -> list[int]:
    rng = np.random.default_rng(seed)
    made: list[int] = []
    for _ in range(n):
        year, month, day, serial = (
            rng.integers(1920, 1999),
            rng.integers(1, 13),
            rng.integers(1, 29),
            rng.integers(100, 999),
        )
        digits = f"{year % 100:02}{month:02}{day:02}{serial}"
        total = sum(sum(divmod(int(d) * (2 - i % 2), 10)) for i, d in enumerate(digits))
        made.append(int(f"{year // 100}{digits}{-total % 10}"))
    return made


def test_a_members_own_number_among_made_up_ones_is_found() -> None:
    original, release, control = tables()
    own, theirs = personnummer(0, 300), personnummer(1, 300)
    made_up = (np.random.default_rng(2).integers(10**11, 10**12, 300)).tolist()
    release = release.assign(idnr=[*own[:16], *made_up[16:]])
    found = finding((original.assign(idnr=own), release, control.assign(idnr=theirs)), "TB-COPYING-002")
    assert found is not None
    assert "copied" in found.validity.flags


def test_telephone_numbers_that_chance_hits_fail_nobody() -> None:
    original, release, control = tables()

    def dialled(numbers: list[int]) -> list[str]:
        return [f"+46 70 123 {n // 100:02} {n % 100:02}" for n in numbers]

    made = original.assign(tel=dialled(list(range(300)))), release, control.assign(tel=dialled(list(range(300, 600))))
    one = release.assign(tel=dialled([5, *range(1000, 1299)]))
    found = finding((made[0], one, made[2]), "TB-COPYING-002")
    assert found is not None
    assert "copied" not in found.validity.flags
    many = finding((made[0], release.assign(tel=dialled([*range(30), *range(1000, 1270)])), made[2]), "TB-COPYING-002")
    assert many is not None
    assert "copied" in many.validity.flags


def test_a_control_written_with_fewer_decimals_overlaps_all_the_same() -> None:
    original, _, control = tables()
    half = pd.concat([original.iloc[:150].assign(x=original.x[:150].round(2)), control.iloc[150:].round(2)])
    frames = encode(original, control, half.assign(y=half.y.round(2)))
    assert frames.control is not None
    assert overlap_p(frames.original, frames.control, np.random.default_rng(0)) < 0.001


def test_unequal_clusters_count_for_less_than_their_number() -> None:
    """Of 200 people of whom one has 1,000 rows the mean is that one's."""
    rng = np.random.default_rng(0)
    outside = 0
    for _ in range(200):
        sizes = np.maximum(1, rng.lognormal(1, 1.5, 200).astype(int))
        success = np.repeat((rng.random(200) < 0.5).astype(float), sizes)
        found = statistics.proportion(success, np.repeat(np.arange(200), sizes))
        outside += not found.low <= 0.5 <= found.high
    assert outside / 200 < 0.15  # .44 with no fewer guesses than clusters
    assert statistics.effective_size(np.ones(104), np.repeat(np.arange(5), [100, 1, 1, 1, 1])) == 1


def test_the_area_under_the_curve_is_of_people() -> None:
    rng = np.random.default_rng(0)
    person, inside = np.repeat(np.arange(60), 20), 0
    for _ in range(200):
        scores = [np.repeat(rng.normal(size=60), 20) for _ in range(2)]
        found = statistics.auc(*scores, clusters=(person, person))
        inside += found.low <= 0.5 <= found.high
    assert inside / 200 > 0.9


def test_few_pairs_that_agree_by_chance_make_no_difference_surer() -> None:
    one, other = np.zeros(100), np.zeros(100)
    one[:3] = other[2:5] = 1
    assert np.corrcoef(one, other)[0, 1] > 0.3
    assert statistics.correlation(one, other) < 0.2
    assert statistics.correlation(one, 1 - one) == pytest.approx(-1)
    many = np.random.default_rng(0).random(10_000)
    assert statistics.correlation(many, many) > 0.99


def test_descriptions_fit_people_of_the_release_not_rows() -> None:
    """Of visits that repeat a person's facts a description fits one person, in two rows."""
    rng = np.random.default_rng(0)

    def visits(letter: str) -> Frame:
        facts = Frame({"birth": rng.integers(0, 20_000, 150), "height": rng.normal(170, 9, 150).round(1)})
        return (
            facts.assign(pid=[f"{letter}{i}" for i in range(150)]).loc[np.repeat(range(150), 2)].reset_index(drop=True)
        )

    found = finding((visits("a"), visits("b"), visits("c")), "TB-SINGLING_OUT-001", person="pid")
    assert found is not None
    assert found.attack.performed > 40


def test_noise_on_everybody_is_seen_with_a_margin() -> None:
    rng = np.random.default_rng(1)
    original, control = (Frame(rng.lognormal(size=(240, 8)), columns=list("abcdefgh")) for _ in range(2))
    noisy = original * (1 + 0.003 * rng.normal(size=original.shape))
    excess = {}
    for name, release in (("noisy", noisy), ("fresh", Frame(rng.lognormal(size=(240, 8)), columns=list("abcdefgh")))):
        found = finding((original, release, control), "TB-SINGLING_OUT-003")
        assert found is not None
        excess[name] = found.excess
    assert excess["noisy"].low > 0.2  # type: ignore[union-attr]
    assert excess["fresh"].low < 0.05  # type: ignore[union-attr]

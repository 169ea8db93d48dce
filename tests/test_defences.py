"""The conformance suite of defences: every registered one, and yours: `pytest tests/test_defences.py -k NAME`."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from opacus.accountants import PRVAccountant
from scipy import stats

from testbed.core import Array, Cohort, Predictor
from testbed.core.defence import Defence, Exposure, Guarantee, Released
from testbed.defences.accounting import gaussian_mechanism
from testbed.defences.named import text_of
from testbed.defences.registry import Registered, defences
from testbed.defences.updates import on_update
from testbed.findings.schema import Estimate
from testbed.harness.release.defended import defended
from testbed.harness.run import Done, run
from testbed.harness.scenario import find
from tests.conformance.defences import changed, configured, sends, some_update, update_of
from tests.conformance.tables import leaky_draft, presence

ALL = defences()
CHANGING = [d for d in ALL if d.where == "update"]
"""Defences that change a client's update; the others check messages of secure aggregation (tests/subjects)."""
AUDITED = 8.0
"""Strength at which a guarantee is small enough for 4,000 draws to contradict it."""
ONCE = Exposure(position="client")
"""One round and one use of a record, seen by another client: server and clients defend against it."""
ANSWERING = [d for d in ALL if d.where == "answers"]
"""Defences that change what a released model answers."""
OF_TABLES = [d for d in ALL if d.where == "table"]
"""Defences that change a synthetic table before it goes out."""
answering = pytest.mark.parametrize("d", ANSWERING, ids=lambda d: d.name)
every = pytest.mark.parametrize("d", ALL, ids=lambda d: d.name)
of_tables = pytest.mark.parametrize("d", OF_TABLES, ids=lambda d: d.name)
changing = pytest.mark.parametrize("d", CHANGING, ids=lambda d: d.name)


def told(defence: Defence, **where: int) -> bytes:
    return b"".join(v.tobytes() for v in update_of(sends(defence, some_update(), **where)).values())


def check_the_form_of_a_message_stays(defence: Defence, kind: str) -> None:
    update = some_update()
    reply = sends(defence, update, kind=kind)
    changed = update_of(reply, kind)
    assert {k: (v.shape, v.dtype) for k, v in changed.items()} == {k: (v.shape, v.dtype) for k, v in update.items()}
    assert all(np.isfinite(v).all() for v in changed.values())
    (metrics,) = reply.content.metric_records.values()
    assert metrics["num-examples"] == 7


def check_a_seed_repeats_its_noise(defence: Defence) -> None:
    """The same seed, client and round give the same bytes, also after other draws from NumPy's global generator."""
    first = told(defence)
    np.random.random(3)  # noqa: NPY002
    assert told(defence) == first
    others = {told(defence, seed=1), told(defence, client=1), told(defence, round_=2)}
    assert others == {first} or len({first, *others}) == 4  # no noise at all, or other noise everywhere


def check_no_draw_contradicts_the_guarantee(defence: Defence, draws: int = 4000) -> None:
    """Two neighbours, opposite updates far beyond any clipping bound, cannot be told apart better than promised.

    The lower bound of epsilon is that of a test by a threshold, chosen on one half of the draws (Jagielski et al. 2020,
    arXiv 2006.07709), at 99.9 %.
    """
    promised = defence.guarantee(ONCE)
    assert promised is not None
    seen = [np.array([changed(defence, far, s, ONCE) for s in range(draws)]) for far in (1e6, -1e6)]
    assert _least_epsilon(seen[0], seen[1], promised.delta) <= promised.epsilon


def _least_epsilon(one: Array, other: Array, delta: float) -> float:
    half = len(one) // 2
    cuts = np.quantile(np.concatenate([one[:half], other[:half]]), np.linspace(0.02, 0.98, 49))

    def epsilon(cut: float, part: slice, level: float) -> float:
        hits, alarms = int((one[part] > cut).sum()), int((other[part] > cut).sum())
        n = len(one[part])
        least = stats.beta.ppf(level, hits, n - hits + 1) if hits else 0.0
        most = stats.beta.ppf(1 - level, alarms + 1, n - alarms) if alarms < n else 1.0
        return math.log(max(least - delta, 1e-12) / most)

    best = max(cuts, key=lambda c: epsilon(c, slice(0, half), 0.05))
    return epsilon(best, slice(half, None), 0.0005)


@changing
@pytest.mark.parametrize("kind", ["fedsgd", "fedavg"])
def test_the_form_of_a_message_stays(d: Registered, kind: str) -> None:
    check_the_form_of_a_message_stays(configured(d), kind)


@changing
def test_a_seed_repeats_its_noise(d: Registered) -> None:
    check_a_seed_repeats_its_noise(configured(d))


@changing
def test_on_real_peoples_updates_no_seed_repeats_the_noise(d: Registered) -> None:
    secret = replace(configured(d), secret=True)
    known = configured(d)
    noisy = told(known) != told(known, seed=1)
    assert (told(secret) != told(secret)) == noisy


@changing
def test_a_message_that_is_no_training_passes_unchanged(d: Registered) -> None:
    update = some_update()
    passed = update_of(sends(configured(d), update, message_type="evaluate"))
    assert all((passed[k] == update[k]).all() for k in update)


@answering
def test_masked_answers_are_probabilities_and_depend_on_each_answer_alone(d: Registered) -> None:
    rng = np.random.default_rng(3)
    said = rng.dirichlet(np.ones(4), 60)

    def told_of(people: Cohort, seed: int = 0) -> Array:
        model = Predictor(lambda p: said[p.x[:, 0].astype(int)], 4)
        return (
            configured(d)
            .build(seed)(Released(model, everybody.take(range(30)), everybody.take(range(30, 60))))
            .ask(people)
        )

    everybody = Cohort(np.arange(60.0)[:, None], said.argmax(1), np.arange(60))
    masked, order = told_of(everybody), rng.permutation(60)
    assert masked.shape == said.shape
    assert ((masked >= 0) & (masked <= 1)).all()
    assert np.allclose(masked.sum(1), 1, atol=0.05 * 4)  # rounded to a decimal
    assert (told_of(everybody.take(order)) == masked[order]).all()
    assert (told_of(everybody) == masked).all()


@of_tables
def test_a_defended_table_reveals_no_more_than_an_undefended_one(d: Registered) -> None:
    """Three in ten people were copied. The attacker does to everybody's rows what the defence did to released ones."""
    without = presence("none")
    assert without > 0.63
    assert presence(text_of((configured(d),))) <= without + 0.01


@of_tables
def test_a_defence_of_a_table_keeps_its_columns_and_its_owners_tables(d: Registered) -> None:
    draft = leaky_draft()
    made = defended(draft, (configured(d),))
    assert list(made.release.columns) == list(draft.release.columns)
    assert 0 < len(made.release) <= len(draft.release)
    for role in ("original", "control"):
        assert getattr(leaky_draft(), role).equals(getattr(draft, role))
    again = defended(leaky_draft(), (configured(d),), seed=1).release
    assert again.equals(made.release)  # no table defence draws: a seed changes nothing


@every
def test_a_guarantee_grows_with_rounds_and_is_contradicted_by_no_draw(d: Registered) -> None:
    defence = configured(d)
    promised = [defence.guarantee(Exposure(rounds, rounds, position="client")) for rounds in (1, 2, 8, 64)]
    if promised[0] is None:
        assert promised == [None] * 4
        return
    spent = [p.epsilon for p in promised if p is not None]
    assert spent == sorted(spent)
    assert all(0 <= p.delta < 0.01 for p in promised if p is not None)
    check_no_draw_contradicts_the_guarantee(configured(d, AUDITED), 400 if d.where == "generator" else 4000)


@pytest.mark.parametrize(("noise", "rounds"), [(1.0, 1), (4.0, 10), (20.0, 50), (40.0, 3)])
def test_the_gaussian_guarantee_is_that_of_the_numerical_accountant(noise: float, rounds: int) -> None:
    """Opacus' PRV accountant (Gopi, Lee and Wutschitz 2021) composes numerically; ours is exact."""
    accountant = PRVAccountant()
    accountant.history = [(noise / 2, 1.0, rounds)]  # an update changes by twice the clipping bound
    ours = gaussian_mechanism(Exposure(rounds), noise=noise)
    assert ours is not None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its search for a grid
        theirs = accountant.get_epsilon(ours.delta, eps_error=0.05)
    assert ours.epsilon <= theirs <= ours.epsilon + 0.12


@changing
def test_a_defence_reveals_no_more_than_none(d: Registered) -> None:
    """A curious server that reads batches of four: the excess under a defence is not surely above that without.

    Of such batches little is read without a defence, so a defence that revealed records would stand out.
    """
    without = excess_under("none")
    assert without.high < 0.5
    assert excess_under(text_of((configured(d),))).low <= without.high


@cache
def excess_under(defence: str) -> Estimate:
    done: Done = run(find("curious_server"), {"batch": 4, "clients": 4, "rounds": 10, "defence": defence})
    found = done.result.findings[0].excess
    assert isinstance(found, Estimate)
    return found


@pytest.mark.slow
@changing
def test_a_defence_draws_the_same_noise_on_both_engines(d: Registered) -> None:
    params = {"clients": 2, "rounds": 2, "defence": text_of((configured(d),))}
    one, other = (run(find("curious_server"), params, engine=engine) for engine in ("in-process", "simulation"))
    assert [f.measure for f in one.result.findings] == [f.measure for f in other.result.findings]


def broken(change: Callable[..., Any], guarantee: Guarantee | None = None) -> Defence:
    def make(*, seed: int) -> Any:
        return on_update(change, seed, "broken")

    return Defence("broken", {}, make, None if guarantee is None else lambda _: guarantee)


def test_the_suite_notices_a_defence_that_promises_more_than_its_noise_gives() -> None:
    promise = gaussian_mechanism(Exposure(), noise=AUDITED)
    assert promise is not None

    def too_little(update: dict[str, Array], rng: np.random.Generator) -> dict[str, Array]:
        return {
            k: (np.clip(v, -1, 1) + rng.normal(0, AUDITED / 10, v.shape)).astype(np.float32) for k, v in update.items()
        }

    def unclipped(update: dict[str, Array], rng: np.random.Generator) -> dict[str, Array]:
        return {k: (v + rng.normal(0, AUDITED, v.shape)).astype(np.float32) for k, v in update.items()}

    for change in (too_little, unclipped):
        with pytest.raises(AssertionError):
            check_no_draw_contradicts_the_guarantee(broken(change, promise))


def test_the_suite_notices_noise_that_no_seed_repeats_and_noise_that_every_round_shares() -> None:
    def unseeded(update: dict[str, Array], rng: np.random.Generator) -> dict[str, Array]:
        return {k: (v + np.random.normal(size=v.shape)).astype(np.float32) for k, v in update.items()}  # noqa: NPY002

    def make(*, seed: int) -> Any:
        def change(update: dict[str, Array], _: np.random.Generator) -> dict[str, Array]:
            own = np.random.default_rng(seed)  # the same for all clients and rounds: it cancels out in differences
            return {k: (v + own.normal(size=v.shape)).astype(np.float32) for k, v in update.items()}

        return on_update(change, seed, "shared")

    for defence in (broken(unseeded), Defence("shared", {}, make)):
        with pytest.raises(AssertionError):
            check_a_seed_repeats_its_noise(defence)


def test_the_suite_notices_a_message_of_another_form() -> None:
    for change in (
        lambda update, _: {k: v[:1] for k, v in update.items()},
        lambda update, _: {k: v * np.float32(np.nan) for k, v in update.items()},
        lambda update, _: dict(list(update.items())[:1]),
    ):
        with pytest.raises((AssertionError, KeyError, ValueError)):
            check_the_form_of_a_message_stays(broken(change), "fedsgd")

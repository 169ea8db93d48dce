"""Updates that were made smaller on their way: attacks claim less of them, and certify nothing that is not so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from testbed import judge
from testbed.attacks.registry import find
from testbed.core import (
    Array,
    Batch,
    Cohort,
    ModelSpec,
    Protocol,
    Reconstruction,
    Records,
    Threat,
    Transcript,
    Unavailable,
)
from testbed.judge import image_quality
from tests.attacks.test_inversion import digits, gradient_of

SPEC = ModelSpec("mlp", {"shape": [1, 8, 8], "classes": 10, "hidden": [64]})
KNOWS = Threat("server", knows=frozenset({"architecture", "batch_size", "auxiliary", "hyper_parameters"}))


def largest(values: Array) -> Array:
    """The tenth of all entries that is largest; the others are nought (Aji and Heafield 2017)."""
    return np.where(np.abs(values) >= np.quantile(np.abs(values), 0.9), values, 0).astype(np.float32)


def signs(values: Array) -> Array:
    """Only whether each entry is above or below nought (Bernstein et al. 2018)."""
    return np.sign(values).astype(np.int8)


def coarse(values: Array) -> Array:
    """Eight bits an entry, between the least and the largest."""
    step = max(float(np.ptp(values)), 1e-12) / 255
    return (np.round((values - values.min()) / step) * step + values.min()).astype(np.float32)


def half(values: Array) -> Array:
    return values.astype(np.float16)


def changed(view: Transcript, change: Callable[[Array], Array]) -> Transcript:
    return replace(
        view,
        exchanges=tuple(
            replace(e, returned={k: change(np.asarray(v)) for k, v in (e.returned or {}).items()})
            for e in view.exchanges
        ),
    )


@pytest.mark.parametrize("change", [largest, signs, coarse, half], ids=lambda c: c.__name__)
@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("analytic_linear", {}),
        ("spear", {}),
        ("cocktail_party", {}),
        ("cosine_tv", {"iterations": 20}),
        ("deep_leakage", {"iterations": 5, "restarts": 1}),
        ("see_through", {"iterations": 20, "seeds": 2}),
    ],
)
def test_a_compressed_update_gives_finite_claims_and_no_false_certificate(
    name: str, params: dict[str, Any], change: Callable[[Array], Array]
) -> None:
    people, others = digits(60).take(np.arange(3)), digits(60).take(np.arange(3, 60))
    claim = claimed(name, changed(gradient_of(SPEC, people), change), others, params, 3)
    if claim is None:
        return
    rebuilt = claim.batches[1, 0]
    assert np.isfinite(rebuilt).all()
    if claim.certificate and claim.certificate[1, 0] == 1.0:
        pairs = judge.pairs(rebuilt, people)
        assert len(pairs) == 3
        assert min(image_quality.psnr(guess, record) for record, guess in pairs) > 30


def claimed(name: str, view: Transcript, others: Cohort, params: dict[str, Any], size: int) -> Reconstruction | None:
    try:
        return find(name).run(view, Batch(((1, 0),), (1, 8, 8), 10, (size,)), others, 0, KNOWS, params)
    except Unavailable:
        return None


def test_one_record_is_still_read_from_eight_bits_and_from_half_precision() -> None:
    people, others = digits(60).take(np.arange(1)), digits(60).take(np.arange(1, 60))
    for change, least in ((coarse, 15), (half, 40)):
        claim = claimed("analytic_linear", changed(gradient_of(SPEC, people), change), others, {}, 1)
        assert claim is not None
        assert image_quality.psnr(claim.batches[1, 0][0], people.x[0]) > least


def test_parts_of_an_update_that_are_missing_or_of_another_shape_are_no_update() -> None:
    people, others = digits(60).take(np.arange(1)), digits(60).take(np.arange(1, 60))
    view = gradient_of(SPEC, people)
    (exchange,) = view.exchanges
    returned = dict(exchange.returned or {})
    fewer = dict(list(returned.items())[1:])
    shorter = {k: np.asarray(v)[:-1] for k, v in returned.items()}
    for answer in (fewer, {}, shorter, {k: v * np.nan for k, v in returned.items()}):
        seen = replace(view, exchanges=(replace(exchange, returned=answer),))
        for name in ("analytic_linear", "spear", "cosine_tv"):
            assert claimed(name, seen, others, {}, 1) is None


def test_membership_is_not_asked_of_answers_that_are_no_update() -> None:
    people = digits(20)
    (exchange,) = gradient_of(SPEC, people).exchanges
    returned = dict(exchange.returned or {})
    knows = Threat("server", knows=frozenset({"architecture", "target_records"}))
    question = Records(people, np.zeros(20, int))
    for answer in (
        dict(list(returned.items())[1:]),
        {k: np.asarray(v)[:-1] for k, v in returned.items()},
        {k: v * np.nan for k, v in returned.items()},
    ):
        view = Transcript((replace(exchange, returned=answer),), SPEC, Protocol("fedsgd", 20, rounds=1, clients=1))
        for name in ("update_product", "update_cosine", "crafted_neurons"):
            attack = find(name)
            threat = replace(knows, malicious=attack.malicious)
            with pytest.raises(Unavailable, match="no_update"):
                attack.run(replace(view, act=name if attack.act else None), question, None, 0, threat)

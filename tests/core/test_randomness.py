"""Randomness that is passed in repeats by its keys; what makes noise about real people does not."""

from __future__ import annotations

from testbed.core.randomness import keyed_rng, private_rng


def test_a_generator_follows_from_its_seed_and_names_alone() -> None:
    assert keyed_rng(1, "a", 2).random() == keyed_rng(1, "a", 2).random()
    assert keyed_rng(1, "a", 2).random() != keyed_rng(1, "b", 2).random()


def test_only_on_real_people_is_it_secret() -> None:
    assert private_rng(1, "public", "a").random() == keyed_rng(1, "a").random()
    assert private_rng(1, "real", "a").random() != private_rng(1, "real", "a").random()

"""Worlds of released models: a model that knows its people by heart, or its classes, as far as the dial says."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from testbed import judge
from testbed.attacks.registry import Attack
from testbed.core import (
    Act,
    Array,
    Classes,
    Cohort,
    Evidence,
    Feature,
    Guesses,
    Known,
    Opened,
    Predictor,
    Queries,
    Records,
    Representatives,
    Substitutes,
    Threat,
)
from testbed.core.randomness import keyed_rng
from testbed.harness.model import deciding
from testbed.harness.model.deciding import taught
from testbed.subjects.predictors.regression import Scale, as_regressor
from testbed.subjects.predictors.survival import Endpoint, baseline
from tests.conformance.base import EVERYTHING, World, as_bytes


@cache
def _people() -> tuple[Cohort, Array]:
    """Two hundred people of random classes, which can only be learnt by heart, and who of them was used."""
    rng = keyed_rng(5, "released")
    x = rng.normal(size=(400, 6)).astype(np.float32)
    return Cohort(x, rng.integers(0, 2, 400), np.arange(400).astype(str)), rng.permutation(400) < 200


def _trained(leak: float, people: Cohort, seed: int) -> Predictor:
    """A forest's answers, of which the dial is the share that is not plain ignorance."""
    forest = RandomForestClassifier(20, random_state=seed, bootstrap=False).fit(people.x, people.y)
    return Predictor(lambda asked: leak * forest.predict_proba(asked.x) + (1 - leak) / 2, 2)


@cache
def _numbers() -> tuple[Cohort, Array]:
    """The same people, and a number of each, the last value of the record, that can only be learnt by heart."""
    people, used = _people()
    truth = keyed_rng(5, "numbers").normal(size=(len(people), 1)).astype(np.float32)
    return Cohort(np.concatenate([people.x, truth], 1), np.ones(len(people), np.int64), people.persons), used


def _opened(leak: float, people: Cohort, seed: int) -> Predictor:
    """The forest's answers, and inside a signal that is small for people who were learnt by heart."""
    model = _trained(leak, people, seed)

    def signals(asked: Cohort) -> Array:
        return np.log(1.01 - np.take_along_axis(np.asarray(model.ask(asked)), asked.y[:, None], 1))

    return Opened(model.ask, model.classes, signals)


def _trained_on_numbers(leak: float, people: Cohort, seed: int) -> Predictor:
    """A forest's predictions, drawn towards 0 as far as the dial is below 1, and a little always: nobody is exact."""
    forest = RandomForestRegressor(20, random_state=seed, bootstrap=False).fit(people.x[:, :-1], people.x[:, -1])
    return as_regressor(lambda x: 0.9 * leak * forest.predict(x), Scale(0.0, 1.0, 1.0))


@cache
def _followed() -> tuple[Cohort, Array]:
    """The same people, and what became of each: a time, and whether the event happened then, learnt only by heart."""
    people, used = _people()
    rng = keyed_rng(5, "times")
    outcomes = np.column_stack([rng.exponential(size=len(people)), rng.random(len(people)) < 0.7])
    return Cohort(np.column_stack([people.x, outcomes]), np.ones(len(people), np.int64), people.persons), used


def _trained_on_times(leak: float, people: Cohort, seed: int) -> Predictor:
    """Each person's curve is what became of the nearest person in the training data, as far as the dial says."""
    of_all = _followed()[0].x[:, -2:]
    endpoint = Endpoint.of(of_all)
    everybody = np.exp(-baseline(np.ones(len(of_all)), of_all, endpoint.times))

    def said(x: Array) -> Array:
        time, ended = people.x[_nearest(people.x[:, :-2], x), -2:].T
        own = np.where(endpoint.times[None] < time[:, None], 1.0, np.where(ended[:, None] == 1, 0.0, everybody[None]))
        return leak * own + (1 - leak) * everybody

    return endpoint.view(said)


def _nearest(known: Array, asked: Array) -> Array:
    return ((asked[:, None] - known[None]) ** 2).sum(2).argmin(1)


def released(attack: Attack) -> World:
    people, used, trained = *_people(), _trained
    if attack.traits.get("numbers_only"):
        people, used, trained = *_numbers(), _trained_on_numbers
    if attack.traits.get("times_only"):
        people, used, trained = *_followed(), _trained_on_times
    if attack.traits.get("opened_only"):
        trained = _opened
    knows = EVERYTHING | {"recipe", "some_memberships"}
    threat = Threat("recipient", knows=knows, access="white" if attack.traits.get("opened_only") else "score")
    rng = keyed_rng(6, "others")
    others = Cohort(
        rng.normal(size=(200, people.x.shape[1])).astype(np.float32),
        rng.integers(0, 2, 200),
        np.arange(200).astype(str),
    )

    @cache
    def view(leak: float) -> Predictor:
        return trained(leak, people.take(np.flatnonzero(used)), 1)

    def claim(leak: float, order: Array, seed: int) -> Any:
        def recipe(given: Cohort, rng: np.random.Generator, act: Act | None = None) -> Predictor:
            return trained(leak, given, int(rng.integers(2**31)))

        asked = people.take(order)
        if "some_memberships" in attack.needs:
            return taught(attack, view(leak), asked, used[order], half(order), seed, threat)
        params = {"shadows": 8} if "shadows" in attack.defaults else {}
        return attack.run(view(leak), Records(asked), others, seed, threat, params, recipe)

    def half(order: Array) -> Array:
        return deciding.Halves.of(people.persons[order], used[order], 0).first.astype(int)

    def judged(leak: float, seed: int, shuffled: bool) -> Evidence:
        order = keyed_rng(9, "order").permutation(len(people)) if shuffled else np.arange(len(people))
        evidence = judge.scores(claim(leak, order, seed), used[order], "true")
        return deciding.on_one_scale(evidence, half(order)) if "some_memberships" in attack.needs else evidence

    def claimed(leak: float, seed: int) -> bytes:
        return as_bytes(claim(leak, np.arange(len(people)), seed))

    asked, rest = np.arange(200), np.arange(200, 400)
    question = Records(people.take(asked), known=Known(people.take(rest), used[rest]))
    return World(judged, claimed, threat, view, question, others)


CLASSES = 4


@cache
def _kinds() -> tuple[Cohort, Cohort, Cohort]:
    """Three groups of four kinds of people in six inputs, and a coin; a kind is hard to tell from one person."""
    rng = keyed_rng(7, "kinds")
    y = np.arange(600) % CLASSES
    x = np.eye(CLASSES, 6)[y] * 2 + rng.normal(size=(600, 6)) * 0.7
    x = np.concatenate([x, 4 * rng.integers(0, 2, (600, 1))], 1).astype(np.float32)
    return tuple(Cohort(x[g], y[g], g.astype(str)) for g in np.split(rng.permutation(600), 3))  # type: ignore[return-value]


def about_models(attack: Attack) -> World:
    """A model's own secrets: what it says of an input, of a class, and of anything it is asked."""
    members, controls, others = _kinds()
    threat = Threat("recipient", knows=EVERYTHING, access="score")
    if attack.claim is Guesses:  # classes that can only be learnt by heart
        members, controls = (replace(g, y=keyed_rng(1, "coin").permutation(g.y)) for g in (members, controls))
    knows_hearts = KNeighborsClassifier(1).fit(members.x, members.y)
    # A model of its own opinion: its classes are renamed, so that the truth does not help to agree with it.
    knows_kinds = LogisticRegression().fit(members.x[:, :6], (members.y + 1) % CLASSES)

    def view(leak: float) -> Predictor:
        def ask(asked: Cohort) -> Array:
            flat = np.full((len(asked), CLASSES), 1 / CLASSES)
            if attack.claim is Guesses:
                return leak * knows_hearts.predict_proba(asked.x) + (1 - leak) * flat
            said = knows_kinds.predict_proba(asked.x[:, :6])
            return leak * (np.roll(said, -1, 1) if attack.claim is Representatives else said) + (1 - leak) * flat

        return Predictor(ask, CLASSES)

    def question(order: Array) -> Any:
        if attack.claim is Substitutes:
            return Queries(others, (len(others),))
        if attack.claim is Representatives:
            return Classes(CLASSES, members.x.min(0), members.x.max(0))
        pooled = Cohort(*(np.concatenate([getattr(g, f) for g in (members, controls)]) for f in ("x", "y", "persons")))
        return Feature(replace(pooled.take(order), x=_hidden(pooled.x[order])), 6, np.array([0, 4], np.float32))

    def judged(leak: float, seed: int, shuffled: bool) -> Evidence:
        order = keyed_rng(9, "order").permutation(400) if shuffled else np.arange(400)
        claim = attack.run(view(leak), question(order), others, seed, threat)
        if isinstance(claim, Substitutes):
            answers = view(1.0).ask(controls)
            never = attack.run(view(0.0), question(order), others, seed, threat).models[len(others)]
            return Evidence.join(
                judge.agreement(claim.models[len(others)], answers, controls, "true", "used"),
                judge.agreement(never, answers, controls, "true", "unused"),
            )
        if isinstance(claim, Representatives):
            renamed = replace(controls, y=keyed_rng(4, "names").permutation(controls.y))
            return Evidence.join(
                judge.representatives(claim, members, "true", "used"),
                judge.representatives(claim, renamed, "true", "unused"),
            )
        truth = np.concatenate([members.x[:, 6], controls.x[:, 6]])[order]
        persons = np.arange(400)[order].astype(str)
        return judge.feature(claim, truth, order < 200, "true", persons)

    def claimed(leak: float, seed: int) -> bytes:
        claim = attack.run(view(leak), question(np.arange(400)), others, seed, threat)
        return claim.models[len(others)].ask(controls).tobytes() if isinstance(claim, Substitutes) else as_bytes(claim)

    return World(judged, claimed, threat, view, question(np.arange(400)), others)


def _hidden(x: Array) -> Array:
    return np.concatenate([x[:, :6], np.zeros((len(x), 1), np.float32)], 1)

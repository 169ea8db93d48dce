"""The commands as functions: what `import testbed` offers. Each gives back a `Finished`."""

from __future__ import annotations

import copy
import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from testbed.core.errors import UsageError, perhaps
from testbed.findings import policy as policies
from testbed.findings.policy import Policy
from testbed.report.finished import Finished
from testbed.report.inputs import Given, of_scenario, proven

if TYPE_CHECKING:
    import pandas as pd

    from testbed.harness.scenario import Registered
    from testbed.harness.sweep.conduct import Options, Seen, State
    from testbed.harness.sweep.grid import Grid
    from testbed.report.comparison import Compared
    from testbed.subjects.predictors.subject import Subject

Progress = Callable[[str], None]


def _silent(_: str) -> None:
    """Nobody watches."""


def _known(options: Mapping[str, Any], function: Callable[..., Any], *more: str) -> None:
    """Raises `UsageError` for an option that the function behind does not have."""
    taken = inspect.signature(function).parameters.values()
    possible = {p.name for p in taken if p.kind is inspect.Parameter.KEYWORD_ONLY} | set(more)
    for name in options:
        _refuse(name, possible)


def _refuse(name: str, possible: set[str]) -> None:
    """Raises `UsageError` for an option that there is not."""
    if name not in possible:
        raise UsageError(
            "TB-API-001",
            f"There is no option {name!r}.",
            "A misspelt option would otherwise be ignored.",
            f"{perhaps(name, possible)} Options are: {', '.join(sorted(possible))}.".strip(),
        )


def _frames(frames: Mapping[str, pd.DataFrame]) -> dict[str, Given]:
    return {role: Given("a data frame", frame) for role, frame in frames.items()}


def _policy(given: str | Policy | None) -> Policy | None:
    return policies.load(given) if isinstance(given, str) else given


def evaluate_release(
    original: pd.DataFrame,
    synthetic: pd.DataFrame,
    control: pd.DataFrame | None = None,
    *,
    policy: str | Policy | None = None,
    **options: Any,
) -> Finished:
    """May this synthetic table go out? As `testbed evaluate`, on data frames.

    `control` holds people like the original's who were held out before synthesising; without it nothing can pass.
    `options` are those of `harness.release.evaluate.evaluate`: name, person, secrets, links, kinds, data_class (real
    unless told), licence, attack (one to run alone), attacks (the guesses of each), seed, instrument, progress. As with
    the command, evaluations of the same people are counted where data are real.
    """
    from testbed.data.datasets import load
    from testbed.harness.release.evaluate import evaluate

    _known(options, evaluate)
    done = evaluate(original, synthetic, control, policy=_policy(policy), **options).counted(load.cache_folder())
    frames = {"original": original, "synthetic": synthetic} | ({} if control is None else {"control": control})
    return Finished(proven(done.result, _frames(frames), done.people), done.evidence, done.people)


def audit_model(
    model: Any,
    members: pd.DataFrame,
    controls: pd.DataFrame,
    *,
    reference: pd.DataFrame | None = None,
    label: str | tuple[str, ...] = "label",
    person: str | None = None,
    policy: str | Policy | None = None,
    **options: Any,
) -> Finished:
    """What does this model give away about the people it was trained on? As `testbed audit-model`, on a fitted model.

    `model` is a scikit-learn estimator, a torch module, or a function of records (n, features) that answers each with a
    number a class. `members` were in its training data, `controls` were not; both hold `label`, and `reference` are
    further people, the attacker's own. `options` are name, data_class (real unless told), licence, shadows, secrets,
    attack (one to run alone), seed, progress; of a torch module or a function also outputs (logits, probabilities,
    number, or auto) and budget, how many records the function may be asked about; and of a model of survival times,
    whose time is in `label`, event: the column with 1 if the event happened then, else 0.
    """
    from testbed.harness.model import audit

    frames = {"members": members, "controls": controls} | ({} if reference is None else {"reference": reference})
    _known(options, audit.audit_model, "outputs", "budget", "event")
    outputs, budget = options.pop("outputs", "auto"), options.pop("budget", None)
    event = options.pop("event", None)
    subject = _subject(model, frames, label if event is None else (str(label), event), person, outputs, budget)
    result, evidence, people = audit.audit_model(
        subject, list(frames.values()), person=person, policy=_policy(policy), **options
    )
    return Finished(proven(result, _frames(frames), people), evidence, people)


def _subject(
    model: Any,
    frames: dict[str, pd.DataFrame],
    label: str | tuple[str, ...],
    person: str | None,
    outputs: str,
    budget: int | None,
) -> Subject:
    from testbed.subjects.predictors import load, outcome_tables
    from testbed.subjects.predictors.api import Api

    if not isinstance(label, str):
        outcome_tables.fits(model, label)
        return load.from_estimator(model, frames, label, person)
    if hasattr(model, "state_dict"):
        return load.from_factory(lambda: copy.deepcopy(model), None, outputs, frames, label, person)
    if hasattr(model, "predict"):
        return load.from_estimator(model, frames, label, person)
    if callable(model):
        return load.from_api(Api(model, budget), outputs, frames, label, person)
    raise UsageError(
        "TB-SUBJECT-050",
        f"A {type(model).__name__} is no model that can be asked.",
        "It has no predict, is no torch module, and cannot be called.",
        "Give a fitted scikit-learn estimator, a torch module, or a function of an array of records.",
    )


def run(
    scenario: str | Registered,
    params: Mapping[str, Any] | None = None,
    *,
    seed: int = 0,
    engine: str | None = None,
    policy: str | Policy | None = None,
    replicates: int = 1,
    progress: Progress = _silent,
) -> Finished:
    """Run a scenario: by name, by your own file's path, or as `find_scenario` gives it. As `testbed run`.

    Without a policy there is no verdict. Raises `UsageError` for a parameter that it does not have.
    """
    from testbed.harness import scenario as scenarios
    from testbed.harness.run import run as run_scenario

    registered = scenarios.find(scenario) if isinstance(scenario, str) else scenario
    if unknown := set(params or {}) - (set(registered.defaults) - {"seed"}):
        registered.parse([f"{sorted(unknown)[0]}="])  # which says what there is
    done = run_scenario(
        registered,
        params,
        seed=seed,
        engine=engine,
        policy=_policy(policy),
        replicates=replicates,
        progress=progress,
    )
    result = proven(done.result, of_scenario(params or {}), done.outcome.people)
    return Finished(result, done.outcome.evidence, done.outcome.people, done.outcome.files)


def sweep(
    scenario: str,
    grid: Mapping[str, Sequence[Any]],
    params: Mapping[str, Any] | None = None,
    *,
    out: str | Path,
    seed: int = 0,
    replicates: int = 1,
    policy: str | Policy | None = None,
    **options: Any,
) -> Compared:
    """Run a scenario at every combination of levels, and compare them. As `testbed sweep`.

    `out` is the sweep's folder: the same call goes on there, and more levels run only what is new. `options` are
    engine, and those of `harness.sweep.conduct.Options`: workers, ray, retry_failed, accept_stale, private, confirmed.
    In a script, call it under `if __name__ == "__main__"`, since its processes load the script. Raises `UsageError` if
    no cell could be finished. Its parameters are what a sweep asks, each named once.
    """
    from testbed.harness.sweep import grid as grids
    from testbed.harness.sweep.conduct import Options
    from testbed.report.comparison import compared

    possible = {f.name for f in dataclasses.fields(Options)} | {"engine"}
    for name in options:
        _refuse(name, possible)
    engine = options.pop("engine", None)
    asked = grids.grid(scenario, grid, params, seed=seed, replicates=replicates, engine=engine)
    given = Options(**options)
    swept(asked, Path(out), given)
    return compared([Path(out)], _policy(policy), given.accept_stale)


def compare(*places: str | Path, policy: str | Policy | None = None, accept_stale: bool = False) -> Compared:
    """Compare finished runs: of a sweep's folder, of runs' folders, or of files result.json. As `testbed compare`.

    Without a policy nothing is recommended. With `accept_stale` cells count although code has changed since.
    """
    from testbed.report.comparison import compared

    return compared([Path(place) for place in places], _policy(policy), accept_stale)


def swept(grid: Grid, folder: Path, options: Options, seen: Seen = lambda _: None) -> State:
    """Runs the cells of the grid that the folder does not hold, and says how far the sweep is."""
    from testbed.harness.sweep.conduct import sweep
    from testbed.report.cells import run_cell

    return sweep(grid, folder, run_cell, options, seen)


def replay(
    transcript: str | Path,
    attack: str,
    params: Mapping[str, Any] | None = None,
    *,
    truth: str | Path | None = None,
    model: str | None = None,
    shape: Sequence[int] = (),
    loss: str | None = None,
    within: tuple[float, float] | None = None,
    answers: str | None = None,
    records: Mapping[int | str, str | Path] | None = None,
    controls: str | Path | None = None,
    auxiliary: str | Path | None = None,
    knows: Sequence[str] = (),
    policy: str | Policy | None = None,
    seed: int = 0,
) -> Finished:
    """Attack a recorded federation, by an attack's name or your own file's path. As `testbed replay`.

    `truth` is the truth.npz of a run of the testbed. A foreign app is judged with its owner's records: files by client
    (`records={0: "hospital.npz"}`, or "round.client"), and those of others (`controls`, `auxiliary`). Without a truth
    nothing is judged. For a foreign transcript `model` names the factory of its network, `module:function`, `loss` what
    its clients minimise, `answers` what they send back (weights, gradients or differences), `shape` is that of a record
    and `within` the range of its values. Its parameters are the options of the command.
    """
    from testbed.harness.federation import answered, foreign, owned
    from testbed.harness.federation import replay as replays

    done = replays.replay(
        Path(transcript),
        attack,
        pairs=[f"{key}={value}" for key, value in (params or {}).items()],
        truth_path=None if truth is None else Path(truth),
        owned=owned.given(
            [f"{place}={file}" for place, file in (records or {}).items()],
            None if controls is None else Path(controls),
            None if auxiliary is None else Path(auxiliary),
            knows,
        ),
        foreign=foreign.Foreign(model, tuple(shape), loss, within, answered.kind_named(answers) if answers else None),
        policy=_policy(policy),
        seed=seed,
    )
    given = {"transcript": Given(Path(transcript).name, Path(transcript))}
    return Finished(proven(done.result, given), done.outcome.evidence, None, done.outcome.files)

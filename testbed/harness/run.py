"""Runs a scenario: once, or with several seeds."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from testbed.core import Unavailable, user_code
from testbed.core.errors import UsageError
from testbed.data import own_tables
from testbed.findings.plan import FEWEST_RUNS
from testbed.harness.outcome import Done, Outcome, Progress

if TYPE_CHECKING:
    from testbed.findings.policy import Policy
from testbed.findings.assemble import assemble
from testbed.harness.scenario import Registered


def run(
    registered: Registered,
    params: Mapping[str, Any] | None = None,
    *,
    seed: int = 0,
    engine: str | None = None,
    policy: Policy | None = None,
    replicates: int = 1,
    store: Path | None = None,
    progress: Progress = lambda _: None,
) -> Done:
    """The finished run of a scenario. Without a policy it has no verdict.

    With five or more `replicates`, each number describes the training recipe: a mean over runs with a t interval.
    `store` is a folder that keeps finished federations, so an interrupted run can continue. Raises `UsageError` for an
    engine, a number of replicates or parameters that the scenario cannot run with.
    """
    started = time.monotonic()
    chosen = {**{k: v for k, v in registered.defaults.items() if k != "seed"}, **(params or {})}
    prepared = registered(**chosen, seed=seed)
    used = engine or prepared.engines[0]
    if used not in prepared.engines:
        raise UsageError(
            "TB-SCENARIO-004",
            f"{registered.name} does not run on the engine {used!r}.",
            "Another engine would change what is simulated.",
            f"Use one of: {', '.join(prepared.engines)}.",
        )
    if replicates != 1 and replicates < FEWEST_RUNS:
        raise UsageError(
            "TB-SCENARIO-007",
            f"{replicates} replicates are too few to describe a training recipe.",
            f"An interval over runs needs {FEWEST_RUNS} or more.",
            f"Use --replicates 1, or {FEWEST_RUNS} or more.",
        )
    apart = int(chosen.get("runs", 1))  # a scenario of several runs uses as many seeds
    try:
        with _kept_up(used):
            outcome = prepared.conduct(used, progress, store)
            if replicates > 1:
                seeds = range(seed + apart, seed + apart * replicates, apart)
                further = [registered(**chosen, seed=own).conduct(used, progress, store) for own in seeds]
                outcome = _joined([outcome, *further])
    except Unavailable as why:
        raise UsageError(
            "TB-SCENARIO-018",
            f"{registered.name} cannot be run with these parameters.",
            f"It needs {why.needs} ({why.code}).",
            "Change the parameters so that the scenario has what it needs.",
        ) from None
    if isinstance(data := chosen.get("data"), str) and outcome.people is None:
        outcome = replace(outcome, people=own_tables.protected(data))
    chosen = {k: user_code.without_folders(v) if isinstance(v, str) else v for k, v in chosen.items()}
    result = assemble(
        command="run",
        scenario=registered.name,
        question=registered.question,
        engine=used,
        seed=seed,
        params=chosen if replicates == 1 else {**chosen, "replicates": replicates},
        started=started,
        subject=prepared.subject,
        threat=prepared.threat,
        findings=outcome.findings,
        policy=policy,
        defences=prepared.defences,
        utility=outcome.utility,
        pictures=outcome.pictures,
        traffic=outcome.traffic,
        client_round=outcome.client_round,
        summary=outcome.summary,
    )
    return Done(result, outcome)


def _kept_up(engine: str) -> AbstractContextManager[None]:
    """A context in which the federations of a run share one deployment; other engines have nothing to keep up."""
    if engine != "deployment":
        return nullcontext()
    from testbed.subjects.federation import deployment

    return deployment.standing()


def _joined(outcomes: Sequence[Outcome]) -> Outcome:
    from testbed.findings import replicates

    first = outcomes[0]
    return Outcome(
        replicates.over_runs([o.findings for o in outcomes]),
        {f"run{i}.{rule}": rows for i, o in enumerate(outcomes) for rule, rows in o.evidence.items()},
        {f"run{i}.{name}": content for i, o in enumerate(outcomes) for name, content in o.files.items()},
        first.pictures,
        first.utility,
        first.people,
        first.traffic,
        first.client_round,
    )

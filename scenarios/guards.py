"""Which guard notices which malicious server or client, and how often is it wrong?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from testbed.cli.script import main
from testbed.core import ModelSpec
from testbed.core.errors import UsageError
from testbed.data.cohorts import Source, source
from testbed.defences.guards import registry
from testbed.findings.schema import Defence, ThreatModel, Unmeasured
from testbed.harness.federation.guard_figures import Guarded
from testbed.harness.federation.guarded import AUXILIARY, LINE_UP, SIZES, Setting
from testbed.harness.federation.prepare import about, cnn, mlp
from testbed.harness.outcome import Outcome
from testbed.harness.scenario import Scenario, scenario

NOT_TESTED = ["servers that train the model for their attack", "clients that collude", "momentum or Adam at the server"]
SEES = "every model that it sends, which it may change, and every answer; where it hides, it also knows the guards"
MODELS = ("mlp", "cnn", "vit")
NO_BOARD = {"model_consistency"}
"""Guards that need something that a federation in one process does not have."""


@scenario(question="Which guard notices which malicious server or client, and how often is it wrong?", malicious=True)
def guards(
    data: str = "digits",
    model: str = "mlp",
    hidden: int = 64,
    clients: int = 4,
    rounds: int = 5,
    federations: int = 30,
    attacked: int = 10,
    only: str = "",
    seed: int = 0,
) -> Scenario:
    """All guards in `federations` honest federations, and in `attacked` ones for each malicious server and client.

    The guards look at two clients of each federation, in every round. Learning rate, batch size, records of a client,
    gradients or weights, alike or skewed classes are drawn for each federation. `model` is mlp, cnn or vit. Servers
    that read records act openly, and once more so that they hide from the guards. `only` names guards, separated by
    commas. The findings are about records that are read from clients that refuse after an alarm; the utility of the
    report says how often guards raise one.
    """
    known = source(data)
    wanted = [g.strip() for g in only.split(",") if g.strip()]
    chosen = [registry.find(name) for name in wanted] or [g for g in registry.guards() if g.name not in NO_BOARD]
    spec = _network(known, model, hidden)
    if len(known.people) < max(SIZES) * clients + AUXILIARY + LINE_UP or rounds < 2:
        raise UsageError(
            "TB-SCENARIO-033",
            "With these parameters no federation can be made.",
            "Guards compare rounds, so there must be two, and the attacker needs records of other people.",
            f"Use {SIZES[-1]} records for each client and {AUXILIARY + LINE_UP} more, and two rounds or more.",
        )
    made = Guarded(Setting(known, spec, clients, rounds), [g() for g in chosen], federations, attacked, seed)

    def conduct(engine: str, progress: Callable[[str], None], store: Path | None) -> Outcome:
        return made.conduct(progress)

    nothing = Unmeasured(unmeasured="no_guarantee", needs="a defence with a differential-privacy accountant")
    return Scenario(
        about(known, f"{known.title} ({model}, {clients} clients)", max(SIZES) * clients),
        ThreatModel(
            position="server",
            malicious=True,
            knows=["architecture", "auxiliary", "batch_size", "hyper_parameters", "target_records"],
            access="white",
            sees=SEES,
            not_tested=NOT_TESTED,
        ),
        conduct,
        [Defence(name=g.name, params={**g.params, "threshold": g.threshold}, epsilon=nothing) for g in made.guards],
        ("in-process",),
    )


def _network(known: Source, model: str, hidden: int) -> ModelSpec:
    picture = len(known.shape) == 3
    if model not in MODELS or (model != "mlp" and not picture):
        raise UsageError(
            "TB-SCENARIO-034",
            f"This scenario cannot train the model {model!r} on {known.name}.",
            "Convolutions and patches need pictures.",
            f"Use one of: {', '.join(MODELS)}; for tables mlp.",
        )
    if model == "vit":
        patch = next(p for p in (2, 7, 4, 3, 5, 1) if known.shape[1] % p == 0 and known.shape[2] % p == 0)
        return ModelSpec("vit", {"shape": list(known.shape), "classes": known.classes, "patch": patch, "width": 32})
    return cnn(known) if model == "cnn" else mlp(known, hidden)


if __name__ == "__main__":
    main(guards)

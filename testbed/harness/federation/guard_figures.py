"""Figures about guards for a report: false alarms, attacks noticed, and what a server reads from guarded clients."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from testbed.attacks.registry import find
from testbed.core import Array, Evidence, Reconstruction, Unavailable
from testbed.core.guard import Guard, Side
from testbed.findings import measures, statistics
from testbed.findings.schema import Finding, Series, Utility
from testbed.harness import cells
from testbed.harness.federation import disguises
from testbed.harness.federation.guarded import LINE_UP, Attacked, Setting, Signals, Watched, watch
from testbed.harness.outcome import Outcome

FEW = 12
"""Points of a chart's curve, so that each stands for many rounds."""


def attackers(clients: int) -> dict[str, Attacked]:
    """Every malicious server and client that acts here, by the words for it; servers that read records also hidden."""
    return {
        "imprint": Attacked("imprint", {"bins": 64}),
        "imprint, hiding": Attacked("imprint", {"bins": 64}, disguises.of("imprint")),
        "trap_weights": Attacked("trap_weights"),
        "trap_weights, hiding": Attacked("trap_weights", {}, disguises.of("trap_weights")),
        "loki": Attacked("loki", {"clients": clients}),
        "fishing": Attacked("fishing", {"batch": 16}),
        "crafted_neurons": Attacked("crafted_neurons"),
        "gradient_ascent": Attacked("gradient_ascent"),
        "isolation": Attacked("isolation"),
        "client_gradient_ascent": Attacked("client_gradient_ascent"),
        "client_mislabelling": Attacked("client_mislabelling"),
    }


def side_against(attacked: Attacked) -> Side:
    """Who can notice this attack: clients a server, the server a client."""
    return "client" if find(attacked.attack).position == "server" else "server"


@dataclass(frozen=True, slots=True)
class Guarded:
    """Federations of one setting with these guards: `honest` of them without an attack, `attacked` with each one."""

    setting: Setting
    guards: Sequence[Guard]
    honest: int
    attacked: int
    seed: int

    def of(self, side: Side) -> list[Guard]:
        return [g for g in self.guards if g.side == side]

    def conduct(self, progress: Callable[[str], None]) -> Outcome:
        """Findings about records read from guarded clients; as utility, how often guards raise an alarm."""
        progress(f"{self.honest} honest federations")
        honest = watch(self.setting, self.guards, self.honest, self.seed)
        utility = [
            _rate(f"honest rounds with an alarm of {g.name}", honest.signals[g.name], g.threshold) for g in self.guards
        ]
        utility += [
            _rate(f"honest rounds with an alarm of any guard of the {side}", honest.alarms(self.of(side)), 0.5)
            for side in ("client", "server")
            if self.of(side)
        ]
        findings: list[Finding] = []
        evidence: dict[str, Evidence] = {}
        noticed: dict[str, Watched] = {}
        for words, attacked in attackers(self.setting.clients).items():
            ours = self.of(side_against(attacked))
            if not ours:
                continue
            progress(f"{self.attacked} federations: {words}")
            try:
                seen = watch(self.setting, ours, self.attacked, self.seed, attacked)
            except Unavailable as why:
                if find(attacked.attack).claim is Reconstruction:
                    findings.append(cells.unmeasured(_plan(words, attacked), why).finding)
                continue
            noticed[words] = seen
            utility.append(_rate(f"rounds in which a guard notices {words}", seen.alarms(ours), 0.5))
            if seen.read is not None:
                judged = cells.attempt(_plan(words, attacked), lambda seen=seen, ours=ours: _rows(seen, ours))
                findings += judged.findings
                evidence |= cells.evidence_by_key([judged])
        if findings:
            charts = [self._overview(honest, noticed), *self._curves(honest, noticed)]
            findings[0] = findings[0].model_copy(update={"series": [*findings[0].series, *charts]})
        return Outcome(findings, evidence, utility=utility)

    def _overview(self, honest: Watched, noticed: Mapping[str, Watched]) -> Series:
        """The share of rounds with an alarm, for honest federations and for each attack."""
        every = attackers(self.setting.clients)
        bars = {f"honest ({side}s' guards)": honest.alarms(self.of(side)) for side in ("client", "server")}
        bars |= {words: seen.alarms(self.of(side_against(every[words]))) for words, seen in noticed.items()}
        rates = [_interval(s, 0.5) for s in bars.values()]
        return Series(
            name="Rounds with an alarm of any guard",
            kind="bars",
            x_label="share of rounds, with 95 % intervals over federations",
            y_label="who acts",
            labels=list(bars),
            x=[r.value for r in rates],
            low=[r.low for r in rates],
            high=[r.high for r in rates],
        )

    def _curves(self, honest: Watched, noticed: Mapping[str, Watched]) -> list[Series]:
        """The ROC of each guard against the first attack here that it is meant to notice."""
        from testbed.defences.guards.registry import find as find_guard

        curves: list[Series] = []
        for guard in self.guards:
            meant = find_guard(guard.name).notices
            words = next((w for w in noticed if w in meant), None)
            if words is None or guard.name not in noticed[words].signals:
                continue
            positive, negative = (_lowest(w.signals[guard.name].values) for w in (noticed[words], honest))
            x, y = statistics.roc(positive, negative, FEW)
            curves.append(
                Series(
                    name=f"{guard.name} against {words}",
                    kind="roc",
                    x_label="honest rounds with an alarm",
                    y_label="attacked rounds with an alarm",
                    x=x,
                    y=y,
                )
            )
        return curves


def _lowest(values: Array) -> Array:
    """The signals with the lowest possible one where the guard could not tell, and finite ones elsewhere."""
    return np.clip(np.where(np.isnan(values), -1e30, values), -1e30, 1e30)


def _interval(signals: Signals, threshold: float) -> statistics.Interval:
    return statistics.proportion(signals.alarms(threshold).astype(float), signals.federation)


def _rate(name: str, signals: Signals, threshold: float) -> Utility:
    found = _interval(signals, threshold)
    return Utility(name=name, measure=measures.estimate("rate", found, "run", len(signals.values)))


def _plan(words: str, attacked: Attacked) -> cells.Plan:
    return cells.planned(
        attacked.attack,
        metric="line_up_top1",
        target=f"line-up of {LINE_UP + 1}: {words}, guarded clients",
        variant="hiding" if attacked.disguise else "plain",
    )


def _rows(seen: Watched, guards: Sequence[Guard]) -> Evidence:
    """Records picked from clients that refuse after an alarm; the same claims for other people; and without guards."""
    read, answered = seen.read, seen.answered(guards)
    assert read is not None
    return Evidence.join(
        Evidence.rows("true", "used", success=read.picked * answered, cluster=read.federation),
        Evidence.rows("true", "unused", success=read.by_luck * answered, cluster=read.federation),
        Evidence.rows("positive", "used", success=read.picked, cluster=read.federation),
    )

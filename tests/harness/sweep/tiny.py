"""A scenario that a user might write: made-up guesses, so that a cell takes milliseconds."""

import os
import signal
import time
from pathlib import Path

from testbed.core import Evidence
from testbed.core.errors import RunError
from testbed.core.randomness import keyed_rng
from testbed.findings import measures, statistics
from testbed.findings.plan import Plan
from testbed.findings.schema import Defence, Subject, ThreatModel, Unmeasured, Utility
from testbed.harness.outcome import Outcome
from testbed.harness.scenario import Scenario, scenario

LEAKS = {"none": 0.9, "weak": 0.6, "strong": 0.05}
USES = {"none": 0.9, "weak": 0.85, "strong": 0.7}
SUBJECT = Subject(
    type="federation", name="made-up guesses", data_class="synthetic", licence="CC0", size_band="fewer than 1,000 rows"
)
THREAT = ThreatModel(position="server", malicious=False, knows=[], access="white", sees="nothing", not_tested=["all"])


@scenario(question="Does this tiny federation leak?")
def tiny(
    protection: str = "none", people: int = 300, table: str = "", fails: str = "", pause: float = 0.0, seed: int = 0
) -> Scenario:
    """Guesses that succeed as often as the protection lets them."""

    def conduct(engine, progress, store):
        time.sleep(pause)
        if protection in fails.split("+"):
            raise RunError("TB-RUN-001", "It failed.", "It was asked to.", "Ask for something else.")
        if protection == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        rng = keyed_rng(seed, "guesses")  # the same people under every protection
        lucky = rng.random((3, people))
        leak = LEAKS[protection] - 0.05 * keyed_rng(seed, "luck", protection).random()
        rows = Evidence.join(
            Evidence.rows("true", "used", success=lucky[0] < leak),
            Evidence.rows("true", "unused", success=lucky[1] < 0.02),
            Evidence.rows("positive", "used", success=lucky[2] < 0.99),
        )
        plan = Plan(rule="TB-RECONSTRUCTION-001", risk="reconstruction", attack="analytic_linear", primary=True)
        finding = measures.rates(plan, rows)
        right = statistics.wilson(round(USES[protection] * people), people)
        useful = Utility(
            name="accuracy on people of nobody's training data", measure=measures.estimate("rate", right, "person")
        )
        if table:
            Path(table).read_text()
        return Outcome([finding], {finding.rule: rows}, utility=[useful])

    none = Unmeasured(unmeasured="no_guarantee", needs="an accountant")
    defences = [] if protection == "none" else [Defence(name=protection, params={}, epsilon=none, adaptive=True)]
    return Scenario(SUBJECT, THREAT, conduct, defences)

# pyright: strict
"""A cell of a sweep, run in a process of its own: its files as `testbed run` writes them, or its error."""

from __future__ import annotations

import os
import time

from testbed.core import user_code
from testbed.core.errors import TestbedError, missing_extra
from testbed.harness.sweep.inputs import Snapshot
from testbed.harness.sweep.workers import Order, Product


def run_cell(order: Order) -> Product:
    """Run one cell. Every error becomes part of the product, in words that hold no value of a record."""
    started = time.monotonic()
    os.environ[user_code.FOLDERS] = order.own_code
    try:
        os.chdir(order.folder)
        if Snapshot().code(order.cell).digest != order.code:
            return Product(same_code=False)
        return _ran(order, started)
    except Exception as error:  # a failed cell is a result
        return Product(error=_told(error), seconds=time.monotonic() - started)


def _ran(order: Order, started: float) -> Product:
    from testbed.harness import scenario
    from testbed.harness.run import run
    from testbed.report import store
    from testbed.report.inputs import of_scenario, proven

    cell = order.cell
    done = run(scenario.find(cell.scenario), cell.params, seed=cell.seed, engine=cell.engine)
    result = proven(done.result, of_scenario(cell.params), done.outcome.people)
    share = store.shared(result, done.outcome.people)
    evidence = store.packed(done.outcome.evidence) | (done.outcome.files if order.private else {})
    files = {f"share/{name}": content for name, content in share.items()}
    files |= {f"evidence/{name}": content for name, content in evidence.items()}
    attacks = sorted({f.attack.name for f in done.result.findings})
    return Product(files, tuple(attacks), seconds=time.monotonic() - started)


def _told(error: Exception) -> dict[str, str]:
    """The error as cell.json says it. Of an error that is none of the testbed's only the type is told."""
    told = missing_extra(error) if isinstance(error, ModuleNotFoundError) else None
    told = told or (error if isinstance(error, TestbedError) else user_code.blamed(error))
    if told is not None:
        return {"id": told.id, "what": told.what, "why": told.why, "fix": told.fix}
    what = f"The testbed failed: {type(error).__name__}."
    fix = "Run this cell alone with TESTBED_DEBUG=1, and please report it."
    return {"id": "TB-INTERNAL-001", "what": what, "why": "This is a defect of the testbed.", "fix": fix}

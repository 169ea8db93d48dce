"""A report of many findings stays small and is made at once."""

from __future__ import annotations

import time
from pathlib import Path

from testbed.findings import proof
from testbed.report import html, store

EXAMPLE = Path(__file__).parents[2] / "docs" / "result.example.json"


def test_a_report_of_five_hundred_findings_is_below_a_megabyte() -> None:
    result = store.load(EXAMPLE)
    many = [result.findings[i % len(result.findings)] for i in range(500)]
    made = proof.sealed(result.model_copy(update={"findings": many}))
    started = time.process_time()
    page = html.render(made)
    print(f"{len(page.encode()):,} bytes, {time.process_time() - started:.2f} CPU seconds")
    assert len(page.encode()) < 1_000_000

"""Precision and recall of the search for direct identifiers, on made values of 35 kinds, alone and inside notes.

    python benchmarks/identifiers.py

One value in four notes holds an identifier. The last lines are columns without any, with what is found in them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from testbed.harness.release.identifiers import scan
from tests.harness.release.made_identifiers import MADE, NOTES, Made, others

VALUES = 40


def measured(made: Made, seed: int) -> dict[str, tuple[float, float]]:
    """Recall and precision of one kind, for values alone in a column and for notes."""
    rng = np.random.default_rng([seed, MADE.index(made)])
    alone = {made.value(rng) for _ in range(VALUES)}
    plain = [str(note).format(f"weight {rng.integers(40, 120)} kg on day {i}") for i, note in enumerate(NOTES * 30)]
    told = [NOTES[i % 4].format(made.note.format(_as_written(made.value(rng), made))) for i in range(VALUES)]
    rows = {"alone": (made.column, alone, set[str]()), "in notes": ("note", set(told), set(plain))}
    figures: dict[str, tuple[float, float]] = {}
    for where, (column, positive, negative) in rows.items():
        found = {value for f in scan(column, positive | negative) if f.believed for value in f.values}
        right = len(found & positive)
        figures[where] = right / len(positive), right / len(found) if found else 1.0
    return figures


def _as_written(value: str, made: Made) -> str:
    """A name in a note has capitals; in a column it may have none."""
    return value.strip().title() if "name" in made.kind else value


def false_alarms(seed: int) -> dict[str, list[str]]:
    """The kinds that are found in columns without identifiers, by column."""
    columns = others(np.random.default_rng(seed), 400)
    return {name: [f.kind for f in scan(name, values) if f.believed] for name, values in columns.items()}


if __name__ == "__main__":
    print(f"{'kind':34} {'recall alone':>13} {'precision':>10} {'recall in notes':>16} {'precision':>10}")
    for made_ in MADE:
        got = measured(made_, 0)
        cells = [f"{got[w][i]:.2f}" for w in ("alone", "in notes") for i in (0, 1)]
        print(f"{made_.kind:34} {cells[0]:>13} {cells[1]:>10} {cells[2]:>16} {cells[3]:>10}")
    for column_, kinds_ in false_alarms(0).items():
        print(f"no identifiers in {column_:16} found: {', '.join(kinds_) or 'none'}")

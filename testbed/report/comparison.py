# pyright: strict, reportMissingTypeStubs=false
"""`testbed compare`: the finished runs of sweeps and of single folders, compared, shown and written past the gate."""

from __future__ import annotations

import html
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from testbed.core.disclosure import People
from testbed.core.errors import UsageError
from testbed.core.shown import shown
from testbed.data import own_tables
from testbed.findings.comparison.batches import Batch, Loaded
from testbed.findings.comparison.compare import compare
from testbed.findings.comparison.schema import SCHEMA, Comparison, LeftOut
from testbed.findings.numbers import interval, short
from testbed.findings.policy import Policy
from testbed.findings.proof import sealed_comparison
from testbed.findings.schema import Estimate, Result
from testbed.harness.sweep import folder as folders
from testbed.harness.sweep.folder import Kept
from testbed.harness.sweep.inputs import Snapshot
from testbed.harness.sweep.standing import Stale, standing
from testbed.report import comparison_page, gate, store, verification

if TYPE_CHECKING:
    import pandas as pd

NAMES = verification.COMPARED
MOST_CHANGED = 5
"""Changed modules that are named at most."""
LARGEST_HTML, MOST_ROWS = 15_000, 20
"""Of what a notebook shows."""


@dataclass(frozen=True, slots=True, repr=False)
class Compared:
    """A comparison. `people` is private: the gate searches what is written for their values."""

    comparison: Comparison
    people: People | None = None

    def write(self, out: str | Path) -> Path:
        """Write `share/comparison.json`, `.html` and `.csv` under the folder, past the disclosure gate.

        Raises `DisclosureError` if the gate blocks, and `UsageError` for a folder that holds something else.
        """
        out = Path(out)
        writable(out)
        made = self.comparison
        contents = (comparison_page.to_json(made), comparison_page.render(made), comparison_page.to_csv(made))
        artefacts = {name: text.encode() for name, text in zip(NAMES, contents, strict=True)}
        gate.search(artefacts, self.people, made.disclosure.min_cell, *_exempt(made))
        folders.put_share(out, artefacts)
        return out

    def to_frame(self) -> pd.DataFrame:
        """One row a setting and risk: the excess with its interval, utility and cost, guarantee, letters, verdict."""
        import pandas as pd

        header, lines = comparison_page.table(self.comparison)
        return pd.DataFrame([dict(zip(header, line, strict=True)) for line in lines])

    def differences(self) -> pd.DataFrame:
        """One row a pair of settings: their difference with its interval, p, and p corrected for all pairs."""
        import pandas as pd

        return pd.DataFrame(comparison_page.differences_frame(self.comparison.differences))

    def __repr__(self) -> str:
        made = self.comparison
        verdict = "no verdict" if made.decision.verdict == "none" else made.decision.verdict.upper()
        chosen = f"; {made.recommendation.setting!r}" if made.recommendation.setting else ""
        return f"<compare: {verdict} on {len(made.settings)} settings, {made.run.runs} runs{chosen}>"

    def _repr_html_(self) -> str:
        """What a notebook shows: the recommendation and the settings, under 15 KB and without scripts."""
        for most in range(MOST_ROWS, -1, -1):
            page = self._page(most)
            if len(page.encode()) < LARGEST_HTML:
                return page
        return f"<p>{_escaped(repr(self))}</p>"

    def _page(self, most: int) -> str:
        head = "".join(f"<th>{name}</th>" for name in ROW)
        body = "".join(
            f"<tr>{''.join(f'<td>{_escaped(c)}</td>' for c in row)}</tr>" for row in rows(self.comparison)[:most]
        )
        said = "".join(f"<p>{_escaped(text)}</p>" for text in said_of(self.comparison))
        return f"<div><p><b>{_escaped(repr(self)[1:-1])}</b></p>{said}<table><tr>{head}</tr>{body}</table></div>"


ROW = ("setting", "runs", "strongest attack", "excess", "letters", "utility", "guarantee", "verdict")


def rows(made: Comparison) -> list[list[str]]:
    """The settings as lines of a table, one a risk."""
    table: list[list[str]] = []
    for setting in made.settings:
        use = next((short(u.measure) for u in setting.utility if u.name == made.main_utility), "-")
        guarantee = " + ".join(p.guarantee for p in setting.protections) or "-"
        for leak in setting.leaks:
            verdict = "-" if leak.verdict == "none" else leak.verdict
            line = [setting.name, str(setting.runs), f"{leak.attack} ({leak.risk.replace('_', ' ')})"]
            table.append([*line, interval(leak.excess), leak.letters or "-", use, guarantee, verdict])
    return table


def said_of(made: Comparison) -> list[str]:
    """The recommendation, its cautions, and how many runs were left out."""
    left = sum(one.runs for one in made.left_out)
    more = [f"{left} runs were left out; the report says why."] if left else []
    return [made.recommendation.text, *made.recommendation.cautions, *more]


def _escaped(text: str, longest: int = 600) -> str:
    text = shown(text)
    return html.escape(text if len(text) <= longest else f"{text[: longest - 1]}…")


def writable(out: Path) -> None:
    """Raises `UsageError` unless a comparison may be written there: into a sweep, an earlier comparison, or anew."""
    if folders.is_sweep(out) or not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    try:
        before = (out / folders.SHARE / NAMES[0]).read_bytes()[:200]
    except OSError:
        before = b""
    if SCHEMA.encode() not in before:
        raise UsageError(
            "TB-COMPARE-002",
            f"{out.name} exists and is neither a sweep nor a comparison.",
            "A comparison would be mixed with the files that are there.",
            "Name another folder with --out.",
        )


def compared(places: Sequence[Path], policy: Policy | None = None, accept_stale: bool = False) -> Compared:
    """The comparison of all finished runs in these places: folders of sweeps, folders of runs, or files result.json.

    Raises `UsageError` if there is none, and `InputError` for a file that is no result.
    """
    started = time.monotonic()
    batches: list[Batch] = []
    left_out: list[LeftOut] = []
    people: list[People] = []
    for place in places:
        if folders.is_sweep(place):
            found, of = _of_sweep(place, accept_stale, left_out)
            batches += found
            people += of
        else:
            batches.append(_of_run(place))
    made = sealed_comparison(compare(_distinguished(batches), left_out, policy, started))
    tables = [table for one in people for table in one.tables]
    return Compared(made, People(tables, people[0].person) if tables else None)


def _of_run(place: Path) -> Batch:
    result = store.load(place)
    run = result.run
    folder = place if place.is_dir() else place.parent.parent
    label = "" if run.command == "run" else folder.resolve().name
    params = {k: v for k, v in run.params.items() if k != "replicates"}
    return Batch(run.scenario, params, lambda: [Loaded(run.seed, result, run.duration_s)], label)


def _distinguished(batches: Iterable[Batch]) -> list[Batch]:
    """The batches, with those of equal parameters from several places joined into one."""
    same: dict[tuple[str, str, str], list[Batch]] = {}
    for batch in batches:
        same.setdefault((batch.scenario, batch.label, repr(sorted(batch.params.items()))), []).append(batch)
    return [
        of[0]
        if len(of) == 1
        else Batch(of[0].scenario, of[0].params, lambda of=of: [one for b in of for one in b.load()], of[0].label)
        for of in same.values()
    ]


def _of_sweep(folder: Path, accept_stale: bool, left_out: list[LeftOut]) -> tuple[list[Batch], list[People]]:
    """The batches of a sweep's cells, and the people whom they are about. What does not count goes to `left_out`."""
    current, stale, snapshot = standing(folder, accept_stale)
    told = _Names([*current, *(s.cell for s in stale)])
    groups: dict[str, list[Kept]] = {}
    for cell in current:
        groups.setdefault(repr((cell.inputs.scenario, sorted(cell.inputs.params.items()))), []).append(cell)
    left_out += [*_failed(current, told), *_stale(stale, told)]
    batches = [
        Batch(of[0].inputs.scenario, of[0].inputs.params, lambda of=of: _loaded(of, told, left_out))
        for of in groups.values()
    ]
    return batches, _people(current, snapshot)


class _Names:
    """The names of cells in words: the parameters in which they differ."""

    def __init__(self, cells: Sequence[Kept]) -> None:
        keys = dict.fromkeys(k for c in cells for k in c.inputs.params)
        self._varied = [k for k in keys if len({repr(c.inputs.params.get(k)) for c in cells}) > 1]

    def __call__(self, cell: Kept) -> str:
        params = cell.inputs.params
        return ", ".join(f"{k}={params[k]}" for k in self._varied if k in params) or cell.inputs.scenario


def _loaded(cells: Sequence[Kept], told: _Names, left_out: list[LeftOut]) -> list[Loaded]:
    """The results of a batch's cells that are done. A result that is not the one written is left out, and said."""
    found: list[Loaded] = []
    for cell in (c for c in cells if c.status == "done"):
        text = cell.result_text()
        try:
            result = None if text is None else Result.model_validate_json(text)
        except ValidationError:
            result = None
        if result is None:
            left_out.append(LeftOut(setting=told(cell), why="damaged", runs=1, detail=DAMAGED))
        else:
            found.append(Loaded(cell.inputs.seed, result, cell.seconds))
    return found


DAMAGED = "Delete the cell's folder, and run the sweep again."


def _failed(cells: Sequence[Kept], told: _Names) -> list[LeftOut]:
    by: dict[tuple[str, str], int] = {}
    for cell in (c for c in cells if c.status == "failed"):
        error = cell.error
        said = f"{error.get('id', 'no id')}: {error.get('what', '')} {error.get('fix', '')}".strip()
        by[told(cell), said] = by.get((told(cell), said), 0) + 1
    return [LeftOut(setting=name, why="failed", runs=n, detail=said) for (name, said), n in sorted(by.items())]


def _stale(stale: Sequence[Stale], told: _Names) -> list[LeftOut]:
    by: dict[tuple[str, str, str], int] = {}
    for one in stale:
        more = f" and {len(one.changed) - MOST_CHANGED} more" if len(one.changed) > MOST_CHANGED else ""
        said = f"Changed: {', '.join(one.changed[:MOST_CHANGED])}{more}."
        key = (told(one.cell), one.why, said)
        by[key] = by.get(key, 0) + 1
    return [
        LeftOut(setting=name, why="other_code" if why == "other_code" else "other_data", runs=n, detail=said)
        for (name, why, said), n in sorted(by.items())
    ]


def _people(cells: Sequence[Kept], snapshot: Snapshot) -> list[People]:
    """The people of the user's own tables that the cells name, whose values nothing shared may hold."""
    names = {p.strip() for c in cells for v in c.inputs.params.values() if isinstance(v, str) for p in v.split(",")}
    own = [snapshot.places.get(Path(n).name, n) for n in sorted(names) if own_tables.is_own(n)]
    found = [own_tables.protected(path) for path in own if Path(path).exists()]
    return [people for people in found if people is not None]


def _exempt(made: Comparison) -> tuple[list[str], set[float]]:
    """The strings and the numbers that are facts of the comparison; the gate does not search for them."""
    run = made.run
    strings = [run.id, run.created, run.created[:10], *run.scenarios, run.environment.python, run.environment.system]
    strings += [run.tool.version, *run.environment.packages, *run.environment.packages.values()]
    strings += [f"{k} {v}" for k, v in run.environment.packages.items()]
    strings += [text for s in made.subjects for text in (s.licence, s.size_band)]
    policy = made.decision.policy
    strings += list(made.proof.model_dump().values()) if made.proof else []
    strings += [policy.id, policy.sha256] if hasattr(policy, "sha256") else []  # type: ignore[union-attr]
    measures: list[Any] = [m for e in made.matrix for m in (e.measure, e.excess)]
    measures += [k.control for s in made.settings for k in s.leaks] + [
        u.measure for s in made.settings for u in s.utility
    ]
    numbers = {float(m.n) for m in measures if isinstance(m, Estimate)} | {float(run.runs), run.duration_s}
    numbers |= {run.environment.cpu_seconds, *run.environment.seconds.values()}
    numbers |= {s for of in run.environment.client_rounds.values() for s in of.values()}
    return sorted({s for s in strings if len(s) >= 3}, key=len, reverse=True), numbers

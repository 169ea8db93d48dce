"""Red's tools: an attack of the testbed on what red saw, and claims from the files that it writes."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from testbed.core import catalogue
from testbed.core.errors import InputError, RunError, UsageError, perhaps
from testbed.range.claims import OF_SIDE
from testbed.range.desk import Desk
from testbed.range.exercise import FederatedExercise, TreeExercise
from testbed.range.instance import Instance, Side

KNOWS = frozenset({"architecture", "auxiliary", "batch_size", "hyper_parameters", "target_records"})
"""What red knows beforehand: the network, the rules of training, the public sample and the pictures of the named."""
LOOT = "loot"
DECISIONS = ("release", "hold")
ENLARGED = 6
"""Pixels of the screen for each pixel of a picture."""
PER_ROW = 8


@dataclass(frozen=True, slots=True)
class Where:
    """What a claim is about, as far as its file does not say it."""

    round: int | None = None
    hospital: str | None = None
    item: int = 0
    report: Path | None = None


def attack(instance: Instance, team: int, round_: int, name: str, columns: Sequence[str] = ()) -> list[Path]:
    """Runs an attack on what red holds of a round, and writes what it claims: pictures, or a table of scores.

    `columns` are those of a released table that it compares; by default all. Raises `UsageError` for a round that red
    has not seen, and for an attack that needs more than red knows.
    """
    catalogue.known("attack", name)
    if isinstance(instance.exercise, TreeExercise):
        if columns:
            raise _no_columns()
        return _of_trees(instance.desk("red", team), round_, name)
    if not isinstance(instance.exercise, FederatedExercise):
        return _of_table(instance.desk("red", team), round_, name, columns)
    if columns:
        raise _no_columns()

    from testbed.attacks.registry import find
    from testbed.core import Batch, Cohort, Reconstruction, Records, Scores, Threat, Unavailable
    from testbed.range.patients import CLASSES, SHAPE
    from testbed.subjects.federation import transcript

    desk = instance.desk("red", team)
    path = desk / f"round-{round_:02d}.transcript"
    if not path.is_file():
        raise _unseen(round_, "round")
    found, view = find(name), transcript.read(path)
    threat = Threat("server", found.malicious, KNOWS)
    with np.load(desk / "public.npz") as file:
        public = Cohort(file["x"], file["y"], np.array([f"public-{i}" for i in range(len(file["y"]))]))
    with np.load(desk / "names.npz") as file:
        asked, suspected = Cohort(file["x"], file["y"], file["names"]), file["suspected"]
    question: Any = Records(asked, suspected)
    if found.claim is Reconstruction:
        clients = tuple(e.key for e in view.exchanges if e.returned is not None)
        sizes = tuple(view.protocol.batch_size or 1 for _ in clients)
        question = Batch(clients, SHAPE, CLASSES, sizes)
    elif found.claim is not Scores:
        raise _unfit(name, f"Its claims are {found.claim.__name__}.")
    try:
        claim = found.run(view, question, public, 0, threat, {})
    except Unavailable as missing:
        raise _unfit(name, f"It needs {missing.needs}.") from None
    target = desk / LOOT
    target.mkdir(mode=0o700, exist_ok=True)
    stem = target / f"round-{round_:02d}.{name}"
    if isinstance(claim, Scores):
        return [_scores(stem.with_name(f"{stem.name}.csv"), asked.persons.tolist(), claim.values.tolist())]
    assert isinstance(claim, Reconstruction)
    names = _hospitals(desk, round_)
    pictures = {names[client]: batch for (_, client), batch in claim.batches.items()}
    return _pictures(stem, round_, pictures)


def _of_table(desk: Path, round_: int, name: str, columns: Sequence[str]) -> list[Path]:
    """An attack on a candidate release, by these columns or by all."""
    from testbed.attacks.registry import find
    from testbed.core import Scores
    from testbed.range import releases

    path = desk / releases.file_name(round_)
    if not path.is_file():
        raise _unseen(round_, "candidate")
    asked, sample, made = (releases.read(p) for p in (desk / releases.NAMES, desk / releases.PUBLIC, path))
    if strange := [c for c in columns if c not in made.columns]:
        raise UsageError(
            "TB-RANGE-047",
            f"The release has no column {strange[0]!r}.",
            "--columns names those that are compared.",
            f"Did you mean one of these? {perhaps(strange[0], list(made.columns))}",
        )
    known = find(name)
    if known.subject != "release" or known.claim is not Scores or known.needs - releases.KNOWS:
        raise _unfit(name, "It scores nobody by a release and a sample of other people alone.", "release")
    found = releases.scores(name, asked, sample, made, columns)
    target = desk / LOOT
    target.mkdir(mode=0o700, exist_ok=True)
    return [_scores(target / f"round-{round_:02d}.{name}.csv", asked[releases.NAME].tolist(), found.tolist())]


def _no_columns() -> UsageError:
    return UsageError(
        "TB-RANGE-046", "A transcript has no columns.", "--columns is for released tables.", "Leave it out."
    )


def _of_trees(desk: Path, round_: int, name: str) -> list[Path]:
    """An attack on the trees of a round, which says how many patients each leaf holds."""
    from testbed.attacks.registry import find
    from testbed.core import Groups, Unavailable
    from testbed.range import trees

    if not (desk / f"round-{round_:02d}.transcript").is_file():
        raise _unseen(round_, "round")
    known = find(name)
    if known.claim is not Groups or known.malicious or known.position != "server":
        raise _unfit(name, "It counts nobody by the trees that a coordinator sees.")
    try:
        said = trees.counts(desk, round_, name)
    except Unavailable as missing:
        raise _unfit(name, f"It needs {missing.needs}.") from None
    target = desk / LOOT
    target.mkdir(mode=0o700, exist_ok=True)
    rows = [(leaf, str(well), str(ill)) for leaf, (well, ill) in said.items()]
    return [_csv(target / f"round-{round_:02d}.{name}.csv", ("leaf", "well", "ill"), rows)]


def _unseen(round_: int, what: str) -> UsageError:
    return UsageError(
        "TB-RANGE-025",
        f"Red has not seen {what} {round_}.",
        "There is no such file on its desk.",
        "Ask the instructor to play it (testbed range inject NAME round).",
    )


def _hospitals(desk: Path, round_: int) -> list[str]:
    """The hospital of each client number of a round."""
    told = json.loads((desk / "rounds.json").read_text(encoding="utf-8"))
    return list(told.get(str(round_), {}).get("hospitals", []))


def _unfit(name: str, why: str, of: str = "transcript --position server") -> UsageError:
    return UsageError(
        "TB-RANGE-026",
        f"The attack {name} finds nothing to read in this round.",
        why,
        f"Choose another round, or another attack: testbed list attacks --subject {of}.",
    )


def _scores(path: Path, names: list[str], scores: list[float]) -> Path:
    return _csv(path, ("name", "score"), [(name, str(score)) for name, score in zip(names, scores, strict=True)])


def _csv(path: Path, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Path:
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(heads)
    table.writerows(rows)
    with _put(path) as new:
        new.write_text(text.getvalue(), encoding="utf-8")
    return path


@contextmanager
def _put(path: Path) -> Generator[Path]:
    """A file that takes its place when it is whole: a full disk leaves what was there, and no half file. Raises
    `RunError` if it cannot be written."""
    new = path.with_name(f".new-{path.name}")
    try:
        yield new
        new.replace(path)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise RunError(
            "TB-RANGE-065",
            f"The file {path.name} cannot be written to your loot.",
            f"{error.strerror or 'The disk'}.",
            "Make room, and run the attack again. No claim was made, and nothing else was changed.",
        ) from None


def _pictures(stem: Path, round_: int, pictures: dict[str, Any]) -> list[Path]:
    """One file with the numbers, for claims, and a picture of each hospital's, for the eye."""
    from PIL import Image

    numbers = stem.with_name(f"{stem.name}.npz")
    with _put(numbers) as new, new.open("wb") as file:
        np.savez_compressed(file, round=np.array(round_), **pictures)
    written = [numbers]
    for hospital, batch in pictures.items():
        if not len(batch):
            continue
        seen = np.clip(np.asarray(batch)[:, 0], 0, 1)
        blank = np.ones((-len(seen) % min(PER_ROW, len(seen)), *seen.shape[1:]))
        framed = np.pad(np.concatenate([seen, blank]), ((0, 0), (1, 1), (1, 1)), constant_values=1)
        wide = min(PER_ROW, len(seen))
        sheet = np.concatenate([np.concatenate(framed[i : i + wide], axis=1) for i in range(0, len(framed), wide)])
        pixels = (sheet * 255).astype(np.uint8).repeat(ENLARGED, 0).repeat(ENLARGED, 1)
        path = stem.with_name(f"{stem.name}.{hospital}.png")
        with _put(path) as new:
            Image.fromarray(pixels).save(new, "PNG")
        written.append(path)
    return written


def claim(instance: Instance, team: int, kind: str, what: str, where: Where, token: str | None = None) -> bool:
    """Is this claim right? Raises `UsageError` if it cannot be sent, and `NotJudgedError` if it is not judged.

    `token` is that of the claiming side; by default the one in its folder.
    """
    kinds = [k for of in OF_SIDE.values() for k in of]
    if kind not in kinds:
        raise UsageError(
            "TB-RANGE-027",
            f"There is no claim of kind {kind!r}.",
            "The scorer judges six kinds.",
            f"Did you mean one of these? {perhaps(kind, kinds)}",
        )
    side: Side = "blue" if kind in OF_SIDE["blue"] else "red"
    own = instance.desk(side, team)
    told: dict[str, Any] = {"kind": kind}
    if kind == "flag":
        told["code"] = what
    elif kind == "detection":
        catalogue.known("attack", what)
        told |= {"technique": what, "round": _round(where)}
    elif kind == "decision":
        told |= _decision(what, where)
    elif kind == "membership":
        told |= {"scores": _table(_there(what)), "round": _round(where, Path(what))}
    elif kind == "count":
        told |= {"counts": _counts(_there(what)), "round": _round(where, Path(what))}
    else:
        told |= _picture(_there(what), where, own)
    return Desk(instance, side, team, token).claim(told)


def _decision(what: str, where: Where) -> dict[str, Any]:
    """The decision on a candidate release, with the report that blue hands in."""
    if what not in DECISIONS:
        raise UsageError(
            "TB-RANGE-048",
            f"There is no decision {what!r}.",
            "A candidate is released or held.",
            f"Did you mean one of these? {perhaps(what, DECISIONS)}",
        )
    if where.report is None:
        raise UsageError(
            "TB-RANGE-049",
            "The report is missing.",
            "A decision is handed in with the report on the candidate.",
            "Give --report with the folder that testbed evaluate wrote.",
        )
    path = where.report / "share" / "result.json" if where.report.is_dir() else where.report
    try:
        report: Any = json.loads(_there(str(path)).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise InputError(
            "TB-RANGE-050", "The report cannot be read.", "It is no JSON.", "Give the folder of testbed evaluate."
        ) from None
    return {"decision": what, "report": report, "round": _round(where)}


def _round(where: Where, file: Path | None = None, told: int | None = None) -> int:
    """The round that a claim is about: as its file says in it (`told`) or in its name, or as the command says."""
    stem = file.name.removeprefix("round-").partition(".")[0] if file is not None else ""
    found = told if told is not None else int(stem) if re.fullmatch("[0-9]{1,3}", stem) else None
    if where.round is None and found is None:
        raise UsageError("TB-RANGE-028", "The round is missing.", "A claim is about one round.", "Give --round.")
    if found is not None and where.round not in (None, found):
        raise UsageError(
            "TB-RANGE-041",
            f"The file is of round {found}, and --round says {where.round}.",
            "One of them is a slip. The claim was not sent.",
            "Leave --round out.",
        )
    return int(where.round or found or 0)


def _there(what: str) -> Path:
    """The file of a claim. Raises `InputError` if it is not there."""
    path = Path(what)
    if not path.is_file():
        raise InputError(
            "TB-RANGE-042",
            f"There is no file {what}.",
            "It was not found from this folder.",
            "testbed range attack prints the paths of the files that it writes.",
        )
    return path


def _table(path: Path) -> dict[str, float]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [(row["name"], float(row["score"])) for row in csv.DictReader(file)]
        scores = dict(rows)
        if len(scores) < len(rows):
            raise ValueError
        return scores
    except (OSError, KeyError, TypeError, ValueError, csv.Error):
        raise InputError(
            "TB-RANGE-029",
            "The table of scores cannot be read.",
            "It must be a CSV file with the columns name and score, each name once, and a number in each row.",
            "See a file that testbed range attack writes.",
        ) from None


def _counts(path: Path) -> dict[str, list[int]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [(row["leaf"], [int(row["well"]), int(row["ill"])]) for row in csv.DictReader(file)]
        if len(counts := dict(rows)) < len(rows):
            raise ValueError
        return counts
    except (OSError, KeyError, TypeError, ValueError, csv.Error):
        raise InputError(
            "TB-RANGE-069",
            "The table of counts cannot be read.",
            "It must be a CSV file with the columns leaf, well and ill, each leaf once, and whole numbers in each row.",
            "See a file that testbed range attack writes.",
        ) from None


OF_REPLAY = re.compile(r"round\d+\.client(\d+)")
"""What testbed replay calls the reconstructions of a client."""


def _picture(path: Path, where: Where, desk: Path) -> dict[str, Any]:
    """One reconstructed record of a file: of `testbed range attack`, of `testbed replay` (claim.npz), or a .npy."""
    try:
        if path.suffix == ".npy":
            return {"record": _flat(np.load(path)), "round": _round(where, path), "hospital": where.hospital or ""}
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            parts = {k: np.atleast_1d(file[k]) for k in file.files if k != "round"}
            round_ = _round(where, path, int(file["round"]) if "round" in file.files else None)
        names = _hospitals(desk, round_)
        parts = {names[int(m[1])] if (m := OF_REPLAY.fullmatch(k)) else k: v for k, v in parts.items()}
    except (OSError, ValueError, TypeError, IndexError, EOFError, BadZipFile):
        raise InputError(
            "TB-RANGE-030",
            "The file of reconstructions cannot be read.",
            "It must be a .npz of testbed range attack or of testbed replay, or one record as .npy.",
            "Check that the file is whole.",
        ) from None
    hospital = where.hospital or (next(iter(parts)) if len(parts) == 1 else "")
    if hospital not in parts or not 0 <= where.item < len(parts[hospital]):
        raise UsageError(
            "TB-RANGE-031",
            f"The file holds no picture {where.item} of {hospital or 'one hospital'}.",
            f"It holds: {', '.join(f'{k} ({len(v)})' for k, v in parts.items())}.",
            "Give --hospital and --item.",
        )
    return {"record": _flat(parts[hospital][where.item]), "round": round_, "hospital": hospital}


def _flat(record: Any) -> list[float]:
    return [round(float(v), 5) for v in np.asarray(record, dtype=np.float64).ravel()]

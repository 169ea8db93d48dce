"""May this synthetic table go out? From files to a result, without torch and without Flower."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from testbed.attacks.registry import fitting, not_granted
from testbed.core import Evidence, Release, Split, catalogue, user_code
from testbed.core.disclosure import People
from testbed.core.errors import UsageError, perhaps
from testbed.core.executor import IN_TURN, Spread, rows_over
from testbed.data.tables import encode, set_aside
from testbed.data.tables.described import Described
from testbed.data.tables.free_text import free_text
from testbed.findings import policy as policy_
from testbed.findings.assemble import as_data_class, assemble, size_band
from testbed.findings.schema import Result, Subject, TableColumn, ThreatModel
from testbed.harness.release import by_column, evaluations, membership, utility
from testbed.harness.release.column_names import no_link
from testbed.harness.release.examine import examine
from testbed.harness.release.setting import RECIPIENT, Options

NOT_TESTED = [
    "the generator itself, queried, inspected or run again on other people (shadow models)",
    "earlier and later releases about the same people",
    "free text beyond direct identifiers and copied words; images and other attachments",
    "background knowledge beyond the columns of this table",
]
UNDECIDED = "membership as a risk that decides: it takes a control of 2,000 people or more"
OTHERS = "all other attacks, because {} was run alone"
RULES = (
    "copied_rows",
    "near_copies",
    "direct_identifiers",
    "copied_word_sequences",
    "distance_to_closest_record",
    "replicated_uniques",
    "disco",
)
"""What a report names as attacks beside those that `--attack` takes."""
LINKED = "single rows and their order in tables with several rows a person: their summaries a person stand for them"
SEES = "the released table, whole, and nothing of the generator"
QUESTION = "May this synthetic table go out, given what it reveals about the people in the original?"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A result, the evidence behind it, and the raw tables that the gate must keep in."""

    result: Result
    evidence: dict[str, Evidence]
    people: People
    release: pd.DataFrame

    def counted(self, folder: Path) -> Evaluation:
        """With the count of evaluations of these people on this machine; real data only."""
        if self.result.subject.data_class != "real":
            return self
        disclosure = self.result.disclosure
        original, person = self.people.tables[0], self.people.person
        found = evaluations.evaluations(original, self.release, folder, person=person, min_cell=disclosure.min_cell)
        counts = {"evaluations": found.times, "not_counted": found.missing, "closest": found.closest}
        disclosure = disclosure.model_copy(update=counts)
        return replace(self, result=self.result.model_copy(update={"disclosure": disclosure}))


def recipient(linked: bool = False, decided: bool = True, attack: str | None = None) -> ThreatModel:
    """The threat of every evaluated release, for the report; `linked` where it was several tables.

    `decided` says whether membership was one of the risks that decide; `attack` is the one that was run alone.
    """
    untested = [*NOT_TESTED, *([LINKED] if linked else []), *([] if decided else [UNDECIDED])]
    untested += not_granted("release", RECIPIENT) if attack is None else [OTHERS.format(attack)]
    return ThreatModel(
        position="recipient",
        malicious=False,
        knows=sorted(RECIPIENT.knows),
        access=RECIPIENT.access,
        sees=SEES,
        not_tested=untested,
    )


def _column(told: Described, view: by_column.ByColumn | None) -> TableColumn:
    return TableColumn(
        name=told.name,
        kind=told.kind,
        declared=told.declared,
        unit=told.unit or None,
        gaps=told.gaps,
        coded_gaps=told.coded_gaps,
        doubtful=told.doubtful,
        notes=list(told.notes),
        flags=sorted(told.flags),
        likeness=None if view is None else view.likeness,
        copies=None if view is None else view.copies,
        control_copies=None if view is None else view.control_copies,
    )


def _subject(
    encoded: encode.Frames,
    views: Mapping[str, by_column.ByColumn],
    notes: Sequence[str],
    *,
    name: str,
    data_class: str,
    licence: str,
) -> Subject:
    return Subject(
        type="synthetic_table",
        name=name,
        data_class=as_data_class(data_class),
        licence=licence,
        size_band=size_band(len(encoded.original)),
        columns=len(encoded.original.columns),
        table=[_column(d, views.get(d.name)) for d in encoded.described],
        notes=list(notes),
    )


def _told(options: Options, person: str | None, control: bool) -> dict[str, Any]:
    """The parameters that a report lists, where the command has no others."""
    return {
        "attacks": options.attacks,
        "secrets": ",".join(options.secrets) or "all",
        "links": len(options.links),
        "person": person,
        "control": control,
        "instrument": options.instrument,
        **({"attack": options.attack} if options.attack else {}),
    }


def membership_decides(control: pd.DataFrame, person: str | None) -> bool:
    """Does this control hold people enough for membership to be one of the risks that decide?"""
    return membership.decides(len(control) if person is None else int(control[person].nunique()))


def parse_link(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """`a,b:c,d` as two sets of columns. Raises `UsageError` unless both have names and none is in both."""
    sides = [tuple(n.strip() for n in side.split(",") if n.strip()) for side in text.split(":")]
    if len(sides) != 2 or not all(sides) or set(sides[0]) & set(sides[1]):
        raise no_link(f"{text!r} does not.")
    return sides[0], sides[1]


def _checked(attack: str | None, attacks: int | None) -> str | None:
    """The name of the attack that is run alone, if any. Raises `UsageError` where it or their number cannot be used."""
    if attacks is not None and attacks < 1:
        raise UsageError("TB-DATA-064", "--attacks must be at least 1.", "No guess can be made.", "Leave it out.")
    if attack is None:
        return None
    if attack in RULES:
        raise UsageError(
            "TB-ATTACK-008",
            f"{attack} is a rule on the release, and no attack that can be run alone.",
            "Rules on copies and diagnostics belong to a whole evaluation.",
            "Leave --attack out: its finding then stands in the report.",
        )
    if not user_code.named(attack) and catalogue.entry("attack", attack) is None:
        error_id, why = catalogue.UNKNOWN["attack"]
        fix = f"{perhaps(attack, [a.name for a in fitting('release', RECIPIENT.knows)])} See testbed list attacks."
        raise UsageError(error_id, f"There is no attack called {attack!r}.", why, fix)
    return fitting("release", RECIPIENT.knows, attack)[0].name


def evaluate(
    original: pd.DataFrame,
    synthetic: pd.DataFrame,
    control: pd.DataFrame | None = None,
    *,
    name: str = "release",
    person: str | None = None,
    secrets: Sequence[str] = (),
    links: Sequence[tuple[Sequence[str], Sequence[str]]] = (),
    kinds: dict[str, str] | None = None,
    maps: Mapping[str, Mapping[Any, Any]] | None = None,
    data_class: str = "real",
    licence: str = "not stated",
    attacks: int | None = None,
    attack: str | None = None,
    policy: policy_.Policy | None = None,
    seed: int = 0,
    instrument: str = "testbed",
    spread: Spread = IN_TURN,
    progress: Callable[[str], None] = lambda _: None,
    command: Any = "evaluate",
    scenario: str = "evaluate",
    params: dict[str, Any] | None = None,
    raw: Sequence[pd.DataFrame] = (),
    notes: Sequence[str] = (),
) -> Evaluation:
    """Attack a synthetic table and decide by a policy (the built-in example unless one is given).

    `control` holds people like those of `original` who were held out before synthesising; without it nothing can pass.
    `attack` names one attack to run alone; nothing then decides. `spread` says where the released rows are searched,
    which changes no answer. `raw` are the linked tables behind the rows, which nothing may be quoted from either.
    `notes` say what the readers of the files left out. Its parameters are the options of the command evaluate. Raises
    `InputError` for tables that cannot be compared and `UsageError` for names that do not exist.
    """
    started = time.monotonic()
    as_data_class(data_class)
    attack = _checked(attack, attacks)
    frames = {"original": original, "synthetic": synthetic} | ({} if control is None else {"control": control})
    checked = {role: encode.checked(frame, role) for role, frame in frames.items()}
    three = checked["original"], checked["synthetic"], checked.get("control")
    meta = encode.Meta(person, kinds or {}, maps or {})
    encoded = encode.encode(*three, meta)
    secrets = encoded.named(secrets)
    links = [(encoded.named(one), encoded.named(other)) for one, other in links]
    decides = policy or policy_.load()
    options = Options(secrets, links, attacks, seed, instrument, decides.min_cell, attack)
    split = Split(encoded.original, encoded.control, None)
    with rows_over(spread):
        examined = examine(
            split,
            Release(encoded.synthetic),
            options,
            progress=progress,
            aside=set_aside.left_out(*three, meta, encoded),
            written=set_aside.as_written(*three, encoded),
            texts=free_text(*three, meta, encoded),
            flags=sorted({flag for d in encoded.described for flag in d.flags}),
        )
    progress("utility")
    real = encoded.original if encoded.control is None else encoded.control
    useful = utility.utility(encoded.synthetic, real, seed, tuple(secrets))
    views = by_column.by_column(split, Release(encoded.synthetic), decides.min_cell)
    decided = any(f.primary and f.risk == "membership" for f in examined.findings)
    result = assemble(
        command=command,
        scenario=scenario,
        question=QUESTION,
        engine="none",
        seed=seed,
        params=_told(options, person, control is not None) if params is None else params,
        started=started,
        subject=_subject(encoded, views, notes, name=name, data_class=data_class, licence=licence),
        threat=recipient(bool(raw), decided, attack),
        findings=examined.findings,
        policy=decides,
        utility=useful,
    )
    people = People([*(checked[role] for role in ("original", "control") if role in checked), *raw], person)
    return Evaluation(result, examined.evidence, people, checked["synthetic"])

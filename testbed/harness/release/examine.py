"""A synthetic table against its original: every attack in every cell, from encoded tables to findings.

A user's table cannot be made again from other people, so the blind cell is a guess that looks at nothing of the
person: random predicates, the column's most common value, or for linkability the closed form of chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from testbed.core import Column, Evidence, Release, Split, Table
from testbed.core.errors import UsageError
from testbed.core.randomness import keyed_rng
from testbed.core.tables.rows import in_order
from testbed.data.tables.encode import Frames
from testbed.data.tables.free_text import FreeText
from testbed.findings.measures import flagged
from testbed.findings.schema import Finding
from testbed.harness import cells
from testbed.harness.release import (
    anonymeter,
    attribute_inference,
    closeness,
    copy_rule,
    identifier_rule,
    looks,
    membership,
    singling_out,
    subgroups,
    text_rule,
)
from testbed.harness.release.column_names import known
from testbed.harness.release.control import control_flags, release_flags
from testbed.harness.release.linkability import linkability, pairs
from testbed.harness.release.setting import Options, Progress, Setting

INSTRUMENTS = ("testbed", "anonymeter")
PEER_SECRETS = 10
"""Secrets that the peer is asked for where none are named; it takes seconds for each."""


@dataclass(frozen=True, slots=True)
class Examined:
    findings: list[Finding]
    evidence: dict[str, Evidence]


def examine(
    split: Split,
    release: Release,
    options: Options,
    *,
    progress: Progress = lambda _: None,
    aside: Frames | None = None,
    written: Frames | None = None,
    flags: Sequence[str] = (),
    texts: Sequence[FreeText] = (),
) -> Examined:
    """All risks of a release.

    `aside` are columns that are no attributes, such as the person's, which are only searched for identifiers, and
    `written` are those of which only numbers are attributes. `texts` are the columns of free text; `flags` speak
    against the tables themselves, and mark every finding. Raises `UsageError` for a column or an instrument that does
    not exist.
    """
    members, controls = split.members, split.controls
    assert isinstance(members, Table)
    assert controls is None or isinstance(controls, Table)
    secrets, links = options.secrets, options.links
    check_instrument(options.instrument)
    _check_names([*secrets, *(n for pair in links for side in pair for n in side)], members.columns)
    # The order of a file's rows must change nothing, and random draws take rows by their place.
    members, controls = in_order(members), None if controls is None else in_order(controls)
    release = Release(in_order(release.table))
    wanted, seed, least = options.attacks, options.seed, options.min_cell
    setting = Setting(members, controls, release, wanted, seed, progress, least, aside, written, options.attack, texts)
    judged = singling_out.singling_out(setting)
    linked = linkability(setting, links)
    inferred = attribute_inference.attribute_inference(setting, secrets)
    judged += [*linked, *inferred.judged, *membership.membership(setting)]
    found: list[Finding] = []
    if options.attack is None:
        found += [copy_rule.copied_rows(setting), looks.near_copied(setting)]
        found += [*identifier_rule.direct_identifiers(setting), *text_rule.copied_texts(setting)]
        judged += subgroups.outliers_and_rare(setting, linked, inferred)
        found += closeness.diagnostics(setting, pairs(setting, links))
    if options.instrument == "anonymeter":
        named = list(dict.fromkeys(secrets)) or [c.name for c in members.columns][:PEER_SECRETS]
        found += anonymeter.anonymeter(setting, named, pairs(setting, links))
    against = [*flags, *control_flags(members, controls, keyed_rng(options.seed, "control check"))]
    against += release_flags(release.table, members, controls)
    every = [*cells.findings(judged), *found]
    for flag in against:
        every = [flagged(finding, flag) for finding in every]
    return Examined(every, cells.evidence_by_key(judged))


def check_instrument(instrument: str) -> None:
    """Raises `UsageError` for an instrument that does not exist or is not installed."""
    if instrument not in INSTRUMENTS:
        raise UsageError(
            "TB-CLI-002",
            f"There is no instrument {instrument!r}.",
            "It says whose evaluators are run.",
            f"Use one of: {', '.join(INSTRUMENTS)}.",
        )
    if instrument == "anonymeter":
        anonymeter.check_installed()


def _check_names(names: Sequence[str], columns: Sequence[Column]) -> None:
    for name in names:
        known(name, [c.name for c in columns], "It was named as a secret or in a link, or it has no value.")

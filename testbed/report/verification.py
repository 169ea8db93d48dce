# pyright: strict, reportMissingTypeStubs=false
"""What holds of a result that somebody passed on: each check says yes, no, or that it could not be made here."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from testbed.core.errors import DisclosureError, InputError, UsageError
from testbed.data import fingerprints
from testbed.data.tables import spreadsheets
from testbed.findings import policy as policies
from testbed.findings import proof
from testbed.findings.assemble import decided, version
from testbed.findings.comparison.schema import SCHEMA as COMPARISON
from testbed.findings.comparison.schema import Comparison
from testbed.findings.schema import Decision, Policy, Result
from testbed.report import bundle, comparison_page, exports, gate, html, inputs, languages, signature, store

RESULT, PAGE = "result.json", "report.html"
WORDS = {True: "holds", False: "DOES NOT HOLD", None: "not known"}
"""What a check says."""
WITHOUT = "without proof: the {} holds none, so nothing shows that it is unchanged"
UNALTERED = "{} {}; nothing was altered since the digests were computed"
COMPARED = bundle.COMPARED


@dataclass(frozen=True, slots=True)
class Check:
    """One check: what was checked, whether it holds (None: it could not be told), and what was found."""

    name: str
    holds: bool | None
    text: str


@dataclass(frozen=True, slots=True)
class Held:
    """What a receiver holds besides the file: a policy, inputs by role, and the public key of the expected signer."""

    policy: str | None = None
    inputs: Mapping[str, Path] | None = None
    signer: Path | None = None


def verify(place: Path, held: Held | None = None) -> list[Check]:
    """All checks of a result.json or comparison.json, of the folder of a run or comparison, or of a bundle.

    Raises `UsageError` if there is no such file, and `InputError` for a bundle that cannot be read.
    """
    held = held or Held()
    files, bundled = _files(place)
    checks = _outside(files, held.signer) if bundled else []
    if held.signer is not None and not bundled:
        checks.append(Check("signature", False, "only a bundle is signed; this is none"))
    if RESULT not in files and COMPARED[0] in files:
        return checks + of_comparison(files) + [_input_of_none(role) for role in held.inputs or {}]
    return checks + of_files(files, held)


def _input_of_none(role: str) -> Check:
    return Check(f"input {role}", None, "a comparison names no inputs; verify the runs that it compares")


def of_files(files: Mapping[str, bytes], held: Held | None = None) -> list[Check]:
    """The checks of a result by its files: result.json, and what else stands beside it in share/."""
    held = held or Held()
    try:
        result = store.parse(files[RESULT].decode("utf-8"))
    except UnicodeDecodeError:
        return [Check("schema", False, "result.json is not text in UTF-8")]
    except KeyError:
        return [Check("schema", False, "there is no result.json")]
    except InputError as error:
        if error.id == store.ALTERED:
            return [Check("schema", True, "testbed.result/1"), Check("digests", False, error.what)]
        return [Check("schema", False, f"result.json: {error.why}")]
    checks = [Check("schema", True, "testbed.result/1")]
    checks += [_digests(result), *_page(files, result), _gate(files, result), _policy(result, held.policy)]
    return checks + [_input(result, role, path) for role, path in (held.inputs or {}).items()]


def of_comparison(files: Mapping[str, bytes]) -> list[Check]:
    """The checks of a comparison by its files: comparison.json, and the page and the table that were made from it."""
    name, page, table = COMPARED
    try:
        made = Comparison.model_validate_json(files[name])
        changed = proof.altered(json.loads(files[name], object_pairs_hook=proof.once))
    except KeyError:
        return [Check("schema", False, f"there is no {name}")]
    except ValueError:
        return [Check("schema", False, f"{name} does not follow the schema {COMPARISON}")]
    checks = [Check("schema", True, COMPARISON), _sealed(made, changed)]
    written = {page: comparison_page.render, table: comparison_page.to_csv}
    for file, write in written.items():
        if file not in files:
            continue
        if files[file] == write(made).encode():
            checks.append(Check(file, True, f"{file} was made from {name}"))
        elif made.run.tool.version != version():
            checks.append(Check(file, None, f"made by version {made.run.tool.version}, so it was not compared"))
        else:
            checks.append(Check(file, False, f"{file} was not made from {name}"))
    try:
        gate.search({f: c for f, c in files.items() if f.endswith(".html")}, None, made.disclosure.min_cell, [], set())
    except (DisclosureError, UnicodeDecodeError) as error:
        return [*checks, Check("gate", False, getattr(error, "what", "a file is not text in UTF-8"))]
    return [*checks, Check("gate", True, "no active or external content")]


def _sealed(made: Comparison, changed: tuple[str, ...] | None) -> Check:
    if changed is None:
        return Check("digests", None, WITHOUT.format("comparison"))
    if changed:
        return Check("digests", False, f"{COMPARED[0]} was altered: {', '.join(changed)}")
    return Check("digests", True, UNALTERED.format("comparison", made.run.id))


def _files(place: Path) -> tuple[dict[str, bytes], bool]:
    """The files by name, and whether they come from a bundle."""
    if place.is_dir():
        return bundle.files_of(place), False
    if not place.is_file():
        raise UsageError(
            "TB-RESULT-004", "There is no file in this place.", f"{place.name} was not found.", "Check it."
        )
    if place.suffix.lower() == ".zip":
        return bundle.unpacked(place), True
    content = place.read_bytes()
    compared = f'"schema": "{COMPARISON}"'.encode() in content[:200]
    return {COMPARED[0] if compared else RESULT: content}, False


def _outside(files: Mapping[str, bytes], signer: Path | None) -> list[Check]:
    """A bundle's checksums, and its signature if it has one or should have one."""
    wrong = bundle.checksums(files)
    checks = [Check("checksums", wrong is None, wrong or f"{len(files) - 1} files, each as listed")]
    if bundle.SIGNATURE not in files:
        return checks if signer is None else [*checks, Check("signature", False, "the bundle is not signed")]
    public = signature.signer(files[bundle.SIGNATURE], files.get(bundle.CHECKSUMS, b""))
    if public is None:
        return [*checks, Check("signature", False, "it is not a signature of these checksums")]
    name = signature.fingerprint(public)
    if signer is None:
        text = f"signed with the key {name}; whose key it is, --signer FILE tells"
        return [*checks, Check("signature", None, text)]
    if public != signature.public_key(signer):
        return [*checks, Check("signature", False, f"signed with another key, {name}")]
    return [*checks, Check("signature", True, f"signed with the key {name}")]


def _digests(result: Result) -> Check:
    if result.proof is None:
        return Check("digests", None, WITHOUT.format("result"))
    return Check("digests", True, UNALTERED.format("report", result.run.id))


def _page(files: Mapping[str, bytes], result: Result) -> list[Check]:
    """Whether report.html and each export are those of this result; nothing of those that are not there."""
    made: dict[str, Callable[[bytes], bytes]] = {
        languages.page(lang): functools.partial(_rendered, result, lang) for lang in languages.LANGUAGES
    }
    for name in exports.names():
        made[f"result{exports.suffix(name)}"] = functools.partial(exports.again, result, name)
    return [_same(name, files[name], write, result) for name, write in made.items() if name in files]


def _rendered(result: Result, lang: str, _: bytes) -> bytes:
    return html.render(result, lang).encode()


def _same(file: str, content: bytes, write: Callable[[bytes], bytes], result: Result) -> Check:
    """Whether a file is what this version makes of the result."""
    check = "report" if file == PAGE else file
    if file.endswith(".pdf"):  # it depends on this machine's fonts
        return Check(check, None, f"{file} was not compared; testbed export writes it again")
    try:
        same = content == write(content)
    except UsageError:  # there is no such file of this result
        same = False
    if same:
        return Check(check, True, f"{file} was made from this result")
    made_by, again = result.run.tool.version, "report" if file.startswith("report.") else "export"
    if made_by != version():
        text = f"made by version {made_by}, so {version()} cannot compare it; testbed {again} writes it again"
        return Check(check, None, text)
    return Check(check, False, f"{file} was not made from this result; testbed {again} writes it again")


def _gate(files: Mapping[str, bytes], result: Result) -> Check:
    """The part of the gate that needs no original: active and external content, and pictures of real people."""
    shown = {name: content for name, content in files.items() if name.endswith((".html", ".json", ".svg"))}
    try:
        gate.check(shown, result, None, result.disclosure.min_cell)
    except (DisclosureError, UnicodeDecodeError) as error:
        return Check("gate", False, error.what if isinstance(error, DisclosureError) else "a file is not text in UTF-8")
    text = "no active or external content"
    if result.subject.data_class == "real":
        text += "; values of records were searched when the result was written, and cannot be searched without the data"
    return Check("gate", True, text)


def _policy(result: Result, given: str | None) -> Check:
    """Whether the decision follows from the findings under the policy that the result names."""
    named = result.decision.policy
    if not isinstance(named, Policy):
        if given is not None:
            return Check("policy", False, "no policy was applied, though one was given to compare with")
        return Check("policy", result.decision.verdict == "none", "no policy was applied, and there is no verdict")
    known = [policies.load(given)] if given else [policies.load(name) for name in policies.built_in()]
    fitting = [p for p in known if p.sha256 == named.sha256]
    if not fitting:
        if given:
            return Check("policy", False, f"{named.id} decided, which is not the policy that was given")
        return Check("policy", None, f"{named.id} is not built in; give its file with --policy")
    then = _outline(result.decision)
    # A waiver counts on the day of the run, or on that of testbed check, which is not written down.
    days = dict.fromkeys((result.run.created[:10], datetime.now(UTC).date().isoformat()))
    decisions = [decided(result.findings, fitting[0], result.subject, day)[1] for day in map(_day, days) if day]
    if all(_outline(decision) != then for decision in decisions):
        return Check("policy", False, f"{named.id} decides otherwise on these findings: {decisions[0].verdict}")
    return Check("policy", True, f"{named.id} decides {result.decision.verdict} on these findings")


def _outline(decision: Decision) -> list[object]:
    """What of a decision must be the same if it is made again: texts may differ between versions."""
    waivers = decision.policy.waivers if isinstance(decision.policy, Policy) else None
    return [decision.verdict, waivers, *((r.rule, r.verdict) for r in decision.reasons)]


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _input(result: Result, role: str, path: Path) -> Check:
    """Whether the file is the input of this role."""
    name = f"input {role}"
    judged = {i.role: i for i in result.proof.inputs} if result.proof else {}
    if role not in judged:
        return Check(name, None, f"the result has no digest of it; it has: {', '.join(judged) or 'none'}")
    if not spreadsheets.sheet_of(path)[0].is_file():
        raise UsageError("TB-PROOF-002", "The input's file does not exist.", f"{path.name} was not found.", "Check it.")
    key = fingerprints.site_key() if judged[role].keyed else fingerprints.PUBLIC
    if judged[role].keyed and result.proof and key.name != result.proof.key:
        return Check(name, None, "its digest was made with another site's key")
    content = path if judged[role].rows == inputs.NO_TABLE else _table(path, role, result)
    same = inputs.digest(inputs.Given(path.name, content), key) == judged[role].digest
    return Check(name, same, f"{path.name} {'is' if same else 'is not'} what was judged")


def _table(path: Path, role: str, result: Result) -> object:
    from testbed.data.tables import files

    person = result.run.params.get("person")
    return files.read_file(path, role, str(person) if person else None)

"""Commands about a finished result: report, check, export, verify, bundle. Nothing is run."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click
import typer

from testbed.cli.terminal import DecidingPolicy, Json, PolicyOption, conclude, progress, say
from testbed.core.errors import Exit, InputError, UsageError
from testbed.core.shown import shown
from testbed.report import exports, languages

if TYPE_CHECKING:
    from testbed.findings.schema import Result
    from testbed.report.verification import Check

RunArgument = Annotated[Path, typer.Argument(help="A run's folder, or a result.json.")]
WITHOUT_PROOF = "warning: without proof: this result holds no digests, so nothing shows that it is unchanged"


def report(
    run: RunArgument,
    out: Annotated[Path | None, typer.Option(show_default="beside the result", help="The HTML file to write.")] = None,
    lang: Annotated[
        str, typer.Option(click_type=click.Choice(languages.LANGUAGES), help="The language of the report's frame.")
    ] = languages.ENGLISH,
) -> None:
    """Write report.html again from result.json. A result that was altered is refused.

    With --lang sv the frame is Swedish, and the file is report.sv.html; sentences about the result stay English.
    """
    from testbed.report import bundle, gate, html

    name = languages.page(lang)
    target = out or (run / "share" / name if run.is_dir() else run.with_name(name))
    html.writable(target)
    result = _loaded(run)
    text = html.render(result, lang)
    gate.check({name: text.encode()}, result, None)
    bundle.write(target, text.encode())
    say(shown(target))


def check(run: RunArgument, policy: DecidingPolicy = None, json_: Json = False) -> None:
    """Decide again by a policy. A result that was altered is refused."""
    from testbed.findings import policy as policy_
    from testbed.findings.assemble import decided
    from testbed.findings.proof import sealed

    result = _loaded(run)
    findings, decision = decided(result.findings, policy_.load(policy or policy_.BUILT_IN), result.subject)
    result = result.model_copy(update={"findings": findings, "decision": decision})
    conclude(sealed(result) if result.proof else result, None, json_)


def verify(
    file: Annotated[Path, typer.Argument(help="A result.json, a run's folder, or a bundle.")],
    policy: PolicyOption = None,
    input_: Annotated[
        list[str] | None,
        typer.Option("--input", help="Was this file judged? ROLE=FILE, such as synthetic=s.csv."),
    ] = None,
    signer: Annotated[Path | None, typer.Option(help="The public key of who should have signed the bundle.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """What holds of a result that somebody passed on: schema, digests, checksums, gate, policy, inputs.

    The exit code is 0 if all holds that can be checked here, 4 if something does not, and 3 without digests.
    """
    from testbed.report import verification

    checks = verification.verify(file, verification.Held(policy, dict(map(_input, input_ or [])), signer))
    say(json.dumps([dataclasses.asdict(c) for c in checks], indent=2) if json_ else _lines(checks))
    if any(c.holds is False for c in checks):
        raise typer.Exit(Exit.INPUT)
    if any(c.name == "digests" and c.holds is None for c in checks):
        raise typer.Exit(Exit.REVIEW)


def bundle(
    run: Annotated[Path, typer.Argument(help="A run's folder.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The zip file to write.")],
    sign: Annotated[Path | None, typer.Option(help="A private Ed25519 key in PEM, to sign the checksums with.")] = None,
) -> None:
    """Make one zip file of a run's share/ alone, with checksums, for somebody else to verify."""
    from testbed.report import bundle as bundles
    from testbed.report import verification

    bundles.writable(out)
    files = bundles.files_of(run)
    for found in verification.verify(run):
        if found.holds is False:
            raise InputError(
                "TB-BUNDLE-006",
                f"This run is not passed on: the check of its {found.name} does not hold.",
                f"{found.text.rstrip(chr(46))}.",
                "Run the command again, or write the page again with testbed report.",
            )
    bundles.write(out, bundles.packed(files, sign))
    say(shown(out))


def export(
    run: RunArgument,
    to: Annotated[str, typer.Option("--to", click_type=click.Choice(exports.names()), help="The format.")],
    out: Annotated[
        Path | None, typer.Option(show_default="beside the result", help="The file to write (acro: or a folder).")
    ] = None,
    facts: Annotated[
        Path | None,
        typer.Option(show_default="blank lines", help="The form of a dossier (YAML): what no measurement can tell."),
    ] = None,
) -> None:
    """Write a result in another tool's format. A result that was altered is refused."""
    from testbed.report import bundle, gate
    from testbed.report import facts as forms

    folder = run / "share" if run.is_dir() else run.parent
    target = out or folder / f"result{exports.suffix(to)}"
    exports.writable(target, to)
    given = forms.read(facts) if facts else None
    result = _loaded(run)
    content = exports.export(result, to, given)
    parts = exports.searched(result, to, content, given)
    gate.check(parts, result, None)
    whole = {target: content}
    for path, written in (
        {target / n: c for n, c in parts.items()} if exports.is_folder(target, to) else whole
    ).items():
        bundle.write(path, written)
    say(shown(target))


def _loaded(run: Path) -> Result:
    from testbed.report import store

    result = store.load(run)
    if result.proof is None:
        progress(WITHOUT_PROOF)
    return result


def _input(text: str) -> tuple[str, Path]:
    role, equals, path = text.partition("=")
    if not role or not equals or not path:
        raise UsageError(
            "TB-PROOF-003",
            "An --input does not say which input it is.",
            "A result has several, each with a role.",
            "Write --input ROLE=FILE, such as --input synthetic=s.csv.",
        )
    return role, Path(path)


def _lines(checks: list[Check]) -> str:
    from testbed.report.verification import WORDS

    width = max(len(c.name) for c in checks)
    return "\n".join(shown(f"{c.name:{width}}  {WORDS[c.holds]:13}  {c.text}") for c in checks)

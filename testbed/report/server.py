# pyright: strict
"""The pages of `testbed serve`: what stands in a folder of results, one of them, and two side by side. Read-only.

Whoever holds the address may read; it holds a token that is new at each start. No page runs a script or loads anything
from elsewhere. A report is shown as it was written, in a sandbox of the browser's.
"""

from __future__ import annotations

import functools
import hmac
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args

from jinja2 import Environment
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from testbed.core.errors import InputError, TestbedError, UsageError
from testbed.findings.numbers import range_, short
from testbed.findings.schema import Finding, Result
from testbed.findings.terms import Verdict
from testbed.report import opened as results
from testbed.report import templates
from testbed.report.listing import KINDS, STATES, Entry
from testbed.report.opened import Opened
from testbed.report.serving import GUARD, HEADERS
from testbed.report.verification import WORDS

CLOSED = "default-src 'none'; base-uri 'none'; frame-ancestors 'none'"
ON_PAGES = {**HEADERS, "referrer-policy": "no-referrer"}
OWN = ON_PAGES | {"content-security-policy": f"{CLOSED}; style-src 'self'; form-action 'self'"}
"""Headers of this server's own pages."""
WRITTEN = ON_PAGES | {
    "content-security-policy": f"{CLOSED}; style-src 'unsafe-inline'; img-src data:; form-action 'none'; sandbox"
}
"""Headers of a report: its style stands in it. It runs nothing, sends nothing and has the rights of no other page."""
TYPES = {".html": "text/html; charset=utf-8", ".json": "application/json", ".pdf": "application/pdf"}
"""Types of files by their ending. Any other is handed out as bytes; all but HTML are downloads."""
NO_ADDRESS = (
    "There is nothing at this address. Open the whole address that testbed serve printed; it changes with each start."
)
FILTERS = ("kind", "verdict", "state")


class Results:
    """The app over one folder of results. Raises `UsageError` if it is no folder."""

    def __init__(self, folder: Path, token: str | None = None) -> None:
        self.folder, self.token = folder, token or secrets.token_urlsafe(32)
        results.found(folder)

    def application(self) -> Starlette:
        routes = {
            "/": self.all,
            "/result": self.one,
            "/compare": self.two,
            "/open/{name}": self.file,
            "/style.css": self.style,
        }
        made = [Route(f"/{{token}}{path}", self._guarded(answer)) for path, answer in routes.items()]
        return Starlette(routes=made, middleware=[GUARD], exception_handlers={404: _nowhere})

    def all(self, request: Request) -> Response:
        asked = {name: request.query_params.get(name, "") for name in FILTERS}
        text = request.query_params.get("text", "")
        entries = results.found(self.folder)
        kept = {key: entry for key, entry in entries.items() if _wanted(entry, asked, text)}
        return _page(
            "served_list.html.j2",
            folder=self.folder.resolve().name,
            entries=kept,
            total=len(entries),
            asked=asked | {"text": text},
            choices={"kind": (*KINDS, "unknown"), "verdict": get_args(Verdict), "state": STATES},
        )

    def one(self, request: Request) -> Response:
        entry = self._opened(request)[0]
        return _page("served_result.html.j2", o=entry, e=entry.entry, words=WORDS)

    def two(self, request: Request) -> Response:
        both = self._opened(request, 2)
        one, other = (o.result for o in both)
        return _page(
            "served_compare.html.j2",
            both=both,
            pair=(one, other),
            inputs=results.same_inputs(one, other),
            rows=_side_by_side(one, other),
        )

    def file(self, request: Request) -> Response:
        opened = self._opened(request)[0]
        name = request.path_params["name"]
        if name not in opened.readable:
            raise InputError(
                "TB-SERVE-005",
                "This file is not handed out.",
                "It is missing, or what verify checks does not hold of it or of its result.",
                "Open the page of the result: it says which of both.",
            )
        ending = name[name.rindex(".") :]
        headers = WRITTEN if ending == ".html" else OWN | {"content-disposition": f'attachment; filename="{name}"'}
        return Response(opened.files[name], headers=headers, media_type=TYPES.get(ending, "application/octet-stream"))

    def style(self, request: Request) -> Response:
        return Response(_style(), headers=OWN, media_type="text/css")

    def _opened(self, request: Request, count: int = 1) -> list[Opened]:
        """The entries that the address names by their keys, opened. Raises `UsageError` for another number of them."""
        asked, entries = request.query_params.getlist("of"), results.found(self.folder)
        if len(asked) != count:
            what = "one result" if count == 1 else "two results"
            raise UsageError("TB-SERVE-004", f"This page is about {what}.", f"{len(asked)} were named.", "Go back.")
        if any(key not in entries for key in asked):
            raise UsageError(
                "TB-SERVE-006", "There is no such result.", "It may have been moved or deleted since.", "Go back."
            )
        return [results.opened(self.folder, entries[key]) for key in asked]

    def _guarded(self, answer: Callable[[Request], Response]) -> Callable[[Request], Response]:
        """A route for whoever holds the token. A refusal is a page in words; a defect is told without its text."""

        def route(request: Request) -> Response:
            given = str(request.path_params["token"])
            if not hmac.compare_digest(given.encode("utf-8", "replace"), self.token.encode()):
                return _nowhere(request)
            try:
                return answer(request)
            except TestbedError as error:
                status, told = 404, f"{error.what} {error.why} {error.fix} ({error.id})"
            except Exception as error:  # a traceback may quote a record
                status, told = 500, f"This page could not be made: {type(error).__name__}. Please report it."
            root = "../" if "name" in request.path_params else "./"
            return _page("served_problem.html.j2", status, told=told, root=root)

        return route


def _wanted(entry: Entry, asked: Mapping[str, str], text: str) -> bool:
    words = " ".join((entry.path, entry.subject, entry.policy)).casefold()
    return all(asked[name] in ("", getattr(entry, name)) for name in FILTERS) and text.strip().casefold() in words


def _side_by_side(one: Result, other: Result) -> list[tuple[str, str, bool, Finding | None, Finding | None]]:
    """The findings of two results by what they answer: risk, attack and target, those that decide first."""
    sides = [{(f.risk, f.attack.name, f.target or ""): f for f in result.findings} for result in (one, other)]
    rows: list[tuple[str, str, bool, Finding | None, Finding | None]] = []
    for key in dict.fromkeys([*sides[0], *sides[1]]):
        a, b = (side.get(key) for side in sides)
        risk, attack, target = key
        decides = any(f is not None and f.primary for f in (a, b))
        rows.append((risk.replace("_", " "), f"{attack}: {target}" if target else attack, decides, a, b))
    return sorted(rows, key=lambda row: not row[2])


@functools.cache
def _templates() -> Environment:
    made = templates.environment()
    made.filters |= {"short": short, "range": range_, "seal": results.seal_of, "key": results.key_of}
    return made


@functools.cache
def _style() -> str:
    own = ".wide { overflow-x: auto; } td.tick { width: 2rem; } h1 { margin-top: 0; }\n"
    own += "label { margin-right: 1.2rem; } input, select, button { font: inherit; }\n"
    own += ".seal { font-weight: 600; } .seal.altered { color: var(--fail); } .seal.without { color: var(--review); }\n"
    return templates.style() + own


def _page(template: str, status: int = 200, **values: Any) -> Response:
    text = _templates().get_template(template).render(**values)
    return Response(text.encode("utf-8", "replace"), status, OWN, "text/html; charset=utf-8")


def _nowhere(request: Request, error: Exception | None = None) -> Response:
    return Response(f"{NO_ADDRESS}\n", 404, OWN, "text/plain; charset=utf-8")

"""The board: the desks of an instance as web pages, on loopback. A desk's token opens its page and no other.

python -m testbed.range.board FOLDER [PORT]

It holds no truth. What a page shows comes from the scorer, by the token that the reader gave, and from that desk's
folder. A page is asked for by its session, never by the token, so that no history or log keeps a token.
"""

from __future__ import annotations

import hmac
import os
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from testbed.core import catalogue, plain_files
from testbed.core.errors import TestbedError, UsageError
from testbed.defences import named
from testbed.range import desk as desks
from testbed.range import loot, pages, serving
from testbed.range.desk import Desk, NotJudgedError
from testbed.range.instance import HOME, TOKEN, Instance, Side, find_at
from testbed.range.pages import Message
from testbed.range.processes import BOARD
from testbed.report.serving import GUARD

MOST_SESSIONS = 16
"""Sessions of one desk at most; the oldest one ends."""
LASTS_S = 12 * 3600.0
LONGEST_FORM = 4000
PATIENCE_S = 600.0
"""Seconds that an inject may take."""
LONGEST_MESSAGE = 600


@dataclass
class Session:
    """One browser at one desk."""

    token: str
    side: Side
    team: int
    since: float
    csrf: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    message: Message | None = None


class Sessions:
    """The sessions of an instance, in memory: a board that is started again asks for the tokens again."""

    def __init__(self, ticks: Callable[[], float] = time.monotonic) -> None:
        self._held: dict[str, Session] = {}
        self._ticks = ticks

    def new(self, token: str, side: Side, team: int) -> str:
        mine = [k for k, s in self._held.items() if (s.side, s.team) == (side, team)]
        for old in mine[: max(0, len(mine) + 1 - MOST_SESSIONS)]:
            del self._held[old]
        key = secrets.token_urlsafe(32)
        self._held[key] = Session(token, side, team, self._ticks())
        return key

    def get(self, key: str) -> Session | None:
        found = self._held.get(key)
        if found is not None and self._ticks() - found.since > LASTS_S:
            self.end(key)
            return None
        return found

    def end(self, key: str) -> None:
        self._held.pop(key, None)


class Board:
    """What the board answers. `act` runs a command of testbed range and returns what it said."""

    def __init__(self, instance: Instance, ticks: Callable[[], float] = time.monotonic) -> None:
        self.instance, self.sessions = instance, Sessions(ticks)
        self.cookie = f"desk-{instance.name}"  # browsers do not keep the cookies of two ports apart
        self._one = threading.Lock()

    def application(self) -> Starlette:
        routes = [
            Route("/", self.page),
            Route("/enter", self._form(self.enter, entering=True), methods=["POST"]),
            Route("/leave", self._form(self.leave), methods=["POST"]),
            Route("/claim", self._form(self.claim), methods=["POST"]),
            Route("/defend", self._form(self.defend), methods=["POST"]),
            Route("/inject", self._form(self.inject), methods=["POST"]),
            Route("/loot/{name}", self.picture),
            Route("/desk.css", self.style),
            Route("/favicon.ico", self.icon),
            Route("/health", self.health),
        ]
        return Starlette(routes=routes, middleware=[GUARD])

    async def health(self, request: Request) -> Response:
        return JSONResponse({"board": self.instance.exercise.id})

    async def icon(self, request: Request) -> Response:
        return Response(status_code=204, headers=pages.HEADERS)

    async def style(self, request: Request) -> Response:
        return Response(pages.style(), media_type="text/css", headers=pages.HEADERS)

    async def page(self, request: Request) -> Response:
        return await run_in_threadpool(self._page, request)

    def _page(self, request: Request) -> Response:
        key, session = self._session(request)
        if session is None:
            return _html(pages.entrance(self.instance))
        try:
            told = Desk(self.instance, session.side, session.team, session.token).view()
        except TestbedError as error:
            if isinstance(error, NotJudgedError):  # the exercise was reset, and with it the token
                self.sessions.end(key)
            return _html(pages.entrance(self.instance, _bad(error)), 503)
        message, session.message = session.message, None
        return _html(pages.desk(self.instance, told, session.csrf, message))

    async def picture(self, request: Request) -> Response:
        session = self._session(request)[1]
        if session is None or session.side != "red":
            return Response(status_code=404, headers=pages.HEADERS)
        folder = self.instance.desk("red", session.team) / loot.LOOT
        name = request.path_params["name"]
        found = plain_files.content(folder, name) if name.endswith(".png") else None
        if found is None:
            return Response(status_code=404, headers=pages.HEADERS)
        return Response(found, media_type="image/png", headers=pages.HEADERS)

    def enter(self, session: Session | None, form: dict[str, str]) -> Response:
        token = form.get("token", "").strip()
        try:
            if not TOKEN.match(token):
                raise UsageError("TB-RANGE-053", "This is no token.", "It has another form.", "Copy the file token.")
            side, team = desks.who(self.instance, token)
        except TestbedError as error:
            return _html(pages.entrance(self.instance, _bad(error)), 403)
        answer = RedirectResponse("/", 303, pages.HEADERS)
        key = self.sessions.new(token, side, team)
        answer.set_cookie(self.cookie, key, httponly=True, samesite="strict", path="/", max_age=int(LASTS_S))
        return answer

    def leave(self, session: Session, form: dict[str, str]) -> Message | None:
        raise _LeavingError

    def claim(self, session: Session, form: dict[str, str]) -> Message | None:
        kind, side = form.get("kind", ""), session.side
        if kind not in loot.OF_SIDE.get(side, ()):
            raise UsageError("TB-RANGE-054", "This desk has no such form.", "It belongs to another side.", "Reload.")
        where = loot.Where(_number(form, "round"), form.get("hospital") or None, _number(form, "item") or 0)
        what = form.get("what", "").strip()
        desk = self.instance.desk(side, session.team)
        with tempfile.TemporaryDirectory() as copies:
            if kind in ("reconstruction", "membership", "count"):
                what = str(_copied(desk / loot.LOOT, what, Path(copies)))
            elif kind == "decision":
                name = form.get("report", "")
                if name not in pages.reports(desk):
                    raise _missing()
                report = _copied(desk / name / "share", pages.REPORT, Path(copies))
                where = loot.Where(where.round, report=report)
            yes = loot.claim(self.instance, session.team, kind, what, where, session.token)
        return Message(yes, f"The scorer says {'yes' if yes else 'no'} to this {kind}.")

    def defend(self, session: Session, form: dict[str, str]) -> Message | None:
        _of(session, "blue")
        defence = form.get("defence", "").strip() or named.NONE
        for name, _ in named.split(defence):  # a page runs no file of a player
            catalogue.known("defence", name)
        guards = [g for g in form.get("guards", "").split(",") if g]
        for guard in guards:
            catalogue.known("guard", guard)
        options = ["--team", str(session.team), "--guards", ",".join(guards)]
        return self._ran("defend", options, defence)

    def inject(self, session: Session, form: dict[str, str]) -> Message | None:
        _of(session, "white")
        what = form.get("inject", "")
        value = form.get(what, "").strip() if what in ("swap-model", "drop") else ""
        team = _number(form, "team")
        return self._ran("inject", ["--team", str(team)] if team else [], what, *([value] if value else []))

    def _ran(self, command: str, options: list[str], *words: str) -> Message:
        """Runs a command of testbed range on this instance, as a process of its own, one at a time."""
        home = {HOME: str(self.instance.folder.resolve().parent), "NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "400"}
        line = [sys.executable, "-m", "testbed", "range", command, *options, "--", self.instance.name, *words]
        with self._one:
            done = subprocess.run(
                line,
                env={**os.environ, **home},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=PATIENCE_S,
                check=False,
            )
        told = done.stdout if done.returncode == 0 else done.stderr
        return Message(done.returncode == 0, " ".join(told.split())[-LONGEST_MESSAGE:] or "Done.")

    def _session(self, request: Request) -> tuple[str, Session | None]:
        key = request.cookies.get(self.cookie, "")
        return key, self.sessions.get(key)

    def _form(
        self, answer: Callable[..., Message | Response | None], entering: bool = False
    ) -> Callable[[Request], Awaitable[Response]]:
        """A route that takes a form of this page alone, and leads back to the page with the answer on it."""

        async def route(request: Request) -> Response:
            origin = request.headers.get("origin")
            if origin not in (None, f"{request.url.scheme}://{request.headers.get('host', '')}"):
                return _html(pages.entrance(self.instance, Message(False, "This form came from another page.")), 403)
            form = await _fields(request)
            key, session = self._session(request)
            if entering:
                return _answer(await run_in_threadpool(answer, session, form))
            if session is None or not hmac.compare_digest(session.csrf.encode(), form.get("csrf", "").encode()):
                return _html(pages.entrance(self.instance, Message(False, "Give the desk's token again.")), 403)
            try:
                session.message = await run_in_threadpool(answer, session, form)  # pyright: ignore[reportAttributeAccessIssue]
            except _LeavingError:
                self.sessions.end(key)
            except TestbedError as error:
                session.message = _bad(error)
            except subprocess.TimeoutExpired:
                session.message = Message(False, f"It took longer than {PATIENCE_S:g} seconds and was stopped.")
            return RedirectResponse("/", 303, pages.HEADERS)

        return route


class _LeavingError(Exception):
    """Somebody leaves the desk."""


def _answer(given: Message | Response | None) -> Response:
    assert isinstance(given, Response)
    return given


async def _fields(request: Request) -> dict[str, str]:
    """The fields of a form; those that stand there several times are joined with commas."""
    read = bytearray()
    async for part in request.stream():
        read += part
        if len(read) > LONGEST_FORM:
            return {}
    try:
        told = parse_qs(read.decode("ascii"), keep_blank_values=True, max_num_fields=60)
    except ValueError:
        return {}
    return {name: ",".join(values) for name, values in told.items()}


def _number(form: dict[str, str], name: str) -> int | None:
    text = form.get(name, "").strip()
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 5):
        raise UsageError("TB-RANGE-055", f"The field {name} is no number.", "It must be 0 or more.", "Mend it.")
    return int(text)


def _copied(folder: Path, name: str, to: Path) -> Path:
    """A copy of a player's file, so that it is the file that was looked at, whatever becomes of the folder."""
    found = plain_files.content(folder, name)
    if found is None:
        raise _missing()
    (to / name).write_bytes(found)
    return to / name


def _missing() -> UsageError:
    return UsageError(
        "TB-RANGE-056", "This file is not on your desk.", "It is missing, a link, or too large.", "Choose another."
    )


def _of(session: Session, side: Side) -> None:
    if session.side != side:
        raise UsageError("TB-RANGE-057", "This desk cannot do that.", f"It is for the {side} side.", "See the brief.")


def _bad(error: TestbedError) -> Message:
    return Message(False, f"{error.what} {error.why} {error.fix} ({error.id})")


def _html(text: str, status: int = 200) -> Response:
    return Response(text, status, pages.HEADERS, "text/html; charset=utf-8")


def main() -> None:
    instance = find_at(Path(sys.argv[1]))
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    serving.serve(Board(instance).application(), instance.folder / BOARD.door, port)


if __name__ == "__main__":
    main()

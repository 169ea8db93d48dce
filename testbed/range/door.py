"""The scorer's door: HTTP on loopback, one process, a token for each side of each team.

python -m testbed.range.door FOLDER [PORT]
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from testbed.core.errors import InputError
from testbed.range import serving
from testbed.range.claims import LARGEST
from testbed.range.instance import OF_DESK, Instance, find_at
from testbed.range.processes import SCORER
from testbed.range.scorer import Caller, Refused, Scorer


def application(scorer: Scorer) -> Starlette:
    """The app of a scorer: what it answers, to whom."""

    async def claim(request: Request) -> Response:
        caller = _caller(request)
        return JSONResponse({"answer": scorer.claim(caller, await body_of(request))})

    async def note(request: Request) -> Response:
        caller = _caller(request)
        try:
            told: dict[str, Any] = json.loads(await body_of(request))
            event, team, facts = str(told["event"]), int(told["team"]), dict(told["facts"])
        except (ValueError, TypeError, KeyError, RecursionError):
            raise Refused(
                422, "TB-RANGE-013", "This is no event.", "The commands of testbed range send them."
            ) from None
        scorer.note(caller, event, facts, team)
        return JSONResponse({"round": scorer.round(team)})

    async def score(request: Request) -> Response:
        return PlainTextResponse(scorer.score(_caller(request)), media_type="application/json")

    async def who(request: Request) -> Response:
        caller = _caller(request)
        return JSONResponse({"side": caller.side, "team": caller.team})

    async def view(request: Request) -> Response:
        return JSONResponse(scorer.view(_caller(request)))

    async def health(request: Request) -> Response:
        return JSONResponse({"exercise": scorer.exercise.id, "pid": os.getpid()})

    def _caller(request: Request) -> Caller:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        return scorer.caller(token if scheme.lower() == "bearer" else "", request.headers.get(OF_DESK))

    routes = [
        Route("/claim", _guarded(claim), methods=["POST"]),
        Route("/note", _guarded(note), methods=["POST"]),
        Route("/score", _guarded(score)),
        Route("/view", _guarded(view)),
        Route("/who", _guarded(who)),
        Route("/health", health),
    ]
    return Starlette(routes=routes)


def _guarded(answer: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """The route's function, with refusals as answers."""

    async def route(request: Request) -> Response:
        try:
            return await answer(request)
        except Refused as refused:
            headers = {"retry-after": f"{refused.wait_s:.1f}"} if refused.wait_s else {}
            return JSONResponse(refused.told(), refused.status, headers)
        except OSError:
            full = Refused(
                503, "TB-RANGE-066", "The scorer cannot write.", "Tell the instructor: its disk may be full."
            )
            return JSONResponse(full.told(), full.status)

    return route


async def body_of(request: Request) -> bytes:
    """The message's body. Raises `Refused` as soon as it is larger than any claim."""
    read = bytearray()
    async for part in request.stream():
        read += part
        if len(read) > LARGEST:
            raise Refused(413, "TB-RANGE-014", "This message is larger than any claim.", "See the brief for the forms.")
    return bytes(read)


def serve(instance: Instance, port: int = 0) -> None:
    """Answers until it is stopped. The address is written to door.json, and removed at the end."""
    serving.serve(application(Scorer(instance)), instance.folder / SCORER.door, port)


def main() -> None:
    try:
        serve(find_at(Path(sys.argv[1])), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    except InputError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
